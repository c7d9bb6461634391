"""Writing: seeded, bounded, and independent of what else is in the batch."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from churn_assets.message.model.generation import BATCH, Writer, draw_tokens, generate, uniform_draws
from churn_assets.message.model.likelihood import completion_log_probs, perplexity
from churn_assets.message.model.tokenizer import TextError, TextTokenizer, padded, train_tokenizer
from churn_assets.message.training.config import EVERY_TOKEN, Sampling

PROMPTS = ["Service: phone plan\nMessage:", "Service: fiber internet | Bill: 70\nMessage:", "A\nMessage:"]


@pytest.fixture(scope="module")
def writer(tiny_sft) -> Writer:
    return Writer.of(tiny_sft)


@pytest.fixture(scope="module")
def llama(tiny_sft) -> Writer:
    shape = LlamaConfig(
        vocab_size=tiny_sft.tokenizer.size,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=200,
        eos_token_id=tiny_sft.tokenizer.eos_id,
        bos_token_id=tiny_sft.tokenizer.eos_id,
        pad_token_id=tiny_sft.tokenizer.pad_id,
        initializer_range=0.5,
    )
    torch.manual_seed(0)
    return Writer(LlamaForCausalLM(shape).eval(), tiny_sft.tokenizer)


@pytest.fixture(params=["opt", "llama"])
def either(request, writer, llama) -> Writer:
    return writer if request.param == "opt" else llama


def test_the_same_seed_writes_the_same_and_another_something_else(either):
    first, again, other = (generate(either, PROMPTS, seed=s, max_new_tokens=12, n=2) for s in (1, 1, 2))

    assert first == again
    assert first != other


def test_a_message_does_not_depend_on_what_else_is_written(either):
    together = generate(either, PROMPTS, seed=4, max_new_tokens=20, n=3)

    alone = generate(either, [PROMPTS[1]], seed=4, max_new_tokens=20, n=2)
    turned = generate(either, PROMPTS[::-1], seed=4, max_new_tokens=20)

    assert alone[0] == together[1][:2]
    assert [each[0] for each in turned] == [each[0] for each in together][::-1]


def test_more_prompts_than_a_batch_come_back_in_their_order(writer):
    prompts = [f"Bill: {number}\nMessage:" for number in range(BATCH + 3)]

    written = generate(writer, prompts, seed=0, max_new_tokens=4)

    assert written[BATCH + 1] == generate(writer, [prompts[BATCH + 1]], seed=0, max_new_tokens=4)[0]


def test_greedy_writing_is_what_transformers_writes(either):
    ids, mask = padded(either.tokenizer.encode(PROMPTS), either.tokenizer.pad_id, left=True)
    theirs = either.network.generate(
        input_ids=ids,
        attention_mask=mask,
        max_new_tokens=15,
        do_sample=False,
        eos_token_id=either.tokenizer.eos_id,
        pad_token_id=either.tokenizer.pad_id,
    )[:, ids.shape[1] :]

    ours = generate(either, PROMPTS, seed=0, max_new_tokens=15, greedy=True)

    for row, each in zip(theirs.tolist(), ours, strict=True):
        assert list(each[0].tokens) == row[: len(each[0].tokens)]


def test_tokens_are_drawn_with_the_models_own_probabilities(llama):
    ids, mask = padded(llama.tokenizer.encode(PROMPTS[:1]), llama.tokenizer.pad_id)
    with torch.no_grad():
        expected = llama.network(input_ids=ids, attention_mask=mask).logits[0, -1].softmax(-1).numpy()

    written = generate(llama, PROMPTS[:1], seed=0, max_new_tokens=1, n=4000)[0]

    found = np.bincount([each.tokens[0] for each in written], minlength=len(expected)) / 4000
    assert expected.max() > 0.02
    assert (np.abs(found - expected) < 4.5 * np.sqrt(expected * (1 - expected) / 4000) + 1e-3).all()


def test_a_text_has_ended_only_if_the_model_said_so(writer):
    written = [each for row in generate(writer, PROMPTS, seed=0, max_new_tokens=40, n=60) for each in row]

    assert {each.ended for each in written} == {True, False}
    for each in written:
        assert each.ended == (each.tokens[-1] == writer.tokenizer.eos_id)
        assert len(each.tokens) <= 40
        assert writer.tokenizer.eos_id not in each.tokens[:-1]
        assert "</s>" not in each.text


def test_writing_stops_at_the_deadline_and_says_what_is_unfinished(writer):
    ticks = iter(range(1000))

    written = generate(writer, PROMPTS, seed=0, max_new_tokens=200, deadline_s=6, clock=lambda: next(ticks))

    assert all(len(each[0].tokens) <= 5 for each in written)
    assert not any(each[0].ended for each in written if len(each[0].tokens) == 5)


def test_what_was_not_begun_by_the_deadline_is_empty_and_not_ended(writer):
    written = generate(writer, PROMPTS, seed=0, max_new_tokens=5, deadline_s=0.0)

    assert [(each[0].text, each[0].ended) for each in written] == [("", False)] * 3


def test_a_prompt_without_room_for_a_message_is_an_error(writer):
    with pytest.raises(TextError, match="expected at most 400 in all"):
        generate(writer, PROMPTS, seed=0, max_new_tokens=399)


def test_draws_are_a_rows_own():
    both = uniform_draws(["a", "b"], 2, 5, seed=0)

    assert torch.equal(both[2], uniform_draws(["b"], 1, 5, seed=0)[0])
    assert len(torch.unique(both)) == 20


def test_padding_on_either_side_leaves_log_probabilities_as_they_are(either):
    tokenizer = either.tokenizer
    short, long = tokenizer.encode([PROMPTS[2] + " Hello.", PROMPTS[1] + " Hello there."])
    alone, mask = padded([short], tokenizer.pad_id)
    with torch.no_grad():
        expected = completion_log_probs(either.network, alone, mask, 1)[0]
        for left in (False, True):
            ids, both = padded([short, long], tokenizer.pad_id, left=left)
            found = completion_log_probs(either.network, ids, both, 1)[0]
            place = slice(-len(expected), None) if left else slice(0, len(expected))
            assert torch.allclose(found[place], expected, atol=1e-4)


def test_perplexity_is_that_of_the_texts_alone_ends_included(writer):
    prompts, texts = PROMPTS[:2], [" Hello there.", " Hi."]
    total, count = 0.0, 0
    for prompt, text in zip(prompts, texts, strict=True):
        (ids,) = writer.tokenizer.rows([prompt], [text], [True])
        start = len(writer.tokenizer.encode([prompt])[0])
        with torch.no_grad():
            log_p = writer.network(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
        total -= sum(float(log_p[i - 1, ids[i]]) for i in range(start, len(ids)))
        count += len(ids) - start

    assert perplexity(writer, prompts, texts) == pytest.approx(math.exp(total / count), rel=1e-5)


def test_a_text_that_spells_the_end_token_does_not_end(writer):
    ids = writer.tokenizer.encode(["Hello </s> there"])[0]

    assert writer.tokenizer.eos_id not in ids[1:]
    assert writer.tokenizer.decode([ids]) == ["Hello </s> there"]


def test_prompt_and_text_that_share_a_token_are_refused():
    tokenizer = train_tokenizer(["Message: Hello Hello Hello"] * 3, 300)

    with pytest.raises(TextError, match="expected a prompt that ends without a space"):
        tokenizer.supervised(["Message: H"], ["ello"])


def test_a_tokenizer_whose_padding_is_its_end_is_refused(tiny_sft):
    with pytest.raises(TextError, match="expected a padding token of its own"):
        TextTokenizer(tiny_sft.tokenizer.definition, 1, 1)


def shares(logits, sampling, draws=4000):
    """How often each token is drawn, over evenly spread draws."""
    spread = (torch.arange(draws) + 0.5) / draws
    drawn = draw_tokens(torch.tensor(logits).log().expand(draws, -1), spread, sampling)
    return (torch.bincount(drawn, minlength=len(logits)) / draws).tolist()


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (EVERY_TOKEN, [0.05, 0.6, 0.15, 0.2]),
        (Sampling(top_p=0.9), [0.0, 0.6 / 0.95, 0.15 / 0.95, 0.2 / 0.95]),
        (Sampling(top_p=0.7), [0.0, 0.75, 0.0, 0.25]),
        (Sampling(top_p=1e-9), [0.0, 1.0, 0.0, 0.0]),
        (Sampling(top_p=1.0, temperature=0.5), [0.0025 / 0.425, 0.36 / 0.425, 0.0225 / 0.425, 0.04 / 0.425]),
        (Sampling(top_p=0.9, temperature=0.5), [0.0, 0.9, 0.0, 0.1]),
    ],
    ids=[
        "every token",
        "nucleus",
        "smaller nucleus",
        "the most probable",
        "temperature",
        "temperature first",
    ],
)
def test_tokens_are_drawn_by_temperature_from_the_nucleus_alone(sampling, expected):
    assert shares([0.05, 0.6, 0.15, 0.2], sampling) == pytest.approx(expected, abs=2e-3)

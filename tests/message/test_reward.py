"""The reward model sees the same tokens in training and in RL, starts from the SFT model, and knows its scale."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from tiny_models import REWARD

from churn_assets.message.model.generation import Writer, generate
from churn_assets.message.model.scoring import Scorer, score
from churn_assets.message.model.tokenizer import TextError
from churn_assets.message.training.progress import silent
from churn_assets.message.training.reward import (
    accuracy,
    counterfactuals,
    judges_pairs,
    owners,
    preference_columns,
    reward_network,
    train_reward,
)
from churn_assets.message.training.supervised import Reporter, supervised_trainer


def test_training_and_rl_give_the_reward_model_the_same_tokens(tiny_sft, some_preferences, tmp_path):
    pairs = some_preferences.of("train").head(12)
    columns = preference_columns(tiny_sft.tokenizer, pairs)
    trainer = supervised_trainer(
        reward_network(tiny_sft, 0),
        tiny_sft.tokenizer,
        columns,
        REWARD,
        Reporter(silent, lambda network: ({}, ()), 1),
        seed=0,
        folder=tmp_path,
        keep_checkpoints=False,
    )

    trained = [list(ids) for ids in trainer.train_dataset["chosen_ids"]]

    whole = [True] * len(pairs)
    rewarded = tiny_sft.tokenizer.rows(pairs["prompt"].tolist(), pairs["chosen"].tolist(), whole)
    assert sorted(trained) == sorted(rewarded), "in an order of its own"
    for ids in trained:
        assert ids[0] == ids[-1] == tiny_sft.tokenizer.eos_id, "starts and ends as OPT's texts do"
        assert tiny_sft.tokenizer.eos_id not in ids[1:-1]


def test_what_trl_would_make_of_the_texts_itself_are_the_same_tokens(tiny_sft, some_preferences):
    """TRL joins prompt and text, appends the end token as text, and tokenizes that."""
    pairs = some_preferences.of("train").head(12)
    theirs = tiny_sft.tokenizer.transformers_tokenizer()

    expected = [
        theirs(prompt + text + theirs.eos_token)["input_ids"]
        for prompt, text in zip(pairs["prompt"], pairs["chosen"], strict=True)
    ]

    assert preference_columns(tiny_sft.tokenizer, pairs)["chosen_ids"] == expected


def test_written_messages_are_scored_as_the_tokens_that_were_written(tiny_sft):
    """Bytes that are no text aside, what the policy wrote is what the reward model reads."""
    writer = Writer.of(tiny_sft)
    prompts = ["Service: phone plan\nMessage:"] * 20
    written = [each[0] for each in generate(writer, prompts, seed=0, max_new_tokens=30)]

    rows = writer.tokenizer.rows(prompts, [each.text for each in written], [each.ended for each in written])

    for prompt, each, row in zip(prompts, written, rows, strict=True):
        assert writer.tokenizer.decode([row]) == [prompt + each.text]
        assert (row[-1] == writer.tokenizer.eos_id) == each.ended


def test_a_score_does_not_depend_on_what_else_is_scored(tiny_reward):
    scorer = Scorer.of(tiny_reward)
    prompts, texts = ["A\nMessage:", "Service: x\nMessage:"], [" Hello.", " A much longer text, for padding."]

    together = score(scorer, prompts, texts, [True, False])

    alone = [score(scorer, [p], [t], [e])[0] for p, t, e in zip(prompts, texts, [True, False], strict=True)]
    assert together == pytest.approx(np.array(alone), abs=1e-5)


def test_the_reward_starts_as_the_sft_models_trunk(tiny_sft):
    network = reward_network(tiny_sft, seed=0)

    trunk = {name: values for name, values in network.named_parameters() if not name.startswith("score")}
    assert set(trunk) == {name for name in tiny_sft.weights if not name.startswith("lm_head")}
    for name, value in trunk.items():
        assert (value.detach().numpy() == tiny_sft.weights[name]).all()


def test_rewards_of_the_sft_models_messages_are_standardised(tiny_reward):
    raw = np.array(
        [tiny_reward.reward.mean, tiny_reward.reward.mean + 2 * tiny_reward.reward.std], np.float32
    )

    assert tiny_reward.reward.standardised(raw) == pytest.approx([0.0, 2.0], abs=1e-4)
    assert tiny_reward.reward.std != tiny_reward.judge.std


def test_the_record_tells_who_was_trained_on_how_much(tiny_reward, some_preferences):
    figures = tiny_reward.record.figures

    assert figures["pairs"] + figures["judge_pairs"] == len(some_preferences.of("train"))
    assert "accuracy" in {key for entry in tiny_reward.record.curve for key in entry}
    assert figures["judge_accuracy_validation"] > 0.6, "by words alone, of the few pairs of a small corpus"
    assert [entry["step"] for entry in tiny_reward.record.curve] == sorted(
        entry["step"] for entry in tiny_reward.record.curve
    )


def test_a_counterfactual_differs_in_one_fact_that_is_another_prompts(some_preferences):
    pairs = some_preferences.of("train")

    made = counterfactuals(pairs, some_preferences.situations(pairs), 120, seed=0, alone=False)

    whole = dict(zip(pairs["prompt"], pairs["chosen"], strict=True))
    assert len(made) == 120
    assert all(
        whole[prompt].startswith(chosen)
        for prompt, chosen in zip(made["prompt"], made["chosen"], strict=True)
    )
    assert (made["chosen"] != made["rejected"]).all()
    assert 0.05 < (made["chosen"] == made["prompt"].map(whole)).mean() < 0.4, "some are whole texts"
    assert set(quantities_that_differ(made)) == {0, 1}, "a quantity, or else the service"


def test_a_fact_alone_is_its_prompts_over_another_prompts(some_preferences):
    pairs = some_preferences.of("train")

    made = counterfactuals(pairs, some_preferences.situations(pairs), 120, seed=0, alone=True)

    assert len(made) == 120
    for prompt, chosen, rejected in made.itertuples(index=False):
        assert chosen in prompt
        assert rejected not in prompt
    assert set(quantities_that_differ(made)) == {0, 1}
    others = counterfactuals(pairs, some_preferences.situations(pairs), 120, seed=0, alone=False)
    assert made["prompt"].tolist() != others["prompt"].tolist(), "another draw than the next lesson's"


def quantities_that_differ(pairs):
    quantities = pairs[["chosen", "rejected"]].map(lambda text: tuple(re.findall(r"\d+%|\d+ months?", text)))
    return [sum(a != b for a, b in zip(*row, strict=True)) for row in quantities.itertuples(index=False)]


def test_pairs_that_tell_no_fact_make_no_counterfactuals(some_preferences):
    pairs = some_preferences.of("train").assign(arm="")

    assert counterfactuals(pairs, some_preferences.situations(pairs), 50, seed=0, alone=True).empty


def test_a_pair_longer_than_allowed_is_an_error_and_not_dropped(tiny_sft, some_preferences):
    config = REWARD.model_copy(update={"max_length": 20})

    with pytest.raises(
        TextError, match=r"reward_model\.max_length: \d+ of \d+ rows are longer than 20 tokens"
    ):
        train_reward(some_preferences, tiny_sft, config, seed=0)


def test_pairs_without_customers_teach_the_judge_as_well(some_preferences):
    train = some_preferences.of("train").assign(customer_id="")
    judged = judges_pairs(owners(train), REWARD.judge_share, 0)
    assert 0.2 < judged.mean() < 0.5
    assert not set(train["prompt"][judged]) & set(train["prompt"][~judged])


def test_pairs_of_one_prompt_leave_the_judge_nothing_and_are_refused(some_preferences, tiny_sft):
    frame = some_preferences.frame.assign(customer_id="", prompt="Write to somebody.")
    alone = replace(some_preferences, frame=frame)
    with pytest.raises(
        TextError, match="pairs of 1 customers or prompts, expected enough that reward and judge"
    ):
        train_reward(alone, tiny_sft, REWARD, seed=0)


def test_the_same_seed_gives_the_same_reward_model(tiny_sft, tiny_reward, some_preferences):
    again = train_reward(some_preferences, tiny_sft, REWARD, seed=0)
    other = train_reward(some_preferences, tiny_sft, REWARD, seed=1)

    assert again.digest == tiny_reward.digest
    assert again.record == tiny_reward.record
    assert other.digest != tiny_reward.digest


def test_accuracy_counts_pairs_whose_chosen_text_scores_higher(tiny_reward, some_preferences):
    pairs = some_preferences.of("test").head(20)
    scorer = Scorer.of(tiny_reward)
    turned = pairs.rename(columns={"chosen": "rejected", "rejected": "chosen"})

    assert accuracy(scorer, pairs) + accuracy(scorer, turned) == pytest.approx(1.0)

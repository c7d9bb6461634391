"""Divergence of one model from another along texts is what its definition says."""

import pytest
import torch

from churn_assets.message.model.generation import Writer
from churn_assets.message.model.likelihood import divergence, mean_log_ratio

TEXTS = [" Hello there.", " A longer text, which says more than that.", " Hi."]
ENDED = [True, False, True]


@pytest.fixture(scope="module")
def pair(tiny_policy, tiny_sft):
    return Writer.of(tiny_policy.model), Writer.of(tiny_sft)


@pytest.fixture
def prompts(tiny_sft):
    return list(tiny_sft.examples[:1]) * len(TEXTS)


def test_a_model_does_not_diverge_from_itself(pair, prompts):
    nats, places = divergence(pair[0], pair[0], prompts, TEXTS, ENDED)
    assert (nats == 0).all()
    assert mean_log_ratio(pair[0], pair[0], prompts, TEXTS, ENDED) == 0
    alone = pair[0].tokenizer.encode(prompts)
    whole = pair[0].tokenizer.rows(prompts, TEXTS, ENDED)
    assert places.tolist() == [len(ids) - len(prompt) for ids, prompt in zip(whole, alone, strict=True)]


def test_it_is_the_divergence_of_whole_distributions_at_every_place(pair, prompts):
    nats, places = divergence(*pair, prompts, TEXTS, ENDED)
    rows = pair[0].tokenizer.rows(prompts, TEXTS, ENDED)
    for ids, found, count in zip(rows, nats, places, strict=True):
        with torch.no_grad():
            log_p, log_q = (
                each.network(torch.tensor([ids])).logits[0].double().log_softmax(-1) for each in pair
            )
        by_place = (log_p.exp() * (log_p - log_q)).sum(-1)[-count - 1 : -1]
        assert found == pytest.approx(float(by_place.sum()), rel=1e-3, abs=1e-5)
        assert found > 0

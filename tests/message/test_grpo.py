"""GRPO, the alternative: TRL's trainer with the rewards, the steered weight of KL and the judge of our own."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tiny_models import PPO

from churn_assets.message.model.language_model import ModelError
from churn_assets.message.model.scoring import Scorer, score
from churn_assets.message.training.grpo import train_grpo
from churn_assets.message.training.rollouts import COLUMNS

GRPO = PPO.model_copy(update={"algorithm": "grpo", "steps": 3})


@pytest.fixture(scope="module")
def policy(tiny_sft, tiny_reward, some_messages):
    return train_grpo(tiny_sft, tiny_reward, some_messages, GRPO, seed=0)


def test_every_logged_reward_is_the_reward_models_own(policy, tiny_reward):
    rows = policy.rollouts

    raw = score(
        Scorer.of(tiny_reward), rows["prompt"].tolist(), rows["text"].tolist(), rows["ended"].tolist()
    )

    assert tuple(rows.columns) == COLUMNS
    assert len(rows) == GRPO.steps * GRPO.batch_size
    assert rows["reward_logit"].to_numpy() == pytest.approx(raw, abs=1e-5)


def test_each_prompt_is_answered_as_often_as_configured(policy):
    counts = policy.rollouts.groupby(["step", "prompt"]).size()

    assert (counts % GRPO.num_generations == 0).all()


def test_the_weight_of_kl_is_steered(policy):
    betas = [entry["beta"] for entry in policy.model.record.curve]

    assert betas[0] == GRPO.init_beta
    fastest = 1 - GRPO.kl_gain
    assert betas[1:] == pytest.approx([0.1 * fastest, 0.1 * fastest**2]), "far below its target"


def test_the_same_seed_gives_the_same_policy(policy, tiny_sft, tiny_reward, some_messages):
    again = train_grpo(tiny_sft, tiny_reward, some_messages, GRPO, seed=0)

    assert again.model.digest == policy.model.digest
    assert again.model.digest != tiny_sft.digest


def test_a_reward_model_of_another_sft_model_is_refused_by_name(tiny_sft, tiny_reward, some_messages):
    with pytest.raises(ModelError, match="reward_model trained from sft_model"):
        train_grpo(tiny_sft, replace(tiny_reward, sft_digest="0" * 64), some_messages, GRPO, seed=0)


def test_training_ends_where_the_judge_turns(tiny_sft, reward_that_is_opposed, some_messages):
    config = GRPO.model_copy(
        update={
            "steps": 25,
            "learning_rate": 5e-3,
            "init_beta": 1e-6,
            "kl_gain": 0.0,
            "missing_eos_penalty": 0.0,
            "judge_window": 1,
            "judge_tolerance": 0.3,
        }
    )

    policy = train_grpo(tiny_sft, reward_that_is_opposed, some_messages, config, seed=0)

    assert policy.model.record.figures["stopped_by_judge"]
    assert policy.model.record.figures["steps"] < 25

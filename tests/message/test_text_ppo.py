"""PPO on text: its formulas against brute force, what it starts from, and what it refuses."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from telco_texts import PROFILE
from tiny_models import PPO
from transformers import LlamaConfig, LlamaForCausalLM

from churn_assets.message.config import SafetyRules
from churn_assets.message.guides import guide_of_messages
from churn_assets.message.model.audit import says_only
from churn_assets.message.model.language_model import (
    LanguageModel,
    ModelError,
    RewardNetwork,
    architecture_of,
    weights_of,
)
from churn_assets.message.model.scoring import Scorer, score
from churn_assets.message.model.tokenizer import train_tokenizer
from churn_assets.message.text.safety import Safety
from churn_assets.message.training.config import ComputeConfig, LoraConfig, RewardModelConfig
from churn_assets.message.training.diary import next_beta
from churn_assets.message.training.over_optimisation import judge_verdict
from churn_assets.message.training.ppo import (
    PpoTrainer,
    advantages,
    policy_loss,
    token_rewards,
    train_ppo,
    value_loss,
    whitened,
)
from churn_assets.message.training.reward import train_reward
from churn_assets.message.training.rollouts import (
    COLUMNS,
    mini_batches,
    prompts_of_step,
    shaped_reward,
    told_often,
)

PROMPTS = ["Bill: 70\nMessage:", "A longer one | Bill: 20\nMessage:"] * 4


def test_advantages_are_those_of_the_definition():
    """Sum over all later steps of (gamma lambda)^k times the one-step surprise, message by message."""
    rng = np.random.default_rng(0)
    rewards, values = rng.normal(size=(2, 3, 6))
    lengths, gamma, lam = [6, 1, 4], 0.9, 0.8
    written = np.array([[t < length for t in range(6)] for length in lengths], float)
    expected = np.zeros((3, 6))
    for row, length in enumerate(lengths):
        for t in range(length):
            for later in range(t, length):
                ahead = values[row, later + 1] if later + 1 < length else 0.0
                surprise = rewards[row, later] + gamma * ahead - values[row, later]
                expected[row, t] += (gamma * lam) ** (later - t) * surprise

    found = advantages(torch.tensor(rewards), torch.tensor(values), torch.tensor(written), gamma, lam)

    assert found.numpy() == pytest.approx(expected)


def test_with_lambda_one_an_advantage_and_its_value_are_the_discounted_return():
    rewards, values = torch.randn(2, 5), torch.randn(2, 5)

    found = advantages(rewards, values, torch.ones(2, 5), 1.0, 1.0) + values

    assert torch.allclose(found[:, 0], rewards.sum(1), atol=1e-5)


def test_every_token_pays_for_its_divergence_and_the_last_one_earns_the_score():
    kl = torch.tensor([[0.5, -0.25, 9.0], [1.0, 2.0, 3.0]])
    written = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])

    found = token_rewards(torch.tensor([2.0, -1.0]), kl, written, beta=0.1)

    assert torch.allclose(found, torch.tensor([[-0.05, 2.025, 0.0], [-0.1, -0.2, -1.3]]))


@pytest.mark.parametrize("advantage", [1.0, -1.0])
@pytest.mark.parametrize("ratio", [0.5, 0.9, 1.0, 1.1, 1.5])
def test_the_surrogate_is_clipped_only_where_it_would_gain(advantage, ratio):
    loss, found = policy_loss(
        torch.tensor([math.log(ratio)]), torch.zeros(1), torch.tensor([advantage]), clip_range=0.2
    )

    assert found.item() == pytest.approx(ratio)
    assert loss.item() == pytest.approx(-min(ratio * advantage, min(max(ratio, 0.8), 1.2) * advantage))


def test_a_value_gains_nothing_by_moving_further_than_the_clip():
    old, returns = torch.zeros(1), torch.ones(1)

    near, far = (value_loss(torch.tensor([v]), old, returns, 0.2).item() for v in (0.2, 0.9))

    assert near == far == pytest.approx(0.5 * 0.8**2)


def test_the_weight_of_kl_moves_towards_its_target():
    assert next_beta(0.1, kl=0.30, target=0.15, gain=0.1) == pytest.approx(0.11)
    assert next_beta(0.1, kl=0.0, target=0.15, gain=0.1) == pytest.approx(0.09)
    assert next_beta(0.1, kl=0.15, target=0.15, gain=0.1) == pytest.approx(0.1)
    assert 0.1 < next_beta(0.1, kl=0.165, target=0.15, gain=0.1) < 0.11


def test_without_a_gain_or_a_weight_nothing_is_steered():
    assert next_beta(0.1, kl=5.0, target=0.15, gain=0.0) == 0.1
    assert next_beta(0.0, kl=5.0, target=0.15, gain=0.1) == 0.0


def test_a_steered_weight_finds_the_target_where_kl_falls_with_it():
    """A policy whose divergence is 0.012 / beta, as for a small step from the reference."""
    beta = 0.1
    for _ in range(60):
        beta = next_beta(beta, kl=0.012 / beta, target=0.15, gain=0.1)

    assert 0.012 / beta == pytest.approx(0.15, rel=0.05)


def test_whitening_makes_all_minibatches_together_of_mean_zero_and_variance_one():
    written = [torch.tensor([[1.0, 1.0, 0.0]]), torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 1.0]])]
    values = [torch.randn(1, 3) + 4, torch.randn(2, 3) * 3]

    found = whitened(values, written)

    flat = torch.cat([each[mask > 0] for each, mask in zip(found, written, strict=True)])
    assert flat.mean().item() == pytest.approx(0, abs=1e-6)
    assert flat.var(correction=0).item() == pytest.approx(1, rel=1e-4)
    assert all((each[mask == 0] == 0).all() for each, mask in zip(found, written, strict=True))


@pytest.mark.parametrize("lora", [None, LoraConfig(r=2, dropout=0.5)])
def test_the_ratio_is_exactly_one_on_the_first_minibatch(tiny_sft, tiny_reward, lora):
    config = PPO.model_copy(update={"lora": lora, "gradient_accumulation_steps": 2})
    trainer = PpoTrainer(tiny_sft, tiny_reward, config, seed=0)

    for _ in range(2):
        trainer.run_step(PROMPTS)

        assert len(trainer.first_ratios) > 0
        assert (trainer.first_ratios == 1).all()


def test_bfloat16_goes_through_all_of_it(tiny_sft, tiny_reward, some_messages):
    config = PPO.model_copy(update={"compute": ComputeConfig(device="cpu", dtype="bfloat16"), "steps": 1})

    policy = train_ppo(tiny_sft, tiny_reward, some_messages, config, seed=0)

    assert all(np.isfinite(values).all() for values in policy.model.weights.values())
    assert policy.model.digest != tiny_sft.digest


def test_accumulated_passes_are_learned_from_as_if_they_were_one(tiny_sft, tiny_reward, some_messages):
    one = PPO.model_copy(update={"mini_batch_size": 8, "steps": 1, "learning_rate": 1e-3})
    two = one.model_copy(update={"mini_batch_size": 4, "gradient_accumulation_steps": 2})

    whole, parts = (train_ppo(tiny_sft, tiny_reward, some_messages, config, seed=0) for config in (one, two))

    for name, values in whole.model.weights.items():
        assert parts.model.weights[name] == pytest.approx(values, abs=2e-4)


def test_every_logged_reward_is_the_reward_models_own(tiny_policy, tiny_reward):
    rows = tiny_policy.rollouts
    texts = (rows["prompt"].tolist(), rows["text"].tolist(), rows["ended"].tolist())

    raw = score(Scorer.of(tiny_reward), *texts)
    judged = tiny_reward.judge.score(*texts)

    assert rows["reward_logit"].to_numpy() == pytest.approx(raw, abs=1e-5)
    assert rows["judge_logit"].to_numpy() == pytest.approx(judged, abs=1e-5)
    often = np.concatenate(
        [told_often(step["prompt"].tolist(), step["text"].tolist()) for _, step in rows.groupby("step")]
    )
    shaped = shaped_reward(tiny_reward.reward.standardised(raw), rows["ended"].tolist(), PPO, often=often)
    assert rows["reward"].to_numpy() == pytest.approx(shaped, abs=1e-5)


def test_a_message_without_an_end_pays_for_it_and_rewards_are_clipped():
    config = PPO.model_copy(update={"missing_eos_penalty": 2.0, "reward_clip": 1.5})

    found = shaped_reward(np.array([1.0, 1.0, 9.0, -9.0], np.float32), [True, False, True, False], config)

    assert found.tolist() == [1.0, -1.0, 1.5, -3.5]


def test_a_message_that_may_not_be_sent_pays_for_it():
    config = PPO.model_copy(update={"refused_penalty": 0.5})

    found = shaped_reward(np.zeros(2, np.float32), [True, True], config, np.array([False, True]))

    assert found.tolist() == [0.0, -0.5]


def test_a_message_pays_for_what_the_others_of_its_step_say_too_the_facts_apart():
    prompt = "Service: {} | Contract: monthly | Months with us: 3 | Bill: 50 | Offer: {}% off for 6 months\nMessage:"
    prompts = [prompt.format("DSL", 20), prompt.format("phone plan", 10), prompt.format("DSL", 5)]
    texts = [
        " Hi {name}. Take 20% off your DSL. Thanks.",
        " Hello {name}. Take 10% off your phone plan. Thanks.",
        " Dear {name}. Enjoy 5% off. Please reply YES.",
    ]

    often = told_often(prompts, texts)

    assert often.tolist() == pytest.approx([1 / 3, 1 / 3, 0])
    config = PPO.model_copy(update={"told_often_penalty": 3.0})
    assert shaped_reward(np.zeros(3, np.float32), [True] * 3, config, often=often).tolist() == [
        -1.0,
        -1.0,
        0.0,
    ]


def test_under_masks_the_ratio_starts_at_one_and_every_text_says_its_offer(
    tiny_sft, tiny_reward, some_messages
):
    safety = Safety(SafetyRules(), [rule["text"] for rule in PROFILE["services"]])
    guide = guide_of_messages(tiny_sft, some_messages, safety)
    config = PPO.model_copy(update={"max_new_tokens": 120, "batch_size": 4, "mini_batch_size": 2})
    trainer = PpoTrainer(tiny_sft, tiny_reward, config, 0, guide)
    prompts = list(guide.situations)[:4]

    trainer.run_step(prompts)

    assert (trainer.first_ratios == 1).all()
    assert trainer.diary.latest["kl"] == 0.0
    assert trainer.diary.latest["ended"] == 1.0
    texts = trainer.finished().rollouts["text"]
    assert guide.refused(prompts, texts.tolist()).all()  # true offers, in words that make no sense
    for prompt, text in zip(prompts, texts, strict=True):
        at = guide.situations[prompt]
        assert says_only(text.replace(at.profile.service, "{service}"), at.arm, "USD"), text


def test_the_critic_starts_as_the_reward_model(tiny_sft, tiny_reward):
    trainer = PpoTrainer(tiny_sft, tiny_reward, PPO, seed=0)

    for name, value in trainer.critic.named_parameters():
        assert (value.detach().numpy() == tiny_reward.reward.weights[name]).all()


def test_the_policy_starts_as_the_sft_model_and_is_at_first_no_nat_away(tiny_policy, tiny_sft):
    first = tiny_policy.rollouts.query("step == 0")

    assert (first["kl"] == 0).all()
    assert tiny_policy.sft_digest == tiny_sft.digest
    assert tiny_policy.model.digest != tiny_sft.digest


def test_rollouts_tell_everything_that_was_written(tiny_policy):
    rows = tiny_policy.rollouts

    assert tuple(rows.columns) == COLUMNS
    assert len(rows) == PPO.steps * PPO.batch_size
    assert rows["step"].tolist() == sorted(rows["step"])


def test_progress_is_told_after_every_step_with_texts(tiny_sft, tiny_reward, some_messages):
    told = []

    def listen(*, step, total, samples=(), **figures):
        told.append((step, total, len(samples), set(figures)))

    train_ppo(tiny_sft, tiny_reward, some_messages, PPO, seed=0, progress=listen)

    assert [(step, total) for step, total, _, _ in told] == [(1, 3), (2, 3), (3, 3)]
    assert all(texts == 2 for _, _, texts, _ in told)
    assert told[0][3] >= {"reward", "judge", "kl", "beta", "ended", "policy_loss", "explained_variance"}


def test_the_same_seed_gives_the_same_policy_and_another_seed_another(
    tiny_sft, tiny_reward, tiny_policy, some_messages
):
    again = train_ppo(tiny_sft, tiny_reward, some_messages, PPO, seed=0)
    other = train_ppo(tiny_sft, tiny_reward, some_messages, PPO, seed=1)

    assert again.model.digest == tiny_policy.model.digest
    assert again.rollouts.equals(tiny_policy.rollouts)
    assert other.model.digest != tiny_policy.model.digest


def test_a_reward_model_of_another_sft_model_is_refused_by_name(tiny_sft, tiny_reward, some_messages):
    weights = {name: values * 1.01 for name, values in tiny_sft.weights.items()}

    with pytest.raises(ModelError, match=r"reward_model trained from sft_model [0-9a-f]{12}, expected"):
        train_ppo(replace(tiny_sft, weights=weights), tiny_reward, some_messages, PPO, seed=0)


def test_a_reward_model_of_another_tokenizer_is_refused_by_name(tiny_sft, tiny_reward, some_messages):
    other = train_tokenizer(["something else entirely"] * 3, 290)

    with pytest.raises(ModelError, match="reward_model of another tokenizer"):
        train_ppo(replace(tiny_sft, tokenizer=other), tiny_reward, some_messages, PPO, seed=0)


def test_a_reward_without_spread_is_refused(tiny_reward):
    """The predecessor trained on a constant 1.0 and never noticed."""
    constant = RewardNetwork(tiny_reward.reward.weights, 1.0, 0.0)

    with pytest.raises(ModelError, match="expected some spread"):
        replace(tiny_reward, reward=constant)


def test_a_llama_goes_through_reward_training_and_ppo(tiny_sft, some_preferences, some_messages):
    shape = LlamaConfig(
        vocab_size=tiny_sft.tokenizer.size,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=400,
        tie_word_embeddings=True,
        eos_token_id=tiny_sft.tokenizer.eos_id,
        bos_token_id=tiny_sft.tokenizer.eos_id,
        pad_token_id=tiny_sft.tokenizer.pad_id,
    )
    torch.manual_seed(0)
    network = LlamaForCausalLM(shape)
    architecture, config = architecture_of(network)
    llama = LanguageModel(
        architecture, config, weights_of(network), tiny_sft.tokenizer, tiny_sft.examples, tiny_sft.record
    )
    section = RewardModelConfig(
        max_steps=2, batch_size=4, max_length=400, normalisation_samples=16, max_new_tokens=8
    )

    reward = train_reward(some_preferences, llama, section, seed=0)
    policy = train_ppo(llama, reward, some_messages, PPO, seed=0)

    assert policy.model.architecture == "llama"
    assert policy.model.digest != llama.digest
    assert policy.model.record.curve[0]["kl"] == pytest.approx(0, abs=1e-6)


def test_minibatches_hold_every_message_once_and_mark_what_was_written():
    prompts, written = [[5, 6], [7], [8, 9, 10]], [[1], [2, 3, 4], [11, 12]]

    found = mini_batches(prompts, written, 2, 0, torch.device("cpu"))

    assert sorted(row for each in found for row in each.rows) == [0, 1, 2]
    for each in found:
        for number, row in enumerate(each.rows):
            ids = each.ids[number][each.mask[number] > 0].tolist()
            assert ids == prompts[row] + written[row]
            assert each.ids[number, each.prompt_length :][each.written[number] > 0].tolist() == written[row]


def test_every_prompt_is_used_once_before_any_is_used_again():
    prompts = [str(number) for number in range(10)]

    used = [each for step in range(5) for each in prompts_of_step(prompts, step, 4, seed=3)]

    assert sorted(used[:10]) == sorted(used[10:]) == sorted(prompts)
    assert used[:10] != used[10:]


def test_a_judge_that_falls_below_its_best_has_turned():
    judge = [0.0, 0.5, 1.0, 1.2, 1.1, 0.6, 0.2]
    reward = [0.0, 0.5, 1.0, 1.4, 1.8, 2.2, 2.6]

    verdict = judge_verdict(judge, reward, window=2, tolerance=0.25)

    assert verdict.turned
    assert verdict.best_step == 4
    assert "reward +1.60 then, +2.40 now" in verdict.reason


def test_a_judge_that_rises_or_wavers_within_the_tolerance_has_not_turned():
    assert not judge_verdict([0, 1, 2, 3], [0, 1, 2, 3], window=2, tolerance=0.25).turned
    assert not judge_verdict([1, 1.2, 1.0, 1.1], [0, 1, 2, 3], window=2, tolerance=0.25).turned


def test_training_ends_with_the_weights_of_the_judges_best_step(
    tiny_sft, reward_that_is_opposed, some_messages, monkeypatch
):
    """A policy that learns fast."""
    reward = reward_that_is_opposed
    config = PPO.model_copy(
        update={
            "steps": 30,
            "learning_rate": 3e-3,
            "init_beta": 0.0,
            "missing_eos_penalty": 0.0,
            "judge_window": 1,
            "judge_tolerance": 0.3,
        }
    )

    policy = train_ppo(tiny_sft, reward, some_messages, config, seed=0)

    figures, curve = policy.model.record.figures, policy.model.record.curve
    assert figures["stopped_by_judge"]
    assert figures["steps"] < 30
    judged = [each["judge"] for each in curve]
    assert judged[-1] < max(judged) - 0.3
    without = train_ppo(
        tiny_sft, reward, some_messages, config.model_copy(update={"stop_when_judge_turns": False}), seed=0
    )
    assert len(without.rollouts) == 30 * PPO.batch_size

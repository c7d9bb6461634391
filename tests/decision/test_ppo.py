"""Training: it reaches the optimum's neighbourhood, repeats bit for bit, and follows its configuration."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from churn_assets.decision import ppo as training_of
from churn_assets.decision.config import BudgetPriceConfig, PpoConfig, PpoDecisionConfig
from churn_assets.decision.core import RetentionCore
from churn_assets.decision.incremental import Incremental
from churn_assets.decision.observation import Observer
from churn_assets.decision.optimum import evaluate, gain_captured, never, solve
from churn_assets.decision.ppo import (
    budget_prices,
    cases,
    entropy_coefficient,
    export,
    ppo_model,
    reaching,
    train,
)

SHORT = PpoDecisionConfig(
    ppo=PpoConfig(cases=256, total_timesteps=8_192, n_envs=256, n_steps=16, batch_size=1024)
)


@pytest.fixture(scope="module")
def trained(monthly, make_tables):
    seen = []
    config = PpoDecisionConfig(ppo=PpoConfig(total_timesteps=131_072))
    training = train(make_tables(800, monthly, 1), monthly, config, seed=0, progress=seen.append)
    return training, seen, make_tables(200, monthly, 2)


def test_a_short_training_captures_most_of_the_attainable_gain_on_other_customers(trained, monthly):
    training, _, tables = trained
    none, best = evaluate(tables, monthly, never(monthly)), solve(tables, monthly).evaluation

    found = evaluate(tables, monthly, training.policy.choice(Observer(tables, monthly)))

    assert gain_captured(found.value, none.value, best.value) > 0.95


def test_one_policy_serves_every_budget_price(trained, monthly):
    training, _, tables = trained
    observer = Observer(tables, monthly)
    none = evaluate(tables, monthly, never(monthly)).value
    spends = []
    for price in (0.0, 0.5, 2.0):
        found = evaluate(tables, monthly, training.policy.choice(observer, price))
        best = solve(tables, monthly, price).evaluation
        gain = (found.value - none - price * found.spend).mean()
        assert gain > 0.9 * (best.value - none - price * best.spend).mean()
        spends.append(found.spend.mean())
    assert spends == sorted(spends, reverse=True)


def test_progress_is_exact_and_arrives_while_training(trained):
    training, seen, _ = trained

    assert list(training.curve) == seen
    assert training.best in seen
    assert seen[0].timesteps == 0
    assert len(seen) >= 3
    assert [p.timesteps for p in seen] == sorted({p.timesteps for p in seen})
    assert seen[-1].timesteps == training.timesteps == 131_072
    assert training.best.captured > 0.9


def test_the_exported_policy_gives_the_networks_own_logits(monthly, make_tables):
    tables = make_tables(50, monthly)
    core = RetentionCore(tables, monthly, 64, np.random.default_rng(0))
    model = ppo_model(core, SHORT, seed=3)
    rows = core.reset()

    policy = export(model, tables, monthly)

    with torch.no_grad():
        expected = model.policy.get_distribution(torch.as_tensor(rows)).distribution.probs.numpy()
    assert policy.probabilities(rows) == pytest.approx(expected, abs=1e-6)
    assert (policy.act(rows) == model.predict(rows, deterministic=True)[0]).all()


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(monthly, make_tables):
    tables = make_tables(50, monthly)

    first, again, other = (train(tables, monthly, SHORT, seed=s, monitored=4).policy for s in (7, 7, 8))

    for (a, a_bias), (b, b_bias) in zip(first.layers, again.layers, strict=True):
        assert (a == b).all()
        assert (a_bias == b_bias).all()
    assert (first.skip == again.skip).all()
    assert (first.layers[0][0] != other.layers[0][0]).any()


def test_training_leaves_the_number_of_threads_as_it_was(monthly, make_tables):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        train(make_tables(20, monthly), monthly, SHORT, seed=0, monitored=4)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_where_contact_changes_nothing_nobody_is_contacted(monthly, make_tables):
    """The noise of vanishing advantages once made 13 % of customers look worth an offer."""
    config = PpoDecisionConfig(ppo=PpoConfig(total_timesteps=65_536))
    tables = make_tables(400, monthly, effect=0.0)

    policy = train(tables, monthly, config, seed=0).policy

    assert evaluate(tables, monthly, policy.choice(Observer(tables, monthly))).contacted.mean() < 0.01


@pytest.mark.parametrize(
    ("key", "value", "resolved"),
    [
        ("n_envs", 128, lambda m: m.n_envs),
        ("n_steps", 8, lambda m: m.n_steps),
        ("batch_size", 512, lambda m: m.batch_size),
        ("n_epochs", 2, lambda m: m.n_epochs),
        ("learning_rate", 0.01, lambda m: m.policy.optimizer.param_groups[0]["lr"]),
        ("gae_lambda", 0.8, lambda m: m.rollout_buffer.gae_lambda),
        ("clip_range", 0.1, lambda m: m.clip_range(1.0)),
        ("value_coef", 0.3, lambda m: m.vf_coef),
        ("max_grad_norm", 0.7, lambda m: m.max_grad_norm),
        ("entropy_start", 0.2, lambda m: m.ent_coef),
        ("no_offer_logit", 2.5, lambda m: m.policy.action_net.bias[0].item()),
        ("regret_weight", 9.0, lambda m: m.policy.skip.weight.max().item()),
        (
            "net_arch",
            (8, 4),
            lambda m: tuple(layer.out_features for layer in m.policy.mlp_extractor.policy_net[::2]),
        ),
    ],
)
def test_every_ppo_key_reaches_the_parameter_it_names(monthly, make_tables, key, value, resolved):
    config = PpoDecisionConfig(ppo=SHORT.ppo.model_copy(update={key: value}))
    core = RetentionCore(make_tables(20, monthly), monthly, config.ppo.n_envs, np.random.default_rng(0))

    assert resolved(ppo_model(core, config, seed=0)) == value


def test_learning_rate_and_entropy_decay_to_their_ends(monthly, make_tables):
    ppo = SHORT.ppo.model_copy(update={"entropy_start": 0.5, "entropy_end": 0.1})
    core = RetentionCore(make_tables(20, monthly), monthly, ppo.n_envs, np.random.default_rng(0))
    model = ppo_model(core, PpoDecisionConfig(ppo=ppo), seed=0)

    assert entropy_coefficient(ppo, 1.0) == 0.5
    assert entropy_coefficient(ppo, 0.0) == pytest.approx(0.1)
    assert [model.lr_schedule(left) / ppo.learning_rate for left in (1.0, 0.5, 0.0)] == [1.0, 1.0, 0.5]


@pytest.mark.parametrize("total", [1, 10_000, 65_536, 66_000, 140_001, 333_333, 500_000, 777_777, 1_000_000])
def test_no_schedule_leaves_its_range_however_many_steps_are_asked_for(total):
    """The last update once climbed the loss: 500,000 steps are 8 rollouts of 65,536, and -4.9 % were left."""
    ppo = PpoConfig(total_timesteps=total)
    rollout = ppo.n_envs * ppo.n_steps
    assert total <= ppo.timesteps < total + rollout

    before = [
        training_of.remaining(ppo, 1 - steps / ppo.timesteps)
        for steps in range(rollout, total + rollout, rollout)
    ]

    assert len(before) == ppo.updates
    assert before == pytest.approx(np.arange(ppo.updates, 0, -1) / ppo.updates)
    assert 0 < training_of.remaining(ppo, -9.0) <= 1


@pytest.mark.parametrize("total", [1, 1_000, 1_025, 2_500])
def test_every_update_steps_forward(monthly, make_tables, monkeypatch, total):
    rates = []

    class Watched(training_of.PPO):
        def train(self):
            super().train()
            rates.append((self.policy.optimizer.param_groups[0]["lr"], self.clip_range(0.0), self.ent_coef))

    monkeypatch.setattr(training_of, "PPO", Watched)
    ppo = PpoConfig(cases=64, total_timesteps=total, n_envs=64, n_steps=8, batch_size=256)

    training = train(make_tables(20, monthly), monthly, PpoDecisionConfig(ppo=ppo), seed=0, monitored=4)

    assert training.timesteps == 512 * len(rates) == ppo.timesteps
    assert all(0 < rate <= 1e-3 and clip == 0.2 and 0.0003 <= bonus <= 0.01 for rate, clip, bonus in rates)


@pytest.mark.parametrize("total", [700, 2_048])
def test_a_training_that_goes_wrong_publishes_where_it_started(monthly, make_tables, total):
    ppo = PpoConfig(
        cases=64,
        total_timesteps=total,
        n_envs=64,
        n_steps=8,
        batch_size=64,
        learning_rate=5.0,
        clip_range=1e6,
    )
    tables = make_tables(60, monthly)

    training = train(tables, monthly, PpoDecisionConfig(ppo=ppo), seed=0)

    found = evaluate(tables, monthly, training.policy.choice(Observer(tables, monthly)))
    none, best = evaluate(tables, monthly, never(monthly)).value, solve(tables, monthly).evaluation.value
    assert training.best == training.curve[0]
    assert gain_captured(found.value, none, best) == training.best.captured > 0.9
    assert training.curve[-1].captured < training.best.captured


def test_budget_prices_are_drawn_as_configured():
    prices = budget_prices(4000, BudgetPriceConfig(maximum=5.0, unpriced_share=0.5), np.random.default_rng(0))

    assert (prices == 0).mean() == pytest.approx(0.5, abs=0.03)
    assert 4.5 < prices.max() <= 5.0


def test_prices_reach_as_far_as_offers_that_cost_a_cent_are_worth():
    """Beyond the highest price that is learned a policy knows nothing of a scarce budget."""
    value, spend = np.zeros((100, 1, 1, 2), np.float32), np.zeros((100, 1, 1, 2), np.float32)
    value[:, 0, 0, 1], spend[:, 0, 0, 1] = np.linspace(0.0, 1.0, 100), 0.01
    cheap = reaching(BudgetPriceConfig(), Incremental(value, spend, np.ones((100, 1))))
    dear = reaching(BudgetPriceConfig(), Incremental(value, 10 * spend, np.ones((100, 1))))
    assert 78 < cheap.maximum < 82  # a fifth of them are worth more than .8 for a cent
    assert 7.8 < dear.maximum < 8.2
    usual = Incremental(value, 100 * spend, np.ones((100, 1)))
    assert reaching(BudgetPriceConfig(), usual) == BudgetPriceConfig()
    unlimited = BudgetPriceConfig(maximum=0)
    assert reaching(unlimited, Incremental(value, spend, np.ones((100, 1)))) == unlimited


def test_every_customer_is_learned_from_about_as_often():
    rng = np.random.default_rng(0)

    assert set(np.bincount(cases(30, 100, rng))) == {3, 4}
    assert len(set(cases(1000, 100, rng).tolist())) == 100


def test_the_configured_number_of_steps_is_made(monthly, make_tables):
    assert train(make_tables(20, monthly), monthly, SHORT, seed=0, monitored=4).timesteps == 8_192


def test_a_batch_that_does_not_divide_the_rollout_is_refused():
    with pytest.raises(ValueError, match="batch_size 1000 does not divide"):
        PpoConfig(batch_size=1000)

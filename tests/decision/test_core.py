"""The sampled dynamics: they agree with the exact values and follow the rules."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from churn_assets.decision.core import RetentionCore
from churn_assets.decision.incremental import incremental
from churn_assets.decision.optimum import evaluate, never, solve
from churn_assets.decision.process import IDLE


def optimal_actions(tables, process, budget_price=0.0):
    actions = solve(tables, process, budget_price).actions

    def act(core, _observations):
        view = core.process.view[core.state]
        return actions[core.step_number, view, core.used, core.customer].astype(np.int64)

    return act


def sampled_value(process, tables, act, *, size=4000, seed=0, **options):
    """Discounted value of one episode per row of the core, and its standard error."""
    core = RetentionCore(tables, process, size, np.random.default_rng(seed), budget_price=0.5, **options)
    core.reset()
    total, discount, running = np.zeros(size), 1.0, np.ones(size, bool)
    for _ in range(process.horizon):
        step = core.step(act(core, None))
        total += discount * step.rewards * running
        running &= ~step.finished
        discount *= process.discount_factor
    return total.mean(), total.std() / size**0.5


@pytest.mark.parametrize("horizon", [1, 30])
def test_sampled_episodes_are_worth_what_the_exact_evaluation_says(monthly, make_tables, horizon):
    process = replace(monthly, horizon=horizon)
    tables = make_tables(5, process, seed=4)
    exact = solve(tables, process, 0.5).evaluation
    expected = (exact.value - 0.5 * exact.spend).mean()

    found, error = sampled_value(process, tables, optimal_actions(tables, process, 0.5), size=40_000)

    assert error < 0.01 * expected
    assert found == pytest.approx(expected, abs=3.5 * error)


def test_expected_incremental_rewards_sum_to_the_gain_over_never_offering(monthly, make_tables):
    tables = make_tables(5, monthly, seed=4)
    exact, none = solve(tables, monthly, 0.5).evaluation, evaluate(tables, monthly, never(monthly)).value
    expected = (exact.value - 0.5 * exact.spend - none).mean()

    found, error = sampled_value(
        monthly, tables, optimal_actions(tables, monthly, 0.5), size=20_000, reward="expected_incremental"
    )

    assert found == pytest.approx(expected, abs=3.5 * error)


def test_no_offer_earns_no_incremental_reward_and_an_offer_what_it_adds(monthly, make_tables):
    tables = make_tables(50, monthly)
    rng = np.random.default_rng(0)
    core = RetentionCore(tables, monthly, 50, rng, reward="expected_incremental", budget_price=0.3)
    core.reset(customer=np.arange(50))

    actions = np.arange(50) % monthly.n_arms
    rewards = core.step(actions).rewards

    expected = incremental(tables.responses, monthly).net(0.3)[np.arange(50), 0, 0, actions]
    assert rewards == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert (rewards[actions == 0] == 0).all()


def test_the_rules_hold_under_random_actions(monthly, make_tables):
    tables = make_tables(40, monthly)
    core = RetentionCore(tables, monthly, 256, np.random.default_rng(1))
    core.reset()
    rng = np.random.default_rng(2)
    last, offers, discount = np.full(256, -99), np.zeros(256, int), np.zeros(256, int)
    for t in range(200):
        actions = rng.integers(0, monthly.n_arms, 256)
        step = core.step(actions)

        assert (step.offered <= (actions > 0)).all()
        assert (step.masked == (actions > 0) & ~step.offered).all()
        assert (t - last[step.offered] >= monthly.cooldown).all()
        assert not discount[step.offered].any()
        discount = np.where(step.accepted, 6, np.maximum(discount, 0)) - 1
        discount = np.maximum(discount, 0)
        last[step.offered] = t
        offers += step.offered
        assert offers.max() <= monthly.max_offers
        last[step.index], offers[step.index], discount[step.index] = -99, 0, 0


def test_customers_too_many_to_prepare_are_observed_alike(monthly, make_tables, monkeypatch):
    tables = make_tables(40, monthly)

    def run():
        core = RetentionCore(
            tables, monthly, 64, np.random.default_rng(5), budget_price=np.linspace(0, 1, 40)
        )
        core.reset()
        steps = [core.step(np.full(64, t % 5)) for t in range(40)]
        return np.stack([step.observations for step in steps]), np.stack([step.rewards for step in steps])

    prepared = run()
    monkeypatch.setattr("churn_assets.decision.core.PREPARED_BYTES", 0)
    asked = run()

    assert (prepared[0] == asked[0]).all()
    assert (prepared[1] == asked[1]).all()


def test_every_arm_that_is_allowed_can_be_used_and_no_other(monthly, make_tables):
    tables = make_tables(40, monthly)
    allowed = tables.allowed.copy()
    allowed[:, 3:] = False
    core = RetentionCore(replace(tables, allowed=allowed), monthly, 40, np.random.default_rng(0))
    core.reset(customer=np.arange(40))

    assert not core.step(np.full(40, 3)).offered.any()
    core.reset(customer=np.arange(40))
    assert core.step(np.full(40, 2)).offered.all()


def test_the_horizon_and_churn_both_finish_an_episode(monthly, make_tables):
    process = replace(monthly, horizon=3)
    core = RetentionCore(make_tables(40, process), process, 1000, np.random.default_rng(0))
    core.reset()
    for t in range(1, 4):
        step = core.step(np.zeros(1000, int))
        if t < 3:
            assert (step.finished == step.churned).all()
    assert step.finished[core.step_number == 0].all()
    assert step.lengths.max() == 3
    assert (core.state == IDLE).all()


def test_an_episode_can_start_from_any_customer_state_and_price(monthly, make_tables):
    core = RetentionCore(make_tables(40, monthly), monthly, 1, np.random.default_rng(0))

    core.reset(customer=3, state=monthly.accepted(2, 1), offers_used=2, budget_price=1.5)

    assert core.customer.tolist() == [3]
    assert core.used.tolist() == [2]
    assert core.budget_price.tolist() == [1.5]
    for wrong in (
        {"customer": 40},
        {"state": 99},
        {"offers_used": -1},
        {"offers_accepted": 1},
        {"offers_used": 1, "offers_accepted": 2},
        {"budget_price": -1.0},
    ):
        with pytest.raises(ValueError, match=list(wrong)[-1]):
            core.reset(**wrong)


def test_every_customer_keeps_the_price_it_was_given(monthly, make_tables):
    prices = np.linspace(0, 2, 40)
    core = RetentionCore(make_tables(40, monthly), monthly, 64, np.random.default_rng(0), budget_price=prices)
    core.reset()
    for _ in range(40):
        core.step(np.zeros(64, int))

        assert core.budget_price == pytest.approx(prices[core.customer])
    with pytest.raises(ValueError, match="budget_price is fixed"):
        core.reset(budget_price=0.0)


def test_prepared_rows_are_what_the_observer_writes_for_the_same_decisions(monthly, make_tables):
    tables = make_tables(40, monthly)
    allowed = tables.allowed.copy()
    allowed[:20, 4] = False
    core = RetentionCore(
        replace(tables, allowed=allowed),
        monthly,
        128,
        np.random.default_rng(0),
        budget_price=np.linspace(0, 2, 40),
        final_observations=True,
    )
    core.reset()
    rng = np.random.default_rng(1)
    for _ in range(60):
        seen = core.step(rng.integers(0, 5, 128)).observations

        expected = core.observer.observe(
            core.customer, core.step_number, core.state, core.used, core.budget_price
        )
        assert (seen == expected).all()


def test_finished_episodes_carry_their_last_observation_when_asked(monthly, make_tables):
    process = replace(monthly, horizon=1)
    tables = make_tables(40, process)
    core = RetentionCore(tables, process, 8, np.random.default_rng(0), final_observations=True)
    core.reset()

    step = core.step(np.zeros(8, int))

    time = core.observer.names.index("time")
    assert (step.final_observations[:, time] == 1).all()
    assert (step.observations[:, time] == 0).all()


def test_the_same_seed_gives_the_same_episodes(monthly, make_tables):
    tables = make_tables(40, monthly)

    def run():
        core = RetentionCore(tables, monthly, 64, np.random.default_rng(5))
        core.reset()
        return np.stack([core.step(np.full(64, t % 5)).rewards for t in range(40)])

    assert (run() == run()).all()

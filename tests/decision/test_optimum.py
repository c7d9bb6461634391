"""Exact values against enumeration, against the one-window formula, and against every baseline."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from churn_assets.decision.baselines import baselines, constant
from churn_assets.decision.incremental import incremental
from churn_assets.decision.optimum import evaluate, gain_captured, never, solve
from churn_assets.decision.process import ACCEPTED, BASE, REFUSED


def toy_value(tables, process, policy, t=0, state=("idle", 0, 0), used=0):
    """Value and spend of one customer by walking every branch: the rules, without the status maps."""
    name, age, arm = state
    price, months = tables.price[0], process.step_months
    if t == process.horizon:
        owed = (process.discount - age) * months * process.menu[arm] * price if name == "discount" else 0.0
        return process.margin * price * (process.value_horizon_months - months) - owed, owed
    can = name == "idle" or (name == "refused" and age >= process.cooldown)
    action = policy(t, state, used) if can and used < process.max_offers else 0
    if action == 0:
        branches = [(1.0, state)]
    else:
        recent = int(name == "refused" and age < process.recent)
        q = tables.acceptance[0, t, recent, action]
        branches = [(q, ("discount", 0, action)), (1 - q, ("refused", 0, 0))]
    value, spend = (-process.contact_cost, process.contact_cost) if action else (0.0, 0.0)
    for chance, (now, now_age, now_arm) in branches:
        kind = (
            {"idle": BASE, "discount": ACCEPTED, "refused": REFUSED}[now]
            if now_age < process.window
            else BASE
        )
        churn = (tables.risk, tables.churn_if_accepted, tables.churn_if_refused)[kind][0, t]
        survive = (1 - churn) ** (months / process.window_months)
        limit = process.discount if now == "discount" else process.memory
        following = ("idle", 0, 0) if now == "idle" or now_age + 1 >= limit else (now, now_age + 1, now_arm)
        v, c = toy_value(tables, process, policy, t + 1, following, used + (action > 0))
        pct = process.menu[now_arm]
        gamma = process.discount_factor
        value += chance * survive * ((process.margin - pct) * price * months + gamma * v)
        spend += chance * survive * (pct * price * months + gamma * c)
    return value, spend


def reachable(tables, process):
    """Every (step, status, offers used) at which some policy has a choice."""
    seen, rng = set(), np.random.default_rng(0)

    def wander(*decision):
        seen.add(decision)
        return rng.integers(process.n_arms)

    for _ in range(50):
        toy_value(tables, process, wander)
    return sorted(seen)


@pytest.mark.parametrize("budget_price", [0.0, 0.7])
def test_the_optimum_equals_enumeration_of_every_policy_on_three_steps(monthly, make_tables, budget_price):
    process = replace(
        monthly, menu=(0.0, 0.1, 0.3), horizon=3, window_months=2, recent_window_months=2, cooldown_months=1,
        discount_months=2, max_offers=2, discount_factor=0.9,
    )  # fmt: skip
    for customer in range(3):
        tables = make_tables(5, process, seed=3).subset(np.array([customer]))
        decisions = reachable(tables, process)
        assert len(decisions) == 6
        best = -np.inf
        for choices in product(range(3), repeat=len(decisions)):
            table = dict(zip(decisions, choices, strict=True))
            value, spend = toy_value(tables, process, lambda t, s, u, table=table: table[t, s, u])
            best = max(best, value - budget_price * spend)

        found = solve(tables, process, budget_price).evaluation

        assert found.value[0] - budget_price * found.spend[0] == pytest.approx(best, rel=1e-12)


def test_any_policy_is_worth_what_walking_every_branch_says(monthly, make_tables):
    process = replace(monthly, horizon=9)
    tables = make_tables(4, process, seed=1)
    arms = {0: 3, 1: 1}

    for customer in range(4):
        alone = tables.subset(np.array([customer]))
        value, spend = toy_value(alone, process, lambda _t, s, _u: arms[int(s[0] == "refused")])

        weights = np.zeros((2, 1, process.n_arms, 1))
        weights[0, :, 3], weights[1, :, 1] = 1, 1
        found = evaluate(alone, process, lambda _t, weights=weights: weights)

        assert found.value[0] == pytest.approx(value, rel=1e-12)
        assert found.spend[0] == pytest.approx(spend, rel=1e-12)


def test_with_one_step_as_long_as_the_window_the_value_is_the_one_window_reward(one_window, make_tables):
    tables = make_tables(50, one_window, seed=2)
    price, risk = tables.price, tables.risk[:, 0]

    assert evaluate(tables, one_window, never(one_window)).value == pytest.approx(
        (1 - risk) * 0.5 * price * 12
    )
    for arm, pct in list(enumerate(one_window.menu))[1:]:
        q = tables.acceptance[:, 0, 0, arm]
        accepted, refused = tables.churn_if_accepted[:, 0], tables.churn_if_refused[:, 0]
        churn = q * accepted + (1 - q) * refused
        expected = (1 - churn) * 0.5 * price * 12 - q * (1 - accepted) * pct * price * 6 - 1.0

        found = evaluate(tables, one_window, constant(one_window, arm))

        assert found.value == pytest.approx(expected)
        assert found.spend == pytest.approx(q * (1 - accepted) * pct * price * 6 + 1.0)


def test_the_optimum_is_at_least_every_baseline_for_every_customer(monthly, make_tables):
    tables = make_tables(300, monthly)
    best = solve(tables, monthly).evaluation.value

    for name, choice in baselines(tables, monthly).items():
        assert (evaluate(tables, monthly, choice).value <= best + 1e-9).all(), name


def test_there_are_customers_worth_an_offer_and_sleeping_dogs_best_left_alone(monthly, make_tables):
    optimum = solve(make_tables(300, monthly), monthly)

    assert 0.05 < (optimum.evaluation.contacted > 0.5).mean() < 0.95


def test_following_the_optimal_actions_gives_the_optimal_value(monthly, make_tables):
    tables = make_tables(100, monthly)
    optimum = solve(tables, monthly, 0.5)
    arms = np.arange(monthly.n_arms)[None, None, :, None]

    found = evaluate(tables, monthly, lambda t: arms == optimum.actions[t][:, :, None])

    assert found.value == pytest.approx(optimum.evaluation.value)
    assert found.contacted == pytest.approx(optimum.evaluation.contacted)
    assert found.first.sum(axis=1) == pytest.approx(1)


def test_incremental_value_is_one_offer_followed_by_none_less_no_offer(monthly, make_tables):
    tables = make_tables(20, monthly)
    none = evaluate(tables, monthly, never(monthly))
    added = incremental(tables, monthly)

    for arm in range(1, monthly.n_arms):
        once = np.zeros((1, 1, monthly.n_arms, 1))
        once[:, :, arm] = 1
        found = evaluate(tables, monthly, lambda t, once=once: once if t == 0 else never(monthly)(t))

        assert added.value[:, 0, 0, arm] == pytest.approx(found.value - none.value, abs=1e-3)
        assert added.spend[:, 0, 0, arm] == pytest.approx(found.spend - none.spend, abs=1e-3)


def test_an_arm_that_is_not_allowed_is_no_offer(monthly, make_tables):
    tables = make_tables(40, monthly)
    allowed = np.ones_like(tables.allowed)
    allowed[:, 1:] = False
    opted_out = replace(tables, allowed=allowed)

    assert solve(opted_out, monthly).evaluation.contacted.max() == 0
    assert evaluate(opted_out, monthly, constant(monthly, 4)).value == pytest.approx(
        evaluate(tables, monthly, never(monthly)).value
    )


def test_without_effects_there_is_no_gain_to_capture(monthly, make_tables):
    tables = make_tables(100, monthly, effect=0.0)
    none = evaluate(tables, monthly, never(monthly)).value
    best = solve(tables, monthly).evaluation

    assert gain_captured(best.value, none, best.value) is None
    assert best.contacted.max() == 0

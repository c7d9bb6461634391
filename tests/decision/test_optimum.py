"""Exact values against enumeration, against the one-window formula, and against every baseline."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from churn_assets.arms import ArmConfig, Catalogue, PercentOff
from churn_assets.decision import baselines as baselines_module
from churn_assets.decision.baselines import baselines, constant
from churn_assets.decision.incremental import incremental, value_of_waiting, waiting_first
from churn_assets.decision.observation import KNOT_PRICES
from churn_assets.decision.optimum import evaluate, gain_captured, never, solve
from churn_assets.decision.process import IDLE


def toy_value(tables, process, policy, t=0, state=("idle", 0, 0), used=0):
    """Value and spend of one customer by walking every branch: the rules, without the state maps."""
    name, age, arm = state
    price, months = tables.price[0], process.step_months
    if t == process.horizon:
        benefit = process.menu.monthly(price)[arm] if name == "accepted" else 0.0
        owed = max(process.running_steps[arm] - age, 0) * months * benefit
        return process.margin * price * (process.value_horizon_months - months) - owed, owed
    running = name == "accepted" and age < process.running_steps[arm]
    can = name == "idle" or (age >= process.cooldown and not running)
    action = policy(t, state, used) if can and used < process.max_offers else 0
    if action == 0:
        branches = [(1.0, state)]
    else:
        recent = int(name != "idle" and age < process.recent)
        q = tables.acceptance[0, t, recent, action]
        branches = [(q, ("accepted", 0, action)), (1 - q, ("refused", 0, action))]
    spend = 0.0
    if action:
        spend = process.menu[action].contact_cost + q * process.menu[action].terms.given_once
    value = -spend
    for chance, (now, now_age, now_arm) in branches:
        churn = tables.risk[0, t]
        if now != "idle" and now_age < process.window:
            answered = tables.churn_if_accepted if now == "accepted" else tables.churn_if_refused
            churn = answered[0, t, now_arm - 1]
        survive = (1 - churn) ** (months / process.window_months)
        limit = process.memory
        if now == "accepted":
            limit = max(limit, process.running_steps[now_arm])
        following = ("idle", 0, 0) if now == "idle" or now_age + 1 >= limit else (now, now_age + 1, now_arm)
        v, c = toy_value(tables, process, policy, t + 1, following, used + (action > 0))
        runs = now == "accepted" and now_age < process.running_steps[now_arm]
        given = process.menu.monthly(price)[now_arm] * months * runs
        gamma = process.discount_factor
        value += chance * survive * (process.margin * price * months - given + gamma * v)
        spend += chance * survive * (given + gamma * c)
    return value, spend


def reachable(tables, process):
    """Every (step, state, offers used) at which some policy has a choice."""
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
        monthly, menu=Catalogue(discount_months=2).menu([0.0, 0.1, 0.3]), horizon=3, window_months=2,
        recent_window_months=4, cooldown_months=2, max_offers=2, discount_factor=0.9,
    )  # fmt: skip
    for customer in range(3):
        tables = make_tables(5, process, seed=3).subset(np.array([customer]))
        decisions = reachable(tables, process)
        assert len(decisions) == 7
        best = -np.inf
        for choices in product(range(3), repeat=len(decisions)):
            table = dict(zip(decisions, choices, strict=True))
            value, spend = toy_value(tables, process, lambda t, s, u, table=table: table[t, s, u])
            best = max(best, value - budget_price * spend)

        found = solve(tables, process, budget_price).evaluation

        assert found.value[0] - budget_price * found.spend[0] == pytest.approx(best, rel=1e-12)


def test_any_policy_is_worth_what_walking_every_branch_says(process, make_tables):
    process = replace(process, horizon=9)
    tables = make_tables(4, process, seed=1)

    def chosen(state):
        """Another arm in every open state: idle, or so long after a contact."""
        name, age, _ = state
        return 3 if name == "idle" else 1 + age % (process.n_arms - 1)

    weights = np.zeros((len(process.open_states), 1, process.n_arms, 1))
    for place, state in enumerate(process.open_states.tolist()):
        weights[place, :, chosen(("idle" if state == IDLE else "refused", int(process.age[state]), 0))] = 1

    for customer in range(4):
        alone = tables.subset(np.array([customer]))
        value, spend = toy_value(alone, process, lambda _t, state, _u: chosen(state))

        found = evaluate(alone, process, lambda _t, weights=weights: weights)

        assert found.value[0] == pytest.approx(value, rel=1e-12)
        assert found.spend[0] == pytest.approx(spend, rel=1e-12)


def test_with_one_step_as_long_as_the_window_the_value_is_the_one_window_reward(one_window, make_tables):
    tables = make_tables(50, one_window, seed=2)
    price, risk = tables.price, tables.risk[:, 0]

    assert evaluate(tables, one_window, never(one_window)).value == pytest.approx(
        (1 - risk) * 0.5 * price * 12
    )
    for arm, pct in list(enumerate(one_window.menu.size))[1:]:
        q = tables.acceptance[:, 0, 0, arm]
        accepted, refused = (
            churn[:, 0, arm - 1] for churn in (tables.churn_if_accepted, tables.churn_if_refused)
        )
        churn = q * accepted + (1 - q) * refused
        expected = (1 - churn) * 0.5 * price * 12 - q * (1 - accepted) * pct * price * 6 - 1.0

        found = evaluate(tables, one_window, constant(one_window, arm))

        assert found.value == pytest.approx(expected)
        assert found.spend == pytest.approx(q * (1 - accepted) * pct * price * 6 + 1.0)


def test_the_optimum_is_at_least_every_baseline_for_every_customer(process, make_tables):
    tables = make_tables(300, process)
    best = solve(tables, process).evaluation.value

    for name, choice in baselines(tables, process).items():
        assert (evaluate(tables, process, choice).value <= best + 1e-9).all(), name


def test_arms_of_one_label_are_baselines_of_their_own(monthly, make_tables):
    terms = PercentOff(share=0.2, months=6)
    arms = (ArmConfig(id=name, terms=terms, channel=name) for name in ("email", "letter"))
    process = replace(monthly, menu=Catalogue(declared=tuple(arms)).menu([0, "email", "letter"]))
    assert len(set(process.menu.labels)) == 2

    assert {"everyone: email", "everyone: letter"} <= set(baselines(make_tables(5, process), process))


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


def test_incremental_value_is_one_offer_followed_by_none_less_no_offer(process, make_tables):
    tables = make_tables(40, process)
    none = evaluate(tables, process, never(process))
    added = incremental(tables.responses, process)

    for arm in range(1, process.n_arms):
        once = np.zeros((1, 1, process.n_arms, 1))
        once[:, :, arm] = 1
        found = evaluate(tables, process, lambda t, once=once: once if t == 0 else never(process)(t))

        assert added.value[:, 0, 0, arm] == pytest.approx(found.value - none.value, abs=1e-3)
        assert added.spend[:, 0, 0, arm] == pytest.approx(found.spend - none.spend, abs=1e-3)


def test_incremental_value_after_a_recent_contact_is_what_walking_every_branch_says(any_offer, make_tables):
    process = replace(any_offer, horizon=5)
    tables = make_tables(3, process, seed=4)
    added = incremental(tables.responses, process)
    free = process.menu.position["free_month"]
    assert process.recent_at.tolist() == [0, 1]
    opened = [(0, ("idle", 0, 0))]
    for age in (3, 4):
        opened += [(1, ("refused", age, 1)), (1, ("accepted", age, free))]

    for customer in range(3):
        alone = tables.subset(np.array([customer]))
        for view, state in opened:
            none = toy_value(alone, process, lambda *_: 0, 1, state, 1)
            once = toy_value(alone, process, lambda t, *_: free * (t == 1), 1, state, 1)
            gained = once[0] - none[0], once[1] - none[1]
            assert added.value[customer, 1, view, free] == pytest.approx(gained[0], abs=1e-4)
            assert added.spend[customer, 1, view, free] == pytest.approx(gained[1], abs=1e-4)


def test_waiting_is_worth_the_best_single_offer_at_any_later_step(process, make_tables):
    tables = make_tables(60, process)
    added = incremental(tables.responses, process)
    prices = np.array([0.0, 0.5, 4.0])
    survival = process.discount_factor * (1 - process.hazard(tables.risk))
    expected = np.zeros((60, process.horizon, len(prices)))
    for t in reversed(range(process.horizon - 1)):
        net = added.value[:, t + 1, 0, :, None] - prices * added.spend[:, t + 1, 0, :, None]
        best = np.maximum(expected[:, t + 1], net.max(axis=1))
        expected[:, t] = survival[:, t, None] * best

    assert value_of_waiting(added, prices) == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_a_figure_is_the_same_bits_for_one_customer_and_for_many(process, make_tables):
    responses = make_tables(100, process).responses
    together = incremental(responses, process)

    for i in (0, 50, 99):
        alone = incremental(responses.of(slice(i, i + 1)), process)
        assert (alone.value[0] == together.value[i]).all()
        assert (alone.spend[0] == together.spend[i]).all()
        first = waiting_first(
            *(each[:1, :, 0, 1:].swapaxes(1, 2) for each in (alone.value, alone.spend)),
            np.cumprod(np.append(1.0, alone.survival[0, :-1]))[None],
            KNOT_PRICES,
        )
        assert (
            first.astype(np.float32).tolist()
            == value_of_waiting(together, KNOT_PRICES)[i : i + 1, 0].tolist()
        )


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


def test_of_many_arms_the_best_for_everybody_are_reported(monthly, make_tables, monkeypatch):
    tables = make_tables(40, monthly)
    arms = range(1, monthly.n_arms)
    added = incremental(tables.responses, monthly).net(0.0)[:, 0, monthly.view[IDLE]].mean(axis=0)
    best = sorted(arms, key=lambda arm: -added[arm])[:2]
    monkeypatch.setattr(baselines_module, "MOST_CONSTANTS", 2)
    told = [name for name in baselines(tables, monthly) if name.startswith("everyone: ")]
    assert told == [f"everyone: {monthly.menu.ids[arm]}" for arm in sorted(best)]
    monkeypatch.setattr(baselines_module, "MOST_CONSTANTS", len(arms))
    assert len([name for name in baselines(tables, monthly) if name.startswith("everyone: ")]) == len(arms)

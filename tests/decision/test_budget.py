"""A shared budget: the bound, the price, and the stop that no campaign overruns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from churn_assets.decision.budget import (
    budget_bound,
    price_for_budget,
    run_campaign,
    value_per_unit,
    within_budget,
)
from churn_assets.decision.observation import Observer, regret_columns
from churn_assets.decision.optimum import evaluate, never, solve
from churn_assets.decision.policy import DecisionPolicy


@pytest.fixture
def tables(monthly, make_tables):
    return make_tables(200, monthly)


@pytest.fixture
def observer(tables, monthly):
    return Observer(tables, monthly)


@pytest.fixture
def least_regret(monthly, observer):
    """The policy that takes the arm of least regret, as training starts with."""
    skip = np.zeros((monthly.n_arms, observer.width), np.float32)
    skip[:, regret_columns(observer.n_features, monthly)] = 16 * np.eye(monthly.n_arms)
    nothing = (np.zeros((monthly.n_arms, observer.width), np.float32), np.zeros(monthly.n_arms, np.float32))
    return DecisionPolicy(monthly, observer.names, (nothing,), skip)


@pytest.mark.parametrize("share", [0.5, 0.25, 0.1])
def test_the_bound_is_attained_by_the_optimum_at_its_price(tables, monthly, share):
    none = evaluate(tables, monthly, never(monthly)).value.mean()
    budget = share * solve(tables, monthly).evaluation.spend.mean()

    bound = budget_bound(tables, monthly, budget)

    assert bound.spend <= budget
    assert bound.feasible_value <= bound.value
    assert (bound.feasible_value - none) / (bound.value - none) > 0.99


def test_a_budget_that_does_not_bind_has_no_price(tables, monthly):
    best = solve(tables, monthly).evaluation

    bound = budget_bound(tables, monthly, 2 * best.spend.mean())

    assert bound.budget_price == 0
    assert bound.value == pytest.approx(best.value.mean())


def test_the_lowest_price_that_keeps_the_budget_is_found(least_regret, observer, tables):
    free = evaluate(tables, least_regret.process, least_regret.choice(observer)).spend.mean()

    priced = price_for_budget(least_regret, observer, tables, free / 3)

    spend = priced.evaluation.spend.mean()
    assert 0.9 * free / 3 < spend <= free / 3
    assert priced.budget_price > 0
    assert price_for_budget(least_regret, observer, tables, 2 * free).budget_price == 0


def test_a_policy_that_spends_at_any_price_keeps_no_budget(monthly, observer, tables):
    always = np.zeros((monthly.n_arms, observer.width), np.float32)
    policy = DecisionPolicy(
        monthly, observer.names, ((always, np.array([0, 0, 0, 0, 9], np.float32)),), always
    )

    with pytest.raises(ValueError, match=r"expected at most 0\.01"):
        price_for_budget(policy, observer, tables, 0.01)


def test_of_customers_who_are_alike_some_are_contacted_within_the_budget(least_regret, tables):
    """A price has all of them contacted or none; a fifth of the money is worth a fifth of the gain all the same."""
    process = least_regret.process
    everybody = evaluate(tables, process, least_regret.choice(Observer(tables, process)))
    alike = tables.subset(np.full(64, everybody.spend.argmax()))
    observer = Observer(alike, process)
    free = evaluate(alike, process, least_regret.choice(observer))
    none = float(evaluate(alike, process, never(process)).value.mean())
    budget = float(free.spend.mean()) / 5

    priced = price_for_budget(least_regret, observer, alike, budget)
    bound = budget_bound(alike, process, budget)

    assert priced.evaluation.spend.mean() < budget
    share = (priced.worth(budget) - none) / (bound.value - none)
    assert 0.98 < share <= 1 + 1e-3
    assert (priced.evaluation.value.mean() - none) / (bound.value - none) < share - 0.05
    assert price_for_budget(least_regret, observer, alike, 2 * 5 * budget).worth(
        10 * budget
    ) == pytest.approx(free.value.mean())


@pytest.mark.parametrize("budget", [0.0, 30.0, 300.0, 1e9])
@pytest.mark.parametrize("seed", range(3))
def test_no_campaign_spends_or_reserves_more_than_its_budget(least_regret, observer, tables, budget, seed):
    run = run_campaign(
        least_regret, observer, tables, budget=budget, budget_price=0.0, rng=np.random.default_rng(seed)
    )

    assert run.violations == 0
    assert run.spend <= run.largest_commitment <= budget
    assert (run.offers > 0) == (budget > 0)
    assert (run.stopped > 0) == (budget < 1e9)


def test_without_a_limit_a_campaign_spends_what_the_exact_evaluation_expects(least_regret, observer, tables):
    process = least_regret.process
    undiscounted = replace(process, discount_factor=1.0)
    policy = replace(least_regret, process=undiscounted)
    observer = Observer(tables, undiscounted)
    expected = evaluate(tables, undiscounted, policy.choice(observer)).spend.sum()

    spends = [
        run_campaign(
            policy, observer, tables, budget=1e9, budget_price=0.0, rng=np.random.default_rng(seed)
        ).spend
        for seed in range(12)
    ]

    assert np.mean(spends) == pytest.approx(expected, abs=4 * np.std(spends) / 12**0.5)


def test_the_full_discount_and_the_contact_are_committed(monthly):
    most = monthly.commitments(np.array([100.0]))

    assert most[0] == pytest.approx([0, 31, 61, 121, 181])


def test_what_costs_nothing_is_always_granted_and_first():
    cost = np.array([50.0, 0.0, 30.0])
    priority = value_per_unit(np.array([100.0, 1.0, 90.0]), cost)
    assert priority.tolist() == [2.0, np.inf, 3.0]
    assert within_budget(cost, 40.0, priority).tolist() == [False, True, True]


def test_what_does_not_fit_is_skipped_and_the_highest_priority_goes_first():
    granted = within_budget(np.array([50.0, 60.0, 30.0]), 85.0, np.array([3.0, 2.0, 1.0]))

    assert granted.tolist() == [True, False, True]

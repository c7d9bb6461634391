"""Every gate passes a good policy and stops the failure it is there for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from churn_assets.arms import Catalogue
from churn_assets.decision import gates
from churn_assets.decision.config import DecisionGates
from churn_assets.decision.observation import Observer, regret_columns
from churn_assets.decision.policy import DecisionPolicy

LIMITS = DecisionGates(min_gain_captured=0.9)


@pytest.fixture
def yardstick(monthly, make_tables):
    return gates.Yardstick.of(make_tables(200, monthly), monthly)


def linear(process, observer, skip=None, bias=None):
    """A policy whose logits are linear in the observation."""
    shape = (process.n_arms, observer.width)
    bias = np.zeros(process.n_arms) if bias is None else np.asarray(bias)
    layer = (np.zeros(shape, np.float32), bias.astype(np.float32))
    skip = np.zeros(shape) if skip is None else skip
    return DecisionPolicy(process, observer.names, (layer,), np.asarray(skip, np.float32))


@pytest.fixture
def good(monthly, yardstick):
    """Takes the arm of least regret."""
    skip = np.zeros((monthly.n_arms, yardstick.observer.width))
    skip[:, regret_columns(yardstick.observer.n_features, monthly)] = np.eye(monthly.n_arms)
    return linear(monthly, yardstick.observer, skip)


@pytest.fixture
def generous(monthly, yardstick):
    """Offers 30 % to everyone, whatever it is shown."""
    return linear(monthly, yardstick.observer, bias=[0, 0, 0, 0, 5])


@pytest.fixture
def silent(monthly, yardstick):
    return linear(monthly, yardstick.observer, bias=[5, 0, 0, 0, 0])


def failed(outcome):
    return [gate.name for gate in outcome.gates if not gate.passed]


def test_a_good_policy_passes_every_gate(good, yardstick):
    assert failed(gates.gain(good, yardstick, LIMITS)) == []
    assert failed(gates.rules(good, yardstick)) == []
    assert failed(gates.proof_of_use(good, yardstick, LIMITS)) == []
    assert failed(gates.budget(good, yardstick, LIMITS)) == []
    assert failed(gates.no_worse_than(good, good, yardstick, LIMITS)) == []


def test_a_policy_that_gives_money_away_is_stopped(generous, yardstick):
    assert failed(gates.gain(generous, yardstick, LIMITS)) == ["gain_captured"]


def test_a_policy_that_ignores_what_it_is_shown_is_stopped_for_every_model(silent, generous, yardstick):
    everything = ["risk_model_matters", "accept_model_matters", "effect_model_matters"]

    assert failed(gates.proof_of_use(silent, yardstick, LIMITS)) == everything
    assert failed(gates.proof_of_use(generous, yardstick, LIMITS)) == everything


def test_a_policy_that_looks_at_acceptance_alone_does_not_prove_the_use_of_the_others(monthly, yardstick):
    skip = np.zeros((monthly.n_arms, yardstick.observer.width))
    skip[2, yardstick.observer.names.index("acceptance:percent_10")] = 1
    policy = linear(monthly, yardstick.observer, skip, bias=[0, -9, 0.35, -9, -9])

    stopped = failed(gates.proof_of_use(policy, yardstick, LIMITS))

    assert "risk_model_matters" in stopped
    assert "effect_model_matters" in stopped
    assert "accept_model_matters" not in stopped


def test_where_there_is_nothing_to_gain_contacting_customers_is_stopped(
    monthly, make_tables, generous, silent
):
    yardstick = gates.Yardstick.of(make_tables(100, monthly, effect=0.0), monthly)

    assert failed(gates.gain(generous, yardstick, LIMITS)) == ["contacted"]
    assert failed(gates.proof_of_use(generous, yardstick, LIMITS)) == ["contacted"]
    assert failed(gates.gain(silent, yardstick, LIMITS)) == []
    assert failed(gates.budget(silent, yardstick, LIMITS)) == []


def test_a_policy_trained_for_other_rules_is_stopped(good, monthly, yardstick):
    other = replace(good, process=replace(monthly, max_offers=9))

    assert failed(gates.rules(other, yardstick)) == ["same_process"]


def test_a_mask_that_allows_what_the_rules_forbid_is_stopped(generous, yardstick):
    """What is forbidden was once read from the very mask that is tried."""
    offers = yardstick.process.n_arms - 1
    yardstick.observer.situations[:, -offers:] = 1

    assert failed(gates.rules(generous, yardstick)) == ["forbidden_chosen", "forbidden_probability"]


def test_a_mask_that_forgets_a_customers_conditions_is_stopped(generous, yardstick):
    allowed = yardstick.tables.allowed.copy()
    allowed[:, 4] = False

    outcome = gates.rules(generous, replace(yardstick, tables=replace(yardstick.tables, allowed=allowed)))

    assert failed(outcome) == ["forbidden_chosen", "forbidden_probability"]


def test_the_rules_in_months_are_those_of_the_process(process):
    state, used = (each.reshape(-1) for each in np.indices((process.n_states, process.max_offers + 1)))

    closed = gates._closed(process, state, used)

    assert (closed == (~process.open[state] | (used == process.max_offers))).all()


def test_a_policy_that_spends_a_scarce_budget_badly_is_stopped(monthly, yardstick):
    """It follows the value without its price: under a budget it can only be stopped, not steered."""
    skip = np.zeros((monthly.n_arms, yardstick.observer.width))
    skip[2, yardstick.observer.names.index("risk")] = 1
    skip[2, yardstick.observer.names.index("budget_price")] = -1
    policy = linear(monthly, yardstick.observer, skip, bias=[0, -9, 0.3, -9, -9])

    assert failed(gates.budget(policy, yardstick, LIMITS)) == ["budget_share"]


def test_a_policy_worse_than_the_champion_is_stopped(silent, good, yardstick):
    assert failed(gates.no_worse_than(silent, good, yardstick, LIMITS)) == ["captured_over_champion"]
    assert failed(gates.no_worse_than(good, silent, yardstick, LIMITS)) == []


def test_a_champion_of_another_frailty_is_compared(silent, good, yardstick):
    """Every log estimates another one: a gate that asked for the same would compare nothing ever again."""
    newer = gates.Yardstick.of(
        yardstick.tables, replace(yardstick.process, frailty=0.3, frailty_band=(0.1, 0.6))
    )
    found = gates.no_worse_than(silent, good, newer, LIMITS)
    assert failed(found) == ["captured_over_champion"]
    assert failed(gates.no_worse_than(good, silent, newer, LIMITS)) == []
    assert found.gates[0].name != gates.no_champion().gates[0].name


def test_a_champion_that_counts_answers_is_no_other_way_compared(good, yardstick):
    counting = replace(yardstick.process, taste=0.5)
    other = linear(counting, Observer(yardstick.tables, counting))
    assert gates.no_worse_than(good, other, yardstick, LIMITS) == gates.no_champion()


def test_a_champion_of_another_menu_is_not_compared_here(good, monthly, make_tables, yardstick):
    process = replace(monthly, menu=Catalogue().menu([0.0, 0.2]))
    observer = Observer(make_tables(10, process), process)

    assert failed(gates.no_worse_than(good, linear(process, observer), yardstick, LIMITS)) == []


def test_the_table_lists_every_baseline_beside_policy_and_optimum(good, yardstick):
    rows = {row["policy"]: row for row in gates.gain(good, yardstick, LIMITS).tables["policies"]}

    assert rows["optimum"]["gain_captured"] == 1
    assert rows["no offer"]["gain_captured"] == 0
    assert {
        "policy",
        "random",
        "everyone: percent_30",
        "riskiest 30%: percent_20",
        "highest incremental value",
    } <= set(rows)


@pytest.mark.parametrize(
    ("key", "run"),
    [
        ("min_gain_captured", lambda p, t, g: gates.gain(p, t, g)),
        ("min_standard_errors_lost", lambda p, t, g: gates.proof_of_use(p, t, g)),
        ("min_budget_share", lambda p, t, g: gates.budget(p, t, g)),
        ("champion_captured_tolerance", lambda p, t, g: gates.no_worse_than(p, p, t, g)),
    ],
)
def test_every_threshold_is_the_configured_one(good, yardstick, key, run):
    outcome = run(good, yardstick, DecisionGates(**{key: 0.123}))

    assert 0.123 in [abs(gate.threshold) for gate in outcome.gates]


def test_the_contact_share_without_gain_is_the_configured_one(silent, monthly, make_tables):
    yardstick = gates.Yardstick.of(make_tables(50, monthly, effect=0.0), monthly)

    outcome = gates.gain(silent, yardstick, DecisionGates(max_contact_share_without_gain=0.5))

    assert outcome.gates[0].threshold == 0.5

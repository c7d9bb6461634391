"""The exported policy: plain numbers that answer as the trained network does."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from churn_assets.decision.observation import Observer
from churn_assets.decision.optimum import evaluate
from churn_assets.decision.policy import DecisionPolicy


@pytest.fixture
def tables(monthly, make_tables):
    return make_tables(30, monthly)


@pytest.fixture
def observer(tables, monthly):
    return Observer(tables, monthly)


@pytest.fixture
def policy(monthly, observer):
    rng = np.random.default_rng(0)

    def layer(outputs, inputs):
        return rng.normal(0, 0.3, (outputs, inputs)).astype(np.float32), np.zeros(outputs, np.float32)

    width = observer.width
    return DecisionPolicy(
        monthly, observer.names, (layer(16, width), layer(5, 16)), layer(5, width)[0] * np.float32(0.1)
    )


def observe(observer, process, m=500, seed=0):
    rng = np.random.default_rng(seed)
    states = rng.integers(0, process.n_states, m)
    return observer.observe(
        rng.integers(0, observer.size, m),
        rng.integers(0, process.horizon, m),
        states,
        rng.integers(0, process.max_offers + 1, m),
        rng.random(m).astype(np.float32),
    )


def test_an_arm_that_is_not_allowed_has_probability_zero_and_is_never_chosen(policy, observer, monthly):
    rows = observe(observer, monthly)
    forbidden = rows[:, -4:] == 0

    p = policy.probabilities(rows)

    assert forbidden.any()
    assert (p[:, 1:][forbidden] == 0).all()
    assert p.sum(axis=1) == pytest.approx(1)
    assert not forbidden[np.arange(len(rows)), policy.act(rows) - 1][policy.act(rows) > 0].any()


def test_one_row_is_answered_as_the_same_row_in_a_batch(policy, observer, monthly):
    rows = observe(observer, monthly)

    alone = np.concatenate([policy.logits(rows[i : i + 1]) for i in range(50)])

    assert alone == pytest.approx(policy.logits(rows)[:50], abs=1e-5)


def test_the_choice_is_the_action_at_every_decision(policy, tables, observer, monthly):
    choice = policy.choice(observer)(4)

    n = len(tables)
    rows = observer.observe(
        np.arange(n),
        np.full(n, 4),
        np.full(n, monthly.open_states[1]),
        np.full(n, 2),
        np.zeros(n, np.float32),
    )
    assert (choice[1, 2].argmax(axis=0) == policy.act(rows)).all()
    assert (choice[:, -1, 0] == 1).all()


def test_the_stochastic_choice_has_the_policys_probabilities(policy, tables, observer, monthly):
    choice = policy.choice(observer, 0.4, greedy=False)(0)

    n = len(tables)
    price = np.full(n, 0.4, np.float32)
    rows = observer.observe(np.arange(n), np.zeros(n, int), np.zeros(n, int), np.zeros(n, int), price)
    assert pytest.approx(policy.probabilities(rows), abs=1e-6) == choice[0, 0].T
    assert evaluate(tables, monthly, policy.choice(observer, 0.4, greedy=False)).contacted.max() <= 1


def test_an_observation_with_other_columns_is_refused(policy, tables, monthly):
    renamed = replace(tables, feature_names=("age", *tables.feature_names[1:]))

    with pytest.raises(ValueError, match="feature:age"):
        policy.choice(Observer(renamed, monthly))


def test_a_network_that_does_not_fit_its_observation_or_menu_is_refused(policy):
    (weight, bias), last = policy.layers
    with pytest.raises(ValueError, match="layer 0"):
        replace(policy, layers=((weight[:, 1:], bias), last))
    with pytest.raises(ValueError, match="expected float32"):
        replace(policy, layers=((weight.astype(float), bias), last))
    with pytest.raises(ValueError, match="16 outputs: expected 5 arms"):
        replace(policy, layers=((weight, bias),))
    with pytest.raises(ValueError, match="skip"):
        replace(policy, skip=policy.skip[:, 1:])


def test_deciding_needs_neither_torch_nor_stable_baselines_nor_gymnasium():
    modules = [
        "config",
        "process",
        "tables",
        "incremental",
        "observation",
        "core",
        "optimum",
        "policy",
        "budget",
    ]
    imports = "; ".join(f"import churn_assets.decision.{name}" for name in modules)
    heavy = "{'torch', 'stable_baselines3', 'gymnasium', 'sklearn', 'matplotlib', 'dagster'}"
    code = f"import sys; {imports}; print(sorted({heavy} & set(sys.modules)))"

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]"

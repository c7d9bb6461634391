"""What the shell scripts did in silence, at the place where the environment meets the trained models."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from churn_assets.customers.table import CustomerTable
from churn_assets.decision.core import RetentionCore
from churn_assets.decision.tables import UPSTREAM, build_tables


def rewards(tables, process, kind):
    """What a year of the same offers to the same customers earns, step by step."""
    core = RetentionCore(tables, process, 64, np.random.default_rng(0), reward=kind)
    core.reset()
    return np.stack([core.step(np.full(64, 2)).rewards for _ in range(12)])


@pytest.mark.parametrize("kind", ["realised", "expected_incremental"])
def test_the_reward_is_never_a_constant(make_tables, monthly, kind):
    earned = rewards(make_tables(64, monthly), monthly, kind)
    assert len(np.unique(earned)) > 100


@pytest.mark.parametrize("upstream", UPSTREAM)
def test_what_every_upstream_model_says_reaches_the_reward(make_tables, monthly, upstream):
    tables = make_tables(64, monthly)
    other = tables.permuted(upstream, np.random.default_rng(1))
    ours = rewards(tables, monthly, "expected_incremental")
    assert not np.array_equal(ours, rewards(other, monthly, "expected_incremental"))


@dataclass
class Model:
    """Stands where each of the three models stands; says one number, or fails."""

    says: float = 0.2
    fails: bool = False

    def predict(self, X, *_):
        if self.fails:
            raise RuntimeError("the model cannot predict")
        return np.full(len(X), self.says)

    def consequences(self, X, risk):
        return risk, self.predict(X), self.predict(X)


@pytest.fixture(scope="module")
def customers() -> CustomerTable:
    from pathlib import Path

    from churn_assets.customers.table import read_customers
    from churn_assets.experiment import load_experiment

    root = Path(__file__).parents[2]
    experiment = load_experiment("quickstart", root / "configs")
    table = read_customers(experiment.customers, seed=0, root=root)
    return table.where(np.arange(len(table)) < 20)


@pytest.mark.parametrize(
    ("place", "field"), [(0, "risk"), (1, "acceptance"), (2, "churn_if_accepted"), (2, "churn_if_refused")]
)
def test_a_trained_model_is_passed_to_the_environment_not_just_loaded(customers, monthly, place, field):
    models = [Model(), Model(), Model()]
    before = getattr(build_tables(customers, *models, monthly), field)
    models[place] = Model(says=0.3)
    after = getattr(build_tables(customers, *models, monthly), field)
    assert np.allclose(after[before > 0], 0.3)


@pytest.mark.parametrize("place", [0, 1, 2], ids=UPSTREAM)
def test_a_prediction_that_fails_stops_the_step_and_no_number_is_invented(customers, monthly, place):
    models = [Model(fails=number == place) for number in range(3)]
    with pytest.raises(RuntimeError, match="the model cannot predict"):
        build_tables(customers, *models, monthly)


def test_a_prediction_that_is_no_probability_stops_the_step_by_name(customers, monthly):
    with pytest.raises(ValueError, match="risk"):
        build_tables(customers, Model(says=float("nan")), Model(), Model(), monthly)

"""What the shell scripts did in silence, at the place where the environment meets the trained models."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from churn_assets.decision.core import RetentionCore
from churn_assets.decision.responses import ResponseModels
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


@pytest.fixture(scope="module")
def customers(small):
    return small.table.where(np.arange(len(small.table)) < 20)


CHANGES = {
    "risk": lambda small: {
        "risk": replace(small.risk, predictor=shifted(small.risk.predictor, "spline", 0.5)),
    },
    "acceptance": lambda small: {
        "accept": replace(small.accept, predictor=lowered(small.accept.predictor)),
    },
}


def shifted(predictor, part, by):
    curves = getattr(predictor, part)
    return replace(predictor, **{part: replace(curves, intercept=curves.intercept + by)})


def lowered(predictor):
    forest = predictor.forest
    return replace(predictor, forest=replace(forest, baseline=forest.baseline - 1.0))


@pytest.mark.parametrize("field", CHANGES)
def test_a_trained_model_is_passed_to_the_environment_not_just_loaded(customers, small, field):
    before = getattr(build_tables(customers, small.models.responses), field)
    models = {"risk": small.risk, "accept": small.accept, "effect": small.effect} | CHANGES[field](small)
    after = getattr(build_tables(customers, ResponseModels.of(**models, process=small.policy.process)), field)

    assert (np.abs(after - before)[before > 0] > 1e-6).all()


@dataclass
class Source:
    """Stands where the trained models stand; says what it is told to, or fails."""

    models: ResponseModels
    says: dict[str, float]
    fails: bool = False

    @property
    def schema(self):
        return self.models.schema

    @property
    def process(self):
        return self.models.process

    def responses(self, X, prior):
        if self.fails:
            raise RuntimeError("the model cannot predict")
        found = self.models.responses(X, prior)
        return found._replace(
            **{name: np.full_like(getattr(found, name), by) for name, by in self.says.items()}
        )


def test_a_prediction_that_fails_stops_the_step_and_no_number_is_invented(customers, small):
    with pytest.raises(RuntimeError, match="the model cannot predict"):
        build_tables(customers, Source(small.models.responses, {}, fails=True))


@pytest.mark.parametrize("field", ["risk", "acceptance", "churn_if_accepted", "churn_if_refused"])
def test_a_prediction_that_is_no_probability_stops_the_step_by_name(customers, small, field):
    with pytest.raises(ValueError, match=field):
        build_tables(customers, Source(small.models.responses, {field: float("nan")}))

"""A column that knows the outcome is told from a strong honest one, and named with all the others."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from benchmarks.foreign import as_table
from churn_assets.gates.leaks import lone_column
from churn_assets.gates.metrics import auc, promised_auc
from churn_assets.risk import gates
from churn_assets.risk.config import RiskGates, RiskModelConfig
from churn_assets.risk.model import RiskModel

ROWS = 3_000
LIMITS = RiskGates()


def drawn(logits, rng):
    return (rng.random(len(logits)) < 1 / (1 + np.exp(-logits))).astype(np.int8)


@pytest.fixture
def rng():
    return np.random.default_rng(8)


@pytest.fixture
def y(rng):
    return (rng.random(ROWS) < 0.25).astype(np.int8)


def alone(values, y, levels=()):
    return lone_column(np.asarray(values, float), y, np.arange(len(y)) % 10, levels)


def test_a_copy_with_one_label_in_a_hundred_wrong_ranks_alone(y, rng):
    assert alone(np.where(rng.random(ROWS) < 0.01, 1 - y, y), y).auc > 0.97


def test_a_date_after_the_label_ranks_alone(y, rng):
    """The last day that anything happened: for leavers, before the day of the table."""
    assert alone(np.where(y == 1, rng.uniform(0, 90, ROWS), rng.uniform(85, 95, ROWS)), y).auc > 0.95


def test_a_reason_that_only_leavers_have_is_found_however_few_have_one(y, rng):
    codes = np.where((y == 1) & (rng.random(ROWS) < 0.15), rng.integers(0, 3, ROWS).astype(float), np.nan)
    column = alone(codes, y, ("price", "moved", "service"))
    assert column.auc < 0.7
    assert column.pure == "not blank"


def test_a_blank_that_only_leavers_have_is_found(y, rng):
    renewal = np.where((y == 1) & (rng.random(ROWS) < 0.4), np.nan, rng.normal(size=ROWS))
    assert alone(renewal, y).pure == "blank"


def test_a_level_of_all_leavers_that_so_few_have_proves_nothing(y):
    few = np.flatnonzero(y)[:20]
    codes = np.zeros(ROWS)
    codes[few] = 1
    assert alone(codes, y, ("no", "yes")).pure is None


def test_the_extremes_of_a_strong_honest_number_are_no_leak(rng):
    x = rng.normal(size=ROWS)
    column = alone(x, drawn(2.2 * x - 1, rng))
    assert 0.8 < column.auc < 0.9
    assert column.pure is None


@pytest.fixture(scope="module")
def honest():
    """Fifteen moderately strong features and a model of them that is right: AUC .97."""
    rng = np.random.default_rng(9)
    X = rng.normal(size=(ROWS, 15))
    table = as_table(pd.DataFrame(X).add_prefix("f"), drawn(1.9 * X.sum(axis=1) - 2, rng))
    return table, RiskModel.fit(table, RiskModelConfig(kind="spline_logistic"))


def test_an_honest_model_of_auc_97_passes(honest):
    table, model = honest
    outcome = gates.discrimination(model, table, LIMITS)
    assert outcome.gates[0].figure > 0.965
    assert [str(gate) for gate in outcome.gates if not gate.passed] == []


def test_all_leaking_columns_are_named_at_once_with_the_lines_that_mend_it(honest):
    table, model = honest
    rng, y = np.random.default_rng(10), table.y
    leaks = {
        "copied": np.where(rng.random(ROWS) < 0.01, 1 - y, y).astype(float),
        "left_on": np.where(y == 1, rng.uniform(0, 90, ROWS), np.nan),
        "reason_code": np.where((y == 1) & (rng.random(ROWS) < 0.2), 3.0, np.nan),
    }
    specs = [table.schema.features[0].model_copy(update={"name": name}) for name in leaks]
    wider = replace(
        table,
        frame=table.frame.assign(**leaks),
        schema=table.schema.model_copy(update={"features": (*table.schema.features, *specs)}),
    )
    outcome = gates.discrimination(model, wider, LIMITS)
    (refused,) = [gate for gate in outcome.gates if not gate.passed]
    assert refused.name == "leaking_columns"
    assert refused.figure == 3
    assert "customers.exclude: ['copied', 'left_on', 'reason_code']" in refused.detail
    assert "known_before: ['reason_code']" in refused.detail  # a rank of .99 is nobody's luck
    believed = LIMITS.model_copy(update={"known_before": ("copied", "left_on", "reason_code")})
    (still,) = [gate for gate in gates.discrimination(model, wider, believed).gates if not gate.passed]
    assert "customers.exclude: ['copied', 'left_on']" in still.detail


def test_true_risks_rank_as_well_as_they_promise(rng):
    risk = rng.beta(1, 3, 200_000)
    assert promised_auc(risk) == pytest.approx(auc((rng.random(200_000) < risk), risk), abs=0.003)
    assert promised_auc(np.full(10, 0.3)) == pytest.approx(0.5)

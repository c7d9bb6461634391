"""Drift is found where there is some, in the column that has it, and hardly ever where there is none."""

import numpy as np
import pandas as pd
import pytest

from churn_assets.monitoring.config import DriftConfig
from churn_assets.monitoring.drift import drift_report, holm

CONFIG = DriftConfig()
PLANS = np.array(["fibre", "dsl", "none", "satellite"], object)


def customers(rng, rows):
    tenure = rng.integers(0, 73, rows).astype(float)
    return pd.DataFrame(
        {
            "tenure": tenure,
            "charges": rng.gamma(4, 15, rows) + tenure / 10,
            "log_usage": np.where(rng.random(rows) < 0.05, np.nan, rng.standard_t(3, rows)),
            "senior": (rng.random(rows) < 0.16).astype(float),
            "plan": PLANS[rng.choice(4, rows, p=(0.44, 0.34, 0.2195, 0.0005))],
            "referrer": np.where(rng.random(rows) < 0.3, None, "friend"),
        }
    )


@pytest.fixture
def rng():
    return np.random.default_rng(20261122)


def test_false_alarms_are_no_more_frequent_than_promised(rng):
    """Without the threshold on the index, as with it there are fewer still: 400 windows, one in twenty allowed."""
    config = DriftConfig(false_alarms=0.05, min_psi=0.0)
    alarms = sum(
        bool(drift_report(customers(rng, 3_000), customers(rng, 500), config).drifted) for _ in range(400)
    )
    assert alarms <= 20 + 3 * np.sqrt(400 * 0.05 * 0.95)


def test_a_small_window_has_a_large_index_and_no_drift(rng):
    config = DriftConfig(min_psi=0.0)
    report = drift_report(customers(rng, 300), customers(rng, 200), config)
    assert max(column.psi for column in report.columns) > 0.03
    assert report.drifted == ()
    assert report.reason == ""


@pytest.mark.parametrize(
    ("column", "change"),
    [
        ("charges", lambda frame: frame["charges"] * 1.2),
        ("charges", lambda frame: frame["charges"] / 12),
        ("tenure", lambda frame: frame["tenure"].clip(upper=40)),
        ("log_usage", lambda frame: frame["log_usage"].where(frame.index % 3 > 0)),
        ("senior", lambda frame: np.where(frame.index % 3 == 0, 1.0, frame["senior"])),
        ("plan", lambda frame: frame["plan"].where(frame.index % 3 > 0, "dsl")),
        ("plan", lambda frame: frame["plan"].where(frame.index % 4 > 0, "satellite")),
        ("referrer", lambda frame: frame["referrer"].where(frame.index % 2 > 0, "shop")),
    ],
    ids=["dearer", "unit", "younger", "blanks", "older", "plan", "rare plan", "new category"],
)
def test_the_column_that_changed_is_named_and_no_other(rng, column, change):
    current = customers(rng, 3_000)
    current[column] = change(current)
    report = drift_report(customers(rng, 5_000), current, CONFIG)
    assert report.drifted == (column,)
    assert report.reason.startswith(f"drift of {column} (PSI ")


def test_a_certain_change_of_no_consequence_is_no_drift(rng):
    reference, current = customers(rng, 200_000), customers(rng, 200_000)
    current["charges"] *= 1.02
    report = drift_report(reference, current, CONFIG)
    charges = next(column for column in report.columns if column.name == "charges")
    assert charges.p < 1e-10
    assert report.drifted == ()


def test_a_constant_column_and_an_empty_one_are_no_drift(rng):
    frame = pd.DataFrame({"one": np.ones(300), "same": ["a"] * 300, "x": rng.normal(size=300)})
    assert drift_report(frame, frame.sample(200, random_state=1), CONFIG).drifted == ()


def test_holm_rejects_step_by_step_and_stops_at_the_first_that_holds():
    assert holm(np.array([0.01, 0.04, 0.015, 0.9]), 0.05).tolist() == [True, False, True, False]
    assert holm(np.array([0.02, 0.02]), 0.05).tolist() == [True, True]
    assert holm(np.array([0.03, 0.03]), 0.05).tolist() == [False, False]

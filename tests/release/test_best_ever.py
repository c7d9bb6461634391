"""Small losses add up: what promotion after promotion gave away is held against the best leader so far."""

from types import SimpleNamespace

import pytest

from churn_assets.decision.off_policy import NON_INFERIORITY
from churn_assets.gates.estimates import Estimate
from churn_assets.release.best_ever import MAY_LOSE, lift_of, over_best
from churn_assets.store.reference import ArtifactRef


def release(number):
    return ArtifactRef("toy", "release", f"202611{number:02d}T120000Z-0123456789ab")


def led(*numbers):
    """Records of promotions, one after another."""
    before = [None, *map(release, numbers)]
    return [
        SimpleNamespace(ref=release(number), previous=None if previous is None else str(previous))
        for number, previous in zip(numbers, before, strict=False)
    ]


def found(**means):
    return lambda ref: (
        Estimate(means[f"r{int(ref.version[6:8])}"], 0.5) if f"r{int(ref.version[6:8])}" in means else None
    )


def test_losses_that_each_gate_allows_are_refused_once_they_add_up():
    history, gate = led(1, 2, 3), found(r1=12.0, r2=-1.2, r3=-1.2)
    small = over_best(history, (), gate, Estimate(-0.5, 0.5))
    assert small.best == release(1)
    assert small.value == pytest.approx(-2.9)
    assert small.standard_error == pytest.approx(0.75**0.5)
    assert small.holds
    assert not over_best(history, (), gate, Estimate(-0.7, 0.5)).holds
    assert small.said.startswith(
        "-2.90 a decision over 20261101T120000Z-0123456789ab, the best leader so far (95 %"
    )


def test_a_leader_that_was_taken_back_is_no_measure():
    history, gate = [*led(1, 2), *led(1)], found(r1=12.0, r2=6.0)
    assert over_best(history, [release(2)], gate, Estimate(-1.0, 0.5)).best == release(1)
    assert over_best(history, (), gate, Estimate(-1.0, 0.5)).value == pytest.approx(-7.0)


def test_the_best_may_lead_now_and_then_one_comparison_tells():
    over = over_best(led(1, 2), (), found(r1=12.0, r2=1.0), Estimate(0.4, 0.5))
    assert (over.best, over.value, over.standard_error) == (release(2), pytest.approx(0.4), 0.5)


@pytest.mark.parametrize(
    ("history", "gate", "candidate"),
    [
        ([], found(), Estimate(1.0, 0.5)),
        (led(1), found(), Estimate(1.0, 0.5)),
        (led(1, 2), found(r2=1.0), Estimate(1.0, 0.5)),
        (led(1), found(r1=12.0), None),
    ],
    ids=["nothing led", "not measured", "a gap", "candidate not measured"],
)
def test_where_a_comparison_is_missing_nothing_is_said(history, gate, candidate):
    assert over_best(history, (), gate, candidate) is None


def test_a_stored_report_tells_what_was_tested():
    row = {"quantity": "tested", "estimator": "DR", "mean": 1.0, "low_95": 0.0, "high_95": 2.0}
    other = row | {"quantity": "value"}
    reports = {"off_policy": {"tables": {"off_policy": [other, row]}}}
    assert lift_of(reports).value == 1.0
    assert lift_of(reports).standard_error == pytest.approx(1 / 1.96, rel=1e-3)
    assert lift_of({}) is None


def test_in_all_no_more_may_be_lost_than_the_gate_allows_once():
    assert MAY_LOSE == NON_INFERIORITY

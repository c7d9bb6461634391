"""The demo's log passes its gates, and a log with one thing wrong fails the gate that is about it."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from churn_assets.arms import Catalogue
from churn_assets.offers.config import OfferLogGates
from churn_assets.offers.dependence import _each_z, _zs
from churn_assets.offers.gates import _by_lot, decided_by_chance, propensity_gates, volume_gates
from churn_assets.offers.log import OfferLog, propensity_column
from churn_assets.offers.support import where_possible

EXPLAINED, CHANCE = "propensity_explained", "decided_by_chance"


def failed(outcome) -> list[str]:
    return [gate.name for gate in outcome.gates if not gate.passed]


def with_propensities(log: OfferLog, propensities: np.ndarray) -> OfferLog:
    frame = log.frame.copy()
    frame[[propensity_column(arm.id) for arm in log.menu]] = propensities
    frame["propensity"] = propensities[np.arange(len(frame)), log.arm]
    return OfferLog(frame, log.menu, log.simulated)


@pytest.mark.parametrize("seed", range(5))
def test_the_demo_log_passes(world, telco, seed):
    log = world.draw_log(50_000, seed)
    assert failed(volume_gates(log, OfferLogGates())) == []
    assert failed(propensity_gates(log, telco, OfferLogGates())) == []


def test_propensities_that_were_never_used_fail_calibration(draw, telco):
    uniform = with_propensities(draw.log, np.full((len(draw.log), 7), 1 / 7))
    assert failed(propensity_gates(uniform, telco, OfferLogGates())) == ["propensity_calibration", EXPLAINED]


def test_propensities_of_other_customers_fail_calibration_although_every_share_is_right(draw, telco):
    shifted = with_propensities(draw.log, np.roll(draw.log.propensities, 1, axis=0))
    assert failed(propensity_gates(shifted, telco, OfferLogGates())) == ["propensity_calibration", EXPLAINED]


def test_shares_of_all_written_as_propensities_of_a_log_that_targeted_are_refused_by_feature(world, telco):
    """Whoever has been here longer is called less; the column of propensities holds what was done overall."""
    rng, menu = np.random.default_rng(0), world.menu
    log = world.draw_log(20_000, 0)
    tenure = telco.X[:, telco.schema.tenure_index][log.positions(telco.ids)]
    called = rng.random(len(log)) < np.where(tenure < 12, 0.7, 0.5)
    arm = np.where(called, 1 + rng.integers(len(menu) - 1, size=len(log)), 0)
    frame = log.frame.assign(arm=np.array(menu.ids, object)[arm])
    shares = np.bincount(arm, minlength=len(menu)) / len(arm)
    told = with_propensities(OfferLog(frame, menu, simulated=True), np.tile(shares, (len(log), 1)))
    outcome = propensity_gates(told, telco, OfferLogGates())
    assert failed(outcome) == [EXPLAINED]
    assert "no_contact by tenure" in next(gate.detail for gate in outcome.gates if gate.name == EXPLAINED)


def test_choices_that_drift_under_written_shares_are_refused_by_time(world, telco):
    rng, menu = np.random.default_rng(0), world.menu
    log = world.draw_log(20_000, 0)
    wave = log.frame["wave"].to_numpy()
    arm = np.where(
        rng.random(len(log)) < 0.4 + 0.3 * wave / wave.max(), 1 + rng.integers(6, size=len(log)), 0
    )
    shares = np.bincount(arm, minlength=len(menu)) / len(arm)
    frame = log.frame.assign(arm=np.array(menu.ids, object)[arm])
    told = with_propensities(OfferLog(frame, menu, simulated=True), np.tile(shares, (len(log), 1)))
    outcome = propensity_gates(told, telco, OfferLogGates())
    assert failed(outcome) == [EXPLAINED]
    assert "no_contact by time" in next(gate.detail for gate in outcome.gates if gate.name == EXPLAINED)


def hardly_tried(log, by):
    """The same log, in which the last arm is said to have had a propensity of so much, as no contact had the rest."""
    thin = log.propensities.copy()
    thin[:, 0] += thin[:, 6] - by
    thin[:, 6] = by
    return with_propensities(log, thin)


def test_a_propensity_of_all_but_zero_fails_overlap(draw, telco):
    outcome = propensity_gates(hardly_tried(draw.log, 0.00005), telco, OfferLogGates())
    assert {"least_propensity", CHANCE} <= set(failed(outcome))


@pytest.mark.parametrize(("by", "passes"), [(0.0009, False), (0.0011, True)])
def test_an_arm_of_which_chance_decided_fewer_than_fifty_times_fails(draw, telco, by, passes):
    """50,000 decisions: 45, and 55."""
    outcome = propensity_gates(hardly_tried(draw.log, by), telco, OfferLogGates())
    assert (CHANCE not in failed(outcome)) == passes
    found = next(gate for gate in outcome.gates if gate.name == CHANCE)
    assert found.figure == pytest.approx(50_000 * by * (1 - by))
    assert found.detail.startswith("percent_30, ")


def test_whom_an_arm_was_all_but_certain_for_takes_nothing_away(draw, telco):
    """As served decisions are: most customers get what the policy takes for best, and the others keep a floor."""
    sure = draw.log.propensities.copy()
    sure[25_000:] = 0.0005
    sure[np.arange(25_000, 50_000), draw.log.arm[25_000:]] = 1 - 6 * 0.0005
    served = with_propensities(draw.log, sure)
    assert (decided_by_chance(served) >= decided_by_chance(draw.log.where(np.arange(50_000) < 25_000))).all()
    passed = OfferLogGates(max_propensity_z=1e9, least_p_value=0)
    assert failed(propensity_gates(served, telco, passed)) == []


def test_an_arm_never_chosen_fails(draw, telco):
    never = draw.log.where(draw.log.arm != 3)
    assert CHANCE in failed(propensity_gates(never, telco, OfferLogGates()))


def test_an_arm_that_nobody_may_get_fails_and_is_not_calibrated(draw, telco):
    log = draw.log.where(draw.log.arm != 3)
    barred = log.propensities.copy()
    barred[:, 0] += barred[:, 3]
    barred[:, 3] = 0.0
    outcome = propensity_gates(with_propensities(log, barred), telco, OfferLogGates())
    assert CHANCE in failed(outcome)
    assert log.menu.ids[3] not in {row["arm"] for row in outcome.tables["calibration"]}


def test_every_propensity_gate_names_the_arm_it_is_about(draw, telco):
    stated = draw.log.propensities.copy()
    stated[:, 1] += 0.8 * stated[:, 6]
    stated[:, 6] *= 0.2
    outcome = propensity_gates(with_propensities(draw.log, stated), telco, OfferLogGates())
    assert {gate.name: re.split("[, ]", gate.detail)[0] for gate in outcome.gates} == {
        "propensity_calibration": draw.log.menu.ids[6],
        EXPLAINED: draw.log.menu.ids[1],  # it was chosen by far less often than is said, too
        "least_propensity": draw.log.menu.ids[6],
        CHANCE: draw.log.menu.ids[6],
    }


def test_a_short_log_and_one_without_holdout_fail_volume(draw):
    few = ["rows", "detectable_effect"]
    assert failed(volume_gates(draw.log.where(np.arange(50_000) < 499), OfferLogGates())) == few
    contacted = draw.log.where(draw.log.arm > 0)
    assert failed(volume_gates(contacted, OfferLogGates())) == ["no_contact_share", "detectable_effect"]


def test_an_acceptance_of_nothing_fails(draw):
    frame = draw.log.frame.copy()
    frame["accepted"] = 1
    log = OfferLog(frame, draw.log.menu, simulated=True)
    assert failed(volume_gates(log, OfferLogGates())) == ["accepted_without_offer"]


def test_weighting_undoes_the_choice_of_whom_to_leave_alone(draw):
    naive, weighted = (
        row["churned"] for row in volume_gates(draw.log, OfferLogGates()).tables["no_contact_churn"]
    )
    assert naive < 0.17
    assert weighted == pytest.approx(draw.truth.would_churn.mean(), abs=0.02)


def test_the_report_says_that_the_log_is_simulated(draw):
    assert "simulated" in volume_gates(draw.log, OfferLogGates()).gates[0].detail


def test_what_a_condition_kept_from_customers_does_not_count_against_an_arm(draw, telco):
    """Only gates that look at every propensity would find one of 0; calibration of the others stays true."""
    barred = draw.log.propensities.copy()
    young = telco.X[:, telco.schema.tenure_index] < 24
    never = (draw.log.arm != 6) & young[draw.log.positions(telco.ids)]
    possible = barred[never, :6].sum(1, keepdims=True)
    barred[never, :6] /= possible
    barred[never, 6] = 0
    log = with_propensities(draw.log, barred)
    log = log.where(~(young[log.positions(telco.ids)] & (log.arm == 6)))
    outcome = propensity_gates(log, telco, OfferLogGates(max_propensity_z=1e9, least_p_value=0))
    assert failed(outcome) == ["never_possible"]
    known = replace(log, menu=where_possible(log, telco))
    assert failed(propensity_gates(known, telco, OfferLogGates(max_propensity_z=1e9, least_p_value=0))) == []
    assert (
        sum(row["rows"] for row in outcome.tables["calibration"] if row["arm"] == "percent_30")
        == (log.propensities[:, 6] > 0).sum()
    )
    assert volume_gates(log, OfferLogGates()).tables["arms"][6]["least_propensity"] > 0.04


@pytest.mark.parametrize(("arms", "asked"), [(2, 0.05), (10, 0.05), (80, 0.5 / 80)])
def test_of_many_arms_no_more_is_asked_than_half_of_what_a_fair_lot_gives(arms, asked):
    log = OfferLog(pd.DataFrame(), Catalogue().menu([place / 100 for place in range(arms)]), simulated=False)
    assert _by_lot(0.05, log) == asked


def test_many_columns_at_once_show_what_each_alone_shows():
    rng = np.random.default_rng(0)
    chance = rng.uniform(0.05, 0.25, (400, 6))
    residual = (rng.random((400, 6)) < 0.5) - chance
    columns = [(f"c{place}", rng.normal(3, 2, 400) * (place + 1)) for place in range(70)]
    columns.append(("one", np.ones(400)))
    alone, several = (dict(each(residual, chance, iter(columns), np.arange(400))) for each in (_each_z, _zs))
    assert list(alone) == list(several)
    for name, z in alone.items():
        np.testing.assert_allclose(several[name], z, rtol=1e-9, atol=1e-9)

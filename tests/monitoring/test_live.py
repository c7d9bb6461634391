"""What decisions earned, how true forecasts were: right numbers, honest intervals, guardrails that keep their error."""

import json
from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest

from churn_assets.monitoring.config import LiveConfig
from churn_assets.monitoring.live import (
    Tally,
    _error,
    earned,
    first_breach,
    forecasts,
    limit_breach,
    looks,
    skewed_z,
    slice_breach,
    wrong_forecasts,
)

CONFIG = LiveConfig(window_outcomes=500, min_outcomes=500, false_alarms=0.05)


def served(rng, rows=2_000, *, effect=0.0, gain=0.0, risk_off=0.0, acceptance_off=0.0, holdout=0.2):
    """Decisions of a policy that contacts the riskier half but for a holdout; contact changes churn and margin."""
    risk = rng.beta(2, 6, rows)
    held_out = rng.random(rows) < holdout
    contacted = (risk > 0.25) & ~held_out
    acceptance = np.where(contacted, 0.4, 0.0)
    churned = rng.random(rows) < np.clip(risk + risk_off + effect * contacted, 0, 1)
    return pd.DataFrame(
        {
            "customer_id": rng.integers(0, rows, rows).astype(str),
            "assigned": np.where(held_out, "holdout", "policy"),
            "arm": np.where(contacted, "percent_10", "no_contact"),
            "propensity_no_contact": np.where(risk > 0.25, holdout, 1.0),
            "risk": risk,
            "acceptance": acceptance,
            "accepted": np.where(contacted, rng.random(rows) < acceptance + acceptance_off, np.nan),
            "churned": churned.astype(float),
            "margin": 100.0 * ~churned + gain * contacted,
            "complained": 0.0,
            "opted_out": 0.0,
        }
    )


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def test_the_holdout_stands_for_everybody_who_was_contacted(rng):
    found = earned(served(rng, 40_000, effect=-0.1, gain=-2.0))
    contacted = (rng.beta(2, 6, 400_000) > 0.25).mean()
    low, high = found.lift.interval
    assert low < contacted * (10.0 - 2.0) < high
    low, high = found.churn_increase.interval
    assert low < -0.1 * contacted < high
    assert found.value.value == pytest.approx(found.no_contact.value + found.lift.value)


def test_the_interval_of_the_lift_covers_the_truth_as_often_as_it_says(rng):
    covered = 0
    for _ in range(300):
        low, high = earned(served(rng)).lift.interval
        covered += low < 0 < high
    assert covered >= 300 * 0.95 - 3 * np.sqrt(300 * 0.95 * 0.05)


def test_without_a_holdout_nothing_tells_what_no_contact_earns(rng):
    assert earned(served(rng, holdout=0.0)) is None
    assert first_breach(served(rng, holdout=0.0), CONFIG) is None


def test_true_forecasts_are_rarely_called_wrong(rng):
    alarms = sum(
        bool(wrong_forecasts(forecasts(served(rng)), LiveConfig(false_alarms=0.05, max_calibration_error=0)))
        for _ in range(200)
    )
    assert alarms <= 10 + 3 * np.sqrt(200 * 0.05 * 0.95)


@pytest.mark.parametrize(
    ("wrong", "name"),
    [({"risk_off": 0.1}, "churn without contact"), ({"acceptance_off": -0.3}, "acceptance")],
)
def test_a_forecast_that_became_wrong_is_named(rng, wrong, name):
    (found,) = wrong_forecasts(forecasts(served(rng, **wrong)), CONFIG)
    assert found.name == name


def test_an_error_of_no_consequence_calls_for_nothing(rng):
    found = forecasts(served(rng, 200_000, risk_off=0.02))
    assert found[0].p < 1e-6
    assert wrong_forecasts(found, CONFIG) == ()


def test_no_outcome_of_a_kind_is_no_wrong_forecast(rng):
    quiet = served(rng)
    quiet = quiet[quiet["arm"] == "no_contact"]
    churn, acceptance = forecasts(quiet)
    assert (churn.rows, acceptance.rows, acceptance.p) == (len(quiet), 0, 1.0)


def test_a_release_that_drives_customers_away_breaks_a_guardrail(rng):
    breach = first_breach(served(rng, 4_000, effect=0.3), CONFIG)
    assert breach is not None
    assert "allowed" in breach.reason


def test_a_release_that_costs_more_than_it_brings_breaks_a_guardrail(rng):
    breach = first_breach(served(rng, 4_000, gain=-30.0), CONFIG)
    assert breach is not None
    assert "lift over no contact is at most" in breach.reason


def test_decisions_that_could_not_be_left_without_contact_do_not_hide_harm_in_the_others(rng):
    harmful = served(rng, 4_000, effect=0.3)
    harmful.loc[harmful.index[harmful["arm"] != "no_contact"][:2], "propensity_no_contact"] = 0.0
    assert earned(harmful) is None
    assert first_breach(harmful, CONFIG) is not None


def test_too_few_outcomes_roll_nothing_back(rng):
    assert first_breach(served(rng, 499, gain=-1000.0), CONFIG) is None


def test_looks_are_windows_and_all_since_the_first_and_share_one_error_probability():
    found = looks(1_100, CONFIG)
    assert [(look.start, look.stop) for look in found] == [
        (0, 500),
        (0, 500),
        (0, 625),
        (0, 782),
        (0, 978),
        (500, 1000),
    ]
    windows = [look for look in looks(1_000_000, CONFIG) if look.stop - look.start == 500][1:]
    spent = sum(2 * NormalDist().cdf(-look.z) for look in windows)
    assert spent < CONFIG.false_alarms / 2, "the other half is spent at all other looks together"


def test_a_policy_that_contacts_more_than_it_may_breaks_a_guardrail_and_no_other_does(rng):
    everybody = served(rng, 4_000, holdout=0.1)
    rate = (everybody[everybody["assigned"] == "policy"]["arm"] != "no_contact").mean()
    breach = limit_breach(everybody, CONFIG.model_copy(update={"max_contact_rate": rate - 0.08}))
    assert breach is not None
    assert breach.reason.startswith("the policy contacts ")
    angry = everybody.assign(complained=(rng.random(len(everybody)) < 0.03).astype(float))
    annoying = limit_breach(angry, CONFIG.model_copy(update={"max_complaint_rate": 0.005}))
    assert annoying is not None
    assert "contacted complained, allowed 0.50%" in annoying.reason
    assert limit_breach(angry, CONFIG.model_copy(update={"max_opt_out_rate": 0.005})) is None
    assert limit_breach(everybody, CONFIG.model_copy(update={"max_contact_rate": rate + 0.02})) is None
    assert limit_breach(everybody, CONFIG) is None, "none was configured"


def test_harm_that_begins_late_is_found_within_a_window(rng):
    late = pd.concat([served(rng, 8_000), served(rng, 500, effect=0.8)], ignore_index=True)
    breach = first_breach(late, CONFIG)
    assert breach is not None
    assert breach.reason.endswith("over decisions 8001 to 8500")


def test_a_harmless_release_is_rarely_rolled_back_however_often_it_is_looked_at(rng):
    broken = sum(first_breach(served(rng, 4_000), CONFIG) is not None for _ in range(200))
    assert broken <= 10 + 3 * np.sqrt(200 * 0.05 * 0.95)


def test_bounds_hold_where_few_tell_what_no_contact_is_worth_and_few_of_them_leave(rng):
    """A small holdout: its mean and its standard error are small together, which a normal bound takes for harm."""
    z, plain, kept, repeats = 2.0, 0, 0, 2_000
    for _ in range(repeats):
        parts = np.zeros((1_060, 6))
        left = rng.random(1_060) < 0.08
        for rows, first, weight in ((slice(0, 1_000), 0, 1.0), (slice(1_000, None), 3, 20.0)):
            parts[rows, first : first + 3] = weight
            parts[rows, first + 1] *= left[rows]
        found = earned(Tally.of(1_060, parts, possible=True))
        over = found.churn_increase.z
        plain += over > z
        kept += over > skewed_z(z, found.churn_skew)
    assert plain / repeats > 0.05, "of .023"
    assert kept / repeats < 0.035
    assert skewed_z(z, 0.0) == skewed_z(z, 1e-9) == z
    assert skewed_z(-z, -0.1) == pytest.approx(-skewed_z(z, 0.1))


def test_what_a_campaign_offered_by_chance_had_no_forecast_to_be_wrong(rng):
    chance = served(rng, 8_000).assign(assigned="experiment", acceptance=0.0)
    leaving, acceptance = forecasts(chance)
    assert acceptance.rows == 0
    assert leaving.rows > 0
    assert wrong_forecasts((leaving, acceptance), CONFIG) == ()


def test_harm_to_one_slice_breaks_a_guardrail_that_names_it_and_harm_to_none_does_not(rng):
    config = CONFIG.model_copy(update={"slices": ("Contract", "Payment")})
    good, bad = served(rng, 6_000, effect=-0.2), served(rng, 2_000, effect=0.4)
    mixed = pd.concat([good.assign(contract="two years"), bad.assign(contract="a month")], ignore_index=True)
    mixed = mixed.sample(frac=1, random_state=1, ignore_index=True)
    mixed["levels"] = [json.dumps([each, "card"]) for each in mixed.pop("contract")]
    assert first_breach(mixed, CONFIG) is None, "the others hide it"
    breach = slice_breach(mixed, config)
    assert breach.reason.startswith("Contract a month: ")
    assert breach.rows == 2_000
    assert slice_breach(good.assign(levels='["two years", "card"]'), config) is None
    assert slice_breach(mixed, CONFIG) is None, "none is configured"
    shares = [_error(CONFIG.model_copy(update=each)) for each in ({}, {"slices": ("Contract",)})]
    assert shares == [0.05, 0.025], "they share the error"


def test_a_harmless_release_is_rarely_rolled_back_for_a_slice(rng):
    config = CONFIG.model_copy(update={"slices": ("Contract",)})
    broken = 0
    for _ in range(100):
        found = served(rng, 3_000)
        levels = rng.choice(["a month", "a year", "two years"], len(found))
        broken += slice_breach(found.assign(levels=[f'["{each}"]' for each in levels]), config) is not None
    assert broken <= 2.5 + 3 * np.sqrt(100 * 0.025 * 0.975)

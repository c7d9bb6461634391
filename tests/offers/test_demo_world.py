"""The demo world yields what it promises, and its truth stays hidden."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.coverage import one_window_lift
from churn_assets.customers.table import CustomerTable
from churn_assets.offers.config import DEMO_OFFERS
from churn_assets.offers.economics import Economics
from churn_assets.offers.world import DemoWorld, DemoWorldError

MENU = [DEMO_OFFERS.index(offer) for offer in (0.0, 0.05, 0.10, 0.20, 0.30)]


@pytest.mark.parametrize(
    ("stratum", "share"),
    [("sure_thing", 0.58), ("sleeping_dog", 0.16), ("lost_cause", 0.155), ("persuadable", 0.11)],
)
def test_strata_have_their_shares(draw, stratum, share):
    assert (draw.truth.strata == stratum).mean() == pytest.approx(share, abs=0.007)


def test_acceptance_rises_with_the_offer_as_promised(draw):
    mean = draw.truth.acceptance.mean(0)
    assert mean[MENU] == pytest.approx([0, 0.11, 0.18, 0.29, 0.34], abs=0.006)
    assert (np.diff(draw.truth.acceptance, axis=1) > 0).all()


@pytest.mark.parametrize(("offer", "lift"), [(0.10, 8.6), (0.20, 5.2), (0.30, -5.9)])
def test_constant_offers_have_their_lifts(draw, offer, lift):
    everyone = np.full(len(draw.log), DEMO_OFFERS.index(offer))
    assert one_window_lift(draw.truth, everyone) == pytest.approx(lift, abs=0.6)


def test_the_logging_policy_has_its_lift_and_smallest_propensity(draw):
    assert one_window_lift(draw.truth, draw.log.arm) == pytest.approx(6.8, abs=0.7)
    assert draw.log.propensities.min() == pytest.approx(0.046, abs=0.0005)
    assert (draw.log.arm == 0).mean() > 0.10


def test_the_riskiest_at_20_percent_beat_every_constant(world, draw):
    risky = world.risk[draw.truth.customer] >= np.quantile(world.risk, 0.7)
    lift = one_window_lift(draw.truth, np.where(risky, DEMO_OFFERS.index(0.20), 0))
    assert lift == pytest.approx(11.25, abs=0.4)


def test_knowing_the_functions_but_not_the_customers_mind_allows_about_13(world, draw):
    truth = draw.truth
    known = world.expected_reward(truth.customer, draw.log.prior_offers, world.risk[truth.customer])
    best = np.asarray(MENU)[known[:, MENU].argmax(1)]
    assert one_window_lift(truth, best) == pytest.approx(12.9, abs=0.5)
    assert one_window_lift(truth, truth.reward.argmax(1)) > 25  # knowing who will leave: out of reach


def test_naive_churn_without_contact_is_far_below_the_truth(draw):
    """Built-in confounding: the rows left alone are the safe ones."""
    naive = draw.log.churned[draw.log.arm == 0].mean()
    assert 0.13 < naive < 0.17
    assert draw.truth.would_churn.mean() == pytest.approx(0.265, abs=0.003)


def test_logged_outcomes_average_to_the_truth(draw):
    log, truth, at = draw.log, draw.truth, np.arange(len(draw.log))
    assert log.accepted.mean() == pytest.approx(truth.acceptance[at, log.arm].mean(), abs=0.005)
    assert log.churned.mean() == pytest.approx(truth.churn[at, log.arm].mean(), abs=0.005)
    assert log.margin.mean() == pytest.approx(truth.reward[at, log.arm].mean(), abs=1.5)


def test_without_contact_the_real_label_is_the_outcome(draw):
    alone = draw.log.arm == 0
    assert (draw.log.churned[alone] == draw.truth.would_churn[alone]).all()


def test_logged_margin_is_the_economics_of_the_logged_outcome(world, draw):
    log, price = draw.log, draw.truth.price
    stayed = 1 - log.churned
    expected = (
        stayed * 0.5 * price * 12 - log.accepted * stayed * log.menu.size[log.arm] * price * 6 - (log.arm > 0)
    )
    assert log.margin == pytest.approx(expected)


def test_the_expected_reward_with_real_labels_is_the_mean_of_the_drawn_truth(world, draw):
    truth = draw.truth
    labels = world.would_churn[truth.customer].astype(float)
    expected = world.expected_reward(truth.customer, draw.log.prior_offers, labels)
    assert expected.mean(0) == pytest.approx(truth.reward.mean(0), abs=0.15)


def test_the_log_holds_no_truth(draw, telco):
    hidden = {"would_churn", "acceptance", "saved", "woken", "strata", "sensitivity", "latent", "holdout"}
    assert not hidden & set(draw.log.frame.columns)
    assert draw.log.simulated


def test_a_log_is_a_function_of_its_seed(world):
    one, same, other = (world.draw_log(2_000, seed).frame for seed in (7, 7, 8))
    assert one.equals(same)
    assert not one.equals(other)


def test_a_customer_is_decided_about_once_a_wave_and_dates_are_in_order(draw):
    frame = draw.log.frame
    assert not frame.duplicated(["customer_id", "wave"]).any()
    assert frame["decided_at"].is_monotonic_increasing
    assert frame["wave"].nunique() == 26
    assert frame["customer_id"].nunique() > 7_000


def test_more_rows_than_customers_times_waves_are_refused(world):
    with pytest.raises(DemoWorldError, match="7043 customers in 26 waves give 183118"):
        world.draw_log(183_119, seed=0)


def test_without_effects_acceptance_is_as_before_and_nothing_pays(telco, draw):
    idle = DemoWorld(telco, Economics(), effects=False).draw(50_000, seed=0)
    assert (idle.truth.acceptance == draw.truth.acceptance).all()
    assert (idle.truth.churn == idle.truth.would_churn[:, None]).all()
    assert (idle.log.churned == idle.truth.would_churn).all()
    assert all(one_window_lift(idle.truth, np.full(50_000, arm)) < 0 for arm in range(1, 7))


def test_an_acceptance_shift_shows_after_wave_20_only(telco, draw):
    shifted = DemoWorld(telco, Economics(), drift="acceptance_shift").draw(50_000, seed=0)
    late = draw.log.frame["wave"].to_numpy() > 20
    assert (shifted.truth.acceptance[~late] == draw.truth.acceptance[~late]).all()
    assert (shifted.truth.acceptance[late, 1:] > draw.truth.acceptance[late, 1:]).all()


def test_a_competitor_shock_raises_churn_after_wave_20_only(telco, draw):
    shocked = DemoWorld(telco, Economics(), drift="competitor_shock").draw(50_000, seed=0)
    late = draw.log.frame["wave"].to_numpy() > 20
    assert (shocked.truth.would_churn[~late] == draw.truth.would_churn[~late]).all()
    assert shocked.truth.would_churn[late].mean() > draw.truth.would_churn[late].mean() + 0.015
    assert shocked.truth.saved[late].mean() < draw.truth.saved[late].mean() - 0.05


def test_economics_reach_the_reward(telco, draw):
    dear = DemoWorld(telco, Economics(contact_cost=3.0)).draw(50_000, seed=0).truth.reward
    assert dear[:, 0] == pytest.approx(draw.truth.reward[:, 0])
    assert dear[:, 1:] == pytest.approx(draw.truth.reward[:, 1:] - 2.0)
    poor = DemoWorld(telco, Economics(margin=0.25, value_horizon_months=24)).draw(50_000, seed=0).truth.reward
    assert poor == pytest.approx(draw.truth.reward)
    short = DemoWorld(telco, Economics(discount_months=1)).draw(50_000, seed=0).truth
    assert (short.acceptance[:, 1:] < draw.truth.acceptance[:, 1:]).all()  # a month of it is worth less


def test_a_table_without_telco_columns_is_refused_by_name(telco):
    features = tuple(f for f in telco.schema.features if f.name not in ("Contract", "tenure"))
    schema = telco.schema.model_copy(update={"features": features, "tenure": None})
    other = CustomerTable(telco.frame.drop(columns=["Contract", "tenure"]), schema)
    with pytest.raises(
        DemoWorldError, match=r"found no feature tenure, Contract in customers.*offer_log\.source"
    ):
        DemoWorld(other, Economics())


def test_the_score_is_cross_validated(world, telco):
    """A world fitted on scrambled labels knows nothing of the risk; were it in-sample, it would."""
    scrambled = telco.frame.assign(churned=np.random.default_rng(0).permutation(telco.frame["churned"]))
    blind = DemoWorld(replace(telco, frame=scrambled), Economics())
    order = np.argsort(blind.risk)
    churn = blind.would_churn[order]
    assert churn[-700:].mean() == pytest.approx(0.265, abs=0.06)
    assert world.would_churn[np.argsort(world.risk)][-700:].mean() > 0.7


def test_a_wave_answers_as_its_truth_says_and_its_expectation_is_the_mean_over_what_is_latent(world):
    cohort = world.cohort(60_000, seed=3)
    arm = np.random.default_rng(0).integers(0, len(DEMO_OFFERS), len(cohort))
    answers, at = world.answer(cohort.truth, arm, np.random.default_rng(1)), np.arange(len(cohort))
    assert answers.accepted.mean() == pytest.approx(cohort.truth.acceptance[at, arm].mean(), abs=0.005)
    assert answers.margin.mean() == pytest.approx(cohort.truth.reward[at, arm].mean(), abs=2)
    assert cohort.truth.would_churn.mean() == pytest.approx(0.265, abs=0.006)
    known = cohort.expected - cohort.expected[:, :1]
    assert known.mean(0) == pytest.approx((cohort.truth.reward - cohort.truth.reward[:, :1]).mean(0), abs=0.6)


@pytest.mark.parametrize("drift", ["acceptance_shift", "competitor_shock"])
def test_drift_changes_a_waves_answers_and_not_its_customers(telco, drift):
    drifting = DemoWorld(telco, Economics(), drift=drift)
    calm, late = (drifting.cohort(100_000, seed=3, shifted=shifted) for shifted in (False, True))
    assert (calm.customer == late.customer).all()
    best = calm.expected.argmax(1)
    assert late.lift(late.expected.argmax(1)) > late.lift(best)
    known = late.expected - late.expected[:, :1]
    assert known.mean(0) == pytest.approx((late.truth.reward - late.truth.reward[:, :1]).mean(0), abs=1)


def test_a_wave_larger_than_the_table_repeats_nobody_before_all_others_came(world):
    cohort = world.cohort(10_000, seed=3)
    assert len(np.unique(cohort.customer[: len(world.ids)])) == len(world.ids)


DRAWN = "e5e151da458535c0729db9575c2816e0478c726e6680847fde9b31db0161dd33"
"""Of 20,000 decisions with seed 3, as drawn before arms could be anything but percents off."""


def test_percents_off_draw_the_same_log_as_ever(world):
    log = world.draw_log(20_000, seed=3)
    cents = np.round(100 * log.margin)
    drawn = (log.arm, log.accepted, log.churned, log.prior_offers, cents)
    assert hashlib.sha256(b"".join(each.astype("<i8").tobytes() for each in drawn)).hexdigest() == DRAWN

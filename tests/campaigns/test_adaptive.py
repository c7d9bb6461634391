"""A second wave tries most what may yet be best, and everything a little; its propensities are exact."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from churn_assets.arms import ArmError, Catalogue
from churn_assets.campaigns.adaptive import adapted_shares
from churn_assets.campaigns.assignment import assigned, planned_shares
from churn_assets.campaigns.config import CampaignConfig
from churn_assets.campaigns.precision import weighted_difference
from churn_assets.offers.log import as_log

N = 6000
KEY = b"a secret of some length"
IDS = [f"c{number}" for number in range(N)]
RISK = np.random.default_rng(0).beta(1.2, 3.2, N)
FIRST = CampaignConfig(menu=(0.0, 0.1, 0.2, 0.3), strata=2, holdout_share=0.3)
SECOND = FIRST.model_copy(update={"name": "second", "floor": 0.1})
MENU = FIRST.arms(Catalogue())
WORTH = {"no_contact": 0.0, "percent_10": 0.0, "percent_20": 60.0, "percent_30": 55.0}
START = datetime(2026, 12, 7, tzinfo=UTC)


def logged(shares, config, seed=1, worth=WORTH):
    frame = assigned(IDS, RISK, np.ones((N, 4), bool), shares, config, KEY, START)
    noise = np.random.default_rng(seed).normal(100, 120, N)
    margin = noise + frame["arm"].map(worth)
    told = {"policy_version": f"campaign/{config.name}", "prior_offers": 0, "accepted": 0, "churned": 0}
    return as_log(frame.assign(**told, margin=margin), IDS, Catalogue(), simulated=True, origin="log")


@pytest.fixture(scope="module")
def first():
    return planned_shares(FIRST, MENU, RISK)


def second(first, log, config=SECOND):
    return adapted_shares(first, log, RISK[log.positions(IDS)], config, seed=3)


def test_arms_that_may_be_best_are_tried_most_and_none_below_the_floor(first):
    shares = second(first, logged(first, FIRST)).shares
    assert shares[:, 0].tolist() == [0.3, 0.3]
    assert shares.sum(1) == pytest.approx([1, 1])
    for _, poor, good, close in shares:
        assert poor == pytest.approx(0.7 * 0.1, abs=0.01)
        assert min(good, close) > 2 * poor
    assert shares.min() >= 0.7 * 0.1 - 1e-12


def test_where_one_arm_is_best_for_sure_it_gets_what_the_floor_leaves(first):
    worth = WORTH | {"percent_30": 1000.0}
    shares = second(first, logged(first, FIRST, worth=worth)).shares
    assert shares[:, 3] == pytest.approx([0.7 * 0.8] * 2)


def test_the_same_log_and_seed_give_the_same_shares(first):
    log = logged(first, FIRST)
    assert np.array_equal(second(first, log).shares, second(first, log).shares)


def test_both_waves_together_estimate_without_bias(first):
    found = []
    for repeat in range(30):
        config = FIRST.model_copy(update={"name": f"first{repeat}"})
        one = logged(first, config, seed=10 + repeat)
        later = SECOND.model_copy(update={"name": f"second{repeat}"})
        two = logged(second(first, one, later), later, seed=500 + repeat)
        both = pd.concat([one.frame, two.frame], ignore_index=True)
        p = np.vstack([one.propensities, two.propensities])
        arm = np.concatenate([one.arm, two.arm])
        found.append(weighted_difference(both["margin"].to_numpy(), arm, p, 3).value)
    assert abs(np.mean(found) - 55) < 4 * np.std(found, ddof=1) / np.sqrt(len(found))


def test_a_campaign_of_the_same_name_would_draw_the_same_and_is_refused(first):
    with pytest.raises(ArmError, match=r"campaign\.name: found 'first', of which the log is"):
        second(first, logged(first, FIRST), FIRST)


def test_an_arm_that_the_log_never_tried_is_named(first):
    wider = CampaignConfig(name="second", menu=(0.0, 0.1, 0.2, 0.3, 0.5), strata=2)
    shares = planned_shares(wider, wider.arms(Catalogue()), RISK)
    with pytest.raises(ArmError, match="percent_50, expected arms of the log"):
        second(shares, logged(first, FIRST), wider)

"""The precision that a plan promises is the one that its campaigns have."""

import numpy as np
import pytest

from churn_assets.arms import Catalogue
from churn_assets.campaigns.assignment import planned_shares
from churn_assets.campaigns.config import CampaignConfig
from churn_assets.campaigns.precision import Planned, campaign_plan, weighted_difference
from churn_assets.deciding.chance import drawn
from churn_assets.offers.economics import Economics

N, REPEATS = 4000, 300
ECONOMICS = Economics()
CONFIG = CampaignConfig(menu=(0.0, 0.1, 0.3), holdout_share=0.3, weights={"percent_30": (1.0, 1.0, 3.0)})
MENU = CONFIG.arms(Catalogue())


@pytest.fixture(scope="module")
def people():
    rng = np.random.default_rng(0)
    risk, price = rng.beta(1.2, 3.2, N), rng.uniform(20, 110, N)
    allowed = np.column_stack([np.ones((N, 2), bool), rng.random(N) < 0.6])
    shares = planned_shares(CONFIG, MENU, risk)
    return Planned(risk, price, shares.propensities(shares.stratum(risk), allowed), N)


def realised(people, outcome):
    """(REPEATS, K - 1) estimates of campaigns of customers drawn anew, in which no arm changes anything."""
    rng, found = np.random.default_rng(1), []
    for repeat in range(REPEATS):
        rows = rng.integers(0, N, N)
        p = people.propensities[rows]
        arm, _ = drawn(b"a key", f"{repeat}", [str(each) for each in range(N)], p)
        y = outcome(rng, rows, arm)
        found.append([weighted_difference(y, arm, p, k) for k in (1, 2)])
    return found


def test_the_standard_error_of_the_effect_is_the_one_planned_within_a_tenth(people):
    planned = [row["standard_error"] for row in campaign_plan(people, MENU, CONFIG, ECONOMICS)]
    estimates = realised(people, lambda rng, rows, arm: (rng.random(N) < people.risk[rows]).astype(float))
    values = np.array([[each.value for each in row] for row in estimates])
    # The spread of 300 estimates is known to 4 %, so a tenth is two and a half standard errors beyond a right formula.
    assert np.abs(values.std(0, ddof=1) / planned - 1).max() <= 0.1
    stated = np.array([[each.standard_error for each in row] for row in estimates]).mean(0)
    assert np.abs(stated / planned - 1).max() <= 0.02
    assert np.abs(values.mean(0)).max() <= 4 * max(planned) / np.sqrt(REPEATS)


def test_the_standard_error_of_the_money_is_the_one_planned_within_a_tenth(people):
    planned = [row["money_error"] for row in campaign_plan(people, MENU, CONFIG, ECONOMICS)]
    worth = ECONOMICS.margin * people.price * ECONOMICS.value_horizon_months
    monthly = MENU.monthly(people.price)

    def value(rng, rows, arm):
        stays = rng.random(N) >= people.risk[rows]
        takes = (rng.random(N) < CONFIG.acceptance) & (arm > 0)
        given = monthly[rows, arm] * MENU.months[arm] * takes
        return stays * (worth[rows] - given) - MENU.contact_cost[arm]

    values = np.array([[each.value for each in row] for row in realised(people, value)])
    assert np.abs(values.std(0, ddof=1) / planned - 1).max() <= 0.1


def test_the_power_is_the_share_of_campaigns_that_see_the_effect_that_pays(people):
    rows = campaign_plan(people, MENU, CONFIG, ECONOMICS)
    pays = {k: rows[k - 1]["pays_from"] for k in (1, 2)}

    def outcome(rng, picked, arm):
        lower = np.select([arm == 1, arm == 2], [pays[1], pays[2]])
        return (rng.random(N) < np.maximum(people.risk[picked] - lower, 0)).astype(float)

    seen = np.mean(
        [[abs(each.z) > 1.959964 for each in found] for found in realised(people, outcome)], axis=0
    )
    for arm in (1, 2):
        share, chance = seen[arm - 1], rows[arm - 1]["power"]
        # Risks cannot fall below 0, so that a large effect comes out smaller than it was set.
        assert share == pytest.approx(chance, abs=0.12)


def test_as_many_decisions_as_are_needed_have_the_power_asked_for(people):
    for row in campaign_plan(people, MENU, CONFIG, ECONOMICS):
        needed = Planned(people.risk, people.price, people.propensities, row["decisions_needed"])
        again = {each["arm"]: each for each in campaign_plan(needed, MENU, CONFIG, ECONOMICS)}[row["arm"]]
        assert again["power"] == pytest.approx(CONFIG.power, abs=0.005)


def test_a_larger_offer_costs_more_and_must_keep_more(people):
    small, large = campaign_plan(people, MENU, CONFIG, ECONOMICS)
    assert 0 < small["pays_from"] < large["pays_from"]
    assert small["offer_cost"] < small["offer_cost_most"]
    assert large["eligible"] < small["eligible"] == N


def test_weeks_are_those_that_the_capacity_needs(people):
    weekly = CONFIG.model_copy(update={"weekly": 500})
    for row in campaign_plan(people, MENU, weekly, ECONOMICS):
        assert row["weeks_needed"] == -(-row["decisions_needed"] // 500)

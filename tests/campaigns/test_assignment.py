"""Who gets what is drawn by chance with exact propensities, and again the same by whoever has the key."""

from datetime import UTC, datetime

import numpy as np
import pytest
from pydantic import ValidationError

from churn_assets.arms import ArmError, Catalogue
from churn_assets.campaigns.assignment import assigned, planned_shares
from churn_assets.campaigns.config import CampaignConfig
from churn_assets.deciding.chance import drawn
from churn_assets.offers.log import as_log, propensity_column

MONDAY = datetime(2026, 12, 7, tzinfo=UTC)
IDS = [f"c{number}" for number in range(6000)]
RISK = np.random.default_rng(0).beta(1.2, 3.2, len(IDS))
CONFIG = CampaignConfig(menu=(0.0, 0.1, 0.3), holdout_share=0.4, weights={"percent_30": (1.0, 2.0, 5.0)})
MENU = CONFIG.arms(Catalogue())
SHARES = planned_shares(CONFIG, MENU, RISK)
ALL = np.ones((len(IDS), 3), bool)
KEY = b"a secret of some length"


def assign(allowed=ALL, config=CONFIG, key=KEY, ids=IDS):
    return assigned(ids, RISK[: len(ids)], allowed, SHARES, config, key, MONDAY)


def test_strata_are_equal_in_size_and_rise_in_risk():
    stratum = SHARES.stratum(RISK)
    assert np.bincount(stratum).tolist() == [2000, 2000, 2000]
    assert RISK[stratum == 0].max() < RISK[stratum == 2].min()


def test_shares_are_those_configured():
    assert SHARES.shares == pytest.approx(np.array([[0.4, 0.3, 0.3], [0.4, 0.2, 0.4], [0.4, 0.1, 0.5]]))


def test_the_share_of_an_arm_that_somebody_may_not_get_goes_to_the_other_arms():
    allowed = np.array([[True, True, True], [True, True, False], [True, False, False]])
    found = SHARES.propensities(np.array([2, 2, 2]), allowed)
    assert found == pytest.approx(np.array([[0.4, 0.1, 0.5], [0.4, 0.6, 0.0], [1.0, 0.0, 0.0]]))


def test_arms_are_drawn_as_often_as_their_propensities_say():
    p = SHARES.propensities(SHARES.stratum(RISK), ALL)
    counts = np.array([np.bincount(drawn(KEY, f"{each}", IDS, p)[0], minlength=3) for each in range(40)])
    off = (counts.mean(0) - p.sum(0)) / np.sqrt((p * (1 - p)).sum(0) / len(counts))
    assert np.abs(off).max() < 4


def test_an_arm_of_propensity_zero_is_never_drawn():
    rng = np.random.default_rng(1)
    allowed = np.column_stack([np.ones(len(IDS), bool), rng.random((len(IDS), 2)) < 0.5])
    for campaign in range(20):
        p = SHARES.propensities(SHARES.stratum(RISK), allowed)
        arm, _ = drawn(KEY, f"{campaign}", IDS, p)
        assert (p[np.arange(len(IDS)), arm] > 0).all()


def test_the_same_key_and_name_draw_the_same_and_others_do_not():
    first = assign()
    assert first.equals(assign())
    for other in (
        assign(key=b"another secret than that"),
        assign(config=CONFIG.model_copy(update={"name": "b"})),
    ):
        both = first.merge(other, on="customer_id")
        assert (both["arm_x"] == both["arm_y"]).mean() < 0.6
        assert not set(first["decision_id"]) & set(other["decision_id"])


def test_a_customer_keeps_the_arm_whoever_else_is_in_the_table():
    some = assign(ids=IDS[:1000], allowed=ALL[:1000]).set_index("customer_id")["arm"]
    assert some.equals(assign().set_index("customer_id")["arm"].loc[some.index])


def test_who_may_get_nothing_is_not_in_the_campaign():
    allowed = ALL.copy()
    allowed[:100, 1:] = False
    assert not set(IDS[:100]) & set(assign(allowed)["customer_id"])


def test_as_many_as_asked_for_in_weeks_of_the_capacity_chosen_by_chance():
    found = assign(config=CONFIG.model_copy(update={"decisions": 2500, "weekly": 1000}))
    assert found["wave"].value_counts().to_dict() == {0: 1000, 1: 1000, 2: 500}
    assert found["decided_at"].unique().tolist() == [
        f"2026-12-{day:02}T00:00:00+00:00" for day in (7, 14, 21)
    ]
    risk = dict(zip(IDS, RISK, strict=True))
    chosen = np.array([risk[each] for each in found["customer_id"]])
    assert abs(chosen.mean() - RISK.mean()) < 4 * RISK.std() / np.sqrt(2500)
    assert abs(np.corrcoef(found["wave"], found["arm"] == "no_contact")[0, 1]) < 4 / np.sqrt(2500)


def test_propensities_add_up_and_tell_the_arm_that_is_there():
    found = assign()
    columns = [propensity_column(arm) for arm in MENU.ids]
    assert np.abs(found[columns].sum(axis=1) - 1).max() < 1e-12
    own = [row[propensity_column(row["arm"])] for _, row in found.head(200).iterrows()]
    assert own == found["propensity"].head(200).tolist()


def test_equal_risks_make_one_stratum():
    shares = planned_shares(CONFIG, MENU, np.full(50, 0.2))
    assert set(shares.stratum(np.full(50, 0.2)).tolist()) <= set(range(len(shares.shares)))
    assert shares.shares.sum(1) == pytest.approx(np.ones(len(shares.shares)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": {"percent_30": (1.0, 2.0)}}, r"weights.percent_30: found 2 numbers, expected 1, or 3"),
        ({"weights": {"percent_30": (0.0,)}}, "greater than 0"),
        ({"holdout_share": 0.0}, "holdout_share"),
        ({"menu": (0.0,)}, "menu"),
        ({"capacity": 3}, "capacity"),
    ],
)
def test_a_wrong_section_says_what_is_wrong(changes, message):
    with pytest.raises(ValidationError, match=message):
        CampaignConfig(**({"menu": (0.0, 0.1, 0.3)} | changes))


def test_a_weight_of_an_arm_that_is_not_tried_names_the_nearest():
    config = CampaignConfig(menu=(0.0, 0.1), weights={"percent_11": (2.0,)})
    with pytest.raises(ArmError, match=r"weights.percent_11: .* did you mean 'percent_10'"):
        config.arms(Catalogue())


def test_the_assignment_with_outcomes_is_an_offer_log():
    found = assign().assign(policy_version="x", prior_offers=0, accepted=0, churned=0, margin=1.0)
    log = as_log(found, IDS, Catalogue(), simulated=True, origin="campaign")
    assert len(log) == len(IDS)
    assert log.propensities.min() > 0

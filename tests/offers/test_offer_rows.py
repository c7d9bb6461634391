"""From served decisions and their outcomes to rows that the offer log takes."""

from datetime import timedelta

import pandas as pd
import pytest
from served import MENU, NOW, decided, told

from churn_assets.arms import ArmConfig, Catalogue, Condition, Contact, FreeMonths, Gift
from churn_assets.offers.economics import Economics
from churn_assets.offers.live import join
from churn_assets.offers.log import OfferLogError, as_log
from churn_assets.offers.offer_rows import append, offer_rows
from churn_assets.offers.outcome_file import read_outcome_file
from churn_assets.offers.records import LoggedOutcome, read_decision, read_outcomes
from churn_assets.offers.segments import SegmentError

CATALOGUE = Catalogue()
ECONOMICS = Economics(margin=0.5, contact_cost=1.0, value_horizon_months=12, discount_months=6)


def joined(*records, reports=()):
    return join(((NOW, record) for record in records), reports)


def rows(*records, now=NOW + timedelta(days=30), window=timedelta(0), catalogue=CATALOGUE):
    return offer_rows(joined(*records), ECONOMICS, catalogue, "price", now=now, window=window)


def test_a_decision_with_its_outcome_is_a_row_of_the_offer_log():
    found = rows(
        decided("b", "percent_10", at=NOW + timedelta(days=8), last={"months_ago": 1}),
        decided("a", "no_contact"),
        told("a", churned=True),
        told("b", accepted=True, churned=False),
    )
    log = as_log(found.frame, ["a", "b"], CATALOGUE, simulated=False, origin="served")
    assert list(log.customer_id) == ["a", "b"]
    assert list(log.frame["arm"]) == ["no_contact", "percent_10"]
    assert list(log.accepted) == [0, 1]
    assert list(log.churned) == [1, 0]
    assert list(log.prior_offers) == [0, 1]
    assert list(log.frame["wave"]) == [0, 1]
    assert list(log.margin) == [0.0, 0.5 * 100 * 12 - 0.1 * 100 * 6 - 1]
    assert log.propensities.tolist() == [[0.2, 0.6, 0.2]] * 2


def test_a_margin_that_was_told_is_taken_instead_of_the_computed_one():
    (margin,) = rows(decided("a"), told("a", accepted=False, churned=False, margin=12.5)).frame["margin"]
    assert margin == 12.5


def test_an_outcome_told_three_times_counts_once():
    outcome = told("a", accepted=True, churned=False)
    assert rows(decided("a"), outcome, outcome, outcome).frame.equals(rows(decided("a"), outcome).frame)


def test_an_outcome_may_come_in_parts_and_before_its_decision():
    found = rows(told("a", churned=False), decided("a"), told("a", accepted=True))
    assert found.counts["written"] == 1


@pytest.mark.parametrize(
    ("records", "reason"),
    [
        ([decided("a")], "without a whole outcome"),
        ([decided("a"), told("a", accepted=True)], "without a whole outcome"),
        ([decided("a"), told("a", churned=False)], "without a whole outcome"),
        (
            [decided("a", "no_contact"), told("a", accepted=True, churned=False)],
            "with outcomes that contradict",
        ),
        (
            [decided("a"), told("a", accepted=True, churned=False), told("a", churned=True)],
            "with outcomes that contradict",
        ),
        (
            [decided("a", propensities=(0.0, 1.0, 0.0)), told("a", accepted=True, churned=False)],
            "with an arm that could not be chosen",
        ),
    ],
)
def test_what_teaches_nothing_is_left_out_and_counted(records, reason):
    found = rows(*records)
    assert found.frame.empty
    assert found.counts[reason] == 1
    assert found.counts["in the log"] == 1


def test_all_rows_have_the_menu_of_the_newest_decision():
    other = decided("a", menu=MENU[:2], propensities=(0.5, 0.5))
    outcomes = [told(name, accepted=False, churned=False) for name in "ab"]
    found = rows(other, decided("b", at=NOW + timedelta(days=1)), *outcomes)
    assert list(found.frame["customer_id"]) == ["b"]
    assert found.counts["of another menu"] == 1


def test_a_decision_teaches_once_its_window_is_over():
    """Before that only those who left early would be known, and everybody would seem to leave."""
    early = [decided("a"), told("a", accepted=False, churned=True)]
    window = timedelta(days=90)
    found = rows(*early, now=NOW + timedelta(days=89), window=window)
    assert found.frame.empty
    assert found.counts["with a window that is not over"] == 1
    assert len(rows(*early, now=NOW + window, window=window).frame) == 1


def test_a_live_decision_is_a_row_before_its_outcome_is_known():
    live = joined(
        decided("b", at=NOW + timedelta(days=1), price=80.0),
        decided("a", "no_contact"),
        told("a", churned=True),
    )
    assert list(live.frame["customer_id"]) == ["a", "b"]
    assert live.arms == MENU
    assert list(live.features["price"]) == [100.0, 80.0]
    assert list(live.frame["churned"].isna()) == [False, True]
    assert live.frame["outcome_at"].notna().tolist() == [True, False]
    assert live.frame["assigned"].tolist() == ["policy", "policy"]


def test_outcomes_of_a_crm_fill_what_the_log_does_not_know_and_do_not_overrule_it():
    reports = [
        LoggedOutcome(f"{name:0>24}-0", accepted=False, churned=churned)
        for name, churned in (("a", 1), ("b", 0))
    ]
    live = joined(decided("a"), decided("b"), told("a", churned=False), reports=reports)
    assert live.frame["churned"].tolist() == [0.0, 0.0]
    assert live.frame["accepted"].tolist() == [0.0, 0.0]
    assert live.frame["contradicted"].tolist() == [True, False]


def test_an_outcome_of_no_decision_is_counted():
    assert rows(told("f", churned=True)).counts["outcomes of no decision in the log"] == 1


def test_an_empty_log_gives_an_empty_table():
    assert rows().frame.empty


def test_a_record_that_is_none_is_an_error():
    for payload in (b"", b"abc", b"\x02\x00\x00\x00{}{}", b"\xff\xff\xff\xff"):
        with pytest.raises(SegmentError, match="decision record"):
            read_decision(payload)
    with pytest.raises(SegmentError, match="outcome record"):
        read_outcomes(b"{}")


TABLE = pd.DataFrame({"price": [100.0, 100.0]})


def offered(menu=(0, 10, 30)):
    """A log of one decision, ten weeks before the served ones."""
    frame = pd.DataFrame(
        [{"customer_id": "z", "decided_at": NOW - timedelta(weeks=10), "wave": 3, "offer_pct": 0.0, "propensity": 0.4,
          **{f"propensity_{arm}": 0.4 if arm == 0 else 0.6 / (len(menu) - 1) for arm in menu},
          "policy_version": "before", "prior_offers": 0, "accepted": 0, "churned": 1, "margin": 0.0}]
    )  # fmt: skip
    return as_log(frame, ["z"], CATALOGUE, simulated=False, origin="before")


def test_served_decisions_are_appended_to_the_log_in_the_order_of_time():
    served = rows(decided("a"), told("a", accepted=True, churned=False))
    log = append(offered(), served, ["a", "z"], TABLE)
    assert list(log.customer_id) == ["z", "a"]
    assert list(log.frame["wave"]) == [3, 13]
    assert list(log.frame["policy_version"]) == ["before", "toy/release/1"]


def test_served_decisions_of_unknown_customers_are_left_out():
    served = rows(
        decided("a"), decided("new"), *(told(name, accepted=True, churned=False) for name in ("a", "new"))
    )
    assert list(append(offered(), served, ["a", "z"], TABLE).customer_id) == ["z", "a"]


def test_a_served_menu_that_is_not_the_logs_is_an_error_that_names_both():
    served = rows(decided("a"), told("a", accepted=True, churned=False))
    with pytest.raises(
        OfferLogError,
        match=r"found the menu no_contact, percent_10, percent_30, expected the offer log's, no_contact, ",
    ):
        append(offered((0, 5, 10, 30)), served, ["a", "z"], TABLE)


def test_a_margin_that_cannot_be_computed_is_an_error():
    served = joined(decided("a"), told("a", accepted=True, churned=False))
    with pytest.raises(OfferLogError, match="no feature bill"):
        offer_rows(served, ECONOMICS, CATALOGUE, "bill", now=NOW)


def test_a_file_of_outcomes_may_have_blanks_and_parts(tmp_path):
    path = tmp_path / "outcomes.csv"
    path.write_text("decision_id,churned,accepted\na-0,1,\nb-0,false,true\na-0,,0\n")
    assert read_outcome_file(path) == [
        LoggedOutcome("a-0", churned=True),
        LoggedOutcome("b-0", accepted=True, churned=False),
        LoggedOutcome("a-0", accepted=False),
    ]
    parquet = tmp_path / "outcomes.parquet"
    pd.DataFrame({"decision_id": ["a-0"], "churned": [True], "margin": [2.5]}).to_parquet(parquet)
    assert read_outcome_file(parquet) == [LoggedOutcome("a-0", churned=True, margin=2.5)]


def test_an_amount_that_a_crm_rounded_contradicts_nothing():
    reports = [LoggedOutcome(f"{'a':0>24}-0", margin=117.90)]
    live = joined(
        decided("a"), told("a", accepted=False, churned=False, margin=117.89999999999999), reports=reports
    )
    assert live.counts["decisions with outcomes that contradict"] == 0
    other = joined(decided("a"), told("a", margin=117.0), reports=reports)
    assert other.counts["decisions with outcomes that contradict"] == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("decision_id,left\na,1\n", "column 'left': found a column that no outcome has"),
        ("churned\n1\n", "column 'decision_id': found no such column"),
        ("decision_id,churned\na,2\n", "column 'churned', line 2: found '2', expected 0 or 1 .*or a blank"),
        ("decision_id,margin\na,1\nb,much\n", "column 'margin', line 3: found 'much'"),
        ("decision_id,churned\n ,1\n", "column 'decision_id', line 2: found a blank"),
    ],
)
def test_a_wrong_file_of_outcomes_is_an_error_that_says_where(tmp_path, text, message):
    path = tmp_path / "outcomes.csv"
    path.write_text(text)
    with pytest.raises(OfferLogError, match=message):
        read_outcome_file(path)


EVERY_KIND = Catalogue(
    (
        ArmConfig(id="free_month", terms=FreeMonths(months=1)),
        ArmConfig(
            id="router",
            terms=Gift(gift="a router", cost=40.0),
            eligible=(Condition(column="tenure", at_least=12),),
        ),
        ArmConfig(id="call", terms=Contact(), channel="phone", contact_cost=8.0),
    )
)
KINDS = ("no_contact", "free_month", "router", "call", "percent_10")


def of_every_kind(name, arm, tenure=24.0, propensities=(0.2, 0.2, 0.2, 0.2, 0.2)):
    return decided(name, arm, menu=KINDS, propensities=propensities, features={"tenure": tenure})


@pytest.mark.parametrize(
    ("arm", "stayed", "left"),
    [
        ("no_contact", 600.0, 0.0),
        ("free_month", 600.0 - 100 - 1, -1.0),
        ("router", 600.0 - 40 - 1, -41.0),
        ("call", 600.0 - 8, -8.0),
        ("percent_10", 600.0 - 60 - 1, -1.0),
    ],
)
def test_a_margin_is_computed_by_the_terms_of_the_arm(arm, stayed, left):
    accepted = None if arm == "no_contact" else True
    found = rows(
        of_every_kind("a", arm),
        of_every_kind("b", arm),
        told("a", accepted=accepted, churned=False),
        told("b", accepted=accepted, churned=True),
        catalogue=EVERY_KIND,
    )
    assert list(found.frame["margin"]) == [stayed, left]


def test_an_arm_whose_condition_the_customer_does_not_keep_need_not_have_been_possible():
    without = (0.25, 0.25, 0.0, 0.25, 0.25)
    outcomes = [told(name, accepted=False, churned=False) for name in "ab"]
    found = rows(
        of_every_kind("a", "call", 3.0, without),
        of_every_kind("b", "call", 24.0, without),
        *outcomes,
        catalogue=EVERY_KIND,
    )
    assert list(found.frame["customer_id"]) == ["a"]
    assert found.counts["with an arm that could not be chosen"] == 1


def test_whoever_keeps_a_condition_by_now_and_did_not_then_is_left_out_of_the_log():
    barred = of_every_kind("a", "call", 3.0, (0.25, 0.25, 0.0, 0.25, 0.25))
    served = rows(barred, told("a", accepted=False, churned=False), catalogue=EVERY_KIND)
    ids, now = ["a", "z"], pd.DataFrame({"tenure": [3.0, 50.0]})
    before = as_log(
        rows(of_every_kind("z", "call"), told("z", accepted=False, churned=True), catalogue=EVERY_KIND).frame,
        ids,
        EVERY_KIND,
        simulated=False,
        origin="before",
    )
    assert list(append(before, served, ids, now).customer_id) == ["z", "a"]
    later = append(before, served, ids, now.assign(tenure=50.0))
    assert list(later.customer_id) == ["z"]
    assert later.left_out == 1


def test_an_arm_that_is_not_declared_any_more_is_an_error_that_names_it():
    served = of_every_kind("a", "router"), told("a", accepted=False, churned=False)
    with pytest.raises(OfferLogError, match=r"found arm 'router', .*declare it under arms:"):
        rows(*served)

"""From served decisions and their outcomes to rows that the offer log takes."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from churn_assets.offers.economics import Economics
from churn_assets.offers.live import join
from churn_assets.offers.log import as_log
from churn_assets.offers.offer_rows import offer_rows
from churn_assets.offers.records import LoggedOutcome, decision_payload, read_decision, read_outcomes
from churn_assets.offers.segments import DECISIONS, OUTCOMES, Record, SegmentError
from churn_assets.serving.schemas import DecisionsAnswer, DecisionView, OfferView

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
MENU = (0.0, 0.1, 0.3)
ECONOMICS = Economics(margin=0.5, contact_cost=1.0, value_horizon_months=12, discount_months=6)


def decided(name, offer=0.1, *, at=NOW, propensities=(0.2, 0.6, 0.2), menu=MENU, price=100.0, last=None):
    """The record of one decision; `name` is also the customer's."""
    arm = menu.index(offer)
    question = {"customers": [{"customer_id": name, "features": {"price": price}, "last_contact": last}]}
    view = DecisionView(
        decision_id=f"{name:0>24}-0", customer_id=name, contact=offer > 0, offer_level=arm, offer_pct=offer,
        delay_months=0, churn_risk=0.3, retention_probability=0.8, acceptance_probability=0.4, expected_value=1.5,
        propensity=propensities[arm], reasons=[], assigned="policy", policy_offer_pct=offer, holdout=False,
        exploration=False, known=True, message=None,
        offers=[OfferView(pct, None, p, 0.4, 0.3, 1.0) for pct, p in zip(menu, propensities, strict=True)],
    )  # fmt: skip
    answer = DecisionsAnswer(
        release="toy/release/1", policy="ppo_decision", simulated=False, decided_at=at, kill_switch=False,
        durable=True, decisions=[view],
    )  # fmt: skip
    return Record(
        DECISIONS, b"".join(decision_payload(msgspec.json.encode(question), msgspec.json.encode(answer)))
    )


def told(name, **outcome):
    return Record(OUTCOMES, msgspec.json.encode([{"decision_id": f"{name:0>24}-0", **outcome}]))


def joined(*records, reports=()):
    return join(((NOW, record) for record in records), reports)


def rows(*records, now=NOW + timedelta(days=30), window=timedelta(0)):
    return offer_rows(joined(*records), ECONOMICS, "price", now=now, window=window)


def test_a_decision_with_its_outcome_is_a_row_of_the_offer_log():
    found = rows(
        decided("b", 0.1, at=NOW + timedelta(days=8), last={"months_ago": 1}),
        decided("a", 0.0),
        told("a", churned=True),
        told("b", accepted=True, churned=False),
    )
    log = as_log(found.frame, ["a", "b"], simulated=False, origin="served")
    assert list(log.customer_id) == ["a", "b"]
    assert list(log.offer_pct) == [0.0, 0.1]
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
        ([decided("a", 0.0), told("a", accepted=True, churned=False)], "with outcomes that contradict"),
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
    other = decided("a", 0.1, menu=(0.0, 0.1), propensities=(0.5, 0.5))
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
        decided("b", at=NOW + timedelta(days=1), price=80.0), decided("a", 0.0), told("a", churned=True)
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

"""Promotion without a person: every rule says no by itself, in words; an older result never replaces a newer one."""

import json
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from churn_assets.gates.estimates import Estimate
from churn_assets.release.config import PromotionPolicy
from churn_assets.release.policy import Against, Shadow, Standing, decide_automatically
from churn_assets.release.promotion import PromotionDecision, held_against
from churn_assets.store.reference import ArtifactRef

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
POLICY = PromotionPolicy(mode="auto")
GOOD = Shadow(60_000, 0.12, release=True, reason="the lower bound +0.10 is above -0.50")


def release(day, asset="release"):
    return ArtifactRef("toy", asset, f"202611{day:02d}T120000Z-0123456789ab")


STANDING = Standing(
    candidate=release(20),
    leader=release(10),
    members={"customers": release(19, "customers")},
    leading={"customers": release(9, "customers")},
    considered=PromotionDecision(promote=True, reason="all 40 gates hold"),
    led_before=False,
    moved_at=NOW - timedelta(days=10),
    shadow=GOOD,
)


FIRST = {"leader": None, "leading": {}, "moved_at": None, "shadow": None}


def decided(**changes):
    return decide_automatically(replace(STANDING, **changes), POLICY, NOW)


def test_a_candidate_that_keeps_every_rule_is_promoted_with_the_evidence_as_reason():
    decision = decided()
    assert decision.promote
    assert (
        decision.reason == "all 40 gates hold; on 60000 live decisions the lower bound +0.10 is above -0.50"
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"candidate": release(9)}, "20261109T120000Z-0123456789ab is not newer than 20261110T120000Z"),
        (
            {"members": {"customers": release(8, "customers")}},
            "made from older versions than lead: customers",
        ),
        ({"led_before": True}, "led before and was taken back"),
        (
            {"estimated": True},
            "offer_log.propensities: estimated: what such a log says is true if nothing hidden",
        ),
        ({"considered": PromotionDecision(promote=False, reason="check x never ran")}, "check x never ran"),
        ({"moved_at": NOW - timedelta(hours=23)}, "min_gap_hours: the channel moved at 2026-11-21 13:00"),
        ({"shadow": None}, "not compared with the champion"),
        ({"shadow": replace(GOOD, decisions=49_999)}, "min_decisions: 49999 live decisions"),
        ({"shadow": replace(GOOD, exploration=0.09)}, "min_exploration: 9.0% of them, needed 10.0%"),
        (
            {"shadow": replace(GOOD, release=False, reason="the lower bound is low")},
            "on 60000 live decisions the lower bound is low",
        ),
    ],
    ids=[
        "older run",
        "older sources",
        "rolled back",
        "estimated",
        "gates",
        "gap",
        "no shadow",
        "few",
        "unexplored",
        "worse",
    ],
)
def test_each_rule_holds_a_candidate_back_and_says_so(changes, said):
    decision = decided(**changes)
    assert not decision.promote
    assert said in decision.reason


def test_a_first_release_has_nothing_to_be_compared_with_and_goes_by_its_gates():
    assert decided(**FIRST).promote
    assert decided(**FIRST, lift=Estimate(2.0, 1.2)).promote


def test_a_first_release_whose_lift_may_be_none_waits_for_a_person():
    decision = decided(**FIRST, lift=Estimate(2.0, 1.3))
    assert not decision.promote
    assert "its lift over no offer may be none: +2.00 a decision by the log" in decision.reason
    assert "no more than -0.14" in decision.reason
    assert decided(lift=Estimate(2.0, 1.3)).promote  # a later one is judged beside the leader


def test_a_candidate_is_held_against_every_leader_so_far_but_those_that_were_taken_back():
    def record(day, action="promote"):
        return SimpleNamespace(ref=release(day), action=action, at=NOW)

    history = [record(1), record(2), record(3), record(2, "rollback"), record(4), record(1), record(5)]
    assert held_against(history, release(5), release(6)) == (release(1), release(4), release(2))
    assert held_against(history[:1], release(1), release(6)) == ()


def test_a_comparison_is_remembered_as_plain_data():
    against = Against("toy/release/x", 0.9, 0.5, 0.2, -0.1, 1.1, None)
    shadow = replace(GOOD, against=(against,))
    assert Shadow.of(json.loads(json.dumps(asdict(shadow)))) == shadow
    assert not against.holds
    assert "no number of decisions would do" in against.needed()
    assert "about 900 decisions more, 9 days as they come now," in replace(against, more=900).needed(100.0)


def test_a_slow_older_training_never_replaces_a_newer_one_however_good_it_is():
    """It began first and ended last: its versions bear the time at which its run began."""
    slow, quick = release(12), release(13)
    assert not decided(candidate=slow, leader=quick).promote
    assert decided(candidate=quick, leader=slow).promote

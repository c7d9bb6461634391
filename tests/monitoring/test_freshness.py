"""Age is told by a version's name, and asked about again and again but not at every tick."""

from datetime import UTC, datetime, timedelta

from churn_assets.monitoring.freshness import too_old
from churn_assets.store.reference import ArtifactRef

MADE = datetime(2026, 11, 1, 12, tzinfo=UTC)
NEWEST = {"customers": ArtifactRef("toy", "customers", "20261101T120000Z-0123456789ab")}


def found(days, **limits):
    return too_old(NEWEST, limits, MADE + timedelta(days=days))


def test_what_is_older_than_it_may_be_is_made_again():
    (finding,) = found(31, customers=30)
    assert finding.assets == {"customers"}
    assert finding.reason == "customers is 31.0 days old, at most 30 are wanted"


def test_what_is_young_enough_has_no_limit_or_was_never_made_is_left_alone():
    assert found(30, customers=30) == ()
    assert found(1000) == ()
    assert found(1000, risk_model=1) == ()


def test_the_evidence_is_the_same_until_the_age_has_passed_once_more():
    first, later, again = (found(days, customers=30)[0].evidence for days in (31, 59, 61))
    assert first == later != again

"""Until when a version may lead for the first time, and from when it may be collected; retention.py tells why so."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta

from churn_assets.store.manifest import minting_time, whole_second
from churn_assets.store.reference import ArtifactRef

# A week lies between what a promotion accepts and what a collection takes: what any process may pause between
# looking at the clock, or at the store, and acting on it.
FIRST_PROMOTION_WITHIN = timedelta(days=7)
COLLECTED_AFTER = timedelta(days=14)


def collectable(ref: ArtifactRef, now: datetime) -> bool:
    """Whether a version is old enough to be collected, or to let the version before it be collected."""
    return now - minting_time(ref.version) > COLLECTED_AFTER


def unfit_to_lead(
    ref: ArtifactRef,
    now: datetime,
    *,
    trained_from: Callable[[ArtifactRef], Iterable[ArtifactRef]],
    versions: Callable[[ArtifactRef], Sequence[ArtifactRef]],
) -> str:
    """Why a version that never led may not begin to; empty where it may.

    Besides being young, it must not come from anything that a collection may be taking: a collection under way may
    have looked at the store before this version was there to protect its sources. Such a collection spares what
    nothing old supersedes, and all that this was trained from if it is old enough to be known to the collection.

    Args:
        ref: The version; one that was tried within this time may lead later.
        now: Aware time, taken before the store is looked at.
        trained_from: Upstream of a version; raises where the version is not committed.
        versions: Committed versions of a version's asset, oldest first.
    """
    age = whole_second(now) - minting_time(ref.version)
    if age > FIRST_PROMOTION_WITHIN:
        return (
            f"was published {age.days} days ago and never promoted, "
            f"expected its first promotion within {FIRST_PROMOTION_WITHIN.days} days"
        )
    pending = [(source, False) for source in trained_from(ref)]
    seen = set(pending)
    while pending:
        source, known = pending.pop()
        upstream = trained_from(source)  # of all of them: what is gone already must be missed
        if not known:
            successor = next((each for each in versions(source) if each.version > source.version), None)
            if successor and whole_second(now) - minting_time(successor.version) > FIRST_PROMOTION_WITHIN:
                return f"comes from {source}, which {successor.version} superseded too long ago for it to be kept"
        found = {(each, known or collectable(source, now)) for each in upstream} - seen
        seen |= found
        pending += sorted(found, key=str)
    return ""

"""Releases as the pages show them: verdict and figures from what is stored, kept until something about them changes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

from churn_assets.flow.registry import registry
from churn_assets.release.bundle import RELEASE_ASSET
from churn_assets.release.report.facts import read_facts
from churn_assets.release.report.trend import ReleaseTrend, trend_of
from churn_assets.release.report.verdict import ReportVerdict, report_verdict
from churn_assets.store.errors import BROKEN, IncompatibleArtifact, PromotionRefused
from churn_assets.store.manifest import minting_time

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from churn_assets.console.place import ConsolePlace
    from churn_assets.release.compare import Difference
    from churn_assets.store.channels import ChannelRecord
    from churn_assets.store.reference import ArtifactRef

SHOWN = 12
"""Newest releases that are listed."""
_KEPT = 64


@dataclass(frozen=True)
class ReleaseSummary:
    """A release as it is listed.

    Attributes:
        ref: Which.
        made: When it was minted; UTC.
        verdict: What its report would say now, files not read again; None where it cannot be read.
        trend: Its figures.
        changes: What differs from the champion that it was compared with.
        branches: What it can do.
        simulated: Whether the answers to offers that it learned from are simulated.
        broken: Why it cannot be read; empty where it can.
    """

    ref: ArtifactRef
    made: datetime
    verdict: ReportVerdict | None = None
    trend: ReleaseTrend | None = None
    changes: Sequence[Difference] = ()
    branches: Sequence[str] = ()
    simulated: bool = False
    broken: str = ""


class Summaries:
    """Reads summaries; each is kept for a day while nothing moves the channel."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, int, str], ReleaseSummary] = OrderedDict()
        self._lock = Lock()

    def newest(self, place: ConsolePlace, head: ChannelRecord | None) -> list[ReleaseSummary]:
        """The newest releases of the experiment, and the one that leads; newest first.

        Raises:
            StoreError: The store does not answer.
        """
        found = list(place.store.versions(place.experiment.name, RELEASE_ASSET))[-SHOWN:]
        if head is not None and head.ref not in found:
            found.insert(0, head.ref)
        return [self.of(place, ref, head) for ref in reversed(found)]

    def of(self, place: ConsolePlace, ref: ArtifactRef, head: ChannelRecord | None) -> ReleaseSummary:
        """One release.

        Raises:
            StoreError: The store does not answer.
        """
        key = (str(ref), 0 if head is None else head.seq, f"{place.now():%Y%m%d}")
        with self._lock:
            if key in self._kept:
                return self._kept[key]
        found = read_summary(place, ref)
        if found.broken:  # its bytes may be mended
            return found
        with self._lock:
            self._kept[key] = found
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return found


def read_summary(place: ConsolePlace, ref: ArtifactRef) -> ReleaseSummary:
    """What is stored of one release. Files of members are not read: promoting verifies every byte.

    Raises:
        StoreError: The store does not answer.
    """
    made = minting_time(ref.version)
    ages: Mapping[str, float] = place.experiment.automation.max_age_days
    try:
        facts = read_facts(
            place.store,
            place.champion,
            ref,
            registry().checks,
            against=None,
            now=place.now(),
            max_age_days=ages,
            every_byte=False,
        )
    except (*BROKEN, IncompatibleArtifact, PromotionRefused) as error:
        return ReleaseSummary(ref, made, broken=str(error))
    return ReleaseSummary(
        ref,
        made,
        report_verdict(facts),
        trend_of(facts),
        facts.changes,
        facts.branches,
        facts.simulated,
    )

"""Which candidate answers beside the release that leads: follows the log of trials as the channel is followed."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from churn_assets.deciding.decider import Decider
from churn_assets.deciding.trial import SideBySide
from churn_assets.message.text.profile import ProfileError
from churn_assets.release.trial import TrialDesign, cannot_be_tried, epoch_of, running
from churn_assets.serving.reload import ReleaseFollower, ServedRelease, Trouble, UnservableError
from churn_assets.store.acts import ActLog, ActRecord
from churn_assets.store.errors import BROKEN, StoreError
from churn_assets.store.reference import ArtifactRef

_LOG = logging.getLogger(__name__)

_AGAIN_SECONDS = 60.0
"""Until a candidate whose bytes were found wrong is looked at again."""


class TrialFollower:
    """Keeps the candidate of the trial that runs ready to answer. One thread calls `check`, any may read `answering`.

    Args:
        log: Of the trials of the channel that is followed.
        follower: Which release leads.
        load: Loads and verifies a release.
        clock: Aware time now.
        unable: Why no trial can be served here; empty where one can.
        monotonic: A clock that nobody sets.

    Attributes:
        trouble: Why the trial that runs is not served; None where it is, or none runs.
    """

    def __init__(
        self,
        log: ActLog,
        follower: ReleaseFollower,
        load: Callable[[ArtifactRef], ServedRelease],
        clock: Callable[[], datetime],
        unable: str = "",
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.log, self.follower = log, follower
        self.trouble: Trouble | None = None
        self._load, self._clock, self._unable, self._monotonic = load, clock, unable, monotonic
        self._newest: ActRecord | None = None
        self._known = False
        self._pair: tuple[ServedRelease, ServedRelease] | None = None
        self._at: tuple[int, float] | None = None
        self._bad: tuple[int, Trouble, float] | None = None
        self._seen: tuple[int, datetime, float] | None = None

    @property
    def answering(self) -> ServedRelease | None:
        """The release that leads, with the candidate beside it while a trial runs; None where nothing leads."""
        leads, pair = self.follower.served, self._pair
        return pair[1] if pair is not None and pair[0] is leads else leads

    def check(self) -> None:
        """Ask the store once, and follow what it says. Called after the follower's own check.

        Raises:
            StoreError: It does not answer, or the log is not sound; what was known holds.
        """
        if self._newest is not None:
            self.log.refuse_lost(self._newest)
        seen = 0 if self._newest is None else self._newest.seq
        if not self._known or self.log.moved_since(seen):
            self._newest, self._known = self.log.head(since=seen), True
        newest, leads = self._newest, self.follower.served
        trial = running(newest, self.follower.record)
        if newest is None or trial is None or leads is None or trial.champion != str(leads.ref):
            self._pair = self.trouble = None
            return
        self._follow(newest, trial, leads)

    def _follow(self, newest: ActRecord, trial: TrialDesign, leads: ServedRelease) -> None:
        """Serve a trial, at the share of now. Bytes that were found wrong may be restored, so they are read again."""
        if self._bad is not None and self._bad[0] == newest.seq and self._monotonic() < self._bad[2]:
            self._pair, self.trouble = None, self._bad[1]
            return
        known = None if self._pair is None else self._pair[1].candidate
        share = trial.share_at(self._now(newest), newest.at)
        if self._pair is not None and self._pair[0] is leads and self._at == (newest.seq, share):
            return
        try:
            if self._unable:
                raise UnservableError(self._unable)
            ref = ArtifactRef.parse(trial.candidate)
            candidate = known if known is not None and known.ref == ref else self._load(ref)
            both = beside(leads, candidate, share, epoch_of(newest))
        except (*BROKEN, UnservableError, ProfileError) as error:
            again_at = self._monotonic() + _AGAIN_SECONDS if isinstance(error, StoreError) else math.inf
            self._bad = newest.seq, Trouble(trial.candidate, type(error).__name__, str(error)), again_at
            self._pair, self.trouble = None, self._bad[1]
            _LOG.error("%s: the trial of %s is not served (%s)", self.log.name, trial.candidate, error)
            return
        self._pair, self._at, self.trouble = (leads, both), (newest.seq, share), None

    def _now(self, newest: ActRecord) -> datetime:
        """The time as far as it is believed: a clock that leaps ahead gives nobody to a candidate before the time.

        Since a trial was first seen no more time has passed than by a clock that nobody sets.
        """
        now, monotonic = self._clock(), self._monotonic()
        if self._seen is None or self._seen[0] != newest.seq:
            self._seen = newest.seq, now, monotonic
        _, then, since = self._seen
        return min(now, then + timedelta(seconds=monotonic - since))


def beside(leads: ServedRelease, candidate: ServedRelease, share: float, epoch: str) -> ServedRelease:
    """The release that leads, as it answers with a candidate beside it.

    Raises:
        UnservableError: Customers cannot be shared between the two.
    """
    if problem := cannot_be_tried(leads.bundle, leads.decider, candidate.bundle, candidate.decider):
        raise UnservableError(problem)
    assert isinstance(leads.decider, Decider)
    assert isinstance(candidate.decider, Decider)
    return replace(
        leads, decider=SideBySide(leads.decider, candidate.decider, share, epoch), candidate=candidate
    )

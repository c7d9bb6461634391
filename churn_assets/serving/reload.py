"""Which release answers: follows a channel, loads a new leader beside the old one, swaps, or stays and says why."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from churn_assets.arms import Menu
from churn_assets.customers.schema import CustomerSchema, not_understood
from churn_assets.deciding.decider import Decider
from churn_assets.deciding.risk_only import AnyDecider, RiskModels, decider_of
from churn_assets.deciding.secret import ASSIGNMENT_KEY
from churn_assets.message.text.profile import ProfileError
from churn_assets.release.bundle import Bundle
from churn_assets.release.deciding import load_with_members
from churn_assets.release.loaded import load_desk
from churn_assets.serving.answers import Answers
from churn_assets.serving.messages import MessageDesk
from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.channels import Channel, ChannelRecord
from churn_assets.store.errors import (
    AccessDenied,
    BucketMissing,
    RequestRefused,
    StoreError,
    StoreUnreachable,
)
from churn_assets.store.manifest import Manifest
from churn_assets.store.reference import ArtifactRef

_LOG = logging.getLogger(__name__)

_MAY_PASS = (StoreUnreachable, AccessDenied, BucketMissing, RequestRefused)
"""What says nothing about the release itself: it is tried again at the next poll."""


_AGAIN_SECONDS = 30.0
"""Until a release whose bytes were found wrong is looked at again, beside one that answers; then twice as long."""


class UnservableError(ValueError):
    """A release that is sound and still cannot answer here."""


@dataclass(frozen=True)
class ServedRelease:
    """A release that answers.

    Attributes:
        ref: Which.
        bundle: Its members.
        manifests: Of every member that is a model.
        decider: Decides.
        answers: Says what was decided.
        messages: Writes.
        loaded_at: When this process began to answer with it.
        candidate: What answers beside it for some customers while a trial runs; None without one.
    """

    ref: ArtifactRef
    bundle: Bundle
    manifests: Mapping[str, Manifest]
    decider: AnyDecider
    answers: Answers
    messages: MessageDesk
    loaded_at: datetime
    candidate: ServedRelease | None = None

    def writer(self, release: str) -> MessageDesk:
        """Writes for the decisions of one of the releases that answer."""
        theirs = self.candidate
        return self.messages if theirs is None or release != str(theirs.ref) else theirs.messages


@dataclass(frozen=True)
class Trouble:
    """Why what leads the channel does not answer.

    Attributes:
        release: What leads; empty where the channel itself cannot be read.
        kind: Class of the error: all that a caller without a key is told.
        detail: What was found and expected.
    """

    release: str
    kind: str
    detail: str


ReloadResult = Literal["loaded", "failed", "unreachable"]


@dataclass(frozen=True)
class _Failure:
    """A release that was found unfit.

    Attributes:
        trouble: What was found.
        tries: How often.
        again_at: On the monotonic clock; what only another release mends is never tried again.
    """

    trouble: Trouble
    tries: int
    again_at: float


class ReleaseFollower:
    """Keeps the release that leads a channel ready to answer. One thread calls `check`, any may read `served`.

    Args:
        channel: What is followed.
        load: Loads and verifies a release.
        told: Told of every attempt.
        monotonic: A clock that nobody sets.
    """

    def __init__(
        self,
        channel: Channel,
        load: Callable[[ArtifactRef], ServedRelease],
        told: Callable[[ReloadResult], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.channel = channel
        self.served: ServedRelease | None = None
        self.trouble: Trouble | None = None
        self._load = load
        self._told = told
        self._monotonic = monotonic
        self._head: ChannelRecord | None = None
        self._bad: dict[ArtifactRef, _Failure] = {}

    @property
    def record(self) -> ChannelRecord | None:
        """The channel's newest record, as far as it was followed; None before the first."""
        return self._head

    def check(self) -> bool:
        """Ask the channel once, and follow it if it moved, or if what leads it was unfit and may be mended by now.

        Returns:
            Whether another release answers from here on.

        Raises:
            RecordsLost: The record that this process follows is gone, or another stands in its place; `trouble` says
                so too, and what answers stays until it is back.
            StoreError: The store does not answer; the same.
            OSError: The same.
        """
        head, trouble = self._head, self.trouble
        try:
            if head is not None:
                self.channel.refuse_lost(head)
            if self.channel.moved_since(0 if head is None else head.seq):
                head = self.channel.head()
        except (StoreError, OSError) as error:
            self._stay(Trouble("", type(error).__name__, str(error)), "unreachable")
            raise
        if trouble is not None and not trouble.release:
            self.trouble = None  # the channel can be read again
        if head is None:
            return False
        return self._follow(head)

    def _follow(self, head: ChannelRecord) -> bool:
        ref, before = head.ref, self._bad.get(head.ref)
        if self.served is not None and self.served.ref == ref:
            self.trouble, self._head = None, head
            return False
        if before is not None and self._monotonic() < before.again_at:
            self.trouble, self._head = before.trouble, head
            return False
        try:
            served = self._load(ref)
            if self.served is not None:
                refuse_other_schema(self.served.decider.schema, served.decider.schema)
                refuse_other_menu(self.served.decider.menu, served.decider.menu)
        except (*_MAY_PASS, OSError) as error:
            self._stay(Trouble(str(ref), type(error).__name__, str(error)), "unreachable")
            raise
        except (StoreError, UnservableError, ProfileError) as error:
            self._is_bad(ref, error)
            self._head = head
            return False
        self._bad.pop(ref, None)
        self.served, self.trouble, self._head = served, None, head
        self._told("loaded")
        _LOG.info("%s answers (record %d of %s)", ref, head.seq, self.channel.name)
        return True

    def _is_bad(self, ref: ArtifactRef, error: Exception) -> None:
        """Bytes may be restored, so they are looked at again; a sound release that cannot answer here stays one."""
        tries = 1 + (self._bad[ref].tries if ref in self._bad else 0)
        first = (
            _AGAIN_SECONDS if self.served is not None else 1.0
        )  # where nothing answers, nothing is disturbed
        wait = min(first * 2.0 ** min(tries - 1, 16), 2 * _AGAIN_SECONDS)
        again_at = self._monotonic() + wait if isinstance(error, StoreError) else math.inf
        trouble = Trouble(str(ref), type(error).__name__, str(error))
        self._bad[ref] = _Failure(trouble, tries, again_at)
        self._stay(trouble, "failed")

    def _stay(self, trouble: Trouble, result: ReloadResult) -> None:
        if trouble != self.trouble:
            still = self.served.ref if self.served else "nothing"
            _LOG.error(
                "%s: %s does not answer (%s); %s still does",
                self.channel.name,
                trouble.release or "what leads",
                trouble.detail,
                still,
            )
        self.trouble = trouble
        self._told(result)


def load_served(
    store: ArtifactStore, ref: ArtifactRef, message_seconds: float, now: datetime, *, keyed: bool = True
) -> ServedRelease:
    """Load a release to answer with: every digest verified, golden rows and golden decisions replayed.

    Args:
        store: Where it is.
        ref: Which.
        message_seconds: For the messages of one call.
        now: Aware time.
        keyed: Whether there is a secret to draw with.

    Raises:
        StoreError: It or a member is missing, corrupt, or decides otherwise than when it was built.
        ProfileError: Its messages speak of columns that it has not.
        UnservableError: Its template cannot be sent with an arm of its menu, or its campaign cannot be drawn.
    """
    bundle, models, manifests = load_with_members(store, ref)
    if isinstance(models, RiskModels) and models.campaign is not None and not keyed:
        raise UnservableError(
            f"lets chance decide in campaign {models.campaign.name!r} and there is no secret to draw with: set "
            f"{ASSIGNMENT_KEY}"
        )
    decider = decider_of(models, str(ref))
    horizon = 0 if decider.process is None else decider.process.value_horizon_months
    answers = Answers(decider.menu, bundle.writing.currency, horizon, decider.told)
    writer = load_desk(store, bundle)
    if problems := writer.unsendable(decider.menu):
        raise UnservableError("; ".join(problems))
    messages = MessageDesk(decider.schema, writer, message_seconds)
    return ServedRelease(ref, bundle, manifests, decider, answers, messages, now)


def refuse_unexplorable(served: ServedRelease) -> None:
    """Where the design is `top_two`, a release must have kept what it draws by.

    Raises:
        UnservableError: It was built before releases did.
    """
    decider = served.decider
    if isinstance(decider, Decider) and decider.models.responses.left_open is None:
        raise UnservableError(
            "kept nothing of what its log leaves open about effects, which serving.exploration.design: top_two draws "
            "by; build it anew with churn run, or set design: plausible"
        )


def refuse_other_schema(answering: CustomerSchema, coming: CustomerSchema) -> None:
    """Whoever asks in the words of the release that answers must be understood by the one that comes.

    Raises:
        UnservableError: It needs other features, or takes fewer values of one.
    """
    if problem := not_understood(answering, coming):
        raise UnservableError(f"{problem}; start servers for it beside these")


def refuse_other_menu(answering: Menu, coming: Menu) -> None:
    """An arm that callers name, as eligible or as accepted, must be there and mean what it meant.

    Raises:
        UnservableError: It lacks an arm, or has one of other terms.
    """
    terms = {arm.id: arm.terms for arm in coming}
    other = [arm.id for arm in answering if terms.get(arm.id) != arm.terms]
    if other:
        raise UnservableError(
            f"has another menu ({', '.join(coming.ids)}) than callers name arms of: {', '.join(other)} is not there, "
            "or has other terms; start servers for it beside these"
        )

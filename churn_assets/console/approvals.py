"""What one person asks for and another one approves: a log of requests in the store. Does nothing itself."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal, cast

from churn_assets.serving.config import Act
from churn_assets.store.acts import ActLog, ActRecord
from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.errors import ChannelConflict
from churn_assets.store.names import LONGEST_REASON

_TRIES = 5
RequestState = Literal["open", "approved", "done", "failed", "declined", "expired"]


class ApprovalError(ValueError):
    """A request that cannot be approved or declined; says why and what to do."""


@dataclass(frozen=True)
class ActRequest:
    """Something that a person asked for.

    Attributes:
        seq: Its number in the log.
        act: What is to be done.
        release: Which release is to lead; empty for the one before, or where it is about no release.
        expected_seq: The newest record of the channel, the switch or the log of trials, when it was asked for.
        asked_by: Name of the key.
        reason: Why.
        at: When it was asked for.
        state: How it stands. `approved` is one that was approved and of which nothing was heard since.
        by: Who approved or declined it; empty where nobody did.
        said: What came of it.
    """

    seq: int
    act: Act
    release: str
    expected_seq: int
    asked_by: str
    reason: str
    at: datetime
    state: RequestState = "open"
    by: str = ""
    said: str = ""


def request_log(store: ArtifactStore, channel: str) -> ActLog:
    """The log of what was asked for on a channel."""
    return ActLog(store, f"{channel}.requests")


def ask_for(
    log: ActLog, act: Act, *, release: str, expected_seq: int, actor: str, reason: str, now: datetime
) -> ActRecord:
    """Write down what a person asks for.

    Raises:
        StoreError: As of `ActLog.append`.
    """
    newest = log.head()
    return log.append(
        "ask",
        expected_seq=0 if newest is None else newest.seq,
        actor=actor,
        reason=reason,
        now=now,
        details={"act": act, "release": release, "expected_seq": expected_seq},
    )


def requests_in(records: Sequence[ActRecord], lasts: timedelta, now: datetime) -> list[ActRequest]:
    """All requests of a log with their states, newest first."""
    found: dict[int, ActRequest] = {}
    for record in records:
        if record.kind == "ask":
            found[record.seq] = _request(record)
            continue
        about = int(cast("int", record.details["request"]))
        state = cast(
            "RequestState", {"approve": "approved", "decline": "declined"}.get(record.kind, record.kind)
        )
        by = record.actor if record.kind in ("approve", "decline") else found[about].by
        found[about] = replace(found[about], state=state, by=by, said=record.reason)
    return [
        replace(each, state="expired") if each.state == "open" and each.at + lasts <= now else each
        for each in reversed(found.values())
    ]


def answer_request(
    log: ActLog, seq: int, *, approve: bool, actor: str, lasts: timedelta, now: datetime, reason: str = ""
) -> ActRequest:
    """Approve or decline a request. Of two who do so at once, one is refused.

    Args:
        log: As of `request_log`.
        seq: The request's number.
        approve: Or decline it.
        actor: Name of the key; whoever asked may decline their own request and not approve it.
        lasts: How long a request can be approved.
        now: Aware time.
        reason: Why, of who declines.

    Raises:
        ApprovalError: There is no such request, it is no longer open, or who asked would approve.
        StoreError: As of `ActLog.append`.
    """
    records = log.history()
    request = next((each for each in requests_in(records, lasts, now) if each.seq == seq), None)
    if request is None:
        raise ApprovalError(f"request {seq}: found none, expected one of the list")
    if request.state != "open":
        raise ApprovalError(f"request {seq} is {request.state}: ask for it anew")
    if approve and request.asked_by == actor:
        raise ApprovalError(f"request {seq} was asked for by {actor}: another person approves it")
    kind = "approve" if approve else "decline"
    log.append(
        kind, expected_seq=records[-1].seq, actor=actor, reason=reason, now=now, details={"request": seq}
    )
    return replace(request, state="approved" if approve else "declined", by=actor)


def tell_outcome(log: ActLog, request: ActRequest, *, done: bool, said: str, now: datetime) -> None:
    """Write down what came of an approved request.

    Raises:
        StoreError: As of `ActLog.append`.
    """
    for _ in range(_TRIES):
        newest = log.head()
        with suppress(ChannelConflict):  # somebody asked for something meanwhile: it comes behind
            log.append(
                "done" if done else "failed",
                expected_seq=0 if newest is None else newest.seq,
                actor=request.by,
                reason=said[:LONGEST_REASON],
                now=now,
                details={"request": request.seq},
            )
            return
    raise ChannelConflict(f"log {log.name}: moved at each of {_TRIES} tries")


def _request(record: ActRecord) -> ActRequest:
    told = record.details
    return ActRequest(
        record.seq,
        cast("Act", told["act"]),
        str(told["release"]),
        int(cast("int", told["expected_seq"])),
        record.actor,
        record.reason,
        record.at,
    )

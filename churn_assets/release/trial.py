"""A trial: a candidate that decides for a share of the customers beside the champion; one signed record starts it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from churn_assets.store.acts import ActLog, ActRecord, act_key
from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.channels import Channel, ChannelRecord
from churn_assets.store.errors import CorruptArtifact, InvalidSetting
from churn_assets.store.reference import ArtifactRef

START: Literal["start"] = "start"
STOP: Literal["stop"] = "stop"


class TrialDesign(BaseModel):
    """What a trial's record says beside who, when and why.

    Attributes:
        candidate: ``experiment/release/version`` that is tried.
        champion: That leads.
        record: The channel's record by which it leads: once the channel moves, the trial is over.
        shares: Of those whom the policy decides for, that go by the candidate: one step after the other, growing, with
            commas between.
        step_hours: From one step to the next.
        rule: By which it may be promoted, as `automation.promotion` was at the start, as JSON.
        guardrails: `automation.live` at the start, as JSON.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    candidate: str
    champion: str
    record: Annotated[int, Field(ge=1)]
    shares: Annotated[str, Field(min_length=1)]
    step_hours: Annotated[int, Field(ge=1)]
    rule: str
    guardrails: str

    @property
    def steps(self) -> tuple[float, ...]:
        """`shares` as numbers."""
        return tuple(map(float, self.shares.split(",")))

    def share_at(self, now: datetime, start: datetime) -> float:
        """The candidate's share at a time; the first before the start, as of a clock that lags.

        Args:
            now: Aware time.
            start: When the trial was started.
        """
        passed = max(0, (now - start) // timedelta(hours=self.step_hours))
        return self.steps[min(passed, len(self.steps) - 1)]


def trial_log(store: ArtifactStore, channel: str) -> ActLog:
    """The log of the trials of a channel."""
    return ActLog(store, f"{channel}.trials")


def design_of(record: ActRecord) -> TrialDesign:
    """The design in a record that starts a trial.

    Raises:
        CorruptArtifact: It is none.
    """
    try:
        design = TrialDesign.model_validate(record.details)
        ArtifactRef.parse(design.candidate)
        checked_shares(design.steps)
    except (ValidationError, ValueError) as error:
        key = act_key(record.log, record.seq)
        raise CorruptArtifact(key, str(error), "the design of a trial", f"log {record.log}") from error
    return design


def checked_shares(shares: Sequence[float]) -> str:
    """Steps of a candidate's share as the record keeps them.

    Raises:
        InvalidSetting: They are none above 0 and below 1 that grow.
    """
    grows = all(before < after for before, after in pairwise([0.0, *shares, 1.0]))
    if not (shares and grows):
        found = ", ".join(f"{share:g}" for share in shares) or "none"
        raise InvalidSetting(f"share: found {found}, expected steps above 0 and below 1, each above the last")
    return ",".join(map(repr, shares))


def running(newest: ActRecord | None, head: ChannelRecord | None) -> TrialDesign | None:
    """The trial that goes on; None where none was started, it was stopped, or the channel moved since.

    Args:
        newest: Record of the log of trials.
        head: The channel's.

    Raises:
        CorruptArtifact: The record that started it holds no design.
    """
    if newest is None or newest.kind != START or head is None:
        return None
    design = design_of(newest)
    return design if design.record == head.seq else None


def stop_trial(
    store: ArtifactStore, channel: Channel, *, actor: str, reason: str, now: datetime
) -> ActRecord:
    """End the trial that runs: the champion decides for all again. Servers follow within `serving.poll_seconds`.

    Args:
        store: The store.
        channel: Of the trial.
        actor: Who.
        reason: Why; not empty.
        now: Aware time.

    Raises:
        InvalidSetting: There is no reason, or no trial runs.
        ChannelConflict: Somebody stopped it meanwhile.
        StoreError: The store does not answer.
    """
    refuse_blank(reason)
    log = trial_log(store, channel.name)
    newest = log.newest()
    if running(newest, channel.head()) is None:
        raise InvalidSetting(f"{channel.name}: no trial runs, so there is nothing to stop")
    return append_act(log, STOP, newest, actor, reason, now)


def append_act(
    log: ActLog,
    kind: Literal["start", "stop"],
    newest: ActRecord | None,
    actor: str,
    reason: str,
    now: datetime,
    design: TrialDesign | None = None,
) -> ActRecord:
    """Add a record to the log of trials, if it is still where the decision was taken.

    Raises:
        ChannelConflict: Somebody acted meanwhile.
        StoreError: The store does not answer.
    """
    return log.append(
        kind,
        expected_seq=0 if newest is None else newest.seq,
        actor=actor,
        reason=reason,
        now=now,
        details=None if design is None else design.model_dump(),
    )


def refuse_blank(reason: str) -> None:
    """Every act on a trial says why.

    Raises:
        InvalidSetting: It does not.
    """
    if not reason.strip():
        raise InvalidSetting("reason: found none, expected why; it is kept in the log")

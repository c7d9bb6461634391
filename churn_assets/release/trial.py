"""A trial: a candidate that decides for a share of the customers beside the champion; one signed record starts it.

Whoever acts, by hand, in the UI, in the console or by a sensor, goes by three functions: `begin_trial.start_trial`
begins one, `trial_now` tells how it stands, `stop_trial` ends it; in Dagster by the jobs `begin_trial` and `end_trial`.
Nothing has to be called for the share to grow: the record says when it does, and servers go by that. A promotion and a
rollback end a trial too, as the channel moves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from churn_assets.deciding.risk_only import AnyDecider
from churn_assets.deciding.trial import cannot_share
from churn_assets.release.bundle import Bundle
from churn_assets.release.config import refuse_shares
from churn_assets.store.acts import ActRecord
from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.channels import Channel, ChannelRecord
from churn_assets.store.errors import ChannelConflict, CorruptArtifact, InvalidSetting
from churn_assets.store.reference import ArtifactRef
from churn_assets.store.tried import START, trial_log

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

    def step_at(self, now: datetime, start: datetime) -> int:
        """The place in `steps` at a time, from 0; the first before the start, as of a clock that lags.

        Args:
            now: Aware time.
            start: When the trial was started.
        """
        passed = max(0, (now - start) // timedelta(hours=self.step_hours))
        return min(passed, len(self.steps) - 1)

    def share_at(self, now: datetime, start: datetime) -> float:
        """The candidate's share at a time; arguments as of `step_at`."""
        return self.steps[self.step_at(now, start)]


@dataclass(frozen=True)
class RunningTrial:
    """A trial that goes on, at one moment.

    Attributes:
        record: That started it: who, why, when, and its number, by which it is ended.
        design: What it says.
        step: Place in `design.steps`, from 0.
        grows_at: When the next step begins; None in the last.
    """

    record: ActRecord
    design: TrialDesign
    step: int
    grows_at: datetime | None

    @property
    def candidate(self) -> ArtifactRef:
        """The release that is tried."""
        return ArtifactRef.parse(self.design.candidate)

    @property
    def epoch(self) -> str:
        """Of the draw of who goes by the candidate: of this trial alone."""
        return epoch_of(self.record)

    @property
    def share(self) -> float:
        """Of the customers left to the policy, that go by the candidate."""
        return self.design.steps[self.step]


def trial_now(store: ArtifactStore, channel: Channel, now: datetime) -> RunningTrial | None:
    """The trial that goes on beside what leads a channel; None where there is none.

    Args:
        store: The store.
        channel: The channel.
        now: Aware time.

    Raises:
        StoreError: The store does not answer, or one of the two logs is not sound.
    """
    newest = trial_log(store, channel.name).head()
    design = running(newest, channel.head())
    if newest is None or design is None:
        return None
    step = design.step_at(now, newest.at)
    last = step == len(design.steps) - 1
    grows_at = None if last else newest.at + timedelta(hours=design.step_hours) * (step + 1)
    return RunningTrial(newest, design, step, grows_at)


def epoch_of(record: ActRecord) -> str:
    """Text that the draw of a trial is keyed by, beside the secret and `serving.assignment_epoch`."""
    return f"trial {record.seq}"


def design_of(record: ActRecord) -> TrialDesign:
    """The design in a record that starts a trial.

    Raises:
        CorruptArtifact: It is none.
    """
    try:
        design = TrialDesign.model_validate(record.details)
        ArtifactRef.parse(design.candidate)
        refuse_shares(design.steps)
    except (ValidationError, ValueError) as error:
        raise CorruptArtifact(record.key, str(error), "the design of a trial", f"log {record.log}") from error
    return design


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
    store: ArtifactStore,
    channel: Channel,
    *,
    actor: str,
    reason: str,
    now: datetime,
    expected_seq: int | None = None,
) -> ActRecord:
    """End the trial that runs: the champion decides for all again. Servers follow within `serving.poll_seconds`.

    Args:
        store: The store.
        channel: Of the trial.
        actor: Who.
        reason: Why; not empty.
        now: Aware time.
        expected_seq: Number of the record that started the trial that is meant; None for the one that runs.

    Raises:
        InvalidSetting: There is no reason, or no trial runs.
        ChannelConflict: Another trial runs than was meant, or somebody stopped it meanwhile.
        StoreError: The store does not answer.
    """
    refuse_blank(reason)
    log, trial = trial_log(store, channel.name), trial_now(store, channel, now)
    if trial is None:
        raise InvalidSetting(f"{channel.name}: no trial runs, so there is nothing to stop")
    seq = trial.record.seq
    if expected_seq is not None and expected_seq != seq:
        raise ChannelConflict(f"log {log.name}: found record {seq}, expected {expected_seq}: it has moved")
    return log.append(STOP, expected_seq=seq, actor=actor, reason=reason, now=now)


def cannot_be_tried(
    bundle: Bundle, champion: AnyDecider, candidate_bundle: Bundle, candidate: AnyDecider
) -> str:
    """Why a candidate cannot be tried beside a champion; empty where it can.

    Args:
        bundle: Of the champion.
        champion: Decides with it.
        candidate_bundle: Of the candidate.
        candidate: Decides with that.
    """
    ours, theirs = bundle.writing.currency, candidate_bundle.writing.currency
    if ours != theirs:
        return f"counts in {theirs}, expected {ours} as {champion.release} does"
    return cannot_share(champion, candidate)


def refuse_blank(reason: str) -> None:
    """Every act on a trial says why.

    Raises:
        InvalidSetting: It does not.
    """
    if not reason.strip():
        raise InvalidSetting("reason: found none, expected why; it is kept in the log")


def as_kept(shares: Sequence[float]) -> str:
    """Steps of a candidate's share as a record keeps them.

    Raises:
        InvalidSetting: They cannot be used.
    """
    try:
        refuse_shares(shares)
    except ValueError as error:
        raise InvalidSetting(str(error)) from error
    return ",".join(repr(float(share)) for share in shares)

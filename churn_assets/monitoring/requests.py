"""Which training is asked for now, given what was found and what was asked for before. Pure: no clock, no runs.

What must be remembered of a request is in the run history: a requested run is tagged with the evidence that it
answers. So nothing is lost with a cursor, and what still holds is found again at the next tick.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from churn_assets.monitoring.config import AutomationConfig
from churn_assets.store.canonical import canonical_json, sha256_bytes

State = Literal["in_progress", "succeeded", "failed", "refused", "stopped"]
"""Of a run; `refused` by a check or a rule, which says the same of the same again; `stopped` by a person, who did not
mean it to start again."""

# Tags of a requested run: all that the next tick needs to know of it.
EXPERIMENT, TRIGGER, EVIDENCE, ATTEMPT, REASON, REFUSED = (
    f"churn/{name}" for name in ("experiment", "trigger", "evidence", "attempt", "reason", "refused")
)
INPUTS = "churn/inputs"

_DAY = timedelta(days=1)
_CLOCKS_DIFFER = timedelta(minutes=5)
"""A run that is dated further ahead was dated by a clock that is wrong: nothing waits for such a day to come."""
_DIGITS = 16


@dataclass(frozen=True)
class Finding:
    """Something that calls for a training of one experiment.

    Attributes:
        trigger: What found it.
        assets: What must be made anew; what is made from it follows by itself.
        evidence: Names what was found: the same at the next tick if nothing happened since, another if it did.
        reason: For people.
    """

    trigger: str
    assets: frozenset[str]
    evidence: str
    reason: str


@dataclass(frozen=True)
class PastRun:
    """A training of the experiment, automatic or not.

    Attributes:
        run_id: Its id.
        evidence: What it answers; empty for a run that a person started.
        attempt: Which try at this evidence, from 1.
        state: How it is.
        requested_at: Aware time.
        ended_at: None while it is in progress.
    """

    run_id: str
    evidence: frozenset[str]
    attempt: int
    state: State
    requested_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True)
class TrainingRequest:
    """One training to ask for; it answers everything in `evidence` at once.

    Attributes:
        assets: In no order; `downstream` is already part of it.
        evidence: Sorted.
        attempt: From 1.
        run_key: Never used before for another request.
        triggers: Sorted.
        reason: For people.
    """

    assets: frozenset[str]
    evidence: tuple[str, ...]
    attempt: int
    run_key: str
    triggers: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class Waiting:
    """A finding that is not answered now, and why."""

    finding: Finding
    why: str


@dataclass(frozen=True)
class TrainingPlan:
    """What to do now.

    Attributes:
        request: The training to ask for, if any.
        waiting: What was found and has to wait.
        answered: What was found and has been answered by a run that succeeded.
    """

    request: TrainingRequest | None
    waiting: tuple[Waiting, ...]
    answered: tuple[Finding, ...]


def evidence_of(found: Mapping[str, Any]) -> str:
    """A short name for what was found, equal for equal JSON."""
    return sha256_bytes(canonical_json(dict(found)))[:_DIGITS]


def plan(
    experiment: str,
    findings: Sequence[Finding],
    past: Sequence[PastRun],
    config: AutomationConfig,
    inputs: Mapping[str, Sequence[str]],
    now: datetime,
) -> TrainingPlan:
    """Answer all that can be answered with one training.

    Args:
        experiment: Its name.
        findings: Everything that calls for a training now.
        past: Trainings of this experiment that anybody started: those in progress, and the automatic ones.
        config: Limits.
        inputs: Asset to the assets that it is made from, of the assets that are in the experiment.
        now: Aware time.
    """
    answered: list[Finding] = []
    waiting: list[Waiting] = []
    due: dict[Finding, int] = {}
    for finding in dict.fromkeys(findings):
        same = [run for run in past if finding.evidence in run.evidence]
        if any(run.state == "succeeded" for run in same):
            answered.append(finding)
        elif again := _not_again(same, config, now):
            waiting.append(Waiting(finding, again))
        else:
            due[finding] = 1 + max((run.attempt for run in same), default=0)
    why = _not_now(past, config, now)
    if why:
        waiting += [Waiting(finding, why) for finding in due]
    request = _merged(experiment, due, inputs) if due and not why else None
    return TrainingPlan(request, tuple(waiting), tuple(answered))


@dataclass(frozen=True)
class Try:
    """Whether to ask for an act that answers some evidence.

    Attributes:
        attempt: From 1.
        why_not: Empty where it is to be asked for.
    """

    attempt: int
    why_not: str


def one_act(evidence: str, past: Sequence[PastRun], attempts: int) -> Try:
    """An act on a channel, asked for once; again at once where a run of it failed, as when it was killed.

    Args:
        evidence: What calls for it.
        past: Runs of the act's job that sensors asked for.
        attempts: How often it is tried.
    """
    same = [run for run in past if evidence in run.evidence]
    attempt = 1 + max((run.attempt for run in same), default=0)
    for run in same:
        if run.state != "failed":
            how = {
                "in_progress": "is at it",
                "succeeded": "did it",
                "refused": "was refused, as it would be again",
                "stopped": "was stopped by a person",
            }
            return Try(attempt, f"run {run.run_id[:8]} {how[run.state]}")
    if len(same) >= attempts:
        return Try(attempt, f"failed {len(same)} times, which is all that is tried: a person is needed")
    return Try(attempt, "")


def downstream(assets: Iterable[str], inputs: Mapping[str, Sequence[str]]) -> frozenset[str]:
    """The assets that are there, and everything that is made from them."""
    found = {asset for asset in assets if asset in inputs}
    pending = list(found)
    while pending:
        made_from = pending.pop()
        further = {asset for asset, sources in inputs.items() if made_from in sources} - found
        found |= further
        pending += further
    return frozenset(found)


def _not_again(same: Sequence[PastRun], config: AutomationConfig, now: datetime) -> str:
    """Why this evidence is not answered once more now; empty where it may be."""
    for run in same:
        if run.state == "in_progress":
            return f"run {run.run_id[:8]} is at it"
        if run.state == "stopped":
            return f"run {run.run_id[:8]} was stopped by a person; start it by hand if it is wanted after all"
        if run.state == "refused":
            return f"run {run.run_id[:8]} failed a check, as it would again: bring other data or change the experiment"
    if len(same) >= config.attempts:
        return f"failed {len(same)} times, which is all that is tried: a person is needed"
    return _cooling(same, "failed", config, now)


def _not_now(past: Sequence[PastRun], config: AutomationConfig, now: datetime) -> str:
    """Why no automatic training of this experiment starts now; empty where it may."""
    if not config.enabled:
        return "automation.enabled is false"
    running = next((run for run in past if run.state == "in_progress"), None)
    if running is not None:
        return f"run {running.run_id[:8]} trains this experiment"
    automatic = [run for run in past if run.evidence]
    today = [run for run in automatic if -_CLOCKS_DIFFER <= now - run.requested_at < _DAY]
    if len(today) >= config.daily_cap:
        free = sorted(run.requested_at for run in today)[-config.daily_cap] + _DAY
        return f"daily_cap: {len(today)} in the last 24 hours; the next at {free:%Y-%m-%d %H:%M} UTC"
    # A failed run does not make other evidence wait: a mended file should not wait for hours. The cap still holds.
    return _cooling((run for run in automatic if run.state == "succeeded"), "ended", config, now)


def _cooling(runs: Iterable[PastRun], how: str, config: AutomationConfig, now: datetime) -> str:
    ended = {run: run.ended_at or run.requested_at for run in runs}
    believed = [run for run, at in ended.items() if at - now <= _CLOCKS_DIFFER]
    latest = max(believed, key=lambda run: ended[run], default=None)
    if latest is None:
        return ""
    free = ended[latest] + timedelta(hours=config.cooldown_hours)
    if now >= free:
        return ""
    return (
        f"run {latest.run_id[:8]} {how} less than cooldown_hours ago; the next at {free:%Y-%m-%d %H:%M} UTC"
    )


def _merged(
    experiment: str, due: Mapping[Finding, int], inputs: Mapping[str, Sequence[str]]
) -> TrainingRequest:
    evidence = tuple(sorted({finding.evidence for finding in due}))
    attempt = max(due.values())
    return TrainingRequest(
        assets=downstream((asset for finding in due for asset in finding.assets), inputs),
        evidence=evidence,
        attempt=attempt,
        run_key=f"{experiment}/{'+'.join(evidence)}/{attempt}",
        triggers=tuple(sorted({finding.trigger for finding in due})),
        reason="; ".join(dict.fromkeys(finding.reason for finding in due)),
    )

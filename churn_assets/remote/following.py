"""A remote step from its order to a version that is proven: submitted once, followed, begun again where it was lost."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import Any, Protocol, TypeVar

from churn_assets.remote.attempts import AttemptRecord, attempts, begin, clear
from churn_assets.remote.config import RemoteProfile
from churn_assets.remote.steps import (
    ENDED,
    FAILED,
    JobState,
    PublishedStep,
    RemoteStepError,
    StepOrder,
    accepted,
    published,
)
from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.errors import StoreError, StoreUnreachable
from churn_assets.store.manifest import Manifest
from churn_assets.store.reference import ArtifactRef

_T = TypeVar("_T")
LONGEST_WAIT = 3600.0
"""Seconds between two tries, at most."""


class EngineUnreachable(RuntimeError):  # noqa: N818 - what happened reads better
    """The engine did not answer, or not clearly. Whether it did what was asked is unknown."""


class EngineBusy(RuntimeError):  # noqa: N818 - what happened reads better
    """The engine has no room now: quota, stock. Nothing was submitted, and it may be tried again."""


class EngineRefused(RemoteStepError):  # noqa: N818 - what happened reads better
    """The engine says no, and will say no again: a permission, a wrong profile."""


class Engine(Protocol):
    """Runs one command on a machine of its own.

    Every method may raise `EngineUnreachable`, and `EngineRefused`.
    """

    @property
    def place(self) -> str:
        """Which engine this is, for people and for whoever comes back to a job of it."""

    def submit(self, order: StepOrder, token: str, environment: Mapping[str, str]) -> str:
        """Start the step's command; returns the engine's own id of the job.

        Args:
            order: The step.
            token: Unique to this try. Submitting it a second time starts no second job, or one that `find` prefers
                the first to.
            environment: Variables of the process.

        Raises:
            EngineBusy: No room now.
        """

    def find(self, token: str) -> str | None:
        """The id of the job with this token; None where there is none."""

    def look(self, job: str) -> JobState:
        """What became of a job."""

    def cancel(self, job: str) -> None:
        """Stop it; nothing happens where it has ended."""

    def log_of(self, job: str) -> str:
        """The end of what it printed, or where that is; for the message of a failure. Empty where nobody knows."""


class StepListener(Protocol):
    """Who hears how a step goes."""

    def message(self, message: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """One message of Dagster Pipes. Returns what a custom one says, None for all others."""

    def note(self, text: str) -> None:
        """Something that happened to the job."""


@dataclass
class StepClock:
    """Seconds, and how to wait; tests have their own.

    Attributes:
        now: Monotonic seconds.
        wait: Waits that long.
    """

    now: Callable[[], float] = monotonic
    wait: Callable[[float], None] = sleep


@dataclass
class RemoteStep:
    """Everything that a remote step needs.

    Attributes:
        order: What is asked.
        engine: Who runs it.
        profile: How often and how long.
        store: Where it publishes.
        listener: Who hears of it.
        environment: (attempt) -> variables of its process, by which it finds its order and where to report.
        clock: Seconds.
    """

    order: StepOrder
    engine: Engine
    profile: RemoteProfile
    store: ArtifactStore
    listener: StepListener
    environment: Callable[[AttemptRecord], Mapping[str, str]]
    clock: StepClock = field(default_factory=StepClock)

    def run(self) -> tuple[ArtifactRef, Manifest, PublishedStep]:
        """Have the step made and prove what it published.

        A job of the very same order that is on its way, as after this process was restarted, is joined and not begun
        again. A job that the machine lost is begun again, as often as the profile says.

        Returns:
            The version, its manifest, and the step's report.

        Raises:
            RemoteStepError: It failed, was cancelled by somebody, took too long, stayed unclear, was lost too often,
                or does not prove what it published.
        """
        lost: list[str] = []
        for number in range(self.profile.attempts):
            if number:
                pause = min(self.profile.wait_seconds * 2 ** (number - 1), LONGEST_WAIT)
                self.listener.note(f"lost ({lost[-1]}); begun again in {pause:g} s")
                self.clock.wait(pause)
            try:
                found = self._try()
            except _LostError as error:
                lost.append(str(error))
                continue
            except RemoteStepError:
                self._clear()
                raise
            self._clear()
            return found
        self._clear()
        raise RemoteStepError(f"lost {len(lost)} times on {self.engine.place}, the last time: {lost[-1]}")

    def _clear(self) -> None:
        """What was kept of the order is needed no more; where it cannot be removed, that changes nothing."""
        try:
            clear(self.store.backend, self.order)
        except StoreError as error:
            self.listener.note(f"what was kept below steps/ stays: {error}")

    def _try(self) -> tuple[ArtifactRef, Manifest, PublishedStep]:
        backend = self.store.backend
        going_on = next((each for each in reversed(attempts(backend, self.order)) if not each.ended), None)
        attempt = going_on or begin(backend, self.order, secrets.token_hex(12))
        try:
            job = self._job(attempt, joined=going_on is not None)
        except EngineBusy as error:
            attempt.over("lost", str(error))
            raise _LostError(str(error)) from error
        except EngineRefused as error:
            attempt.over("failed", str(error))
            raise RemoteStepError(f"{self.engine.place} refuses: {error}") from error
        said: list[Mapping[str, Any]] = []
        try:
            state = self._followed(attempt, job, said)
        except BaseException:  # the run was cancelled: nobody waits for the job any more
            self._stop(attempt, job, "the run was cancelled")
            raise
        attempt.over(state.state, state.detail)
        if state.state == "lost":
            raise _LostError(state.detail)
        if state.state != "succeeded":
            told = [state.detail, *_reasons(said), self.engine.log_of(job)]
            raise RemoteStepError(f"job {job} {state.state}: {'; '.join(filter(None, told))}")
        report = published(said)
        return *self._asked(lambda: accepted(attempt.order, report, self.store)), report

    def _job(self, attempt: AttemptRecord, *, joined: bool) -> str:
        """The job of an attempt: the one that is known, else one that bears its token, else a new one."""
        known = attempt.job or (self._asked(lambda: self.engine.find(attempt.token)) if joined else None)
        if known is not None:
            self.listener.note(f"joined job {known} on {self.engine.place}")
        else:
            known = self._submitted(attempt)
            self.listener.note(f"submitted job {known} to {self.engine.place}")
        attempt.submitted(known)
        return known

    def _submitted(self, attempt: AttemptRecord) -> str:
        """Submit; where the answer is lost, look for the job before it is submitted again."""
        began, variables = self.clock.now(), self.environment(attempt)
        while True:
            try:
                return self.engine.submit(attempt.order, attempt.token, variables)
            except EngineUnreachable as error:
                if (found := self._asked(lambda: self.engine.find(attempt.token))) is not None:
                    return found
                self._bounded(began, error)

    def _asked(self, question: Callable[[], _T]) -> _T:
        """An answer, however often engine or store must be asked within the time that they may be silent."""
        began = self.clock.now()
        while True:
            try:
                return question()
            except (EngineUnreachable, StoreUnreachable) as error:
                self._bounded(began, error)

    def _bounded(self, began: float, error: Exception) -> None:
        if self.clock.now() - began > self.profile.unclear_minutes * 60:
            raise RemoteStepError(
                f"no clear answer for {self.profile.unclear_minutes:g} minutes from {self.engine.place}: {error}"
            ) from error
        self.clock.wait(self.profile.poll_seconds)

    def _followed(self, attempt: AttemptRecord, job: str, said: list[Mapping[str, Any]]) -> JobState:
        """Follow a job by its id until it has ended; what it reported is appended to `said`."""
        began, before, unclear = self.clock.now(), "", None
        while True:
            state = self._asked(lambda: self.engine.look(job))
            while (chunk := self._asked(attempt.next_messages)) is not None:
                said += [told for each in chunk if (told := self.listener.message(each))]
            if state.state in ENDED:
                return state
            now = self.clock.now()
            if state.state != before:
                self.listener.note(f"job {job} {state.state} {state.detail}".rstrip())
            unclear = None if state.state != "unclear" else now if unclear is None else unclear
            if unclear is not None and now - unclear > self.profile.unclear_minutes * 60:
                raise RemoteStepError(
                    f"job {job} was for {self.profile.unclear_minutes:g} minutes in a state that this version does "
                    f"not know: {state.detail}; it was cancelled"
                )
            if now - began > self.profile.within_minutes * 60:
                raise RemoteStepError(
                    f"job {job} took more than {self.profile.within_minutes:g} minutes (compute.profiles: "
                    "within_minutes); it was cancelled"
                )
            before = state.state
            self.clock.wait(self.profile.poll_seconds)

    def _stop(self, attempt: AttemptRecord, job: str, why: str) -> None:
        try:
            self.engine.cancel(job)
        except (EngineUnreachable, EngineRefused) as error:
            self.listener.note(f"job {job} could not be cancelled, look at {self.engine.place}: {error}")
        attempt.over("cancelled", why)


class _LostError(Exception):
    """The machine lost the job."""


def _reasons(said: list[Mapping[str, Any]]) -> list[str]:
    """What the step itself said of its failure."""
    return [str(each[FAILED]) for each in said if FAILED in each][-1:]

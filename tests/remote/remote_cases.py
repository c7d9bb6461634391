"""Shared parts of the tests of remote steps: a store, an order, a step that publishes, a scripted engine."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import repeat
from pathlib import Path
from typing import Any

from churn_assets.remote.attempts import AttemptRecord, attempts, message_key
from churn_assets.remote.config import RayProfile, RemoteProfile
from churn_assets.remote.following import RemoteStep, StepClock
from churn_assets.remote.steps import PUBLISHED, JobState, StepOrder
from churn_assets.store.artifacts import ArtifactStore, stage
from churn_assets.store.formats import ArtifactFormat, read_json, write_json
from churn_assets.store.local import LocalBackend
from churn_assets.store.manifest import Provenance
from churn_assets.store.reference import ArtifactRef

NOW = datetime(2026, 11, 22, 12, 45, 1, 500_000, tzinfo=UTC)
EMPTY = {"metrics": {}, "tables": {}, "plots": [], "columns": {}, "rows": None}


class TextFormat(ArtifactFormat[str]):
    loader = "text/1"
    packages = ("numpy",)

    def save(self, value: str, folder: Path) -> None:
        write_json(value, folder / "text.json")

    def load(self, folder: Path) -> str:
        return read_json(folder / "text.json")

    def signature(self, value: str) -> dict[str, Any]:
        return {}

    def golden(self, value: str) -> None:
        return None

    def replay(self, value: str, inputs: Any) -> Any:
        return []


def ordered(**changes: Any) -> StepOrder:
    order = StepOrder(
        experiment="tiny",
        asset="risk_model",
        upstream={"customers": "tiny/customers/20261122T120000Z-0123456789ab"},
        config_digest="config",
        code_version="code",
        seed=7,
        store="store",
        minted_at=NOW,
        run_id="run",
    )
    return order.model_copy(update=changes)


def publish(
    store: ArtifactStore,
    order: StepOrder,
    value: str = "made",
    *,
    minted_at: datetime | None = None,
    **provenance: Any,
) -> ArtifactRef:
    """What a step does at its end; the keywords make it another than was asked for."""
    origin = Provenance(
        **{
            "experiment": order.experiment,
            "upstream": order.upstream,
            "config_digest": order.config_digest,
            "seed": order.seed,
            "code_version": order.code_version,
            "run_id": order.run_id,
        }
        | provenance
    )
    with tempfile.TemporaryDirectory() as folder:
        staged = stage(order.asset, value, TextFormat(), Path(folder))
        return store.publish(staged, origin, minted_at or order.minted_at)


def report(attempt: AttemptRecord, *messages: Mapping[str, Any]) -> None:
    """What a step writes to the store, as Dagster Pipes lays it out."""
    lines = [
        json.dumps(
            {"__dagster_pipes_version": "0.1", "method": "report_custom_message", "params": {"payload": each}}
        )
        for each in messages
    ]
    number = 1
    while attempt.backend.list(f"{attempt.prefix}messages/")[number - 1 :]:
        number += 1
    attempt.backend.create(message_key(attempt.prefix, number), "\n".join(lines).encode())


def says(store: ArtifactStore, ref: ArtifactRef, **changes: Any) -> dict[str, Any]:
    """The report of a published version."""
    found = {"artifact": str(ref), "digest": store.manifest(ref).digest, "shown": EMPTY}
    return {PUBLISHED: found | changes}


class Listener:
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def message(self, message: Mapping[str, Any]) -> Mapping[str, Any] | None:
        return message["params"]["payload"]

    def note(self, text: str) -> None:
        self.notes.append(text)


Act = Callable[[AttemptRecord], None]


class ScriptedEngine:
    """Answers as it is told to, job after job.

    Args:
        jobs: For each job, what it does when it is submitted, and what every look at it gives; the last look for ever.
    """

    def __init__(
        self, store: ArtifactStore, *jobs: tuple[Act | None, Sequence[JobState | BaseException]]
    ) -> None:
        self.store, self.script = store, [*jobs]
        self.jobs: dict[str, Iterator[JobState | BaseException]] = {}
        self.by_token: dict[str, str] = {}
        self.cancelled: list[str] = []
        self.submissions: list[str] = []
        self.answers_lost = 0
        self.refuse: list[Exception] = []
        self.place = "a scripted engine"

    def submit(self, order: StepOrder, token: str, environment: Mapping[str, str]) -> str:
        self.submissions.append(token)
        if self.refuse:
            raise self.refuse.pop(0)
        act, looks = self.script.pop(0)
        job = f"job-{len(self.jobs) + 1}"
        self.jobs[job] = iter([*looks[:-1], *repeat(looks[-1], 10_000)])
        self.by_token[token] = job
        if act is not None:
            act(attempts(self.store.backend, order)[-1])
        if self.answers_lost:
            self.answers_lost -= 1
            from churn_assets.remote.following import EngineUnreachable

            raise EngineUnreachable("the connection was closed")
        return job

    def find(self, token: str) -> str | None:
        return self.by_token.get(token)

    def look(self, job: str) -> JobState:
        found = next(self.jobs[job])
        if isinstance(found, BaseException):
            raise found
        return found

    def cancel(self, job: str) -> None:
        self.cancelled.append(job)

    def log_of(self, job: str) -> str:
        return ""


class HandClock(StepClock):
    """Passes only while somebody waits."""

    def __init__(self) -> None:
        self.passed = timedelta(0)
        super().__init__(now=lambda: self.passed.total_seconds(), wait=self._wait)

    def _wait(self, seconds: float) -> None:
        self.passed += timedelta(seconds=seconds)


def store_in(folder: Path) -> ArtifactStore:
    return ArtifactStore(LocalBackend(folder))


def remote_step(
    store: ArtifactStore, engine: Any, order: StepOrder | None = None, profile: RemoteProfile | None = None
) -> RemoteStep:
    return RemoteStep(
        order=order or ordered(),
        engine=engine,
        profile=profile or RayProfile(kind="ray", address="http://nowhere", poll_seconds=1.0),
        store=store,
        listener=Listener(),
        environment=lambda attempt: {"PREFIX": attempt.prefix},
        clock=HandClock(),
    )

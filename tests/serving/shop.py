"""A project with releases of small real models, callers without pause, and ways to break things."""

from __future__ import annotations

import http.client
import json
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from benchmarks.served import (
    EXPERIMENT,
    FittedModels,
    Project,
    Server,
    fit_models,
    new_project,
    publish_release,
    questions,
)
from churn_assets.customers.table import read_customers
from churn_assets.experiment import Experiment
from churn_assets.store.artifacts import ArtifactRef
from churn_assets.store.canonical import sha256_bytes
from churn_assets.store.channels import ChannelRecord

__all__ = ["JSON", "Load", "Server", "Shop", "build_shop", "open_shop", "questions", "wait_until"]

JSON = {"content-type": "application/json"}
RELEASES = "releases.json"


@dataclass(frozen=True)
class Shop(Project):
    """A project with releases.

    Attributes:
        first: A release.
        second: One that decides otherwise.
        third: The second again, to spoil.
        narrower: One that reads a feature less.
    """

    first: ArtifactRef
    second: ArtifactRef
    third: ArtifactRef
    narrower: ArtifactRef

    def copy_to(self, root: Path) -> Shop:
        shutil.copytree(self.root, root)
        return replace(self, root=root)

    def lead_unverified(self, ref: ArtifactRef) -> None:
        """The record that a promotion would have written before the release's bytes changed."""
        head, backend = self.channel.head(), self.store.backend
        assert head is not None
        prefix = f"channels/{EXPERIMENT}/"
        before = backend.read(f"{prefix}{head.seq:012d}.json")
        record = ChannelRecord(
            seq=head.seq + 1, action="promote", channel=EXPERIMENT, release=str(ref), previous=head.release,
            prev_hash=sha256_bytes(before), actor="test", reason="", gate_report_digest="", nonce="n",
            at=datetime.now(UTC).replace(microsecond=0),
        )  # fmt: skip
        backend.create(f"{prefix}{record.seq:012d}.json", record.to_bytes())

    def spoil(self, ref: ArtifactRef) -> None:
        """Flip a bit in the largest file of a version."""
        folder = self.root / ".churn" / "store" / ref.prefix
        path = max(folder.iterdir(), key=lambda file: file.stat().st_size if file.is_file() else 0)
        path.chmod(0o644)
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)


def build_shop(root: Path) -> None:
    """Fits small models on a fifth of the real customers; `open_shop` finds what was published."""
    project = new_project(root)
    project.configure(poll_seconds=0.1)
    experiment = project.experiment
    narrow = experiment.customers.model_copy(update={"exclude": ("gender",)})

    def fitted(kind: Experiment, seed: int) -> FittedModels:
        table = read_customers(kind.customers, seed=kind.seed, root=root)
        few = table.where(np.random.default_rng(0).random(len(table)) < 0.2)
        return fit_models(kind, few, rows=5000, timesteps=32_768, seed=seed)

    first, second = fitted(experiment, 1), fitted(experiment, 2)
    narrower = fitted(experiment.model_copy(update={"customers": narrow}), 1)
    published = []
    for models in (first, second, second, narrower):
        published.append(str(publish_release(project, models)))
        time.sleep(1.0)  # versions are named by the second
    (root / RELEASES).write_text(json.dumps(published))


def open_shop(root: Path) -> Shop:
    """The shop that `build_shop` made."""
    return Shop(root, *map(ArtifactRef.parse, json.loads((root / RELEASES).read_text())))


def wait_until(holds: Callable[[], bool], seconds: float = 300.0) -> None:
    """Ask again and again; fails if it does not hold in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds:g} s"
        time.sleep(0.05)


@dataclass
class Load:
    """Callers that ask without pause, each over one connection, until they are stopped or cut off.

    Attributes:
        bodies: Asked in turn.
        answers: (place in `bodies`, status, body, seconds) of every answer that arrived.
    """

    port: int
    bodies: Sequence[bytes]
    callers: int = 3
    answers: list[tuple[int, int, bytes, float]] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Load:
        self._threads = [threading.Thread(target=self._ask, args=(n,)) for n in range(self.callers)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, place: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        while not self._stop.is_set():
            place = (place + 1) % len(self.bodies)
            started = time.monotonic()
            try:
                connection.request("POST", "/v1/decisions", self.bodies[place], JSON)
                answer = connection.getresponse()
                body = answer.read()
            except (OSError, http.client.HTTPException):
                return  # cut off: what did not arrive was not acknowledged
            self.answers.append((place, answer.status, body, time.monotonic() - started))

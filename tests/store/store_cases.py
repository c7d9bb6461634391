"""Shared parts of the store's tests: small formats, a faulty backend, and ways to publish with them."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from churn_assets.store.artifacts import ArtifactRef, ArtifactStore, StagedArtifact, stage
from churn_assets.store.backend import Backend, ObjectInfo
from churn_assets.store.channels import Channel, ChannelRecord
from churn_assets.store.errors import ObjectExists
from churn_assets.store.formats import (
    ArtifactFormat,
    GoldenRows,
    read_json,
    read_parquet,
    read_tensors,
    write_json,
    write_parquet,
    write_tensors,
)
from churn_assets.store.gcs import GcsBackend
from churn_assets.store.local import LocalBackend
from churn_assets.store.manifest import Provenance

NOW = datetime(2026, 11, 22, 12, 45, 1, 500_000, tzinfo=UTC)
EXPERIMENT = "quickstart"
ASSET = "risk_model"


class LineFormat(ArtifactFormat[dict[str, Any]]):
    """A model ``y = weights @ x`` with a table beside it: one file of each kind, one in a subfolder."""

    loader: ClassVar[str] = "line/1"
    packages: ClassVar[tuple[str, ...]] = ("numpy", "pandas")

    def save(self, value: dict[str, Any], folder: Path) -> None:
        write_json(value["about"], folder / "about.json")
        write_tensors({"weights": value["weights"]}, folder / "weights.safetensors")
        (folder / "tables").mkdir()
        write_parquet(value["table"], folder / "tables" / "scores.parquet")

    def load(self, folder: Path) -> dict[str, Any]:
        return {
            "about": read_json(folder / "about.json"),
            "weights": read_tensors(folder / "weights.safetensors")["weights"],
            "table": read_parquet(folder / "tables" / "scores.parquet"),
        }

    def signature(self, value: dict[str, Any]) -> dict[str, Any]:
        return {"inputs": ("x0", "x1"), "outputs": [f"y of {len(value['weights'])}"]}

    def golden(self, value: dict[str, Any]) -> GoldenRows:
        inputs = [[1.0, 2.0], [0.1, -3.0]]
        return GoldenRows(inputs=inputs, outputs=self.replay(value, inputs))

    def replay(self, value: dict[str, Any], inputs: Any) -> Any:
        return (np.asarray(inputs) @ value["weights"]).tolist()


def line(tag: float) -> dict[str, Any]:
    """A value of :class:`LineFormat` that differs with ``tag``."""
    return {
        "about": {"tag": tag},
        "weights": np.array([tag, 0.5]),
        "table": pd.DataFrame({"customer_id": ["a", "b"], "score": [tag, 0.25]}),
    }


def provenance(**changes: Any) -> Provenance:
    return Provenance(
        **{"experiment": EXPERIMENT, "seed": 7, "config_digest": "c0", "run_id": "r1", **changes}
    )


def staged_line(folder: Path, tag: float) -> StagedArtifact:
    return stage(ASSET, line(tag), LineFormat(), folder)


def published_line(store: ArtifactStore, folder: Path, tag: float, at: datetime = NOW) -> ArtifactRef:
    return store.publish(staged_line(folder, tag), provenance(), at)


def promote(store: ArtifactStore, ref: ArtifactRef, *, now: datetime = NOW, **changes: Any) -> ChannelRecord:
    return act("promote", store, ref, now=now, **changes)


def act(
    action: Any, store: ArtifactStore, ref: ArtifactRef, *, now: datetime = NOW, **changes: Any
) -> ChannelRecord:
    channel = Channel(store, changes.pop("channel", "champion"))
    head = channel.head()
    arguments: dict[str, Any] = {
        "expected_seq": head.seq if head else 0,
        "actor": "ada",
        "reason": "gates hold",
        "gate_report_digest": "0" * 64,
        "now": now,
    }
    return channel.append(action, ref, **{**arguments, **changes})


class Crash(BaseException):
    """The process is gone; nothing in the store may catch it."""


class Unanswered(OSError):  # noqa: N818 - named after what happens
    """The request arrived, the answer did not."""


class Faulty:
    """A backend that fails at its ``at``-th operation.

    ``before``: the process dies before it. ``after``: it is done, then the process dies. ``exists``: a
    create is done, and the client's own retry reports the object as existing. ``unanswered``: it is done,
    and the caller gets an error.
    """

    MODES = ("before", "after", "exists", "unanswered")

    def __init__(self, backend: Backend, at: int | None = None, mode: str = "before") -> None:
        self.backend = backend
        self.at = at
        self.mode = mode
        self.operations: list[str] = []
        self.dead = False

    @contextmanager
    def _operation(self, name: str, key: str) -> Iterator[None]:
        hit = len(self.operations) == self.at
        self.operations.append(f"{name} {key}")
        if self.dead or (hit and self.mode == "before"):
            self.dead = True
            raise Crash
        yield
        if hit and self.mode == "after":
            self.dead = True
            raise Crash
        if hit and self.mode == "exists" and name == "create":
            raise ObjectExists(key)
        if hit and self.mode == "unanswered":
            raise Unanswered(key)

    def create(self, key: str, source: bytes | Path) -> ObjectInfo:
        with self._operation("create", key):
            return self.backend.create(key, source)

    def read(self, key: str) -> bytes:
        with self._operation("read", key):
            return self.backend.read(key)

    def fetch(self, key: str, size: int, destination: Path | None = None) -> str:
        with self._operation("fetch", key):
            return self.backend.fetch(key, size, destination)

    def info(self, key: str, most: int | None = None) -> ObjectInfo:
        with self._operation("info", key):
            return self.backend.info(key, most)

    def list(self, prefix: str) -> list[str]:
        with self._operation("list", prefix):
            return self.backend.list(prefix)

    def delete(self, key: str) -> None:
        with self._operation("delete", key):
            self.backend.delete(key)


def overwrite(place: LocalBackend | GcsBackend | Path, key: str, data: bytes) -> None:
    """Put other bytes where the store has written, as a broken disk or an intruder would."""
    if isinstance(place, GcsBackend):
        place._blob(key).upload_from_string(data)
        return
    path = (place if isinstance(place, Path) else place.root) / key
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def days(number: float) -> timedelta:
    return timedelta(days=number)

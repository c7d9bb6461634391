"""The store's speed and memory: publishing against `cp`, transfers against the bare storage client, acts on a channel.

All in one run against a local storage server; contenders take turns and the best turn of each counts, as a busy machine
only ever slows a turn down. Publishing is durable and attested when it returns, which `cp` is not: the same with `cp`
made durable is reported beside it. Uploads and downloads include everything that a version needs around its bytes.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from google.cloud import storage

from benchmarks.report import Figure, main
from churn_assets.store.artifacts import ArtifactRef, ArtifactStore, StagedArtifact, stage
from churn_assets.store.backend import Backend
from churn_assets.store.cache import FileCache
from churn_assets.store.channels import Channel
from churn_assets.store.formats import ArtifactFormat
from churn_assets.store.gcs import GcsBackend
from churn_assets.store.local import LocalBackend
from churn_assets.store.manifest import Provenance
from tests.gcs_server import GcsServer

MB = 10**6
LOCAL_MB, REMOTE_MB = 500, 200
LOCAL_TURNS, REMOTE_TURNS, ACT_TURNS, POLL_TURNS = 7, 3, 15, 50
START = datetime.now(UTC)


class Weights(ArtifactFormat[int]):
    """So many megabytes of weights that do not compress, as one file; a small JSON beside it."""

    loader: ClassVar[str] = "weights/1"

    def save(self, value: int, folder: Path) -> None:
        rng = random.Random(value)
        with (folder / "weights.bin").open("wb") as stream:
            for _ in range(value):
                stream.write(rng.randbytes(MB))
        (folder / "about.json").write_text("{}")

    def load(self, folder: Path) -> int:
        return (folder / "weights.bin").stat().st_size // MB

    def signature(self, value: int) -> dict[str, Any]:
        return {"megabytes": value}


@contextmanager
def workplace() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="store-benchmark-") as name:
        yield Path(name)


@contextmanager
def storage_server(folder: Path) -> Iterator[str]:
    """A running server and the name of its bucket."""
    server = GcsServer(folder)
    server.start()
    os.environ["STORAGE_EMULATOR_HOST"] = server.url
    try:
        yield server.create_bucket()
    finally:
        server.kill()
        del os.environ["STORAGE_EMULATOR_HOST"]


class Publisher:
    """Publishes one staged artifact as a new version whenever it is asked to."""

    def __init__(self, store: ArtifactStore, staged: StagedArtifact) -> None:
        self._store, self._staged = store, staged
        self._minted = itertools.count()

    def __call__(self) -> ArtifactRef:
        minted_at = START + timedelta(seconds=next(self._minted))
        return self._store.publish(self._staged, Provenance(experiment="benchmark"), minted_at)


def best_seconds(
    contenders: dict[str, Callable[[], object]], turns: int, tidy: Callable[[], None]
) -> dict[str, float]:
    """Seconds of each contender's best turn; ``tidy`` runs before each."""
    best = dict.fromkeys(contenders, float("inf"))
    for _ in range(turns):
        for name, contender in contenders.items():
            tidy()
            start = time.perf_counter()
            contender()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def local_publishing(folder: Path) -> dict[str, float]:
    staged = stage("weights", LOCAL_MB, Weights(), folder / "staged")
    copy, root = folder / "copy", folder / "store"

    def cp() -> None:
        subprocess.run(["cp", "-r", staged.folder, copy], check=True)

    def durable_cp() -> None:
        cp()
        subprocess.run(["sync", *copy.iterdir(), copy], check=True)

    def tidy() -> None:
        for used in (copy, root):
            shutil.rmtree(used, ignore_errors=True)
        os.sync()

    publish = Publisher(ArtifactStore(LocalBackend(root)), staged)
    seconds = best_seconds({"publish": publish, "cp": cp, "durable_cp": durable_cp}, LOCAL_TURNS, tidy)
    tidy()
    return seconds


def remote_transfers(bucket: str, folder: Path) -> dict[str, float]:
    staged = stage("weights", REMOTE_MB, Weights(), folder / "staged")
    backend = GcsBackend(bucket, "transfers")
    publish = Publisher(ArtifactStore(backend), staged)
    bare, files = storage.Client().bucket(bucket), sorted(staged.folder.iterdir())
    ref, numbers = publish(), itertools.count()
    copy, cache = folder / "copy", FileCache(folder / "cache", 10**10)

    def upload() -> None:
        number = next(numbers)
        for path in files:
            bare.blob(f"bare/{number}/{path.name}").upload_from_filename(str(path))

    def download() -> None:
        for path in files:
            bare.blob(f"bare/0/{path.name}").download_to_filename(str(copy / path.name))

    def tidy() -> None:
        for used in (copy, cache.folder):
            shutil.rmtree(used, ignore_errors=True)
        copy.mkdir()
        os.sync()

    upload()
    uploads = best_seconds({"publish": publish, "upload": upload}, REMOTE_TURNS, tidy)
    verify = ArtifactStore(backend, cache).verify
    downloads = best_seconds({"verify": lambda: verify(ref), "download": download}, 2 * REMOTE_TURNS, tidy)
    return {**uploads, **downloads}


def peak_over_idle(backend: Backend, folder: Path, megabytes: int) -> float:
    """Megabytes of memory that publishing takes above what the process holds before it; runs in a child of its own."""
    store = ArtifactStore(backend)
    Publisher(store, stage("warm_up", 1, Weights(), folder / "small"))()
    publish = Publisher(store, stage("weights", megabytes, Weights(), folder / "large"))
    idle = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    publish()
    return _status("VmHWM") - idle


def _status(field: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 / MB for line in lines if line.startswith(f"{field}:"))


def channel_acts(store: ArtifactStore, folder: Path) -> dict[str, float]:
    """Milliseconds of a rollback that verifies the version it returns to, and of a poll that finds nothing new."""
    publish = Publisher(store, stage("release", 1, Weights(), folder))
    refs = [publish(), publish()]
    channel = Channel(store, "champion")

    def act(action: Any, ref: ArtifactRef) -> int:
        head = channel.head()
        record = channel.append(
            action,
            ref,
            expected_seq=head.seq if head else 0,
            actor="benchmark",
            reason="measured",
            gate_report_digest="0" * 64,
            now=datetime.now(UTC),
        )
        return record.seq

    for ref in refs:
        act("promote", ref)
    back = itertools.cycle(refs)
    rollback = best_seconds({"rollback": lambda: act("rollback", next(back))}, ACT_TURNS, lambda: None)
    head = channel.head()
    assert head is not None
    poll = best_seconds({"poll": lambda: channel.moved_since(head.seq)}, POLL_TURNS, lambda: None)
    return {name: 1000 * seconds for name, seconds in {**rollback, **poll}.items()}


def in_a_child(function: Callable[..., float], *arguments: object) -> float:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def measure() -> Sequence[Figure]:
    with workplace() as folder:
        local = local_publishing(folder)
    with workplace() as folder:
        local_peak = in_a_child(peak_over_idle, LocalBackend(folder / "store"), folder, LOCAL_MB)
    with workplace() as folder:
        local_acts = channel_acts(ArtifactStore(LocalBackend(folder / "store")), folder / "staged")
    with workplace() as folder, storage_server(folder / "server") as bucket:
        remote_acts = channel_acts(ArtifactStore(GcsBackend(bucket, "acts")), folder / "acts")
        remote_peak = in_a_child(peak_over_idle, GcsBackend(bucket, "peak"), folder / "peak", REMOTE_MB)
        remote = remote_transfers(bucket, folder)
    return [
        Figure("local_publish_vs_cp", local["cp"] / local["publish"], ">=", 0.6, f"aim 0.75; {LOCAL_MB} MB"),
        Figure("local_publish_vs_durable_cp", local["durable_cp"] / local["publish"], note="cp, then sync"),
        Figure("local_publish_mb_per_s", LOCAL_MB / local["publish"]),
        Figure(
            "gcs_upload_vs_client",
            remote["upload"] / remote["publish"],
            ">=",
            0.8,
            f"aim 0.95; {REMOTE_MB} MB",
        ),
        Figure(
            "gcs_download_vs_client",
            remote["download"] / remote["verify"],
            ">=",
            0.8,
            "aim 0.95; SHA-256 checked",
        ),
        Figure("gcs_upload_mb_per_s", REMOTE_MB / remote["publish"], note="the server's own limit"),
        Figure("gcs_download_mb_per_s", REMOTE_MB / remote["verify"]),
        Figure("publish_peak_rss_mb", max(local_peak, remote_peak), "<=", 200, "over the idle process"),
        Figure("publish_peak_rss_mb_local", local_peak),
        Figure("publish_peak_rss_mb_gcs", remote_peak),
        Figure("rollback_ms_local", local_acts["rollback"], "<=", 200, "verified before it leads"),
        Figure("rollback_ms_gcs", remote_acts["rollback"], "<=", 200, "verified before it leads"),
        Figure("poll_unchanged_ms", remote_acts["poll"], note="bucket; one question"),
        Figure("poll_unchanged_ms_local", local_acts["poll"]),
    ]


if __name__ == "__main__":
    main(__doc__, measure)

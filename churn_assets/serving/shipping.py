"""From sealed local segments to the store and back: each as one immutable object, so each record exactly once."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from churn_assets.serving.segments import SUFFIX, Record, SegmentError, read_sealed, sealed_segments
from churn_assets.store.backend import Backend
from churn_assets.store.digests import info_of
from churn_assets.store.errors import CorruptArtifact, ObjectExists
from churn_assets.store.names import check_name

SEGMENTS = "decisions/"


def segment_key(experiment: str, name: str) -> str:
    """Where a segment is in the store: by experiment and day, so that a day can be listed."""
    return f"{SEGMENTS}{check_name('experiment', experiment)}/{name[:8]}/{name}{SUFFIX}"


def ship(folder: Path, backend: Backend, experiment: str) -> int:
    """Store every sealed segment, and remove the local copy once the storage attests its bytes.

    Safe to repeat and to run in several processes: a segment's name is its identity, objects are create-only,
    and a lost acknowledgement is recognised by the bytes that are there.

    Returns:
        How many segments were shipped.

    Raises:
        StoreError: The storage refuses or does not answer; what was not attested is still here.
        SegmentError: A sealed segment has changed; it stays where it is.
        CorruptArtifact: The storage holds other bytes under a segment's name.
    """
    shipped = 0
    for path in sealed_segments(folder):
        with _claimed(path) as claimed:
            if claimed:
                _ship_one(path, backend, segment_key(experiment, path.stem))
                shipped += 1
    return shipped


def _ship_one(path: Path, backend: Backend, key: str) -> None:
    read_sealed(path.read_bytes(), path.stem)
    with path.open("rb") as stream:
        ours = info_of(stream)
    with suppress(ObjectExists):  # an earlier try, or another process: what is stored decides
        backend.create(key, path)
    stored = backend.info(key)
    if stored != ours:
        raise CorruptArtifact(key, str(stored), f"{ours}, as the local segment")
    path.unlink()


@contextmanager
def _claimed(path: Path) -> Iterator[bool]:
    """Whether this process may ship a segment: no other is at it, and it is still there."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield False
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        yield False
        return
    try:
        yield os.fstat(file).st_nlink > 0
    finally:
        os.close(file)


def logged_records(backend: Backend, experiment: str, folder: Path) -> Iterator[Record]:
    """Every record of an experiment, each once: of the store, and of sealed segments that are not there yet.

    Raises:
        SegmentError: A segment does not verify, or a key is no segment's.
    """
    seen = set()
    for key in backend.list(f"{SEGMENTS}{check_name('experiment', experiment)}/"):
        name = key.rsplit("/", 1)[-1].removesuffix(SUFFIX)
        if key != segment_key(experiment, name):
            raise SegmentError(f"{key}: found a foreign object, expected segments of the decision log")
        seen.add(name)
        with tempfile.TemporaryDirectory(prefix="segment-") as workspace:
            copy = Path(workspace) / name
            backend.fetch(key, backend.info(key).size, copy)
            yield from read_sealed(copy.read_bytes(), name)
    for path in sealed_segments(folder):
        if path.stem not in seen:
            yield from read_sealed(path.read_bytes(), path.stem)

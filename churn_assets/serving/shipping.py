"""From sealed local segments to the store: each as one immutable object, so each record exactly once."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from churn_assets.offers.segments import read_sealed, sealed_segments
from churn_assets.offers.stored_log import segment_key
from churn_assets.store.backend import Backend, stored
from churn_assets.store.digests import info_of
from churn_assets.store.errors import CorruptArtifact


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
    data = path.read_bytes()
    read_sealed(data, path.stem)
    ours = info_of(data)
    theirs = stored(backend, key, path)
    if theirs != ours:
        raise CorruptArtifact(key, str(theirs), f"{ours}, as the local segment")
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

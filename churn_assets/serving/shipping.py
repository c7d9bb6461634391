"""From sealed local segments to the store: each as one immutable object, so each record exactly once."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from churn_assets.offers.segments import check_sealed, sealed_segments
from churn_assets.offers.stored_log import segment_key
from churn_assets.store.backend import Backend, ObjectInfo, stored
from churn_assets.store.digests import info_of
from churn_assets.store.errors import CorruptArtifact, ObjectExists
from churn_assets.store.local import LocalBackend


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
    check_sealed(path)
    with path.open("rb", buffering=0) as stream:
        ours = info_of(stream)
    theirs = _handed_over(path, backend, key)
    if theirs != ours:
        raise CorruptArtifact(key, str(theirs), f"{ours}, as the local segment")
    path.unlink()


def _handed_over(path: Path, backend: Backend, key: str) -> ObjectInfo:
    """What the store then holds; one on the same disk takes the file itself.

    A second write would hold up the log's own, and so would giving the space of the first back: that takes some disks
    100 ms.
    """
    if not isinstance(backend, LocalBackend):
        return stored(backend, key, path)
    try:
        return backend.adopt(key, path)
    except ObjectExists:  # our own, of an earlier try
        return backend.info(key)


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

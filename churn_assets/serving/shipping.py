"""From sealed local segments to the store: each as one immutable object, so each record exactly once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from churn_assets.offers.segments import SegmentError, check_sealed, claimed, quarantine, sealed_segments
from churn_assets.offers.stored_log import segment_key
from churn_assets.serving.supervisor import error_kind
from churn_assets.store.backend import Backend, ObjectInfo, stored
from churn_assets.store.digests import info_of
from churn_assets.store.errors import (
    AccessDenied,
    BucketMissing,
    ContentError,
    CorruptArtifact,
    ObjectExists,
    StoreError,
    StoreUnreachable,
)
from churn_assets.store.local import LocalBackend

STORE_AWAY = (StoreUnreachable, AccessDenied, BucketMissing)
"""What is wrong with the storage as a whole, and would be with every other request too."""


@dataclass(frozen=True)
class ShippingReport:
    """What became of the sealed segments.

    Attributes:
        shipped: How many are in the store now and no longer here.
        aside: What was moved to `quarantine/`, and why.
        left: What is still here and tried again, and why.
    """

    shipped: int
    aside: tuple[str, ...]
    left: tuple[str, ...]


def ship(folder: Path, backend: Backend, experiment: str) -> ShippingReport:
    """Store every sealed segment, and remove the local copy once the storage attests its bytes.

    Safe to repeat and to run in several processes: a segment's name is its identity, objects are create-only,
    and a lost acknowledgement is recognised by the bytes that are there. One that is rotten, or whose name holds other
    bytes in the store, is moved aside; one that cannot be read or stored now is left; the later ones go on, unless the
    storage as a whole does not answer.
    """
    shipped, aside, left = 0, [], []
    for path in sealed_segments(folder):
        try:
            with claimed(path) as ours:
                if ours:
                    _ship_one(path, backend, segment_key(experiment, path.stem))
                    shipped += 1
        except (SegmentError, ContentError) as error:
            try:
                aside.append(f"{path.name}: {error}; now {quarantine(folder, path).relative_to(folder)}")
            except OSError as why:
                left.append(f"{path.name}: {error}; cannot be moved aside: {error_kind(why)}")
        except (StoreError, OSError) as error:
            left.append(f"{path.name}: {error_kind(error)}: {error}")
            if isinstance(error, STORE_AWAY):
                break
    return ShippingReport(shipped, tuple(aside), tuple(left))


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

"""The decision log in the store: where its segments are, and how they are read. Writes nothing, joins nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from churn_assets.offers.segments import (
    SUFFIX,
    Record,
    SegmentError,
    check_sealed,
    read_sealed,
    sealed_segments,
)
from churn_assets.store.backend import Backend
from churn_assets.store.names import check_name
from churn_assets.store.verify import Reader

SEGMENTS = "decisions/"
READERS: Mapping[str, Reader] = {SEGMENTS: lambda _, copy: check_sealed(copy)}
"""Who reads what is below a prefix, where a whole store is verified."""
_OPENED = "%Y%m%dT%H%M%SZ"


def segment_key(experiment: str, name: str) -> str:
    """Where a segment is in the store: by experiment and day, so that a day can be listed."""
    return f"{SEGMENTS}{check_name('experiment', experiment)}/{name[:8]}/{name}{SUFFIX}"


def stored_segments(backend: Backend, experiment: str) -> list[str]:
    """Keys of an experiment's segments in the store, oldest first; a segment never changes.

    Raises:
        SegmentError: A key is no segment's.
    """
    keys = sorted(backend.list(f"{SEGMENTS}{check_name('experiment', experiment)}/"))
    for key in keys:
        if key != segment_key(experiment, _name(key)):
            raise SegmentError(f"{key}: found a foreign object, expected segments of the decision log")
    return keys


def logged_segments(
    backend: Backend, experiment: str, folder: Path | None = None
) -> Iterator[tuple[datetime, tuple[Record, ...]]]:
    """When each segment was opened, and its records: of the store, and those of `folder` that are not there yet.

    Raises:
        SegmentError: A segment does not verify, or a key is no segment's.
    """
    seen = set()
    for key in stored_segments(backend, experiment):
        name = _name(key)
        seen.add(name)
        with tempfile.TemporaryDirectory(prefix="segment-") as workspace:
            copy = Path(workspace) / name
            backend.fetch(key, backend.info(key).size, copy)
            yield _opened(name), read_sealed(copy.read_bytes(), name)
    for path in sealed_segments(folder) if folder else []:
        if path.stem not in seen:
            yield _opened(path.stem), read_sealed(path.read_bytes(), path.stem)


def _name(key: str) -> str:
    return key.rsplit("/", 1)[-1].removesuffix(SUFFIX)


def _opened(name: str) -> datetime:
    try:
        return datetime.strptime(name.split("-", 1)[0], _OPENED).replace(tzinfo=UTC)
    except ValueError as error:
        raise SegmentError(
            f"segment {name}: found no time of opening, expected a name as {_OPENED}"
        ) from error

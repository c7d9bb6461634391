"""The decision log in the store: where its segments are, and how they are read. Writes nothing, joins nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from churn_assets.offers.segments import (
    SEALED,
    SUFFIX,
    Record,
    SegmentError,
    check_sealed,
    origin_of,
    read_sealed,
    sealed_segments,
)
from churn_assets.store.access import check_access
from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.backend import SEGMENT_LIMIT, Backend
from churn_assets.store.canonical import unseal
from churn_assets.store.errors import BROKEN, ObjectMissing
from churn_assets.store.names import ACCESS, check_name, is_key
from churn_assets.store.verify import Manifests, Reader

SEGMENTS = "decisions/"
EVIDENCE = "evidence/"
"""Counts of decisions whose segments went with their age, a document a segment."""
EVIDENCE_SCHEMA = 1


def _check_counts(key: str, copy: Path) -> None:
    unseal(copy.read_bytes(), file=key, schema_version=EVIDENCE_SCHEMA)


READERS: Mapping[str, Reader] = {
    SEGMENTS: lambda _, copy: check_sealed(copy),
    EVIDENCE: _check_counts,
    ACCESS: check_access,
}
"""Who reads what is below a prefix, where a whole store is verified."""
_OPENED = "%Y%m%dT%H%M%SZ"


class SegmentChains:
    """Reads segments and what is kept of those that went with their age; then knows which are missed.

    Each names the one that its writer wrote before. A writer's last one is named by nobody.
    """

    def __init__(self) -> None:
        self._there: set[tuple[str, str]] = set()
        self._after: dict[tuple[str, str], str] = {}
        self._aged: dict[str, str] = {}
        self.readers = {**READERS, SEGMENTS: self._segment, EVIDENCE: self._counts}

    def missed(self, store: ArtifactStore, manifests: Manifests) -> Iterator[str]:
        """A `churn_assets.store.verify.Witness`; asks again for what came while all was read."""
        del manifests
        for (experiment, name), successor in sorted(self._after.items()):
            if (experiment, name) in self._there or name[:8] <= self._aged.get(experiment, ""):
                continue
            key = segment_key(experiment, name)
            try:
                store.backend.info(key)
            except ObjectMissing:
                yield (
                    f"{key}: found nothing, expected a segment: its writer went on with {successor}; "
                    "it may still be on its server"
                )

    def _segment(self, key: str, copy: Path) -> None:
        check_sealed(copy)
        with copy.open("rb") as stream:
            origin = origin_of(stream)
        experiment, name = key.split("/")[1], _name(key)
        if origin.after and not _is_name(origin.after):
            raise SegmentError(
                f"segment {name}: found {origin.after!r:.80} before it, expected a segment's name"
            )
        self._there |= {(experiment, each) for each in (name, *origin.stands_for)}
        if origin.after:
            self._after[experiment, origin.after] = name

    def _counts(self, key: str, copy: Path) -> None:
        _check_counts(key, copy)
        if key.count("/") > 1:
            experiment, day = key.split("/")[1:3]
            self._aged[experiment] = max(day, self._aged.get(experiment, ""))


@dataclass(frozen=True)
class LogListing:
    """What stands where an experiment's segments are.

    Attributes:
        segments: Keys, oldest first; a segment never changes.
        foreign: Keys that are no segment's: ignored, and told.
    """

    segments: tuple[str, ...]
    foreign: tuple[str, ...]


@dataclass(frozen=True)
class LoggedSegment:
    """A segment that verifies: its name, when it was opened, its records."""

    name: str
    opened_at: datetime
    records: tuple[Record, ...]


def segment_key(experiment: str, name: str) -> str:
    """Where a segment is in the store: by experiment and day, so that a day can be listed."""
    return f"{SEGMENTS}{check_name('experiment', experiment)}/{name[:8]}/{name}{SUFFIX}"


def list_log(backend: Backend, experiment: str) -> LogListing:
    """An experiment's segments in the store, and what stands among them and is none."""
    keys = sorted(backend.list(f"{SEGMENTS}{check_name('experiment', experiment)}/"))
    ours = [key for key in keys if _opened(_name(key)) and key == segment_key(experiment, _name(key))]
    return LogListing(tuple(ours), tuple(sorted(set(keys) - set(ours))))


def stored_segments(backend: Backend, experiment: str) -> list[str]:
    """Keys of an experiment's segments in the store, oldest first; a segment never changes."""
    return list(list_log(backend, experiment).segments)


def earlier_keys(key: str, copy: Path) -> list[str]:
    """Where what a stored segment stands for was: a `churn_assets.store.transfer.Superseded`."""
    if not key.startswith(SEGMENTS) or _opened(_name(key)) is None:
        return []
    with copy.open("rb") as stream:
        origin = origin_of(stream)
    return [segment_key(key.split("/")[1], name) for name in origin.stands_for if _is_name(name)]


def logged_segments(
    backend: Backend,
    experiment: str,
    folder: Path | None = None,
    *,
    ignored: Callable[[str, str], object],
    known: Container[str] = (),
) -> Iterator[LoggedSegment]:
    """The segments of the store, and those of `folder` that are not there yet, one at a time in memory.

    Args:
        backend: Where the store is.
        experiment: Whose.
        folder: The server's own folder, for sealed segments that wait to be shipped.
        ignored: Told of a foreign object or a segment that does not verify, by key, and why; the others are read.
        known: Names of segments that are not wanted.
    """
    listing, seen = list_log(backend, experiment), set()
    for key in listing.foreign:
        ignored(key, "a foreign object, expected segments of the decision log")
    for key in listing.segments:
        seen.add(_name(key))
        if _name(key) not in known:
            yield from _verified(key, partial(read_segment, backend, key), ignored)
    for path in sealed_segments(folder) if folder else []:
        if path.stem not in seen and path.stem not in known:
            yield from _verified(path.stem, partial(_waiting, path, backend, experiment), ignored)


def logged_segment(
    backend: Backend,
    experiment: str,
    name: str,
    folder: Path | None = None,
    *,
    ignored: Callable[[str, str], object],
) -> LoggedSegment | None:
    """One segment by its name, with arguments as of `logged_segments`; None where it does not verify, or is gone."""
    key = segment_key(experiment, name)
    read = partial(read_segment, backend, key)
    if folder is not None:
        read = partial(_waiting, folder / SEALED / f"{name}{SUFFIX}", backend, experiment)
    return next(_verified(key, read, ignored), None)


def _verified(
    key: str, read: Callable[[], bytes], ignored: Callable[[str, str], object]
) -> Iterator[LoggedSegment]:
    name = _name(key)
    opened = _opened(name)
    try:
        if opened is None:
            raise SegmentError(f"segment {name}: found no time of opening, expected a name as {_OPENED}")
        found = LoggedSegment(name, opened, read_sealed(read(), name))
    except (SegmentError, *BROKEN) as error:
        ignored(key, str(error))
        return
    yield found


def read_segment(backend: Backend, key: str) -> bytes:
    """The bytes of a segment.

    Raises:
        StoreError: It is not there, or larger than any segment, or was altered on the way.
    """
    with tempfile.TemporaryDirectory(prefix="segment-") as workspace:
        copy = Path(workspace) / _name(key)
        backend.fetch(key, backend.info(key, SEGMENT_LIMIT).size, copy)
        return copy.read_bytes()


def _waiting(path: Path, backend: Backend, experiment: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:  # it was shipped meanwhile
        return read_segment(backend, segment_key(experiment, path.stem))


def _name(key: str) -> str:
    return key.rsplit("/", 1)[-1].removesuffix(SUFFIX)


def _is_name(name: str) -> bool:
    return "/" not in name and is_key(name) and _opened(name) is not None


def _opened(name: str) -> datetime | None:
    try:
        return datetime.strptime(name.split("-", 1)[0], _OPENED).replace(tzinfo=UTC)
    except ValueError:
        return None

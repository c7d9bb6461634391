"""High-water marks: how long a log was when it was last seen, so that newest records cannot go unnoticed.

A deleted newest record leaves a sound, shorter log. Three witnesses tell: an object beside the log, which shows an
accident from anywhere; a file on every machine that reads or writes, which whoever owns the bucket cannot reach; and
what every signature says of the logs of its moment. A log is a channel, by its name, or one of acts: ``acts/NAME``.
"""

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from churn_assets.store.backend import Backend
from churn_assets.store.canonical import canonical_json, parse_json, sha256_bytes
from churn_assets.store.errors import CorruptArtifact, ObjectExists, ObjectMissing, RecordsLost
from churn_assets.store.listing import files_like
from churn_assets.store.local import private_folder
from churn_assets.store.names import ACTS, mark_place

MARKS = "marks/"
SEEN = ".churn/seen"
"""Where a project keeps what it has seen of its stores, by store and log."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Mark:
    """A record that was seen: its number, and the SHA-256 of its bytes."""

    seq: int
    sha256: str


class SeenRecords:
    """The newest record that this machine has seen of each log of one store.

    It is a second witness: where it cannot be written, as in a read-only container, a warning says so and work goes on.

    Args:
        folder: Where the files are, one a log.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def newest(self, log: str) -> Mark | None:
        """What was seen last; None if nothing was."""
        try:
            kept = parse_json(self.path(log).read_bytes(), log)
            if (seq := int(kept["seq"])) < 1:
                raise ValueError(f"record {seq}, expected one from 1 on")
            return Mark(seq, str(kept["sha256"]))
        except FileNotFoundError:
            return None
        except (CorruptArtifact, OSError, ValueError, TypeError, LookupError, OverflowError) as error:
            _log.warning("%s: cannot be read, so it proves nothing: %s", self.path(log), error)
            return None

    def saw(self, log: str, mark: Mark) -> None:
        """Remember a record, unless a newer one was seen."""
        known = self.newest(log)
        if known is not None and known.seq >= mark.seq:
            return
        try:
            private_folder(self.path(log).parent)
            with tempfile.NamedTemporaryFile(dir=self.folder, delete=False) as draft:
                draft.write(canonical_json({"seq": mark.seq, "sha256": mark.sha256}))
            os.replace(draft.name, self.path(log))  # noqa: PTH105 - a name, no path
        except OSError as error:
            _log.warning("%s: cannot be written, so it will prove nothing: %s", self.path(log), error)

    def logs(self) -> list[str]:
        """Logs of which something was seen."""
        try:
            found = [*files_like(self.folder, "*.json"), *files_like(self.folder / ACTS, "*.json")]
        except OSError as error:
            _log.warning("%s: cannot be read, so it proves nothing: %s", self.folder, error)
            return []
        return [path.relative_to(self.folder).as_posix().removesuffix(".json") for path in found]

    def forget(self, log: str) -> None:
        """Take the log as it is."""
        self.path(log).unlink(missing_ok=True)

    def path(self, log: str) -> Path:
        """The file of a log."""
        return self.folder / f"{log}.json"


def seen_in(root: Path, store: str) -> SeenRecords:
    """What the project at `root` has seen of a store, which its address tells from others."""
    return SeenRecords(root / SEEN / sha256_bytes(os.fsencode(store))[:16])


def refuse_lost(backend: Backend, key: str, data: bytes, subject: str) -> None:
    """Whether a record that this process has read still stands where it was; whoever polls is its own witness.

    Raises:
        RecordsLost: It is gone, or other bytes stand in its place.
        StoreError: The store does not answer.
    """
    expected = f"sha256 {sha256_bytes(data)}, as this process has read"
    try:
        theirs = backend.read(key)
    except ObjectMissing as error:
        raise RecordsLost(key, "nothing", expected, subject) from error
    if theirs != data:
        raise RecordsLost(key, f"sha256 {sha256_bytes(theirs)}", expected, subject)


def leave_mark(backend: Backend, log: str, seq: int) -> None:
    """Say beside the log that it had so many records."""
    with suppress(ObjectExists):  # by an earlier try
        backend.create(f"{MARKS}{log}/{seq:012d}.json", canonical_json({"channel": log, "seq": seq}))


def marked_length(backend: Backend, log: str) -> int:
    """How many records the log had by its marks; 0 if there is none."""
    return max((number for _, number in _marks(backend, log)), default=0)


def marked_logs(backend: Backend) -> list[str]:
    """Logs that have a mark."""
    places = (mark_place(key.removeprefix(MARKS)) for key in backend.list(MARKS))
    return sorted({place[0] for place in places if place is not None})


def take_marks(backend: Backend, log: str, length: int) -> None:
    """Remove the marks beyond a length."""
    for key, number in _marks(backend, log):
        if number > length:
            backend.delete(key)


def _marks(backend: Backend, log: str) -> Iterator[tuple[str, int]]:
    """Keys of the marks of a log, and how long it was by each."""
    for key in backend.list(f"{MARKS}{log}/"):
        place = mark_place(key.removeprefix(MARKS))
        if place is not None and place[0] == log:
            yield key, place[1]

"""High-water marks: how long a channel was when it was last seen, so that newest records cannot go unnoticed.

A deleted newest record leaves a sound, shorter log. Three witnesses tell: an object beside the log, which shows an
accident from anywhere; a file on every machine that reads or writes, which whoever owns the bucket cannot reach; and
what every signature says of the channels of its moment.
"""

import io
import json
import logging
import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from churn_assets.store.backend import Backend
from churn_assets.store.canonical import canonical_json, sha256_bytes
from churn_assets.store.digests import info_of
from churn_assets.store.errors import ObjectExists, ObjectMissing, RecordsLost

MARKS = "marks/"
SEEN = ".churn/seen"
"""Where a project keeps what it has seen of its stores, by store and channel."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Mark:
    """A record that was seen: its number, and the SHA-256 of its bytes."""

    seq: int
    sha256: str


class SeenRecords:
    """The newest record that this machine has seen of each channel of one store.

    It is a second witness: where it cannot be written, as in a read-only container, a warning says so and work goes on.

    Args:
        folder: Where the files are, one a channel.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def newest(self, channel: str) -> Mark | None:
        """What was seen last; None if nothing was."""
        try:
            kept = json.loads(self.path(channel).read_bytes())
            return Mark(int(kept["seq"]), str(kept["sha256"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, LookupError) as error:
            _log.warning("%s: cannot be read, so it proves nothing: %s", self.path(channel), error)
            return None

    def saw(self, channel: str, mark: Mark) -> None:
        """Remember a record, unless a newer one was seen."""
        known = self.newest(channel)
        if known is not None and known.seq >= mark.seq:
            return
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self.folder, delete=False) as draft:
                draft.write(canonical_json({"seq": mark.seq, "sha256": mark.sha256}))
            os.replace(draft.name, self.path(channel))  # noqa: PTH105 - a name, no path
        except OSError as error:
            _log.warning("%s: cannot be written, so it will prove nothing: %s", self.path(channel), error)

    def channels(self) -> list[str]:
        """Channels of which something was seen."""
        return [path.stem for path in self.folder.glob("*.json")] if self.folder.is_dir() else []

    def forget(self, channel: str) -> None:
        """Take the log as it is."""
        self.path(channel).unlink(missing_ok=True)

    def path(self, channel: str) -> Path:
        """The file of a channel."""
        return self.folder / f"{channel}.json"


def seen_in(root: Path, store: str) -> SeenRecords:
    """What the project at `root` has seen of a store, which its address tells from others."""
    return SeenRecords(root / SEEN / sha256_bytes(store.encode())[:16])


def refuse_lost(backend: Backend, key: str, data: bytes, subject: str) -> None:
    """Whether a record that this process has read still stands where it was; whoever polls is its own witness.

    Raises:
        RecordsLost: It is gone, or other bytes stand in its place.
        StoreError: The store does not answer.
    """
    ours = info_of(io.BytesIO(data))
    try:
        theirs = backend.info(key)
    except ObjectMissing as error:
        raise RecordsLost(key, "nothing", f"{ours}, as this process has read", subject) from error
    if theirs != ours:
        raise RecordsLost(key, str(theirs), f"{ours}, as this process has read", subject)


def leave_mark(backend: Backend, channel: str, seq: int) -> None:
    """Say beside the log that it had so many records."""
    with suppress(ObjectExists):  # by an earlier try
        backend.create(_key(channel, seq), canonical_json({"channel": channel, "seq": seq}))


def marked_length(backend: Backend, channel: str) -> int:
    """How many records the log had by its marks; 0 if there is none."""
    numbers = [_number(key) for key in backend.list(f"{MARKS}{channel}/")]
    return max(numbers, default=0)


def marked_channels(backend: Backend) -> list[str]:
    """Channels that have a mark."""
    found = {key.removeprefix(MARKS).partition("/")[0] for key in backend.list(MARKS) if _number(key)}
    return sorted(found)


def take_marks(backend: Backend, channel: str, length: int) -> None:
    """Remove the marks beyond a length."""
    for key in backend.list(f"{MARKS}{channel}/"):
        if _number(key) > length:
            backend.delete(key)


def _key(channel: str, seq: int) -> str:
    return f"{MARKS}{channel}/{seq:012d}.json"


def _number(key: str) -> int:
    name = key.rpartition("/")[2].removesuffix(".json")
    return int(name) if len(name) == 12 and name.isascii() and name.isdecimal() else 0

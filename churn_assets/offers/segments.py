"""Files of the decision log: framed, checksummed, appended by one process, then sealed. Knows no decisions."""

from __future__ import annotations

import errno
import fcntl
import io
import json
import os
import secrets
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

import google_crc32c

from churn_assets.store.local import private_folder

OPEN, SEALED, TORN, QUARANTINE = "open", "sealed", "torn", "quarantine"
"""Folders of a log: segments that are written, segments that are whole, the tails that a crash left, and files that
stood among segments and are none, or are rotten."""

DECISIONS, OUTCOMES = b"D", b"O"
"""Kinds of frames that readers ask for."""

SCHEMA = 1
SUFFIX = ".log"
_HEADER, _END = b"H", b"E"
_FRAME = struct.Struct("<II")
"""Length of the body in bytes, and its CRC-32C; little-endian. The body is one byte of kind, then the payload."""
_LARGEST = 64 << 20
_STEP = 1 << 20
_BUFFER = 256 << 10
_MODE = 0o600
"""Questions are in there whole: nobody but the server reads them."""


class SegmentError(ValueError):
    """A segment is not what a sealed one must be; names the segment, what was found and what was expected."""


@dataclass(frozen=True)
class Record:
    """One frame: its kind, one byte, and its payload."""

    kind: bytes
    payload: bytes


@dataclass(frozen=True)
class Scan:
    """What the bytes of a segment hold.

    Attributes:
        name: As its header says; empty where that is missing.
        records: Number of frames, without header and end.
        whole: Bytes up to the end of the last whole frame.
        sealed: Whether the end frame is there, counts right, and is the last thing in the file.
    """

    name: str
    records: int
    whole: int
    sealed: bool


@dataclass(frozen=True)
class Recovered:
    """A segment whose writer was killed: its name, whole records, and bytes of an unfinished write behind them.

    `rotten`: the bytes are no unfinished write: the disk changed them, or the file was never a segment.
    """

    name: str
    records: int
    torn: int
    rotten: bool = False


@dataclass(frozen=True)
class SegmentOrigin:
    """What a segment says of others; nothing in one that an earlier version of this library wrote.

    Attributes:
        after: The segment that its writer wrote before; empty for a writer's first.
        stands_for: Names that it had before persons were erased from it, oldest first.
    """

    after: str = ""
    stands_for: tuple[str, ...] = ()

    def header(self) -> dict[str, object]:
        """Its part of the header."""
        said: dict[str, object] = {"after": self.after} if self.after else {}
        if self.stands_for:
            said |= {"instead_of": self.stands_for[-1], "earlier": list(self.stands_for[:-1])}
        return said


_OF_ITS_OWN = SegmentOrigin()


def frame(kind: bytes, *payload: bytes) -> bytes:
    """Parts of a payload as one frame."""
    body = b"".join((kind, *payload))
    return _FRAME.pack(len(body), google_crc32c.value(body)) + body


class Segment:
    """One open segment of one process, which holds its lock until it is sealed, closed or killed.

    The file grows by zeros, a step at a time: a flush that changes no size needs one write of the disk, not two.

    Args:
        folder: Of the log.
        now: Aware time of opening.
        after: The segment that this process wrote before, so that it is missed where it is gone.
    """

    def __init__(self, folder: Path, now: datetime, after: str = "") -> None:
        self.opened_at = now
        self.records = 0
        self.size = 0
        self._allocated = 0
        self._folder = folder
        for name in (OPEN, SEALED):
            private_folder(folder / name)
        self._path, self._file = _create(folder / OPEN, now)
        try:
            self._write(frame(_HEADER, _header(self.name, SegmentOrigin(after))))
            os.fsync(self._file)
            _sync_folder(self._path.parent)
            _sync_folder(folder)
        except OSError:
            with suppress(OSError):
                self._path.unlink()
            self.close()
            raise

    @property
    def name(self) -> str:
        """Unique over all processes and machines; sorts by the time of opening."""
        return self._path.stem

    def append(self, frames: Sequence[bytes], *, durable: bool) -> None:
        """Write frames, and wait until the disk has them if `durable`.

        Raises:
            OSError: What the file holds is unknown now: close it, and leave the rest to `recover`. ESTALE: the file is
                no longer where readers look for it; `rescue` it.
        """
        before = self.size
        self._write(b"".join(frames), durable=durable)
        if self.displaced():
            self.size = before
            raise OSError(errno.ESTALE, "the decision log's file was removed or replaced", str(self._path))
        self.records += len(frames)

    def displaced(self) -> bool:
        """Whether the file is no longer where readers look for it: it was removed, or a folder above it replaced.

        Raises:
            OSError: The folders cannot be looked at.
        """
        try:
            there = self._path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return True
        ours = os.fstat(self._file)
        return (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino)

    def rescue(self) -> None:
        """Write what was acknowledged to a new file of the same name, for `recover` to seal; close the displaced one.

        A displaced file that comes back, as when its folder is moved back, holds the same records under the same name.

        Raises:
            OSError: Not now; the displaced file is still open.
        """
        draft = self._path.with_suffix(".rescued")
        for folder in (self._path.parent, self._folder / SEALED):
            private_folder(folder)
        if self.records:
            file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _MODE)
            try:
                _write_at(file, os.pread(self._file, self.size, 0), 0)
                os.fsync(file)
            finally:
                os.close(file)
            draft.replace(self._path)
            _sync_folder(self._path.parent)
        self.close()

    def seal(self) -> Path | None:
        """End the segment and move it to the sealed ones; one without records is removed instead."""
        try:
            return _finish(self._folder, self._path, self._file, self.records, self.size)
        finally:
            self.close()

    def close(self) -> None:
        """Give the file and its lock back."""
        os.close(self._file)

    def _write(self, data: bytes, *, durable: bool = False) -> None:
        end = self.size + len(data)
        if end > self._allocated:
            self._allocated = -(-end // _STEP) * _STEP
            data += bytes(self._allocated - end)
        _write_at(self._file, data, self.size, durable=durable)
        self.size = end


def _create(folder: Path, now: datetime) -> tuple[Path, int]:
    """A new locked file. One that `recover` saw before it was locked is gone by then: another is made."""
    while True:
        path = folder / f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(8)}{SUFFIX}"
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            if os.fstat(file).st_nlink:
                return path, file
        except OSError:
            os.close(file)
            raise
        os.close(file)


def read_sealed(data: bytes, name: str) -> tuple[Record, ...]:
    """The records of a sealed segment.

    Raises:
        SegmentError: It is another segment, was not sealed, or its bytes changed since.
    """
    records: list[Record] = []
    found = scan(io.BytesIO(data), lambda body: records.append(Record(body[:1], body[1:])))
    _refuse_unsealed(name, found)
    return tuple(records)


def sealed_bytes(name: str, frames: Sequence[bytes], origin: SegmentOrigin = _OF_ITS_OWN) -> bytes:
    """A whole sealed segment of these frames, as `read_sealed` reads it.

    Args:
        name: Its name.
        frames: Of its records.
        origin: What it says of other segments.
    """
    return b"".join((frame(_HEADER, _header(name, origin)), *frames, _end_of(len(frames))))


def origin_of(stream: BinaryIO) -> SegmentOrigin:
    """What a segment says of others; nothing in one whose header is not sound. Reads no more than that."""
    body, _ = next(_bodies(stream), (b"", 0))
    header = _object(body[1:]) if body[:1] == _HEADER else {}
    earlier, newest = header.get("earlier"), header.get("instead_of")
    names = [*(earlier if isinstance(earlier, list) else []), *([newest] if newest else [])]
    return SegmentOrigin(str(header.get("after", "")), tuple(map(str, names)))


def renamed(name: str) -> str:
    """Another name of a segment that was opened at the same time."""
    return f"{name.split('-', 1)[0]}-{secrets.token_hex(8)}"


def check_sealed(path: Path) -> None:
    """Refuse what `read_sealed` refuses, without having the whole file in memory.

    Raises:
        SegmentError: As of `read_sealed`.
    """
    with path.open("rb", buffering=_BUFFER) as file:
        found = scan(file)
    _refuse_unsealed(path.stem, found)


def _refuse_unsealed(name: str, found: Scan) -> None:
    if found.name != name:
        raise SegmentError(f"segment {name}: found the header of {found.name or 'none'}, expected its own")
    if not found.sealed:
        raise SegmentError(
            f"segment {name}: found {found.records} records and a broken frame at byte {found.whole}, "
            "expected whole frames up to an end that counts them"
        )


def sealed_segments(folder: Path) -> list[Path]:
    """Sealed segments of a log that wait to be shipped, oldest first."""
    return _segment_files(folder / SEALED)


@contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Whether this process may take a sealed segment: no other is at it, and it is still there.

    Raises:
        SegmentError: Another kind of file stands there.
        OSError: It cannot be looked at.
    """
    if not path.is_file() and os.path.lexists(path):
        raise SegmentError(f"{path.name}: found another kind of file, expected a sealed segment")
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


def _segment_files(folder: Path) -> list[Path]:
    """`glob` would call a folder that cannot be read empty."""
    try:
        with os.scandir(folder) as entries:
            return sorted(folder / entry.name for entry in entries if entry.name.endswith(SUFFIX))
    except FileNotFoundError:
        return []


def recover(folder: Path, failed: Callable[[Path, OSError], object] | None = None) -> list[Recovered]:
    """Seal the segments of killed processes: whole frames stay, an unfinished tail is put aside.

    Only whole frames were ever acknowledged, as an answer waits for the disk. Segments of living processes are
    locked and left alone, so any process may recover at any time. Frames behind one that is broken were whole once,
    so the disk changed it: they are kept too. A file that is no segment goes to `quarantine/`.

    Args:
        folder: Of the log.
        failed: Told of a file that cannot be recovered now, which keeps none of the others waiting.

    Raises:
        OSError: One cannot be recovered now, where `failed` is left out.
    """
    found = []
    for path in _segment_files(folder / OPEN):
        try:
            recovered = _recover_one(folder, path)
        except OSError as error:
            if failed is None:
                raise
            failed(path, error)
            continue
        if recovered is not None:
            found.append(recovered)
    return found


def _recover_one(folder: Path, path: Path) -> Recovered | None:
    """None where its writer lives, or another process recovered it."""
    if not path.is_file():
        return _not_one(folder, path) if os.path.lexists(path) else None
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return _recovered(folder, path, file) if path.exists() else None
    except BlockingIOError:
        return None
    finally:
        os.close(file)


def _recovered(folder: Path, path: Path, file: int) -> Recovered:
    data = path.read_bytes()
    held = scan(io.BytesIO(data))
    tail = data[held.whole :].rstrip(b"\0").removeprefix(_end_of(held.records))
    if tail and held.name != path.stem:
        return _not_one(folder, path)
    later = _frames_behind(tail)
    if tail:
        aside = private_folder(folder / TORN) / path.name
        aside.touch(mode=_MODE)
        aside.write_bytes(tail)
        _sync_folder(aside.parent)
    _write_at(file, b"".join(later), held.whole)
    size = held.whole + sum(map(len, later))
    _finish(folder, path, file, held.records + len(later), size)
    return Recovered(path.stem, held.records + len(later), len(tail), rotten=bool(later))


def _not_one(folder: Path, path: Path) -> Recovered:
    size = path.lstat().st_size
    quarantine(folder, path)
    return Recovered(path.name, 0, size, rotten=True)


def _frames_behind(tail: bytes) -> list[bytes]:
    """Whole frames behind one that is broken and whose length still stands."""
    found: list[bytes] = []
    start = 0
    while len(tail) - start >= _FRAME.size:
        length, checksum = _FRAME.unpack_from(tail, start)
        end = start + _FRAME.size + length
        if not 0 < length <= _LARGEST or end > len(tail):
            break
        body = tail[start + _FRAME.size : end]
        if google_crc32c.value(body) == checksum and body[:1] in (DECISIONS, OUTCOMES):
            found.append(tail[start:end])
        start = end
    return found


def quarantine(folder: Path, path: Path) -> Path:
    """Move a file of the log out of the way of the others; nothing of it is changed.

    Returns:
        Where it is now.
    """
    target = private_folder(folder / QUARANTINE) / path.name
    if os.path.lexists(target):
        target = target.with_name(f"{secrets.token_hex(4)}-{path.name}")
    path.rename(target)
    return target


def _finish(folder: Path, path: Path, file: int, records: int, size: int) -> Path | None:
    if not records:
        path.unlink()
        return None
    end = _end_of(records)
    _write_at(file, end, size)
    os.ftruncate(file, size + len(end))
    os.fsync(file)
    target = private_folder(folder / SEALED) / path.name
    path.rename(target)
    _sync_folder(target.parent)
    _sync_folder(path.parent)
    return target


def _end_of(records: int) -> bytes:
    return frame(_END, _json({"records": records}))


def _write_at(file: int, data: bytes, start: int, *, durable: bool = False) -> None:
    """Write, and flush in the same call: every return from a call waits for the interpreter."""
    rest, flags = memoryview(data), os.RWF_DSYNC if durable else 0
    while rest:
        written = os.pwritev(file, [rest], start, flags)
        rest, start = rest[written:], start + written


def scan(stream: BinaryIO, take: Callable[[bytes], object] = lambda _: None) -> Scan:
    """Read frames from the start until the first that is not whole, and hand over the body of every record."""
    name, records, whole, sealed = "", 0, 0, False
    for body, end in _bodies(stream):
        kind = body[:1]
        if whole == 0:
            header = _object(body[1:]) if kind == _HEADER else {}
            if header.get("schema") != SCHEMA:
                break
            name = str(header.get("segment", ""))
        elif kind == _END:
            sealed = not stream.read(1) and _object(body[1:]) == {"records": records}
            break
        else:
            take(body)
            records += 1
        whole = end
    return Scan(name, records, whole, sealed)


def _bodies(stream: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """The body of each frame and where it ends, up to the first frame that is not whole."""
    end = 0
    while len(head := stream.read(_FRAME.size)) == _FRAME.size:
        length, checksum = _FRAME.unpack(head)
        if not 0 < length <= _LARGEST:
            return
        body = stream.read(length)
        if len(body) < length or google_crc32c.value(body) != checksum:
            return
        end += _FRAME.size + length
        yield body, end


def _header(name: str, origin: SegmentOrigin) -> bytes:
    return _json({"schema": SCHEMA, "segment": name} | origin.header())


def _json(value: dict[str, object]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _object(payload: bytes) -> dict[str, object]:
    value = json.loads(payload)
    return value if isinstance(value, dict) else {}


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

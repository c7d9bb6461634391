"""Files of the decision log: framed, checksummed, appended by one process, then sealed. Knows no decisions."""

from __future__ import annotations

import fcntl
import io
import json
import os
import secrets
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

import google_crc32c

OPEN, SEALED, TORN = "open", "sealed", "torn"
"""Folders of a log: segments that are written, segments that are whole, and the tails that a crash left."""

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
    """A segment whose writer was killed: its name, whole records, and bytes of an unfinished write behind them."""

    name: str
    records: int
    torn: int


def frame(kind: bytes, *payload: bytes) -> bytes:
    """Parts of a payload as one frame."""
    body = b"".join((kind, *payload))
    return _FRAME.pack(len(body), google_crc32c.value(body)) + body


class Segment:
    """One open segment of one process, which holds its lock until it is sealed, closed or killed.

    The file grows by zeros, a step at a time: a flush that changes no size needs one write of the disk, not two.
    """

    def __init__(self, folder: Path, now: datetime) -> None:
        self.opened_at = now
        self.records = 0
        self.size = 0
        self._allocated = 0
        self._folder = folder
        for name in (OPEN, SEALED):
            (folder / name).mkdir(parents=True, exist_ok=True)
        self._path, self._file = _create(folder / OPEN, now)
        self._write(frame(_HEADER, _json({"schema": SCHEMA, "segment": self.name})))
        os.fsync(self._file)
        _sync_folder(self._path.parent)

    @property
    def name(self) -> str:
        """Unique over all processes and machines; sorts by the time of opening."""
        return self._path.stem

    def append(self, frames: Sequence[bytes], *, durable: bool) -> None:
        """Write frames, and wait until the disk has them if `durable`.

        Raises:
            OSError: What the file holds is unknown now: close it, and leave the rest to `recover`.
        """
        self._write(b"".join(frames), durable=durable)
        self.records += len(frames)

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
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file).st_nlink:
            return path, file
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
    return sorted((folder / SEALED).glob(f"*{SUFFIX}"))


def recover(folder: Path) -> list[Recovered]:
    """Seal the segments of killed processes: whole frames stay, an unfinished tail is put aside.

    Only whole frames were ever acknowledged, as an answer waits for the disk. Segments of living processes are
    locked and left alone, so any process may recover at any time.
    """
    found = []
    for path in sorted((folder / OPEN).glob(f"*{SUFFIX}")):
        try:
            file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # another process recovered it
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists():
                found.append(_recovered(folder, path, file))
        except BlockingIOError:
            continue
        finally:
            os.close(file)
    return found


def _recovered(folder: Path, path: Path, file: int) -> Recovered:
    data = path.read_bytes()
    held = scan(io.BytesIO(data))
    tail = data[held.whole :].rstrip(b"\0").removeprefix(_end_of(held.records))
    if tail:
        (folder / TORN).mkdir(exist_ok=True)
        aside = folder / TORN / path.name
        aside.write_bytes(tail)
        _sync_folder(aside.parent)
    _finish(folder, path, file, held.records, held.whole)
    return Recovered(path.stem, held.records, len(tail))


def _finish(folder: Path, path: Path, file: int, records: int, size: int) -> Path | None:
    if not records:
        path.unlink()
        return None
    end = _end_of(records)
    _write_at(file, end, size)
    os.ftruncate(file, size + len(end))
    os.fsync(file)
    target = folder / SEALED / path.name
    target.parent.mkdir(exist_ok=True)
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

"""What bytes are: size, CRC-32C and SHA-256, in bounded memory. Knows no keys and no backends."""

import hashlib
import os
from collections.abc import Iterator
from io import RawIOBase
from pathlib import Path
from typing import BinaryIO

import google_crc32c

from churn_assets.store.backend import ObjectInfo
from churn_assets.store.errors import CorruptArtifact

# What was just read is then still in the processor's cache when it is digested or written: copying 500 MB took
# 0.36 s, and 0.50 s by 1 MiB.
_CHUNK = 256 << 10


def chunks(stream: BinaryIO | RawIOBase) -> Iterator[bytes]:
    """The rest of ``stream``, piece by piece."""
    while chunk := stream.read(_CHUNK):
        yield chunk


def check_size(key: str, found: int, most: int | None) -> None:
    """Refuse an object of more bytes than any that is meant.

    Raises:
        CorruptArtifact: It has more than `most`.
    """
    if most is not None and found > most:
        raise CorruptArtifact(key, f"{found} bytes", f"at most {most} bytes")


def info_of(source: bytes | BinaryIO | RawIOBase) -> ObjectInfo:
    """Size and CRC-32C of bytes, or of the rest of a stream."""
    size, crc32c = 0, 0
    for chunk in [source] if isinstance(source, bytes) else chunks(source):
        crc32c = google_crc32c.extend(crc32c, chunk)
        size += len(chunk)
    return ObjectInfo(size, crc32c)


def digests_of(path: Path) -> tuple[str, ObjectInfo]:
    """SHA-256 in hex, and size and CRC-32C of a local file; it is read once."""
    sha256, size, crc32c = hashlib.sha256(), 0, 0
    with path.open("rb", buffering=0) as stream:
        for chunk in chunks(stream):
            sha256.update(chunk)
            crc32c = google_crc32c.extend(crc32c, chunk)
            size += len(chunk)
    return sha256.hexdigest(), ObjectInfo(size, crc32c)


def new_file(destination: Path | None) -> BinaryIO:
    """A local file to write to that must not exist yet; without one, what is written is only digested."""
    return Path(os.devnull).open("wb") if destination is None else destination.open("xb")

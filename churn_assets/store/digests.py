"""What bytes are, told while they pass by: size, CRC-32C and SHA-256. Knows no keys and no backends."""

import hashlib
import os
from pathlib import Path
from typing import BinaryIO

import google_crc32c

from churn_assets.store.backend import Content, ObjectInfo

CHUNK = 1 << 20


class Digest:
    """Running digests of a stream of bytes."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self._crc32c = 0
        self._size = 0

    def update(self, chunk: bytes) -> None:
        self._sha256.update(chunk)
        self._crc32c = google_crc32c.extend(self._crc32c, chunk)
        self._size += len(chunk)

    def content(self) -> Content:
        """What has passed so far."""
        return Content(ObjectInfo(self._size, self._crc32c), self._sha256.hexdigest())


def content_of(source: bytes | Path) -> Content:
    """What bytes or a local file hold, in bounded memory."""
    digest = Digest()
    if isinstance(source, bytes):
        digest.update(source)
    else:
        with source.open("rb") as stream:
            while chunk := stream.read(CHUNK):
                digest.update(chunk)
    return digest.content()


def info_of(stream: BinaryIO) -> ObjectInfo:
    """Size and CRC-32C of the rest of ``stream``, in bounded memory."""
    size, crc32c = 0, 0
    while chunk := stream.read(CHUNK):
        crc32c = google_crc32c.extend(crc32c, chunk)
        size += len(chunk)
    return ObjectInfo(size, crc32c)


def new_file(destination: Path | None) -> BinaryIO:
    """A local file to write to that must not exist yet; without one, what is written is only digested."""
    return Path(os.devnull).open("wb") if destination is None else destination.open("xb")

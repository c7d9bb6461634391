"""What a place must offer to hold a store. Everything else is built on these six operations."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from churn_assets.store.errors import ObjectExists

TransferProgress = Callable[[str, int, int], None]
"""Told of a transfer as it goes on: key, bytes done, bytes in all. Called from the transferring thread."""

DOCUMENT_LIMIT = 64 << 20
"""Largest object, in bytes, that is read into memory at once: a manifest is a few kB; golden rows may make it more."""
SEGMENT_LIMIT = 2 << 30
"""Largest segment, in bytes: one is sealed at 1 GiB at most, and then has one more group of records. A planted file may
say of itself that it has terabytes, and would fill the disk of whoever copies it."""


@dataclass(frozen=True)
class ObjectInfo:
    """Size in bytes, and CRC-32C: what every storage tells of an object without handing it out."""

    size: int
    crc32c: int

    def __str__(self) -> str:
        return f"{self.size} bytes with crc32c {self.crc32c:08x}"


class Backend(Protocol):
    """Flat, create-only object storage.

    Keys are plain segments joined by ``/``. An object appears complete or not at all, and is never
    changed afterwards. ``create`` may report :class:`ObjectExists` for the caller's own write when the
    acknowledgement was lost on the way; callers compare what is stored with what they meant to store.
    """

    def create(self, key: str, source: bytes | Path) -> ObjectInfo:
        """Store bytes, or the content of a local file, under a new key; durable on return.

        Returns:
            What is stored there now, as :meth:`info` would tell: found in the storage, not in ``source``.

        Raises:
            ObjectExists: Something is already stored there.
        """

    def read(self, key: str) -> bytes:
        """The whole of a document: an object of at most :data:`DOCUMENT_LIMIT` bytes.

        Raises:
            ObjectMissing: Nothing is stored there.
            CorruptArtifact: It is larger.
        """

    def fetch(self, key: str, size: int, destination: Path | None = None) -> str:
        """Copy an object of ``size`` bytes to a new local file, or only digest it, in bounded memory.

        Returns:
            SHA-256 of what was received, 64 hex digits.

        Raises:
            ObjectMissing: Nothing is stored there.
            CorruptArtifact: It has another size; no more than ``size`` bytes were written.
        """

    def info(self, key: str, most: int | None = None) -> ObjectInfo:
        """What is stored there, as the storage itself finds it.

        Args:
            key: Which object.
            most: Bytes beyond which it is not looked at any further.

        Raises:
            ObjectMissing: Nothing is stored there.
            CorruptArtifact: It has more than `most` bytes.
        """

    def list(self, prefix: str) -> list[str]:
        """All keys under ``prefix``, sorted. ``prefix`` is empty or ends with ``/``."""

    def delete(self, key: str) -> None:
        """Remove an object; nothing happens if there is none. For retention only, never for publishing."""

    def written_at(self, key: str) -> datetime:
        """When an object was stored, by the storage's own clock; aware. Only to find a clock that is wrong.

        Raises:
            ObjectMissing: Nothing is stored there.
        """


def stored(backend: Backend, key: str, source: bytes | Path) -> ObjectInfo:
    """Create an object unless there is one already, and say what is there: compare it with what was meant."""
    try:
        return backend.create(key, source)
    except ObjectExists:  # our own write of an earlier try, or one whose answer was lost, or a leftover
        return backend.info(key)

"""What a place must offer to hold a store. Everything else is built on these six operations."""

from pathlib import Path
from typing import Protocol


class Backend(Protocol):
    """Flat, create-only object storage.

    Keys are plain segments joined by ``/``. An object appears complete or not at all, and is never
    changed afterwards. ``create`` may report :class:`ObjectExists` for the caller's own write when the
    acknowledgement was lost on the way; callers compare what is stored with what they meant to store.
    """

    def create(self, key: str, source: bytes | Path) -> None:
        """Store bytes, or the content of a local file, under a new key; durable on return.

        Raises:
            ObjectExists: Something is already stored there.
        """

    def read(self, key: str) -> bytes:
        """The whole object; for small ones.

        Raises:
            ObjectMissing: Nothing is stored there.
        """

    def fetch(self, key: str, destination: Path) -> None:
        """Copy an object to a new local file, in bounded memory.

        Raises:
            ObjectMissing: Nothing is stored there.
        """

    def size(self, key: str) -> int:
        """Size of an object in bytes.

        Raises:
            ObjectMissing: Nothing is stored there.
        """

    def list(self, prefix: str) -> list[str]:
        """All keys under ``prefix``, sorted. ``prefix`` is empty or ends with ``/``."""

    def delete(self, key: str) -> None:
        """Remove an object; nothing happens if there is none. For retention only, never for publishing."""

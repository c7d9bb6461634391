"""Local copies of a remote store's files, by content. A copy is trusted no further than its digest, at every use."""

import logging
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from churn_assets.store.backend import ObjectInfo
from churn_assets.store.digests import digests_of
from churn_assets.store.errors import InvalidSetting

FOLDER = "CHURN_CACHE_DIR"
LIMIT = "CHURN_CACHE_BYTES"
_DEFAULT_LIMIT = 20 << 30
_FILES = "files"
_IN_USE = "in_use"
# Whoever holds a folder in use for longer was killed.
_ABANDONED_AFTER = 24 * 3600.0
_READ_ONLY = 0o400

_log = logging.getLogger(__name__)


class FileCache:
    """Files named by their SHA-256, at most ``limit`` bytes of them, shared by any number of processes.

    A file gets its name with ``link(2)`` after it was verified, so it is whole or absent; it is used through a link of
    the user's own, so that taking it away from the cache disturbs nobody. What was used longest ago goes first.

    Args:
        folder: Where the files lie; made when first needed.
        limit: Bytes to keep. 0 keeps nothing.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self.limit = limit

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """A private folder that :meth:`take` and :meth:`keep` can link from and to; gone afterwards."""
        in_use = self.folder / _IN_USE
        in_use.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=in_use) as name:
            yield Path(name)

    def take(self, sha256: str, destination: Path) -> ObjectInfo | None:
        """Put a kept file at ``destination``, a new place in a workspace, after reading and digesting it.

        A file that is no longer what its name says is thrown away, with a warning.

        Returns:
            Its size and CRC-32C; None if it is not kept.
        """
        kept = self._place(sha256)
        try:
            os.link(kept, destination, follow_symlinks=False)
        except FileNotFoundError:
            return None
        if stat.S_ISREG(destination.lstat().st_mode):
            found, info = digests_of(destination)
            if found == sha256:
                with suppress(FileNotFoundError):
                    os.utime(kept)
                return info
        _log.warning(
            "cache: %s no longer holds what its name says; it is thrown away and fetched again", kept
        )
        for path in (destination, kept):
            path.unlink(missing_ok=True)
        return None

    def keep(self, sha256: str, verified: Path) -> None:
        """Keep a file that lies in a workspace and whose digest was just verified; others make room for it."""
        if verified.stat().st_size > self.limit:
            return
        verified.chmod(_READ_ONLY)
        kept = self._place(sha256)
        kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            os.link(verified, kept)
        self._make_room()

    def forget(self, sha256: str) -> None:
        """Throw a file away, as when it holds a person who was erased."""
        self._place(sha256).unlink(missing_ok=True)

    def _make_room(self) -> None:
        by_age = []
        for path in (self.folder / _FILES).glob("*/*"):
            with suppress(FileNotFoundError):  # another process made room as well
                status = path.stat()
                by_age.append((status.st_mtime_ns, status.st_size, path))
        excess = sum(size for _, size, _ in by_age) - self.limit
        for _, size, path in sorted(by_age):
            if excess <= 0:
                break
            path.unlink(missing_ok=True)
            excess -= size
        for folder in (self.folder / _IN_USE).iterdir():
            with suppress(FileNotFoundError):
                if time.time() - folder.stat().st_mtime > _ABANDONED_AFTER:
                    shutil.rmtree(folder, ignore_errors=True)

    def _place(self, sha256: str) -> Path:
        return self.folder / _FILES / sha256[:2] / sha256


def cache_of(environment: Mapping[str, str]) -> FileCache:
    """The cache that an environment asks for: CHURN_CACHE_DIR and CHURN_CACHE_BYTES.

    Left out, it is ``churn`` in the user's cache folder, and 20 GiB.

    Raises:
        InvalidSetting: CHURN_CACHE_BYTES is no number of bytes, or there is no home folder for the cache.
    """
    limit = environment.get(LIMIT, str(_DEFAULT_LIMIT))
    if not limit.isdecimal():
        raise InvalidSetting(f"{LIMIT}: found {limit!r}, expected a number of bytes")
    try:
        base = environment.get("XDG_CACHE_HOME") or "~/.cache"
        folder = Path(environment.get(FOLDER) or Path(base) / "churn").expanduser().absolute()
    except RuntimeError as error:  # a user without an entry of its own, as in a container
        raise InvalidSetting(f"{FOLDER}: not set, and this user has no home folder; name a folder") from error
    return FileCache(folder, int(limit))

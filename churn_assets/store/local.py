"""The store in a local folder. Only file-system mechanics: atomic creation, durability, no symbolic links."""

import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import google_crc32c

from churn_assets.store.backend import DOCUMENT_LIMIT, ObjectInfo
from churn_assets.store.digests import check_size, chunks, info_of, new_file
from churn_assets.store.errors import CorruptArtifact, ObjectExists, ObjectMissing, StoreUnreachable
from churn_assets.store.names import check_key, check_prefix

_TEMPORARY = ".tmp"
# Publishing 500 MB, where `cp` took 0.13 s: 0.19 s like this, 0.22 s with one flush at the end, 0.26 s where the
# space was not allocated first.
_FLUSH_EVERY = 64 << 20
_PIECE = 1 << 20
_NOT_PLAIN = ("a symbolic link or another kind of file", "plain folders and a plain file")
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


class LocalBackend:
    """Objects as read-only files under ``root``.

    A write goes to a temporary file first, is flushed to disk, and gets its name with ``link(2)``, which
    fails if the name is taken: a reader sees the whole object or none, and two writers cannot both win.
    Folders are opened one by one relative to their parent without following links, so neither a key nor
    a planted link leads out of ``root``. The file system must have hard links.

    Where a store was read and is there no more, as its disk is away or somebody moved it, no other is begun in its
    place: what was written there would be gone when it comes back.

    Customers' data lie in it: files are 0400 and folders 0700, and so is a root that is made.

    Args:
        root: The folder; made when something is first written.
        shared: Its group may read: 0440 and 0750.
    """

    def __init__(self, root: Path, *, shared: bool = False) -> None:
        self.root = Path(os.path.realpath(root))  # `Path.resolve` knows no error of a loop of links
        self._file_mode = 0o440 if shared else 0o400
        self._folder_mode = 0o750 if shared else 0o700
        self._held = False

    def create(self, key: str, source: bytes | Path) -> ObjectInfo:
        """See :class:`~churn_assets.store.backend.Backend`."""
        *folders, name = check_key(key).split("/")
        self._make_root()
        with self._folder([_TEMPORARY], _TEMPORARY, create=True) as temporary:
            draft = secrets.token_hex(16)
            try:
                written = _write(temporary, draft, source, self._file_mode)
                with self._folder(folders, key, create=True) as parent:
                    try:
                        os.link(draft, name, src_dir_fd=temporary, dst_dir_fd=parent, follow_symlinks=False)
                    except FileExistsError:
                        raise ObjectExists(key) from None
                    os.fsync(parent)
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(draft, dir_fd=temporary)
        return written

    def adopt(self, key: str, source: Path) -> ObjectInfo:
        """Store a finished local file as :meth:`create` does, but by giving it a second name: no byte is copied.

        Only for a file that its owner has flushed, writes to no more, and takes its own name from afterwards; it is
        read-only from here on. One on another file system is copied after all.

        Raises:
            ObjectExists: Something is already stored there.
            CorruptArtifact: ``source`` is no plain file.
        """
        *folders, name = check_key(key).split("/")
        self._make_root()
        with _plain(source) as file, self._folder(folders, key, create=True) as parent:
            os.fchmod(file, self._file_mode)
            os.utime(file)  # when it was stored, as `written_at` tells
            os.fsync(file)
            try:
                os.link(source, name, dst_dir_fd=parent, follow_symlinks=False)
            except FileExistsError:
                raise ObjectExists(key) from None
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                return self.create(key, source)
            os.fsync(parent)
        return self.info(key)

    def read(self, key: str) -> bytes:
        """See :class:`~churn_assets.store.backend.Backend`."""
        with self._open(key) as stream:
            data = stream.read(DOCUMENT_LIMIT + 1)
        if len(data) > DOCUMENT_LIMIT:
            raise CorruptArtifact(key, f"more than {DOCUMENT_LIMIT} bytes", "a document of the store")
        return data

    def fetch(self, key: str, size: int, destination: Path | None = None) -> str:
        """See :class:`~churn_assets.store.backend.Backend`."""
        with self._open(key) as stream:
            found = os.fstat(stream.fileno()).st_size
            if found != size:
                raise CorruptArtifact(key, f"{found} bytes", f"{size} bytes")
            sha256 = hashlib.sha256()
            with new_file(destination) as target:
                for chunk in chunks(stream):
                    target.write(chunk)
                    sha256.update(chunk)
        return sha256.hexdigest()

    def info(self, key: str, most: int | None = None) -> ObjectInfo:
        """See :class:`~churn_assets.store.backend.Backend`; the file is read for it."""
        with self._open(key) as stream:
            check_size(key, os.fstat(stream.fileno()).st_size, most)
            return info_of(stream)

    def list(self, prefix: str) -> list[str]:
        """See :class:`~churn_assets.store.backend.Backend`.

        A symbolic link is listed like a file, so that comparing a listing finds it; reading it is refused.
        """
        top = check_prefix(prefix).removesuffix("/")
        return sorted(self._keys(self.root / top, prefix))

    def delete(self, key: str) -> None:
        """See :class:`~churn_assets.store.backend.Backend`."""
        *folders, name = check_key(key).split("/")
        try:
            with self._folder(folders, key, create=False) as parent:
                os.unlink(name, dir_fd=parent)
                os.fsync(parent)
        except (FileNotFoundError, ObjectMissing):
            return

    def written_at(self, key: str) -> datetime:
        """See :class:`~churn_assets.store.backend.Backend`."""
        with self._open(key) as stream:
            return datetime.fromtimestamp(os.fstat(stream.fileno()).st_mtime, UTC)

    def clear_drafts(self, before: datetime) -> None:
        """Remove drafts that nobody has written to since ``before``: their writers were killed."""
        with suppress(ObjectMissing), self._folder([_TEMPORARY], _TEMPORARY, create=False) as temporary:
            for draft in list(os.scandir(temporary)):
                with suppress(FileNotFoundError):
                    if draft.stat(follow_symlinks=False).st_mtime < before.timestamp():
                        os.unlink(draft.name, dir_fd=temporary)

    def _make_root(self) -> None:
        if self._held and not self._holds():
            raise StoreUnreachable(
                f"{self.root}: found no store any more, expected the one that was read there"
            )
        self.root.mkdir(mode=self._folder_mode, parents=True, exist_ok=True)

    def _holds(self) -> bool:
        try:
            with os.scandir(self.root) as entries:
                return any(entry.name != _TEMPORARY for entry in entries)
        except FileNotFoundError:
            return False

    def _keys(self, folder: Path, prefix: str) -> Iterator[str]:
        try:
            entries = list(os.scandir(folder))
        except FileNotFoundError:
            return
        except NotADirectoryError:
            raise CorruptArtifact(str(folder), "another kind of file", "a folder of the store") from None
        for entry in entries:
            if entry.name == _TEMPORARY and not prefix:
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from self._keys(folder / entry.name, f"{prefix}{entry.name}/")
            else:
                yield f"{prefix}{entry.name}"

    @contextmanager
    def _open(self, key: str) -> Iterator[BinaryIO]:
        *folders, name = check_key(key).split("/")
        with self._folder(folders, key, create=False) as parent:
            try:
                # O_NONBLOCK: opening a planted pipe must not wait for a writer.
                descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=parent)
            except FileNotFoundError:
                raise ObjectMissing(key) from None
            except OSError as error:
                raise _not_plain(key, error) from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise CorruptArtifact(key, *_NOT_PLAIN)
        self._held = True
        with os.fdopen(descriptor, "rb") as stream:
            yield stream

    @contextmanager
    def _folder(self, segments: Sequence[str], key: str, *, create: bool) -> Iterator[int]:
        """Descriptor of a folder below the root; missing folders are made durably, or the key is missing."""
        try:
            current = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            raise ObjectMissing(key) from None
        try:
            for segment in segments:
                if create:
                    _make_folder(current, segment, self._folder_mode)
                try:
                    below = os.open(segment, _FOLDER, dir_fd=current)
                except FileNotFoundError:
                    raise ObjectMissing(key) from None
                except OSError as error:
                    raise _not_plain(key, error) from error
                above, current = current, below
                os.close(above)
            yield current
        finally:
            os.close(current)


def _make_folder(parent: int, name: str, mode: int) -> None:
    try:
        os.mkdir(name, mode, dir_fd=parent)
    except FileExistsError:
        return
    os.fsync(parent)


def _write(folder: int, name: str, source: bytes | Path, mode: int) -> ObjectInfo:
    """Write a file durably; returns what is then found in it."""
    descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode, dir_fd=folder)
    with os.fdopen(descriptor, "r+b") as target:
        if isinstance(source, bytes):
            target.write(source)
            target.seek(0)
            found = info_of(target)
        else:
            with source.open("rb", buffering=0) as stream:
                found = _copy(stream.fileno(), descriptor)
        os.fsync(descriptor)
    return found


def _copy(source: int, target: int) -> ObjectInfo:
    """Copy inside the kernel; each piece is read back while the disk is busy with those before it."""
    copied, crc32c, flushed = 0, 0, 0
    flushes: list[Future[None]] = []
    if size := os.fstat(source).st_size:
        os.posix_fallocate(target, 0, size)
    with ThreadPoolExecutor(1) as disk:
        while sent := os.sendfile(target, source, None, _PIECE):
            if copied - flushed >= _FLUSH_EVERY and (not flushes or flushes[-1].done()):
                flushed = copied
                flushes.append(disk.submit(os.fdatasync, target))
            chunk = os.pread(target, sent, copied)
            crc32c = google_crc32c.extend(crc32c, chunk)
            copied += len(chunk)
    for flush in flushes:
        flush.result()  # a disk tells of an error once: the flush at the end would not see it again
    os.ftruncate(target, copied)  # should the source have shrunk meanwhile
    return ObjectInfo(copied, crc32c)


def private_folder(path: Path) -> Path:
    """A folder, made where it is missing as each above it is: its owner's alone (0700)."""
    try:
        path.mkdir(mode=0o700, exist_ok=True)
    except FileNotFoundError:
        private_folder(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)
    return path


@contextmanager
def _plain(source: Path) -> Iterator[int]:
    try:
        file = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise _not_plain(str(source), error) from error
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise CorruptArtifact(str(source), "another kind of file", "a plain file")
        yield file
    finally:
        os.close(file)


def _not_plain(key: str, error: OSError) -> Exception:
    if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENXIO):
        return CorruptArtifact(key, *_NOT_PLAIN)
    return error

"""Files that an experiment reads from outside, on disk or as objects of a bucket: what they hold now, a copy to read.

Parses none of them, and writes to none.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from churn_assets.store.canonical import canonical_json, sha256_bytes, sha256_file
from churn_assets.store.errors import CorruptArtifact, InputChanged, ObjectMissing, UnsupportedLocation

if TYPE_CHECKING:
    from churn_assets.store.backend import Backend

_BUCKET = "gs://"


def in_bucket(source: str) -> bool:
    """Whether a source is an object of a bucket, and not a path."""
    return source.startswith(_BUCKET)


def object_content(source: str) -> str:
    """Names the content of an object of a bucket, which is not read for it; empty where there is none.

    Args:
        source: `gs://bucket/name`.

    Raises:
        StoreError: The name cannot be one, or the bucket refuses or does not answer.
    """
    backend, key = _object(source)
    try:
        found = backend.info(key)
    except ObjectMissing:
        return ""
    return f"{found.crc32c:08x}-{found.size}"


def content_of(source: str, root: Path) -> str:
    """Names the content of a file, folder or object; empty where there is none.

    Args:
        source: A path, relative to `root`, or `gs://bucket/name`. Of a folder, the files that stand in it count.
        root: The project's folder.

    Raises:
        StoreError: As of `object_content`.
    """
    if in_bucket(source):
        return object_content(source)
    path = root / Path(source).expanduser()
    if path.is_dir():
        files = (each for each in path.iterdir() if each.is_file())
        return sha256_bytes(canonical_json({each.name: sha256_file(each) for each in files}))
    return sha256_file(path) if path.is_file() else ""


@contextmanager
def local_copy(source: str, root: Path) -> Iterator[tuple[Path, str]]:
    """A file to read until the block ends, the file itself or a whole copy of the object, and what errors call it.

    Where there is none, the path leads nowhere: whoever reads says what was expected.

    Args:
        source: As of `content_of`.
        root: The project's folder.

    Raises:
        InputChanged: The object was replaced while it was read.
        StoreError: As of `object_content`.
    """
    if not in_bucket(source):
        local = root / Path(source).expanduser()
        yield local, str(local)
        return
    from churn_assets.store.digests import digests_of

    backend, key = _object(source)
    with TemporaryDirectory(prefix="churn-input-") as folder:
        path = Path(folder) / key.rpartition("/")[2]
        try:
            stored = backend.info(key)
            backend.fetch(key, stored.size, path)
            found = digests_of(path)[1]
        except ObjectMissing:
            path.unlink(missing_ok=True)
            found = None
        except CorruptArtifact as error:
            raise InputChanged(source, error.found, error.expected) from error
        if found is not None and found != stored:
            raise InputChanged(source, str(found), str(stored))
        yield path, source


def _object(source: str) -> tuple[Backend, str]:
    bucket, _, name = source.removeprefix(_BUCKET).partition("/")
    if not name or name.endswith("/"):
        raise UnsupportedLocation(f"{source}: found no object's name, expected gs://bucket/name")
    # By its path: what comes over the line is verified, so how it comes shapes nothing that is made of it.
    backend: Backend = import_module("churn_assets.store.gcs").GcsBackend(bucket)
    return backend, name

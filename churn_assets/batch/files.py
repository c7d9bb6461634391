"""Files of a batch: each appears whole or not at all, and is never written again. Decides nothing."""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from churn_assets.tables.problems import TableError

TOLD = b"told"
"""Key of a Parquet file's metadata: what is said of the part, as JSON."""


def create(path: Path, write: Callable[[Path], None]) -> bool:
    """Make a file whole, and leave one that is there already as it is; returns whether it was made now.

    Args:
        path: The file; its folder is made where there is none.
        write: Writes the content to the path that it is given, in the same folder.
    """
    if path.exists():
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".draft-", suffix=path.suffix)
    os.close(handle)
    draft = Path(name)
    try:
        write(draft)
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return False
    finally:
        draft.unlink(missing_ok=True)
    return True


PATIENCE = 30.0
"""Seconds that a batch is waited for which another process works on: one that was killed leaves a part unfinished."""


def lock_of(folder: Path, patience: float = PATIENCE) -> IO[bytes]:
    """Keep all others from a batch until the file is closed, here and in every process that inherits it.

    Args:
        folder: Of the batch; the lock lies beside it.
        patience: Seconds to wait for it.

    Raises:
        TableError: Another process works on the batch.
    """
    path, ends = _lock_path(folder), time.monotonic() + patience
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        file = path.open("wb")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and path.stat().st_ino == os.fstat(file.fileno()).st_ino:
                return file
        except BlockingIOError:
            if time.monotonic() > ends:
                file.close()
                raise TableError(
                    f"{folder}: found another process that decides the same, expected one at a time; wait for it"
                ) from None
            time.sleep(0.1)
        file.close()


def unlock(folder: Path, lock: IO[bytes]) -> None:
    """Let others begin the batch."""
    _lock_path(folder).unlink(missing_ok=True)
    lock.close()


def _lock_path(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def create_json(path: Path, value: Any) -> bool:
    """As `create`, of plain data."""
    return create(path, lambda draft: _write_text(draft, json.dumps(value, sort_keys=True)))


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def read_plain(path: Path) -> Any:
    """Plain data."""
    return json.loads(path.read_text(encoding="utf-8"))


def create_table(path: Path, table: pa.Table, told: Any = None) -> bool:
    """As `create`, of a table, with what is told of it; equal tables have equal bytes."""
    metadata = {**(table.schema.metadata or {}), TOLD: json.dumps(told, sort_keys=True).encode()}
    marked = table.replace_schema_metadata(metadata)
    return create(path, lambda draft: pq.write_table(marked, draft, compression="zstd", compression_level=1))


def read_told(path: Path) -> Any:
    """What is told of a table, without reading it."""
    return json.loads(pq.read_schema(path).metadata[TOLD])


def create_arrays(path: Path, **arrays: NDArray[Any]) -> bool:
    """As `create`, of arrays by name; `read_arrays` reads them."""

    def write(draft: Path) -> None:
        with draft.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)

    return create(path, write)


def read_arrays(path: Path, *names: str) -> dict[str, NDArray[Any]]:
    """These arrays by name; no other is read."""
    with np.load(path, allow_pickle=False) as found:
        return {name: found[name] for name in names}

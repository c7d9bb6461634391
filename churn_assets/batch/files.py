"""Files of a batch: each appears whole or not at all, and is never written again. Decides nothing."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

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


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Arrays by name."""
    with np.load(path, allow_pickle=False) as found:
        return {name: found[name] for name in found.files}

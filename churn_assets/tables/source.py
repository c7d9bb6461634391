"""The front door of every source of a table: files, objects of a bucket, databases. Knows no column."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from churn_assets.store.canonical import canonical_json, sha256_bytes, sha256_file
from churn_assets.store.inputs import content_of, in_bucket, local_copy
from churn_assets.tables.config import DatabaseTable, FileReading, TablePlace
from churn_assets.tables.files import DETECTED, read_chunks, read_raw
from churn_assets.tables.folder import read_folder
from churn_assets.tables.problems import Problems
from churn_assets.tables.raw import RawTable


def read_source(
    source: TablePlace,
    root: Path,
    problems: Problems,
    reading: FileReading = DETECTED,
    order: Sequence[str] = (),
) -> tuple[RawTable, str]:
    """The raw table of a source, and the SHA-256 of its bytes; empty of a database, which has none.

    Args:
        source: Where it is.
        root: The project's folder: what relative paths are relative to.
        problems: What it is called, and where problems go.
        reading: What should not be detected.
        order: Columns by which the rows of a database are put in order; those of a file have one.

    Raises:
        TableError: As of `problems`: there is no such table.
        StoreError: A bucket or a database refuses or does not answer.
    """
    if isinstance(source, DatabaseTable):
        from churn_assets.tables.database import read_database

        return read_database(source, root, problems, reading, order), ""
    with local_copy(source, root) as (path, _):
        if path.is_dir():
            return read_folder(path, problems, reading), content_of(source, root)
        return read_raw(path, problems, reading), sha256_file(path)


def read_source_chunks(
    source: TablePlace,
    root: Path,
    problems: Problems,
    reading: FileReading,
    order: Sequence[str],
    rows: int,
) -> Iterator[RawTable]:
    """The raw table of a source, about so many `rows` at a time; other arguments and errors as of `read_source`."""
    if isinstance(source, DatabaseTable):
        from churn_assets.tables.database import read_database_chunks

        yield from read_database_chunks(source, root, problems, reading, order, rows)
        return
    with local_copy(source, root) as (path, _):
        yield from read_chunks(path, problems, reading, rows)


def source_name(source: TablePlace, root: Path) -> str:
    """What errors call a source: the file where it is one, else as it is configured."""
    is_path = isinstance(source, str) and not in_bucket(source)
    return str(root / Path(str(source)).expanduser()) if is_path else str(source)


def source_content(source: TablePlace, root: Path) -> str:
    """Names what a source holds now, which costs less than reading it; empty where there is none.

    Raises:
        TableError: The query or the watermark of a database cannot be answered.
        StoreError: As of `read_source`.
    """
    if isinstance(source, DatabaseTable):
        from churn_assets.tables.database import database_content

        return database_content(source, root)
    return content_of(source, root)


def digest_of_rows(frame: pd.DataFrame) -> str:
    """SHA-256 of what was read: equal for equal rows, in whatever order and from whatever source.

    Args:
        frame: Rows in the types that the rules of `values` give.

    >>> digest_of_rows(pd.DataFrame({"a": [1.0, 2.0]})) == digest_of_rows(pd.DataFrame({"a": [2.0, 1.0]}))
    True
    """
    rows = np.sort(pd.util.hash_pandas_object(frame, index=False).to_numpy())
    return sha256_bytes(canonical_json(list(map(str, frame.columns))) + rows.tobytes())

"""The table of a database that results go to, wave by wave. Decides nothing about what they say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from churn_assets.tables.database import QueryError, opened, write_wave
from churn_assets.tables.values import id_hash

_ROWS = 100_000


@dataclass(frozen=True)
class WaveTable:
    """Where the rows of one wave go.

    Attributes:
        location: Of the database.
        table: In it.
        wave: Name that every row gets.
        root: The project's folder, in which a relative location is.
    """

    location: str
    table: str
    wave: str
    root: Path = Path()

    def __str__(self) -> str:
        return f"{self.location}: {self.table}, wave {self.wave}"

    def write(self, frame: pd.DataFrame) -> None:
        """Writes all rows, or none.

        Raises:
            QueryError: The wave is there already, or the table has other columns.
            StoreError: The database refuses or does not answer.
        """
        self.write_parts([pa.Table.from_pandas(frame, preserve_index=False)])

    def holds(self, decisions: Iterable[pa.ChunkedArray]) -> bool:
        """Whether the rows of the wave are those of these decisions, and no others.

        Args:
            decisions: Their ids, a part at a time, in any order; blanks count as rows.

        Raises:
            StoreError: The database refuses or does not answer.
        """
        database = opened(self.location, self.root)
        wave = self.wave.replace("'", "''")
        query = f"select decision_id from {database.quoted(self.table)} where wave = '{wave}'"
        try:
            there = _named(each.column(0) for each in database.chunks(query, _ROWS))
        except QueryError:  # there is no such table, or it has other columns, as writing tells
            return False
        return there == _named(decisions)

    def write_parts(self, parts: Iterable[pa.Table]) -> None:
        """The same of rows that come a part at a time, all with the columns of the first."""
        failed: list[BaseException] = []

        def batches(usual: Iterator[pa.Table], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
            try:
                for part in usual:
                    yield from part.cast(schema).to_batches()
            except BaseException as error:  # Arrow hands on no more than its text
                failed.append(error)
                raise

        usual = map(_usual, parts)
        first = next(usual)
        rows = pa.RecordBatchReader.from_batches(first.schema, batches(chain([first], usual), first.schema))
        try:
            write_wave(self.location, self.table, self.wave, rows, self.root)
        finally:
            if failed:
                raise failed[0]


def _named(ids: Iterable[pa.ChunkedArray]) -> tuple[int, int]:
    """How many ids, and a number that all of them make in any order."""
    rows, total = 0, 0
    for part in ids:
        rows += len(part)
        total += int(id_hash(part.drop_null().to_numpy()).sum(dtype=np.uint64))
    return rows, total % 2**64


def _usual(rows: pa.Table) -> pa.Table:
    """Of the same types whatever the rows of a wave hold, as the next wave goes to the same columns."""
    names = [name for name in rows.column_names if name.endswith("_at")]
    times = {name: pd.to_datetime(rows.column(name).to_pandas(), utc=True) for name in names}
    for name, values in times.items():
        rows = rows.set_column(
            rows.column_names.index(name), name, pa.array(values, pa.timestamp("us", "UTC"))
        )
    return rows.cast(pa.schema([each.with_type(_column_type(each.type)) for each in rows.schema]))


def _column_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", "UTC")
    return pa.string() if pa.types.is_null(kind) else kind

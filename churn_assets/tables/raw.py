"""A table as its source gives it: raw columns, and the line of every row. A source makes one; `values` reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from churn_assets.tables.text import as_text

if TYPE_CHECKING:
    import pandas as pd

FIRST_LINE = 2
"""Of the first row: the header is line 1."""


@dataclass(eq=False)
class RawTable:
    """Raw columns.

    Attributes:
        where: What messages call the table.
        columns: By name, as they stand in the source: texts of a CSV, types of a database or Parquet.
        line: (n,) line of each row, as a spreadsheet shows it.
        said: What was detected or decided in reading, a sentence each.
        decimal: Of numbers that are written as texts; None where each column says it by itself.
        blanks: Texts that are no value, beside the usual ones.
        commas: Columns of texts that were read as numbers with a decimal comma.
        grouped: Columns of texts that were read as numbers, of which every point may group thousands; one such text.
        attempts: Columns that were tried as numbers: the numbers, and where there is none.
        asked: The column whose texts were asked for last, and the answer.
    """

    where: str
    columns: dict[str, Any]
    line: NDArray[np.int64]
    said: list[str] = field(default_factory=list)
    decimal: Literal[".", ","] | None = None
    blanks: tuple[str, ...] = ()
    commas: list[str] = field(default_factory=list)
    grouped: dict[str, str] = field(default_factory=dict)
    attempts: dict[str, tuple[NDArray[np.float64], NDArray[np.bool_]]] = field(default_factory=dict)
    asked: tuple[Any, tuple[NDArray[np.int32], list[str]]] | None = None

    def __len__(self) -> int:
        return len(self.line)

    @property
    def names(self) -> list[str]:
        """Of the columns, in the source's order."""
        return list(self.columns)

    @classmethod
    def of_arrow(cls, table: Any, where: str) -> RawTable:
        """Of an Arrow table, as a database or Parquet gives it; column names must differ."""
        columns = {name: _plain_texts(table.column(place)) for place, name in enumerate(table.column_names)}
        return cls(where, columns, np.arange(table.num_rows) + FIRST_LINE)

    @classmethod
    def of_frame(cls, frame: pd.DataFrame | RawTable, where: str) -> RawTable:
        """Of a table in memory; one that is raw already stays as it is."""
        if isinstance(frame, RawTable):
            return frame
        columns = {str(name): _as_arrow(frame[name]) for name in frame.columns}
        return cls(where, columns, np.arange(len(frame)) + FIRST_LINE)

    def renamed(self, names: Mapping[str, str]) -> RawTable:
        """The same table with other names for some columns."""
        columns = {names.get(name, name): values for name, values in self.columns.items()}
        return replace(self, columns=columns, attempts={}, asked=None)

    def keep(self, mask: NDArray[np.bool_]) -> None:
        """Drops the rows that (n,) `mask` does not pick; column by column, as the table may be large."""
        if mask.all():
            return
        chosen = pa.array(mask)
        self.attempts.clear()
        for name in self.columns:
            self.columns[name] = self.columns[name].filter(chosen)
        self.line = self.line[mask]

    def frame(self) -> pd.DataFrame:
        """The columns as they stand, in pandas' types."""
        import pandas as pd

        return pd.DataFrame({name: plain_values(values).to_pandas() for name, values in self.columns.items()})


def plain_values(values: Any) -> Any:
    """A column without a dictionary."""
    return values.cast(values.type.value_type) if pa.types.is_dictionary(values.type) else values


def _plain_texts(values: Any) -> Any:
    """Texts as every rule takes them; DuckDB gives views."""
    return values.cast(pa.string()) if pa.types.is_string_view(values.type) else values


def _as_arrow(column: pd.Series) -> Any:
    try:
        return pa.array(column, from_pandas=True)
    except (
        pa.ArrowInvalid,
        pa.ArrowTypeError,
        OverflowError,
    ):  # values of several types: the texts of all of them
        return pa.array([as_text(value) for value in column], pa.string())

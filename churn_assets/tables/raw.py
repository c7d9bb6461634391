"""A table as its source gives it: raw columns, and the line of every row. A source makes one; `values` reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from churn_assets.tables.config import FileReading
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
        dates: How dates are written, beside ISO 8601.
        units: What may stand before or behind numbers.
        commas: Columns of texts that were read as numbers with a decimal comma.
        grouped: Columns of texts that were read as numbers, of which every point may group thousands; one such text.
        pointed: Columns of texts in which a point surely stands before a fraction.
        separator: What stands between the fields of a CSV; a comma where there is none.
        attempts: Columns that were tried as numbers: the numbers, and where there is none.
        asked: The column whose texts were asked for last, and the answer.
        no_meaning: Columns whose type no rule reads, and what the source calls it.
        decimals: Columns of texts of a table of which this is a part, that hold commas: what most of their numbers are
            written with, empty where they do not say.
        repeated: `id_hash` of ids in several lines of the table of which this is a part; None: it is whole.
    """

    where: str
    columns: dict[str, Any]
    line: NDArray[np.int64]
    said: list[str] = field(default_factory=list)
    decimal: Literal[".", ","] | None = None
    blanks: tuple[str, ...] = ()
    dates: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    commas: list[str] = field(default_factory=list)
    grouped: dict[str, str] = field(default_factory=dict)
    pointed: list[str] = field(default_factory=list)
    separator: str = ","
    attempts: dict[str, tuple[NDArray[np.float64], NDArray[np.bool_]]] = field(default_factory=dict)
    asked: tuple[Any, tuple[NDArray[np.int32], list[str]]] | None = None
    no_meaning: dict[str, str] = field(default_factory=dict)
    decimals: Mapping[str, str] = field(default_factory=dict)
    repeated: NDArray[np.uint64] | None = None

    def __len__(self) -> int:
        return len(self.line)

    @property
    def names(self) -> list[str]:
        """Of the columns, in the source's order."""
        return list(self.columns)

    @classmethod
    def of_arrow(cls, table: Any, where: str) -> RawTable:
        """Of an Arrow table, as a database or Parquet gives it; column names must differ."""
        columns, strange = {}, {}
        for place, each in enumerate(table.schema):
            kind = _meaningless(each)
            if kind is None:
                columns[each.name] = _usual(table.column(place))
            else:
                columns[each.name] = table.column(place)
                strange[each.name] = kind
        return cls(where, columns, np.arange(table.num_rows) + FIRST_LINE, no_meaning=strange)

    @classmethod
    def of_frame(cls, frame: pd.DataFrame | RawTable, where: str) -> RawTable:
        """Of a table in memory; one that is raw already stays as it is."""
        if isinstance(frame, RawTable):
            return frame
        columns = {str(name): _as_arrow(frame[name]) for name in frame.columns}
        return cls(where, columns, np.arange(len(frame)) + FIRST_LINE)

    def read_as(self, reading: FileReading) -> RawTable:
        """The same table, whose texts are to be read as is configured."""
        return replace(
            self, decimal=reading.decimal, blanks=reading.blanks, dates=reading.dates, units=reading.units
        )

    def renamed(self, names: Mapping[str, str]) -> RawTable:
        """The same table with other names for some columns."""
        columns = {names.get(name, name): values for name, values in self.columns.items()}
        strange = {names.get(name, name): kind for name, kind in self.no_meaning.items()}
        return replace(self, columns=columns, attempts={}, asked=None, no_meaning=strange)

    def of_texts(self, name: str, texts: list[str]) -> RawTable:
        """A table of one column of these texts, to be read as this one is."""
        line = np.arange(len(texts)) + FIRST_LINE
        return RawTable(
            self.where, {name: pa.array(texts, pa.string())}, line, blanks=self.blanks, dates=self.dates
        )

    def plain(self, name: str) -> Any:
        """A column without a dictionary."""
        return plain_values(self.columns[name])

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


def no_meaning(field: Any, kind: str) -> Any:
    """An Arrow field marked as one whose type no rule reads; `kind` is what its source calls the type."""
    return field.with_metadata({_NO_MEANING: kind.encode()})


_NO_MEANING = b"no_meaning"


def _meaningless(field: Any) -> str | None:
    """What to call a type that no rule reads; None of one that means something."""
    marked = (field.metadata or {}).get(_NO_MEANING)
    if marked is not None:
        return str(marked.decode())
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    meant = any(is_kind(kind) for is_kind in _MEANT)
    return None if meant else str(kind)


_MEANT = (
    pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean, pa.types.is_string,
    pa.types.is_large_string, pa.types.is_string_view, pa.types.is_date, pa.types.is_timestamp, pa.types.is_null,
)  # fmt: skip


def _usual(values: Any) -> Any:
    """A column as every rule takes it: DuckDB gives texts as views, and small floats are meant as they are written."""
    kind = values.type
    if pa.types.is_string_view(kind) or pa.types.is_null(kind):
        return values.cast(pa.string())
    if pa.types.is_dictionary(kind) and pa.types.is_unsigned_integer(kind.index_type):
        return values.cast(kind.value_type)
    if kind == pa.float32():
        return values.cast(pa.string()).cast(pa.float64())
    if pa.types.is_timestamp(kind) and kind.tz is not None:  # the same instants, whatever the zone is called
        values = values.cast(pa.timestamp(kind.unit, "UTC"))
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return _finite(values)
    return values


def _finite(values: Any) -> Any:
    """Days and times; as texts where one is in no calendar: databases have infinity, and pandas would overflow."""
    kind = values.type
    if kind == pa.timestamp("ns", getattr(kind, "tz", None)):  # those reach from 1677 to 2262 and no further
        return values
    ticks = values.cast(pa.int32()).cast(pa.int64()) if kind == pa.date32() else values.cast(pa.int64())
    day = 1 if kind == pa.date32() else 86_400 * _TICKS[getattr(kind, "unit", "ms")]
    wild = pc.or_(pc.less(ticks, _FIRST_DAY * day), pc.greater(ticks, _LAST_DAY * day))
    if not pc.any(wild).as_py():
        return values
    calm = pc.if_else(wild, pa.scalar(None, kind), values)
    return pc.if_else(wild, "infinity", calm.cast(pa.string()))


_TICKS = {"s": 1, "ms": 10**3, "us": 10**6}
_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896
"""Days from 1970 to the years 1 and 9999."""


def _as_arrow(column: pd.Series) -> Any:
    try:
        return pa.array(column, from_pandas=True)
    except (
        pa.ArrowInvalid,
        pa.ArrowTypeError,
        OverflowError,
    ):  # values of several types: the texts of all of them
        return pa.array([as_text(value) for value in column], pa.string())

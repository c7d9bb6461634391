"""Tables of databases, whatever the kind: read whole by one SELECT, looked at, and written to. Knows no one kind."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from churn_assets.arms import did_you_mean
from churn_assets.store.canonical import canonical_json, sha256_bytes
from churn_assets.tables.config import DatabaseTable, FileReading, database_class
from churn_assets.tables.problems import STRUCTURE, Problems, TableError
from churn_assets.tables.raw import RawTable

WAVE = "wave"
"""Column that names the wave that a row was written with."""
ROWS = "churn_rows"
"""What the rows are called inside of our own SQL; a column of that name would stand in their place."""
_DIGITS = 16


class QueryError(TableError):
    """A database answered that what it was asked for cannot be.

    Attributes:
        found: What it said.
        expected: What should be.
        remedy: What would mend it; may be empty.
        missing: Whether there is no such table.
    """

    def __init__(self, found: str, expected: str, remedy: str = "", *, missing: bool = False) -> None:
        super().__init__(f"found {found}, expected {expected}" + (f"; {remedy}" if remedy else ""))
        self.found, self.expected, self.remedy, self.missing = found, expected, remedy, missing


class Database(ABC):
    """One database. Every call is a session of its own, and one that reads cannot write.

    Args:
        location: As of `DatabaseTable.database`.
        root: The project's folder.

    Attributes:
        form: Matches every location of this kind, and none that could hold a secret.
        expected: The form in words, with where the credentials come from.
        client: The module that it needs.
        checksum: SQL of a number that all of `ROWS` make, in any order.
    """

    form: ClassVar[re.Pattern[str]]
    expected: ClassVar[str]
    client: ClassVar[str]
    checksum: ClassVar[str]

    def __init__(self, location: str, root: Path) -> None:
        self.location, self.root = location, root

    @abstractmethod
    def fetch(self, query: str) -> pa.Table:
        """What one SELECT finds, fetched in chunks; a field marked by `no_meaning` has a type that no rule reads.

        Raises:
            QueryError: It is no single SELECT, or cannot be answered.
            DatabaseUnreachable: The database does not answer, or breaks off.
            DatabaseRefused: It knows no such user, or does not let them.
        """

    def chunks(self, query: str, rows: int) -> Iterator[pa.Table]:
        """What one SELECT finds, about so many rows at a time, as `fetch` gives them; errors as there."""
        table = self.fetch(query)
        for start in range(0, max(table.num_rows, 1), rows):
            yield table.slice(start, rows)

    @abstractmethod
    def tables(self) -> list[str]:
        """Names of the tables that can be seen, as `DatabaseTable.table` writes them; errors as of `fetch`."""

    @abstractmethod
    def append(self, table: str, wave: str, rows: pa.Table) -> None:
        """Appends rows to a table, which is made where there is none: all of them or none, and once a wave.

        Args:
            table: As of `DatabaseTable.table`.
            wave: Value of the rows' column `wave`.
            rows: With that column.

        Raises:
            QueryError: The table has rows of that wave, or other columns.
            StoreError: As of `fetch`.
        """

    def quoted(self, name: str) -> str:
        """A name as SQL takes it exactly, with its schema."""
        return ".".join(f'"{part.replace(chr(34), chr(34) * 2)}"' for part in name.split("."))

    def select(self, source: DatabaseTable) -> str:
        """The SELECT of a table or a query."""
        if source.table is not None:
            return f"select * from {self.quoted(source.table)}"
        return (source.query or "").strip().rstrip(";")


def opened(location: str, root: Path) -> Database:
    """The database of a location.

    Raises:
        ValueError: It is none's; as of `database_class`.
        QueryError: Its client is not installed.
    """
    known = database_class(location)
    if known is None:
        raise ValueError("found no location of a database")
    try:
        import_module(known.client)
    except ModuleNotFoundError:
        missing = f"no client of {location.partition('://')[0]} ({known.client})"
        raise QueryError(missing, "one", "install it: `pip install '.[sql]'`") from None
    database: Database = known(location, root)
    return database


def read_database(
    source: DatabaseTable, root: Path, problems: Problems, reading: FileReading, order: Sequence[str]
) -> RawTable:
    """A table of a database, in an order that does not depend on how the database keeps it.

    Args:
        source: Which.
        root: The project's folder.
        problems: What it is called, and where problems go.
        reading: Of numbers and blanks that stand there as texts.
        order: Columns by which the rows are put in order first; the others follow.

    Raises:
        TableError: As of `problems`: there is no such table, or the query is none.
        StoreError: As of `Database.fetch`.
    """
    chunks = list(read_database_chunks(source, root, problems, reading, order, rows=0))
    return chunks[0]


def read_database_chunks(
    source: DatabaseTable,
    root: Path,
    problems: Problems,
    reading: FileReading,
    order: Sequence[str],
    rows: int,
) -> Iterator[RawTable]:
    """The same table, about so many `rows` at a time; 0: whole. Other arguments and errors as of `read_database`.

    One that comes in several pieces is in the order in which the database gives it: a query says which.
    """
    before = 0
    try:
        database = opened(source.database, root)
        query = database.select(source)
        tables = database.chunks(query, rows) if rows else iter([database.fetch(query)])
        waiting = next(tables, None)
        while waiting is not None:
            table, waiting = waiting, next(tables, None)
            raw = _raw_of_database(table, problems, reading)
            if not before and waiting is None:
                _put_in_order(raw, order)
            raw.line = raw.line + before
            before += len(raw)
            yield raw
    except QueryError as error:
        near = _nearest(opened(source.database, root), source) if error.missing else ""
        problems.add(error.found, error.expected + near, rank=STRUCTURE, remedy=error.remedy)
        problems.stop()
        raise


def _raw_of_database(table: pa.Table, problems: Problems, reading: FileReading) -> RawTable:
    names = table.column_names
    for name in dict.fromkeys(each for each in names if names.count(each) > 1):
        problems.add("a name of several columns", "each name once", column=name, rank=STRUCTURE,
                     remedy="name them apart in the query, with `as`")  # fmt: skip
    problems.stop()
    return RawTable.of_arrow(table, problems.where).read_as(reading)


def _nearest(database: Database, source: DatabaseTable) -> str:
    """The table that may be meant; empty where nothing is near or can be seen."""
    try:
        return did_you_mean(source.table or "", database.tables())
    except QueryError:  # there is not even a database
        return ""


def _put_in_order(raw: RawTable, order: Sequence[str]) -> None:
    """Sorts the rows by these columns, then by all others that can be."""
    names = [*(name for name in dict.fromkeys(order) if name in raw.columns), *raw.columns]
    names = [name for name in dict.fromkeys(names) if name not in raw.no_meaning]
    if not names:
        return
    keys = pa.table({str(place): raw.plain(name) for place, name in enumerate(names)})
    places = pc.sort_indices(keys, sort_keys=[(name, "ascending") for name in keys.column_names])
    for name in raw.columns:
        raw.columns[name] = raw.columns[name].take(places)


def database_content(source: DatabaseTable, root: Path) -> str:
    """Names the content of a table: how many rows, and its watermark or a checksum of all; empty where there is none.

    Raises:
        QueryError: The query or the watermark cannot be answered.
        StoreError: As of `Database.fetch`.
    """
    database = opened(source.database, root)
    mark = (
        database.checksum if source.watermark is None else f"max({ROWS}.{database.quoted(source.watermark)})"
    )
    try:
        found = database.fetch(
            f"select count(*) as n, {mark} as mark from (\n{database.select(source)}\n) as {ROWS}"
        )
    except QueryError as error:
        if error.missing and source.table is not None:
            return ""
        raise QueryError(f"{error.found} in {source}", error.expected, error.remedy) from None
    return sha256_bytes(canonical_json([_exact(found.column(name)[0]) for name in ("n", "mark")]))[:_DIGITS]


def _exact(scalar: Any) -> str:
    """A value as text, whatever the session's settings; a time may lie outside of Python's."""
    return str(getattr(scalar, "value", None) if pa.types.is_temporal(scalar.type) else scalar.as_py())


def write_wave(location: str, table: str, wave: str, rows: pa.Table, root: Path) -> None:
    """Writes the rows of a wave to a table of a database: all or none, and once.

    Args:
        location: As of `DatabaseTable.database`.
        table: As of `DatabaseTable.table`; made where there is none.
        wave: Its name; the first column of every row.
        rows: What to write.
        root: The project's folder.

    Raises:
        QueryError: The table has rows of that wave, or other columns.
        StoreError: As of `Database.fetch`.
    """
    named = rows.add_column(0, WAVE, pa.array(np.full(len(rows), wave, dtype=object), pa.string()))
    try:
        opened(location, root).append(table, wave, named)
    except QueryError as error:
        takes = error.expected if error.remedy else f"a table that takes {', '.join(named.column_names)}"
        raise QueryError(f"{error.found} in {location}: {table}", takes, error.remedy) from None


def without_values(text: str) -> str:
    """What a database said, without the values that it quotes: they may be a customer's.

    >>> without_values('invalid input syntax for type integer: "C-4711"')
    'invalid input syntax for type integer: …'
    """
    return re.sub(r"""["'].*["']""", "…", text)


def wave_exists(wave: str) -> QueryError:
    """The refusal of a wave that was written before."""
    return QueryError(
        f"rows of wave {wave!r}",
        "a wave that was never written",
        "choose another `--wave`; nothing was written",
    )

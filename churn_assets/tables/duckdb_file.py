"""DuckDB files as a source: DuckDB's own client, which gives Arrow in chunks. A file has no users and no passwords."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

import pyarrow as pa

from churn_assets.store.errors import DatabaseUnreachable
from churn_assets.tables.database import ROWS, Database, QueryError, wave_exists, without_values
from churn_assets.tables.raw import no_meaning

if TYPE_CHECKING:
    from pathlib import Path

    from duckdb import DuckDBPyConnection

_CHUNK = 100_000
_MEANT = re.compile(
    r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|DECIMAL\(.*\)|FLOAT|DOUBLE|BOOLEAN|VARCHAR|UUID|ENUM\(.*\)|DATE|TIMESTAMP.*"
    r'|"NULL"'
)
"""Types that the rules read; others are told by their names here, which Arrow does not have."""
_ONE_SELECT = "one SELECT that the database can answer, and columns that are there"


class DuckdbFile(Database):
    """A DuckDB file; see `Database`. What a query reads from other files is refused."""

    form: ClassVar[re.Pattern[str]] = re.compile(r"duckdb://[^@?#]+")
    expected: ClassVar[str] = "duckdb://folder/file.duckdb, or duckdb:///folder/file.duckdb from the root"
    client: ClassVar[str] = "duckdb"
    checksum: ClassVar[str] = f"sum(hash({ROWS}))"

    @property
    def _path(self) -> Path:
        return self.root / self.location.partition("://")[2]

    def fetch(self, query: str) -> pa.Table:
        pieces = list(self.chunks(query, _CHUNK))
        return pa.concat_tables(pieces)

    def chunks(self, query: str, rows: int) -> Iterator[pa.Table]:
        """As of `Database`; DuckDB gives them as it finds them."""
        import duckdb

        with self._session(read_only=True) as connection:
            connection.execute("set timezone = 'UTC'")
            connection.execute("set lock_configuration = true")
            statements = connection.extract_statements(query)
            if [each.type for each in statements] != [duckdb.StatementType.SELECT]:
                raise QueryError(f"{len(statements)} statements, or one that is no SELECT", "one SELECT")
            found = connection.sql(query)
            types = [str(each) for each in found.types]
            with found.to_arrow_reader(rows) as reader:
                fields = [
                    field if _MEANT.fullmatch(kind) else no_meaning(field, kind)
                    for field, kind in zip(reader.schema, types, strict=True)
                ]
                schema, empty = pa.schema(fields), True
                for batch in reader:
                    empty = False
                    yield pa.Table.from_arrays(
                        [pa.chunked_array([each]) for each in batch.columns], schema=schema
                    )
                if empty:
                    yield schema.empty_table()

    def tables(self) -> list[str]:
        found = self.fetch("select table_schema as place, table_name as name from information_schema.tables")
        return [name for row in found.to_pylist() for name in (row["name"], f"{row['place']}.{row['name']}")]

    def append(self, table: str, wave: str, rows: pa.RecordBatchReader) -> None:
        name = self.quoted(table)
        with self._session(read_only=False) as connection:
            connection.begin()
            connection.register("none", rows.schema.empty_table())  # as rows are read only once
            connection.register("rows", rows)
            connection.execute(f"create table if not exists {name} as select * from none")
            if (
                connection.execute(f"select 1 from {name} where wave = ? limit 1", [wave]).fetchone()
                is not None
            ):
                raise wave_exists(wave)
            connection.execute(f"insert into {name} by name select * from rows")
            connection.commit()

    @contextmanager
    def _session(self, *, read_only: bool) -> Iterator[DuckDBPyConnection]:
        import duckdb

        if read_only and not self._path.is_file():
            raise QueryError("no such file", f"a DuckDB file; {self.expected}", missing=True)
        try:
            with duckdb.connect(
                self._path, read_only=read_only, config={"enable_external_access": "false"}
            ) as opened:
                yield opened
        except duckdb.Error as error:
            raise self._told(error) from None
        except (OSError, pa.ArrowException) as error:  # as Arrow tells what a reader meets between two chunks
            raise QueryError(without_values(str(error).partition("\n")[0]), _ONE_SELECT) from None

    def _told(self, error: Exception) -> Exception:
        import duckdb

        text = str(error).partition("\n")[0]
        if isinstance(error, duckdb.CatalogException) and "does not exist" in text:
            return QueryError(f"no such table ({text})", "one that is there", missing=True)
        if isinstance(error, duckdb.PermissionException):
            return QueryError("a query that reads or writes another file", "one of the tables in this file")
        if isinstance(
            error, duckdb.DataError | duckdb.IntegrityError
        ):  # the values that it quotes may be a customer's
            return QueryError(without_values(text), _ONE_SELECT)
        if "not a valid DuckDB" in text or "Is a directory" in text:
            return QueryError("no DuckDB file", self.expected)
        if isinstance(error, duckdb.ProgrammingError):
            return QueryError(text, _ONE_SELECT)
        return DatabaseUnreachable(f"{self.location}: {text}; another program may hold the file")

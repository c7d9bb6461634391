"""PostgreSQL as a source: ADBC's driver, which copies rows out as Arrow. Who reads is in libpq's variables."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from churn_assets.store.errors import DatabaseRefused, DatabaseUnreachable
from churn_assets.tables.database import ROWS, Database, QueryError, wave_exists, without_values
from churn_assets.tables.raw import no_meaning

if TYPE_CHECKING:
    from adbc_driver_manager.dbapi import Connection, Cursor

_SETTINGS = (
    "set local timezone to 'UTC'; set local datestyle to 'ISO, YMD'; set local extra_float_digits to 1"
)
"""Texts that a query or a checksum makes of values do not depend on who asks."""
_REFUSED = re.compile(
    r"authentication failed|no password supplied|pg_hba|role .* does not exist|permission denied"
)
_ENDED = re.compile(r"canceling|terminating|shutting down")
_STAGED = "churn_wave"
_KEPT_ALIVE = "keepalives_idle=30&keepalives_interval=10&keepalives_count=3"
_MONEY_OR_OID = {"money", "oid", "xid", "xid8", "cid", "tid"}
"""Arrow has them as whole numbers: money in cents, others with a sign."""
_AWAY = ("08", "53", "57", "58", "40", "55", "XX")
"""SQLSTATE classes of a server that cannot now."""


class PostgresqlServer(Database):
    """A database of a PostgreSQL server; see `Database`."""

    form: ClassVar[re.Pattern[str]] = re.compile(
        r"postgresql://[\w.,:\[\]-]*(/[\w$.-]*)?(\?service=[\w.-]+)?"
    )
    expected: ClassVar[str] = (
        "postgresql://host:port/database, or postgresql:///?service=name; user, password and options are read from "
        "the environment: PGUSER, PGPASSWORD or PGPASSFILE, PGSSLMODE"
    )
    client: ClassVar[str] = "adbc_driver_postgresql"
    checksum: ClassVar[str] = f"sum(hashtextextended({ROWS}::text, 0))"

    def fetch(self, query: str) -> pa.Table:
        with self._session("set transaction read only") as (_, cursor):
            cursor.execute(f"select * from (\n{query}\n) as {ROWS}")
            with cursor.fetch_record_batch() as reader:
                table = pa.Table.from_batches(list(reader), reader.schema)
        return _plain_types(table)

    def chunks(self, query: str, rows: int) -> Iterator[pa.Table]:
        """As of `Database`; the server gives them as it finds them, by blocks of bytes and not of rows."""
        with self._session("set transaction read only") as (_, cursor):
            cursor.execute(f"select * from (\n{query}\n) as {ROWS}")
            with cursor.fetch_record_batch() as reader:
                waiting: list[Any] = []
                for batch in reader:
                    waiting.append(batch)
                    if sum(each.num_rows for each in waiting) >= rows:
                        yield _plain_types(pa.Table.from_batches(waiting, reader.schema))
                        waiting = []
                if waiting or not rows:
                    yield _plain_types(pa.Table.from_batches(waiting, reader.schema))

    def tables(self) -> list[str]:
        found = self.fetch(
            "select quote_ident(nspname) || '.' || quote_ident(relname) as name, relname, "
            "pg_table_is_visible(c.oid) as visible from pg_class c join pg_namespace n on n.oid = relnamespace "
            "where relkind in ('r', 'p', 'v', 'm', 'f') and nspname not in ('pg_catalog', 'information_schema')"
        ).to_pylist()
        return [each["relname"] for each in found if each["visible"]] + [each["name"] for each in found]

    def append(self, table: str, wave: str, rows: pa.RecordBatchReader) -> None:
        name = self.quoted(table)
        with self._session("set transaction read write") as (connection, cursor):
            # One writer at a time, whatever the rights on the table; the lock ends with the transaction.
            cursor.execute("select pg_advisory_xact_lock(hashtextextended($1, 0))", [table])
            cursor.fetchall()
            # By way of a table of this session: the driver copies bytes, whatever types the other one has.
            cursor.adbc_ingest(_STAGED, rows, mode="create", temporary=True)
            cursor.execute(f"create table if not exists {name} as select * from {_STAGED} limit 0")
            cursor.execute(f"select 1 from {name} where wave = $1 limit 1", [wave])
            if cursor.fetchone() is not None:
                raise wave_exists(wave)
            columns = ", ".join(map(self.quoted, rows.schema.names))
            cursor.execute(f"insert into {name} ({columns}) select {columns} from {_STAGED}")
            connection.commit()

    @property
    def _uri(self) -> str:
        """The location, with how long a server that says nothing is waited for."""
        waits = _KEPT_ALIVE if "PGCONNECT_TIMEOUT" in os.environ else f"{_KEPT_ALIVE}&connect_timeout=10"
        return f"{self.location}{'&' if '?' in self.location else '?'}{waits}"

    @contextmanager
    def _session(self, mode: str) -> Iterator[tuple[Connection, Cursor]]:
        """One transaction; what the client says goes wrong in it is told as ours."""
        from adbc_driver_postgresql import dbapi

        try:
            with dbapi.connect(self._uri) as connection, connection.cursor() as cursor:
                for setting in (mode, *_SETTINGS.split("; ")):
                    cursor.execute(setting)
                yield connection, cursor
        except dbapi.Error as error:
            raise self._told(error) from None  # what it was asked stands in its own words, and may be secret
        except (OSError, pa.ArrowException) as error:  # as Arrow tells what a reader meets between two chunks
            raise self._broken_off(error) from None

    def _broken_off(self, error: Exception) -> Exception:
        """What went wrong while rows were read."""
        _, answered, said = str(error).partition("ERROR: ")
        text = _shown(said if answered else str(error))
        if (answered and not _ENDED.search(text)) or (not answered and isinstance(error, pa.ArrowException)):
            return _query_error("22", text)
        return DatabaseUnreachable(f"{self.location}: {text}, while rows were read")

    def _told(self, error: Any) -> Exception:
        details = {_text(key): _text(value) for key, value in error.details}
        said = (
            details.get("PG_DIAG_MESSAGE_PRIMARY")
            or str(error).partition("ailed to connect: ")[2]
            or str(error)
        )
        text, state = _shown(said), error.sqlstate or ""
        if state.startswith("28") or state == "42501" or (not state and _REFUSED.search(text)):
            return DatabaseRefused(f"{self.location}: {text}")
        if "database" in text and "does not exist" in text:
            return QueryError(f"{self.location}: {text}", "a database that is there")
        if not state.startswith(_AWAY) and (state or "ALREADY_EXISTS" in str(error)):
            return _query_error(state, text)
        return DatabaseUnreachable(f"{self.location}: {text}")


def _text(told: str | bytes) -> str:
    return told.decode("utf-8", "replace") if isinstance(told, bytes) else told


def _query_error(state: str, text: str) -> QueryError:
    """What SQLSTATE says of a query."""
    if state == "25006":
        return QueryError(f"a statement that writes ({text})", "one SELECT")
    if state in ("42P01", "3F000"):
        return QueryError(
            f"no such table ({text})", "one that is there, its name as the database stores it", missing=True
        )
    if state.startswith("22"):  # the values that it quotes may be a customer's
        text = without_values(text)
    return QueryError(text, "one SELECT that the database can answer, and columns that are there")


def _shown(text: str) -> str:
    """The first line of what the client said, without who asked."""
    line = text.strip().partition("\n")[0]
    for name in ("PGPASSWORD", "PGUSER"):
        if secret := os.environ.get(name):
            line = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", f"${name}", line)
    return line


def _plain_types(table: pa.Table) -> pa.Table:
    """The driver's own types as Arrow's usual ones, and those without a meaning marked."""
    fields, columns = [], []
    for field, column in zip(table.schema, table.columns, strict=True):
        name = (field.metadata or {}).get(b"POSTGRESQL:type", b"").decode()
        column = _plain_values(name, column)
        field = pa.field(field.name, column.type)
        extended = isinstance(column.type, pa.BaseExtensionType)
        bytes_or_list = pa.types.is_binary(column.type) or pa.types.is_nested(column.type)
        strange = (
            extended or bytes_or_list or pa.types.is_time(column.type) or pa.types.is_interval(column.type)
        )
        fields.append(no_meaning(field, _called(name)) if strange or name in _MONEY_OR_OID else field)
        columns.append(column)
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def _called(name: str) -> str:
    return f"{name[1:]}[]" if name.startswith("_") else name


def _plain_values(name: str, column: Any) -> Any:
    if not isinstance(column.type, pa.BaseExtensionType):
        return column
    stored = pa.chunked_array([each.storage for each in column.chunks], column.type.storage_type)
    if name == "numeric":
        return _numbers(stored)
    if name == "uuid":
        texts = [None if each is None else f"{each[:4].hex()}-{each[4:6].hex()}-{each[6:8].hex()}-{each[8:10].hex()}-"
                 f"{each[10:].hex()}" for each in stored.to_pylist()]  # fmt: skip
        return pa.chunked_array([pa.array(texts, pa.string())])
    return stored.cast(pa.string()) if name == "citext" else column


def _numbers(texts: Any) -> Any:
    """Numerics as decimals with all of their digits; as floats where one is not finite or longer than any decimal."""
    digits = pc.replace_substring_regex(texts, "^-", "")
    if pc.any(pc.match_substring_regex(digits, "^[a-zA-Z]")).as_py():
        return texts.cast(pa.float64())
    fraction = pc.utf8_length(pc.replace_substring_regex(digits, r"^\d*\.?", ""))
    scale = pc.max(fraction).as_py() or 0
    whole = pc.max(pc.utf8_length(pc.replace_substring_regex(digits, r"\..*$", ""))).as_py() or 1
    if whole + scale > _LONGEST_DECIMAL:
        return texts.cast(pa.float64())
    return texts.cast(pa.decimal128(whole + scale, scale))


_LONGEST_DECIMAL = 38

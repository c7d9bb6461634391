"""Where a table is, and how it is to be read where that should not be detected. Settings only."""

from __future__ import annotations

import re
from datetime import date, datetime
from importlib import import_module
from itertools import combinations
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, Discriminator, Field, Tag, field_validator, model_validator

from churn_assets.store.canonical import sha256_bytes

COMPARING = "\u2212\u2013\u2014\u2010\u2011<>\u2264\u2265\u00b1~\u2248\u00ac"
"""Signs that change what a number says, as a minus that is no hyphen, or `>`: no unit."""

_Text = Annotated[str, Field(min_length=1)]

DATABASES = {
    "postgresql": "churn_assets.tables.postgresql:PostgresqlServer",
    "duckdb": "churn_assets.tables.duckdb_file:DuckdbFile",
    "bigquery": "churn_assets.tables.bigquery:BigqueryProject",
}
"""Kinds of databases, each with the one class that knows it."""


def database_class(location: str) -> Any:
    """The class that knows the kind of database of a location; None where it is none's.

    Raises:
        ValueError: The location is not of the form that this kind has. It is not shown: it may hold a password.
    """
    kind, mark, _ = location.partition("://")
    if not mark or kind not in DATABASES:
        return None
    module, _, name = DATABASES[kind].partition(":")
    known = getattr(import_module(module), name)
    if known.form.fullmatch(location) is None:
        raise ValueError(
            f"found another form of location (not shown: it may hold a password), expected {known.expected}"
        )
    return known


_SIGNS = re.compile(r"%-?(.)")
_SOME_DAY = date(2005, 3, 4)


def day_of(text: str, written: str) -> date | None:
    """The day that a text says as it is `written`; None where it does not say one.

    >>> day_of("31.01.2025", "%d.%m.%Y"), day_of("31.01.2025", "%m.%d.%Y")
    (datetime.date(2025, 1, 31), None)
    """
    try:
        return datetime.strptime(text, written).date()  # noqa: DTZ007 - a day has no zone
    except ValueError:
        return None


class FileReading(BaseModel, frozen=True, extra="forbid"):
    """A `reading:` section; what is left out is detected, and what was detected is said.

    Attributes:
        separator: Between fields of a CSV.
        decimal: Of numbers written as text: `.` or `,`; the other one may group thousands.
        encoding: Of a CSV, as Python calls it: `cp1252`, `latin-1`. Left out, UTF-8 or what a byte order mark says.
        quote: Around fields of a CSV.
        blanks: Texts that are no value in any column, such as `?` or `-`.
        dates: How dates are written that are not ISO 8601, in Python's signs: `%d.%m.%Y`, `%m/%d/%y`, `%d-%b-%Y`; one
            or several, of which no text may mean two days.
        units: What may stand before or behind numbers, as `%`, `EUR` or `GB`: the number is taken as it is written,
            `12 %` as 12.
    """

    separator: Literal[",", ";", "\t", "|"] | None = None
    decimal: Literal[".", ","] | None = None
    encoding: _Text | None = None
    quote: Literal['"', "'"] | None = None
    blanks: tuple[str, ...] = ()
    dates: tuple[_Text, ...] = ()
    units: tuple[_Text, ...] = ()

    @field_validator("dates", mode="before")
    @classmethod
    def _one_or_several(cls, dates: Any) -> Any:
        if isinstance(dates, str):
            return (dates,)
        return tuple(dates) if isinstance(dates, list) else dates

    @field_validator("dates")
    @classmethod
    def _days_of_one_meaning(cls, dates: tuple[str, ...]) -> tuple[str, ...]:
        for written in dates:
            signs = _SIGNS.findall(written)
            if any(sum(sign in kind for sign in signs) != 1 for kind in ("d", "mbB", "yY")):
                raise ValueError(f"found {written!r}, expected day, month and year, each once, as %d.%m.%Y")
        for first, second in combinations(dates, 2):
            text = _SOME_DAY.strftime(first)
            if day_of(text, second) not in (None, _SOME_DAY):
                raise ValueError(
                    f"found {first!r} and {second!r}, by which {text} is two days; expected one of them"
                )
        return dates

    @field_validator("units")
    @classmethod
    def _no_part_of_a_number(cls, units: tuple[str, ...]) -> tuple[str, ...]:
        if wrong := [
            each
            for each in units
            if re.search(r"[\d+-]", each) or not each.strip(" .,'") or set(each) & set(COMPARING)
        ]:
            raise ValueError(f"found {wrong[0]!r}, expected what is no part of a number, as % or EUR")
        return tuple(each.strip() for each in units)

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, encoding: str | None) -> str | None:
        try:
            "a".encode(encoding or "utf-8")
        except (LookupError, UnicodeError):
            raise ValueError(
                f"found {encoding!r}, expected an encoding of text as Python calls it, such as cp1252"
            ) from None
        return encoding

    def fits(self, source: TablePlace | None) -> None:
        """Raises ValueError where it says something of a CSV and the source is none."""
        idle = [name for name in ("separator", "encoding", "quote") if getattr(self, name) is not None]
        if idle and isinstance(source, DatabaseTable):
            raise ValueError(f"reading.{idle[0]} has no meaning with a database; leave it out")
        if (
            idle
            and isinstance(source, str)
            and source.lower().removesuffix(".gz").endswith((".parquet", ".pq"))
        ):
            raise ValueError(f"reading.{idle[0]} has no meaning with a Parquet file; leave it out")


class DatabaseTable(BaseModel, frozen=True, extra="forbid"):
    """A table of a database, or what a query finds there.

    Attributes:
        database: `postgresql://host:port/database`, `duckdb://folder/file.duckdb` or `bigquery://project`. Who reads it
            is in the environment, and never here.
        table: `schema.table` or `table`, as the database stores the name.
        query: One SELECT, in place of `table`.
        watermark: Column whose largest value grows with every change; left out, every row is looked at to notice one.
    """

    database: _Text
    table: _Text | None = None
    query: _Text | None = None
    watermark: _Text | None = None

    def __str__(self) -> str:
        what = self.table or f"query {sha256_bytes((self.query or '').encode())[:12]}"
        return f"{self.database}: {what}"

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if database_class(self.database) is None:
            raise ValueError(
                "database: found another kind of location (not shown: it may hold a password), expected one that "
                f"begins with {', '.join(f'{kind}://' for kind in DATABASES)}"
            )
        if (self.table is None) == (self.query is None):
            raise ValueError("found both table and query, or neither; expected one of them")
        return self


_OTHER_FILES = re.compile(
    r"\.(xlsx?|xlsm|xlsb|ods|numbers|zip|7z|rar|jsonl?|dta|sav|sas7bdat|rds|feather|orc|avro)$"
)


def other_file(name: str) -> str | None:
    """What to do with a file that is of another kind than tables are read from; None where it may be one.

    >>> other_file("June.XLSX")
    'a .xlsx file, expected a CSV or Parquet file: save the sheet as "CSV UTF-8"'
    """
    found = _OTHER_FILES.search(name.lower())
    if found is None:
        return None
    remedy = "export it as one of them"
    if found[1].startswith("xls") or found[1] in ("ods", "numbers"):
        remedy = 'save the sheet as "CSV UTF-8"'
    elif found[1] in ("zip", "7z", "rar"):
        remedy = "unpack it, or pack the one file by gzip"
    return f"a {found[0]} file, expected a CSV or Parquet file: {remedy}"


def _readable(source: str) -> str:
    if (other := other_file(source)) is not None:
        raise ValueError(f"found {other}")
    if source.partition("://")[0] in (*DATABASES, "postgres"):
        raise ValueError(
            "found the location of a database alone (not shown: it may hold a password), expected a section: "
            "`{database: postgresql://host:port/database, table: schema.table}`"
        )
    return source


def _branch(value: Any) -> str:
    return "file" if isinstance(value, str) else "database"


TablePlace = Annotated[
    Annotated[str, Field(min_length=1), AfterValidator(_readable), Tag("file")]
    | Annotated[DatabaseTable, Tag("database")],
    Discriminator(_branch),
]
"""A path, relative to the project, or `gs://bucket/name`; or a table of a database."""

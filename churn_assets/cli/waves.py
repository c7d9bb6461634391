"""Results that go to a table of a database, wave by wave, and customers that come from one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from churn_assets.cli.errors import UsageProblemError

if TYPE_CHECKING:
    import pandas as pd

    from churn_assets.tables.config import TablePlace

_WAVE = re.compile(r"[\w.:-]{1,64}")

ToOption = Annotated[
    str | None,
    typer.Option("--to", help="Write to a database as well: its location, with --to-table and --wave."),
]
ToTableOption = Annotated[
    str | None, typer.Option("--to-table", help="Table there, as schema.table; made where there is none.")
]
WaveOption = Annotated[
    str | None, typer.Option("--wave", help="Name of the wave; a wave is written once, whole or not at all.")
]


@dataclass(frozen=True)
class WaveTable:
    """Where the rows of one wave go.

    Attributes:
        location: Of the database.
        table: In it.
        wave: Name that every row gets.
    """

    location: str
    table: str
    wave: str

    def __str__(self) -> str:
        return f"{self.location}: {self.table}, wave {self.wave}"

    def write(self, frame: pd.DataFrame) -> None:
        """Writes all rows, or none.

        Raises:
            QueryError: The wave is there already, or the table has other columns.
            StoreError: The database refuses or does not answer.
        """
        import pandas as pd
        import pyarrow as pa

        from churn_assets.tables.database import write_wave

        times = {name: pd.to_datetime(frame[name], utc=True) for name in frame if str(name).endswith("_at")}
        rows = pa.Table.from_pandas(frame.assign(**times), preserve_index=False)
        usual = [each.with_type(_column_type(each.type)) for each in rows.schema]
        write_wave(self.location, self.table, self.wave, rows.cast(pa.schema(usual)), Path())


def _column_type(kind: object) -> object:
    """The same whatever the rows of a wave hold, as the next wave goes to the same columns."""
    import pyarrow as pa

    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", "UTC")
    return pa.string() if pa.types.is_null(kind) else kind


def wave_table(to: str | None, table: str | None, wave: str | None) -> WaveTable | None:
    """Where `--to`, `--to-table` and `--wave` say; None where they are left out.

    Raises:
        UsageProblemError: One of them is missing, or is none.
    """
    from churn_assets.tables.config import DATABASES, database_class

    if to is None and table is None and wave is None:
        return None
    if to is None or not table or wave is None:
        raise UsageProblemError("found one or two of --to, --to-table and --wave, expected all of them")
    if _WAVE.fullmatch(wave) is None:
        raise UsageProblemError(
            f"--wave: found {wave!r}, expected 1 to 64 letters, digits, '.', '_', ':' or '-'"
        )
    try:
        known = database_class(to)
    except ValueError as error:
        raise UsageProblemError(f"--to: {error}") from error
    if known is None:
        kinds = ", ".join(f"{kind}://" for kind in DATABASES)
        raise UsageProblemError(
            f"--to: found no location of a database, expected one that begins with {kinds}"
        )
    return WaveTable(to, table, wave)


def customers_source(file: str, table: str | None, query: str | None) -> TablePlace:
    """What a command reads: a file, or a table or query of a database.

    Raises:
        UsageProblemError: It is neither.
    """
    from pydantic import ValidationError

    from churn_assets.tables.config import DATABASES, DatabaseTable

    if file.partition("://")[0] not in DATABASES:
        if table is not None or query is not None:
            raise UsageProblemError(
                "found --table or --query with a file; they are for a database's location"
            )
        return file
    try:
        return DatabaseTable(database=file, table=table, query=query)
    except ValidationError as error:
        told = error.errors(include_url=False, include_input=False)[0]["msg"].removeprefix("Value error, ")
        raise UsageProblemError(told.replace("table and query", "--table and --query")) from None

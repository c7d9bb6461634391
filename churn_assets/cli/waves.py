"""Results that go to a table of a database, wave by wave, and customers that come from one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from churn_assets.cli.errors import UsageProblemError

if TYPE_CHECKING:
    from churn_assets.tables.config import TablePlace
    from churn_assets.tables.wave_table import WaveTable

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


def wave_table(to: str | None, table: str | None, wave: str | None) -> WaveTable | None:
    """Where `--to`, `--to-table` and `--wave` say; None where they are left out.

    Raises:
        UsageProblemError: One of them is missing, or is none.
    """
    from churn_assets.batch.config import WAVE_NAME
    from churn_assets.tables.config import DATABASES, database_class

    if to is None and table is None and wave is None:
        return None
    if to is None or not table or wave is None:
        raise UsageProblemError("found one or two of --to, --to-table and --wave, expected all of them")
    if WAVE_NAME.fullmatch(wave) is None:
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
    from churn_assets.tables.wave_table import WaveTable

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

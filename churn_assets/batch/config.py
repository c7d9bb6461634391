"""The section `customer_decisions` of an experiment, and when a wave is due. Settings and one pure rule."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, model_validator

from churn_assets.tables.config import DatabaseTable, TablePlace

WAVE_NAME = re.compile(r"[\w.:-]{1,64}")
Every = Literal["day", "week", "month"]

_SUFFIXES = (".parquet", ".csv")
_PLACES = ("{experiment}", "{wave}")


class WaveDestination(BaseModel, frozen=True, extra="forbid"):
    """A table of a database that waves are written to as well, each once.

    Attributes:
        database: As of a table that is read: `postgresql://`, `duckdb://` or `bigquery://`; who writes is in the
            environment.
        table: `schema.table`; made where there is none.
    """

    database: Annotated[str, Field(min_length=1)]
    table: Annotated[str, Field(min_length=1)]

    @model_validator(mode="after")
    def _a_database(self) -> Self:
        DatabaseTable(database=self.database, table=self.table)
        return self


class CustomerDecisionsConfig(BaseModel, frozen=True, extra="forbid"):
    """The asset `customer_decisions`: a wave of customers decided for with the release that leads.

    Attributes:
        source: The customers, columns as in training; left out, `customers.source`.
        to: Where the decisions of a wave go, relative to the project: `.parquet` or `.csv`; `{wave}` and `{experiment}`
            stand for their names.
        table: Where they go beside that.
        propensities: Whether the probability of every arm is written, not of the one decided alone.
        messages: Whether a message is written to everybody who is made an offer.
        every: How often a wave is decided by itself, named by its day, week or month (UTC), once a release leads and
            the sensor `waves` is on; left out, only when somebody asks for one.
    """

    source: TablePlace | None = None
    to: str = ".churn/waves/{experiment}/{wave}.parquet"
    table: WaveDestination | None = None
    propensities: bool = True
    messages: bool = False
    every: Every | None = None

    @model_validator(mode="after")
    def _a_file_of_each_wave(self) -> Self:
        rest = self.to
        for place in _PLACES:
            rest = rest.replace(place, "")
        if "{wave}" not in self.to or not self.to.endswith(_SUFFIXES) or "{" in rest or "://" in self.to:
            raise ValueError(
                f"to: found {self.to!r}, expected a path with {{wave}} in it that ends with {' or '.join(_SUFFIXES)}"
            )
        return self

    def file(self, root: Path, experiment: str, wave: str) -> Path:
        """Where the decisions of a wave go."""
        return root / self.to.replace("{experiment}", experiment).replace("{wave}", wave)


def wave_due(every: Every, now: datetime) -> str:
    """The name of the wave that is due.

    Args:
        every: How often.
        now: Aware time, in UTC.

    >>> from datetime import UTC
    >>> [wave_due(every, datetime(2026, 11, 22, 9, tzinfo=UTC)) for every in ("day", "week", "month")]
    ['2026-11-22', '2026-W47', '2026-11']
    """
    if every == "week":
        year, week, _ = now.isocalendar()
        return f"{year}-W{week:02d}"
    return f"{now:%Y-%m-%d}" if every == "day" else f"{now:%Y-%m}"

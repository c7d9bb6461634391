"""What a page of a report is made of: figures and texts that know where they are stored, tables, plots, sections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor, inf, log10, nan
from typing import Any, Literal

from churn_assets.gates.plots import Plot, render_svg
from churn_assets.release.report.facts import Rows

AmountUnit = Literal["money", "+money", "share", "count", "number", "days", "months", "+months"]


LONGEST = 7
"""Rows of a table that is shown unasked."""
LEAST_MONEY = 1e-6
"""What is less is told as none."""
SLIM = 2
"""Columns that a phone has room for."""


def money_text(value: float, sign: str = "", whole_from: float = inf) -> str:
    """Money without its currency: to the cent, what is less than ten cents by its first two digits.

    Args:
        value: Money.
        sign: `+` to show the sign of what is above 0, too.
        whole_from: From here on without cents.

    >>> money_text(1234.5, "+"), money_text(0.0648), money_text(-0.00012), money_text(1234.5, whole_from=1000)
    ('+1,234.50', '0.065', '-0.00012', '1,234')
    """
    size = abs(value)
    digits = 0 if size >= whole_from else 2 if size >= 0.1 or size < LEAST_MONEY else 1 - floor(log10(size))
    return f"{value:{sign},.{digits}f}"


@dataclass(frozen=True)
class Amount:
    """A figure as it is shown, with where it is stored.

    Attributes:
        value: The stored figure; None where it was not measured.
        unit: What it counts.
        source: `asset/check/table/row/column`, `asset/check/gate/name/figure`, `asset/metric/name`,
            `tables/name/row/column`, or `=` and how it follows from such.
    """

    value: float | None
    unit: AmountUnit
    source: str

    def shown(self, currency: str) -> str:
        """As text, with its unit."""
        if self.value is None:
            return "–"
        if self.unit.endswith("money"):
            return f"{currency} {money_text(self.value, self.unit.removesuffix('money'), whole_from=1000)}"
        if self.unit == "share":
            return f"{self.value:.1%}"
        if self.unit == "days":
            return f"{self.value:,.1f} days"
        if self.unit.endswith("months"):
            return f"{self.value:{self.unit.removesuffix('months')}.3f} months"
        whole = float(self.value).is_integer() and (self.unit == "count" or abs(self.value) >= 1000)
        if whole or abs(self.value) >= 10_000:
            return f"{self.value:,.0f}"
        return f"{self.value:,.1f}" if self.unit == "count" else f"{self.value:.4g}"


@dataclass(frozen=True)
class ToldText:
    """A stored text as it is shown, with where it is stored."""

    text: str
    source: str


@dataclass(frozen=True)
class IntervalFigure:
    """A named figure with the ends of its interval.

    Attributes:
        name: What it says.
        amount: For a customer, a decision or a release.
        low: Lower end of its 95 % interval; None where none is stored.
        high: Upper end.
        about: What it is of, as a sentence.
        totals: For all customers: the figure, or the figure and both ends.
    """

    name: str
    amount: Amount
    low: Amount | None = None
    high: Amount | None = None
    about: str = ""
    totals: Sequence[Amount] = ()

    @property
    def ends(self) -> tuple[float, float | None, float | None]:
        """The figure and its interval as numbers; NaN where it was not measured."""
        low, high = (None if each is None else each.value for each in (self.low, self.high))
        return nan if self.amount.value is None else self.amount.value, low, high


@dataclass(frozen=True)
class PageTable:
    """A table of a section.

    Attributes:
        caption: What it tells, with unit and horizon.
        heads: Headings.
        rows: Cells.
    """

    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[Amount | ToldText]]

    @property
    def slim(self) -> bool:
        """Of two columns: it stays a table on a phone."""
        return len(self.heads) == SLIM

    @property
    def folded(self) -> bool:
        """Shown on demand, as it is long."""
        return len(self.rows) > LONGEST


@dataclass(frozen=True)
class Picture:
    """A plot of a section.

    Attributes:
        title: What it shows.
        uri: The picture.
    """

    title: str
    uri: str


@dataclass(frozen=True)
class PageSection:
    """A section of the page.

    Attributes:
        anchor: Where links lead.
        title: Heading.
        lead: What its figures are of.
        blocks: Tables and plots.
        missing: What is not stored, and what to do; empty where all is.
    """

    anchor: str
    title: str
    lead: str
    blocks: Sequence[PageTable | Picture]
    missing: str = ""

    @property
    def pictures(self) -> list[Picture]:
        """Its plots."""
        return [each for each in self.blocks if isinstance(each, Picture)]

    @property
    def grids(self) -> list[PageTable]:
        """Its tables."""
        return [each for each in self.blocks if isinstance(each, PageTable)]


Placed = Sequence[tuple[int, Mapping[str, Any]]]
"""Rows of a stored table with their places in it."""


def placed(rows: Rows) -> Placed:
    """All rows of a table."""
    return list(enumerate(rows))


def grid_of(caption: str, source: str, rows: Placed, columns: str) -> list[PageTable]:
    """Rows of a stored table; nothing where there are none.

    Args:
        caption: What it tells.
        source: Where the table is stored.
        rows: Of it.
        columns: `column:unit=heading` with `|` between; a column without a unit is a text, one that no row has is left
            out, and a heading that is the column's name need not be said.
    """
    asked = [_column(each) for each in columns.split("|")]
    kept = [each for each in asked if any(each[0] in row for _, row in rows)]
    cells = [
        [cell_of(row.get(key), unit, f"{source}/{place}/{key}") for key, unit, _ in kept]
        for place, row in rows
    ]
    return [PageTable(caption, [head for *_, head in kept], cells)] if cells else []


def _column(text: str) -> tuple[str, Any, str]:
    """Column, unit and heading."""
    key, _, head = text.strip().partition("=")
    if key.startswith("offer:"):
        return key, "share", head
    key, _, unit = key.partition(":")
    return key, unit or None, head or key


def texts(*each: str) -> list[Amount | ToldText]:
    """Cells of texts that are stored in no table."""
    return [ToldText(one, "=") for one in each]


def cell_of(value: Any, unit: AmountUnit | None, source: str) -> Amount | ToldText:
    """A stored value as a cell."""
    if unit is None:
        return ToldText("–" if value is None else str(value), source)
    return Amount(value, unit, source)


def picture_of(plot: Plot, rows: Rows) -> list[Picture]:
    """A plot of rows; nothing where there are none."""
    return [Picture(plot.title, render_svg(plot, rows))] if rows else []

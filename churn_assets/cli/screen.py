"""How commands show what they found: tables, figures, JSON. Decides nothing."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console
from rich.table import Table

from churn_assets.cli.shown import Screen, complaints, styled

# A log or a pipe gets whole lines.
out = Screen(width=None if Console().is_terminal else 200)

_NUMBERS = ("figure", "threshold", "a", "b", "size")


def table(rows: list[dict[str, Any]], title: str = "") -> Table:
    """Rows of equal keys; what failed is red."""
    shown = Table(
        title=styled("", title) if title else None,
        title_justify="left",
        header_style="bold",
        box=None,
        pad_edge=False,
    )
    for name in rows[0] if rows else ():
        heading = styled("", name)
        shown.add_column(heading, overflow="fold", justify="right" if name in _NUMBERS else "left")
    for row in rows:
        style = "red" if row.get("verdict") == "FAILED" else None
        shown.add_row(*(styled("", "" if value is None else value) for value in row.values()), style=style)
    return shown


def figure(value: Any) -> str:
    """A figure in five digits; other values as they are."""
    if value is None:
        return "–"
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def size(count: float | None) -> str:
    """Bytes, in a unit that people read."""
    if count is None:
        return "–"
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count = count / 1000
    return f"{count:.3g} GB"


def watched() -> bool:
    """Whether somebody looks at the screen while a command works; a pipe or a log gets no progress."""
    return Console(stderr=True).is_terminal


def note(text: str) -> None:
    """A line for people, beside the output that another program may read."""
    complaints().print(text, style="dim")


def print_json(value: Any) -> None:
    """One JSON document on stdout, in ASCII: what stands in it can be shown anywhere."""
    out.print_json(json.dumps(value, allow_nan=False), ensure_ascii=True)

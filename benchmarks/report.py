"""What every benchmark prints and writes: a table of figures against their bars, and flat JSON."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Figure:
    """One measured figure.

    Attributes:
        key: Its name in the JSON.
        value: What was measured; None where it does not apply.
        bound: How it must compare with `bar`; None where the figure is only reported.
        bar: What it is held to.
        note: One line for the reader.
    """

    key: str
    value: float | None
    bound: Literal[">=", "<="] | None = None
    bar: float | None = None
    note: str = ""

    @property
    def kept(self) -> bool:
        """Whether the bar is kept; a figure without a bar keeps it, one without a value does not."""
        if self.bound is None or self.bar is None:
            return True
        if self.value is None:
            return False
        return self.value >= self.bar if self.bound == ">=" else self.value <= self.bar


def main(description: str | None, measure: Callable[[], Sequence[Figure]]) -> None:
    """Measures, prints the table, writes the JSON if asked to; exit status 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures as one flat JSON object")
    arguments = parser.parse_args()
    figures = measure()
    show(figures)
    if arguments.json:
        flat = {figure.key: figure.value for figure in figures}
        arguments.json.write_text(json.dumps(flat, indent=2) + "\n", encoding="utf-8")
    sys.exit(0 if all(figure.kept for figure in figures) else 1)


def show(figures: Sequence[Figure]) -> None:
    """Prints the table."""
    from rich.console import Console
    from rich.table import Table

    table = Table("figure", "measured", "bar", "", "note")
    for figure in figures:
        bar = f"{figure.bound} {figure.bar:g}" if figure.bound else ""
        verdict = "" if not figure.bound else "[green]kept[/]" if figure.kept else "[red]missed[/]"
        measured = "–" if figure.value is None else f"{figure.value:.6g}"
        table.add_row(figure.key, measured, bar, verdict, figure.note)
    Console().print(table)


if __name__ == "__main__":  # by this name, too, a report is measured
    from benchmarks import release_report

    main(release_report.__doc__, release_report.measure)

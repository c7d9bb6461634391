"""How a table is drawn: one declaration, used by the checks' metadata and by the release report alike."""

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Literal

# Okabe & Ito's colour-blind safe palette.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


@dataclass(frozen=True)
class Plot:
    """A figure drawn from one table.

    Attributes:
        table: Name of the table.
        kind: `line` and `points` need a numeric x column, `bar` takes any.
        x: Column of the x axis.
        y: Columns that are drawn, one series each.
        title: Heading.
        x_label: Label of the x axis; the column's name where empty.
        y_label: Label of the y axis.
        by: Column that splits the rows into one series for each of its values (with a single y).
        diagonal: Draw y = x for reference (ROC, calibration).
    """

    table: str
    kind: Literal["line", "points", "bar"]
    x: str
    y: tuple[str, ...]
    title: str
    x_label: str = ""
    y_label: str = ""
    by: str | None = None
    diagonal: bool = False


def render_png(plot: Plot, rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Draw the rows of a plot's table as a PNG of about 560 × 336 pixels. What was just drawn is not drawn again."""
    return _drawn(plot, json.dumps([dict(row) for row in rows], default=lambda number: number.item()))


@functools.lru_cache(maxsize=64)
def _drawn(plot: Plot, table: str) -> bytes:
    rows: list[dict[str, Any]] = json.loads(table)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 4.2), dpi=80)
    # Fixed margins: matplotlib's layout engines draw everything twice, and a run draws thirty plots.
    figure.subplots_adjust(left=0.11, right=0.97, top=0.91, bottom=0.15)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    series = _series(plot, rows)
    for number, (label, xs, ys) in enumerate(series):
        colour = COLOURS[number % len(COLOURS)]
        if plot.kind == "bar":
            width = 0.8 / len(series)
            places = [position + (number - (len(series) - 1) / 2) * width for position in range(len(xs))]
            axes.bar(places, ys, width=width, label=label, color=colour)
            axes.set_xticks(range(len(xs)), [str(x) for x in xs], **_labels(len(xs)))
        else:
            marker = "o" if plot.kind == "points" or len(xs) <= 15 else ""
            line = "" if plot.kind == "points" else "-"
            axes.plot(xs, ys, marker=marker, markersize=4, linestyle=line, label=label, color=colour)
    if plot.diagonal:
        axes.axline((0, 0), slope=1, color="#999999", linewidth=1, linestyle="--")
    axes.set_title(plot.title)
    axes.set_xlabel(plot.x_label or plot.x)
    axes.set_ylabel(plot.y_label or (plot.y[0] if len(plot.y) == 1 else ""))
    axes.set_axisbelow(True)
    axes.grid(visible=True, alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if len(series) > 1:
        axes.legend(frameon=False, fontsize="small")
    buffer = BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _labels(count: int) -> dict[str, Any]:
    return {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if count > 6 else {}


def _series(plot: Plot, rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[Any], list[float]]]:
    """(label, xs, ys) a series; a figure that was not measured (None) leaves a gap."""

    def values(column: str, of: Sequence[Mapping[str, Any]]) -> list[float]:
        return [float("nan") if row[column] is None else row[column] for row in of]

    if plot.by is not None:
        groups = dict.fromkeys(row[plot.by] for row in rows)
        chosen = {group: [row for row in rows if row[plot.by] == group] for group in groups}
        (column,) = plot.y
        return [(str(group), [row[plot.x] for row in of], values(column, of)) for group, of in chosen.items()]
    return [(column, [row[plot.x] for row in rows], values(column, rows)) for column in plot.y]

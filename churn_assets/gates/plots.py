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
        kind: `line` and `points` need a numeric x column; `bar` takes any, and lies on its side so that names fit.
        x: Column of the x axis.
        y: Columns that are drawn, one series each.
        title: Heading.
        x_label: Label of the x axis; the column's name where empty.
        y_label: Label of the y axis.
        by: Column that splits the rows into one series for each of its values (with a single y).
        diagonal: Draw y = x for reference (ROC, calibration).
        band: Columns of the lower and upper end of an interval, drawn as a shade.
        lowest: Bars below this are cut there; their label still says how low they are.
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
    band: tuple[str, str] | None = None
    lowest: float | None = None


def render_png(plot: Plot, rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Draw the rows of a plot's table as a PNG of about 560 × 336 pixels. What was just drawn is not drawn again."""
    return _drawn(
        plot, json.dumps([dict(row) for row in rows], default=lambda number: number.item(), sort_keys=True)
    )


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
    if plot.kind == "bar":
        _bars(figure, axes, plot, series)
    else:
        _curves(axes, plot, series, rows)
    axes.set_title(plot.title)
    axes.set_axisbelow(True)
    axes.grid(visible=True, alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if len(series) > 1:
        axes.legend(frameon=False, fontsize="small")
    buffer = BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _bars(figure: Any, axes: Any, plot: Plot, series: Sequence[tuple[str, list[Any], list[float]]]) -> None:
    names = [str(x) for x in series[0][1]]
    thickness = 0.8 / len(series)
    for number, (label, _, ys) in enumerate(series):
        places = [place + (number - (len(series) - 1) / 2) * thickness for place in range(len(names))]
        shown = ys if plot.lowest is None else [max(y, plot.lowest) for y in ys]
        colour = COLOURS[number % len(COLOURS)]
        bars = axes.barh(places, shown, height=thickness, label=label, color=colour)
        if len(series) == 1:
            axes.bar_label(bars, [f"{y:.3g}" for y in ys], padding=3, fontsize="small")
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.margins(x=0.14)
    axes.axvline(0, color="#666666", linewidth=0.8)
    axes.set_xlabel(plot.y_label or (plot.y[0] if len(plot.y) == 1 else ""))
    figure.subplots_adjust(left=min(0.06 + 0.0135 * max(len(name) for name in names), 0.45))


def _curves(
    axes: Any,
    plot: Plot,
    series: Sequence[tuple[str, list[Any], list[float]]],
    rows: Sequence[Mapping[str, Any]],
) -> None:
    for number, (label, xs, ys) in enumerate(series):
        marker = "o" if plot.kind == "points" or len(xs) <= 15 else ""
        line = "" if plot.kind == "points" else "-"
        colour = COLOURS[number % len(COLOURS)]
        axes.plot(xs, ys, marker=marker, markersize=4, linestyle=line, label=label, color=colour)
    if plot.band is not None:
        ends = [_numbers(column, rows) for column in plot.band]
        axes.fill_between(series[0][1], *ends, color=COLOURS[5], alpha=0.25, linewidth=0)
    if plot.diagonal:
        axes.axline((0, 0), slope=1, color="#999999", linewidth=1, linestyle="--")
    low, high = axes.get_ylim()
    if low < 0 < high:
        axes.axhline(0, color="#666666", linewidth=0.8)
    axes.set_xlabel(plot.x_label or plot.x)
    axes.set_ylabel(plot.y_label or (plot.y[0] if len(plot.y) == 1 else ""))


def _series(plot: Plot, rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[Any], list[float]]]:
    """(label, xs, ys) a series; a figure that was not measured (None) leaves a gap."""
    if plot.by is not None:
        groups = dict.fromkeys(row[plot.by] for row in rows)
        chosen = {group: [row for row in rows if row[plot.by] == group] for group in groups}
        (column,) = plot.y
        return [
            (str(group), [row[plot.x] for row in of], _numbers(column, of)) for group, of in chosen.items()
        ]
    return [(column, [row[plot.x] for row in rows], _numbers(column, rows)) for column in plot.y]


def _numbers(column: str, rows: Sequence[Mapping[str, Any]]) -> list[float]:
    return [float("nan") if row[column] is None else float(row[column]) for row in rows]

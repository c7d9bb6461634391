"""How a table is drawn: one declaration, used by the checks' metadata and by the release report alike."""

import base64
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
        kind: `line` and `points` need a numeric x column; `bar` takes any, and lies on its side so that names fit;
            `interval` too, and shows the first y with its `band` as a whisker, against zero, the others as diamonds.
        x: Column of the x axis.
        y: Columns that are drawn, one series each.
        title: Heading.
        x_label: Label of the x axis; the column's name where empty.
        y_label: Label of the y axis.
        by: Column that splits the rows into one series for each of its values (with a single y).
        diagonal: Draw y = x for reference (ROC, calibration).
        band: Columns of the lower and upper end of an interval, drawn as a shade.
        lowest: Bars below this are cut there; their label still says how low they are.
        where_there: Those of `y` that some tables do not have.
    """

    table: str
    kind: Literal["line", "points", "bar", "interval"]
    x: str
    y: tuple[str, ...]
    title: str
    x_label: str = ""
    y_label: str = ""
    by: str | None = None
    diagonal: bool = False
    band: tuple[str, str] | None = None
    lowest: float | None = None
    where_there: tuple[str, ...] = ()


def render_png(plot: Plot, rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Draw the rows of a plot's table as a PNG of about 560 × 336 pixels. What was just drawn is not drawn again."""
    return _drawn(plot, _as_text(rows), "png")


def render_svg(plot: Plot, rows: Sequence[Mapping[str, Any]]) -> str:
    """Draw the rows of a plot's table as an SVG in a `data:` URI, which follows the reader's light or dark colours.

    The same rows give the same text, as a report is part of what is stored.
    """
    head, _, body = _drawn(plot, _as_text(rows), "svg").decode().partition("<defs>")
    style = f'<style type="text/css">{_DARK}</style>'
    return "data:image/svg+xml;base64," + base64.b64encode(f"{head}{style}<defs>{body}".encode()).decode()


_FIXED: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "churn",
    "font.family": "sans-serif",
    "text.parse_math": False,
}
_DARK = (
    "text{font-family:system-ui,sans-serif!important}@media (prefers-color-scheme:dark){text{fill:#e6edf3}"
    "[style*='#000000']{stroke:#9da7b3!important}[style*='#0072b2']{stroke:#58a6ff!important}"
    "path[style*='fill: #0072b2']{fill:#58a6ff!important}}"
)
_SIZES = {"png": (7.0, 4.2), "svg": (5.2, 3.1)}
"""Inches: a picture in a report is read on a phone, too."""
LONGEST_NAME = 34
"""Letters of a name beside a bar or an interval."""
MOST_TICKS = 5
"""Intervals of an axis of figures beside names, which take half of the picture."""


def _as_text(rows: Sequence[Mapping[str, Any]]) -> str:
    return json.dumps([dict(row) for row in rows], default=lambda number: number.item(), sort_keys=True)


@functools.lru_cache(maxsize=64)
def _drawn(plot: Plot, table: str, form: str) -> bytes:
    rows: list[dict[str, Any]] = json.loads(table)
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_FIXED):
        wide, high = _SIZES[form]
        if plot.kind == "interval":
            high = (1.1 if len(plot.y) == 1 else 1.32) + 0.34 * len(rows)
        elif plot.kind == "bar":
            high = max(high, 1.1 + 0.26 * len(rows))  # no name touches the next
        figure = Figure(figsize=(wide, high), dpi=80, facecolor="white" if form == "png" else "none")
        series = _series(plot, rows)
        # Beside estimates a legend has no free corner, so it stands above them.
        top = 0.38 + (0.22 if plot.kind == "interval" and len(series) > 1 else 0.0)
        # Fixed margins: matplotlib's layout engines draw everything twice, and a run draws thirty plots.
        figure.subplots_adjust(left=0.8 / wide, right=0.97, top=1 - top / high, bottom=0.62 / high)
        axes = figure.add_subplot(facecolor="none")
        if plot.kind == "bar":
            _bars(figure, axes, plot, series)
        elif plot.kind == "interval":
            _intervals(figure, axes, plot, series, rows)
        else:
            _curves(axes, plot, series, rows)
        figure.suptitle(plot.title, fontsize="medium", x=0.5, y=1 - 0.1 / high, va="top")
        axes.set_axisbelow(True)
        axes.grid(visible=True, alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        if len(series) > 1:
            above: dict[str, Any] = {
                "loc": "lower left",
                "bbox_to_anchor": (0, 1),
                "ncols": len(series),
                "borderpad": 0.0,
            }
            axes.legend(frameon=False, fontsize="small", **(above if plot.kind == "interval" else {}))
        buffer = BytesIO()
        unsaid = {"Software": None} if form == "png" else {"Date": None, "Creator": None}
        figure.savefig(buffer, format=form, metadata=unsaid)
    return buffer.getvalue()


def _intervals(
    figure: Any,
    axes: Any,
    plot: Plot,
    series: Sequence[tuple[str, list[Any], list[float]]],
    rows: Sequence[Mapping[str, Any]],
) -> None:
    """A dot for each row with a whisker over its band, and a diamond for each other figure."""
    (label, xs, ys), *others = series
    low, high = (_numbers(column, rows) for column in plot.band or (plot.y[0], plot.y[0]))
    places = list(range(len(xs)))
    axes.hlines(places, low, high, color=COLOURS[0], linewidth=2)
    axes.plot(ys, places, "o", color=COLOURS[0], markersize=6, label=label)
    for number, (name, _, told) in enumerate(others, start=1):
        axes.plot(told, places, "D", color=COLOURS[number % len(COLOURS)], markersize=5, label=name)
    names = [_fitting(x) for x in xs]
    axes.set_yticks(places, names)
    axes.set_ylim(len(xs) - 0.4, -0.6)
    axes.axvline(0, color="#000000", linewidth=1)
    axes.set_xlabel(plot.y_label or plot.y[0])
    axes.locator_params(axis="x", nbins=MOST_TICKS)
    figure.subplots_adjust(left=_beside(names))


def _beside(names: Sequence[str]) -> float:
    """Where the axes begin, as a share of the width, for the names to stand left of them."""
    return 0.05 + 0.0146 * max(map(len, names), default=0)


def _fitting(name: object) -> str:
    """A name as it fits beside a plot: a long one without its middle."""
    text = str(name)
    return (
        text
        if len(text) <= LONGEST_NAME
        else f"{text[: LONGEST_NAME // 2]}…{text[-(LONGEST_NAME // 2 - 1) :]}"
    )


def _bars(figure: Any, axes: Any, plot: Plot, series: Sequence[tuple[str, list[Any], list[float]]]) -> None:
    names = [_fitting(x) for x in series[0][1]]
    thickness = 0.8 / len(series)
    for number, (label, _, ys) in enumerate(series):
        places = [place + (number - (len(series) - 1) / 2) * thickness for place in range(len(names))]
        shown = ys if plot.lowest is None else [max(y, plot.lowest) for y in ys]
        colour = COLOURS[number % len(COLOURS)]
        bars = axes.barh(places, shown, height=thickness, label=label, color=colour)
        if len(series) == 1:
            axes.bar_label(
                bars, [f"{y:,.0f}" if abs(y) >= 1000 else f"{y:.3g}" for y in ys], padding=3, fontsize="small"
            )
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    below = any(y < 0 for _, _, ys in series for y in ys)
    axes.margins(x=0.24 if below else 0.14)  # room for a label left of its bar
    axes.axvline(0, color="#666666", linewidth=0.8)
    axes.set_xlabel(plot.y_label or (plot.y[0] if len(plot.y) == 1 else ""))
    axes.locator_params(axis="x", nbins=MOST_TICKS)
    figure.subplots_adjust(left=_beside(names))


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
    drawn = [
        column for column in plot.y if column not in plot.where_there or any(column in row for row in rows)
    ]
    return [
        (column.replace("_", " "), [row[plot.x] for row in rows], _numbers(column, rows)) for column in drawn
    ]


def _numbers(column: str, rows: Sequence[Mapping[str, Any]]) -> list[float]:
    return [float("nan") if row[column] is None else float(row[column]) for row in rows]

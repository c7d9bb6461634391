"""Lines with their intervals as numbers for an SVG of a template: scales and paths. Draws nothing itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 560, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 12, 12, 30
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_TICKS = 4


@dataclass(frozen=True)
class PlotPoint:
    """One point of a line.

    Attributes:
        label: Under the axis.
        value: Its height.
        low: Lower end of its interval; None for none.
        high: Upper end.
    """

    label: str
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class LinePlot:
    """A line ready to be drawn, in pixels of a picture of `WIDTH` by `HEIGHT`.

    Attributes:
        title: What it shows.
        line: Path of the line.
        band: Path of the intervals' area; empty for none.
        dots: (x, y) of each point.
        whiskers: (x, top, bottom) of each interval.
        ticks: (y, text) of the marks on the left.
        labels: (x, text, anchor) under the axis.
        zero: Height of zero; None where it is not in the picture.
        points: What is drawn, for the table beside it.
        unit: Of the values.
    """

    title: str
    line: str
    band: str
    dots: Sequence[tuple[float, float]]
    whiskers: Sequence[tuple[float, float, float]]
    ticks: Sequence[tuple[float, str]]
    labels: Sequence[tuple[float, str, str]]
    zero: float | None
    points: Sequence[PlotPoint]
    unit: str


def line_plot(title: str, points: Sequence[PlotPoint], unit: str = "") -> LinePlot:
    """A line through points, one beside the other.

    Args:
        title: What it shows.
        points: At least one, all finite.
        unit: Of the values.
    """
    ends = [each for point in points for each in (point.value, point.low, point.high) if each is not None]
    marks = _marks(min(ends), max(ends))
    low, high = marks[0], marks[-1]

    def y(value: float) -> float:
        return round(_TOP + (high - value) / (high - low) * (HEIGHT - _TOP - _BOTTOM), 1)

    span = WIDTH - _LEFT - _RIGHT
    xs = [round(_LEFT + span * (place + 0.5) / len(points), 1) for place in range(len(points))]
    whole = [
        (x, y(p.high), y(p.low))
        for x, p in zip(xs, points, strict=True)
        if p.low is not None and p.high is not None
    ]
    return LinePlot(
        title=title,
        line=_path([(x, y(p.value)) for x, p in zip(xs, points, strict=True)]),
        band=f"{_path([(x, top) for x, top, _ in whole])} "
        f"{_path([(x, bottom) for x, _, bottom in reversed(whole)]).replace('M', 'L', 1)} Z"
        if len(whole) > 1
        else "",
        dots=[(x, y(p.value)) for x, p in zip(xs, points, strict=True)],
        whiskers=whole,
        ticks=[(y(mark), f"{mark:g}") for mark in marks],
        labels=_labels(xs, [point.label for point in points]),
        zero=y(0.0) if low <= 0 <= high else None,
        points=points,
        unit=unit,
    )


def _labels(xs: Sequence[float], texts: Sequence[str]) -> list[tuple[float, str, str]]:
    """The first and the last: more would run into each other on a phone."""
    if len(xs) == 1:
        return [(xs[0], texts[0], "middle")]
    return [(float(_LEFT), texts[0], "start"), (float(WIDTH - _RIGHT), texts[-1], "end")]


def _path(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{'L' if place else 'M'}{x:g} {y:g}" for place, (x, y) in enumerate(points))


def _marks(low: float, high: float) -> list[float]:
    """Round numbers from below the lowest to above the highest."""
    if high - low < 1e-9 * max(1.0, abs(high)):
        low, high = low - (abs(low) * 0.1 or 1.0), high + (abs(high) * 0.1 or 1.0)
    rough = (high - low) / _TICKS
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(each * size for each in _STEPS if each * size >= rough * (1 - 1e-9))
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(step * place, 10) for place in range(first, last + 1)]

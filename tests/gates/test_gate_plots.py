"""One declaration draws a table as PNG."""

import base64
import re
from itertools import pairwise

import pytest

from churn_assets.gates.plots import Plot, render_png, render_svg

ROWS = [
    {"offer": "0 %", "x": 0.0, "a": 0.1, "b": 0.2, "model": "ours"},
    {"offer": "5 %", "x": 0.5, "a": None, "b": 0.1, "model": "ours"},
    {"offer": "9 %", "x": 1.0, "a": 0.3, "b": 0.4, "model": "peer"},
]


@pytest.mark.parametrize(
    "plot",
    [
        Plot("t", "line", "x", ("a", "b"), "Lines", diagonal=True),
        Plot("t", "points", "x", ("b",), "Points by model", by="model"),
        Plot("t", "line", "x", ("b",), "Interval", band=("x", "b")),
        Plot("t", "bar", "offer", ("a", "b"), "Bars"),
        Plot("t", "bar", "offer", ("b",), "Cut bars", lowest=0.15),
        Plot("t", "interval", "offer", ("b",), "One estimate", band=("x", "b")),
        Plot("t", "interval", "offer", ("b", "a"), "Estimate and forecast", band=("x", "b")),
    ],
    ids=lambda plot: plot.title,
)
def test_every_kind_draws_and_a_missing_figure_leaves_a_gap(plot):
    png = render_png(plot, ROWS)
    assert png.startswith(b"\x89PNG")
    assert len(png) > 2000


def test_the_same_table_draws_the_same_bytes():
    plot = Plot("t", "line", "x", ("b",), "Lines")
    assert render_png(plot, ROWS) == render_png(plot, ROWS)


def test_a_column_that_the_table_lacks_is_an_error():
    with pytest.raises(KeyError, match="recall"):
        render_png(Plot("t", "line", "x", ("recall",), "Lines"), ROWS)


def texts_of(plot, rows):
    """(text, x, y, anchor, font size) of each text of a plot, in points from the top left."""
    svg = base64.b64decode(render_svg(plot, rows).partition("base64,")[2]).decode()
    found = re.findall(
        r'<text style="font-size: ([\d.]+)px[^"]*?text-anchor: (\w+)[^>]* x="([-\d.]+)" y="([-\d.]+)"[^>]*>([^<]*)<',
        svg,
    )
    return [(text, float(x), float(y), anchor, float(size)) for size, anchor, x, y, text in found]


@pytest.mark.parametrize("kind", ["bar", "interval"])
def test_a_long_name_is_cut_in_its_middle_and_stays_in_the_picture(kind):
    long = "A service with a name that nobody would ever print: level"
    rows = [{"who": f"{long} {i}", "gain": i, "low": i - 1, "high": i + 1} for i in range(3)]
    names = [
        each
        for each in texts_of(Plot("t", kind, "who", ("gain",), "x", band=("low", "high")), rows)
        if "service" in each[0]
    ]
    assert [each[0][-7:] for each in names] == ["level 0", "level 1", "level 2"]
    for text, x, _, anchor, size in names:
        assert anchor == "end"
        assert x - LETTER * size * len(text) > 0


@pytest.mark.parametrize("kind", ["bar", "interval"])
@pytest.mark.parametrize("end", [-0.1234, 20_000.0])
def test_no_tick_of_an_axis_of_figures_touches_the_next(kind, end):
    rows = [
        {"who": "a long name of eighteen", "gain": end * share, "low": end, "high": 0.03}
        for share in (0.2, 1.0)
    ]
    plot = Plot("t", kind, "who", ("gain", "low"), "x", "", "unit", band=("low", "high"))
    ticks = sorted(
        (x, len(text) * DIGIT * size)
        for text, x, _, _, size in texts_of(plot, rows)
        if re.fullmatch(r"[−\d.]+", text)
    )
    assert len(ticks) > 2
    for (left, wide), (right, next_wide) in pairwise(ticks):
        assert left + wide / 2 < right - next_wide / 2


def test_a_sum_of_money_in_a_name_is_no_formula():
    texts = texts_of(Plot("t", "bar", "who", ("gain",), "x"), [{"who": "2) $100 - $200", "gain": 1.0}])
    assert "2) $100 - $200" in [each[0] for each in texts]


LETTER, DIGIT = 0.56, 0.64
"""Widths in a wide font (DejaVu Sans), of its height: of letters in the mean, and of a digit."""


@pytest.mark.parametrize("names", [3, 15, 40])
def test_however_many_names_a_bar_plot_has_none_touches_the_next(names):
    rows = [{"who": f"policy {i}", "gain": -i} for i in range(names)]
    drawn = render_svg(Plot("t", "bar", "who", ("gain",), "Bars", lowest=-1.0), rows)
    svg = base64.b64decode(drawn.partition("base64,")[2]).decode()
    placed = re.findall(r"font-size: ([\d.]+)px[^>]* y=\"([\d.]+)\"[^>]*>policy", svg)
    heights = sorted(float(y) for _, y in placed)
    assert len(heights) == names
    assert min(b - a for a, b in pairwise(heights)) > float(placed[0][0])

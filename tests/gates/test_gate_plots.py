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


@pytest.mark.parametrize("names", [3, 15, 40])
def test_however_many_names_a_bar_plot_has_none_touches_the_next(names):
    rows = [{"who": f"policy {i}", "gain": -i} for i in range(names)]
    drawn = render_svg(Plot("t", "bar", "who", ("gain",), "Bars", lowest=-1.0), rows)
    svg = base64.b64decode(drawn.partition("base64,")[2]).decode()
    placed = re.findall(r"font-size: ([\d.]+)px[^>]* y=\"([\d.]+)\"[^>]*>policy", svg)
    heights = sorted(float(y) for _, y in placed)
    assert len(heights) == names
    assert min(b - a for a, b in pairwise(heights)) > float(placed[0][0])

"""One declaration draws a table as PNG."""

import pytest

from churn_assets.gates.plots import Plot, render_png

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

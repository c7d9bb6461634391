"""The figures by which releases are compared over time are those that their reports store."""

from datetime import timedelta

import pytest
from report_cases import CaseShelf, against_champion, facts_of, gate, good, publish

from churn_assets.console.plots import HEIGHT, WIDTH, PlotPoint, line_plot
from churn_assets.release.report.trend import trend_of, trends_by_figure


def test_figures_are_those_of_the_gate_reports_with_their_intervals(tmp_path):
    first = CaseShelf(tmp_path / "a")
    trend = trend_of(facts_of(first, publish(first, good())))
    told = {each.name: each for each in trend.figures}
    lift = told["Lift over no offer, by the log"]
    value, low, high = lift.ends
    assert (lift.amount.unit, round(value, 2)) == ("+money", 8.28)
    assert low < value < high
    assert told["Risk: ROC AUC, held out"].amount.value == 0.831287438920785
    assert "Lift over the champion, by the log" not in told
    evidence = good()
    against_champion(evidence, 0.37, -0.21, 0.95, 1.9)
    gate(evidence, "risk_model", "ranks_well", "auc", figure=0.85)
    second = CaseShelf(tmp_path / "b")
    later = trend_of(facts_of(second, publish(second, evidence), second.now + timedelta(hours=1)))
    by_figure = trends_by_figure([trend, later])
    assert [figure.amount.value for _, figure in by_figure["Risk: ROC AUC, held out"]] == [
        0.831287438920785,
        0.85,
    ]
    assert len(by_figure["Lift over the champion, by the log"]) == 1


LINES = (
    [(1.0, None, None)],
    [(0.0, 0.0, 0.0)] * 3,
    [(8.3, 1.6, 15.0), (-2.0, -9.0, 5.0)],
    [(1e-9, None, None), (1e9, None, None)],
)


@pytest.mark.parametrize("values", LINES)
def test_a_line_stays_in_its_picture_and_its_marks_are_round(values):
    plot = line_plot("lift", [PlotPoint("a", *each) for each in values], "USD")
    ys = [y for _, y in plot.dots] + [y for _, top, bottom in plot.whiskers for y in (top, bottom)]
    assert all(0 <= y <= HEIGHT for y in ys)
    assert all(0 <= x <= WIDTH for x, _ in plot.dots)
    assert all(len(text) <= 8 for _, text in plot.ticks)
    assert 2 <= len(plot.ticks) <= 8

"""The first screen of a report and its plots for the asset's own page in the Dagster UI. Judges nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from churn_assets.gates.plots import Plot
from churn_assets.release.report.facts import ReportFacts
from churn_assets.release.report.sections import (
    FUNNEL,
    budget_plots,
    funnel_of,
    lift_plot,
    lift_rows,
    worth_of,
)
from churn_assets.release.report.verdict import ReportVerdict

OFFERS = Plot("offers", "bar", "offer", ("customers",), "What is offered", "", "customers")


@dataclass(frozen=True)
class ShownReport:
    """Tables and plots of a report.

    Attributes:
        tables: By name; none is empty. `why` has the reasons of the verdict, `worth` what the release earns.
        plots: Of them.
    """

    tables: Mapping[str, Sequence[Mapping[str, Any]]]
    plots: tuple[Plot, ...]


def shown_report(facts: ReportFacts, verdict: ReportVerdict) -> ShownReport:
    """What a report says first, in the tables and pictures of an asset's page.

    Args:
        facts: Of the release, stored or being built.
        verdict: Theirs.
    """
    money = facts.currency
    tables: dict[str, Sequence[Mapping[str, Any]]] = {
        "why": [
            {"reason": each.fault, "figures": each.said, "what to do": each.advice, "it": each.weight}
            for each in verdict.grounds
        ],
        "worth": [
            {
                "figure": each.name,
                "value": each.amount.shown(money),
                "low": "" if each.low is None else each.low.shown(money),
                "high": "" if each.high is None else each.high.shown(money),
                "in total": "" if not each.totals else each.totals[0].shown(money),
                "of": each.about,
            }
            for each in worth_of(facts)
        ],
        "lifts": lift_rows(facts),
        "funnel": [row for _, row in funnel_of(facts)],
        "offers": facts.tables.get("offers", ()),
        "budget": [row for row in facts.tables.get("budget", ()) if row["shadow_price"] is not None],
    }
    told = {name: rows for name, rows in tables.items() if rows}
    drawn = (lift_plot(facts), FUNNEL, OFFERS, *budget_plots(money))
    return ShownReport(told, tuple(plot for plot in drawn if plot.table in told))

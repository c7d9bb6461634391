"""The figures by which releases of one experiment are compared over time: read of their reports, measured nowhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from churn_assets.release.report.facts import ReportFacts
from churn_assets.release.report.parts import Amount, IntervalFigure
from churn_assets.release.report.verdict import CHAMPION, NO_OFFER, lift_over


@dataclass(frozen=True)
class ReleaseTrend:
    """What is told of one release.

    Attributes:
        version: Of the release.
        made: When it was made.
        figures: Those that it has.
    """

    version: str
    made: datetime | None
    figures: tuple[IntervalFigure, ...]


_GATES = (
    ("Risk: ROC AUC, held out", "risk_model", "ranks_well", "auc"),
    ("Acceptance: ROC AUC, held out", "accept_model", "forecasts_acceptance", "auc"),
    ("Share of the attainable gain", "ppo_decision", "captures_the_gain", "gain_captured"),
    ("Unsafe messages sent", "ppo_text", "safe_to_send", "unsafe_sent"),
)
"""Name, asset, check and gate of each figure that has no interval."""


def trend_of(facts: ReportFacts) -> ReleaseTrend:
    """The figures of one release, those of money first."""
    found = []
    for over in (NO_OFFER, CHAMPION):
        lift = lift_over(facts, over)
        if lift is not None:
            amount, low, high = (
                Amount(value, "+money", f"{lift.source}/{column}")
                for value, column in zip(lift.ends, lift.columns, strict=True)
            )
            found.append(IntervalFigure(f"Lift over {over}, by the log", amount, low, high))
    for name, asset, check, gate in _GATES:
        report = facts.gate_report(asset, check)
        source = f"{asset}/{check}/gate/{gate}/figure"
        for each in () if report is None else report.gates:
            if each.name == gate and each.figure is not None:
                found.append(IntervalFigure(name, Amount(each.figure, "number", source)))
    version = (facts.release or "").rpartition("/")[2]
    return ReleaseTrend(version, facts.made, tuple(found))


def trends_by_figure(
    releases: Sequence[ReleaseTrend],
) -> dict[str, list[tuple[ReleaseTrend, IntervalFigure]]]:
    """Each figure over the releases that have it, in the order given."""
    found: dict[str, list[tuple[ReleaseTrend, IntervalFigure]]] = {}
    for release in releases:
        for each in release.figures:
            found.setdefault(each.name, []).append((release, each))
    return found

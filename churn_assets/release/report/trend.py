"""The figures by which releases of one experiment are compared over time: read of their reports, measured nowhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from churn_assets.release.report.facts import ReportFacts
from churn_assets.release.report.verdict import CHAMPION, NO_OFFER, lift_over


@dataclass(frozen=True)
class TrendFigure:
    """A figure of one release.

    Attributes:
        name: What it says.
        unit: What it counts: `money` a decision, or a plain `number`.
        value: The figure.
        low: Lower end of its 95 % interval; None where none is stored.
        high: Upper end.
    """

    name: str
    unit: str
    value: float
    low: float | None = None
    high: float | None = None


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
    figures: tuple[TrendFigure, ...]


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
            found.append(
                TrendFigure(f"Lift over {over}, by the log", "money", lift.mean, lift.low, lift.high)
            )
    for name, asset, check, gate in _GATES:
        report = facts.gate_report(asset, check)
        for each in () if report is None else report.gates:
            if each.name == gate and each.figure is not None:
                found.append(TrendFigure(name, "number", each.figure))
    version = (facts.release or "").rpartition("/")[2]
    return ReleaseTrend(version, facts.made, tuple(found))


def trends_by_figure(
    releases: Sequence[ReleaseTrend],
) -> dict[str, list[tuple[ReleaseTrend, TrendFigure]]]:
    """Each figure over the releases that have it, in the order given."""
    found: dict[str, list[tuple[ReleaseTrend, TrendFigure]]] = {}
    for release in releases:
        for each in release.figures:
            found.setdefault(each.name, []).append((release, each))
    return found

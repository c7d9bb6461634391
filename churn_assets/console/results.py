"""What the leading release earns by the decision log, and what its offers cost. Judges by `monitoring`'s own rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from churn_assets.arms import ArmError
from churn_assets.monitoring.live import Breach, Earned, Tally, breach_in, earned, forecasts, tallied
from churn_assets.monitoring.served import label_window, priced
from churn_assets.offers.economics import catalogue
from churn_assets.offers.log import OfferLogError
from churn_assets.store.reference import ArtifactRef

if TYPE_CHECKING:
    import pandas as pd

    from churn_assets.experiment import Experiment
    from churn_assets.monitoring.live import Forecast
    from churn_assets.offers.decision_index import DecisionIndex, Reign
    from churn_assets.release.trial import RunningTrial

LOOKS = 6
"""Points of the lift over time: each is worked out from all decisions before it."""
MOST_FORECAST = 100_000
"""Newest decisions by which forecasts are judged here."""


@dataclass(frozen=True)
class LiftPoint:
    """What was known at one time.

    Attributes:
        until: When the last decision of it was made.
        rows: Decisions that tell.
        earned: By them.
    """

    until: datetime
    rows: int
    earned: Earned


@dataclass(frozen=True)
class LiveResults:
    """What a release earned since it leads.

    Attributes:
        reign: Which release, since when.
        whole: Its decisions whose outcome is known.
        telling: Those of them that could have been left without contact.
        over_time: The lift by all decisions until each time, oldest first; empty where nothing tells.
        breach: The guardrail that was broken, if any.
        forecasts: How true the forecasts were.
        missing: Why nothing is told; empty where something is.
    """

    reign: Reign
    whole: int
    telling: int
    over_time: tuple[LiftPoint, ...] = ()
    breach: Breach | None = None
    forecasts: tuple[Forecast, ...] = ()
    missing: str = ""


@dataclass(frozen=True)
class SpendingRow:
    """What an arm cost in one month.

    Attributes:
        month: `2026-11`.
        arm: Its id.
        label: In words; the id where the experiment knows it no more.
        contacts: How often it was offered.
        accepted: How often that was accepted, as far as it is told.
        open: Offers of which nothing is told yet.
        committed: The most that all of them can cost; None where the arm or the price is not known.
        spent: Contacts, and what was accepted, at the most that it can cost.
        reserved: The most that those of which nothing is told can still cost.
    """

    month: str
    arm: str
    label: str
    contacts: int
    accepted: int
    open: int
    committed: float | None
    spent: float | None
    reserved: float | None


def live_results(index: DecisionIndex, reign: Reign, experiment: Experiment, now: datetime) -> LiveResults:
    """What the release of a reign earned so far.

    Args:
        index: After reading what is new; its places are settled for this reign.
        reign: Which release, since when.
        experiment: Its economics, arms and guardrails.
        now: Aware time.
    """
    index.settle(reign, now, label_window(experiment))
    whole, telling = index.counts()
    if not telling:
        return LiveResults(reign, whole, telling, missing=_why_nothing(index, reign, whole, experiment))

    def tally(start: int, stop: int) -> Tally:
        frames = index.by_customer(stop) if start == 0 else [index.rows(start, stop, telling=True)]
        return tallied(priced(frame, experiment) for frame in frames)

    try:
        over_time = _over_time(index, telling, tally)
        breach = breach_in(telling, tally, experiment.automation.live)
    except OfferLogError as error:
        return LiveResults(reign, whole, telling, missing=str(error))
    judged = index.rows(max(0, whole - MOST_FORECAST), whole)
    missing = "" if over_time else "no decision was left without contact, so there is nothing to compare with"
    return LiveResults(reign, whole, telling, over_time, breach, forecasts(judged), missing)


def _over_time(
    index: DecisionIndex, telling: int, tally: Callable[[int, int], Tally]
) -> tuple[LiftPoint, ...]:
    stops = sorted({telling * part // LOOKS for part in range(1, LOOKS + 1)} - {0})
    times = index.places_at(LOOKS)
    found = []
    for stop, until in zip(stops, times, strict=True):
        told = earned(tally(0, stop))
        if told is not None and np.isfinite(told.lift.standard_error):
            found.append(LiftPoint(until, stop, told))
    return tuple(found)


def _why_nothing(index: DecisionIndex, reign: Reign, whole: int, experiment: Experiment) -> str:
    days = label_window(experiment).days
    if whole:
        return "every decision contacts for certain, so nothing tells what no contact would have brought"
    if index.decided().empty:
        return "the decision log has no decision yet; the newest are in a segment that is still open"
    return (
        f"no decision of {reign.release} has a whole outcome yet: whether a customer left is known "
        f"{days} days after the decision, and is told by POST /v1/outcomes"
    )


@dataclass(frozen=True)
class TrialRow:
    """What one release of a trial decided since it began.

    Attributes:
        release: Which.
        part: `champion` or `candidate`.
        decisions: All of them.
        by_policy: Those that its policy made; of the others, holdout and exploration, the champion is named.
        contacts: Of these, with an offer.
    """

    release: ArtifactRef
    part: str
    decisions: int
    by_policy: int
    contacts: int


def decided_in_trial(found: pd.DataFrame, trial: RunningTrial) -> list[TrialRow]:
    """What each of two releases decided.

    Args:
        found: As of `DecisionIndex.decided_by`, since the trial began.
        trial: It.
    """
    rows = []
    for part, release in (("champion", trial.design.champion), ("candidate", trial.design.candidate)):
        mine = found[found["release"] == release]
        policy = mine[mine["assigned"] == "policy"]
        all_n, n, contacts = (int(column.sum()) for column in (mine["n"], policy["n"], policy["contacts"]))
        rows.append(TrialRow(ArtifactRef.parse(release), part, all_n, n, contacts))
    return rows


def spending(index: DecisionIndex, experiment: Experiment) -> list[SpendingRow]:
    """What offers cost, by month and arm, the newest month first."""
    rows = index.spending()
    return [
        _spent(str(month), str(arm), part, experiment)
        for (month, arm), part in sorted(
            rows.groupby(["month", "arm"]), key=lambda each: (each[0][0], each[1]["n"].sum()), reverse=True
        )
    ]


def _spent(month: str, arm: str, part: pd.DataFrame, experiment: Experiment) -> SpendingRow:
    contacts, told, accepted = (int(part[name].sum()) for name in ("n", "told", "accepted"))
    try:
        known = catalogue(experiment.arms, experiment.economics).arm(arm)
    except ArmError:
        return SpendingRow(month, arm, arm, contacts, accepted, contacts - told, None, None, None)
    if part["price"].isna().any():
        return SpendingRow(month, arm, known.label, contacts, accepted, contacts - told, None, None, None)
    price = part["price"].to_numpy(np.float64)
    most = known.terms.monthly(price) * known.months + known.terms.given_once
    n, answered, taken = (part[name].to_numpy(np.float64) for name in ("n", "told", "accepted"))
    contact = float(n.sum()) * known.contact_cost
    return SpendingRow(
        month,
        arm,
        known.label,
        contacts,
        accepted,
        contacts - told,
        committed=float((most * n).sum()) + contact,
        spent=float((most * taken).sum()) + contact,
        reserved=float((most * (n - answered)).sum()),
    )

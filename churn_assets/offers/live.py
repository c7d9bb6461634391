"""Decisions that were served, joined with what became of them: one row a decision. Chooses none and judges none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from churn_assets.arms import NO_CONTACT_ID
from churn_assets.offers.log import propensity_column
from churn_assets.offers.records import (
    LoggedAnswer,
    LoggedCustomer,
    LoggedDecision,
    LoggedOutcome,
    read_decision,
    read_outcomes,
)
from churn_assets.offers.segments import DECISIONS, Record
from churn_assets.offers.stored_log import logged_segments
from churn_assets.store.backend import Backend

RECENT_MONTHS = 3
"""`prior_offers` of an offer log counts 90 days."""

_FEATURE = "feature_"
_OUTCOME = ("accepted", "churned", "margin")
_SAME_MONEY = 0.01
"""An amount that was rounded on the way contradicts nothing; flags are apart by 1."""


@dataclass(frozen=True, eq=False)
class LiveLog:
    """What was decided, and what is known of its outcome.

    `frame` has one row a decision in the order of time: decision_id, customer_id (str), decided_at (datetime, UTC),
    release, policy (str), arm (str, id), propensity (of that arm), `propensity_<arm id>` per arm (NaN where the arm was
    not on the menu), assigned (policy, holdout, exploration or kill_switch), risk (P(churn) without contact),
    acceptance (of the arm decided, 0 without contact), expected_value (money, over never contacting), prior_offers
    (int, offers in the 90 days before), `feature_<name>` as asked with, accepted, churned (0/1), margin (money) and
    outcome_at (datetime, UTC: when the segment of the last outcome was opened), each NaN or NaT where nothing was told,
    and contradicted (bool: told twice, and not the same).

    Attributes:
        frame: As above.
        counts: By reason, what was read and is no row or no whole one: outcomes of no decision in the log, outcomes
            that repeat what was told, decisions whose outcomes contradict.
    """

    frame: pd.DataFrame
    counts: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.frame)

    @cached_property
    def features(self) -> pd.DataFrame:
        """(n, F) what each customer was asked about with, by the features' own names."""
        own = [name for name in self.frame.columns if name.startswith(_FEATURE)]
        return self.frame[own].rename(columns=lambda name: name.removeprefix(_FEATURE))

    @property
    def arms(self) -> tuple[str, ...]:
        """Ids of the menu of the newest decision, no contact first; empty where there is none."""
        return arms_in(self.frame.tail(1))


@dataclass
class _Outcome:
    """All that was told of a decision; what was told first stands."""

    accepted: bool | None = None
    churned: bool | None = None
    margin: float | None = None
    told_at: datetime | None = None
    contradicted: bool = field(default=False)

    def add(self, told: LoggedOutcome, at: datetime | None) -> bool:
        """Whether it said anything new."""
        new = False
        for name in _OUTCOME:
            value, known = getattr(told, name), getattr(self, name)
            if value is None or (known is not None and abs(value - known) <= _SAME_MONEY):
                continue
            if known is not None:
                self.contradicted = True
            else:
                setattr(self, name, value)
                new = True
        if new and at is not None:
            self.told_at = at
        return new


def live_decisions(
    backend: Backend,
    experiment: str,
    *,
    folder: Path | None = None,
    reports: Iterable[LoggedOutcome] = (),
) -> LiveLog:
    """The decision log of an experiment.

    Args:
        backend: Where its segments are.
        experiment: Whose.
        folder: The server's own folder too, for sealed segments that are not in the store yet.
        reports: Outcomes from elsewhere, as of a CRM; what the log says goes first.

    Raises:
        SegmentError: A segment does not verify, or holds what the server does not write.
    """
    segments = (
        (opened, record)
        for opened, records in logged_segments(backend, experiment, folder)
        for record in records
    )
    return join(segments, reports)


def join(records: Iterable[tuple[datetime | None, Record]], reports: Iterable[LoggedOutcome] = ()) -> LiveLog:
    """Decisions with their outcomes, from records in any order, each with the time it was logged at the earliest.

    Raises:
        SegmentError: A record is not what the server writes.
    """
    decisions: dict[str, tuple[LoggedAnswer, LoggedCustomer, LoggedDecision]] = {}
    outcomes: dict[str, _Outcome] = {}
    repeated = 0
    for told, at in _told(records, decisions):
        repeated += not outcomes.setdefault(told.decision_id, _Outcome()).add(told, at)
    for told in reports:
        repeated += not outcomes.setdefault(told.decision_id, _Outcome()).add(told, None)
    nothing = _Outcome()
    rows = [_row(*found, outcomes.get(name, nothing)) for name, found in decisions.items()]
    frame = _typed(pd.DataFrame(rows)) if rows else _typed(pd.DataFrame(columns=_COLUMNS))
    counts = {
        "outcomes of no decision in the log": len(outcomes.keys() - decisions.keys()),
        "outcomes that told nothing new": repeated,
        "decisions with outcomes that contradict": int(frame["contradicted"].sum()),
    }
    return LiveLog(frame, counts)


def _told(
    records: Iterable[tuple[datetime | None, Record]],
    decisions: dict[str, tuple[LoggedAnswer, LoggedCustomer, LoggedDecision]],
) -> Iterator[tuple[LoggedOutcome, datetime | None]]:
    """Outcomes as they come; decisions are put into `decisions` by the way."""
    for at, record in records:
        if record.kind == DECISIONS:
            question, answer = read_decision(record.payload)
            asked = {customer.customer_id: customer for customer in question.customers}
            for (
                decision
            ) in answer.decisions:  # not of all that were asked about, where some could not be decided
                decisions[decision.decision_id] = (answer, asked[decision.customer_id], decision)
        else:
            for outcome in read_outcomes(record.payload):
                yield outcome, at


_COLUMNS = (
    "decision_id", "customer_id", "decided_at", "release", "policy", "arm", "propensity", "assigned", "risk",
    "acceptance", "expected_value", "prior_offers", "accepted", "churned", "margin", "outcome_at", "contradicted",
)  # fmt: skip


def _row(
    answer: LoggedAnswer, customer: LoggedCustomer, decision: LoggedDecision, outcome: _Outcome
) -> dict[str, object]:
    last = customer.last_contact
    recent = last is not None and last.months_ago < RECENT_MONTHS
    return {
        "decision_id": decision.decision_id,
        "customer_id": decision.customer_id,
        "decided_at": answer.decided_at,
        "release": answer.release,
        "policy": answer.policy,
        "arm": decision.arm.id,
        "propensity": decision.propensity,
        **{propensity_column(each.id): each.propensity for each in decision.arms},
        "assigned": decision.assigned,
        "risk": decision.churn_risk,
        "acceptance": decision.acceptance_probability,
        "expected_value": decision.arm.expected_value.amount,
        "prior_offers": customer.prior_offers + recent,
        **{f"{_FEATURE}{name}": value for name, value in customer.features.items()},
        "accepted": outcome.accepted,
        "churned": outcome.churned,
        "margin": outcome.margin,
        "outcome_at": outcome.told_at,
        "contradicted": outcome.contradicted or (bool(outcome.accepted) and not decision.contact),
    }


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    for name in _OUTCOME:
        frame[name] = frame[name].astype(np.float64)
    for name in ("decided_at", "outcome_at"):
        frame[name] = pd.to_datetime(frame[name], utc=True).dt.as_unit("us")
    frame["contradicted"] = frame["contradicted"].astype(bool)
    return frame.sort_values(["decided_at", "decision_id"], kind="stable", ignore_index=True)


def arms_in(rows: pd.DataFrame) -> tuple[str, ...]:
    """Ids of the arms that stood on a menu of some of these rows of a `LiveLog`, no contact first."""
    first, start = propensity_column(NO_CONTACT_ID), propensity_column("")
    names = [str(name) for name in rows.columns if str(name).startswith(start) and rows[name].notna().any()]
    return tuple(name.removeprefix(start) for name in sorted(names, key=lambda name: name != first))

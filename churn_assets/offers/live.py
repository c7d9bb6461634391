"""Decisions that were served, joined with what became of them: one row a decision. Chooses none and judges none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from churn_assets.arms import NO_CONTACT_ID
from churn_assets.offers.decision_index import DecisionIndex, KnownOutcome
from churn_assets.offers.economics import OF_STAYERS, ServedTerms
from churn_assets.offers.log import propensity_column
from churn_assets.offers.records import (
    LoggedAnswer,
    LoggedCustomer,
    LoggedDecision,
    LoggedOutcome,
    read_decision,
)
from churn_assets.offers.segments import DECISIONS, Record, SegmentError
from churn_assets.offers.stored_log import LoggedSegment, logged_segment, logged_segments
from churn_assets.store.backend import Backend

RECENT_MONTHS = 3
"""`prior_offers` of an offer log counts 90 days."""

FEATURE = "feature_"
_OUTCOME = ("accepted", "churned", "margin")


@dataclass(frozen=True, eq=False)
class LiveLog:
    """What was decided, and what is known of its outcome.

    `frame` has one row a decision in the order of time: decision_id, customer_id (str), decided_at (datetime, UTC),
    release, policy (str), arm (str, id), propensity (of that arm), `propensity_<arm id>` per arm (NaN where the arm was
    not on the menu), assigned (policy, holdout, exploration or kill_switch), risk (P(churn) without contact),
    acceptance (of the arm decided, 0 without contact), expected_value (money, over never contacting), prior_offers
    (int, offers in the 90 days before), `feature_<name>` as asked with, constants filled in, accepted (0/1), churned
    (0/1, or the share of another outcome that was missed), margin (money) and
    outcome_at (datetime, UTC: when the segment of the last outcome was opened), each NaN or NaT where nothing was told,
    and contradicted (bool: told twice, and not the same).

    Attributes:
        frame: As above.
        counts: By reason, what was read and is no row or no whole one: outcomes of no decision in the log, outcomes
            that repeat what was told, decisions whose outcomes contradict; of one segment alone nothing is counted.
    """

    frame: pd.DataFrame
    counts: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.frame)

    @cached_property
    def features(self) -> pd.DataFrame:
        """(n, F) what each customer was asked about with, by the features' own names."""
        own = [name for name in self.frame.columns if name.startswith(FEATURE)]
        return self.frame[own].rename(columns=lambda name: name.removeprefix(FEATURE))

    @property
    def arms(self) -> tuple[str, ...]:
        """Ids of the menu of the newest decision, no contact first; empty where there is none."""
        return arms_in(self.frame.tail(1))


class ServedLog:
    """The decision log of an experiment, read segment by segment: what it holds in memory does not grow with the log.

    Args:
        backend: Where its segments are.
        experiment: Whose.
        index: What is known of every decision; `refresh` reads the segments that are new.
        folder: The server's own folder too, for sealed segments that are not in the store yet.
    """

    def __init__(
        self, backend: Backend, experiment: str, index: DecisionIndex, folder: Path | None = None
    ) -> None:
        self.index = index
        self._asked = (backend, experiment, folder)

    @property
    def problems(self) -> dict[str, str]:
        """What is no sound segment and was ignored: key, and why."""
        return dict(self.index.problems)

    def refresh(self, digest: str = "", reports: Callable[[], Iterable[LoggedOutcome]] = tuple) -> None:
        """Read what is new.

        Args:
            digest: Names the content of `reports`: what was read already is not read again.
            reports: Outcomes from elsewhere, as of a CRM; what the log says goes first.

        Raises:
            StoreError: The store does not answer.
        """
        self.index.refresh(*self._asked)
        self.index.report(digest, reports)

    def chunks(self, since: datetime | None = None) -> Iterator[LiveLog]:
        """The decisions of one segment after the other, oldest first.

        Args:
            since: Leave out segments that were full before; some decisions of a day before may be among the first.
        """
        backend, experiment, folder = self._asked
        known = () if since is None else _Before(since - _LONGEST_OPEN)
        for segment in logged_segments(
            backend, experiment, folder, ignored=self.index.problems.__setitem__, known=known
        ):
            yield _chunk([segment], self.index)

    def newest_first(self, until: datetime | None = None, since: datetime | None = None) -> Iterator[LiveLog]:
        """As `chunks`, backwards: whoever stops has read no more than that.

        Args:
            until: Leave out segments that were opened later.
            since: As of `chunks`.
        """
        full = () if since is None else _Before(since - _LONGEST_OPEN)
        for name in self.index.names()[::-1]:
            if name not in full and (until is None or name in _Before(until)):
                yield self._named(name)

    def arrived(self, place: int, since: datetime) -> Iterator[tuple[int, LiveLog]]:
        """Segments with their places, in the order in which they came: what came late comes last.

        Args:
            place: Of the first that is wanted.
            since: As of `chunks`.
        """
        before = _Before(since - _LONGEST_OPEN)
        for number, name in self.index.taken(place):
            if name not in before:
                yield number, self._named(name)

    def newest_arms(self) -> tuple[str, ...]:
        """Ids of the menu of the newest decision, no contact first; empty where there is none."""
        return next((live.arms for live in self.newest_first() if len(live)), ())

    def _named(self, name: str) -> LiveLog:
        """One segment; empty where it is not sound any more, which is told."""
        backend, experiment, folder = self._asked
        ignored = self.index.problems.__setitem__
        found = logged_segment(backend, experiment, name, folder, ignored=ignored)
        return _chunk([] if found is None else [found], self.index)


_LONGEST_OPEN = timedelta(days=1)
"""A segment is not open for longer (`serving.decision_log.segment_seconds`)."""


@dataclass(frozen=True)
class _Before:
    """Names of segments that were opened before a time."""

    at: datetime

    def __contains__(self, name: object) -> bool:
        return str(name) < f"{self.at.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def join(
    records: Iterable[tuple[datetime, Record]],
    reports: Iterable[LoggedOutcome] = (),
    terms: ServedTerms = OF_STAYERS,
) -> LiveLog:
    """Decisions with their outcomes, from records in any order, each with the time it was logged at the earliest.

    Raises:
        SegmentError: A record is not what the server writes.
    """
    index, segments = DecisionIndex(None, "", terms=terms), list[LoggedSegment]()
    for at, record in records:
        segments.append(LoggedSegment(str(len(segments)), at, (record,)))
        index.take(segments[-1])
    index.report("given", lambda: reports)
    if index.problems:
        raise SegmentError("; ".join(index.problems.values()))
    found = _chunk(segments, index)
    contradicted = {"decisions with outcomes that contradict": int(found.frame["contradicted"].sum())}
    return LiveLog(found.frame, index.totals() | contradicted)


def _chunk(segments: Iterable[LoggedSegment], index: DecisionIndex) -> LiveLog:
    rows: dict[str, dict[str, object]] = {}
    constants = index.terms.constants
    payloads = (each.payload for segment in segments for each in segment.records if each.kind == DECISIONS)
    for payload in payloads:
        with suppress(SegmentError):  # told when the index read it
            question, answer = read_decision(payload)
            asked = {customer.customer_id: customer for customer in question.customers}
            # Not of all that were asked about, where some could not be decided.
            for each in answer.decisions:
                known = index.outcome(each.decision_id)
                rows[each.decision_id] = _row(answer, asked[each.customer_id], each, known, constants)
    frame = pd.DataFrame(list(rows.values())) if rows else pd.DataFrame(columns=_COLUMNS)
    return LiveLog(_typed(frame), {})


_COLUMNS = (
    "decision_id", "customer_id", "decided_at", "release", "policy", "arm", "propensity", "assigned", "risk",
    "acceptance", "expected_value", "prior_offers", "accepted", "churned", "margin", "outcome_at", "contradicted",
)  # fmt: skip


def _row(
    answer: LoggedAnswer,
    customer: LoggedCustomer,
    decision: LoggedDecision,
    known: KnownOutcome,
    constants: Mapping[str, float],
) -> dict[str, object]:
    last = customer.last_contact
    recent = last is not None and last.months_ago < RECENT_MONTHS
    return {
        "decision_id": decision.decision_id,
        "customer_id": decision.customer_id,
        "decided_at": answer.decided_at,
        "release": answer.by(decision),
        "policy": answer.policy,
        "arm": decision.arm.id,
        "propensity": decision.propensity,
        **{propensity_column(each.id): each.propensity for each in decision.arms},
        "assigned": decision.assigned,
        "risk": decision.churn_risk,
        "acceptance": decision.acceptance_probability,
        "expected_value": decision.arm.expected_value.amount,
        "prior_offers": customer.prior_offers + recent,
        **{f"{FEATURE}{name}": value for name, value in ({**constants} | customer.features).items()},
        "accepted": known.accepted,
        "churned": known.churned,
        "margin": known.margin,
        "outcome_at": known.told_at,
        "contradicted": known.contradicted,
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

"""From the decision log to rows of an offer log: decisions joined with their outcomes. Trains nothing."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec
import pandas as pd

from churn_assets.offers.economics import Economics
from churn_assets.offers.log import propensity_column
from churn_assets.serving.schemas import (
    CustomerQuestion,
    DecisionsAnswer,
    DecisionsQuestion,
    DecisionView,
    OutcomeReport,
)
from churn_assets.serving.segments import DECISIONS, Record, SegmentError

_LENGTH = struct.Struct("<I")
_RECENT_MONTHS = 3
"""`prior_offers` of an offer log counts 90 days."""

_QUESTION = msgspec.json.Decoder(DecisionsQuestion)
_ANSWER = msgspec.json.Decoder(DecisionsAnswer)
_OUTCOMES = msgspec.json.Decoder(list[OutcomeReport])


@dataclass(frozen=True)
class OfferRows:
    """What can be learned from.

    Attributes:
        frame: Columns of the offer log, in the order of time.
        counts: Decisions in the log, those left out by why, and those in `frame`.
    """

    frame: pd.DataFrame
    counts: Mapping[str, int]


@dataclass
class _Outcome:
    """All that was told of a decision; what was told first stands."""

    accepted: bool | None = None
    churned: bool | None = None
    margin: float | None = None
    contradicted: bool = field(default=False)

    def add(self, report: OutcomeReport) -> None:
        for name in ("accepted", "churned", "margin"):
            told, known = getattr(report, name), getattr(self, name)
            if told is None or told == known:
                continue
            if known is not None:
                self.contradicted = True
            else:
                setattr(self, name, told)


def decision_payload(question: bytes, answer: bytes) -> tuple[bytes, bytes, bytes]:
    """The payload of a decision's record: the very bytes that were asked and answered."""
    return _LENGTH.pack(len(question)), question, answer


def read_decision(payload: bytes) -> tuple[DecisionsQuestion, DecisionsAnswer]:
    """What `decision_payload` holds.

    Raises:
        SegmentError: It is not what this service writes.
    """
    try:
        (length,) = _LENGTH.unpack_from(payload)
        start = _LENGTH.size
        return _QUESTION.decode(payload[start : start + length]), _ANSWER.decode(payload[start + length :])
    except (struct.error, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise SegmentError(f"decision record: {error}; expected a question and its answer") from error


def offer_rows(records: Iterable[Record], economics: Economics, price: str) -> OfferRows:
    """Join decisions with outcomes.

    A decision becomes a row once it is known whether the customer left and, if contacted, accepted, and if every
    arm could have been chosen: others tell nothing of the arms that could not. All rows have the menu of the newest
    decision.

    Args:
        records: Of the decision log, in any order.
        economics: What a customer is worth where no outcome told the margin.
        price: Feature that is the list price a month.

    Raises:
        SegmentError: A record is not what this service writes.
    """
    decisions: dict[str, tuple[DecisionsAnswer, CustomerQuestion, DecisionView]] = {}
    outcomes: dict[str, _Outcome] = {}
    for record in records:
        if record.kind == DECISIONS:
            question, answer = read_decision(record.payload)
            for customer, decision in zip(question.customers, answer.decisions, strict=True):
                decisions[decision.decision_id] = (answer, customer, decision)
        else:
            for report in _OUTCOMES.decode(record.payload):
                outcomes.setdefault(report.decision_id, _Outcome()).add(report)
    newest = max(decisions.values(), key=lambda found: found[0].decided_at, default=None)
    menu = [offer.offer_pct for offer in newest[2].offers] if newest else []
    counts = dict.fromkeys(
        ("in the log", "without a whole outcome", "with outcomes that contradict", "of another menu",
         "with an arm that could not be chosen"), 0,
    )  # fmt: skip
    counts["in the log"] = len(decisions)
    rows = []
    for name, (answer, customer, decision) in decisions.items():
        outcome = outcomes.get(name, _Outcome())
        left_out = _left_out(decision, outcome, menu)
        if left_out:
            counts[left_out] += 1
            continue
        rows.append(_row(answer, customer, decision, outcome, economics, price))
    counts["written"] = len(rows)
    counts["outcomes of no decision in the log"] = len(set(outcomes) - set(decisions))
    columns = [
        "customer_id", "decided_at", "offer_pct", "propensity", *map(propensity_column, menu), "policy_version",
        "prior_offers", "accepted", "churned", "margin",
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=columns).sort_values("decided_at", kind="stable", ignore_index=True)
    return OfferRows(frame, counts)


def _left_out(decision: DecisionView, outcome: _Outcome, menu: list[float]) -> str:
    if outcome.contradicted or (outcome.accepted and not decision.contact):
        return "with outcomes that contradict"
    if outcome.churned is None or (decision.contact and outcome.accepted is None):
        return "without a whole outcome"
    if [offer.offer_pct for offer in decision.offers] != menu:
        return "of another menu"
    if any(offer.propensity <= 0 for offer in decision.offers):
        return "with an arm that could not be chosen"
    return ""


def _row(
    answer: DecisionsAnswer,
    customer: CustomerQuestion,
    decision: DecisionView,
    outcome: _Outcome,
    economics: Economics,
    price: str,
) -> dict[str, object]:
    accepted, churned = bool(outcome.accepted), bool(outcome.churned)
    margin = outcome.margin
    if margin is None:
        paid = float(customer.features[price] or 0)
        worth = (1 - churned) * economics.margin * paid * economics.value_horizon_months
        discount = accepted * (1 - churned) * decision.offer_pct * paid * economics.discount_months
        margin = worth - discount - decision.contact * economics.contact_cost
    recent = customer.last_contact is not None and customer.last_contact.months_ago < _RECENT_MONTHS
    return {
        "customer_id": decision.customer_id,
        "decided_at": answer.decided_at,
        "offer_pct": decision.offer_pct,
        "propensity": decision.propensity,
        **{propensity_column(offer.offer_pct): offer.propensity for offer in decision.offers},
        "policy_version": answer.release,
        "prior_offers": customer.prior_offers + recent,
        "accepted": int(accepted),
        "churned": int(churned),
        "margin": margin,
    }

"""Records of the decision log as its readers see them: what learning and watching need of a question and its answer.

The server writes the very bytes that were asked and answered; fields that nobody reads here are passed over.
"""

from __future__ import annotations

import struct
from datetime import datetime

import msgspec
from msgspec import Struct

from churn_assets.offers.segments import SegmentError

_LENGTH = struct.Struct("<I")
NOBODY = "erased-"
"""How ids begin of customers who were erased."""


class LoggedContact(Struct, frozen=True):
    """The last contact before the decision: whole months since, and the arm that was accepted then, if any."""

    months_ago: int
    accepted: str | None = None


class LoggedCustomer(Struct, frozen=True):
    """Who was asked about, with the features of that moment."""

    customer_id: str
    features: dict[str, str | float | None]
    last_contact: LoggedContact | None = None
    prior_offers: int = 0


class LoggedQuestion(Struct, frozen=True):
    """One call."""

    customers: list[LoggedCustomer]


class LoggedOutlook(Struct, frozen=True):
    """One arm of the menu, and the probability with which it was chosen."""

    id: str
    propensity: float


class LoggedValue(Struct, frozen=True):
    """Money that an arm was expected to add over never contacting."""

    amount: float


class LoggedArm(Struct, frozen=True):
    """The arm that was decided."""

    id: str
    expected_value: LoggedValue


class LoggedDecision(Struct, frozen=True):
    """What was decided for one customer, by whom, and what the release expected; in a trial, which release."""

    decision_id: str
    customer_id: str
    contact: bool
    arm: LoggedArm
    churn_risk: float
    acceptance_probability: float
    propensity: float
    assigned: str
    arms: list[LoggedOutlook]
    release: str | None = None


class LoggedAnswer(Struct, frozen=True):
    """The answer to one call."""

    release: str
    policy: str
    decided_at: datetime
    decisions: list[LoggedDecision]

    def by(self, decision: LoggedDecision) -> str:
        """The release that made one of the decisions."""
        return decision.release or self.release


class LoggedOutcome(Struct, frozen=True):
    """What was told of a decision; None: not told."""

    decision_id: str
    accepted: bool | None = None
    churned: bool | None = None
    margin: float | None = None
    complained: bool | None = None
    opted_out: bool | None = None
    outcome: float | None = None


_QUESTION = msgspec.json.Decoder(LoggedQuestion)
_ANSWER = msgspec.json.Decoder(LoggedAnswer)
_OUTCOMES = msgspec.json.Decoder(list[LoggedOutcome])


def decision_payload(question: bytes, answer: bytes) -> tuple[bytes, bytes, bytes]:
    """The payload of a decision's record: the very bytes that were asked and answered."""
    return _LENGTH.pack(len(question)), question, answer


def asked_by(answer: bytes, caller: str) -> bytes:
    """An answer as it is logged: with the name of the key that asked, where one did."""
    if not caller:
        return answer
    return answer[:-1] + b',"asked_by":' + msgspec.json.encode(caller) + b"}"


def told_by(outcomes: bytes, caller: str) -> bytes:
    """Outcomes as they are logged: each with the name of the key that told it, where one did."""
    if not caller:
        return outcomes
    return msgspec.json.encode([{**each, "told_by": caller} for each in msgspec.json.decode(outcomes)])


def read_decision(payload: bytes) -> tuple[LoggedQuestion, LoggedAnswer]:
    """What `decision_payload` holds.

    Raises:
        SegmentError: It is not what the server writes.
    """
    try:
        (length,) = _LENGTH.unpack_from(payload)
        start = _LENGTH.size
        return _QUESTION.decode(payload[start : start + length]), _ANSWER.decode(payload[start + length :])
    except (struct.error, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise SegmentError(f"decision record: {error}; expected a question and its answer") from error


def read_outcomes(payload: bytes) -> list[LoggedOutcome]:
    """What a record of outcomes holds.

    Raises:
        SegmentError: It is not what the server writes.
    """
    try:
        return _OUTCOMES.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise SegmentError(f"outcome record: {error}; expected a list of outcomes") from error

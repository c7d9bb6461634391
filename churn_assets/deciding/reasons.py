"""Why a decision fell as it did: as codes with figures, and as a line for people. Decides nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from churn_assets.customers.labels import DAYS_A_MONTH

Figure = TypeVar("Figure", float, NDArray[np.float64])


@dataclass(frozen=True)
class Told:
    """As what risks are told: churn within a label window, or another outcome, of which a risk is the share missed.

    Attributes:
        window_months: Of the label.
        outcome: Name of another outcome; empty where it is leaving.
        unit: The largest outcome; 1 of one that comes or does not.
        asked: Whether there is anything to accept.
    """

    window_months: float
    outcome: str = ""
    unit: float = 1.0
    asked: bool = True

    def figure(self, risk: Figure) -> Figure:
        """A risk as it is told, or (n,) of them."""
        return self.unit * (1 - risk) if self.outcome else risk

    def words(self, code: str) -> str:
        """Of a reason that is about a risk, with a place for the figure as `figure` gives it."""
        if not self.outcome:
            return _OF_RISK[code].replace("MONTHS", f"{self.window_months:g}")
        form = "{:.1%}" if self.unit == 1 else "{:,.2f}"
        within = f"within {self.window_months * DAYS_A_MONTH:.0f} days"
        return _OF_OUTCOME[code].format(outcome=self.outcome, within=within).replace("FIGURE", form)


_OF_RISK = {
    "risk": "risk {:.1%} within MONTHS months",
    "risk_if_offered": "risk if offered {:.1%}",
    "contact_raises_risk": "contact would raise it: {:.1%} with LABEL",
}
_OF_OUTCOME = {
    "risk": "{outcome} expected FIGURE {within}",
    "risk_if_offered": "{outcome} if offered FIGURE",
    "contact_raises_risk": "contact would lower it: FIGURE with LABEL",
}


class Reason(NamedTuple):
    """One reason: a code, the id of the arm that it is about (if any), and its figure (if any)."""

    code: str
    arm: str | None = None
    figure: float | None = None


def reasons(
    arm: int,
    risk: float,
    rules: Sequence[str],
    possible: Sequence[int],
    ids: Sequence[str],
    acceptance: Sequence[float],
    if_offered: Sequence[float],
    value: Sequence[float],
) -> tuple[Reason, ...]:
    """The reasons of one decision, the most telling last.

    Args:
        arm: Index of the arm decided; 0 is no contact.
        risk: P(churn) without contact.
        rules: What forbade arms, or took the decision from the policy.
        possible: Arms among which the policy preferred no contact; none where it was not the policy's choice.
        ids: (K,) ids of the arms.
        acceptance: (K,) P(accept).
        if_offered: (K,) P(churn) after the offer.
        value: (K,) what the arm adds over never contacting.
    """
    found = (Reason("risk", None, risk), *map(Reason, rules))
    if arm:
        return (
            *found,
            Reason("acceptance", ids[arm], acceptance[arm]),
            Reason("risk_if_offered", ids[arm], if_offered[arm]),
            Reason("expected_value", ids[arm], value[arm]),
        )
    if not possible:
        return found
    best = max(possible, key=value.__getitem__)
    if if_offered[best] > risk:
        return (*found, Reason("contact_raises_risk", ids[best], if_offered[best]))
    if value[best] <= 0:
        return (*found, Reason("no_offer_pays", ids[best], value[best]))
    return (*found, Reason("waiting_is_worth_more", ids[best], value[best]))


def in_words(found: Sequence[Reason], labels: Mapping[str, str], told: Told) -> str:
    """One line that names the figures the policy saw.

    Args:
        found: The reasons.
        labels: Label of every arm by its id.
        told: As what risks are told.
    """
    found = [reason for reason in found if told.asked or reason.code != "acceptance"]
    figures = (
        told.figure(reason.figure) if reason.code in _OF_RISK else reason.figure
        for reason in found
        if reason.figure is not None
    )
    return template(found, labels, told).format(*figures)


def template(found: Sequence[Reason], labels: Mapping[str, str], told: Told) -> str:
    """The line of `in_words` with a place for each figure, as `str.format` fills it; arguments as there."""
    return "; ".join(_words(reason, labels, told) for reason in found)


def _words(reason: Reason, labels: Mapping[str, str], told: Told) -> str:
    code, arm, figure = reason
    if figure is None:
        return _RULES[code]
    words = told.words(code) if code in _OF_RISK else _WITH_AN_ARM[code]
    return words if arm is None else words.replace("LABEL", labels[arm].replace("{", "{{").replace("}", "}}"))


_WITH_AN_ARM = {
    "acceptance": "LABEL is accepted with {:.0%}",
    "expected_value": "adds {:+.2f}",
    "no_offer_pays": "no offer pays: the best, LABEL, adds {:+.2f}",
    "waiting_is_worth_more": "waiting is worth more than LABEL now, which adds {:+.2f}",
}
_RULES = {
    "opted_out": "opted out of offers",
    "not_eligible": "not eligible for some offers",
    "offer_running": "an accepted offer is running",
    "cooldown": "contacted too recently",
    "cap_reached": "contacted as often as allowed",
    "budget": "the budget does not cover some offers",
    "holdout": "in the holdout, which is never contacted",
    "exploration": "chosen at random, to learn from",
    "kill_switch": "offers are switched off",
    "experiment": "chosen by chance, in a campaign to learn from",
    "no_offer_model": "no offer model",
}

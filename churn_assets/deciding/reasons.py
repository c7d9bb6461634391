"""Why a decision fell as it did: as codes with figures, and as a line for people. Decides nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple


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


def in_words(found: Sequence[Reason], labels: Mapping[str, str], window_months: float) -> str:
    """One line that names the figures the policy saw.

    Args:
        found: The reasons.
        labels: Label of every arm by its id.
        window_months: Label window of the risk.
    """
    figures = (reason.figure for reason in found if reason.figure is not None)
    return template(found, labels, window_months).format(*figures)


def template(found: Sequence[Reason], labels: Mapping[str, str], window_months: float) -> str:
    """The line of `in_words` with a place for each figure, as `str.format` fills it; arguments as there."""
    return "; ".join(_words(reason, labels, window_months) for reason in found)


def _words(reason: Reason, labels: Mapping[str, str], window_months: float) -> str:
    code, arm, figure = reason
    if figure is None:
        return _RULES[code]
    if arm is None:
        return f"risk {{:.1%}} within {window_months:g} months"
    return _WITH_AN_ARM[code].replace("LABEL", labels[arm].replace("{", "{{").replace("}", "}}"))


_WITH_AN_ARM = {
    "acceptance": "LABEL is accepted with {:.0%}",
    "risk_if_offered": "risk if offered {:.1%}",
    "expected_value": "adds {:+.2f}",
    "contact_raises_risk": "contact would raise it: {:.1%} with LABEL",
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

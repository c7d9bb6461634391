"""Why a decision fell as it did: as codes with figures, and as a line for people. Decides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Reason(NamedTuple):
    """One reason: a code, the offer that it is about (if any), and its figure (if any)."""

    code: str
    offer_pct: float | None = None
    figure: float | None = None


def reasons(
    arm: int,
    risk: float,
    rules: Sequence[str],
    possible: Sequence[int],
    menu: Sequence[float],
    acceptance: Sequence[float],
    if_offered: Sequence[float],
    value: Sequence[float],
) -> tuple[Reason, ...]:
    """The reasons of one decision, the most telling last.

    Args:
        arm: The arm decided; 0 is no contact.
        risk: P(churn) without contact.
        rules: What forbade offers, or took the decision from the policy.
        possible: Arms among which the policy preferred no contact; none where it was not the policy's choice.
        menu: (K,) offers as fractions of the price.
        acceptance: (K,) P(accept).
        if_offered: (K,) P(churn) after the offer.
        value: (K,) what the offer adds over never contacting.
    """
    found = (Reason("risk", None, risk), *map(Reason, rules))
    if arm:
        return (
            *found,
            Reason("acceptance", menu[arm], acceptance[arm]),
            Reason("risk_if_offered", menu[arm], if_offered[arm]),
            Reason("expected_value", menu[arm], value[arm]),
        )
    if not possible:
        return found
    best = max(possible, key=value.__getitem__)
    if if_offered[best] > risk:
        return (*found, Reason("contact_raises_risk", menu[best], if_offered[best]))
    if value[best] <= 0:
        return (*found, Reason("no_offer_pays", menu[best], value[best]))
    return (*found, Reason("waiting_is_worth_more", menu[best], value[best]))


def in_words(found: Sequence[Reason], window_months: float) -> str:
    """One line that names the figures the policy saw."""
    return "; ".join(_words(reason, window_months) for reason in found)


def _words(reason: Reason, window_months: float) -> str:
    code, offer, figure = reason
    if offer is None or figure is None:
        return f"risk {figure:.1%} within {window_months:g} months" if figure is not None else _RULES[code]
    off = f"{offer:.0%} off"
    return {
        "acceptance": f"{off} is accepted with {figure:.0%}",
        "risk_if_offered": f"risk if offered {figure:.1%}",
        "expected_value": f"adds {figure:+.2f}",
        "contact_raises_risk": f"contact would raise it: {figure:.1%} with {off}",
        "no_offer_pays": f"no offer pays: the best, {off}, adds {figure:+.2f}",
        "waiting_is_worth_more": f"waiting is worth more than {off} now, which adds {figure:+.2f}",
    }[code]


_RULES = {
    "opted_out": "opted out of offers",
    "not_eligible": "not eligible for some offers",
    "discount_running": "a discount is running",
    "cooldown": "contacted too recently",
    "cap_reached": "contacted as often as allowed",
    "budget": "the budget does not cover some offers",
    "holdout": "in the holdout, which is never contacted",
    "exploration": "chosen at random, to learn from",
    "kill_switch": "offers are switched off",
}

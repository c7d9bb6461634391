"""What a decision hangs on: which features drive the risk, and what would have to be otherwise for another arm.

Everything is asked of the one decider, one change at a time: what it says of a customer who is the same but for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from churn_assets.deciding.decider import Budget

if TYPE_CHECKING:
    from churn_assets.customers.table import CustomerTable
    from churn_assets.deciding.decider import CustomerInput, Decider, Decision

GivenValue = float | str | None

STEPS = 19
"""Quantiles of a numeric feature that are tried."""
PRICES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 50.0)
"""Of a unit of money, that are tried: from hardly scarce to nearly none left."""


@dataclass(frozen=True)
class Contribution:
    """What one feature does to the risk.

    Attributes:
        feature: Which.
        value: The customer's.
        typical: The median of the known customers, or the commonest value.
        risk_if_typical: P(churn) without contact if the customer were typical in this alone.
        adds: The risk less that.
    """

    feature: str
    value: GivenValue
    typical: GivenValue
    risk_if_typical: float
    adds: float


@dataclass(frozen=True)
class Switch:
    """The least change of one feature that is decided otherwise.

    Attributes:
        feature: Which.
        value: The customer's.
        other: The value from which another arm is decided.
        arm: Id of that arm.
    """

    feature: str
    value: GivenValue
    other: GivenValue
    arm: str


@dataclass(frozen=True)
class Explanation:
    """One decision explained.

    Attributes:
        decision: What is decided, with all that is known of every arm.
        drivers: By how much they move the risk, the most first.
        switches: What would change the decision, in the order of the features.
        budget_price: The least of the prices tried of a unit of money at which another arm is decided; None if none.
        priced_arm: Id of that arm.
    """

    decision: Decision
    drivers: Sequence[Contribution]
    switches: Sequence[Switch]
    budget_price: float | None
    priced_arm: str | None


def explain(decider: Decider, customer: CustomerInput, known: CustomerTable) -> Explanation:
    """Explain what is decided for a customer, if everybody is left to the policy.

    Args:
        decider: Who decides.
        customer: For whom.
        known: Customers whose values are usual.

    Raises:
        CustomerError: The customer is not as the release's signature says.
    """
    (decision,) = decider.decide([customer])
    tried = {name: _tried(known, name) for name in decider.schema.names}
    typical = {name: _typical(known, name) for name in decider.schema.names}
    price, arm = _priced(decider, customer, decision.chosen.arm.id)
    return Explanation(
        decision,
        _drivers(decider, customer, decision.risk, typical),
        _switches(decider, customer, decision.chosen.arm.id, tried),
        price,
        arm,
    )


def _drivers(
    decider: Decider, customer: CustomerInput, risk: float, typical: Mapping[str, GivenValue]
) -> list[Contribution]:
    names = [name for name, value in typical.items() if value != customer.features[name]]
    answers = decider.decide([_with(customer, name, typical[name]) for name in names])
    found = [
        Contribution(name, customer.features[name], typical[name], each.risk, risk - each.risk)
        for name, each in zip(names, answers, strict=True)
    ]
    return sorted(found, key=lambda each: -abs(each.adds))


def _switches(
    decider: Decider, customer: CustomerInput, arm: str, tried: Mapping[str, Sequence[GivenValue]]
) -> list[Switch]:
    """For each feature the nearest of the values tried with another arm."""
    asked = [
        (name, value)
        for name, values in tried.items()
        for value in sorted(values, key=lambda each: _distance(each, customer.features[name]))
        if value != customer.features[name]
    ]
    found: dict[str, Switch] = {}
    answers = decider.decide([_with(customer, *each) for each in asked])
    for (name, value), each in zip(asked, answers, strict=True):
        if each.chosen.arm.id != arm:
            found.setdefault(name, Switch(name, customer.features[name], value, each.chosen.arm.id))
    return list(found.values())


def _priced(decider: Decider, customer: CustomerInput, arm: str) -> tuple[float | None, str | None]:
    for price in PRICES:
        (decision,) = decider.decide([customer], budget=Budget(price=price))
        if decision.chosen.arm.id != arm:
            return price, decision.chosen.arm.id
    return None, None


def _with(customer: CustomerInput, feature: str, value: GivenValue) -> CustomerInput:
    return replace(customer, features={**customer.features, feature: value})


def _distance(value: GivenValue, own: GivenValue) -> float:
    """How far a number is from the customer's own; texts are all as far."""
    return abs(value - own) if isinstance(value, int | float) and isinstance(own, int | float) else 0.0


def _typical(known: CustomerTable, name: str) -> GivenValue:
    column = known.frame[name].dropna()
    if not len(column):
        return None
    if known.schema.feature(name).kind == "numeric":
        return float(column.median())
    return str(column.mode().iloc[0])


def _tried(known: CustomerTable, name: str) -> Sequence[GivenValue]:
    feature = known.schema.feature(name)
    if feature.kind == "categorical":
        return feature.categories
    column = known.frame[name].dropna().to_numpy(np.float64)
    if not len(column):
        return ()
    values: list[float] = np.unique(np.quantile(column, np.linspace(0, 1, STEPS), method="nearest")).tolist()
    return values

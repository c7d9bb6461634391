"""The `economics:` section: what a customer, an offer and a contact are worth, for every stage alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from churn_assets.arms import ArmConfig, Catalogue, Menu, MoneyAmount

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Economics(BaseModel, frozen=True, extra="forbid"):
    """Money rules of an offer decision, in the currency of the monthly list price; see `decision_value`."""

    currency: str = Field(default="USD", pattern=r"^[A-Z]{3}$", description="ISO 4217 code of all money.")
    margin: float = Field(
        default=0.50, gt=0, le=1, description="Contribution margin as a share of the list price."
    )
    contact_cost: MoneyAmount = Field(
        default=1.0,
        description="Cost of one contact, whatever comes of it, for arms that do not say their own.",
    )
    value_horizon_months: int = Field(
        default=12, ge=1, description="Months of margin that a retained customer is worth."
    )
    discount_months: int = Field(
        default=6,
        ge=1,
        le=120,
        description="Months that a percent off runs where the menu gives only the percent.",
    )


def catalogue(arms: Sequence[ArmConfig], economics: Economics) -> Catalogue:
    """All arms of an experiment: those of its `arms:` section, and percents off by the rules of `economics`."""
    return Catalogue(tuple(arms), economics.discount_months, economics.contact_cost, economics.currency)


def decision_value(
    menu: Menu, arm: Ints, price: Floats, accepted: Ints, churned: Ints, economics: Economics
) -> Floats:
    """(n,) money that decisions were worth over one label window.

    ``(1 - churned) * margin * price * value_horizon_months
    - accepted * ((1 - churned) * monthly * months + given_once) - contact_cost``: what runs by the month is paid to
    those who stay, what is given at once is gone whoever leaves.

    Args:
        menu: The arms.
        arm: (n,) index into `menu` of what was decided.
        price: (n,) monthly list price.
        accepted: (n,) 1 where the offer was accepted.
        churned: (n,) 1 where the customer left in the label window.
        economics: What a customer is worth.

    >>> menu = Catalogue().menu([0.0, 0.1])
    >>> ones = np.ones(1, np.int64)
    >>> decision_value(menu, ones, np.array([50.0]), ones, 0 * ones, Economics())
    array([269.])
    """
    worth = economics.margin * price * economics.value_horizon_months
    benefit = menu.monthly(price)[np.arange(len(arm)), arm] * menu.months[arm]
    value: Floats = (1 - churned) * (worth - accepted * benefit)
    return value - accepted * menu.given_once[arm] - menu.contact_cost[arm]

"""The `economics:` section: what a customer, an offer and a contact are worth, for every stage alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, model_validator

from churn_assets.arms import ArmConfig, Catalogue, Menu, MoneyAmount

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class OutcomeConfig(BaseModel, frozen=True, extra="forbid"):
    """What a decision is to bring in place of customers who stay: visits, or an amount of money, in one window.

    One of `worth` and `largest` says which. Either is learned as the share that was missed, 1 less the outcome over its
    largest: 0 or 1 of a visit, anything between of an amount. See docs/outcomes.md.
    """

    column: str = Field(min_length=1, description="Column of the offer log's file that says what came.")
    window_days: float = Field(gt=0, description="Days after a decision in which it is counted.")
    worth: float | None = Field(
        default=None, gt=0, description="Of an outcome that comes or does not: money that one brings us."
    )
    largest: float | None = Field(
        default=None,
        gt=0,
        description="Of an amount of money: what counts at most of one decision; larger ones count as much. "
        "`economics.margin` says which share of it is ours.",
    )

    @model_validator(mode="after")
    def _comes_or_is_an_amount(self) -> Self:
        if (self.worth is None) == (self.largest is None):
            raise ValueError(
                "expected one of worth (money that a visit, or a sale, brings: the column says yes or no) and largest "
                "(the most that counts of an amount of money)"
            )
        return self

    @property
    def amount(self) -> bool:
        """Whether it is an amount of money, and not something that comes or does not."""
        return self.largest is not None

    @property
    def unit(self) -> float:
        """The largest outcome, in its own unit."""
        return 1.0 if self.largest is None else self.largest


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
    outcome: OutcomeConfig | None = Field(
        default=None, description="What the value is of; left out: of customers who stay."
    )

    @model_validator(mode="after")
    def _one_window(self) -> Self:
        """Of another outcome nothing runs on after its window: it is paid for once, and so is what is given."""
        if self.outcome is None:
            return self
        once = [each for each in ("value_horizon_months", "discount_months") if getattr(self, each) != 1]
        if not self.outcome.amount and self.margin != 1:
            once.append("margin")
        if once:
            raise ValueError(
                f"{', '.join(once)}: found beside outcome, where it has no meaning; leave it out"
            )
        return self


@dataclass(frozen=True)
class ServedTerms:
    """What an experiment says of its served decisions that their log does not.

    Attributes:
        constants: Features that everybody has one value of, which a question may leave out.
        outcome: What the value is of; None: of customers who stay.
        asks: Whether some arm gives what may be accepted; where none does, nobody needs to be told who accepted.
    """

    constants: Mapping[str, float] = field(default_factory=dict)
    outcome: OutcomeConfig | None = None
    asks: bool = True

    @classmethod
    def of(cls, arms: Sequence[ArmConfig], economics: Economics, constants: Mapping[str, float]) -> Self:
        """By the sections of an experiment; without declared arms, percents off are made."""
        return cls(constants, economics.outcome, not arms or any(arm.terms.kind != "contact" for arm in arms))

    def missed(self, outcome: float) -> float | None:
        """Share of the largest outcome that was missed; None where the value is of something else."""
        return None if self.outcome is None else 1 - min(outcome, self.outcome.unit) / self.outcome.unit


OF_STAYERS = ServedTerms()
"""Of an experiment that says nothing of its own: the value is of customers who stay."""


def catalogue(arms: Sequence[ArmConfig], economics: Economics) -> Catalogue:
    """All arms of an experiment: those of its `arms:` section, and percents off by the rules of `economics`."""
    return Catalogue(tuple(arms), economics.discount_months, economics.contact_cost, economics.currency)


def decision_value(
    menu: Menu, arm: Ints, price: Floats, accepted: Ints, churned: Floats | Ints, economics: Economics
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
        churned: (n,) 1 where the customer left in the label window, or the share of another outcome that was missed.
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

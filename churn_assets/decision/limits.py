"""Budgets as a company has them: limits on the cost or the contacts of some arms and customers, caps, a period.

What an experiment says under `budgets:`, checked against its menu, and ready for the customers of a release. How all
limits are kept at once stands in `knapsack.py`, how they last for their period in `pacing.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Annotated, Self

import numpy as np
from pydantic import BaseModel, Field, model_validator

from churn_assets.arms import (
    NO_CONTACT,
    NO_CONTACT_ID,
    ArmError,
    Condition,
    ContactChannel,
    Menu,
    MoneyAmount,
    Slug,
    did_you_mean,
)
from churn_assets.decision.process import Bools, Floats
from churn_assets.offers.eligibility import Eligibility

if TYPE_CHECKING:
    from churn_assets.customers.schema import CustomerSchema

THIS_RUN = "this_run"
"""The limit that `churn decide --budget` adds; no period remembers it."""
WaveName = Annotated[str, Field(pattern=r"^[\w.:-]{1,64}$")]
Contacts = Annotated[int, Field(ge=0, le=10**9)]
Arrivals = Annotated[int, Field(ge=0, le=10**9)]


class LimitConfig(BaseModel, frozen=True, extra="forbid"):
    """The most that some offers may use in a period: of an arm, a channel, a region, a team, a wave.

    Attributes:
        name: In answers and reports.
        most_cost: Money, each offer counted at the most that it can cost, its contact among it.
        most_contacts: Contacts; exactly one of the two is given.
        arms: That it is about; left out: all that contact.
        channels: By which it is contacted; left out: any.
        where: All conditions that a customer must keep, on features; left out: everybody.
        waves: Names of `churn decide --wave`, or of `serving.assignment_epoch`; left out: any.
    """

    name: Slug
    most_cost: MoneyAmount | None = None
    most_contacts: Contacts | None = None
    arms: Annotated[tuple[Slug, ...], Field(min_length=1)] | None = None
    channels: Annotated[tuple[ContactChannel, ...], Field(min_length=1)] | None = None
    where: tuple[Condition, ...] = ()
    waves: Annotated[tuple[WaveName, ...], Field(min_length=1)] | None = None

    @property
    def most(self) -> float:
        """The amount, in money or contacts."""
        return float(self.most_contacts or 0) if self.most_cost is None else self.most_cost

    @property
    def counts(self) -> bool:
        """Whether it counts contacts."""
        return self.most_cost is None

    def is_about(self, menu: Menu) -> list[bool]:
        """K, whether each arm of a menu draws on it."""
        return [
            arm.contacts
            and (self.arms is None or arm.id in self.arms)
            and (self.channels is None or arm.channel in self.channels)
            for arm in menu
        ]

    @model_validator(mode="after")
    def _of_one_unit(self) -> Self:
        if (self.most_cost is None) == (self.most_contacts is None):
            found = "neither" if self.most_cost is None else "both"
            raise ValueError(f"found {found} of most_cost and most_contacts, expected exactly one of them")
        return self


class CustomerCapConfig(BaseModel, frozen=True, extra="forbid"):
    """What one customer may get at most, whatever the limits leave.

    Attributes:
        most_cost: Money that one offer may cost at most.
        most_contacts: Contacts that a customer may have had, this one included: offers of the running episode and
            other offers of the 90 days before.
    """

    most_cost: MoneyAmount | None = None
    most_contacts: Annotated[int, Field(ge=1, le=1000)] | None = None


class PeriodConfig(BaseModel, frozen=True, extra="forbid"):
    """The weeks that limits must last for; then the next period begins with all of them again.

    Attributes:
        starts: First day of the first period (UTC).
        weeks: Of each period.
        arrivals: Customers that are expected to be decided for, each week or week by week; left out: as many as so far.
    """

    starts: date
    weeks: Annotated[int, Field(ge=1, le=520)] = 4
    arrivals: Arrivals | tuple[Arrivals, ...] | None = None

    @property
    def forecast(self) -> tuple[int, ...] | None:
        """Customers expected in each week; None: not told."""
        return (self.arrivals,) * self.weeks if isinstance(self.arrivals, int) else self.arrivals

    @model_validator(mode="after")
    def _a_forecast_of_every_week(self) -> Self:
        if isinstance(self.arrivals, tuple) and len(self.arrivals) != self.weeks:
            raise ValueError(
                f"arrivals: found {len(self.arrivals)} numbers, expected one for each of the {self.weeks} weeks"
            )
        return self


class BudgetsConfig(BaseModel, frozen=True, extra="forbid"):
    """All that limits what may be offered to all together, and to one customer.

    Attributes:
        limits: All hold at once.
        customer: Caps for each customer.
        period: That the limits must last for.
        ledger: Folder of the record of what is used, relative to the project; all workers and commands of a machine
            share it.
        share: Part of every limit that this ledger may use: with two machines that cannot see each other's, half.
    """

    limits: tuple[LimitConfig, ...] = ()
    customer: CustomerCapConfig = CustomerCapConfig()
    period: PeriodConfig | None = None
    ledger: Annotated[str, Field(min_length=1)] = ".churn/budgets"
    share: Annotated[float, Field(gt=0, le=1)] = 1.0

    @model_validator(mode="after")
    def _limits_have_a_period(self) -> Self:
        if self.limits and self.period is None:
            raise ValueError(
                "limits must last for a period; expected period: {starts: a day, weeks: a number}"
            )
        if not self.limits and self.customer == CustomerCapConfig():
            raise ValueError("found neither limits nor customer; expected one of them, or no section")
        return self

    def problems(self, menu: Menu) -> Iterator[str]:
        """Everything in it that cannot be meant, each with its key.

        Args:
            menu: What may be offered.
        """
        for place, limit in enumerate(self.limits):
            key = f"budgets.limits.{place}"
            if limit.name == THIS_RUN or limit.name in [each.name for each in self.limits[:place]]:
                yield f"{key}.name: found {limit.name!r}, which is taken; expected names that differ"
            yield from _unknown_arms(limit, menu, key)
            yield from _empty_conditions(limit, key)
            yield from _never_reached(place, self.limits, menu, key)
        most, least = self.customer.most_cost, min(arm.contact_cost for arm in menu if arm.contacts)
        if most is not None and most < least:
            yield (
                f"budgets.customer.most_cost: found {most:g}, below the {least:g} that a contact costs at least, so "
                "that nobody could be contacted; expected more, or serving.kill_switch"
            )


def _unknown_arms(limit: LimitConfig, menu: Menu, key: str) -> Iterator[str]:
    known = list(menu.ids[1:])
    strange = [each for each in limit.arms or () if each not in known]
    for arm in strange:
        near = "; no contact uses nothing" if arm == NO_CONTACT_ID else did_you_mean(arm, known)
        yield f"{key}.arms: found {arm!r}, expected one of {', '.join(known)}{near}"
    if not strange and not any(limit.is_about(menu)):
        reached = sorted(
            {str(arm.channel) for arm in menu if arm.contacts and arm.id in (limit.arms or known)}
        )
        found = ", ".join(limit.channels or ())
        yield f"{key}.channels: found {found}, by which none of these arms goes; expected {', '.join(reached)}"


def _empty_conditions(limit: LimitConfig, key: str) -> Iterator[str]:
    """Pairs of conditions on one column that nobody keeps."""
    for place, one in enumerate(limit.where):
        for other in limit.where[:place]:
            if one.column != other.column:
                continue
            low = max(each.at_least if each.at_least is not None else -math.inf for each in (one, other))
            high = min(each.at_most if each.at_most is not None else math.inf for each in (one, other))
            texts = [set(map(str, each.one_of)) for each in (one, other) if each.one_of is not None]
            if low > high or (len(texts) == 2 and not texts[0] & texts[1]):
                yield (
                    f"{key}.where.{place}: found a condition on {one.column!r} that nobody keeps who keeps the one "
                    "before; expected conditions that some customers keep together"
                )


def _never_reached(place: int, limits: tuple[LimitConfig, ...], menu: Menu, key: str) -> Iterator[str]:
    """Limits that another one makes useless: it covers all that they cover, and allows no more."""
    mine = limits[place]
    unit = "most_contacts" if mine.counts else "most_cost"
    for number, other in enumerate(limits):
        same = other.most == mine.most and number > place  # of two equal ones the second is told of
        if number == place or same or other.counts != mine.counts or other.most > mine.most:
            continue
        wider = all(
            its or not own for its, own in zip(other.is_about(menu), mine.is_about(menu), strict=True)
        )
        anybody = all(each in mine.where for each in other.where)
        anytime = other.waves is None or (mine.waves is not None and set(mine.waves) <= set(other.waves))
        if wider and anybody and anytime and any(mine.is_about(menu)):
            yield (
                f"{key}.{unit}: found {mine.most:g}, which is never reached: {other.name!r} covers all of it and "
                f"allows {other.most:g}; expected less, or leave one of them out"
            )


class BudgetError(ValueError):
    """Budgets do not fit the release that decides; the message says what was found and expected."""


@dataclass(frozen=True, eq=False)
class Limits:
    """Limits for the customers and the menu of one release.

    Attributes:
        names: J.
        most: (J,) of a whole period, in money or contacts.
        contacts: (J,) whether it counts contacts.
        arms: (J, K) which arms draw on it.
        conditions: Who is covered, a limit in the place of an arm.
        cap: What one customer may get.
    """

    names: tuple[str, ...]
    most: Floats
    contacts: Bools
    arms: Bools
    conditions: Eligibility
    cap: CustomerCapConfig

    @classmethod
    def of(cls, config: BudgetsConfig, menu: Menu, schema: CustomerSchema, wave: str | None = None) -> Limits:
        """The limits that hold for a wave.

        Args:
            config: What the experiment says.
            menu: Of the release.
            schema: Of its customers.
            wave: Which wave is decided for; None: one without a name.

        Raises:
            BudgetError: The release has no such arm, or its customers no such column or values.
        """
        limits = [each for each in config.limits if each.waves is None or wave in each.waves]
        for limit in limits:
            if strange := next((arm for arm in limit.arms or () if arm not in menu.ids), None):
                raise BudgetError(
                    f"budgets: limit {limit.name}: found arm {strange!r}, expected one of the release's "
                    f"{', '.join(menu.ids[1:])}"
                )
        who = [NO_CONTACT.model_copy(update={"id": each.name, "eligible": each.where}) for each in limits]
        try:
            conditions = Eligibility.of(who, schema)
        except ArmError as error:
            raise BudgetError(f"budgets: {str(error).replace('arm ', 'limit ', 1)}") from error
        share = np.array([1.0 if each.name == THIS_RUN else config.share for each in limits])
        most = np.array([each.most for each in limits], np.float64) * share
        counts = np.array([each.counts for each in limits], bool)
        return cls(
            names=tuple(each.name for each in limits),
            most=np.where(counts, np.floor(most), most),
            contacts=counts,
            arms=np.array([each.is_about(menu) for each in limits], bool).reshape(len(limits), len(menu)),
            conditions=conditions,
            cap=config.customer,
        )

    @property
    def remembered(self) -> Bools:
        """(J,) whether a period remembers what is used of it."""
        return np.array([name != THIS_RUN for name in self.names], bool)

    def covered(self, X: Floats) -> Bools:
        """(n, J) which limits the customers of (n, F) rows of the design matrix draw on."""
        return self.conditions.allowed(X)


def for_this_run(config: BudgetsConfig | None, amount: float | None) -> BudgetsConfig | None:
    """The budgets of one run: those configured, and perhaps a most cost of the run alone; None: nothing is limited."""
    if amount is None:
        return config
    alone = LimitConfig(name=THIS_RUN, most_cost=amount)
    if config is None:
        return BudgetsConfig.model_construct(limits=(alone,))
    return config.model_copy(update={"limits": (*config.limits, alone)})

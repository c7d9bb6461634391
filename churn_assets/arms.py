"""What may be offered: an arm, its terms, who may get it and what it costs us; menus of arms.

The ground floor: knows no customer table and no model. A kind of arm is one class here, listed in `Terms`; everything
else (log, environment, budgets, messages, safety rules, API) reads arms through what `TermsBase` declares.
Fractions inside: percents stand only in ids, labels and the shorthand of a menu.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, Field, TypeAdapter, model_validator

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ContactChannel = Literal["sms", "email", "letter", "phone"]
Slug = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
MoneyAmount = Annotated[float, Field(ge=0, le=1e9)]
Months = Annotated[int, Field(ge=1, le=120)]
Size = Annotated[float, Field(ge=0, le=1e9)]
ShortText = Annotated[str, Field(min_length=1, max_length=120)]
_KIND = Field(description="Which kind of terms these are.")
_MONTHS = Field(description="Months that the benefit runs.")
_NO_MONTHS = Field(description="Always 0: nothing runs from month to month.")

USUAL_CHANNEL: ContactChannel = "sms"
NO_CONTACT_ID = "no_contact"
_PERCENT = "percent_"
ROUNDING = 1e-12
"""Of sums and products of shares."""


class ArmError(ValueError):
    """An arm or a menu is not what it must be; the message says what was found and what was expected."""


class _Frozen(BaseModel, frozen=True, extra="forbid"):
    """Fixed once it is read, and nothing unknown in it."""


class TermsBase(_Frozen):
    """What a customer gets who accepts, and what that costs us. Every kind of arm answers these questions.

    Attributes:
        months: Months that the benefit runs; 0 for one that is given at once, or none.
    """

    months: int = 0

    @property
    def given_once(self) -> float:
        """Money that what is given at acceptance costs us; 0 for a benefit that runs."""
        return 0.0

    @property
    def size(self) -> float:
        """Orders the arms of one family: the larger, the more it is worth to the customer."""
        return 0.0

    @property
    def share_off(self) -> float | None:
        """Share of the price taken off, where the terms say one (0.2 is 20 %)."""
        return None

    @property
    def amount_off(self) -> float | None:
        """Money taken off a month, where the terms say an amount."""
        return None

    @property
    def gift_words(self) -> str | None:
        """What is given, in the words of a message, where the terms say a thing."""
        return None

    def monthly(self, price: Floats) -> Floats:
        """(n,) money given a month while the benefit runs, to customers who pay (n,) `price` a month."""
        return np.zeros_like(price)

    @property
    def family(self) -> str | None:
        """What arms have in common that size orders, if they come by one channel; None: nothing orders this kind."""
        return None

    def label(self, currency: str, channel: str) -> str:
        """The terms in a few words, for people."""
        raise NotImplementedError(type(self).__name__)


class NoContact(TermsBase):
    """The customer is left alone."""

    kind: Annotated[Literal["no_contact"], _KIND] = "no_contact"
    months: Annotated[Literal[0], _NO_MONTHS] = 0

    def label(self, currency: str, channel: str) -> str:  # noqa: ARG002 - says neither
        return "no contact"


class PercentOff(TermsBase):
    """A share off the list price for some months.

    >>> PercentOff(share=0.2, months=6).label("USD", "sms")
    '20% off for 6 months'
    """

    kind: Annotated[Literal["percent_off"], _KIND] = "percent_off"
    share: Annotated[float, Field(gt=0, le=1, description="Share of the list price; 0.2 is 20 %.")]
    months: Annotated[Months, _MONTHS]

    @property
    def size(self) -> float:
        return self.share

    @property
    def share_off(self) -> float | None:
        return self.share

    def monthly(self, price: Floats) -> Floats:
        return self.share * price

    @property
    def family(self) -> str | None:
        return f"{self.kind}_{self.months}"

    def label(self, currency: str, channel: str) -> str:  # noqa: ARG002 - says neither
        return f"{percents(self.share)}% off for {in_months(self.months)}"


class AmountOff(TermsBase):
    """Money off the monthly price, at most the price itself, for some months."""

    kind: Annotated[Literal["amount_off"], _KIND] = "amount_off"
    amount: Annotated[float, Field(gt=0, le=1e9, description="Money a month, in the currency of the prices.")]
    months: Annotated[Months, _MONTHS]

    @property
    def size(self) -> float:
        return self.amount

    @property
    def amount_off(self) -> float | None:
        return self.amount

    def monthly(self, price: Floats) -> Floats:
        return np.minimum(self.amount, price)

    @property
    def family(self) -> str | None:
        return f"{self.kind}_{self.months}"

    def label(self, currency: str, channel: str) -> str:  # noqa: ARG002 - the channel is not said
        return f"{amount_words(self.amount)} {currency} off a month for {in_months(self.months)}"


class FreeMonths(TermsBase):
    """The next months cost nothing."""

    kind: Annotated[Literal["free_months"], _KIND] = "free_months"
    months: Annotated[Months, _MONTHS]

    @property
    def size(self) -> float:
        return float(self.months)

    def monthly(self, price: Floats) -> Floats:
        return price

    @property
    def family(self) -> str | None:
        return self.kind

    def label(self, currency: str, channel: str) -> str:  # noqa: ARG002 - says neither
        return f"{self.months} free {'month' if self.months == 1 else 'months'}"


class Gift(TermsBase):
    """Something given at acceptance, an upgrade for instance. What orders gifts is unknown: each is its own family."""

    kind: Annotated[Literal["gift"], _KIND] = "gift"
    gift: Annotated[ShortText, Field(description="What is given, in words for people.")]
    cost: Annotated[MoneyAmount, Field(description="Money that it costs us, once.")]
    months: Annotated[Literal[0], _NO_MONTHS] = 0

    @property
    def given_once(self) -> float:
        return self.cost

    @property
    def size(self) -> float:
        return self.cost

    @property
    def gift_words(self) -> str | None:
        return self.gift

    def label(self, currency: str, channel: str) -> str:  # noqa: ARG002 - says neither
        return self.gift


class Contact(TermsBase):
    """A contact that brings nothing: a call, a letter."""

    kind: Annotated[Literal["contact"], _KIND] = "contact"
    months: Annotated[Literal[0], _NO_MONTHS] = 0

    def label(self, currency: str, channel: str) -> str:  # noqa: ARG002 - the currency is not said
        return {"phone": "a call", "letter": "a letter"}.get(channel, f"a message by {channel}")


Terms = Annotated[
    NoContact | PercentOff | AmountOff | FreeMonths | Gift | Contact, Field(discriminator="kind")
]


class Condition(_Frozen):
    """One condition on a column of the customer table. With no comparison, the column must say yes.

    Attributes:
        column: A feature of the customer table.
        one_of: Values that are meant, compared as text.
        at_least: Smallest number that is meant.
        at_most: Largest.
    """

    column: Annotated[str, Field(min_length=1)]
    one_of: Annotated[tuple[str | int | float | bool, ...], Field(min_length=1)] | None = None
    at_least: float | None = None
    at_most: float | None = None

    @model_validator(mode="after")
    def _compares_one_way(self) -> Self:
        ranged = self.at_least is not None or self.at_most is not None
        if ranged and self.one_of is not None:
            raise ValueError("one_of stands beside at_least or at_most; a column is a text or a number")
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError(
                f"at_least {self.at_least:g} lies above at_most {self.at_most:g}: nobody keeps it"
            )
        return self

    @property
    def reads_numbers(self) -> bool:
        """Whether it compares numbers, so that a column of texts can never keep it."""
        return self.at_least is not None or self.at_most is not None

    def among(self, numbers: Floats) -> NDArray[np.bool_]:
        """(n,) whether numbers keep it; a blank (NaN) does not.

        Raises:
            ArmError: It means a text.

        >>> Condition(column="tenure", at_least=12).among(np.array([24.0, 6.0])).tolist()
        [True, False]
        """
        if self.reads_numbers:
            low = -np.inf if self.at_least is None else self.at_least
            high = np.inf if self.at_most is None else self.at_most
            return np.asarray((numbers >= low) & (numbers <= high))
        try:
            wanted = [1.0] if self.one_of is None else list(map(float, self.one_of))
        except ValueError as error:
            found = ", ".join(map(str, self.one_of or ()))
            raise ArmError(f"found one_of {found}, expected numbers for a column of numbers") from error
        return np.asarray((numbers[:, None] == wanted).any(axis=1))

    def means(self, text: str) -> bool:
        """Whether a text keeps it.

        Raises:
            ArmError: It compares numbers.

        >>> Condition(column="has_fibre").means("Yes")
        True
        """
        if self.reads_numbers:
            raise ArmError("found at_least or at_most, expected one_of for a column of texts")
        return _text(text) in (_YES if self.one_of is None else map(_text, self.one_of))


_YES = frozenset({"yes", "true", "1", "y"})


def _text(value: float | str | bool) -> str:
    plain = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    return plain.strip().casefold()


class Arm(_Frozen):
    """One thing that may be done with a customer: leave them alone, or contact them with something.

    Attributes:
        id: Names it everywhere: log columns, API, reports.
        label: In a few words, for people.
        terms: What the customer gets.
        channel: How the customer is contacted; None for no contact.
        contact_cost: Money that the contact costs, whatever comes of it.
        eligible: All conditions that a customer must keep.
        family: Arms of one family are ordered by `size`, and acceptance rises with it; nothing is assumed across.
        size: Order within the family.
    """

    id: Slug
    label: ShortText
    terms: Terms
    channel: ContactChannel | None
    contact_cost: MoneyAmount
    eligible: tuple[Condition, ...] = ()
    family: Slug
    size: Size

    def __hash__(self) -> int:
        return hash(self.id)  # arms are looked up at every message, and all fields take ten times as long

    @property
    def contacts(self) -> bool:
        """Whether the customer is contacted at all."""
        return self.terms.kind != "no_contact"

    @property
    def months(self) -> int:
        """Months that an accepted benefit runs."""
        return self.terms.months


NO_CONTACT = Arm(
    id=NO_CONTACT_ID,
    label="no contact",
    terms=NoContact(),
    channel=None,
    contact_cost=0.0,
    family=NO_CONTACT_ID,
    size=0.0,
)


class ArmConfig(_Frozen):
    """An arm as an experiment declares it; what is left out comes from its terms and from `economics:`.

    Attributes:
        id: As of `Arm`, like the others; not `no_contact`.
        label: Made from the terms where left out.
        terms: What the customer gets.
        channel: How the customer is contacted.
        contact_cost: Money; `economics.contact_cost` where left out.
        eligible: All conditions that a customer must keep.
        family: By kind, duration and channel where left out; a gift and a bare contact are families of their own. The
            same offer in a call and in a letter is accepted differently: declare one family to order them.
        size: By the terms where left out: needed where arms of different kinds share a family.
    """

    id: Slug
    label: ShortText | None = None
    terms: Terms
    channel: ContactChannel = USUAL_CHANNEL
    contact_cost: MoneyAmount | None = None
    eligible: tuple[Condition, ...] = ()
    family: Slug | None = None
    size: Size | None = None

    @property
    def default_family(self) -> str:
        """The family where none is declared."""
        by_channel = "" if self.channel == USUAL_CHANNEL else f"_{self.channel}"
        return self.id if self.terms.family is None else self.terms.family + by_channel

    @model_validator(mode="after")
    def _contacts(self) -> Self:
        if self.id == NO_CONTACT_ID or self.terms.kind == "no_contact":
            raise ValueError(f"{NO_CONTACT_ID} is always there and is not declared")
        return self


@dataclass(frozen=True)
class Catalogue:
    """All arms that an experiment knows: those it declares, no contact, and percents off as a shorthand.

    Attributes:
        declared: The arms of the experiment's `arms:` section.
        discount_months: Months that a shorthand percent runs.
        contact_cost: Money of a contact where an arm does not say.
        currency: ISO 4217, for labels.

    >>> catalogue = Catalogue(discount_months=6, contact_cost=1.0)
    >>> catalogue.menu([0.0, 0.05, 0.1]).ids
    ('no_contact', 'percent_5', 'percent_10')
    """

    declared: tuple[ArmConfig, ...] = ()
    discount_months: int = 6
    contact_cost: float = 1.0
    currency: str = "USD"

    def arm(self, name: str | float) -> Arm:
        """The arm of an id, or of a share off the price (0 is no contact).

        Raises:
            ArmError: There is no such arm; names the nearest.
        """
        if not isinstance(name, str):
            return NO_CONTACT if name == 0 else self._percent(float(name))
        if name == NO_CONTACT_ID:
            return NO_CONTACT
        for config in self.declared:
            if config.id == name:
                return self._resolved(config)
        share = percent_share(name)
        if share is not None:
            return self._percent(share)
        known = [NO_CONTACT_ID, *(config.id for config in self.declared)]
        expected = f"one of {', '.join(known)} or percent_<number>{did_you_mean(name, known)}"
        message = f"found arm {name!r}, expected {expected}"
        raise ArmError(message)

    def menu(self, names: Iterable[str | float]) -> Menu:
        """The menu of these arms, in order.

        Raises:
            ArmError: An arm is unknown or stands twice, the first is not no contact, or there is nothing to offer.
        """
        menu = Menu(tuple(self.arm(name) for name in names))
        if len(menu) < 2:
            raise ArmError(_not_a_menu(list(menu.ids)))
        return menu

    def _percent(self, share: float) -> Arm:
        if not 0 < share <= 1:
            message = f"found a share of {share:g} off the price, expected more than 0 and at most 1"
            raise ArmError(message)
        arm_id = percent_id(share)
        if abs((percent_share(arm_id) or 0.0) - share) > ROUNDING:
            message = f"found a share of {share!r} off the price, expected at most 8 digits behind the point"
            raise ArmError(message)
        return self._resolved(
            ArmConfig(id=arm_id, terms=PercentOff(share=share, months=self.discount_months))
        )

    def _resolved(self, config: ArmConfig) -> Arm:
        terms, channel = config.terms, config.channel
        return Arm(
            id=config.id,
            label=config.label or terms.label(self.currency, channel),
            terms=terms,
            channel=channel,
            contact_cost=self.contact_cost if config.contact_cost is None else config.contact_cost,
            eligible=config.eligible,
            family=config.family or config.default_family,
            size=terms.size if config.size is None else config.size,
        )


@dataclass(frozen=True)
class Menu(Sequence[Arm]):
    """Arms among which is chosen, no contact first. K is their number.

    Attributes:
        arms: In order; an arm's index is its position here.

    Raises:
        ArmError: No contact is not the first, an arm stands twice, or two arms of one family are of one size.
    """

    arms: tuple[Arm, ...]

    def __post_init__(self) -> None:
        ids = [arm.id for arm in self.arms]
        if not ids or ids[0] != NO_CONTACT_ID:
            raise ArmError(_not_a_menu(ids))
        repeated = sorted({each for each in ids if ids.count(each) > 1})
        if repeated:
            message = f"found the arm {repeated[0]} more than once in a menu"
            raise ArmError(message)
        seen: dict[tuple[str, float], str] = {}
        for arm in self.arms:
            other = seen.setdefault((arm.family, arm.size), arm.id)
            if other != arm.id:
                message = (
                    f"arms {other} and {arm.id} are both of size {arm.size:g} in family {arm.family!r}: give them "
                    "sizes that differ, or families of their own"
                )
                raise ArmError(message)

    def __len__(self) -> int:
        return len(self.arms)

    def __getitem__(self, index: Any) -> Any:
        return self.arms[index]

    def __iter__(self) -> Iterator[Arm]:
        return iter(self.arms)

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """(K,) ids."""
        return tuple(arm.id for arm in self.arms)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """(K,) labels."""
        return tuple(arm.label for arm in self.arms)

    @cached_property
    def position(self) -> Mapping[str, int]:
        """Index of each id."""
        return {each: index for index, each in enumerate(self.ids)}

    @cached_property
    def contact_cost(self) -> Floats:
        """(K,) money of a contact; 0 for no contact."""
        return np.array([arm.contact_cost for arm in self.arms], np.float64)

    @cached_property
    def given_once(self) -> Floats:
        """(K,) money that what is given at acceptance costs."""
        return np.array([arm.terms.given_once for arm in self.arms], np.float64)

    @cached_property
    def months(self) -> Ints:
        """(K,) months that an accepted benefit runs."""
        return np.array([arm.months for arm in self.arms], np.int64)

    @cached_property
    def size(self) -> Floats:
        """(K,) order within the family."""
        return np.array([arm.size for arm in self.arms], np.float64)

    @cached_property
    def families(self) -> tuple[str, ...]:
        """Families of the arms that contact, each once, in order."""
        return tuple(dict.fromkeys(arm.family for arm in self.arms if arm.contacts))

    @cached_property
    def family(self) -> Ints:
        """(K,) index into `families`; -1 for no contact."""
        return np.array([self.families.index(a.family) if a.contacts else -1 for a in self.arms], np.int64)

    def monthly(self, price: ArrayLike) -> Floats:
        """(n, K) money given a month while an arm's benefit runs, to customers who pay (n,) `price` a month."""
        paid = np.asarray(price, np.float64)
        return np.stack([arm.terms.monthly(paid) for arm in self.arms], axis=-1)

    def commitment(self, price: ArrayLike) -> Floats:
        """(n, K) the most that accepting an arm can cost, its contact apart."""
        return self.monthly(price) * self.months + self.given_once

    def limited_as(self, other: Menu) -> Menu:
        """The same arms, each with the conditions that it has in another menu beside its own."""

        def limited(arm: Arm) -> Arm:
            theirs = other[other.position[arm.id]].eligible if arm.id in other.position else ()
            return arm.model_copy(update={"eligible": tuple(dict.fromkeys((*arm.eligible, *theirs)))})

        return Menu(tuple(map(limited, self)))

    def to_json(self) -> list[dict[str, Any]]:
        """The arms as JSON."""
        return [arm.model_dump(mode="json") for arm in self.arms]

    @classmethod
    def from_json(cls, stored: Any) -> Menu:
        """Inverse of `to_json`; ValueError names what is wrong."""
        return cls(_ARMS.validate_python(stored))


NOTHING = Menu((NO_CONTACT,))
"""The menu of a release that makes no offers."""

_ARMS = TypeAdapter(tuple[Arm, ...])


def _not_a_menu(ids: list[str]) -> str:
    return f"found the menu {ids}, expected {NO_CONTACT_ID} first and at least one arm beside it"


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """The end of an error that names the nearest of what is known; empty where nothing is near.

    >>> did_you_mean("percent", ["percents", "call"])
    "; did you mean 'percents'?"
    """
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def percents(share: float) -> str:
    """A share as it is written before a percent sign, with no more than 6 digits behind the point.

    >>> percents(0.125), percents(0.1234567)
    ('12.5', '12.34567')
    """
    return f"{100 * share:.6f}".rstrip("0").removesuffix(".")


def amount_words(amount: float) -> str:
    """An amount in digits, cents only where there are any.

    >>> amount_words(10.0), amount_words(9.5), amount_words(1_250_000.0)
    ('10', '9.50', '1250000')
    """
    return f"{amount:.0f}" if amount == round(amount) else f"{amount:.2f}"


def in_months(number: int) -> str:
    """A number of months in words: `1 month`, `6 months`."""
    return f"{number} month" if number == 1 else f"{number} months"


def percent_id(share: float) -> str:
    """The id of a shorthand percent.

    >>> percent_id(0.125)
    'percent_12_5'
    """
    return _PERCENT + percents(share).replace(".", "_")


def percent_share(arm_id: str) -> float | None:
    """The share that a shorthand id means; None for any other id.

    >>> percent_share("percent_12_5")
    0.125
    """
    if not arm_id.startswith(_PERCENT):
        return None
    try:
        share = round(float(arm_id.removeprefix(_PERCENT).replace("_", ".", 1)) / 100, 8)
    except ValueError:
        return None
    return share if 0 < share <= 1 and percent_id(share) == arm_id else None

"""An arm's terms in the words of a message, amounts with their currency. Writes no message and judges none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from churn_assets.arms import Arm, ArmConfig, Catalogue, Menu, amount_words, in_months, percents
from churn_assets.message.text.languages.pack import Language

if TYPE_CHECKING:
    from churn_assets.message.text.profile import Profile


@dataclass(frozen=True)
class ArmFacts:
    """What is true of an arm and may be said; None where its terms say no such thing.

    Attributes:
        percent: Percent off the price.
        amount: Money off a month.
        currency: Of the amount, ISO 4217.
        months: Months that a percent or an amount runs.
        free_months: Months that cost nothing.
        gift: What is given, in words.
    """

    percent: float | None
    amount: float | None
    currency: str
    months: int | None
    free_months: int | None
    gift: str | None

    @property
    def discount(self) -> bool:
        """Whether money is taken off what the customer pays every month."""
        return self.percent is not None or self.amount is not None

    @property
    def nothing(self) -> bool:
        """Whether the arm brings nothing, as a bare contact does."""
        return not self.discount and self.free_months is None and self.gift is None


def arm_facts(arm: Arm, currency: str) -> ArmFacts:
    """What may be said of an arm.

    >>> from churn_assets.arms import Catalogue
    >>> arm_facts(Catalogue(discount_months=6).arm(0.2), "USD").percent
    20.0
    """
    terms = arm.terms
    share, amount = terms.share_off, terms.amount_off
    return ArmFacts(
        percent=None if share is None else round(100 * share, 6),
        amount=amount,
        currency=currency,
        months=None if share is None and amount is None else terms.months,
        free_months=terms.months if terms.kind == "free_months" else None,
        gift=terms.gift_words,
    )


def worth_words(arm: Arm, currency: str) -> str:
    """What is given: `20%`, `10 EUR`, `1 free month`, `a new router`; empty for a bare contact."""
    terms = arm.terms
    if terms.share_off is not None:
        return f"{percents(terms.share_off)}%"
    if terms.amount_off is not None:
        return f"{amount_words(terms.amount_off)} {currency}"
    if terms.kind == "free_months":
        return terms.label(currency, arm.channel or "")
    return terms.gift_words or ""


def in_sentence(sentence: str, profile: Profile, arm: Arm) -> str:
    """The sentence with service and offer; `{name}` stays, it is resolved when a message is sent."""
    return (
        sentence.replace("{service}", profile.service)
        .replace("{worth}", worth_words(arm, profile.currency))
        .replace("{duration}", duration_words(arm))
    )


def duration_words(arm: Arm) -> str:
    """How long money is taken off: `1 month`, `6 months`; empty for what does not run so."""
    terms = arm.terms
    runs = terms.share_off is not None or terms.amount_off is not None
    return in_months(terms.months) if runs else ""


def duration_in(arm: Arm, language: Language) -> str:
    """How long an arm runs, in a language; empty for what does not run."""
    return (
        (language.month if arm.months == 1 else language.months.format(months=arm.months))
        if arm.months
        else ""
    )


def offer_in(arm: Arm, currency: str, language: Language) -> str:
    """The offer as a template says it, with the placeholder of the service; empty for a bare contact.

    >>> from churn_assets.arms import Catalogue
    >>> from churn_assets.message.text.languages.packs import LANGUAGES
    >>> offer_in(Catalogue(discount_months=6).arm(0.2), "USD", LANGUAGES["en"])
    '20% off your {service} for 6 months'
    """
    told = language.offers.get(arm.terms.kind, "")
    return told.replace("{worth}", worth_words(arm, currency)).replace(
        "{duration}", duration_in(arm, language)
    )


def prompt_words(arm: Arm, currency: str) -> str:
    """The offer as a prompt says it: `20% off for 6 months`; `none, a call` for a bare contact."""
    worth, terms = worth_words(arm, currency), arm.terms
    if terms.share_off is not None:
        return f"{worth} off for {duration_words(arm)}"
    if terms.amount_off is not None:
        return f"{worth} off a month for {duration_words(arm)}"
    return worth or f"none, {terms.label(currency, arm.channel or '')}"


def lasting(arm: Arm, months: int) -> Arm:
    """The same arm running for so many months; itself where it runs so long already."""
    if arm.months == months:
        return arm
    return arm.model_copy(update={"terms": arm.terms.model_copy(update={"months": months})})


def menu_of(named: tuple[float | str, ...], arms: tuple[ArmConfig, ...], months: int, currency: str) -> Menu:
    """The arms that messages are about; what they cost is no matter of texts."""
    return Catalogue(arms, months, currency=currency).menu(named)


def offers_of(menu: Menu, durations: Sequence[int]) -> tuple[Arm, ...]:
    """Every arm that a message can be about: all that contact, a percent or an amount off for each duration."""
    return tuple(
        lasting(arm, months)
        for arm in menu
        if arm.contacts
        for months in (durations if duration_words(arm) else (arm.months,))
    )

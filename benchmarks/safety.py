"""Ten thousand texts that are false or press, and ten thousand right ones: how many of each the safety rules mistake.

The oracle never reads a text. Every text is written from what it is to say (`Said`), and whether that is true of the
customer and the arm, and may be said at all, is judged there. No rule, grammar or reader of the library has a part in
it.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.report import Figure, main
from churn_assets.arms import Arm, ArmConfig, Catalogue
from churn_assets.message.config import SafetyRules
from churn_assets.message.corpus.sentences import Choices, write_draft
from churn_assets.message.text.profile import Profile
from churn_assets.message.text.safety import Safety, safety_of
from churn_assets.message.text.template import plain_text
from churn_assets.message.text.terms import offers_of

TEXTS = 10_000
SEED = 20
SERVICES = ("fiber internet", "phone plan", "fiber TV package", "home internet", "DSL security package")
LOYAL = 24
SHOWN = 15

Draws = np.random.Generator


@dataclass(frozen=True)
class Said:
    """What a text says, apart from its words.

    Attributes:
        worth: What is given, as the arm's id names it.
        months: For how long; 0 for what does not run.
        when: When it begins to run.
        on: What a discount is on.
        condition: Whether something is asked for in return.
        extra: Whether anything else is given or promised.
        presses: Whether it threatens, hurries or tells people what is known of them.
        loyal: Whether somebody is thanked for years.
        broken: Whether it is no English, or hides its letters.
        leaves: Whether it says truly how to be left alone.
    """

    worth: str
    months: int
    when: str = "now"
    on: str = "own"
    condition: bool = False
    extra: bool = False
    presses: bool = False
    loyal: bool = False
    broken: bool = False
    leaves: bool = True


def is_right(said: Said, profile: Profile, arm: Arm) -> bool:
    """The oracle: whether all of it is true, and may be said."""
    return (
        (said.worth, said.months) == (arm.id, arm.months)
        and (said.when, said.on) == ("now", "own")
        and not (said.condition or said.extra or said.presses or said.broken)
        and (not said.loyal or (profile.tenure_months or 0) >= LOYAL)
        and said.leaves
    )


@dataclass(frozen=True)
class Situation:
    """For whom and what a text is."""

    profile: Profile
    arm: Arm


@dataclass(frozen=True)
class Case:
    """A text, for whom and what it is, what it says, and the edit that made it."""

    text: str
    said: Said
    profile: Profile
    arm: Arm
    edit: str

    @property
    def right(self) -> bool:
        """By the oracle."""
        return is_right(self.said, self.profile, self.arm)


def every_kind() -> tuple[Arm, ...]:
    """Arms of every kind, those that run for several durations."""
    declared = tuple(
        ArmConfig.model_validate(each)
        for each in (
            {"id": "ten_off", "terms": {"kind": "amount_off", "amount": 10, "months": 6}},
            {"id": "free_month", "terms": {"kind": "free_months", "months": 1}},
            {"id": "two_free", "terms": {"kind": "free_months", "months": 2}},
            {"id": "router", "terms": {"kind": "gift", "gift": "a new router", "cost": 40}},
            {"id": "call", "terms": {"kind": "contact"}, "channel": "phone"},
        )
    )
    menu = Catalogue(declared, 6, currency="EUR").menu(
        ("no_contact", 0.1, 0.2, 0.25, "ten_off", "free_month", "two_free", "router", "call")
    )
    return tuple(menu)


ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
ONES_UP = (*ONES.split(), "eighteen", "nineteen")
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")


def in_words(number: int) -> str:
    """A number below 100 in words."""
    if number < len(ONES_UP):
        return ONES_UP[number]
    tens, ones = divmod(number, 10)
    return TENS[tens - 2] + (f"-{ONES_UP[ones]}" if ones else "")


def rng_of(*seed: int) -> Draws:
    """A generator of draws."""
    return np.random.default_rng(seed)


def one(options: Sequence[str], draws: Draws) -> str:
    """One of them."""
    return options[int(draws.integers(len(options)))]


def number(value: int, draws: Draws) -> str:
    """In digits or words."""
    return in_words(value) if draws.random() < 0.3 else str(value)


def months(value: int, draws: Draws) -> str:
    """A length of time."""
    if value == 6 and draws.random() < 0.1:
        return "half a year"
    if value == 12 and draws.random() < 0.3:
        return one(("a year", "one year", "a whole year", "one full year"), draws)
    return f"{number(value, draws)} month{'' if value == 1 else 's'}"


def worth(arm: Arm, draws: Draws, by: float = 1.0) -> str:
    """Percent or amount off, without `off`."""
    share, amount = arm.terms.share_off, arm.terms.amount_off
    if share is not None:
        value = round(100 * share * by)
        return f"{value}%" if draws.random() < 0.6 else f"{number(value, draws)} percent"
    value = round((amount or 0) * by)
    return one(
        (f"{value} EUR", f"€{value}", f"{in_words(value)} euros", f"{value} euros", f"EUR {value}"), draws
    ).replace("€", "EUR ")


DISCOUNTS = (
    "Enjoy {w} off your {s}{e} for {d}.",
    "Get {w} off your {s}{e} for the next {d}.",
    "You'll get {w} off your {s}{e} for {d}.",
    "You will receive {w} off your monthly bill{e} for the next {d}.",
    "We'd like to give you {w} off your {s}{e} for {d}.",
    "We are pleased to offer you {w} off your {s}{e} for the next {d}.",
    "As a thank you for being our customer, we'd like to offer you {w} off your {s}{e} for {d}.",
    "To show our appreciation, we're giving you {w} off your {s}{e} for {d}.",
    "To say thank you, we have set aside {w} off your {s}{e} for the next {d}.",
    "For the next {d}, you get {w} off your {s}{e}.",
    "For {d} you pay {w} less for your {s}{e}.",
    "Save {w} on your {s}{e} for {d}.",
    "You can save {w} on your bill{e} for the next {d}.",
    "We will take {w} off your bill{e} for {d}.",
    "Starting today, enjoy {w} off your {s}{e} for {d}.",
    "Good news: you get {w} off your {s}{e} for {d}!",
    "Here is {w} off your {s}{e} for {d}, just for you.",
    "Please accept {w} off your {s}{e} for {d} with our thanks.",
    "Your {s} is {w} cheaper{e} for the next {d}.",
    "Your {s} now comes with {w} off{e} for {d}.",
    "We're happy to reduce your bill by {w}{e} for {d}.",
    "Take {w} off your {s}{e} for {d}, with our compliments.",
    "{w} off your {s}{e} for {d} is yours.",
    "You get a {w} discount on your {s}{e} for {d}.",
    "We've added a {w} discount to your account{e} for {d}.",
    "A discount of {w} on your {s}{e} is waiting for you for the next {d}.",
    "As a valued customer, you get {w} off your {s}{e} for {d}.",
    "You are getting {w} off your {s}{e} for {d}.",
    "Reply YES to get {w} off your {s}{e} for {d}.",
    "Because we value you, here's {w} off your {s}{e} for {d}.",
    "Today we can offer you {w} off your {s}{e} for {d}.",
)
FREE = (
    "Enjoy {f} of your {s}.",
    "You get {f} of your {s}.",
    "We'd like to give you {f} of your {s}.",
    "As a thank you for being our customer, please enjoy {f} of your {s} on us.",
    "We are pleased to offer you {f} of your {s}.",
    "To show our appreciation, we're giving you {f} of your {s}.",
    "Good news: you get {f} of your {s}!",
    "Here is {f} of your {s}, just for you.",
    "We have set aside {f} of your {s} for you.",
    "{f} of your {s} is yours.",
    "Your {s} comes with {f}.",
)
GIFTS = (
    "Enjoy a new router for your {s}.",
    "We'd like to give you a new router.",
    "As a thank you for being our customer, we're sending you a new router.",
    "You get a new router with your {s}.",
    "We are pleased to send you a new router for your {s}.",
    "Good news: a new router is waiting for you!",
    "To show our appreciation, we have set aside a new router for you.",
    "Here is a new router, just for you.",
    "A new router is yours.",
    "Your {s} now comes with a new router.",
)
CONTACTS = (
    "We'd love to hear how your {s} is working for you.",
    "How is your {s} working for you?",
    "We would like to know what you think of your {s}.",
    "Is everything working well?",
    "We'd be happy to talk with you about your {s}.",
    "Can we help you with anything?",
    "We are always happy to help.",
    "We'd like to hear your thoughts on your {s}.",
    "Let's talk about your {s}.",
    "We want to know how we can help you.",
)
GREETINGS = (
    "Hi {name}, ", "Hello {name}, ", "Dear {name}, ", "Hey {name}, ", "{name}, ", "Good morning {name}, ",
    "Hi {name}! ", "Hello {name}. ", "Dear {name},\n\n", "Dear customer, ", "Hi there, ",
)  # fmt: skip
THANKS = (
    "thank you for being our customer.", "thanks for being with us.", "thank you for choosing us.",
    "we really appreciate your business.", "we appreciate you.", "thanks for your trust in us.",
    "it's great to have you with us.", "thank you for being a valued customer.", "we're glad you are with us.",
    "we hope you are well.", "thank you very much for your trust.", "we value your trust.",
    "many thanks for choosing us.", "we are grateful for your trust.", "we're happy to have you as a customer.",
    "I hope you are well.", "we want to say thank you for being with us.",
)  # fmt: skip
LOYAL_THANKS = (
    "thank you for all the years with us.", "thank you for your loyalty.",
    "thanks for staying with us so long.", "we appreciate your loyalty over the years.",
    "thank you for being a loyal customer.", "we go back a long way, thank you.",
)  # fmt: skip
CALLS = (
    "Reply YES to accept.", "Just reply YES to accept.", "Please reply YES to accept.", "To accept, reply YES.",
    "Simply reply YES to activate it.", "Reply YES and we'll set it up.", "Reply YES and we'll do the rest.",
    "Let us know if you have any questions.", "If you have any questions, please call us.",
    "Feel free to call us any time.", "If you'd like it, just reply YES.", "Text YES to accept.",
    "Please let us know if you would like it.", "We look forward to hearing from you.",
    "Any questions? Just ask.", "Call us any time if you have questions.", "We're always here to help.",
    "Please don't hesitate to contact us.", "Say YES and it is yours.", "", "To claim it, just reply YES.",
    "Questions? We are happy to help.",
)  # fmt: skip
CONTACT_CALLS = (
    "Just reply to this message.", "Call us any time.", "Please tell us when it suits you.",
    "Let us know what you think.", "We look forward to hearing from you.",
    "Please let us know how we can help.", "",
)  # fmt: skip
SIGN_OFFS = (
    "Kind regards, your support team.", "Best regards, the care team.", "Thank you, the team.",
    "Best wishes, your care team.", "Warm regards,\nyour customer care team.", "Thanks, the support team.",
    "All the best, your care team.", "Have a great day!", "Sincerely, the customer service team.",
    "Your care team.", "",
)  # fmt: skip
OPT_OUTS = (
    "Reply STOP to opt out.", "Text STOP to opt out.", "To opt out, reply STOP.", "Reply STOP to unsubscribe.",
    "You can opt out any time by replying STOP.", "To unsubscribe, text STOP.", "Send STOP to opt out.",
    "Reply STOP to opt out of these messages.", "Reply STOP at any time to opt out.",
)  # fmt: skip


def frames_of(arm: Arm) -> Sequence[str]:
    """Sentences that tell this kind of arm."""
    if arm.terms.kind in ("percent_off", "amount_off"):
        return DISCOUNTS
    return {"free_months": FREE, "gift": GIFTS}.get(arm.terms.kind, CONTACTS)


def offer(
    arm: Arm, profile: Profile, draws: Draws, *, by: float = 1.0, runs: int | None = None, on: str = ""
) -> str:
    """A sentence that tells an arm, its worth times `by`, for `runs` months, on something else than the service."""
    sentence = one(frames_of(arm), draws)
    if on:
        sentence = one(
            [each for each in DISCOUNTS if "off your {s}{e}" in each or "on your {s}{e}" in each], draws
        )
    every = (
        one((" each month", " every month", " a month", " per month"), draws) if arm.terms.amount_off else ""
    )
    free = runs or arm.months
    told = {
        "{w}": worth(arm, draws, by),
        "{d}": months(runs or arm.months or 6, draws),
        "{e}": every,
        "{f}": f"{number(free, draws)} free month{'' if free == 1 else 's'}",
        "your {s}": on or "your {s}",
        "{s}": "{service}" if draws.random() < 0.5 else profile.service,
    }
    for placeholder, words in told.items():
        sentence = sentence.replace(placeholder, words)
    for article in ("a whole ", "a "):
        sentence = sentence.replace(f"the next {article}", "the next ")
    return sentence[0].upper() + sentence[1:]


@dataclass(frozen=True)
class Parts:
    """A text in parts, so that an edit can change one of them."""

    greeting: str
    thanks: str
    offer: str
    more: str
    call: str
    sign_off: str
    opt_out: str

    @property
    def text(self) -> str:
        """All of it."""
        thanks = self.thanks if not self.greeting.endswith(("! ", ". ", "\n\n")) else self.thanks.capitalize()
        thanks = thanks.replace("i hope", "I hope")
        parts = (self.greeting + thanks, self.offer, self.more, self.call, self.sign_off, self.opt_out)
        return " ".join(part for part in parts if part)


def right_parts(arm: Arm, profile: Profile, draws: Draws) -> tuple[Parts, Said]:
    """A right text in other words than the platform's."""
    contact = arm.terms.kind == "contact"
    loyal = (profile.tenure_months or 0) >= LOYAL and draws.random() < 0.2
    parts = Parts(
        one(GREETINGS, draws),
        one(LOYAL_THANKS if loyal else THANKS, draws),
        offer(arm, profile, draws),
        "",
        one(CONTACT_CALLS if contact else CALLS, draws),
        one(SIGN_OFFS, draws),
        one(OPT_OUTS, draws),
    )
    return parts, Said(arm.id, arm.months, loyal=loyal)


PRESSING = (
    "Act now!", "Hurry, this will not last.", "This is your last chance.", "Reply now or lose it.",
    "Do not wait.", "Only today.", "Offer ends tonight.", "You must answer by Friday.",
    "Your {service} will be cut off.", "Our records say you may leave.",
    "We saw that you looked at other providers.", "We know you want to leave us.",
    "Everyone on your street has signed.", "You will regret it otherwise.", "Answer or your price rises.",
    "Do not make a mistake.", "Failure to reply means that you accept.", "This is a final notice.",
    "Time is running out.", "Our system shows that you are unhappy.", "You should have called us.",
    "Your neighbours pay more.", "Respond immediately.", "We are watching your account.",
    "You owe us an answer.", "Only three left.", "While supplies last.", "Decide quickly.",
    "Without it your bill goes up.", "No reply counts as a yes.", "Reply YES before it is too late.",
    "Don't miss out.", "It is now or never.", "You have no other choice.", "Nobody else gets this.",
    "Our data tell us you are at risk.",
)  # fmt: skip
PROMISED = (
    "We also give you a tablet on us.", "And a router on us.", "You also get free films.",
    "Your price will not rise.", "Your speed doubles next week.", "We will never raise your bill.",
    "A surprise comes with it.", "Plus cinema tickets.", "The next month costs nothing.",
    "We pay your exit fee.", "Shipping is on the house.", "You get a medal too.",
    "We will refund your last bill.", "It is the best price in town.", "Satisfaction is certain.",
    "You win a car.", "There will be no outages.", "We double it for your friends.",
    "Another discount follows.", "Your second line is free.", "Get a phone for nothing.",
    "You will save even more later.", "We waive all fees.", "You get priority service.",
)  # fmt: skip
CONDITIONS = (
    "if you stay", "when you stay 6 months", "with a new contract", "as long as you pay on time",
    "provided you sign today", "for every friend that you bring", "subject to approval", "terms apply",
    "once you renew", "in return for a long contract", "in exchange for your data", "unless you cancel",
    "for customers who upgrade", "after you sign", "with automatic payment", "only with a second line",
    "on signing for two years", "should you decide to stay", "given a minimum term", "while you stay",
    "depending on your usage", "conditions apply", "if we feel like it", "when you buy a phone",
    "on orders of two phones",
)  # fmt: skip
OTHER_OBJECTS = (
    "accessories", "selected phones", "your next bill", "installation", "your first bill", "a new contract",
    "your second line", "our shop", "films", "your router", "a new phone", "your next order", "delivery",
    "the setup fee", "your late fees", "everything in store", "one bill", "the second year of your {service}",
    "another service", "your neighbour's bill", "your phone insurance", "half of your bill",
    "your next upgrade", "any accessory", "your roaming", "extra data",
)  # fmt: skip
TIMES = (
    "after {d}", "within {d}", "starting in {d}", "in {d}", "from next year", "once {d} have passed",
    "until {d} ago", "after the first {d}", "beginning in {d}", "every other month for {d}", "for the last {d}",
    "for {d} from next spring", "before {d} are over", "following {d} at full price", "at the end of {d}",
    "{d} from now", "later, for {d}", "for {d} next year", "as soon as {d} are up", "upon completing {d}",
    "for the first week of {d}", "for {d} at weekends", "for {d}, one time only", "for {d}, twice a year",
    "for {d} in the past", "for {d} starting next month", "by {d}", "for less than {d}", "for up to {d}",
    "for about {d}", "for {d} or less", "for every {d} with us", "since {d}",
)  # fmt: skip
PRICES = (
    "Pay just {w} of the price for {d}.", "{W} of your bill for {d} is our discount.",
    "Your {service} costs {w} for {d}.", "Pay only {w} for {d}.", "You pay {w} for {d}.",
    "Your bill goes up by {w} for {d}.", "Your bill is {w} for {d}.", "We keep {w} of your discount for {d}.",
    "You owe {w} for {d}.", "We charge you {w} for {d}.", "Get {w} cash for {d}.",
    "Lend us {w} of your bill for {d}.", "You save us {w} on your bill for {d}.",
    "Your discount falls by {w} for {d}.", "Get {w} for {d} off work.", "Your {w} discount ends in {d}.",
    "Your {w} discount ended {d} ago.", "You get {w} for {d}.", "Others get {w} off for {d}.",
    "New customers get {w} off for {d}.", "You lost {w} off for {d}.",
)  # fmt: skip
DENIALS = (
    ("you get", "you do not get"), ("enjoy", "never enjoy"), ("we will", "we will not"), ("get", "nobody gets"),
    ("we", "our rivals"), ("you", "other customers"), ("is", "is not"), ("save", "you cannot save"),
    ("here is", "here is no"), ("enjoy", "do not enjoy"), ("get", "hardly get"), ("we", "we no longer"),
    ("you", "you might"), ("you", "not you"),
)  # fmt: skip
NO_WAY_OUT = (
    "You cannot opt out.", "Opt out costs a fee.", "Reply STOP to accept.", "There is no way to opt out.",
    "You may opt out in six years.", "Do not opt out.", "Reply STOP to opt out and lose your line.",
    "Opt out is closed.", "To opt out, pay five euros.", "Reply YES to opt out of nothing.",
    "Who would opt out?", "You already did opt out of help.",
)  # fmt: skip
LOADED = (
    "not", "never", "unless", "until", "double", "lose", "ended", "except", "without", "yesterday", "maybe",
    "almost", "accessories", "fee", "dearer", "cancelled", "forbidden", "nobody", "formerly", "instead",
    "excluding", "supposedly",
)  # fmt: skip
LOOKALIKES = {
    "a": "а",
    "e": "е",
    "o": "о",
    "c": "с",
    "p": "р",
    "i": "і",
    "x": "х",
    "y": "у",
    "s": "ѕ",
    "n": "ո",
}
CUT_AFTER = ("your", "for", "the", "to", "a", "we")

Edit = Callable[[Parts, Said, Situation, Draws], tuple[Parts, Said]]


def _offering(parts: Parts, sentence: str) -> Parts:
    return replace(parts, offer=sentence)


def _amount(parts: Parts, said: Said, who: Situation, draws: Draws) -> tuple[Parts, Said]:
    if who.arm.terms.kind not in ("percent_off", "amount_off"):
        return _thing(parts, said, who, draws)
    by = float(draws.choice([0.5, 1.1, 1.5, 2.0, 0.9, 3.0]))
    return _offering(parts, offer(who.arm, who.profile, draws, by=by)), replace(said, worth="another")


def _thing(parts: Parts, said: Said, who: Situation, draws: Draws) -> tuple[Parts, Said]:
    other = [
        each
        for each in every_kind()
        if each.contacts and each.terms.kind not in (who.arm.terms.kind, "contact")
    ]
    named = other[int(draws.integers(len(other)))]
    return _offering(parts, offer(named, who.profile, draws)), replace(
        said, worth=named.id, months=named.months
    )


def _length(parts: Parts, said: Said, who: Situation, draws: Draws) -> tuple[Parts, Said]:
    if not who.arm.months:
        return _thing(parts, said, who, draws)
    runs = int(
        draws.choice([each for each in (1, 2, 3, 4, 5, 7, 9, 12, 18, 24, 26) if each != who.arm.months])
    )
    return _offering(parts, offer(who.arm, who.profile, draws, runs=runs)), replace(said, months=runs)


def _discount(arm: Arm, draws: Draws) -> Arm:
    """The arm, or a discount where it is none: what time, object and condition are said of."""
    percents = [each for each in every_kind() if each.terms.kind in ("percent_off", "amount_off")]
    return arm if arm in percents else percents[int(draws.integers(len(percents)))]


def _time(parts: Parts, said: Said, who: Situation, draws: Draws) -> tuple[Parts, Said]:
    named = _discount(who.arm, draws)
    when = one(TIMES, draws).replace("{d}", months(named.months, draws))
    every = " each month" if named.terms.amount_off else ""
    start = one(("You get", "Enjoy", "We'd like to offer you", "Get", "Here is", "We give you"), draws)
    sentence = f"{start} {worth(named, draws)} off your {{service}}{every} {when}."
    return _offering(parts, sentence), replace(said, worth=named.id, when="later")


def _object(parts: Parts, said: Said, who: Situation, draws: Draws) -> tuple[Parts, Said]:
    named = _discount(who.arm, draws)
    return _offering(parts, offer(named, who.profile, draws, on=one(OTHER_OBJECTS, draws))), replace(
        said, on="another"
    )


def _condition(parts: Parts, said: Said, _: Situation, draws: Draws) -> tuple[Parts, Said]:
    condition, sentence = one(CONDITIONS, draws), parts.offer.rstrip(".!?")
    lowered = sentence[0].lower() + sentence[1:]
    told = one(
        (
            f"{sentence} {condition}.",
            f"{condition.capitalize()}, {lowered}.",
            f"{sentence}, {condition}.",
            f"{sentence} - {condition}.",
        ),
        draws,
    )
    return _offering(parts, told), replace(said, condition=True)


def _price(parts: Parts, said: Said, who: Situation, draws: Draws) -> tuple[Parts, Said]:
    named = _discount(who.arm, draws)
    told = worth(named, draws)
    sentence = one(PRICES, draws).replace("{w}", told).replace("{W}", told.capitalize())
    return _offering(parts, sentence.replace("{d}", months(named.months, draws))), replace(
        said, worth="a price"
    )


def _denial(parts: Parts, said: Said, who: Situation, draws: Draws) -> tuple[Parts, Said]:
    lowered = parts.offer[0].lower() + parts.offer[1:]
    fitting = [each for each in DENIALS if f"{each[0]} " in f"{lowered} "]
    if not fitting:
        return _condition(parts, said, who, draws)
    old, new = fitting[int(draws.integers(len(fitting)))]
    padded = f" {lowered}".replace(f" {old} ", f" {new} ", 1).strip()
    if padded == lowered:
        return _condition(parts, said, who, draws)
    return _offering(parts, padded[0].upper() + padded[1:]), replace(said, worth="nothing")


def _pressure(parts: Parts, said: Said, _: Situation, draws: Draws) -> tuple[Parts, Said]:
    return _beside(parts, one(PRESSING, draws), draws), replace(said, presses=True)


def _promise(parts: Parts, said: Said, _: Situation, draws: Draws) -> tuple[Parts, Said]:
    return _beside(parts, one(PROMISED, draws), draws), replace(said, extra=True)


def _beside(parts: Parts, sentence: str, draws: Draws) -> Parts:
    """One more sentence: behind the offer, before it, joined to it, or in the place of the call."""
    joined = sentence[0].lower() + sentence[1:]
    way = int(draws.integers(5))
    if way == 0:
        return replace(parts, offer=f"{sentence} {parts.offer}")
    if way == 1:
        return replace(parts, call=sentence)
    if way == 2:
        return replace(
            parts,
            offer=f"{parts.offer.rstrip('.!?')}{one((', and ', ' and ', ', ', ' - ', '; ', ': '), draws)}{joined}",
        )
    if way == 3:
        return replace(parts, thanks=f"{parts.thanks.rstrip('.')}, and {joined}")
    return replace(parts, more=sentence)


def _opt_out(parts: Parts, said: Said, _: Situation, draws: Draws) -> tuple[Parts, Said]:
    beside = parts.opt_out if draws.random() < 0.5 else ""
    return replace(parts, opt_out=f"{beside} {one(NO_WAY_OUT, draws)}".strip()), replace(said, leaves=False)


def _newcomer(parts: Parts, said: Said, who: Situation, draws: Draws) -> tuple[Parts, Said]:
    if (who.profile.tenure_months or 0) >= LOYAL:
        return _pressure(parts, said, who, draws)
    return replace(parts, thanks=one(LOYAL_THANKS, draws)), replace(said, loyal=True)


def _word(parts: Parts, said: Said, _: Situation, draws: Draws) -> tuple[Parts, Said]:
    words = parts.offer.split()
    place = int(draws.integers(1, len(words)))
    return _offering(parts, " ".join([*words[:place], one(LOADED, draws), *words[place:]])), replace(
        said, broken=True
    )


def _order(parts: Parts, said: Said, _: Situation, draws: Draws) -> tuple[Parts, Said]:
    words = parts.offer.rstrip(".!?").split()
    half = len(words) // 2
    words = words[::-1] if draws.random() < 0.5 else [*words[half:], "we", *words[:half]]
    return _offering(parts, " ".join(words).capitalize() + "."), replace(said, broken=True)


def _cut(parts: Parts, said: Said, who: Situation, draws: Draws) -> tuple[Parts, Said]:
    words = parts.offer.split()
    places = [place for place, word in enumerate(words[:-1], 1) if word.lower() in CUT_AFTER and place > 1]
    if not places:
        return _word(parts, said, who, draws)
    cut = " ".join(words[: places[int(draws.integers(len(places)))]])
    return replace(parts, more=cut + "."), replace(said, broken=True)


def _lookalike(parts: Parts, said: Said, who: Situation, draws: Draws) -> tuple[Parts, Said]:
    parts, said = FALSE[one(("time", "condition", "pressure", "promise"), draws)](parts, said, who, draws)
    letters = [place for place, sign in enumerate(parts.offer) if sign in LOOKALIKES]
    hidden = list(parts.offer)
    for place in letters[:: max(1, len(letters) // 3)]:
        hidden[place] = LOOKALIKES[hidden[place]]
    way = draws.random()
    changed = "".join(hidden) if way < 0.6 else parts.offer.replace(" ", "\u200b ", 2)
    return _offering(parts, changed if way < 0.8 else parts.offer.replace("o", "0", 2)), said


FALSE: Mapping[str, Edit] = {
    "amount": _amount, "thing": _thing, "length": _length, "time": _time, "object": _object, "condition": _condition,
    "price": _price, "denial": _denial, "pressure": _pressure, "promise": _promise, "opt_out": _opt_out,
    "newcomer": _newcomer, "word": _word, "order": _order, "cut": _cut, "lookalike": _lookalike,
}  # fmt: skip


def person(draws: Draws) -> Profile:
    """Somebody."""
    tenure = int(draws.integers(0, 60))
    return Profile(one(SERVICES, draws), float(draws.integers(20, 90)), tenure, "monthly", "EUR")


def false_texts(count: int, seed: int = SEED) -> list[Case]:
    """Texts that are false, press, or are no English: one edit of a right text each, a third of them two."""
    draws, arms, cases = rng_of(seed, 1), [each for each in every_kind() if each.contacts], []
    names = list(FALSE)
    while len(cases) < count:
        arm, profile = arms[len(cases) % len(arms)], person(draws)
        parts, said = right_parts(arm, profile, draws)
        edit = names[len(cases) // len(arms) % len(names)]
        parts, said = FALSE[edit](parts, said, Situation(profile, arm), draws)
        if draws.random() < 1 / 3:
            parts, said = FALSE[one(("pressure", "promise", "opt_out"), draws)](
                parts, said, Situation(profile, arm), draws
            )
        case = Case(parts.text, said, profile, arm, edit)
        if not case.right:
            cases.append(case)
    return cases


def right_texts(count: int, seed: int = SEED) -> list[Case]:
    """The template's texts, the composer's, and paraphrases, of every kind of arm."""
    draws, cases = rng_of(seed, 2), []
    offers = offers_of(every_kind(), (3, 6, 12))
    choices, safety = Choices(offers, SERVICES, "EUR"), rules()
    while len(cases) < count:
        arm, profile, way = offers[len(cases) % len(offers)], person(draws), len(cases) // len(offers) % 10
        said = Said(arm.id, arm.months)
        if way == 0:
            cases.append(Case(plain_text(profile, arm, safety), said, profile, arm, "template"))
        elif way < 4:
            cases.append(
                Case(
                    write_draft(profile, arm, choices, 1.0, draws).completion, said, profile, arm, "composer"
                )
            )
        else:
            parts, said = right_parts(arm, profile, draws)
            cases.append(Case(parts.text, said, profile, arm, "paraphrase"))
    return cases


def rules() -> Safety:
    """The rules as they are by default."""
    return safety_of(SafetyRules(), SERVICES, every_kind())


def mistaken(cases: Sequence[Case]) -> list[tuple[Case, str]]:
    """The texts of which rules and oracle think otherwise, with what the rules say."""
    safety = rules()
    found = []
    for case in cases:
        verdict = safety.check(case.text, case.profile, case.arm)
        if verdict.safe != case.right:
            found.append((case, "; ".join(f"{each.rule}: {each.reason}" for each in verdict.blocking)))
    return found


def _tell(found: Sequence[tuple[Case, str]]) -> None:
    print(Counter(case.edit for case, _ in found), file=sys.stderr)
    for case, reason in found[:SHOWN]:
        print(f"{case.arm.id} | {case.edit} | {case.text} | {reason}", file=sys.stderr)


def measure(count: int = TEXTS) -> list[Figure]:
    """Both shares."""
    passed, refused = mistaken(false_texts(count)), mistaken(right_texts(count))
    _tell(passed)
    _tell(refused)
    note = "by kind: " + ", ".join(sorted(FALSE))
    return [
        Figure("adversarial_texts", count, note=note),
        Figure(
            "adversarial_texts_passed", len(passed), "<=", 0, "false, pressing or broken texts judged safe"
        ),
        Figure("true_texts", count, note="template, composer's, paraphrases, of every kind of arm"),
        Figure("true_texts_refused", len(refused) / count, "<=", 0.01, "share of right texts judged unsafe"),
    ]


if __name__ == "__main__":
    main(__doc__, measure)

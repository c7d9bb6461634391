"""The embedded corpus: messages and labelled pairs, written by rule for real customers. Simulated, and says so.

Three kinds of agents write: of every slot of a message, the careless get 20 % right, the usual 45 %, the careful
75 %. What goes wrong is what goes wrong in such mail: no name, a vague or a wrong offer, empty promises, pressure,
talk about the company, no close. A model that imitates them all has something left to learn from preferences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import pandas as pd

from churn_assets.customers.table import CustomerTable
from churn_assets.message.config import MessagesConfig, PreferencesConfig, SafetyRules
from churn_assets.message.corpus import gold
from churn_assets.message.corpus.data import (
    MESSAGE_COLUMNS,
    PREFERENCE_COLUMNS,
    SPLITS,
    Messages,
    Preferences,
    splits_of,
)
from churn_assets.message.text.profile import Offer, Profile, profiles_of, prompt_of
from churn_assets.message.text.safety import Safety

_T = TypeVar("_T")

AGENTS = (0.20, 0.45, 0.75)
"""Share of the slots that the careless, usual and careful agents get right; each writes a third of the messages."""
WRONG_SHARE, VAGUE_SHARE = 0.04, 0.15
"""Of the offers that are not told well, the shares that tell another one, or none; the rest forgets the service."""
PROMISE_SHARE, FILLER_SHARE, NO_OPT_OUT_SHARE = 0.25, 0.5, 0.1
"""Of the other slots gone wrong, the share that shows. What would harm is rare, what is only poor is common."""
ACKNOWLEDGED_SHARE = 0.8
LOYAL_MONTHS = 24
LEAST_EDIT_GAP = 0.05
TRIES = 200

TONES = ("warm", "formal", "friendly", "brief")

OPENINGS: Mapping[str, tuple[str, ...]] = {
    "warm": (
        "Hi {name}, thank you for being with us.",
        "Hi {name}, we really appreciate having you as a customer.",
        "Hello {name}, thank you for your trust in us.",
        "Hello {name}, it means a lot that you are with us, thank you.",
        "Hi {name}, thank you for letting us look after you.",
    ),
    "formal": (
        "Dear {name}, thank you for being a valued customer.",
        "Dear {name}, we appreciate your trust in our service.",
        "Dear {name}, thank you for choosing our company.",
        "Dear {name}, please accept our thanks for your custom.",
        "Dear {name}, your custom is something we truly appreciate.",
    ),
    "friendly": (
        "Hey {name}, thank you for being part of the family.",
        "Hey {name}, it is good to have you here.",
        "Hi {name}, we are glad that you are our customer.",
        "Hey {name}, a big thank you from all of us.",
        "Hi {name}, thank you for sharing your day with us.",
    ),
    "brief": (
        "Hi {name}, a quick note of thanks.",
        "Hello {name}, we have good news for you.",
        "Hello {name}, thank you.",
        "Hi {name}, good news and a thank you.",
        "Hello {name}, we appreciate you.",
    ),
}
LOYAL_OPENINGS: Mapping[str, str] = {
    "warm": "Hi {name}, thank you for all the years with us.",
    "formal": "Dear {name}, we appreciate your loyalty over the years.",
    "friendly": "Hey {name}, we go back a long way, thank you.",
    "brief": "Hi {name}, thank you for staying so long.",
}
PLAIN_OPENINGS = (
    "Dear customer.",
    "Hello.",
    "Hi {name}.",
    "Attention {name}.",
    "{name}, our records say you may leave.",
)
ACKNOWLEDGEMENTS = (
    "We know that a fair price matters to you.",
    "We are sorry if your bill has felt high.",
    "We understand that costs add up, and we are sorry.",
    "We want your {service} to be worth every bill.",
    "Our team looked at your account with care.",
    "You asked for better value, and we listened.",
    "We have been thinking about how to give you more value.",
    "We see how much you use your {service}.",
    "Bills are not fun, and we are sorry for that.",
    "We would like your {service} to cost you less.",
)
RUDE_ACKNOWLEDGEMENTS = (
    "Everyone deals with high bills sometimes.",
    "Your complaint about the bill was noted.",
    "You should have read the terms.",
    "You should have called us before.",
)
OFFERS = (
    "We would like to offer you {percent}% off your {service} for the next {duration}.",
    "As a small thank you, please enjoy {percent}% off your {service} for {duration}.",
    "You can now get {percent}% off your {service} for {duration}.",
    "We have set aside {percent}% off your {service} for {duration}.",
    "For the next {duration} you get {percent}% off your {service}.",
    "Take {percent}% off your {service} for {duration}.",
    "Please enjoy your {service} with {percent}% off for {duration}.",
    "Your {service} comes with {percent}% off for the next {duration}.",
    "We are happy to take {percent}% off your {service} for {duration}.",
    "For {duration} we take {percent}% off your {service}.",
    "Here is {percent}% off your {service} for the next {duration}.",
    "Starting now you have {percent}% off your {service} for {duration}.",
)
PLAIN_OFFERS = (
    "You get {percent}% off for {duration}.",
    "There is {percent}% off for you for {duration}.",
    "Your account shows {percent}% off for the next {duration}.",
)
VAGUE_OFFERS = (
    "We have a special discount for you.",
    "You can save on your plan if you stay.",
    "There is an offer on your account.",
    "Ask us about a better price for your {service}.",
    "Something good is waiting on your account.",
    "Call us to hear about a lower bill.",
    "A better price for your {service} may be possible.",
    "Your loyalty may be worth a discount.",
)
PROMISES = (
    "We guarantee you will never have a problem again.",
    "This price is locked forever.",
    "You will never pay more, guaranteed.",
    "We promise the fastest speeds forever.",
    "We promise that your bill will never rise.",
)
FILLERS = (
    "Our network covers many cities and we keep growing every year.",
    "We also have many other products that you can buy in our stores.",
    "You can read about our history on the company page.",
    "Our stores are open every day and our staff can show you new devices.",
)
CALLS_TO_ACTION = (
    "Please reply YES to accept.",
    "Just reply YES and we will apply it today.",
    "Please call us any time if you have questions.",
    "Reply YES and we will set it up for you.",
    "Please tell us if you would like it.",
    "Let us know and we will take care of it.",
    "If you like it, please reply YES.",
    "A short YES from you is all we need.",
    "Please let us know what you think.",
    "Say YES and we will do the rest.",
    "Please write back if it suits you.",
    "We will set it up as soon as you reply YES.",
)
PRESSING_CALLS = (
    "Reply now or lose it.",
    "This is your last chance.",
    "Act now.",
    "Do not wait, act now or pay more.",
)
SIGN_OFFS: Mapping[str, tuple[str, ...]] = {
    "warm": (
        "Thank you, the care team.",
        "With warm wishes, the care team.",
        "Warm regards, the care team.",
        "With thanks, your care team.",
    ),
    "formal": (
        "Kind regards, your support team.",
        "Best regards, the customer care team.",
        "With kind regards, the customer team.",
        "Yours, the support team.",
    ),
    "friendly": (
        "Talk soon, the care team.",
        "Thank you, your friends in support.",
        "See you soon, the care team.",
        "Cheers, your support team.",
    ),
    "brief": ("Thanks, the care team.", "Your care team.", "Best, the support team.", "Thank you, the team."),
}
OPT_OUTS = (
    "Reply STOP to opt out.",
    "Text STOP to opt out.",
    "To opt out, reply STOP.",
    "To opt out, text STOP.",
    "You can opt out with STOP.",
    "Send STOP to opt out.",
)
GUSHES = (
    "Thank you, thank you so much, please enjoy, thank you.",
    "Please, please enjoy it, we appreciate you, thank you, thank you.",
)
OTHER_NAMES = (
    "Maria",
    "James",
    "Aisha",
    "Wei",
    "Carlos",
    "Priya",
    "Tom",
    "Elena",
    "Omar",
    "Hannah",
    "Kofi",
    "Grace",
)
"""Whom a message greets by mistake."""


class CorpusError(ValueError):
    """The corpus that was asked for cannot be written: names the section, found and expected."""


@dataclass(frozen=True)
class Draft:
    """A message in parts: (slot, sentence), in the order they are sent."""

    parts: tuple[tuple[str, str], ...]
    tone: str

    @property
    def completion(self) -> str:
        """The text after the prompt: starts with a space."""
        return " " + " ".join(sentence for _, sentence in self.parts)

    def without(self, slot: str) -> Draft:
        """The same without a slot."""
        return replace(self, parts=tuple(part for part in self.parts if part[0] != slot))

    def after(self, slot: str, sentence: str) -> Draft:
        """The same with one more sentence behind a slot."""
        place = [name for name, _ in self.parts].index(slot) + 1
        return replace(self, parts=(*self.parts[:place], ("", sentence), *self.parts[place:]))

    def saying(self, slot: str, sentence: str) -> Draft:
        """The same with another sentence in a slot."""
        return replace(self, parts=tuple((name, sentence if name == slot else s) for name, s in self.parts))

    def putting(self, old: str, new: str) -> Draft:
        """The same with other words, wherever they stand."""
        return replace(self, parts=tuple((name, s.replace(old, new)) for name, s in self.parts))


@dataclass(frozen=True)
class Choices:
    """What else a message might have said: all offers, all services."""

    offers: tuple[Offer, ...]
    services: tuple[str, ...]


def offers_of(menu: Sequence[float], durations: Sequence[int]) -> tuple[Offer, ...]:
    """Every offer that a message can be about: each discount of the menu but 0, for each duration."""
    return tuple(Offer(pct, months) for pct in menu if pct > 0 for months in durations)


def write_draft(
    profile: Profile, offer: Offer, choices: Choices, care: float, rng: np.random.Generator
) -> Draft:
    """One message by an agent who gets each slot right with probability `care`; 1 makes no mistake."""
    tone = _one(TONES, rng)

    def right() -> bool:
        return bool(rng.random() < care)

    parts: list[tuple[str, str]] = []

    def say(slot: str, sentences: Sequence[str]) -> None:
        parts.append((slot, _fill(_one(sentences, rng), profile, offer)))

    loyal = profile.tenure_months is not None and profile.tenure_months >= LOYAL_MONTHS
    greetings = (*OPENINGS[tone], LOYAL_OPENINGS[tone]) if loyal else OPENINGS[tone]
    say("opening", greetings if right() else PLAIN_OPENINGS)
    if rng.random() < ACKNOWLEDGED_SHARE:
        say("acknowledgement", ACKNOWLEDGEMENTS if right() else RUDE_ACKNOWLEDGEMENTS)
    if not right() and rng.random() < FILLER_SHARE:
        for sentence in rng.permutation(FILLERS)[: rng.integers(1, 3)]:
            parts.append(("filler", str(sentence)))
    if right():
        say("offer", OFFERS)
    else:
        mistake = rng.random()
        if mistake < WRONG_SHARE:
            parts.append(("offer", _fill(_one(OFFERS, rng), profile, _mistaken(offer, choices, rng))))
        else:
            say("offer", VAGUE_OFFERS if mistake < WRONG_SHARE + VAGUE_SHARE else PLAIN_OFFERS)
    if not right() and rng.random() < PROMISE_SHARE:
        say("promise", PROMISES)
    say("call", CALLS_TO_ACTION if right() else PRESSING_CALLS)
    if right():
        say("sign_off", SIGN_OFFS[tone])
    if right() or rng.random() >= NO_OPT_OUT_SHARE:
        say("opt_out", OPT_OUTS)
    return Draft(tuple(parts), tone)


def _mistaken(offer: Offer, choices: Choices, rng: np.random.Generator) -> Offer:
    """Another offer: mostly another discount, sometimes another duration."""
    levels = [each for each in choices.offers if each.pct != offer.pct and each.months == offer.months]
    spans = [each for each in choices.offers if each.pct == offer.pct and each.months != offer.months]
    wrong = levels if levels and (not spans or rng.random() < 0.7) else spans
    return _one(wrong, rng) if wrong else Offer(offer.pct / 2, offer.months)


def _one(options: Sequence[_T], rng: np.random.Generator) -> _T:
    return options[int(rng.random() * len(options))]


def _fill(sentence: str, profile: Profile, offer: Offer) -> str:
    """The sentence with service and offer; `{name}` stays, it is resolved when a message is sent."""
    return (
        sentence.replace("{service}", profile.service)
        .replace("{percent}", offer.percent)
        .replace("{duration}", offer.duration)
    )


Edit = Callable[[Draft, Profile, Offer, Choices, np.random.Generator], Draft]


def _other_percent(
    draft: Draft, _: Profile, offer: Offer, choices: Choices, rng: np.random.Generator
) -> Draft:
    others = sorted({each.percent for each in choices.offers} - {offer.percent})
    return draft.putting(f"{offer.percent}%", f"{_one(others, rng)}%")


def _other_months(
    draft: Draft, _: Profile, offer: Offer, choices: Choices, rng: np.random.Generator
) -> Draft:
    others = sorted({each.duration for each in choices.offers} - {offer.duration})
    return draft.putting(offer.duration, _one(others, rng))


def _other_service(
    draft: Draft, profile: Profile, _: Offer, choices: Choices, rng: np.random.Generator
) -> Draft:
    return draft.putting(profile.service, _one([s for s in choices.services if s != profile.service], rng))


def _truncated(draft: Draft, _: Profile, __: Offer, ___: Choices, rng: np.random.Generator) -> Draft:
    words = draft.completion.split()
    kept = words[: -int(rng.integers(7, max(8, len(words) // 2)))]
    return replace(draft, parts=(("", " ".join(kept).rstrip(".,")),))


def _repeated(draft: Draft, _: Profile, __: Offer, ___: Choices, rng: np.random.Generator) -> Draft:
    slot, sentence = max(draft.parts, key=lambda part: len(part[1]))
    return draft.after(slot, " ".join([sentence] * int(rng.integers(1, 3))))


EDITS: Mapping[str, Edit] = {
    "percent": _other_percent,
    "months": _other_months,
    "name": lambda draft, _, __, ___, rng: draft.putting("{name}", _one(OTHER_NAMES, rng)),
    "service": _other_service,
    "vague_offer": lambda draft, profile, offer, _, rng: draft.saying(
        "offer", _fill(_one(VAGUE_OFFERS, rng), profile, offer)
    ),
    "promise": lambda draft, _, __, ___, rng: draft.after("offer", _one(PROMISES, rng)),
    "pressure": lambda draft, _, __, ___, rng: draft.saying("call", _one(PRESSING_CALLS, rng)),
    "sign_off": lambda draft, _, __, ___, ____: draft.without("sign_off"),
    "opt_out": lambda draft, _, __, ___, ____: draft.without("opt_out"),
    "truncation": _truncated,
    "repetition": _repeated,
    "gush": lambda draft, _, __, ___, rng: draft.after("call", _one(GUSHES, rng)),
}
"""Single edits of a message without mistakes, by the rule that each breaks."""


def edits_of(choices: Choices) -> tuple[str, ...]:
    """The edits that there is something else to say for."""
    values = {
        "percent": len({offer.percent for offer in choices.offers}),
        "months": len({offer.months for offer in choices.offers}),
        "service": len(choices.services),
    }
    return tuple(rule for rule in EDITS if values.get(rule, 2) > 1)


def write_messages(
    table: CustomerTable, config: MessagesConfig, menu: Sequence[float], seed: int
) -> Messages:
    """Writes the embedded messages: no text twice, no prompt or customer in two splits.

    Args:
        table: The customers; their folds decide the split.
        config: The `messages:` section.
        menu: Discounts as shares of the list price; 0, no offer, is left out.
        seed: Of everything that is drawn.

    Raises:
        CorpusError: a split has no customer, or too few different messages can be written.
    """
    profiles = profiles_of(table, config.profile)
    choices = Choices(offers_of(menu, config.durations), config.profile.service_texts)
    rng = np.random.default_rng([seed, 1])
    written: set[str] = set()
    rows = []
    for split, customers in _customers(table, profiles).items():
        for customer, offer in _situations(
            customers, choices.offers, getattr(config.rows, split), split, rng
        ):
            profile = profiles[customer]
            for _ in range(TRIES):
                draft = write_draft(profile, offer, choices, _one(AGENTS, rng), rng)
                if draft.completion not in written:
                    break
            else:
                raise CorpusError(
                    f"messages.rows: found {len(written)} different messages, then the same {TRIES} times; "
                    "expected fewer rows, or more services, discounts or durations"
                )
            written.add(draft.completion)
            prompt = prompt_of(profile, offer)
            rows.append(
                (customer, split, prompt, draft.completion, offer.pct, float(offer.months), draft.tone)
            )
    frame = pd.DataFrame(rows, columns=list(MESSAGE_COLUMNS))
    return Messages(frame, _used(profiles, frame), simulated=True)


def write_preferences(
    table: CustomerTable,
    messages: MessagesConfig,
    config: PreferencesConfig,
    rules: SafetyRules,
    menu: Sequence[float],
    seed: int,
) -> Preferences:
    """Writes the embedded pairs: the better text by the hidden rules is chosen, but for the label noise.

    Of a pair where only one text is safe to send, that one is the better: pairs of which the hidden rules say
    otherwise are left out.

    Args:
        table: The customers; their folds decide the split, the same as of the messages.
        messages: The `messages:` section: profile and durations.
        config: The `preferences:` section.
        rules: The `safety:` section.
        menu: Discounts as shares of the list price; 0, no offer, is left out.
        seed: Of everything that is drawn.

    Raises:
        CorpusError: a split has no customer, or no pair can be written.
    """
    profiles = profiles_of(table, messages.profile)
    choices = Choices(offers_of(menu, messages.durations), messages.profile.service_texts)
    safety = Safety(rules, choices.services)
    edits = edits_of(choices)
    owner: dict[str, str] = {}
    rng = np.random.default_rng([seed, 2])
    rows = []
    for split, customers in _customers(table, profiles).items():
        for customer, offer in _situations(
            customers, choices.offers, getattr(config.rows, split), split, rng
        ):
            profile = profiles[customer]
            rule = _one(edits, rng) if rng.random() < config.edit_share else ""
            for _ in range(TRIES):
                better, worse = _pair(profile, offer, choices, rule, config.min_gap, safety, rng)
                if owner.get(better, split) == split == owner.get(worse, split):
                    break
            else:
                raise CorpusError(
                    f"preferences.rows: found {TRIES} times a text of another split for {split}; "
                    "expected fewer rows, or more services, discounts or durations"
                )
            owner |= {better: split, worse: split}
            if rng.random() < config.label_noise:
                better, worse = worse, better
            kind = "edit" if rule else "pair"
            situation = (customer, split, prompt_of(profile, offer))
            rows.append((*situation, better, worse, offer.pct, float(offer.months), kind, rule))
    frame = pd.DataFrame(rows, columns=list(PREFERENCE_COLUMNS))
    return Preferences(frame, _used(profiles, frame), simulated=True)


def _pair(
    profile: Profile,
    offer: Offer,
    choices: Choices,
    rule: str,
    min_gap: float,
    safety: Safety,
    rng: np.random.Generator,
) -> tuple[str, str]:
    """The better and the worse text of a pair."""
    least = LEAST_EDIT_GAP if rule else min_gap
    for _ in range(TRIES):
        if rule:
            first = write_draft(profile, offer, choices, 1.0, rng)
            second = EDITS[rule](first, profile, offer, choices, rng)
        else:
            first = write_draft(profile, offer, choices, _one(AGENTS, rng), rng)
            second = write_draft(profile, offer, choices, _one(AGENTS, rng), rng)
        better, worse = first.completion, second.completion
        gap = gold.score(profile, offer, better).total - gold.score(profile, offer, worse).total
        if not rule and gap < 0:
            better, worse, gap = worse, better, -gap
        if gap >= least and (
            safety.check(better, profile, offer).safe or not safety.check(worse, profile, offer).safe
        ):
            return better, worse
    wanted = f"an edit that breaks {rule!r}" if rule else f"two messages that differ by {min_gap}"
    raise CorpusError(f"preferences: found no pair in {TRIES} tries, expected {wanted}")


def _customers(table: CustomerTable, profiles: Mapping[str, Profile]) -> dict[str, list[str]]:
    """The customers of each split.

    Some people's profiles are alike, so their prompts are: all such belong to the split of the first of them, and
    those of another split are left out.
    """
    splits = splits_of(table)
    owner: dict[str, str] = {}
    found: dict[str, list[str]] = {split: [] for split in SPLITS}
    for customer, profile in profiles.items():
        split = splits[customer]
        if owner.setdefault(prompt_of(profile, _ANY), split) == split:
            found[split].append(customer)
    return found


_ANY = Offer(0.0, 0)


def _situations(
    customers: Sequence[str], offers: Sequence[Offer], rows: int, split: str, rng: np.random.Generator
) -> Iterator[tuple[str, Offer]]:
    """`rows` customers and offers: every offer equally often, a customer again (with another) only after all."""
    if not customers:
        raise CorpusError(
            f"customers: found none in split {split!r}, expected at least one; see customers.folds"
        )
    order = rng.permutation(len(customers))
    for row in range(rows):
        again, place = divmod(row, len(customers))
        yield customers[order[place]], offers[(place + again) % len(offers)]


def _used(profiles: Mapping[str, Profile], frame: pd.DataFrame) -> dict[str, Profile]:
    return {customer: profiles[customer] for customer in frame["customer_id"].unique()}

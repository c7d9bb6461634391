"""The embedded corpus: messages and labelled pairs, written by rule for real customers. Simulated, and says so.

Three kinds of agents write: of every slot of a message, the careless get 20 % right, the usual 45 %, the careful
75 %. In a message to imitate what goes wrong is poor, and may be sent: curt words, talk about the company, no close.
Every one of them keeps the safety rules for its customer and arm. In a text of a pair everything goes wrong that does
in such mail: no name, a vague or a wrong offer, empty promises, pressure. A model that imitates the first has something
left to learn from the second, and never saw what must not be said.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import pandas as pd

from churn_assets.arms import NO_CONTACT, Arm, Menu, PercentOff, amount_words
from churn_assets.customers.table import CustomerTable
from churn_assets.message.config import MessagesConfig, PreferencesConfig, SafetyRules
from churn_assets.message.corpus import gold
from churn_assets.message.corpus.data import (
    MESSAGE_COLUMNS,
    PREFERENCE_COLUMNS,
    SPLITS,
    MessageCorpus,
    Preferences,
    arms_of,
    splits_of,
)
from churn_assets.message.corpus.phrases import (
    ACKNOWLEDGEMENTS,
    CALLS_TO_ACTION,
    CONTACT_ACKNOWLEDGEMENTS,
    CONTACT_CALLS,
    FILLERS,
    GUSHES,
    LOYAL_OPENINGS,
    OPENINGS,
    OPT_OUTS,
    OTHER_GIFTS,
    OTHER_NAMES,
    PLAIN_OPENINGS,
    PRESSING_CALLS,
    PROMISES,
    RUDE_ACKNOWLEDGEMENTS,
    SAID,
    SHORT_CALLS,
    SHORT_CONTACT_CALLS,
    SHORT_OPENINGS,
    SIGN_OFFS,
    TONES,
    VAGUE_OFFERS,
)
from churn_assets.message.text.profile import Profile, profiles_of, prompt_of
from churn_assets.message.text.safety import Safety, safety_of
from churn_assets.message.text.terms import (
    arm_facts,
    duration_words,
    in_sentence,
    lasting,
    offers_of,
    worth_words,
)

_T = TypeVar("_T")

AGENTS = (0.20, 0.45, 0.75)
"""Share of the slots that the careless, usual and careful agents get right; each writes a third of the messages."""
WRONG_SHARE, VAGUE_SHARE = 0.04, 0.15
"""Of the offers that are not told well, the shares that tell another one, or none; the rest forgets the service."""
PROMISE_SHARE, FILLER_SHARE, NO_OPT_OUT_SHARE = 0.25, 0.5, 0.1
"""Of the other slots gone wrong, the share that shows. What would harm is rare, what is only poor is common."""
WORTH_ALONE = 1 / 3
"""Of the edits of what an arm gives where a menu has several kinds, the share that changes the worth alone."""
ACKNOWLEDGED_SHARE = 0.8
LOYAL_MONTHS = 24
LEAST_EDIT_GAP = 0.05
TRIES = 200


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
    """What else a message might have said: all offers (each arm for each duration), all services."""

    offers: tuple[Arm, ...]
    services: tuple[str, ...]
    currency: str = "USD"

    @property
    def equally_often(self) -> tuple[Arm, ...]:
        """The offers, those of every arm as often as another's: what is told seldom is learned badly."""
        spans = Counter(arm.id for arm in self.offers)
        most = max(spans.values(), default=0)
        return tuple(arm for arm in self.offers for _ in range(most // spans[arm.id]))

    @property
    def only_percents(self) -> bool:
        """Whether nothing but percents off is offered."""
        return all(arm.terms.share_off is not None for arm in self.offers)


def write_draft(
    profile: Profile, arm: Arm, choices: Choices, care: float, rng: np.random.Generator, tone: str = ""
) -> Draft:
    """One message by an agent who gets each slot right with probability `care`; 1 makes no mistake.

    Any tone, where none is named.
    """
    tone, bare = tone or _one(TONES, rng), arm_facts(arm, profile.currency).nothing

    def right() -> bool:
        return bool(rng.random() < care)

    parts: list[tuple[str, str]] = []

    def say(slot: str, sentences: Sequence[str]) -> None:
        parts.append((slot, in_sentence(_one(sentences, rng), profile, arm)))

    say("opening", _greetings(tone, profile) if right() else PLAIN_OPENINGS)
    if rng.random() < ACKNOWLEDGED_SHARE:
        kind = CONTACT_ACKNOWLEDGEMENTS if bare else ACKNOWLEDGEMENTS
        say("acknowledgement", kind if right() else RUDE_ACKNOWLEDGEMENTS)
    if not right() and rng.random() < FILLER_SHARE:
        for sentence in rng.permutation(FILLERS)[: rng.integers(1, 3)]:
            parts.append(("filler", str(sentence)))
    if right():
        say("offer", SAID[arm.terms.kind].told)
    else:
        mistake = rng.random()
        if mistake < WRONG_SHARE:
            place, wrong = rng.random(), _mistaken(arm, choices, rng)
            told = SAID[wrong.terms.kind].told
            parts.append(("offer", in_sentence(told[int(place * len(told))], profile, wrong)))
        else:
            vague = mistake < WRONG_SHARE + VAGUE_SHARE
            say("offer", VAGUE_OFFERS if vague else SAID[arm.terms.kind].plain)
    if not right() and rng.random() < PROMISE_SHARE:
        say("promise", PROMISES)
    say("call", (CONTACT_CALLS if bare else CALLS_TO_ACTION) if right() else PRESSING_CALLS)
    if right():
        say("sign_off", SIGN_OFFS[tone])
    if right() or rng.random() >= NO_OPT_OUT_SHARE:
        say("opt_out", OPT_OUTS)
    return Draft(tuple(parts), tone)


def write_sendable(
    profile: Profile, arm: Arm, care: float, safety: Safety, rng: np.random.Generator
) -> Draft:
    """One message that may be sent, by an agent who gets each slot right with probability `care`.

    Raises:
        CorpusError: no such message was found: the rules refuse what the corpus says.
    """
    broken = ""
    for _ in range(TRIES):
        draft = _curt_draft(profile, arm, care, rng)
        verdict = safety.check(draft.completion, profile, arm)
        if verdict.safe:
            return draft
        broken = f"{verdict.blocking[0].rule}: {verdict.blocking[0].reason}"
    raise CorpusError(
        f"messages.source: corpus: found no text about {arm.id!r} that the safety rules let pass in {TRIES} tries "
        f"(the last: {broken}); the corpus is English and says nothing else: loosen the rules, or bring messages of "
        "your own"
    )


def _curt_draft(profile: Profile, arm: Arm, care: float, rng: np.random.Generator) -> Draft:
    """A message whose slots, where they go wrong, are curt, empty or about the company."""
    tone, bare = _one(TONES, rng), arm_facts(arm, profile.currency).nothing
    parts: list[tuple[str, str]] = []

    def right() -> bool:
        return bool(rng.random() < care)

    def say(slot: str, sentences: Sequence[str]) -> None:
        parts.append((slot, in_sentence(_one(sentences, rng), profile, arm)))

    say("opening", _greetings(tone, profile) if right() else SHORT_OPENINGS)
    if right() and rng.random() < ACKNOWLEDGED_SHARE:
        say("acknowledgement", CONTACT_ACKNOWLEDGEMENTS if bare else ACKNOWLEDGEMENTS)
    if not right() and rng.random() < FILLER_SHARE:
        parts.extend(("filler", str(each)) for each in rng.permutation(FILLERS)[: rng.integers(1, 3)])
    say("offer", SAID[arm.terms.kind].told)
    calls, short = (CONTACT_CALLS, SHORT_CONTACT_CALLS) if bare else (CALLS_TO_ACTION, SHORT_CALLS)
    say("call", calls if right() else short)
    if right():
        say("sign_off", SIGN_OFFS[tone])
    say("opt_out", OPT_OUTS)
    return Draft(tuple(parts), tone)


def _greetings(tone: str, profile: Profile) -> tuple[str, ...]:
    loyal = profile.tenure_months is not None and profile.tenure_months >= LOYAL_MONTHS
    return (*OPENINGS[tone], LOYAL_OPENINGS[tone]) if loyal else OPENINGS[tone]


def _mistaken(arm: Arm, choices: Choices, rng: np.random.Generator) -> Arm:
    """Another offer: mostly of another worth, sometimes for another duration."""
    offered = [each for each in choices.offers if not arm_facts(each, choices.currency).nothing]
    worth = worth_words(arm, choices.currency)
    levels, spans = [], []
    for each in offered:
        same = worth_words(each, choices.currency) == worth
        if not same and each.months == arm.months:
            levels.append(each)
        elif same and each.months != arm.months:
            spans.append(each)
    wrong = levels if levels and (not spans or rng.random() < 0.7) else spans
    wrong = wrong or [each for each in offered if worth_words(each, choices.currency) != worth]
    return _one(wrong, rng) if wrong else _invented(arm)


def _invented(arm: Arm) -> Arm:
    """An offer that no menu has, where a menu has only one: half of it, or a percent off."""
    share = arm.terms.share_off
    terms = PercentOff(share=0.1 if share is None else share / 2, months=max(1, arm.months))
    return arm.model_copy(update={"terms": terms})


def _one(options: Sequence[_T], rng: np.random.Generator) -> _T:
    return options[int(rng.random() * len(options))]


Edit = Callable[[Draft, Profile, Arm, Choices, np.random.Generator], Draft]


def _other_percent(draft: Draft, _: Profile, arm: Arm, choices: Choices, rng: np.random.Generator) -> Draft:
    own = worth_words(arm, choices.currency)
    others = {worth_words(each, choices.currency) for each in choices.offers} - {own}
    return draft.putting(own, _one(sorted(others), rng))


def _other_terms(
    draft: Draft, profile: Profile, arm: Arm, choices: Choices, rng: np.random.Generator
) -> Draft:
    """Another worth of the same kind in the very words, what another arm gives, or its own as another kind is told.

    An offer, where a bare contact has none.
    """
    facts, own = arm_facts(arm, choices.currency), worth_words(arm, choices.currency)
    if facts.nothing:
        offered = [each for each in choices.offers if not arm_facts(each, choices.currency).nothing]
        other = _one(offered, rng) if offered else _invented(arm)
        return draft.after("offer", in_sentence(_one(SAID[other.terms.kind].plain, rng), profile, other))
    strangers = [
        each
        for each in choices.offers
        if each.terms.kind != arm.terms.kind and not arm_facts(each, choices.currency).nothing
    ]
    way = rng.random() if strangers else 0.0
    if way > WORTH_ALONE:
        other = _one(strangers, rng)
        told = _one(SAID[other.terms.kind].told + SAID[other.terms.kind].plain, rng)
        if way > WORTH_ALONE + (1 - WORTH_ALONE) / 2:
            told = told.replace("{worth}", own)
        return draft.saying("offer", in_sentence(told, profile, other))
    menu = {
        worth_words(each, choices.currency) for each in choices.offers if each.terms.kind == arm.terms.kind
    }
    others = sorted((menu | set(_near(arm, choices.currency))) - {own})
    return draft.putting(own, _one(others, rng))


def _near(arm: Arm, currency: str) -> tuple[str, ...]:
    """What is easily said instead of an arm's worth: half or twice of it, other money, another gift."""
    terms = arm.terms
    if terms.share_off is not None:
        return (worth_words(_invented(arm), currency),)
    if terms.amount_off is not None:
        other = "USD" if currency != "USD" else "EUR"
        amount = terms.amount_off
        return (
            f"{amount_words(amount)} {other}",
            *(f"{amount_words(amount * by)} {currency}" for by in (0.5, 2)),
        )
    if terms.gift_words is not None:
        return OTHER_GIFTS
    return tuple(
        worth_words(lasting(arm, months), currency) for months in (1, 2, 3, 6) if months != arm.months
    )


def _other_months(draft: Draft, _: Profile, arm: Arm, choices: Choices, rng: np.random.Generator) -> Draft:
    own = duration_words(arm)
    others = sorted({duration_words(each) for each in choices.offers} - {own, ""})
    return draft.putting(own, _one(others, rng))


def _other_service(
    draft: Draft, profile: Profile, _: Arm, choices: Choices, rng: np.random.Generator
) -> Draft:
    return draft.putting(profile.service, _one([s for s in choices.services if s != profile.service], rng))


def _truncated(draft: Draft, _: Profile, __: Arm, ___: Choices, rng: np.random.Generator) -> Draft:
    words = draft.completion.split()
    kept = words[: -int(rng.integers(7, max(8, len(words) // 2)))]
    return replace(draft, parts=(("", " ".join(kept).rstrip(".,")),))


def _repeated(draft: Draft, _: Profile, __: Arm, ___: Choices, rng: np.random.Generator) -> Draft:
    slot, sentence = max(draft.parts, key=lambda part: len(part[1]))
    return draft.after(slot, " ".join([sentence] * int(rng.integers(1, 3))))


EDITS: Mapping[str, Edit] = {
    "percent": _other_percent,
    "terms": _other_terms,
    "months": _other_months,
    "name": lambda draft, _, __, ___, rng: draft.putting("{name}", _one(OTHER_NAMES, rng)),
    "service": _other_service,
    "vague_offer": lambda draft, profile, arm, _, rng: draft.saying(
        "offer", in_sentence(_one(VAGUE_OFFERS, rng), profile, arm)
    ),
    "promise": lambda draft, _, __, ___, rng: draft.after("offer", _one(PROMISES, rng)),
    "pressure": lambda draft, _, __, ___, rng: draft.saying("call", _one(PRESSING_CALLS, rng)),
    "sign_off": lambda draft, _, __, ___, ____: draft.without("sign_off"),
    "opt_out": lambda draft, _, __, ___, ____: draft.without("opt_out"),
    "truncation": _truncated,
    "repetition": _repeated,
    "gush": lambda draft, _, __, ___, rng: draft.after("call", _one(GUSHES, rng)),
}
"""Single edits of a message without mistakes, by the rule that each breaks. `percent` is said of menus of percents
alone, `terms` of any other."""


def edits_of(choices: Choices, arm: Arm) -> tuple[str, ...]:
    """The edits of a text about an arm that there is something else to say for.

    One that only some arms know stands the more often for those, so that every rule gets about as many pairs.
    """
    shares = {
        "percent": float(choices.only_percents and len({arm.terms.share_off for arm in choices.offers}) > 1),
        "terms": float(not choices.only_percents),
        "service": float(len(choices.services) > 1),
        "months": 0.0,
    }
    if duration_words(arm):
        spans = [duration_words(each) for each in choices.equally_often]
        running = [span for span in spans if span]
        shares["months"] = len(running) / len(spans) if len(set(running)) > 1 else 0.0
    repeats = {rule: math.ceil(1 / share) if share else 0 for rule, share in shares.items()}
    return tuple(rule for rule in EDITS for _ in range(repeats.get(rule, 1)))


def write_message_corpus(
    table: CustomerTable,
    config: MessagesConfig,
    rules: SafetyRules,
    menu: Menu,
    seed: int,
    currency: str = "USD",
) -> MessageCorpus:
    """Writes the embedded messages: each may be sent, none stands twice, no prompt or customer is in two splits.

    Args:
        table: The customers; their folds decide the split.
        config: The `messages:` section.
        rules: The `safety:` section, which every message keeps.
        menu: What may be offered.
        seed: Of everything that is drawn.
        currency: Of all money, ISO 4217.

    Raises:
        CorpusError: a split has no customer, too few different messages can be written, or the rules let none pass.
    """
    profiles = profiles_of(table, config.profile, currency)
    safety = safety_of(rules, config.profile.service_texts, menu)
    choices = Choices(offers_of(menu, config.durations), config.profile.service_texts, currency)
    rng = np.random.default_rng([seed, 1])
    written: set[str] = set()
    rows = []
    for split, customers in _customers(table, profiles).items():
        for customer, arm in _situations(
            customers, choices.equally_often, getattr(config.rows, split), split, rng
        ):
            profile = profiles[customer]
            for _ in range(TRIES):
                draft = write_sendable(profile, arm, _one(AGENTS, rng), safety, rng)
                if draft.completion not in written:
                    break
            else:
                raise CorpusError(
                    f"messages.rows: found {len(written)} different messages, then the same {TRIES} times; "
                    "expected fewer rows, or more services, discounts or durations"
                )
            written.add(draft.completion)
            prompt = prompt_of(profile, arm)
            rows.append((customer, split, prompt, draft.completion, arm.id, float(arm.months), draft.tone))
    frame = pd.DataFrame(rows, columns=list(MESSAGE_COLUMNS))
    return MessageCorpus(frame, _used(profiles, frame), arms_of(menu), simulated=True)


def write_preferences(
    table: CustomerTable,
    messages: MessagesConfig,
    config: PreferencesConfig,
    rules: SafetyRules,
    menu: Menu,
    seed: int,
    currency: str = "USD",
) -> Preferences:
    """Writes the embedded pairs: the better text by the hidden rules is chosen, but for the label noise.

    Of a pair where only one text is safe to send, that one is the better: pairs of which the hidden rules say
    otherwise are left out.

    Args:
        table: The customers; their folds decide the split, the same as of the messages.
        messages: The `messages:` section: profile and durations.
        config: The `preferences:` section.
        rules: The `safety:` section.
        menu: What may be offered.
        seed: Of everything that is drawn.
        currency: Of all money, ISO 4217.

    Raises:
        CorpusError: a split has no customer, or no pair can be written.
    """
    profiles = profiles_of(table, messages.profile, currency)
    choices = Choices(offers_of(menu, messages.durations), messages.profile.service_texts, currency)
    safety = safety_of(rules, choices.services, menu)
    edits = {arm: edits_of(choices, arm) for arm in choices.offers}
    owner: dict[str, str] = {}
    rng = np.random.default_rng([seed, 2])
    rows = []
    for split, customers in _customers(table, profiles).items():
        for customer, arm in _situations(
            customers, choices.equally_often, getattr(config.rows, split), split, rng
        ):
            profile = profiles[customer]
            rule = _one(edits[arm], rng) if rng.random() < config.edit_share else ""
            for _ in range(TRIES):
                better, worse = _pair(profile, arm, choices, rule, config.min_gap, safety, rng)
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
            situation = (customer, split, prompt_of(profile, arm))
            rows.append((*situation, better, worse, arm.id, float(arm.months), kind, rule))
    frame = pd.DataFrame(rows, columns=list(PREFERENCE_COLUMNS))
    return Preferences(frame, _used(profiles, frame), arms_of(menu), simulated=True)


def _pair(
    profile: Profile,
    arm: Arm,
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
            first = write_draft(profile, arm, choices, 1.0, rng)
            second = EDITS[rule](first, profile, arm, choices, rng)
        else:
            first = write_draft(profile, arm, choices, _one(AGENTS, rng), rng)
            second = write_draft(profile, arm, choices, _one(AGENTS, rng), rng)
        better, worse = first.completion, second.completion
        gap = gold.gold_score(profile, arm, better).total - gold.gold_score(profile, arm, worse).total
        if not rule and gap < 0:
            better, worse, gap = worse, better, -gap
        if gap >= least and (
            safety.check(better, profile, arm).safe or not safety.check(worse, profile, arm).safe
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
        if owner.setdefault(prompt_of(profile, NO_CONTACT), split) == split:
            found[split].append(customer)
    return found


def _situations(
    customers: Sequence[str], offers: Sequence[Arm], rows: int, split: str, rng: np.random.Generator
) -> Iterator[tuple[str, Arm]]:
    """`rows` customers and arms: every offer in turn, a customer again (with another) only after all."""
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

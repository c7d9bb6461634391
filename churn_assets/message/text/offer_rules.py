"""Whether a text says an arm's terms, all of them and no others, whatever the kind of arm. Knows no other rule."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterator, Sequence

from churn_assets.arms import amount_words
from churn_assets.message.config import RuleId
from churn_assets.message.text.explain import GIFT_SIGN, SERVICE_SIGN
from churn_assets.message.text.quantities import Quantities, Quantity
from churn_assets.message.text.terms import ArmFacts

BrokenRules = Iterator[tuple[RuleId, str]]

_CLOSE = 1e-6
"""Months, percents and amounts are small numbers: what differs by less is the same."""
_DISCOUNT = frozenset(
    {
        "off",
        "discount",
        "less",
        "lower",
        "cheaper",
        "save",
        "saving",
        "savings",
        "reduced",
        "reduction",
        "reduce",
        "cut",
        "price",
    }
)
_DEARER = frozenset(
    {"increase", "increased", "raise", "raised", "rise", "rises", "higher", "more", "above", "dearer", "pricier",
     "expensive", "surcharge", "fee", "fees", "penalty", "interest", "tax", "markup"}
)  # fmt: skip
_DENIED = frozenset(
    {"not", "no", "never", "without", "cannot", "neither", "nor", "hardly", "except", "excluding"}
)
_CONDITIONAL = frozenset({"if", "unless", "provided", "maybe", "perhaps", "might", "could", "almost"})
_HEDGES = (
    "up to", "at least", "as much as", "about", "around", "approximately", "roughly", "almost", "nearly", "more than",
    "less than", "fewer than", "over", "under", "from", "between", "minimum of", "maximum of", "some",
)  # fmt: skip
_HEDGED = re.compile(rf"(?:^| )(?:{'|'.join(_HEDGES)})(?: (?:a|an|the|another|\$))*$")
_SENTENCE_ENDS = frozenset(".!?")

MONEY_OFF = frozenset(
    {"off", "discount", "discounts", "discounted", "cheaper", "save", "saving", "savings", "reduced", "reduction",
     "rebate"}
)  # fmt: skip
"""What no text says of an arm that takes no money off."""
OFFERED = frozenset(
    {*MONEY_OFF, "less", "lower", "price", "prices", "offer", "offers", "offered", "offering", "deal", "deals",
     "reward", "rewards", "bonus", "gift", "gifts", "voucher", "free", "money", "euro", "euros", "dollar", "dollars",
     "pound", "pounds"}
)  # fmt: skip
"""What no text says of a contact that brings nothing."""
_MONTHLY = frozenset({"monthly"})
_EVERY = frozenset({"a", "each", "every", "per", "/"})
_TO_FREE = frozenset({"of", "your", "our", "the", "is", "are", "for", "completely", "entirely", SERVICE_SIGN})
"""What may stand between `month` and `free`: `1 month of your service free`."""


def judge_offer(read: Quantities, facts: ArmFacts, *, required: bool) -> BrokenRules:
    """Every rule about the offer that a text breaks.

    Args:
        read: Its numbers; `GIFT_SIGN` stands for the gift's own words.
        facts: What is true of the arm.
        required: Whether the text must say the offer.
    """
    said: set[str] = set()
    free: set[int] = set()
    for quantity in read.found:
        problem = _of_number(read, quantity, facts, said, free)
        if problem is not None:
            yield problem
    for unit, place in read.loose:
        rule: RuleId = "wrong_discount" if unit == "percent" else "wrong_duration"
        yield rule, f"says {read.tokens[place]!r} without a number that can be read"
    yield from _of_gift(read, facts, said)
    yield from _of_words(read, facts, free)
    if required:
        for part in _parts(facts):
            if part not in said:
                yield "missing_offer", f"does not say the {part}"


def symbols(read: Quantities, facts: ArmFacts) -> list[str]:
    """The tokens of a text, with `W`, `D` or `F` wherever a number says the arm's worth, months or free months."""
    tokens, behind = list[str](), 0
    for quantity in read.found:
        tokens += read.tokens[behind : quantity.start]
        right = _symbol(quantity, facts)
        if right == "D" and facts.free_months and "free" in read.tokens[quantity.start : quantity.end]:
            right = "F"
        tokens += [right] if right else read.tokens[quantity.start : quantity.end]
        behind = quantity.end
    return [*tokens, *read.tokens[behind:]]


def _symbol(quantity: Quantity, facts: ArmFacts) -> str:
    """What a number says of the arm; empty where it says nothing that is true."""
    wanted = {
        "percent": facts.percent,
        "money": facts.amount if facts.currency in quantity.currencies else None,
        "months": facts.months or facts.free_months,
    }.get(quantity.unit)
    if wanted is None or abs(quantity.value - wanted) > _CLOSE:
        return ""
    return "D" if quantity.unit == "months" else "W"


def _parts(facts: ArmFacts) -> tuple[str, ...]:
    if facts.discount:
        return ("discount", "duration")
    if facts.free_months is not None:
        return ("free months",)
    return ("gift",) if facts.gift is not None else ()


def _of_number(
    read: Quantities, quantity: Quantity, facts: ArmFacts, said: set[str], free: set[int]
) -> tuple[RuleId, str] | None:
    """What is wrong with a number, if anything; notes what it says rightly."""
    told = " ".join(read.tokens[quantity.start : quantity.end])
    if quantity.unit == "percent":
        problem = _percentage(read, quantity, facts, told)
        said |= {"discount"} if problem is None else set()
    elif quantity.unit == "months":
        problem = _duration(read, quantity, facts, told, free)
        said |= {"free months" if facts.free_months else "duration"} if problem is None else set()
    elif quantity.unit == "money" and facts.amount is not None:
        problem = _amount(read, quantity, facts, told)
        said |= {"discount"} if problem is None else set()
    else:
        problem = "other_number", f"says {told!r}, expected no number but the offer's"
    return problem


def _percentage(
    read: Quantities, quantity: Quantity, facts: ArmFacts, told: str
) -> tuple[RuleId, str] | None:
    if facts.percent is None:
        return "wrong_discount", f"says {told!r}, expected no percentage"
    if abs(quantity.value - facts.percent) > _CLOSE:
        return "wrong_discount", f"says {told!r}, expected {facts.percent:g}%"
    return _misused(read, quantity, "percentage")


def _amount(read: Quantities, quantity: Quantity, facts: ArmFacts, told: str) -> tuple[RuleId, str] | None:
    assert facts.amount is not None
    if abs(quantity.value - facts.amount) > _CLOSE or facts.currency not in quantity.currencies:
        expected = f"{amount_words(facts.amount)} {facts.currency}"
        return "wrong_discount", f"says {told!r}, expected {expected}"
    problem = _misused(read, quantity, "amount")
    if problem is None and not _says_monthly(_sentence(read, quantity.start, quantity.end)):
        return "unclear_offer", f"does not say that {told!r} are off every month"
    return problem


def _duration(
    read: Quantities, quantity: Quantity, facts: ArmFacts, told: str, free: set[int]
) -> tuple[RuleId, str] | None:
    expected = facts.months or facts.free_months
    if expected is None:
        return "wrong_duration", f"says {told!r}, expected no duration"
    if abs(quantity.value - expected) > _CLOSE:
        words = f"{expected} {'free ' if facts.free_months else ''}{'month' if expected == 1 else 'months'}"
        return "wrong_duration", f"says {told!r}, expected {words}"
    if _is_hedged(read, quantity.start):
        return "unclear_offer", f"says neither more nor less than {told!r}, expected plain words"
    if facts.free_months is None:
        return None
    place = _free_place(read, quantity)
    if place is None:
        return "unclear_offer", f"does not say that {told!r} costs nothing"
    free.add(place)
    return _given(read, quantity.start, quantity.end, "free months")


def _given(read: Quantities, start: int, end: int, what: str) -> tuple[RuleId, str] | None:
    """What is wrong with a sentence that gives something once, if anything."""
    sentence = [*_sentence(read, start, start), *_sentence(read, end, end)]
    if _says_monthly([token for token in sentence if token not in read.tokens[start:end]]):
        return "unclear_offer", f"says the {what} for every month, expected it once"
    return _unclear(_sentence(read, start, end), what)


def _free_place(read: Quantities, quantity: Quantity) -> int | None:
    """The token that says that a duration is free: within it, or right behind."""
    for place in range(quantity.start, quantity.end):
        if read.tokens[place] == "free":
            return place
    place = quantity.end
    while place < len(read.tokens) and read.tokens[place] in _TO_FREE:
        place += 1
    return place if read.tokens[place : place + 1] == ("free",) else None


def _of_gift(read: Quantities, facts: ArmFacts, said: set[str]) -> BrokenRules:
    """The gift's own words: said plainly, and at least once."""
    if facts.gift is None:
        return
    for place, token in enumerate(read.tokens):
        if token == GIFT_SIGN:
            problem = _given(read, place, place + 1, "gift")
            if problem is None and _is_hedged(read, place):
                problem = "unclear_offer", "does not say the gift plainly"
            if problem is None:
                said.add("gift")
            else:
                yield problem


def _of_words(read: Quantities, facts: ArmFacts, free: Collection[int]) -> BrokenRules:
    """Words that name another offer than the arm's."""
    if facts.discount:
        return
    named = OFFERED if facts.nothing else MONEY_OFF
    for place, token in enumerate(read.tokens):
        if token == "free":
            if place in free or read.tokens[place - 1 : place] == ("feel",):
                continue
            yield "other_offer", "says that something else is free"
        elif token in named:
            yield "other_offer", f"says {token!r}, expected {'no offer' if facts.nothing else 'no discount'}"


def _sentence(read: Quantities, start: int, end: int) -> Sequence[str]:
    """The tokens of the sentence around a place."""
    while start and read.tokens[start - 1] not in _SENTENCE_ENDS:
        start -= 1
    while end < len(read.tokens) and read.tokens[end] not in _SENTENCE_ENDS:
        end += 1
    return read.tokens[start:end]


def _misused(read: Quantities, quantity: Quantity, what: str) -> tuple[RuleId, str] | None:
    """What is wrong with a discount of the right size, if anything."""
    words = frozenset(_sentence(read, quantity.start, quantity.end))
    if not words & _DISCOUNT or words & _DEARER:
        return "wrong_discount", f"does not say the {what} as a discount"
    problem = _unclear(words, "discount")
    if problem is None and _is_hedged(read, quantity.start):
        return "unclear_offer", "does not say the discount plainly"
    return problem


def _unclear(words: Collection[str], what: str) -> tuple[RuleId, str] | None:
    """Whether a sentence denies what it says, or says it on a condition."""
    odd = frozenset(words) & (_DENIED | _CONDITIONAL) or {word for word in words if word.endswith("n't")}
    return ("unclear_offer", f"does not say the {what} plainly ({min(odd)})") if odd else None


def _says_monthly(sentence: Sequence[str]) -> bool:
    """Whether a sentence says `monthly`, `a month`, `each month`, `per month`."""
    pairs = itertools.pairwise(sentence)
    return not _MONTHLY.isdisjoint(sentence) or any(a in _EVERY and b == "month" for a, b in pairs)


def _is_hedged(read: Quantities, start: int) -> bool:
    before = " ".join(read.tokens[max(0, start - 4) : start])
    return _HEDGED.search(before) is not None

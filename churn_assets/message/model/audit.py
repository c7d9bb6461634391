"""A second opinion on what a text offers: a reader of its own, which shares no code with the safety rules.

Those search a text for patterns. This one reads it: the letters are brought down to plain ones, the words are put into
a tape of numbers, units and other words, and the tape is reduced by a small grammar until nothing changes. Where the
two disagree, one of them is wrong, and a gate says so. Keep it apart: a shared mistake would be seen by neither.
"""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Any, Literal

from churn_assets.arms import Arm

MarkKind = Literal[
    "number", "part", "percent", "time", "money", "hyphen", "and", "article", "slash", "stop", "word"
]

_LOOKALIKES = str.maketrans(
    "аеорсухіјѕԁһⅼΑΒΕΖΗΙΚΜΝΟΡΤΥΧοаνΙІЕТАОРСНКМВХ٪％﹪",
    "aeopcyxijsdhlABEZHIKMNOPTYXoavIIETAOPCHKMBX%%%",
)
_UNITS = {
    "zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
    "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16,
    "seventeen": 17, "eighteen": 18, "nineteen": 19, "twenty": 20, "thirty": 30, "forty": 40, "fourty": 40,
    "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90, "dozen": 12, "couple": 2, "twice": 2,
    "double": 2, "triple": 3,
}  # fmt: skip
_POWERS = {"hundred": 100, "thousand": 1000}
_NUMBERS = _UNITS | _POWERS
_PARTS = {
    "half": Fraction(1, 2), "halve": Fraction(1, 2), "halved": Fraction(1, 2), "third": Fraction(1, 3),
    "thirds": Fraction(2, 6), "quarter": Fraction(1, 4), "quarters": Fraction(1, 4), "fifth": Fraction(1, 5),
    "tenth": Fraction(1, 10),
}  # fmt: skip
_TIME = {"day": Fraction(12, 365), "week": Fraction(12, 52), "month": Fraction(1), "year": Fraction(12),
         "fortnight": Fraction(24, 52), "decade": Fraction(120)}  # fmt: skip
_SHORT = {"mo": "month", "mth": "month", "wk": "week", "yr": "year"}
_TIME_ELSEWHERE = {
    "mes": "month", "meses": "month", "año": "year", "años": "year", "monat": "month", "monate": "month",
    "monaten": "month", "jahr": "year", "jahre": "year", "jahren": "year", "semanas": "week", "wochen": "week",
    "días": "day", "tage": "day",
}  # fmt: skip
_FREE = frozenset({"free", "gratis", "kostenlos"})
_PASSED_OVER = frozenset(
    {"full", "whole", "entire", "more", "calendar", "extra", "additional", "straight", "of", "free"}
)
_SIGNS = {"$": "dollar", "€": "euro", "£": "pound", "¥": "yen", "₹": "rupee"}
_COUNTRIES = {
    "dollar": "usaunzcahksgtw", "euro": "eu", "pound": "gbeg", "yen": "jpcn", "rupee": "inpklknp", "franc": "chxaxo",
    "peso": "mxarclcoph", "krona": "seis", "krone": "nodk", "zloty": "pl",
}  # fmt: skip
"""Names of money, and the first two letters of the ISO codes that each may mean, one after the other."""
_OFFERING = frozenset({"discount", "offer", "gift", "free", "voucher", "bonus"})
"""What a contact that brings nothing does not say."""
_KINDS: dict[str, MarkKind] = {
    "%": "percent", "percent": "percent", "pct": "percent", "percentage": "percent", "cent": "percent",
    "prozent": "percent", "ciento": "percent",
    "-": "hyphen", "‐": "hyphen", "‑": "hyphen", "–": "hyphen", "and": "and", "a": "article", "an": "article",
    "the": "article", "/": "slash", "⁄": "slash", ".": "stop", "!": "stop", "?": "stop",
}  # fmt: skip


@dataclass(frozen=True)
class Said:
    """What a text says in numbers.

    Attributes:
        percents: Every percentage, a part of a price included.
        months: Every duration, in months.
        others: Every other number.
        amounts: Every number of money, with the name of the money in small letters (`euro`, or an ISO code).
        free: Those of the durations that are said to cost nothing.
    """

    percents: frozenset[Fraction] = frozenset()
    months: frozenset[Fraction] = frozenset()
    others: frozenset[Fraction] = frozenset()
    amounts: frozenset[tuple[Fraction, str]] = frozenset()
    free: frozenset[Fraction] = frozenset()

    @property
    def sums(self) -> frozenset[Fraction]:
        """The amounts, whatever their money."""
        return frozenset(value for value, _ in self.amounts)


@dataclass(frozen=True)
class _Mark:
    """One place of the tape."""

    kind: MarkKind
    word: str
    value: Fraction = Fraction(0)


def said(text: str, currency: str = "") -> Said:
    """Reads every number of a text and what it counts; an ISO code beside a number is money if it is `currency`."""
    tape = _join_parts(_join_numbers([_mark(word, currency.lower()) for word in _words(text)]))
    found = list(_read(tape))
    return Said(
        **{each.name: frozenset(value for name, value in found if name == each.name) for each in fields(Said)}
    )


def _read(tape: Sequence[_Mark]) -> Iterator[tuple[str, Any]]:
    """Field of `Said` and value of all that a tape says."""
    for place, mark in enumerate(tape):
        counted, money = _counted(tape, place), _money(tape, place)
        if mark.kind not in ("number", "part"):
            if _is_lone_time(tape, place):
                yield from _duration(tape, place, place, mark.value)
        elif counted is not None and counted.kind == "time":
            yield from _duration(tape, place, tape.index(counted, place), mark.value * counted.value)
        elif mark.kind == "part":
            yield "percents", 100 * mark.value
        elif counted is not None:
            yield "percents", mark.value
        elif money is not None:
            yield "amounts", (mark.value, money)
        elif mark.word != "one":
            yield "others", mark.value


def _duration(tape: Sequence[_Mark], first: int, last: int, months: Fraction) -> Iterator[tuple[str, Any]]:
    """A duration, and once more where it is said to be free: before its unit, or in the next words of its sentence."""
    yield "months", months
    behind = itertools.takewhile(lambda mark: mark.kind != "stop", tape[last + 1 : last + 8])
    if any(mark.word in _FREE for mark in (*tape[max(0, first - 1) : last], *behind)):
        yield "free", months


def says_only(text: str, arm: Arm, currency: str) -> bool:
    """Whether a text says what this arm brings, and names no other number (nor any, where it brings nothing counted).

    Args:
        text: With its placeholders.
        arm: What is offered.
        currency: Of amounts, ISO 4217.
    """
    apart, gift = _without_gift(text, arm)
    found, wanted = said(apart, currency), _offered(arm)
    return (
        not says_another(text, arm, currency)
        and (found.percents, found.months, found.sums) == (wanted.percents, wanted.months, wanted.sums)
        and gift
        and wanted.free <= found.free
    )


def says_another(text: str, arm: Arm, currency: str) -> bool:
    """Whether a text names a discount, an amount or a duration that is not this arm's, or any other number."""
    found, wanted = said(_without_gift(text, arm)[0], currency), _offered(arm)
    foreign = [money for _, money in found.amounts if not _is_money(money, currency.lower())]
    other = (
        found.percents - wanted.percents
        or found.months - wanted.months
        or found.sums - wanted.sums
        or found.others
        or foreign
    )
    nothing = wanted == Said() and arm.terms.gift_words is None
    return bool(other) or (nothing and not _OFFERING.isdisjoint(_words(text)))


def _offered(arm: Arm) -> Said:
    """What a text that says just this arm is read as; the money is named as nothing."""
    terms, share, amount = arm.terms, arm.terms.share_off, arm.terms.amount_off
    months = frozenset({Fraction(terms.months)} if terms.months else ())
    return Said(
        percents=frozenset(() if share is None else {Fraction(str(round(100 * share, 6)))}),
        months=months,
        amounts=frozenset(() if amount is None else {(Fraction(str(amount)), "")}),
        free=months if terms.kind == "free_months" else frozenset(),
    )


def _without_gift(text: str, arm: Arm) -> tuple[str, bool]:
    """The text without the words of the arm's gift, and whether they stood there (or none is given)."""
    if arm.terms.gift_words is None:
        return text, True
    wanted = [word for word in _words(arm.terms.gift_words) if word not in ("a", "an", "the", "your", "our")]
    words, rest = list(_words(text)), list[str]()
    found, place = False, 0
    while place < len(words):
        if words[place : place + len(wanted)] == wanted:
            found, place = True, place + len(wanted)
            rest.append("it")
        else:
            rest.append(words[place])
            place += 1
    return " ".join(rest), found


def _words(text: str) -> Iterator[str]:
    """Words, numbers and signs, one by one, in plain small letters; whatever cannot be seen is skipped."""
    apart = "".join(f" {sign} " if unicodedata.category(sign) == "No" else sign for sign in text)
    plain = unicodedata.normalize("NFKD", apart.translate(_LOOKALIKES)).lower()
    word = ""
    for place, sign in enumerate(plain):
        category = unicodedata.category(sign)
        if category in ("Mn", "Cf", "Cc") and sign not in "\n\t":
            continue
        point = sign in ".," and word[-1:].isdecimal() and plain[place + 1 : place + 2].isdecimal()
        kind = "letter" if sign.isalpha() or sign == "'" else "digit" if sign.isdecimal() or point else ""
        starts_anew = word and (not kind or (kind == "digit") != (word[0].isdecimal()))
        if starts_anew:
            yield word
            word = ""
        if kind:
            word += sign
        elif not sign.isspace():
            yield sign
    if word:
        yield word


def _singular(word: str) -> str:
    word = word.removesuffix("s")
    return _SHORT.get(word, word)


def _mark(word: str, code: str) -> _Mark:
    if word[0].isdecimal():
        return _Mark("number", word, _value(word))
    if word in _NUMBERS:
        return _Mark("number", word, Fraction(_NUMBERS[word]))
    if word in _PARTS:
        return _Mark("part", word, _PARTS[word])
    if (unit := _TIME_ELSEWHERE.get(word) or _singular(word)) in _TIME:
        return _Mark("time", word, _TIME[unit])
    if word in _KINDS:
        return _Mark(_KINDS[word], word)
    if word in _SIGNS or unit in _COUNTRIES or (word == code != ""):
        return _Mark("money", _SIGNS.get(word, word if word == code else unit))
    return _Mark("word", word)


def _value(digits: str) -> Fraction:
    whole, *rest = digits.split(",")
    if rest and all(len(group.split(".")[0]) == 3 for group in rest):
        return Fraction(whole + "".join(rest))
    pieces = digits.replace(",", ".").split(".")
    return Fraction(pieces[0] + ("." + "".join(pieces[1:]) if len(pieces) > 1 else ""))


def _join_numbers(tape: list[_Mark]) -> list[_Mark]:
    """`twenty`, `-`, `five` become 25; `one`, `hundred`, `and`, `five` become 105."""
    joined: list[_Mark] = []
    for mark in tape:
        joined.append(mark)
        while (shorter := _joined_tail(joined)) is not None:
            joined = shorter
    return joined


def _joined_tail(tape: list[_Mark]) -> list[_Mark] | None:
    right = tape[-1]
    if right.kind != "number" or right.word[0].isdecimal():
        return None
    link = len(tape) > 2 and tape[-2].kind in ("hyphen", "and")
    left = tape[-3] if link else tape[-2] if len(tape) > 1 else right
    if left.kind != "number" or left.word[0].isdecimal() or left is right:
        return None
    rest = tape[: -3 if link else -2]
    if right.word in _POWERS and not link:
        return [*rest, _Mark("number", "joined", left.value * right.value)]
    tens_and_ones = left.value % 100 in range(20, 100, 10) and 0 < right.value < 10
    hundreds_and_rest = left.value >= 100 and left.value % 100 == 0 and 0 < right.value < 100
    if (tens_and_ones and not (link and tape[-2].kind == "and" and left.value < 100)) or hundreds_and_rest:
        return [*rest, _Mark("number", "joined", left.value + right.value)]
    return None


def _join_parts(tape: list[_Mark]) -> list[_Mark]:
    """`three`, `quarters` becomes 3/4; `1`, `/`, `2` becomes 1/2; `six and a half` becomes 6 1/2."""
    joined: list[_Mark] = []
    place = 0
    while place < len(tape):
        mark, taken = _first_part(tape[place : place + 4])
        joined.append(mark)
        place += taken
    return joined


def _first_part(tape: Sequence[_Mark]) -> tuple[_Mark, int]:
    """The first number of the tape with all that belongs to it, and how many marks those are."""
    values = [mark.value for mark in tape]
    match [mark.kind for mark in tape]:
        case ["number", "slash", "number", *_] if values[2]:
            return _Mark("part", "joined", values[0] / values[2]), 3
        case ["number", "number", "slash", "number"] if values[3]:
            return _Mark("number", "joined", values[0] + values[1] / values[3]), 4
        case ["number", "and", "article", "part"]:
            return _Mark("number", "joined", values[0] + values[3]), 4
        case ["number", "part", *_]:
            return _Mark("part", "joined", values[0] * values[1]), 2
        case ["number", "hyphen", "part", *_]:
            return _Mark("part", "joined", values[0] * values[2]), 3
    return tape[0], 1


def _counted(tape: Sequence[_Mark], place: int) -> _Mark | None:
    """What the number at a place counts: the percent or time behind it, if there is one."""
    part = tape[place].kind == "part"
    for mark in tape[place + 1 :]:
        if mark.kind in ("percent", "time"):
            return mark
        passed = mark.kind == "hyphen" or mark.word in _PASSED_OVER or mark.word == "per"
        if not (passed or (part and mark.kind == "article")):
            return None
    return None


def _money(tape: Sequence[_Mark], place: int) -> str | None:
    """The name of the money that a number counts: right behind it, a hyphen between or not, or right before."""
    behind = place + 1
    while behind < len(tape) and (tape[behind].kind == "hyphen" or tape[behind].word in _PASSED_OVER):
        behind += 1
    if behind < len(tape) and tape[behind].kind == "money":
        return tape[behind].word
    return tape[place - 1].word if place and tape[place - 1].kind == "money" else None


def _is_money(name: str, code: str) -> bool:
    """Whether a name of money may mean the currency of a code in small letters."""
    if name == code:
        return True
    starts = _COUNTRIES.get(name, "")
    return code[:2] in {starts[place : place + 2] for place in range(0, len(starts), 2)}


def _is_lone_time(tape: Sequence[_Mark], place: int) -> bool:
    """`for a year`, `the next month`: one, without saying so."""
    mark = tape[place]
    if mark.kind != "time" or mark.word.endswith("s") or place == 0:
        return False
    before = [each.word for each in tape[max(0, place - 3) : place] if each.word not in _PASSED_OVER]
    return before[-1:] == ["next"] or before[-2:] in (["for", "a"], ["for", "an"])

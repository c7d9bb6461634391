"""Numbers and their units in an English text, in digits or words. Finds what is said; judges nothing."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

from churn_assets.message.text.currencies import BEFORE, CODES, HUNDREDTHS, MEANT, ONE_OF

Unit = Literal["percent", "months", "money", "none"]

_ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_SMALL: Mapping[str, float] = {word: float(value) for value, word in enumerate(_ONES)} | {
    word: 10.0 * value for value, word in enumerate(_TENS, 2)
}
_LARGE = {"hundred": 100.0, "thousand": 1000.0, "million": 1e6}
_LOT = {"dozen": 12.0, "couple": 2.0, "pair": 2.0}
_TIMES = {"once": 1.0, "double": 2.0, "doubled": 2.0, "twice": 2.0, "triple": 3.0, "thrice": 3.0}
_PARTS = {
    "half": 1 / 2, "halve": 1 / 2, "halved": 1 / 2, "halves": 1 / 2, "halving": 1 / 2, "third": 1 / 3, "thirds": 1 / 3,
    "quarter": 1 / 4, "quarters": 1 / 4, "fifth": 1 / 5, "fifths": 1 / 5, "tenth": 1 / 10, "tenths": 1 / 10,
}  # fmt: skip
_VULGAR = str.maketrans(
    {"½": " and a half ", "¼": " quarter ", "¾": " three quarters ", "⅓": " third ", "⅔": " two thirds ", "’": "'"}
)  # fmt: skip
_PERCENT = frozenset({"%", "percent", "pct", "percentage", "pc"})
_DURATIONS: Mapping[str, float] = {
    **dict.fromkeys(("day", "days"), 12 / 365),
    **dict.fromkeys(("week", "weeks", "wk", "wks"), 12 / 52),
    **dict.fromkeys(("fortnight", "fortnights"), 24 / 52),
    **dict.fromkeys(("month", "months", "mo", "mos", "mth", "mths"), 1.0),
    **dict.fromkeys(("year", "years", "yr", "yrs"), 12.0),
    **dict.fromkeys(("decade", "decades"), 120.0),
}
"""Months of each unit: a year is 12 months, 52 weeks or 365 days."""
_BETWEEN = frozenset(
    {"-", "full", "whole", "entire", "more", "calendar", "extra", "additional", "straight", "free"}
)
_ARTICLES = frozenset({"a", "an", "of", "the"})
_LENGTHS = frozenset({"weeks", "wks", "months", "mos", "mths", "years", "yrs", "decades"})
"""What always has a number in front: a `good day` or a `new year` promises nothing."""
_AT_LARGE = frozenset(
    {"the", "these", "those", "all", "every", "each", "per", "this", "many", "our", "your", "of", "a", "coming"}
)  # fmt: skip
"""What stands before a duration that says no length: `all the years with us`, `every month`."""

COUNTING: frozenset[str] = frozenset(
    {*_SMALL, *_LARGE, *_LOT, *_TIMES, *_PARTS, *(_PERCENT - {"%"}), *_DURATIONS}
)
"""Words for numbers and for what they count, money apart."""
_TELLING = COUNTING | {"%", "per", "a", "an", "next", "coming"}
"""Tokens that a number or a unit can start with, besides digits."""

_TOKEN = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+(?:'[^\W\d_]+)*|\S")


_ENGLISH: Mapping[str, str] = {}


class Quantity(NamedTuple):
    """A number in a text.

    Attributes:
        value: In percent, months, money, or as it stands.
        unit: What it counts.
        start: Its first token.
        end: The token after it and its unit.
        currencies: ISO codes that the words may mean, where it is money.
    """

    value: float
    unit: Unit
    start: int
    end: int
    currencies: frozenset[str] = frozenset()


class Quantities(NamedTuple):
    """All numbers of a text, and the units that stand without a number that could be read.

    Attributes:
        found: The numbers, in order.
        loose: Percents and lengths of time without a number that can be read: unit and token.
        tokens: The text's tokens, casefolded.
    """

    found: tuple[Quantity, ...]
    loose: tuple[tuple[Unit, int], ...]
    tokens: tuple[str, ...]


def read_quantities(text: str, plain: Mapping[str, str] = _ENGLISH) -> Quantities:
    """Finds every number in a text, and what it counts.

    A fraction of anything but time is a percentage: `half price` is 50 percent. `for a year` and `next month` count
    one; the word `one` without a unit is no number. Money has its currency before or behind it: `$10`, `10 EUR`,
    `ten euros`, `50 cents`.

    Args:
        text: Any text.
        plain: Words of another language, and the English ones that say the same (`Language.plain`).
    """
    tokens = _TOKEN.findall(unicodedata.normalize("NFKC", text.translate(_VULGAR)).casefold())
    if plain:
        tokens = _in_plain(tuple(plain.items())).sub(lambda said: plain[said[0]], " ".join(tokens)).split()
    found: list[Quantity] = []
    loose: list[tuple[Unit, int]] = []
    behind = 0
    for place, token in enumerate(tokens):
        if place < behind or not (token in _TELLING or token[0].isdigit()):
            continue
        quantity = _quantity(tokens, place, behind)
        if quantity is not None:
            found.append(quantity)
            behind = quantity.end
        elif _is_percent(tokens, place):
            loose.append(("percent", place))
        elif token in _LENGTHS and not (place and tokens[place - 1] in _AT_LARGE):
            loose.append(("months", place))
    return Quantities(tuple(found), tuple(loose), tuple(tokens))


@lru_cache
def _in_plain(plain: tuple[tuple[str, str], ...]) -> re.Pattern[str]:
    """Where a language's own words stand among tokens, the longest first."""
    words = sorted((word for word, _ in plain), key=len, reverse=True)
    return re.compile(rf"(?<!\S)(?:{'|'.join(map(re.escape, words))})(?!\S)")


def _quantity(tokens: Sequence[str], place: int, behind: int) -> Quantity | None:
    token = tokens[place]
    if token in ("a", "an", "next", "coming") and place:
        return _one_of(tokens, place)
    read = _number(tokens, place)
    if read is None:
        return None
    value, end, fraction = read
    unit = _past(tokens, end, _BETWEEN | _ARTICLES if fraction else _BETWEEN)
    name = tokens[unit] if unit < len(tokens) else ""
    if name in _DURATIONS:
        return _lasting(tokens, place, value, unit)
    if fraction:
        return Quantity(100 * value, "percent", place, end)
    if name and _is_percent(tokens, unit):
        return Quantity(value, "percent", place, unit + (2 if name == "per" else 1))
    if token == "one" and end == place + 1 and name not in ONE_OF:
        return None
    return _money(tokens, place, value, end, unit, behind) or Quantity(value, "none", place, end)


def _past(tokens: Sequence[str], place: int, passed: Collection[str]) -> int:
    """The first place from there on that is none of these."""
    while place < len(tokens) and tokens[place] in passed:
        place += 1
    return place


def _lasting(tokens: Sequence[str], place: int, count: float, unit: int) -> Quantity:
    """So many of a unit of time, `and a half` behind it included."""
    months, end = _DURATIONS[tokens[unit]], unit + 1
    if tokens[end : end + 3] == ["and", "a", "half"]:
        return Quantity(count * months + months / 2, "months", place, end + 3)
    return Quantity(count * months, "months", place, end)


def _money(
    tokens: Sequence[str], place: int, value: float, end: int, unit: int, behind: int
) -> Quantity | None:
    """The number as money, where a currency stands before it (and belongs to no number before) or behind it."""
    sign = tokens[place - 1] if place > behind else ""
    before = MEANT[sign] if sign in BEFORE else None
    name = tokens[unit] if unit < len(tokens) else ""
    if name in HUNDREDTHS:
        return Quantity(value / 100, "money", place, unit + 1, CODES)
    after = MEANT.get(name)
    if before is None and after is None:
        return None
    currencies = before if after is None else after if before is None else before & after
    start, stop = place - (before is not None), end if after is None else unit + 1
    return Quantity(value, "money", start, stop, currencies or frozenset())


def _one_of(tokens: Sequence[str], place: int) -> Quantity | None:
    """`for a (whole) year`, `next month`: one, without a number."""
    unit = _past(tokens, place + 1, _BETWEEN)
    if unit >= len(tokens) or tokens[unit] not in _DURATIONS or tokens[unit].endswith("s"):
        return None
    if tokens[place] in ("a", "an") and unit == place + 1 and tokens[place - 1] != "for":
        return None  # a rate: `20 off a month`
    return _lasting(tokens, place, 1.0, unit)


def _number(tokens: Sequence[str], place: int) -> tuple[float, int, bool] | None:
    """Value, the token behind it, and whether it is a part of a whole; None where no number starts."""
    token = tokens[place]
    if token in _PARTS:
        return _PARTS[token], place + 1, True
    if token in _TIMES:
        return _TIMES[token], place + 1, False
    if token in _LOT:
        end = place + 1
        return _LOT[token], end + (tokens[end : end + 1] == ["of"]), False
    if token[0].isdigit():
        value, end = _digits(token), place + 1
        if tokens[end : end + 1] in (["/"], ["⁄"]) and end + 1 < len(tokens) and tokens[end + 1][0].isdigit():
            below = _digits(tokens[end + 1])
            return (value / below if below else value), end + 2, True
    elif token in _SMALL or token in _LARGE:
        value, end = _words(tokens, place)
    else:
        return None
    part = end + (tokens[end : end + 1] == ["-"])
    if part < len(tokens) and tokens[part] in _PARTS and tokens[part] != "half":
        return value * _PARTS[tokens[part]], part + 1, True
    if tokens[end : end + 3] == ["and", "a", "half"]:
        return value + 0.5, end + 3, False
    if tokens[end : end + 1] == ["half"] and value == 1:
        return 0.5, end + 1, True
    return value, end, False


def _digits(token: str) -> float:
    if re.fullmatch(r"\d{1,3}(,\d{3})+(\.\d+)?", token):
        return float(token.replace(",", ""))
    parts = re.split("[.,]", token)
    return float(f"{parts[0]}.{''.join(parts[1:])}") if len(parts) > 1 else float(token)


def _words(tokens: Sequence[str], place: int) -> tuple[float, int]:
    """Reads a number in words: `twenty-five`, `one hundred and ten`. Stops where the words do not fit together."""
    total, room = 0.0, float("inf")
    end = place
    while end < len(tokens):
        at = end
        if end > place and tokens[at] in ("-", "and") and at + 1 < len(tokens):
            at += 1
        word = tokens[at]
        if word in _SMALL and _SMALL[word] < room and not (tokens[end] == "and" and room < 100):
            total += _SMALL[word]
            room = 10.0 if _SMALL[word] >= 20 else 0.0
        elif word in _LARGE and at == end:
            total = (total or 1.0) * _LARGE[word]
            room = 100.0
        else:
            break
        end = at + 1
    return total, end


def _is_percent(tokens: Sequence[str], place: int) -> bool:
    token = tokens[place]
    return token in _PERCENT or (token == "per" and tokens[place + 1 : place + 2] == ["cent"])

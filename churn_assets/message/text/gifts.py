"""Finds gifts in a text: the arm's own, in its own words, and others. Judges nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable

_DETERMINERS = "a|an|the|your|our|one|this|that|free"
_FIRST = re.compile(rf"^(?:(?:{_DETERMINERS})\s+)+", re.I)
_WORD = re.compile(r"[^\W_]+")


def gift_core(gift: str) -> str:
    """A gift without what stands before the thing itself.

    >>> gift_core("a new router")
    'new router'
    """
    return _FIRST.sub("", gift.strip()) or gift.strip()


def gift_pattern(gift: str) -> re.Pattern[str]:
    """Where a text says a gift, with what stands before it."""
    core = r"[\s-]+".join(map(re.escape, gift_core(gift).split()))
    return re.compile(rf"(?<!\w)(?:(?:{_DETERMINERS})\s+)*{core}(?!\w)", re.I)


def gift_words(gift: str) -> frozenset[str]:
    """Every word of a gift, casefolded."""
    return frozenset(_WORD.findall(gift.casefold()))


def others(gift: str | None, gifts: Iterable[str]) -> list[str]:
    """The gifts of a menu that are another's, and cannot be meant by the arm's own words."""
    own = "" if gift is None else gift.casefold()
    return [each for each in gifts if gift_core(each).casefold() not in own]

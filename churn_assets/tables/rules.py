"""Bounds of what can be served, one truth for tables, encoders and the service. Reads nothing."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from churn_assets.tables.text import as_text

LARGEST_NUMBER = 1e15
"""Whatever is larger is no customer's number, and its powers would overflow."""
FIRST_DAY, LAST_DAY = date(1990, 1, 1), date(2100, 1, 1)
"""Dates outside are another thing written as a date: seconds read as days, 0, a placeholder."""
TRUTHS = dict.fromkeys(
    ("true", "1", "yes", "y", "t", "ja", "wahr", "oui", "vrai", "si", "sí", "sì", "sim"), 1.0
)
TRUTHS |= dict.fromkeys(("false", "0", "no", "n", "f", "nein", "falsch", "non", "faux", "não"), 0.0)
"""Casefolded, as `as_text` gives them."""
LONGEST_ID, LONGEST_TEXT = 128, 200
"""Characters that the service takes of a customer's id and of a category."""
TOTALS = frozenset(
    {"total", "totals", "grand total", "subtotal", "sub-total", "sum", "summe", "gesamt", "gesamtsumme",
     "gesamtergebnis", "total general", "total général", "totale", "totaal", "average", "mean", "mittelwert",
     "durchschnitt", "moyenne", "promedio", "count", "anzahl"}
)  # fmt: skip
"""What a spreadsheet (casefolded) writes before figures of all lines."""
NOBODY = TOTALS | frozenset(
    {"nan", "null", "none", "n/a", "na", "<na>", "nat", "#n/a", "nil", "undefined", "(null)", "(blank)", "unknown",
     "\\n"}
)  # fmt: skip
"""What stands for an id (casefolded) in a row without one, and in a row of totals."""
LOST_DIGITS = r"^\d([.,]\d+[eE]\+?|[eE]\+)\d+$"
_UNSEEN = "\x7f-\x9f\xad\u200b\u200e\u200f\u2028-\u202e\u2060\ufeff"
UNPRINTABLE = rf"[\x00-\x1f{_UNSEEN}]"
"""Control characters, and those that nobody sees: marks of byte order and direction, what has no width."""
UNPRINTABLE_TEXT = rf"[\x00-\x08\x0b\x0c\x0e-\x1f{_UNSEEN}]"
"""The same of a text, which may have several lines."""


_PLAIN_ID = re.compile(rf"[A-Za-z0-9_-]{{1,{LONGEST_ID}}}")
"""Most ids: nothing in them can be lost, unseen or composed."""


def id_fault(text: str) -> str | None:
    """What is expected of an id where a text is none: the rule of tables (`values.parse_ids`) for a single one.

    >>> id_fault("7590-VHVEG"), id_fault("nan")
    (None, 'an id of somebody, as the customer table has it')
    """
    if _PLAIN_ID.fullmatch(text) and text.lower() not in NOBODY:
        return None
    if not text.strip() or text.casefold() in NOBODY:
        return "an id of somebody, as the customer table has it"
    if len(text) > LONGEST_ID or re.search(UNPRINTABLE, text):
        return f"an id of 1 to {LONGEST_ID} printable characters"
    if re.search(LOST_DIGITS, text, re.ASCII):
        return "an id with all of its digits"
    if text != unicodedata.normalize("NFC", as_text(text)):
        return "the id as the customer table has it, without spaces around it or .0 behind it, in composed letters"
    return None


@dataclass(frozen=True)
class NumberRule:
    """Which numbers a column may hold.

    Attributes:
        lowest: Smallest.
        highest: Largest.
        above_zero: Whether 0 is too small.
        whole: Whether they are whole numbers.
        needed: Whether a blank is wrong.
    """

    lowest: float = -LARGEST_NUMBER
    highest: float = LARGEST_NUMBER
    above_zero: bool = False
    whole: bool = False
    needed: bool = False

    def allows(self, numbers: NDArray[np.float64]) -> NDArray[np.bool_]:
        """(n,) which numbers keep it; a blank (NaN) does not.

        >>> NumberRule(lowest=0, whole=True).allows(np.array([2.0, 2.5, -1.0])).tolist()
        [True, False, False]
        """
        kept = (numbers >= self.lowest) & (numbers <= self.highest)
        if self.above_zero:
            kept &= numbers > 0
        if self.whole:
            kept &= numbers == np.round(numbers)
        return np.asarray(kept)

    @property
    def expected(self) -> str:
        """In words, bounds that hold for every number apart.

        >>> NumberRule(lowest=0, highest=7, whole=True).expected
        'a whole number, at least 0, at most 7'
        """
        parts = ["a whole number" if self.whole else "a finite number"]
        if self.above_zero:
            parts.append("above 0")
        elif self.lowest > -LARGEST_NUMBER:
            parts.append(f"at least {self.lowest:g}")
        if self.highest < LARGEST_NUMBER:
            parts.append(f"at most {self.highest:g}")
        return ", ".join(parts)

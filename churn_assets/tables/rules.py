"""Bounds of what can be served, one truth for tables, encoders and the service. Reads nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

LARGEST_NUMBER = 1e15
"""Whatever is larger is no customer's number, and its powers would overflow."""
FIRST_DAY, LAST_DAY = date(1990, 1, 1), date(2100, 1, 1)
"""Dates outside are another thing written as a date: seconds read as days, 0, a placeholder."""
TRUTHS = {"true": 1.0, "false": 0.0, "1": 1.0, "0": 0.0, "yes": 1.0, "no": 0.0}
"""Casefolded, as `as_text` gives them."""
LONGEST_ID, LONGEST_TEXT = 128, 200
"""Characters that the service takes of a customer's id and of a category."""


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

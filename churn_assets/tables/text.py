"""The text of a single value, the same wherever the value was stored. Knows no table."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd

_WHOLE = re.compile(r"(-?\d+)\.0+")
"""Whole numbers as they are written where their column once had a blank."""


def as_text(value: Any) -> str:
    """The text of a value, stripped; equal whether the source stored 1, 1.0, "1" or "1.0". Empty for no value.

    >>> as_text(12.0), as_text("0012 "), as_text(None), as_text(True)
    ('12', '0012', '', 'True')
    """
    if value is None or value is pd.NA or value != value:
        return ""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    text = str(value).strip()
    whole = _WHOLE.fullmatch(text)
    return whole[1] if whole else text

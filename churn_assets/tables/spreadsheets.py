"""Texts of a CSV that a spreadsheet would run as a formula: marked when written, unmarked when ids are read back."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

_FORMULA = r"^'*[=+\-@\t\r]"
_NUMBER = r"^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$"
_MARKED = r"^'('*[=+\-@\t\r])"


def marked(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with an apostrophe before every text that begins as a formula does (`=`, `+`, `-`, `@`, tab).

    Numbers stay as they are; so does whatever is no text. An apostrophe before such a sign gets another one, so that
    `unmarked` gives back what was there.
    """
    changed = {}
    for name in frame.columns:
        column = frame[name]
        if pd.api.types.is_object_dtype(column) or pd.api.types.is_string_dtype(column):
            texts = column.astype("string")
            formula = texts.str.contains(_FORMULA, regex=True, na=False)
            formula &= ~texts.str.contains(_NUMBER, regex=True, na=False)
            if formula.any():
                changed[name] = column.where(~formula, "'" + texts)
    return frame.assign(**changed) if changed else frame


def unmarked(texts: pa.Array) -> Any:
    """Texts as they were before `marked`."""
    if not pc.any(pc.starts_with(texts, "'")).as_py():
        return texts
    return pc.replace_substring_regex(texts, _MARKED, r"\1")

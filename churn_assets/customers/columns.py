"""Parsing one raw column: texts, numbers, ids, labels, and its kind. Knows no table."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

BLANK_NUMBERS = frozenset({"", "na", "n/a", "nan", "null", "none"})
"""What counts as no value in a column of numbers (casefolded). In a text column only the empty text does:
"None" may be a category."""

_WHOLE = re.compile(r"-?\d+\.0+")
"""Whole numbers as they are written where their column once had a blank."""

LOOKS_NUMERIC = 0.9
"""A text column of which at least this share parses is a numeric column with errors, no category."""


class CustomerTableError(ValueError):
    """A customer table is not what its config or schema says: names column, found and expected."""


def as_text(value: object) -> str:
    """The text of a value, stripped; equal whether the file stored 1, 1.0, "1" or "1.0". Empty for no value."""
    if value is None or value is pd.NA or (isinstance(value, float | np.floating) and math.isnan(value)):
        return ""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    text = str(value).strip()
    return text.split(".")[0] if _WHOLE.fullmatch(text) else text


def examples(values: Sequence[Any], rows: Sequence[int], ids: Sequence[str]) -> str:
    """Names up to three offenders by row (the first customer is row 1) and customer."""
    offenders = sorted(zip(rows, values, strict=True), key=lambda pair: pair[0])
    listed = ", ".join(
        f"{_shown(value)} in row {row + 1} (customer {ids[row]})" for row, value in offenders[:3]
    )
    return listed + (f" and {len(offenders) - 3} more" if len(offenders) > 3 else "")


def parse_ids(column: pd.Series, where: str) -> list[str]:
    """Customer ids as text; CustomerTableError where one is blank."""
    ids = [as_text(value) for value in column]
    blank = [str(row + 1) for row, name in enumerate(ids) if not name]
    if blank:
        rows = ", ".join(blank[:3]) + (f" and {len(blank) - 3} more" if len(blank) > 3 else "")
        raise CustomerTableError(
            f"{where}: column {column.name!r}: found a blank in row {rows}; expected a customer id"
        )
    return ids


def parse_labels(
    column: pd.Series, values: Mapping[str, int], ids: Sequence[str], where: str
) -> NDArray[np.int8]:
    """Labels as the numbers that `values` gives their texts; CustomerTableError for any other text."""
    texts = [as_text(value) for value in column]
    wrong = [row for row, text in enumerate(texts) if text not in values]
    if wrong:
        found = examples([texts[row] for row in wrong], wrong, ids)
        raise CustomerTableError(
            f"{where}: column {column.name!r}: found {found}; expected one of {list(values)}"
        )
    return np.array([values[text] for text in texts], dtype=np.int8)


def parse_numbers(column: pd.Series, ids: Sequence[str], where: str) -> NDArray[np.float64]:
    """Numbers, NaN for a blank; CustomerTableError where a value is neither."""
    numbers, wrong = _attempt_numbers(column)
    if wrong.any():
        rows = np.flatnonzero(wrong).tolist()
        found = examples([column.iloc[row] for row in rows], rows, ids)
        raise CustomerTableError(
            f"{where}: column {column.name!r}: found {found}; expected a number or a blank"
        )
    return numbers


def parse_texts(column: pd.Series, ids: Sequence[str], where: str) -> NDArray[np.object_]:
    """Texts, None for a blank; CustomerTableError where a value is a list or a mapping."""
    nested = [row for row, value in enumerate(column) if isinstance(value, list | dict | np.ndarray)]
    if nested:
        found = examples([column.iloc[row] for row in nested], nested, ids)
        raise CustomerTableError(f"{where}: column {column.name!r}: found {found}; expected a text")
    return np.array([as_text(value) or None for value in column], dtype=object)


def infer_kind(column: pd.Series, ids: Sequence[str], where: str) -> Literal["numeric", "categorical"]:
    """Numeric where every value that is not blank parses as a number, else categorical.

    Raises:
        CustomerTableError: The column holds dates, or is nearly but not all numbers.
    """
    if pd.api.types.is_datetime64_any_dtype(column) or pd.api.types.is_timedelta64_dtype(column):
        raise CustomerTableError(
            f"{where}: column {column.name!r}: found dates, expected numbers or texts; exclude it"
        )
    numbers, wrong = _attempt_numbers(column)
    parsed = int((~np.isnan(numbers)).sum())
    if wrong.any() and parsed >= LOOKS_NUMERIC * (parsed + int(wrong.sum())):
        parse_numbers(column, ids, where)  # raises, naming the values that are not numbers
    return "numeric" if parsed and not wrong.any() else "categorical"


def _attempt_numbers(column: pd.Series) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The column as numbers (NaN for what is none), and where it is neither number nor blank."""
    if pd.api.types.is_bool_dtype(column):
        return np.full(len(column), np.nan), np.ones(len(column), dtype=bool)
    if pd.api.types.is_numeric_dtype(column):
        return column.to_numpy(dtype=np.float64, na_value=np.nan), np.zeros(len(column), dtype=bool)
    texts = column.map(as_text)
    numbers = pd.to_numeric(texts, errors="coerce").to_numpy(dtype=np.float64)
    wrong = np.isnan(numbers) & ~texts.str.casefold().isin(BLANK_NUMBERS).to_numpy()
    return numbers, wrong


def _shown(value: Any) -> str:
    plain = value.item() if isinstance(value, np.generic) else value
    return "a blank" if as_text(plain) == "" else repr(plain)

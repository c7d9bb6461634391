"""The label of a raw customer table: by its values or by leaving dates, and who is left out by it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn_assets.customers.config import LabelConfig, LabelValue
from churn_assets.customers.schema import LabelSpec
from churn_assets.tables.problems import ROLE, Problems
from churn_assets.tables.raw import RawTable
from churn_assets.tables.text import as_text
from churn_assets.tables.values import TRUTHS, distinct_texts, parse_dates

LABEL_REMEDY = "`label: {positive: [...], negative: [...], ignore: [...]}` names every value"


@dataclass(frozen=True, eq=False)
class ReadLabels:
    """What the label column says.

    Attributes:
        left: (n,) 1 where the customer left, NaN where nothing is said.
        out: (n,) whom the label leaves out.
        spec: How it was read.
    """

    left: NDArray[np.float64]
    out: NDArray[np.bool_]
    spec: LabelSpec


def read_labels(raw: RawTable, config: LabelConfig, as_of: date | None, problems: Problems) -> ReadLabels:
    """Reads the label column of a table to learn from; what is wrong with it goes to `problems`."""
    if config.positive is None:
        assert as_of is not None
        return _of_dates(raw, config, as_of, problems)
    codes, texts = distinct_texts(raw, config.column)
    counts = np.bincount(codes[codes >= 0], minlength=len(texts))
    positive, negative, ignored = _meanings(texts, counts, config)
    strange = [text not in (*positive, *negative, *ignored) for text in texts]
    _tell(raw, config, (codes, texts, strange), negative if positive else [], problems)
    values = dict.fromkeys(negative, 0) | dict.fromkeys(positive, 1)
    out = np.array([text in ignored for text in texts] + ["" in config.ignore], dtype=bool)[codes]
    left = np.array([values.get(text, np.nan) for text in texts] + [np.nan], np.float64)[codes]
    blank, remedy = np.full(len(raw), None, dtype=object), 'to leave such rows out: `label: {ignore: [""]}`'
    expected = f"one of {sorted(texts)[:6]}"
    problems.rows(config.column, (codes < 0) & ~out, blank, expected, line=raw.line, remedy=remedy, rank=ROLE)
    first = {"positive": (positive or [""])[0], "negative": (negative or [""])[0]}
    return ReadLabels(
        left, out, LabelSpec(column=config.column, **first, values=values if len(values) > 2 else {})
    )


def _meanings(
    texts: list[str], counts: NDArray[np.intp], config: LabelConfig
) -> tuple[list[str], list[str], list[str]]:
    """Texts that mean left, stayed and neither; without `negative`, the most frequent other one means stayed."""
    truths = all(text.casefold() in TRUTHS for text in texts)
    positive, ignored = (_among(texts, values, truths=truths) for values in (_given(config), config.ignore))
    if config.negative is not None:
        return positive, _among(texts, config.negative, truths=truths), ignored
    others = [text for text in texts if text not in positive + ignored]
    return positive, sorted(others, key=lambda text: -counts[texts.index(text)])[:1], ignored


def _given(config: LabelConfig) -> tuple[LabelValue, ...]:
    positive = config.positive
    if positive is None:
        return ()
    return positive if isinstance(positive, tuple) else (positive,)


def _tell(
    raw: RawTable,
    config: LabelConfig,
    found: tuple[NDArray[np.int32], list[str], list[bool]],
    negative: list[str],
    problems: Problems,
) -> None:
    """Notes values that nobody named."""
    codes, texts, strange = found
    expected = f"{', '.join(repr(as_text(each)) for each in _given(config))} (label.positive) and one other"
    about: dict[str, Any] = {"column": config.column, "remedy": LABEL_REMEDY, "rank": ROLE}
    if not negative:
        problems.add(f"the values {sorted(texts)[:6]}", expected, **about)
        return
    values = np.array([*texts, None], dtype=object)[codes]
    wrong = np.array([*strange, False])[codes]
    problems.rows(wrong=wrong, values=values, expected=f"{expected}, {negative[0]!r}", line=raw.line, **about)


def _among(texts: list[str], values: tuple[LabelValue, ...], *, truths: bool) -> list[str]:
    """Texts that are one of the values, in any case; of yes and no whichever way they are written."""

    def key(text: str) -> object:
        plain = text.casefold()
        return TRUTHS.get(plain, plain) if truths else plain

    wanted = {key(as_text(value)) for value in values}
    return [text for text in texts if key(text) in wanted]


def _of_dates(raw: RawTable, config: LabelConfig, as_of: date, problems: Problems) -> ReadLabels:
    """Who leaves within the window after `as_of`; who left before is left out."""
    dates = parse_dates(raw, config.column, problems)
    start = pd.Timestamp(as_of, tz="UTC")
    whole = int(config.window_months)
    end = start + pd.DateOffset(months=whole) + pd.Timedelta(days=(config.window_months - whole) * 30.4375)
    left = np.asarray((dates > start) & (dates <= end), np.float64)
    return ReadLabels(
        left, np.asarray(dates <= start), LabelSpec(column=config.column, positive="", negative="")
    )

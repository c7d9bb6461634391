"""The label of a raw customer table: by its values or by leaving dates, and who is left out by it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

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
class Labels:
    """What the label column says.

    Attributes:
        left: (n,) 1 where the customer left, NaN where nothing is said.
        out: (n,) whom the label leaves out.
        spec: How it was read.
    """

    left: NDArray[np.float64]
    out: NDArray[np.bool_]
    spec: LabelSpec


def read_labels(raw: RawTable, config: LabelConfig, as_of: date | None, problems: Problems) -> Labels:
    """Reads the label column of a table to learn from; what is wrong with it goes to `problems`."""
    if config.positive is None:
        assert as_of is not None
        return _of_dates(raw, config, as_of, problems)
    given = config.positive if isinstance(config.positive, tuple) else (config.positive,)
    codes, texts = distinct_texts(raw, config.column)
    truths = all(text.casefold() in TRUTHS for text in texts)
    positive, ignored = (_among(texts, values, truths=truths) for values in (given, config.ignore))
    others = [text for text in texts if text not in positive + ignored]
    counts = np.bincount(codes[codes >= 0], minlength=len(texts))
    negative = sorted(others, key=lambda text: -counts[texts.index(text)])[:1]
    if config.negative is not None:
        negative = _among(texts, config.negative, truths=truths)
    unnamed = [text not in negative and text in others for text in texts]
    told = ", ".join(repr(as_text(each)) for each in given)
    expected = f"{told} (label.positive) and one other"
    if not positive or not negative:
        problems.add(
            f"the values {sorted(texts)[:6]}", expected, column=config.column, remedy=LABEL_REMEDY, rank=ROLE
        )
    else:
        found, strange = np.array([*texts, None], dtype=object)[codes], np.array([*unnamed, False])[codes]
        problems.rows(
            config.column,
            strange,
            found,
            f"{expected}, {negative[0]!r}",
            line=raw.line,
            remedy=LABEL_REMEDY,
            rank=ROLE,
        )
    values = dict.fromkeys(negative, 0) | dict.fromkeys(positive, 1)
    out = np.array([text in ignored for text in texts] + ["" in config.ignore], dtype=bool)[codes]
    left = np.array([values.get(text, np.nan) for text in texts] + [np.nan], np.float64)[codes]
    blank, remedy = np.full(len(raw), None, dtype=object), 'to leave such rows out: `label: {ignore: [""]}`'
    expected = f"one of {sorted(texts)[:6]}"
    problems.rows(config.column, (codes < 0) & ~out, blank, expected, line=raw.line, remedy=remedy, rank=ROLE)
    several = len(values) > 2
    spec = LabelSpec(
        column=config.column,
        positive=(positive or [""])[0],
        negative=(negative or [""])[0],
        values=values if several else {},
    )
    return Labels(left, out, spec)


def _among(texts: list[str], values: tuple[LabelValue, ...], *, truths: bool) -> list[str]:
    """Texts that are one of the values, in any case; of yes and no whichever way they are written."""

    def key(text: str) -> object:
        plain = text.casefold()
        return TRUTHS.get(plain, plain) if truths else plain

    wanted = {key(as_text(value)) for value in values}
    return [text for text in texts if key(text) in wanted]


def _of_dates(raw: RawTable, config: LabelConfig, as_of: date, problems: Problems) -> Labels:
    """Who leaves within the window after `as_of`; who left before is left out."""
    dates = parse_dates(raw, config.column, problems)
    start = pd.Timestamp(as_of, tz="UTC")
    whole = int(config.window_months)
    end = start + pd.DateOffset(months=whole) + pd.Timedelta(days=(config.window_months - whole) * 30.4375)
    left = np.asarray((dates > start) & (dates <= end), np.float64)
    return Labels(left, np.asarray(dates <= start), LabelSpec(column=config.column, positive="", negative=""))

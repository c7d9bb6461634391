"""The label of a raw customer table: by values, leaving dates or later rows, and who is left out by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn_assets.customers.config import CustomersConfig, LabelConfig, LabelValue
from churn_assets.customers.schema import LabelSpec
from churn_assets.tables.problems import ROLE, Problems
from churn_assets.tables.raw import RawTable
from churn_assets.tables.rules import TRUTHS, NumberRule
from churn_assets.tables.text import as_text
from churn_assets.tables.values import distinct_texts, parse_dates, parse_numbers

LABEL_REMEDY = "`label: {positive: [...], negative: [...], ignore: [...]}` names every value"


@dataclass(frozen=True, eq=False)
class ReadLabels:
    """What the label column says.

    Attributes:
        left: (n,) 1 where the customer left, NaN where nothing is said.
        out: (n,) whom the label leaves out.
        spec: How it was read.
        counts: Of a panel, how many rows are left out or have no label yet, by why.
    """

    left: NDArray[np.float64]
    out: NDArray[np.bool_]
    spec: LabelSpec
    counts: Mapping[str, int] = field(default_factory=dict)


def read_labels(raw: RawTable, config: LabelConfig, as_of: date | None, problems: Problems) -> ReadLabels:
    """Reads the label column of a table to learn from; what is wrong with it goes to `problems`."""
    if config.nothing:
        amount = parse_numbers(raw, config.column, problems, NumberRule(needed=True))
        spec = LabelSpec(column=config.column, positive="", negative="")
        return ReadLabels(np.asarray(amount <= 0, np.float64), np.zeros(len(raw), dtype=bool), spec)
    if config.positive is None:
        assert as_of is not None
        return _of_dates(raw, config, as_of, problems)
    return _of_values(raw, config, problems, blanks=False)


def _of_values(raw: RawTable, config: LabelConfig, problems: Problems, *, blanks: bool) -> ReadLabels:
    """What the values of the column mean; `blanks`: one says that nothing is known yet."""
    codes, texts = distinct_texts(raw, config.column)
    counts = np.bincount(codes[codes >= 0], minlength=len(texts))
    positive, negative, ignored = _meanings(texts, counts, config)
    strange = [text not in (*positive, *negative, *ignored) for text in texts]
    _tell(raw, config, (codes, texts, strange), negative if positive else [], problems)
    values = dict.fromkeys(negative, 0) | dict.fromkeys(positive, 1)
    out = np.array([text in ignored for text in texts] + ["" in config.ignore], dtype=bool)[codes]
    stays = "" in (config.negative or ())
    left = np.array([values.get(text, np.nan) for text in texts] + [0 if stays else np.nan], np.float64)[
        codes
    ]
    blank, expected = np.full(len(raw), None, dtype=object), f"one of {sorted(texts)[:6]}"
    remedy = 'if it means that they stayed: `label: {negative: [""]}`; to leave such rows out: `label: {ignore: [""]}`'
    unsaid = (codes < 0) & ~out & (not blanks) & (not stays)
    problems.rows(config.column, unsaid, blank, expected, line=raw.line, remedy=remedy, rank=ROLE)
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
        blank = [""] if "" in config.negative else []
        return positive, _among(texts, config.negative, truths=truths) + blank, ignored
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
    end = months_after(pd.DatetimeIndex([start]), config.window_months)[0]
    left = np.asarray((dates > start) & (dates <= end), np.float64)
    return ReadLabels(
        left, np.asarray(dates <= start), LabelSpec(column=config.column, positive="", negative="")
    )


def months_after(days: pd.DatetimeIndex, months: float) -> pd.DatetimeIndex:
    """(n,) the last moment of a window of so many months, perhaps a fraction, after each day."""
    part = pd.Timedelta(days=(months - int(months)) * DAYS_A_MONTH)
    return days + pd.DateOffset(months=int(months)) + part


DAYS_A_MONTH = 30.4375
SLACK = 0.15
"""A label window follows another if it begins by so much of one before or after the other's end."""
LEAST_HISTORIES = 500
"""Customers seen in a later window: fewer show nothing of it."""

WINDOW_OPEN, GONE, UNKNOWN = (
    "not labelled, as the window is not over",
    "after the customer left",
    "not labelled, as the customer's rows end within the window and nothing says why",
)
"""Why rows of a panel are left out or have no label; told with their numbers."""


def panel_labels(
    raw: RawTable,
    config: CustomersConfig,
    ids: NDArray[np.object_],
    days: pd.DatetimeIndex,
    problems: Problems,
) -> ReadLabels:
    """Whether a customer leaves in the window after the day of each row.

    By a leaving date, by rows of later days, or as the row itself says (`ahead`). Rows whose window is not over say
    nothing yet, leavers' among them: of those who stay it is not known either.

    Args:
        raw: The table.
        config: Its section, with `row_date`.
        ids: (n,) customers.
        days: (n,) of the rows.
        problems: Where problems go.
    """
    label, as_of = config.label, config.as_of
    until = days.max() if as_of is None else pd.Timestamp(as_of, tz="UTC")
    expected = f"a day up to {as_of} (`as_of`), until which it is known who left"
    late = np.asarray(days > until)
    problems.rows(
        config.row_date or "", late, days.astype(str).to_numpy(), expected, line=raw.line, rank=ROLE
    )
    closes = months_after(days, label.window_months)
    over = np.asarray(closes <= until)
    if label.ahead:
        told = _of_values(raw, label, problems, blanks=True)
        left = np.where(over | (as_of is None), told.left, np.nan)
        return _counted(told, left, told.out, np.zeros(len(raw), dtype=bool))
    told, leaves = _leaving_days(raw, label, ids, days, problems)
    gone = np.asarray(leaves <= days)
    left = np.asarray((leaves > days) & (leaves <= closes), np.float64)
    last = pd.Series(days).groupby(ids).transform("max")
    # A leaving date that is blank says that the customer stays; rows that merely end say nothing.
    unsaid = np.asarray((last < closes) & leaves.isna()) & over & (label.positive is not None)
    left[unsaid | ~over] = np.nan
    if (told.left == 1).any() and not (left[~gone] == 1).any():
        _no_row_before(raw, label, told, problems)
    return _counted(told, left, told.out | gone, unsaid)


def _leaving_days(
    raw: RawTable, config: LabelConfig, ids: NDArray[np.object_], days: pd.DatetimeIndex, problems: Problems
) -> tuple[ReadLabels, pd.DatetimeIndex]:
    """What the column says, and the day on which each row's customer left: NaT for whoever stays."""
    if config.positive is None:
        dates = parse_dates(raw, config.column, problems)
        spec = LabelSpec(column=config.column, positive="", negative="")
        told = ReadLabels(np.full(len(raw), np.nan), np.zeros(len(raw), dtype=bool), spec)
        by_customer = pd.Series(dates).groupby(ids)
        several = (by_customer.transform("min") != by_customer.transform("max")) & dates.notna()
        problems.rows(
            config.column, several.to_numpy(), dates.astype(str).to_numpy(), "one leaving day a customer",
            line=raw.line, rank=ROLE,
        )  # fmt: skip
    else:
        told = _of_values(raw, config, problems, blanks=False)
        dates = pd.DatetimeIndex(np.where(told.left == 1, days, pd.NaT), tz="UTC")
    return told, pd.DatetimeIndex(pd.Series(dates).groupby(ids).transform("min"))


def _counted(
    told: ReadLabels, left: NDArray[np.float64], out: NDArray[np.bool_], unsaid: NDArray[np.bool_]
) -> ReadLabels:
    open_yet = np.isnan(left) & ~out & ~unsaid
    counts = {GONE: out & ~told.out, UNKNOWN: unsaid & ~out, WINDOW_OPEN: open_yet}
    return ReadLabels(
        left, out, told.spec, {why: int(rows.sum()) for why, rows in counts.items() if rows.any()}
    )


def _no_row_before(raw: RawTable, config: LabelConfig, told: ReadLabels, problems: Problems) -> None:
    lines = raw.line[told.left == 1].tolist()
    problems.add(
        "no labelled row from before these, which say that a customer left", "rows of the customer from before",
        column=config.column, lines=lines, rank=ROLE,
        remedy="if a row says what happens in the window after its day: `label: {ahead: true}`",
    )  # fmt: skip

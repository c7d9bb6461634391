"""Which rows of a monthly panel stand for what: the newest of each customer, one each by lot, the last windows."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from churn_assets.customers.folds import folds
from churn_assets.customers.labels import months_after
from churn_assets.customers.schema import ID, ROW_DATE, FoldsSpec


def is_newest(ids: ArrayLike, days: pd.DatetimeIndex) -> NDArray[np.bool_]:
    """(n,) whether a row is its customer's newest.

    >>> is_newest(["a", "b", "a"], pd.DatetimeIndex(["2026-02-01", "2026-01-01", "2026-01-01"])).tolist()
    [True, True, False]
    """
    order = np.argsort(days.asi8, kind="stable")
    newest = pd.Series(np.asarray(ids, dtype=object)[order]).drop_duplicates(keep="last").index
    found = np.zeros(len(days), dtype=bool)
    found[order[newest]] = True
    return found


def row_keys(frame: pd.DataFrame) -> pd.Index:
    """(n,) what tells rows apart: the customer, and of a panel the day."""
    return frame.set_index([name for name in (ID, ROW_DATE) if name in frame]).index


def one_each(frame: pd.DataFrame, spec: FoldsSpec) -> NDArray[np.bool_]:
    """(n,) at most one row a customer: the newest of the month that a hash of the id draws from all that there are.

    Args:
        frame: Rows with `customer_id` and `row_date`.
        spec: Of the split, for its seed.
    """
    days = pd.DatetimeIndex(frame[ROW_DATE])
    month = np.asarray(days.year * 12 + days.month)
    there = np.unique(month)
    inside = np.flatnonzero(month == there[_lots(frame[ID], spec.seed, len(there))])
    chosen = frame.iloc[inside]
    found = np.zeros(len(frame), dtype=bool)
    found[inside[is_newest(chosen[ID], pd.DatetimeIndex(chosen[ROW_DATE]))]] = True
    return found


def _lots(ids: pd.Series, seed: int, count: int) -> NDArray[np.int64]:
    """(n,) numbers below `count` by the hash of the folds, which they say nothing of."""
    hundreds, ones = (folds(ids, seed + place, 100).astype(np.int64) for place in (1, 2))
    return np.asarray((100 * hundreds + ones) % count)


def later_windows(
    days: pd.DatetimeIndex, labelled: NDArray[np.bool_], months: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(n,) rows of the last label window, and those whose own window is over before it begins.

    Args:
        days: (n,) of the rows.
        labelled: (n,) whether the label is known.
        months: The label window.
    """
    first = months_after(pd.DatetimeIndex([days[labelled].max()]), -months)[0]
    later = labelled & np.asarray(days > first)
    return later, labelled & np.asarray(months_after(days, months) <= days[later].min())

"""Which single columns know the outcome: written after it, or a copy of it. Numpy only; no verdict."""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import NDArray

from churn_assets.gates.metrics import auc, auc_error
from churn_assets.gates.noise import NoiseBand

Floats = NDArray[np.float64]
Labels = NDArray[np.int8]

BINS = 20
"""Quantile bins of a number with more values than that; a blank is one more level."""

LONE_ROWS = 50_000
"""Most customers on whom a column is tried alone; an AUC is then known to a few thousandths."""

PURE, HONEST = 0.98, 0.85
"""A value knows the outcome if a share `PURE` of its customers or more left, or stayed where most leave, and were it
`HONEST`, so many would have by chance less than once in a thousand. The extremes of a continuous number may be as sure:
they are not asked."""


@dataclass(frozen=True)
class LoneColumn:
    """What one column says of the outcome by itself.

    Attributes:
        auc: ROC AUC of the outcome's rate at the column's value in the other folds; of a number also as it is.
        pure: A value that only customers with the rarer outcome have, in words; None if there is none.
    """

    auc: float
    pure: str | None


def lone_column(values: Floats, y: Labels, fold: NDArray[np.integer], levels: tuple[str, ...]) -> LoneColumn:
    """Looks at a column by itself.

    Args:
        values: (n,) codes of `levels`, or numbers; NaN for a blank.
        y: (n,) outcomes, 0 or 1.
        fold: (n,) folds, so that a rare value cannot tell of its own customers.
        levels: Names of the codes; none for a number.
    """
    known = ~np.isnan(values)
    distinct = np.unique(values[known])
    binned = not levels and len(distinct) > BINS
    if binned:
        distinct = np.unique(np.quantile(values[known], np.linspace(0, 1, BINS + 1)[:-1]))
    level = np.where(known, np.searchsorted(distinct, np.nan_to_num(values), side="right"), len(distinct) + 1)
    found = [auc(y, _rates_elsewhere(level, y, fold))]
    if not levels:
        as_it_is = auc(y[known], values[known])
        found += [as_it_is, 1 - as_it_is]
    named = {"not blank": known, "blank": ~known}
    if not binned:
        named |= {levels[int(each)] if levels else f"{each:g}": values == each for each in distinct}
    rarer = y if y.mean() <= 0.5 else 1 - y
    return LoneColumn(
        max((each for each in found if np.isfinite(each)), default=float("nan")),
        next((name for name, rows in named.items() if rows.sum() < len(y) and _is_pure(rarer[rows])), None),
    )


def lone_band(y: Labels, limit: float, columns: int, chance: float) -> NoiseBand:
    """The noise of the strongest of several columns, each of which ranks no better than the limit.

    Args:
        y: (n,) outcomes, 0 or 1.
        limit: Largest AUC that is believed of a column alone.
        columns: How many there are.
        chance: How seldom the strongest may be beyond the limit by chance; each column's part of it is equal
            (Bonferroni).
    """
    rows = min(len(y), LONE_ROWS)
    churners = round(rows * float(y.mean()))
    error = auc_error(limit, churners, rows - churners)
    return NoiseBand.above_share(limit, error, chance / max(columns, 1))


def _is_pure(y: Labels) -> bool:
    n, share = len(y), float(y.mean()) if len(y) else 0.0
    if share < PURE:
        return False
    # Chernoff's bound on so high a share by chance: exact where everybody left.
    apart = share * log(share / HONEST) + (1 - share) * log(max(1 - share, 1e-300) / (1 - HONEST))
    return n * apart > log(1000)


def _rates_elsewhere(level: NDArray[np.integer], y: Labels, fold: NDArray[np.integer]) -> Floats:
    """For each row, the rate of its level in the other folds, else the base rate."""
    folds, inside = np.unique(fold, return_inverse=True)
    cell = level * len(folds) + inside
    cells = (int(level.max()) + 1) * len(folds)
    rows, ones = (np.bincount(cell, each, cells).reshape(-1, len(folds)) for each in (np.ones(len(y)), y))
    rows, ones = rows.sum(axis=1, keepdims=True) - rows, ones.sum(axis=1, keepdims=True) - ones
    rates = np.divide(ones, rows, out=np.full_like(ones, y.mean()), where=rows > 0)
    return np.asarray(rates.ravel()[cell])

"""How far two tables' columns are apart: the population stability index. No thresholds, no verdict."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BINS = 10
LEAST_EXPECTED = 5.0
"""Expected count in a cell below which the chi-square approximation is poor (Cochran 1954)."""


def population_stability(reference: pd.Series, current: pd.Series) -> tuple[float, int]:
    """Population stability index over deciles of the reference or over categories, blanks apart.

    Args:
        reference: (n,) numbers, or texts with None for a blank.
        current: (m,) the same kind.

    Returns:
        The index, at least 0: 0.1 is where credit scoring begins to speak of a shift, 0.25 of a large one. And its
        degrees of freedom, 0 where there is but one cell.
    """
    numeric = pd.api.types.is_numeric_dtype(reference)
    return _stability(*(_deciles if numeric else _categories)(reference, current))


def _deciles(reference: pd.Series, current: pd.Series) -> tuple[Floats, Floats]:
    """Counts by decile of the reference, a value that fills several deciles by itself, blanks last."""
    edges = _edges(reference.dropna())
    counts = []
    for column in (reference, current):
        known = column.dropna().to_numpy(np.float64)
        cells = np.bincount(np.searchsorted(edges, known, side="right"), minlength=len(edges) + 1)
        counts.append(np.append(cells, len(column) - len(known)).astype(np.float64))
    return counts[0], counts[1]


def _edges(reference: pd.Series) -> Floats:
    if not len(reference):
        return np.empty(0)
    deciles, times = np.unique(np.quantile(reference, np.linspace(0, 1, BINS + 1)[1:-1]), return_counts=True)
    return np.unique(np.append(deciles, np.nextafter(deciles[times > 1], np.inf)))


def _categories(reference: pd.Series, current: pd.Series) -> tuple[Floats, Floats]:
    """Counts by category, a blank being one of them."""
    shown = [
        column.astype(object).where(column.notna(), None).map(repr).value_counts()
        for column in (reference, current)
    ]
    names = sorted(set(shown[0].index) | set(shown[1].index))
    first, second = (each.reindex(names, fill_value=0).to_numpy(np.float64) for each in shown)
    return first, second


def _stability(reference: Floats, current: Floats) -> tuple[float, int]:
    """Population stability index of two rows of counts, and its degrees of freedom; rare cells are counted together."""
    both = reference + current
    least = min(reference.sum(), current.sum()) / both.sum() * both
    order = np.argsort(-least, kind="stable")
    first, second = reference[order], current[order]
    rare = least[order] < LEAST_EXPECTED
    if rare.any():
        kept = ~rare
        first = np.append(first[kept], first[rare].sum())
        second = np.append(second[kept], second[rare].sum())
        if (first[-1] + second[-1]) * min(first.sum(), second.sum()) / (
            first.sum() + second.sum()
        ) < LEAST_EXPECTED:
            first, second = _with_the_last_merged(first), _with_the_last_merged(second)
    if len(first) < 2:
        return 0.0, 0
    p, q = ((counts + 0.5) / (counts.sum() + 0.5 * len(counts)) for counts in (first, second))
    return float(((p - q) * np.log(p / q)).sum()), len(first) - 1


def _with_the_last_merged(counts: Floats) -> Floats:
    return counts if len(counts) < 2 else np.append(counts[:-2], counts[-2:].sum())

"""Rows that are near copies of one another under different ids. Numpy only; no verdict.

How often do equal rows stand together? Of independent rows, however few values their columns have and however those
hang together, the number of rows in a cell is Poisson about a rate of the cell's own, so that the numbers f(j) of cells
with j rows keep j f(j)² ≤ (j + 1) f(j - 1) f(j + 1) in expectation, by Cauchy and Schwarz. Four rows a customer do not:
there are cells of four and none of three or five. What moves from month to month splits such cells, so it is tried with
which columns left out, or how coarsely seen, the excess is largest. It needs no label and no model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from churn_assets.customers.schema import CustomerSchema

Floats = NDArray[np.float64]
Hashes = NDArray[np.uint64]

FALSE_ALARMS = 0.001
"""Of tables of independent rows, at most so many are taken for copies, over all that is tried."""

LARGEST = 36
"""Rows a customer, at most, that are looked for: beyond three years of months a cell is no customer."""

COARSE = (4, 8, 16, 32)
"""Bins in which all numbers are seen."""

DROPPED = 12
"""Most numbers of columns that are left out, the ones with most values first."""


@dataclass(frozen=True)
class Copies:
    """Near copies of a table.

    Attributes:
        share: Of the rows, how many stand in cells of which independent rows make fewer; 0 where noise may do that.
        rows_each: How many rows such a cell has; 0 without any.
        moving: Columns that were left out, as they differ between copies; empty where all are equal or seen coarsely.
        examples: Rows of a few such cells.
    """

    share: float = 0.0
    rows_each: int = 0
    moving: tuple[str, ...] = ()
    examples: tuple[tuple[int, ...], ...] = ()


def near_copies(X: Floats, schema: CustomerSchema) -> Copies:
    """What near copies there are.

    Args:
        X: (n, F) design matrix, a row a customer.
        schema: Its features.
    """
    tried = [(moving, *_excesses(cells)) for moving, cells in _views(X, schema)]
    tests = sum(len(z) for _, z, _, _ in tried)
    found, best = Copies(), NormalDist().inv_cdf(1 - FALSE_ALARMS / max(tests, 1))
    share = 0.0
    for moving, z, excess, inverse in tried:
        rows = np.arange(2, 2 + len(z))
        certain = float((np.where(z > best, excess, 0.0) * rows).sum() / max(len(X), 1))
        if certain > share:
            share, each = certain, int(rows[np.argmax(np.where(z > best, excess * rows, 0.0))])
            found = Copies(certain, each, moving, _examples(inverse, each))
    return found


def _views(X: Floats, schema: CustomerSchema) -> Iterator[tuple[tuple[str, ...], Hashes]]:
    """Names of the columns that are left out, and (n,) a number for each combination of the others' values."""
    codes = [np.unique(column, return_inverse=True)[1] for column in X.T]
    numbers = [place for place, each in enumerate(schema.features) if each.kind == "numeric"]
    numbers.sort(key=lambda place: -int(codes[place].max(initial=0)))
    hashed = [_hashed(code, place) for place, code in enumerate(codes)]
    every = sum(hashed, np.zeros(len(X), np.uint64))
    yield (), every
    rest = every
    for count, place in enumerate(numbers[:DROPPED], start=1):
        rest = rest - hashed[place]
        if count < len(schema.features):
            yield tuple(schema.names[each] for each in numbers[:count]), rest
    price = schema.names.index(schema.monthly_revenue)
    categories = every - sum((hashed[each] for each in numbers), np.zeros(len(X), np.uint64))
    yield tuple(schema.names[each] for each in numbers if each != price), categories + hashed[price]
    for bins in COARSE:
        yield (), sum((_hashed(_binned(X[:, each], bins), each) for each in numbers), categories)


def _hashed(codes: NDArray[np.integer], column: int) -> Hashes:
    """(n,) a random number for each value of a column, so that sums tell combinations apart."""
    drawn = np.random.default_rng(column).integers(0, 2**63, int(codes.max(initial=0)) + 1, dtype=np.uint64)
    return np.asarray(drawn[codes])


def _binned(values: Floats, bins: int) -> NDArray[np.intp]:
    """(n,) bins between values that are drawn by lot: between quantiles there would be equally many rows by design."""
    known = values[~np.isnan(values)]
    edges = np.sort(np.random.default_rng(bins).choice(known, bins - 1)) if len(known) else known
    return np.where(np.isnan(values), bins, np.searchsorted(edges, np.nan_to_num(values), side="right"))


def _excesses(cells: Hashes) -> tuple[Floats, Floats, NDArray[np.intp]]:
    """For cells of 2, 3, … rows: how certainly there are too many, as a standard normal, and how many too many.

    Counts are fitted by maximum likelihood under the bound of this module; a likelihood ratio at a bound is half a
    chi-squared. With residuals t (1, -2, 1) the fit is the root of a quadratic in t.
    """
    _, inverse, sizes = np.unique(cells, return_inverse=True, return_counts=True)
    counts = np.bincount(sizes, minlength=LARGEST + 2)[: LARGEST + 2].astype(np.float64)
    below, here, above = counts[1:-2], counts[2:-1], counts[3:]
    j = np.arange(2, LARGEST + 1, dtype=np.float64)
    ratio = (j + 1) / j
    a, b, c = 4 - ratio, -4 * here - ratio * (below + above), here**2 - ratio * below * above
    t = np.maximum(0.0, (-b - np.sqrt(np.maximum(b**2 - 4 * a * c, 0))) / (2 * a))
    likelier = sum(_deviance(count, count + step * t) for count, step in ((below, 1), (here, -2), (above, 1)))
    return np.sqrt(np.maximum(2 * likelier, 0)) * (t > 0), 2 * t, inverse


def _deviance(found: Floats, fitted: Floats) -> Floats:
    return np.where(found > 0, found * np.log(np.where(found > 0, found, 1) / np.maximum(fitted, 1e-12)), 0.0)


def _examples(inverse: NDArray[np.intp], rows_each: int) -> tuple[tuple[int, ...], ...]:
    sizes = np.bincount(inverse)
    chosen = np.flatnonzero(sizes == rows_each)[:3]
    return tuple(tuple(np.flatnonzero(inverse == each)[:4].tolist()) for each in chosen)

"""Rows that are near copies of one another under different ids. Numpy only; no verdict.

How often do equal rows stand together? Of independent rows, however few values their columns have and however those
hang together, the number of rows in a cell is Poisson about a rate of the cell's own, so that the numbers f(j) of cells
with j rows keep j f(j)² ≤ (j + 1) f(j - 1) f(j + 1) in expectation, by Cauchy and Schwarz. Four rows a customer do not:
there are cells of four and none of three or five. What moves from month to month splits such cells, so it is tried with
which columns left out, or how coarsely seen, the excess is largest. It needs no label and no model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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

ENOUGH = 100_000
"""Rows: of a larger table the cells of about so many are looked at."""

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

    Of a table of more than `ENOUGH` rows some of the cells are looked at, whole ones, drawn by lot.

    Args:
        X: (n, F) design matrix, a row a customer.
        schema: Its features.
    """
    tried = [(moving, _Excess.of(cells)) for moving, cells in _views(X, schema)]
    tests = sum(len(each.certainty) for _, each in tried)
    found, best = Copies(), NormalDist().inv_cdf(1 - FALSE_ALARMS / max(tests, 1))
    for moving, each in tried:
        sizes = np.arange(2, 2 + len(each.certainty))
        rows = np.where(each.certainty > best, each.cells * sizes, 0.0)
        share = float(rows.sum()) / max(len(X), 1)
        if share > found.share:
            size = int(sizes[np.argmax(rows)])
            found = Copies(share, size, moving, each.examples(size))
    return found


def _views(X: Floats, schema: CustomerSchema) -> Iterator[tuple[tuple[str, ...], Hashes]]:
    """Names of the columns that are left out, and (n,) a number for each combination of the others' values."""

    def together(places: Iterable[int]) -> Hashes:
        return sum((_hashed(X[:, place], place) for place in places), np.zeros(len(X), np.uint64))

    kinds = [each.kind == "numeric" for each in schema.features]
    numbers = [place for place, numeric in enumerate(kinds) if numeric]
    some = X[:: max(len(X) // ENOUGH, 1)]
    numbers.sort(key=lambda place: -len(np.unique(some[:, place])))
    categories = together(place for place, numeric in enumerate(kinds) if not numeric)
    rest = categories + together(numbers)
    yield (), rest
    for count, place in enumerate(numbers[:DROPPED], start=1):
        rest = rest - _hashed(X[:, place], place)
        if count < len(schema.features):
            yield tuple(schema.names[each] for each in numbers[:count]), rest
    price = schema.names.index(schema.monthly_revenue)
    moving = tuple(schema.names[each] for each in numbers if each != price)
    yield moving, categories + _hashed(X[:, price], price)
    for bins in COARSE:
        coarse = (_hashed(_binned(X[:, each], bins), each) for each in numbers)
        yield (), sum(coarse, categories)


def _hashed(values: Floats, column: int) -> Hashes:
    """(n,) a number for each value of a column, as if drawn by lot, so that sums tell combinations apart."""
    # One blank, and one zero.
    bits = (np.where(np.isnan(values), np.nan, values) + 0.0).view(np.uint64)
    return _mixed(bits + _mixed(np.array([column], np.uint64)))


def _mixed(bits: Hashes) -> Hashes:
    """(n,) another number for each, all bits of which depend on all bits (SplitMix64: Steele, Lea & Flood 2014)."""
    mixed = bits + np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed ^= mixed >> np.uint64(shift)
        mixed *= np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


def _binned(values: Floats, bins: int) -> Floats:
    """(n,) bins between values that are drawn by lot: between quantiles there would be equally many rows by design."""
    known = values[~np.isnan(values)]
    edges = np.sort(np.random.default_rng(bins).choice(known, bins - 1)) if len(known) else known
    place = np.searchsorted(edges, np.nan_to_num(values), side="right")
    return np.where(np.isnan(values), np.nan, place)


@dataclass(frozen=True, eq=False)
class _Excess:
    """Of which sizes there are too many cells.

    Attributes:
        certainty: (m,) by size from 2 on, how certainly there are too many cells of so many rows: a standard normal.
        cells: (m,) how many too many.
        rows: (r,) the rows that were looked at.
        cell: (r,) whose cell they are in.
    """

    certainty: Floats
    cells: Floats
    rows: NDArray[np.intp]
    cell: NDArray[np.intp]

    @classmethod
    def of(cls, cells: Hashes) -> _Excess:
        """By (n,) a number for each row's cell.

        Counts are fitted by maximum likelihood under the bound of this module; a likelihood ratio at a bound is half a
        chi-squared. With residuals t (1, -2, 1) the fit is the root of a quadratic in t.
        """
        part = -(-len(cells) // ENOUGH) or 1
        rows = np.flatnonzero(_mixed(cells) % np.uint64(part) == 0)
        _, cell, sizes = np.unique(cells[rows], return_inverse=True, return_counts=True)
        counts = np.bincount(sizes, minlength=LARGEST + 2)[: LARGEST + 2].astype(np.float64)
        below, here, above = counts[1:-2], counts[2:-1], counts[3:]
        j = np.arange(2, LARGEST + 1, dtype=np.float64)
        ratio = (j + 1) / j
        a, b, c = 4 - ratio, -4 * here - ratio * (below + above), here**2 - ratio * below * above
        t = np.maximum(0.0, (-b - np.sqrt(np.maximum(b**2 - 4 * a * c, 0))) / (2 * a))
        steps = ((below, 1), (here, -2), (above, 1))
        likelier = sum(_deviance(count, count + step * t) for count, step in steps)
        return cls(np.sqrt(np.maximum(2 * likelier, 0)) * (t > 0), 2 * t * part, rows, cell)

    def examples(self, size: int) -> tuple[tuple[int, ...], ...]:
        """Rows of a few cells of a size."""
        chosen = np.flatnonzero(np.bincount(self.cell) == size)[:3]
        return tuple(tuple(self.rows[self.cell == each][:4].tolist()) for each in chosen)


def _deviance(found: Floats, fitted: Floats) -> Floats:
    return np.where(found > 0, found * np.log(np.where(found > 0, found, 1) / np.maximum(fitted, 1e-12)), 0.0)

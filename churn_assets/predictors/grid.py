"""Where features are cut, so that fitted models become tables: within a cell every rule answers alike."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

FEW = 16
"""Up to as many rows are looked up in Python's own numbers, which is faster than in arrays."""

CHUNK = 512
"""Rows evaluated at once: what they need stays in the processor's cache."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Where features are cut, and one numbering of the cells of all features.

    A number lies in the cell of the first edge that it does not exceed, or beyond them all; a category in that of its
    code; a blank, and a code that there is not, in the last cell of its feature.

    Attributes:
        edges: Of every feature, ascending; none for a category.
        levels: Number of categories of every feature; 0 for a number.
    """

    edges: tuple[Floats, ...]
    levels: tuple[int, ...]

    @cached_property
    def blanks(self) -> Ints:
        """(F,) cell of a blank, counted from the feature's first."""
        return np.array(
            [levels or len(edges) + 1 for edges, levels in zip(self.edges, self.levels, strict=True)]
        )

    @cached_property
    def starts(self) -> Ints:
        """(F + 1,) number of each feature's first cell, and of all cells."""
        return np.concatenate([[0], np.cumsum(self.blanks + 1)])

    @cached_property
    def size(self) -> int:
        """Number of cells."""
        return int(self.starts[-1])

    @cached_property
    def _levels(self) -> Ints:
        return np.array(self.levels, np.int64)

    @cached_property
    def _numeric(self) -> Bools:
        return np.asarray(self._levels == 0)

    @cached_property
    def scales(self) -> tuple[Floats, Floats]:
        """(cells,) start of every cell and the inverse of its width; 0 where a curve is constant."""
        start, inverse = np.zeros(self.size), np.zeros(self.size)
        for feature in np.flatnonzero(self._numeric):
            edges = self.edges[feature]
            if not len(edges):
                continue
            typical = (edges[-1] - edges[0]) / len(edges) or 1.0
            width = np.concatenate([[typical], np.diff(edges), [typical]])
            cells = slice(self.starts[feature], self.starts[feature] + len(edges) + 1)
            start[cells] = np.concatenate([edges[:1], edges])
            # Cells of rounding width lie where a rule tells x < edge from x = edge.
            wide = width > 1e-9 * typical
            inverse[cells] = np.divide(1.0, width, out=np.zeros_like(width), where=wide)
        return start, inverse

    def cells(self, X: Floats) -> Ints:
        """(n, F) values of the first F features, NaN for a blank, to (n, F) cells."""
        if len(X) <= FEW:
            return np.array([self._cells(row) for row in X.tolist()], np.int64).reshape(X.shape)
        features = X.shape[1]
        blank = np.isnan(X)
        known = (X >= 0) & (self._levels[:features] > X)  # whatever comes in: never a cell of another feature
        inside = np.where(known, X, self.blanks[:features]).astype(np.int64)
        for feature in np.flatnonzero(self._numeric[:features]):
            # A blank sorts behind all edges, one cell before its own.
            inside[:, feature] = self.edges[feature].searchsorted(X[:, feature]) + blank[:, feature]
        inside += self.starts[:features]
        return inside

    def _cells(self, row: Sequence[float]) -> list[int]:
        """As `cells`, of one row."""
        found = []
        for value, (edges, levels, start) in zip(row, self._by_feature, strict=False):
            if value != value:
                found.append(start + (levels or len(edges) + 1))
            elif levels:
                found.append(start + (int(value) if 0 <= value < levels else levels))
            else:
                found.append(start + bisect_left(edges, value))
        return found

    @cached_property
    def _by_feature(self) -> list[tuple[list[float], int, int]]:
        """Edges, number of categories and first cell of every feature."""
        edges = [each.tolist() for each in self.edges]
        return list(zip(edges, self.levels, self.starts[:-1].tolist(), strict=True))

    def cells_of(self, feature: int, values: Floats) -> Ints:
        """Cells of any number of values, none blank, of one numeric feature."""
        return np.asarray(self.edges[feature].searchsorted(values) + self.starts[feature])

    def within(self, cells: Ints, values: Floats) -> Floats:
        """How far into their cells values lie: 0 at the start, 1 at the end of an inner cell, 0 in a constant one.

        Args:
            cells: of the values.
            values: with anything finite for a blank.
        """
        start, inverse = self.scales
        return np.asarray((values - start.take(cells)) * inverse.take(cells))

    def representatives(self, feature: int) -> Floats:
        """A value in every cell of a feature, NaN for the last."""
        if self.levels[feature]:
            return np.append(np.arange(self.levels[feature], dtype=np.float64), np.nan)
        edges = self.edges[feature]
        beyond = np.nextafter(edges[-1], np.inf) if len(edges) else 0.0
        return np.concatenate([edges, [beyond, np.nan]])

    def chunks(self, X: Floats) -> Iterable[tuple[Ints, Floats]]:
        """Cells of (n, F) values and how far into them they lie, some rows at a time."""
        for start in range(0, len(X), CHUNK):
            rows = X[start : start + CHUNK]
            cells = self.cells(rows)
            yield cells, self.within(cells, np.where(np.isnan(rows), 0.0, rows))

    def counterparts(self, other: Grid) -> Ints:
        """(cells of `other`,) the cell of this grid in which each cell of a finer one lies.

        Args:
            other: A grid of the same features, and perhaps further ones, cut wherever this one is; cells of further
                features lie in none: -1.
        """
        found = np.full(other.size, -1, np.int64)
        for feature in range(len(self.levels)):
            cells = slice(other.starts[feature], other.starts[feature + 1])
            values = other.representatives(feature)
            inside = np.where(np.isnan(values), self.blanks[feature], 0).astype(np.int64)
            known = ~np.isnan(values)
            if self.levels[feature]:
                inside[known] = values[known].astype(np.int64)
            else:
                inside[known] = self.edges[feature].searchsorted(values[known])
            found[cells] = inside + self.starts[feature]
        return found


def union(grids: Sequence[Grid]) -> Grid:
    """The coarsest grid that is cut wherever one of these is; of the features of the one that has most."""
    widest = max(grids, key=lambda grid: len(grid.levels))
    edges = [
        [edge for grid in grids if feature < len(grid.edges) for edge in grid.edges[feature].tolist()]
        for feature in range(len(widest.levels))
    ]
    return Grid(edges_of(edges), widest.levels)


def edges_of(columns: Sequence[Iterable[float]]) -> tuple[Floats, ...]:
    """Every feature's edges, ascending and each once."""
    return tuple(np.unique(np.array(list(edges), np.float64)) for edges in columns)

"""Forms in which fitted models are evaluated fast and one by one: tables over the cells of a grid.

Every feature is cut into cells at all places where any model changes its rule: within a cell each tree answers alike
and each curve is one polynomial. Which models these are is told in `derived`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Words = npt.NDArray[Any]

MOST_LEAVES = 64
"""Leaves of one tree: they are the bits of one word."""

_WORDS = (np.uint8, np.uint16, np.uint32, np.uint64)
_FRACTION_BITS, _EXPONENT_BIAS = 52, 1023


@dataclass(frozen=True, eq=False)
class Grid:
    """Where features are cut, and one numbering of the cells of all features.

    A number lies in the cell of the first edge that it does not exceed, or beyond them all; a category in that of its
    code; a blank in the last cell of its feature.

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
    def _numeric(self) -> Bools:
        return np.array([not levels for levels in self.levels])

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
            inverse[cells] = np.where(width > 1e-9 * typical, 1 / width, 0.0)
        return start, inverse

    def cells(self, X: Floats) -> Ints:
        """(n, F) values of the first F features, NaN for a blank, to (n, F) cells."""
        features = X.shape[1]
        blank = np.isnan(X)
        inside = np.where(blank | self._numeric[:features], self.blanks[:features], X).astype(np.int64)
        for feature in np.flatnonzero(self._numeric[:features]):
            # A blank sorts behind all edges, one cell before its own.
            inside[:, feature] = self.edges[feature].searchsorted(X[:, feature]) + blank[:, feature]
        inside += self.starts[:features]
        return inside

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


@dataclass(frozen=True)
class Branch:
    """An inner node of a tree: a rule about one feature, and where it leads.

    Attributes:
        feature: Number of the feature.
        edge: Number at which the rule changes, itself below the edge; None for a category.
        goes_left: (m,) values of that feature, NaN for a blank, to whether each goes left.
        left: Index of the left child; it comes after its parent.
        right: Index of the right child, likewise.
    """

    feature: int
    edge: float | None
    goes_left: Callable[[Floats], Bools]
    left: int
    right: int


Tree = Sequence[Branch | float]
"""Nodes of a tree, the root first; a leaf is its value."""


@dataclass(frozen=True, eq=False)
class Forest:
    """Sum of regression trees, by which of their leaves can still be reached.

    Every leaf of a tree is a bit of a word. A cell of a feature leaves those leaves that its rules do not exclude; the
    leaves left by all features together are one in each tree (after QuickScorer, Lucchese et al. 2015).

    Attributes:
        baseline: Added to every sum.
        reachable: (cells, trees) leaves that each cell leaves, as bits.
        values: (trees, leaves) of the leaves.
    """

    baseline: float
    reachable: Words
    values: Floats

    @classmethod
    def build(cls, trees: Sequence[Tree], baseline: float, grid: Grid) -> Forest:
        """The form of fitted trees.

        Raises:
            ValueError: A tree has more than `MOST_LEAVES` leaves.
        """
        most = max((sum(isinstance(node, float) for node in tree) for tree in trees), default=1)
        if most > MOST_LEAVES:
            raise ValueError(f"found a tree of {most} leaves, expected at most {MOST_LEAVES}")
        word = next(kind for kind in _WORDS if np.iinfo(kind).bits >= most)
        values = np.zeros((len(trees), most))
        reachable: Words = np.full((grid.size, len(trees)), np.iinfo(word).max, word)
        for number, tree in enumerate(trees):
            below = [0] * len(tree)
            bit = 0
            for node in reversed(range(len(tree))):
                rule = tree[node]
                if isinstance(rule, float):
                    below[node], values[number, bit] = 1 << bit, rule
                    bit += 1
                    continue
                below[node] = below[rule.left] | below[rule.right]
                cells = slice(grid.starts[rule.feature], grid.starts[rule.feature + 1])
                left = rule.goes_left(grid.representatives(rule.feature))
                reachable[cells, number] &= np.where(left, ~word(below[rule.right]), ~word(below[rule.left]))
            reachable[:, number] &= word(below[0])
        return cls(baseline, reachable, values)

    def left_by(self, cells: Ints) -> Words:
        """(…, f) cells of f features -> (…, trees) leaves that all of them leave."""
        return np.asarray(np.bitwise_and.reduce(self.reachable.take(cells, axis=0), axis=-2))

    def total(self, leaves: Words) -> Floats:
        """(…, trees) words in which one leaf is left of each tree -> (…) sums of their values."""
        # The exponent of a power of two as a float is the number of its only bit.
        index = leaves.astype(np.float64).view(np.int64)
        index >>= _FRACTION_BITS
        index += self._first
        return np.asarray(self.baseline + np.add.reduce(self.values.take(index), axis=-1))

    @cached_property
    def _first(self) -> Ints:
        return np.asarray(np.arange(len(self.values)) * self.values.shape[1] - _EXPONENT_BIAS)


@dataclass(frozen=True, eq=False)
class Curves:
    """Sum over features of functions of one feature each, with r outputs: one polynomial a cell.

    Attributes:
        intercept: (r,) where every feature is blank.
        coefficients: (degree + 1, cells, r) of the powers of how far into its cell a value lies.
    """

    intercept: Floats
    coefficients: Floats

    @classmethod
    def build(cls, function: Callable[[Floats], Floats], degree: int, features: int, grid: Grid) -> Curves:
        """The form of a function that adds up over features.

        Args:
            function: (n, F) design matrix to (n, r); in each cell of a feature a polynomial of it.
            degree: Of the polynomials.
            features: F; further features of the grid are not its own.
            grid: Cut wherever a polynomial ends.
        """
        nobody = np.full((1, features), np.nan)
        intercept = function(nobody)[0]
        coefficients = np.zeros((degree + 1, grid.size, len(intercept)))
        start, inverse = grid.scales
        # Chebyshev's nodes of the unit interval: an interpolation at them is as well conditioned as can be.
        nodes = (1 - np.cos(np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1))) / 2
        for feature in range(features):
            cells = slice(grid.starts[feature], grid.starts[feature + 1])
            constant = inverse[cells] == 0
            sides = np.repeat(nodes[None], len(constant), axis=0)
            sides[0] = -nodes  # the first cell is open to the left
            widths = np.where(constant, 0.0, 1 / np.where(constant, 1.0, inverse[cells]))
            anchors = np.where(constant, grid.representatives(feature), start[cells])
            probes = np.repeat(nobody, len(constant) * (degree + 1), axis=0)
            probes[:, feature] = (anchors[:, None] + sides * widths[:, None]).ravel()
            values = (function(probes) - intercept).reshape(len(constant), degree + 1, -1)
            powers = np.linalg.inv(sides[:, :, None] ** np.arange(degree + 1))
            found = np.where(
                constant[:, None, None], np.eye(degree + 1)[:, :1] * values[:, :1], powers @ values
            )
            coefficients[:, cells] = found.swapaxes(0, 1)
        return cls(intercept, coefficients)

    def at(self, cells: Ints, within: Floats) -> Floats:
        """(…) places of one feature -> (…, r)."""
        place = within[..., None]
        found: Floats = self.coefficients[-1].take(cells, axis=0)
        for power in self.coefficients[-2::-1]:
            found *= place
            found += power.take(cells, axis=0)
        return found

    def total(self, cells: Ints, within: Floats) -> Floats:
        """(n, f) places of f features -> (n, r) sums, the intercept among them."""
        # Features last: each sum then runs over neighbours in memory, in one order however many rows there are.
        by_output = np.ascontiguousarray(self.at(cells, within).swapaxes(1, 2))
        return np.asarray(self.intercept + np.add.reduce(by_output, axis=-1))


def edges_of(columns: Sequence[Iterable[float]]) -> tuple[Floats, ...]:
    """Every feature's edges, ascending and each once."""
    return tuple(np.unique(np.array(list(edges), np.float64)) for edges in columns)

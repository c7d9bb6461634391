"""Sums of regression trees over the cells of a grid: one table look-up a tree and feature, for one row or many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from churn_assets.predictors.grid import Bools, Floats, Grid, Ints

BitWords = npt.NDArray[Any]

MOST_LEAVES = 64
"""Leaves of one tree: they are the bits of one word."""

_WORDS = (np.uint8, np.uint16, np.uint32, np.uint64)
_FRACTION_BITS, _EXPONENT_BIAS = 52, 1023


@dataclass(frozen=True)
class InnerNode:
    """An inner node of a tree: a rule about one feature, and where it leads.

    Attributes:
        feature: Number of the feature.
        edge: Number at which the rule changes, itself below the edge; None for a category, and for blanks alone.
        goes_left: (m,) values of that feature, NaN for a blank, to whether each goes left.
        left: Index of the left child; it comes after its parent.
        right: Index of the right child, likewise.
    """

    feature: int
    edge: float | None
    goes_left: Callable[[Floats], Bools]
    left: int
    right: int


Tree = Sequence[InnerNode | float]
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
    reachable: BitWords
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
        reachable: BitWords = np.full((grid.size, len(trees)), np.iinfo(word).max, word)
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

    def left_by(self, cells: Ints) -> BitWords:
        """(…, f) cells of f features -> (…, trees) leaves that all of them leave."""
        return np.asarray(np.bitwise_and.reduce(self.reachable.take(cells, axis=0), axis=-2))

    def total(self, leaves: BitWords) -> Floats:
        """(…, trees) words in which one leaf is left of each tree -> (…) sums of their values."""
        return np.asarray(self.baseline + np.add.reduce(self.terms(leaves), axis=-1))

    def terms(self, leaves: BitWords) -> Floats:
        """(…, trees) words in which one leaf is left of each tree -> (…, trees) their values."""
        # The exponent of a power of two as a float is the number of its only bit.
        index = leaves.astype(np.float64).view(np.int64)
        index >>= _FRACTION_BITS
        index += self._first
        return np.asarray(self.values.take(index))

    @cached_property
    def _first(self) -> Ints:
        return np.asarray(np.arange(len(self.values)) * self.values.shape[1] - _EXPONENT_BIAS)

    def predict(self, grid: Grid, X: Floats) -> Floats:
        """(n,) sums for the rows of (n, F), F being all features of the grid that the trees were built on."""
        found = [self.total(self.left_by(cells)) for cells, _ in grid.chunks(X)]
        return np.concatenate(found) if found else np.empty(0)

    def on(self, grid: Grid, finer: Grid) -> Forest:
        """The same sum over the cells of a finer grid than the one it was built on."""
        counterpart = grid.counterparts(finer)
        everything = np.bitwise_or.reduce(self.reachable, axis=0)
        reachable = np.where((counterpart >= 0)[:, None], self.reachable[counterpart], everything)
        return Forest(self.baseline, reachable, self.values)


@dataclass(frozen=True, eq=False)
class Along:
    """Sums of a forest at every cell of one feature, in order: from one to the next few of its trees change.

    Every tree leaves the same leaves along some stretches of cells: it is asked once a stretch, and not once a cell.

    Attributes:
        stretches: The tree of every stretch as one of its own; every tree's first, then the others as they begin.
        tree: (stretches,) of the forest.
        before: (stretches - trees,) the stretch of the same tree that each of the others follows.
        first: (places - 1,) the first of the others that begins at each place where some do.
        place: (cells,) how many such places lie before each cell, or at it.
    """

    stretches: Forest
    tree: Ints
    before: Ints
    first: Ints
    place: Ints

    @classmethod
    def of(cls, forest: Forest, words: BitWords) -> Along:
        """The form for cells that leave these leaves (cells, trees), one cell at least."""
        cell, changed = (words[1:] != words[:-1]).nonzero()
        tree = np.concatenate([np.arange(words.shape[1]), changed])
        of_tree = np.argsort(tree, kind="stable")
        before = np.empty_like(tree)
        before[of_tree[1:]] = of_tree[:-1]
        left = np.concatenate([words[0], words[cell + 1, changed]])
        stretches = Forest(forest.baseline, left[None], forest.values[tree])
        begins, first = np.unique(cell, return_index=True)
        place = begins.searchsorted(np.arange(len(words)))
        return cls(stretches, tree, before[words.shape[1] :], first, place)

    def totals(self, leaves: BitWords) -> Floats:
        """(…, trees) leaves that all else leaves -> (…, places) sums, by `place` of the cell."""
        terms = self.stretches.terms(leaves.take(self.tree, axis=-1) & self.stretches.reachable[0])
        trees = leaves.shape[-1]
        found = np.empty((*leaves.shape[:-1], 1 + len(self.first)))
        found[..., 0] = self.stretches.baseline + np.add.reduce(terms[..., :trees], axis=-1)
        changes = terms[..., trees:] - terms.take(self.before, axis=-1)
        np.add.reduceat(changes, self.first, axis=-1, out=found[..., 1:])
        return np.cumsum(found, axis=-1, out=found)

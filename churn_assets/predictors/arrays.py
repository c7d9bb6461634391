"""Grids, forests and curves as named arrays for a file, and back: nothing that does not fit together comes back.

A forest is checked exactly: the leaves of each tree are boxes of cells that are disjoint and fill the space, so
whatever row is asked about leaves one leaf of each tree, and no array is ever read outside its bounds. That the numbers
are those of the model is for digests and golden rows to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from churn_assets.predictors.curves import Curves
from churn_assets.predictors.forest import MOST_LEAVES, BitWords, Forest
from churn_assets.predictors.grid import Grid, Ints

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]


class ArrayError(ValueError):
    """An array is missing or does not fit; the message names it, what was found and what was expected."""


def pack_grid(name: str, grid: Grid) -> dict[str, Array]:
    """The arrays of a grid, each called `name.…`."""
    return {
        f"{name}.edges": np.concatenate([np.zeros(0), *grid.edges]),
        f"{name}.counts": np.array([len(edges) for edges in grid.edges], np.int64),
        f"{name}.levels": np.array(grid.levels, np.int64),
    }


def unpack_grid(name: str, arrays: Arrays, levels: Sequence[int]) -> Grid:
    """Inverse of `pack_grid`, for features with these numbers of categories (0 for a number).

    Raises:
        ArrayError: An array is missing, of another type, not finite, or does not fit the others.
    """
    features = len(levels)
    counts = take(f"{name}.counts", arrays, (features,), np.int64)
    found = take(f"{name}.levels", arrays, (features,), np.int64)
    if found.tolist() != list(levels):
        raise ArrayError(f"{name}.levels: found {found.tolist()}, expected {list(levels)}")
    edges = take(f"{name}.edges", arrays, (None,), np.float64)
    if (counts < 0).any() or (counts > len(edges)).any() or counts.sum() != len(edges):
        raise ArrayError(
            f"{name}.counts: found {counts.tolist()}, expected numbers of edges, {len(edges)} in all"
        )
    if counts[np.array(levels, np.int64) > 0].any():
        raise ArrayError(f"{name}.counts: found edges of a feature with categories, expected none")
    split = np.split(edges, np.cumsum(counts)[:-1]) if features else []
    if any((np.diff(each) <= 0).any() for each in split):
        raise ArrayError(f"{name}.edges: found edges out of order, expected ascending ones of every feature")
    return Grid(tuple(split), tuple(levels))


def pack_forest(name: str, forest: Forest) -> dict[str, Array]:
    """The arrays of a forest, each called `name.…`."""
    return {
        f"{name}.baseline": np.array([forest.baseline]),
        f"{name}.reachable": forest.reachable,
        f"{name}.values": forest.values,
    }


def unpack_forest(name: str, arrays: Arrays, grid: Grid) -> Forest:
    """Inverse of `pack_forest`, over the cells of a grid.

    Raises:
        ArrayError: An array is missing, of another type or shape, not finite, or the leaves of a tree do not
            share out all cells among themselves.
    """
    baseline = take(f"{name}.baseline", arrays, (1,), np.float64)
    values = take(f"{name}.values", arrays, (None, None), np.float64)
    trees, leaves = values.shape
    if not trees or not 1 <= leaves <= MOST_LEAVES:
        raise ArrayError(
            f"{name}.values: found shape {values.shape}, expected trees of 1 to {MOST_LEAVES} leaves"
        )
    reachable = take(f"{name}.reachable", arrays, (grid.size, trees), np.unsignedinteger)
    _check_leaves(f"{name}.reachable", reachable, leaves, grid.starts)
    return Forest(float(baseline[0]), reachable, values)


def _check_leaves(name: str, reachable: BitWords, leaves: int, starts: Ints) -> None:
    """The boxes of a tree's leaves are disjoint, and have as many combinations of cells as there are."""
    bits = np.iinfo(reachable.dtype).bits
    one = reachable.dtype.type(1)
    if leaves > bits or (leaves < bits and (reachable >> reachable.dtype.type(leaves)).any()):
        raise ArrayError(
            f"{name}: found leaves that have no value in {reachable.dtype}, expected at most {leaves}"
        )
    first = starts[:-1]
    everything = prod(np.diff(starts).tolist())
    filled = [0] * reachable.shape[1]
    for leaf in range(leaves):
        bit = one << reachable.dtype.type(leaf)
        inside = reachable & bit != 0
        beside = np.bitwise_or.reduceat(np.where(inside, reachable, 0), first, axis=0)
        overlapping = np.bitwise_and.reduce(beside, axis=0) & ~bit != 0
        if overlapping.any():
            raise ArrayError(
                f"{name}: found leaves of tree {int(overlapping.argmax())} that overlap, expected disjoint ones"
            )
        cells = np.add.reduceat(inside, first, axis=0, dtype=np.int64)
        for tree, counts in enumerate(cells.T.tolist()):
            filled[tree] += prod(counts)
    gaps = [tree for tree, volume in enumerate(filled) if volume != everything]
    if gaps:
        raise ArrayError(f"{name}: found cells without a leaf in tree {gaps[0]}, expected one for any row")


def pack_curves(name: str, curves: Curves) -> dict[str, Array]:
    """The arrays of curves, each called `name.…`."""
    return {f"{name}.intercept": curves.intercept, f"{name}.coefficients": curves.coefficients}


def unpack_curves(name: str, arrays: Arrays, grid: Grid, outputs: int) -> Curves:
    """Inverse of `pack_curves`, over the cells of a grid.

    Raises:
        ArrayError: An array is missing, of another type or shape, or not finite.
    """
    intercept = take(f"{name}.intercept", arrays, (outputs,), np.float64)
    coefficients = take(f"{name}.coefficients", arrays, (None, grid.size, outputs), np.float64)
    if not len(coefficients):
        raise ArrayError(f"{name}.coefficients: found no coefficients, expected at least constants")
    return Curves(intercept, coefficients)


def take(name: str, arrays: Arrays, shape: Sequence[int | None], kind: type[np.generic]) -> Array:
    """The array of a name, once it is of a kind of number, a shape (None is any length) and finite.

    Raises:
        ArrayError: It is not.
    """
    if name not in arrays:
        raise ArrayError(f"{name}: found no such array, expected one")
    found = arrays[name]
    fits = found.ndim == len(shape) and all(
        wanted in (None, length) for wanted, length in zip(shape, found.shape, strict=True)
    )
    if not fits or not np.issubdtype(found.dtype, kind) or not np.isfinite(found).all():
        wanted = ", ".join("any" if length is None else str(length) for length in shape)
        raise ArrayError(
            f"{name}: found {found.dtype} of shape {found.shape}, expected finite {kind.__name__} of ({wanted})"
        )
    return found

"""Sums of functions of one feature each over the cells of a grid: one polynomial a cell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from churn_assets.predictors.grid import Floats, Grid, Ints

_AT_ONCE = 8
"""Features asked about in one call: a call costs as much as thousands of rows, and rows are as wide as the table."""

_FAR = 2.0**20
"""Widths of a cell between the two places that tell the slope of a line: its rounding then never shows."""


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
            function: (n, F) design matrix to (n, r); in each cell of a feature a polynomial of it, and beyond its
                outermost edges a line.
            degree: Of the polynomials, at least 1.
            features: F; further features of the grid are not its own.
            grid: Cut wherever a polynomial ends.
        """
        nobody = np.full((1, features), np.nan)
        intercept = function(nobody)[0]
        coefficients = np.zeros((degree + 1, grid.size, len(intercept)))
        for first in range(0, features, _AT_ONCE):
            asked = range(first, min(first + _AT_ONCE, features))
            values = [_values(feature, degree, grid) for feature in asked]
            ends = np.cumsum([each.size for each in values])
            probes = np.repeat(nobody, ends[-1], axis=0)
            probes[np.arange(ends[-1]), np.repeat(asked, np.diff(ends, prepend=0))] = np.concatenate(
                [each.ravel() for each in values]
            )
            found = np.split(function(probes) - intercept, ends[:-1])
            for feature, places, sums in zip(asked, values, found, strict=True):
                cells = slice(grid.starts[feature], grid.starts[feature + 1])
                at = sums.reshape(*places.shape, -1)
                coefficients[:, cells] = _polynomials(at, grid.scales[1][cells] == 0).swapaxes(0, 1)
        return cls(intercept, coefficients)

    @classmethod
    def joined(cls, curves: Sequence[Curves]) -> Curves:
        """The outputs of all curves over one grid, one behind the other."""
        most = max(len(each.coefficients) for each in curves)
        padded = [
            np.pad(each.coefficients, ((0, most - len(each.coefficients)), (0, 0), (0, 0))) for each in curves
        ]
        return cls(np.concatenate([each.intercept for each in curves]), np.concatenate(padded, axis=2))

    def at(self, cells: Ints, within: Floats) -> Floats:
        """(…) places -> (…, r)."""
        place = within[..., None]
        found: Floats = self.coefficients[-1].take(cells, axis=0)
        for power in self.coefficients[-2::-1]:
            found *= place
            found += power.take(cells, axis=0)
        return found

    def total(self, cells: Ints, within: Floats) -> Floats:
        """(n, f) places of f features -> (n, r) sums, the intercept among them."""
        return self.summed(self.at(cells, within))

    def summed(self, found: Floats) -> Floats:
        """(n, f, r) what f features give -> (n, r) sums, the intercept among them."""
        # Features last: each sum then runs over neighbours in memory, in one order however many rows there are.
        by_output = np.ascontiguousarray(found.swapaxes(1, 2))
        return np.asarray(self.intercept + np.add.reduce(by_output, axis=-1))

    def predict(self, grid: Grid, X: Floats) -> Floats:
        """(n, r) sums for the rows of (n, F)."""
        found = [self.total(cells, within) for cells, within in grid.chunks(X)]
        return np.concatenate(found) if found else np.empty((0, len(self.intercept)))

    def on(self, grid: Grid, finer: Grid) -> Curves:
        """The same sum over the cells of a finer grid than the one it was built on."""
        counterpart = grid.counterparts(finer)
        known = np.maximum(counterpart, 0)
        start, inverse = (each[known] for each in grid.scales)
        finer_start, finer_inverse = finer.scales
        width = np.where(finer_inverse > 0, 1 / np.where(finer_inverse > 0, finer_inverse, 1.0), 0.0)
        # A place x of the finer cell is `shift + stretch * x` of the coarser: its powers are sums of powers of x.
        shift = np.where(inverse > 0, (finer_start - start) * inverse, 0.0)
        stretch = width * inverse
        degree = len(self.coefficients) - 1
        powers = [np.zeros((degree + 1, finer.size)) for _ in range(degree + 1)]
        powers[0][0] = 1.0
        for power in range(1, degree + 1):
            powers[power] = powers[power - 1] * shift
            powers[power][1:] += powers[power - 1][:-1] * stretch
        coefficients = np.zeros((degree + 1, finer.size, len(self.intercept)))
        for power in range(degree + 1):
            coefficients += powers[power][:, :, None] * self.coefficients[power, known]
        coefficients[:, counterpart < 0] = 0.0
        return Curves(self.intercept, coefficients)


def interpolation(degree: int) -> tuple[Floats, Floats]:
    """(degree + 1,) places within a cell, and the (degree + 1, degree + 1) matrix from values there to coefficients."""
    # Chebyshev's nodes of the unit interval: an interpolation at them is as well conditioned as can be.
    nodes = (1 - np.cos(np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1))) / 2
    return nodes, np.asarray(np.linalg.inv(nodes[:, None] ** np.arange(degree + 1)))


def _values(feature: int, degree: int, grid: Grid) -> Floats:
    """(cells of the feature, degree + 1) values at which its polynomials are asked for."""
    nodes, _ = interpolation(degree)
    cells = slice(grid.starts[feature], grid.starts[feature + 1])
    start, inverse = (each[cells] for each in grid.scales)
    constant = inverse == 0
    widths = np.where(constant, 0.0, 1 / np.where(constant, 1.0, inverse))
    inside = grid.representatives(feature)
    values = np.where(constant[:, None], inside[:, None], start[:, None] + nodes * widths[:, None])
    if not constant[0]:
        values[_OPEN] = inside[_OPEN, None]
        values[_OPEN, 1] += np.array([-_FAR, _FAR]) * widths[_OPEN]
    return values


def _polynomials(values: Floats, constant: npt.NDArray[np.bool_]) -> Floats:
    """(cells, degree + 1, r) values of a feature at its probes -> as many coefficients."""
    _, powers = interpolation(values.shape[1] - 1)
    found: Floats = powers @ values
    line = np.zeros_like(values[_OPEN])
    line[:, 0] = values[_OPEN, 0]
    line[:, 1] = (values[_OPEN, 1] - values[_OPEN, 0]) / np.array([-_FAR, _FAR])[:, None]
    found[_OPEN] = line
    found[constant] = 0.0
    found[constant, 0] = values[constant, 0]
    return found


_OPEN = [0, -2]
"""The cells of a number that end nowhere; behind them only that of a blank."""

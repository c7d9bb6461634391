"""From fitted models to arrays, checked there and then: the arrays must answer as the model that they came from.

Differences are allowed for rounding only. The allowance is computed row by row from the size of the terms that are
added up and from how many roundings they go through, so it grows with a number as large as a million and with nothing
else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from churn_assets.predictors.curves import Curves, interpolation
from churn_assets.predictors.fitted import boosting_baseline
from churn_assets.predictors.forest import Forest, InnerNode, Tree
from churn_assets.predictors.grid import Floats, Grid

_SEED = 20_261_122
_EPSILON = float(np.finfo(np.float64).eps)
_ROUNDINGS = 8
"""Of each term in either computation: a few products and sums."""


class ConversionError(ValueError):
    """Arrays answer otherwise than the fitted model that they were made from."""


def cuts(trees: Iterable[Tree], features: int) -> list[list[float]]:
    """Where the rules of trees change, of each feature."""
    edges: list[list[float]] = [[] for _ in range(features)]
    for branch in (node for tree in trees for node in tree if isinstance(node, InnerNode)):
        edges[branch.feature] += [] if branch.edge is None else [branch.edge]
    return edges


def boosting_forest(boosting: Any, trees: Sequence[Tree], grid: Grid, X: Floats, name: str) -> Forest:
    """The arrays of a fitted boosting.

    Args:
        boosting: Fitted on all features of the grid.
        trees: Its trees, `boosting_trees`.
        grid: Cut wherever one of their rules changes.
        X: (n, F) rows on which the answers are compared, beside made-up ones.
        name: Of the model, for messages.

    Raises:
        ConversionError: The arrays answer otherwise.
    """
    forest = Forest.build(trees, boosting_baseline(boosting), grid)
    answers = getattr(boosting, "decision_function", boosting.predict)  # of a classifier, of a regressor
    require_forest(forest, grid, np.concatenate([X, made_up_rows(grid, X)]), answers, name)
    return forest


def require_forest(
    forest: Forest, grid: Grid, X: Floats, function: Callable[[Floats], Floats], name: str
) -> None:
    """Compares the sums of a forest with those of the (n,) function that it stands for.

    Raises:
        ConversionError: They differ by more than the rounding of two sums of its values in any order.
    """
    terms = np.append(np.abs(forest.values).max(axis=1), abs(forest.baseline))
    allowed = np.full(len(X), _ROUNDINGS * _EPSILON * len(terms) * float(terms.sum()))
    _require(forest.predict(grid, X), function(X), allowed, name)


def additive_curves(
    function: Callable[[Floats], Floats], degree: int, grid: Grid, X: Floats, name: str
) -> Curves:
    """The arrays of a function that adds up over the features of a grid; arguments as of `Curves.build`.

    Raises:
        ConversionError: The arrays answer otherwise, on the rows X or on made-up ones.
    """
    curves = Curves.build(function, degree, len(grid.levels), grid)
    require_curves(curves, grid, np.concatenate([X, made_up_rows(grid, X)]), function, name)
    return curves


def require_curves(
    curves: Curves, grid: Grid, X: Floats, function: Callable[[Floats], Floats], name: str
) -> None:
    """Compares the sums of curves with those of the (n, r) function that they stand for.

    Raises:
        ConversionError: They differ by more than the rounding of interpolations and sums.
    """
    degree, features = len(curves.coefficients) - 1, len(grid.levels)
    _, powers = interpolation(degree)
    start, inverse = grid.scales
    # A place is as exact as its value; the narrower a cell, the more that shows.
    unsteady = 1 + float(np.abs(start * inverse).max(initial=0.0))
    amplified = features * (degree + 1) * float(np.abs(powers).sum(axis=1).max()) + unsteady
    # An intercept may be small because large terms cancel in it: they are about as large as what features add to it.
    sizes = np.abs(curves.coefficients)
    terms = Curves(np.abs(curves.intercept) + sizes.max(axis=(0, 1), initial=0.0), sizes)
    for first in range(0, len(X), _ROWS):
        rows = X[first : first + _ROWS]
        # An interpolation errs by the size of its values anywhere in the cell, at the start of it too.
        found = [terms.total(cells, np.maximum(np.abs(within), 1.0)) for cells, within in grid.chunks(rows)]
        allowed = _ROUNDINGS * _EPSILON * amplified * np.concatenate(found)
        _require(curves.predict(grid, rows), function(rows), allowed, name)


_ROWS = 1 << 14
"""Rows compared at once: bounds the memory of what the function needs."""


def made_up_rows(grid: Grid, X: Floats) -> Floats:
    """Rows that reach every cell of every feature at its ends, all extremes at once, and blanks.

    Args:
        grid: Of F features.
        X: (n, F) rows from which all other features of such a row are drawn; everything is blank where n is 0.
    """
    values = [_ends(grid, feature) for feature in range(len(grid.levels))]
    owner = np.repeat(np.arange(len(values)), [len(each) for each in values])
    rng = np.random.default_rng(_SEED)
    drawn = rng.integers(len(X), size=len(owner)) if len(X) else np.zeros(0, np.int64)
    rows = X[drawn] if len(X) else np.full((len(owner), len(values)), np.nan)
    rows[np.arange(len(owner)), owner] = np.concatenate(values)
    everywhere = [np.array([each[place] for each in values]) for place in (0, -2, -1)]
    return np.concatenate([rows, everywhere])


def _ends(grid: Grid, feature: int) -> Floats:
    """Both ends of every cell, a place far out on either side, and a blank; or every category and one never seen."""
    if grid.levels[feature]:
        return np.append(np.arange(grid.levels[feature] + 1, dtype=np.float64), np.nan)
    edges = grid.edges[feature]
    if not len(edges):
        return np.array([-1.0, 1.0, np.nan])
    reach = 1e3 * (edges[-1] - edges[0] or 1.0)
    outside = [edges[0] - reach], [edges[-1] + reach, np.nan]
    return np.concatenate([outside[0], edges, np.nextafter(edges, np.inf), outside[1]])


def _require(found: Floats, expected: Floats, allowed: Floats, name: str) -> None:
    excess = np.abs(found - expected) - allowed
    if not np.isfinite(excess).all() or (excess > 0).any():
        row = int(np.unravel_index(np.argmax(np.where(np.isfinite(excess), excess, np.inf)), excess.shape)[0])
        raise ConversionError(
            f"{name}: the arrays answer {np.atleast_1d(found[row])}, the fitted model {np.atleast_1d(expected[row])} "
            f"in row {row} of those compared; expected the same but for rounding, "
            f"{np.atleast_1d(allowed[row])} at most"
        )

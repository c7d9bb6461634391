"""Models as arrays come back from their files as they were, and nothing that could be read out of bounds comes back."""

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from churn_assets.predictors.arrays import (
    ArrayError,
    pack_curves,
    pack_forest,
    pack_grid,
    unpack_curves,
    unpack_forest,
    unpack_grid,
)
from churn_assets.predictors.conversion import additive_curves, boosting_forest, cuts
from churn_assets.predictors.fitted import boosting_trees
from churn_assets.predictors.grid import Grid, edges_of

LEVELS = (0, 0, 0, 5)


def fitted(leaves):
    """A boosting over three numbers with gaps and a category, its grid and its forest."""
    rng = np.random.default_rng(leaves)
    X = rng.normal(0, 1, (3000, 4)).round(1)
    X[:, 3] = rng.integers(0, 5, len(X))
    X[rng.random(X.shape) < 0.05] = np.nan
    y = np.nan_to_num(X[:, :3]).prod(axis=1) + (X[:, 3] == 2) + rng.normal(0, 0.3, len(X)) > 0
    boosting = HistGradientBoostingClassifier(
        max_iter=7,
        max_leaf_nodes=leaves,
        min_samples_leaf=3,
        categorical_features=[False, False, False, True],
    ).fit(X, y)
    trees = boosting_trees(boosting, 5)
    grid = Grid(edges_of(cuts(trees, 4)), LEVELS)
    return X, grid, boosting_forest(boosting, trees, grid, X, "test")


@pytest.mark.parametrize("leaves", [2, 8, 9, 31, 33, 64])
def test_trees_of_up_to_64_leaves_are_converted_and_come_back_bit_for_bit(leaves):
    X, grid, forest = fitted(leaves)
    arrays = pack_grid("grid", grid) | pack_forest("forest", forest)
    again = unpack_grid("grid", arrays, LEVELS)
    np.testing.assert_array_equal(
        unpack_forest("forest", arrays, again).predict(again, X), forest.predict(grid, X)
    )


@pytest.mark.parametrize("leaves", [8, 31, 64])
def test_whatever_bits_are_flipped_a_forest_is_refused_or_answers_as_before(leaves):
    X, grid, forest = fitted(leaves)
    rng = np.random.default_rng(0)
    expected, refused = forest.predict(grid, X), 0
    for _ in range(150):
        reachable = forest.reachable.copy()
        cell, tree = (rng.integers(length) for length in reachable.shape)
        reachable[cell, tree] ^= reachable.dtype.type(1 << int(rng.integers(8 * reachable.itemsize)))
        arrays = pack_forest("forest", forest) | {"forest.reachable": reachable}
        try:
            read = unpack_forest("forest", arrays, grid)
        except ArrayError:
            refused += 1
            continue
        np.testing.assert_array_equal(read.predict(grid, X), expected)
    assert refused > 100


def test_words_shuffled_among_cells_are_refused():
    _, grid, forest = fitted(8)
    shuffled = np.random.default_rng(1).permutation(forest.reachable)
    with pytest.raises(ArrayError, match=r"forest\.reachable: found"):
        unpack_forest("forest", pack_forest("forest", forest) | {"forest.reachable": shuffled}, grid)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("grid.edges", np.array([0.0, 0.0])),
        ("grid.edges", np.array([0.0, np.inf])),
        ("grid.counts", np.array([3, -1])),
        ("grid.counts", np.array([1, 1])),
        ("grid.counts", np.array([2, 0], np.int32)),
        ("grid.levels", np.array([0, 9])),
    ],
)
def test_a_grid_that_is_none_is_refused_by_name(name, value):
    grid = Grid((np.array([0.0, 1.0]), np.zeros(0)), (0, 3))
    with pytest.raises(ArrayError, match=name.replace(".", r"\.")):
        unpack_grid("grid", pack_grid("grid", grid) | {name: value}, (0, 3))


def test_curves_come_back_bit_for_bit_and_in_their_shape_only():
    grid = Grid((np.array([0.0, 1.0, 3.0]), np.zeros(0)), (0, 2))

    def function(X):
        number = np.clip(np.nan_to_num(X[:, 0]), 0, 3)
        return np.column_stack([number**2, number + (X[:, 1] == 1)])

    X = np.column_stack([np.linspace(-2, 1e9, 200), np.arange(200) % 2])
    curves = additive_curves(function, 2, grid, X, "test")
    arrays = pack_curves("curves", curves)
    np.testing.assert_array_equal(
        unpack_curves("curves", arrays, grid, 2).predict(grid, X), curves.predict(grid, X)
    )
    with pytest.raises(ArrayError, match=r"curves\.intercept: found float64 of shape \(2,\)"):
        unpack_curves("curves", arrays, grid, 3)
    del arrays["curves.coefficients"]
    with pytest.raises(ArrayError, match=r"curves\.coefficients: found no such array"):
        unpack_curves("curves", arrays, grid, 2)

"""Trees and curves over the cells of a grid answer as the functions that they were made of, on finer grids too."""

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from churn_assets.predictors.conversion import boosting_forest, cuts
from churn_assets.predictors.curves import Curves
from churn_assets.predictors.fitted import boosting_baseline, boosting_trees
from churn_assets.predictors.forest import Along, Forest
from churn_assets.predictors.grid import FEW, Grid, edges_of, union


def made_up(leaves, seed=0):
    """Rows with blanks, and a boosting of trees with so many leaves on them."""
    rng = np.random.default_rng(seed)
    X = rng.normal(0, 1, (3000, 4)).round(1)
    X[rng.random(X.shape) < 0.05] = np.nan
    y = np.nan_to_num(X).prod(axis=1) + rng.normal(0, 0.3, len(X)) > 0
    boosting = HistGradientBoostingClassifier(max_iter=7, max_leaf_nodes=leaves, min_samples_leaf=3)
    return X, boosting.fit(X, y)


def as_forest(boosting):
    trees = boosting_trees(boosting)
    edges = [
        [node.edge for tree in trees for node in tree if getattr(node, "feature", None) == f]
        for f in range(4)
    ]
    grid = Grid(edges_of(edges), (0, 0, 0, 0))
    return grid, Forest.build(trees, boosting_baseline(boosting), grid)


@pytest.mark.parametrize("leaves", [2, 8, 9, 31, 64])
def test_trees_of_up_to_64_leaves_fit_into_words(leaves):
    X, boosting = made_up(leaves)
    grid, forest = as_forest(boosting)

    assert np.abs(forest.predict(grid, X) - boosting.decision_function(X)).max() < 1e-12


def test_a_tree_of_more_leaves_is_refused():
    branch = SimpleNamespace(feature=0)
    with pytest.raises(ValueError, match="a tree of 65 leaves, expected at most 64"):
        Forest.build([[branch] * 64 + [1.0] * 65], 0.0, Grid((np.zeros(0),), (0,)))


def test_joined_grids_change_no_answer():
    X, boosting = made_up(9)
    grid, forest = as_forest(boosting)
    others = Grid(edges_of([[0.05, -0.3], [], [7.0], [0.11], [1.0, 2.0]]), (0, 0, 0, 0, 0))
    joined = union([grid, others])

    moved = forest.on(grid, joined)

    wider = np.column_stack([X, np.zeros(len(X))])
    assert (moved.predict(joined, wider) == forest.predict(grid, X)).all()


@pytest.mark.parametrize("degree", [1, 3])
def test_curves_on_a_finer_grid_are_the_same_curves(degree):
    rng = np.random.default_rng(degree)
    knots = [-1.0, 0.0, 0.5, 2.0]
    bends = rng.normal(0, 1, (2, len(knots)))

    def function(X):
        """Two outputs; bent at the knots, straight outside of them; a category; blanks add nothing."""
        number, category = X[:, 0], X[:, 1]
        value = np.where(np.isnan(number), 0.0, np.clip(number, -3, 4))
        bent = np.maximum(value[:, None, None] - np.array(knots), 0) ** degree * bends
        bent[np.isnan(number)] = 0.0
        return bent.sum(axis=2) + np.where(np.isnan(category), 0.0, category)[:, None] * [1.0, -2.0]

    grid = Grid(edges_of([[*knots, -3.0, 4.0], []]), (0, 3))
    curves = Curves.build(function, degree, 2, grid)
    finer = union([grid, Grid(edges_of([[-2.7, 0.1, 0.2, np.nextafter(0.5, 0), 3.3], []]), (0, 3))])
    X = np.column_stack([rng.uniform(-3, 4, 4000).round(2), rng.integers(0, 3, 4000)]).astype(float)
    X[rng.random(X.shape) < 0.05] = np.nan

    assert curves.predict(grid, X) == pytest.approx(function(X), abs=1e-9)
    assert curves.on(grid, finer).predict(finer, X) == pytest.approx(function(X), abs=1e-9)


def test_every_row_gets_the_same_bits_alone_and_among_others():
    X, boosting = made_up(8)
    grid, forest = as_forest(boosting)

    together = forest.predict(grid, X)

    assert [forest.predict(grid, X[i : i + 1])[0] for i in range(40)] == together[:40].tolist()


def test_a_row_lies_in_the_same_cells_alone_and_among_others():
    grid = Grid(edges_of([[0.0, 0.5, 0.5 + 1e-12, 3.0], [], []]), (0, 3, 0))
    values = [np.nan, -np.inf, -1.0, 0.0, 0.5, 0.7, 1.0, 2.0, 2.5, 3.0, 99.0, np.inf]
    X = np.array([(a, b, c) for a in values for b in values for c in values[:3]])

    together = grid.cells(X)

    assert len(X) > FEW
    assert [grid.cells(X[i : i + 1])[0].tolist() for i in range(len(X))] == together.tolist()


@pytest.mark.parametrize("leaves", [5, 31])
def test_along_a_feature_trees_say_what_they_say_of_each_cell_alone_and_among_others(leaves):
    X, boosting = made_up(leaves)
    grid, forest = as_forest(boosting)
    others = forest.left_by(grid.cells(X[:200])[:, 1:])
    cells = np.arange(grid.starts[0], grid.starts[1])
    along = Along.of(forest, forest.reachable[cells])

    together = along.totals(others).take(along.place, axis=1)

    expected = np.stack([forest.total(others & forest.reachable[cell]) for cell in cells], axis=1)
    assert np.abs(together - expected).max() < 1e-13
    assert len(np.unique(along.place)) > 3
    assert len(along.tree) < len(cells) * len(forest.values)
    alone = [along.totals(others[i : i + 1])[0].take(along.place).tolist() for i in range(40)]
    assert alone == together[:40].tolist()


def test_along_a_single_cell_trees_say_one_thing():
    X, boosting = made_up(5)
    grid, forest = as_forest(boosting)
    leaves = forest.left_by(grid.cells(X[:50]))
    along = Along.of(forest, np.bitwise_or.reduce(forest.reachable, axis=0)[None])

    assert along.totals(leaves).tolist() == forest.total(leaves)[:, None].tolist()
    assert along.place.tolist() == [0]


def test_joined_curves_say_what_each_says():
    X, _ = made_up(5)
    grid = Grid(edges_of([[-0.5, 0.5], [0.1], [], [0.0, 1.0]]), (0, 0, 0, 0))
    curves = [
        Curves.build(lambda X, p=p: np.nan_to_num(X[:, :1]) * [1.0, p], degree, 4, grid)
        for degree, p in ((1, 2.0), (3, -1.0))
    ]
    found = Curves.joined(curves).predict(grid, X)
    assert (found == np.concatenate([each.predict(grid, X) for each in curves], axis=1)).all()


def test_a_rule_that_tells_blanks_from_numbers_is_no_edge_between_numbers():
    """Days since an offer of whoever had none: a fitted boosting cuts at infinity there, which no array may hold."""
    rng = np.random.default_rng(0)
    X = rng.uniform(0, 100, (2000, 2))
    X[rng.random(2000) < 0.5, 0] = np.nan
    y = (rng.random(2000) < np.where(np.isnan(X[:, 0]), 0.1, 0.7)).astype(int)
    boosting = HistGradientBoostingClassifier(max_iter=5, max_leaf_nodes=2).fit(X, y)
    trees = boosting_trees(boosting)
    grid = Grid(edges_of(cuts(trees, 2)), (0, 0))
    assert all(np.isfinite(edges).all() for edges in grid.edges)
    forest = boosting_forest(boosting, trees, grid, X, "model")
    rows = np.array([[np.nan, 3.0], [0.0, 3.0], [1e12, 3.0]])
    np.testing.assert_allclose(forest.predict(grid, rows), boosting.decision_function(rows), rtol=1e-12)

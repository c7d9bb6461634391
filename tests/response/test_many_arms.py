"""Logs of many arms: what is left open and tested is as by one arm at a time, at a cost that grows with the arms."""

from types import SimpleNamespace

import numpy as np
import pytest

from churn_assets.response.direct import LogRows
from churn_assets.response.evidence import Scores, score_test
from churn_assets.response.uncertainty import MEANS, Cells, OpenColumns, Uncertainty


def rows(arms=6, n=700, width=4, leaves=3):
    rng = np.random.default_rng(arms)
    risk = rng.uniform(0.05, 0.9, n)
    propensities = rng.dirichlet(np.full(arms, 3.0), n)
    arm = (rng.random(n)[:, None] > propensities.cumsum(axis=1)).sum(axis=1).clip(0, arms - 1)
    columns = np.column_stack([np.ones(n), rng.normal(size=(n, width - 1))])
    parts = (columns, risk, risk, rng.random((n, arms)), arm, propensities, rng.normal(size=n))
    return LogRows(*parts, np.zeros(n, np.int64), 1), rng.integers(0, 2, (n, leaves)).astype(float)


def of_one_arm(seen, leaves, arm):
    """(n, d), written out: means, those of the arms' own that are this arm's, features, leaves."""
    risk, accepts = seen.risk[:, None], seen.acceptance[:, arm, None]
    means = np.concatenate([risk, 1 - risk, accepts * risk, accepts * (1 - risk)], axis=1)
    own = np.zeros((len(risk), seen.arms, MEANS))
    own[:, arm - 1] = means
    features = [risk * seen.columns[:, 1:], (1 - risk) * seen.columns[:, 1:]]
    return np.concatenate([means, own.reshape(len(risk), -1), *features, leaves], axis=1)


def open_columns(seen, leaves):
    return OpenColumns.of(seen.columns, seen.risk, seen.acceptance, leaves)


def test_columns_that_are_summed_over_arms_are_those_of_each_arm():
    seen, leaves = rows()
    weights = np.random.default_rng(1).normal(size=(len(seen.arm), seen.arms))
    expected = sum(
        weights[:, arm - 1, None] * of_one_arm(seen, leaves, arm) for arm in range(1, seen.arms + 1)
    )
    np.testing.assert_allclose(open_columns(seen, leaves).weighted(weights), expected, rtol=0, atol=1e-12)


def test_mean_squares_and_moments_are_those_of_each_arm():
    seen, leaves = rows()
    every = [of_one_arm(seen, leaves, arm) for arm in range(1, seen.arms + 1)]
    rng, width = np.random.default_rng(2), every[0].shape[1]
    root, mean = rng.normal(size=(width, width)), rng.normal(size=width)
    covariance = root @ root.T
    expected = np.mean([(each @ mean) ** 2 + ((each @ covariance) * each).sum(axis=1) for each in every])
    found = open_columns(seen, leaves)
    assert found.moments(mean, covariance) == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(
        found.squares(), np.mean([(each**2).mean(axis=0) for each in every], axis=0), rtol=1e-12
    )


@pytest.mark.parametrize("only", [None, 3])
def test_the_deviation_of_a_weighted_sum_is_that_of_each_arm(only):
    seen, leaves = rows()
    rng, every = np.random.default_rng(4), [of_one_arm(seen, leaves, arm) for arm in range(1, seen.arms + 1)]
    weights = np.column_stack([np.zeros(len(seen.arm)), rng.normal(size=(len(seen.arm), seen.arms))])
    weights[:, [arm for arm in range(seen.arms + 1) if only not in (None, arm)]] = 0.0
    draws = rng.normal(size=(20, every[0].shape[1]))
    total = sum(weights[:, arm] @ every[arm - 1] for arm in range(1, seen.arms + 1))
    X = np.arange(len(seen.arm), dtype=float)[:, None]
    parted = SimpleNamespace(leaves=lambda some: leaves[some[:, 0].astype(int)])
    found = Uncertainty(parted, draws, 1.0).sum_deviation(seen, X, weights)
    assert found == pytest.approx(np.sqrt(((draws @ total) ** 2).mean()), rel=1e-10)


def test_cells_of_some_rows_are_those_of_all():
    seen, _ = rows()
    cells = Cells(seen)
    third = np.searchsorted(np.quantile(seen.risk, [1 / 3, 2 / 3]), seen.risk)
    expected = np.concatenate(
        [seen.chances()[:, arm, None] * (third[:, None] == np.arange(3)) for arm in range(seen.arms)], axis=1
    )
    np.testing.assert_array_equal(cells[:], expected)
    np.testing.assert_array_equal(cells[np.array([7, 3, 7])], expected[[7, 3, 7]])
    assert cells[:0].shape == (0, expected.shape[1])


@pytest.mark.parametrize("at_once", [1, 50, 10_000])
def test_scores_are_summed_by_whole_clusters_however_many_rows_at_once(at_once, monkeypatch):
    monkeypatch.setattr("churn_assets.response.evidence.ROWS", at_once)
    rng = np.random.default_rng(3)
    terms, residual, cluster = rng.normal(size=(900, 5)), rng.normal(size=900), rng.integers(0, 200, 900)
    sums = np.stack([np.bincount(cluster, weights=each * residual) for each in terms.T], axis=1)

    found = Scores.of(terms, residual, cluster)

    np.testing.assert_allclose(found.total, sums.sum(axis=0), atol=1e-10)
    np.testing.assert_allclose(found.chance, sums.T @ sums, atol=1e-9)
    whole = found.test()
    assert whole.statistic == pytest.approx(score_test(terms, residual, cluster).statistic)
    assert found.test(3 * found.chance).statistic == pytest.approx(whole.statistic / 4)
    assert Scores.of(terms[:0], residual[:0], cluster[:0]).test().degrees == 0

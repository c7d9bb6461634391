"""The ridge R-learners solve what their definition says, whatever the width of a table."""

from __future__ import annotations

import numpy as np
import pytest

from churn_assets.response import direct
from churn_assets.response.direct import LIGHTLY, LogRows, RidgeSums, linear_effects


def rows(columns: int, arms: int = 3, n: int = 900, seed: int = 0) -> LogRows:
    rng = np.random.default_rng(seed)
    features = np.column_stack([np.ones(n), rng.normal(size=(n, columns - 1))])
    propensities = rng.dirichlet(np.full(arms, 4.0), n)
    arm = (rng.random(n)[:, None] > propensities.cumsum(1)).sum(1).clip(0, arms - 1)
    risk = rng.uniform(0.05, 0.6, n)
    acceptance = np.column_stack([np.zeros(n), rng.uniform(0.1, 0.6, (n, arms - 1))])
    residual = 0.1 * features[:, 1] * ((arm == 1) - propensities[:, 1]) + rng.normal(0, 0.3, n)
    return LogRows(features, risk, risk, acceptance, arm, propensities, residual, np.arange(n) % 3, 3)


def terms(seen: LogRows, arm: int) -> np.ndarray:
    """(n, 2 p + 2) what an arm's effect is linear in."""
    risk, accepted = seen.risk[:, None], seen.acceptance[:, arm, None]
    parts = [risk * seen.columns, (1 - risk) * seen.columns, accepted * risk, accepted * (1 - risk)]
    return np.concatenate(parts, axis=1)


@pytest.mark.parametrize("narrow", [True, False])
def test_coefficients_are_those_of_one_penalised_regression_on_the_other_groups(narrow, monkeypatch):
    monkeypatch.setattr(direct, "MOST_TERMS", 10_000 if narrow else 10)
    seen = rows(5)
    width, others = 12, np.flatnonzero(seen.group != 1)
    own = np.arange(width) if narrow else np.array([0, 1, 5, 6, 10, 11])
    each = [terms(seen, arm) * seen.chances()[:, arm - 1, None] for arm in (1, 2)]
    design = np.column_stack([each[0] + each[1], each[0][:, own], each[1][:, own]])
    size = np.sqrt((design**2).mean(axis=0))
    penalty = np.repeat([20.0, 90.0], [width, 2 * len(own)])
    penalty[[0, 5, 10, 11]] *= LIGHTLY
    scaled = design[others] / size
    solved = np.linalg.solve(scaled.T @ scaled + np.diag(penalty), scaled.T @ seen.residual[others]) / size
    expected = np.repeat(solved[None, :width], 2, axis=0)
    expected[:, own] += solved[width:].reshape(2, -1)

    found = RidgeSums(seen).coefficients(1, 20.0, 90.0)

    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-12)
    effects = linear_effects(seen, found)
    assert (effects[:, 0] == 0).all()
    np.testing.assert_allclose(effects[:, 2], terms(seen, 2) @ expected[1], rtol=1e-7, atol=1e-12)


def test_a_wide_table_takes_no_more_memory_than_what_the_arms_share():
    sums = RidgeSums(rows(400, arms=7, n=300))
    width = 2 * 400 + 2
    assert sums._gram.shape == (3, width + 6 * 6, width + 6 * 6)

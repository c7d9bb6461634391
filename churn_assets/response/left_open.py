"""How far the effects of a menu's arms may be off, draw by draw, and which arm is the best how often. Fits nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from churn_assets.predictors.forest import Forest
from churn_assets.predictors.grid import Grid
from churn_assets.predictors.probability import logit
from churn_assets.response.basis import EffectBasis
from churn_assets.response.predictor import LEAST

Floats = NDArray[np.float64]

MEANS = 4
"""Columns of the mean effect, and of what an arm differs by: would-be churners, stayers, and who accepts of either."""


@dataclass(frozen=True, eq=False)
class LeftOpen:
    """M draws of how far the effects of K - 1 arms that contact may be off, as of `uncertainty`.

    Every result is of one customer alone, to the last bit.

    Attributes:
        basis: Of the columns.
        grid: Of the trees that part customers.
        parted: These trees.
        means: (M, K - 1, 4) coefficients of the means, of each arm.
        others: (M, e) of the features of would-be churners, of stayers, and of leaves.
    """

    basis: EffectBasis
    grid: Grid
    parted: Forest
    means: Floats
    others: Floats

    def deviations(self, X: Floats, risk: Floats, acceptance: Floats) -> Floats:
        """(n, M, K - 1) changes of churn by contact, beside those that the model says.

        Args:
            X: (n, F) features.
            risk: (n,) churn without contact.
            acceptance: (n, K - 1).
        """
        leaving, columns = risk[:, None], self.basis.transform(X, logit(risk, LEAST))[:, 1:]
        leaves = leaves_of(self.grid, self.parted, X)
        rows = np.concatenate([leaving * columns, (1 - leaving) * columns, leaves], axis=1)
        # One product a customer: a product of all rows would round with their number.
        found = np.matmul(rows[:, None], self.others.T)[:, 0, :, None].repeat(acceptance.shape[1], axis=2)
        either = (leaving, 1 - leaving, acceptance * leaving, acceptance * (1 - leaving))
        for column, values in enumerate(either):
            found += values[:, None] * self.means[:, :, column]
        return np.asarray(found)

    def best(
        self, X: Floats, risk: Floats, acceptance: Floats, values: Floats, worth: Floats, allowed: Floats
    ) -> Floats:
        """(n, K) share of the draws in which each arm is the best; of arms that are alike, the first.

        The probability with which Thompson sampling (1933) plays it, counted over all draws: nothing is left to chance.

        Args:
            X: As of `deviations`.
            risk: As there.
            acceptance: As there.
            values: (n, K) what each arm adds, in money; 0 without contact.
            worth: (n,) what it is worth that a customer certainly stays, in money.
            allowed: (n, K) whether an arm may be made.
        """
        drawn = np.repeat(values[:, None], len(self.means), axis=1)
        drawn[:, :, 1:] -= worth[:, None, None] * self.deviations(X, risk, acceptance)
        first = np.where(allowed[:, None] > 0, drawn, -np.inf).argmax(axis=2)
        return np.asarray((first[..., None] == np.arange(values.shape[1])).mean(axis=1))


def leaves_of(grid: Grid, forest: Forest, X: Floats) -> Floats:
    """(n, trees · leaves) 1 for the leaf of each tree that a customer is in, else 0; X is (n, F)."""
    bits = np.arange(forest.values.shape[1])
    words = [forest.left_by(cells).astype(np.uint64) for cells, _ in grid.chunks(X)]
    every = np.concatenate([np.empty((0, len(forest.values)), np.uint64), *words])
    found = (every[..., None] >> bits.astype(np.uint64)) & np.uint64(1)
    return found.reshape(len(X), -1).astype(np.float64)

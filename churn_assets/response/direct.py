"""The direct form of an effect: R-learners that ask nobody whether an offer was accepted (Nie & Wager 2021).

The effect of contact with an arm is a share of would-be churners who are kept, and one of would-be stayers who are
driven away, each linear in the customer's features and in the chance of acceptance. Arms share coefficients, and differ
from them by penalised ones of their own: arms whose order means nothing are no exception. The second learner boosts
trees for what the arms have in common.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from churn_assets.predictors.conversion import boosting_forest, cuts
from churn_assets.predictors.fitted import boosting_trees
from churn_assets.predictors.forest import Forest
from churn_assets.predictors.grid import Grid, edges_of, union
from churn_assets.response.left_open import leaves_of

if TYPE_CHECKING:
    from churn_assets.customers.schema import CustomerSchema
    from churn_assets.response.config import EffectModelConfig

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ROWS = 4096
"""Rows whose products are summed at once: bounds the memory."""

MOST_TERMS = 1500
"""Terms that are solved for at once. Where features times arms are more, arms differ from what they share by their
means, the risk and acceptance alone."""

LIGHTLY = 0.01
"""Share of the penalty on what every customer and arm have in common."""

LEAST_CENTRED = 1e-3
"""Rows on which contact was all but certain, or certainly not made, tell the boosting nothing."""


@dataclass(frozen=True)
class LogRows:
    """What the learners are shown: n rows of a log, A arms, no contact the first.

    Attributes:
        columns: (n, p) of `EffectBasis`, by the risk.
        risk: (n,) out of fold. No churn that was fitted on the log: the rows of one cross-fit group would then show
            what happened in another.
        churn: (n,) churn without contact, by the baseline.
        acceptance: (n, A) out of fold.
        arm: (n,) logged.
        propensities: (n, A).
        residual: (n,) outcome less its mean given the customer.
        group: (n,) cross-fit group.
        groups: How many.
    """

    columns: Floats
    risk: Floats
    churn: Floats
    acceptance: Floats
    arm: Ints
    propensities: Floats
    residual: Floats
    group: Ints
    groups: int

    @property
    def arms(self) -> int:
        """A - 1, those that contact."""
        return len(self.propensities[0]) - 1

    def centred(self, effects: Floats) -> Floats:
        """(n,) the (n, A) effects of the logged arm less their mean over the arms: what explains the residual."""
        logged = np.take_along_axis(effects, self.arm[:, None], axis=1)[:, 0]
        return np.asarray(logged - (self.propensities * effects).sum(axis=1))

    def chances(self, rows: slice | Ints = slice(None)) -> Floats:
        """(m, A - 1) of every arm that contacts, 1 where it was logged, else 0, less its propensity."""
        return np.asarray((self.arm[rows, None] == np.arange(1, self.arms + 1)) - self.propensities[rows, 1:])

    def shared(self, rows: slice | Ints = slice(None)) -> Floats:
        """(m, 2 p) what every arm's effect is linear in, beside its acceptance by would-be churners and by stayers."""
        risk, columns = self.risk[rows, None], self.columns[rows]
        return np.concatenate([risk * columns, (1 - risk) * columns], axis=1)

    def accepting(self, accepted: Floats, rows: slice | Ints = slice(None)) -> Floats:
        """(m, 2) of would-be churners and of stayers, a chance of acceptance (m,) or what it is summed with."""
        risk = self.risk[rows]
        return np.column_stack([accepted * risk, accepted * (1 - risk)])


class RidgeSums:
    """Sums of products of every cross-fit group, from which all ridge regressions are solved."""

    def __init__(self, seen: LogRows) -> None:
        columns = seen.columns.shape[1]
        self._width, self._arms = 2 * columns + 2, seen.arms
        self._own = np.arange(self._width)
        if self._width * (1 + seen.arms) > MOST_TERMS:
            self._own = np.array([0, 1, columns, columns + 1, 2 * columns, 2 * columns + 1])
        size = self._width + seen.arms * len(self._own)
        self._gram, self._moment = np.zeros((seen.groups, size, size)), np.zeros((seen.groups, size))
        for group in range(seen.groups):
            for rows in _chunks(np.flatnonzero(seen.group == group)):
                design = self._design(seen, rows)
                self._gram[group] += design.T @ design
                self._moment[group] += design.T @ seen.residual[rows]
        self._scale = np.sqrt(np.einsum("gii->i", self._gram) / max(len(seen.arm), 1))
        self._scale[self._scale == 0] = 1.0

    def _design(self, seen: LogRows, rows: Ints) -> Floats:
        """(m, size) what the arms share, then what each differs by; nothing is made for every arm but its own terms."""
        shared = seen.shared(rows)
        chances = seen.chances(rows)
        accepted = seen.acceptance[rows, 1:].astype(np.float64) * chances
        own = self._own[self._own < shared.shape[1]]
        parts = [shared * chances.sum(axis=1)[:, None], seen.accepting(accepted.sum(axis=1), rows)]
        for arm in range(seen.arms):
            parts += [shared[:, own] * chances[:, arm, None], seen.accepting(accepted[:, arm], rows)]
        return np.concatenate(parts, axis=1)

    def coefficients(self, left_out: int | None, common: float, own: float) -> Floats:
        """(A - 1, 2 p + 2) of every arm, fitted without a group.

        Args:
            left_out: Number of the group; None: all are fitted on.
            common: Ridge penalty of what the arms share, in rows of columns of unit size.
            own: Of what an arm differs by.
        """
        gram, moment = self._gram.sum(axis=0), self._moment.sum(axis=0)
        if left_out is not None:
            gram, moment = gram - self._gram[left_out], moment - self._moment[left_out]
        penalty = np.full(len(moment), own)
        penalty[: self._width] = common
        columns = (self._width - 2) // 2
        penalty[[0, columns, self._width - 2, self._width - 1]] *= LIGHTLY
        scaled = gram / self._scale[:, None] / self._scale + np.diag(penalty)
        found = np.linalg.solve(scaled, moment / self._scale) / self._scale
        each = np.repeat(found[None, : self._width], self._arms, axis=0)
        each[:, self._own] += found[self._width :].reshape(self._arms, -1)
        return each


def linear_effects(seen: LogRows, coefficients: Floats, rows: slice | Ints = slice(None)) -> Floats:
    """(..., m, A) effects by coefficients (..., A - 1, 2 p + 2), of one fit or of several; 0 without contact."""
    shared, risk, accepted = seen.shared(rows), seen.risk[rows, None], seen.acceptance[rows, 1:]
    found = np.zeros((*coefficients.shape[:-2], len(shared), 1 + seen.arms))
    for fit in np.ndindex(coefficients.shape[:-2]):
        own = coefficients[fit]
        churner, stayer = own[:, -2], own[:, -1]
        found[fit][:, 1:] = shared @ own[:, :-2].T + accepted * (risk * churner + (1 - risk) * stayer)
    return found


@dataclass(frozen=True, eq=False)
class Boosted:
    """What contact does whatever the arm, by trees.

    Attributes:
        grid: The customers' features.
        forest: (n,) changes of churn.
    """

    grid: Grid
    forest: Forest

    @classmethod
    def fit(
        cls, schema: CustomerSchema, X: Floats, seen: LogRows, rows: Ints, config: EffectModelConfig
    ) -> Boosted:
        """Fits on some rows of the log; X is (n, F).

        Raises:
            ConversionError: The arrays of the fit answer otherwise than scikit-learn.
        """
        contact = (seen.arm[rows] > 0) - (1 - seen.propensities[rows, 0])
        told = np.abs(contact) >= LEAST_CENTRED
        rows, contact = rows[told], contact[told]
        shape = {
            "learning_rate": config.learning_rate,
            "max_iter": config.max_iter,
            "max_leaf_nodes": config.max_leaf_nodes,
            "min_samples_leaf": config.min_samples_leaf,
            "l2_regularization": config.l2_regularization,
        }
        return cls._fitted(schema, X[rows], seen.residual[rows] / contact, contact**2, shape)

    @classmethod
    def by_chance(
        cls, schema: CustomerSchema, X: Floats, trees: int, leaves: int, config: EffectModelConfig
    ) -> Boosted:
        """Trees that part customers (n, F) by features drawn by lot, at splits that explain noise; all values are 0.

        Raises:
            ConversionError: The arrays of the fit answer otherwise than scikit-learn.
        """
        noise = np.random.default_rng(schema.folds.seed).normal(size=len(X))
        shape = {
            "learning_rate": 1.0,
            "max_iter": trees,
            "max_leaf_nodes": leaves,
            "min_samples_leaf": config.min_samples_leaf,
            "max_features": 1 / X.shape[1],
        }
        return cls._fitted(schema, X, noise, np.ones(len(X)), shape).times(0.0)

    @classmethod
    def _fitted(
        cls, schema: CustomerSchema, X: Floats, target: Floats, weight: Floats, shape: Mapping[str, float]
    ) -> Boosted:
        from sklearn.ensemble import HistGradientBoostingRegressor  # predicting needs no scikit-learn

        boosting = HistGradientBoostingRegressor(
            **shape,
            categorical_features=[spec.kind == "categorical" for spec in schema.features],
            early_stopping=False,
            random_state=schema.folds.seed,
        )
        boosting.fit(X, target, sample_weight=weight)
        levels = tuple(len(feature.categories) for feature in schema.features)
        trees = boosting_trees(boosting, max(levels))
        grid = Grid(edges_of(cuts(trees, len(levels))), levels)
        return cls(grid, boosting_forest(boosting, trees, grid, X, "effect_model, boosting"))

    def effects(self, X: Floats, arms: int) -> Floats:
        """(n, 1 + arms) the same for every arm that contacts, 0 without contact."""
        found = self.forest.predict(self.grid, X)
        return np.concatenate([np.zeros((len(X), 1)), np.repeat(found[:, None], arms, axis=1)], axis=1)

    def times(self, factor: float) -> Boosted:
        """The same, larger or smaller."""
        forest = self.forest
        return Boosted(self.grid, Forest(factor * forest.baseline, forest.reachable, factor * forest.values))

    def plus(self, other: Boosted) -> Boosted:
        """The sum of both."""
        grid = union([self.grid, other.grid])
        parts = [each.forest.on(each.grid, grid) for each in (self, other)]
        most = max(part.values.shape[1] for part in parts)
        values = [np.pad(part.values, ((0, 0), (0, most - part.values.shape[1]))) for part in parts]
        baseline = sum(part.baseline for part in parts)
        reachable = np.concatenate([part.reachable for part in parts], axis=1)
        return Boosted(grid, Forest(baseline, reachable, np.concatenate(values)))

    def leaves(self, X: Floats) -> Floats:
        """(n, trees · leaves) 1 for the leaf of each tree that a customer is in, else 0; X is (n, F)."""
        return leaves_of(self.grid, self.forest, X)


def _chunks(rows: Ints) -> Iterator[Ints]:
    for start in range(0, len(rows), ROWS):
        yield rows[start : start + ROWS]

"""What a log leaves open about effects: draws of how far they may be from what the model says. Fits no effect itself.

How far effects are off is linear in a few columns: what contact does to would-be churners and to would-be stayers, to
those who accept and to the rest; the same by arm; what the features change in it; and which leaf a customer is in of
trees that were drawn by lot, which stand for what no sum over features says. The draws are of the posterior of a
Bayesian regression in the residual-on-residual form (Robinson 1988), about zero: the mean is the stack's to say.

Two things make a stack's own spread too small. It is shrunk, and no log shows how much customers differ: so the prior
is that they differ by as much as effects are large (`heterogeneity`), in equal shares by arm, by features of would-be
churners, by those of would-be stayers and by trees. How large effects are, the log does say. And the form may be wrong:
where cells of arm and risk are off, on customers left out, by more than the draws and chance explain, all draws are
made larger until they do.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from churn_assets.predictors.forest import Forest
from churn_assets.predictors.probability import between
from churn_assets.response.direct import ROWS, Boosted, LogRows
from churn_assets.response.evidence import score_test
from churn_assets.response.left_open import MEANS

if TYPE_CHECKING:
    from churn_assets.customers.schema import CustomerSchema
    from churn_assets.response.config import EffectModelConfig

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

TREES, LEAVES = 8, 16
ANY_MEAN = 0.3
"""Prior standard deviation of a coefficient of the mean effect, as a change of churn: hardly any constraint."""
PASSES = 2
"""How large effects are is read off their means, then once more where customers differ."""
LEAST = 1e-12
"""Of a mean square: columns that are 0 on all rows keep a finite prior, and effects a size."""
LEAST_CHURN = 0.02
"""Rows are weighed by one over the variance of their outcome, and by no more than at this churn."""
SAMPLE = 1000
"""Rows, at most, over which mean squares are taken."""
SEGMENTS = 3
SURPRISING = 0.1
"""Draws are made larger where chance and they leave cells as far off less often than this."""
LARGER = np.geomspace(1.0, 4.0, 25)


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """How far the effects may be off, as far as a log shows.

    Attributes:
        parted: Trees whose leaves are columns; their values are 0.
        draws: (M, d) coefficients of the columns of `open_columns`.
        larger: By how much the log's cells made the draws larger, at least 1; it is in them.
    """

    parted: Boosted
    draws: Floats
    larger: float

    @classmethod
    def fit(
        cls,
        schema: CustomerSchema,
        X: Floats,
        seen: LogRows,
        effects: Floats,
        customer: Ints,
        config: EffectModelConfig,
    ) -> Uncertainty:
        """Draws `config.draws` times.

        Args:
            schema: The customers.
            X: (n, F) their features on the rows of the log.
            seen: Those rows.
            effects: (n, A) what is believed of each row by fits without its customer.
            customer: (n,) of the rows.
            config: How much customers differ, and how many draws.

        Raises:
            ConversionError: The arrays of the trees answer otherwise than scikit-learn.
        """
        parted = Boosted.by_chance(schema, X, TREES, LEAVES, config)
        root = np.linalg.cholesky(_precision(parted, X, seen, effects, config.heterogeneity))
        normal = np.random.default_rng(schema.folds.seed).normal(size=(config.draws, len(root)))
        once = cls(parted, np.ascontiguousarray(np.linalg.solve(root.T, normal.T).T), 1.0)
        cells = cells_of(seen)
        residual = seen.residual - seen.centred(effects)
        left_open = once.covariance(seen, X, cells)
        for larger in LARGER:
            if score_test(cells, residual, customer, larger**2 * left_open).p_value >= SURPRISING:
                break
        return cls(parted, larger * once.draws, float(larger))

    def deviations(self, X: Floats, columns: Floats, risk: Floats, acceptance: Floats) -> Floats:
        """(n, A) standard deviation of every arm's effect over the draws; 0 without contact.

        Args:
            X: (n, F) features.
            columns: (n, p) of `EffectBasis`, by the risk.
            risk: (n,).
            acceptance: (n, A).
        """
        found = np.zeros_like(acceptance)
        for rows in _slices(X):
            parts = (columns[rows], risk[rows], acceptance[rows], self.parted.leaves(X[rows]))
            for arm in range(1, acceptance.shape[1]):
                each = open_columns(*parts, arm) @ self.draws.T
                found[rows, arm] = np.sqrt((each**2).mean(axis=1))
        return found

    def as_fitted(self) -> Uncertainty:
        """The same before the log's cells made the draws larger: what chance in the log alone leaves open."""
        return replace(self, draws=self.draws / self.larger, larger=1.0)

    def covariance(self, seen: LogRows, X: Floats, terms: Floats) -> Floats:
        """(t, t) over the draws, of sums of terms (n, t) times how far the centred effects are off; X is (n, F)."""
        sums = np.zeros((terms.shape[1], len(self.draws)))
        for rows in _slices(X):
            sums += (terms[rows].T @ _centred(self.parted, X, seen, rows)) @ self.draws.T
        return np.asarray(sums @ sums.T / len(self.draws))

    def sum_deviation(self, seen: LogRows, X: Floats, weights: Floats) -> float:
        """Standard deviation over the draws of a weighted sum of effects; X is (n, F).

        Weights are (n, A), 0 without contact; of an arm that has none nothing is computed.
        """
        total = np.zeros(self.draws.shape[1])
        for rows in _slices(X):
            parts = (seen.columns[rows], seen.risk[rows], seen.acceptance[rows], self.parted.leaves(X[rows]))
            for arm in np.flatnonzero(weights[rows].any(axis=0)).tolist():
                total += weights[rows, arm] @ open_columns(*parts, arm)
        return float(np.sqrt(((self.draws @ total) ** 2).mean()))

    def split(self, number: int, arms: int) -> tuple[Floats, Floats, Floats, Boosted]:
        """What a draw adds to shares kept and driven, (A - 1, p) each, to those of who accepts (2, A - 1), to trees."""
        forest = self.parted.forest
        features = (self.draws.shape[1] - MEANS * (1 + arms) - forest.values.size) // 2
        bounds = _bounds(arms, features, forest.values.size)
        means, own, *either, values = np.split(self.draws[number], bounds[1:-1])
        of_arms = means + own.reshape(arms, MEANS)
        kept, driven = (
            np.column_stack([of_arms[:, kind], np.repeat(each[None], arms, axis=0)])
            for kind, each in enumerate(either)
        )
        trees = Forest(0.0, forest.reachable, values.reshape(forest.values.shape))
        return kept, driven, of_arms[:, 2:].T.copy(), Boosted(self.parted.grid, trees)


def open_columns(columns: Floats, risk: Floats, acceptance: Floats, leaves: Floats, arm: int) -> Floats:
    """(n, d) what may be off about an arm's effect is linear in: means, the arm's own, features, leaves."""
    leaving, accepts = risk[:, None], acceptance[:, arm, None]
    either = np.concatenate([leaving, 1 - leaving], axis=1)
    means = np.concatenate([either, accepts * either], axis=1)
    own = np.zeros((len(risk), acceptance.shape[1] - 1, MEANS))
    own[:, arm - 1] = means
    features = [leaving * columns[:, 1:], (1 - leaving) * columns[:, 1:]]
    return np.concatenate([means, own.reshape(len(risk), -1), *features, leaves], axis=1)


def open_width(arms: int, columns: int, parted: Boosted) -> int:
    """d, the number of `open_columns` of arms that contact and columns of the basis."""
    return _bounds(arms, columns - 1, parted.forest.values.size)[-1]


def cells_of(seen: LogRows) -> Floats:
    """(n, 3 A - 3) cells of arm and third of the risk: 1 where the arm was logged, else 0, less its propensity."""
    bounds = np.quantile(seen.risk, np.arange(1, SEGMENTS) / SEGMENTS)
    inside = np.searchsorted(bounds, seen.risk)[:, None] == np.arange(SEGMENTS)
    each = [seen.chance(arm)[:, None] * inside for arm in range(1, seen.arms + 1)]
    return np.concatenate(each, axis=1)


def _precision(parted: Boosted, X: Floats, seen: LogRows, effects: Floats, heterogeneity: float) -> Floats:
    """(d, d) inverse of the covariance of the coefficients, given the log."""
    mean = seen.churn + (seen.propensities * effects).sum(axis=1)
    mean = between(LEAST_CHURN, mean, 1 - LEAST_CHURN)
    weight = 1 / (mean * (1 - mean))
    weight /= (seen.residual**2 * weight).mean()
    gram, moment = np.zeros(()), np.zeros(())
    for rows in _slices(X):
        centred = _centred(parted, X, seen, rows)
        weighed = (centred * weight[rows, None]).T
        gram, moment = gram + weighed @ centred, moment + weighed @ seen.residual[rows]
    some = slice(None, None, -(-len(X) // SAMPLE))
    parts = (seen.columns[some], seen.risk[some], seen.acceptance[some], parted.leaves(X[some]))
    sample = [open_columns(*parts, arm) for arm in range(1, seen.arms + 1)]
    squares = np.mean([(each**2).mean(axis=0) for each in sample], axis=0)
    bounds = _bounds(seen.arms, seen.columns.shape[1] - 1, parted.forest.values.size)
    blocks = list(pairwise(bounds))[1:]

    def given(size: float) -> Floats:
        """Where effects have this mean square."""
        precision = np.maximum(squares, LEAST) / ANY_MEAN**2
        for first, last in blocks:
            share = heterogeneity**2 * max(size, LEAST) / len(blocks)
            precision[first:last] = max(squares[first:last].sum(), LEAST) / share
        return np.asarray(gram + np.diag(precision))

    size = 0.0
    for _ in range(PASSES):
        covariance = np.linalg.inv(given(size))
        mean = covariance @ moment
        size = float(
            np.mean([(each @ mean) ** 2 + ((each @ covariance) * each).sum(axis=1) for each in sample])
        )
    return given(size)


def _centred(parted: Boosted, X: Floats, seen: LogRows, rows: slice) -> Floats:
    """(m, d) the columns of the logged arm less their mean over the arms."""
    parts = (seen.columns[rows], seen.risk[rows], seen.acceptance[rows], parted.leaves(X[rows]))
    found = open_columns(*parts, 1) * seen.chance(1, rows)[:, None]
    for arm in range(2, seen.arms + 1):  # one at a time: bounds the memory
        found += open_columns(*parts, arm) * seen.chance(arm, rows)[:, None]
    return found


def _bounds(arms: int, features: int, leaves: int) -> list[int]:
    """Where blocks of columns begin and end: means, arms' own, features of would-be churners, of stayers, leaves."""
    widths = [MEANS, MEANS * arms, features, features, leaves]
    return [0, *np.cumsum(widths).tolist()]


def _slices(X: Floats) -> list[slice]:
    return [slice(start, start + ROWS) for start in range(0, len(X), ROWS)]

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
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from churn_assets.predictors.forest import Forest
from churn_assets.predictors.probability import between
from churn_assets.response.direct import ROWS, Boosted, LogRows
from churn_assets.response.evidence import Scores, ScoreTerms
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
        draws: (M, d) coefficients of `OpenColumns`.
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
        cells = Cells(seen)
        found = Scores.of(cells, seen.residual - seen.centred(effects), customer)
        left_open = once.covariance(seen, X, cells)
        for larger in LARGER:
            if found.test(larger**2 * left_open).p_value >= SURPRISING:
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
            parts = OpenColumns.of(columns[rows], risk[rows], acceptance[rows], self.parted.leaves(X[rows]))
            alike = parts.alike @ self.draws[:, parts.alike_at].T
            for arm in range(1, acceptance.shape[1]):
                each = alike + parts.means(arm) @ (self.draws[:, :MEANS] + self.draws[:, parts.own_at(arm)]).T
                found[rows, arm] = np.sqrt((each**2).mean(axis=1))
        return found

    def as_fitted(self) -> Uncertainty:
        """The same before the log's cells made the draws larger: what chance in the log alone leaves open."""
        return replace(self, draws=self.draws / self.larger, larger=1.0)

    def covariance(self, seen: LogRows, X: Floats, terms: ScoreTerms) -> Floats:
        """(t, t) over the draws, of sums of terms (n, t) times how far the centred effects are off; X is (n, F)."""
        sums: Floats = np.zeros(())
        for rows in _slices(X):
            sums = sums + terms[rows].T @ (_centred(self.parted, X, seen, rows) @ self.draws.T)
        return np.asarray(sums @ sums.T / len(self.draws))

    def sum_deviation(self, seen: LogRows, X: Floats, weights: Floats) -> float:
        """Standard deviation over the draws of a weighted sum of effects (n, A), no contact first; X is (n, F)."""
        total = np.zeros(self.draws.shape[1])
        for rows in _slices(X):
            parts, told = _parts(self.parted, X, seen, rows), weights[rows, 1:]
            total[parts.alike_at] += told.sum(axis=1) @ parts.alike
            for arm in (1 + np.flatnonzero(told.any(axis=0))).tolist():
                means = told[:, arm - 1] @ parts.means(arm)
                total[:MEANS] += means
                total[parts.own_at(arm)] += means
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


@dataclass(frozen=True, eq=False)
class OpenColumns:
    """What may be off about effects is linear in, for n customers: d columns, most of which no arm has for its own.

    In this order: means, each arm's own, then what is alike for all arms, features of would-be churners, of stayers,
    and leaves.

    Attributes:
        either: (n, 2) chances to leave and to stay.
        acceptance: (n, A).
        alike: (n, e).
    """

    either: Floats
    acceptance: Floats
    alike: Floats

    @classmethod
    def of(cls, columns: Floats, risk: Floats, acceptance: Floats, leaves: Floats) -> OpenColumns:
        """From columns (n, p) of `EffectBasis`, risk (n,) and leaves (n, l)."""
        either = np.column_stack([risk, 1 - risk])
        alike = [either[:, :1] * columns[:, 1:], either[:, 1:] * columns[:, 1:], leaves]
        return cls(either, acceptance, np.concatenate(alike, axis=1))

    @property
    def alike_at(self) -> slice:
        """Where those stand that are alike for all arms."""
        return slice(MEANS * self.acceptance.shape[1], None)

    def own_at(self, arm: int) -> slice:
        """Where an arm's own stand."""
        return slice(MEANS * arm, MEANS * (arm + 1))

    def means(self, arm: int) -> Floats:
        """(n, 4) of an arm, as in the means and in its own."""
        return np.concatenate([self.either, self.acceptance[:, arm, None] * self.either], axis=1)

    def weighted(self, weights: Floats) -> Floats:
        """(n, d) the columns of every arm that contacts, times weights (n, A - 1), in sum."""
        accepted, n = weights * self.acceptance[:, 1:], len(weights)
        told = np.stack([weights, accepted], axis=2)[..., None] * self.either[:, None, None, :]
        total = weights.sum(axis=1, keepdims=True)
        return np.concatenate(
            [told.sum(axis=1).reshape(n, -1), told.reshape(n, -1), total * self.alike], axis=1
        )

    def moments(self, mean: NDArray[np.floating[Any]], covariance: NDArray[np.floating[Any]]) -> float:
        """Mean square, over customers and arms, of effects by coefficients (d,) with a covariance (d, d)."""
        alike, found = np.arange(covariance.shape[0])[self.alike_at], 0.0
        for arm in range(1, self.acceptance.shape[1]):
            own = np.arange(covariance.shape[0])[self.own_at(arm)]
            at, means = np.concatenate([np.arange(MEANS), own, alike]), self.means(arm)
            each = np.concatenate([means, means, self.alike], axis=1)
            spread = ((each @ covariance[np.ix_(at, at)]) * each).sum(axis=1)
            found += float(((each @ mean[at]) ** 2 + spread).mean())
        return float(found / (self.acceptance.shape[1] - 1))

    def squares(self) -> Floats:
        """(d,) means of their squares over customers and arms."""
        arms = range(1, self.acceptance.shape[1])
        own = np.stack([(self.means(arm) ** 2).mean(axis=0) for arm in arms]) / len(arms)
        return np.concatenate([own.sum(axis=0), own.ravel(), (self.alike**2).mean(axis=0)])


def open_width(arms: int, columns: int, parted: Boosted) -> int:
    """d, the number of `OpenColumns` of arms that contact and columns of the basis."""
    return _bounds(arms, columns - 1, parted.forest.values.size)[-1]


class Cells:
    """(n, 3 A - 3) cells of arm and third of the risk: 1 where the arm was logged, else 0, less its propensity.

    They are made for the rows that are asked for: of 100 arms all at once would be larger than the log.
    """

    def __init__(self, seen: LogRows) -> None:
        bounds = np.quantile(seen.risk, np.arange(1, SEGMENTS) / SEGMENTS)
        self._inside = np.searchsorted(bounds, seen.risk)[:, None] == np.arange(SEGMENTS)
        self._seen = seen

    def __getitem__(self, rows: slice | Ints) -> Floats:
        """(m, 3 A - 3) of m rows."""
        cells = self._seen.chances(rows)[:, :, None] * self._inside[rows, None, :]
        return np.asarray(cells.reshape(len(cells), cells.shape[1] * SEGMENTS))


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
    sample = _parts(parted, X, seen, some)
    squares = sample.squares()
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
        size = sample.moments(covariance @ moment, covariance)
    return given(size)


def _centred(parted: Boosted, X: Floats, seen: LogRows, rows: slice) -> Floats:
    """(m, d) the columns of the logged arm less their mean over the arms."""
    return _parts(parted, X, seen, rows).weighted(seen.chances(rows))


def _parts(parted: Boosted, X: Floats, seen: LogRows, rows: slice) -> OpenColumns:
    return OpenColumns.of(seen.columns[rows], seen.risk[rows], seen.acceptance[rows], parted.leaves(X[rows]))


def _bounds(arms: int, features: int, leaves: int) -> list[int]:
    """Where blocks of columns begin and end: means, arms' own, features of would-be churners, of stayers, leaves."""
    widths = [MEANS, MEANS * arms, features, features, leaves]
    return [0, *np.cumsum(widths).tolist()]


def _slices(X: Floats) -> list[slice]:
    return [slice(start, start + ROWS) for start in range(0, len(X), ROWS)]

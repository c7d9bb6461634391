"""Risk, acceptance and effect as one evaluator over one grid: all that the models say of a customer, month by month.

The same for one customer and for many, to the last bit: tables, gates, off-policy evaluation and decisions all ask it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np

from churn_assets.customers.schema import CustomerSchema, FeatureSpec
from churn_assets.decision.incremental import PredictedResponses
from churn_assets.decision.process import Floats, Ints, RetentionProcess
from churn_assets.predictors.curves import Curves
from churn_assets.predictors.forest import BitWords, Forest
from churn_assets.predictors.grid import Grid, union
from churn_assets.predictors.probability import logistic
from churn_assets.risk.predictor import RiskPredictor, risk_of

if TYPE_CHECKING:
    from churn_assets.arms import Menu
    from churn_assets.response.accept import AcceptModel
    from churn_assets.response.effect import EffectModel
    from churn_assets.response.left_open import LeftOpen
    from churn_assets.response.predictor import AcceptPredictor, EffectPredictor


class RiskModelLike(Protocol):
    """P(churn within the label window) at the list price without contact, as the customer table has it."""

    @property
    def schema(self) -> CustomerSchema: ...

    @property
    def predictor(self) -> RiskPredictor: ...


class AcceptModelLike(Protocol):
    """P(accept) given the arm and the number of recent offers."""

    @property
    def schema(self) -> CustomerSchema: ...

    @property
    def predictor(self) -> AcceptPredictor: ...


class EffectModelLike(Protocol):
    """P(churn within the label window) without contact by the log, once each arm is accepted, once it is refused."""

    @property
    def schema(self) -> CustomerSchema: ...

    @property
    def predictor(self) -> EffectPredictor: ...

    def left_open(self, menu: Menu) -> LeftOpen | None: ...


@dataclass(frozen=True, eq=False)
class ResponseModels:
    """What customers do, by three models, under one process.

    Attributes:
        schema: The customers.
        process: Menu, horizon and step.
        grid: The customers' features in order, then recent offers, the arm's family where there are several, its size.
        risk: On that grid, as the others.
        accept: Acceptance.
        effect: What contact with the menu's arms does to churn.
        left_open: What the log leaves open about it; None where that was not kept.
    """

    schema: CustomerSchema
    process: RetentionProcess
    grid: Grid
    risk: RiskPredictor
    accept: AcceptPredictor
    effect: EffectPredictor
    left_open: LeftOpen | None = None

    @classmethod
    def of(
        cls,
        risk: RiskModelLike,
        accept: AcceptModelLike,
        effect: EffectModelLike,
        process: RetentionProcess,
    ) -> ResponseModels:
        """The models joined on one grid.

        Raises:
            ArmError: The menu has an arm of a family that the acceptance model never saw.
            ValueError: The models do not read the same features, in the same order and with the same categories.
        """
        others = {"accept_model": accept.schema, "effect_model": effect.schema}
        unlike = [each for name, schema in others.items() for each in _unlike(name, schema, risk.schema)]
        if unlike:
            raise ValueError("\n".join(unlike))
        parts = (risk.predictor, accept.predictor, effect.predictor.of(process.menu))
        grid = union([part.grid for part in parts])
        on_grid = parts[0].on(grid), parts[1].on(grid), parts[2].on(grid)
        joined = cls(risk.schema, process, grid, *on_grid, effect.left_open(process.menu))
        joined._offered  # noqa: B018 - refused here, not at the first customer
        return joined

    @classmethod
    def drawn(
        cls, risk: RiskModelLike, accept: AcceptModel, effect: EffectModel, process: RetentionProcess
    ) -> list[ResponseModels]:
        """As many as the acceptance and the effect model say that the log leaves possible; perhaps none."""
        count = min(len(accept.draws), effect.n_draws)
        return [cls.of(risk, accept.drawn(m), effect.drawn(m), process) for m in range(count)]

    def responses(self, X: Floats, prior: Floats, again_steps: int | None = None) -> PredictedResponses:
        """What the models say of customers at every step.

        Args:
            X: (n, F) design matrix, NaN for a blank.
            prior: (n,) other offers in the recent window before the first step; they expire as it moves on.
            again_steps: Steps for which acceptance after a recent contact is wanted; None: all.
        """
        months = _Months.of(self.grid, self._still, self.schema.tenure_index, X, self._months)
        left = np.bitwise_and.reduce(self._reachable.take(months.fixed, axis=0), axis=1)
        of_churn = self._churn.values.shape[0]
        lines = months.added(self._curves)
        trees = np.ascontiguousarray(months.spread(self._churn, left[:, :of_churn], self._sums).T)
        spline = () if self.risk.spline is None else (lines[0],)
        boosting = () if self.risk.boosting is None else (trees[0],)
        # Customers last: what is computed of neighbours in memory costs least.
        risk, accepted, refused = (
            each.T
            for each in self.effect.combined(
                risk_of([*spline, *boosting]), lines[len(spline) :], trees[-1]
            )
        )
        carried, left = prior[:, None] * self._carried, left[:, of_churn:]
        acceptance = self._acceptance(months, left, carried)
        steps = len(self._months) if again_steps is None else again_steps
        again = (
            self._acceptance(months.first(steps), left, carried[:, :steps] + 1.0)
            if steps
            else acceptance[:, :0]
        )
        return PredictedResponses(X[:, self._price], risk, accepted, refused, acceptance, again)

    def _sums(self, leaves: BitWords, _: Ints | slice) -> Floats:
        """(m, trees) leaves -> (m, 1 or 2) of the risk's boosting, if any, and of what any contact does."""
        terms, first = self._churn.terms(leaves), len(self._churn.values) - len(self.effect.boosted.values)
        found = self.effect.boosted.baseline + np.add.reduce(terms[:, first:], axis=-1)
        if self.risk.boosting is None:
            return np.asarray(found[:, None])
        return np.stack(
            [self.risk.boosting.baseline + np.add.reduce(terms[:, :first], axis=-1), found], axis=-1
        )

    def _acceptance(self, months: _Months, left: BitWords, recent: Floats) -> Floats:
        """(n, steps, K - 1) by leaves (n, trees) that customers leave and (n, steps) recent offers."""
        forest = self.accept.forest
        cells = self.grid.cells_of(self.accept.features, recent)

        def accepted(leaves: BitWords, places: Ints | slice) -> Floats:
            again = forest.reachable.take(cells.reshape(-1)[places], axis=0)
            return logistic(forest.total((leaves & again)[:, None] & self._offered))

        return months.spread(forest, left, accepted, cells)

    @cached_property
    def _churn(self) -> Forest:
        """The trees of the risk, if any, then those of what any contact does."""
        boosting = () if self.risk.boosting is None else (self.risk.boosting,)
        return Forest.joined([*boosting, self.effect.boosted])

    @cached_property
    def _reachable(self) -> BitWords:
        """(cells, trees) of all trees: of churn, then of acceptance."""
        return np.concatenate([self._churn.reachable, self.accept.forest.reachable], axis=1)

    @cached_property
    def _curves(self) -> Curves:
        """The spline of the risk, if any, then those of the effect."""
        return Curves.joined([*(() if self.risk.spline is None else (self.risk.spline,)), self.effect.curves])

    @cached_property
    def _months(self) -> Ints:
        """(T,) months since the first step."""
        return np.arange(self.process.horizon) * self.process.step_months

    @cached_property
    def _carried(self) -> Floats:
        """(T,) 1 while offers before the first step are recent."""
        return (self._months < self.process.recent_window_months).astype(np.float64)

    @cached_property
    def _offered(self) -> BitWords:
        """(K - 1, trees) leaves of the acceptance that each arm leaves."""
        return self.accept.leaves(*self.accept.codes(self.process.menu.arms[1:]))

    @cached_property
    def _still(self) -> Ints:
        """Features that do not change with time."""
        return np.array([i for i in range(len(self.schema.features)) if i != self.schema.tenure_index])

    @cached_property
    def _price(self) -> int:
        return self.schema.names.index(self.schema.monthly_revenue)


@dataclass(frozen=True, eq=False)
class _Months:
    """n customers month by month: only their tenure moves, and most trees do not notice every month.

    Attributes:
        fixed: (n, f) cells of the features that do not change.
        tenure: (n, T) cells of the tenure; None where nobody ages.
        within: (n, f + T or f) how far into both.
        shape: n, T.
    """

    fixed: Ints
    tenure: Ints | None
    within: Floats
    shape: tuple[int, int]

    @classmethod
    def of(cls, grid: Grid, still: Ints, tenure: int | None, X: Floats, months: Ints) -> _Months:
        fixed, values = grid.cells(X).take(still, axis=1), np.where(np.isnan(X), 0.0, X).take(still, axis=1)
        shape = (len(X), len(months))
        if tenure is None:
            return cls(fixed, None, grid.within(fixed, values), shape)
        later = X[:, tenure, None] + months
        cells = grid.cells_of(tenure, later)
        places, values = np.concatenate([fixed, cells], axis=1), np.concatenate([values, later], axis=1)
        return cls(fixed, cells, grid.within(places, values), shape)

    def first(self, steps: int) -> _Months:
        """The first steps alone."""
        tenure = None if self.tenure is None else self.tenure[:, :steps]
        return replace(self, tenure=tenure, shape=(self.shape[0], steps))

    def spread(
        self,
        forest: Forest,
        left: BitWords,
        evaluate: Callable[[BitWords, Ints | slice], Floats],
        others: Ints | None = None,
    ) -> Floats:
        """(n, T, …) an evaluation of leaves, made once for months in a row that leave the same.

        Args:
            forest: Whose leaves.
            left: (n, trees) leaves that the customers leave by what does not change.
            evaluate: (m, trees) leaves and their (m,) places in (n · T) to (m, …).
            others: (n, T) further cells that may change by the month.
        """
        if len(left) == 1 and self.tenure is not None:
            # Of a single customer all months cost less than to find out which are alike.
            return evaluate(left & forest.reachable.take(self.tenure[0], axis=0), _ALL)[None]
        new = np.zeros(self.shape, bool)
        new[:, 0] = True
        if self.tenure is not None:
            alike = forest.alike.take(self.tenure)
            new[:, 1:] |= alike[:, 1:] != alike[:, :-1]
        if others is not None:
            new[:, 1:] |= others[:, 1:] != others[:, :-1]
        places = new.reshape(-1).nonzero()[0]
        leaves = left.take(places // self.shape[1], axis=0)
        if self.tenure is not None:
            leaves &= forest.reachable.take(self.tenure.reshape(-1).take(places), axis=0)
        found = evaluate(leaves, places)
        spread = found.take(new.reshape(-1).cumsum() - 1, axis=0)
        return spread.reshape(*self.shape, *found.shape[1:])

    def added(self, curves: Curves) -> Floats:
        """(r, T, n) totals of curves."""
        if self.tenure is None:
            total = curves.total(self.fixed, self.within).T
            return np.broadcast_to(total[:, None], (len(total), *self.shape[::-1]))
        found = curves.at(np.concatenate([self.fixed, self.tenure], axis=1), self.within)
        still = self.fixed.shape[1]
        return np.asarray(curves.summed(found[:, :still]).T[:, None] + np.ascontiguousarray(found[:, still:].T))


_ALL = slice(None)


def _unlike(model: str, schema: CustomerSchema, expected: CustomerSchema) -> list[str]:
    """What a model reads otherwise than the risk model, a line each."""
    if schema.names != expected.names:
        return [
            f"{model}: found features {', '.join(schema.names)}, expected risk_model's {', '.join(expected.names)}"
        ]
    return [
        f"{model}: feature {ours.name!r}: found {_values(ours)}, expected risk_model's {_values(theirs)}"
        for ours, theirs in zip(schema.features, expected.features, strict=True)
        if ours.categories != theirs.categories or ours.kind != theirs.kind
    ]


def _values(feature: FeatureSpec) -> str:
    return "numbers" if feature.kind == "numeric" else f"one of {', '.join(feature.categories)}"

"""Risk, acceptance and effect as one evaluator over one grid: all that the models say of a customer, month by month.

The same for one customer and for many, to the last bit: tables, gates, off-policy evaluation and decisions all ask it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np

from churn_assets.customers.schema import CustomerSchema, FeatureSpec
from churn_assets.decision.incremental import PredictedResponses
from churn_assets.decision.process import Floats, Ints, RetentionProcess
from churn_assets.predictors.curves import Curves
from churn_assets.predictors.forest import Along, BitWords, Forest
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
        months = _Months.of(self.grid, self._still, self._curved, self.schema.tenure_index, X, self._months)
        left = np.bitwise_and.reduce(self._reachable.take(months.fixed, axis=0), axis=1)
        *risk_trees, effect_trees, accept_trees = np.split(left, self._ends, axis=1)
        *boosting, boosted = (
            months.spread(along, along.totals(leaves))
            for along, leaves in zip(self._churn, [*risk_trees, effect_trees], strict=True)
        )
        lines = months.added(self._curves)
        spline = [] if self.risk.spline is None else [lines[0]]
        found = self.effect.combined(risk_of([*spline, *boosting]), lines[len(spline) :], boosted)
        risk, accepted, refused = (each.T for each in found)
        carried = prior[:, None] * self._carried
        acceptance = self._acceptance(months, accept_trees, carried)
        steps = len(self._months) if again_steps is None else again_steps
        again = (
            self._acceptance(months.first(steps), accept_trees, carried[:, :steps] + 1.0)
            if steps
            else acceptance[:, :0]
        )
        return PredictedResponses(X[:, self._price], risk, accepted, refused, acceptance, again)

    def _acceptance(self, months: _Months, left: BitWords, recent: Floats) -> Floats:
        """(n, steps, K - 1) by leaves (n, trees) that customers leave and (n, steps) recent offers."""
        along, cells = self._accepting, self.grid.cells_of(self.accept.features, recent)
        new = np.ones(cells.shape, bool)
        new[:, 1:] = cells[:, 1:] != cells[:, :-1]
        customer, step = new.nonzero()
        again = self.accept.forest.reachable.take(cells[customer, step], axis=0)
        accepted = logistic(along.totals((left.take(customer, axis=0) & again)[:, None] & self._offered))
        return months.spread(along, accepted, new.cumsum().reshape(new.shape) - 1).T

    @cached_property
    def _forests(self) -> list[Forest]:
        """Of the risk, if any, of what any contact does, and of acceptance."""
        boosting = [] if self.risk.boosting is None else [self.risk.boosting]
        return [*boosting, self.effect.boosted, self.accept.forest]

    @cached_property
    def _reachable(self) -> BitWords:
        """(cells, trees) of all forests."""
        return np.concatenate([each.reachable for each in self._forests], axis=1)

    @cached_property
    def _ends(self) -> Ints:
        """Where each forest but the last ends among all trees."""
        return np.cumsum([len(each.values) for each in self._forests])[:-1]

    @cached_property
    def _churn(self) -> list[Along]:
        """The forests of churn by tenure."""
        return [self._by_tenure(each) for each in self._forests[:-1]]

    @cached_property
    def _accepting(self) -> Along:
        """Acceptance by tenure."""
        return self._by_tenure(self.accept.forest)

    def _by_tenure(self, forest: Forest) -> Along:
        """By the cells of the tenure, which is never blank; by a single one where nobody ages."""
        tenure, starts = self.schema.tenure_index, self.grid.starts
        if tenure is None:
            return Along.of(forest, np.bitwise_or.reduce(forest.reachable, axis=0)[None])
        return Along.of(forest, forest.reachable[starts[tenure] : starts[tenure + 1] - 1])

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
    def _curved(self) -> Ints:
        """Which of those are numbers."""
        return np.flatnonzero(np.array(self.grid.levels).take(self._still) == 0)

    @cached_property
    def _price(self) -> int:
        return self.schema.names.index(self.schema.monthly_revenue)


@dataclass(frozen=True, eq=False)
class _Months:
    """n customers month by month: only their tenure moves, and many are of one age; A ages.

    Attributes:
        fixed: (n, f) cells of the features that do not change.
        curved: (c,) which of them are numbers: curves are constant within the cell of a category.
        within: (n, c) how far into the cells of those.
        age: (n,) which of the ages.
        tenure: (A, T) cells of the tenure, counted from its first; 0 where nobody ages.
        grown: (A, T) cells of the tenure as of the grid, and how far into them; None where nobody ages.
    """

    fixed: Ints
    curved: Ints
    within: Floats
    age: Ints
    tenure: Ints
    grown: tuple[Ints, Floats] | None

    @classmethod
    def of(
        cls, grid: Grid, still: Ints, curved: Ints, tenure: int | None, X: Floats, months: Ints
    ) -> _Months:
        fixed, values = grid.cells(X).take(still, axis=1), X.take(still.take(curved), axis=1)
        within = grid.within(fixed.take(curved, axis=1), np.where(np.isnan(values), 0.0, values))
        if tenure is None:
            nobody = np.zeros(len(X), np.int64), np.zeros((1, len(months)), np.int64)
            return cls(fixed, curved, within, *nobody, None)
        ages, age = X[:, tenure], np.zeros(1, np.int64)
        if len(X) > 1:
            ages, age = np.unique(ages, return_inverse=True)
        later = ages[:, None] + months
        cells = grid.cells_of(tenure, later)
        grown = cells, grid.within(cells, later)
        return cls(fixed, curved, within, age, cells - grid.starts[tenure], grown)

    def first(self, steps: int) -> _Months:
        """The first steps alone, of what trees say."""
        return replace(self, tenure=self.tenure[:, :steps], grown=None)

    def spread(self, along: Along, totals: Floats, row: Ints | None = None) -> Floats:
        """(…, T, n) what a forest by tenure says of every month.

        Args:
            along: The forest.
            totals: (m, …, places) of its sums.
            row: (n, T) which of them; None: a customer each.
        """
        place = along.place.take(self.tenure.T).take(self.age, axis=1)
        which = np.arange(len(self.age)) if row is None else row.T
        width = totals.shape[-1]
        if totals.ndim == 2:
            return np.asarray(totals.take(which * width + place))
        others = totals.shape[1]
        return np.asarray(
            totals.take(which * (others * width) + place + (np.arange(others) * width)[:, None, None])
        )

    def added(self, curves: Curves) -> Floats:
        """(r, T, n) totals of curves."""
        found, some = curves.coefficients[0].take(self.fixed, axis=0), self.curved
        found[:, some] = curves.at(self.fixed[:, some], self.within)
        still = curves.summed(found).T[:, None]
        if self.grown is None:
            return np.broadcast_to(still, (len(still), self.tenure.shape[1], len(self.age)))
        aged = np.ascontiguousarray(curves.at(*self.grown).T).take(self.age, axis=2)
        aged += still
        return aged


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

"""Risk, acceptance and effect as one evaluator over one grid: all that the models say of a customer, month by month.

The same for one customer and for many, to the last bit: tables, gates, off-policy evaluation and decisions all ask it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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
    from churn_assets.response.accept import AcceptModel
    from churn_assets.response.effect import EffectModel
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
    """

    schema: CustomerSchema
    process: RetentionProcess
    grid: Grid
    risk: RiskPredictor
    accept: AcceptPredictor
    effect: EffectPredictor

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
        joined = cls(risk.schema, process, grid, parts[0].on(grid), parts[1].on(grid), parts[2].on(grid))
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
        grid, shape = self.grid, (len(X), self.process.horizon)
        cells = grid.cells(X)
        within = grid.within(cells, np.where(np.isnan(X), 0.0, X))
        fixed, fixed_within = cells[:, self._still], within[:, self._still]
        months = _Months.of(grid, self.schema.tenure_index, X, self._months)

        def total(forest: Forest) -> Floats:
            return months.spread(forest, forest.left_by(fixed), lambda leaves, _: forest.total(leaves))

        def lines(curves: Curves) -> Floats:
            return months.added(curves, curves.total(fixed, fixed_within))

        scored = np.broadcast_to(self._risk(total, lines), shape)
        risk, accepted, refused = self.effect.combined(
            scored, lines(self.effect.curves), total(self.effect.boosted)
        )
        forest = self.accept.forest
        left = forest.left_by(fixed)
        carried = prior[:, None] * self._carried
        acceptance, again = (
            self._acceptance(months.first(steps), left, carried[:, :steps] + own)
            for own, steps in ((0.0, shape[1]), (1.0, shape[1] if again_steps is None else again_steps))
        )
        return PredictedResponses(X[:, self._price], risk, accepted, refused, acceptance, again)

    def _acceptance(self, months: _Months, left: BitWords, recent: Floats) -> Floats:
        """(n, steps, K - 1) by leaves (n, trees) that customers leave and (n, steps) recent offers."""
        forest = self.accept.forest
        cells = self.grid.cells_of(self.accept.features, recent)

        def accepted(leaves: BitWords, places: Ints) -> Floats:
            again = forest.reachable.take(cells.reshape(-1).take(places), axis=0)
            return logistic(forest.total((leaves & again)[:, None] & self._offered))

        return months.spread(forest, left, accepted, cells)

    def _risk(self, total: Callable[[Forest], Floats], lines: Callable[[Curves], Floats]) -> Floats:
        logits = []
        if self.risk.spline is not None:
            logits.append(lines(self.risk.spline)[..., 0])
        if self.risk.boosting is not None:
            logits.append(total(self.risk.boosting))
        return risk_of(logits)

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
        cells: (n, T) cells of the tenure; None where nobody ages.
        within: (n, T) how far into them.
        shape: n, T.
    """

    cells: Ints | None
    within: Floats | None
    shape: tuple[int, int]

    @classmethod
    def of(cls, grid: Grid, tenure: int | None, X: Floats, months: Ints) -> _Months:
        shape = (len(X), len(months))
        if tenure is None:
            return cls(None, None, shape)
        later = X[:, tenure, None] + months
        cells = grid.cells_of(tenure, later)
        return cls(cells, grid.within(cells, later), shape)

    def first(self, steps: int) -> _Months:
        """The first steps alone."""
        cells, within = self.cells, self.within
        if cells is None or within is None or steps == self.shape[1]:
            return self if steps == self.shape[1] else _Months(None, None, (self.shape[0], steps))
        return _Months(cells[:, :steps], within[:, :steps], (self.shape[0], steps))

    def spread(
        self,
        forest: Forest,
        left: BitWords,
        evaluate: Callable[[BitWords, Ints], Floats],
        others: Ints | None = None,
    ) -> Floats:
        """(n, T, …) an evaluation of leaves, made once for months in a row that leave the same.

        Args:
            forest: Whose leaves.
            left: (n, trees) leaves that the customers leave by what does not change.
            evaluate: (m, trees) leaves and their (m,) places in (n · T) to (m, …).
            others: (n, T) further cells that may change by the month.
        """
        new = np.zeros(self.shape, bool)
        new[:, 0] = True
        if self.cells is not None:
            alike = forest.alike.take(self.cells)
            new[:, 1:] |= alike[:, 1:] != alike[:, :-1]
        if others is not None:
            new[:, 1:] |= others[:, 1:] != others[:, :-1]
        places = new.reshape(-1).nonzero()[0]
        leaves = left.take(places // self.shape[1], axis=0)
        if self.cells is not None:
            leaves &= forest.reachable.take(self.cells.reshape(-1).take(places), axis=0)
        found = evaluate(leaves, places)
        spread = found.take(new.reshape(-1).cumsum() - 1, axis=0)
        return spread.reshape(*self.shape, *found.shape[1:])

    def added(self, curves: Curves, total: Floats) -> Floats:
        """(n, T or 1, r) totals (n, r) of what does not change, and what the tenure adds to them."""
        if self.cells is None or self.within is None:
            return total[:, None]
        return total[:, None] + curves.at(self.cells, self.within)


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

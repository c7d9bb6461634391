"""Risk, acceptance and effect as one evaluator over one grid: all that the models say of a customer, month by month.

The same for one customer and for many, to the last bit: tables, gates, off-policy evaluation and decisions all ask it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np

from churn_assets.customers.schema import CustomerSchema
from churn_assets.decision.incremental import Responses
from churn_assets.decision.process import Floats, Ints, RetentionProcess
from churn_assets.predictors.curves import Curves
from churn_assets.predictors.forest import Forest, Words
from churn_assets.predictors.grid import Grid, union
from churn_assets.predictors.probability import logistic
from churn_assets.risk.predictor import RiskPredictor, risk_of

if TYPE_CHECKING:
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
    def predictor(self) -> AcceptPredictor: ...


class EffectModelLike(Protocol):
    """P(churn within the label window) without contact by the offer log, after an accepted and a refused offer."""

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
        effect: What contact does to churn.
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
        """
        parts = (risk.predictor, accept.predictor, effect.predictor)
        grid = union([part.grid for part in parts])
        joined = cls(risk.schema, process, grid, parts[0].on(grid), parts[1].on(grid), parts[2].on(grid))
        joined._offered  # noqa: B018 - refused here, not at the first customer
        return joined

    def responses(self, X: Floats, prior: Floats) -> Responses:
        """What the models say of customers at every step.

        Args:
            X: (n, F) design matrix, NaN for a blank.
            prior: (n,) other offers in the recent window before the first step; they expire as it moves on.
        """
        grid, shape = self.grid, (len(X), self.process.horizon)
        cells = grid.cells(X)
        within = grid.within(cells, np.where(np.isnan(X), 0.0, X))
        months = self._months
        tenure, still = self.schema.tenure_index, self._still
        fixed, fixed_within = cells[:, still], within[:, still]
        if tenure is None:  # nobody ages: one month is like another
            ageing = aged = None
        else:
            later = X[:, tenure, None] + months
            ageing = grid.cells_of(tenure, later)
            aged = grid.within(ageing, later)

        def leaves(forest: Forest) -> Words:
            left = forest.left_by(fixed)[:, None]
            return left if ageing is None else left & forest.reachable.take(ageing, axis=0)

        def lines(curves: Curves) -> Floats:
            total = curves.total(fixed, fixed_within)[:, None]
            return total if ageing is None or aged is None else total + curves.at(ageing, aged)

        effect = self.effect
        scored = np.broadcast_to(self._risk(leaves, lines), shape)
        risk, accepted, refused = effect.combined(
            scored, lines(effect.curves), effect.size.total(leaves(effect.size))
        )
        recent = (prior[:, None] * self._carried)[:, :, None] + np.arange(2.0)
        forest = self.accept.forest
        reached = leaves(forest)[:, :, None] & forest.reachable.take(
            grid.cells_of(self.accept.features, recent), axis=0
        )
        acceptance = logistic(forest.total(reached[:, :, :, None] & self._offered))
        return Responses(X[:, self._price], risk, accepted, refused, acceptance)

    def _risk(self, leaves: Callable[[Forest], Words], lines: Callable[[Curves], Floats]) -> Floats:
        logits = []
        if self.risk.spline is not None:
            logits.append(lines(self.risk.spline)[..., 0])
        if self.risk.boosting is not None:
            logits.append(self.risk.boosting.total(leaves(self.risk.boosting)))
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
    def _offered(self) -> Words:
        """(K - 1, trees) leaves of the acceptance that each arm leaves."""
        return self.accept.leaves(*self.accept.codes(self.process.menu.arms[1:]))

    @cached_property
    def _still(self) -> Ints:
        """Features that do not change with time."""
        return np.array([i for i in range(len(self.schema.features)) if i != self.schema.tenure_index])

    @cached_property
    def _price(self) -> int:
        return self.schema.names.index(self.schema.monthly_revenue)

"""A release without an offer model: who is likely to leave, and what drives it. It offers nothing to anybody."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from churn_assets.arms import NO_CONTACT, Menu
from churn_assets.customers.features import RowEncoder, far_outside
from churn_assets.customers.schema import CustomerSchema
from churn_assets.deciding.decider import (
    NO_ROLLOUT,
    ArmOutlook,
    Budget,
    CustomerError,
    CustomerInput,
    Decider,
    Decision,
    Driver,
    Rollout,
    encoded_row,
)
from churn_assets.deciding.release_models import ReleaseModels, canonical
from churn_assets.decision.process import Floats
from churn_assets.risk.predictor import RiskPredictor

RISK_ONLY = "risk_model"
"""What such a release's answers name as their policy."""
MOST_DRIVERS = 3
LEAST_DRIVER = 0.005
"""Change of a risk below which nobody would call a feature its driver."""


@dataclass(frozen=True, eq=False)
class RiskModels:
    """All that telling the risk needs.

    Attributes:
        schema: The customers it is for.
        predictor: Of the risk.
        typical: (F,) the median of a number, the commonest code of a category: what drivers are told against.
    """

    schema: CustomerSchema
    predictor: RiskPredictor
    typical: Floats

    @classmethod
    def build(cls, schema: CustomerSchema, predictor: RiskPredictor, X: Floats) -> RiskModels:
        """The models of a release that knows the customers of a design matrix (n, F)."""
        columns = zip(schema.features, canonical(X).T, strict=True)
        typical = [_typical(column, number=feature.kind == "numeric") for feature, column in columns]
        return cls(schema, predictor, np.array(typical, np.float64))

    def risk(self, X: Floats) -> Floats:
        """(n,) P(churn within the label window) of customers (n, F)."""
        return self.predictor.predict(canonical(X))

    def drivers(self, X: Floats) -> list[tuple[Driver, ...]]:
        """What sets each of n customers (n, F) apart, the strongest first.

        A driver's change is the risk less what it would be if that feature alone were typical: what the model says, not
        what would happen if somebody changed it.
        """
        rows, (n, width) = canonical(X), X.shape
        other = np.repeat(rows, width, axis=0)
        place = np.tile(np.arange(width), n)
        other[np.arange(n * width), place] = self.typical[place]
        change = self.risk(rows)[:, None] - self.risk(other).reshape(n, width)
        order = np.argsort(-np.abs(change), axis=1, kind="stable")[:, :MOST_DRIVERS]
        names = self.schema.names
        return [
            tuple(Driver(names[j], by) for j in strongest if abs(by := float(change[i, j])) >= LEAST_DRIVER)
            for i, strongest in enumerate(order.tolist())
        ]


def _typical(column: Floats, *, number: bool) -> float:
    known = column[~np.isnan(column)]
    if not len(known):
        return math.nan
    if number:
        return float(np.median(known))
    codes, counts = np.unique(known, return_counts=True)
    return float(codes[counts.argmax()])


class RisksForeseen(NamedTuple):
    """What the risk model says of m customers.

    Attributes:
        risks: m.
        drivers: m.
        known: m times false: nothing was tabled.
    """

    risks: list[float]
    drivers: list[tuple[Driver, ...]]
    known: list[bool]


class RiskDecider:
    """Tells the risk with one release and decides no contact; immutable, so any number of threads may ask.

    Args:
        models: What the release knows.
        release: Its name, for answers.
    """

    policy = RISK_ONLY
    process = None

    def __init__(self, models: RiskModels, release: str) -> None:
        self.models, self.release = models, release
        self.schema = models.schema
        self.menu = Menu((NO_CONTACT,))
        self.window_months: float = models.schema.label_window_months
        self._encoder = RowEncoder(models.schema)

    def decide(
        self,
        batch: Sequence[CustomerInput],
        rollout: Rollout = NO_ROLLOUT,
        budget: Budget | None = None,  # noqa: ARG002 - nothing is spent
        foreseen: RisksForeseen | None = None,
    ) -> list[Decision]:
        """One decision a customer, in order: no contact, as no offer is known to pay.

        Args:
            batch: m customers.
            rollout: Its switch is told as who chose; its groups change nothing.
            budget: Not read.
            foreseen: As of `foresee`; None: not asked yet.

        Raises:
            CustomerError: A customer is not as the release's signature says; nothing was decided for anybody.
        """
        if not batch:
            return []
        risks, drivers, _ = self.foresee(batch, self.encoded(batch)) if foreseen is None else foreseen
        return [
            Decision(
                customer.customer_id,
                0,
                (ArmOutlook(NO_CONTACT, None, 0.0, risk, 0.0, 0.0, 0.0, 0.0, 1.0),),
                0.0,
                risk,
                0,
                "kill_switch" if rollout.kill_switch else "no_offer_model",
                known=False,
                delay_months=None,
                release=self.release,
                drivers=why,
            )
            for customer, risk, why in zip(batch, risks, drivers, strict=True)
        ]

    def foresee(self, batch: Sequence[CustomerInput], rows: Floats) -> RisksForeseen:
        """What the model says of m customers with rows (m, F), as of `encoded`."""
        return RisksForeseen(self.models.risk(rows).tolist(), self.models.drivers(rows), [False] * len(batch))

    def faults(self, batch: Sequence[CustomerInput]) -> dict[int, CustomerError]:
        """For whom nothing can be told, by position, and what is wrong first."""
        found = {}
        for index, customer in enumerate(batch):
            try:
                encoded_row(self._encoder, index, customer)
            except CustomerError as error:
                found[index] = error
        return found

    def outside(self, rows: Floats) -> dict[str, int]:
        """How many customers (m, F), as of `encoded`, lie far outside of what was learned, by feature."""
        return far_outside(rows, self.schema)

    def encoded(self, batch: Sequence[CustomerInput]) -> Floats:
        """(m, F) rows of the design matrix.

        Raises:
            CustomerError: A customer is not as the release's signature says.
        """
        return np.array([encoded_row(self._encoder, index, each) for index, each in enumerate(batch)])


DecidingModels = ReleaseModels | RiskModels
"""What a release decides with."""
AnyDecider = Decider | RiskDecider


def decider_of(models: DecidingModels, release: str) -> AnyDecider:
    """Who decides with a release of this name."""
    return Decider(models, release) if isinstance(models, ReleaseModels) else RiskDecider(models, release)


def risk_of_customers(models: DecidingModels, X: Floats) -> Floats:
    """(n,) P(churn within the label window) of customers (n, F), without contact."""
    if isinstance(models, ReleaseModels):
        return models.responses.risk.predict(canonical(X))
    return models.risk(X)

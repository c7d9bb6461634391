"""A release without an offer model: who is likely to leave, and what drives it.

It offers nothing to anybody, or lets the chance of a campaign decide, so that there will be a log.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from churn_assets.arms import NOTHING
from churn_assets.customers.features import RowEncoder, far_outside
from churn_assets.customers.schema import CustomerSchema
from churn_assets.deciding.chance import Bools, ServedCampaign, drawn
from churn_assets.deciding.decider import (
    NO_ROLLOUT,
    ArmOutlook,
    Assigned,
    Budget,
    CustomerError,
    CustomerInput,
    Decider,
    Decision,
    Driver,
    Rollout,
    Rule,
    encoded_row,
)
from churn_assets.deciding.reasons import Told
from churn_assets.deciding.release_models import ReleaseModels, canonical
from churn_assets.decision.process import Floats
from churn_assets.offers.eligibility import Eligibility
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
        campaign: By which chance decides; None: nobody is contacted.
    """

    schema: CustomerSchema
    predictor: RiskPredictor
    typical: Floats
    campaign: ServedCampaign | None = None

    @classmethod
    def build(
        cls,
        schema: CustomerSchema,
        predictor: RiskPredictor,
        X: Floats,
        campaign: ServedCampaign | None = None,
    ) -> RiskModels:
        """The models of a release that knows the customers of a design matrix (n, F)."""
        columns = zip(schema.features, canonical(X).T, strict=True)
        typical = [_typical(column, number=feature.kind == "numeric") for feature, column in columns]
        return cls(schema, predictor, np.array(typical, np.float64), campaign)

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


class CustomersForeseen(NamedTuple):
    """Customers to tell the risk of.

    Attributes:
        rows: (m, F) of the design matrix.
        known: m times false: nothing was tabled.
    """

    rows: Floats
    known: list[bool]


class RiskDecider:
    """Tells the risk with one release, and decides no contact or by chance; immutable, so any thread may ask.

    Args:
        models: What the release knows.
        release: Its name, for answers.
    """

    policy = RISK_ONLY
    process = None

    def __init__(self, models: RiskModels, release: str) -> None:
        self.models, self.release = models, release
        self.schema = models.schema
        campaign = models.campaign
        self.menu = NOTHING if campaign is None else campaign.shares.menu
        self.window_months: float = models.schema.label_window_months
        self.told = Told(self.window_months)
        self._encoder = RowEncoder(models.schema)
        self._eligibility = Eligibility.of(self.menu, models.schema)
        self._price = models.schema.names.index(models.schema.monthly_revenue)

    def decide(
        self,
        batch: Sequence[CustomerInput],
        rollout: Rollout = NO_ROLLOUT,
        budget: Budget | None = None,
        foreseen: CustomersForeseen | None = None,
    ) -> list[Decision]:
        """One decision a customer, in order: no contact, or what chance draws in the release's campaign.

        Of an arm nothing is known: its risk is that without contact, and it adds nothing. Whoever was contacted is not
        contacted again.

        Args:
            batch: m customers.
            rollout: Its key draws in a campaign, without one nobody is contacted; its switch is told as who chose; its
                groups change nothing.
            budget: A remainder is shared equally, so that what one customer gets depends on no other's draw.
            foreseen: As of `foresee`; None: not asked yet.

        Raises:
            CustomerError: A customer is not as the release's signature says; nothing was decided for anybody.
        """
        if not batch:
            return []
        rows, _ = self.foresee(batch, self.encoded(batch)) if foreseen is None else foreseen
        remaining = None if budget is None else budget.remaining
        costs = self._costs(rows)
        rules = [
            self._rules(customer, own, cost, math.inf if remaining is None else remaining / len(batch))
            for customer, own, cost in zip(batch, self._eligibility.allowed(rows), costs, strict=True)
        ]
        risks, drivers = self.models.risk(rows), self.models.drivers(rows)
        arms, chances, assigned = self._chosen([each.customer_id for each in batch], risks, rules, rollout)
        told = zip(batch, risks.tolist(), drivers, rules, arms, chances, costs, strict=True)
        return [
            Decision(
                customer.customer_id,
                arm,
                tuple(
                    ArmOutlook(each, rule, 0.0, risk, 0.0, 0.0, 0.0, 0.0, chance)
                    for each, rule, chance in zip(self.menu, forbidden, propensities, strict=True)
                ),
                float(cost[arm]),
                risk,
                0,
                assigned,
                known=False,
                delay_months=0 if arm else None,
                release=self.release,
                drivers=why,
            )
            for customer, risk, why, forbidden, arm, propensities, cost in told
        ]

    def foresee(self, batch: Sequence[CustomerInput], rows: Floats) -> CustomersForeseen:
        """What is known of m customers with rows (m, F), as of `encoded`, before they are decided for."""
        return CustomersForeseen(rows, [False] * len(batch))

    def _chosen(
        self, ids: list[str], risks: Floats, rules: list[tuple[Rule | None, ...]], rollout: Rollout
    ) -> tuple[list[int], list[list[float]], Assigned]:
        """The arm of each customer, the propensities of all arms, and who chose."""
        campaign = self.models.campaign
        if campaign is None or rollout.kill_switch or not rollout.key:
            nothing = [1.0, *[0.0] * (len(self.menu) - 1)]
            who: Assigned = "kill_switch" if rollout.kill_switch else "no_offer_model"
            return [0] * len(ids), [nothing] * len(ids), who
        allowed = np.array([[rule is None for rule in each] for each in rules])
        chances = campaign.shares.propensities(campaign.shares.stratum(risks), allowed)
        arms, _ = drawn(rollout.key, campaign.name, ids, chances)
        return arms.tolist(), chances.tolist(), "experiment"

    def _rules(
        self, customer: CustomerInput, own: Bools, cost: Floats, affordable: float
    ) -> tuple[Rule | None, ...]:
        """What forbids each arm now."""
        named = self.menu.ids if customer.eligible is None else customer.eligible
        whole: Rule | None = (
            "opted_out"
            if customer.opted_out
            else "cooldown"
            if customer.last_contact is not None
            else "cap_reached"
            if customer.offers_used
            else None
        )

        def rule(arm: int) -> Rule | None:
            if whole is not None:
                return whole
            if not own[arm] or self.menu.ids[arm] not in named:
                return "not_eligible"
            return None if cost[arm] <= affordable else "budget"

        return (None, *map(rule, range(1, len(self.menu))))

    def _costs(self, rows: Floats) -> Floats:
        """(m, K) the most that each arm can cost."""
        price = np.nan_to_num(rows[:, self._price])
        return self.menu.commitment(price) + self.menu.contact_cost

    def faults(self, batch: Sequence[CustomerInput]) -> dict[int, CustomerError]:
        """For whom nothing can be told, by position, and what is wrong first."""
        found = {}
        for index, customer in enumerate(batch):
            try:
                self._row(index, customer)
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
        return np.array([self._row(index, each) for index, each in enumerate(batch)])

    def _row(self, index: int, customer: CustomerInput) -> list[float]:
        for arm in customer.eligible or ():
            if arm not in self.menu.position:
                raise CustomerError(index, "eligible", f"{arm!r:.80}", f"one of {', '.join(self.menu.ids)}")
        return encoded_row(self._encoder, index, customer)


DecidingModels = ReleaseModels | RiskModels
"""What a release decides with."""
AnyDecider = Decider | RiskDecider


def decider_of(models: DecidingModels, release: str) -> AnyDecider:
    """Who decides with a release of this name."""
    return Decider(models, release) if isinstance(models, ReleaseModels) else RiskDecider(models, release)


def comparing_no_arms(models: DecidingModels) -> DecidingModels:
    """The same decisions at less cost, where nobody explores by a design that compares arms."""
    return models.comparing_no_arms if isinstance(models, ReleaseModels) else models


def risk_of_customers(models: DecidingModels, X: Floats) -> Floats:
    """(n,) P(churn within the label window) of customers (n, F), without contact."""
    if isinstance(models, ReleaseModels):
        return models.responses.risk.predict(canonical(X))
    return models.risk(X)

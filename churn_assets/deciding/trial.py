"""Two releases side by side: a keyed hash says whose policy a customer is left to; propensities are over that draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np

from churn_assets.customers.schema import not_understood
from churn_assets.deciding.columns import POLICY as BY_POLICY
from churn_assets.deciding.columns import DecisionColumns
from churn_assets.deciding.decider import (
    NO_ROLLOUT,
    Budget,
    CustomerInput,
    Decider,
    Decision,
    Rollout,
)
from churn_assets.deciding.release_models import Foreseen
from churn_assets.deciding.risk_only import AnyDecider
from churn_assets.decision.process import Bools

_NO_BUDGET = Budget()


class SideBySide(Decider):
    """The champion's decider, which leaves a share of those whom the policy decides for to a candidate.

    Holdout and exploration are as without a trial, and explore by the champion's values. Of the others, `share` go by
    the candidate: who does stays so while the share grows. The propensity of an arm is its probability over both draws,
    whichever release decided: the design's, not that of the release named. So rows of both are one log, from which any
    policy can be estimated (the balance heuristic of Veach & Guibas 1995; Agarwal and others 2017, KDD).

    Args:
        champion: Decides what the candidate does not.
        candidate: One that customers can be shared with, as of `cannot_share`.
        share: In [0, 1], of those whom neither holdout nor exploration takes.
        epoch: Of the draw, one for each trial: another trial draws other customers.
    """

    def __init__(self, champion: Decider, candidate: Decider, share: float, epoch: str) -> None:
        super().__init__(champion.models, champion.release)
        self.candidate, self.share, self.trial_epoch = candidate, share, epoch

    def decide(
        self,
        batch: Sequence[CustomerInput],
        rollout: Rollout = NO_ROLLOUT,
        budget: Budget = _NO_BUDGET,
        foreseen: Foreseen | None = None,
    ) -> list[Decision]:
        """As `Decider.decide`, each decision by one of the two releases, which it names.

        Within a budget that remains, customers depend on each other, and while offers are stopped there is nothing to
        compare: the champion decides for all then.
        """
        ours = super().decide(batch, rollout, budget, foreseen)
        if budget.remaining is not None or rollout.kill_switch or not rollout.key:
            return ours
        theirs = self.candidate.decide(batch, rollout, budget)
        draw = self.drawing(rollout).draw
        moved = self.moved(rollout)
        return [
            _mixed(our, their, moved, candidate=draw(our.customer_id)[0] < self.share)
            for our, their in zip(ours, theirs, strict=True)
        ]

    def moved(self, rollout: Rollout) -> float:
        """Probability that a customer goes by the candidate."""
        return self.share * (1.0 - rollout.holdout_share - rollout.exploration_share)

    def drawing(self, rollout: Rollout) -> Rollout:
        """What draws who goes by it: the first number of a customer, below the share."""
        return replace(rollout, epoch=f"{rollout.epoch}/{self.trial_epoch}")

    def mixed(
        self, ours: DecisionColumns, theirs: DecisionColumns, ids: Sequence[str], rollout: Rollout
    ) -> tuple[DecisionColumns, Bools]:
        """As `decide`, of what both decided for m customers as columns; and (m,) who goes by the candidate.

        Args:
            ours: By the champion.
            theirs: By the candidate.
            ids: m, as text.
            rollout: As both were asked with; its key draws.
        """
        if not rollout.key:
            raise ValueError("rollout: found no key, expected the secret that a trial is drawn with")
        draw, rows = self.drawing(rollout).draw, np.arange(len(ours))
        alike = (ours.forbidden == theirs.forbidden).all(1)
        moved = np.where(alike, self.moved(rollout), 0.0)
        propensities = ours.propensities.copy()
        propensities[rows, ours.policy_arm] -= moved
        propensities[rows, theirs.policy_arm] += moved
        drawn = np.array([draw(each)[0] < self.share for each in ids], dtype=bool)
        goes: Bools = alike & (ours.assigned == BY_POLICY) & drawn
        chosen = {each.name: _where(goes, theirs, ours, each.name) for each in fields(DecisionColumns)}
        return DecisionColumns(**(chosen | {"propensities": propensities})), goes


def _where(goes: Bools, theirs: DecisionColumns, ours: DecisionColumns, name: str) -> Any:
    """A column, of the candidate's rows and the champion's."""
    mine, other = getattr(ours, name), getattr(theirs, name)
    return np.where(goes if mine.ndim == 1 else goes[:, None], other, mine)


def _mixed(ours: Decision, theirs: Decision, moved: float, *, candidate: bool) -> Decision:
    """One of two decisions about a customer, with the propensities of the draw between them.

    Where the releases forbid other arms, which depends on the customer alone, the champion decides for certain.
    """
    if [each.forbidden for each in ours.arms] != [each.forbidden for each in theirs.arms]:
        return ours
    propensities = list(ours.propensities)
    propensities[ours.policy_arm] -= moved
    propensities[theirs.policy_arm] += moved
    decided = theirs if candidate and ours.assigned == "policy" else ours
    arms = zip(decided.arms, propensities, strict=True)
    return decided._replace(arms=tuple(arm._replace(propensity=propensity) for arm, propensity in arms))


def cannot_share(champion: AnyDecider, candidate: AnyDecider) -> str:
    """Why customers cannot be shared between two releases; empty where they can."""
    if not (isinstance(champion, Decider) and isinstance(candidate, Decider)):
        return "a release that knows the risk alone decides by its own campaign, not in a trial"
    if problem := not_understood(champion.schema, candidate.schema):
        return problem
    differing = _unlike(champion, candidate)
    return (
        f"differs from {champion.release} in {', '.join(differing)}; a trial needs them alike"
        if differing
        else ""
    )


def _unlike(champion: Decider, candidate: Decider) -> list[str]:
    ours, theirs = champion.process, candidate.process
    pairs = {
        "price": (champion.schema.monthly_revenue, candidate.schema.monthly_revenue),
        "tenure": (champion.schema.tenure, candidate.schema.tenure),
        "label_window_months": (champion.schema.label_window_months, candidate.schema.label_window_months),
        "menu": (list(champion.menu), list(candidate.menu)),
        "max_offers": (ours.max_offers, theirs.max_offers),
        "cooldown_months": (ours.cooldown_months, theirs.cooldown_months),
        "window_months": (ours.window_months, theirs.window_months),
        "value_horizon_months": (ours.value_horizon_months, theirs.value_horizon_months),
    }
    return [name for name, (mine, other) in pairs.items() if mine != other]

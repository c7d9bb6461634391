"""What a rollout will cost and how exactly it will tell, before it begins. Pure; decides nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from churn_assets.deciding.decider import Decision

DIFFERS = 0.25
"""Share of customers for whom a candidate decides otherwise than the champion: 23 to 31 % in the demo world's loop."""


@dataclass(frozen=True)
class RolloutPlan:
    """What is expected of a rollout, in money a decision.

    Attributes:
        policy: What the policy adds over no contact where everybody is left to it, by the release's own models.
        served: The same as served: with those who are held out or explore.
        standard_error: Of what a candidate earns over the policy, see `rollout_plan`; infinite where nothing tells.
    """

    policy: float
    served: float
    standard_error: float

    @property
    def cost(self) -> float:
        """What holding out and exploring is expected to cost."""
        return self.policy - self.served


def rollout_plan(decisions: Sequence[Decision], worth: NDArray[np.float64], wave: int) -> RolloutPlan:
    """What to expect of the propensities of these decisions.

    The standard error is of a candidate that prefers the second most valuable arm of each customer, for `DIFFERS` of
    them: the variance of a decision's paired difference is ``w² r (1 - r) (1 / p_1 + 1 / p_2)`` there and 0 elsewhere,
    with the risk r, the worth w of a customer who stays and the propensities of both arms; what arms change of it is
    left out, so it is a little too large.

    Args:
        decisions: n, under the rollout.
        worth: (n,) what a customer who stays is worth, in money.
        wave: Decisions after which it is told.
    """
    values = np.array([[arm.expected_value for arm in each.arms] for each in decisions])
    allowed = np.array([[arm.forbidden is None for arm in each.arms] for each in decisions])
    chances = np.array([each.propensities for each in decisions])
    rows, first = np.arange(len(decisions)), np.array([each.policy_arm for each in decisions])
    others = np.where(allowed, values, -np.inf)
    others[rows, first] = -np.inf
    second = others.argmax(axis=1)
    free = np.isfinite(others[rows, second])
    risk = np.array([each.risk for each in decisions])
    with np.errstate(divide="ignore"):
        spread = worth**2 * risk * (1 - risk) * (1 / chances[rows, first] + 1 / chances[rows, second])
    variance = DIFFERS * float(spread[free].mean()) if free.any() else math.inf
    return RolloutPlan(
        policy=float(values[rows, first].mean()),
        served=float((chances * values).sum(axis=1).mean()),
        standard_error=math.sqrt(variance / wave),
    )

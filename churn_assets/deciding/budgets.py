"""Decisions within several limits: what the policy wants is weighed against shadow prices, and what does not fit stops.

The policy stays who decides. Whom it leaves alone stays alone; an arm that it does not prefer is worth at most what the
preferred one is. Of the arms of a customer those stop (rule `budget`) that would use more of a limit than the arm that
the limits leave them, so that whatever is drawn among the others, by holdout or exploration, keeps every limit too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from churn_assets.deciding.columns import BUDGET, CAP_REACHED, DecisionColumns
from churn_assets.deciding.decider import CustomerInput, Decider, Decision, Rule
from churn_assets.deciding.release_models import Foreseen
from churn_assets.decision.knapsack import (
    Allocation,
    Knapsacks,
    SharedProblem,
    allocate,
    filled,
    fitting,
    preferred_at,
)
from churn_assets.decision.limits import Limits
from churn_assets.decision.process import Bools, Floats, Ints

Stops = Mapping[str, Rule]
"""Arms that a customer may not get, each with the rule."""
SECOND_BEST = 1 - 1e-9
"""Of the value of the preferred arm: the most that another one counts."""
_LEAST = 1e-9
_ROWS = 1 << 14


class BudgetUse(NamedTuple):
    """How one limit stands.

    Attributes:
        name: Of the limit.
        unit: `money` or `contacts`.
        most: Of the period.
        used: Of it, these decisions among it.
        now: What these decisions might use: their part of what was left.
        decided: What they use.
        shadow_price: What another unit would bring.
    """

    name: str
    unit: str
    most: float
    used: float
    now: float
    decided: float
    shadow_price: float


@dataclass(frozen=True, eq=False)
class Wishes:
    """What the policy wants for n customers, as limits see it.

    Attributes:
        value: (n, K) what each arm counts; -inf where a rule or a cap forbids it.
        cost: (n, K) the most that it can cost.
        covered: (n, J) which limits a customer draws on.
        capped: n, arms that a customer's own cap stops.
    """

    value: Floats
    cost: Floats
    covered: Bools
    capped: Sequence[Stops]

    def within(self, limits: Limits, most: Floats) -> Knapsacks:
        """The problem of keeping the limits at (J,) amounts."""
        return Knapsacks.of(self.value, self.cost, most, limits.contacts, limits.arms, self.covered)

    @classmethod
    def join(cls, parts: Sequence[Wishes]) -> Wishes:
        """Several batches as one; at least one."""
        value, cost, covered = (
            np.concatenate([getattr(each, name) for each in parts]) for name in ("value", "cost", "covered")
        )
        return cls(value, cost, covered, [each for part in parts for each in part.capped])


def wanted(
    decider: Decider, batch: Sequence[CustomerInput], rows: Floats, foreseen: Foreseen, limits: Limits
) -> Wishes:
    """What the policy would do if there were no limit, and what else it could do.

    Args:
        decider: Of the release.
        batch: m customers.
        rows: (m, F) of them, as of `encoded`.
        foreseen: What the models say of them.
        limits: For the decider's menu.
    """
    cost = np.where(np.arange(len(decider.menu)) > 0, foreseen.outlooks["cost"], 0.0)
    capped = _capped(decider, batch, cost, limits)
    able = [
        replace(each, stopped=stops) if stops else each for each, stops in zip(batch, capped, strict=True)
    ]
    decided = decider.decide(able, foreseen=foreseen)
    return Wishes(_counted(decided), cost, limits.covered(rows), capped)


def _capped(decider: Decider, batch: Sequence[CustomerInput], cost: Floats, limits: Limits) -> list[Stops]:
    """What each customer's own cap stops."""
    ids, cap = decider.menu.ids, limits.cap
    pressed = [
        cap.most_contacts is not None and each.offers_used + each.prior_offers >= cap.most_contacts
        for each in batch
    ]
    dear = np.zeros(cost.shape, bool) if cap.most_cost is None else cost > cap.most_cost
    return [
        dict.fromkeys(ids[1:], "cap_reached")
        if full
        else {ids[arm]: "budget" for arm in np.flatnonzero(over).tolist()}
        for full, over in zip(pressed, dear, strict=True)
    ]


def _counted(decided: Sequence[Decision]) -> Floats:
    """(m, K) what each arm counts for the limits."""
    value = np.array(
        [[-np.inf if arm.forbidden else arm.expected_value for arm in each.arms] for each in decided],
        np.float64,
    ).reshape(len(decided), -1)
    return _weighed(value, np.array([each.policy_arm for each in decided], np.int64))


def _weighed(value: Floats, chosen: Ints) -> Floats:
    """(m, K) the same of values, -inf where an arm is forbidden, and of the arms (m,) that the policy prefers."""
    everyone = np.arange(len(value))
    best = np.maximum(value[everyone, chosen], _LEAST)
    value = np.minimum(value, best[:, None] * SECOND_BEST)
    value[everyone, chosen] = best
    value[chosen == 0] = -np.inf
    value[:, 0] = 0.0
    return value


def capped_columns(prior_offers: Ints, cost: Floats, limits: Limits) -> Ints:
    """(m, K) codes of the rules by which the caps of m customers stop an arm, see `columns.RULES`; 0 where none does.

    Args:
        prior_offers: (m,) other offers in the recent window.
        cost: (m, K) the most that each arm can cost.
        limits: With the caps.
    """
    codes, cap = np.zeros(cost.shape, np.int64), limits.cap
    if cap.most_cost is not None:
        codes[cost > cap.most_cost] = BUDGET
    if cap.most_contacts is not None:
        codes[prior_offers >= cap.most_contacts] = CAP_REACHED
    codes[:, 0] = 0
    return codes


def counted_columns(decided: DecisionColumns) -> Floats:
    """(m, K) what each arm counts for the limits; -inf where a rule or a cap forbids it."""
    return _weighed(np.where(decided.forbidden > 0, -np.inf, decided.expected_value), decided.policy_arm)


class Granted(NamedTuple):
    """What the limits leave n customers.

    Attributes:
        stops: n, arms that each may not get.
        allocation: The arms that were weighed, with prices and bound.
    """

    stops: list[Stops]
    allocation: Allocation


def granted(decider: Decider, asked: Wishes, limits: Limits, most: Floats) -> Granted:
    """Share the limits out among customers who are all known.

    Args:
        decider: Of the release.
        asked: What is wanted.
        limits: That hold.
        most: (J,) that they may use now.
    """
    problem = asked.within(limits, most)
    found = allocate(problem)
    return Granted(stops_of(decider, problem, found.arm, asked.capped), found)


def granted_at(decider: Decider, asked: Wishes, limits: Limits, most: Floats, price: Floats) -> list[Stops]:
    """What each customer may not get at (J,) prices that are known beforehand, where no limit is overrun either.

    Args:
        decider: Of the release.
        asked: What is wanted.
        limits: That hold.
        most: (J,) that is left of each: the hard stop.
        price: (J,) shadow prices.
    """
    problem = asked.within(limits, most)
    possible = problem.without_the_impossible()
    arm = fitting(possible, preferred_at(possible, price), price)
    if not price.any():
        arm = filled(possible, arm, price)
    return stops_of(decider, problem, arm, asked.capped)


def stops_of(decider: Decider, problem: Knapsacks, arm: Ints, capped: Sequence[Stops]) -> list[Stops]:
    """Arms that would use more of a limit than the arm (n,) granted; nothing beside caps where all fit anyhow."""
    stops: list[Stops] = list(capped)
    if not len(problem.limit) or all_fits(problem):
        return stops
    ids, more = decider.menu.ids, more_than_granted(problem, arm)
    for row in np.flatnonzero(more.any(axis=1)).tolist():
        over: dict[str, Rule] = {ids[each]: "budget" for each in np.flatnonzero(more[row]).tolist()}
        stops[row] = {**over, **capped[row]}
    return stops


def more_than_granted(problem: Knapsacks, arm: Ints) -> Bools:
    """(n, K) arms that would use more of a limit than the arm (n,) granted."""
    more = np.zeros(problem.cost.shape, bool)
    for start in range(0, len(problem), _ROWS):
        rows = slice(start, start + _ROWS)
        amount = np.where(problem.contacts[:, None], 1.0, problem.cost[rows, None])
        use = problem.draws[problem.group[rows]] * amount
        mine = np.take_along_axis(use, arm[rows, None, None], axis=2)
        more[rows] = np.any(use > mine, axis=1)
    return more


def all_fits(problem: SharedProblem) -> bool:
    """Whether every limit is kept whatever anybody gets, also of what the policy would not choose."""
    total = np.zeros(len(problem.limit))
    for part in problem.parts():
        for rows in part.chunks():
            amount = np.where(part.contacts[:, None], 1.0, part.cost[rows, None])
            total += (part.draws[part.group[rows]] * amount).max(axis=2).sum(axis=0)
    return bool((total <= problem.limit).all())


def used_by(problem: Knapsacks, decided: Iterable[Decision]) -> Floats:
    """(J,) what decisions use of each limit."""
    return problem.uses(np.array([each.arm for each in decided], np.int64))


def standing(limits: Limits, before: Floats, now: Floats, decided: Floats, price: Floats) -> list[BudgetUse]:
    """How each limit stands after some decisions.

    Args:
        limits: J.
        before: (J,) what was used before them.
        now: (J,) their part of what was left.
        decided: (J,) what they use.
        price: (J,) shadow prices.
    """
    units = ["contacts" if each else "money" for each in limits.contacts]
    numbers = (limits.most, before + decided, now, decided, price)
    return [
        BudgetUse(name, unit, *row)
        for name, unit, *row in zip(limits.names, units, *(each.tolist() for each in numbers), strict=True)
    ]

"""Exact values: the optimum by dynamic programming, and any policy by the same recursion.

Expectations over acceptance and churn are taken exactly, for all customers at once: nothing is sampled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from churn_assets.decision.process import IDLE, Floats, RetentionProcess
from churn_assets.decision.tables import ResponseTables, hazards

Choice = Callable[[int], npt.NDArray[np.generic]]
"""Step t -> probabilities of the arms, broadcastable to (O, U, K, n): open state, offers used, arm,
customer.

What is not allowed is taken as arm 0."""


@dataclass(frozen=True)
class Evaluation:
    """What a policy is worth for each customer, from the first step, idle and with no offer used.

    Attributes:
        value: (n,) expected discounted customer value, without any price of the budget.
        spend: (n,) expected discounted spend: discounts paid (with what is owed at the horizon) and contact
            costs.
        contacted: (n,) probability of ever being contacted.
        first: (n, K) probabilities of the arms at the first decision.
    """

    value: Floats
    spend: Floats
    contacted: Floats
    first: Floats


@dataclass(frozen=True)
class Optimum:
    """The best that any policy can do at one price of the budget.

    Attributes:
        evaluation: of the optimal policy.
        actions: (T, O, U, n) int8 optimal arm; the lowest of equals.
    """

    evaluation: Evaluation
    actions: npt.NDArray[np.int8]


def solve(
    tables: ResponseTables, process: RetentionProcess, budget_price: float | npt.NDArray[np.floating] = 0.0
) -> Optimum:
    """The optimum of value − budget_price · spend, per customer; one price, or one a customer (n,)."""
    actions: list[npt.NDArray[np.int8]] = []

    def best(q_value: Floats, q_spend: Floats, allowed: npt.NDArray[np.bool_]) -> Floats:
        objective = np.where(allowed, q_value - budget_price * q_spend, -np.inf)
        chosen = objective.argmax(axis=2)
        actions.append(chosen.astype(np.int8))
        return np.asarray(np.arange(process.n_arms)[:, None] == chosen[:, :, None], np.float64)

    evaluation = _backward(tables, process, lambda _t, *q: best(*q))
    return Optimum(evaluation, np.stack(actions[::-1]))


def regrets(
    tables: ResponseTables, process: RetentionProcess, budget_price: float | npt.NDArray[np.floating] = 0.0
) -> npt.NDArray[np.float32]:
    """(T, O, U, K, n) what each arm is worth less than the best if the optimum follows; inf where not allowed."""
    found: list[npt.NDArray[np.float32]] = []

    def best(q_value: Floats, q_spend: Floats, allowed: npt.NDArray[np.bool_]) -> Floats:
        objective = np.where(allowed, q_value - budget_price * q_spend, -np.inf)
        found.append((objective.max(axis=2, keepdims=True) - objective).astype(np.float32))
        return np.asarray(
            np.arange(process.n_arms)[:, None] == objective.argmax(axis=2)[:, :, None], np.float64
        )

    _backward(tables, process, lambda _t, *q: best(*q))
    return np.stack(found[::-1])


def evaluate(tables: ResponseTables, process: RetentionProcess, choice: Choice) -> Evaluation:
    """Exact value and spend of a policy, whatever it was shown, under these tables."""

    def chosen(t: int, _q_value: Floats, _q_spend: Floats, allowed: npt.NDArray[np.bool_]) -> Floats:
        weights = np.multiply(choice(t), allowed, dtype=np.float64)
        weights[:, :, 0] += 1 - weights.sum(axis=2)
        return weights

    return _backward(tables, process, chosen)


def never(process: RetentionProcess) -> Choice:
    """The policy that makes no offer."""
    weights = np.zeros((1, 1, process.n_arms, 1))
    weights[:, :, 0] = 1
    return lambda _t: weights


def gain_captured(value: Floats, none: Floats, optimum: Floats) -> float | None:
    """(V − V_none) / (V* − V_none) over means; None where there is less than 0.1 % of V_none to gain."""
    attainable = float(optimum.mean() - none.mean())
    if attainable < 1e-3 * abs(float(none.mean())):
        return None
    return float(value.mean() - none.mean()) / attainable


def _backward(
    tables: ResponseTables,
    process: RetentionProcess,
    choose: Callable[[int, Floats, Floats, npt.NDArray[np.bool_]], Floats],
) -> Evaluation:
    """Backward induction over (state, offers used, customer) of value, spend and the chance of a contact.

    All three are linear in the policy's choices, so one recursion serves the optimum and any policy.
    """
    n, arms, used = len(tables), process.n_arms, process.max_offers + 1
    survivals = 1 - hazards(tables, process).transpose(1, 2, 0)
    kind, successor = process.hazard_kind, process.successor
    states = process.open_states
    recent = process.view[states]
    rejected, granted = process.after_offer[IDLE, 1:].T
    after = np.minimum(np.arange(used) + 1, used - 1)
    allowed = np.broadcast_to(tables.allowed.T, (len(states), used, arms, n)).copy()
    allowed[:, -1, 1:] = False

    steps = [each(tables.price)[:, None] for each in (process.step_worth, process.spend)]
    contact, once = (each[1:, None] for each in (process.menu.contact_cost, process.menu.given_once))
    totals = [
        np.repeat(each(tables.price)[:, None], used, axis=1) for each in (process.final_worth, process.owed)
    ]
    contacted = np.zeros((process.n_states, used, n))
    q = np.empty((2, len(states), used, arms, n))
    weights = q[0]
    for t in reversed(range(process.horizon)):
        survival = survivals[t][kind][:, None]
        accept = tables.acceptance[:, t, :, 1:].transpose(1, 2, 0)[recent][:, None]
        for i, (step, sign) in enumerate(zip(steps, (-1.0, 1.0), strict=True)):
            during = totals[i][successor]
            during *= process.discount_factor
            during += step
            during *= survival
            refused, taken = (
                during[answered][:, after].transpose(1, 0, 2) for answered in (rejected, granted)
            )
            taken += sign * once
            q[i, :, :, 0] = during[states]
            q[i, :, :, 1:] = refused + accept * (taken - refused) + sign * contact
            totals[i] = during
        weights = choose(t, q[0], q[1], allowed)
        for i in range(2):
            totals[i][states] = (weights * q[i]).sum(axis=2)
        contacted = contacted[successor] * survival
        contacted[states] = 1 - weights[:, :, 0] * (1 - contacted[states])
    return Evaluation(
        value=totals[0][IDLE, 0],
        spend=totals[1][IDLE, 0],
        contacted=contacted[IDLE, 0],
        first=weights[0, 0].T,
    )

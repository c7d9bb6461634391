"""Exact values: the optimum by dynamic programming, and any policy by the same recursion.

Expectations over acceptance and churn are taken exactly, for all customers at once: nothing is sampled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from churn_assets.decision.process import BASE, IDLE, Floats, RetentionProcess
from churn_assets.decision.tables import ResponseTables, hazards, relapses

Choice = Callable[[int], npt.NDArray[np.generic]]
"""Step t -> probabilities of the arms, broadcastable to (O, P, K, n): open state, past, arm, customer.


What is not allowed is taken as arm 0."""

Worth = Callable[[], tuple[Floats, Floats]]
"""-> what each arm is worth and spends from now on, (O, P, K, n) each, as far as who chooses can know."""


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
    """The best that planning finds at one price of the budget.

    It knows how many offers were used, not how they were answered, and takes those who were contacted to be of the same
    types as those who were not: exact where nothing is hidden.

    Attributes:
        evaluation: of the planned policy.
        actions: (T, O, U, n) int8 planned arm by offers used; the lowest of equals.
    """

    evaluation: Evaluation
    actions: npt.NDArray[np.int8]


def solve(
    tables: ResponseTables, process: RetentionProcess, budget_price: float | npt.NDArray[np.floating] = 0.0
) -> Optimum:
    """The optimum of value − budget_price · spend, per customer; one price, or one a customer (n,)."""
    actions: list[npt.NDArray[np.int8]] = []
    evaluation = _plan(
        tables, process, budget_price, lambda _, chosen: actions.append(chosen.astype(np.int8))
    )
    planned = np.stack(actions[::-1])
    if process.taste:
        used = process.pasts[:, 0]
        arms = np.arange(process.n_arms)[:, None]
        evaluation = evaluate(tables, process, lambda t: arms == planned[t][:, used, None])
    return Optimum(evaluation, planned)


def regrets(
    tables: ResponseTables, process: RetentionProcess, budget_price: float | npt.NDArray[np.floating] = 0.0
) -> npt.NDArray[np.float32]:
    """(T, O, U, K, n) what each arm is worth less than the best if the plan follows; inf where not allowed.

    As of `Optimum`, by offers used.
    """
    found: list[npt.NDArray[np.float32]] = []

    def note(objective: Floats, _: npt.NDArray[np.int64]) -> None:
        found.append((objective.max(axis=2, keepdims=True) - objective).astype(np.float32))

    _plan(tables, process, budget_price, note)
    return np.stack(found[::-1])


def _plan(
    tables: ResponseTables,
    process: RetentionProcess,
    budget_price: float | npt.NDArray[np.floating],
    note: Callable[[Floats, npt.NDArray[np.int64]], None],
) -> Evaluation:
    """The best decisions by a recursion from the end; each step's objective and choice are noted, the last first."""

    def best(_: int, q: Worth, allowed: npt.NDArray[np.bool_]) -> Floats:
        value, spend = q()
        objective = np.where(allowed, value - budget_price * spend, -np.inf)
        chosen = objective.argmax(axis=2)
        note(objective, chosen)
        return np.asarray(np.arange(process.n_arms)[:, None] == chosen[:, :, None], np.float64)

    return _backward(tables, replace(process, taste=0.0), best)


def evaluate(tables: ResponseTables, process: RetentionProcess, choice: Choice) -> Evaluation:
    """Exact value and spend of a policy, whatever it was shown, under these tables."""

    def chosen(t: int, _q: Worth, allowed: npt.NDArray[np.bool_]) -> Floats:
        weights = np.multiply(choice(t), allowed, dtype=np.float64)
        weights[:, :, 0] += 1 - weights.sum(axis=2)
        return weights

    return _backward(tables, process, chosen)


def beliefs(survivals: Floats, share: Floats) -> Floats:
    """(T, n, J) shares of types among customers who are left at each step and were never contacted.

    Args:
        survivals: (T, n · J) chance of each type to survive a step without contact.
        share: (J,) of types at the first step.
    """
    left = np.ones_like(survivals)
    np.cumprod(survivals[:-1], axis=0, out=left[1:])
    of_type = left.reshape(len(left), -1, len(share)) * share
    return np.asarray(of_type / np.maximum(of_type.sum(axis=2, keepdims=True), 1e-300))


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
    choose: Callable[[int, Worth, npt.NDArray[np.bool_]], Floats],
) -> Evaluation:
    """Backward induction over (state, past, customer of a type) of value, spend and the chance of a contact.

    All three are linear in the policy's choices, so one recursion serves the optimum and any policy. Who chooses knows
    no customer's type: `choose` is given means over the types, as they are among those whom nobody contacted.
    """
    n, arms, pasts = len(tables), process.n_arms, len(process.pasts)
    types, allowed_once = process.types, tables.allowed.T
    tables, virtual = types.tables(tables), n * len(types)
    survivals = 1 - hazards(tables, process).transpose(1, 2, 0)
    believed = beliefs(survivals[:, BASE], types.share)
    stays = 1 - relapses(tables, process).transpose(1, 2, 0) if process.effect_decay else None
    kind, successor = process.hazard_kind, process.successor
    window_ends = np.flatnonzero(process.leaving)
    states = process.open_states
    recent = process.view[states]
    rejected, granted = process.after_offer[IDLE, 1:].T
    ends = list(zip((rejected, granted), process.past_after.T, strict=True))
    allowed = np.broadcast_to(allowed_once, (len(states), pasts, arms, n)).copy()
    allowed[:, process.open_pasts :, 1:] = False

    steps = [each(tables.price)[:, None] for each in (process.step_worth, process.spend)]
    contact, once = (each[1:, None] for each in (process.menu.contact_cost, process.menu.given_once))
    totals = [
        np.repeat(each(tables.price)[:, None], pasts, axis=1) for each in (process.final_worth, process.owed)
    ]
    contacted = np.zeros((process.n_states, pasts, virtual))
    q = np.empty((2, len(states), pasts, arms, virtual))
    weights = q[0]
    for t in reversed(range(process.horizon)):
        survival = survivals[t][kind][:, None]
        accept = tables.acceptance[:, t, :, 1:].transpose(1, 2, 0)[recent][:, None]
        for i, (step, sign) in enumerate(zip(steps, (-1.0, 1.0), strict=True)):
            during = totals[i][successor]
            during *= process.discount_factor
            if stays is not None:
                during[window_ends] *= stays[t][process.leaving[window_ends]][:, None]
            during += step
            during *= survival
            refused, taken = (during[answered][:, after].transpose(1, 0, 2) for answered, after in ends)
            taken += sign * once
            q[i, :, :, 0] = during[states]
            q[i, :, :, 1:] = refused + accept * (taken - refused) + sign * contact
            totals[i] = during
        weights = choose(t, partial(_over_types, q, believed[t]), allowed)
        weights = weights.repeat(len(types), axis=-1)
        for i in range(2):
            totals[i][states] = (weights * q[i]).sum(axis=2)
        contacted = contacted[successor] * survival
        if stays is not None:
            contacted[window_ends] *= stays[t][process.leaving[window_ends]][:, None]
        contacted[states] = 1 - weights[:, :, 0] * (1 - contacted[states])
    return Evaluation(
        value=types.mean(totals[0][IDLE, 0]),
        spend=types.mean(totals[1][IDLE, 0]),
        contacted=types.mean(contacted[IDLE, 0]),
        first=weights[0, 0, :, :: len(types)].T,
    )


def _over_types(q: Floats, believed: Floats) -> tuple[Floats, Floats]:
    """Two (…, n) means of (2, …, n · J) by (n, J) shares."""
    if believed.shape[1] == 1:
        return q[0], q[1]
    value, spend = (q.reshape(*q.shape[:-1], *believed.shape) * believed).sum(axis=-1)
    return value, spend

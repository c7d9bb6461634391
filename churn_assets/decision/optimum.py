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

_Decide = Callable[[slice, Worth, npt.NDArray[np.bool_]], Floats]
"""Which customers, what arms are worth to them and which are allowed -> probabilities of the arms, (O, P, K, n)."""

VIRTUAL_AT_ONCE = 1024
"""Customers of one type that are followed at once: their values stay in the processor's cache."""


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

    def choice(self, process: RetentionProcess) -> Choice:
        """The planned policy, of customers in the order that they were planned for."""
        return planned_choice(self.actions, process)


def solve(
    tables: ResponseTables, process: RetentionProcess, budget_price: float | npt.NDArray[np.floating] = 0.0
) -> Optimum:
    """The optimum of value − budget_price · spend, per customer; one price, or one a customer (n,)."""
    shape = len(process.open_states), process.max_offers + 1, len(tables)
    planned = np.empty((process.horizon, *shape), np.int8)

    def note(t: int, those: slice, _: Floats, chosen: npt.NDArray[np.int64]) -> None:
        planned[t, ..., those] = chosen

    evaluation = _plan(tables, process, budget_price, note)
    if process.taste:
        evaluation = evaluate(tables, process, planned_choice(planned, process))
    return Optimum(evaluation, planned)


def planned_choice(actions: npt.NDArray[np.int8], process: RetentionProcess) -> Choice:
    """The policy of planned arms (T, O, U, n)."""
    used, arms = process.pasts[:, 0], np.arange(process.n_arms)[:, None]
    return lambda t: arms == actions[t][:, used, None]


def regrets(
    tables: ResponseTables, process: RetentionProcess, budget_price: float | npt.NDArray[np.floating] = 0.0
) -> npt.NDArray[np.float32]:
    """(T, O, U, K, n) what each arm is worth less than the best if the plan follows; inf where not allowed.

    As of `Optimum`, by offers used.
    """
    shape = len(process.open_states), process.max_offers + 1, process.n_arms, len(tables)
    found = np.empty((process.horizon, *shape), np.float32)

    def note(t: int, those: slice, objective: Floats, _: npt.NDArray[np.int64]) -> None:
        found[t, ..., those] = objective.max(axis=2, keepdims=True) - objective

    _plan(tables, process, budget_price, note)
    return found


def _plan(
    tables: ResponseTables,
    process: RetentionProcess,
    budget_price: float | npt.NDArray[np.floating],
    note: Callable[[int, slice, Floats, npt.NDArray[np.int64]], None],
) -> Evaluation:
    """The best decisions by a recursion from the end; each step's objective and choice are noted, the last first."""
    prices = np.broadcast_to(budget_price, len(tables))

    def best(t: int) -> _Decide:
        def decide(those: slice, q: Worth, allowed: npt.NDArray[np.bool_]) -> Floats:
            value, spend = q()
            objective = np.where(allowed, value - prices[those] * spend, -np.inf)
            chosen = objective.argmax(axis=2)
            note(t, those, objective, chosen)
            return np.asarray(np.arange(process.n_arms)[:, None] == chosen[:, :, None], np.float64)

        return decide

    return _backward(tables, replace(process, taste=0.0), best)


def evaluate(tables: ResponseTables, process: RetentionProcess, choice: Choice) -> Evaluation:
    """Exact value and spend of a policy, whatever it was shown, under these tables."""

    def chosen(t: int) -> _Decide:
        wanted = choice(t)
        alike = wanted.shape[-1] == 1 != len(tables)

        def decide(those: slice, _q: Worth, allowed: npt.NDArray[np.bool_]) -> Floats:
            weights = np.multiply(wanted if alike else wanted[..., those], allowed, dtype=np.float64)
            weights[:, :, 0] += 1 - weights.sum(axis=2)
            return weights

        return decide

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
    tables: ResponseTables, process: RetentionProcess, choose: Callable[[int], _Decide]
) -> Evaluation:
    """Backward induction over (open state, past, customer of a type) of value, spend and the chance of a contact.

    All three are linear in the policy's choices, so one recursion serves the optimum and any policy. Who chooses knows
    no customer's type: `choose` is given means over the types, as they are among those whom nobody contacted.
    Nothing is decided between two open states: what a customer pays on the way, and the chance to come through, are
    those of every past and every policy. No customer touches another: they go a part at a time.
    """
    size = max(1, VIRTUAL_AT_ONCE // len(process.types))
    parts = [_Part(tables, process, slice(at, at + size)) for at in range(0, max(len(tables), 1), size)]
    for t in reversed(range(process.horizon)):
        decide = choose(t)
        for part in parts:
            part.back(t, decide)
    found = [part.evaluation() for part in parts]
    return Evaluation(*(np.concatenate(each) for each in zip(*found, strict=True)))


class _Part:
    """Some of the customers, on the way back from the horizon."""

    def __init__(self, tables: ResponseTables, process: RetentionProcess, those: slice) -> None:
        self._those, self._process, own = those, process, tables.subset(those)
        self._types, self._n = process.types, len(own)
        self._tables = self._types.tables(own)
        survivals = 1 - hazards(self._tables, process).transpose(1, 2, 0)
        self._believed = beliefs(survivals[:, BASE], self._types.share)
        self._ways = _Ways(self._tables, process, survivals)
        states, pasts, arms = process.open_states, len(process.pasts), process.n_arms
        self._allowed = np.broadcast_to(own.allowed.T, (len(states), pasts, arms, self._n)).copy()
        self._allowed[:, process.open_pasts :, 1:] = False
        self._contact, self._once = (
            np.stack([-each[1:], each[1:]])[:, None, :, None]
            for each in (process.menu.contact_cost, process.menu.given_once)
        )
        virtual = self._n * len(self._types)
        self._contacted = np.zeros((len(states), pasts, virtual))
        self._q = np.zeros((2, len(states), pasts, arms, virtual))  # 0 for offers that are spent
        self._offered = np.empty((2, 2, process.open_pasts, arms - 1, virtual))
        self._first: Floats = np.zeros((arms, self._n))

    def back(self, t: int, decide: _Decide) -> None:
        """From the steps after t to those from t on."""
        process, ways, q, n = self._process, self._ways, self._q, self._n
        states, some = process.open_states, process.open_pasts
        ways.back(t)
        refused, taken = self._offered
        for answer, found in enumerate(self._offered):
            past = process.past_after[:some, answer]
            for arm, state in enumerate(process.after_offer[IDLE, 1:, answer]):
                ways.worth(state, past, out=found[:, :, arm])
        taken += self._once
        taken -= refused
        refused += self._contact
        accept = self._tables.acceptance[:, t, :, 1:].transpose(1, 2, 0)[process.view[states]]
        for place, state in enumerate(states):
            ways.worth(state, slice(None), out=q[:, place, :, 0])
            offers = q[:, place, :some, 1:]
            np.multiply(accept[place], taken, out=offers)
            offers += refused
        weights = decide(self._those, partial(_over_types, q, self._believed[t]), self._allowed)
        by_type = q.reshape(*q.shape[:-1], n, len(self._types))
        decided = np.einsum("opkn,iopknj->iopnj", weights, by_type)
        ways.decide(decided.reshape(2, len(states), len(process.pasts), -1))
        contacted = self._contacted[ways.place[states]] * ways.through[states][:, None]
        self._contacted = 1 - weights[:, :, 0].repeat(len(self._types), axis=-1) * (1 - contacted)
        self._first = weights[0, 0]

    def evaluation(self) -> tuple[Floats, Floats, Floats, Floats]:
        """Value, spend, chance of a contact and first arms, from the step that it came to."""
        value, spend = self._ways.decided[0][:, IDLE, 0]
        found = (self._types.mean(each) for each in (value, spend, self._contacted[IDLE, 0]))
        return (*found, self._first.T)  # type: ignore[return-value]


class _Ways:
    """From every state, at a step that moves back, to the next in which something is decided, or to the horizon.

    Attributes:
        place: (S,) which of the open states that is.
        through: (S, n · J) chance to come there.
        decided: (2, O, P, n · J) value and spend from the open states on, the next step first, as far as one is away.
    """

    def __init__(self, tables: ResponseTables, process: RetentionProcess, survivals: Floats) -> None:
        self._process, self._survivals = process, survivals
        self._stays = 1 - relapses(tables, process).transpose(1, 2, 0) if process.effect_decay else None
        self._steps, final = (
            np.stack([each(tables.price) for each in pair])
            for pair in ((process.step_worth, process.spend), (process.final_worth, process.owed))
        )
        self._far, self.place = process.until_open
        self._farthest = int(self._far.max())
        self._discounts = process.discount_factor**self._far
        states, pasts = process.open_states, len(process.pasts)
        self.decided = [final[:, states, None].repeat(pasts, axis=2)]
        self._on_the_way = final
        self.through = np.zeros(final.shape[1:])
        self._window_ends = np.flatnonzero(process.leaving)

    def back(self, t: int) -> None:
        """From the steps after t to those from t on."""
        process = self._process
        self._on_the_way[:, process.open_states], self.through[process.open_states] = 0.0, 1.0
        through = self.through[process.successor]
        along = self._on_the_way[:, process.successor]
        if self._stays is not None:
            ends = self._window_ends
            stays = self._stays[t][process.leaving[ends]]
            through[ends] *= stays
            along[:, ends] *= stays
        survival = self._survivals[t][process.hazard_kind]
        along *= process.discount_factor
        along += self._steps
        along *= survival
        through *= survival
        self._on_the_way, self.through = along, through

    def decide(self, decided: Floats) -> None:
        """Note what is worth and spent from the open states of this step on."""
        self.decided = [decided, *self.decided[: self._farthest - 1]]

    def worth(self, state: int, pasts: slice | npt.NDArray[np.int64], out: Floats) -> None:
        """Value and spend from this state on, on the way and from the open state to which it leads: (2, P, n · J)."""
        then = self.decided[min(self._far[state], len(self.decided)) - 1][:, self.place[state]]
        share = self.through[state] * self._discounts[state]
        np.multiply(then[:, pasts], share, out=out)
        out += self._on_the_way[:, state, None]


def _over_types(q: Floats, believed: Floats) -> tuple[Floats, Floats]:
    """Two (…, n) means of (2, …, n · J) by (n, J) shares."""
    if believed.shape[1] == 1:
        return q[0], q[1]
    value, spend = (q.reshape(*q.shape[:-1], *believed.shape) * believed).sum(axis=-1)
    return value, spend

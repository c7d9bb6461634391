"""What an offer adds against never offering again: the training reward, and what a policy is shown.

One algorithm for one customer and for many: every operation is of a customer alone, so that a figure is the same to the
last bit whoever else is asked about.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from churn_assets.decision.process import ACCEPTED, BASE, IDLE, Floats, RetentionProcess

Singles = npt.NDArray[np.float32]

BLOCK = 256
"""Customers evaluated at a time where there are many: what they need stays in the processor's cache."""

FEW = 32
"""Up to as many customers, a recursion in Python's own numbers is faster than one in arrays."""


class Responses(NamedTuple):
    """What the models say about n customers at T steps. All probabilities of churn are for the label window.

    Attributes:
        price: (n,) list price a month.
        risk: (n, T) P(churn) at the list price without contact.
        churn_if_accepted: (n, T) P(churn) once an offer is accepted.
        churn_if_refused: (n, T) P(churn) once an offer is refused.
        acceptance: (n, T, K - 1) P(accept) of the arms that contact, without a recent contact of the policy itself.
        acceptance_again: (n, T, K - 1) the same with one; or fewer steps, where fewer are wanted.
    """

    price: Floats
    risk: Floats
    churn_if_accepted: Floats
    churn_if_refused: Floats
    acceptance: Floats
    acceptance_again: Floats

    def of(self, rows: slice) -> Responses:
        """The same of some customers."""
        return Responses(*(each[rows] for each in self))


@dataclass(frozen=True)
class Incremental:
    """Gain and spend of one offer followed by none, less those of no offer at all, in the price's currency.

    Attributes:
        value: (n, T, O, K) expected discounted customer value added; 0 for arm 0.
        spend: (n, T, O, K) expected discounted spend added (benefits and contact costs); 0 for arm 0.
        survival: (n, T) discounted probability of surviving each step without contact.
    """

    value: Singles
    spend: Singles
    survival: Floats

    def net(self, budget_price: float) -> Singles:
        """(n, T, O, K) value less spend at a price of the budget."""
        return self.value - np.float32(budget_price) * self.spend


def incremental(responses: Responses, process: RetentionProcess) -> Incremental:
    """Exact incremental value and spend of every offer at every step in every open state."""
    n, horizon = responses.risk.shape
    shape = (n, horizon, len(process.open_states), process.n_arms)
    value, spend = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    survival = np.empty((n, horizon))
    for start in range(0, n, BLOCK):
        rows = slice(start, start + BLOCK)
        worths = Worths(responses.of(rows), process)
        survival[rows] = worths.survival
        for view in range(shape[2]):
            gained, spent = worths.gained(view, horizon)
            value[rows, :, view, 1:], spend[rows, :, view, 1:] = gained.swapaxes(1, 2), spent.swapaxes(1, 2)
    return Incremental(value, spend, survival)


class Worths:
    """What customers are worth who are never contacted again, from every state and step; O open states, K arms.

    Args:
        responses: of n customers.
        process: the rules.
    """

    def __init__(self, responses: Responses, process: RetentionProcess) -> None:
        self.process = process
        self._acceptance = (responses.acceptance, responses.acceptance_again)
        price = responses.price
        stays = 1 - process.hazard(np.stack(responses[1:4], axis=1))
        self.survival: Floats = process.discount_factor * stays[:, BASE]
        self._paid = (process.margin * process.step_months) * price
        self._last = (process.margin * (process.value_horizon_months - process.step_months)) * price
        self._idle = self._idle_worth(stays[:, BASE])
        self._refused = self._refused_worth(stays)
        self._accepted, self._given, self._afterwards = self._accepted_worth(stays, price)

    def gained(self, view: int, steps: int) -> tuple[Floats, Floats]:
        """(n, K - 1, steps) value and spend that each arm adds in an open state at the first steps."""
        process = self.process
        state, recently = int(process.open_states[view]), int(process.recently_contacted[view])
        q = self._acceptance[recently][:, :steps].swapaxes(1, 2)
        cost, given = process.menu.contact_cost[1:, None], process.menu.given_once[1:, None]
        gained = q * (self._accepted[:, :, :steps] - given)
        gained += (1 - q) * self._refused[0][:, None, :steps] - cost
        gained -= self._now(state)[:, None, :steps]
        spent = q * (self._given[:, :, :steps] + given) + cost
        return gained, spent

    def _now(self, state: int) -> Floats:
        """(n, T + 1) worth of a customer in an open state who is not contacted: nothing runs any more."""
        process = self.process
        if state == IDLE:
            return self._idle
        if process.arm[state]:
            return self._afterwards[int(process.age[state])]
        return self._refused[int(process.age[state])]

    def _idle_worth(self, survival: Floats) -> Floats:
        """(n, T + 1) of a customer who is idle."""
        gamma = self.process.discount_factor
        horizon = survival.shape[1]
        worth = np.empty((len(survival), horizon + 1))
        if len(survival) > FEW:
            worth[:, horizon] = self._last
            for t in reversed(range(horizon)):
                worth[:, t] = survival[:, t] * (self._paid + gamma * worth[:, t + 1])
            return worth
        rows = zip(survival.tolist(), self._paid.tolist(), self._last.tolist(), strict=True)
        for row, (stays, paid, last) in enumerate(rows):
            backwards = [last]
            for stay in reversed(stays):
                last = stay * (paid + gamma * last)
                backwards.append(last)
            worth[row] = backwards[::-1]
        return worth

    def _refused_worth(self, stays: Floats) -> list[Floats]:
        """By age of the refusal, (n, T + 1)."""
        process = self.process
        worths = [self._idle]
        for age in reversed(range(process.memory)):
            kind = int(process.hazard_kind[process.refused(age)])
            worths.append(self._step_before(worths[-1], stays[:, kind], self._paid, self._last))
        return worths[:0:-1]

    def _step_before(self, following: Floats, stays: Floats, paid: Floats, last: Floats) -> Floats:
        """(…, T + 1) worth in a state whose successor's worth is `following`; paid and last are of its other axes."""
        worth = np.empty_like(following)
        ahead = worth[..., :-1]
        np.multiply(self.process.discount_factor, following[..., 1:], out=ahead)
        ahead += paid[..., None]
        ahead *= stays
        worth[..., -1] = last
        return worth

    def _accepted_worth(self, stays: Floats, price: Floats) -> tuple[Floats, Floats, dict[int, Floats]]:
        """(n, K - 1, T + 1) worth of who accepts each arm, and what it is given; and worth by age once nothing runs."""
        process = self.process
        benefit = process.menu.monthly(price)[:, 1:]
        # By age, of a customer's worth and of what is given: what a step pays, and what the horizon leaves.
        given, owed = (months[:, None] * benefit for months in process.months_by_age)
        paid = np.stack([self._paid[:, None] - given, given], axis=2)
        last = np.stack([self._last[:, None] - owed, owed], axis=2)
        both = np.zeros((len(price), 2, process.n_arms - 1, self._idle.shape[1]))
        both[:, 0] = self._idle[:, None]
        afterwards: dict[int, Floats] = {}
        kinds = stays[:, :, None, None]
        over, shortest = int(process.running_steps[1:].min()), int(process.running_steps[1:].argmin())
        for age in reversed(range(len(paid))):
            # Every arm's acceptance has one hazard, that of the window; ages count alike.
            kind = kinds[:, ACCEPTED if age < process.window else BASE]
            both = self._step_before(both, kind, paid[age], last[age])
            if over <= age < process.memory:
                afterwards[age] = both[:, 0, shortest]
        return both[:, 0], both[:, 1], afterwards


def value_of_waiting(added: Incremental, budget_prices: npt.NDArray[np.floating]) -> Singles:
    """What the best single offer at a later step adds, if none is made now: an optimal stopping problem.

    Nothing is gained while waiting, so it is a maximum over the step of the offer.

    Args:
        added: incremental values of n customers.
        budget_prices: (J,) prices of a unit of spend.

    Returns:
        (n, T, J) expected discounted value less priced spend, at least 0, for a customer without a recent contact.
    """
    waiting = np.empty((*added.survival.shape, len(budget_prices)), np.float32)
    for start in range(0, len(waiting), BLOCK):
        rows = slice(start, start + BLOCK)
        value, spend = (each[rows, :, 0, 1:].swapaxes(1, 2) for each in (added.value, added.spend))
        waiting[rows] = waiting_later(value, spend, added.survival[rows], budget_prices)
    return waiting


def waiting_later(
    value: npt.NDArray[np.floating],
    spend: npt.NDArray[np.floating],
    survival: Floats,
    budget_prices: npt.NDArray[np.floating],
) -> Floats:
    """`value_of_waiting` at every step, of (n, K - 1, T) values and spends and (n, T) discounted survival."""
    reached = np.ones_like(survival)
    np.cumprod(survival[:, :-1], axis=1, out=reached[:, 1:])
    best = _best_later(value, spend, reached, budget_prices)
    later = np.zeros_like(best)
    later[:, :-1] = np.maximum.accumulate(best[:, :0:-1], axis=1)[:, ::-1]
    # Whoever is reached with no chance that a number can tell from none gains nothing by waiting.
    certain = reached > _UNREACHED
    return np.asarray(later * np.where(certain, 1 / np.where(certain, reached, 1.0), 0.0)[:, :, None])


def waiting_first(
    value: Floats, spend: Floats, survival: Floats, budget_prices: npt.NDArray[np.floating]
) -> Floats:
    """(n, J) `waiting_later` at the first step alone."""
    reached = np.ones_like(survival)
    np.cumprod(survival[:, :-1], axis=1, out=reached[:, 1:])
    return np.asarray(_best_later(value, spend, reached, budget_prices)[:, 1:].max(axis=1, initial=0.0))


_UNREACHED = 1e-200


def _best_later(
    value: npt.NDArray[np.floating],
    spend: npt.NDArray[np.floating],
    reached: Floats,
    budget_prices: npt.NDArray[np.floating],
) -> Floats:
    """(n, T, J) what the best offer at each step adds, as seen from the first step."""
    net = value[..., None] - budget_prices * spend[..., None]
    best = net.max(axis=1, initial=0.0)
    best *= reached[:, :, None]
    return np.asarray(best)

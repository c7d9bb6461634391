"""What an offer adds against never offering again: the training reward, and what a policy is shown.

One algorithm for one customer and for many: every operation is of a customer alone, so that a figure is the same to the
last bit whoever else is asked about.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from churn_assets.decision.hidden import HiddenTypes
from churn_assets.decision.process import Floats, Projection, RetentionProcess

Singles = npt.NDArray[np.float32]

BLOCK = 256
"""Customers evaluated at a time where there are many: what they need stays in the processor's cache."""

FEW = 32
"""Up to as many customers, a recursion in Python's own numbers is faster than one in arrays."""


class PredictedResponses(NamedTuple):
    """What the models say about n customers at T steps. All probabilities of churn are for the label window.

    Attributes:
        price: (n,) list price a month.
        risk: (n, T) P(churn) at the list price without contact.
        churn_if_accepted: (n, T, K - 1) P(churn) once an arm that contacts is accepted.
        churn_if_refused: (n, T, K - 1) P(churn) once it is refused.
        acceptance: (n, T, K - 1) P(accept), without a recent contact of the policy itself.
        acceptance_again: (n, T, K - 1) the same with one; or fewer steps, where fewer are wanted.
    """

    price: Floats
    risk: Floats
    churn_if_accepted: Floats
    churn_if_refused: Floats
    acceptance: Floats
    acceptance_again: Floats

    def of(self, rows: slice) -> PredictedResponses:
        """The same of some customers."""
        return PredictedResponses(*(each[rows] for each in self))


def joined(parts: Sequence[PredictedResponses]) -> PredictedResponses:
    """The responses of all customers of the parts."""
    if len(parts) == 1:
        return parts[0]
    return PredictedResponses(*(np.concatenate(each) for each in zip(*parts, strict=True)))


@dataclass(frozen=True)
class Incremental:
    """Gain and spend of one offer followed by none, less those of no offer at all, in the price's currency.

    Attributes:
        value: (n, T, V, K) expected discounted customer value added; 0 for arm 0. The last contact of the policy itself
            is not recent, or (where V is 2) is.
        spend: (n, T, V, K) expected discounted spend added (benefits and contact costs); 0 for arm 0.
        survival: (n, T) discounted probability of surviving each step without contact.
    """

    value: Singles
    spend: Singles
    survival: Floats

    def net(self, budget_price: float) -> Singles:
        """(n, T, V, K) value less spend at a price of the budget."""
        return self.value - np.float32(budget_price) * self.spend


def incremental(responses: PredictedResponses, process: RetentionProcess) -> Incremental:
    """Exact incremental value and spend of every offer at every step."""
    n, horizon = responses.risk.shape
    shape = (n, horizon, len(process.recent_at), process.n_arms)
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
    """What customers are worth who are contacted once, at any step, and never again; K arms.

    Means over what is hidden of customers, as they are at each step if nobody contacted them before.

    Args:
        responses: of n customers.
        process: the rules.
        projections: what values are projected at; None: what the process says.
    """

    def __init__(
        self,
        responses: PredictedResponses,
        process: RetentionProcess,
        projections: Sequence[Projection] | None = None,
    ) -> None:
        self.process, n = process, len(responses.price)
        # Acceptance enters once, so that its mean is all that counts: no taste.
        at = projections or process.projections[:1]
        self._types = [HiddenTypes(each.frailty) for each in at]
        responses = joined([each.responses(responses) for each in self._types])
        ends = n * np.cumsum([len(each) for each in self._types])
        self._rows = [slice(end - n * len(each), end) for each, end in zip(self._types, ends, strict=True)]
        self._acceptance = (responses.acceptance, responses.acceptance_again)
        price = responses.price
        answered = (responses.churn_if_accepted, responses.churn_if_refused)
        stays = 1 - process.hazard(responses.risk)
        contacted = 1 - process.hazard(np.stack([each.swapaxes(1, 2) for each in answered], axis=1))
        self._stays = stays
        self._paid = (process.margin * process.step_months) * price
        self._last = (process.margin * (process.value_horizon_months - process.step_months)) * price
        self._idle = self._idle_worth(stays)
        decays = [each.effect_decay for each in at]
        left = None
        if any(decays):
            of_row = np.repeat(decays, [rows.stop - rows.start for rows in self._rows])[:, None, None, None]
            risk = responses.risk[:, None, None]
            left = relapse(risk, np.stack([each.swapaxes(1, 2) for each in answered], axis=1), of_row)
        self._answered, self._given = self._contacted_worth(contacted, left, price)

    def gained(self, recently: int, steps: int, at: int = 0) -> tuple[Floats, Floats]:
        """(n, K - 1, steps) value and spend that each arm adds at the first steps.

        Args:
            recently: 1 for customers whom the policy contacted recently, else 0.
            steps: how many.
            at: which of the projections.
        """
        process, rows = self.process, self._rows[at]
        q = self._acceptance[recently][rows, :steps].swapaxes(1, 2)
        cost, once = process.menu.contact_cost[1:, None], process.menu.given_once[1:, None]
        answered = self._answered[rows]
        accepted, refused = answered[:, 0, :, :steps], answered[:, 1, :, :steps]
        gained = q * (accepted - once - refused)
        gained += refused - cost
        gained -= self._idle[rows, None, :steps]
        spent = q * (self._given[rows, :, :steps] + once) + cost
        if len(self._types[at]) == 1:
            return gained, spent
        believed = self._believed(at)[:, :, None, :steps]
        value, spend = (_over_types(each, believed) for each in (gained, spent))
        return value, spend

    @cached_property
    def survival(self) -> Floats:
        """(n, T) discounted chance to survive each step without contact, at the first of the projections."""
        stays = self._stays[self._rows[0]]
        if len(self._types[0]) > 1:
            stays = _over_types(stays[:, None], self._believed(0)[:, :, None])[:, 0]
        return self.process.discount_factor * stays

    def _believed(self, at: int) -> Floats:
        """(n, J, T) shares of the types among those who are left at each step."""
        stays, share = self._stays[self._rows[at]], self._types[at].share
        left = np.ones_like(stays)
        np.cumprod(stays[:, :-1], axis=1, out=left[:, 1:])
        of_type = left.reshape(-1, len(share), left.shape[1]) * share[:, None]
        return np.asarray(of_type / np.maximum(in_order(of_type), _UNREACHED)[:, None])

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

    def _contacted_worth(self, stays: Floats, left: Floats | None, price: Floats) -> tuple[Floats, Floats]:
        """(n, 2, K - 1, T + 1) worth of who accepts and refuses each arm; (n, K - 1, T + 1) what the former is given.

        Args:
            stays: (n, 2, K - 1, T) chances to survive a step of the label window once accepted and once refused.
            left: (n, 2, K - 1, T) chances to leave right after it; None: nobody does.
            price: (n,) list price a month.
        """
        process, shape = self.process, (len(price), 3, self.process.n_arms - 1)
        monthly = process.menu.monthly(price)[:, 1:]
        paid, last = np.zeros(shape), np.zeros(shape)
        worths = np.zeros((*shape, self._idle.shape[1]))
        worths[:, 2] = self._given_later(monthly)
        worths[:, :2] = self._idle[:, None, None]
        worths[:, 0] -= worths[:, 2]
        if left is not None:
            worths[..., 1:] *= 1 - left.take([0, 1, 0], axis=1)
        survived = stays.take([0, 1, 0], axis=1)
        for months, owed in zip(*(each[::-1] for each in process.months_in_window), strict=True):
            paid[:, 2], last[:, 2] = months * monthly, owed * monthly
            for each, usual in ((paid, self._paid), (last, self._last)):
                each[:, :2] = usual[:, None, None]
                each[:, 0] -= each[:, 2]
            worths = self._step_before(worths, survived, paid, last)
        return worths[:, :2], worths[:, 2]

    def _given_later(self, monthly: Floats) -> Floats:
        """(n, K - 1, T + 1) what is given of each arm's (n, K - 1) monthly benefit from the end of the window on."""
        process = self.process
        steps = np.maximum(process.running_steps[1:] - process.window, 0)
        months = float(process.step_months)
        given = [np.zeros_like(self._idle)]
        base, each = self._stays, np.full(len(monthly), months)
        for left in range(1, int(steps.max()) + 1):
            given.append(self._step_before(given[-1], base, each, left * each))
        return np.stack([given[left] for left in steps], axis=1) * monthly[:, :, None]

    def _step_before(self, following: Floats, stays: Floats, paid: Floats, last: Floats) -> Floats:
        """(…, T + 1) worth in a state whose successor's worth is `following`; paid and last are of its other axes."""
        worth = np.empty_like(following)
        ahead = worth[..., :-1]
        np.multiply(self.process.discount_factor, following[..., 1:], out=ahead)
        ahead += paid[..., None]
        ahead *= stays
        worth[..., -1] = last
        return worth


def relapse(risk: Floats, churn: Floats, decay: npt.ArrayLike) -> Floats:
    """Chances to leave right after a label window of contact, of those who stayed for it.

    Args:
        risk: P(churn) in it without contact.
        churn: P(churn) as the contact was answered; where it is less, the difference was kept.
        decay: Share of those kept who leave after it.
    """
    kept = np.maximum(risk - churn, 0.0)
    return np.asarray(decay * kept / np.maximum(1 - churn, _UNREACHED))


def within_window(
    risk: Floats,
    acceptance: Floats,
    accepted: Floats,
    refused: Floats,
    price: Floats,
    process: RetentionProcess,
) -> Floats:
    """(n, V, K - 1) money that arms add by what happens in the label window, as a log of single decisions shows it.

    A customer who stays for the window is worth the value horizon's margin, as in `economics.decision_value`, whatever
    comes later.

    Args:
        risk: (n, 1, 1) P(churn) without contact.
        acceptance: (n, V, K - 1) P(accept).
        accepted: (n, 1, K - 1) P(churn) once accepted.
        refused: (n, 1, K - 1) P(churn) once refused.
        price: (n,) list price a month.
        process: the rules.
    """
    menu, value = process.menu, (process.margin * process.value_horizon_months * price)[:, None, None]
    benefit = (menu.monthly(price)[:, 1:] * menu.months[1:])[:, None]
    kept = risk - acceptance * accepted - (1 - acceptance) * refused
    given = acceptance * ((1 - accepted) * benefit + menu.given_once[1:])
    return np.asarray(kept * value - given - menu.contact_cost[1:])


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


def _over_types(values: Floats, believed: Floats) -> Floats:
    """(n, m, steps) means of (n · J, m, steps) by (n, J, 1, steps) shares."""
    return in_order(values.reshape(len(believed), -1, *values.shape[1:]) * believed)


def in_order(values: Floats) -> Floats:
    """Sum over the second axis, in one order however many rows there are."""
    total = values[:, 0].copy()
    for each in range(1, values.shape[1]):
        total += values[:, each]
    return total


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

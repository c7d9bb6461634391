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

from churn_assets.decision.hidden import HiddenTypes, risk_of_types, staying
from churn_assets.decision.process import Floats, Projection, RetentionProcess

Singles = npt.NDArray[np.float32]

BLOCK = 256
"""Customers evaluated at a time where there are many: what they need stays in the processor's cache."""


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
    survival, rules = np.empty((n, horizon)), OneOffer(process)
    for start in range(0, n, BLOCK):
        rows = slice(start, start + BLOCK)
        some = responses.of(rows)
        worths = Worths(some, rules)
        survival[rows] = worths.survival
        for view, acceptance in enumerate((some.acceptance, some.acceptance_again)[: shape[2]]):
            gained, spent = worths.gained(acceptance)
            value[rows, :, view, 1:], spend[rows, :, view, 1:] = gained.swapaxes(1, 2), spent.swapaxes(1, 2)
    return Incremental(value, spend, survival)


class OneOffer:
    """The rules of one offer, made at any step, and none after it; K arms, J types of customers at all projections.

    Args:
        process: the rules.
        projections: what values are projected at; None: what the process says.
    """

    def __init__(self, process: RetentionProcess, projections: Sequence[Projection] | None = None) -> None:
        at = projections or process.projections[:1]
        types = [HiddenTypes(each.frailty) for each in at]
        ends = np.cumsum([len(each) for each in types]).tolist()
        self.process = process
        self.frailties = [each.frailty for each in at]
        self.types = [slice(end - len(each), end) for end, each in zip(ends, types, strict=True)]
        self.share = np.concatenate([each.share for each in types])
        decays = [[each.effect_decay] * len(own) for each, own in zip(at, types, strict=True)]
        self.decay = np.concatenate(decays)[:, None, None]
        self.discount = process.discount_factor ** np.arange(
            1 + max(process.horizon, process.window, *process.running_steps)
        )
        self.paid, given = process.margin * process.step_months, process.months_in_window[0]
        self.last = process.margin * (process.value_horizon_months - process.step_months)
        usual = np.full((process.window, 2 * (process.n_arms - 1)), self.paid)
        as_of_contact = self.discount[: process.window, None, None, None, None]
        self.pays = np.concatenate([usual, given], axis=1)[..., None, None, None] * as_of_contact
        self.durations, self.duration = np.unique(process.running_steps[1:], return_inverse=True)
        self.contact_cost, self.given_once = (
            each[1:, None, None] for each in (process.menu.contact_cost, process.menu.given_once)
        )

    @cached_property
    def beyond(self) -> Floats:
        """(window,) idle worth of a unit of price from the horizon on, through steps in which nobody leaves."""
        discount = self.discount[: self.process.window]
        return np.asarray((self.last - self.paid * (discount.cumsum() - discount)) / discount)

    @cached_property
    def coming(self) -> Floats:
        """(T,) what a unit of price brings, as of the first step, of whoever survives each step and stays idle."""
        horizon = self.process.horizon
        found = self.paid * self.discount[:horizon]
        found[-1] += self.discount[horizon] * self.last
        return np.asarray(found)

    @cached_property
    def owed(self) -> list[Floats]:
        """(T,) by duration: owed at the horizon of a unit a month, less what it gives in steps after the horizon.

        By step of the contact, and as of it.
        """
        process, to_go, found = self.process, np.arange(self.process.horizon, 0, -1), []
        for steps in self.durations.tolist():
            left = np.maximum(steps - to_go, 0)
            afterwards = np.append(0.0, self.discount.cumsum())[left]
            found.append(process.step_months * self.discount[to_go] * (left - afterwards))
        return found


class Worths:
    """What customers are worth who are contacted once, at any step, and never again.

    Means over what is hidden of customers, as they are at each step if nobody contacted them before. Whoever survives
    the horizon is followed on through steps in which nobody leaves, at a worth that makes up for them: one formula then
    holds at every step.

    Customers are the last axis of all that is computed: steps on the way are then neighbours in memory.

    Attributes:
        monthly: (n, K) money that each arm gives a month.

    Args:
        responses: of n customers.
        rules: of the offer.
    """

    def __init__(self, responses: PredictedResponses, rules: OneOffer) -> None:
        self._rules, self._price = rules, responses.price
        self.monthly = rules.process.menu.monthly(responses.price)
        self._risk, self._accepted, self._refused = (
            np.ascontiguousarray(each.T)
            for each in (responses.risk, responses.churn_if_accepted, responses.churn_if_refused)
        )
        horizon, (first, *ends) = rules.process.horizon, rules.types
        self._of_types = risk_of_types(self._risk[None], rules.frailties)
        self._base = self._stays()
        self._left_of = self._who_is_left()
        self._idle = self._idle_worth()
        worth = self._worth(first, horizon)
        worth *= self._left_of[first, :-1]
        self._left = in_order(self._left_of[None, first])[0]
        self._means = np.empty((len(worth), horizon + len(ends), len(responses.price)))
        certain = np.maximum(self._left[:-1], _UNREACHED)
        np.divide(in_order(worth), certain, out=self._means[:, :horizon])
        if not ends:
            return
        others = slice(first.stop, None)
        worth = self._worth(others, 1)
        worth *= self._left_of[others, :1]
        for each, types in enumerate(ends):
            own = slice(types.start - first.stop, types.stop - first.stop)
            self._means[:, horizon + each] = in_order(worth[:, own, 0])

    def gained(self, acceptance: Floats) -> tuple[Floats, Floats]:
        """Value and spend that each arm adds.

        Args:
            acceptance: (n, steps, K - 1) P(accept) at the first steps.

        Returns:
            (n, K - 1, steps + P - 1) each, at the first of P projections, then those of the first step at the others.
        """
        rules, steps, means = self._rules, acceptance.shape[1], self._means
        arms, horizon = acceptance.shape[2], rules.process.horizon
        if steps < horizon:
            means = np.concatenate([means[:, :steps], means[:, horizon:]], axis=1)
        q = acceptance.T
        if means.shape[1] > steps:
            q = np.concatenate([q, *[q[:, :1]] * (means.shape[1] - steps)], axis=1)
        accepted, refused = means[1 : 1 + arms], means[1 + arms : 1 + 2 * arms]
        spent = means[1 + 2 * arms :] * self.monthly.T[1:, None]
        spent += rules.given_once
        spent *= q
        spent += rules.contact_cost
        value = accepted - refused
        value *= q
        value += refused
        value -= means[:1]
        value *= self._price
        value -= spent
        return value.transpose(2, 0, 1), spent.transpose(2, 0, 1)

    @property
    def survival(self) -> Floats:
        """(n, T) discounted chance to survive each step without contact, at the first of the projections."""
        stays = self._left[1:] / np.maximum(self._left[:-1], _UNREACHED)
        return np.asarray(self._rules.process.discount_factor * stays.T)

    @property
    def staying(self) -> Floats:
        """(n,) what it is about worth, in money, that a customer certainly stays for the label window."""
        return np.asarray(self._price * self._means[0, 0] / np.maximum(1 - self._risk[0], _UNREACHED))

    @property
    def reached(self) -> Floats:
        """(n, T) discounted chance to be a customer at each step without contact, at the first of the projections."""
        return np.asarray(self._left[:-1].T * self._rules.discount[: len(self._left) - 1])

    def _stays(self) -> Floats:
        """(J, T and beyond, n) chances of all types to survive a step without contact, 1 beyond the horizon."""
        rules, process, risk = self._rules, self._rules.process, self._risk[None]
        idle = staying(risk, risk, self._of_types)[0]
        # Somebody always stays: what is to come is known by what it is worth to those who are left.
        self._window = np.maximum(idle, _SURELY, out=idle)
        beyond = max(process.window, int(rules.durations[-1]))
        base = np.empty((len(idle), process.horizon + beyond, idle.shape[-1]))
        base[:, process.horizon :] = 1.0
        np.power(idle, process.step_months / process.window_months, out=base[:, : process.horizon])
        return base

    def _who_is_left(self) -> Floats:
        """(J, T + 1, n) customers of all types who are left without contact."""
        horizon = self._rules.process.horizon
        left = np.empty((len(self._base), horizon + 1, self._base.shape[-1]))
        left[:, 0], left[:, 1:] = self._rules.share[:, None], self._base[:, :horizon]
        return left.cumprod(axis=1)

    def _idle_worth(self) -> Floats:
        """(J, T + window, n) worth of a unit of price of a customer of all types who is idle."""
        rules, left, horizon = self._rules, self._left_of, self._rules.process.horizon
        worth = np.empty((len(left), horizon + len(rules.beyond), left.shape[-1]))
        worth[:, horizon:] = rules.beyond[:, None]
        coming = left[:, 1:] * rules.coming[:, None]
        now = left[:, :-1] * rules.discount[:horizon, None]
        np.divide(
            coming[:, ::-1].cumsum(axis=1)[:, ::-1],
            np.maximum(now, _GONE),
            out=worth[:, :horizon],
        )
        return worth

    def _worth(self, types: slice, steps: int) -> Floats:
        """(3 K - 2, J, steps, n) worths of some types.

        Of a unit of price: idle, each arm accepted, each refused. Of a unit a month: what each arm gives.

        Args:
            types: J of all.
            steps: at which first steps the offer may be made.
        """
        rules, process, idle = self._rules, self._rules.process, self._idle[types]
        window, offers = process.window, process.n_arms - 1
        stays, kept_on = self._stays_contacted(types, steps)
        worths = np.empty((1 + 3 * offers, len(idle), steps, idle.shape[-1]))
        worths[0], worth = idle[:, :steps], worths[1:]
        # All as of the contact, so that no step on the way back discounts anew.
        worth[: 2 * offers] = idle[:, window : window + steps] * rules.discount[window]
        worth[2 * offers :] = self._given_later(self._base[types], steps)
        # What is given follows those who accept: the first of the chances to stay are theirs as well.
        for some, chances, pays in (
            (worth[: 2 * offers], slice(None), rules.pays[:, : 2 * offers]),
            (worth[2 * offers :], slice(offers), rules.pays[:, 2 * offers :]),
        ):
            if kept_on is not None:
                some[:, :, : kept_on.shape[2]] *= kept_on[chances]
            for age in reversed(range(window)):
                some += pays[age]
                some *= stays[chances, :, age : age + steps]
        return worths

    def _stays_contacted(self, types: slice, steps: int) -> tuple[Floats, Floats | None]:
        """Chances to survive a step after a contact, and to stay right after its window; arguments as of `_worth`.

        Returns:
            (2 K - 2, J, steps and a window, n) once an arm is accepted, refused; (2 K - 2, J, steps or fewer, n) right
            after a window that ends within the horizon, None where what was kept stays kept.
        """
        rules, process = self._rules, self._rules.process
        decay, horizon, window = rules.decay[types], process.horizon, process.window
        seen = min(steps + window - 1, horizon)
        contacted = np.concatenate([self._accepted[:, :seen], self._refused[:, :seen]])
        of_window = staying(contacted, self._risk[None, :seen], self._of_types[:, types, :seen])
        stays = np.empty((*of_window.shape[:2], steps + window - 1, of_window.shape[-1]))
        stays[:, :, seen:] = 1.0
        np.power(of_window, process.step_months / process.window_months, out=stays[:, :, :seen])
        if not decay.any():
            return stays, None
        idle = self._window[types, window - 1 : seen]
        kept_on = np.minimum(idle / np.maximum(of_window[:, :, window - 1 :], _UNREACHED), 1.0)
        kept_on *= decay
        kept_on += 1 - decay
        return stays, kept_on

    def _given_later(self, base: Floats, steps: int) -> Floats:
        """(1 or K - 1, J, steps, n) what arms give of a unit a month after the window, and owe at the horizon."""
        rules, process = self._rules, self._rules.process
        later = np.empty((len(rules.owed), len(base), steps, base.shape[-1]))
        for place, duration in enumerate(rules.durations.tolist()):
            worth = rules.owed[place][:steps, None]
            for age in reversed(range(process.window, duration)):
                worth = worth + process.step_months * rules.discount[age]
                worth = worth * base[:, age : age + steps]
            later[place] = worth
        return later if len(rules.owed) == 1 else later.take(rules.duration, axis=0)


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
    monthly: Floats,
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
        monthly: (n, K) money that each arm gives a month.
        process: the rules.
    """
    menu, value = process.menu, (process.margin * process.value_horizon_months * price)[:, None, None]
    benefit = (monthly[:, 1:] * menu.months[1:])[:, None]
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
    best = _best_later(value, spend, reached, budget_prices).T
    later = np.zeros_like(best)
    later[:, :-1] = np.maximum.accumulate(best[:, :0:-1], axis=1)[:, ::-1]
    # Whoever is reached with no chance that a number can tell from none gains nothing by waiting.
    certain = reached > _UNREACHED
    return np.asarray(later * np.where(certain, 1 / np.where(certain, reached, 1.0), 0.0)[:, :, None])


def waiting_first(
    value: npt.NDArray[np.floating],
    spend: npt.NDArray[np.floating],
    reached: Floats,
    budget_prices: npt.NDArray[np.floating],
) -> Floats:
    """(n, J) `value_of_waiting` at the first step alone, by (n, T) discounted chances to reach every step."""
    return np.asarray(_best_later(value, spend, reached, budget_prices)[:, 1:].max(axis=1, initial=0.0).T)


_UNREACHED = 1e-200
_GONE = 1e-300
_AT_ONCE = 1 << 16
"""Numbers that are made at once, so that they stay in the processor's cache."""
_SURELY = 1e-17
"""Added to 1 it makes no difference."""


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
    """(J, T, n) what the best offer at each step adds, as seen from the first step."""
    gained, spent = (np.ascontiguousarray(each.transpose(1, 2, 0), np.float64) for each in (value, spend))
    best = np.empty((len(budget_prices), *gained.shape[1:]))
    some = max(1, _AT_ONCE // max(gained.size, 1))
    for start in range(0, len(best), some):
        net = budget_prices[start : start + some, None, None, None] * spent
        np.subtract(gained, net, out=net)
        net.max(axis=1, initial=0.0, out=best[start : start + some])
    best *= reached.T
    return best

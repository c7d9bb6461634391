"""The dynamics of N customers at once, in numpy. Gymnasium and stable-baselines3 see it through `env`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from churn_assets.decision.observation import Observations, Observer
from churn_assets.decision.process import IDLE, Bools, Ints, RetentionProcess
from churn_assets.decision.tables import ResponseTables, hazards

Reward = Literal["realised", "expected_incremental"]
Singles = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of N customers; finished episodes have already started anew.

    Attributes:
        observations: (N, width) of the running episodes.
        rewards: (N,) float32.
        finished: (N,) churned, or survived the horizon.
        churned: (N,) the customer left.
        offered: (N,) a contact was made.
        accepted: (N,) and the offer accepted.
        masked: (N,) an offer was asked for that the rules forbid; none was made.
        index: (m,) where `finished`.
        returns: (m,) undiscounted sum of rewards of the finished episodes.
        lengths: (m,) their steps.
        final_observations: (m, width) their last observations; None unless asked for.
    """

    observations: Observations
    rewards: Singles
    finished: Bools
    churned: Bools
    offered: Bools
    accepted: Bools
    masked: Bools
    index: Ints
    returns: Singles
    lengths: Ints
    final_observations: Observations | None


class RetentionCore:
    """N independent episodes over n customers.

    Every random table look-up of a step is one index into a flat array: (customer, step) is one number, (status,
    arm, accepted) another, and the whole observation but its last columns is copied from a prepared row.

    Args:
        tables: the customers and how they respond.
        process: the rules.
        size: N.
        rng: draws customers, acceptance and churn.
        reward: `realised`: margin less discounts and contact costs as they happen, in the price's currency, and the
            terminal value at the horizon. `expected_incremental`: what the action adds in expectation against never
            offering again; the same optimal policy by potential-based shaping, without the noise of single outcomes.
        budget_price: λ of each customer's episodes, one or (n,).
        reward_scale: (n,) multiplies a customer's rewards. None: 1.
        final_observations: whether steps carry the last observation of finished episodes.
    """

    def __init__(
        self,
        tables: ResponseTables,
        process: RetentionProcess,
        size: int,
        rng: np.random.Generator,
        *,
        reward: Reward = "realised",
        budget_price: npt.ArrayLike = 0.0,
        reward_scale: npt.NDArray[np.floating] | None = None,
        final_observations: bool = False,
    ) -> None:
        n, self._arms = len(tables), process.n_arms
        self.process, self.size, self.customers, self.rng = process, size, n, rng
        self.observer = Observer(tables, process)
        self._reward, self._keep_final = reward, final_observations
        self._prices = np.broadcast_to(_prices(budget_price), (n,))
        self._scale = np.ones(n, np.float32) if reward_scale is None else reward_scale.astype(np.float32)
        self._restricted = not tables.allowed.all()
        self._allowed = np.ascontiguousarray(tables.allowed).reshape(-1)
        self._tabulate(tables)
        # A single customer is observed as asked; for many it pays to prepare every row once.
        self._rows = self.observer.rows(self._prices).reshape(-1, self.observer.width) if size > 1 else None
        self.customer, self.step_number = np.zeros(size, np.int64), np.zeros(size, np.int64)
        self.status, self.used = np.full(size, IDLE), np.zeros(size, np.int64)
        self.budget_price = np.zeros(size, np.float32)
        self._returns = np.zeros(size, np.float32)
        self._everyone = np.arange(size)

    def _tabulate(self, tables: ResponseTables) -> None:
        """Flat arrays over (customer, step 0 … T, …) and over (status, arm, accepted)."""
        process = self.process
        self._stride, self._views = process.horizon + 1, len(process.open_statuses)
        self._view = process.view
        acceptance = tables.acceptance[:, :, process.recently_contacted]
        self._acceptance = _padded(acceptance)
        self._hazard = _padded(hazards(tables, process))
        added, scale = self.observer.added, self._scale[:, None, None, None]
        if self._reward == "expected_incremental":
            self._value, self._spend = _padded(added.value * scale), _padded(added.spend * scale)
        after = process.after_offer.reshape(-1)
        self._kind, self._next = process.hazard_kind[after], process.successor[after]
        self._margin = process.step_margin[after].astype(np.float32)
        self._discount = process.step_spend[after].astype(np.float32)
        gamma = process.discount_factor
        self._final_margin = (gamma * process.final_margin).astype(np.float32)
        self._final_spend = (gamma * process.final_spend).astype(np.float32)
        self._price = (tables.price * self._scale).astype(np.float32)
        used = np.arange(process.max_offers + 1)
        self._open = (process.open[:, None] & (used < process.max_offers)).reshape(-1)

    def reset(
        self,
        *,
        customer: npt.ArrayLike | None = None,
        status: npt.ArrayLike | None = None,
        offers_used: npt.ArrayLike | None = None,
        budget_price: npt.ArrayLike | None = None,
    ) -> Observations:
        """Start every episode anew; customers that are not given are drawn, the rest is idle, 0 and their price.

        Raises:
            ValueError: a customer, status, count or price that does not exist; a price for a vector of customers.
        """
        self._restart(self._everyone)
        if customer is not None:
            self.customer[:] = _within("customer", customer, self.customers - 1)
            self.budget_price[:] = self._prices[self.customer]
        if status is not None:
            self.status[:] = _within("status", status, self.process.n_statuses - 1)
        if offers_used is not None:
            self.used[:] = _within("offers_used", offers_used, self.process.max_offers)
        if budget_price is not None:
            if self._rows is not None:
                msg = "budget_price is fixed when a vector of customers is made: it cannot be reset"
                raise ValueError(msg)
            self.budget_price[:] = _prices(budget_price)
        return self._observe()

    def step(self, actions: npt.NDArray[np.integer]) -> Step:
        """Advance every customer by one step.

        Args:
            actions: (N,) arms 0 … K - 1. An arm that the rules forbid acts as 0, no offer.
        """
        accept_draw, churn_draw = self.rng.random((2, self.size), np.float32)
        row, customer = self._row, self.customer
        arm = actions * self._open.take(self.status * (self.process.max_offers + 1) + self.used)
        if self._restricted:
            arm *= self._allowed.take(customer * self._arms + arm)
        offered = arm > 0
        masked = arm != actions
        decision = (row * self._views + self._view.take(self.status)) * self._arms
        decision += arm
        accepted = accept_draw < self._acceptance.take(decision)
        after = (self.status * self._arms + arm) * 2
        after += accepted
        churned = churn_draw < self._hazard.take(3 * row + self._kind.take(after))
        if self._reward == "expected_incremental":
            rewards = self._value.take(decision)
            rewards -= self.budget_price * self._spend.take(decision)
        else:
            rewards = self._realised(after, offered, churned)
        self.status = self._next.take(after)
        self.used += offered
        self.step_number += 1
        finished = self.step_number == self.process.horizon
        if self._reward == "realised" and finished.any():
            self._add_terminal_value(rewards, np.flatnonzero(finished & ~churned))
        finished |= churned
        self._returns += rewards
        ended = finished.nonzero()[0]
        returns, lengths = self._returns.take(ended), self.step_number.take(ended)
        final = self._observe_at(ended) if self._keep_final else None
        self._restart(ended)
        return Step(
            self._observe(),
            rewards,
            finished,
            churned,
            offered,
            accepted,
            masked,
            ended,
            returns,
            lengths,
            final,
        )

    def _realised(self, after: Ints, offered: Bools, churned: Bools) -> Singles:
        rewards = self._margin.take(after)
        rewards -= self.budget_price * self._discount.take(after)
        rewards *= self._price.take(self.customer)
        rewards *= ~churned
        made = offered.nonzero()[0]
        scale = self._scale.take(self.customer.take(made))
        rewards[made] -= (1 + self.budget_price.take(made)) * np.float32(self.process.contact_cost) * scale
        return rewards

    def _add_terminal_value(self, rewards: Singles, survivors: Ints) -> None:
        status = self.status.take(survivors)
        rate = self._final_margin.take(status)
        rate -= self.budget_price.take(survivors) * self._final_spend.take(status)
        rewards[survivors] += rate * self._price.take(self.customer.take(survivors))

    def _restart(self, index: Ints) -> None:
        customer = self.rng.integers(self.customers, size=len(index))
        self.customer[index] = customer
        self.budget_price[index] = self._prices.take(customer)
        self.step_number[index] = 0
        self.status[index] = IDLE
        self.used[index] = 0
        self._returns[index] = 0

    def _observe(self) -> Observations:
        self._row = self.customer * self._stride
        self._row += self.step_number
        if self._rows is None:
            return self._observe_at(self._everyone)
        observations = self._rows.take(self._row * self._views + self._view.take(self.status), axis=0)
        return self._in_situation(observations, self.status, self.used)

    def _observe_at(self, index: Ints) -> Observations:
        customer, step = self.customer.take(index), self.step_number.take(index)
        status, used = self.status.take(index), self.used.take(index)
        if self._rows is None:
            return self.observer.observe(customer, step, status, used, self.budget_price.take(index))
        row = (customer * self._stride + step) * self._views + self._view.take(status)
        return self._in_situation(self._rows.take(row, axis=0), status, used)

    def _in_situation(self, rows: Observations, status: Ints, used: Ints) -> Observations:
        situation = self.observer.situation(status, used)
        if self._restricted:
            # The prepared row is idle and without offers used: its mask is the customer's eligibility.
            situation[:, 1 - self._arms :] *= rows[:, 1 - self._arms :]
        rows[:, -situation.shape[1] :] = situation
        return rows


def _padded(values: npt.NDArray[np.floating]) -> Singles:
    """(n, T, …) → flat float32 over (n, T + 1, …), the last step repeated."""
    return np.concatenate([values, values[:, -1:]], axis=1).astype(np.float32).reshape(-1)


def _prices(values: npt.ArrayLike) -> Singles:
    prices = np.asarray(values, np.float32)
    if not (np.isfinite(prices) & (prices >= 0)).all():
        msg = f"budget_price is {values!r}: expected finite numbers of at least 0"
        raise ValueError(msg)
    return prices


def _within(name: str, values: npt.ArrayLike, largest: int) -> Ints:
    found = np.asarray(values)
    if not np.issubdtype(found.dtype, np.integer) or ((found < 0) | (found > largest)).any():
        msg = f"{name} is {values!r}: expected an integer from 0 to {largest}"
        raise ValueError(msg)
    return found.astype(np.int64)

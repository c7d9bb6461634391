"""The dynamics of N customers at once, in numpy. Gymnasium and stable-baselines3 see it through `env`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from churn_assets.decision.config import BudgetPriceConfig
from churn_assets.decision.observation import Observations, Observer
from churn_assets.decision.process import IDLE, Ints, RetentionProcess
from churn_assets.decision.tables import ResponseTables, hazards

Reward = Literal["realised", "expected_incremental"]
UNPRICED = BudgetPriceConfig(maximum=0.0)


@dataclass(frozen=True)
class Step:
    """One step of N customers; finished episodes have already started anew.

    Attributes:
        observations: (N, width) of the running episodes.
        rewards: (N,) float32.
        finished: (N,) churned, or survived the horizon.
        churned: (N,) of the finished ones, those who left.
        offered: (N,) a contact was made.
        accepted: (N,) and the offer accepted.
        masked: (N,) an offer was asked for that the rules forbid; none was made.
        index: (m,) where `finished`.
        returns: (m,) undiscounted sum of rewards of the finished episodes.
        lengths: (m,) their steps.
        final_observations: (m, width) their last observations; None unless asked for.
    """

    observations: Observations
    rewards: npt.NDArray[np.float32]
    finished: npt.NDArray[np.bool_]
    churned: npt.NDArray[np.bool_]
    offered: npt.NDArray[np.bool_]
    accepted: npt.NDArray[np.bool_]
    masked: npt.NDArray[np.bool_]
    index: Ints
    returns: npt.NDArray[np.float32]
    lengths: Ints
    final_observations: Observations | None


class RetentionCore:
    """N independent episodes over n customers.

    Args:
        tables: the customers and how they respond.
        process: the rules.
        size: N.
        rng: draws customers, budget prices, acceptance and churn.
        reward: `realised`: margin less discounts and contact costs as they happen, in the price's currency,
            and the terminal value at the horizon. `expected_incremental`: what the action adds in expectation
            against never offering again; the same optimal policy by potential-based shaping, without the
            noise of single outcomes.
        prices: where an episode's budget price λ is drawn from.
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
        prices: BudgetPriceConfig = UNPRICED,
        reward_scale: npt.NDArray[np.floating] | None = None,
        final_observations: bool = False,
    ) -> None:
        self.tables, self.process, self.size, self.rng = tables, process, size, rng
        self.observer = Observer(tables, process)
        self._reward, self._prices, self._keep_final = reward, prices, final_observations
        n, arms = len(tables), process.n_arms
        self._hazard = hazards(tables, process).astype(np.float32).reshape(-1)
        recent = process.recently_contacted[process.view]
        self._recent = recent
        self._acceptance = tables.acceptance.astype(np.float32).reshape(-1)
        self._after = process.after_offer.reshape(-1)
        scale = np.ones(n) if reward_scale is None else np.asarray(reward_scale)
        self._scale = scale.astype(np.float32)
        self._price = (tables.price * scale).astype(np.float32)
        self._unit_scale = (self.observer.unit * scale).astype(np.float32)
        self._step_margin = process.step_margin.astype(np.float32)
        self._step_spend = process.step_spend.astype(np.float32)
        gamma = process.discount_factor
        self._final_margin = (gamma * process.final_margin).astype(np.float32)
        self._final_spend = (gamma * process.final_spend).astype(np.float32)
        self._arms, self._everyone = arms, np.arange(size)
        self._by_arm = self._everyone * (arms - 1) - 1
        self._mask_at = self.observer.width - (arms - 1)
        self.customer = np.zeros(size, np.int64)
        self.step_number = np.zeros(size, np.int64)
        self.status = np.full(size, IDLE)
        self.used = np.zeros(size, np.int64)
        self.budget_price = np.zeros(size, np.float32)
        self._returns = np.zeros(size, np.float32)

    def reset(
        self,
        *,
        customer: npt.ArrayLike | None = None,
        status: npt.ArrayLike | None = None,
        offers_used: npt.ArrayLike | None = None,
        budget_price: npt.ArrayLike | None = None,
    ) -> Observations:
        """Start every episode anew; what is not given is drawn (customer, budget price), idle or 0.

        Raises:
            ValueError: a customer, status, count or price that does not exist.
        """
        self._restart(self._everyone)
        if customer is not None:
            self.customer[:] = _within("customer", customer, len(self.tables) - 1)
        if status is not None:
            self.status[:] = _within("status", status, self.process.n_statuses - 1)
        if offers_used is not None:
            self.used[:] = _within("offers_used", offers_used, self.process.max_offers)
        if budget_price is not None:
            prices = np.asarray(budget_price, np.float32)
            if not (np.isfinite(prices) & (prices >= 0)).all():
                msg = f"budget_price is {budget_price!r}: expected a finite number of at least 0"
                raise ValueError(msg)
            self.budget_price[:] = prices
        return self._observe()

    def step(self, actions: npt.NDArray[np.integer]) -> Step:
        """Advance every customer by one step.

        Args:
            actions: (N,) arms 0 … K - 1. An arm that the rules forbid acts as 0, no offer.
        """
        process = self.process
        u = self.rng.random((2, self.size), np.float32)
        status, customer = self.status, self.customer
        row = customer * process.horizon + self.step_number
        wanted = actions > 0
        index = self._by_arm + actions
        index[~wanted] = 0
        offered = self._may_offer.take(index)
        offered &= wanted
        masked = wanted & ~offered
        arm = actions * offered
        chance = self._acceptance.take((2 * row + self._recent.take(status)) * self._arms + arm)
        accepted = u[0] < chance
        during = self._after.take((status * self._arms + arm) * 2 + accepted)
        churned = u[1] < self._hazard.take(3 * row + process.hazard_kind.take(during))
        if self._reward == "expected_incremental":
            rewards = self._net.reshape(-1).take(index)
            rewards *= offered
            rewards *= self._unit_scale.take(customer)
        else:
            rewards = self._realised(during, offered, churned)
        self.status = process.successor.take(during)
        self.used += offered
        self.step_number += 1
        finished = self.step_number >= process.horizon
        if self._reward == "realised":
            self._add_terminal_value(rewards, np.flatnonzero(finished & ~churned))
        finished |= churned
        self._returns += rewards
        ended = np.flatnonzero(finished)
        returns, lengths = self._returns.take(ended), self.step_number.take(ended)
        final = self._observe_some(ended) if self._keep_final else None
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

    def _realised(
        self, during: Ints, offered: npt.NDArray[np.bool_], churned: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.float32]:
        rate = self._step_margin.take(during) - self.budget_price * self._step_spend.take(during)
        rewards = rate * self._price.take(self.customer)
        rewards *= ~churned
        contact = (1 + self.budget_price) * np.float32(self.process.contact_cost)
        rewards -= contact * self._scale.take(self.customer) * offered
        return np.asarray(rewards, np.float32)

    def _add_terminal_value(self, rewards: npt.NDArray[np.float32], survivors: Ints) -> None:
        if len(survivors):
            status = self.status[survivors]
            rate = self._final_margin[status] - self.budget_price[survivors] * self._final_spend[status]
            rewards[survivors] += rate * self._price[self.customer[survivors]]

    def _restart(self, index: Ints) -> None:
        m, prices = len(index), self._prices
        self.customer[index] = self.rng.integers(len(self.tables), size=m)
        self.step_number[index] = 0
        self.status[index] = IDLE
        self.used[index] = 0
        self._returns[index] = 0
        if prices.maximum > 0:
            u = self.rng.random((2, m))
            priced = np.expm1(u[1] * np.log1p(prices.maximum))
            self.budget_price[index] = np.where(u[0] < prices.unpriced_share, 0, priced)

    def _observe(self) -> Observations:
        observations, self._net = self.observer.observe(
            self.customer, self.step_number, self.status, self.used, self.budget_price
        )
        self._may_offer = (observations[:, self._mask_at :] > 0).reshape(-1)
        return observations

    def _observe_some(self, index: Ints) -> Observations:
        return self.observer.observe(
            self.customer[index],
            self.step_number[index],
            self.status[index],
            self.used[index],
            self.budget_price[index],
        )[0]


def _within(name: str, values: npt.ArrayLike, largest: int) -> Ints:
    found = np.asarray(values)
    if not np.issubdtype(found.dtype, np.integer) or ((found < 0) | (found > largest)).any():
        msg = f"{name} is {values!r}: expected an integer from 0 to {largest}"
        raise ValueError(msg)
    return found.astype(np.int64)

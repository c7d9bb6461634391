"""The dynamics of N customers at once, in numpy. Gymnasium and stable-baselines3 see it through `env`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from churn_assets.decision.hidden import Drawn
from churn_assets.decision.incremental import incremental
from churn_assets.decision.observation import Observations, Observer
from churn_assets.decision.process import IDLE, Bools, Ints, RetentionProcess
from churn_assets.decision.tables import ResponseTables, hazards, relapses

Reward = Literal["realised", "expected_incremental"]
Singles = npt.NDArray[np.float32]

PREPARED_BYTES = 2**30
"""Observations are prepared for all customers at once if they take no more memory than this."""


@dataclass(frozen=True, slots=True)
class TimeStep:
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

    Fetching from memory what is tabled for (customer, step) costs more than all arithmetic of a step. So it lies in
    one row, a whole number of cache lines long, which is fetched once: what will be observed, then what will be drawn
    from. Where every customer is of several types the two are fetched apart, as a customer is observed alike in all.

    Args:
        tables: the customers and how they respond, as far as it shows.
        process: the rules.
        size: N.
        rng: draws customers, acceptance and churn.
        reward: `realised`: margin less benefits and contact costs as they happen, in the price's currency, and the
            terminal value at the horizon. `expected_incremental`: what the action adds in expectation against never
            offering again; the same optimal policy by potential-based shaping, without the noise of single outcomes.
        budget_price: λ of each customer's episodes, one or (n,).
        reward_scale: (n,) multiplies a customer's rewards. None: 1.
        observer: what is shown of the same customers, if not these tables.
        drawn: how they respond, a type each episode. None: by the types of the process.
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
        observer: Observer | None = None,
        drawn: Drawn | None = None,
        final_observations: bool = False,
    ) -> None:
        n, self._arms = len(tables), process.n_arms
        self.process, self.size, self.customers, self.rng = process, size, n, rng
        self.observer = Observer(tables, process) if observer is None else observer
        self._reward, self._keep_final = reward, final_observations
        self.prices = np.broadcast_to(_prices(budget_price), (n,))
        self._priced, self._scaled = bool(self.prices.any()), reward_scale is not None
        self.reward_scale = (
            np.ones(n, np.float32) if reward_scale is None else reward_scale.astype(np.float32)
        )
        self._restricted = not tables.allowed.all()
        self._allowed = np.ascontiguousarray(tables.allowed).reshape(-1)
        self._price = (tables.price * self.reward_scale).astype(np.float32)
        benefit = process.menu.monthly(tables.price) * self.reward_scale[:, None]
        self._benefit = np.ascontiguousarray(benefit, np.float32).reshape(-1)
        drawn = Drawn.of(tables, process) if drawn is None else drawn
        self._type_ends = drawn.share.cumsum()[:-1]
        self._tabulate(drawn.tables)
        self._tabulate_situations()
        self.customer, self.step_number = np.zeros(size, np.int64), np.zeros(size, np.int64)
        self._type = np.zeros(size, np.int64)
        self._situation = np.full(size, IDLE)
        self.budget_price = np.zeros(size, np.float32)
        self._returns = np.zeros(size, np.float32)
        self._everyone = np.arange(size)

    def _tabulate(self, drawn: ResponseTables) -> None:
        """Rows over (customer or customer of a type, step 0 … T, whether contacted recently), and what stands where."""
        process, observer = self.process, self.observer
        views, arms, types = len(process.recent_at), self._arms, len(drawn) // self.customers
        parts: list[npt.NDArray[np.floating]] = [
            hazards(drawn, process)[:, :, None].repeat(views, axis=2),
            drawn.acceptance[:, :, process.recent_at],
        ]
        if process.effect_decay:
            parts.append(relapses(drawn, process)[:, :, None].repeat(views, axis=2))
        if self._reward == "expected_incremental":
            scale = self.reward_scale.repeat(types)[:, None, None, None]
            added = incremental(drawn.responses, process.of_one_type)
            parts += [each * scale for each in (added.value, added.spend)]
        drawn_from = sum(part.shape[-1] for part in parts)
        months = (process.horizon + 1) * views
        width, together = observer.width, types == 1
        # A single customer is observed as asked; for many it pays to prepare their observations, if they fit.
        floats = _whole_lines(width + drawn_from) if together else _whole_lines(width)
        if self.size == 1 or 4 * self.customers * months * floats > PREPARED_BYTES:
            width = 0
        first = width if together else 0
        rows = np.zeros(
            (len(drawn), process.horizon + 1, views, _whole_lines(first + drawn_from)), np.float32
        )
        self._rows, self._prepared = rows.reshape(-1, rows.shape[-1]), width
        self._shown_rows = self._rows if together else np.zeros((self.customers * months, width), np.float32)
        if width:
            observer.write_rows(self.prices, self._shown_rows[:, :width])
        self._hazard = first
        for part in parts:
            rows[:, :-1, :, first : first + part.shape[-1]] = part
            first += part.shape[-1]
        self._acceptance = self._hazard + process.n_hazards
        self._relapse = self._acceptance + arms
        self._value = self._relapse + (process.n_hazards if process.effect_decay else 0)
        self._spend = self._value + arms
        self._row_start = np.arange(self.size) * rows.shape[-1]

    def _tabulate_situations(self) -> None:
        """A situation is state and past in one number. Flat arrays over it, and over it, arm and accepted."""
        process, arms = self.process, self._arms
        self._counts = len(process.pasts)
        self._open = (process.open[:, None] & (np.arange(self._counts) < process.open_pasts)).reshape(-1)
        self._view = np.repeat(process.view, self._counts)
        after = np.broadcast_to(process.after_offer[:, None], (process.n_states, self._counts, arms, 2))
        made = np.broadcast_to((np.arange(arms) > 0)[:, None], after.shape)
        same = np.arange(self._counts)[:, None, None]
        past_then = np.where(made, process.past_after[:, None], same)
        self._next = (process.successor[after] * self._counts + past_then).reshape(-1)
        self._kind = (self._hazard + process.hazard_kind[after]).reshape(-1)
        self._leaving = (self._relapse + process.leaving[after]).reshape(-1)
        self._margin = np.float32(process.margin * process.step_months)
        running = np.where(process.running, process.arm, 0)  # no contact gives nothing
        self._running = running[after].reshape(-1)
        at_once = process.menu.given_once[:, None] * np.arange(2)
        contact = (process.menu.contact_cost[:, None] + at_once) * made
        self._contact = contact.astype(np.float32).reshape(-1)
        gamma, rest = process.discount_factor, process.value_horizon_months - process.step_months
        self._final_margin = np.float32(gamma * process.margin * rest)
        self._final_arm = np.repeat(process.arm, self._counts)
        self._final_months = np.repeat(gamma * process.months_owed, self._counts).astype(np.float32)

    @property
    def state(self) -> Ints:
        """(N,) state at the decision."""
        return self._situation // self._counts

    @property
    def used(self) -> Ints:
        """(N,) offers used."""
        return np.asarray(self.process.pasts[self._situation % self._counts, 0])

    @property
    def accepted(self) -> Ints:
        """(N,) offers accepted; 0 where no taste is hidden."""
        return np.asarray(self.process.pasts[self._situation % self._counts, 1])

    def reset(
        self,
        *,
        customer: npt.ArrayLike | None = None,
        state: npt.ArrayLike | None = None,
        offers_used: npt.ArrayLike = 0,
        offers_accepted: npt.ArrayLike = 0,
        budget_price: npt.ArrayLike | None = None,
    ) -> Observations:
        """Start every episode anew; customers that are not given are drawn, the rest is idle, 0 and their price.

        Raises:
            ValueError: a customer, state, count or price that does not exist; a price for a vector of customers.
        """
        self._restart(self._everyone)
        if customer is not None:
            self.customer[:] = _within("customer", customer, self.customers - 1)
            self.budget_price[:] = self.prices[self.customer]
        if state is not None:
            self._situation += _within("state", state, self.process.n_states - 1) * self._counts
        used = _within("offers_used", offers_used, self.process.max_offers)
        self._situation += self.process.past(used, _within("offers_accepted", offers_accepted, used))
        if budget_price is not None:
            if self.size > 1:
                msg = "budget_price is fixed when a vector of customers is made: it cannot be reset"
                raise ValueError(msg)
            self.budget_price[:] = _prices(budget_price)
            self._priced = True
        return self._observe()

    def step(self, actions: npt.NDArray[np.integer]) -> TimeStep:
        """Advance every customer by one step.

        Args:
            actions: (N,) arms 0 … K - 1. An arm that the rules forbid acts as 0, no offer.
        """
        draws = self.rng.random((3 if self.process.effect_decay else 2) * self.size, np.float32)
        now = self._now.reshape(-1)
        arm = actions * self._open.take(self._situation)
        if self._restricted:
            arm *= self._allowed.take(self.customer * self._arms + arm)
        offered = arm > 0
        masked = arm != actions
        at_arm = self._row_start + arm
        accepted = draws[: self.size] < now.take(at_arm + self._acceptance)
        after = self._situation * self._arms
        after += arm
        after *= 2
        after += accepted
        kind = self._kind.take(after)
        kind += self._row_start
        churned = draws[self.size : 2 * self.size] < now.take(kind)
        if self._reward == "expected_incremental":
            rewards = now.take(at_arm + self._value)
            rewards -= self.budget_price * now.take(at_arm + self._spend)
        else:
            rewards = self._realised(after, churned)
        if self.process.effect_decay:  # whoever leaves after the window has paid for the step
            churned |= draws[2 * self.size :] < now.take(self._leaving.take(after) + self._row_start)
        self._situation = self._next.take(after)
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
        return TimeStep(
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

    def _realised(self, after: Ints, churned: Bools) -> Singles:
        contact = self._contact.take(after)
        given = self._benefit.take(self.customer * self._arms + self._running.take(after))
        given *= self.process.step_months
        if self._priced:
            given *= 1 + self.budget_price
            contact *= 1 + self.budget_price
        rewards = self._margin * self._price.take(self.customer)
        rewards -= given
        rewards *= ~churned
        if self._scaled:
            contact *= self.reward_scale.take(self.customer)
        rewards -= contact
        return rewards

    def _add_terminal_value(self, rewards: Singles, survivors: Ints) -> None:
        situation, customer = self._situation.take(survivors), self.customer.take(survivors)
        owed = self._benefit.take(customer * self._arms + self._final_arm.take(situation))
        owed *= self._final_months.take(situation)
        owed *= 1 + self.budget_price.take(survivors)
        rewards[survivors] += self._final_margin * self._price.take(customer) - owed

    def _restart(self, index: Ints) -> None:
        customer = self.rng.integers(self.customers, size=len(index))
        self.customer[index] = customer
        if len(self._type_ends):
            self._type[index] = self._type_ends.searchsorted(self.rng.random(len(index)), "right")
        if self._priced:
            self.budget_price[index] = self.prices.take(customer)
        self.step_number[index] = 0
        self._situation[index] = IDLE
        self._returns[index] = 0

    def _observe(self) -> Observations:
        who = self.customer
        if len(self._type_ends):
            who = who * (len(self._type_ends) + 1) + self._type
        self._now = self._rows.take(self._row(who, self.step_number, self._situation), axis=0)
        return self._shown(self._now, self.customer, self.step_number, self._situation, self.budget_price)

    def _observe_at(self, index: Ints) -> Observations:
        customer, step = self.customer.take(index), self.step_number.take(index)
        return self._shown(None, customer, step, self._situation.take(index), self.budget_price.take(index))

    def _row(self, who: Ints, step: Ints, situation: Ints) -> Ints:
        row = who * (self.process.horizon + 1)
        row += step
        row *= len(self.process.recent_at)
        row += self._view.take(situation)
        return row

    def _shown(
        self, rows: Singles | None, customer: Ints, step: Ints, situation: Ints, price: Singles
    ) -> Observations:
        """What is shown, of rows that were fetched already if they hold it."""
        if not self._prepared:
            state, past = situation // self._counts, situation % self._counts
            return self.observer.observe(customer, step, state, past, price)
        if rows is None or self._shown_rows is not self._rows:
            rows = self._shown_rows.take(self._row(customer, step, situation), axis=0)
        observations = rows[:, : self._prepared]
        last = self.observer.situations.take(situation, axis=0)
        if self._restricted:
            # The prepared row is idle and without offers used: its mask is the customer's eligibility.
            last[:, 1 - self._arms :] *= observations[:, 1 - self._arms :]
        observations[:, -last.shape[1] :] = last
        return observations


def _whole_lines(floats: int) -> int:
    """The next multiple of a cache line of 64 bytes."""
    return -(-floats // 16) * 16


def _prices(values: npt.ArrayLike) -> Singles:
    prices = np.asarray(values, np.float32)
    if not (np.isfinite(prices) & (prices >= 0)).all():
        msg = f"budget_price is {values!r}: expected finite numbers of at least 0"
        raise ValueError(msg)
    return prices


def _within(name: str, values: npt.ArrayLike, largest: int | Ints) -> Ints:
    found = np.asarray(values)
    if not np.issubdtype(found.dtype, np.integer) or ((found < 0) | (found > largest)).any():
        msg = f"{name} is {values!r}: expected an integer from 0 to {largest}"
        raise ValueError(msg)
    return found.astype(np.int64)

"""Limits that a server keeps call by call: shadow prices from whom it saw last, a hard stop from the shared ledger."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

import numpy as np

from churn_assets.deciding.budgets import BudgetUse, Stops, Wishes, granted_at, standing, used_by, wanted
from churn_assets.deciding.decider import Budget, CustomerInput, Decider, Decision, Rollout
from churn_assets.deciding.ledger import BudgetLedger, LedgerTurn
from churn_assets.deciding.release_models import Foreseen
from churn_assets.decision.knapsack import shadow_prices
from churn_assets.decision.limits import BudgetsConfig, Limits
from churn_assets.decision.pacing import Moment, expected_ahead
from churn_assets.decision.process import Floats

WINDOW = 1000
"""Customers seen last, from whom prices are found: a share of a quarter is known to 5 %."""
LEAST_SEEN = 100
"""With fewer, the prices that another worker or the server before kept are better."""
RENEWED = 200
"""Customers after whom prices are found anew, or a fiftieth of those who came in the period."""


class BudgetDesk:
    """Decides within the limits of an experiment. One thread at a time; other processes wait for the ledger's turn.

    Args:
        config: The budgets.
        ledger: That all workers of the machine share.
        wave: Name of what is decided now: the epoch of assignment.
        clock: Aware time now.
    """

    def __init__(
        self, config: BudgetsConfig, ledger: BudgetLedger, wave: str, clock: Callable[[], datetime]
    ) -> None:
        self._config, self._ledger, self._wave, self._clock = config, ledger, wave, clock
        self._decider: Decider | None = None
        self._limits: Limits | None = None
        self._seen: list[Wishes] = []
        self._fresh = 0

    def decide(
        self,
        decider: Decider,
        batch: Sequence[CustomerInput],
        rows: Floats,
        foreseen: Foreseen,
        rollout: Rollout,
        budget: Budget,
    ) -> tuple[list[Decision], list[BudgetUse]]:
        """One decision a customer, and how the limits stand after them.

        Args:
            decider: Of the release that answers.
            batch: m customers.
            rows: (m, F) of them.
            foreseen: What the models say of them.
            rollout: Who is not left to the policy.
            budget: What this call shares beside the limits.

        Raises:
            BudgetError: The limits do not fit the release.
            LedgerError: What is used cannot be read or written; nothing was decided.
            CustomerError: As of `Decider.decide`.
        """
        limits = self._limits_for(decider)
        asked = wanted(decider, batch, rows, foreseen, limits)
        period = self._config.period
        if period is None or not limits.names:
            return _decided(decider, batch, asked.capped, rollout, budget, foreseen), []
        moment = Moment.of(period, self._clock())
        if moment is None:  # nothing may be used before the first period
            nothing = np.zeros(len(limits.names))
            stops = granted_at(decider, asked, limits, nothing, nothing)
            return _decided(decider, batch, stops, rollout, budget, foreseen), []
        self._remember(asked)
        with self._ledger.turn(str(moment.period)) as turn:
            used = turn.used(limits.names)
            left = np.maximum(limits.most - used, 0.0)
            price = self._price(turn, limits, left, moment, len(batch))
            stops = granted_at(decider, asked, limits, left, price)
            decided = _decided(decider, batch, stops, rollout, budget, foreseen)
            mine = used_by(asked.within(limits, left), decided)
            turn.add(limits.names, mine, moment.week, len(batch))
        return decided, standing(limits, used, left, mine, price)

    def _limits_for(self, decider: Decider) -> Limits:
        if self._limits is None or self._decider is not decider:
            self._limits = Limits.of(self._config, decider.menu, decider.schema, self._wave)
            self._decider, self._seen, self._fresh = decider, [], 0
        return self._limits

    def _remember(self, asked: Wishes) -> None:
        self._seen.append(asked)
        self._fresh += len(asked.capped)
        while sum(len(each.capped) for each in self._seen[1:]) >= WINDOW:
            self._seen.pop(0)

    def _price(self, turn: LedgerTurn, limits: Limits, left: Floats, moment: Moment, here: int) -> Floats:
        """(J,) prices at which what is left lasts for the customers who are still to come."""
        kept, arrived = turn.prices(limits.names), turn.arrived(moment.weeks)
        seen = sum(len(each.capped) for each in self._seen)
        due = self._fresh >= max(RENEWED, sum(arrived) // 50)
        if kept is not None and (not due or seen < LEAST_SEEN):
            return kept
        assert self._config.period is not None
        ahead = expected_ahead(moment, self._config.period.forecast, arrived, here, at_once=False)
        fair = left * (seen / max(here + ahead, 1.0))
        found = shadow_prices(Wishes.join(self._seen).within(limits, fair), kept)
        turn.keep_prices(limits.names, found)
        self._fresh = 0
        return found


def _decided(
    decider: Decider,
    batch: Sequence[CustomerInput],
    stops: Sequence[Stops],
    rollout: Rollout,
    budget: Budget,
    foreseen: Foreseen,
) -> list[Decision]:
    able = [replace(one, stopped=each) if each else one for one, each in zip(batch, stops, strict=True)]
    return decider.decide(able, rollout, budget, foreseen)

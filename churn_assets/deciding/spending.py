"""From what an experiment says of budgets to what a decision may use now: limits, period and ledger together."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from churn_assets.deciding.ledger import BudgetLedger
from churn_assets.decision.limits import BudgetError, BudgetsConfig, Limits
from churn_assets.decision.pacing import Moment, allowance, expected_ahead

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn_assets.arms import Menu
    from churn_assets.customers.schema import CustomerSchema
    from churn_assets.deciding.budgets import BudgetUse


def ledger_of(root: Path, config: BudgetsConfig, experiment: str) -> BudgetLedger:
    """The ledger of an experiment in a project's folder."""
    return BudgetLedger(root / config.ledger / f"{experiment}.sqlite")


def wave_key(customers: NDArray[np.uint64], moment: Moment | None, wave: str | None) -> str:
    """Names what is decided together: the wave, or these customers in this week. Decided again it counts once.

    Args:
        customers: `tables.values.id_hash` of each, in any order.
        moment: When.
        wave: Its name, if it has one.
    """
    if wave is not None:
        return f"wave:{wave}"
    week = 0 if moment is None else moment.week
    return f"{week}:{hashlib.sha256(np.sort(customers).tobytes()).hexdigest()[:16]}"


@dataclass(frozen=True, eq=False)
class WaveSpending:
    """What one wave may use, and the ledger that keeps what it uses.

    Attributes:
        limits: That hold for it.
        ledger: Where earlier use stands.
        moment: When it is decided.
        key: Names it.
        used: (J,) what others used before it.
        arrived: Customers that were decided for in each week, without it.
        forecast: Customers of each week, where they are told.
    """

    limits: Limits
    ledger: BudgetLedger
    moment: Moment | None
    key: str
    used: NDArray[np.float64]
    arrived: Sequence[int]
    forecast: Sequence[int] | None

    @classmethod
    def begin(
        cls,
        config: BudgetsConfig,
        ledger: BudgetLedger,
        menu: Menu,
        schema: CustomerSchema,
        customers: NDArray[np.uint64],
        wave: str | None,
        now: datetime,
    ) -> WaveSpending:
        """Look up what is left.

        Args:
            config: The budgets, those of the run alone among them.
            ledger: Of the experiment.
            menu: Of the release.
            schema: Of its customers.
            customers: Of the wave, as of `wave_key`.
            wave: Its name, if it has one.
            now: Aware time.

        Raises:
            BudgetError: The limits do not fit the release, or the first period has not begun.
            LedgerError: The ledger cannot be read.
        """
        limits, period = Limits.of(config, menu, schema, wave), config.period
        if period is None:
            return cls(limits, ledger, None, "", np.zeros(len(limits.names)), (), None)
        moment = Moment.of(period, now)
        if moment is None:
            raise BudgetError(
                f"budgets.period.starts: found {period.starts}, before which nothing may be used; today is {now.date()}"
            )
        key = wave_key(customers, moment, wave)
        with ledger.turn(str(moment.period)) as turn:
            used = np.where(limits.remembered, turn.used(limits.names, key), 0.0)
            arrived = turn.arrived(moment.weeks, key)
        return cls(limits, ledger, moment, key, used, arrived, period.forecast)

    def allow(self, customers: int) -> NDArray[np.float64]:
        """(J,) what so many customers may use now."""
        left = np.maximum(self.limits.most - self.used, 0.0)
        if self.moment is None:
            return left
        ahead = expected_ahead(self.moment, self.forecast, self.arrived, customers, at_once=True)
        paced = allowance(self.limits.most, self.used, customers, ahead, self.limits.contacts)
        return np.where(self.limits.remembered, paced, left)

    def keep(self, uses: Sequence[BudgetUse], customers: int) -> None:
        """Write what the wave uses, and its prices for whoever decides next.

        Raises:
            BudgetError: Others used so much meanwhile that it no longer fits; nothing is written.
            LedgerError: The ledger cannot be written.
        """
        if self.moment is None:
            return
        kept = self.limits.remembered
        names = [each for each, known in zip(self.limits.names, kept, strict=True) if known]
        decided = np.array([each.decided for each in uses], np.float64)[kept]
        with self.ledger.turn(str(self.moment.period)) as turn:
            over = turn.used(names, self.key) + decided > self.limits.most[kept] * (1 + 1e-12)
            if over.any():
                name = names[int(over.argmax())]
                raise BudgetError(
                    f"budgets: others used of limit {name} while this wave was decided, and what it needs is no longer "
                    "left; decide again"
                )
            turn.replace(self.key, names, decided, self.moment.week, customers)
            turn.keep_prices(names, np.array([each.shadow_price for each in uses], np.float64)[kept])

"""What an offer adds against never offering again: the training reward, and what a policy is shown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from churn_assets.decision.process import Floats, RetentionProcess
from churn_assets.decision.tables import ResponseTables, hazards


@dataclass(frozen=True)
class Incremental:
    """Gain and spend of one offer followed by none, less those of no offer at all, in the price's currency.

    Attributes:
        value: (n, T, O, K) expected discounted customer value added; 0 for arm 0.
        spend: (n, T, O, K) expected discounted spend added (discounts paid and contact costs); 0 for arm 0.
    """

    value: npt.NDArray[np.float32]
    spend: npt.NDArray[np.float32]

    def net(self, budget_price: float) -> npt.NDArray[np.float32]:
        """(n, T, O, K) value less spend at a price of the budget."""
        return self.value - np.float32(budget_price) * self.spend


def incremental(tables: ResponseTables, process: RetentionProcess) -> Incremental:
    """Exact incremental value and spend of every offer in every open status, by one backward pass."""
    hazard, kind, successor = hazards(tables, process), process.hazard_kind, process.successor
    arms, statuses, recent = process.n_arms, process.open_statuses, process.recently_contacted
    granted = [process.discounted(arm, 0) for arm in range(1, arms)]
    shape = (len(tables), process.horizon, len(statuses), arms)
    value, spend = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    v: Floats = process.final_margin[:, None] * tables.price
    c: Floats = process.final_spend[:, None] * tables.price
    for t in reversed(range(process.horizon)):
        survival = (1 - hazard[:, t].T)[kind]
        v = survival * (process.step_margin[:, None] * tables.price + process.discount_factor * v[successor])
        c = survival * (process.step_spend[:, None] * tables.price + process.discount_factor * c[successor])
        for view, status in enumerate(statuses):
            q = tables.acceptance[:, t, recent[view], 1:].T
            gained = q * v[granted] + (1 - q) * v[process.refused_now] - process.contact_cost - v[status]
            spent = q * c[granted] + (1 - q) * c[process.refused_now] + process.contact_cost - c[status]
            value[:, t, view, 1:], spend[:, t, view, 1:] = gained.T, spent.T
    return Incremental(value, spend)


def value_of_waiting(
    added: Incremental,
    tables: ResponseTables,
    process: RetentionProcess,
    budget_prices: npt.NDArray[np.floating],
) -> npt.NDArray[np.float32]:
    """What the best single offer at a later step adds, if none is made now: an optimal stopping problem.

    Args:
        added: incremental values of the same tables.
        tables: n customers.
        process: the rules.
        budget_prices: (J,) prices of a dollar of spend.

    Returns:
        (n, T, J) expected discounted value less priced spend, at least 0, for a customer without a recent contact.
    """
    prices = np.asarray(budget_prices, np.float32)
    survival = (process.discount_factor * (1 - hazards(tables, process)[:, :, 0])).astype(np.float32)
    waiting = np.zeros((len(tables), process.horizon, len(prices)), np.float32)
    value, spend = added.value[:, :, 0], added.spend[:, :, 0]
    for t in reversed(range(process.horizon - 1)):
        best = waiting[:, t + 1].copy()
        for arm in range(1, process.n_arms):
            net = value[:, t + 1, arm, None] - prices * spend[:, t + 1, arm, None]
            np.maximum(best, net, out=best)
        waiting[:, t] = survival[:, t, None] * best
    return waiting

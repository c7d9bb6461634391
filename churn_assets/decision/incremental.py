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

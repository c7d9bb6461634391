"""How the limits of an experiment would stand for a release's held-out customers: their use and shadow prices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from churn_assets.deciding.budgets import Wishes, granted, wanted
from churn_assets.deciding.decider import Decider
from churn_assets.deciding.table import BATCH, inputs_of
from churn_assets.decision.limits import BudgetsConfig, Limits
from churn_assets.release.golden import GOLDEN_AT

if TYPE_CHECKING:
    import pandas as pd

    from churn_assets.deciding.risk_only import AnyDecider


def limit_rows(
    decider: AnyDecider, customers: pd.DataFrame, everybody: int, budgets: BudgetsConfig | None
) -> list[dict[str, Any]]:
    """A row for each limit that holds whatever the wave; none without a policy.

    Args:
        decider: Of the release.
        customers: n held-out customers, as they came in.
        everybody: Customers of the whole table: those of a period, where none are forecast.
        budgets: What the experiment says.
    """
    if budgets is None or budgets.period is None or not isinstance(decider, Decider):
        return []
    limits = Limits.of(budgets, decider.menu, decider.schema)
    asked, parts = inputs_of(customers, decider, GOLDEN_AT), []
    for start in range(0, len(asked), BATCH):
        batch = asked[start : start + BATCH]
        rows = decider.encoded(batch)
        parts.append(wanted(decider, batch, rows, decider.foresee(batch, rows), limits))
    forecast = budgets.period.forecast
    expected = max(everybody if forecast is None else sum(forecast), len(asked), 1)
    theirs = limits.most * len(asked) / expected
    most = np.where(limits.contacts, np.floor(theirs), theirs)
    found = granted(decider, Wishes.join(parts), limits, most).allocation
    return [
        {
            "limit": name,
            "unit": "contacts" if counted else "money",
            "period": whole,
            "allowed": mine,
            "used": used,
            "shadow_price": price,
        }
        for name, counted, whole, mine, used, price in zip(
            limits.names,
            limits.contacts.tolist(),
            limits.most.tolist(),
            most.tolist(),
            found.used.tolist(),
            found.price.tolist(),
            strict=True,
        )
    ]

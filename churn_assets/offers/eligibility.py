"""Who may get which arm by the conditions that the arm declares. Rules of timing and budget are decided elsewhere."""

from __future__ import annotations

import difflib

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn_assets.arms import ArmError, Condition, Menu

Bools = NDArray[np.bool_]


def may_get(menu: Menu, customers: pd.DataFrame) -> Bools:
    """(n, K) whether each of n customers keeps all conditions of each arm.

    Args:
        menu: The arms.
        customers: (n, F) features by name, numbers or texts; a blank keeps no condition.

    Raises:
        ArmError: A condition is on a column that is not there.
    """
    allowed = np.ones((len(customers), len(menu)), dtype=bool)
    for index, arm in enumerate(menu):
        for condition in arm.eligible:
            allowed[:, index] &= _keeps(condition, customers, arm.id)
    return allowed


def _keeps(condition: Condition, customers: pd.DataFrame, arm_id: str) -> Bools:
    if condition.column not in customers:
        names = [str(name) for name in customers.columns]
        near = difflib.get_close_matches(condition.column, names, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        message = (
            f"arm {arm_id}, eligible: found the column {condition.column!r}, expected a feature of the customer "
            f"table{hint}"
        )
        raise ArmError(message)
    values = customers[condition.column].astype(object).tolist()
    return np.fromiter(map(condition.holds, values), dtype=bool, count=len(values))

"""Who may get which arm by the conditions that the arm declares. Rules of timing and budget are decided elsewhere."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from churn_assets.arms import Arm, ArmError, Condition, Menu

if TYPE_CHECKING:
    import pandas as pd

    from churn_assets.customers.schema import CustomerSchema

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Eligibility:
    """The conditions of a menu, ready for rows of a design matrix.

    Attributes:
        arms: K.
        conditions: Of each condition the arm, the feature, and what decides: by category (the last is a blank), or
            the condition itself for a number.
    """

    arms: int
    conditions: tuple[tuple[int, int, Bools | Condition], ...]

    @classmethod
    def of(cls, menu: Sequence[Arm] | Menu, schema: CustomerSchema) -> Eligibility:
        """Prepares a menu, or arms that may stand on one, for the customers of a schema.

        Raises:
            ArmError: A condition is on a column that is no feature, compares numbers with a column of texts, or is kept
                by none of a column's categories.
        """
        found: list[tuple[int, int, Bools | Condition]] = []
        for index, arm in enumerate(menu):
            for condition in arm.eligible:
                if condition.column not in schema.names:
                    raise _no_column(arm.id, condition.column, schema.names)
                position = schema.names.index(condition.column)
                feature = schema.features[position]
                if feature.kind == "numeric":
                    found.append((index, position, condition))
                    continue
                if condition.reads_numbers:
                    message = f"arm {arm.id}, eligible: column {condition.column!r} holds texts, expected one_of for it"
                    raise ArmError(message)
                kept = [condition.holds(category) for category in feature.categories]
                if not any(kept):
                    raise _kept_by_none(arm.id, condition, feature.categories)
                found.append((index, position, np.array([*kept, False])))
        return cls(len(menu), tuple(found))

    def allowed(self, X: Floats) -> Bools:
        """(n, K) whether each customer (n, F) keeps all conditions of each arm; a blank keeps none."""
        allowed = np.ones((len(X), self.arms), dtype=bool)
        for arm, feature, keeps in self.conditions:
            values = X[:, feature]
            if isinstance(keeps, Condition):
                allowed[:, arm] &= np.fromiter(map(keeps.holds, values.tolist()), dtype=bool, count=len(X))
            else:
                allowed[:, arm] &= keeps[np.where(np.isnan(values), len(keeps) - 1, values).astype(np.int64)]
        return allowed


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
        raise _no_column(arm_id, condition.column, [str(name) for name in customers.columns])
    values = customers[condition.column].astype(object).tolist()
    return np.fromiter(map(condition.holds, values), dtype=bool, count=len(values))


def _kept_by_none(arm_id: str, condition: Condition, categories: Sequence[str]) -> ArmError:
    wanted = ["yes"] if condition.one_of is None else list(map(str, condition.one_of))
    near = difflib.get_close_matches(wanted[0], categories, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return ArmError(
        f"arm {arm_id}, eligible: column {condition.column!r}: found one_of {', '.join(wanted)}, which nobody has, "
        f"expected one of {', '.join(categories)}{hint}"
    )


def _no_column(arm_id: str, column: str, names: Sequence[str]) -> ArmError:
    near = difflib.get_close_matches(column, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return ArmError(
        f"arm {arm_id}, eligible: found the column {column!r}, expected a feature of the customer table{hint}"
    )

"""Who may get which arm by the conditions that the arm declares. Rules of timing and budget are decided elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from churn_assets.arms import Arm, ArmError, Condition, Menu, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

    from churn_assets.customers.schema import CustomerSchema

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Decides = Bools | Condition
ColumnLevels = Mapping[str, Sequence[str] | None]
"""Categories of columns by name; None for one of numbers."""


@dataclass(frozen=True, eq=False)
class Eligibility:
    """The conditions of a menu, ready for rows of a design matrix.

    Attributes:
        arms: K.
        conditions: Of each condition the arm, the feature, and what decides: by category (the last is a blank), or
            the condition itself for a number.
    """

    arms: int
    conditions: tuple[tuple[int, int, Decides], ...]

    @classmethod
    def of(cls, menu: Sequence[Arm] | Menu, schema: CustomerSchema) -> Eligibility:
        """Prepares a menu, or arms that may stand on one, for the customers of a schema.

        Raises:
            ArmError: A condition is on a column that is no feature, compares numbers with texts or texts with numbers,
                or is kept by none of a column's categories.
        """
        columns = {
            each.name: each.categories if each.kind == "categorical" else None for each in schema.features
        }
        return cls(len(menu), tuple(_prepared(menu, columns, whole=True)))

    def allowed(self, X: Floats) -> Bools:
        """(n, K) whether each customer (n, F) keeps all conditions of each arm; a blank keeps none."""
        allowed = np.ones((len(X), self.arms), dtype=bool)
        for arm, feature, keeps in self.conditions:
            values = X[:, feature]
            if isinstance(keeps, Condition):
                allowed[:, arm] &= keeps.among(values)
            else:
                allowed[:, arm] &= keeps[np.where(np.isnan(values), len(keeps) - 1, values).astype(np.int64)]
        return allowed


def may_get(menu: Menu, customers: pd.DataFrame) -> Bools:
    """(n, K) whether each of n customers keeps all conditions of each arm.

    Args:
        menu: The arms.
        customers: (n, F) features by name, numbers or texts; a blank keeps no condition.

    Raises:
        ArmError: As of `Eligibility.of`; but a category may be one that none of these customers has.
    """
    read = {condition.column for arm in menu for condition in arm.eligible}
    columns: dict[str, Sequence[str] | None] = dict.fromkeys(map(str, customers.columns))
    X = np.full(customers.shape, np.nan)
    for position, (name, column) in enumerate(customers.items()):
        if name in read:
            columns[str(name)], X[:, position] = _as_feature(column)
    return Eligibility(len(menu), tuple(_prepared(menu, columns, whole=False))).allowed(X)


def _as_feature(column: pd.Series) -> tuple[tuple[str, ...] | None, Floats]:
    """Categories of a column (None: numbers), and its values as a design matrix has them. One of blanks has none."""
    known = column.dropna()
    if len(known) and not any(isinstance(value, str) for value in known):
        return None, column.to_numpy(np.float64, na_value=np.nan)
    categories = {value: number for number, value in enumerate(map(str, known.unique()))}
    return tuple(categories), column.map(str, na_action="ignore").map(categories).to_numpy(np.float64)


def _prepared(
    menu: Sequence[Arm] | Menu, columns: ColumnLevels, *, whole: bool
) -> Iterator[tuple[int, int, Decides]]:
    """What `Eligibility` holds; `whole`: there are no other categories than these."""
    names = list(columns)
    for index, arm in enumerate(menu):
        for condition in arm.eligible:
            if condition.column not in names:
                raise _no_column(arm.id, condition.column, names)
            try:
                decides = _decides(condition, columns[condition.column], whole=whole)
            except ArmError as error:
                raise ArmError(f"arm {arm.id}, eligible: column {condition.column!r}: {error}") from error
            yield index, names.index(condition.column), decides


def _decides(condition: Condition, categories: Sequence[str] | None, *, whole: bool) -> Decides:
    if categories is None:
        condition.among(np.empty(0))  # refuses texts here, not at the first customer
        return condition
    kept = list(map(condition.means, categories))
    if whole and not any(kept):
        raise _kept_by_none(condition, categories)
    return np.array([*kept, False])


def _kept_by_none(condition: Condition, categories: Sequence[str]) -> ArmError:
    wanted = ["yes"] if condition.one_of is None else list(map(str, condition.one_of))
    expected = f"expected one of {', '.join(categories)}{did_you_mean(wanted[0], categories)}"
    return ArmError(f"found one_of {', '.join(wanted)}, which nobody has, {expected}")


def _no_column(arm_id: str, column: str, names: Sequence[str]) -> ArmError:
    expected = f"a feature of the customer table{did_you_mean(column, names)}"
    return ArmError(f"arm {arm_id}, eligible: found the column {column!r}, expected {expected}")

"""What a validated customer table looks like: roles of columns, features and kinds, the split. No data."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel

from churn_assets.customers.folds import folds
from churn_assets.customers.optional import OptionalColumns
from churn_assets.tables.rules import NumberRule

ID = "customer_id"
CHURNED = "churned"
FOLD = "fold"
ROW_DATE = "row_date"
GROUP = "group:"
RESERVED = (ID, CHURNED, FOLD, ROW_DATE)
"""Names that a validated table gives its own columns; no feature may bear them."""


class FeatureSpec(BaseModel, frozen=True, extra="forbid"):
    """One feature, pinned when the table was first read.

    Attributes:
        name: Column name, as in the source.
        kind: `numeric`, or `categorical` (text).
        categories: Values of a categorical feature, sorted; a code in the design matrix is a position here.
        minimum: Smallest value among the customers that models are fitted on (numeric only, else 0).
        maximum: Largest such value (numeric only, else the last code).
        mean: Mean of such values (numeric only, else 0).
        std: Their standard deviation, 1 where the feature is constant (numeric only, else 1).
        lowest: Smallest allowed value, or None.
        highest: Largest allowed value, or None.
        path_dependent: The feature sums up the past and is held still in a projection.
        blank: What a blank means, where it means something.
        constant: Everybody's value, where the source has no such column.
        date: The source has dates; the feature is the months since then.
    """

    name: str
    kind: Literal["numeric", "categorical"]
    categories: tuple[str, ...] = ()
    minimum: float = 0.0
    maximum: float = 0.0
    mean: float = 0.0
    std: float = 1.0
    lowest: float | None = None
    highest: float | None = None
    path_dependent: bool = False
    blank: str | float | None = None
    constant: float | None = None
    date: bool = False

    @property
    def far(self) -> tuple[float, float]:
        """Bounds of what was learned, as far again on both sides: what lies beyond is of another unit, or a mistake."""
        reach = (self.maximum - self.minimum) or max(abs(self.maximum), 1.0)
        return self.minimum - reach, self.maximum + reach


class LabelSpec(BaseModel, frozen=True, extra="forbid"):
    """The label column of the source and what its values say.

    Attributes:
        column: Its name.
        positive: The text that means "left"; the first of several. Empty where the column holds leaving dates.
        negative: The text that means "stayed", likewise.
        values: 1 and 0 by text, where there are several.
    """

    column: str
    positive: str
    negative: str
    values: dict[str, int] = {}

    @property
    def meanings(self) -> dict[str, int]:
        """1 (left) and 0 by the text in the source; empty for dates."""
        single = {self.negative: 0, self.positive: 1} if self.positive else {}
        return self.values or single


class FoldsSpec(BaseModel, frozen=True, extra="forbid"):
    """The split: seed of the hash, number of folds, how many of the last ones are held out."""

    seed: int
    count: int
    held_out: int


class CustomerSchema(BaseModel, frozen=True, extra="forbid"):
    """Everything that is needed to read another table as customers of the same kind.

    Attributes:
        id: Column of the source that names the customer; `customer_id` in the validated frame.
        label: Column and values of the label in the source; `churned` (0 or 1) in the validated frame.
        label_window_months: Months that the label looks ahead.
        monthly_revenue: Feature that is the list price a month.
        tenure: Feature that counts months since joining, or None.
        features: The features, in the order of the design matrix.
        folds: The split.
        made_id: The source has no id: the line names the customer.
        row_date: Column of the source with the day that a row describes; None where a customer has one row.
        optional: Columns beside the features, by what they mean.
        excluded: Columns that are knowingly not used.
        groups: Columns by which offers must be fair; in the validated frame `group:` stands before their names.
        max_outside_share: Largest share of customers far outside of what was learned, in any feature, that are decided
            for; see `FeatureSpec.far`.
    """

    id: str
    label: LabelSpec
    label_window_months: float
    monthly_revenue: str
    tenure: str | None
    features: tuple[FeatureSpec, ...]
    folds: FoldsSpec
    made_id: bool = False
    row_date: str | None = None
    optional: OptionalColumns = OptionalColumns()
    excluded: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    max_outside_share: float = 0.05

    @property
    def group_columns(self) -> tuple[str, ...]:
        """The groups' columns in the validated frame."""
        return tuple(GROUP + name for name in self.groups)

    @property
    def names(self) -> tuple[str, ...]:
        """Feature names in the order of the design matrix."""
        return tuple(feature.name for feature in self.features)

    @property
    def tenure_index(self) -> int | None:
        """Position of the tenure in the design matrix, or None."""
        return None if self.tenure is None else self.names.index(self.tenure)

    def feature(self, name: str) -> FeatureSpec:
        """Returns the feature called `name`; KeyError if there is none."""
        return self.features[self.names.index(name)] if name in self.names else _no_feature(name, self.names)

    def rule(self, feature: FeatureSpec) -> NumberRule:
        """Which numbers a feature may have."""
        usual = NumberRule()
        return NumberRule(
            lowest=usual.lowest if feature.lowest is None else feature.lowest,
            highest=usual.highest if feature.highest is None else feature.highest,
            above_zero=feature.name == self.monthly_revenue,
            needed=feature.name in (self.monthly_revenue, self.tenure),
        )

    def fold_of(self, ids: ArrayLike) -> NDArray[np.int8]:
        """Returns the fold of each of these customers, (n,) int8."""
        return folds(np.asarray(ids, dtype=object), self.folds.seed, self.folds.count)

    def is_held_out(self, fold: NDArray[np.int8]) -> NDArray[np.bool_]:
        """Returns which of these folds no model is fitted on, (n,) bool."""
        return np.asarray(fold >= self.folds.count - self.folds.held_out)


def not_understood(answering: CustomerSchema, coming: CustomerSchema) -> str:
    """Why a release would not understand what callers of another one send; empty where it would.

    Args:
        answering: Of the release that callers know.
        coming: Of the other one.
    """
    ours = {feature.name: feature for feature in answering.features}
    theirs = {feature.name: feature for feature in coming.features}
    if differing := sorted(set(ours) ^ set(theirs)):
        return f"reads other features ({', '.join(differing)}) than callers send"
    narrower = [name for name in ours if not _takes_all_of(theirs[name], ours[name])]
    return f"takes fewer values of {', '.join(narrower)} than callers may send" if narrower else ""


def _takes_all_of(coming: FeatureSpec, answering: FeatureSpec) -> bool:
    if coming.kind != answering.kind or not set(answering.categories) <= set(coming.categories):
        return False
    lowest = coming.lowest is None or (answering.lowest is not None and coming.lowest <= answering.lowest)
    highest = coming.highest is None or (
        answering.highest is not None and coming.highest >= answering.highest
    )
    return lowest and highest


def _no_feature(name: str, names: tuple[str, ...]) -> FeatureSpec:
    raise KeyError(f"no feature {name!r}; the features are {', '.join(names)}")

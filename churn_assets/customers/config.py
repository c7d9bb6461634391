"""The `customers:` section of an experiment: which table, and what its columns mean. Reads no data."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, model_validator

Column = Annotated[str, Field(min_length=1)]
FeatureKind = Literal["numeric", "categorical"]


class LabelConfig(BaseModel, frozen=True, extra="forbid"):
    """Which column says that a customer left, and over how long a time.

    Attributes:
        column: The label column.
        positive: The value that means "left", compared as text (`"Yes"`, `1`, `true`); the column may
            hold one other value.
        window_months: How far the label looks ahead, in months; monthly hazards are derived from it.
    """

    column: Column
    positive: str | int | float | bool
    window_months: Annotated[float, Field(gt=0, le=60)]


class FoldsConfig(BaseModel, frozen=True, extra="forbid"):
    """How customers are split; one rule for every table that names customers.

    Attributes:
        count: Number of folds.
        held_out: How many of them (the last ones) no model is ever fitted on.
    """

    count: Annotated[int, Field(ge=3, le=100)] = 10
    held_out: Annotated[int, Field(ge=1)] = 2

    @model_validator(mode="after")
    def _two_folds_left_to_fit(self) -> Self:
        if self.count - self.held_out < 2:
            raise ValueError(f"held_out must leave at least 2 of the {self.count} folds to fit on")
        return self


class CustomersGates(BaseModel, frozen=True, extra="forbid"):
    """What the customer table must prove.

    Attributes:
        min_rows: Fewest customers.
        min_label_rate: Lowest believable share of churners.
        max_label_rate: Highest believable share of churners.
        max_single_feature_auc: A feature that alone predicts the label better than this knows the outcome.
        max_blank_share: Largest share of blanks in any feature.
        max_psi: Largest population stability index of a feature against the table that the leading release learned
            from. Months of change move it by some tenths; another unit or encoding moves it to 2 and more.
    """

    min_rows: Annotated[int, Field(ge=1)] = 500
    min_label_rate: Annotated[float, Field(ge=0, le=1)] = 0.01
    max_label_rate: Annotated[float, Field(ge=0, le=1)] = 0.6
    max_single_feature_auc: Annotated[float, Field(gt=0.5, le=1)] = 0.9
    max_blank_share: Annotated[float, Field(ge=0, le=1)] = 0.2
    max_psi: Annotated[float, Field(gt=0)] = 1.0


class CustomersConfig(BaseModel, frozen=True, extra="forbid"):
    """The `customers:` section.

    Attributes:
        source: `telco` (the embedded table), or a CSV or Parquet file: its path, relative to the project, or
            `gs://bucket/name`.
        id: Column that names the customer, unique in the table.
        label: What churn means in this table.
        monthly_revenue: Column with the list price that the customer pays a month, above 0.
        tenure: Column with the months since the customer joined, at least 0; None if the table has none.
        exclude: Columns that are neither features nor anything else.
        path_dependent: Columns that sum up the customer's past, which a projection cannot keep honest:
            `drop` removes the feature, `freeze` keeps it and holds it still.
        kinds: Kinds of features whose kind should not be inferred.
        ranges: Allowed `[lowest, highest]` of numeric features.
        max_categories: A text column with more different values than this is refused as a feature.
        folds: The split.
        gates: What the table must prove.
    """

    source: Annotated[str, Field(min_length=1)] = "telco"
    id: Column
    label: LabelConfig
    monthly_revenue: Column
    tenure: Column | None = None
    exclude: tuple[Column, ...] = ()
    path_dependent: dict[Column, Literal["drop", "freeze"]] = Field(default_factory=dict)
    kinds: dict[Column, FeatureKind] = Field(default_factory=dict)
    ranges: dict[Column, tuple[float, float]] = Field(default_factory=dict)
    max_categories: Annotated[int, Field(ge=2, le=255)] = 50
    folds: FoldsConfig = FoldsConfig()
    gates: CustomersGates = CustomersGates()

    @property
    def role_columns(self) -> dict[str, str]:
        """The configured column of each role (`id`, `label.column`, `monthly_revenue`, `tenure`)."""
        roles = {"id": self.id, "label.column": self.label.column, "monthly_revenue": self.monthly_revenue}
        return roles | ({"tenure": self.tenure} if self.tenure else {})

    @model_validator(mode="after")
    def _one_role_a_column(self) -> Self:
        taken: dict[str, str] = {}
        for role, column in self.role_columns.items():
            if column in taken:
                raise ValueError(f"column {column!r} is both {taken[column]} and {role}")
            taken[column] = role
        for key in ("exclude", "path_dependent"):
            for column in getattr(self, key):
                if column in taken:
                    raise ValueError(f"column {column!r} is {taken[column]} and cannot stand in {key}")
        for column, (lowest, highest) in self.ranges.items():
            if not lowest <= highest:
                raise ValueError(f"ranges.{column}: {lowest} is above {highest}")
        return self

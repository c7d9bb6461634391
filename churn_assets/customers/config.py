"""The `customers:` section of an experiment: which table, and what its columns mean. Reads no data."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, model_validator

from churn_assets.arms import Condition
from churn_assets.customers.contradictions import contradictions
from churn_assets.customers.optional import OptionalColumns
from churn_assets.tables.config import FileReading, TablePlace

Column = Annotated[str, Field(min_length=1)]
FeatureKind = Literal["numeric", "categorical"]


LabelValue = str | int | float | bool


class LabelConfig(BaseModel, frozen=True, extra="forbid"):
    """Which column says that a customer left, and over how long a time.

    Attributes:
        column: The label column; without `positive`, and with `customers.as_of`, the day on which the customer left,
            blank for whoever stays.
        positive: The value that means "left", compared as text (`"Yes"`, `1`, `true`), or several.
        negative: The values that mean "stayed"; left out, the column may hold one value beside `positive` and `ignore`.
        nothing: The column is an amount, and whoever has none is labelled; said of another outcome than leaving.
        ignore: Values that leave the customer out, such as `Joined`; `""` for a blank.
        window_months: How far the label looks ahead, in months; monthly hazards are derived from it.
        ahead: Of a monthly panel. True: the label of a row says what happens in the window after its day, blank where
            that is not known yet. Otherwise it says whether the customer has left by that day, and what a row is
            labelled with comes from later rows.
    """

    column: Column
    positive: LabelValue | tuple[LabelValue, ...] | None = None
    negative: tuple[LabelValue, ...] | None = None
    nothing: bool = False
    ignore: tuple[LabelValue, ...] = ()
    window_months: Annotated[float, Field(gt=0, le=60)]
    ahead: bool = False

    @model_validator(mode="after")
    def _values_or_dates(self) -> Self:
        if self.nothing and (self.positive is not None or self.negative or self.ignore):
            raise ValueError("nothing is said of an amount, whose values need no names; leave the others out")
        if self.positive is None and (self.negative or self.ignore or self.ahead):
            raise ValueError(
                "negative, ignore and ahead say nothing of leaving dates; give positive, or leave them out"
            )
        return self


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
        max_single_feature_auc: A feature that alone predicts the label better than this, beyond the noise, knows the
            outcome.
        max_blank_share: Largest share of blanks in any feature.
        max_copied_share: Largest share of rows that are near copies of rows under other ids; see `customers/copies.py`.
        max_psi: Largest population stability index of a feature against the table that the leading release learned
            from. Months of change move it by some tenths; another unit or encoding moves it to 2 and more.
    """

    min_rows: Annotated[int, Field(ge=1)] = 500
    min_label_rate: Annotated[float, Field(ge=0, le=1)] = 0.01
    max_label_rate: Annotated[float, Field(ge=0, le=1)] = 0.6
    max_single_feature_auc: Annotated[float, Field(gt=0.5, le=1)] = 0.9
    max_blank_share: Annotated[float, Field(ge=0, le=1)] = 0.2
    max_copied_share: Annotated[float, Field(ge=0, le=1)] = 0.03
    max_psi: Annotated[float, Field(gt=0)] = 1.0


class CustomersConfig(BaseModel, frozen=True, extra="forbid"):
    """The `customers:` section.

    Attributes:
        source: `telco` (the embedded table), or a CSV or Parquet file: its path, relative to the project, or
            `gs://bucket/name`.
        reading: How the file is to be read, where that should not be detected.
        id: Column that names the customer, unique in the table but for a panel; left out, the line does.
        row_date: Column with the day that a row describes, of a monthly panel: several rows a customer, one each day.
            Splits keep a customer's rows together, and decisions are made by the newest.
        label: What churn means in this table.
        rows: Rows to leave out, by a name under which they are counted: a condition on any column each.
        monthly_revenue: Column with the list price (or the margin) that the customer brings a month, above 0; `price`
            if it is left out, for a table without one that gets it by `constants`.
        constants: Columns that the table does not have, with everybody's value: a price that all pay.
        optional: What the columns are called that are no features: opt-out, recent offers, eligibility, language, name.
        as_of: The day that the features describe; needed for `dates` and for leaving dates. Of a panel, the day up to
            which it is known who left; left out, the newest `row_date`.
        dates: Columns of dates, to be read as months before `as_of`, before the row's day or before that of a decision.
        known_ahead: Those of `dates` that may lie ahead, such as the end of a contract; others were written later.
        blank_means: What a blank stands for, by column: `{InternetType: none}`, `{calls: 0}`.
        tenure: Column with the months since the customer joined, at least 0; None if the table has none.
        exclude: Columns that are neither features nor anything else.
        log_columns: Where the offer log is in the same file, the columns that it reads, which are no features unless
            another key here names them; `*` ends any name that begins so. Filled in where `offer_log.source` is
            `customers.source`.
        groups: Columns by which offers must be fair (gate `offers_are_fair`), of at most `max_categories` values: kept
            beside the features, and a feature too unless it stands in `exclude`.
        path_dependent: Columns that sum up the customer's past, which a projection cannot keep honest:
            `drop` removes the feature, `freeze` keeps it and holds it still.
        kinds: Kinds of features whose kind should not be inferred.
        ranges: Allowed `[lowest, highest]` of numeric features.
        max_outside_share: Largest share of customers far outside of what was learned, in any feature, that are decided
            for.
        max_categories: A text column with more different values than this is refused as a feature.
        folds: The split.
        gates: What the table must prove.
    """

    source: TablePlace = "telco"
    reading: FileReading = FileReading()
    id: Column | None = None
    row_date: Column | None = None
    label: LabelConfig
    rows: dict[Column, Condition] = Field(default_factory=dict)
    monthly_revenue: Column = "price"
    constants: dict[Column, float] = Field(default_factory=dict)
    optional: OptionalColumns = OptionalColumns()
    as_of: date | None = None
    dates: tuple[Column, ...] = ()
    known_ahead: tuple[Column, ...] = ()
    blank_means: dict[Column, str | float] = Field(default_factory=dict)
    tenure: Column | None = None
    exclude: tuple[Column, ...] = ()
    log_columns: tuple[Column, ...] = ()
    groups: tuple[Column, ...] = ()
    path_dependent: dict[Column, Literal["drop", "freeze"]] = Field(default_factory=dict)
    kinds: dict[Column, FeatureKind] = Field(default_factory=dict)
    ranges: dict[Column, tuple[float, float]] = Field(default_factory=dict)
    max_outside_share: Annotated[float, Field(ge=0, le=1)] = 0.05
    max_categories: Annotated[int, Field(ge=2, le=255)] = 50
    folds: FoldsConfig = FoldsConfig()
    gates: CustomersGates = CustomersGates()

    @property
    def role_columns(self) -> dict[str, str]:
        """The configured column of each role (`id`, `row_date`, `label.column`, `monthly_revenue`, `tenure`)."""
        roles = {
            "id": self.id,
            "row_date": self.row_date,
            "label.column": self.label.column,
            "monthly_revenue": self.monthly_revenue,
            "tenure": self.tenure,
        }
        return {role: column for role, column in roles.items() if column is not None}

    @model_validator(mode="after")
    def _one_role_a_column(self) -> Self:
        self.reading.fits(self.source)
        taken: dict[str, str] = {}
        for role, column in self.role_columns.items():
            if column in taken:
                raise ValueError(f"column {column!r} is both {taken[column]} and {role}")
            taken[column] = role
        for key in ("exclude", "groups", "path_dependent"):
            for column in getattr(self, key):
                if column in taken:
                    raise ValueError(f"column {column!r} is {taken[column]} and cannot stand in {key}")
        named = self.label.positive is not None or self.label.nothing
        needed = [*self.dates] + ([] if named else ["label.column"])
        if needed and self.as_of is None and self.row_date is None:
            raise ValueError(f"{needed[0]} is read as a date; give as_of, the day that the features describe")
        if unread := set(self.known_ahead) - set(self.dates):
            raise ValueError(f"known_ahead: {sorted(unread)[0]!r} is none of dates")
        for column, (lowest, highest) in self.ranges.items():
            if not lowest <= highest:
                raise ValueError(f"ranges.{column}: {lowest} is above {highest}")
        return self

    @model_validator(mode="after")
    def _nothing_contradicts(self) -> Self:
        if found := contradictions(self):
            raise ValueError("; ".join(found))
        return self

    @model_validator(mode="after")
    def _a_panel_names_its_customers(self) -> Self:
        if self.row_date is not None and self.id is None:
            raise ValueError("row_date: several rows a customer need id, the column that names the customer")
        if self.row_date is None and self.label.ahead:
            raise ValueError("label.ahead: said of a panel only; give row_date, or leave it out")
        return self

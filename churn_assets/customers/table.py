"""Reading and validating customer tables. What a valid table may be used for is decided elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn_assets.customers.columns import (
    CustomerTableError,
    as_text,
    examples,
    infer_kind,
    parse_ids,
    parse_labels,
    parse_numbers,
    parse_texts,
)
from churn_assets.customers.config import CustomersConfig, FeatureKind
from churn_assets.customers.features import design_matrix
from churn_assets.customers.schema import (
    CHURNED,
    FOLD,
    ID,
    RESERVED,
    CustomerSchema,
    FeatureSpec,
    FoldsSpec,
    LabelSpec,
)
from churn_assets.store.canonical import sha256_file
from churn_assets.store.inputs import in_bucket, local_copy

EMBEDDED = {"telco": Path(__file__).parents[2] / "data" / "telco_customer_churn.csv"}
"""Tables that come with the project, by the name that `customers.source` calls them."""


@dataclass(frozen=True)
class TableSource:
    """Where a table came from.

    Attributes:
        uri: Path, or the name of an embedded table.
        sha256: Of the file's bytes.
        rows: Number of customers.
        blanks: Number of blanks of each feature that has any.
    """

    uri: str
    sha256: str
    rows: int
    blanks: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class CustomerTable:
    """Validated customers.

    Attributes:
        frame: One row a customer: `customer_id` (text), `churned` (int8, if known), `fold` (int8) and
            the schema's features (float64, or text with None for a blank).
        schema: What the columns mean.
        source: The file it was read from; None for a table that was handed over in memory.
    """

    frame: pd.DataFrame
    schema: CustomerSchema
    source: TableSource | None = None

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def ids(self) -> NDArray[np.object_]:
        """Customer ids, (n,) text."""
        return np.asarray(self.frame[ID], dtype=object)

    @property
    def y(self) -> NDArray[np.int8]:
        """1 where the customer left within the label window, (n,) int8; an error where labels are unknown."""
        if CHURNED not in self.frame.columns:
            raise CustomerTableError(
                f"these customers have no label; expected column {self.schema.label.column!r}"
            )
        return np.asarray(self.frame[CHURNED], dtype=np.int8)

    @property
    def fold(self) -> NDArray[np.int8]:
        """The fold of each customer, (n,) int8."""
        return np.asarray(self.frame[FOLD], dtype=np.int8)

    @property
    def held_out(self) -> NDArray[np.bool_]:
        """Customers that no model is fitted on, (n,) bool."""
        return self.schema.is_held_out(self.fold)

    @property
    def price(self) -> NDArray[np.float64]:
        """List price a month, (n,) float64, above 0."""
        return np.asarray(self.frame[self.schema.monthly_revenue], dtype=np.float64)

    @cached_property
    def X(self) -> NDArray[np.float64]:  # noqa: N802 - the field's own name
        """The design matrix, (n, F) float64, read-only."""
        matrix = design_matrix(self.frame, self.schema)
        matrix.setflags(write=False)
        return matrix

    def where(self, mask: NDArray[np.bool_]) -> CustomerTable:
        """Returns the customers that the mask, (n,) bool, picks."""
        return CustomerTable(self.frame[mask].reset_index(drop=True), self.schema, self.source)


def read_frame(path: Path, where: str | None = None, blanks: Sequence[str] = ()) -> pd.DataFrame:
    """Reads a CSV (every column as text, nothing guessed) or Parquet file.

    Args:
        path: The file.
        where: What errors call it, if not by its path.
        blanks: Texts of a CSV that are no value.

    Raises:
        CustomerTableError: No such file, another kind of file, or one that cannot be parsed.
    """
    where = where or str(path)
    if not path.is_file():
        raise CustomerTableError(f"{where}: no such file; expected a CSV or Parquet table")
    try:
        if path.suffix.lower() in (".csv", ".txt"):
            return pd.read_csv(path, dtype=str, keep_default_na=False, na_values=list(blanks))
        if path.suffix.lower() in (".parquet", ".pq"):
            return pd.read_parquet(path)
    except (
        pd.errors.ParserError,
        pd.errors.EmptyDataError,
        UnicodeDecodeError,
        OSError,
        ValueError,
    ) as error:
        raise CustomerTableError(f"{where}: cannot be read as a table: {error}") from error
    raise CustomerTableError(f"{where}: found a {path.suffix or 'nameless'} file, expected .csv or .parquet")


def located(source: str) -> str:
    """The path, or `gs://bucket/name`, of a `customers.source`."""
    if "://" in source and not in_bucket(source):
        raise CustomerTableError(
            f"customers.source: found {source!r}, expected a path, gs://bucket/name or one of {sorted(EMBEDDED)}"
        )
    return str(EMBEDDED.get(source, source))


def read_customers(config: CustomersConfig, *, seed: int, root: Path) -> CustomerTable:
    """Reads, validates and splits the labelled customers of an experiment, and pins their schema.

    Args:
        config: The experiment's `customers:` section.
        seed: The experiment's seed, for the split.
        root: The project's folder: what relative paths are relative to.

    Raises:
        CustomerTableError: The table is not what the config says.
        StoreError: It is an object of a bucket that cannot be read.
    """
    where = str(config.source)
    with local_copy(located(config.source), root) as (path, name):
        raw = read_frame(path, name)
        digest = sha256_file(path)
    schema, frame = _infer(raw, config, seed, where)
    frame[FOLD] = schema.fold_of(frame[ID])
    check_frame(frame, schema, where=where)
    schema = _with_statistics(schema, frame)
    blanks = {name: int(count) for name, count in frame[list(schema.names)].isna().sum().items() if count}
    source = TableSource(where, digest, len(frame), blanks)
    return CustomerTable(frame, schema, source)


def prepare(raw: pd.DataFrame, schema: CustomerSchema, *, where: str = "customers") -> CustomerTable:
    """Validates customers against a schema that was pinned before, with the same rules as in training.

    Args:
        raw: Customers with the source's column names; the label is optional, other columns are left out.
        schema: The pinned schema.
        where: What errors call the table.

    Raises:
        CustomerTableError: A column is missing, an id is blank or repeated, or a value is of the wrong kind,
            out of its range or a category that the schema does not know.
    """
    _require(raw, [schema.id, *schema.names], where)
    ids = parse_ids(raw[schema.id], where)
    columns: dict[str, Any] = {ID: ids}
    if schema.label.column in raw.columns:
        values = {schema.label.negative: 0, schema.label.positive: 1}
        columns[CHURNED] = parse_labels(raw[schema.label.column], values, ids, where)
    columns[FOLD] = schema.fold_of(ids)
    for feature in schema.features:
        parse = parse_numbers if feature.kind == "numeric" else parse_texts
        columns[feature.name] = parse(raw[feature.name], ids, where)
    frame = pd.DataFrame(columns)
    check_frame(frame, schema, where=where)
    return CustomerTable(frame, schema)


def _require(raw: pd.DataFrame, names: Sequence[str], where: str) -> None:
    if not raw.columns.is_unique:
        repeated = sorted(set(raw.columns[raw.columns.duplicated()]))
        raise CustomerTableError(f"{where}: found columns {repeated} more than once")
    missing = [name for name in names if name not in raw.columns]
    if missing:
        raise CustomerTableError(f"{where}: columns {missing} are missing; found {list(raw.columns)}")


def _infer(
    raw: pd.DataFrame, config: CustomersConfig, seed: int, where: str
) -> tuple[CustomerSchema, pd.DataFrame]:
    named = [
        *config.role_columns.values(),
        *config.exclude,
        *config.path_dependent,
        *config.kinds,
        *config.ranges,
    ]
    _require(raw, list(dict.fromkeys(named)), where)
    if raw.empty:
        raise CustomerTableError(f"{where}: found no rows, expected at least one customer")
    ids = parse_ids(raw[config.id], where)
    label = _label_spec(raw[config.label.column], config, where)
    labels = parse_labels(raw[config.label.column], {label.negative: 0, label.positive: 1}, ids, where)
    columns: dict[str, Any] = {ID: ids, CHURNED: labels}
    dropped = {name for name, rule in config.path_dependent.items() if rule == "drop"} | set(config.exclude)
    features = []
    for name in raw.columns:
        if name in dropped or name in (config.id, config.label.column):
            continue
        if name in RESERVED:
            raise CustomerTableError(f"{where}: column {name!r}: the name is reserved; rename or exclude it")
        if name in (config.monthly_revenue, config.tenure):
            kind: FeatureKind = "numeric"
        else:
            kind = config.kinds.get(name) or infer_kind(raw[name], ids, where)
        columns[name] = (parse_numbers if kind == "numeric" else parse_texts)(raw[name], ids, where)
        features.append(_feature(name, kind, columns[name], config, where))
    schema = CustomerSchema(
        id=config.id,
        label=label,
        label_window_months=config.label.window_months,
        monthly_revenue=config.monthly_revenue,
        tenure=config.tenure,
        features=tuple(features),
        folds=FoldsSpec(seed=seed, count=config.folds.count, held_out=config.folds.held_out),
    )
    return schema, pd.DataFrame(columns)


def _feature(
    name: str, kind: FeatureKind, values: NDArray[Any], config: CustomersConfig, where: str
) -> FeatureSpec:
    if pd.isna(values).all():
        raise CustomerTableError(f"{where}: column {name!r}: found only blanks; exclude it")
    frozen = config.path_dependent.get(name) == "freeze"
    if kind == "categorical":
        if name in config.ranges:
            raise CustomerTableError(
                f"{where}: column {name!r}: customers.ranges gives it a range, but it is text"
            )
        categories = tuple(sorted(set(values) - {None}))
        if len(categories) > config.max_categories:
            raise CustomerTableError(
                f"{where}: column {name!r}: found {len(categories)} different texts, expected at most "
                f"{config.max_categories}; exclude it if it is an identifier, a date or free text"
            )
        return FeatureSpec(
            name=name,
            kind=kind,
            categories=categories,
            maximum=float(len(categories) - 1),
            path_dependent=frozen,
        )
    lowest, highest = config.ranges.get(name, (None, None))
    if name in (config.tenure, config.monthly_revenue):
        lowest = max(0.0, lowest or 0.0)
    return FeatureSpec(name=name, kind=kind, lowest=lowest, highest=highest, path_dependent=frozen)


def _with_statistics(schema: CustomerSchema, frame: pd.DataFrame) -> CustomerSchema:
    fitted = frame[~schema.is_held_out(frame[FOLD].to_numpy())]
    features = []
    for feature in schema.features:
        if feature.kind == "numeric":
            values = fitted[feature.name].dropna().to_numpy()
            if not len(values):
                raise CustomerTableError(
                    f"column {feature.name!r}: found no value among the customers to fit on"
                )
            seen = {
                "minimum": values.min(),
                "maximum": values.max(),
                "mean": values.mean(),
                "std": values.std() or 1.0,
            }
            feature = feature.model_copy(update={key: float(value) for key, value in seen.items()})
        features.append(feature)
    return schema.model_copy(update={"features": tuple(features)})


def check_frame(frame: pd.DataFrame, schema: CustomerSchema, *, where: str) -> None:
    """Checks a parsed frame against its schema; CustomerTableError names the first column that is wrong."""
    import pandera.pandas as pa  # 0.15 s, which nobody needs who only names the type of a table

    columns = {
        ID: pa.Column(str, pa.Check(lambda ids: ids != "", error="a customer id"), unique=True),
        FOLD: pa.Column("int8", pa.Check.in_range(0, schema.folds.count - 1)),
    }
    if CHURNED in frame.columns:
        columns[CHURNED] = pa.Column("int8", pa.Check.isin([0, 1]))
    for feature in schema.features:
        checks = []
        if feature.kind == "categorical":
            checks.append(pa.Check.isin(feature.categories, error=f"one of {list(feature.categories)}"))
        else:
            checks.append(pa.Check(np.isfinite, error="a finite number"))
            if feature.name == schema.monthly_revenue:
                checks.append(pa.Check.gt(0, error="a price above 0"))
            if feature.lowest is not None:
                checks.append(pa.Check.ge(feature.lowest, error=f"at least {feature.lowest:g}"))
            if feature.highest is not None:
                checks.append(pa.Check.le(feature.highest, error=f"at most {feature.highest:g}"))
        dtype = "float64" if feature.kind == "numeric" else object
        needed = feature.name in (schema.monthly_revenue, schema.tenure)
        columns[feature.name] = pa.Column(dtype, checks, nullable=not needed)
    try:
        pa.DataFrameSchema(columns, strict=True).validate(frame, lazy=True)
    except pa.errors.SchemaErrors as failed:
        raise CustomerTableError(f"{where}: {_describe(failed.failure_cases, frame, schema)}") from failed


def _describe(cases: pd.DataFrame, frame: pd.DataFrame, schema: CustomerSchema) -> str:
    """One line about the first column that failed, from pandera's list of failures."""
    first = cases.iloc[0]
    column, check = first["column"], str(first["check"])
    if first["schema_context"] == "DataFrameSchema":
        return f"found columns {list(frame.columns)}; expected {[ID, CHURNED, FOLD, *schema.names]}"
    shown = schema.id if column == ID else column
    if check.startswith("dtype("):
        return f"column {shown!r}: found type {first['failure_case']}; expected {check}"
    same = cases[(cases["column"] == column) & (cases["check"] == first["check"])]
    rows = [int(row) for row in same["index"]]
    found = examples(frame[column].to_numpy()[rows].tolist(), rows, frame[ID])
    expected = {"not_nullable": "a value", "field_uniqueness": "each customer once"}.get(check, check)
    others = cases["column"].nunique() - 1
    more = f" (and {others} more columns)" if others else ""
    return f"column {shown!r}: found {found}; expected {expected}{more}"


def _label_spec(column: pd.Series, config: CustomersConfig, where: str) -> LabelSpec:
    positive = as_text(config.label.positive)
    values = sorted(set(column.map(as_text)) - {""})
    matching = [value for value in values if value.casefold() == positive.casefold()]
    others = [value for value in values if value.casefold() != positive.casefold()]
    if len(matching) != 1 or len(others) != 1:
        raise CustomerTableError(
            f"{where}: column {column.name!r}: found values {values[:6]}; expected {positive!r} "
            "(customers.label.positive) and one other"
        )
    return LabelSpec(column=config.label.column, positive=matching[0], negative=others[0])

"""Reading and validating customer tables. What a valid table may be used for is decided elsewhere."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from churn_assets.arms import ArmError, Condition, did_you_mean
from churn_assets.customers.config import CustomersConfig, FeatureKind
from churn_assets.customers.copies import ENOUGH, near_copies
from churn_assets.customers.features import design_matrix
from churn_assets.customers.labels import (
    DAYS_A_MONTH,
    GONE,
    UNKNOWN,
    WINDOW_OPEN,
    ReadLabels,
    months_after,
    panel_labels,
    read_labels,
)
from churn_assets.customers.panel import is_newest, one_each
from churn_assets.customers.schema import (
    CHURNED,
    FOLD,
    GROUP,
    ID,
    RESERVED,
    ROW_DATE,
    CustomerSchema,
    FeatureSpec,
    FoldsSpec,
    LabelSpec,
)
from churn_assets.store.inputs import in_bucket
from churn_assets.tables.config import TablePlace
from churn_assets.tables.problems import (
    ROLE,
    STRUCTURE,
    VALUE,
    Problems,
    TableError,
    leave_out,
    listed,
    shown,
)
from churn_assets.tables.raw import RawTable
from churn_assets.tables.rules import NumberRule
from churn_assets.tables.source import digest_of_rows, read_source
from churn_assets.tables.text import as_text
from churn_assets.tables.values import (
    ambiguous_decimals,
    attempt_numbers,
    distinct_texts,
    infer_kind,
    means_nothing,
    no_truths,
    parse_dates,
    parse_ids,
    parse_numbers,
    parse_texts,
    parse_truths,
    refuse_totals,
    say_decimals,
)

EMBEDDED = {"telco": Path(__file__).parents[2] / "data" / "telco_customer_churn.csv"}
"""Tables that come with the project, by the name that `customers.source` calls them."""


Naming = Callable[[NDArray[np.object_]], NDArray[np.object_]]
"""Ids of customers, (n,) text -> what they are named by, (n,) text."""


class CustomerTableError(TableError):
    """A customer table is not what its config or schema says."""


@dataclass(frozen=True)
class TableSource:
    """Where a table came from.

    Attributes:
        uri: Path, or the name of an embedded table.
        sha256: Of the file's bytes; of what was read from a database, see `digest_of_rows`; empty where it was neither.
        rows: Number of rows.
        blanks: Number of blanks of each feature that has any.
        left_out: Number of rows that were left out, by the name of the rule.
        said: What was detected in reading, a sentence each.
        as_of: The day that the features of all rows describe, where it was told.
        copied: Lines of a few rows that are near copies under other ids, those of one customer together.
    """

    uri: str
    sha256: str
    rows: int
    blanks: Mapping[str, int] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    said: tuple[str, ...] = ()
    as_of: str | None = None
    copied: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True, eq=False)
class CustomerTable:
    """Validated customers.

    Attributes:
        frame: One row a customer, the newest of a panel: `customer_id` (text), `churned` (int8, if known), `fold`
            (int8; not where customers are only decided for) and the schema's features (float64, or text with None for a
            blank); `row_date` (UTC), of a panel.
        schema: What the columns mean.
        source: The file it was read from; None for a table that was handed over in memory.
        history: Of a panel, all its rows, each as if it were a customer of its own; `churned` is NaN where it is not
            known yet. None where a customer has one row.
        stored: The same rows as the table has them, where features are as of a decision; None otherwise.
    """

    frame: pd.DataFrame
    schema: CustomerSchema
    source: TableSource | None = None
    history: CustomerTable | None = None
    stored: CustomerTable | None = None

    @classmethod
    def of_rows(
        cls, frame: pd.DataFrame, schema: CustomerSchema, source: TableSource | None = None
    ) -> CustomerTable:
        """The table of all rows that there are: of a panel, each customer's newest stands for them."""
        if ROW_DATE not in frame.columns:
            return cls(frame, schema, source)
        newest = is_newest(frame[ID], pd.DatetimeIndex(frame[ROW_DATE]))
        customers = frame[newest].drop(columns=CHURNED, errors="ignore").reset_index(drop=True)
        return cls(customers, schema, source, cls(frame, schema, source))

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
                f"these customers have no label; expected column {self.schema.label.column!r}, or `labelled` of a panel"
            )
        if self.frame[CHURNED].hasnans:
            raise CustomerTableError("these rows have labels in part; expected those that are labelled")
        return np.asarray(self.frame[CHURNED], dtype=np.int8)

    @property
    def fold(self) -> NDArray[np.int8]:
        """The fold of each customer, (n,) int8."""
        known = FOLD in self.frame.columns
        return np.asarray(self.frame[FOLD] if known else self.schema.fold_of(self.ids), dtype=np.int8)

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

    def group(self, name: str) -> tuple[tuple[str, ...], NDArray[np.int64]]:
        """The values of a column of `schema.groups`, sorted, and which each customer has, (n,); -1 for a blank."""
        column = self.frame[GROUP + name]
        levels = tuple(sorted(column.dropna().unique()))
        places = {level: place for place, level in enumerate(levels)}
        return levels, np.array([places.get(each, -1) for each in column], np.int64)

    @property
    def days(self) -> pd.DatetimeIndex:
        """The day that each row of a panel describes, (n,) UTC."""
        return pd.DatetimeIndex(self.frame[ROW_DATE])

    @property
    def rows(self) -> CustomerTable:
        """Every row: of a panel several a customer, otherwise the customers themselves."""
        return self.history or self

    @property
    def is_labelled(self) -> NDArray[np.bool_]:
        """Whose label is known, (n,) bool."""
        return np.asarray(
            self.frame[CHURNED].notna() if CHURNED in self.frame.columns else [False] * len(self)
        )

    def seen_by(self, schema: CustomerSchema) -> CustomerTable:
        """The same rows as another schema reads them."""
        history, stored = (each and each.seen_by(schema) for each in (self.history, self.stored))
        return CustomerTable(self.frame, schema, self.source, history, stored)

    @property
    def reach(self) -> dict[str, str | int]:
        """From when to when features and labels are; their age cannot be told without a day."""
        if self.history is None:
            as_of = None if self.source is None else self.source.as_of
            return {"features_until": as_of or "unknown: customers.as_of tells it"}
        days, labelled = self.history.days, self.labelled
        closed = months_after(labelled.days, self.schema.label_window_months)
        return {
            "rows": len(days),
            "labelled_rows": len(labelled),
            "features_from": str(days.min().date()),
            "features_until": str(days.max().date()),
            "labels_until": str(closed.max().date()),
        }

    @cached_property
    def labelled(self) -> CustomerTable:
        """Every row with a label."""
        rows = self.rows
        return rows if rows.is_labelled.all() else rows.where(rows.is_labelled)

    @property
    def newest_labelled(self) -> CustomerTable:
        """One row a customer, the newest of those with a label."""
        rows = self.labelled
        return rows.where(is_newest(rows.ids, rows.days)) if ROW_DATE in rows.frame else rows

    @cached_property
    def judged(self) -> CustomerTable:
        """Labelled rows that are independent of each other: of a panel one a customer, of a month that was drawn.

        The month is drawn for each customer from all of the panel's, whatever rows they have: any row is as likely as
        any other, while the newest, or one of their own by lot, would be a leaver's too often.
        """
        rows = self.labelled
        return rows.where(one_each(rows.frame, self.schema.folds)) if ROW_DATE in rows.frame else rows

    @cached_property
    def eventual(self) -> CustomerTable:
        """Of a panel, each customer's first labelled row, labelled by whether they leave while it lasts, however late.

        A column that is written once they have left, into all their rows, knows that. Who is gone by the newest month,
        and is not known to have left, is left out.
        """
        rows = self.labelled
        if self.history is None:
            return rows
        ever = rows.frame.groupby(ID)[CHURNED].transform("max")
        there = self.days >= self.days.max() - pd.DateOffset(months=1)
        first = is_newest(rows.ids, pd.DatetimeIndex(-rows.days.asi8))
        known = (ever == 1) | rows.frame[ID].isin(self.frame[ID][there])
        return CustomerTable(rows.frame.assign(churned=ever), self.schema).where(first & known.to_numpy())

    def where(self, mask: NDArray[np.bool_]) -> CustomerTable:
        """Returns the customers that the mask, (n,) bool, picks, with their rows."""
        frame, history = self.frame[mask].reset_index(drop=True), self.history
        if history is not None:
            history = history.where(history.frame[ID].isin(frame[ID]).to_numpy())
        return CustomerTable(
            frame, self.schema, self.source, history, self.stored and self.stored.where(mask)
        )

    def of(self, customer: str, names: Collection[str]) -> CustomerTable:
        """The customer whom one of the names stands for, by their id; nobody where there is none."""
        person = self.where(np.isin(self.ids, list(names)))
        return replace(person, frame=person.frame.assign(**{ID: customer}), history=None)


def located(source: TablePlace) -> TablePlace:
    """Where a `customers.source` is."""
    if not isinstance(source, str):
        return source
    if "://" in source and not in_bucket(source):
        raise CustomerTableError(
            f"customers.source: found {source!r}, expected a path, gs://bucket/name or one of "
            f"{sorted(EMBEDDED)}; a table of a database is a section"
        )
    return str(EMBEDDED.get(source, source))


def read_customers(
    config: CustomersConfig, *, seed: int, root: Path, naming: Naming | None = None
) -> CustomerTable:
    """Reads, validates and splits the labelled customers of an experiment, and pins their schema.

    Args:
        config: The experiment's `customers:` section.
        seed: The experiment's seed, for the split.
        root: The project's folder: what relative paths are relative to.
        naming: As of `learnable`.

    Raises:
        CustomerTableError: The table is not what the config says.
        StoreError: It is in a bucket or a database that cannot be read.
    """
    problems = Problems(str(config.source), CustomerTableError)
    raw, digest = read_source(located(config.source), root, problems, config.reading, _order(config))
    table = learnable(raw, config, seed, problems, naming)
    digest = digest or digest_of_rows(table.frame)
    source = None if table.source is None else replace(table.source, sha256=digest)
    return replace(table, source=source)


def read_remainder(config: CustomersConfig, refused: TableError, *, seed: int, root: Path) -> CustomerTable:
    """What remains of a table that was refused, to look at: without the features and the lines that are wrong.

    Args:
        config: As of `read_customers`.
        refused: Why it was.
        seed: The experiment's seed.
        root: The project's folder.

    Raises:
        CustomerTableError: Nothing remains that could be read.
    """
    wrong = {each.column for each in refused.problems} - set(config.role_columns.values())
    kept = _without(config, wrong)
    kept = kept.model_copy(update={"exclude": tuple(sorted({*config.exclude, *wrong}))})
    problems = Problems(str(config.source), CustomerTableError)
    raw, digest = read_source(located(config.source), root, problems, config.reading, _order(config))
    raw.keep(~np.isin(raw.line, list(refused.lines)))
    told = Problems(str(config.source), CustomerTableError)  # what the names are is told already
    _constant_columns(raw, kept, told)
    kept = _as_named(raw, kept, told).model_copy(update={"constants": {}})
    table = learnable(raw, kept, seed, problems)
    return replace(table, source=table.source and replace(table.source, sha256=digest))


def _order(config: CustomersConfig) -> list[str]:
    """Columns by which the rows of a database are put in order."""
    return [] if config.id is None else [config.id]


def learnable(
    raw: RawTable, config: CustomersConfig, seed: int, problems: Problems, naming: Naming | None = None
) -> CustomerTable:
    """Validates, types and splits labelled customers, and pins their schema.

    Args:
        raw: As a source gives them.
        config: The experiment's `customers:` section.
        seed: The experiment's seed, for the split.
        problems: Where problems go.
        naming: Ids to the names that customers have from here on, which also split them; their ids if left out.

    Raises:
        CustomerTableError: The table is not what the config says: all that is wrong with it.
    """
    problems.configured, problems.needed = True, frozenset(config.role_columns.values())
    _constant_columns(raw, config, problems)
    config = _as_named(raw, config, problems)
    looked_past = len(problems.all)
    for name in [config.label.column, *(each.column for each in config.rows.values())]:
        means_nothing(raw, name, problems, rank=STRUCTURE)
    if len(problems.all) > looked_past:
        problems.stop()
    chosen = _chosen(raw, config, problems)
    _near_columns(raw, config, problems)
    columns: dict[str, Any] = chosen.columns
    specs, blanks = [], {}
    columns |= _groups(raw, config, problems)
    for name in _feature_names(raw, config, problems):
        found = _learned(raw, name, config, chosen.day, problems)
        if found is not None:
            spec, values = found
            columns[name] = values
            specs.append(spec)
            blanks[name] = _blanks(raw, spec, values)
        del raw.columns[name]  # a large table stands in memory once
    _check_optional(raw, config, problems)
    ambiguous_decimals(raw, problems)
    problems.stop()
    say_decimals(raw)
    schema = _schema(config, chosen.labels, specs, seed)
    if config.row_date is None:
        columns[CHURNED] = columns[CHURNED].astype(np.int8)
    columns[ID] = columns[ID] if naming is None else naming(columns[ID])
    columns[FOLD] = schema.fold_of(columns[ID])
    frame = pd.DataFrame(columns, copy=False)
    schema = _with_statistics(schema, frame, problems)
    there = {name: count for name, count in blanks.items() if count}
    as_of = None if config.row_date or config.as_of is None else config.as_of.isoformat()
    source = TableSource(raw.where, "", len(frame), there, chosen.left_out, tuple(raw.said), as_of)
    return _with_lines_of_copies(CustomerTable.of_rows(frame, schema, source), raw.line)


def _check_optional(raw: RawTable, config: CustomersConfig, problems: Problems) -> None:
    """What nobody could decide by is told when the table is read, too."""
    columns = config.optional.columns
    if (name := columns.get("opted_out")) in raw.columns:
        parse_truths(raw, str(name), problems)
    if (name := columns.get("prior_offers")) in raw.columns:
        parse_numbers(raw, str(name), problems, NumberRule(lowest=0, whole=True))


def _groups(raw: RawTable, config: CustomersConfig, problems: Problems) -> dict[str, NDArray[np.object_]]:
    """The columns by which offers must be fair, as texts; None for a blank."""
    found = {}
    for name in config.groups:
        codes, texts = distinct_texts(raw, name)
        if len(texts) > config.max_categories:
            problems.add(
                f"{len(texts)} different values", f"at most {config.max_categories} of a column of customers.groups",
                column=name, remedy="give it in bands, as `age_band`", rank=ROLE,
            )  # fmt: skip
        found[GROUP + name] = np.array([*texts, None], dtype=object)[codes]
    return found


def _with_lines_of_copies(table: CustomerTable, line: NDArray[np.int64]) -> CustomerTable:
    """The lines are known here only; whether there are copies is judged by the rows as they were stored.

    Of a large table no lines are told: it would take as long as reading it.
    """
    history, source = table.history, table.source
    assert source is not None
    if len(table) > ENOUGH:
        return table
    newest = slice(None) if history is None else is_newest(history.ids, history.days)
    found = near_copies(table.X, table.schema).examples
    source = replace(source, copied=tuple(tuple(line[newest][list(rows)].tolist()) for rows in found))
    return replace(table, source=source)


def _blanks(raw: RawTable, spec: FeatureSpec, values: NDArray[Any]) -> int:
    """How many values of a feature are blank."""
    if spec.kind == "numeric":
        return int(np.isnan(values).sum())
    return 0 if spec.blank is not None else int((distinct_texts(raw, spec.name)[0] < 0).sum())


@dataclass(frozen=True, eq=False)
class _Chosen:
    """The rows to learn from: id, label and perhaps day as `columns`; how many were left out, by which rule."""

    columns: dict[str, Any]
    labels: ReadLabels
    left_out: dict[str, int]
    day: date | pd.DatetimeIndex | None


def _chosen(raw: RawTable, config: CustomersConfig, problems: Problems) -> _Chosen:
    """Keeps the rows to learn from."""
    left_out = _leave_out(raw, config, problems)
    days = None
    if config.row_date is not None:
        ids, days = _ids_and_days(raw, config.id or ID, config.row_date, problems)
        problems.stop()
        labels = panel_labels(raw, config, ids, days, problems)
    else:
        labels = read_labels(raw, config.label, config.as_of, problems)
    by_label = int(labels.out.sum()) - labels.counts.get(GONE, 0)
    left_out |= {why: rows for why, rows in (("by the label", by_label), *labels.counts.items()) if rows}
    raw.keep(~labels.out)
    if not len(raw):
        problems.add("no rows", "at least one customer", rank=STRUCTURE)
        problems.stop()
    for why in {WINDOW_OPEN, UNKNOWN} & set(left_out):
        raw.said.append(f"{left_out.pop(why)} rows {why}")
    kept = ~labels.out
    if days is None:
        columns = {
            ID: _ids(raw, config.id or ID, problems, made=config.id is None),
            CHURNED: labels.left[kept],
        }
        return _Chosen(columns, labels, left_out, config.as_of)
    columns = {ID: ids[kept], ROW_DATE: days[kept], CHURNED: labels.left[kept]}
    if np.isnan(labels.left[kept]).all():
        expected = f"rows from {config.label.window_months:g} months before the newest day, or before `as_of`"
        problems.add("no row whose label window is over", expected, column=config.row_date or "", rank=ROLE)
    return _Chosen(columns, labels, left_out, days[kept])


def _ids_and_days(
    raw: RawTable, name: str, day: str, problems: Problems
) -> tuple[NDArray[np.object_], pd.DatetimeIndex]:
    """(n,) customer and day of each row of a panel."""
    ids = parse_ids(raw, name, problems, unique=False)
    days = parse_dates(raw, day, problems, needed=True)
    twice = pd.DataFrame({"id": ids, "day": days}).duplicated(keep=False).to_numpy() & np.asarray(
        days.notna()
    )
    problems.rows(
        day, twice, days.astype(str).to_numpy(), "one row a customer and day", line=raw.line, rank=ROLE,
        remedy="leave out the other lines",
    )  # fmt: skip
    return ids, days


def keep_newest(raw: RawTable, schema: CustomerSchema, problems: Problems, now: datetime) -> None:
    """Drops all rows of a panel but the newest of each customer; a table of one row a customer stays as it is.

    A row from after the decision goes to `problems`: nobody can know it yet.

    Args:
        raw: Customers.
        schema: What they are customers of.
        problems: Where problems go.
        now: Time of the decision, aware.
    """
    if schema.row_date is None or schema.row_date not in raw.columns:
        return
    ids, days = _ids_and_days(raw, schema.id, schema.row_date, problems)
    later = np.asarray(days > pd.Timestamp(now))
    expected = f"a day before the decision, {now.date()}"
    problems.rows(schema.row_date, later, days.astype(str).to_numpy(), expected, line=raw.line, rank=ROLE)
    problems.stop()
    newest = is_newest(ids, days)
    if not newest.all():
        raw.said.append(
            f"a panel: the newest row of each of {int(newest.sum())} customers, of {len(raw)} rows"
        )
    raw.keep(newest)


def prepare(
    raw: pd.DataFrame | RawTable,
    schema: CustomerSchema,
    *,
    where: str = "customers",
    as_of: date | None = None,
) -> CustomerTable:
    """Validates customers against a schema that was pinned before, with the same rules as in training.

    Args:
        raw: Customers with the source's column names; the label is optional, other columns are left out.
        schema: The pinned schema.
        where: What errors call the table.
        as_of: The day that features made of dates count from; today where nothing is given.

    Raises:
        CustomerTableError: A column is missing, an id is blank or repeated, or a value is of the wrong kind,
            out of its range or a category that the schema does not know: all that is wrong.
    """
    problems = Problems(where, CustomerTableError)
    table = typed(RawTable.of_frame(raw, where), schema, problems, as_of=as_of, labelled=True)
    problems.stop()
    return CustomerTable.of_rows(table.frame, schema)


def typed(
    raw: RawTable,
    schema: CustomerSchema,
    problems: Problems,
    *,
    as_of: date | pd.DatetimeIndex | None = None,
    labelled: bool = False,
    folded: bool = True,
) -> CustomerTable:
    """As `prepare`, but every row of a panel; rows that are wrong go to `problems`, and what they hold means nothing.

    `as_of` may be a day for each row; `folded`: whether the folds are written down, which learning alone needs.

    Raises:
        CustomerTableError: A column is missing, or stands under a name that looks like another one.
    """
    raw = raw.renamed({})  # the caller's stays as it is
    known = [schema.id, schema.row_date or ID, schema.label.column, *schema.names, *schema.excluded]
    _near_names(schema.optional.near(raw.names, known), problems)
    dated = {each.name for each in schema.features if each.date}
    constants = {each.name: each.constant for each in schema.features if each.constant is not None}
    for name, value in constants.items():
        raw.columns.setdefault(name, pa.array(np.full(len(raw), value)))
    _require_columns(raw, [*([] if schema.made_id else [schema.id]), *schema.names], problems)
    columns: dict[str, Any] = {}
    day: date | pd.DatetimeIndex | None = as_of
    if schema.row_date is not None and schema.row_date in raw.columns:
        columns[ID], day = _ids_and_days(raw, schema.id, schema.row_date, problems)
        columns[ROW_DATE] = day
    else:
        columns[ID] = _ids(raw, schema.id, problems, made=schema.made_id)
    if labelled and schema.label.column in raw.columns and schema.label.meanings:
        known_labels = _labels(raw, schema, problems)
        columns |= {} if known_labels is None else {CHURNED: known_labels}
    if folded:
        columns[FOLD] = schema.fold_of(columns[ID])
    for feature in schema.features:
        columns[feature.name] = _values(
            raw, feature, schema, problems, day if feature.name in dated else None
        )
    ambiguous_decimals(raw, problems)
    return CustomerTable(pd.DataFrame(columns, copy=False), schema)


def _named(config: CustomersConfig) -> list[str]:
    """Columns that the config speaks of, which must be there."""
    optional = [
        each for role in type(config.optional).model_fields if (each := getattr(config.optional, role))
    ]
    conditions = [each.column for each in config.rows.values()]
    lists = (
        config.exclude,
        config.groups,
        config.path_dependent,
        config.kinds,
        config.ranges,
        config.blank_means,
        config.dates,
    )
    return [*config.role_columns.values(), *optional, *conditions, *(name for each in lists for name in each)]


def _without(config: CustomersConfig, names: Container[str]) -> CustomersConfig:
    """The config as if it did not speak of some columns, none of which has a role."""
    kept: dict[str, Any] = {}
    for key in ("kinds", "ranges", "path_dependent", "blank_means"):
        kept[key] = {name: value for name, value in getattr(config, key).items() if name not in names}
    for key in ("dates", "groups", "known_ahead", "exclude"):
        kept[key] = tuple(name for name in getattr(config, key) if name not in names)
    return config.model_copy(update=kept)


def _as_named(raw: RawTable, config: CustomersConfig, problems: Problems) -> CustomersConfig:
    """The config, as far as its columns are there; what is not is told, and looked past where the rest can be read.

    A column whose name differs in nothing but spaces, signs and capitals is read as if it were the one that is meant:
    so what is wrong with its values is told in the same run. It remains a problem.
    """
    missing = [name for name in dict.fromkeys(_named(config)) if name not in raw.columns]
    if not missing:
        return config
    _tell_missing(raw, missing, config, problems)
    gone = set()
    for name in missing:
        alike = [each for each in raw.names if _plain(each) == _plain(name) and each in raw.columns]
        if len(alike) == 1:
            raw.columns[name] = raw.columns.pop(alike[0])
        elif name == config.monthly_revenue:
            raw.columns[name] = pa.array(np.ones(len(raw)))
        else:
            gone.add(name)
    needed = {*config.role_columns.values(), *(each.column for each in config.rows.values())} - {
        config.tenure
    }
    optional = [
        name for role in type(config.optional).model_fields if (name := getattr(config.optional, role))
    ]
    if gone & needed or gone & set(optional):
        problems.stop()
    return _without(config.model_copy(update={"tenure": None}) if config.tenure in gone else config, gone)


def _plain(name: str) -> str:
    return "".join(each for each in name.casefold() if each.isalnum())


def _tell_missing(raw: RawTable, missing: Sequence[str], config: CustomersConfig, problems: Problems) -> None:
    expected = f"one of {listed(raw.names)}"
    for name in missing:
        remedy = ""
        if name == config.monthly_revenue:
            remedy = (
                "`monthly_revenue: <the column of the price a month>`; without one, `constants: {"
                f"{name}: 30.0}}` gives everybody the same"
            )
        problems.add(
            "no such column",
            expected + did_you_mean(name, raw.names),
            column=name,
            remedy=remedy,
            rank=STRUCTURE,
        )
        expected = "one of the same"


def _require_columns(raw: RawTable, names: Sequence[str], problems: Problems) -> None:
    missing = [name for name in dict.fromkeys(names) if name not in raw.columns]
    for name in missing:
        expected = f"one of {listed(raw.names)}{did_you_mean(name, raw.names)}"
        problems.add("no such column", expected, column=name, rank=STRUCTURE)
    if missing:
        problems.stop()


def _constant_columns(raw: RawTable, config: CustomersConfig, problems: Problems) -> None:
    for name, value in config.constants.items():
        if name in raw.columns:
            problems.add(
                "a column of this name", "none: `constants` gives everybody one value", column=name,
                remedy="leave it out of `constants`", rank=ROLE,
            )  # fmt: skip
        raw.columns.setdefault(name, pa.array(np.full(len(raw), value)))
        raw.said.append(f"column {name!r}: {value:g} for everybody, as configured")


def _near_columns(raw: RawTable, config: CustomersConfig, problems: Problems) -> None:
    for name, role in config.optional.near(raw.names, _named(config)):
        if role == "opted_out" and config.optional.merely_near(name, role) and no_truths(raw, name):
            continue  # `contact` with `cellular` and `telephone` says how, not whether
        problems.add(
            f"a name like {role!r}", "to know what it is", column=name, rank=ROLE,
            remedy=f"`optional: {{{role}: {name!r}}}`; {leave_out(name)}; a feature is named under `kinds`",
        )  # fmt: skip


def _near_names(found: Iterable[tuple[str, str]], problems: Problems) -> None:
    for name, role in found:
        problems.add(
            f"a name like {role!r}, which is not in use", f"{role!r}, or the column that `customers.optional` names",
            column=name, remedy=f"rename it to {role!r}, or leave it out of the file", rank=STRUCTURE,
        )  # fmt: skip


def _leave_out(raw: RawTable, config: CustomersConfig, problems: Problems) -> dict[str, int]:
    """Drops the rows that `rows` describes; how many, by rule: the first that applies counts."""
    kept, left_out = np.ones(len(raw), dtype=bool), {}
    for name, condition in config.rows.items():
        out = _meant(raw, condition, problems)
        left_out[name] = int((kept & out).sum())
        kept &= ~out
    raw.keep(kept)
    return left_out


def _meant(raw: RawTable, condition: Condition, problems: Problems) -> NDArray[np.bool_]:
    """(n,) which rows keep a condition of `rows`."""
    try:
        if condition.reads_numbers:
            return condition.among(attempt_numbers(raw, condition.column)[0])
        codes, texts = distinct_texts(raw, condition.column)
        return np.array([*map(condition.means, texts), condition.means("")], dtype=bool)[codes]
    except ArmError as error:
        problems.add(str(error), "a condition that the column can keep", column=condition.column, rank=ROLE)
        return np.zeros(len(raw), dtype=bool)


def _ids(raw: RawTable, name: str, problems: Problems, *, made: bool) -> NDArray[np.object_]:
    if name in raw.columns or not made:
        return parse_ids(raw, name, problems, unique=True)
    refuse_totals(raw, problems)
    raw.said.append("no id: a customer is called by the line, as line-2")
    return np.array([f"line-{line}" for line in raw.line.tolist()], dtype=object)


def _feature_names(raw: RawTable, config: CustomersConfig, problems: Problems) -> list[str]:
    dropped = {name for name, rule in config.path_dependent.items() if rule == "drop"} | set(config.exclude)
    dropped |= {
        config.id or "",
        config.row_date or "",
        config.label.column,
        *config.optional.columns.values(),
    }
    names = [name for name in raw.names if name not in dropped]
    of_log = [each for each in names if any(fnmatchcase(each, one) for one in config.log_columns)]
    if of_log := [each for each in of_log if each not in _named(config)]:
        raw.said.append(f"no features, as the offer log reads them: {', '.join(map(repr, of_log))}")
        names = [name for name in names if name not in of_log]
    for name in names:
        if name in RESERVED:
            problems.add(
                "a name that is reserved", "another one", column=name, remedy=f"rename it; {leave_out(name)}"
            )
    unused = [name for name in config.optional.columns.values() if name in raw.columns]
    if unused:
        raw.said.append(f"no features, by `optional`: {', '.join(map(repr, unused))}")
    return [name for name in names if name not in RESERVED]


def _learned(
    raw: RawTable,
    name: str,
    config: CustomersConfig,
    day: date | pd.DatetimeIndex | None,
    problems: Problems,
) -> tuple[FeatureSpec, NDArray[Any]] | None:
    """A feature and its values; None where it can be none, which `problems` says."""
    told = len(problems.all)
    kind: FeatureKind | None = "numeric"
    given = config.kinds.get(name)
    if name not in (config.monthly_revenue, config.tenure, *config.dates):
        kind = given or infer_kind(raw, name, problems)
        if kind == "numeric" and given is None and (_INDEX.fullmatch(name) or _row_numbers(raw, name)):
            problems.add("the number of the row", "a feature", column=name, remedy=leave_out(name))
    if name.startswith("Unnamed: ") and given is None and len(problems.all) == told:
        remedy, expected = leave_out(name), "a name for every column"
        problems.add("a column without a name", expected, column=name, lines=[1], remedy=remedy)
    if kind is None or len(problems.all) > told:
        return None
    spec = _spec(name, kind, config)
    schema = _schema(config, None, [spec], 0)
    values = _values(raw, spec, schema, problems, day)
    if spec.date and name not in config.known_ahead:
        remedy = f"it was written later; {leave_out(name)}; known in advance: `known_ahead: [{name!r}]`"
        expected = "no day after the one that the row describes"
        problems.rows(name, values < 0, None, expected, line=raw.line, found="later days", remedy=remedy)
    if len(problems.all) > told:
        return None
    if kind == "categorical":
        categories = {as_text(spec.blank)} if spec.blank is not None else set()
        spec = _with_categories(spec, categories | set(distinct_texts(raw, name)[1]), config, problems)
    if not spec.categories if kind == "categorical" else np.isnan(values).all():
        problems.add("only blanks", "some values", column=name, remedy=leave_out(name))
    return spec, values


_INDEX = re.compile(r"__index_level_\d+__")
"""What pandas calls the numbers of its rows in a Parquet file."""


def _row_numbers(raw: RawTable, name: str) -> bool:
    """Whether a column counts the rows, from wherever."""
    if len(raw) < _FEW_ROWS:
        return False
    numbers, _ = attempt_numbers(raw, name)
    step = np.diff(numbers)
    return bool(len(step) and (step > 0).all() and (numbers == np.round(numbers)).all()
                and np.array_equal(numbers - numbers[0], raw.line - raw.line[0]))  # fmt: skip


_FEW_ROWS = 10
"""With fewer rows a feature may count them by chance."""


def _spec(name: str, kind: FeatureKind, config: CustomersConfig) -> FeatureSpec:
    lowest, highest = config.ranges.get(name, (None, None))
    if name in (config.tenure, config.monthly_revenue):
        lowest = max(0.0, lowest or 0.0)
    return FeatureSpec(
        name=name,
        kind=kind,
        lowest=lowest,
        highest=highest,
        path_dependent=config.path_dependent.get(name) == "freeze",
        blank=config.blank_means.get(name),
        constant=config.constants.get(name),
        date=name in config.dates,
    )


def _with_categories(
    spec: FeatureSpec, values: set[str], config: CustomersConfig, problems: Problems
) -> FeatureSpec:
    categories = tuple(sorted(values))
    if spec.name in config.ranges:
        problems.add("texts", "numbers, as `ranges` gives it a range", column=spec.name)
    if len(categories) > config.max_categories:
        problems.add(
            f"{len(categories)} different texts, as {shown(categories[0])}",
            f"at most {config.max_categories} (`max_categories`)",
            column=spec.name,
            remedy=f"an identifier, a date or free text is no feature; {leave_out(spec.name)}",
        )
    return spec.model_copy(update={"categories": categories, "maximum": float(len(categories) - 1)})


def _values(
    raw: RawTable,
    feature: FeatureSpec,
    schema: CustomerSchema,
    problems: Problems,
    day: date | pd.DatetimeIndex | None,
) -> NDArray[Any]:
    """(n,) numbers or texts of a feature, by the rules of its schema."""
    rule, name = schema.rule(feature), feature.name
    rank = ROLE if rule.needed else VALUE
    if feature.date and not pa.types.is_floating(raw.columns[name].type):  # those are months already
        if not isinstance(day, pd.DatetimeIndex):
            day = pd.DatetimeIndex([pd.Timestamp(day or datetime.now(UTC).date(), tz="UTC")]).repeat(len(raw))
        return np.asarray((day - parse_dates(raw, name, problems)).days / DAYS_A_MONTH, np.float64)
    if feature.kind == "numeric":
        blank = np.nan if feature.blank is None else float(feature.blank)
        if feature.blank is not None:
            rule = replace(rule, needed=False)
        numbers = parse_numbers(raw, name, problems, rule, rank=rank)
        return numbers if feature.blank is None else np.where(np.isnan(numbers), blank, numbers)
    texts = parse_texts(raw, name, problems)
    if feature.blank is not None:
        texts[pd.isna(texts)] = as_text(feature.blank)
    codes, distinct = distinct_texts(raw, name)
    if feature.categories and not set(distinct) <= set(feature.categories):
        strange = np.array([text not in feature.categories for text in distinct] + [False])[codes]
        problems.rows(name, strange, texts, f"one of {list(feature.categories)}", line=raw.line)
    return texts


def _labels(raw: RawTable, schema: CustomerSchema, problems: Problems) -> NDArray[np.int8] | None:
    """(n,) labels by the pinned schema; None where any is blank."""
    name, meanings = schema.label.column, schema.label.meanings
    codes, texts = distinct_texts(raw, name)
    values = np.array([*texts, None], dtype=object)[codes]
    known = np.array([text in meanings for text in texts] + [True])
    problems.rows(name, ~known[codes], values, f"one of {list(meanings)}", line=raw.line)
    if (codes < 0).any() and "" not in meanings:
        return None
    return np.array([meanings.get(text, 0) for text in texts] + [0], np.int8)[codes]


def _schema(
    config: CustomersConfig, labels: ReadLabels | None, specs: Sequence[FeatureSpec], seed: int
) -> CustomerSchema:
    """The schema so far; `labels` may be None while the features are read."""
    return CustomerSchema(
        id=config.id or ID,
        made_id=config.id is None,
        row_date=config.row_date,
        label=LabelSpec(column=config.label.column, positive="", negative="")
        if labels is None
        else labels.spec,
        label_window_months=config.label.window_months,
        monthly_revenue=config.monthly_revenue,
        tenure=config.tenure,
        features=tuple(specs),
        folds=FoldsSpec(seed=seed, count=config.folds.count, held_out=config.folds.held_out),
        optional=config.optional,
        excluded=(*config.exclude, *config.log_columns, *config.path_dependent),
        groups=config.groups,
        max_outside_share=config.max_outside_share,
    )


def _with_statistics(schema: CustomerSchema, frame: pd.DataFrame, problems: Problems) -> CustomerSchema:
    fitted = ~schema.is_held_out(frame[FOLD].to_numpy())
    features = []
    for feature in schema.features:
        if feature.kind == "numeric":
            values = frame[feature.name].to_numpy()[fitted]
            values = values[~np.isnan(values)]
            if len(values):
                seen = {
                    "minimum": values.min(),
                    "maximum": values.max(),
                    "mean": values.mean(),
                    "std": values.std() or 1.0,
                }
                feature = feature.model_copy(update={key: float(value) for key, value in seen.items()})
            else:
                problems.add("no value among the customers to fit on", "some", column=feature.name,
                             remedy=leave_out(feature.name))  # fmt: skip
        features.append(feature)
    problems.stop()
    return schema.model_copy(update={"features": tuple(features)})

"""Any customer table is read by config alone, and a wrong one is refused by column, row and value."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from churn_assets.customers.config import CustomersConfig
from churn_assets.customers.table import CustomerTableError, prepare, read_customers
from churn_assets.experiment import load_experiment
from churn_assets.tables.files import read_raw
from churn_assets.tables.problems import Problems

ROOT = Path(__file__).parents[2]


def read(raw: pd.DataFrame, config: CustomersConfig, folder: Path):
    path = folder / config.source
    if path.suffix == ".parquet":
        raw.to_parquet(path, index=False)
    else:
        raw.to_csv(path, index=False)
    return read_customers(config, seed=1, root=folder)


def with_config(config: CustomersConfig, **changes) -> CustomersConfig:
    return CustomersConfig.model_validate({**config.model_dump(), **changes})


@pytest.fixture(scope="module")
def telco():
    experiment = load_experiment("quickstart", ROOT / "configs")
    return read_customers(experiment.customers, seed=experiment.seed, root=ROOT)


def test_the_embedded_customers_are_the_published_ones(telco):
    assert len(telco) == 7043
    assert int(telco.y.sum()) == 1869
    assert telco.source.sha256 == "88be4b93fbe0cc83421af1c503794c97c342eca914c1576db7c276e61d61358a"
    assert "TotalCharges" not in telco.schema.names, "dropped: path-dependent"
    assert telco.schema.label_window_months == 3


def test_blank_numbers_become_missing_and_are_counted():
    config = load_experiment("quickstart", ROOT / "configs").customers
    frozen = with_config(config, path_dependent={"TotalCharges": "freeze"})
    table = read_customers(frozen, seed=1, root=ROOT)
    assert table.source.blanks == {"TotalCharges": 11}
    assert np.isnan(table.X[:, table.schema.names.index("TotalCharges")]).sum() == 11
    assert table.schema.feature("TotalCharges").path_dependent


def test_another_table_needs_only_config(raw, config, tmp_path):
    table = read(raw, config, tmp_path)
    kinds = {feature.name: feature.kind for feature in table.schema.features}
    assert kinds == {"fee": "numeric", "plan": "categorical", "autopay": "categorical", "calls": "numeric"}
    assert table.schema.tenure is None
    assert table.ids[0] == "1000"
    np.testing.assert_array_equal(table.y, raw["left"])
    np.testing.assert_array_equal(table.price, raw["fee"])
    assert table.source.rows == len(raw)


def test_csv_and_parquet_give_the_same_customers(raw, config, tmp_path):
    from_csv = read(raw, config, tmp_path)
    from_parquet = read(raw, with_config(config, source="table.parquet"), tmp_path)
    pd.testing.assert_frame_equal(from_csv.frame, from_parquet.frame)
    assert from_csv.schema == from_parquet.schema


@pytest.mark.parametrize(
    ("labels", "positive"),
    [
        (lambda left: np.where(left == 1, "churned", "stayed"), "Churned"),
        (lambda left: left == 1, True),
        (lambda left: left == 1, "true"),
        (lambda left: left.astype(float), 1),
        (lambda left: np.where(left == 1, 0, 5), 0),
    ],
)
def test_labels_may_be_any_two_values(raw, config, tmp_path, labels, positive):
    label = {"column": "left", "positive": positive, "window_months": 1}
    relabelled = raw.assign(left=labels(raw["left"].to_numpy()))
    for source in ("table.csv", "table.parquet"):
        table = read(relabelled, with_config(config, source=source, label=label), tmp_path)
        np.testing.assert_array_equal(table.y, raw["left"])


def test_a_kind_can_be_pinned(raw, config, tmp_path):
    table = read(raw, with_config(config, kinds={"calls": "categorical"}), tmp_path)
    assert table.schema.feature("calls").categories == tuple("012345678")


def test_none_is_a_category_but_the_empty_text_is_a_blank(raw, config, tmp_path):
    table = read(raw.assign(plan=["None", ""] * 30), config, tmp_path)
    assert table.schema.feature("plan").categories == ("None",)
    assert table.source.blanks["plan"] == 30


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda raw: raw.drop(columns="fee"),
            r"table.csv: column 'fee': found no such column, expected one of 'account', ",
        ),
        (
            lambda raw: raw.assign(account=raw["account"].where(raw.index != 4)),
            "'account', line 6: found a blank, expected an id in every line",
        ),
        (
            lambda raw: raw.assign(account=raw["account"].replace(1007, 1001)),
            "'account', lines 3, 9: found an id of several lines, expected each id once",
        ),
        (
            lambda raw: raw.assign(fee=raw["fee"].where(raw.index != 2, 0)),
            "'fee', line 4: found '0.0', expected a finite number, above 0; .*rows: ",
        ),
        (
            lambda raw: raw.assign(fee=raw["fee"].where(raw.index != 2)),
            "'fee', line 4: found a blank, expected a finite number, above 0",
        ),
        (
            lambda raw: raw.assign(fee=np.inf),
            r"lines 2, 3, 4, 5, 6, … \(60 in all\): found 'inf', expected a finite number",
        ),
        (
            lambda raw: raw.assign(left=2),
            r"'left': found the values \['2'\], expected '1' \(label.positive\) and one other; `label: ",
        ),
        (
            lambda raw: raw.assign(left=raw.index % 3),
            r"found '2', expected '1' \(label.positive\) and one other, '0'",
        ),
        (
            lambda raw: raw.assign(left=raw["left"].where(raw.index != 9)),
            "'left', line 11: found a blank, .*ignore",
        ),
        (
            lambda raw: raw.assign(calls=raw["calls"].astype(object).where(raw.index != 1, "1,5")),
            "line 3: found '1,5', expected numbers, as in most lines; .*decimal",
        ),
        (lambda raw: raw.assign(plan=""), r"'plan': found only blanks, .*exclude: \['plan'\]"),
        (
            lambda raw: raw.assign(plan=raw["notes"]),
            "'plan': found 60 different texts, as 'call 0 about something', expected at most 50",
        ),
        (lambda raw: raw.rename(columns={"plan": "fold"}), "'fold': found a name that is reserved"),
        (lambda raw: raw.iloc[:0], "found no rows"),
    ],
)
def test_a_wrong_table_is_refused_by_name(raw, config, tmp_path, change, message):
    with pytest.raises(CustomerTableError, match=message):
        read(change(raw), config, tmp_path)


def test_columns_that_the_config_names_must_be_there(raw, config, tmp_path):
    with pytest.raises(CustomerTableError, match=r"'note': found no such column, .*did you mean 'notes'"):
        read(raw, with_config(config, exclude=("note",)), tmp_path)


def test_a_range_that_the_config_gives_is_kept(raw, config, tmp_path):
    with pytest.raises(
        CustomerTableError, match=r"'calls', lines .*: found '8.0', expected .* at most 7, or a blank"
    ):
        read(raw, with_config(config, ranges={"calls": [0, 7]}), tmp_path)


def test_dates_are_no_feature(raw, config, tmp_path):
    dated = raw.assign(plan=pd.Timestamp("2026-01-01"))
    with pytest.raises(CustomerTableError, match="'plan': found dates"):
        read(dated, with_config(config, source="table.parquet"), tmp_path)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere.csv", "nowhere.csv: found no such file"),
        ("table.png", "found a .png file, expected one that ends in .csv, .tsv, .txt or .parquet"),
        ("broken.parquet", "a Parquet file that cannot be read"),
        ("empty.csv", "found an empty file"),
        ("s3://bucket/table.csv", "expected a path, gs://bucket/name or one of"),
    ],
)
def test_a_source_that_cannot_be_read_is_named(config, tmp_path, source, message):
    (tmp_path / "table.png").write_bytes(b"PK")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    (tmp_path / "empty.csv").write_bytes(b"")
    with pytest.raises(CustomerTableError, match=message):
        read_customers(with_config(config, source=source), seed=1, root=tmp_path)


def test_new_customers_are_read_with_the_pinned_schema(raw, config, tmp_path):
    table = read(raw, config, tmp_path)
    new = raw.drop(columns=["left", "notes"]).head(1)[["plan", "calls", "autopay", "fee", "account"]]
    prepared = prepare(new, table.schema)
    np.testing.assert_array_equal(prepared.X, table.X[:1])
    assert prepared.fold[0] == table.fold[0]
    unwritten = replace(table, frame=table.frame.drop(columns="fold"))
    assert unwritten.fold.tolist() == table.fold.tolist()
    with pytest.raises(CustomerTableError, match="no label"):
        _ = prepared.y


def test_prepared_labelled_customers_equal_those_read(telco):
    raw = read_raw(ROOT / "data" / "telco_customer_churn.csv", Problems("t"))
    again = prepare(raw, telco.schema)
    pd.testing.assert_frame_equal(again.frame, telco.frame, check_like=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda new: new.assign(plan="gold"),
            r"'plan', lines 2, 3, 4: found 'gold', expected one of \['basic', 'plus', 'pro'\]",
        ),
        (lambda new: new.drop(columns="plan"), "'plan': found no such column"),
        (
            lambda new: new.assign(calls="many"),
            "'calls', lines 2, 3, 4: found 'many', expected a finite number, or a blank$",
        ),
        (lambda new: new.assign(left="perhaps"), "'left', lines 2, 3, 4: found 'perhaps'"),
        (lambda new: pd.concat([new, new]), "expected each id once"),
    ],
)
def test_new_customers_that_do_not_fit_the_schema_are_refused(raw, config, tmp_path, change, message):
    table = read(raw, config, tmp_path)
    with pytest.raises(CustomerTableError, match=message):
        prepare(change(raw.head(3)), table.schema)


def test_the_split_is_as_configured(raw, config, tmp_path):
    table = read(raw, with_config(config, folds={"count": 4, "held_out": 1}), tmp_path)
    assert set(table.fold) == {0, 1, 2, 3}
    np.testing.assert_array_equal(table.held_out, table.fold == 3)
    with pytest.raises(ValueError, match="must leave at least 2 of the 4 folds"):
        with_config(config, folds={"count": 4, "held_out": 3})


def test_the_most_categories_are_as_configured(raw, config, tmp_path):
    with pytest.raises(
        CustomerTableError, match="'plan': found 3 different texts, as 'basic', expected at most 2"
    ):
        read(raw, with_config(config, max_categories=2), tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"exclude": ("fee",)}, "column 'fee' is monthly_revenue and cannot stand in exclude"),
        (
            {"path_dependent": {"account": "drop"}},
            "column 'account' is id and cannot stand in path_dependent",
        ),
        ({"tenure": "left"}, "column 'left' is both label.column and tenure"),
        ({"ranges": {"calls": (9, 1)}}, "ranges.calls: 9.0 is above 1.0"),
    ],
)
def test_roles_that_contradict_each_other_are_refused(config, change, message):
    with pytest.raises(ValueError, match=message):
        with_config(config, **change)

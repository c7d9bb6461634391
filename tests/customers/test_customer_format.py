"""Customers that come back from the store are the customers that went in, or they do not come back."""

import json

import pandas as pd
import pytest

from churn_assets.customers.format import CUSTOMERS, DESCRIPTION, ROWS
from churn_assets.customers.table import read_customers
from churn_assets.store.errors import CorruptArtifact
from churn_assets.store.formats import read_parquet, write_parquet
from churn_assets.store.staging import stage


@pytest.fixture
def table(raw, config, tmp_path):
    raw.to_csv(tmp_path / "table.csv", index=False)
    return read_customers(config, seed=1, root=tmp_path)


def test_a_saved_table_loads_equal(table, tmp_path):
    folder = tmp_path / "saved"
    staged = stage("customers", table, CUSTOMERS, folder)
    loaded = CUSTOMERS.load(folder)
    pd.testing.assert_frame_equal(loaded.frame, table.frame)
    assert loaded.schema == table.schema
    assert loaded.source == table.source
    assert stage("customers", loaded, CUSTOMERS, tmp_path / "again").digest == staged.digest


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame.assign(plan="gold"),
        lambda frame: frame.assign(fee=-1.0),
        lambda frame: frame.drop(columns="calls"),
        lambda frame: frame.assign(extra=1.0),
        lambda frame: pd.concat([frame, frame.head(1)], ignore_index=True),
        lambda frame: frame.assign(fold=frame["fold"].astype("int64")),
    ],
)
def test_rows_that_do_not_fit_the_schema_are_corrupt(table, tmp_path, change):
    stage("customers", table, CUSTOMERS, tmp_path / "saved")
    rows = tmp_path / "saved" / ROWS
    write_parquet(change(read_parquet(rows)), rows)
    with pytest.raises(CorruptArtifact, match=ROWS):
        CUSTOMERS.load(tmp_path / "saved")


def test_an_unknown_key_in_the_schema_is_corrupt(table, tmp_path):
    stage("customers", table, CUSTOMERS, tmp_path / "saved")
    path = tmp_path / "saved" / DESCRIPTION
    path.write_text(json.dumps(json.loads(path.read_text()) | {"more": 1}))
    with pytest.raises(CorruptArtifact, match=DESCRIPTION):
        CUSTOMERS.load(tmp_path / "saved")

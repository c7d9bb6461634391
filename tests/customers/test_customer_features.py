"""One fold function and one feature function for every table that names customers."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn_assets.customers.config import CustomersConfig
from churn_assets.customers.features import aged, design_matrix
from churn_assets.customers.folds import folds
from churn_assets.customers.table import prepare, read_customers


@pytest.fixture
def table(raw, config, tmp_path):
    raw.to_csv(tmp_path / "table.csv", index=False)
    tenured = CustomersConfig.model_validate({**config.model_dump(), "tenure": "calls", "kinds": {}})
    raw.assign(calls=raw["calls"].fillna(0)).to_csv(tmp_path / "table.csv", index=False)
    return read_customers(tenured, seed=1, root=tmp_path)


@given(st.lists(st.text(min_size=1), min_size=1, unique=True), st.integers(0, 2**31), st.integers(3, 100))
def test_a_customers_fold_depends_on_id_and_seed_alone(ids, seed, count):
    together = folds(ids, seed, count)
    assert together.tolist() == [int(folds([name], seed, count)[0]) for name in ids]
    assert ((together >= 0) & (together < count)).all()


def test_folds_are_the_same_in_every_process():
    code = "from churn_assets.customers.folds import*; print(folds(['a', 'b', '7590-VHVEG'], 7, 10).tolist())"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == str(folds(["a", "b", "7590-VHVEG"], 7, 10).tolist()) == "[5, 0, 6]"


def test_another_seed_splits_otherwise_and_evenly():
    ids = [str(number) for number in range(20_000)]
    assert (folds(ids, 1, 10) == folds(ids, 2, 10)).mean() == pytest.approx(0.1, abs=0.02)
    assert np.bincount(folds(ids, 1, 10), minlength=10) / 20_000 == pytest.approx(0.1, abs=0.01)


def test_held_out_are_the_last_folds(table):
    assert table.schema.folds.held_out == 2
    np.testing.assert_array_equal(table.held_out, table.fold >= 8)


def test_statistics_of_the_schema_come_from_the_customers_to_fit_on(table):
    fitted = table.price[~table.held_out]
    feature = table.schema.feature("fee")
    assert (feature.minimum, feature.maximum) == (fitted.min(), fitted.max())
    assert feature.mean == pytest.approx(fitted.mean())
    assert feature.std == pytest.approx(fitted.std())


def test_the_design_matrix_does_not_depend_on_the_order_of_columns(table):
    shuffled = table.frame[sorted(table.frame.columns)]
    np.testing.assert_array_equal(design_matrix(shuffled, table.schema), table.X)


def test_categories_are_positions_in_the_schema_and_blanks_are_nan(table):
    frame = table.frame.head(2).assign(plan=["pro", None])
    column = design_matrix(frame, table.schema)[:, table.schema.names.index("plan")]
    assert column[0] == 2
    assert np.isnan(column[1])


def test_a_missing_feature_or_unseen_category_is_an_error(table):
    with pytest.raises(ValueError, match=r"features \['plan'\] are missing"):
        design_matrix(table.frame.drop(columns="plan"), table.schema)
    with pytest.raises(ValueError, match="found 'gold', expected one of"):
        design_matrix(table.frame.assign(plan="gold"), table.schema)


def test_ageing_moves_tenure_alone(table):
    later = aged(table.X, table.schema, 4)
    moved = np.flatnonzero((later != table.X).any(axis=0))
    assert moved.tolist() == [table.schema.tenure_index]
    np.testing.assert_array_equal(later[:, moved[0]], table.X[:, moved[0]] + 4)


def test_ageing_without_a_tenure_changes_nothing(table):
    schema = table.schema.model_copy(update={"tenure": None})
    later = aged(table.X, schema, 4)
    np.testing.assert_array_equal(later, table.X)
    assert later is not table.X


def test_rows_keep_their_features_when_picked(table):
    np.testing.assert_array_equal(table.where(table.held_out).X, table.X[table.held_out])


def test_text_numbers_and_numbers_are_the_same_feature(table):
    raw = pd.DataFrame(
        {"account": ["x"], "fee": ["12.50"], "plan": ["pro"], "autopay": [True], "calls": [" 3 "]}
    )
    as_numbers = raw.assign(fee=12.5, calls=3)
    np.testing.assert_array_equal(prepare(raw, table.schema).X, prepare(as_numbers, table.schema).X)

"""Ways in which a table may be misread that were found by hand: each is read right, refused with a way out, or said."""

import pandas as pd
import pytest

from churn_assets.customers.config import CustomersConfig
from churn_assets.customers.table import CustomerTableError, learnable, read_customers
from churn_assets.tables.config import FileReading
from churn_assets.tables.files import read_raw
from churn_assets.tables.problems import Problems, shown

ROWS = 60
CONFIG = {
    "source": "t.csv",
    "id": "account",
    "tenure": "tenure",
    "monthly_revenue": "fee",
    "label": {"column": "churned", "positive": "yes", "window_months": 3},
}


def frame(**columns) -> pd.DataFrame:
    rows = range(ROWS)
    usual = {
        "account": [f"A{row:03d}" for row in rows],
        "tenure": [str(1 + row % 40) for row in rows],
        "fee": [f"{20 + row % 30}.5" for row in rows],
        "calls": [str(row % 7) for row in rows],
        "churned": ["yes" if row % 3 == 0 else "no" for row in rows],
    }
    return pd.DataFrame(usual | columns)


def read(folder, table, **config):
    path = folder / "t.csv"
    path.write_bytes(table if isinstance(table, bytes) else table.to_csv(index=False).encode())
    return read_customers(CustomersConfig.model_validate(CONFIG | config), seed=1, root=folder)


def refused(folder, table, **config) -> str:
    with pytest.raises(CustomerTableError) as caught:
        read(folder, table, **config)
    return str(caught.value)


def said(folder, table, **reading) -> str:
    path = folder / "t.csv"
    path.write_bytes(table.to_csv(index=False).encode())
    problems = Problems("t.csv", CustomerTableError)
    return " ".join(read_raw(path, problems, FileReading.model_validate(reading)).said)


@pytest.mark.parametrize("text", ["\u22123", "\u20133", ">100", "~5", "\u22645"])
def test_a_sign_that_changes_a_number_is_never_offered_as_a_unit_and_is_none(tmp_path, text):
    message = refused(tmp_path, frame(calls=[text, *["3"] * (ROWS - 1)]))
    assert "column 'calls'" in message
    assert shown(text) in message
    assert "units" not in message
    with pytest.raises(ValueError, match="no part of a number"):
        FileReading(units=(text.strip("0123456789"),))


def test_names_that_differ_by_spaces_are_one_name_twice(tmp_path):
    table = frame()
    table.insert(4, "calls ", table["calls"])
    assert "column 'calls', line 1: found the name in columns 4, 5" in refused(tmp_path, table)


def test_values_within_single_quotes_are_not_read_with_them(tmp_path):
    table = frame(account=[f"'A{row:03d}'" for row in range(ROWS)])
    message = refused(tmp_path, table)
    assert "column 'account', line 2: found every value within '" in message
    assert """`reading: {quote: "'"}`""" in message
    assert read(tmp_path, table, reading={"quote": "'"}).ids[3] == "A003"


def test_a_name_with_an_apostrophe_is_no_quote(tmp_path):
    assert (
        len(read(tmp_path, frame(plan=["'t Hart" if row % 2 else "O'Neil'" for row in range(ROWS)]))) == ROWS
    )


def test_a_remedy_against_negative_months_keeps_new_customers(tmp_path):
    message = refused(tmp_path, frame(tenure=["-3", *["0"] * (ROWS - 1)]))
    assert "at_most: -3" in message


def test_nines_that_stand_for_no_tenure_are_said_as_of_any_feature(tmp_path):
    table = frame(tenure=["999"] * 6 + [str(1 + row % 40) for row in range(ROWS - 6)])
    path, problems = tmp_path / "t.csv", Problems("t.csv", CustomerTableError)
    path.write_bytes(table.to_csv(index=False).encode())
    raw = read_raw(path, problems)
    learnable(raw, CustomersConfig.model_validate(CONFIG), 1, problems)
    assert "column 'tenure': 999 is a number" in " ".join(raw.said)


def test_three_digits_after_every_point_are_said(tmp_path):
    grouped = frame(fee=[f"{1 + row % 9}.{100 + row}" for row in range(ROWS)])
    assert "column 'fee': three digits after every point" in said(tmp_path, grouped)
    assert "three digits" not in said(tmp_path, grouped, decimal=",")
    assert "three digits" not in said(tmp_path, frame(fee=[f"0.{100 + row}" for row in range(ROWS)]))
    assert read(tmp_path, grouped, reading={"decimal": ","}).price[0] == 1100

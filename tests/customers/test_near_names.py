"""A column that only resembles an opt-out is asked about where it could be one."""

from __future__ import annotations

import pandas as pd
import pytest

from churn_assets.customers.config import CustomersConfig
from churn_assets.customers.table import CustomerTableError, read_customers

LABEL = {"column": "left", "positive": "yes", "window_months": 1}


def read(tmp_path, name, values):
    rows = 40
    table = pd.DataFrame(
        {"fee": range(1, rows + 1), "left": ["yes", "no"] * (rows // 2), name: values * (rows // 2)}
    )
    table.to_csv(tmp_path / "customers.csv", index=False)
    config = CustomersConfig.model_validate(
        {"source": "customers.csv", "monthly_revenue": "fee", "label": LABEL}
    )
    return read_customers(config, seed=1, root=tmp_path)


def test_how_somebody_is_contacted_is_a_feature(tmp_path):
    """As in the table of bank marketing."""
    assert "contact" in read(tmp_path, "contact", ["cellular", "telephone"]).schema.names


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("contact", ["yes", "no"]),
        ("Opted_Out", ["out", "in"]),
        ("do_not_contact", ["x", "y"]),
    ],
)
def test_whoever_may_have_opted_out_is_asked_about(tmp_path, name, values):
    with pytest.raises(CustomerTableError, match="a name like 'opted_out'"):
        read(tmp_path, name, values)

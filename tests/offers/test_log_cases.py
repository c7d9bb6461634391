"""Offer logs as companies have them: read right and said, or refused with the line."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from churn_assets.arms import Catalogue
from churn_assets.customers.config import CustomersConfig
from churn_assets.customers.table import read_customers
from churn_assets.offers.log import OfferLogError, as_log, read_log
from churn_assets.tables.config import FileReading

ROOT = Path(__file__).parents[2]
CASES = ROOT / "tests" / "tables" / "cases"
IDS = np.array(pd.read_csv(ROOT / "data" / "telco_customer_churn.csv", dtype=str)["customerID"], dtype=object)


def read(name: str, ids=IDS, **options):
    return read_log(CASES / name, {}, ids, Catalogue(), name, **options)


def test_the_right_log_is_read():
    log = read("00_log_ok.csv")
    assert (len(log), log.said) == (12, ())


def test_ids_of_log_and_customers_match_however_they_were_exported():
    config = CustomersConfig(
        source="05_customers_ids_with_point_zero.csv",
        id="customerID",
        label={"column": "Churn", "positive": "Yes", "window_months": 3},
        monthly_revenue="MonthlyCharges",
        tenure="tenure",
    )
    customers = read_customers(config, seed=1, root=CASES)
    assert len(read("05_log_ids_with_point_zero.csv", customers.ids)) == 12


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "09_log_cp1252.csv",
            "line 2: found the byte 0xe8, expected text in UTF-8; .*`reading: {encoding: cp1252}`",
        ),
        ("09_log_empty.csv", "found an empty file, expected a header and at least one line"),
        ("09_log_header_only.csv", "found no rows, expected at least one decision"),
        ("09_log_not_parquet.parquet", "found text .*, expected a Parquet file"),
    ],
)
def test_what_is_no_log_is_told_by_file_and_line(name, said):
    with pytest.raises(OfferLogError, match=f"^{name}: {said}"):
        read(name)


def test_another_encoding_is_read_where_the_config_names_it():
    log = read("09_log_cp1252.csv", reading=FileReading(encoding="cp1252"))
    assert set(log.frame["policy_version"]) == {"règle"}


def test_rounded_propensities_are_made_to_add_up_and_that_is_said():
    log = read("15_log_six_decimals.csv")
    np.testing.assert_allclose(log.propensities.sum(1), 1, atol=1e-12)
    np.testing.assert_allclose(log.frame["propensity"], log.propensities[np.arange(len(log)), log.arm])
    assert log.said == ("propensities of 6 decimals: 12 rows were made to add up to 1",)


def test_true_and_false_are_truths():
    assert set(read("16_log_true_false.csv").churned) == {0, 1}


def broken(**changes):
    raw = pd.read_csv(CASES / "00_log_ok.csv", dtype=str)
    for column, (row, value) in changes.items():
        raw.loc[row, column] = value
    return raw


def test_every_problem_of_a_log_is_told_at_once():
    raw = broken(
        decided_at=(0, "1767571200"), accepted=(1, "perhaps"), margin=(2, "1e308"), customer_id=(3, "")
    )
    with pytest.raises(OfferLogError) as refused:
        as_log(raw, IDS, Catalogue(), simulated=False, origin="t")
    assert {(each.column, each.lines) for each in refused.value.problems} == {
        ("decided_at", (2,)),
        ("accepted", (3,)),
        ("margin", (4,)),
        ("customer_id", (5,)),
    }


def test_a_sum_that_no_rounding_explains_is_refused():
    raw = broken(propensity_0=(2, "0.343333"), propensity=(2, "0.343333"))
    with pytest.raises(OfferLogError, match=r"line 4: found 1\.00999"):
        as_log(raw, IDS, Catalogue(), simulated=False, origin="t")

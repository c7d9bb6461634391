"""Files are decided row by row: who cannot be decided for is told, and nothing is misread in silence."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from churn_assets.customers.table import CustomerTableError
from churn_assets.deciding.decider import CustomerInput, Decider
from churn_assets.deciding.table import UNDECIDED, decide_rows, decide_table
from churn_assets.tables.files import read_raw
from churn_assets.tables.problems import Problems
from churn_assets.tables.raw import RawTable

CASES = Path(__file__).parents[1] / "tables" / "cases"
NOW = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.fixture(scope="module")
def decider(small):
    return Decider(small.models, "toy/release/20260101T000000Z-000000000000")


def case(name: str) -> RawTable:
    return read_raw(CASES / name, Problems(name, CustomerTableError))


def ok() -> pd.DataFrame:
    return case("00_decide_ok.csv").frame()


def rows(frame: pd.DataFrame) -> RawTable:
    return RawTable.of_frame(frame, "t.csv")


def test_the_right_file_is_decided_for_everybody(decider):
    found = decide_rows(case("00_decide_ok.csv"), decider, NOW)
    assert found.decided.all()
    assert (found.problems, found.outside) == ([], {})
    pd.testing.assert_frame_equal(found.frame, decide_table(ok(), decider, NOW), check_dtype=False)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("14b_decide_one_zero_price.csv", "column 'MonthlyCharges', line {}: found '0"),
        ("18_decide_one_new_category.csv", "column 'InternetService', line {}: found '5G home'"),
    ],
)
def test_the_row_that_cannot_be_decided_for_says_why_and_the_others_are_decided(decider, name, said):
    found = decide_rows(case(name), decider, NOW)
    (row,) = np.flatnonzero(~found.decided).tolist()
    assert found.frame["decision"][row] == UNDECIDED
    assert said.format(row + 2) in found.frame["reasons"][row]
    assert pd.isna(found.frame.loc[row, ["arm", "risk", "expected_value"]]).all()
    (problem,) = found.problems
    assert problem.lines == (row + 2,)
    others = ok().drop(index=row).reset_index(drop=True)
    same = found.frame.drop(index=row).reset_index(drop=True)
    pd.testing.assert_series_equal(same["arm"], decide_table(others, decider, NOW)["arm"])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("01_decide_opted_out_header.csv", "column 'Opted_Out': found a name like 'opted_out'"),
        ("opted_out_misspelt.csv", "column 'OptedOut': found a name like 'opted_out'"),
        ("02_decide_unclosed_quote.csv", "line 3: found a quote that"),
        (
            "06_decide_cents.csv",
            "feature 'MonthlyCharges': found 8 of 8 far outside of the .* in another unit",
        ),
    ],
)
def test_a_file_that_would_be_misread_is_refused(decider, name, said):
    with pytest.raises(CustomerTableError, match=f"{name}: {said}"):
        decide_rows(case(name), decider, NOW)


def test_decimal_commas_decide_alike_and_are_said(decider):
    german = rows(ok().assign(MonthlyCharges=ok()["MonthlyCharges"].str.replace(".", ",")))
    found = decide_rows(german, decider, NOW)
    pd.testing.assert_frame_equal(found.frame, decide_rows(rows(ok()), decider, NOW).frame)
    assert german.said == ["decimal commas in 'MonthlyCharges'"]


def test_a_column_that_is_called_like_an_output_decides_as_ever(decider):
    found = decide_rows(case("12_decide_column_policy.csv"), decider, NOW)
    assert found.decided.all()


def test_an_opt_out_is_kept_under_the_configured_name(decider, small):
    optional = small.models.schema.optional.model_copy(update={"opted_out": "Opted_Out"})
    schema = decider.schema
    try:
        decider.schema = schema.model_copy(update={"optional": optional})
        found = decide_rows(case("01_decide_opted_out_header.csv"), decider, NOW)
    finally:
        decider.schema = schema
    assert set(found.frame["arm"]) == {"no_contact"}
    assert found.frame["reasons"].str.contains("opted out").all()


@pytest.mark.parametrize("word", ["1", "Yes", "TRUE", "true", "1.0"])
def test_an_opt_out_is_a_truth_however_it_is_written(decider, word):
    found = decide_rows(rows(ok().assign(opted_out=word)), decider, NOW)
    assert set(found.frame["arm"]) == {"no_contact"}


def test_who_may_get_what_is_read_row_by_row(decider):
    arm = decider.menu.ids[1]
    optional = decider.schema.optional.model_copy(update={"eligible": "may get"})
    schema = decider.schema
    frame = ok().assign(**{"may get": [arm, "", "everything", arm, arm, arm, arm, arm]})
    try:
        decider.schema = schema.model_copy(update={"optional": optional})
        found = decide_rows(rows(frame), decider, NOW)
    finally:
        decider.schema = schema
    assert found.decided.tolist() == [True, True, False, *[True] * 5]
    assert (
        "column 'may get', line 4: found 'everything', expected ids of no_contact"
        in found.frame["reasons"][2]
    )
    assert set(found.frame["arm"].drop(index=[1, 2])) <= {"no_contact", arm}


@pytest.mark.parametrize("label", ["", "Yes", "what was it"])
def test_the_label_may_be_there_and_is_not_read(decider, label):
    assert decide_rows(rows(ok().assign(Churn=label)), decider, NOW).decided.all()


def test_few_customers_far_outside_are_counted_and_decided_for(decider, small):
    frame = pd.concat([small.everyone.frame.head(60)], ignore_index=True)
    frame = frame.rename(columns={"customer_id": decider.schema.id}).drop(columns=["churned", "fold"])
    frame.loc[0, "MonthlyCharges"] = 5000.0
    found = decide_rows(rows(frame), decider, NOW)
    assert found.decided.all()
    assert found.outside == {"MonthlyCharges": 1}
    frame.loc[:9, "tenure"] = frame["tenure"][:10] * 30.0 + 300
    with pytest.raises(CustomerTableError, match="feature 'tenure': found 10 of 60 far outside"):
        decide_rows(rows(frame), decider, NOW)


def test_where_nobody_can_be_decided_for_the_file_is_refused_with_all_that_is_wrong(decider):
    with pytest.raises(CustomerTableError) as refused:
        decide_rows(rows(ok().assign(MonthlyCharges="0", Contract="Decade")), decider, NOW)
    assert {problem.column for problem in refused.value.problems} == {"MonthlyCharges", "Contract"}


def test_a_customer_of_two_lines_is_decided_for_in_neither(decider):
    frame = ok()
    frame.loc[1, "customerID"] = frame["customerID"][0]
    found = decide_rows(rows(frame), decider, NOW)
    assert found.decided.tolist() == [False, False, *[True] * 6]
    assert "C0001" not in found.frame["reasons"][0], "the line says who, the reason may reach a log"


def test_all_faults_of_a_call_are_found_at_once(decider):
    features = [dict(row) for row in decide_features(decider)]
    good, strange, dear = (CustomerInput(str(i), each) for i, each in enumerate(features[:3]))
    strange = CustomerInput("1", {**features[1], "Contract": "Decade"})
    dear = CustomerInput("2", {**features[2], "MonthlyCharges": 0.0})
    found = decider.faults([good, strange, dear])
    assert {index: error.field for index, error in found.items()} == {1: "Contract", 2: "MonthlyCharges"}
    assert decider.outside(
        decider.encoded([good, CustomerInput("3", {**features[0], "tenure": 2000.0})])
    ) == {"tenure": 1}


def decide_features(decider):
    from churn_assets.customers.table import prepare

    frame = prepare(ok(), decider.schema).frame[list(decider.schema.names)]
    return frame.to_dict("records")

"""Tables as companies have them: rows and labels to leave out, no id, no price, dates, blanks that mean something."""

import re
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from churn_assets.customers.config import CustomersConfig
from churn_assets.customers.features import FeatureError, RowEncoder
from churn_assets.customers.table import CustomerTableError, prepare, read_customers
from churn_assets.experiment import load_experiment

ROOT = Path(__file__).parents[2]
CASES = ROOT / "tests" / "tables" / "cases"


def read(raw: pd.DataFrame, config: CustomersConfig, folder: Path, **changes):
    changed = CustomersConfig.model_validate({**config.model_dump(exclude_unset=True), **changes})
    raw.to_csv(folder / "table.csv", index=False)
    return read_customers(changed, seed=1, root=folder)


def refusal(raw: pd.DataFrame, config: CustomersConfig, folder: Path, **changes) -> CustomerTableError:
    with pytest.raises(CustomerTableError) as refused:
        read(raw, config, folder, **changes)
    return refused.value


def test_everything_that_is_wrong_is_told_at_once_worst_first(raw, config, tmp_path):
    broken = raw.assign(
        fee=raw["fee"].where(raw.index != 2, -1),
        calls=raw["calls"].astype(object).where(raw.index != 4, "many"),
        account=raw["account"].replace(1007, 1001),
        signed="2026-01-05",
        RowNumber=range(1, 61),
        plan=raw["notes"],
    )
    found = refusal(broken, config, tmp_path).problems
    assert [problem.column for problem in found][:2] == ["account", "fee"]
    assert {problem.column for problem in found} == {"account", "fee", "calls", "signed", "RowNumber", "plan"}
    assert all(problem.remedy for problem in found)
    assert found[1].lines == (4,)


def test_names_that_differ_in_spaces_are_told_with_all_else_that_is_wrong(raw, config, tmp_path):
    broken = raw.rename(columns={"account": "Account ", "fee": "fee  "})
    broken["fee  "] = broken["fee  "].where(broken.index != 2, -1)
    broken["plan"] = broken["notes"]
    found = {(each.column, each.found): each for each in refusal(broken, config, tmp_path).problems}
    assert "did you mean 'fee  '?" in found["fee", "no such column"].expected
    assert "expected" not in found["account", "no such column"].expected
    assert found["fee", "'-1.0'"].lines == (4,)
    assert "exclude" not in found["fee", "'-1.0'"].remedy  # a column with a role cannot be left out
    assert ("plan", "no such column") not in found
    assert any(column == "plan" for column, _ in found)


def test_no_price_is_told_with_what_to_write_and_with_all_else(raw, config, tmp_path):
    settings = config.model_dump(exclude_unset=True)
    settings.pop("monthly_revenue")
    without, broken = CustomersConfig.model_validate(settings), raw.assign(plan=raw["notes"])
    found = {each.column: each for each in refusal(broken, without, tmp_path).problems}
    assert "`constants: {price: 30.0}`" in found["price"].remedy
    assert "plan" in found
    assert read(raw, without, tmp_path, constants={"price": 30.0}).price.tolist() == [30.0] * 60


def test_what_is_not_there_and_has_no_role_does_not_hide_the_rest(raw, config, tmp_path):
    broken = raw.assign(fee=raw["fee"].where(raw.index != 2, -1)).drop(columns="notes")
    found = {each.column for each in refusal(broken, config, tmp_path, tenure="months").problems}
    assert {"months", "fee"} <= found


def test_rows_are_left_out_by_name_and_counted(raw, config, tmp_path):
    raw.loc[[0, 5], "fee"] = -1
    rows = {"credits": {"column": "fee", "at_most": 0}, "basic": {"column": "plan", "one_of": ["basic"]}}
    table = read(raw, config, tmp_path, rows=rows)
    negative, basic = raw["fee"] <= 0, raw["plan"] == "basic"
    assert table.source.left_out == {"credits": 2, "basic": int((basic & ~negative).sum())}
    assert len(table) == int((~negative & ~basic).sum())
    assert table.schema.feature("plan").categories == ("plus", "pro")


def test_several_labels_mean_left_and_some_leave_the_customer_out(raw, config, tmp_path):
    raw["left"] = ["Stayed", "Churned", "Joined", "Moved away"] * 15
    label = {
        "column": "left",
        "positive": ["Churned", "moved away"],
        "ignore": ["Joined"],
        "window_months": 1,
    }
    table = read(raw, config, tmp_path, label=label)
    assert table.y.tolist() == [0, 1, 1] * 15
    assert table.source.left_out == {"by the label": 15}
    again = prepare(raw[raw["left"] != "Joined"], table.schema)
    np.testing.assert_array_equal(again.y, table.y)


def test_a_label_that_nobody_named_is_refused(raw, config, tmp_path):
    raw["left"] = ["Stayed", "Churned", "Joined", "Stayed"] * 15
    message = str(
        refusal(raw, config, tmp_path, label={"column": "left", "positive": "Churned", "window_months": 1})
    )
    assert (
        "column 'left', lines 4, 8, 12, 16, 20, … (15 in all): found 'Joined', expected 'Churned'" in message
    )
    assert "ignore" in message


def test_yes_and_no_of_a_label_may_be_written_otherwise_than_in_the_config(raw, config, tmp_path):
    labels = raw["left"].to_numpy()
    raw["left"] = np.where(labels == 1, "True", "False")
    label = {"column": "left", "positive": "Yes", "window_months": 1}
    assert read(raw, config, tmp_path, label=label).y.tolist() == labels.tolist()


def test_a_blank_label_may_mean_stayed(raw, config, tmp_path):
    table = raw.assign(left=np.where(raw["left"] == 1, "X", ""))
    label = {"column": "left", "positive": "X", "window_months": 1}
    with pytest.raises(CustomerTableError, match=r"found a blank.*stayed: `label: {negative: \[\"\"\]}`"):
        read(table, config, tmp_path, label=label)
    found = read(table, config, tmp_path, label=label | {"negative": [""]})
    np.testing.assert_array_equal(found.y, raw["left"])
    again = prepare(table, found.schema)
    np.testing.assert_array_equal(again.y, raw["left"])


def test_an_opt_out_that_nobody_could_decide_by_is_told_when_the_table_is_read(raw, config, tmp_path):
    assert "opted_out" not in read(raw.assign(opted_out="nein"), config, tmp_path).schema.names
    with pytest.raises(
        CustomerTableError, match=r"column 'opted_out', lines.*found 'perhaps', expected 0 or 1"
    ):
        read(raw.assign(opted_out="perhaps"), config, tmp_path)


def test_a_label_is_made_of_leaving_dates(raw, config, tmp_path):
    raw["left"] = ["", "2025-12-31", "2026-01-20", "2026-03-31", "2026-04-02", ""] * 10
    label = {"column": "left", "window_months": 3}
    table = read(raw, config, tmp_path, label=label, as_of="2026-01-01")
    assert table.y.tolist() == [0, 1, 1, 0, 0] * 10
    assert table.source.left_out == {"by the label": 10}
    with pytest.raises(ValueError, match="give as_of"):
        CustomersConfig.model_validate({**config.model_dump(exclude_unset=True), "label": label})


def test_without_an_id_the_line_names_the_customer_and_that_is_said(raw, config, tmp_path):
    table = read(raw.drop(columns="account"), config, tmp_path, id=None)
    assert table.ids[:2].tolist() == ["line-2", "line-3"]
    assert any("no id" in said for said in table.source.said)
    again = prepare(raw.drop(columns=["account", "left"]), table.schema)
    assert again.ids.tolist() == table.ids.tolist()


def test_a_price_that_all_pay_is_configured(raw, config, tmp_path):
    changes = {"monthly_revenue": "price", "constants": {"price": 19.5}}
    table = read(raw, config, tmp_path, **changes)
    assert set(table.price) == {19.5}
    assert prepare(raw.drop(columns="left"), table.schema).price[0] == 19.5
    features = {"fee": 20.0, "plan": "pro", "autopay": "True", "calls": 1.0}
    encoder = RowEncoder(table.schema)
    assert encoder.row(features) == encoder.row(features | {"price": 19.5})
    message = str(refusal(raw, config, tmp_path, constants={"fee": 3.0}))
    assert "column 'fee': found a column of this name, expected none" in message


def test_dates_are_months_before_the_day_that_the_table_describes(raw, config, tmp_path):
    raw["signed"] = ["2025-01-01", "2025-07-02"] * 30
    table = read(raw, config, tmp_path, dates=["signed"], as_of="2026-01-01")
    position = table.schema.names.index("signed")
    np.testing.assert_allclose(table.X[:2, position], [365 / 30.4375, 183 / 30.4375])
    later = prepare(raw.drop(columns="left"), table.schema, as_of=date(2026, 2, 1))
    np.testing.assert_allclose(later.X[:, position] - table.X[:, position], 31 / 30.4375)
    RowEncoder(table.schema).row(
        {"fee": 20.0, "plan": "pro", "autopay": "True", "calls": 1.0, "signed": 11.5}
    )


@pytest.mark.parametrize(
    ("texts", "written"),
    [
        (["31.01.2025", "1.2.2025", "2025-02-03", ""], "%d.%m.%Y"),
        (["01/31/25", "02/01/25", "02/03/25", ""], ["%m/%d/%y"]),
        (["31-Jan-2025 10:00", "01-feb-2025 00:00", "2025-02-03T01:00:00+01:00", ""], "%d-%b-%Y %H:%M"),
        (["20250131", "20250201", "20250203", ""], "%Y%m%d"),
    ],
)
def test_dates_are_read_as_they_are_written_once_that_is_said(raw, config, tmp_path, texts, written):
    table = raw.assign(signed=(texts * 15)[: len(raw)])
    given = {"as_of": "2025-06-01", "dates": ["signed"]}
    with pytest.raises(CustomerTableError, match=r"column 'signed', line.*`reading: {dates: \['%"):
        read(table, config, tmp_path, **given)
    found = read(table, config, tmp_path, **given, reading={"dates": written}).frame["signed"].to_numpy()
    np.testing.assert_allclose(found[:4], np.array([121, 120, 118, np.nan]) / (365.25 / 12), atol=1.1 / 30)


def test_a_last_line_that_is_about_all_others_is_no_customer(raw, config, tmp_path):
    table = raw.drop(columns=["account", "notes"]).astype({"fee": float})
    for change in ({"fee": table["fee"].sum().round(2)}, {"plan": "Grand total"}):
        with_totals = pd.concat([table, table.tail(1).assign(**change)])
        with pytest.raises(
            CustomerTableError, match=f"line {len(raw) + 2}: .*no sum of the others.*rows: {{totals"
        ):
            read(with_totals, config, tmp_path, id=None, exclude=[])
    assert len(read(table, config, tmp_path, id=None, exclude=[])) == len(raw)


def test_a_blank_means_what_the_config_says_everywhere(raw, config, tmp_path):
    raw.loc[4, "plan"] = ""
    table = read(raw, config, tmp_path, blank_means={"plan": "none", "calls": 0})
    assert table.schema.feature("plan").categories == ("basic", "none", "plus", "pro")
    assert table.source.blanks == {}
    assert table.frame["calls"][3] == 0
    assert prepare(raw.drop(columns="left"), table.schema).frame["plan"][4] == "none"
    encoder = RowEncoder(table.schema)
    features = {"fee": 20.0, "plan": "none", "autopay": "True", "calls": 0.0}
    assert encoder.row(features | {"plan": None, "calls": None}) == encoder.row(features)


def test_optional_columns_are_no_features_under_whatever_name(raw, config, tmp_path):
    raw = raw.assign(DoNotContact=0, first="Ada", opted_out=0)
    table = read(
        raw,
        config,
        tmp_path,
        optional={"opted_out": "DoNotContact", "name": "first"},
        exclude=["notes", "opted_out"],
    )
    assert table.schema.names == ("fee", "plan", "autopay", "calls")
    assert table.schema.optional.column("opted_out") == "DoNotContact"


@pytest.mark.parametrize(
    "name", ["Opted_Out", "OptedOut", "opt-out", "DO NOT CONTACT", "Don't contact", "opt_in", "Prior Offers"]
)
def test_a_name_like_an_optional_column_must_be_explained(raw, config, tmp_path, name):
    raw[name] = 0
    message = str(refusal(raw, config, tmp_path))
    assert f"column {name!r}: found a name like" in message
    assert "`optional: {" in message
    assert len(read(raw, config, tmp_path, exclude=["notes", name])) == 60
    assert name in read(raw, config, tmp_path, kinds={name: "numeric"}).schema.names


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("option", [0, 1]),
        ("call", [0, 1]),
        ("Contacts", ["cellular", "none"]),
        ("marketing", ["mail", "web"]),
    ],
)
def test_a_name_that_only_resembles_an_opt_out_is_a_feature_where_it_cannot_be_one(
    raw, config, tmp_path, name, values
):
    raw[name] = values * 30
    assert name in read(raw, config, tmp_path).schema.names


@pytest.mark.parametrize("value", [1.77e15, 1e308, -2e15])
def test_a_value_that_no_encoder_may_serve_is_refused_when_the_table_is_read(raw, config, tmp_path, value):
    raw.loc[7, "calls"] = value
    message = str(refusal(raw, config, tmp_path))
    assert "column 'calls', line 9: found" in message
    assert "at most 1e+15 either way" in message


def test_what_is_read_can_be_encoded(raw, config, tmp_path):
    raw.loc[7, "calls"] = 9.9e14
    raw.loc[8, "plan"] = "x" * 200
    table = read(raw, config, tmp_path)
    encoder = RowEncoder(table.schema)
    names = list(table.schema.names)
    for row, expected in zip(table.frame[names].itertuples(index=False), table.X, strict=True):
        plain = {name: None if value != value else value for name, value in zip(names, row, strict=True)}
        np.testing.assert_array_equal(encoder.row(plain), expected)
    with pytest.raises(FeatureError):
        encoder.row({**dict.fromkeys(names), "fee": 1e16})


def of_case(name: str, **changes) -> CustomersConfig:
    config = load_experiment("quickstart", ROOT / "configs").customers
    return CustomersConfig.model_validate(
        {**config.model_dump(exclude_unset=True), "source": str(CASES / name), **changes}
    )


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("07_customers_repeated_header.csv", "column 'tenure', line 1: found the name in columns 6, 22"),
        ("08_customers_row_numbers.csv", "column 'Unnamed: 0': found the number of the row"),
        (
            "11_customers_question_marks.csv",
            r"column 'Tickets', .*: found '\?'.*`kinds: {'Tickets': categorical}`",
        ),
        (
            "14_customers_three_labels_negative_price.csv",
            r"column 'Churn': found the values \['Churned', 'Joined'",
        ),
        ("opted_out_misspelt.csv", "column 'OptedOut': found a name like 'opted_out'"),
    ],
)
def test_a_case_is_refused(name, said):
    with pytest.raises(CustomerTableError, match=said):
        read_customers(of_case(name), seed=1, root=ROOT)


def test_row_numbers_are_excluded_by_config_alone():
    table = read_customers(of_case("08_customers_row_numbers.csv", exclude=["Unnamed: 0"]), seed=1, root=ROOT)
    assert not {"Unnamed: 0", "RowNumber"} & set(table.schema.names)


def test_decimal_commas_of_one_column_are_read_and_said():
    table = read_customers(of_case("11b_customers_decimal_comma_feature.csv"), seed=1, root=ROOT)
    assert table.frame["Fee"][:3].tolist() == [9.99, 19.99, 1029.99]
    assert table.frame["MonthlyCharges"][0] == 29.85
    assert "decimal commas in 'Fee'" in table.source.said


def test_codes_with_leading_zeros_are_categories_and_that_is_said():
    table = read_customers(of_case("11c_customers_leading_zero_codes.csv"), seed=1, root=ROOT)
    assert table.schema.feature("Branch").categories[:2] == ("000", "001")
    assert any("'Branch': leading zeros" in said for said in table.source.said)


def test_three_labels_and_negative_prices_are_read_by_config_alone():
    label = {"column": "Churn", "positive": "Churned", "ignore": ["Joined"], "window_months": 3}
    rows = {"credits": {"column": "MonthlyCharges", "at_most": 0}}
    name = "14_customers_three_labels_negative_price.csv"
    table = read_customers(of_case(name, label=label, rows=rows), seed=1, root=ROOT)
    raw = pd.read_csv(CASES / name)
    kept = (raw["MonthlyCharges"] > 0) & (raw["Churn"] != "Joined")
    assert len(table) == int(kept.sum())
    assert table.source.left_out["credits"] == int((raw["MonthlyCharges"] <= 0).sum())
    assert table.y.sum() == int((raw.loc[kept, "Churn"] == "Churned").sum())


def test_ids_with_a_point_zero_are_the_ids_of_the_log():
    table = read_customers(of_case("05_customers_ids_with_point_zero.csv"), seed=1, root=ROOT)
    assert table.ids[:2].tolist() == ["100001", "100002"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dates": ["fee"]}, "dates: column 'fee' is monthly_revenue, too"),
        ({"dates": ["d"], "exclude": ["d"]}, "dates: column 'd' is exclude, too"),
        ({"dates": ["d"], "kinds": {"d": "categorical"}}, "kinds.d: a column of dates is a number of months"),
        ({"constants": {"left": 1}}, "constants: column 'left' is label.column, too"),
        ({"constants": {"x": 7}, "ranges": {"x": [0, 1]}}, "constants.x: found 7, which the column does not take"),
        ({"constants": {"fee": 0}}, "constants.fee: found 0, which the column does not take"),
        ({"blank_means": {"account": "x"}}, "blank_means: column 'account' is id, too"),
        ({"blank_means": {"fee": "none"}}, "blank_means.fee: found 'none', expected a number"),
        ({"blank_means": {"x": 7}, "ranges": {"x": [0, 1]}}, "blank_means.x: found 7"),
        ({"ranges": {"fee": [-5, -1]}}, "ranges.fee: found -1 at most"),
        ({"optional": {"opted_out": "x", "language": "x"}}, "column 'x' is optional.opted_out, too"),
        ({"optional": {"opted_out": "left"}}, "optional.opted_out: column 'left' is label.column, too"),
        ({"label": {"positive": "Yes", "ignore": ["yes"]}}, "label.ignore: 'yes' is positive, too"),
        ({"label": {"positive": []}}, "label.positive: found no value"),
        ({"reading": {"blanks": ["Yes"]}}, "reading.blanks: 'Yes' is no value there, and label.positive"),
        ({"as_of": "1970-01-01"}, "as_of: found 1970-01-01, expected a day from 1990 to 2100"),
        ({"as_of": "2099-01-01"}, "as_of: found 2099-01-01, expected a day up to"),
        ({"groups": ["x"], "path_dependent": {"x": "drop"}}, "groups: column 'x' is path_dependent, which drops it"),
        ({"source": "June.XLSX"}, "found a .xlsx file, expected a CSV or Parquet file: save the sheet as"),
        ({"source": "gs://shop/all.zip"}, "found a .zip file, expected a CSV or Parquet file: unpack it"),
        ({"reading": {"dates": ["%d/%m/%Y", "%m/%d/%Y"]}}, "by which 04/03/2005 is two days; expected one of them"),
        ({"reading": {"dates": "%b %y"}}, "found '%b %y', expected day, month and year, each once"),
        ({"source": "a.parquet.gz", "reading": {"separator": ";"}}, "reading.separator has no meaning with a Parquet"),
    ],
)  # fmt: skip
def test_a_section_that_contradicts_itself_is_refused_before_any_table_is_read(changes, said):
    given = {
        "id": "account",
        "label": {"column": "left", "positive": "Yes", "window_months": 3},
        "monthly_revenue": "fee",
        "as_of": "2026-01-01",
    }
    given["label"] |= changes.pop("label", {})
    with pytest.raises(ValidationError, match=re.escape(said)):
        CustomersConfig.model_validate(given | changes)

"""One rule for ids, truths, numbers, dates and texts, wherever a value was stored."""

import datetime as dt

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pydantic import ValidationError

from churn_assets.tables.config import FileReading
from churn_assets.tables.problems import Problems, TableError, listed
from churn_assets.tables.raw import RawTable
from churn_assets.tables.rules import NumberRule, id_fault
from churn_assets.tables.values import (
    ambiguous_decimals,
    infer_kind,
    parse_dates,
    parse_ids,
    parse_numbers,
    parse_texts,
    parse_truths,
)


def raw(**columns) -> RawTable:
    return RawTable.of_arrow(pa.table({name: pa.array(each) for name, each in columns.items()}), "t")


def read(parse, values, **options):
    problems = Problems("t")
    found = parse(raw(x=values), "x", problems, **options)
    problems.stop()
    return found.tolist()


@pytest.mark.parametrize("values", [["12.0", "7"], ["12", " 7 "], [12, 7], [12.0, 7.0]])
def test_an_id_is_the_same_wherever_it_was_stored(values):
    assert read(parse_ids, values, unique=True) == ["12", "7"]


def test_leading_zeros_of_an_id_survive():
    assert read(parse_ids, ["0012", "0012.0", "012"], unique=False) == ["0012", "0012", "012"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["a", " "], "line 3: found a blank, expected an id in every line"),
        (["a", None], "line 3: found a blank"),
        (["1.2345e+17", "b"], "line 2: found a rounded number"),
        (["4.05E+11", "b"], "line 2: found a rounded number, expected an id with all of its digits"),
        ([1e17, 2.0], "line 2: found a rounded number"),
        (["a" * 129, "b"], "line 2: found a text that the service refuses, expected an id of 1 to 128"),
        (["a\tb", "b"], "line 2: found a text that the service refuses"),
        (["a", "nan"], "line 3: found 'nan', expected an id in every line; leave such lines out"),
        (["a", "Grand total"], "line 3: found 'Grand total'"),
        (["1.0", "1"], "lines 2, 3: found an id of several lines, expected each id once"),
    ],
)
def test_an_id_that_names_nobody_is_refused_and_not_shown(values, message):
    with pytest.raises(TableError, match=message) as refused:
        read(parse_ids, values, unique=True)
    assert "4.05E+11" not in str(refused.value)


@pytest.mark.parametrize(
    "text",
    ["7590-VHVEG", "12", "0012", "3E45", "e+5", "a b", "ä", "nan", "NULL", "Total", "Grand total", "", "  ", "12.0",
     " 12", "4.05E+11", "4,05E+11", "1e+17", "a" * 128, "a" * 129, "a\tb", "a\x7f", "\\N", "#N/A"],
)  # fmt: skip
def test_one_id_over_http_is_right_where_it_is_in_a_table(text):
    """What a table would read as another text is refused there: nobody may be two customers."""
    try:
        in_a_table = read(parse_ids, [text, "other"], unique=True)[0]
    except TableError:
        in_a_table = None
    assert (id_fault(text) is None) == (in_a_table == text)


@pytest.mark.parametrize(
    "values",
    [["True", "false", ""], ["YES", "no", "NA"], ["1", "0", None], ["1.0", "0.0", ""], [True, False, None]],
)
def test_a_truth_is_the_same_however_it_is_written(values):
    np.testing.assert_array_equal(read(parse_truths, values), [1, 0, np.nan])


def test_what_is_no_truth_is_told():
    with pytest.raises(TableError, match="line 3: found 'perhaps', expected 0 or 1"):
        read(parse_truths, ["1", "perhaps"])
    with pytest.raises(TableError, match="line 2: found a blank, expected 0 or 1"):
        read(parse_truths, ["", "1"], needed=True)


@pytest.mark.parametrize(
    ("values", "numbers"),
    [
        (["1", " 2.5 ", "-3e2", "+4", ""], [1, 2.5, -300, 4, np.nan]),
        (["9,99", "1.029,99", "-0,5", "NA"], [9.99, 1029.99, -0.5, np.nan]),
        (["1,029.99", "3.5", "2"], [1029.99, 3.5, 2]),
        ([1, None, 3], [1, np.nan, 3]),
        ([1.5, float("nan"), -0.0], [1.5, np.nan, 0]),
    ],
)
def test_a_number_is_read_as_it_is_written(values, numbers):
    np.testing.assert_array_equal(read(parse_numbers, values), numbers)


@pytest.mark.parametrize("value", ["1.77e15", "1e308", "inf", "-2e15"])
def test_a_number_that_no_encoder_takes_is_refused_with_its_bound(value):
    with pytest.raises(
        TableError, match=rf"^t: column 'x', line 3: found '{value}', expected a finite number"
    ):
        read(parse_numbers, ["1", value])
    with pytest.raises(TableError, match=r"line 2: found 1.8e\+308|found inf|at most 1e\+15 either way"):
        read(parse_numbers, [float(value), 1.0])


@pytest.mark.parametrize("value", ["1_000", "0x10", "12 %", "$5", "1,2,3", "--1", ".", "1,234", "Infinity5"])
def test_what_may_be_another_number_is_none(value):
    with pytest.raises(TableError, match="line 3: found "):
        read(parse_numbers, ["1", value])


def test_thousands_beside_decimal_commas_are_not_guessed():
    table, problems = (
        raw(a=["1,5", "2,25"], b=["1.234", "12.345"], c=["1", "2"], d=["0.5", "1.25"]),
        Problems("t"),
    )
    for name in table.names:
        parse_numbers(table, name, problems)
    ambiguous_decimals(table, problems)
    (problem,) = problems.all
    assert (problem.column, problem.found) == ("b", "'1.234' beside decimal commas in column 'a'")
    given = raw(b=["1.234", "12.345"])
    given.decimal = ","
    assert parse_numbers(given, "b", problems).tolist() == [1234, 12345]


def test_a_rule_bounds_numbers():
    rule = NumberRule(lowest=0, highest=10, whole=True, needed=True)
    with pytest.raises(
        TableError, match=r"lines 2, 3, 4, 5: found '-1', '11', '1\.5', expected a whole number"
    ):
        read(parse_numbers, ["-1", "11", "1.5", "", "3"], rule=rule)


@pytest.mark.parametrize(
    "values",
    [
        ["2026-01-05", "2026-01-06T12:00:00"],
        ["2026-01-05 00:00:00+00:00", "2026-01-06T13:00:00+01:00"],
        ["2026-01-05T00:00:00Z", "2026-01-06 12:00:00"],
        [dt.datetime(2026, 1, 5), dt.datetime(2026, 1, 6, 12)],  # noqa: DTZ001 - as a database without zones has it
    ],
)
def test_a_date_is_the_same_however_it_is_written(values):
    found = read(parse_dates, values)
    assert found == [pd.Timestamp("2026-01-05", tz="UTC"), pd.Timestamp("2026-01-06 12:00", tz="UTC")]


@pytest.mark.parametrize(
    "value", [1767571200, "1767571200", "20260105", 46027.5, "soon", "1970-01-01", "31/12/2025"]
)
def test_a_number_is_no_date_and_neither_is_1970(value):
    with pytest.raises(TableError, match=r"line 2: found .*expected a date as 2026-01-31"):
        read(parse_dates, [value])


def kind(values):
    problems = Problems("t")
    found = infer_kind(raw(x=values), "x", problems)
    problems.stop()
    return found


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1", "2.5", ""], "numeric"),
        (["a", "b", "3"], "categorical"),
        (["000", "001", "012"], "categorical"),
        (["0", "0.5"], "numeric"),
        ([True, False], "categorical"),
        (["9,99", "19,99"], "numeric"),
    ],
)
def test_a_kind_is_inferred(values, expected):
    assert kind(values) == expected


@pytest.mark.parametrize("share", [1, 5, 60])
def test_numbers_with_some_texts_are_refused_whatever_their_share(share):
    with pytest.raises(TableError, match=r"found '\?', expected numbers, as in most lines; .*blanks.*kinds"):
        kind([*map(str, range(20)), *["?"] * share])


@pytest.mark.parametrize(
    "values",
    [["12 %", "7%"], ["$5", "$1,029.50"], ["1 029,99 kr", "5,5 kr"], ["€ 3", "€ 4.5"], ["1,234", "5,678"]],
)
def test_numbers_with_signs_are_no_categories(values):
    with pytest.raises(TableError, match=r"column 'x'.*found numbers with signs \("):
        kind(values)


def test_a_text_that_is_elsewhere_no_value_is_a_category_and_that_is_said():
    table = raw(x=["NULL", "plus", "basic"])
    assert infer_kind(table, "x", Problems("t")) == "categorical"
    assert table.said == ["column 'x': 'NULL' is a category; `reading: {blanks: ['NULL']}` if it is none"]


@pytest.mark.parametrize(
    "values",
    [["2026-01-05", "2025-12-31"], ["05.01.2026"], [dt.date(2026, 1, 5)], ["2026-01", "2025-12"], ["5/1/26"]],
)
def test_dates_are_no_feature_and_the_config_says_what_to_do(values):
    with pytest.raises(TableError, match=r"found dates.*`dates: \['x'\]`.*`exclude: \['x'\]`"):
        kind(values)


def test_a_text_too_long_for_the_service_is_refused():
    with pytest.raises(TableError, match="expected a text of at most 200 characters"):
        read(parse_texts, ["a" * 201])


def test_values_of_several_types_are_their_texts():
    table = RawTable.of_frame(pd.DataFrame({"x": [1, "a", 2.0, None]}), "t")
    assert parse_texts(table, "x", Problems("t")).tolist() == ["1", "a", "2", None]


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (["Jan 5, 2025", "Feb 12, 2025"], r"dates \('Jan 5, 2025'\)"),
        (["5-Jan-25", "12-Feb-25"], r"dates \('5-Jan-25'\)"),
        (["Mon, 05 Jan 2025", "Tue, 06 Jan 2025"], "dates"),
        (["5. Mai 2025", "6. Juni 2025"], "dates"),
        (["20250105", "20250209", "20251231"], r"dates as numbers \(20250105\)"),
        (["20170331", "20170430"] * 2, "dates as numbers"),
        (["20170331"] * 3, "dates as numbers"),
        ([202501, 202502, 202512], "dates as numbers"),
        ([1_700_000_000 + 7_001 * row for row in range(30)], "dates as numbers"),
        ([1_700_000_000_000 + 7_001 * row for row in range(30)], "dates as numbers"),
        (["USD 5.50", "USD 6"], "numbers with signs"),
        (["5 EUR", "6 EUR"], "numbers with signs"),
        (["(5.50)", "12"], "'\\(5.50\\)'|numbers with signs"),
        (["0:45", "1:02:30"], "numbers with signs"),
        (['="5"', '="12"'], "numbers with signs"),
        (["٣", "٤"], "numbers with signs"),
    ],
)
def test_what_means_a_date_or_a_number_is_no_category(values, found):
    problems = Problems("t")
    infer_kind(raw(x=values), "x", problems)
    with pytest.raises(TableError, match=f"column 'x'.*: found {found}"):
        problems.stop()


@pytest.mark.parametrize(
    "values",
    [
        ["5 GB", "10 GB"], ["May", "March"], ["Janet 22", "Mary 3"], ["1-5", "6-10"], ["Decent", "Marvellous 2025"],
        [20250105, 20251399, 20250101], [202513, 202501, 202502], [1_700_000_000.5 + row for row in range(30)],
        [199_900, 200_050, 205_000],
    ],
)  # fmt: skip
def test_what_only_looks_like_a_date_is_kept(values):
    problems = Problems("t")
    assert infer_kind(raw(x=values), "x", problems) in ("categorical", "numeric")
    problems.stop()


@pytest.mark.parametrize("text", ["#N/A", "#REF!", "a\x07b", "a\x00"])
def test_a_text_that_means_nothing_is_refused_by_line(text):
    with pytest.raises(
        TableError, match=r"column 'x', line 3: found '.*', expected a (value|text of printable)"
    ):
        read(parse_texts, ["a", text])


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([-999, -999, -999, 4, 5, 9], "-999 is a number; `reading: {blanks: ['-999']}` if it is none"),
        (["99999", "99999", "99999", "4", "5", "9"], "99999 is a number"),
        (["5 GB", "20 GB", "100 MB", "1 TB"], "numbers with units, as '5 GB', are categories here"),
        (["1-5", "6-9", "Oct-20", "21-30"], "'Oct-20' is a category here, and looks like a date"),
        (["\u00c3\u00a9co", "plus", "basic"], "looks like UTF-8 that was read as another encoding"),
        (["1 200", "3\u202f400,5", "5'600", "7"], "spaces or apostrophes group the digits of numbers"),
    ],
)
def test_what_may_mean_another_thing_is_said(values, said):
    table = RawTable.of_frame(pd.DataFrame({"x": values}), "t")
    problems = Problems("t")
    infer_kind(table, "x", problems)
    problems.stop()
    assert said in " ".join(table.said)


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (
            ["2025-01-01", "2025-01-02", "2025-01-03", "2025-01-04", "unknown"],
            "dates .*if 'unknown' is no value",
        ),
        (["2025-W01", "2025-W02", "2025-W03"], "dates"),
        (["Q1 2025", "Q2 2025"], "dates"),
        (['{"a": 1}', '{"a": 2}', "{}"], "JSON"),
        (['["a"]', "[]"], "JSON"),
        (["0x1f", "0x2e"], "numbers with signs"),
        (["1.5D+02", "1.7D+02"], "numbers with signs"),
    ],
)
def test_a_column_of_another_kind_is_no_category(values, found):
    problems = Problems("t")
    assert infer_kind(raw(x=values), "x", problems) is None
    with pytest.raises(TableError, match=f"column 'x': found {found}"):
        problems.stop()


@pytest.mark.parametrize("values", [["12 %", "5.5%", "-3%", ""], ["EUR 12", "EUR5.5", "EUR -3", ""]])
def test_a_unit_that_the_config_names_is_taken_off_and_one_that_it_does_not_is_told(values):
    unit = "%" if "%" in values[0] else "EUR"
    table, problems = raw(x=values), Problems("t")
    numbers = parse_numbers(table.read_as(FileReading(units=[unit])), "x", problems)
    assert np.array_equal(numbers, [12, 5.5, -3, np.nan], equal_nan=True)
    infer_kind(table, "x", problems)
    with pytest.raises(TableError, match=rf"`reading: {{units: \['{unit}'\]}}`"):
        problems.stop()


def test_two_units_in_one_column_are_no_one_measure():
    table = raw(x=["5 GB", "100 MB"]).read_as(FileReading(units=["GB", "MB"]))
    problems = Problems("t")
    parse_numbers(table, "x", problems)
    with pytest.raises(TableError, match="'5 GB', '100 MB'"):
        problems.stop()
    with pytest.raises(ValidationError, match="no part of a number"):
        FileReading(units=["1"])


def test_digits_in_groups_are_read_where_they_can_mean_one_number():
    assert read(parse_numbers, ["1 200", "3\u202f400.5", "1'000'000", "7"]) == [1200, 3400.5, 1e6, 7]
    assert read(parse_numbers, ["1,20,300", "12,34,56,789.5"]) == [120300, 123456789.5]
    with pytest.raises(TableError, match="found '12 34'"):
        read(parse_numbers, ["12 34", "7"])


def test_a_blank_that_is_a_number_is_one_in_a_column_of_numbers_too():
    table = RawTable.of_frame(pd.DataFrame({"x": [-999, 2, 3]}), "t").read_as(FileReading(blanks=("-999",)))
    np.testing.assert_array_equal(parse_numbers(table, "x", Problems("t")), [np.nan, 2, 3])


def test_points_that_may_group_digits_are_not_guessed_where_no_comma_divides_fields():
    for separator, refused in ((";", True), (",", False)):
        table = RawTable.of_frame(pd.DataFrame({"x": ["1.200", "2.345"]}), "t")
        table.separator, problems = separator, Problems("t")
        parse_numbers(table, "x", problems)
        ambiguous_decimals(table, problems)
        assert bool(problems.all) == refused


def test_an_id_in_composed_and_in_single_letters_is_one():
    assert read(parse_ids, ["e\u0301t\u00e9", "b"], unique=True) == ["\u00e9t\u00e9", "b"]


@pytest.mark.parametrize("day", ["9999-12-31", "2568-01-01", "1403-01-01", "0000-00-00"])
def test_a_day_of_another_calendar_is_refused_by_line(day):
    with pytest.raises(TableError, match=f"line 3: found '{day}', expected a date"):
        read(parse_dates, ["2025-01-31", day])
    far = RawTable.of_frame(pd.DataFrame({"x": ["2025-01-31", day]}), "t")
    assert parse_dates(far, "x", Problems("t")).isna().tolist() == [False, True]


def test_a_time_as_bigquery_exports_it_is_read():
    (found,) = read(parse_dates, ["2025-01-31 10:00:00 UTC"])
    assert found == pd.Timestamp("2025-01-31T10:00:00Z")


def test_a_spreadsheets_way_to_keep_zeros_is_the_id_inside():
    assert read(parse_ids, ['="0012"', "7"], unique=True) == ["0012", "7"]


def test_categories_that_look_like_one_and_lost_characters_are_said():
    table = raw(x=["Basic", "basic", "caf\ufffd", "tea"])
    assert infer_kind(table, "x", Problems("t")) == "categorical"
    assert table.said == [
        "column 'x': 'Basic', 'basic' are categories of their own",
        "column 'x': 'caf\ufffd' has lost characters where it was exported",
    ]


def test_a_time_in_a_zone_that_nobody_knows_is_the_same_instant():
    values = pa.array([1_735_725_600], pa.timestamp("s", "Nowhere/There"))
    assert read(parse_dates, values) == [pd.Timestamp("2025-01-01 10:00", tz="UTC")]


def test_ways_to_write_dates_may_be_a_list_in_a_config():
    read_as_config = FileReading.model_validate_json('{"dates": ["%Y%m%d", "%d.%m.%Y"]}', strict=True)
    assert read_as_config.dates == ("%Y%m%d", "%d.%m.%Y")
    assert FileReading.model_validate_json('{"dates": "%Y%m%d"}', strict=True).dates == ("%Y%m%d",)


@pytest.mark.parametrize(
    ("blanks", "advice"),
    [
        (
            (),
            r"one_of: \['', 'NA'\]}}`; if they mean a number: `reading: {blanks: \['NA'\]}` and `blank_means: {'x'",
        ),
        (("NA",), r"one_of: \[''\]}}`; if they mean a number: `blank_means: {'x'"),
    ],
)
def test_where_every_row_needs_a_number_the_advice_is_not_to_write_a_blank(blanks, advice):
    """A text that is read as a blank would be refused again at the next attempt."""
    table = RawTable.of_frame(pd.DataFrame({"x": ["5", "NA", ""]}), "t").read_as(FileReading(blanks=blanks))
    problems = Problems("t")
    problems.configured = True
    parse_numbers(table, "x", problems, NumberRule(above_zero=True, needed=True))
    with pytest.raises(TableError, match=f"such rows: `rows: {{<a name>: {{column: 'x', {advice}"):
        problems.stop()


def test_of_a_wide_table_a_message_lists_the_first_columns_and_counts_the_others():
    names = [f"c{each}" for each in range(230)]
    assert listed(names).endswith("'c39' and 190 more")
    assert listed(names[:2]) == "'c0', 'c1'"

"""A monthly panel as customers: labels from later rows, splits by customer, decisions by the newest row."""

from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from churn_assets.customers.config import CustomersConfig
from churn_assets.customers.format import CUSTOMERS
from churn_assets.customers.gates import completeness, leakage, split
from churn_assets.customers.panel import is_newest
from churn_assets.customers.table import CustomerTable, CustomerTableError, keep_newest, learnable, prepare
from churn_assets.tables.problems import Problems
from churn_assets.tables.raw import RawTable

MONTHS = pd.date_range("2025-01-01", periods=8, freq="MS")


def panel(leaves: dict[str, int], months: int = 8, *, status: bool = False) -> pd.DataFrame:
    """A row a customer and month until they leave in the month of that number; with a status, one row more."""
    rows = []
    for name, left in leaves.items():
        for month in range(min(months, left + status)):
            rows.append(
                {
                    "account": name,
                    "month": MONTHS[month].date().isoformat(),
                    "fee": 20 + int(name[1:]),
                    "calls": (7 * int(name[1:]) + 3 * month) % 11,
                    "left_on": (MONTHS[left] - pd.Timedelta(days=10)).date().isoformat()
                    if left < 8
                    else None,
                    "status": "gone" if month == left else "here",
                }
            )
    return pd.DataFrame(rows)


def config(**changes) -> CustomersConfig:
    plain = {
        "source": "panel.csv",
        "id": "account",
        "row_date": "month",
        "label": {"column": "left_on", "window_months": 2},
        "monthly_revenue": "fee",
        "exclude": ["status"],
    }
    return CustomersConfig.model_validate(plain | changes)


def read(frame: pd.DataFrame, settings: CustomersConfig | None = None) -> CustomerTable:
    problems = Problems("panel.csv", CustomerTableError)
    return learnable(RawTable.of_frame(frame, "panel.csv"), settings or config(), 3, problems)


LEAVES = {"a1": 8, "a2": 5, "a3": 8, "a4": 3, "a5": 8, "a6": 7}
BY_STATUS = config(
    label={"column": "status", "positive": "gone", "negative": ["here"], "window_months": 2},
    exclude=["left_on"],
)


def labels(table: CustomerTable, name: str) -> list[float]:
    rows = table.rows.frame
    return rows["churned"][rows["customer_id"] == name].tolist()


def test_a_label_is_whether_the_customer_leaves_in_the_window_after_the_row():
    table = read(panel(LEAVES))
    nan = float("nan")
    np.testing.assert_array_equal(labels(table, "a4"), [0, 1, 1])
    np.testing.assert_array_equal(labels(table, "a2"), [0, 0, 0, 1, 1])
    np.testing.assert_array_equal(labels(table, "a1"), [0, 0, 0, 0, 0, 0, nan, nan])


def test_rows_whose_window_is_not_over_are_not_labelled_leavers_among_them_and_are_counted():
    table = read(panel(LEAVES))
    assert np.isnan(
        labels(table, "a6")[6]
    )  # it is known that a6 leaves; of those who stay it is not known yet
    assert len(table.labelled) == len(table.rows) - 7
    assert any("7 rows not labelled, as the window is not over" in said for said in table.source.said)
    later = read(panel(LEAVES), config(as_of=date(2025, 10, 1)))
    assert len(later.labelled) == len(later.rows)


def test_by_status_rows_from_when_the_customer_has_left_are_left_out_and_say_what_came_before():
    table = read(panel(LEAVES, status=True), BY_STATUS)
    np.testing.assert_array_equal(labels(table, "a4"), [0, 1, 1])
    assert table.source.left_out == {"after the customer left": 3}


def test_rows_that_merely_end_say_nothing_and_are_counted():
    frame = panel(LEAVES, status=True)
    frame = frame[(frame["account"] != "a1") | (frame["month"] < "2025-05-01")]
    table = read(frame, BY_STATUS)
    np.testing.assert_array_equal(labels(table, "a1"), [0, 0, np.nan, np.nan])
    assert any(
        said.startswith("2 rows not labelled, as the customer's rows end") for said in table.source.said
    )


def test_a_row_may_say_itself_what_happens_after_it():
    frame = panel(LEAVES).assign(soon=["Yes", "No", ""] + ["No"] * (len(panel(LEAVES)) - 3))
    ahead = {"column": "soon", "positive": "Yes", "window_months": 2, "ahead": True}
    table = read(frame, config(label=ahead, exclude=["status", "left_on"]))
    np.testing.assert_array_equal(labels(table, "a1")[:3], [1, 0, np.nan])


def test_labels_that_look_ahead_are_told_from_those_of_the_day():
    frame = panel(LEAVES).assign(left=lambda rows: np.where(rows["account"] == "a2", "Yes", "No"))
    settings = config(
        label={"column": "left", "positive": "Yes", "window_months": 2}, exclude=["status", "left_on"]
    )
    with pytest.raises(CustomerTableError, match=r"column 'left', lines .*`label: \{ahead: true\}`"):
        read(frame, settings)


def test_all_rows_of_a_customer_are_of_one_fold_that_of_every_table():
    table = read(panel(LEAVES))
    assert table.rows.frame.groupby("customer_id")["fold"].nunique().eq(1).all()
    np.testing.assert_array_equal(table.schema.fold_of(table.ids), table.fold)


def test_the_newest_row_stands_for_the_customer():
    table = read(panel(LEAVES))
    assert sorted(table.ids) == sorted(LEAVES)
    newest = dict(zip(table.ids, table.frame["row_date"].dt.month, strict=True))
    assert newest == {"a1": 8, "a2": 5, "a3": 8, "a4": 3, "a5": 8, "a6": 7}


def test_dates_count_from_the_row_s_own_day():
    frame = panel(LEAVES).assign(signed="2024-12-01")
    table = read(frame, config(dates=["signed"]))
    months = table.rows.frame.loc[table.rows.frame["customer_id"] == "a1", "signed"].round(1).tolist()
    np.testing.assert_allclose(months, range(1, 9), atol=0.1)


def test_a_date_after_the_row_is_refused_by_name_unless_known_ahead():
    frame = panel(LEAVES).assign(complaint="2025-05-15")
    with pytest.raises(
        CustomerTableError, match=r"column 'complaint', lines .*later days.*`exclude: \['complaint'\]`"
    ):
        read(frame, config(dates=["complaint"]))
    assert "complaint" in read(frame, config(dates=["complaint"], known_ahead=["complaint"])).schema.names


def test_two_rows_of_a_customer_and_day_are_told_by_line():
    frame = pd.concat([panel(LEAVES), panel(LEAVES).iloc[[0]]])
    with pytest.raises(
        CustomerTableError, match=r"column 'month', lines 2, \d+: .*one row a customer and day"
    ) as told:
        read(frame)
    assert "a1" not in str(told.value)


def test_several_leaving_days_of_a_customer_are_told():
    frame = panel(LEAVES)
    frame.loc[frame["account"].eq("a2") & frame["month"].eq("2025-01-01"), "left_on"] = "2025-03-03"
    with pytest.raises(CustomerTableError, match="one leaving day a customer"):
        read(frame)


def test_rows_after_as_of_are_told():
    with pytest.raises(CustomerTableError, match=r"column 'month'.*expected a day up to 2025-06-01"):
        read(panel(LEAVES), config(as_of=date(2025, 6, 1)))


def test_a_panel_of_which_no_window_is_over_is_told():
    with pytest.raises(CustomerTableError, match="no row whose label window is over"):
        read(panel(LEAVES, months=2))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"id": None}, "row_date: several rows a customer need id"),
        ({"row_date": None, "as_of": "2025-01-01", "exclude": [], "label": {"column": "status",
          "positive": "gone", "window_months": 2, "ahead": True}}, "label.ahead: said of a panel only"),
        ({"known_ahead": ["month"]}, "known_ahead: 'month' is none of dates"),
    ],
    ids=["no id", "no panel", "no date"],
)  # fmt: skip
def test_a_config_that_cannot_be_meant_is_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        config(**changes)


def test_a_panel_is_read_back_as_it_was_stored(tmp_path: Path):
    table = read(panel(LEAVES))
    CUSTOMERS.save(table, tmp_path)
    again = CUSTOMERS.load(tmp_path)
    pd.testing.assert_frame_equal(again.frame, table.frame)
    pd.testing.assert_frame_equal(again.rows.frame, table.rows.frame)
    assert again.schema == table.schema


def test_decisions_are_made_by_the_newest_row_and_not_by_one_from_after():
    schema = read(panel(LEAVES)).schema
    raw = RawTable.of_frame(panel(LEAVES), "new.csv")
    keep_newest(raw, schema, Problems("new.csv", CustomerTableError), datetime(2025, 9, 1, tzinfo=UTC))
    assert len(raw) == len(LEAVES)
    assert prepare(raw, schema).frame["row_date"].dt.month.tolist() == [8, 5, 8, 3, 8, 7]
    early = datetime(2025, 7, 15, tzinfo=UTC)
    with pytest.raises(
        CustomerTableError, match=r"column 'month', lines 9, .*a day before the decision, 2025-07-15"
    ):
        keep_newest(
            RawTable.of_frame(panel(LEAVES), "new.csv"),
            schema,
            Problems("new.csv", CustomerTableError),
            early,
        )


def test_it_is_said_until_when_features_and_labels_reach():
    table = read(panel(LEAVES))
    assert table.reach["features_from"] == "2025-01-01"
    assert table.reach["features_until"] == "2025-08-01"
    assert table.reach["labels_until"] == "2025-08-01"
    assert CustomerTable(table.frame, table.schema).reach["features_until"].startswith("unknown")


def many(customers: int = 600) -> CustomerTable:
    rng = np.random.default_rng(2)
    leaves = {
        f"a{number}": int(left) for number, left in enumerate(rng.integers(1, 12, customers).clip(max=8))
    }
    frame = panel(leaves)
    frame["calls"] = rng.poisson(4, len(frame))
    return read(frame)


def test_rows_to_judge_by_are_one_a_customer_and_no_leaver_s_more_often_than_they_are():
    """The newest row of each would be a leaver's twice as often."""
    table = many(4_000)
    judged, labelled = table.judged, table.labelled
    assert not pd.Series(judged.ids).duplicated().any()
    noise = 4 * np.sqrt(labelled.y.mean() / len(judged))
    assert abs(judged.y.mean() - labelled.y.mean()) < noise
    newest = labelled.where(is_newest(labelled.ids, labelled.days))
    assert abs(newest.y.mean() - labelled.y.mean()) > 4 * noise


def test_a_sound_panel_keeps_the_gates_of_customers():
    table = many()
    gates = config().gates
    for outcome in (leakage(table, gates), split(table, gates), completeness(table, gates)):
        assert [str(gate) for gate in outcome.gates if not gate.passed] == []

"""`churn tables` says all that is wrong with an experiment's own tables before anything is trained."""

import json

import numpy as np
import pandas as pd
import pytest

from churn_assets.customers.table import EMBEDDED


@pytest.fixture
def own(empty):
    """A project whose customers lie in a file of their own; nothing is run in it."""
    write(empty, telco())
    empty.configure(lambda content: content["customers"].update(source="mine.csv"))
    return empty


def telco() -> pd.DataFrame:
    return pd.read_csv(EMBEDDED["telco"], dtype=str, keep_default_na=False).head(900)


def write(project, frame):
    frame.to_csv(project.root / "mine.csv", index=False)


def test_what_was_read_and_every_gate_is_shown(own):
    shown = own.churn("tables", "quickstart", "--json")
    assert shown.exit_code == 0, shown.output
    told = json.loads(shown.output)
    assert told["problems"] == []
    assert {row["feature"] for row in told["features"]} >= {"tenure", "Contract", "MonthlyCharges"}
    assert {row["gate"] for row in told["gates"]} >= {"single_feature_auc", "copied_share", "blank_share"}


def test_all_that_is_wrong_and_all_that_leaks_is_told_at_once(own):
    frame = telco()
    frame.loc[3, "MonthlyCharges"] = "free"
    frame["signed"] = "2025-01-01"
    for name in ("reason", "status"):
        frame[name] = np.where(frame["Churn"] == "Yes", "closed", "open")
    write(own, frame)
    shown = own.churn("tables", "quickstart", "--json")
    assert shown.exit_code == 2
    told = json.loads(shown.output)
    assert {(each["column"], *each["lines"]) for each in told["problems"]} == {
        ("MonthlyCharges", 5),
        ("signed",),
    }
    assert all(each["remedy"] and each["expected"] for each in told["problems"])
    text = own.churn("tables", "quickstart").output
    assert "mine.csv: column 'MonthlyCharges', line 5: found 'free'" in text

    frame.loc[3, "MonthlyCharges"] = "20"
    write(own, frame)
    told = json.loads(own.churn("tables", "quickstart", "--json").output)
    (leak,) = [row for row in told["gates"] if row["gate"] == "single_feature_auc"]
    assert leak["verdict"] == "FAILED"
    assert "`customers.exclude: ['reason', 'status']`" in leak["detail"], "beside the column that is wrong"


def test_what_is_wrong_with_the_log_is_told_beside_what_is_wrong_with_the_customers(own):
    log = {
        "source": "mine.csv",
        "propensities": "randomised",
        "shares": {"no_contact": 0.5, "percent_10": 0.5},
    }
    own.configure(lambda content: content.update(offer_log=log))
    write(own, telco().assign(signed="2025-01-01"))
    shown = own.churn("tables", "quickstart", "--json")
    told = {each["column"]: each["remedy"] for each in json.loads(shown.output)["problems"]}
    assert {"signed", "decided_at", "arm"} <= set(told)
    assert "one day for all decisions: `start: <the day>`" in told["decided_at"]


def test_a_gate_that_does_not_hold_is_another_exit_code(own):
    frame = telco()
    write(own, frame.assign(reason=np.where(frame["Churn"] == "Yes", "closed", "open")))
    assert own.churn("tables", "quickstart").exit_code == 1


def test_the_offer_log_is_read_too(own):
    own.configure(lambda content: content.update(offer_log={"source": "log.csv"}))
    (own.root / "log.csv").write_text("customer_id,decided_at\n")
    shown = own.churn("tables", "quickstart", "--json")
    assert shown.exit_code == 2
    assert "accepted" in {each["column"] for each in json.loads(shown.output)["problems"]}


def test_a_table_of_three_statuses_and_refunds_needs_one_look(own):
    """Maven's table: what the first attempt tells is enough to write the config of the second."""
    frame = telco().drop(columns="TotalCharges")
    number = np.arange(len(frame))
    left = frame["Churn"] == "Yes"
    frame["Churn"] = np.where(number % 10 == 3, "Joined", np.where(left, "Churned", "Stayed"))
    frame.loc[[7, 70], "MonthlyCharges"] = "-4"
    frame["City"] = [f"City {row}" for row in range(len(frame))]
    for name in ("Churn Category", "Churn  Reason"):
        frame[name] = np.where(left, "Competitor", "")
    write(own, frame)

    def first(content):
        content["customers"].update(source="mine.csv")
        content["customers"]["label"].update(positive="Churned")
        content["customers"].pop("path_dependent")

    own.configure(first)
    told = json.loads(own.churn("tables", "quickstart", "--json").output)
    assert {each["column"] for each in told["problems"]} == {"Churn", "MonthlyCharges", "City"}
    (leak,) = [row for row in told["gates"] if row["gate"] == "single_feature_auc"]
    assert "`customers.exclude: ['Churn Category', 'Churn  Reason']`" in leak["detail"]

    def second(content):
        content["customers"]["label"].update(ignore=["Joined"])
        content["customers"].update(
            rows={"refunds": {"column": "MonthlyCharges", "at_most": 0}},
            exclude=["City", "Churn Category", "Churn  Reason"],
        )

    own.configure(second)
    shown = own.churn("tables", "quickstart")
    assert shown.exit_code == 0, shown.output
    assert "rows left out, refunds: 2" in shown.output

"""Whole tables are decided by the one decider: what it reads of them, and what it says of every customer."""

from datetime import UTC, datetime

import pandas as pd
import pytest

from churn_assets.customers.table import CustomerTableError
from churn_assets.deciding import table
from churn_assets.deciding.decider import CustomerInput, Decider
from churn_assets.deciding.table import decide_table
from churn_assets.release.build import as_raw

RELEASE = "toy/release/20260101T000000Z-000000000000"
NOW = datetime(2026, 11, 22, tzinfo=UTC)
COLUMNS = [
    "decision_id", "customer_id", "decided_at", "decision", "arm", "offer", "risk", "acceptance", "risk_if_offered",
    "expected_value", "value_low", "value_high", "window_value", "propensity", "reasons", "policy", "release",
]  # fmt: skip


@pytest.fixture(scope="module")
def decider(small):
    return Decider(small.models, RELEASE)


@pytest.fixture(scope="module")
def raw(small):
    return as_raw(small.everyone).head(300)


@pytest.fixture(scope="module")
def decided(decider, raw):
    return decide_table(raw, decider, NOW)


def test_every_customer_has_one_row_in_order(decided, raw, small):
    assert list(decided.columns) == COLUMNS
    assert decided["customer_id"].tolist() == raw[small.schema.id].tolist()
    assert decided["decision_id"].is_unique
    assert set(decided["release"]) == {RELEASE}
    assert set(decided["propensity"]) == {1.0}


def test_an_arm_is_named_by_id_and_label(decided, decider):
    labels = dict(zip(decider.menu.ids, decider.menu.labels, strict=True))
    assert (decided["offer"] == decided["arm"].map(labels)).all()
    assert ((decided["arm"] == "no_contact") == (decided["decision"] == "no contact")).all()
    assert set(decided["decision"]) == {"offer", "no contact"}


def test_a_table_without_customers_has_no_decisions(decider, raw):
    assert list(decide_table(raw.head(0), decider, NOW).columns) == COLUMNS


def test_the_size_of_a_batch_changes_nothing(decided, decider, raw, monkeypatch):
    monkeypatch.setattr(table, "BLOCK", 7)
    pd.testing.assert_frame_equal(decide_table(raw, decider, NOW), decided)


def test_who_opted_out_is_not_contacted_and_the_reasons_say_why(decider, raw):
    out = decide_table(raw.assign(opted_out=1), decider, NOW)
    assert set(out["arm"]) == {"no_contact"}
    assert out["reasons"].str.contains("opted out").all()


def test_recent_offers_lower_acceptance(decided, decider, raw):
    after = decide_table(raw.assign(prior_offers=3), decider, NOW)
    both = (decided["arm"] == after["arm"]) & (decided["arm"] != "no_contact")
    assert both.any()
    assert (after.loc[both, "acceptance"] < decided.loc[both, "acceptance"]).all()


@pytest.mark.parametrize(("column", "value"), [("prior_offers", 1.5), ("prior_offers", -1), ("opted_out", 2)])
def test_a_history_that_cannot_be_is_refused_with_its_line(decider, raw, column, value):
    with pytest.raises(CustomerTableError, match=f"'{column}', lines 2, 3.*: found '?{value}'?, expected"):
        decide_table(raw.assign(**{column: value}), decider, NOW)


def test_a_number_that_no_customer_has_is_refused_by_column_and_line(decider, raw):
    broken = raw.astype({"tenure": float})
    broken.loc[2, "tenure"] = 1e300
    with pytest.raises(CustomerTableError, match=r"'tenure', line 4: found .*, at most 1e\+15 either way"):
        decide_table(broken, decider, NOW)


def test_blanks_are_decided_as_the_decider_decides_them(decider, raw, small):
    blank = raw.head(1).astype(object)
    blank.loc[0, ["Contract", "SeniorCitizen"]] = None
    features = blank.drop(columns=small.schema.id).iloc[0].to_dict()
    (one,) = decider.decide([CustomerInput("x", features)])
    assert decide_table(blank, decider, NOW)["risk"].tolist() == [one.risk]

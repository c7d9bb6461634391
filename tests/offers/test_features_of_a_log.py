"""Features as of the decision: a log's own columns go before the table's, of a panel the row that was known."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from benchmarks.panel_tables import panel_config, read
from churn_assets.arms import Catalogue
from churn_assets.customers.table import CustomerTable
from churn_assets.offers.as_of import rows_before
from churn_assets.offers.config import OfferLogConfig, OfferLogGates
from churn_assets.offers.economics import Economics
from churn_assets.offers.gates import propensity_gates
from churn_assets.offers.log import OfferLog, OfferLogError, configured_log
from churn_assets.response.gates import HeldOutOffers
from churn_assets.risk.config import RiskModelConfig
from churn_assets.risk.model import RiskModel
from churn_assets.store.canonical import sha256_file

CUSTOMERS = 400
CONFIG = panel_config(row_date=None, tenure="tenure", as_of=date(2026, 1, 1))


@pytest.fixture(scope="module")
def table() -> CustomerTable:
    """Customers as they are on 2026-01-01: whoever uses little leaves."""
    rng = np.random.default_rng(1)
    use = rng.uniform(0, 10, CUSTOMERS).round(2)
    left = rng.random(CUSTOMERS) < 1 / (1 + np.exp(use - 4))
    return read(
        pd.DataFrame(
            {
                "account": [f"c{each}" for each in range(CUSTOMERS)],
                "fee": rng.uniform(20, 40, CUSTOMERS).round(2),
                "tenure": rng.integers(12, 60, CUSTOMERS),
                "plan": rng.choice(["small", "large"], CUSTOMERS),
                "use": use,
                "left_on": np.where(left, "2026-01-09", None),
            }
        ),
        CONFIG,
        1,
    )


def bare(count: int = 600, day: str = "2025-06-02") -> pd.DataFrame:
    """By lot, half a year before the table; what customers were like then had nothing to do with what they are like."""
    rng = np.random.default_rng(2)
    at = pd.Timestamp(day, tz="UTC") + pd.to_timedelta(np.arange(count), unit="min")
    contacted = rng.random(count) < 0.5
    return pd.DataFrame(
        {
            "customer_id": [f"c{each % CUSTOMERS}" for each in range(count)],
            "decided_at": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "arm": np.where(contacted, "percent_10", "no_contact"),
            "accepted": (contacted & (rng.random(count) < 0.3)).astype(int),
            "churned": (rng.random(count) < 0.3).astype(int),
            "fee": rng.uniform(5, 9, count).round(2),
            "tenure": rng.integers(0, 5, count),
            "plan_then": rng.choice(["small", "large"], count),
            "use": rng.uniform(0, 10, count).round(2),
        }
    )


HALF = {"no_contact": 0.5, "percent_10": 0.5}
ALL = {"fee": "fee", "tenure": "tenure", "plan": "plan_then", "use": "use"}


def of(frame: pd.DataFrame, table: CustomerTable, folder, **settings) -> OfferLog:
    frame.to_csv(folder / "log.csv", index=False)
    given = {"source": "log.csv", "propensities": "randomised", "shares": HALF} | settings
    return configured_log(OfferLogConfig.model_validate(given), table, Catalogue(), folder, Economics())


def test_a_log_s_own_features_go_before_the_table_s(table, tmp_path):
    frame = bare()
    log = of(frame, table, tmp_path, features=ALL)
    known, row = rows_before(log, table)
    for name, column in ALL.items():
        assert known.frame[name].to_numpy()[row].tolist() == frame[column].tolist()
    assert known.ids[row].tolist() == frame["customer_id"].tolist()
    held_out = HeldOutOffers.of(table, log)
    assert held_out.X[:, table.schema.names.index("fee")].max() < 10, "what gates and models read"


def test_money_is_of_the_price_as_it_was(table, tmp_path):
    log = of(bare(), table, tmp_path, features=ALL)
    stayed = (log.churned == 0) & (log.arm == 0)
    np.testing.assert_allclose(log.margin[stayed], 6 * bare()["fee"][stayed])


def test_a_table_that_is_younger_than_a_decision_may_stand_beside_a_log_that_has_all_features(
    table, tmp_path
):
    with pytest.raises(OfferLogError, match=r"found 600 decisions from before 2026-01-01.*\), so that 'fee', "
                       r"'plan' were written after.*\(offer_log\.features\)"):  # fmt: skip
        of(bare(), table, tmp_path, features=["use", "tenure"])
    assert len(of(bare(), table, tmp_path, features=ALL)) == 600


def test_what_is_wrong_with_a_log_s_features_is_said_all_at_once(table, tmp_path):
    frame = bare()
    frame.loc[3, "plan_then"], frame["use"] = "huge", frame["use"].astype(object)
    frame.loc[4, "use"] = "much"
    with pytest.raises(OfferLogError) as refused:
        of(frame, table, tmp_path, features=ALL | {"usage": "use_then"})
    assert "use_then" in str(refused.value)
    frame["use_then"] = 1.0
    with pytest.raises(OfferLogError) as refused:
        of(frame, table, tmp_path, features=ALL | {"usage": "use_then"})
    said = str(refused.value)
    assert "'usage'" in said
    assert "'use'" in said  # what it may have meant
    with pytest.raises(OfferLogError) as refused:
        of(frame, table, tmp_path, features=ALL)
    said = str(refused.value)
    assert all(each in said for each in ("'plan_then', line 5", "'huge'", "'use', line 6", "'much'"))


def test_a_feature_is_told_in_one_way():
    with pytest.raises(ValidationError, match="found use under features and history"):
        OfferLogConfig(source="log.csv", features=("use",), history={"use": "offers"})


def test_the_risk_is_that_of_the_features_as_they_were(table, tmp_path):
    risk = RiskModel.fit(table, RiskModelConfig(kind="spline_logistic"))
    log = of(bare(), table, tmp_path, features=ALL)
    known, row = rows_before(log, table)
    then, use = risk.risk_of_rows(known)[row], bare()["use"].to_numpy()
    assert then[use < 2].mean() > 0.7
    assert then[use > 8].mean() < 0.2
    same = log.frame.copy()
    for name in ALL:
        same["feature_" + name] = table.frame[name].to_numpy()[log.positions(table.ids)]
    known, row = rows_before(replace(log, frame=same), table)
    np.testing.assert_allclose(risk.risk_of_rows(known)[row], risk.risk_of(log.customer_id), rtol=1e-9)


def test_who_targeted_by_what_a_customer_was_like_then_is_found_by_it_only_then(table, tmp_path):
    """Shares that went by the use at the decision; beside the use of today nothing would show it."""
    frame, rng = bare(3_000), np.random.default_rng(4)
    contacted = rng.random(len(frame)) < np.where(frame["use"] > 5, 0.8, 0.2)
    frame["arm"], frame["accepted"] = np.where(contacted, "percent_10", "no_contact"), 0
    outcome = propensity_gates(of(frame, table, tmp_path, features=ALL), table, OfferLogGates())
    (failed,) = (gate for gate in outcome.gates if not gate.passed)
    assert failed.name == "propensity_explained"
    assert " by use" in failed.detail
    estimated = of(frame, table, tmp_path, features=ALL, propensities="estimated", shares=None)
    contact = estimated.propensities[:, 1]
    much = estimated.own_features["use"].to_numpy() > 5
    assert contact[much].mean() == pytest.approx(0.8, abs=0.05)
    assert contact[~much].mean() == pytest.approx(0.2, abs=0.05)


def panel() -> CustomerTable:
    """Three months of a use that is another every month; who uses little leaves."""
    rng = np.random.default_rng(6)
    rows = [
        {
            "account": f"c{each}", "month": f"2025-0{month}-01", "fee": 30.0 + month, "tenure": month,
            "use": round(float(rng.uniform(0, 10)), 2), "left_on": "2025-03-20" if each % 7 == 0 else None,
        }
        for each in range(1_500)
        for month in (1, 2, 3)
    ]  # fmt: skip
    return read(pd.DataFrame(rows), panel_config(label={"column": "left_on", "window_months": 1}), 1)


def test_of_a_panel_propensities_prices_and_balance_are_of_the_row_that_was_known(tmp_path):
    """They were those of the newest row, from after the decision."""
    table, rng = panel(), np.random.default_rng(7)
    month, use = table.history.days.month, table.history.frame["use"].to_numpy()
    known = use[month == 2]
    assert known.tolist() != table.frame["use"].tolist()
    contacted = rng.random(len(table)) < np.where(known > 5, 0.8, 0.2)
    frame = pd.DataFrame(
        {
            "customer_id": table.history.ids[month == 2],
            "decided_at": "2025-02-03",
            "arm": np.where(contacted, "percent_10", "no_contact"),
            "accepted": 0,
            "churned": (rng.random(len(table)) < 0.3).astype(int),
        }
    )
    log = of(frame, table, tmp_path, propensities="estimated", shares=None)
    much = known > 5
    assert log.propensities[much, 1].mean() == pytest.approx(0.8, abs=0.05)
    assert log.propensities[~much, 1].mean() == pytest.approx(0.2, abs=0.05)
    assert all(gate.passed for gate in propensity_gates(log, table, OfferLogGates()).gates)
    np.testing.assert_allclose(log.margin[(log.churned == 0) & (log.arm == 0)], 6 * 32.0)
    wrong = of(frame, table, tmp_path)
    assert "by use" in next(
        g.detail for g in propensity_gates(wrong, table, OfferLogGates()).gates if not g.passed
    )


def test_one_file_without_ids_is_customers_and_log_in_one(tmp_path):
    frame = bare().drop(columns=["customer_id", "decided_at"])
    path = tmp_path / "log.csv"
    frame.to_csv(path, index=False)
    label = {"column": "churned", "positive": "1", "window_months": 1}
    config = panel_config(row_date=None, id=None, label=label, exclude=("arm", "accepted"))
    table = read(frame, config, 1)
    table = replace(table, source=replace(table.source, sha256=sha256_file(path)))
    log = of(frame, table, tmp_path, start="2026-02-02")
    assert rows_before(log, table)[1].tolist() == list(range(600))
    assert "a decision's customer is that of its line" in " ".join(log.said)
    with pytest.raises(OfferLogError, match="'customer_id'"):
        of(frame[::-1], table, tmp_path, start="2026-02-02")

"""Features as of the decision: the newest row of a panel before it; what was written later is refused."""

from dataclasses import replace
from datetime import date
from functools import partial

import numpy as np
import pandas as pd
import pytest

from benchmarks.panel_tables import panel_config, read
from churn_assets.arms import ArmConfig, Catalogue, Condition, Contact
from churn_assets.customers.labels import LEAST_HISTORIES
from churn_assets.customers.table import CustomerTable
from churn_assets.offers.as_of import customers_then, known_before, months_followed, rows_before
from churn_assets.offers.log import OfferLog, OfferLogError, as_log


def panel(**changes) -> CustomerTable:
    """Three customers, four months; the usage says which row it is of."""
    frame = pd.DataFrame(
        [
            {
                "account": f"c{customer}", "month": f"2025-0{month}-01", "fee": 20.0 + customer, "tenure": month,
                "use": 10 * customer + month, "left_on": "2025-03-20" if customer == 2 else None,
            }
            for customer in (1, 2, 3)
            for month in (1, 2, 3, 4)
        ]
    )  # fmt: skip
    label = {"column": "left_on", "window_months": 1}
    return read(frame, panel_config(**({"label": label} | changes)), 1)


def log(customers: CustomerTable, decided: list[tuple[str, str]], *, simulated: bool = False) -> OfferLog:
    rows = [
        {
            "customer_id": name, "decided_at": when, "arm": "no_contact", "propensity": 0.5, "propensity_0": 0.5,
            "propensity_10": 0.5, "policy_version": "lot", "prior_offers": 0, "accepted": 0, "churned": 0,
            "margin": 0.0,
        }
        for name, when in decided
    ]  # fmt: skip
    return as_log(pd.DataFrame(rows), customers.ids, Catalogue(), simulated=simulated, origin="log.csv")


def test_a_decision_knows_the_newest_row_from_before_it():
    table = panel()
    decisions = [("c3", "2025-01-15"), ("c1", "2025-02-28"), ("c3", "2025-03-01"), ("c1", "2025-06-01")]
    known, row = rows_before(log(table, decisions), table)
    assert known.frame["use"].to_numpy()[row].tolist() == [31, 12, 32, 14]


def test_a_row_of_the_same_moment_is_not_from_before():
    table = panel()
    known, row = rows_before(log(table, [("c1", "2025-03-01"), ("c1", "2025-03-01T00:00:01")]), table)
    assert known.frame["use"].to_numpy()[row].tolist() == [12, 13]


def test_a_condition_is_asked_of_the_customer_as_they_were_at_the_decision():
    table = panel()
    # c3 uses 31 in January and 34 in April: in January nobody could offer them what begins at 33.
    arm = ArmConfig(
        id="upgrade", terms=Contact(), channel="email", eligible=(Condition(column="use", at_least=33),)
    )
    rows = [
        {
            "customer_id": "c3", "decided_at": when, "arm": "no_contact", "propensity": 1 - chance,
            "propensity_no_contact": 1 - chance, "propensity_upgrade": chance, "policy_version": "lot",
            "prior_offers": 0, "accepted": 0, "churned": 0, "margin": 0.0,
        }
        for when, chance in (("2025-01-15", 0.0), ("2025-05-02", 0.5))
    ]  # fmt: skip
    then = partial(customers_then, customers=table)
    found = as_log(
        pd.DataFrame(rows), table.ids, Catalogue((arm,)), simulated=False, origin="log.csv", features=then
    )
    assert (len(found), found.left_out) == (2, 0)
    assert then(found)["use"].tolist() == [31, 34]


def test_decisions_from_before_a_customer_s_first_row_are_left_out_and_counted():
    table = panel()
    kept, unknown = known_before(log(table, [("c1", "2024-12-31"), ("c1", "2025-02-02")]), table, "log.csv")
    assert (len(kept), unknown) == (1, 1)


def test_a_panel_that_was_all_written_after_the_decisions_is_refused_by_name():
    table = panel()
    with pytest.raises(
        OfferLogError, match=r"log\.csv: column 'decided_at': .*2025-01-01.*'fee', 'tenure', 'use'"
    ):
        known_before(log(table, [("c1", "2024-12-31")]), table, "log.csv")


def test_a_table_of_a_later_day_than_a_decision_is_refused_by_name():
    frame = pd.DataFrame(
        {"account": ["c1", "c2"], "fee": [20.0, 30.0], "use": [1, 2], "left_on": [None, "2026-01-09"]}
    )
    table = read(frame, panel_config(row_date=None, tenure=None, as_of=date(2026, 1, 1)), 1)
    early = [("c1", "2025-12-31"), ("c2", "2026-01-02")]
    with pytest.raises(
        OfferLogError, match=r"found 1 decisions from before 2026-01-01.*'fee', 'use'.*row_date"
    ):
        known_before(log(table, early), table, "log.csv")
    assert known_before(log(table, early[1:]), table, "log.csv")[1] == 0
    assert known_before(log(table, early, simulated=True), table, "log.csv")[1] == 0


def test_a_table_of_one_row_a_customer_is_looked_up_as_it_is():
    frame = pd.DataFrame(
        {"account": ["c1", "c2"], "fee": [20.0, 30.0], "use": [1, 2], "left_on": [None, "2026-01-09"]}
    )
    table = read(frame, panel_config(row_date=None, tenure=None, as_of=date(2026, 1, 1)), 1)
    known, row = rows_before(log(table, [("c2", "2026-01-02"), ("c1", "2026-01-03")]), table)
    assert known is table
    np.testing.assert_array_equal(row, [1, 0])


def followed(*, churned: int = 0, apart: str = "2026-04-03") -> tuple[OfferLog, CustomerTable]:
    """Many customers of a table of one row each, decided for twice."""
    names = [f"c{number}" for number in range(LEAST_HISTORIES)]
    frame = pd.DataFrame({"account": names, "fee": 20.0, "tenure": np.arange(len(names)) % 50})
    table = read(
        frame.assign(left_on=[None, "2026-01-09"] * 250),
        panel_config(row_date=None, as_of=date(2026, 1, 1)),
        1,
    )
    found = log(table, [(name, day) for day in ("2026-01-02", apart) for name in names])
    return replace(found, frame=found.frame.assign(churned=churned)), table


def test_a_log_that_follows_customers_sees_their_tenure_grow():
    decisions, table = followed()
    known, row = rows_before(decisions, table)
    grown = known.frame["tenure"].to_numpy()[row] - np.tile(table.frame["tenure"], 2)
    np.testing.assert_allclose(grown[:500], 0.0)
    np.testing.assert_allclose(grown[500:], 91 / 30.4375)
    assert known.ids[row].tolist() == list(decisions.customer_id)


@pytest.mark.parametrize("changes", [{"churned": 1}, {"apart": "2026-02-02"}], ids=["come back", "too near"])
def test_a_log_of_several_answers_of_one_customer_is_as_of_the_table(changes):
    decisions, table = followed(**changes)
    assert not months_followed(decisions, table).any()
    assert rows_before(decisions, table)[0] is table

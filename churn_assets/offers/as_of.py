"""What was known of a customer when a decision was made: of a panel, the newest row before it. No later row is read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn_assets.customers.schema import ID, ROW_DATE
from churn_assets.customers.table import CustomerTable
from churn_assets.offers.log import OfferLog, OfferLogError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

DAYS_A_MONTH = 30.4375
SLACK = 0.15
"""A window follows another if it begins by so much of one before or after the other's end."""
LEAST_HISTORIES = 500
"""Decisions about customers seen before: fewer show nothing of later windows."""


def rows_before(log: OfferLog, customers: CustomerTable) -> tuple[CustomerTable, Ints]:
    """Rows of the customers, and (n,) the row that each decision could know.

    Of a panel these are all its rows, and the newest from before the decision; otherwise the customers as they are. If
    the log follows them (`months_followed`) each decision has a row, in which the tenure has grown since the first one.

    Raises:
        OfferLogError: A decision is about a customer who is not there, or of whom there is no row from before.
    """
    positions = log.positions(customers.ids)
    if customers.history is None:
        tenure, months = customers.schema.tenure, months_followed(log, customers)
        if tenure is None or not months.any():
            return customers, positions
        frame = customers.frame.iloc[positions].reset_index(drop=True)
        aged = replace(customers, frame=frame.assign(**{tenure: frame[tenure] + months}))
        return aged, np.arange(len(log))
    place = _newest_before(log, customers.history)
    if (place < 0).any():
        raise OfferLogError(
            f"offer log: found {int((place < 0).sum())} decisions without a row of their customer from before, "
            "expected one (customers.row_date)"
        )
    return customers.history, place


def months_followed(log: OfferLog, customers: CustomerTable) -> Floats:
    """(n,) months since the customer's first decision; zeros where the log does not follow its customers.

    It does if it decides about the same ones again, never within a label window and never after they have left. Whoever
    writes several answers of one customer down, each as of the same features, does not.
    """
    customer = log.positions(customers.ids)
    since = (log.frame["decided_at"] - log.frame["decided_at"].min()).dt.total_seconds().to_numpy()
    months = np.asarray(since / (86_400 * DAYS_A_MONTH), np.float64)
    order = np.lexsort((months, customer))
    again = np.diff(customer[order]) == 0
    near = np.diff(months[order]) < (1 - SLACK) * customers.schema.label_window_months
    if again.sum() < LEAST_HISTORIES or (again & (near | (log.churned[order][:-1] == 1))).any():
        return np.zeros(len(log))
    return np.asarray(months - pd.Series(months).groupby(customer).transform("min").to_numpy(), np.float64)


def known_before(log: OfferLog, customers: CustomerTable, where: str) -> tuple[OfferLog, int]:
    """The decisions of whose customers something is known from before, and how many others there are.

    Args:
        log: A log.
        customers: A table, or a panel.
        where: What errors call the log.

    Raises:
        OfferLogError: The features are from after decisions: of a table with `as_of` any, of a panel all of them.
    """
    if customers.history is None:
        if not log.simulated:  # the demo world answers by the very features that are there
            _refuse_earlier(log, customers, where)
        return log, 0
    there = _newest_before(log, customers.history) >= 0
    if not there.any():
        first = customers.history.days.min().date()
        raise OfferLogError(
            f"{where}: column 'decided_at': found no decision after its customer's first row (the panel begins on "
            f"{first}), expected rows from before the decisions (customers.row_date): {_named(customers)} were "
            "written later"
        )
    return (log if there.all() else replace(log.where(there), said=log.said)), int((~there).sum())


def _refuse_earlier(log: OfferLog, customers: CustomerTable, where: str) -> None:
    as_of = None if customers.source is None else customers.source.as_of
    early = 0 if as_of is None else int((log.frame["decided_at"] < pd.Timestamp(as_of, tz="UTC")).sum())
    if early:
        raise OfferLogError(
            f"{where}: column 'decided_at': found {early} decisions from before {as_of}, the day that the customers' "
            f"features describe (customers.as_of), so that {_named(customers)} were written after them; expected "
            "features from before every decision: a table of an earlier day, or of several (customers.row_date)"
        )


def _named(customers: CustomerTable) -> str:
    return ", ".join(map(repr, customers.schema.names))


def _newest_before(log: OfferLog, history: CustomerTable) -> Ints:
    """(n,) row of the history, -1 where there is none."""
    unit = "datetime64[us, UTC]"
    decisions = pd.DataFrame({ID: log.customer_id, "at": log.frame["decided_at"].astype(unit)})
    rows = pd.DataFrame(
        {ID: history.ids, "at": history.frame[ROW_DATE].astype(unit), "place": np.arange(len(history))}
    )
    order = np.argsort(decisions["at"].to_numpy(), kind="stable")
    found = pd.merge_asof(
        decisions.iloc[order], rows.sort_values("at"), on="at", by=ID, allow_exact_matches=False
    )
    place = np.empty(len(order), np.int64)
    place[order] = found["place"].fillna(-1).astype(np.int64)
    return place

"""What was known of a customer when a decision was made: the log's own features, of a panel the newest row before it.

No later row is read.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn_assets.customers.labels import LEAST_HISTORIES, SLACK
from churn_assets.customers.schema import CHURNED, ID, ROW_DATE
from churn_assets.customers.table import CustomerTable
from churn_assets.offers.log import OfferLog, OfferLogError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def rows_before(
    log: OfferLog, customers: CustomerTable, followed: Floats | None = None
) -> tuple[CustomerTable, Ints]:
    """Rows of the customers, and (n,) the row that each decision could know.

    Of a panel these are all its rows, and the newest from before the decision; otherwise the customers as they are.
    Where the log has features of its own, or follows customers of one row each (`months_followed`), there is a row for
    each decision, with those features in the table's place and a tenure that has grown since the first one. `followed`
    is what `months_followed` found, where it was asked before.

    Raises:
        OfferLogError: A decision is about a customer who is not there, or of whom there is no row from before.
    """
    positions = log.positions(customers.ids)
    if customers.history is None:
        return _as_logged(
            log, customers, positions, months_followed(log, customers) if followed is None else followed
        )
    place = _newest_before(log, customers.history)
    if (place < 0).any():
        raise OfferLogError(
            f"offer log: found {int((place < 0).sum())} decisions without a row of their customer from before, "
            "expected one (customers.row_date)"
        )
    return _as_logged(log, customers.history, place)


def months_followed(log: OfferLog, customers: CustomerTable) -> Floats:
    """(n,) months since the customer's first decision; zeros where the log does not follow its customers.

    It does if it decides about the same ones again, never within a label window and never after they have left. Whoever
    writes several answers of one customer down, each as of the same features, does not; nor does a log that does not
    know who left.
    """
    if CHURNED not in log.frame or log.of_outcome:
        return np.zeros(len(log))
    customer, months = log.positions(customers.ids), log.months
    order = np.lexsort((months, customer))
    again = np.diff(customer[order]) == 0
    near = np.diff(months[order]) < (1 - SLACK) * customers.schema.label_window_months
    if again.sum() < LEAST_HISTORIES or (again & (near | (log.churned[order][:-1] == 1))).any():
        return np.zeros(len(log))
    return np.asarray(months - pd.Series(months).groupby(customer).transform("min").to_numpy(), np.float64)


def customers_then(log: OfferLog, customers: CustomerTable) -> pd.DataFrame:
    """(n, F) the customer of each decision as the table could know them; of whom it knew nothing yet, as they are."""
    now = log.positions(customers.ids)
    if customers.history is None:
        return customers.frame.iloc[now]
    newest = _newest_before(log, customers.history)
    then = np.flatnonzero(newest >= 0)
    frame = customers.frame.iloc[now].reset_index(drop=True)
    frame.iloc[then] = customers.history.frame.iloc[newest[then]][frame.columns]
    return frame


def _as_logged(
    log: OfferLog, rows: CustomerTable, place: Ints, grown: Floats | None = None
) -> tuple[CustomerTable, Ints]:
    """Those rows with what the log has as it was and (n,) months of tenure more, and where each decision's is."""
    known, tenure = {str(name): values for name, values in log.own_features.items()}, rows.schema.tenure
    if grown is not None and grown.any() and tenure is not None:
        known.setdefault(tenure, rows.frame[tenure].iloc[place].reset_index(drop=True) + grown)
    if not known:
        return rows, place
    stored = CustomerTable(rows.frame.iloc[place].reset_index(drop=True), rows.schema, rows.source)
    return replace(stored, frame=stored.frame.assign(**known), stored=stored), np.arange(len(log))


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
        if not log.simulated and _named(
            log, customers
        ):  # the demo world answers by the features that are there
            _refuse_earlier(log, customers, where)
        return log, 0
    there = _newest_before(log, customers.history) >= 0
    if not there.any():
        first = customers.history.days.min().date()
        raise OfferLogError(
            f"{where}: column 'decided_at': found no decision after its customer's first row (the panel begins on "
            f"{first}), expected rows from before the decisions (customers.row_date): {_named(log, customers)} "
            "were written later"
        )
    kept = log if there.all() else replace(log, frame=log.frame[there].reset_index(drop=True))
    return kept, int((~there).sum())


def _refuse_earlier(log: OfferLog, customers: CustomerTable, where: str) -> None:
    as_of = None if customers.source is None else customers.source.as_of
    early = 0 if as_of is None else int((log.frame["decided_at"] < pd.Timestamp(as_of, tz="UTC")).sum())
    if early:
        raise OfferLogError(
            f"{where}: column 'decided_at': found {early} decisions from before {as_of}, the day that the customers' "
            f"features describe (customers.as_of), so that {_named(log, customers)} were written after them; expected "
            "features from before every decision: the log's own (offer_log.features), a table of an earlier day, or of "
            "several (customers.row_date)"
        )


def _named(log: OfferLog, customers: CustomerTable) -> str:
    """The features that only the table tells."""
    return ", ".join(repr(name) for name in customers.schema.names if name not in log.own_features)


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

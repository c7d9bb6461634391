"""Decisions for a whole customer table, by the one decider, as a server makes them for a first contact."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from churn_assets.customers.columns import CustomerTableError
from churn_assets.customers.table import prepare
from churn_assets.deciding.decider import POLICY, CustomerError, CustomerInput
from churn_assets.deciding.reasons import in_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from churn_assets.customers.table import CustomerTable
    from churn_assets.deciding.decider import Decider, Decision

# Optional columns of a customer table that say what happened to the customer, rather than who it is.
PRIOR_OFFERS = "prior_offers"
OPTED_OUT = "opted_out"

BATCH = 1000
"""Customers decided for at once: more need more memory and no less time."""


def decide_table(raw: pd.DataFrame, decider: Decider, now: datetime) -> pd.DataFrame:
    """Decide for every customer of a table which offer to make, if any.

    Args:
        raw: Customers with the columns of the training table (the label is not needed). Two columns are
            optional: `prior_offers` (offers in the last 90 days, 0 if absent) and `opted_out` (1: may not be
            contacted, 0 if absent).
        decider: Of the release that decides.
        now: Time of the decision, aware.

    Returns:
        One row a customer in the order of `raw`: `decision_id`, `customer_id`, `decided_at`, `decision` (`offer` or
        `no contact`), `arm` (its id) and `offer` (its label), `risk` (P(churn) within the label window without
        contact), `acceptance` (of the arm decided), `risk_if_offered` (P(churn) given this decision),
        `expected_value` (what the arm is expected to add over never contacting, in the currency of the price,
        projected over the horizon), `value_low` and `value_high` (the band of it), `window_value` (what it adds by what
        happens in the label window alone),
        `propensity` (probability with which the policy decides so: 1, as it takes its best arm), `reasons`,
        `policy` and `release`.

    Raises:
        CustomerTableError: The table is not what the models were trained for.
    """
    table = prepare(raw, decider.schema)
    prior = _whole_numbers(raw, PRIOR_OFFERS, 1000)
    opted_out = _whole_numbers(raw, OPTED_OUT, 1) == 1
    starts = range(0, max(len(table), 1), BATCH)
    batches = (slice(start, start + BATCH) for start in starts)
    asked = (_inputs(table, rows, prior[rows], opted_out[rows]) for rows in batches)
    return pd.concat([_rows(decider, batch, now) for batch in asked], ignore_index=True)


def _inputs(
    table: CustomerTable, rows: slice, prior: NDArray[np.int64], opted_out: NDArray[np.bool_]
) -> list[CustomerInput]:
    names = table.schema.names
    columns = [_values(table.frame[name].iloc[rows]) for name in names]
    features = (dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True))
    return [
        CustomerInput(str(customer), each, opted_out=out, prior_offers=offers)
        for customer, each, out, offers in zip(
            table.ids[rows], features, opted_out.tolist(), prior.tolist(), strict=True
        )
    ]


def _rows(decider: Decider, batch: Sequence[CustomerInput], now: datetime) -> pd.DataFrame:
    decided = _decided(decider, batch)
    chosen = [each.chosen for each in decided]
    labels = dict(zip(decider.menu.ids, decider.menu.labels, strict=True))
    months = decider.process.window_months
    return pd.DataFrame(
        {
            "decision_id": [_decision_id(decider.release, each.customer_id, now) for each in decided],
            "customer_id": [each.customer_id for each in decided],
            "decided_at": now.isoformat(timespec="seconds"),
            "decision": ["offer" if each.arm else "no contact" for each in decided],
            "arm": [each.arm.id for each in chosen],
            "offer": [each.arm.label for each in chosen],
            "risk": np.array([each.risk for each in decided], np.float64),
            "acceptance": np.array([each.acceptance for each in chosen], np.float64),
            "risk_if_offered": np.array([each.risk_if_offered for each in chosen], np.float64),
            "expected_value": np.array([each.expected_value for each in chosen], np.float64),
            "value_low": np.array([each.value_low for each in chosen], np.float64),
            "value_high": np.array([each.value_high for each in chosen], np.float64),
            "window_value": np.array([each.window_value for each in chosen], np.float64),
            "propensity": np.array([each.propensity for each in chosen], np.float64),
            "reasons": [in_words(each.reasons, labels, months) for each in decided],
            "policy": POLICY,
            "release": decider.release,
        }
    )


def _decided(decider: Decider, batch: Sequence[CustomerInput]) -> list[Decision]:
    try:
        return decider.decide(batch)
    except CustomerError as error:
        raise CustomerTableError(
            f"customers: column {error.field!r}: found {error.found} of customer "
            f"{batch[error.index].customer_id}; expected {error.expected}"
        ) from error


def _values(column: pd.Series) -> list[Any]:
    """Values of a validated column as Python's own, None for a blank."""
    return [None if value != value else value for value in column.tolist()]


def _whole_numbers(raw: pd.DataFrame, column: str, largest: int) -> NDArray[np.int64]:
    if column not in raw.columns:
        return np.zeros(len(raw), np.int64)
    numbers = pd.to_numeric(raw[column], errors="coerce").to_numpy(np.float64)
    wrong = ~(np.isfinite(numbers) & (numbers >= 0) & (numbers <= largest) & (numbers == np.round(numbers)))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        found = raw[column].iloc[row]
        message = f"customers: column {column!r}: found {found!r} in row {row}; expected a whole number, 0 to {largest}"
        raise CustomerTableError(message)
    whole: NDArray[np.int64] = numbers.astype(np.int64)
    return whole


def _decision_id(release: str, customer: str, now: datetime) -> str:
    text = f"{release}|{customer}|{now.isoformat()}"
    return hashlib.sha256(text.encode()).hexdigest()[:20]

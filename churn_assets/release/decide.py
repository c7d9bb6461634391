"""From a customer table to decisions with a release's derived forms, as a server decides for a first contact."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from churn_assets.customers.columns import CustomerTableError
from churn_assets.customers.table import prepare
from churn_assets.decision.process import IDLE
from churn_assets.release.derived import canonical
from churn_assets.release.reasons import in_words, reasons

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn_assets.release.derived import Derived
    from churn_assets.store.reference import ArtifactRef

# Optional columns of a customer table that say what happened to the customer, rather than who it is.
PRIOR_OFFERS = "prior_offers"
OPTED_OUT = "opted_out"


def decide(raw: pd.DataFrame, derived: Derived, ref: ArtifactRef, now: datetime) -> pd.DataFrame:
    """Decide for every customer of a table which offer to make, if any.

    Args:
        raw: Customers with the columns of the training table (the label is not needed). Two columns are
            optional: `prior_offers` (offers in the last 90 days, 0 if absent) and `opted_out` (1: may not be
            contacted, 0 if absent).
        derived: The release's forms.
        ref: The release they belong to.
        now: Time of the decision, aware.

    Returns:
        One row a customer in the order of `raw`: `decision_id`, `customer_id`, `decided_at`, `decision` (`offer` or
        `no contact`), `offer_pct` (share of the list price), `risk` (P(churn) within the label window without
        contact), `acceptance` (of the offer made), `risk_if_offered` (P(churn) given this decision),
        `expected_value` (what the offer is expected to add over never contacting, in the currency of the price),
        `propensity` (probability with which the policy decides so: 1, as it takes its best arm), `reasons`,
        `policy` and `release`.

    Raises:
        CustomerTableError: The table is not what the models were trained for.
    """
    table = prepare(raw, derived.schema)
    process = derived.process
    prior = _whole_numbers(raw, PRIOR_OFFERS, 1000)
    opted_out = _whole_numbers(raw, OPTED_OUT, 1) == 1
    n, arms, rows = len(table), list(range(process.n_arms)), np.arange(len(table))
    outlooks, _ = derived.outlooks(canonical(table.X), prior.tolist())
    allowed = [[0] if out else arms for out in opted_out]
    arm = np.array(derived.preferred(outlooks, [IDLE] * n, [0] * n, allowed, 0.0), np.int64)
    risk, acceptance = outlooks["risk"], outlooks["acceptance"][:, IDLE]
    added = outlooks["value"][:, IDLE].astype(np.float64)
    accepted, refused = outlooks["churn_if_accepted"][:, None], outlooks["churn_if_refused"][:, None]
    if_offered = acceptance * accepted + (1 - acceptance) * refused
    if_offered[:, 0] = risk
    why = [
        reasons(
            int(arm[i]), risk[i], [OPTED_OUT] * bool(opted_out[i]), allowed[i][1:], process.menu, *figures
        )
        for i, figures in enumerate(
            zip(acceptance.tolist(), if_offered.tolist(), added.tolist(), strict=True)
        )
    ]
    return pd.DataFrame(
        {
            "decision_id": [_decision_id(ref, customer, now) for customer in table.ids],
            "customer_id": table.ids,
            "decided_at": now.isoformat(timespec="seconds"),
            "decision": np.where(arm > 0, "offer", "no contact"),
            "offer_pct": np.asarray(process.menu, np.float64)[arm],
            "risk": risk,
            "acceptance": acceptance[rows, arm],
            "risk_if_offered": if_offered[rows, arm],
            "expected_value": added[rows, arm],
            "propensity": np.ones(n),
            "reasons": [in_words(found, process.window_months) for found in why],
            "policy": "ppo_decision",
            "release": str(ref),
        }
    )


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


def _decision_id(ref: ArtifactRef, customer: Any, now: datetime) -> str:
    text = f"{ref}|{customer}|{now.isoformat()}"
    return hashlib.sha256(text.encode()).hexdigest()[:20]

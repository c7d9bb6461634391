"""From customers to decisions with a loaded release: the same features, tables and observation as in training."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from churn_assets.customers.columns import CustomerTableError
from churn_assets.customers.table import prepare

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn_assets.decision.process import RetentionProcess
    from churn_assets.release.loaded import Models
    from churn_assets.store.reference import ArtifactRef

# Optional columns of a customer table that say what happened to the customer, rather than who it is.
PRIOR_OFFERS = "prior_offers"
OPTED_OUT = "opted_out"


def decide(raw: pd.DataFrame, models: Models, ref: ArtifactRef, now: datetime) -> pd.DataFrame:
    """Decide for every customer of a table which offer to make, if any.

    Args:
        raw: Customers with the columns of the training table (the label is not needed). Two columns are
            optional: `prior_offers` (offers in the last 90 days, 0 if absent) and `opted_out` (1: may not be
            contacted, 0 if absent).
        models: The loaded models.
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
    from churn_assets.decision.observation import Observer
    from churn_assets.decision.tables import build_tables

    table = prepare(raw, models.schema)
    process = models.policy.process
    prior = _whole_numbers(raw, PRIOR_OFFERS, 1000)
    opted_out = _whole_numbers(raw, OPTED_OUT, 1) == 1
    allowed = np.ones((len(table), process.n_arms), bool)
    allowed[opted_out, 1:] = False
    tables = build_tables(
        table, models.risk, models.accept, models.effect, process, prior_offers=prior, allowed=allowed
    )
    observer = Observer(tables, process)
    if observer.names != models.policy.observation_names:
        message = f"the policy expects {models.policy.observation_names}: found {observer.names}"
        raise ValueError(message)
    rows = np.arange(len(table))
    nothing = np.zeros(len(table), np.int64)
    observed = observer.observe(rows, nothing, nothing, nothing, np.zeros(len(table), np.float32))
    arm = models.policy.act(observed)
    added = observer.added.value[:, 0, 0, :].astype(np.float64)
    acceptance = tables.acceptance[:, 0, 0, :]
    if_offered = (
        acceptance * tables.churn_if_accepted[:, [0]] + (1 - acceptance) * tables.churn_if_refused[:, [0]]
    )
    return pd.DataFrame(
        {
            "decision_id": [_decision_id(ref, customer, now) for customer in table.ids],
            "customer_id": table.ids,
            "decided_at": now.isoformat(timespec="seconds"),
            "decision": np.where(arm > 0, "offer", "no contact"),
            "offer_pct": np.asarray(process.menu, np.float64)[arm],
            "risk": tables.risk[:, 0],
            "acceptance": acceptance[rows, arm],
            "risk_if_offered": np.where(arm > 0, if_offered[rows, arm], tables.risk[:, 0]),
            "expected_value": added[rows, arm],
            "propensity": np.ones(len(table)),
            "reasons": [
                _reasons(
                    process,
                    int(arm[i]),
                    tables.risk[i, 0],
                    acceptance[i],
                    if_offered[i],
                    added[i],
                    opted_out[i],
                )
                for i in rows
            ],
            "policy": "ppo_decision",
            "release": str(ref),
        }
    )


def _reasons(
    process: RetentionProcess,
    arm: int,
    risk: float,
    acceptance: NDArray[np.float64],
    if_offered: NDArray[np.float64],
    added: NDArray[np.float64],
    opted_out: np.bool_,
) -> str:
    """Why, in one line that names the figures the policy saw."""
    parts = [f"risk {risk:.1%} within {process.window_months:g} months"]
    if opted_out:
        return "; ".join([*parts, "opted out of offers"])
    best = int(added[1:].argmax()) + 1
    shown = arm or best
    offer = f"{process.menu[shown]:.0%} off"
    if arm:
        parts.append(f"{offer} is accepted with {acceptance[arm]:.0%}")
        parts.append(f"risk if offered {if_offered[arm]:.1%}")
        parts.append(f"adds {added[arm]:+.2f}")
    elif if_offered[best] > risk:
        parts.append(f"contact would raise it: {if_offered[best]:.1%} with {offer}")
    elif added[best] <= 0:
        parts.append(f"no offer pays: the best, {offer}, adds {added[best]:+.2f}")
    else:
        parts.append(f"waiting is worth more than {offer} now, which adds {added[best]:+.2f}")
    return "; ".join(parts)


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

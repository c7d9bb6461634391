"""From decisions that were served to rows of an offer log. Reads no storage and trains nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from churn_assets.offers.economics import Economics
from churn_assets.offers.live import LiveLog
from churn_assets.offers.log import propensity_column


@dataclass(frozen=True)
class OfferRows:
    """What can be learned from.

    Attributes:
        frame: Columns of the offer log, in the order of time.
        counts: Decisions in the log, those left out by why, and those in `frame`.
    """

    frame: pd.DataFrame
    counts: Mapping[str, int]


def offer_rows(
    live: LiveLog, economics: Economics, price: str, *, now: datetime, window: timedelta = timedelta(0)
) -> OfferRows:
    """The decisions that can be learned from.

    A decision becomes a row once its window is over, it is known whether the customer left and, if contacted,
    accepted, and if every arm could have been chosen: others tell nothing of the arms that could not. Before the
    window is over, only those who leave early would be known. All rows have the menu of the newest decision.

    Args:
        live: Decisions and outcomes.
        economics: What a customer is worth where no outcome told the margin.
        price: Feature that is the list price a month.
        now: Aware time.
        window: Time after a decision until its outcome is whole.
    """
    frame, arms = live.frame, live.arms
    columns = [propensity_column(arm) for arm in arms]
    others = [name for name in frame.columns if name.startswith("propensity_") and name not in columns]
    counts, rows = {"in the log": len(frame)}, frame
    rules: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
        "with outcomes that contradict": lambda rows: ~rows["contradicted"],
        "with a window that is not over": lambda rows: rows["decided_at"] <= now - window,
        "without a whole outcome": lambda rows: (
            rows["churned"].notna() & (rows["accepted"].notna() | (rows["offer_pct"] == 0))
        ),
        "of another menu": lambda rows: rows[columns].notna().all(axis=1) & rows[others].isna().all(axis=1),
        "with an arm that could not be chosen": lambda rows: (rows[columns] > 0).all(axis=1),
    }
    for reason, keep in rules.items():
        kept = rows[keep(rows)]
        counts[reason], rows = len(rows) - len(kept), kept
    counts["written"] = len(rows)
    return OfferRows(_as_offer_log(rows, live, columns, economics, price), counts | dict(live.counts))


def _as_offer_log(
    rows: pd.DataFrame, live: LiveLog, columns: list[str], economics: Economics, price: str
) -> pd.DataFrame:
    accepted = rows["accepted"].fillna(0)
    told = rows["margin"].to_numpy(np.float64)
    if np.isnan(told).any():
        paid = live.features[price].loc[rows.index].astype(np.float64).fillna(0)
        worth = (1 - rows["churned"]) * economics.margin * paid * economics.value_horizon_months
        discount = accepted * (1 - rows["churned"]) * rows["offer_pct"] * paid * economics.discount_months
        computed = worth - discount - (rows["offer_pct"] > 0) * economics.contact_cost
        told = np.where(np.isnan(told), computed, told)
    return pd.DataFrame(
        {
            "customer_id": rows["customer_id"],
            "decided_at": rows["decided_at"],
            "offer_pct": rows["offer_pct"],
            "propensity": rows["propensity"],
            **{name: rows[name] for name in columns},
            "policy_version": rows["release"],
            "prior_offers": rows["prior_offers"],
            "accepted": accepted.astype(np.int64),
            "churned": rows["churned"].astype(np.int64),
            "margin": told,
        }
    ).reset_index(drop=True)

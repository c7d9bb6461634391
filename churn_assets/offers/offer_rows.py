"""From decisions that were served to rows of an offer log. Reads no storage and trains nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn_assets.offers.economics import Economics
from churn_assets.offers.live import LiveLog
from churn_assets.offers.log import OfferLog, OfferLogError, as_log, propensity_column
from churn_assets.store.canonical import sha256_bytes


@dataclass(frozen=True)
class OfferRows:
    """What can be learned from.

    Attributes:
        frame: Columns of the offer log, in the order of time.
        arms: Their menu.
        counts: Decisions in the log, those left out by why, and those in `frame`.
    """

    frame: pd.DataFrame
    arms: tuple[float, ...]
    counts: Mapping[str, int]

    @property
    def digest(self) -> str:
        """sha256 (hex) of the rows: equal for equal content."""
        hashes = pd.util.hash_pandas_object(self.frame, index=False).to_numpy()
        return sha256_bytes(hashes.tobytes())


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

    Raises:
        OfferLogError: Neither the price nor the margin is known.
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
    return OfferRows(_as_offer_log(rows, live, columns, economics, price), arms, counts | dict(live.counts))


def append(log: OfferLog, rows: OfferRows, customer_ids: Sequence[str] | NDArray[Any]) -> OfferLog:
    """The log with served decisions, in the order of time; weeks are counted from the log's first.

    Args:
        log: What is known from elsewhere.
        rows: What was served; rows of customers who are not among `customer_ids` are left out.
        customer_ids: Ids of the customer table.

    Raises:
        OfferLogError: The menus differ: nothing is known of the propensities of arms that only one side has.
    """
    known = rows.frame[rows.frame["customer_id"].isin(set(map(str, customer_ids)))]
    if known.empty:
        return log
    if rows.arms != log.arms:
        raise OfferLogError(
            f"served decisions: found the menu {_percent(rows.arms)}, expected the offer log's, {_percent(log.arms)}: "
            "let ppo_decision.menu be the arms of offer_log.source, or leave offer_log.decisions out"
        )
    first = log.frame["decided_at"].min()
    weeks = (known["decided_at"] - first).dt.days // 7
    served = known.assign(wave=(log.frame["wave"].min() + weeks).clip(lower=0))
    both = pd.concat([log.frame, served], ignore_index=True)
    frame = both.sort_values("decided_at", kind="stable", ignore_index=True)
    return as_log(frame, customer_ids, simulated=log.simulated, origin="offer log with served decisions")


def _percent(arms: Sequence[float]) -> str:
    return "/".join(f"{100 * arm:g}" for arm in arms) + " %"


def _as_offer_log(
    rows: pd.DataFrame, live: LiveLog, columns: list[str], economics: Economics, price: str
) -> pd.DataFrame:
    accepted = rows["accepted"].fillna(0)
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
            "margin": margins(rows, live, economics, price),
        }
    ).reset_index(drop=True)


def margins(rows: pd.DataFrame, live: LiveLog, economics: Economics, price: str) -> NDArray[np.float64]:
    """(n,) money of each decision: what an outcome told, else by the rules of `Economics`.

    Args:
        rows: Rows of `live.frame` with whole outcomes.
        live: Decisions and outcomes.
        economics: What a customer is worth.
        price: Feature that is the list price a month.

    Raises:
        OfferLogError: Neither the price nor the margin is known.
    """
    told: NDArray[np.float64] = rows["margin"].to_numpy(np.float64)
    if not np.isnan(told).any():
        return told
    if price not in live.features:
        raise OfferLogError(
            f"served decisions: found no feature {price} and no margin told, expected one to compute the other"
        )
    accepted = rows["accepted"].fillna(0)
    paid = live.features[price].loc[rows.index].astype(np.float64).fillna(0)
    worth = (1 - rows["churned"]) * economics.margin * paid * economics.value_horizon_months
    discount = accepted * (1 - rows["churned"]) * rows["offer_pct"] * paid * economics.discount_months
    computed = worth - discount - (rows["offer_pct"] > 0) * economics.contact_cost
    return np.where(np.isnan(told), computed, told)

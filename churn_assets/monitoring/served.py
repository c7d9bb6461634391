"""What is watched of the decisions that were served: those of one release, window by window. Judges nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pandas as pd

from churn_assets.deciding.table import decide_table
from churn_assets.offers.economics import catalogue
from churn_assets.offers.live import FEATURE
from churn_assets.offers.offer_rows import margins

if TYPE_CHECKING:
    from churn_assets.customers.schema import CustomerSchema
    from churn_assets.customers.table import CustomerTable
    from churn_assets.deciding.risk_only import AnyDecider

RISK = "risk"
"""Column of the scores beside the features: how risky the release finds a customer without contact."""
_DAYS_A_MONTH = 30.44


@dataclass(frozen=True)
class Reached:
    """How far windows were judged.

    Attributes:
        windows: How many were full.
        place: Of the segment in which the next begins.
        used: Its rows that are of windows before.
    """

    windows: int = 0
    place: int = 0
    used: int = 0


@dataclass(frozen=True)
class Window:
    """Consecutive decisions; windows of one size do not overlap, so that no decision is tested twice.

    Attributes:
        number: From 1.
        rows: Its decisions.
        reached: Where the next one begins.
    """

    number: int
    rows: pd.DataFrame
    reached: Reached


def full_windows(frames: Iterable[tuple[int, pd.DataFrame]], size: int, reached: Reached) -> Iterator[Window]:
    """The windows that are full, the oldest first, of decisions that come in frames.

    Args:
        frames: Places of segments, in order, from that of `reached` on, each with its decisions.
        size: Decisions of a window.
        reached: Where the first of them begins.
    """
    number, left = reached.windows, pd.DataFrame()
    for place, frame in frames:
        used = reached.used if place == reached.place else 0
        row = used - len(left)  # of this segment; before its first where the window began in another
        left = pd.concat([left, frame.iloc[used:]], ignore_index=True) if len(left) else frame.iloc[used:]
        while len(left) >= size:
            number, row = number + 1, row + size
            yield Window(number, left.iloc[:size], Reached(number, place, row))
            left = left.iloc[size:]


def label_window(experiment: Any) -> timedelta:
    """Time after a decision until it is known of everybody whether they left."""
    log = experiment.offer_log
    served = None if log is None else log.decisions
    days = experiment.customers.label.window_months * _DAYS_A_MONTH if served is None else served.window_days
    return timedelta(days=days)


def priced(frame: pd.DataFrame, experiment: Any) -> pd.DataFrame:
    """Rows of a `DecisionIndex`, each with its margin by the experiment's economics, arms and price."""
    arms, price = catalogue(experiment.arms, experiment.economics), experiment.customers.monthly_revenue
    prices = frame["price"] if frame["price"].notna().any() else None
    return frame.assign(margin=margins(frame, prices, experiment.economics, arms, price))


def features_and_risk(window: Window, schema: CustomerSchema) -> pd.DataFrame:
    """The customers of a window as a release was asked about them, each once, with the risk it found."""
    rows = window.rows.drop_duplicates("customer_id", keep="last")
    named = rows[[f"{FEATURE}{name}" for name in schema.names]].set_axis(list(schema.names), axis=1)
    return _typed(named, schema).assign(**{RISK: rows["risk"].astype(float)})


def learned_from(table: CustomerTable, decider: AnyDecider, now: datetime) -> pd.DataFrame:
    """The customers that a release was trained from, with the risk it finds; columns as of `features_and_risk`."""
    schema = decider.schema
    raw = table.frame[list(schema.names)].assign(**{schema.id: table.ids})
    risk = decide_table(raw, decider, now)[RISK].to_numpy()
    return _typed(table.frame[list(schema.names)], schema).assign(**{RISK: risk})


def _typed(features: pd.DataFrame, schema: CustomerSchema) -> pd.DataFrame:
    kinds = {feature.name: "float64" if feature.kind == "numeric" else object for feature in schema.features}
    return features.astype(kinds)

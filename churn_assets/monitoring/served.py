"""What is watched of the decisions that were served: those of one release, window by window. Judges nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pandas as pd

from churn_assets.arms import NO_CONTACT_ID
from churn_assets.deciding.table import decide_table
from churn_assets.offers.economics import catalogue
from churn_assets.offers.offer_rows import margins

if TYPE_CHECKING:
    from churn_assets.customers.schema import CustomerSchema
    from churn_assets.customers.table import CustomerTable
    from churn_assets.deciding.risk_only import AnyDecider
    from churn_assets.offers.live import LiveLog
    from churn_assets.store.reference import ArtifactRef

RISK = "risk"
"""Column of the scores beside the features: how risky the release finds a customer without contact."""
_DAYS_A_MONTH = 30.44


@dataclass(frozen=True)
class Window:
    """Consecutive decisions; windows of one size do not overlap, so that no decision is tested twice.

    Attributes:
        number: From 1.
        rows: Its decisions.
    """

    number: int
    rows: pd.DataFrame


def full_windows(rows: pd.DataFrame, size: int) -> list[Window]:
    """The windows that are full, the newest first: many may have filled since somebody looked."""
    return [
        Window(number, rows.iloc[(number - 1) * size : number * size])
        for number in range(len(rows) // size, 0, -1)
    ]


def label_window(experiment: Any) -> timedelta:
    """Time after a decision until it is known of everybody whether they left."""
    log = experiment.offer_log
    served = None if log is None else log.decisions
    days = experiment.customers.label.window_months * _DAYS_A_MONTH if served is None else served.window_days
    return timedelta(days=days)


def with_outcomes(live: LiveLog, release: ArtifactRef, experiment: Any, now: datetime) -> pd.DataFrame:
    """Decisions of a release whose window is over and whose outcome is whole, oldest first, each with its margin.

    Args:
        live: The decision log.
        release: Whose decisions.
        experiment: Its economics, arms, price and label window.
        now: Aware time.
    """
    frame = live.frame
    known = frame["churned"].notna() & (frame["accepted"].notna() | (frame["arm"] == NO_CONTACT_ID))
    rows = frame[
        (frame["release"] == str(release))
        & (frame["assigned"] != "kill_switch")
        & (frame["decided_at"] <= now - label_window(experiment))
        & known
        & ~frame["contradicted"]
    ]
    arms, price = catalogue(experiment.arms, experiment.economics), experiment.customers.monthly_revenue
    return rows.assign(margin=margins(rows, live, experiment.economics, arms, price))


def features_and_risk(live: LiveLog, window: Window, schema: CustomerSchema) -> pd.DataFrame:
    """The customers of a window as a release was asked about them, each once, with the risk it found."""
    rows = window.rows.drop_duplicates("customer_id", keep="last")
    named = live.features.loc[rows.index, list(schema.names)]
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

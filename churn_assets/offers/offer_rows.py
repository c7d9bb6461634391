"""From decisions that were served to rows of an offer log. Reads no storage and trains nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn_assets.arms import NO_CONTACT_ID, ArmError, Catalogue, Menu
from churn_assets.offers.economics import Economics, OutcomeConfig, decision_value
from churn_assets.offers.eligibility import may_get
from churn_assets.offers.live import LiveLog, ServedLog
from churn_assets.offers.log import (
    FEATURE,
    OUTCOME,
    UNIT,
    CustomerRows,
    OfferLog,
    OfferLogError,
    checked_log,
    propensity_column,
)
from churn_assets.offers.records import NOBODY
from churn_assets.store.canonical import sha256_bytes

_ANY_ARM = "percent_10"
"""A menu has two arms, also where nobody was contacted."""


@dataclass(frozen=True)
class OfferRows:
    """What can be learned from.

    Attributes:
        frame: Columns of the offer log, in the order of time.
        arms: Ids of their menu.
        counts: Decisions in the log, those left out by why, and those in `frame`.
    """

    frame: pd.DataFrame
    arms: tuple[str, ...]
    counts: Mapping[str, int]

    @property
    def digest(self) -> str:
        """sha256 (hex) of the rows: equal for equal content."""
        hashes = pd.util.hash_pandas_object(self.frame, index=False).to_numpy()
        return sha256_bytes(hashes.tobytes())


def offer_rows(
    live: LiveLog,
    economics: Economics,
    catalogue: Catalogue,
    price: str,
    *,
    now: datetime,
    window: timedelta = timedelta(0),
    arms: Sequence[str] | None = None,
    logged: Menu | None = None,
    features: Sequence[str] = (),
) -> OfferRows:
    """The decisions that can be learned from.

    A decision becomes a row once its window is over, it is known whether the customer left and, if contacted,
    accepted, and if every arm could have been chosen whose conditions the customer kept: others tell nothing of the
    arms that could not. Before the window is over, only those who leave early would be known. All rows have the menu of
    the newest decision.

    Args:
        live: Decisions and outcomes.
        economics: What a customer is worth where no outcome told the margin.
        catalogue: The arms that there are.
        price: Feature that is the list price a month.
        now: Aware time.
        window: Time after a decision until its outcome is whole.
        arms: Ids of the newest decision's menu, where that is not in `live`.
        logged: Arms of the log that they are appended to, with the conditions under which each was possible there.
        features: Of the customers, that the log they are appended to has as they were: taken as they were asked with.

    Raises:
        OfferLogError: Neither the price nor the margin is known, an arm of the menu is not declared any more, or one of
            the features was never asked with.
    """
    frame, arms = live.frame, tuple(live.arms if arms is None else arms)
    if not set(map(propensity_column, arms)) <= set(frame.columns):
        frame = frame.reindex(
            columns=[*frame.columns, *(set(map(propensity_column, arms)) - set(frame.columns))]
        )
    columns = [propensity_column(arm) for arm in arms]
    others = [name for name in frame.columns if name.startswith("propensity_") and name not in columns]
    counts, rows = {"in the log": len(frame)}, frame
    rules: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
        "with outcomes that contradict": lambda rows: ~rows["contradicted"],
        "with a window that is not over": lambda rows: rows["decided_at"] <= now - window,
        "without a whole outcome": lambda rows: (
            rows["churned"].notna() & (rows["accepted"].notna() | (rows["arm"] == NO_CONTACT_ID))
        ),
        "of another menu": lambda rows: rows[columns].notna().all(axis=1) & rows[others].isna().all(axis=1),
        "with an arm that could not be chosen": lambda rows: (
            (rows[columns] > 0) | _barred(rows, columns, live, arms, catalogue, logged)
        ).all(axis=1),
    }
    for reason, keep in rules.items():
        kept = rows[keep(rows)]
        counts[reason], rows = len(rows) - len(kept), kept
    erased = rows["customer_id"].astype(str).str.startswith(NOBODY)
    if erased.any():  # what they were like is blank
        counts["of customers who were erased"], rows = int(erased.sum()), rows[~erased]
    counts["written"] = len(rows)
    return OfferRows(
        _as_offer_log(rows, live, columns, economics, catalogue, price).assign(
            **_as_asked(rows, live, features)
        ),
        arms,
        counts | dict(live.counts),
    )


def _as_asked(rows: pd.DataFrame, live: LiveLog, features: Sequence[str]) -> dict[str, NDArray[Any]]:
    """What the customers were asked about with, under the names that an offer log has it by."""
    missing = [name for name in features if name not in live.features] if len(rows) else []
    if missing:
        raise OfferLogError(
            f"served decisions: found no feature {', '.join(missing)}, expected it as of the decision "
            "(offer_log.features, offer_log.history): ask with it"
        )
    return {FEATURE + name: live.features.loc[rows.index, name].to_numpy() for name in features if len(rows)}


def append(
    log: OfferLog,
    rows: OfferRows,
    customer_ids: Sequence[str] | NDArray[Any],
    features: CustomerRows,
    outcome: OutcomeConfig | None = None,
) -> OfferLog:
    """The log with served decisions, in the order of time; weeks are counted from the log's first.

    Left out are rows of customers who are not among `customer_ids`, and what `checked_log` leaves out.

    Args:
        log: What is known from elsewhere.
        rows: What was served.
        customer_ids: Ids of the customer table.
        features: Of these customers, for the conditions of arms.
        outcome: What the value is of, where that is not leaving.

    Raises:
        OfferLogError: The menus differ: nothing is known of the propensities of arms that only one side has.
    """
    known = rows.frame[rows.frame["customer_id"].isin(customer_ids)]
    if known.empty:
        return log
    if set(rows.arms) != set(log.menu.ids):
        raise OfferLogError(
            f"served decisions: found the menu {', '.join(rows.arms)}, expected the offer log's, "
            f"{', '.join(log.menu.ids)}: let ppo_decision.menu be the arms of offer_log.source, or leave "
            "offer_log.decisions out"
        )
    if log.known_by == "contacted_only":
        raise OfferLogError(
            "served decisions: found them beside a log of contacted customers only, expected one of the two: leave "
            "offer_log.decisions out, or learn from served decisions alone"
        )
    first = log.frame["decided_at"].min()
    weeks = (known["decided_at"] - first).dt.days // 7
    served = known.assign(wave=(log.frame["wave"].min() + weeks).clip(lower=0))
    # What is a negative control of the source's decisions is not known of served ones.
    before = log.frame if outcome is None else log.frame.rename(columns={OUTCOME: outcome.column})
    if UNIT in log.frame:  # a served decision is drawn on its own
        served = served.assign(**{UNIT: served["customer_id"]})
    own = [name for name in served if str(name).startswith(FEATURE) or name == UNIT]
    plain = served.drop(columns=own)
    both = pd.concat([before[[*plain.columns]], plain], ignore_index=True)
    for name in own:  # some of either may all be blank
        both[name] = np.concatenate([before[name], served[name].astype(before[name].dtype)])
    joined = checked_log(
        both.sort_values("decided_at", kind="stable", ignore_index=True),
        customer_ids,
        log.menu,
        simulated=log.simulated,
        origin="offer log with served decisions",
        features=features,
        outcome=outcome,
    )
    if own:  # held to no contract of the log's: as it was read, or asked with
        keys = ["customer_id", "decided_at"]
        frame = joined.frame.merge(both[[*keys, *own]], on=keys, how="left", validate="one_to_one")
        joined = replace(joined, frame=frame)
    return replace(joined, known_by=log.known_by)


def _barred(
    rows: pd.DataFrame,
    columns: list[str],
    live: LiveLog,
    arms: Sequence[str],
    catalogue: Catalogue,
    logged: Menu | None,
) -> NDArray[np.bool_]:
    """(n, K) which arms of the menu a condition kept from the customers, by what they were asked about with."""
    if (rows[columns] > 0).to_numpy().all():
        return np.zeros((len(rows), len(columns)), dtype=bool)
    menu = _menu(arms, catalogue)
    menu = menu if logged is None else menu.limited_as(logged)
    try:
        return ~may_get(menu, live.features.loc[rows.index])
    except ArmError as error:
        raise OfferLogError(f"served decisions: {error}") from error


def _menu(arm_ids: Sequence[str], catalogue: Catalogue) -> Menu:
    try:
        return catalogue.menu(arm_ids)
    except ArmError as error:
        raise OfferLogError(
            f"served decisions: {error}; declare it under arms: as long as it is in the log"
        ) from error


def _as_offer_log(
    rows: pd.DataFrame,
    live: LiveLog,
    columns: list[str],
    economics: Economics,
    catalogue: Catalogue,
    price: str,
) -> pd.DataFrame:
    accepted = rows["accepted"].fillna(0)
    return pd.DataFrame(
        {
            "customer_id": rows["customer_id"],
            "decided_at": rows["decided_at"],
            "arm": rows["arm"],
            "propensity": rows["propensity"],
            **{name: rows[name] for name in columns},
            "policy_version": rows["release"],
            "prior_offers": rows["prior_offers"],
            "accepted": accepted.astype(np.int64),
            **_came(rows["churned"], economics),
            "margin": margins(rows, live.features.get(price, None), economics, catalogue, price),
        }
    ).reset_index(drop=True)


def _came(missed: pd.Series, economics: Economics) -> dict[str, pd.Series]:
    """Who left, or another outcome in its own unit, under the name of its column in a file."""
    wanted = economics.outcome
    if wanted is None:
        return {"churned": missed.astype(np.int64)}
    came = (1 - missed) * wanted.unit
    return {wanted.column: came if wanted.amount else came.round().astype(np.int64)}


def margins(
    rows: pd.DataFrame, prices: pd.Series | None, economics: Economics, catalogue: Catalogue, price: str
) -> NDArray[np.float64]:
    """(n,) money of each decision: what an outcome told, else by `decision_value`.

    Args:
        rows: Decisions with whole outcomes: arm, accepted, churned, margin.
        prices: The list price of each row's index, a month; None where no decision has one.
        economics: What a customer is worth.
        catalogue: The arms that there are.
        price: Feature that is the list price a month.

    Raises:
        OfferLogError: Neither the price nor the margin is known, or an arm is not declared any more.
    """
    told: NDArray[np.float64] = rows["margin"].to_numpy(np.float64)
    if not np.isnan(told).any():
        return told
    if prices is None:
        raise OfferLogError(
            f"served decisions: found no feature {price} and no margin told, expected one to compute the other"
        )
    contacted = sorted(set(rows["arm"]) - {NO_CONTACT_ID})
    menu = _menu((NO_CONTACT_ID, *(contacted or [_ANY_ARM])), catalogue)
    computed = decision_value(
        menu,
        pd.Index(menu.ids).get_indexer(rows["arm"]),
        prices.loc[rows.index].astype(np.float64).fillna(0).to_numpy(),
        rows["accepted"].fillna(0).to_numpy(np.int64),
        rows["churned"].to_numpy(np.float64),
        economics,
    )
    return np.where(np.isnan(told), computed, told)


def offer_rows_of(
    log: ServedLog,
    economics: Economics,
    catalogue: Catalogue,
    price: str,
    *,
    now: datetime,
    window: timedelta = timedelta(0),
    logged: Menu | None = None,
    chunks: Iterable[LiveLog] | None = None,
    features: Sequence[str] = (),
) -> Iterator[OfferRows]:
    """As `offer_rows`, for one segment after the other, of a whole log or of `chunks` of it.

    Raises:
        OfferLogError: As of `offer_rows`.
    """
    arms = log.newest_arms()
    for live in log.chunks() if chunks is None else chunks:
        yield offer_rows(
            live,
            economics,
            catalogue,
            price,
            now=now,
            window=window,
            arms=arms,
            logged=logged,
            features=features,
        )


def gathered(parts: Iterable[OfferRows], log: ServedLog) -> OfferRows:
    """All that can be learned from, in the order of time, and counted."""
    counts: Counter[str] = Counter()
    frames: list[pd.DataFrame] = []
    arms: tuple[str, ...] = ()
    for part in parts:
        counts.update(part.counts)
        arms = part.arms
        if len(part.frame) or not frames:
            frames.append(part.frame)
    filled = [frame for frame in frames if len(frame)] or frames or [pd.DataFrame(columns=["customer_id"])]
    frame = pd.concat(filled, ignore_index=True)
    if len(frame):
        frame = frame.sort_values("decided_at", kind="stable", ignore_index=True)
    return OfferRows(frame, arms, dict(counts) | log.index.totals())

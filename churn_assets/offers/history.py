"""What was offered to a customer before a decision, and what came of it, as features as of the decision.

Counted from earlier decisions of the same customer alone, and of answers only from those that were known by then.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, Field, model_validator

from churn_assets.arms import Menu

Floats = NDArray[np.float64]
_DAY = 24 * 3600.0


class HistoryFeature(BaseModel, frozen=True, extra="forbid"):
    """One feature of a customer that tells of their earlier offers."""

    count: Literal["offers", "accepted", "days_since_offer"] = Field(
        description="offers: how many there were before; accepted: how many of them were accepted; days_since_offer: "
        "days since the last, blank where there was none."
    )
    of: str | None = Field(default=None, description="Only offers of this arm or family; left out: all.")
    after_days: float | None = Field(
        default=None,
        ge=0,
        description="Of accepted: days after an offer until its answer is known; left out: the window of the outcome.",
    )

    @model_validator(mode="after")
    def _answers_are_waited_for(self) -> HistoryFeature:
        if self.after_days is not None and self.count != "accepted":
            raise ValueError(f"after_days: found beside count: {self.count}, expected it with accepted only")
        return self


def _in_short(value: object) -> object:
    return {"count": value} if isinstance(value, str) else value


History = dict[str, Annotated[HistoryFeature, BeforeValidator(_in_short)]]
"""By the name of the customers' feature; a text is what is counted, of all offers."""


def history_features(
    frame: pd.DataFrame, menu: Menu, wanted: Mapping[str, HistoryFeature], window_days: float
) -> dict[str, Floats]:
    """(n,) of each feature, as of each decision.

    Args:
        frame: customer_id, decided_at, arm and accepted of n decisions, in the order of time.
        menu: Their arms.
        wanted: The features, by name.
        window_days: After which an answer is known, where a feature does not say.

    Raises:
        ValueError: One is of an arm or family that is not on the menu.

    >>> from churn_assets.arms import Catalogue
    >>> log = pd.DataFrame({"customer_id": ["a", "a"], "arm": ["percent_10", "no_contact"], "accepted": [1, 0]})
    >>> log["decided_at"] = pd.to_datetime(["2026-01-01", "2026-01-31"], utc=True)
    >>> {name: each.tolist() for name, each in history_features(
    ...     log, Catalogue().menu(["no_contact", "percent_10"]), {"gap": HistoryFeature(count="days_since_offer")}, 30
    ... ).items()}
    {'gap': [nan, 30.0]}
    """
    customer = pd.factorize(frame["customer_id"])[0].astype(np.float64)
    seconds = (frame["decided_at"] - frame["decided_at"].min()).dt.total_seconds().to_numpy()
    return {
        name: _counted(frame, customer, seconds, menu, each, window_days) for name, each in wanted.items()
    }


def _counted(
    frame: pd.DataFrame, customer: Floats, seconds: Floats, menu: Menu, wanted: HistoryFeature, window: float
) -> Floats:
    meant = {arm.id for arm in menu if arm.contacts and wanted.of in (None, arm.id, arm.family)}
    if not meant:
        known = dict.fromkeys(name for arm in menu if arm.contacts for name in (arm.id, arm.family))
        raise ValueError(f"found of: {wanted.of!r}, expected an arm or family of the log: {', '.join(known)}")
    counts = frame["arm"].isin(meant).to_numpy()
    lag = 0.0
    if wanted.count == "accepted":
        counts = counts & (frame["accepted"].to_numpy() == 1)
        lag = (window if wanted.after_days is None else wanted.after_days) * _DAY
    # Every customer's decisions stand apart from the next one's on one axis, further than any lag reaches.
    apart = customer * (float(seconds.max(initial=0.0)) + lag + _DAY)
    events = np.sort((apart + seconds)[counts])
    first = np.searchsorted(events, apart, side="left")
    # Strictly earlier: of the very moment is not before it.
    before = np.searchsorted(events, apart + seconds - lag, side="left" if lag == 0 else "right")
    before = np.maximum(before, first)
    if wanted.count != "days_since_offer":
        return (before - first).astype(np.float64)
    there = before > first
    last = events[np.maximum(before - 1, 0)] if len(events) else np.zeros(len(frame))
    return np.where(there, (apart + seconds - last) / _DAY, np.nan)

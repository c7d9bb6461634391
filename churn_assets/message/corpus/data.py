"""The tables `messages` and `preferences` as values. They are written by corpus.py or read by read.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from churn_assets.customers.schema import FoldsSpec
from churn_assets.customers.table import CustomerTable
from churn_assets.message.text.profile import Offer, Profile

SPLITS = ("train", "validation", "test")
MESSAGE_COLUMNS = ("customer_id", "split", "prompt", "completion", "offer_pct", "offer_months", "tone")
PREFERENCE_COLUMNS = (
    "customer_id", "split", "prompt", "chosen", "rejected", "offer_pct", "offer_months", "kind", "rule",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Messages:
    """Messages to learn from.

    Attributes:
        frame: One row a message: customer_id (text, empty where unknown), split (train, validation or test),
            prompt, completion (starts with a space), offer_pct (share of the list price, NaN where unknown),
            offer_months (float, NaN where unknown), tone (text, empty where unknown).
        profiles: Profile of every customer in `frame`, by id.
        simulated: The embedded generator wrote them.
    """

    frame: pd.DataFrame
    profiles: Mapping[str, Profile]
    simulated: bool

    def __len__(self) -> int:
        return len(self.frame)

    def of(self, split: str) -> pd.DataFrame:
        """The rows of one side of the split."""
        return _of(self.frame, split)


@dataclass(frozen=True, eq=False)
class Preferences:
    """Pairs of texts for one prompt, one of which was preferred.

    Attributes:
        frame: One row a pair: customer_id, split, prompt, chosen, rejected (both start with a space),
            offer_pct, offer_months, as in `Messages`; kind (`pair`: two texts written apart, `edit`: a text and
            the same with one edit) and rule (what the edit breaks, else empty).
        profiles: Profile of every customer in `frame`, by id.
        simulated: The embedded generator wrote and labelled them.
    """

    frame: pd.DataFrame
    profiles: Mapping[str, Profile]
    simulated: bool

    def __len__(self) -> int:
        return len(self.frame)

    def of(self, split: str) -> pd.DataFrame:
        """The rows of one side of the split."""
        return _of(self.frame, split)


def _of(frame: pd.DataFrame, split: str) -> pd.DataFrame:
    if split not in SPLITS:
        raise ValueError(f"split {split!r}: expected one of {', '.join(SPLITS)}")
    return frame[frame["split"] == split].reset_index(drop=True)


def situations(frame: pd.DataFrame, profiles: Mapping[str, Profile]) -> list[tuple[Profile, Offer] | None]:
    """Customer and offer of each row; None where the row's source does not say them."""
    return [
        None
        if np.isnan(pct) or customer not in profiles
        else (profiles[customer], Offer(float(pct), int(months)))
        for customer, pct, months in zip(
            frame["customer_id"], frame["offer_pct"], frame["offer_months"], strict=True
        )
    ]


def split_of_fold(fold: int, folds: FoldsSpec) -> str:
    """The split of a fold: held out everywhere is `test`, the last fold to fit on is `validation`."""
    fitted = folds.count - folds.held_out
    return "train" if fold < fitted - 1 else "validation" if fold < fitted else "test"


def splits_of(table: CustomerTable) -> dict[str, str]:
    """The split of each customer, by id."""
    folds = table.schema.folds
    return {
        str(customer): split_of_fold(int(fold), folds)
        for customer, fold in zip(table.ids, table.fold, strict=True)
    }

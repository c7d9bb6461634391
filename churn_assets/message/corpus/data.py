"""The tables `messages` and `preferences` as values. They are written by sentences.py or read by read.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import pandas as pd

from churn_assets.arms import Arm, Menu
from churn_assets.customers.schema import FoldsSpec
from churn_assets.customers.table import CustomerTable
from churn_assets.message.config import OUTCOMES
from churn_assets.message.text.profile import Profile
from churn_assets.message.text.terms import lasting

SPLITS = ("train", "validation", "test")
MESSAGE_COLUMNS = ("customer_id", "split", "prompt", "completion", "arm", "months", "tone")
PREFERENCE_COLUMNS = (
    "customer_id", "split", "prompt", "chosen", "rejected", "arm", "months", "kind", "rule",
)  # fmt: skip
SEND_COLUMNS = (
    "customer_id", "split", "prompt", "text", "arm", "months", "variant", "propensity", *OUTCOMES,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Texts:
    """A table of texts about customers and arms.

    Attributes:
        frame: One row a message or pair.
        profiles: Profile of every customer in `frame`, by id.
        arms: Every arm that a row may name, by id.
        simulated: The embedded generator wrote (and labelled) them.
    """

    frame: pd.DataFrame
    profiles: Mapping[str, Profile]
    arms: Mapping[str, Arm]
    simulated: bool

    TEXTS: ClassVar[tuple[str, ...]]
    """Columns of texts, besides the prompt."""

    def __len__(self) -> int:
        return len(self.frame)

    def of(self, split: str) -> pd.DataFrame:
        """The rows of one side of the split."""
        if split not in SPLITS:
            raise ValueError(f"split {split!r}: expected one of {', '.join(SPLITS)}")
        return self.frame[self.frame["split"] == split].reset_index(drop=True)

    def situations(self, frame: pd.DataFrame | None = None) -> list[tuple[Profile, Arm] | None]:
        """Customer and arm of each row (of some of the rows); None where the row's source does not say them."""
        frame = self.frame if frame is None else frame
        known = {
            (arm, months): lasting(self.arms[arm], int(months))
            for arm, months in set(zip(frame["arm"], frame["months"], strict=True))
            if arm
        }
        return [
            (self.profiles[customer], known[arm, months]) if arm and customer in self.profiles else None
            for customer, arm, months in zip(frame["customer_id"], frame["arm"], frame["months"], strict=True)
        ]


class MessageCorpus(Texts):
    """Messages to learn from.

    A row has customer_id (text, empty where unknown), split (train, validation or test), prompt, completion (starts
    with a space), arm (id, empty where unknown), months that it runs (float, 0 for what does not run, NaN where
    unknown), tone (text, empty where unknown).
    """

    TEXTS = ("completion",)


@dataclass(frozen=True, eq=False)
class Preferences(Texts):
    """Pairs of texts for one prompt, one of which was preferred; beside them what was sent, and what came of it.

    A row has customer_id, split, prompt, chosen, rejected (both start with a space), arm and months as in
    `MessageCorpus`, kind (`pair`: two texts written apart, `edit`: a text and the same with one edit) and rule (what
    the edit breaks, else empty).

    Attributes:
        sends: A row a message that was sent: customer_id, split, prompt, text (starts with a space), arm, months,
        variant
            (its name), propensity (with which that variant was drawn), and 0 or 1 of accepted, stayed (in the label
            window) and complained. None: nothing is known of any.
    """

    TEXTS = ("chosen", "rejected")

    sends: pd.DataFrame | None = None

    def with_sends(self, sends: pd.DataFrame, profiles: Mapping[str, Profile]) -> Preferences:
        """The same with sends and the profiles of their customers."""
        return replace(self, sends=sends, profiles={**profiles, **self.profiles})


def arms_of(menu: Menu) -> dict[str, Arm]:
    """The arms of a menu that contact, by id."""
    return {arm.id: arm for arm in menu if arm.contacts}


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

"""Files of `messages` and `preferences`: their rows as Parquet, profiles, arms and provenance as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from pathlib import Path
from typing import ClassVar, TypeVar

import pandas as pd
from pydantic import BaseModel, ConfigDict, JsonValue

from churn_assets.arms import Arm
from churn_assets.message.corpus.data import (
    MESSAGE_COLUMNS,
    PREFERENCE_COLUMNS,
    SEND_COLUMNS,
    SPLITS,
    MessageCorpus,
    Preferences,
)
from churn_assets.message.text.profile import Profile
from churn_assets.store.errors import CorruptArtifact
from churn_assets.store.formats import ArtifactFormat, read_json, read_parquet, write_json, write_parquet

T = TypeVar("T", MessageCorpus, Preferences)

ROWS, SENDS, ABOUT = "rows.parquet", "sends.parquet", "about.json"


class _Profile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    service: str
    bill: float
    tenure_months: int | None
    contract: str | None
    currency: str


class _About(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    simulated: bool
    profiles: dict[str, _Profile]
    arms: dict[str, Arm]


class _TableFormat(ArtifactFormat[T]):
    """`rows.parquet` and `about.json` (simulated, profiles of the customers in the rows, arms)."""

    packages: ClassVar[tuple[str, ...]] = ("pandas", "pyarrow")
    kind: type[T]
    columns: ClassVar[tuple[str, ...]]

    def save(self, value: T, folder: Path) -> None:
        """Writes the two files."""
        profiles = {customer: dataclasses.asdict(profile) for customer, profile in value.profiles.items()}
        arms = {arm_id: arm.model_dump(mode="json") for arm_id, arm in value.arms.items()}
        write_json({"simulated": value.simulated, "profiles": profiles, "arms": arms}, folder / ABOUT)
        write_parquet(value.frame, folder / ROWS)

    def load(self, folder: Path) -> T:
        """Reads the two files; CorruptArtifact where rows and profiles do not fit together."""
        return self.kind(*self._read(folder))

    def _read(self, folder: Path) -> tuple[pd.DataFrame, dict[str, Profile], dict[str, Arm], bool]:
        try:
            about = _About.model_validate(read_json(folder / ABOUT))
        except ValueError as error:
            raise CorruptArtifact(ABOUT, str(error), "profiles and provenance of a table of texts") from error
        frame = read_parquet(folder / ROWS)
        profiles = {customer: Profile(**profile.model_dump()) for customer, profile in about.profiles.items()}
        _check(frame, ROWS, self.columns, profiles, about.arms)
        return frame, profiles, about.arms, about.simulated

    def signature(self, value: T) -> dict[str, JsonValue]:
        """Columns with their types, and whether the embedded generator wrote the rows."""
        return {
            "columns": {str(name): str(dtype) for name, dtype in value.frame.dtypes.items()},
            "simulated": value.simulated,
        }


def _check(
    frame: pd.DataFrame, file: str, columns: tuple[str, ...], profiles: Collection[str], arms: Collection[str]
) -> None:
    if tuple(frame.columns) != columns:
        raise CorruptArtifact(file, f"columns {list(frame.columns)}", f"columns {list(columns)}")
    for name, known, found, expected in (
        ("split", SPLITS, "split {!r}", f"one of {', '.join(SPLITS)}"),
        ("customer_id", profiles, "a customer without a profile", "a profile of each customer"),
        ("arm", arms, "arm {!r}", f"one of {', '.join(arms)}"),
    ):
        if unknown := sorted(set(frame[name]) - set(known) - {""}):
            raise CorruptArtifact(file, found.format(unknown[0]), expected)


class MessagesFormat(_TableFormat[MessageCorpus]):
    """How `messages` are stored."""

    loader: ClassVar[str] = "messages/2"
    kind = MessageCorpus
    columns = MESSAGE_COLUMNS


class PreferencesFormat(_TableFormat[Preferences]):
    """How `preferences` are stored: with `sends.parquet` where sends are known."""

    loader: ClassVar[str] = "preferences/3"
    reads: ClassVar[tuple[str, ...]] = ("preferences/2",)
    kind = Preferences
    columns = PREFERENCE_COLUMNS

    def save(self, value: Preferences, folder: Path) -> None:
        """Writes the files."""
        super().save(value, folder)
        if value.sends is not None:
            write_parquet(value.sends, folder / SENDS)

    def load(self, folder: Path) -> Preferences:
        """Reads the files; CorruptArtifact where rows, sends and profiles do not fit together."""
        frame, profiles, arms, simulated = self._read(folder)
        sends = read_parquet(folder / SENDS) if (folder / SENDS).is_file() else None
        if sends is not None:
            _check(sends, SENDS, SEND_COLUMNS, profiles, arms)
        return Preferences(frame, profiles, arms, simulated, sends)


MESSAGES = MessagesFormat()
PREFERENCES = PreferencesFormat()

"""The `offer_log:` section of an experiment. Settings only: log.py reads and world.py draws."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

DEMO_WORLD = "demo_world"
DEMO_START = date(2026, 1, 5)
COLUMNS = (
    "customer_id", "decided_at", "wave", "offer_pct", "propensity", "policy_version", "prior_offers",
    "accepted", "churned", "margin",
)  # fmt: skip
"""The log's columns; beside them stands one `propensity_<percent>` per arm."""

Drift = Literal["none", "acceptance_shift", "competitor_shock"]


class OfferLogGates(BaseModel):
    """Thresholds that a log must meet before a model may learn from it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_rows: int = Field(default=20_000, ge=1, description="Decisions; fewer cannot rank policies.")
    min_propensity: float = Field(default=0.01, gt=0, lt=1, description="Smallest propensity of any arm.")
    min_effective_share: float = Field(
        default=0.25,
        gt=0,
        le=1,
        description="Smallest effective sample size of an arm, as a share of its rows.",
    )
    min_no_contact_share: float = Field(
        default=0.05, ge=0, le=1, description="Share of decisions without contact."
    )
    max_propensity_z: float = Field(
        default=4.0,
        gt=0,
        description="Largest |z| between an arm's realised share and its logged propensities.",
    )


class ServedDecisions(BaseModel):
    """Decisions that were served, as they are learned from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    window_days: float = Field(
        ge=0,
        description="Days after a decision until it is known of everybody whether they left; 0 only where a world "
        "answers at once.",
    )
    outcomes: str | None = Field(
        default=None,
        min_length=1,
        description="CSV or Parquet (a path or gs://bucket/name) of outcomes that were not posted to the server: "
        "decision_id, accepted, churned, margin; blank where not known.",
    )


class OfferLogConfig(BaseModel):
    """Where the offer log comes from.

    `source` is `demo_world` (simulated offers on the real customers) or a CSV or Parquet file: its path, relative to
    the project, or `gs://bucket/name`. `columns` maps the log's column names, `propensity_<percent>` included, to the
    names in that file. With `decisions`, what the experiment's own server decided is appended once its outcome is
    known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str = Field(default=DEMO_WORLD, min_length=1)
    rows: int = Field(default=50_000, ge=1, description="Rows that the demo world writes.")
    drift: Drift = Field(default="none", description="What changes in the demo world after week 20.")
    effects: bool = Field(
        default=True, description="False: offers are accepted as usual and change no churn."
    )
    seed_offset: int = Field(
        default=0, ge=0, description="Added to the experiment's seed: another log, same folds."
    )
    start: date = Field(default=DEMO_START, description="Day of the demo world's first weekly wave.")
    columns: dict[str, str] = Field(default_factory=dict)
    decisions: ServedDecisions | None = Field(
        default=None, description="Learn from served decisions too; left out: from the source alone."
    )
    newest: int | None = Field(
        default=None, ge=1, description="Learn from the newest decisions only, this many; null: from all."
    )
    gates: OfferLogGates = OfferLogGates()

    @field_validator("columns")
    @classmethod
    def _known_columns(cls, columns: dict[str, str]) -> dict[str, str]:
        unknown = [name for name in columns if name not in COLUMNS and not name.startswith("propensity_")]
        if unknown:
            expected = ", ".join((*COLUMNS, "propensity_<percent>"))
            raise ValueError(f"maps {unknown}, which the offer log does not have; expected names: {expected}")
        return columns

    @model_validator(mode="after")
    def _nothing_ignored(self) -> OfferLogConfig:
        idle = {"columns"} if self.simulated else {"rows", "drift", "effects", "seed_offset", "start"}
        ignored = sorted(idle & self.model_fields_set)
        if ignored:
            raise ValueError(f"{', '.join(ignored)} has no meaning with source: {self.source}; leave it out")
        return self

    @property
    def simulated(self) -> bool:
        """Whether the demo world writes this log."""
        return self.source == DEMO_WORLD

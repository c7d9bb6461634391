"""The `offer_log:` section of an experiment. Settings only: log.py reads and world.py draws."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field, field_validator, model_validator

from churn_assets.arms import NO_CONTACT_ID, Catalogue, Menu
from churn_assets.offers.history import History
from churn_assets.tables.config import FileReading, TablePlace

DEMO_WORLD = "demo_world"
DEMO_OFFERS = (0.0, 0.05, 0.10, 0.15, 0.20, 0.25, 0.30)
"""What the demo world's past policy offered where an experiment names no arms: shares off the list price."""
DEMO_START = date(2026, 1, 5)
ARM, SHORTHAND = "arm", "offer_pct"
"""The column that holds the arm's id, and the one that a log of percents off may have in its place."""
COLUMNS = (
    "customer_id", "decided_at", "wave", ARM, "propensity", "policy_version", "prior_offers",
    "accepted", "churned", "margin",
)  # fmt: skip
"""The log's columns; beside them stands one `propensity_<arm id>` per arm."""
LOG_COLUMNS = (*COLUMNS[1:], SHORTHAND, "propensity_*")
"""What the log reads of a decision: where it stands in the customers' own file, none of it is a feature of theirs."""

EVERYBODY = "everybody"
"""The stratum of a log that has none."""

Drift = Literal["none", "acceptance_shift", "competitor_shock"]
KnownBy = Literal["logged", "logged_chosen", "randomised", "estimated", "contacted_only"]
"""How propensities are known: the log has all, or the chosen arm's; they were set beforehand; nobody wrote them
down; or everybody was contacted, so that there is nothing to know."""


def _fraction(value: object) -> object:
    """A third is no decimal: `1/3` is what was set."""
    found = re.fullmatch(r"(\d{1,6}) */ *([1-9]\d{0,5})", value) if isinstance(value, str) else None
    return int(found[1]) / int(found[2]) if found else value


ArmShares = dict[str, Annotated[float, BeforeValidator(_fraction), Field(ge=0, le=1)]]
ROUNDED_SHARES = 0.01
"""By how much shares may miss 1: thirds are written as .33."""


class OfferLogGates(BaseModel, frozen=True, extra="forbid"):
    """Thresholds that a log must meet before a model may learn from it."""

    min_rows: int = Field(
        default=500, ge=1, description="Decisions; of fewer, no gate on held-out customers says anything."
    )
    max_detectable_effect: float = Field(
        default=0.05,
        gt=0,
        le=1,
        description="Largest change of churn by contact that the log may fail to show (power .8): how precise it is.",
    )
    max_detectable_share: float = Field(
        default=0.5,
        gt=0,
        description="The same of another outcome than leaving, as a share of its mean without contact.",
    )
    min_propensity: float = Field(
        default=0.0001,
        gt=0,
        lt=1,
        description="Smallest propensity of any arm where it was possible: one decision stands for 1 / propensity.",
    )
    min_arm_decisions: float = Field(
        default=50.0,
        ge=0,
        description="Decisions about an arm that chance decided, of the arm with the fewest: the sum of p (1 - p).",
    )
    min_no_contact_share: float = Field(
        default=0.05, ge=0, le=1, description="Share of decisions without contact."
    )
    max_propensity_z: float = Field(
        default=4.0,
        gt=0,
        description="Largest |z| between an arm's realised share and its logged propensities.",
    )
    least_p_value: float = Field(
        default=0.001,
        ge=0,
        lt=1,
        description="Least p-value of choices that go with a feature, or the time, beyond what the propensities say.",
    )


class ServedDecisions(BaseModel, frozen=True, extra="forbid"):
    """Decisions that were served, as they are learned from."""

    window_days: float = Field(
        ge=0,
        description="Days after a decision until it is known of everybody whether they left; 0 only where a world "
        "answers at once.",
    )
    outcomes: TablePlace | None = Field(
        default=None,
        description="CSV or Parquet (a path or gs://bucket/name), or a table of a database, of outcomes that were not "
        "posted to the server: "
        "decision_id, accepted, churned, complained, opted_out, margin; blank where not known.",
    )
    reading: FileReading = Field(
        default=FileReading(), description="How that file is to be read, where that should not be detected."
    )

    @model_validator(mode="after")
    def _read_as_what_it_is(self) -> ServedDecisions:
        self.reading.fits(self.outcomes)
        return self


class OfferLogConfig(BaseModel, frozen=True, extra="forbid"):
    """Where the offer log comes from.

    `source` is `demo_world` (simulated offers on the real customers), a CSV or Parquet file (its path, relative to the
    project, or `gs://bucket/name`) or a table of a database. `menu` is what the demo world's past policy offered:
    shares off the price or arm ids, `no_contact` or 0 first; left out, the arms of `arms:`, or else 5 to 30 % off.
    `columns` maps the log's column names to those of the source: `arm` and `propensity_<arm id>`, or where all arms are
    percents off `offer_pct` and `propensity_<percent>`. `propensities` says how propensities are known. With
    `decisions`, what the experiment's own server decided is appended once its outcome is known.
    """

    source: TablePlace = DEMO_WORLD
    rows: int = Field(default=50_000, ge=1, description="Rows that the demo world writes.")
    menu: tuple[float | str, ...] | None = Field(
        default=None, min_length=2, description="Arms of the demo world's past policy, no contact first."
    )
    drift: Drift = Field(default="none", description="What changes in the demo world after week 20.")
    effects: bool = Field(
        default=True, description="False: offers are accepted as usual and change no churn."
    )
    seed_offset: int = Field(
        default=0, ge=0, description="Added to the experiment's seed: another log, same folds."
    )
    start: date = Field(
        default=DEMO_START,
        description="Day of the demo world's first weekly wave, or of all decisions of a file without decided_at.",
    )
    columns: dict[str, str] = Field(default_factory=dict)
    propensities: KnownBy = Field(
        default="logged", description="How it is known how probable each arm was; see docs/offer-logs.md."
    )
    shares: ArmShares | dict[str, ArmShares] | None = Field(
        default=None,
        description="Of a randomised log: share of each arm (0.25, or 1/3), or of each arm by stratum; 0 or none: not "
        "possible there.",
    )
    stratum: str | None = Field(
        default=None,
        min_length=1,
        description="What shares are by: wave, a column of the log's file or a feature of the customer table.",
    )
    arm_names: dict[str, str] = Field(
        default_factory=dict, description="Id of the arm by what the file calls it, where that is not its id."
    )
    negative_controls: tuple[str, ...] = Field(
        default=(),
        description="Columns of numbers in the file that no offer can have changed, as last year's calls: choices that "
        "go with them beyond the propensities knew more than is logged.",
    )
    features: tuple[str, ...] | dict[str, str] = Field(
        default=(),
        description="Features of the customers that the file has as they were at the decision, in columns of their "
        "names, or `feature: column`: they go before the customer table's.",
    )
    history: History = Field(
        default_factory=dict,
        description="Features of the customers that tell of their earlier offers, as of each decision: by the name of "
        "the feature, what is counted in the log: offers, accepted or days_since_offer.",
    )
    drawn_together: str | None = Field(
        default=None,
        min_length=1,
        description="Column that names those who got the same by one draw: a household, a shop. They are one "
        "proof, in every test and interval; left out: each customer's are.",
    )
    reading: FileReading = Field(
        default=FileReading(), description="How the file is to be read, where that should not be detected."
    )
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
        known = (*COLUMNS, SHORTHAND)
        unknown = [name for name in columns if name not in known and not name.startswith("propensity_")]
        if unknown:
            expected = ", ".join((*known, "propensity_<arm id>", "propensity_<percent>"))
            raise ValueError(f"maps {unknown}, which the offer log does not have; expected names: {expected}")
        if ARM in columns and SHORTHAND in columns:
            raise ValueError(f"maps both {ARM} and {SHORTHAND}; a log says what was offered in one of them")
        return columns

    @model_validator(mode="after")
    def _nothing_ignored(self) -> OfferLogConfig:
        self.reading.fits(self.source)
        own = {
            "columns",
            "reading",
            "propensities",
            "shares",
            "stratum",
            "arm_names",
            "negative_controls",
            "features",
            "history",
            "drawn_together",
        }
        idle = own if self.simulated else {"rows", "menu", "drift", "effects", "seed_offset"}
        ignored = sorted(idle & self.model_fields_set)
        if ignored:
            raise ValueError(f"{', '.join(ignored)} has no meaning with source: {self.source}; leave it out")
        return self

    @model_validator(mode="after")
    def _features_are_told_once(self) -> OfferLogConfig:
        if twice := sorted(set(self.history) & set(self.feature_columns)):
            raise ValueError(
                f"found {', '.join(twice)} under features and history, expected each in one of them"
            )
        return self

    @model_validator(mode="after")
    def _shares_are_whole(self) -> OfferLogConfig:
        if (self.shares is None) == (self.propensities == "randomised"):
            found = "no shares" if self.shares is None else f"shares and propensities: {self.propensities}"
            raise ValueError(
                f"found {found}, expected `shares: {{no_contact: 0.5, ...}}` with propensities: randomised, and there "
                "only"
            )
        strata = self.shares_by_stratum
        if (self.stratum is not None) != (bool(strata) and list(strata) != [EVERYBODY]):
            raise ValueError(
                f"found stratum: {self.stratum} and shares of {', '.join(strata) or 'nobody'}; expected shares by "
                "stratum, `shares: {a: {no_contact: 0.5, ...}}`, with the column that says which, and only there"
            )
        for name, shares in strata.items():
            total = sum(shares.values())
            if abs(total - 1) > ROUNDED_SHARES or not shares.get(NO_CONTACT_ID):
                raise ValueError(
                    f"shares of {name}: found {shares}, a sum of {total:g}; expected a sum of 1, with some "
                    f"{NO_CONTACT_ID} in it"
                )
        return self

    @property
    def shares_by_stratum(self) -> dict[str, ArmShares]:
        """Share of each arm by stratum, of `EVERYBODY` where there are none; empty where nothing was randomised."""
        found: dict[str, ArmShares] = {}
        for name, each in (self.shares or {}).items():
            if isinstance(each, dict):
                found[name] = each
            else:
                found.setdefault(EVERYBODY, {})[name] = each
        return found

    @property
    def feature_columns(self) -> dict[str, str]:
        """Column of the file by feature of the customers."""
        own = self.features
        return dict(own) if isinstance(own, dict) else dict(zip(own, own, strict=True))

    @property
    def simulated(self) -> bool:
        """Whether the demo world writes this log."""
        return self.source == DEMO_WORLD

    def demo_menu(self, arms: Catalogue) -> Menu:
        """What the demo world's past policy offered: `menu`; without one the declared arms, or else percents off.

        Raises:
            ArmError: An arm is unknown, or they make no menu.
        """
        declared = (NO_CONTACT_ID, *(config.id for config in arms.declared))
        return arms.menu(self.menu or (declared if len(declared) > 1 else DEMO_OFFERS))

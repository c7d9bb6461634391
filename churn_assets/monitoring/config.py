"""The `automation:` section of an experiment: what may start by itself, how often, and who is told. Off by default."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticKnownError

from churn_assets.flow.registry import registry
from churn_assets.release.config import PromotionPolicy

WINDOWS = 52
"""Windows in a row that share `false_alarms`: a year of weeks. A change may come at any time, so each has the same
level; false alarms are then at least that many windows over the error apart on average, which is what e-detectors
promise too (Shin, Ramdas & Rinaldo 2024)."""
Count = Annotated[int, Field(ge=1)]
Probability = Annotated[float, Field(gt=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Hours = Annotated[float, Field(ge=0, le=24 * 365)]
Days = Annotated[float, Field(gt=0, le=3650)]


def _known(name: str) -> str:
    names = registry().names
    if name not in names:
        expected = f"{', '.join(map(repr, names[:-1]))} or {names[-1]!r}"
        raise PydanticKnownError("literal_error", {"expected": expected})
    return name


Asset = Annotated[str, AfterValidator(_known)]
"""The name of an asset."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DriftConfig(_Section):
    """When the customers who are decided for are no longer those that the models learned from.

    Attributes:
        window_decisions: Decisions that are compared at a time; each window is tested once.
        false_alarms: Probability that of 52 windows in a row without any drift one is called drifted, over all columns
            together.
        min_psi: A population stability index below this is of no consequence, however certain it is. 0.1 is where
            credit scoring begins to speak of a shift.
    """

    window_decisions: Annotated[int, Field(ge=200)] = 5_000
    false_alarms: Probability = 0.05
    min_psi: Annotated[float, Field(ge=0)] = 0.1


class LiveConfig(_Section):
    """What decisions must earn, and how true forecasts must be.

    Attributes:
        window_outcomes: Decisions with a whole outcome that are judged at a time; each window is judged once.
        false_alarms: Probability that of 52 windows in a row in which nothing is wrong one calls for a retraining; and
            that a harmless release is ever rolled back, by whichever guardrail and however often it is looked at.
        max_calibration_error: Forecast less observed share (of churners, of acceptances) that is of no consequence.
        min_outcomes: Outcomes of a release before it may be rolled back.
        max_churn_increase: A release under which certainly more customers leave than without any contact, by
            more than this share, is rolled back.
        max_loss: A release that certainly earns less than no contact, by more than this share of what no contact
            earns, is rolled back.
        max_contact_rate: A release whose policy certainly contacts a larger share of its customers is rolled back.
        max_complaint_rate: The same if a larger share of those whom it contacted complained.
        max_opt_out_rate: The same if a larger share of them asked not to be contacted again.
        slices: Categorical features; a release that certainly does harm to the customers of one level of one of them,
            by `max_churn_increase` or `max_loss`, is rolled back too.
    """

    window_outcomes: Annotated[int, Field(ge=200)] = 2_000
    false_alarms: Probability = 0.05
    max_calibration_error: Share = 0.03
    min_outcomes: Annotated[int, Field(ge=200)] = 2_000
    max_churn_increase: Share = 0.0
    max_loss: Share = 0.0
    max_contact_rate: Probability | None = None
    max_complaint_rate: Probability | None = None
    max_opt_out_rate: Probability | None = None
    slices: Annotated[tuple[str, ...], Field(max_length=8)] = ()

    @property
    def limits(self) -> dict[str, float]:
        """Those that are set: `contact`, `complaint` or `opt_out` to the largest share."""
        named = {
            "contact": self.max_contact_rate,
            "complaint": self.max_complaint_rate,
            "opt_out": self.max_opt_out_rate,
        }
        return {name: limit for name, limit in named.items() if limit is not None}


class AlertsConfig(_Section):
    """Who is told.

    Attributes:
        webhook_variable: Name of the environment variable that holds the webhook's URL, which is a secret; None: the
            log alone.
        page: Where Dagster's UI is, for links.
    """

    webhook_variable: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")] | None = None
    page: Annotated[str, Field(pattern=r"^https?://\S+$")] = "http://127.0.0.1:3000"


class AutomationConfig(_Section):
    """What happens by itself.

    Attributes:
        enabled: The kill switch: while it is off, no sensor looks at the experiment but the one that tells of failures.
        cooldown_hours: Between the end of an automatic training and the start of the next, and before a failed one
            is tried again.
        daily_cap: Automatic trainings that may start within 24 hours.
        attempts: How often the same evidence is answered before a person is needed.
        settle_seconds: A local file that changed more recently may still be being written, and waits.
        new_decisions: Served decisions that became learnable (`offer_log.decisions`) for which a training is asked.
        max_age_days: Age of an asset's newest version from which it is made again, by asset.
        drift: When customers have changed.
        live: What decisions must earn.
        promotion: Who lets a release lead.
        alerts: Who is told.
    """

    enabled: bool = False
    cooldown_hours: Hours = 6.0
    daily_cap: Count = 4
    attempts: Count = 3
    settle_seconds: Annotated[float, Field(ge=0, le=3600)] = 5.0
    new_decisions: Count = 10_000
    max_age_days: dict[Asset, Days] = Field(default_factory=dict)
    drift: DriftConfig = DriftConfig()
    live: LiveConfig = LiveConfig()
    promotion: PromotionPolicy = PromotionPolicy()
    alerts: AlertsConfig = AlertsConfig()

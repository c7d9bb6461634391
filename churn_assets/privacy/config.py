"""The `privacy:` section of an experiment: how customers are named, and how long decisions stay. No secret is here."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class PrivacyConfig(BaseModel):
    """What is kept of persons, and for how long.

    Attributes:
        pseudonyms: Decision log and store name customers by a keyed hash of their id, by the secret in
            CHURN_PRIVACY_KEY; your own files, and callers, have real ids all the same.
        keep_decisions_days: Segments of the decision log whose day is further back are deleted by the job
            `decision_retention`; counts by day, release and arm stay. Left out: they stay.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    pseudonyms: bool = False
    keep_decisions_days: Annotated[int, Field(ge=31, le=36_500)] | None = None

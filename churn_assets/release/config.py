"""The `release:` section of an experiment, and the policy by which releases are promoted."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from churn_assets.flow.asset import Branch


class ReleaseConfig(BaseModel):
    """What a release is made of.

    Attributes:
        branches: What it can do: decide, and write messages; without a message branch the template stands in for them.
        golden_customers: Held-out customers for whom a loaded release must decide, and write, as it did when it was
            built.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    branches: Annotated[tuple[Branch, ...], Field(min_length=1)] = ("decision",)
    golden_customers: Annotated[int, Field(ge=1, le=1000)] = 24

    @field_validator("branches")
    @classmethod
    def _decision_first(cls, branches: tuple[Branch, ...]) -> tuple[Branch, ...]:
        if branches not in (("decision",), ("decision", "message")):
            raise ValueError(f"found {list(branches)}, expected [decision] or [decision, message]")
        return branches


class PromotionPolicy(BaseModel):
    """Who lets a release lead: `automation.promotion` of an experiment.

    Attributes:
        mode: `manual` waits for a person and says what it would do; `auto` promotes when every rule holds.
        min_decisions: Live decisions with a whole outcome that a shadow comparison needs.
        min_exploration: Least share of them that were drawn at random, for the comparison to be fair.
        min_gap_hours: Since the channel last moved.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["manual", "auto"] = "manual"
    min_decisions: Annotated[int, Field(ge=1)] = 50_000
    min_exploration: Annotated[float, Field(ge=0, le=1)] = 0.10
    min_gap_hours: Annotated[float, Field(ge=0)] = 24.0

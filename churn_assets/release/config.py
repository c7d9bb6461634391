"""The `release:` section of an experiment."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

Branch = Literal["decision", "message"]


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

"""The `release:` section of an experiment."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Branch = Literal["decision"]


class ReleaseConfig(BaseModel):
    """What a release is made of.

    Attributes:
        branches: What it can do: decide. Nothing it makes contains a message.
        golden_customers: Held-out customers for whom a loaded release must decide as it did when it was built.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    branches: Annotated[tuple[Branch, ...], Field(min_length=1)] = ("decision",)
    golden_customers: Annotated[int, Field(ge=1, le=1000)] = 24

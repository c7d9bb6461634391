"""The `release:` section of an experiment, and the policy by which releases are promoted."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from churn_assets.flow.asset import Branch

STAGES: tuple[tuple[Branch, ...], ...] = (
    ("risk",),
    ("risk", "accept"),
    ("decision",),
    ("decision", "message"),
)
"""The sets of branches that a release may have, the least first."""

_ANSWERS = "who takes an offer: that needs a log of offers with their answers (offer_log, accept_model)"
_CHANCE = (
    "which offer pays: that needs a log in which chance left some customers alone, as `churn design` plans one "
    "(offer_log, effect_model, ppo_decision)"
)


def missing_for_more(branches: Sequence[str]) -> list[str]:
    """What a release cannot tell, and what that would need; empty for one that decides."""
    if "decision" in branches:
        return []
    return [_CHANCE] if "accept" in branches else [_ANSWERS, _CHANCE]


class ReleaseConfig(BaseModel):
    """What a release is made of.

    Attributes:
        branches: What it can do: tell who is likely to leave (`risk`), tell who takes an offer (`accept`), decide
            (`decision`, which the two lie within), write messages; without a message branch the template stands in.
        golden_customers: Held-out customers for whom a loaded release must decide, and write, as it did when it was
            built.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    branches: Annotated[tuple[Branch, ...], Field(min_length=1)] = ("decision",)
    golden_customers: Annotated[int, Field(ge=1, le=1000)] = 24

    @field_validator("branches")
    @classmethod
    def _one_of_the_stages(cls, branches: tuple[Branch, ...]) -> tuple[Branch, ...]:
        if branches not in STAGES:
            told = ", ".join(f"[{', '.join(each)}]" for each in STAGES[:-1])
            last = ", ".join(STAGES[-1])
            raise ValueError(f"found {list(branches)}, expected {told} or [{last}]")
        return branches


class TrialPolicy(BaseModel):
    """How a candidate is tried beside the release that leads: `automation.promotion.trial`.

    Attributes:
        automatic: With `mode: auto`, a candidate that may lead is tried first; what the trial shows promotes it or not.
        shares: Of the customers left to the policy, that go by the candidate: one step after the other.
        step_hours: From one share to the next.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    automatic: bool = False
    shares: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.05, 0.2, 0.5)
    step_hours: Annotated[int, Field(ge=1, le=24 * 365)] = 168

    @field_validator("shares")
    @classmethod
    def _grow(cls, shares: tuple[float, ...]) -> tuple[float, ...]:
        refuse_shares(shares)
        return shares


def refuse_shares(shares: Sequence[float]) -> None:
    """Refuse steps of a candidate's share unless they are above 0, below 1, and grow.

    Raises:
        ValueError: They do not.
    """
    if not shares or any(before >= after for before, after in pairwise([0.0, *shares, 1.0])):
        found = ", ".join(f"{share:g}" for share in shares) or "none"
        raise ValueError(f"shares: found {found}, expected steps above 0 and below 1, each above the last")


class PromotionPolicy(BaseModel):
    """Who lets a release lead: `automation.promotion` of an experiment.

    Attributes:
        mode: `manual` waits for a person and says what it would do; `auto` promotes when every rule holds.
        min_decisions: Live decisions with a whole outcome that a shadow comparison needs.
        min_exploration: Least share of them that were drawn at random, for the comparison to be fair.
        min_gap_hours: Since the channel last moved.
        rule: `better` asks a candidate to earn certainly more than the champion; `not_worse` to lose certainly no more
            than `may_lose` of its lift.
        may_lose: Share of what a leader's offers add that a later one may lose against it, however many promotions
            lie between: every leader so far is held against.
        error: Probability that of all candidates that are held against one champion, at all looks, any is promoted
            that should not be.
        trial: How a candidate is tried first.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["manual", "auto"] = "manual"
    min_decisions: Annotated[int, Field(ge=1)] = 50_000
    min_exploration: Annotated[float, Field(ge=0, le=1)] = 0.10
    min_gap_hours: Annotated[float, Field(ge=0)] = 24.0
    rule: Literal["better", "not_worse"] = "better"
    may_lose: Annotated[float, Field(gt=0, lt=1)] = 0.10
    error: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    trial: TrialPolicy = TrialPolicy()

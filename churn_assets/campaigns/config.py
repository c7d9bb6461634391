"""The `campaign:` section of an experiment: what the first campaign tries, and on how many. Settings only."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, Field, model_validator

from churn_assets.arms import ArmError, Catalogue, Menu, did_you_mean

ArmWeights = Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)]


class CampaignConfig(BaseModel, frozen=True, extra="forbid"):
    """A campaign in which chance decides who gets what, so that a log of it says what each arm does.

    Every customer who may be contacted falls into a stratum of risk; within it the holdout gets no contact, and the
    others one of the arms that they may get, by shares that are known exactly.
    """

    name: str = Field(
        default="first", pattern=r"^[a-z0-9][a-z0-9_-]*$", description="Another name draws everybody anew."
    )
    menu: Annotated[tuple[float | str, ...], Field(min_length=2)] = Field(
        description="Shares off the price or arm ids, no contact first."
    )
    holdout_share: float = Field(
        default=0.25,
        gt=0,
        lt=1,
        description="Share that gets no contact: what contact does is told against it.",
    )
    strata: int = Field(default=3, ge=1, le=10, description="Groups of equal size by risk, the lowest first.")
    weights: dict[str, ArmWeights] = Field(
        default={},
        description="How often an arm is tried beside the others, which have 1: one number, or one a stratum.",
    )
    floor: float = Field(
        default=0.05,
        gt=0,
        le=1,
        description="Least share of each arm among those contacted, where an earlier log says what is tried.",
    )
    decisions: int | None = Field(
        default=None,
        ge=1,
        description="Customers to decide for, drawn by chance; null: all who may be contacted.",
    )
    weekly: int | None = Field(default=None, ge=1, description="Decisions a week; null: all in one week.")
    contaminated: float = Field(
        default=0.0,
        ge=0,
        le=0.05,
        description="Share of the decisions that may have got what was not assigned; they count as assigned.",
    )
    served: bool = Field(
        default=False,
        description="Whether releases without a policy let chance decide by these shares, all who may be contacted; "
        "false: they make no offer.",
    )
    acceptance: float = Field(
        default=0.2, gt=0, le=1, description="Share expected to accept: what offers will cost is told by it."
    )
    significance: float = Field(
        default=0.05, gt=0, lt=1, description="Of the two-sided test that is planned for."
    )
    power: float = Field(
        default=0.8, gt=0, lt=1, description="Chance that the test finds an effect that pays."
    )

    @model_validator(mode="after")
    def _weights_fit(self) -> Self:
        for arm, weights in self.weights.items():
            if len(weights) not in (1, self.strata):
                raise ValueError(
                    f"weights.{arm}: found {len(weights)} numbers, expected 1, or {self.strata}: one a stratum"
                )
        return self

    def arms(self, catalogue: Catalogue) -> Menu:
        """What is tried.

        Raises:
            ArmError: An arm is unknown, they make no menu, or a weight is of an arm that is not on it.
        """
        menu = catalogue.menu(self.menu)
        for arm in self.weights:
            if arm not in menu.ids[1:]:
                near = did_you_mean(arm, menu.ids[1:])
                raise ArmError(
                    f"weights.{arm}: found no such arm, expected one of {', '.join(menu.ids[1:])}{near}"
                )
        return menu

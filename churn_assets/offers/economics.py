"""The `economics:` section: what a customer, a discount and a contact are worth, for every stage alike."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Economics(BaseModel):
    """Money rules of an offer decision, in the currency of the monthly list price.

    The value of a decision over one label window is
    ``(1 - churned) * margin * price * value_horizon_months
    - accepted * (1 - churned) * offer_pct * price * discount_months - contacted * contact_cost``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    margin: float = Field(
        default=0.50, gt=0, le=1, description="Contribution margin as a share of the list price."
    )
    contact_cost: float = Field(default=1.0, ge=0, description="Cost of one contact, whatever comes of it.")
    value_horizon_months: int = Field(
        default=12, ge=1, description="Months of margin that a retained customer is worth."
    )
    discount_months: int = Field(default=6, ge=0, description="Months that an accepted discount runs.")

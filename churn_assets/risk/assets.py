"""The asset `risk_model`: churn risk of every customer, fitted and cross-fitted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resources.stage import Made, Step, stage_asset

if TYPE_CHECKING:
    from churn_assets.customers.table import CustomerTable
    from churn_assets.risk.config import RiskModelConfig


@stage_asset(
    stage="risk",
    format="churn_assets.risk.format:RISK_MODEL",
    sections=("risk_model",),
    inputs=("customers",),
    kinds=("scikitlearn",),
    description="P(churn within the label window | customer), without contact, at the list price.",
)
def risk_model(step: Step, customers: CustomerTable) -> Made:
    from churn_assets.risk.model import RiskModel

    config: RiskModelConfig = step.section("risk_model")
    model = RiskModel.fit(customers, config)
    return Made(model, metrics={"kind": model.predictor.kind, **model.metrics})

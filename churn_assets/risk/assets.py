"""The asset `risk_model`: churn risk of every customer, fitted and cross-fitted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from churn_assets.flow.asset import Made, Step, asset
from churn_assets.risk.checks import RISK_MODEL
from churn_assets.risk.config import RiskModelConfig

if TYPE_CHECKING:
    from churn_assets.customers.table import CustomerTable


@asset(
    config=RiskModelConfig,
    format="churn_assets.risk.format:RISK_MODEL",
    checks=RISK_MODEL,
    branch="risk",
    kinds=("scikitlearn",),
    description="P(churn within the label window | customer), without contact, at the list price.",
)
def risk_model(step: Step[RiskModelConfig], customers: CustomerTable) -> Made:
    from churn_assets.risk.model import RiskModel

    model = RiskModel.fit(customers, step.config)
    return Made(model, metrics={"kind": model.predictor.kind, **model.metrics})

"""The assets `accept_model` and `effect_model`: who accepts an offer, and what contact does to churn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resources.stage import Made, Step, stage_asset

if TYPE_CHECKING:
    from churn_assets.customers.table import CustomerTable
    from churn_assets.offers.log import OfferLog
    from churn_assets.response.accept import AcceptModel
    from churn_assets.response.config import AcceptModelConfig, EffectModelConfig
    from churn_assets.risk.model import RiskModel


@stage_asset(
    stage="response",
    format="churn_assets.response.format:ACCEPT_MODEL",
    sections=("accept_model",),
    inputs=("customers", "offer_log"),
    kinds=("scikitlearn",),
    description="P(accept | customer, arm, recent offers): rises with the size of an arm, falls with recent offers.",
)
def accept_model(step: Step, customers: CustomerTable, offer_log: OfferLog) -> Made:
    from churn_assets.response.accept import AcceptModel

    config: AcceptModelConfig = step.section("accept_model")
    model = AcceptModel.fit(customers, offer_log, config)
    contacted = offer_log.arm > 0
    return Made(
        model,
        metrics={
            "simulated": offer_log.simulated,
            "contacted_rows": int(contacted.sum()),
            "acceptance": float(offer_log.accepted[contacted].mean()),
        },
    )


@stage_asset(
    stage="response",
    format="churn_assets.response.format:EFFECT_MODEL",
    sections=("effect_model",),
    inputs=("customers", "offer_log", "risk_model", "accept_model"),
    kinds=("numpy",),
    description="Churn without contact as the log has it, and how contacting with each arm changes it (intention to "
    "treat), shrunken to what the log supports. The split between accepting and refusing is an assumption.",
)
def effect_model(
    step: Step,
    customers: CustomerTable,
    offer_log: OfferLog,
    risk_model: RiskModel,
    accept_model: AcceptModel,
) -> Made:
    from churn_assets.response.effect import EffectModel

    config: EffectModelConfig = step.section("effect_model")
    model = EffectModel.fit(
        customers,
        offer_log,
        risk_model.risk_of(offer_log.customer_id),
        accept_model.out_of_fold,
        config,
    )
    return Made(
        model,
        metrics={
            "simulated": offer_log.simulated,
            "baseline_size": model.baseline.size,
            "overall_size": float(model.overall.value),
            "overall_size_standard_error": float(model.overall.standard_error),
            "segments": len(model.size),
        },
    )

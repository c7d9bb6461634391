"""The assets `accept_model` and `effect_model`: who accepts an offer, and what contact does to churn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from churn_assets.flow.asset import Made, Step, asset
from churn_assets.response.checks import ACCEPT_MODEL, EFFECT_MODEL
from churn_assets.response.config import AcceptModelConfig, EffectModelConfig

if TYPE_CHECKING:
    from churn_assets.customers.table import CustomerTable
    from churn_assets.offers.log import OfferLog
    from churn_assets.response.accept import AcceptModel
    from churn_assets.risk.model import RiskModel


@asset(
    config=AcceptModelConfig,
    format="churn_assets.response.format:ACCEPT_MODEL",
    checks=ACCEPT_MODEL,
    branch="accept",
    kinds=("scikitlearn",),
    description="P(accept | customer, arm, recent offers): rises with the size of an arm, falls with recent offers.",
)
def accept_model(step: Step[AcceptModelConfig], customers: CustomerTable, offer_log: OfferLog) -> Made:
    from churn_assets.response.accept import AcceptModel

    model = AcceptModel.fit(customers, offer_log, step.config)
    contacted = offer_log.arm > 0
    return Made(
        model,
        metrics={
            "simulated": offer_log.simulated,
            "propensities": offer_log.known_by,
            "contacted_rows": int(contacted.sum()),
            "acceptance": float(offer_log.accepted[contacted].mean()),
        },
    )


@asset(
    config=EffectModelConfig,
    format="churn_assets.response.format:EFFECT_MODEL",
    checks=EFFECT_MODEL,
    branch="decision",
    kinds=("numpy",),
    description="Churn without contact as the log has it, and how contacting with each arm changes it (intention to "
    "treat): forms stacked by what they explain. The split between accepting and refusing is an assumption.",
)
def effect_model(
    step: Step[EffectModelConfig],
    customers: CustomerTable,
    offer_log: OfferLog,
    risk_model: RiskModel,
    accept_model: AcceptModel,
) -> Made:
    from churn_assets.response.effect import EffectModel
    from churn_assets.response.persistence import risk_at_decisions

    model = EffectModel.fit(
        customers,
        offer_log,
        risk_at_decisions(customers, offer_log, risk_model),
        accept_model.out_of_fold,
        step.config,
    ).following(customers, offer_log, risk_model)
    followed = model.persistence
    return Made(
        model,
        metrics={
            **(
                {}
                if followed is None
                else {"frailty": followed.frailty.estimate, "effect_decay": followed.decay.estimate}
            ),
            "simulated": offer_log.simulated,
            "propensities": offer_log.known_by,
            "baseline_size": model.baseline.size,
            "overall_size": float(model.overall.value),
            "overall_size_standard_error": float(model.overall.standard_error),
            "size": model.size,
            "intervals_made_larger": model.uncertainty.larger,
            **{f"weight of {name}": weight for name, weight in model.weights.items()},
        },
    )

"""The asset `ppo_decision`: a policy trained on what risk, acceptance and effect say about real customers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from churn_assets.arms import ArmConfig
from churn_assets.decision.checks import PPO_DECISION
from churn_assets.decision.config import PpoDecisionConfig
from churn_assets.flow.asset import Made, Step, asset
from churn_assets.flow.setting import SEED, Setting
from churn_assets.gates.plots import Plot
from churn_assets.offers.economics import Economics

if TYPE_CHECKING:
    from churn_assets.customers.table import CustomerTable
    from churn_assets.decision.ppo import LearningCurvePoint
    from churn_assets.response.accept import AcceptModel
    from churn_assets.response.effect import EffectModel
    from churn_assets.risk.model import RiskModel


_ARMS = Setting("arms", tuple[ArmConfig, ...])
_ECONOMICS = Setting("economics", Economics)


@asset(
    config=PpoDecisionConfig,
    reads=(_ARMS, _ECONOMICS, SEED),
    format="churn_assets.decision.format:PPO_DECISION",
    checks=PPO_DECISION,
    branch="decision",
    kinds=("pytorch", "stablebaselines3"),
    description="Which offer, if any, each month: PPO on real customers whose risk, acceptance and response to contact "
    "are those of the upstream models.",
)
def ppo_decision(
    step: Step[PpoDecisionConfig],
    customers: CustomerTable,
    risk_model: RiskModel,
    accept_model: AcceptModel,
    effect_model: EffectModel,
) -> Made:
    from churn_assets.decision.caution import learners, planned_process
    from churn_assets.decision.ppo import train
    from churn_assets.decision.responses import ResponseModels
    from churn_assets.decision.tables import build_tables, drawn_tables

    config, upstream = step.config, (risk_model, accept_model, effect_model)
    process = planned_process(
        customers, *upstream, config, step.read(_ARMS), step.read(_ECONOMICS), step.seed
    )
    # Asking the models is most of the work: nobody is asked about who would not be learned from.
    taught = learners(customers, config, step.seed)
    tables = build_tables(taught, ResponseModels.of(*upstream, process))
    possible = ResponseModels.drawn(*upstream, process)
    drawn = drawn_tables(taught, possible, seed=step.seed)

    def report(progress: LearningCurvePoint) -> None:
        reached = {"step": progress.timesteps, "total": config.ppo.timesteps}
        step.progress({**reached, "contacted": progress.contacted, **_captured(progress)})

    training = train(tables, process, config, seed=step.seed, drawn=drawn, progress=report)
    best = training.best
    return Made(
        training.policy,
        metrics={
            "customers": len(taught),
            "frailty": process.frailty,
            "effect_decay": process.effect_decay,
            "timesteps": training.timesteps,
            "best_after_timesteps": best.timesteps,
            "contacted_in_training": best.contacted,
            **{f"{name}_in_training": value for name, value in _captured(best).items()},
        },
        tables={
            "training": [
                {"timesteps": each.timesteps, "captured": each.captured, "contacted": each.contacted}
                for each in training.curve
            ]
        },
        plots=(
            Plot(
                "training",
                "line",
                "timesteps",
                ("captured", "contacted"),
                "Training: share of the attainable gain, customers contacted",
                "environment steps",
                "share",
            ),
        ),
    )


def _captured(progress: LearningCurvePoint) -> dict[str, float]:
    return {} if progress.captured is None else {"captured": progress.captured}

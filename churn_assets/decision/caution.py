"""How cautiously to plan, where an experiment asks that a release be worth having whatever no log shows.

What a customer who was kept is worth later hangs on frailty and on how effects decay, and a log of single windows tells
neither. Values are projected, and the policy is trained, as configured or as estimated. Where so much is asked for at
the cautious end of the band that the best policy does not gain it there, they are projected nearer to that end.
"""

from __future__ import annotations

import numpy as np

from churn_assets.arms import ArmConfig
from churn_assets.customers.table import CustomerTable
from churn_assets.decision.config import PpoDecisionConfig
from churn_assets.decision.optimum import evaluate, never, solve
from churn_assets.decision.process import Projection, RetentionProcess
from churn_assets.decision.responses import ResponseModels
from churn_assets.decision.tables import ResponseTables, build_tables
from churn_assets.offers.economics import Economics
from churn_assets.response.accept import AcceptModel
from churn_assets.response.effect import EffectModel
from churn_assets.risk.model import RiskModel

ASKED = 512
"""Customers whose plan is tried."""
STEPS = 8
"""Parts of the way from what is configured to the cautious end."""


def learners(customers: CustomerTable, config: PpoDecisionConfig, seed: int) -> CustomerTable:
    """The customers that a policy is trained on: not held out, drawn by lot."""
    seen = np.flatnonzero(~customers.held_out)
    chosen = np.random.default_rng(seed).permutation(seen)[: config.ppo.cases]
    return customers.where(np.isin(np.arange(len(customers)), chosen))


def planned_process(
    customers: CustomerTable,
    risk_model: RiskModel,
    accept_model: AcceptModel,
    effect_model: EffectModel,
    config: PpoDecisionConfig,
    arms: tuple[ArmConfig, ...],
    economics: Economics,
    seed: int,
) -> RetentionProcess:
    """The process that a policy is planned by: as configured or estimated, or as much more cautious as is asked for.

    Equal arguments give equal processes, so a gate can tell what a policy should have been trained for.

    Raises:
        ArmError: The menu names an arm that is not there.
        ValueError: A duration that the states cannot represent.
    """
    window = customers.schema.label_window_months
    process = RetentionProcess.build(
        config, economics, window, arms, effect_model.persistence, effect_model.menu
    )
    least = config.gates.min_cautious_gain
    if least is None or len(process.projections) == 1:
        return process
    asked = learners(customers, config, seed)
    asked = asked.where(np.arange(len(asked)) < ASKED)
    models = ResponseModels.of(risk_model, accept_model, effect_model, process)
    return cautious_enough(build_tables(asked, models), process, least)


def cautious_enough(tables: ResponseTables, process: RetentionProcess, least: float) -> RetentionProcess:
    """The process nearest to the given one whose optimum gains at least so much at the cautious end of its band.

    Args:
        tables: customers to plan for.
        process: as configured or estimated, with a band.
        least: money a customer over the horizon.

    Returns:
        The process itself if that will do; that of the cautious end at most.
    """
    used, _, cautious = process.projections
    end = process.at(cautious)
    idle = evaluate(tables, end, never(end)).value
    for step in range(STEPS):
        at = (a + step / STEPS * (z - a) for a, z in zip(used, cautious, strict=True))
        planned = process.at(Projection(*at))
        if (evaluate(tables, end, solve(tables, planned).choice(planned)).value - idle).mean() >= least:
            return planned
    return end

"""How cautiously to plan: so that a release is worth having even if what no log shows is as bad as it may be.

What a customer who was kept is worth later hangs on frailty and on how effects decay, and a log of single windows tells
neither. Values are projected, and the policy is trained, as configured or as estimated. Where the best policy would
then lose money at the cautious end of the band, they are projected nearer to that end: until nothing is lost there, but
no further than to where least may be regretted at either end (minimax regret, Savage 1951; of treatments whose effects
are known within bounds only, Manski 2007). What is missed counts as what is lost: a cautious end that allows no offer
does not forbid a plan that gains elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from churn_assets.arms import ArmConfig
from churn_assets.customers.table import CustomerTable
from churn_assets.decision.config import PpoDecisionConfig
from churn_assets.decision.optimum import Choice, evaluate, never, solve
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
    """The process that a policy is planned by: as configured or estimated, or more cautious.

    Equal arguments give equal processes, so a gate can tell what a policy should have been trained for.

    Raises:
        ArmError: The menu names an arm that is not there.
        ValueError: A duration that the states cannot represent.
    """
    window = customers.schema.label_window_months
    process = RetentionProcess.build(
        config, economics, window, arms, effect_model.persistence, effect_model.menu
    )
    asked = learners(customers, config, seed)
    asked = asked.where(np.arange(len(asked)) < ASKED)
    models = ResponseModels.of(risk_model, accept_model, effect_model, process)
    return cautious_enough(build_tables(asked, models), process, config.gates.min_cautious_gain)


def cautious_enough(
    tables: ResponseTables, process: RetentionProcess, least: float | None
) -> RetentionProcess:
    """The process to plan by, between the given one and the cautious end of its band.

    Args:
        tables: customers to plan for.
        process: as configured or estimated.
        least: money a customer over the horizon that must be gained at the cautious end; None: where nothing need be
            lost there but what is regretted as configured, what is gained at the hopeful end may be.

    Returns:
        The process itself if it has no band, or if that will do; that of the cautious end if nothing else will.
    """
    if len(process.projections) == 1:
        return process
    plans = _Plans(tables, process)
    if least is not None:
        steps = (step for step in range(STEPS) if plans.gains(step)[1] >= least)
        return plans.process(next(steps, STEPS))
    lower, upper = 0, STEPS
    while upper - lower > 1:  # further on, more is missed as configured and less is lost at the end
        middle = (lower + upper) // 2
        missed, lost = plans.regrets(middle)
        lower, upper = (middle, upper) if missed < lost else (lower, middle)
    balanced = min((lower, upper), key=lambda step: max(plans.regrets(step)))
    return plans.process(
        next(
            step
            for step in range(STEPS + 1)
            if plans.gains(step)[1] >= 0 or (step >= balanced and plans.pays(step)) or step == STEPS
        )
    )


@dataclass(frozen=True, eq=False)
class _Plans:
    """The best plans for every part of the way to the cautious end, each made once."""

    tables: ResponseTables
    configured: RetentionProcess
    _known: dict[int, tuple[float, float]] = field(default_factory=dict)

    def process(self, step: int) -> RetentionProcess:
        """That of 0 is as configured, of `STEPS` at the cautious end."""
        used, _, cautious = self.configured.projections
        at = (a + step / STEPS * (z - a) for a, z in zip(used, cautious, strict=True))
        return self.configured.at(Projection(*at))

    def gains(self, step: int) -> tuple[float, float]:
        """What the plan is worth over no offer as configured, and at the cautious end."""
        if step not in self._known:
            plan = self.process(step)
            choice = solve(self.tables, plan).choice(plan)
            self._known[step] = self._gain(self.configured, choice), self._gain(self.process(STEPS), choice)
        return self._known[step]

    def regrets(self, step: int) -> tuple[float, float]:
        """By how much the best plan for either end is worth more there."""
        (best, _), (_, best_at_end), (found, at_end) = map(self.gains, (0, STEPS, step))
        return best - found, best_at_end - at_end

    def pays(self, step: int) -> bool:
        """Whether the plan gains at the hopeful end what it would lose at the cautious one."""
        plan, hopeful = self.process(step), self.configured.at(self.configured.projections[1])
        return self._gain(hopeful, solve(self.tables, plan).choice(plan)) + self.gains(step)[1] >= 0

    def _gain(self, process: RetentionProcess, choice: Choice) -> float:
        value, idle = (evaluate(self.tables, process, each).value for each in (choice, never(process)))
        return float((value - idle).mean())

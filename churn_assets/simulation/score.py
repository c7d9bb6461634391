"""What a wave was worth by the world's own truth, which no model sees: ours, a release that never learns, rules."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from churn_assets.deciding.decider import CustomerInput
from churn_assets.deciding.risk_only import AnyDecider
from churn_assets.serving.config import ServingConfig
from churn_assets.simulation.server import WaveDecisions
from churn_assets.simulation.waves import Forward, Wave

RISKIEST = 0.3
"""The share of customers whom the rule of thumb contacts."""
RULE_ARM = "percent_20"
"""What it offers; the menu's last arm where there is no such arm."""


@dataclass(frozen=True)
class WaveScore:
    """One wave. Values are the mean expected money a decision over no offer, exact but for whom the wave is about.

    Attributes:
        wave: Its number.
        drifted: Whether the world has changed by now.
        release: That answered.
        decisions: How many.
        ours: Of the policy's own choices.
        as_served: With the customers who are held out or explore.
        static: Of the first release, which never learns.
        top_risk: Of the riskiest by our own risk model with one arm for all.
        optimum: Of knowing the world, though not what is latent.
        holdout: Share that was held out.
        exploration: Share that explored.
        propensity_error: Largest difference between a logged propensity and the one that follows from the config.
        group_z: Largest |z| of the two shares against the configured ones.
    """

    wave: int
    drifted: bool
    release: str
    decisions: int
    ours: float
    as_served: float
    static: float
    top_risk: float
    optimum: float
    holdout: float
    exploration: float
    propensity_error: float
    group_z: float

    @property
    def vs_optimum(self) -> float:
        """Our value as a share of the optimum's."""
        return self.ours / self.optimum


def score_wave(
    forward: Forward, wave: Wave, served: WaveDecisions, static: AnyDecider, config: ServingConfig
) -> WaveScore:
    """Score the decisions of a wave.

    Args:
        forward: The world.
        wave: Who was decided for.
        served: What was decided.
        static: The first release.
        config: Under which it was served.
    """
    cohort = wave.cohort
    policy = forward.arms(served.column("policy_arm").tolist())
    risk = served.column("churn_risk")
    menu = forward.world.menu
    rule = menu.position.get(RULE_ARM, len(menu) - 1)
    risky = (risk >= np.quantile(risk, 1 - RISKIEST)) & cohort.allowed[:, rule]
    held, explored = served.column("holdout"), served.column("exploration")
    groups = ((held.mean(), config.holdout_share), (explored.mean(), config.exploration_share))
    return WaveScore(
        wave=wave.number,
        drifted=wave.drifted,
        release=", ".join(served.releases),
        decisions=len(cohort),
        ours=cohort.lift(policy),
        as_served=cohort.lift(forward.arms(served.arms)),
        static=cohort.lift(choices(static, forward, wave)),
        top_risk=cohort.lift(np.where(risky, rule, 0)),
        optimum=cohort.lift(cohort.best),
        holdout=float(held.mean()),
        exploration=float(explored.mean()),
        propensity_error=_propensity_error(forward, wave, served, config),
        group_z=max(
            abs(float(found) - share) / np.sqrt(share * (1 - share) / len(cohort))
            for found, share in groups
            if share
        ),
    )


def choices(decider: AnyDecider, forward: Forward, wave: Wave) -> NDArray[np.int64]:
    """(n,) index into the world's menu of what a release would decide for everybody of a wave."""
    asked = [
        CustomerInput(each["customer_id"], each["features"], prior_offers=each["prior_offers"])
        for batch in forward.questions(wave, range(len(wave.cohort)))
        for each in batch
    ]
    return forward.arms([decision.chosen.arm.id for decision in decider.decide(asked)])


def _propensity_error(forward: Forward, wave: Wave, served: WaveDecisions, config: ServingConfig) -> float:
    """Only an arm's own conditions forbid it in this world: propensities follow from the choice and two shares."""
    menu = [outlook.id for outlook in served.decisions[0].arms]
    stated = np.array([[outlook.propensity for outlook in each.arms] for each in served.decisions])
    held, explored = config.holdout_share, config.exploration_share
    allowed = wave.cohort.allowed[:, forward.arms(menu)]
    expected = explored * allowed / allowed.sum(1, keepdims=True)
    expected[:, 0] += held
    rows = np.arange(len(stated))
    expected[rows, [menu.index(each.policy_arm) for each in served.decisions]] += 1 - held - explored
    made = stated[rows, [menu.index(each) for each in served.arms]]
    return float(max(np.abs(stated - expected).max(), np.abs(made - served.column("propensity")).max()))

"""What a wave was worth by the world's own truth, which no model sees: ours, a release that never learns, rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from churn_assets.deciding.decider import CustomerInput, Decision, Rollout
from churn_assets.deciding.risk_only import AnyDecider
from churn_assets.serving.config import ServingConfig
from churn_assets.simulation.server import WaveDecisions
from churn_assets.simulation.waves import Forward, Wave

RISKIEST = 0.3
"""The share of customers whom the rule of thumb contacts."""
RULE_ARM = "percent_20"
"""What it offers; the menu's last arm where there is no such arm."""


@dataclass(frozen=True)
class Deciding:
    """Which releases decide for a wave.

    Attributes:
        leader: That leads.
        candidate: Of the trial that runs; None where none does.
        share: Of those who are left to the policy, that go by the candidate.
    """

    leader: AnyDecider
    candidate: AnyDecider | None = None
    share: float = 0.0


@dataclass(frozen=True)
class WaveScore:
    """One wave. Values are the mean expected money a decision over no offer, exact but for whom the wave is about.

    Attributes:
        wave: Its number.
        drifted: Whether the world has changed by now.
        release: That answered.
        decisions: How many.
        ours: Of the policy's own choices; in a trial, of each by the release that decided about it.
        as_served: With the customers who are held out or explore.
        static: Of the first release, which never learns.
        top_risk: Of the riskiest by our own risk model with one arm for all.
        optimum: Of knowing the world, though not what is latent.
        holdout: Share that was held out.
        exploration: Share that explored.
        propensity_error: Largest difference between a logged propensity and the one that follows from the config.
        group_z: Largest |z| of the two shares, and of a trial's, against the configured ones.
        tried: Share of all that a trial left to its candidate.
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
    tried: float = 0.0

    @property
    def vs_optimum(self) -> float:
        """Our value as a share of the optimum's."""
        return self.ours / self.optimum


def score_wave(
    forward: Forward,
    wave: Wave,
    served: WaveDecisions,
    static: AnyDecider,
    config: ServingConfig,
    deciding: Deciding | None = None,
) -> WaveScore:
    """Score the decisions of a wave.

    Args:
        forward: The world.
        wave: Who was decided for.
        served: What was decided.
        static: The first release.
        config: Under which it was served.
        deciding: What decided for it; None where one release did and exploration is uniform.
    """
    cohort = wave.cohort
    policy = forward.arms(served.column("policy_arm").tolist())
    risk = served.column("churn_risk")
    menu = forward.world.menu
    rule = menu.position.get(RULE_ARM, len(menu) - 1)
    risky = (risk >= np.quantile(risk, 1 - RISKIEST)) & cohort.allowed[:, rule]
    held, explored = served.column("holdout"), served.column("exploration")
    share, by_candidate = 0.0, np.zeros(len(held), bool)
    if deciding is not None and deciding.candidate is not None:
        share = deciding.share * (1 - config.holdout_share - config.exploration_share)
        by_candidate = served.column("release") == deciding.candidate.release
    groups = (
        (held.mean(), config.holdout_share),
        (explored.mean(), config.exploration_share),
        (by_candidate.mean(), share),
    )
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
        propensity_error=_propensity_error(forward, wave, served, config, deciding),
        group_z=max(
            abs(float(found) - share) / np.sqrt(share * (1 - share) / len(cohort))
            for found, share in groups
            if share
        ),
        tried=float(by_candidate.mean()),
    )


def choices(decider: AnyDecider, forward: Forward, wave: Wave) -> NDArray[np.int64]:
    """(n,) index into the world's menu of what a release would decide for everybody of a wave."""
    decided = decider.decide(_asked(forward, wave))
    return forward.arms([decision.chosen.arm.id for decision in decided])


def _asked(forward: Forward, wave: Wave) -> list[CustomerInput]:
    return [
        CustomerInput(each["customer_id"], each["features"], prior_offers=each["prior_offers"])
        for batch in forward.questions(wave, range(len(wave.cohort)))
        for each in batch
    ]


def _propensity_error(
    forward: Forward, wave: Wave, served: WaveDecisions, config: ServingConfig, deciding: Deciding | None
) -> float:
    """Propensities follow from what each policy chooses, from how who explores is drawn, and from the shares."""
    menu = [outlook.id for outlook in served.decisions[0].arms]
    stated = np.array([[outlook.propensity for outlook in each.arms] for each in served.decisions])
    held, explored = config.holdout_share, config.exploration_share
    rows = np.arange(len(stated))
    if deciding is None:  # only an arm's own conditions forbid it in this world
        allowed = wave.cohort.allowed[:, forward.arms(menu)]
        exploring = allowed / allowed.sum(1, keepdims=True)
        policy = np.eye(len(menu))[[menu.index(each.policy_arm) for each in served.decisions]]
    else:
        exploring, policy = _by_design(deciding, config, _asked(forward, wave))
    expected = explored * exploring + (1 - held - explored) * policy
    expected[:, 0] += held
    made = stated[rows, [menu.index(each) for each in served.arms]]
    return float(max(np.abs(stated - expected).max(), np.abs(made - served.column("propensity")).max()))


def _by_design(
    deciding: Deciding, config: ServingConfig, asked: Sequence[CustomerInput]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(n, K) chances of each arm of who explores, by the leader's values, and of who is left to the two policies."""
    plausible, top_two = config.exploration.plausible, config.exploration.top_two
    everybody = Rollout(b"draws nobody", exploration_share=1.0, plausible=plausible, top_two=top_two)
    decided = deciding.leader.decide(asked, everybody)
    policy = _one_hot(decided)
    if deciding.candidate is not None:
        policy += deciding.share * (_one_hot(deciding.candidate.decide(asked)) - policy)
    return np.array([each.propensities for each in decided]), policy


def _one_hot(decided: Sequence[Decision]) -> NDArray[np.float64]:
    return np.eye(len(decided[0].arms))[[each.policy_arm for each in decided]]

"""The sensors of trials: one begins them where automation may, one ends those that their rule or a guardrail stops."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import dagster as dg

from churn_assets.monitoring.config import LiveConfig
from churn_assets.release.config import PromotionPolicy
from churn_assets.release.evidence import Required
from churn_assets.release.policy import before_shadow
from churn_assets.release.trial import RunningTrial
from churn_assets.store.reference import ArtifactRef
from jobs.acts import ACTOR, ask, deciders, standing_of
from jobs.operations import BeginTrialConfig, EndTrialConfig
from jobs.scene import Scene, each_experiment

if TYPE_CHECKING:
    from churn_assets.monitoring.trial import TrialLook
    from churn_assets.offers.decision_index import DecisionIndex

BEGIN, END = "begin_trial", "end_trial"


def trial_sensors(
    flow: Mapping[str, Sequence[str]], required: Required, interval: int
) -> list[dg.SensorDefinition]:
    """The sensors.

    Args:
        flow: Asset to the assets that it is made from.
        required: Checks that each asset needs.
        interval: Least seconds between two ticks.
    """
    return [
        each_experiment(
            "trial_begins",
            lambda scene: _begins(scene, required),
            flow,
            interval,
            "Begins a trial of the newest release that may lead, where automation.promotion.trial.automatic is true.",
            BEGIN,
        ),
        each_experiment(
            "trial_ends",
            _ends,
            flow,
            interval,
            "Says how the trial that runs stands, and ends it where its candidate is certainly worse or does harm.",
            END,
        ),
    ]


def rule_of(trial: RunningTrial) -> PromotionPolicy:
    """By which the candidate may be promoted, as it was said when the trial was started."""
    return PromotionPolicy.model_validate_json(trial.design.rule)


def trial_look(scene: Scene, trial: RunningTrial) -> "TrialLook":
    """What the decisions of the trial say by now. Recalled, as it costs reading."""
    from churn_assets.monitoring.reigns import trials_beside
    from churn_assets.monitoring.shadow import newest_learnable
    from churn_assets.monitoring.trial import TrialLook, comparison_number, look_at_trial

    beside = [each.seq for each in trials_beside(scene.trials(), trial.design.record)]
    number = comparison_number(1 + beside.index(trial.record.seq), trial=True)
    guardrails, since = LiveConfig.model_validate_json(trial.design.guardrails), trial.record.at

    def find() -> dict[str, Any]:
        log = scene.served()
        (ours, *theirs), broken = deciders(scene, trial.candidate, ArtifactRef.parse(trial.design.champion))
        found = newest_learnable(*scene.newest_first(log, since), since=since)
        told = look_at_trial(*found, ours, theirs, rule_of(trial), guardrails, number)
        shadow = replace(told.shadow, reason="; ".join([told.shadow.reason, *broken]))
        return replace(
            told, shadow=shadow, harm=told.harm or _limit(scene, log.index, trial, guardrails)
        ).plain()

    about = {"trial": trial.record.seq, "number": number}
    return TrialLook.of(scene.recall("trial", about, scene.known(scene.segments()), find))


def _limit(scene: Scene, index: "DecisionIndex", trial: RunningTrial, guardrails: LiveConfig) -> str:
    """Which limit the candidate's own decisions certainly exceed; empty for none."""
    from churn_assets.monitoring.live import limit_breach
    from churn_assets.monitoring.served import label_window
    from churn_assets.offers.decision_index import Reign

    if not guardrails.limits:
        return ""
    record = trial.record
    reign = Reign(record.seq, trial.design.candidate, record.at, side="candidate")
    index.settle(reign, scene.now, label_window(scene.experiment))
    rows = index.rows(0, index.counts(reign.side)[0], side=reign.side)
    breach = limit_breach(rows, guardrails)
    return "" if breach is None else breach.reason


def _ends(scene: Scene) -> list[dg.RunRequest]:
    trial = scene.trial()
    if trial is None:
        scene.told.append("no trial runs")
        return []
    found, seq = trial_look(scene, trial), trial.record.seq
    if not found.ends:
        scene.told.append(
            f"trial {seq} of {trial.candidate.version}, which decides for {trial.share:.0%}, goes on: "
            f"{found.shadow.decisions} decisions with whole outcomes: {found.shadow.reason}"
        )
        return []
    config = EndTrialConfig(experiment=scene.name, actor=ACTOR, reason=found.ends, trial=seq)
    return ask(scene, "trial_ends", END, "stop_trying", config, f"trial {seq} of {trial.candidate}")


def _begins(scene: Scene, required: Required) -> list[dg.RunRequest]:
    from churn_assets.release.bundle import RELEASE_ASSET

    releases, head = scene.versions(RELEASE_ASSET), scene.channel.head()
    if why := _no_trial(scene, releases, required):
        scene.told.append(why)
        return []
    config = BeginTrialConfig(
        experiment=scene.name,
        actor=ACTOR,
        reason=f"{releases[-1].version} may lead; a trial says whether it is better",
        release=releases[-1].version,
        expected_record=0 if head is None else head.seq,
    )
    return ask(
        scene,
        "trial_begins",
        BEGIN,
        "try_release",
        config,
        f"{releases[-1]} beside record {config.expected_record}",
    )


def _no_trial(scene: Scene, releases: Sequence[ArtifactRef], required: Required) -> str:
    """Why no trial is begun now; empty where one is."""
    policy, head = scene.automation.promotion, scene.channel.head()
    if policy.mode == "manual" or not policy.trial.automatic:
        return "a person begins trials: automation.promotion.trial.automatic is false, or mode is manual"
    if head is None or not releases:
        return "nothing leads, so there is nothing to try beside"
    candidate, trial = releases[-1], scene.trial()
    if candidate == head.ref:
        return f"{candidate.version} leads"
    if trial is not None:
        return f"trial {trial.record.seq} of {trial.candidate.version} runs"
    if any(act.details.get("candidate") == str(candidate) for act in scene.trials()):
        return f"{candidate.version} was tried before"
    return before_shadow(standing_of(scene, candidate, head, required), policy, scene.now)

"""The sensors that move channels: promotion of a candidate, rollback of a release that breaks a guardrail."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import dagster as dg

from churn_assets.release.evidence import Required
from churn_assets.release.policy import Shadow, Standing, before_shadow, decide_automatically, overtaken
from churn_assets.release.promotion import PromotionDecision
from churn_assets.release.trial import RunningTrial
from churn_assets.store.channels import ChannelRecord
from churn_assets.store.reference import ArtifactRef
from jobs.acts import ACTOR, ask, deciders, standing_of
from jobs.operations import PromoteConfig, RollbackConfig
from jobs.scene import Scene, each_experiment
from jobs.trials import rule_of, trial_look

_PROMOTE, _ROLLBACK = "promote", "rollback"


def channel_sensors(
    flow: Mapping[str, Sequence[str]],
    required: Required,
    interval: int,
) -> list[dg.SensorDefinition]:
    """The sensors.

    Args:
        flow: Asset to the assets that it is made from.
        required: Checks that each asset needs.
        interval: Least seconds between two ticks.
    """
    return [
        each_experiment(
            "promotions",
            lambda scene: _promotions(scene, required),
            flow,
            interval,
            "Says whether the newest release would be promoted, and does so where automation.promotion.mode is auto.",
            _PROMOTE,
        ),
        each_experiment(
            "guardrails",
            _guardrails,
            flow,
            interval,
            "Rolls a promoted release back that certainly does harm.",
            _ROLLBACK,
        ),
    ]


def _promotions(scene: Scene, required: Required) -> list[dg.RunRequest]:
    from churn_assets.release.bundle import RELEASE_ASSET

    releases, head = scene.versions(RELEASE_ASSET), scene.channel.head()
    if not releases:
        scene.told.append("no release yet")
        return []
    trial = scene.trial()
    candidate, policy = releases[-1] if trial is None else trial.candidate, scene.automation.promotion
    if head is not None and head.ref == candidate:
        scene.told.append(f"{candidate.version} leads")
        return []
    if trial is None and head is not None and policy.trial.automatic:
        scene.told.append(
            f"{candidate.version} is tried before it may lead: the sensor trial_begins starts that"
        )
        return []
    decision = _would_promote(scene, candidate, head, required, trial)
    if not decision.promote:
        scene.told.append(f"would not promote {candidate.version}: {decision.reason}")
        return []
    if policy.mode == "manual":
        scene.told.append(f"would promote {candidate.version}, and waits for a person: {decision.reason}")
        return []
    seq = 0 if head is None else head.seq
    config = PromoteConfig(
        experiment=scene.name,
        actor=ACTOR,
        reason=decision.reason,
        release=candidate.version,
        expected_record=seq,
    )
    return ask(scene, "promotions", _PROMOTE, "promote_release", config, f"{candidate} after record {seq}")


def _would_promote(
    scene: Scene,
    candidate: ArtifactRef,
    head: ChannelRecord | None,
    required: Required,
    trial: RunningTrial | None,
) -> PromotionDecision:
    """The decision of the policy. What costs is not looked for at every tick: promotion verifies everything again."""
    if why := overtaken(candidate, None if head is None else head.ref):
        return PromotionDecision(promote=False, reason=why)
    standing = standing_of(scene, candidate, head, required)
    policy = scene.automation.promotion if trial is None else rule_of(trial)
    if standing.leader is not None and not before_shadow(standing, policy, scene.now):
        found = (
            _compared(scene, standing, standing.leader) if trial is None else trial_look(scene, trial).shadow
        )
        standing = replace(standing, shadow=found)
    return decide_automatically(standing, policy, scene.now)


def _compared(scene: Scene, standing: Standing, leader: ArtifactRef) -> Shadow:
    """The comparison on live decisions: with the champion, and with every leader before it."""
    from churn_assets.monitoring.shadow import newest_learnable, shadow
    from churn_assets.monitoring.trial import comparison_number
    from churn_assets.release.promotion import held_against

    policy = scene.automation.promotion
    leaders = [leader, *held_against(scene.channel.history(), leader, standing.candidate)]
    number = comparison_number(_number(scene, standing.candidate, leader), trial=False)

    def find() -> dict[str, Any]:
        (ours, *theirs), broken = deciders(scene, standing.candidate, leader)
        found = shadow(*newest_learnable(*scene.newest_first(scene.served())), ours, theirs, policy, number)
        return asdict(replace(found, reason="; ".join([found.reason, *broken])))

    about = {
        "candidate": str(standing.candidate),
        "leaders": list(map(str, leaders)),
        "policy": policy.model_dump(mode="json"),
        "number": number,
    }
    return Shadow.of(scene.recall("shadow", about, scene.known(scene.segments()), find))


def _number(scene: Scene, candidate: ArtifactRef, leader: ArtifactRef) -> int:
    """The candidate's number, from 1, among those that were held against this leader: they share one error.

    Releases that were collected since are remembered; were the memory lost, those of the last two weeks are in the
    store.
    """
    kept = scene.judged("candidates", {"leader": str(leader)})
    newer = {ref.version for ref in scene.versions(candidate.asset) if ref.version > leader.version}
    kept["seen"] = sorted(newer | {candidate.version} | set(kept.get("seen", ())))
    return sum(version <= candidate.version for version in kept["seen"])


def _guardrails(scene: Scene) -> list[dg.RunRequest]:
    head, segments = scene.channel.head(), scene.segments()
    if head is None or not segments:
        scene.told.append("no decision of a leading release yet")
        return []
    if head.action != "promote":
        scene.told.append(f"{head.release} leads since a rollback: what follows is for a person to decide")
        return []
    about = {"record": head.seq, "config": scene.automation.live.model_dump(mode="json")}
    found = scene.recall(
        "guardrails", about, scene.known(segments), lambda: _look_at_guardrails(scene, head, about)
    )
    scene.told += [
        f"automation.live.slices: found {name}, which no decision is asked with; expected a feature of the release"
        for name in found.get("missing", ())
    ]
    reason = found["breach"]
    if reason is None:
        telling, needed = found["telling"], scene.automation.live.min_outcomes
        scene.told.append(
            f"guardrails hold over {telling} decisions with whole outcomes"
            if telling >= needed
            else f"guardrails cannot judge yet: {telling} of {found['outcomes']} decisions with whole outcomes could "
            f"have been left without contact (serving.holdout_share, serving.exploration_share), needed {needed}"
        )
        return []
    if all(record.ref == head.ref for record in scene.channel.history()):
        scene.told.append(f"{reason} but no release led before: set serving.kill_switch")
        return []
    config = RollbackConfig(experiment=scene.name, actor=ACTOR, reason=reason, expected_record=head.seq)
    return ask(scene, "guardrails", _ROLLBACK, "roll_back", config, f"{head.release} at record {head.seq}")


def _look_at_guardrails(scene: Scene, head: ChannelRecord, about: Mapping[str, Any]) -> dict[str, Any]:
    """Judges what became known since the last look; once broken, a guardrail stays broken until the channel moves."""
    from churn_assets.monitoring.live import (
        Tally,
        breach_in,
        levels_of,
        limit_breach,
        slice_breach,
        tallied,
    )
    from churn_assets.monitoring.served import priced

    log, kept = scene.served(), scene.judged("guardrails judged", about)
    scene.settled(log, head)
    outcomes, telling = log.index.counts()

    def tally(start: int, stop: int) -> Tally:
        """Windows are small; of all since the first, customer by customer, memory does not grow with their number."""
        frames = log.index.by_customer(stop) if start == 0 else [log.index.rows(start, stop, telling=True)]
        return tallied(priced(frame, scene.experiment) for frame in frames)

    if kept.get("breach") is None:
        judged = kept.get("telling", 0)
        config = scene.automation.live
        breach = breach_in(telling, tally, config, judged if judged <= telling else 0)
        if breach is None and (config.limits or config.slices):
            rows = priced(log.index.rows(0, outcomes), scene.experiment)
            breach = limit_breach(rows, config) or slice_breach(rows, config)
        kept |= {"breach": None if breach is None else breach.reason, "telling": telling}
    levels = levels_of(log.index.rows(0, 1), scene.automation.live)
    missing = [str(name) for name in levels if (levels[name] == "None").all() and len(levels)]
    return {"breach": kept["breach"], "outcomes": outcomes, "telling": telling, "missing": missing}

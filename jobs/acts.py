"""What the sensors that act share: asking for an act once, the releases that are held against each other."""

from typing import Any

import dagster as dg

from churn_assets.monitoring import requests
from churn_assets.release.evidence import Required
from churn_assets.release.policy import Standing
from churn_assets.store.channels import ChannelRecord
from churn_assets.store.errors import BROKEN
from churn_assets.store.reference import ArtifactRef
from jobs.operations import ActConfig
from jobs.scene import Scene, considered

ACTOR = "automation"
"""Who acts, in the logs of channels and trials."""


def deciders(scene: Scene, candidate: ArtifactRef, leader: ArtifactRef) -> tuple[list[Any], list[str]]:
    """What a candidate, the leader, and those that led before it decide with; and who of these is broken, and why."""
    from churn_assets.deciding.risk_only import comparing_no_arms, decider_of
    from churn_assets.release.deciding import load_release
    from churn_assets.release.promotion import held_against

    def decider(ref: ArtifactRef) -> Any:
        return decider_of(comparing_no_arms(load_release(scene.store, ref)[1]), str(ref))

    found, broken = [decider(candidate), decider(leader)], []
    for ref in held_against(scene.channel.history(), leader, candidate):
        try:
            found.append(decider(ref))
        except BROKEN as error:  # what once led must not keep its successors from leading
            broken.append(f"{ref} is not held against: {error}")
    return found, broken


def standing_of(
    scene: Scene, candidate: ArtifactRef, head: ChannelRecord | None, required: Required
) -> Standing:
    """A candidate and what it would replace, without a comparison on live decisions."""
    from churn_assets.release.best_ever import JUDGED, lift_of
    from churn_assets.release.bundle import RELEASE

    def members(ref: ArtifactRef | None) -> dict[str, ArtifactRef]:
        if ref is None:
            return {}
        bundle = scene.store.load(ref, RELEASE).bundle
        return {asset: each.version for asset, each in bundle.members.items()}

    leader, ours = None if head is None else head.ref, members(candidate)
    log, policy = ours.get("offer_log"), ours.get(JUDGED)
    told = {} if log is None else scene.store.manifest(log).signature
    may_lead = considered(scene, candidate, head, required)
    # Only a first release is asked what the log says of its lift; a later one is compared on live decisions.
    lift = None
    if leader is None and policy is not None and may_lead.promote:
        lift = lift_of(scene.store.gate_reports(policy))
    return Standing(
        candidate=candidate,
        leader=leader,
        members=ours,
        leading=members(leader),
        considered=may_lead,
        led_before=scene.channel.has_led(candidate),
        moved_at=None if head is None else head.at,
        shadow=None,
        estimated=told.get("propensities") == "estimated",  # nobody wrote down by what chance it was decided
        lift=lift,
    )


def ask(scene: Scene, trigger: str, job: str, op: str, config: ActConfig, what: str) -> list[dg.RunRequest]:
    """Ask for an act once; again under another key where its run failed."""
    evidence = requests.evidence_of({job: what})
    past = [scene.past(record) for record in scene.asked_of(job)]
    act = requests.one_act(evidence, past, scene.automation.attempts)
    if act.why_not:
        scene.told.append(f"{job} {what}: {act.why_not}")
        return []
    return [
        dg.RunRequest(
            run_key=f"{scene.name}/{evidence}/{act.attempt}",
            job_name=job,
            run_config=dg.RunConfig({op: config}),
            tags={
                requests.EXPERIMENT: scene.name,
                requests.TRIGGER: trigger,
                requests.EVIDENCE: evidence,
                requests.ATTEMPT: str(act.attempt),
                requests.REASON: config.reason,
            },
        )
    ]

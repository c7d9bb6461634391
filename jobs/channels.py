"""The sensors that move channels: promotion of a candidate, rollback of a release that breaks a guardrail."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import tee
from typing import TYPE_CHECKING, Any

import dagster as dg

from churn_assets.monitoring import requests
from churn_assets.release.evidence import Required
from churn_assets.release.policy import Shadow, Standing, before_shadow, decide_automatically, overtaken
from churn_assets.release.promotion import PromotionDecision
from churn_assets.store.channels import ChannelRecord
from churn_assets.store.errors import BROKEN
from churn_assets.store.reference import ArtifactRef
from jobs.operations import PromoteConfig, RollbackConfig
from jobs.scene import Scene, considered, each_experiment

if TYPE_CHECKING:
    from churn_assets.offers.live import LiveLog
    from churn_assets.offers.offer_rows import OfferRows

ACTOR = "automation"
"""Who acts, in the channel's log."""
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
    candidate = releases[-1]
    if head is not None and head.ref == candidate:
        scene.told.append(f"{candidate.version} leads")
        return []
    decision = _would_promote(scene, candidate, head, required)
    if not decision.promote:
        scene.told.append(f"would not promote {candidate.version}: {decision.reason}")
        return []
    if scene.automation.promotion.mode == "manual":
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
    return _ask(scene, "promotions", _PROMOTE, "promote_release", config, f"{candidate} after record {seq}")


def _would_promote(
    scene: Scene, candidate: ArtifactRef, head: ChannelRecord | None, required: Required
) -> PromotionDecision:
    """The decision of the policy. What costs is not looked for at every tick: promotion verifies everything again."""
    from churn_assets.release.bundle import RELEASE

    store, policy, leader = scene.store, scene.automation.promotion, None if head is None else head.ref
    if why := overtaken(candidate, leader):
        return PromotionDecision(promote=False, reason=why)

    def members(ref: ArtifactRef | None) -> dict[str, ArtifactRef]:
        if ref is None:
            return {}
        return {asset: each.version for asset, each in store.load(ref, RELEASE).bundle.members.items()}

    standing = Standing(
        candidate=candidate,
        leader=leader,
        members=members(candidate),
        leading=members(leader),
        considered=considered(scene, candidate, head, required),
        led_before=scene.channel.has_led(candidate),
        moved_at=None if head is None else head.at,
        shadow=None,
        estimated=_estimated(scene, members(candidate).get("offer_log")),
    )
    if leader is not None and not before_shadow(standing, policy, scene.now):
        standing = _compared(scene, standing, leader)
    return decide_automatically(standing, policy, scene.now)


def _estimated(scene: Scene, log: ArtifactRef | None) -> bool:
    """Whether nobody wrote down by what chance the decisions of a log were made."""
    return log is not None and scene.store.manifest(log).signature.get("propensities") == "estimated"


def _compared(scene: Scene, standing: Standing, leader: ArtifactRef) -> Standing:
    """With the comparison on live decisions: with the champion, and with every leader before it."""
    from churn_assets.deciding.risk_only import decider_of
    from churn_assets.monitoring.shadow import newest_learnable, shadow
    from churn_assets.release.deciding import load_release
    from churn_assets.release.promotion import held_against

    policy = scene.automation.promotion
    leaders = [leader, *held_against(scene.channel.history(), leader, standing.candidate)]
    number = _number(scene, standing.candidate, leader)

    def decider(ref: ArtifactRef) -> Any:
        return decider_of(load_release(scene.store, ref)[1], str(ref))

    def find() -> dict[str, Any]:
        ours, theirs, broken = decider(standing.candidate), [decider(leader)], []
        for ref in leaders[1:]:
            try:
                theirs.append(decider(ref))
            except BROKEN as error:  # what once led must not keep its successors from leading
                broken.append(f"{ref} is not held against: {error}")
        found = shadow(*newest_learnable(*_learnable(scene)), ours, theirs, policy, number)
        return asdict(replace(found, reason="; ".join([found.reason, *broken])))

    about = {
        "candidate": str(standing.candidate),
        "leaders": list(map(str, leaders)),
        "policy": policy.model_dump(mode="json"),
        "number": number,
    }
    found = scene.recall("shadow", about, scene.known(scene.segments()), find)
    return replace(standing, shadow=Shadow.of(found))


def _number(scene: Scene, candidate: ArtifactRef, leader: ArtifactRef) -> int:
    """The candidate's number, from 1, among those that were held against this leader: they share one error.

    Releases that were collected since are remembered; were the memory lost, those of the last two weeks are in the
    store.
    """
    kept = scene.judged("candidates", {"leader": str(leader)})
    newer = {ref.version for ref in scene.versions(candidate.asset) if ref.version > leader.version}
    kept["seen"] = sorted(newer | {candidate.version} | set(kept.get("seen", ())))
    return sum(version <= candidate.version for version in kept["seen"])


def _learnable(scene: Scene) -> "tuple[Iterable[LiveLog], Iterable[OfferRows]]":
    """Segment by segment, newest first, the served decisions and the rows that can be learned from."""
    from churn_assets.monitoring.served import label_window

    log = scene.served()
    shown, asked = tee(log.newest_first(until=scene.now - label_window(scene.experiment)))
    return shown, scene.learnable(log, asked)


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
    return _ask(scene, "guardrails", _ROLLBACK, "roll_back", config, f"{head.release} at record {head.seq}")


def _look_at_guardrails(scene: Scene, head: ChannelRecord, about: Mapping[str, Any]) -> dict[str, Any]:
    """Judges what became known since the last look; once broken, a guardrail stays broken until the channel moves."""
    from churn_assets.monitoring.live import Tally, breach_in, limit_breach, tallied
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
        if breach is None and config.limits:
            breach = limit_breach(log.index.rows(0, outcomes), config)
        kept |= {"breach": None if breach is None else breach.reason, "telling": telling}
    return {"breach": kept["breach"], "outcomes": outcomes, "telling": telling}


def _ask(
    scene: Scene, trigger: str, job: str, op: str, config: PromoteConfig | RollbackConfig, what: str
) -> list[dg.RunRequest]:
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

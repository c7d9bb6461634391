"""The sensors that ask for trainings: new inputs, drift, age, live performance, failed checks."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import BaseModel

from churn_assets.monitoring import requests
from churn_assets.monitoring.requests import Finding
from churn_assets.release.evidence import Required
from churn_assets.store.channels import ChannelRecord
from churn_assets.store.reference import ArtifactRef
from jobs.scene import Scene, each_experiment
from jobs.train import TRAIN

if TYPE_CHECKING:
    from churn_assets.monitoring.inputs import Seen
    from churn_assets.tables.config import DatabaseTable, TablePlace

# The object that stands for what was served, beside the files that an experiment reads.
_DECISION_LOG = "the decision log"
# Where what was served comes back into the flow: the customers of a new extract, and the decisions with outcomes.
NOT_LOADED = (
    "its file is newer than the definitions: reload them (Deployment, Reload) and it is trained by itself"
)
_LEARNED_FROM = frozenset({"customers", "offer_log"})


@dataclass(frozen=True)
class TriggerFindings:
    """What a trigger found.

    Attributes:
        findings: What calls for a training.
        used: By asset, the outside objects that a training of it will use, and their content.
    """

    findings: Sequence[Finding]
    used: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def retraining(
    flow: Mapping[str, Sequence[str]], required: Required, interval: int, known: Collection[str]
) -> list[dg.SensorDefinition]:
    """The sensors.

    Args:
        flow: Asset to the assets that it is made from.
        required: Checks that each asset needs.
        interval: Least seconds between two ticks.
        known: Experiments that are partitions: those that had a file when the definitions were loaded.
    """
    triggers: dict[str, tuple[Callable[[Scene], TriggerFindings], str]] = {
        "new_inputs": (
            _new_inputs,
            "An input file or table that is new or changed, or enough new decisions.",
        ),
        "drift": (_drift, "Customers who are no longer those that the leading release learned from."),
        "freshness": (_freshness, "Data or models that are older than they may be."),
        "live_performance": (_live_performance, "Forecasts that no longer come true."),
        "failed_checks": (
            lambda scene: _failed_checks(scene, required),
            "A check of a newest version that failed, raised, never ran or knows another champion.",
        ),
    }
    return [
        each_experiment(
            name, _asking(find, known), flow, interval, f"{what} Makes anew what it touches.", TRAIN
        )
        for name, (find, what) in triggers.items()
    ]


def _asking(
    find: Callable[[Scene], TriggerFindings], known: Collection[str]
) -> Callable[[Scene], list[dg.RunRequest]]:
    def visit(scene: Scene) -> list[dg.RunRequest]:
        if (
            scene.name not in known
        ):  # Dagster would refuse the whole tick for a partition that it does not know
            scene.told.append(NOT_LOADED)
            return []
        found = find(scene)
        records = {record.dagster_run.run_id: record for record in [*scene.trainings(), *scene.running()]}
        past = [scene.past(record) for record in records.values()]
        plan = requests.plan(scene.name, found.findings, past, scene.automation, scene.inputs, scene.now)
        scene.told += [f"{waiting.finding.reason}: waits, {waiting.why}" for waiting in plan.waiting]
        scene.told += [f"{finding.reason}: answered" for finding in plan.answered]
        if plan.request is None:
            return []
        scene.told.append(f"{plan.request.reason}: asks for {', '.join(sorted(plan.request.assets))}")
        return [_training(scene.name, plan.request, found.used)]

    return visit


def _training(
    experiment: str, request: requests.TrainingRequest, used: Mapping[str, Mapping[str, str]]
) -> dg.RunRequest:
    inputs = {source: content for asset in request.assets for source, content in used.get(asset, {}).items()}
    return dg.RunRequest(
        run_key=request.run_key,
        job_name=TRAIN,
        partition_key=experiment,
        asset_selection=[dg.AssetKey(asset) for asset in sorted(request.assets)],
        tags={
            requests.EXPERIMENT: experiment,
            requests.TRIGGER: "+".join(request.triggers),
            requests.EVIDENCE: "+".join(request.evidence),
            requests.ATTEMPT: str(request.attempt),
            requests.REASON: request.reason,
            requests.INPUTS: json.dumps(inputs, sort_keys=True),
        },
    )


def _new_inputs(scene: Scene) -> TriggerFindings:
    from churn_assets.monitoring.inputs import Seen, changed_inputs, look, used_inputs
    from churn_assets.offers.log import OfferLogError

    found = _sources(scene)
    sources = [(asset, str(source)) for asset, source in found]
    before = {source: Seen(*kept) for source, kept in scene.memory.get("files", {}).items()}
    seen = {
        str(source): look(source, scene.project.root, before.get(source), scene.now)
        if isinstance(source, str)
        else _looked_at(scene, source)
        for _, source in found
    }
    scene.memory["files"] = {
        source: [each.content, each.stamp, each.changed_at] for source, each in seen.items()
    }
    try:
        lots = _lots_of_decisions(scene)
    except OfferLogError as error:  # the other files are still looked at; the sensor alerts tells people
        scene.told.append(f"decisions cannot be counted: {error}")
        lots = 0
    if lots:
        sources.append(("offer_log", _DECISION_LOG))
        seen[_DECISION_LOG] = Seen(str(lots))
    succeeded = [
        (record.dagster_run.run_id, json.loads(record.dagster_run.tags.get(requests.INPUTS, "{}")))
        for record in reversed(scene.trainings())
        if record.dagster_run.status == dg.DagsterRunStatus.SUCCESS
    ]
    settle = timedelta(seconds=scene.automation.settle_seconds)
    changes = changed_inputs(sources, seen, used_inputs(succeeded), scene.now, settle)
    scene.told += changes.notes
    used: dict[str, dict[str, str]] = {}
    for asset, source in sources:
        used.setdefault(asset, {})[source] = seen[source].content
    return TriggerFindings(changes.findings, used)


def _looked_at(scene: Scene, source: "DatabaseTable") -> "Seen":
    """A table as it was when it was last looked at: a large one is not scanned at every tick."""
    from churn_assets.monitoring.inputs import Seen, look

    about, now = source.model_dump(), {"at": scene.now.isoformat()}
    name = f"content of {source}"
    return Seen(scene.recall(name, about, now, lambda: look(source, scene.project.root).content))


def _lots_of_decisions(scene: Scene) -> int:
    """How many times as many served decisions can be learned from as a training is asked for."""
    served = scene.decisions
    if served is None:
        return 0
    segments = scene.segments()
    learnable: int = scene.recall(
        "learnable",
        served.model_dump(mode="json"),
        scene.known(segments),
        lambda: sum(len(part.frame) for part in scene.learnable(scene.served())),
    )
    every = scene.automation.new_decisions
    scene.told.append(f"{learnable} served decisions can be learned from; each {every} ask for a training")
    return learnable // every


def _sources(scene: Scene) -> "list[tuple[str, TablePlace]]":
    """Assets, each with a file or table that it reads; what comes with the project is code, what is simulated none."""
    from churn_assets.customers.table import EMBEDDED

    found = []
    for asset in scene.inputs:
        section = getattr(scene.experiment, asset)
        source, served = getattr(section, "source", None), getattr(section, "decisions", None)
        if source is not None and source not in EMBEDDED and not getattr(section, "simulated", False):
            found.append((asset, source))
        if served is not None and served.outcomes is not None:
            found.append((asset, served.outcomes))
    return found


def _freshness(scene: Scene) -> TriggerFindings:
    from churn_assets.monitoring.freshness import too_old

    return TriggerFindings(too_old(scene.newest(), scene.automation.max_age_days, scene.now))


def _failed_checks(scene: Scene, required: Required) -> TriggerFindings:
    """Those of a version with which an automatic training ended badly are left to what asked for that training."""
    from churn_assets.monitoring.verdicts import failed_checks, outdated_checks
    from churn_assets.release.bundle import RELEASE_ASSET
    from churn_assets.release.evidence import gather
    from churn_assets.release.promotion import compared_with_another

    store, found = scene.store, {}
    if scene.running():
        scene.told.append("waits for the training in progress")
        return TriggerFindings(())
    ended_badly = {
        record.dagster_run.run_id
        for record in scene.trainings()
        if record.dagster_run.status in (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
    }
    for asset in scene.inputs:
        versions = scene.versions(asset)
        if versions and store.manifest(versions[-1]).provenance.run_id not in ended_badly:
            key = requests.evidence_of(
                {"version": str(versions[-1]), "reports": dict(store.gate_reports(versions[-1]))}
            )
            # Every byte is verified when the reports are new, and then no more: that is what the check itself is for.
            if scene.memory.get(asset) != key:
                evidence = gather(store, versions[-1], required)
                if evidence.problems:
                    found[asset] = evidence
                else:
                    scene.memory[asset] = key
    releases, leader = scene.versions(RELEASE_ASSET), scene.leader()
    outdated = {}
    if releases and leader is not None and releases[-1].version > leader.version:
        about = {"candidate": str(releases[-1]), "leader": str(leader)}
        since = {"at": scene.now.isoformat()}
        texts = scene.recall(
            "outdated",
            about,
            since,
            lambda: [
                [str(ref), why]
                for ref, why in compared_with_another(store, scene.channel, releases[-1], required).items()
            ],
        )
        outdated = {ArtifactRef.parse(ref): why for ref, why in texts}
    return TriggerFindings([*failed_checks(found), *outdated_checks(outdated, leader)])


def _drift(scene: Scene) -> TriggerFindings:
    return _judged(scene, scene.automation.drift, _drifted)


def _live_performance(scene: Scene) -> TriggerFindings:
    return _judged(scene, scene.automation.live, _mistaken)


def _judged(
    scene: Scene, config: BaseModel, judge: Callable[[Scene, ChannelRecord, dict[str, Any]], str]
) -> TriggerFindings:
    """What served decisions call for: windows that are judged are not judged again, and the newest wrong one stands."""
    head, segments = scene.channel.head(), scene.segments()
    if head is None or not segments:
        scene.told.append("no decision of a leading release yet")
        return TriggerFindings(())
    about = {"leader": str(head.ref), "config": config.model_dump(mode="json")}

    def find() -> list[Any]:
        kept = scene.judged("windows judged", about)
        said = judge(scene, head, kept)
        return [said, kept.get("found")]

    said, found = scene.recall("judged", about, scene.known(segments), find)
    if found is None:
        scene.told.append(said)
        return TriggerFindings(())
    trigger, evidence, reason, *assets = found
    return TriggerFindings((Finding(trigger, frozenset(assets), evidence, reason),))


def _drifted(scene: Scene, head: ChannelRecord, kept: dict[str, Any]) -> str:
    from churn_assets.deciding.risk_only import decider_of
    from churn_assets.monitoring.drift import drift_report
    from churn_assets.monitoring.served import Reached, features_and_risk, full_windows, learned_from
    from churn_assets.release.deciding import load_release

    config, leader, log = scene.automation.drift, head.ref, scene.served()
    if kept.get("made") != log.index.made:  # places are another index's: all is judged anew
        kept |= {"made": log.index.made, "reached": asdict(Reached())}
    reached = Reached(**kept["reached"])
    served = log.arrived(reached.place, scene.first_led(leader))
    frames = ((place, live.frame[live.frame["release"] == str(leader)]) for place, live in served)
    reference = None
    for window in full_windows(frames, config.window_decisions, reached):
        if reference is None:
            bundle, models = load_release(scene.store, leader)
            table = scene.project.value(bundle.member("customers").version)
            reference = learned_from(table, decider_of(models, str(leader)), scene.now)
        report = drift_report(reference, features_and_risk(window, models.schema), config)
        if report.drifted:
            found = {"drift of": report.drifted, "window": window.number, "release": str(leader)}
            kept["found"] = ["drift", requests.evidence_of(found), report.reason, *sorted(_LEARNED_FROM)]
        kept["reached"] = asdict(window.reached)
    scene.tell_problems(log)
    windows = kept["reached"]["windows"]
    if not windows:
        return f"fewer than {config.window_decisions} decisions of {leader.version}"
    return f"no drift in {windows} windows of {leader.version}"


def _mistaken(scene: Scene, head: ChannelRecord, kept: dict[str, Any]) -> str:
    from churn_assets.monitoring.live import forecasts, wrong_forecasts

    config, leader, log = scene.automation.live, head.ref, scene.served()
    scene.settled(log, head)
    known, size = log.index.counts()[0], config.window_outcomes
    windows = known // size
    for number in range(kept.get("windows", 0) + 1, windows + 1):
        wrong = wrong_forecasts(forecasts(log.index.rows((number - 1) * size, number * size)), config)
        if wrong:
            said = ", ".join(f"{each.name} is {each.error.value:+.1%} off its forecast" for each in wrong)
            found = {"wrong": [each.name for each in wrong], "window": number, "release": str(leader)}
            kept["found"] = ["live_performance", requests.evidence_of(found), said, *sorted(_LEARNED_FROM)]
    kept["windows"] = windows
    if not windows:
        return f"{known} decisions of {leader.version} with whole outcomes, needed {size}"
    return f"forecasts come true in {windows} windows of {leader.version}"

"""Sensors: thin shells that gather what there is, let pure functions decide, and ask for runs. Off until started."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from churn_assets.experiment import ExperimentError
from churn_assets.monitoring import requests
from churn_assets.monitoring.config import AutomationConfig
from churn_assets.monitoring.requests import Finding, PastRun
from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.errors import StoreError
from jobs.train import train
from resources.project import Project

INTERVAL = 30
"""Least seconds between two ticks of a sensor."""

# More than an experiment can be asked for in four months with the default cap: what lies further back is forgotten,
# and the worst that follows is a run that finds everything unchanged.
_HISTORY = 500
_IN_PROGRESS = (
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)
_ENDED: Mapping[dg.DagsterRunStatus, requests.State] = {
    dg.DagsterRunStatus.SUCCESS: "succeeded",
    dg.DagsterRunStatus.FAILURE: "failed",
    dg.DagsterRunStatus.CANCELED: "stopped",
}
# A run that was created and never handed to the queue: the daemon died in between and did not take it up again.
_LOST_AFTER = timedelta(hours=1)
# What is wrong with one experiment, its files or its store; the others go on.
_BROKEN = (ExperimentError, StoreError, OSError, ValueError)


@dataclass
class Scene:
    """One experiment at one tick.

    Attributes:
        name: The experiment.
        experiment: All of it.
        project: Where it is.
        instance: Dagster's history.
        inputs: Asset to the assets it is made from, of those in the experiment.
        now: Aware time.
        memory: What the sensor remembers of this experiment to be quick; losing it loses nothing.
        told: What the tick says of it.
    """

    name: str
    experiment: Any
    project: Project
    instance: dg.DagsterInstance
    inputs: Mapping[str, Sequence[str]]
    now: datetime
    memory: dict[str, Any]
    told: list[str] = field(default_factory=list)

    @property
    def automation(self) -> AutomationConfig:
        """The section."""
        found: AutomationConfig = self.experiment.automation
        return found

    @property
    def store(self) -> ArtifactStore:
        """The store."""
        return self.project.store(self.name)

    def trainings(self) -> list[dg.RunRecord]:
        """Records of the automatic trainings, newest first."""
        return self._records(dg.RunsFilter(job_name=train.name, tags={requests.EXPERIMENT: self.name}))

    def running(self) -> list[dg.RunRecord]:
        """Records of all trainings in progress, by whomever."""
        partition = {"dagster/partition": self.name}
        return self._records(dg.RunsFilter(tags=partition, statuses=list(_IN_PROGRESS)))

    def _records(self, wanted: dg.RunsFilter) -> list[dg.RunRecord]:
        return list(self.instance.get_run_records(wanted, limit=_HISTORY))


@dataclass(frozen=True)
class Found:
    """What a trigger found.

    Attributes:
        findings: What calls for a training.
        used: By asset, the outside objects that a training of it will use, and their content.
    """

    findings: Sequence[Finding]
    used: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def sensors(flow: Mapping[str, Sequence[str]], interval: int = INTERVAL) -> list[dg.SensorDefinition]:
    """The sensors.

    Args:
        flow: Asset to the assets that it is made from.
        interval: Least seconds between two ticks.
    """
    return [
        _retraining(
            "new_inputs",
            _new_inputs,
            flow,
            interval,
            "A new or changed input file makes what is made from it anew.",
        )
    ]


def _retraining(
    name: str,
    find: Callable[[Scene], Found],
    flow: Mapping[str, Sequence[str]],
    interval: int,
    description: str,
) -> dg.SensorDefinition:
    def visit(scene: Scene) -> list[dg.RunRequest]:
        found = find(scene)
        records = {record.dagster_run.run_id: record for record in [*scene.trainings(), *scene.running()]}
        past = [past_run(record, scene.now) for record in records.values()]
        plan = requests.plan(scene.name, found.findings, past, scene.automation, scene.inputs, scene.now)
        scene.told += [f"{waiting.finding.reason}: waits, {waiting.why}" for waiting in plan.waiting]
        scene.told += [f"{finding.reason}: answered" for finding in plan.answered]
        if plan.request is None:
            return []
        scene.told.append(f"{plan.request.reason}: asks for {', '.join(sorted(plan.request.assets))}")
        return [_training(scene.name, plan.request, found.used)]

    return each_experiment(name, visit, flow, interval, description, [train])


def each_experiment(
    name: str,
    visit: Callable[[Scene], list[dg.RunRequest]],
    flow: Mapping[str, Sequence[str]],
    interval: int,
    description: str,
    jobs: Sequence[Any],
) -> dg.SensorDefinition:
    """A sensor that visits every experiment whose automation is on; one that is broken is told and skipped."""

    @dg.sensor(
        name=name,
        jobs=jobs,
        minimum_interval_seconds=interval,
        default_status=dg.DefaultSensorStatus.STOPPED,
        required_resource_keys={"project"},
        description=description,
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        project: Project = context.resources.project
        memory: dict[str, Any] = json.loads(context.cursor or "{}")
        asked: list[dg.RunRequest] = []
        told: list[str] = []
        for experiment in project.names():
            try:
                config = project.experiment(experiment)
                if not config.automation.enabled:
                    told.append(f"{experiment}: automation.enabled is false")
                    continue
                scene = Scene(
                    name=experiment,
                    experiment=config,
                    project=project,
                    instance=context.instance,
                    inputs=_taking_part(project, experiment, flow),
                    now=datetime.now(UTC),
                    memory=memory.setdefault(experiment, {}),
                )
                asked += visit(scene)
                told += [f"{experiment}: {line}" for line in scene.told or ["nothing to do"]]
            except _BROKEN as error:
                told.append(f"{experiment}: cannot be looked at: {type(error).__name__}: {error}")
                context.log.error(told[-1])
        for line in told:
            context.log.info(line)
        said = None if asked else dg.SkipReason("\n".join(told) or "there is no experiment")
        return dg.SensorResult(
            run_requests=asked, skip_reason=said, cursor=json.dumps(memory, sort_keys=True)
        )

    return sensor


def past_run(record: dg.RunRecord, now: datetime) -> PastRun:
    """A run of Dagster's history as the plan sees it."""
    run, asked = record.dagster_run, record.create_timestamp.astimezone(UTC)
    evidence = run.tags.get(requests.EVIDENCE, "")
    lost = run.status == dg.DagsterRunStatus.NOT_STARTED and now - asked > _LOST_AFTER
    return PastRun(
        run_id=run.run_id,
        evidence=frozenset(evidence.split("+")) - {""},
        attempt=int(run.tags.get(requests.ATTEMPT, "1")),
        state="failed" if lost else _ENDED.get(run.status, "in_progress"),
        requested_at=asked,
        ended_at=datetime.fromtimestamp(record.end_time, UTC) if record.end_time else None,
    )


def _taking_part(
    project: Project, experiment: str, flow: Mapping[str, Sequence[str]]
) -> dict[str, Sequence[str]]:
    return {asset: made_from for asset, made_from in flow.items() if project.takes_part(experiment, asset)}


def _training(
    experiment: str, request: requests.Request, used: Mapping[str, Mapping[str, str]]
) -> dg.RunRequest:
    inputs = {source: content for asset in request.assets for source, content in used.get(asset, {}).items()}
    return dg.RunRequest(
        run_key=request.run_key,
        job_name=train.name,
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


def _new_inputs(scene: Scene) -> Found:
    from churn_assets.monitoring.inputs import Seen, changed_inputs, look, used_inputs

    sources = _sources(scene)
    before = {source: Seen(*kept) for source, kept in scene.memory.items()}
    seen = {source: look(source, scene.project.root, before.get(source)) for source in sources.values()}
    scene.memory.clear()
    scene.memory.update(
        {source: [each.content, each.stamp, each.changed_at] for source, each in seen.items()}
    )
    succeeded = [
        (record.dagster_run.run_id, json.loads(record.dagster_run.tags.get(requests.INPUTS, "{}")))
        for record in reversed(scene.trainings())
        if record.dagster_run.status == dg.DagsterRunStatus.SUCCESS
    ]
    settle = timedelta(seconds=scene.automation.settle_seconds)
    changes = changed_inputs(sources, seen, used_inputs(succeeded), scene.now, settle)
    scene.told += changes.notes
    return Found(
        changes.findings, {asset: {source: seen[source].content} for asset, source in sources.items()}
    )


def _sources(scene: Scene) -> dict[str, str]:
    """Asset to the file that it reads, of those that read one; tables that come with the project are code."""
    from churn_assets.customers.table import EMBEDDED

    found = {}
    for asset in scene.inputs:
        source = getattr(getattr(scene.experiment, asset), "source", None)
        simulated = getattr(getattr(scene.experiment, asset), "simulated", False)
        if source is not None and source not in EMBEDDED and not simulated:
            found[asset] = source
    return found

"""What every sensor shares: a visit of each experiment, the run history as the plan sees it. Decides nothing."""

import json
import logging
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import tee
from typing import TYPE_CHECKING, Any

import dagster as dg

from churn_assets.experiment import ExperimentError
from churn_assets.monitoring import requests
from churn_assets.monitoring.config import AutomationConfig
from churn_assets.monitoring.requests import PastRun
from churn_assets.release.evidence import Required
from churn_assets.release.promotion import PromotionDecision
from churn_assets.release.trial import RunningTrial, trial_now
from churn_assets.store.acts import ActRecord
from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.channels import Channel, ChannelRecord
from churn_assets.store.errors import ContentError, StoreError
from churn_assets.store.reference import ArtifactRef
from churn_assets.store.tried import trial_log
from jobs.abandoned import fail_abandoned
from jobs.train import TRAIN
from resources.project import Project

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from churn_assets.offers.live import LiveLog, ServedLog
    from churn_assets.offers.offer_rows import OfferRows

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
# How much longer than it took is waited until something costly is looked for again.
_PATIENCE = 20
# What is wrong with one experiment, its files or its store; the others go on.
BROKEN = (ExperimentError, StoreError, OSError, ValueError, sqlite3.Error)


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
        log: The tick's log.
        told: What the tick says of it.
    """

    name: str
    experiment: Any
    project: Project
    instance: dg.DagsterInstance
    inputs: Mapping[str, Sequence[str]]
    now: datetime
    memory: dict[str, Any]
    log: logging.Logger
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

    @property
    def channel(self) -> Channel:
        """The experiment's own channel."""
        return Channel(self.store, self.experiment.channel)

    def leader(self) -> ArtifactRef | None:
        """The release that leads it."""
        head = self.channel.head()
        return None if head is None else head.ref

    def trials(self) -> list[ActRecord]:
        """The log of trials, oldest first; none where it is not sound, which is told and stops nothing else."""
        try:
            return trial_log(self.store, self.channel.name).history()
        except ContentError as error:
            self.told.append(f"trials are left out: {error}")
            return []

    def trial(self) -> RunningTrial | None:
        """The trial that goes on, likewise; none where its record holds no design."""
        try:
            return trial_now(self.store, self.channel, self.now) if self.trials() else None
        except ContentError as error:
            self.told.append(f"trials are left out: {error}")
            return None

    def first_led(self, release: ArtifactRef) -> datetime:
        """When a release began to lead for the first time; it was served at no time before."""
        return min(record.at for record in self.channel.history() if record.ref == release)

    def versions(self, asset: str) -> list[ArtifactRef]:
        """Versions of an asset, oldest first."""
        return self.store.versions(self.name, asset)

    @property
    def decisions(self) -> Any:
        """The section `offer_log.decisions`; None where served decisions are not learned from."""
        if "offer_log" not in self.inputs:
            return None
        return getattr(self.experiment.offer_log, "decisions", None)

    def newest(self) -> dict[str, ArtifactRef]:
        """The newest version of every asset of the experiment that has one."""
        return {asset: versions[-1] for asset in self.inputs if (versions := self.versions(asset))}

    def segments(self) -> list[str]:
        """Segments of the decision log in the store; what stands among them and is none is told."""
        from churn_assets.offers.stored_log import list_log

        listing = list_log(self.store.backend, self.name)
        self.told += [f"{key}: ignored, it is no segment of the decision log" for key in listing.foreign]
        return list(listing.segments)

    def served(self) -> "ServedLog":
        """Decisions that were served, with the outcomes that were posted or stand in the experiment's file of them.

        What was read at a tick before is not read again; a segment that does not verify is told and left out.
        """
        from churn_assets.offers.decision_index import DecisionIndex
        from churn_assets.offers.economics import OF_STAYERS
        from churn_assets.offers.live import ServedLog
        from churn_assets.offers.outcome_file import outcome_reports
        from churn_assets.tables.source import source_content

        config, root = self.decisions, self.project.root
        where = requests.evidence_of({"store": self.project.store_uri(self.name)})
        index = DecisionIndex(
            root / ".churn" / "decision_index" / f"{self.name}-{where}.sqlite",
            # A flow of another kind has neither prices nor decisions.
            getattr(self.experiment.customers, "monthly_revenue", ""),
            self.automation.live.slices,
            getattr(self.experiment, "served_terms", OF_STAYERS),
        )
        log = ServedLog(self.store.backend, self.name, index)
        if config is None or config.outcomes is None:
            log.refresh()
        else:
            digest = f"{source_content(config.outcomes, root)} {config.reading}"
            outcome = self.experiment.economics.outcome
            log.refresh(digest, lambda: outcome_reports(config.outcomes, root, config.reading, outcome))
        self.tell_problems(log)
        return log

    def tell_problems(self, log: "ServedLog") -> None:
        """What of the decision log could not be read so far."""
        for key, why in log.problems.items():
            self.log.error(f"{self.name}: {key} is left out: {why}")

    def learnable(self, log: "ServedLog", chunks: "Iterable[LiveLog] | None" = None) -> "Iterator[OfferRows]":
        """The served decisions that can be learned from by now, segment by segment, of all or of some segments."""
        from churn_assets.monitoring.served import label_window
        from churn_assets.offers.economics import catalogue
        from churn_assets.offers.offer_rows import offer_rows_of

        experiment = self.experiment
        return offer_rows_of(
            log,
            experiment.economics,
            catalogue(experiment.arms, experiment.economics),
            experiment.customers.monthly_revenue,
            now=self.now,
            window=label_window(experiment),
            chunks=chunks,
        )

    def newest_first(
        self, log: "ServedLog", since: datetime | None = None
    ) -> "tuple[Iterable[LiveLog], Iterable[OfferRows]]":
        """Segment by segment, newest first, the served decisions and those of them that `learnable` gives.

        Args:
            log: As of `served`.
            since: Leave out segments that were full before.
        """
        from churn_assets.monitoring.served import label_window

        shown, asked = tee(log.newest_first(until=self.now - label_window(self.experiment), since=since))
        return shown, self.learnable(log, asked)

    def settled(self, log: "ServedLog", head: ChannelRecord) -> None:
        """Give a place to the leading release's decisions whose outcome became whole since the last tick."""
        from churn_assets.monitoring.reigns import reign_of
        from churn_assets.monitoring.served import label_window

        if head.at > self.now:
            self.told.append(
                f"record {head.seq} is dated {head.at:%Y-%m-%d %H:%M} UTC, which is still to come: a clock "
                "was wrong; all decisions of its release count"
            )
        log.index.settle(reign_of(head, self.trials()), self.now, label_window(self.experiment))

    def known(self, segments: Sequence[str]) -> dict[str, Any]:
        """What is known of decisions by now; of the hour too, as outcomes become whole by waiting."""
        return {"segments": list(segments), "hour": f"{self.now:%Y-%m-%d %H}"}

    def recall(
        self, name: str, about: Mapping[str, Any], since: Mapping[str, Any], find: Callable[[], Any]
    ) -> Any:
        """What was found when it was last looked for, as JSON.

        Looked for anew when it is about something else; when only more is known by now, after a while that grows with
        how long it takes, so that a sensor reads a long log in a twentieth of the time at most.

        Args:
            name: What.
            about: What it is about.
            since: What it was found from.
            find: Look for it.
        """
        asked = [requests.evidence_of(about), requests.evidence_of(since)]
        kept = self.memory.get(name, {"asked": [None, None], "at": 0.0, "wait": 0.0})
        # By a clock that was set meanwhile nothing waits: at a time before the last look, it is looked at again.
        waits = 0 <= self.now.timestamp() - kept.get("at", 0.0) < kept.get("wait", 0.0)
        if kept["asked"] == asked or (waits and kept["asked"][0] == asked[0]):
            return kept["found"]
        began = time.monotonic()
        found = find()
        wait = _PATIENCE * (time.monotonic() - began)
        self.memory[name] = {"asked": asked, "found": found, "at": self.now.timestamp(), "wait": wait}
        return found

    def judged(self, name: str, about: Mapping[str, Any]) -> dict[str, Any]:
        """What was judged already and what was found, to go on from; empty where it is about something else now.

        Losing it loses nothing: all is judged anew.
        """
        asked = requests.evidence_of(about)
        kept: dict[str, Any] = self.memory.get(name, {})
        if kept.get("about") != asked:
            kept = self.memory[name] = {"about": asked}
        return kept

    def trainings(self) -> list[dg.RunRecord]:
        """Records of the automatic trainings, newest first."""
        return self.asked_of(TRAIN)

    def asked_of(self, job: str) -> list[dg.RunRecord]:
        """Records of the runs of a job that sensors asked for, newest first."""
        return self._records(dg.RunsFilter(job_name=job, tags={requests.EXPERIMENT: self.name}))

    def running(self) -> list[dg.RunRecord]:
        """Records of all trainings in progress, by whomever."""
        wanted = dg.RunsFilter(tags={"dagster/partition": self.name}, statuses=list(_IN_PROGRESS))
        found = self._records(wanted)
        return [record for record in found if self.past(record).state == "in_progress"]

    def past(self, record: dg.RunRecord) -> PastRun:
        """A run of Dagster's history as the plan sees it."""
        return past_run(record, self.now, self.project.config_digest(self.name))

    def _records(self, wanted: dg.RunsFilter) -> list[dg.RunRecord]:
        return list(self.instance.get_run_records(wanted, limit=_HISTORY))


@dataclass(frozen=True)
class BrokenExperiment:
    """An experiment that cannot be looked at at one tick.

    Attributes:
        name: The experiment.
        why: What is wrong.
        project: Where it is.
        memory: As of `Scene`.
        log: The tick's log.
        told: What the tick says.
    """

    name: str
    why: str
    project: Project
    memory: dict[str, Any]
    log: logging.Logger
    told: list[str]


def each_experiment(
    name: str,
    visit: Callable[[Scene], list[dg.RunRequest]],
    flow: Mapping[str, Sequence[str]],
    interval: int,
    description: str,
    job: str,
    *,
    while_off: bool = False,
    broken: Callable[["BrokenExperiment"], bool] = lambda _: True,
) -> dg.SensorDefinition:
    """A sensor that visits every experiment; one that is broken, or whose file is gone, is told and skipped.

    Args:
        name: Of the sensor.
        visit: What it does with one experiment; the runs to ask for.
        flow: Asset to the assets that it is made from.
        interval: Least seconds between two ticks.
        description: For the UI.
        job: What it may ask for. By name: Dagster would copy a sensor of a job, with a warning about its own argument.
        while_off: Visit experiments whose automation is off, too.
        broken: Told of every experiment that cannot be looked at; whether people know of it now.
    """

    @dg.sensor(
        name=name,
        job_name=job,
        minimum_interval_seconds=interval,
        default_status=dg.DefaultSensorStatus.STOPPED,
        required_resource_keys={"project"},
        description=description,
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        fail_abandoned(context.instance, context.log)
        project: Project = context.resources.project
        memory: dict[str, Any] = json.loads(context.cursor or "{}")
        asked: list[dg.RunRequest] = []
        told: list[str] = []
        named = _named(project, memory, told, context.log)
        for experiment in sorted({*named, *memory}):
            try:
                config = project.experiment(experiment)
                if not (config.automation.enabled or while_off):
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
                    log=context.log,
                )
                asked += visit(scene)
                told += [f"{experiment}: {line}" for line in scene.told or ["nothing to do"]]
            except BROKEN as error:
                told.append(f"{experiment}: cannot be looked at: {type(error).__name__}: {error}")
                context.log.error(told[-1])
                about = memory.setdefault(experiment, {})
                why = f"{type(error).__name__}: {error}"
                known = broken(BrokenExperiment(experiment, why, project, about, context.log, told))
                if known and experiment not in named:
                    del memory[experiment]  # whoever took its file away was told once
        for line in told:
            context.log.info(line)
        said = None if asked else dg.SkipReason("\n".join(told) or "there is no experiment")
        return dg.SensorResult(
            run_requests=asked, skip_reason=said, cursor=json.dumps(memory, sort_keys=True)
        )

    return sensor


def _named(
    project: Project, memory: Mapping[str, Any], told: list[str], log: logging.Logger
) -> Sequence[str]:
    """Experiments that have a file; where their folder cannot be listed, those that were visited before."""
    try:
        return project.names()
    except OSError as error:
        if not memory:
            raise
        told.append(f"new experiments are not seen: {type(error).__name__}: {error}")
        log.error(told[-1])
        return list(memory)


def considered(
    scene: Scene, candidate: ArtifactRef, head: ChannelRecord | None, required: Required
) -> PromotionDecision:
    """Whether a candidate may lead and would change anything: its bytes, its gates, what it was compared with.

    Recalled, as it costs reading.
    """
    from churn_assets.release.promotion import changes_nothing, consider, taken_back

    def find() -> dict[str, Any]:
        if head is not None and changes_nothing(scene.store, candidate, head.ref):
            why = f"it decides and writes as {head.ref.version} does, which leads"
            return asdict(PromotionDecision(promote=False, reason=why))
        for ref, at in taken_back(scene.channel.history()).items():
            if changes_nothing(scene.store, candidate, ref):
                why = f"it decides and writes as {ref.version} does, which was taken back at {at:%Y-%m-%d %H:%M} UTC"
                return asdict(PromotionDecision(promote=False, reason=why))
        return asdict(consider(scene.store, scene.channel, candidate, required))

    about = {"candidate": str(candidate), "record": 0 if head is None else head.seq}
    found = scene.recall(
        "considered",
        about,
        {"at": scene.now.isoformat()},  # checks of a new release may still be running
        find,
    )
    return PromotionDecision(**found)


def past_run(record: dg.RunRecord, now: datetime, config: str) -> PastRun:
    """A run of Dagster's history as the plan sees it, with what the experiment says now."""
    run, asked = record.dagster_run, record.create_timestamp.astimezone(UTC)
    evidence = run.tags.get(requests.EVIDENCE, "")
    refused = run.status == dg.DagsterRunStatus.FAILURE and run.tags.get(requests.REFUSED) == config
    lost = run.status == dg.DagsterRunStatus.NOT_STARTED and abs(now - asked) > _LOST_AFTER
    return PastRun(
        run_id=run.run_id,
        evidence=frozenset(evidence.split("+")) - {""},
        attempt=int(run.tags.get(requests.ATTEMPT, "1")),
        state="failed" if lost else "refused" if refused else _ENDED.get(run.status, "in_progress"),
        requested_at=asked,
        ended_at=datetime.fromtimestamp(record.end_time, UTC) if record.end_time else None,
    )


def _taking_part(
    project: Project, experiment: str, flow: Mapping[str, Sequence[str]]
) -> dict[str, Sequence[str]]:
    return {asset: made_from for asset, made_from in flow.items() if project.takes_part(experiment, asset)}

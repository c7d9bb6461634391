"""A toy project whose tables are files, with automation: two tables, a model of each, and a release of all four."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import yaml
from pydantic import BaseModel, ConfigDict
from toy_flow import TOY_PATH, toy_release

from churn_assets.definitions import Overrides, build_defs, build_project
from churn_assets.experiment import ExperimentError, StoreConfig
from churn_assets.flow.asset import EVERY_MEMBER, AssetSpec, Made, Step, asset
from churn_assets.flow.check import CheckSpec
from churn_assets.gates.report import Gate, Outcome
from churn_assets.monitoring.config import AutomationConfig
from churn_assets.monitoring.requests import EXPERIMENT
from churn_assets.release.bundle import Member
from churn_assets.store.canonical import sha256_file
from resources.project import Project

ROOT = "WATCHED_ROOT"
MEMBERS = ("customers", "offer_log", "risk_model", "accept_model")


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Nothing(_Section):
    """The section of an asset that is configured by nothing."""


class Source(_Section):
    source: str


class Scale(_Section):
    scale: float = 1.0
    smallest: float = 0.0
    seconds: float = 0.0


class Watched(_Section):
    name: str
    seed: int = 7
    store: StoreConfig = StoreConfig(uri="store")
    channel: str
    customers: Source
    offer_log: Source
    risk_model: Scale = Scale()
    accept_model: Scale = Scale()
    release: Nothing = Nothing()
    automation: AutomationConfig = AutomationConfig()


def read_watched(name: str, config_dir: Path) -> Watched:
    content = yaml.safe_load((config_dir / f"{name}.yaml").read_text())
    if not isinstance(content, dict):
        raise ExperimentError([f"{name}.yaml: no sections"])
    return Watched(name=name, **content)


def _numbers(step: Step[Source]) -> list[float]:
    return [float(line) for line in (step.root / step.config.source).read_text().split()]


def _digest(step: Step[Source]) -> str:
    return sha256_file(step.root / step.config.source)


def _large(subject: float, config: Scale) -> Outcome:
    return Outcome((Gate("mean", subject, ">=", config.smallest),))


def _not_worse(subject: float, champion: float | None) -> Outcome:
    return Outcome((Gate("gain", 0.0 if champion is None else subject - champion, ">=", -1000.0),))


CHECKS = (
    CheckSpec("is_large", "The mean is large enough.", "Feed it larger numbers.", _large),
    CheckSpec("not_worse", "No worse.", "Keep the champion.", _not_worse),
)


def watched_flow(code: Path) -> tuple[AssetSpec, ...]:
    common: dict[str, Any] = {"kinds": ("json",), "description": "A toy."}
    member = common | {"format": TOY_PATH, "branch": "decision"}

    @asset(stage="customers", config=Source, data=_digest, **member)
    def customers(step: Step[Source]) -> Made:
        return Made(_numbers(step))

    @asset(stage="offers", config=Source, data=_digest, **member)
    def offer_log(step: Step[Source], customers: list[float]) -> Made:
        return Made(_numbers(step))

    @asset(stage="risk", config=Scale, checks=CHECKS, **member)
    def risk_model(step: Step[Scale], customers: list[float]) -> Made:
        time.sleep(step.config.seconds)
        return Made(sum(customers) / len(customers))

    @asset(stage="response", config=Scale, **member)
    def accept_model(step: Step[Scale], customers: list[float], offer_log: list[float]) -> Made:
        return Made(sum(offer_log) / len(offer_log))

    @asset(
        stage="release",
        config=Nothing,
        inputs=EVERY_MEMBER,
        lazy=True,
        format="churn_assets.release.bundle:RELEASE",
        **common,
    )
    def release(step: Step[Nothing], **members: Any) -> Made:
        found = {name: Member(ref=str(m.ref), digest=m.manifest.digest) for name, m in members.items()}
        return Made(toy_release(step.experiment, found))

    assets = (customers, offer_log, risk_model, accept_model, release)
    return tuple(replace(each, source=lambda: sha256_file(code)) for each in assets)


def build(root: Path) -> tuple[Project, dg.Definitions]:
    overrides = Overrides(root=root, flow=watched_flow(root / "code.py"), sensor_interval=2)
    project = replace(build_project(overrides), read=read_watched)
    return project, build_defs(overrides, project)


AUTOMATION = {"enabled": True, "cooldown_hours": 0.0, "daily_cap": 100, "settle_seconds": 0.0}


def configure(root: Path, name: str = "toy", **sections: Any) -> None:
    automation = AUTOMATION | sections.pop("automation", {})
    content = {
        "channel": name,
        "customers": {"source": f"{name}_customers.csv"},
        "offer_log": {"source": f"{name}_offers.csv"},
        "automation": automation,
    }
    for section in ("customers", "offer_log"):
        path = root / content[section]["source"]
        if not path.exists():
            path.write_text("1\n2\n6\n")
    (root / "configs").mkdir(exist_ok=True)
    (root / "configs" / f"{name}.yaml").write_text(yaml.safe_dump(content | sections))
    (root / "code.py").write_text("A = 1\n")


@dataclass
class Loop:
    """The toy project on a real instance; the test is the daemon: it ticks sensors and runs what they ask for."""

    root: Path
    instance: dg.DagsterInstance
    project: Project
    defs: dg.Definitions
    cursors: dict[str, str | None]

    def configure(self, name: str = "toy", **sections: Any) -> None:
        configure(self.root, name, **sections)

    def write(self, asset: str, text: str, name: str = "toy") -> None:
        file = {"customers": "customers", "offer_log": "offers"}[asset]
        (self.root / f"{name}_{file}.csv").write_text(text)

    def tick(self, sensor: str) -> dg.SensorResult:
        repository = self.defs.get_repository_def()
        context = dg.build_sensor_context(
            instance=self.instance,
            cursor=self.cursors.get(sensor),
            repository_def=repository,
            resources={"project": self.project},
        )
        result = repository.get_sensor_def(sensor).evaluate_tick(context)
        self.cursors[sensor] = result.cursor
        return result

    def asked(self, sensor: str) -> list[dg.RunRequest]:
        return list(self.tick(sensor).run_requests or [])

    def said(self, sensor: str) -> str:
        made = self.tick(sensor)
        assert not made.run_requests
        return made.skip_message

    def run(self, request: dg.RunRequest) -> dg.ExecuteInProcessResult:
        """What the daemon and the run do with a request."""
        self.wait_for_another_second()
        return self.defs.resolve_job_def(request.job_name).execute_in_process(
            instance=self.instance,
            partition_key=request.partition_key,
            asset_selection=request.asset_selection,
            run_config=request.run_config or None,
            tags=dict(request.tags) | {"dagster/run_key": request.run_key},
            raise_on_error=False,
        )

    def started(self, request: dg.RunRequest) -> str:
        """A run that is in progress, for a test to end."""
        run = self.instance.create_run_for_job(
            self.defs.resolve_job_def(request.job_name),
            tags=dict(request.tags) | {"dagster/partition": request.tags[EXPERIMENT]},
            status=dg.DagsterRunStatus.STARTED,
        )
        return run.run_id

    def end(self, run_id: str, event: dg.DagsterEventType) -> None:
        run = self.instance.get_run_by_id(run_id)
        self.instance.report_dagster_event(dg.DagsterEvent(event.value, run.job_name), run_id)

    @staticmethod
    def wait_for_another_second() -> None:
        """Versions are named by the second."""
        time.sleep(1.0 - time.time() % 1.0)

    def versions(self, asset: str, name: str = "toy") -> int:
        return len(self.project.store(name).versions(name, asset))

    @property
    def now(self) -> datetime:
        return datetime.now(UTC)


if ROOT in os.environ:
    defs = build(Path(os.environ[ROOT]))[1]

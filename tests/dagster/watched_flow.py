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

from churn_assets.definitions import Checked, Overrides, build_defs, build_project
from churn_assets.experiment import ExperimentError
from churn_assets.gates.report import Gate, Outcome
from churn_assets.gates.spec import CheckSpec
from churn_assets.monitoring.config import AutomationConfig
from churn_assets.monitoring.requests import EXPERIMENT
from churn_assets.release.bundle import Member
from churn_assets.store.canonical import sha256_file
from resources.project import Project
from resources.stage import Made, Step, stage_asset

ROOT = "WATCHED_ROOT"
MEMBERS = ("customers", "offer_log", "risk_model", "accept_model")


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(_Section):
    source: str


class Scale(_Section):
    scale: float = 1.0
    smallest: float = 0.0
    seconds: float = 0.0


class StoreSection(_Section):
    uri: str


class Watched(_Section):
    name: str
    seed: int = 7
    store: StoreSection = StoreSection(uri="store")
    channel: str
    customers: Source
    offer_log: Source
    risk_model: Scale = Scale()
    accept_model: Scale = Scale()
    release: _Section = _Section()
    automation: AutomationConfig = AutomationConfig()


def read_watched(name: str, config_dir: Path) -> Watched:
    content = yaml.safe_load((config_dir / f"{name}.yaml").read_text())
    if not isinstance(content, dict):
        raise ExperimentError([f"{name}.yaml: no sections"])
    return Watched(name=name, **content)


def _numbers(step: Step, asset: str) -> list[float]:
    return [float(line) for line in (step.root / step.section(asset).source).read_text().split()]


def _digest(asset: str) -> Any:
    return lambda step: sha256_file(step.root / step.section(asset).source)


def _large(subject: float, inputs: Any) -> Outcome:
    return Outcome((Gate("mean", subject, ">=", inputs.section("risk_model").smallest),))


def _not_worse(subject: float, inputs: Any) -> Outcome:
    led = inputs.champions("risk_model")
    return Outcome((Gate("gain", 0.0 if led is None else subject - led[0], ">=", -1000.0),))


def watched_flow(code: Path) -> tuple[Checked, ...]:
    common = {"format": TOY_PATH, "kinds": ("json",), "description": "A toy."}

    @stage_asset(stage="customers", sections=("customers",), data=_digest("customers"), **common)
    def customers(step: Step) -> Made:
        return Made(_numbers(step, "customers"))

    @stage_asset(
        stage="offers", sections=("offer_log",), inputs=("customers",), data=_digest("offer_log"), **common
    )
    def offer_log(step: Step, customers: list[float]) -> Made:
        return Made(_numbers(step, "offer_log"))

    @stage_asset(stage="risk", sections=("risk_model",), inputs=("customers",), **common)
    def risk_model(step: Step, customers: list[float]) -> Made:
        time.sleep(step.section("risk_model").seconds)
        return Made(sum(customers) / len(customers))

    @stage_asset(stage="response", sections=("accept_model",), inputs=("customers", "offer_log"), **common)
    def accept_model(step: Step, customers: list[float], offer_log: list[float]) -> Made:
        return Made(sum(offer_log) / len(offer_log))

    @stage_asset(
        stage="release",
        sections=("release",),
        inputs=MEMBERS,
        lazy=True,
        **common | {"format": "churn_assets.release.bundle:RELEASE"},
    )
    def release(step: Step, *members: Any) -> Made:
        found = {m.ref.asset: Member(ref=str(m.ref), digest=m.manifest.digest) for m in members}
        return Made(toy_release(step.experiment, found))

    is_large = CheckSpec(
        "is_large", "The mean is large enough.", "Feed it larger numbers.", _large, sections=("risk_model",)
    )
    not_worse = CheckSpec("not_worse", "No worse.", "Keep the champion.", _not_worse, against_champion=True)
    checks = {"risk_model": (is_large, not_worse)}
    assets = (customers, offer_log, risk_model, accept_model, release)
    return tuple(
        Checked(replace(asset, sources=lambda: [code]), checks.get(asset.name, ())) for asset in assets
    )


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

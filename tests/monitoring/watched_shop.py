"""A project with releases of small real models, served for real to customers who answer, with automation on."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import yaml

from benchmarks.served import (
    EXPERIMENT,
    FittedModels,
    Project,
    Server,
    fit_models,
    new_project,
    publish_release,
    questions,
)
from churn_assets.customers.table import CustomerTable, read_customers
from churn_assets.decision.policy import DecisionPolicy
from churn_assets.definitions import Overrides, build_defs, build_project
from churn_assets.flow.check import LOADS_AND_AGREES
from churn_assets.flow.registry import registry
from churn_assets.gates.report import Gate, GateReport
from churn_assets.release.bundle import RELEASE
from churn_assets.store.artifacts import ArtifactRef

REQUIRED = registry().checks
SECRET = {"CHURN_ASSIGNMENT_KEY": "a secret of some length"}
AUTOMATION: dict[str, Any] = {
    "enabled": True,
    "cooldown_hours": 0.0,
    "drift": {"window_decisions": 1_000},
    "live": {"window_outcomes": 1_000, "min_outcomes": 1_000},
    "promotion": {
        "mode": "auto",
        "min_decisions": 1_000,
        "min_gap_hours": 0.0,
        "rule": "not_worse",
        "error": 0.4,
    },
}
Asked = list[dict[str, Any]]


@dataclass
class WatchedShop:
    """A folder in one state, and what a sensor says of it on a real instance."""

    project: Project
    table: CustomerTable
    releases: dict[str, ArtifactRef]
    fitted: dict[int, FittedModels] = field(default_factory=dict)
    cursors: dict[str, str | None] = field(default_factory=dict)

    def copy_to(self, root: Path) -> WatchedShop:
        shutil.copytree(self.project.root, root)
        return WatchedShop(Project(root), self.table, dict(self.releases), self.fitted)

    def publish(
        self, name: str, seed: int, change: Callable[[DecisionPolicy], DecisionPolicy]
    ) -> ArtifactRef:
        """Models of one seed are fitted once, whatever becomes of their policy."""
        if seed not in self.fitted:
            self.fitted[seed] = fit_models(
                self.project.experiment, self.table, rows=15_000, timesteps=32_768, seed=seed
            )
        models = self.fitted[seed]
        self.releases[name] = publish_release(self.project, replace(models, policy=change(models.policy)))
        time.sleep(1.0)  # versions are named by the second
        return self.releases[name]

    def configure(self, **automation: Any) -> None:
        self._change("automation", automation)

    def read_outcomes_from(self, file: str) -> None:
        self._change("offer_log", {"decisions": {"window_days": 0.0, "outcomes": file}})

    def learn_from_decisions(self, **automation: Any) -> None:
        self._change("offer_log", {"decisions": {"window_days": 0.0}})
        self.configure(**automation)

    def _change(self, section: str, changes: dict[str, Any]) -> None:
        path = self.project.root / "configs" / f"{EXPERIMENT}.yaml"
        content = yaml.safe_load(path.read_text())
        content[section] = content[section] | changes
        path.write_text(yaml.safe_dump(content))

    def serve(
        self,
        waves: int,
        *,
        asked: Callable[[Asked], Asked] = lambda asked: asked,
        churn: Callable[[dict[str, Any]], float] = lambda decision: 1 - decision["retention_probability"],
        file: Path | None = None,
    ) -> None:
        """Ask for everybody, some times under other names, and tell the server, or a file, what became of it."""
        rng = np.random.default_rng(7)
        told: list[dict[str, Any]] = []
        with Server(self.project, environment=SECRET).start() as server, server.client() as client:
            for wave in range(waves):
                found = asked(questions(self.table))
                named = [each | {"customer_id": f"{each['customer_id']}-{wave}"} for each in found]
                for start in range(0, len(named), 500):
                    answer = client.post("/v1/decisions", json={"customers": named[start : start + 500]})
                    assert answer.status_code == 200, answer.text
                    decisions = answer.json()["decisions"]
                    outcomes = [
                        {
                            "decision_id": each["decision_id"],
                            "churned": bool(rng.random() < churn(each)),
                            "accepted": bool(rng.random() < each["acceptance_probability"]),
                        }
                        for each in decisions
                    ]
                    told += outcomes
                    if file is None:
                        assert client.post("/v1/outcomes", json={"outcomes": outcomes}).status_code in (
                            200,
                            201,
                        )
            server.stop()
        if file is not None:
            pd.DataFrame(told).to_csv(file, index=False)

    def prove(self, ref: ArtifactRef, champion: ArtifactRef | None) -> None:
        """Store passing reports of every check that promotion asks for."""
        store = self.project.store
        leading = {} if champion is None else self.members(champion)
        for version in (ref, *self.members(ref).values()):
            specs = REQUIRED[version.asset]
            against = {spec.name for spec in specs if spec.against_champion}
            for check in {LOADS_AND_AGREES, *(spec.name for spec in specs)}:
                compared = leading.get(version.asset) if version.asset != "release" else champion
                report = GateReport(
                    check=check,
                    asset=version.asset,
                    version=version.version,
                    digest=store.manifest(version).digest,
                    key="k",
                    champion=str(compared) if check in against and compared is not None else None,
                    gates=(Gate("figure", 1.0, ">=", 0.5),),
                    advice="",
                )
                store.add_gate_report(version, check, report.to_json())

    def members(self, ref: ArtifactRef) -> dict[str, ArtifactRef]:
        bundle = self.project.store.load(ref, RELEASE).bundle
        return {asset: member.version for asset, member in bundle.members.items()}

    def tick(self, sensor: str, instance: dg.DagsterInstance) -> dg.SensorResult:
        overrides = Overrides(root=self.project.root)
        repository = build_defs(overrides).get_repository_def()
        context = dg.build_sensor_context(
            instance=instance,
            cursor=self.cursors.get(sensor),
            repository_def=repository,
            resources={"project": build_project(overrides)},
        )
        result = repository.get_sensor_def(sensor).evaluate_tick(context)
        self.cursors[sensor] = result.cursor
        return result

    def said(self, sensor: str, instance: dg.DagsterInstance) -> str:
        result = self.tick(sensor, instance)
        assert not result.run_requests
        return result.skip_message

    def asked(self, sensor: str, instance: dg.DagsterInstance) -> dg.RunRequest:
        result = self.tick(sensor, instance)
        assert result.run_requests, result.skip_message
        (request,) = result.run_requests
        return request

    def act(self, request: dg.RunRequest, instance: dg.DagsterInstance) -> bool:
        """What the daemon does with a request for an act on the channel; whether it succeeded."""
        overrides = Overrides(root=self.project.root)
        job = build_defs(overrides).resolve_job_def(request.job_name)
        done = job.execute_in_process(
            run_config=request.run_config, tags=request.tags, instance=instance, raise_on_error=False
        )
        return done.success


def unchanged(policy: DecisionPolicy) -> DecisionPolicy:
    return policy


def surer(policy: DecisionPolicy) -> DecisionPolicy:
    """Other bytes that prefer what the policy prefers."""
    *hidden, (weight, bias) = policy.layers
    return replace(policy, layers=(*hidden, (2 * weight, 2 * bias)), skip=2 * policy.skip)


def build_watched_shop(root: Path) -> WatchedShop:
    """A release that leads and served three waves, one that decides otherwise, and one of other bytes that does not."""
    project = new_project(root)
    path = root / "configs" / f"{EXPERIMENT}.yaml"
    content = yaml.safe_load(path.read_text())
    content["offer_log"]["decisions"] = {"window_days": 0.0}
    content["serving"] = {"holdout_share": 0.15, "exploration_share": 0.3}
    content["serving"]["decision_log"] = {"ship_seconds": 0.5, "segment_seconds": 1.0}
    content["automation"] = AUTOMATION
    path.write_text(yaml.safe_dump(content))
    experiment = project.experiment
    table = read_customers(experiment.customers, seed=experiment.seed, root=root)
    few = table.where(np.random.default_rng(0).random(len(table)) < 0.2)
    made = WatchedShop(project, few, {})
    project.lead(made.publish("first", seed=1, change=unchanged))
    time.sleep(1.0)
    made.publish("other", seed=2, change=unchanged)
    made.publish("again", seed=1, change=surer)
    made.serve(3)
    return made

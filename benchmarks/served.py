"""Releases of real models without gates, a project around them, and `churn serve` as a process of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import yaml

from churn_assets.customers.table import CustomerTable
from churn_assets.deciding.decider import Decider
from churn_assets.deciding.messages import Writing
from churn_assets.deciding.release_models import ReleaseModels
from churn_assets.deciding.table import decide_table
from churn_assets.decision.policy import DecisionPolicy
from churn_assets.decision.ppo import train
from churn_assets.decision.process import RetentionProcess
from churn_assets.decision.responses import ResponseModels
from churn_assets.decision.tables import build_tables
from churn_assets.experiment import Experiment, load_experiment
from churn_assets.flow.paths import resolve_format
from churn_assets.flow.registry import registry
from churn_assets.message.text.safety import gifts_of
from churn_assets.message.training.config import Sampling
from churn_assets.offers.economics import catalogue
from churn_assets.offers.log import OfferLog
from churn_assets.offers.world import DemoWorld
from churn_assets.release.build import as_raw
from churn_assets.release.bundle import RELEASE, Bundle, Golden, Member, Release
from churn_assets.release.golden import COMPARED, GOLDEN_AT
from churn_assets.response.accept import AcceptModel
from churn_assets.response.effect import EffectModel
from churn_assets.risk.model import RiskModel
from churn_assets.store.artifacts import ArtifactRef, ArtifactStore, stage
from churn_assets.store.channels import Channel
from churn_assets.store.local import LocalBackend
from churn_assets.store.manifest import Provenance

ROOT = Path(__file__).parents[1]
EXPERIMENT = "quickstart"
READY_WITHIN = 300.0
CHURN = Path(sys.executable).with_name("churn")
GOLDEN_CUSTOMERS = 20


@dataclass(frozen=True)
class Project:
    """A folder with one experiment, its store and its decision log."""

    root: Path

    @property
    def store(self) -> ArtifactStore:
        return ArtifactStore(LocalBackend(self.root / ".churn" / "store"))

    @property
    def channel(self) -> Channel:
        return Channel(self.store, EXPERIMENT)

    @property
    def experiment(self) -> Experiment:
        return load_experiment(EXPERIMENT, self.root / "configs")

    @property
    def log(self) -> Path:
        return self.root / ".churn" / "decision_log"

    def configure(self, **serving: Any) -> None:
        """Change the `serving:` section."""
        path = self.root / "configs" / f"{EXPERIMENT}.yaml"
        content = yaml.safe_load(path.read_text())
        content["serving"] = content.get("serving", {}) | serving
        path.write_text(yaml.safe_dump(content))

    def lead(self, ref: ArtifactRef, action: str = "promote") -> None:
        """Promotion without gates: what is served is looked at, not what may lead."""
        head = self.channel.head()
        self.channel.append(
            "promote" if action == "promote" else "rollback",
            ref,
            expected_seq=head.seq if head else 0,
            actor="benchmark",
            reason="",
            gate_report_digest="",
            now=datetime.now(UTC),
        )


def new_project(root: Path) -> Project:
    """The quickstart without its message branch, for logs so small that they prove no effect: any is believed."""
    (root / "configs").mkdir(parents=True)
    content = yaml.safe_load((ROOT / "configs" / f"{EXPERIMENT}.yaml").read_text())
    decisions = {key: section for key, section in content.items() if key not in registry().members["message"]}
    decisions["release"] = {"branches": ["decision"]}
    decisions["effect_model"] = {"evidence_z": 0.5}
    (root / "configs" / f"{EXPERIMENT}.yaml").write_text(yaml.safe_dump(decisions))
    return Project(root)


@dataclass(frozen=True)
class FittedModels:
    """What the models of the decision branch became on one table and one log."""

    experiment: Experiment
    table: CustomerTable
    log: OfferLog
    risk: RiskModel
    accept: AcceptModel
    effect: EffectModel
    policy: DecisionPolicy

    @property
    def responses(self) -> ResponseModels:
        return ResponseModels.of(self.risk, self.accept, self.effect, self.policy.process)


def fit_models(
    experiment: Experiment, table: CustomerTable, *, rows: int, timesteps: int, seed: int
) -> FittedModels:
    """Fit all models of the decision branch.

    Args:
        experiment: What is fitted how.
        table: The customers.
        rows: Decisions of the log that is learned from.
        timesteps: Of the policy's training.
        seed: Of log and policy: another one gives models that decide otherwise.
    """
    arms = catalogue(experiment.arms, experiment.economics)
    world = DemoWorld(table, experiment.economics, experiment.offer_log.demo_menu(arms))
    log = world.draw_log(rows, seed)
    risk = RiskModel.fit(table, experiment.risk_model)
    accept = AcceptModel.fit(table, log, experiment.accept_model)
    out_of_fold = risk.risk_of(np.asarray(log.customer_id))
    effect = EffectModel.fit(table, log, out_of_fold, accept.out_of_fold, experiment.effect_model)
    window = table.schema.label_window_months
    process = RetentionProcess.build(experiment.ppo_decision, experiment.economics, window, experiment.arms)
    ppo = experiment.ppo_decision.ppo.model_copy(update={"total_timesteps": timesteps})
    config = experiment.ppo_decision.model_copy(update={"ppo": ppo})
    responses = ResponseModels.of(risk, accept, effect, process)
    learners = build_tables(table.where(~table.held_out), responses)
    policy = train(learners, process, config, seed=seed).policy
    return FittedModels(experiment, table, log, risk, accept, effect, policy)


def publish_release(project: Project, fitted: FittedModels) -> ArtifactRef:
    """Publish models as one release."""
    experiment, table, policy = fitted.experiment, fitted.table, fitted.policy
    values = (table, fitted.log, fitted.risk, fitted.accept, fitted.effect, policy)
    members: dict[str, ArtifactRef] = {}
    for asset, value in zip(registry().members["decision"], values, strict=True):
        members[asset] = _publish(project, asset, value, members)
    digests = {asset: project.store.manifest(ref).digest for asset, ref in members.items()}
    writing = Writing(
        safety=experiment.safety,
        currency=experiment.economics.currency,
        gifts=gifts_of(policy.process.menu),
        profile=None,
        max_new_tokens=1,
        sampling=Sampling(),
        seed=0,
    )
    models = ReleaseModels.build(fitted.responses, policy, table.X)
    bundle = Bundle(
        experiment=EXPERIMENT,
        branches=("decision",),
        members={asset: Member(ref=str(ref), digest=digests[asset]) for asset, ref in members.items()},
        evidence={},
        champion=None,
        simulated=True,
        writing=writing,
        golden=golden_of(table, models),
        report_sha256="0" * 64,
    )
    release = Release(bundle=bundle, report="", models=models)
    return _publish(project, "release", release, members)


def golden_of(table: CustomerTable, models: ReleaseModels) -> Golden:
    """A few customers and what is decided for them, which every load of the release must decide again."""
    raw = as_raw(table).head(GOLDEN_CUSTOMERS)
    decided = decide_table(raw, Decider(models, f"{EXPERIMENT}/release/unborn"), GOLDEN_AT)
    return Golden(customers=_plain(raw), decisions=_plain(decided[list(COMPARED)]), messages=[])


def _plain(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON: blanks are None."""
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in rows]


def _publish(project: Project, asset: str, value: Any, made_from: Mapping[str, ArtifactRef]) -> ArtifactRef:
    fmt = RELEASE if asset == "release" else resolve_format(registry()[asset].format)
    folder = project.root / "staging" / asset
    staged = stage(asset, value, fmt, folder)
    upstream = {name: str(version) for name, version in made_from.items()}
    provenance = Provenance(experiment=EXPERIMENT, upstream=upstream)
    ref = project.store.publish(staged, provenance, datetime.now(UTC))
    shutil.rmtree(folder)
    return ref


def questions(table: CustomerTable) -> list[dict[str, Any]]:
    """Customers as they are asked about over the wire."""
    return [{"customer_id": row.pop(table.schema.id), "features": row} for row in _plain(as_raw(table))]


@dataclass
class Server:
    """`churn serve` over a project; its output goes to `server.log` there."""

    project: Project
    options: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    churn: Path = CHURN
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, *, ready: bool = True) -> Server:
        """Start it, and wait until it answers, or until a release does."""
        command = [self.churn, "--root", self.project.root, "serve"]
        with (self.project.root / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--port", str(self.port), *self.options],
                env=os.environ | self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + READY_WITHIN
        while not self._answers("ready" if ready else "live"):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop(signal.SIGKILL)
                raise RuntimeError(f"the server does not answer:\n{self.output()}")
            time.sleep(0.05)
        return self

    def _answers(self, state: str) -> bool:
        try:
            return httpx.get(f"{self.url}/v2/health/{state}", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def output(self) -> str:
        return (self.project.root / "server.log").read_text()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it; its exit status. SIGKILL takes all its processes at once."""
        assert self.process is not None
        if self.process.poll() is None:
            if number == signal.SIGKILL:
                os.killpg(self.process.pid, number)
            else:
                self.process.send_signal(number)
        return self.process.wait(timeout=40)

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60, **options)

    def __enter__(self) -> Server:
        return self if self.process else self.start()

    def __exit__(self, *_: object) -> None:
        if self.process is not None:
            self.stop(signal.SIGKILL)

"""A project with releases of small real models, and real servers over it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import yaml

from churn_assets.customers.table import CustomerTable, read_customers
from churn_assets.decision.ppo import train
from churn_assets.decision.process import RetentionProcess
from churn_assets.decision.tables import build_tables
from churn_assets.experiment import Experiment, load_experiment
from churn_assets.offers.world import DemoWorld
from churn_assets.release.build import as_raw
from churn_assets.release.bundle import MEMBERS, RELEASE, Bundle, Golden, Member, Release, Writing
from churn_assets.release.loaded import member_format
from churn_assets.response.accept import AcceptModel
from churn_assets.response.effect import EffectModel
from churn_assets.risk.model import RiskModel
from churn_assets.store.artifacts import ArtifactRef, ArtifactStore, stage
from churn_assets.store.channels import Channel
from churn_assets.store.local import LocalBackend
from churn_assets.store.manifest import Provenance

REPOSITORY = Path(__file__).parents[2]
EXPERIMENT = "quickstart"
CHANNEL = "quickstart"
READY_WITHIN = 60.0


@dataclass(frozen=True)
class Shop:
    """A project folder.

    Attributes:
        root: The folder.
        first: A release.
        second: One that decides otherwise.
        narrower: One that reads a feature less.
    """

    root: Path
    first: ArtifactRef
    second: ArtifactRef
    narrower: ArtifactRef

    @property
    def store(self) -> ArtifactStore:
        return ArtifactStore(LocalBackend(self.root / ".churn" / "store"))

    @property
    def channel(self) -> Channel:
        return Channel(self.store, CHANNEL)

    @property
    def log(self) -> Path:
        return self.root / ".churn" / "decision_log"

    def configure(self, change: Callable[[dict[str, Any]], None]) -> None:
        path = self.root / "configs" / f"{EXPERIMENT}.yaml"
        content = yaml.safe_load(path.read_text())
        change(content)
        path.write_text(yaml.safe_dump(content))

    def lead(self, ref: ArtifactRef, action: str = "promote") -> None:
        """Promotion without gates: what is served is under test, not what may lead."""
        head = self.channel.head()
        self.channel.append(
            action, ref, expected_seq=head.seq if head else 0, actor="test", reason="", gate_report_digest="",
            now=datetime.now(UTC),
        )  # fmt: skip

    def copy_to(self, root: Path) -> Shop:
        shutil.copytree(self.root, root)
        return replace(self, root=root)


def build_shop(root: Path) -> Shop:
    """Fits small models on a fifth of the real customers; about a quarter of a minute."""
    (root / "configs").mkdir(parents=True)
    shutil.copy(REPOSITORY / "configs" / f"{EXPERIMENT}.yaml", root / "configs")
    content = yaml.safe_load((root / "configs" / f"{EXPERIMENT}.yaml").read_text())
    only_decisions = {k: v for k, v in content.items() if k not in MEMBERS["message"]}
    only_decisions["release"] = {"branches": ["decision"]}
    only_decisions["serving"] = {"poll_seconds": 0.2}
    (root / "configs" / f"{EXPERIMENT}.yaml").write_text(yaml.safe_dump(only_decisions))
    experiment = load_experiment(EXPERIMENT, root / "configs")
    store = ArtifactStore(LocalBackend(root / ".churn" / "store"))
    first, second = (_release(store, experiment, root, seed=seed) for seed in (1, 2))
    fewer = experiment.customers.model_copy(update={"exclude": ("gender",)})
    other = experiment.model_copy(update={"customers": fewer})
    return Shop(root, first, second, _release(store, other, root, seed=1))


def _release(store: ArtifactStore, experiment: Experiment, root: Path, *, seed: int) -> ArtifactRef:
    table = read_customers(experiment.customers, seed=experiment.seed, root=root)
    table = table.where(np.random.default_rng(0).random(len(table)) < 0.2)
    log = DemoWorld(table, experiment.economics).draw_log(5000, seed)
    risk = RiskModel.fit(table, experiment.risk_model)
    accept = AcceptModel.fit(table, log, experiment.accept_model)
    out_of_fold = risk.risk_of(np.asarray(log.customer_id))
    effect = EffectModel.fit(table, log, out_of_fold, accept.out_of_fold, experiment.effect_model)
    process = RetentionProcess.build(
        experiment.ppo_decision, experiment.economics, table.schema.label_window_months
    )
    ppo = experiment.ppo_decision.ppo.model_copy(update={"total_timesteps": 32_768})
    config = experiment.ppo_decision.model_copy(update={"ppo": ppo})
    policy = train(build_tables(table, risk, accept, effect, process), process, config, seed=seed).policy
    values = (table, log, risk, accept, effect, policy)
    members = dict(zip(MEMBERS["decision"], values, strict=True))
    published = {asset: _publish(store, root, asset, value, seed) for asset, value in members.items()}
    bundle = Bundle(
        experiment=EXPERIMENT,
        branches=("decision",),
        members={a: Member(ref=str(r), digest=store.manifest(r).digest) for a, r in published.items()},
        evidence={},
        champion=None,
        simulated=True,
        writing=Writing(
            safety=experiment.safety,
            months=experiment.economics.discount_months,
            profile=None,
            max_new_tokens=1,
            seed=0,
        ),
        golden=Golden(customers=[], decisions=[], messages=[]),
        report_sha256="0" * 64,
    )
    return _publish(store, root, "release", Release(bundle=bundle, report=""), seed)


def _publish(store: ArtifactStore, root: Path, asset: str, value: Any, seed: int) -> ArtifactRef:
    fmt = RELEASE if asset == "release" else member_format(asset)
    folder = root / "staging" / f"{asset}-{seed}-{time.time_ns()}"
    ref = store.publish(
        stage(asset, value, fmt, folder), Provenance(experiment=EXPERIMENT), datetime.now(UTC)
    )
    shutil.rmtree(folder)
    return ref


def questions(table: CustomerTable) -> list[dict[str, Any]]:
    """Customers as they are asked about over the wire."""
    raw = as_raw(table)
    plain = raw.astype(object).where(raw.notna(), None).to_dict("records")
    return [
        {"customer_id": row.pop(table.schema.id), "features": {str(k): v for k, v in row.items()}}
        for row in plain
    ]


@dataclass
class Server:
    """A server process, and a client of it."""

    shop: Shop
    options: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
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
        command = [Path(sys.executable).with_name("churn"), "--root", self.shop.root, "serve"]
        log = (self.shop.root / "server.log").open("ab")
        self.process = subprocess.Popen(
            [*command, "--port", str(self.port), *self.options],
            env=os.environ | self.environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        deadline = time.monotonic() + READY_WITHIN
        while not self._answers(ready=ready):
            assert self.process.poll() is None, self.output()
            assert time.monotonic() < deadline, self.output()
            time.sleep(0.05)
        return self

    def _answers(self, *, ready: bool) -> bool:
        try:
            found = httpx.get(f"{self.url}/v2/health/{'ready' if ready else 'live'}", timeout=5)
        except httpx.TransportError:
            return False
        return found.status_code == 200

    def output(self) -> str:
        return (self.shop.root / "server.log").read_text()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End the server; its exit status. SIGKILL takes all its processes at once."""
        assert self.process is not None
        if number == signal.SIGKILL:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)
        return self.process.wait(timeout=40)

    def __enter__(self) -> Server:
        return self if self.process else self.start()

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.stop(signal.SIGKILL)

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=30, **options)


def wait_until(holds: Callable[[], bool], seconds: float = 60.0) -> None:
    """Ask again and again; fails if it does not hold in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds:g} s"
        time.sleep(0.05)

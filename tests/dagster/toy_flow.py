"""A toy flow built with the real factory, IO manager and store: a table of numbers, and a model that is their mean."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from pydantic import BaseModel, ConfigDict

from churn_assets.deciding.messages import Writing
from churn_assets.definitions import Overrides, build_defs, build_project
from churn_assets.experiment import StoreConfig
from churn_assets.flow.asset import AssetSpec, Made, Step, asset
from churn_assets.flow.check import CheckSpec
from churn_assets.flow.setting import SEED
from churn_assets.gates.plots import Plot
from churn_assets.gates.report import Gate, Outcome
from churn_assets.message.config import SafetyRules
from churn_assets.message.training.config import Sampling
from churn_assets.release.bundle import Bundle, Golden, Member, Release
from churn_assets.remote.config import ComputeProfiles
from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.canonical import sha256_file
from churn_assets.store.formats import ArtifactFormat, GoldenRows, read_json, write_json
from churn_assets.store.reference import ArtifactRef
from resources.project import Project


def toy_release(experiment: str, members: Mapping[str, Member]) -> Release:
    """A release of these members that decides for nobody; its page names them."""
    page = "<html>" + " ".join(member.ref for member in members.values()) + "</html>"
    bundle = Bundle(
        experiment=experiment,
        branches=("decision",),
        members=dict(members),
        evidence={},
        champion=None,
        simulated=True,
        writing=Writing(safety=SafetyRules(), profile=None, max_new_tokens=0, sampling=Sampling(), seed=0),
        golden=Golden(customers=[], decisions=[], messages=[]),
        report_sha256=sha256(page.encode()).hexdigest(),
    )
    return Release(bundle=bundle, report=page)


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ToyGates(_Section):
    smallest: float = 0.0


class NumbersConfig(_Section):
    values: tuple[float, ...]


class MeanConfig(_Section):
    scale: float = 1.0
    gates: ToyGates = ToyGates()


class ToyEconomics(_Section):
    currency: str = "EUR"


class ToyExperiment(_Section):
    name: str
    seed: int
    store: StoreConfig
    channel: str
    customers: NumbersConfig
    risk_model: MeanConfig | None
    release: _Section = _Section()
    compute: ComputeProfiles = ComputeProfiles()
    economics: ToyEconomics = ToyEconomics()


def read_toy(name: str, config_dir: Path) -> ToyExperiment:
    return ToyExperiment(name=name, **yaml.safe_load((config_dir / f"{name}.yaml").read_text()))


class JsonFormat(ArtifactFormat[Any]):
    loader = "toy/1"
    packages = ("numpy",)

    def save(self, value: Any, folder: Path) -> None:
        write_json(value, folder / "value.json")

    def load(self, folder: Path) -> Any:
        return read_json(folder / "value.json")

    def signature(self, value: Any) -> dict[str, Any]:
        return {"kind": type(value).__name__}

    def golden(self, value: Any) -> GoldenRows | None:
        return GoldenRows(inputs=[1], outputs=self.replay(value, [1]))

    def replay(self, value: Any, inputs: Any) -> Any:
        return [repr(value)] * len(inputs)


TOY = JsonFormat()
TOY_PATH = f"{__name__}:TOY"


@dataclass
class Calls:
    """How often each body ran, and what the tests may change between runs."""

    bodies: list[str]
    checks: list[str]
    code: Path
    champion: Any = None
    broken_check: str | None = None
    interrupt: str | None = None


def toy_flow(calls: Calls) -> tuple[AssetSpec, ...]:
    def is_large(subject: float, customers: list[float], gates: ToyGates) -> Outcome:
        calls.checks.append("is_large")
        if calls.broken_check == "is_large":
            raise ZeroDivisionError("cannot measure")
        rows = [{"x": i, "y": value} for i, value in enumerate(customers)]
        return Outcome((Gate("mean", subject, ">=", gates.smallest),), {"numbers": rows})

    def not_worse(subject: float, champion: float | None) -> Outcome:
        return Outcome((Gate("gain", 0.0 if champion is None else subject - champion, ">=", 0.0),))

    checks = (
        CheckSpec(
            "is_large",
            "The mean is large enough.",
            "Feed it larger numbers.",
            is_large,
            plots=(Plot("numbers", "line", "x", ("y",), "Numbers"),),
        ),
        CheckSpec("not_worse", "No worse than the champion.", "Keep the champion.", not_worse),
    )

    @asset(
        stage="customers",
        config=NumbersConfig,
        format=TOY_PATH,
        branch="decision",
        kinds=("json",),
        description="Numbers.",
    )
    def customers(step: Step[NumbersConfig]) -> Made:
        calls.bodies.append("customers")
        values = list(step.config.values)
        return Made(
            values,
            metrics={"count": float(len(values))},
            rows=len(values),
            columns={"value": ("float", "A number.")},
        )

    @asset(
        stage="risk",
        config=MeanConfig,
        reads=(SEED,),
        format=TOY_PATH,
        checks=checks,
        branch="decision",
        kinds=("json",),
        description="Their mean.",
    )
    def risk_model(step: Step[MeanConfig], customers: list[float]) -> Made:
        calls.bodies.append("risk_model")
        if calls.interrupt == "risk_model":
            raise KeyboardInterrupt
        config = step.config
        for number in range(2):
            step.progress({"loss": 1.0 / (number + 1)})
        return Made(config.scale * sum(customers) / len(customers), metrics={"seed": float(step.seed)})

    return tuple(replace(each, source=lambda: sha256_file(calls.code)) for each in (customers, risk_model))


@dataclass
class Toy:
    """A toy project on a real ephemeral Dagster instance."""

    root: Path
    calls: Calls
    instance: dg.DagsterInstance
    project: Project
    defs: dg.Definitions
    flow: tuple[AssetSpec, ...]

    def configure(self, name: str = "toy", **sections: Any) -> None:
        content = {
            "seed": 7,
            "store": {"uri": "store"},
            "channel": name,
            "customers": {"values": [1.0, 2.0, 6.0]},
            "risk_model": {},
        }
        path = self.root / "configs" / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(content | sections))

    def run(self, *assets: str, experiment: str = "toy") -> dg.ExecuteInProcessResult:
        return self.defs.resolve_job_def("train").execute_in_process(
            instance=self.instance,
            partition_key=experiment,
            asset_selection=[dg.AssetKey(asset) for asset in assets] or None,
            raise_on_error=False,
        )

    def asset(self, name: str) -> AssetSpec:
        return next(each for each in self.flow if each.name == name)

    def spoil(self, asset: str, ref: ArtifactRef | None = None) -> None:
        """Change one stored byte of an asset's version, the newest if none is named; a second time mends it."""
        path = self.root / "store" / (ref or self.newest(asset)).prefix / "value.json"
        path.chmod(0o644)
        path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])

    @staticmethod
    def wait_for_another_second() -> None:
        """Versions are named by the second: what tests do within one takes people longer."""
        time.sleep(1.0 - time.time() % 1.0)

    @property
    def store(self) -> ArtifactStore:
        return self.project.store("toy")

    def newest(self, asset: str) -> Any:
        return self.store.versions("toy", asset)[-1]


@pytest.fixture
def toy(tmp_path: Path) -> Any:
    code = tmp_path / "code.py"
    code.write_text("A = 1\n")
    calls = Calls([], [], code)
    made = Toy(tmp_path, calls, None, None, None, toy_flow(calls))  # type: ignore[arg-type]
    made.configure()
    made.configure("other", seed=8)
    overrides = Overrides(root=tmp_path, flow=made.flow)
    leader = lambda store, experiment, asset: calls.champion if asset == "risk_model" else None  # noqa: E731
    made.project = replace(build_project(overrides), read=read_toy, leader=leader)
    made.defs = build_defs(overrides, made.project)
    with dg.DagsterInstance.ephemeral() as instance:
        made.instance = instance
        yield made


def _metadata(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    (event,) = result.asset_materializations_for_node(asset)
    return {key: value.value for key, value in event.metadata.items()}


@pytest.fixture
def metadata_of() -> Any:
    return _metadata

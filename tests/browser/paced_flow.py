"""A code location with one training that goes on when a test says so: a file lets it take its next step."""

import time
from pathlib import Path
from typing import Any

import dagster as dg
import yaml
from pydantic import BaseModel, ConfigDict

from churn_assets.experiment import StoreConfig
from churn_assets.flow.asset import Made, Step, asset
from churn_assets.flow.check import CheckSpec
from churn_assets.gates.report import Gate, Outcome
from churn_assets.store.formats import ArtifactFormat, read_json, write_json
from resources.artifacts import ArtifactIOManager
from resources.checks import asset_checks
from resources.project import Project
from resources.stage import IO_MANAGER, dagster_asset

ROOT = Path("paced").resolve()
STEPS = 4
LOWEST = 0.1
"""A loss that four steps do not reach."""


class PacedModelConfig(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PacedExperiment(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    seed: int
    store: StoreConfig
    paced_model: PacedModelConfig = PacedModelConfig()


class LossFormat(ArtifactFormat[float]):
    loader = "paced/1"
    packages = ()

    def save(self, value: float, folder: Path) -> None:
        write_json(value, folder / "loss.json")

    def load(self, folder: Path) -> float:
        return float(read_json(folder / "loss.json"))

    def signature(self, value: float) -> dict[str, Any]:
        return {"kind": "loss"}


LOSS = LossFormat()


def is_low(subject: float) -> Outcome:
    return Outcome((Gate("loss", subject, "<=", LOWEST),))


@asset(
    stage="risk",
    config=PacedModelConfig,
    format=f"{__name__}:LOSS",
    checks=(CheckSpec("is_low", "The loss is low enough.", "Train for longer.", is_low),),
    branch="decision",
    kinds=("json",),
    description="A loss that falls.",
)
def paced_model(step: Step[PacedModelConfig]) -> Made:
    for number in range(1, STEPS + 1):
        step.progress({"loss": 1 / number})
        while not (ROOT / f"after {number}").exists():
            time.sleep(0.05)
    return Made(1 / STEPS)


def read_paced(name: str, config_dir: Path) -> PacedExperiment:
    return PacedExperiment(name=name, **yaml.safe_load((config_dir / f"{name}.yaml").read_text()))


def build() -> dg.Definitions:
    formats = {paced_model.name: paced_model.format}
    project = Project(ROOT, ROOT, formats, leader=lambda *_: None, read=read_paced)
    partitions = dg.StaticPartitionsDefinition(project.names())
    return dg.Definitions(
        assets=[dagster_asset(paced_model, "paced", partitions)],
        asset_checks=[asset_checks(paced_model, partitions)],
        resources={"project": project, IO_MANAGER: ArtifactIOManager(project)},
        executor=dg.in_process_executor,
    )


defs = build()

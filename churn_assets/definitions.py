"""Where everything meets: stages, checks, jobs, sensors, resources. `build_defs` makes fresh Definitions each time."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg

from churn_assets.flow.asset import AssetSpec
from churn_assets.flow.registry import Registry, registry
from churn_assets.release.bundle import champion_of
from jobs.operations import (
    SCHEDULES,
    decision_retention,
    operations,
    retention,
    verification,
)
from jobs.sensors import INTERVAL, sensors
from jobs.train import train_branch, train_job
from jobs.waves import customer_decisions, wave_job
from resources.artifacts import ArtifactIOManager
from resources.checks import asset_checks
from resources.compute import limit_threads
from resources.project import Project, project_root, require_project_folder
from resources.sources import source_assets
from resources.stage import IO_MANAGER, dagster_asset


@dataclass(frozen=True)
class Overrides:
    """What a test or a tool may put in place of the real thing.

    Attributes:
        root: The project's folder.
        config_dir: Folder of the experiments; `configs` of the root if None.
        flow: The assets.
        loggers: Dagster loggers instead of its console logger.
        sensor_interval: Least seconds between two ticks of a sensor.
    """

    root: Path = field(default_factory=project_root)
    config_dir: Path | None = None
    flow: Sequence[AssetSpec] = field(default_factory=lambda: registry().assets)
    loggers: Mapping[str, dg.LoggerDefinition] = field(default_factory=dict)
    sensor_interval: int = INTERVAL


def build_project(overrides: Overrides) -> Project:
    """The project that the overrides describe."""
    return Project(
        root=overrides.root,
        config_dir=overrides.config_dir or overrides.root / "configs",
        formats={asset.name: asset.format for asset in overrides.flow},
        leader=lambda store, experiment, asset: champion_of(store, experiment.channel, asset),
    )


def build_defs(overrides: Overrides | None = None, project: Project | None = None) -> dg.Definitions:
    """Fresh definitions: assets and checks of the flow, jobs, schedules, sensors, and the resources they ask for."""
    limit_threads()
    overrides = overrides or Overrides()
    project = project or build_project(overrides)
    names = project.names()
    partitions = dg.StaticPartitionsDefinition(names)
    flow = Registry.of(overrides.flow)
    whole = [asset.name for asset in flow.assets if asset.branch is None]
    with warnings.catch_warnings():
        # Partitioned checks are a preview: dagster is pinned exactly, and tests hold what we use of them.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return dg.Definitions(
            assets=[
                *source_assets((name for asset in flow.assets for name in asset.outside), partitions),
                *(dagster_asset(asset, flow.group(asset), partitions) for asset in flow.assets),
                customer_decisions(partitions, f"{len(flow.stages) + 1}_decisions", flow.names),
            ],
            asset_checks=[asset_checks(asset, partitions) for asset in flow.assets],
            jobs=[
                train_job(partitions, project.machines),
                train_branch(
                    "decision", set(flow.names) - set(flow.members["message"]), partitions, project.machines
                ),
                train_branch("risk", {*flow.members["risk"], *whole}, partitions, project.machines),
                wave_job(),
                retention,
                verification,
                decision_retention,
                *operations(flow.checks),
            ],
            schedules=SCHEDULES,
            sensors=sensors(flow.inputs, flow.checks, overrides.sensor_interval, known=names),
            resources={"project": project, IO_MANAGER: ArtifactIOManager(project)},
            executor=dg.in_process_executor,  # a step process each would cost more than most steps
            loggers=overrides.loggers or None,
        )


@dg.definitions
def defs() -> dg.Definitions:
    """What `workspace.yaml` serves."""
    require_project_folder(project_root())
    return build_defs()

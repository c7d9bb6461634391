"""Where everything meets: stages, checks, jobs, sensors, resources. `build_defs` makes fresh Definitions each time."""

import functools
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg

from churn_assets.customers.assets import customers
from churn_assets.customers.checks import CUSTOMERS
from churn_assets.decision.assets import ppo_decision
from churn_assets.decision.checks import PPO_DECISION
from churn_assets.gates.factory import model_checks
from churn_assets.gates.source import gate_sources
from churn_assets.gates.spec import CheckSpec
from churn_assets.message.assets import messages, ppo_text, preferences, reward_model, sft_model
from churn_assets.message.checks import MESSAGES, PPO_TEXT, PREFERENCES, REWARD_MODEL, SFT_MODEL
from churn_assets.offers.assets import offer_log
from churn_assets.offers.checks import OFFER_LOG
from churn_assets.release.assets import release
from churn_assets.release.bundle import champion_of
from churn_assets.release.checks import RELEASE
from churn_assets.response.assets import accept_model, effect_model
from churn_assets.response.checks import ACCEPT_MODEL, EFFECT_MODEL
from churn_assets.risk.assets import risk_model
from churn_assets.risk.checks import RISK_MODEL
from jobs.operations import operations, retention, weekly_retention
from jobs.sensors import INTERVAL, sensors
from jobs.train import train, train_decision
from resources.artifacts import ArtifactIOManager
from resources.compute import limit_threads
from resources.project import Project, project_root, require_project_folder
from resources.sources import source_assets
from resources.stage import IO_MANAGER, StageAsset


@dataclass(frozen=True)
class Checked:
    """An asset and what it must prove."""

    asset: StageAsset
    checks: tuple[CheckSpec, ...]


# In flow order.
FLOW = (
    Checked(customers, CUSTOMERS),
    Checked(offer_log, OFFER_LOG),
    Checked(risk_model, RISK_MODEL),
    Checked(accept_model, ACCEPT_MODEL),
    Checked(effect_model, EFFECT_MODEL),
    Checked(ppo_decision, PPO_DECISION),
    Checked(messages, MESSAGES),
    Checked(preferences, PREFERENCES),
    Checked(sft_model, SFT_MODEL),
    Checked(reward_model, REWARD_MODEL),
    Checked(ppo_text, PPO_TEXT),
    Checked(release, RELEASE),
)


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
    flow: Sequence[Checked] = FLOW
    loggers: Mapping[str, dg.LoggerDefinition] = field(default_factory=dict)
    sensor_interval: int = INTERVAL


def build_project(overrides: Overrides) -> Project:
    """The project that the overrides describe."""
    return Project(
        root=overrides.root,
        config_dir=overrides.config_dir or overrides.root / "configs",
        formats={checked.asset.name: checked.asset.format for checked in overrides.flow},
        leader=lambda store, experiment, asset: champion_of(store, experiment.channel, asset),
    )


def build_defs(overrides: Overrides | None = None, project: Project | None = None) -> dg.Definitions:
    """Fresh definitions: assets and checks of the flow, jobs, schedules, sensors, and the resources they ask for."""
    limit_threads()
    overrides = overrides or Overrides()
    project = project or build_project(overrides)
    partitions = dg.StaticPartitionsDefinition(project.names())
    required = {each.asset.name: each.checks for each in overrides.flow}
    flow = {each.asset.name: each.asset.inputs for each in overrides.flow}
    with warnings.catch_warnings():
        # Partitioned checks are a preview: dagster is pinned exactly, and tests hold what we use of them.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return dg.Definitions(
            assets=[
                *source_assets(
                    (name for checked in overrides.flow for name in checked.asset.outside), partitions
                ),
                *(checked.asset.bind(partitions) for checked in overrides.flow),
            ],
            asset_checks=[
                model_checks(
                    checked.asset.name,
                    checked.checks,
                    partitions,
                    functools.partial(gate_sources, checked.asset.stage),
                )
                for checked in overrides.flow
            ],
            jobs=[
                train,
                train_decision,
                retention,
                *operations(required),
            ],
            schedules=[weekly_retention],
            sensors=sensors(flow, required, overrides.sensor_interval),
            resources={"project": project, IO_MANAGER: ArtifactIOManager(project)},
            executor=dg.in_process_executor,  # a step process each would cost more than most steps
            loggers=overrides.loggers or None,
        )


@dg.definitions
def defs() -> dg.Definitions:
    """What `workspace.yaml` serves."""
    require_project_folder(project_root())
    return build_defs()

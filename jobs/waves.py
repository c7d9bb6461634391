"""The asset `customer_decisions`: a wave of customers decided for with a release; its job, and the sensor that asks.

What a wave is, and how it is decided, stands in `churn_assets.batch`.
"""

import os
import time
import warnings
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from churn_assets.arms import NO_CONTACT_ID
from churn_assets.batch.config import WAVE_NAME, wave_due
from churn_assets.monitoring.requests import EXPERIMENT, REASON
from churn_assets.release.bundle import RELEASE_ASSET
from churn_assets.store.canonical import sha256_file
from jobs.scene import Scene, each_experiment
from jobs.train import DECISIONS, compute_tags
from resources.checks import display
from resources.project import Project

if TYPE_CHECKING:
    from pathlib import Path

    from churn_assets.batch.config import CustomerDecisionsConfig
    from churn_assets.batch.wave import DecidedWave

DECIDE_WAVE = "decide_wave"
WAVES = "waves"
"""Name of the dynamic partitions: a key for every wave."""


class WaveConfig(dg.Config):
    """What is decided with. The partition names experiment and wave."""

    release: str = Field(
        default="champion", min_length=1, description="latest, champion, another channel, or a version."
    )
    source: str = Field(
        default="",
        description="A file of customers, relative to the project; if empty, what the experiment says.",
    )
    budget: float | None = Field(
        default=None,
        ge=0,
        le=1e9,
        description="Most money that the offers of this wave may cost together, beside the experiment's budgets.",
    )


def wave_partitions(experiments: dg.PartitionsDefinition) -> dg.MultiPartitionsDefinition:
    """A partition for each wave of each experiment."""
    waves = dg.DynamicPartitionsDefinition(name=WAVES)
    return dg.MultiPartitionsDefinition({"experiment": experiments, "wave": waves})


def customer_decisions(
    experiments: dg.PartitionsDefinition, group: str, made: Collection[str]
) -> dg.AssetsDefinition:
    """The asset, downstream of `release` where the flow makes one.

    Args:
        experiments: Partitions of the flow.
        group: Of the UI.
        made: Assets of the flow.
    """
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", dg.BetaWarning
        )  # dagster is pinned exactly, and a test holds the mapping
        of_release = dg.MultiToSingleDimensionPartitionMapping(partition_dimension_name="experiment")

    @dg.asset(
        name=DECISIONS,
        deps=[dg.AssetDep(each, partition_mapping=of_release) for each in made if each == RELEASE_ASSET],
        partitions_def=wave_partitions(experiments),
        group_name=group,
        kinds={"parquet"},
        owners=["team:retention"],
        required_resource_keys={"project"},
        description="Decisions for the customers of a wave, by one release or, while a trial runs, by the champion and "
        "the candidate, within the budgets; written once, and gone on with where a run was killed.",
    )
    def decide(context: dg.AssetExecutionContext, config: WaveConfig) -> dg.MaterializeResult[None]:
        names = context.partition_key.keys_by_dimension
        return _decide(context, config, names["experiment"], names["wave"])

    return decide


def wave_job() -> Any:
    """The job that decides for one wave; its launchpad shows every field that has a value."""
    shown = {
        name: field.default for name, field in WaveConfig.model_fields.items() if field.default is not None
    }
    return dg.define_asset_job(
        DECIDE_WAVE,
        selection=dg.AssetSelection.assets(DECISIONS),
        config={"ops": {DECISIONS: {"config": shown}}},
        tags=compute_tags(()),
        description="Decides for the customers of one wave. Name the wave as a new partition.",
    )


def wave_sensor(flow: Mapping[str, Sequence[str]], interval: int) -> dg.SensorDefinition:
    """The sensor that asks for the waves that `customer_decisions.every` says; arguments as of `each_experiment`."""
    return each_experiment(
        WAVES,
        _due,
        flow,
        interval,
        "Asks for the wave of this day, week or month, where customer_decisions.every says so and a release leads.",
        DECIDE_WAVE,
    )


def _due(scene: Scene) -> list[dg.RunRequest]:
    section = getattr(scene.experiment, DECISIONS, None)
    if section is None or section.every is None:
        scene.told.append(
            "customer_decisions.every is left out: waves are decided when somebody asks for one"
        )
        return []
    wave, leader = wave_due(section.every, scene.now), scene.leader()
    if leader is None:
        scene.told.append(f"wave {wave} is due, and waits: no release leads")
        return []
    scene.told.append(f"wave {wave} is asked for once")
    scene.instance.add_dynamic_partitions(WAVES, [wave])
    return [
        dg.RunRequest(
            run_key=f"{scene.name} {wave}",
            job_name=DECIDE_WAVE,
            partition_key=dg.MultiPartitionKey({"experiment": scene.name, "wave": wave}),
            tags={EXPERIMENT: scene.name, REASON: f"wave {wave} is due"},
        )
    ]


def _decide(
    context: dg.AssetExecutionContext, config: WaveConfig, experiment: str, wave: str
) -> dg.MaterializeResult[None]:
    from churn_assets.batch.progress import LoggedProgress
    from churn_assets.batch.tried import Leading, tried_beside
    from churn_assets.batch.wave import BatchWave, decide_wave
    from churn_assets.customers.table import located
    from churn_assets.deciding.secret import assignment_key
    from churn_assets.release.deciding import load_release
    from churn_assets.release.loaded import load_desk
    from churn_assets.release.naming import find_release
    from churn_assets.store.channels import Channel
    from churn_assets.tables.table_file import TableFile
    from churn_assets.tables.wave_table import WaveTable

    if WAVE_NAME.fullmatch(wave) is None:
        raise dg.Failure(
            description=f"wave: found {wave!r}, expected 1 to 64 letters, digits, '.', '_', ':' or '-'",
            allow_retries=False,
        )
    project: Project = context.resources.project
    whole, store = project.experiment(experiment), project.store(experiment)
    section: CustomerDecisionsConfig = whole.customer_decisions
    ref = find_release(store, experiment, whole.channel, config.release)
    bundle, models = load_release(store, ref)
    file = section.file(project.root, experiment, wave)
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    tried = None
    if config.release == "champion":
        tried = tried_beside(
            Leading(Channel(store, whole.channel), ref, bundle, models),
            store,
            datetime.now(UTC),
            limited=whole.budgets is not None or config.budget is not None,
            key=assignment_key(os.environ),
            rollout_epoch=whole.serving.assignment_epoch,
            say=context.log.warning,
        )
    asked = BatchWave(
        folder=file.with_name(f".{file.name}.parts"),
        root=project.root,
        ledger=project.root,
        experiment=experiment,
        source=located(config.source or section.source or whole.customers.source),
        customers=whole.customers,
        release=str(ref),
        responses=bundle.responses,
        budgets=whole.budgets,
        budget=config.budget,
        name=wave,
        propensities=section.propensities and "decision" in bundle.branches,
        tried=tried,
    )
    begun = time.monotonic()
    decided = decide_wave(asked, models, LoggedProgress(context.log.info, time.monotonic), datetime.now(UTC))
    to = section.table
    table = None if to is None else WaveTable(to.database, to.table, wave, project.root)
    bundles = {str(ref): bundle} | ({} if tried is None else {tried.job.candidate: tried.bundle})
    writers = {each: load_desk(store, of) for each, of in bundles.items()} if section.messages else {}
    decided.write(TableFile(file), table, writers)
    seconds = time.monotonic() - begun
    shown = _shown(decided, file, seconds) | ({} if table is None else {"table": str(table)})
    if tried is not None:
        shown["trial"] = tried.told(decided.outcome)
    decided.end()
    return dg.MaterializeResult(
        metadata=shown | {"release": str(ref), "simulated": bundle.simulated},
        data_version=dg.DataVersion(sha256_file(file)),
    )


def _shown(decided: "DecidedWave", file: "Path", seconds: float) -> dict[str, Any]:
    """What the asset's page tells of a wave."""
    found = decided.outcome
    tables = {
        "arms": decided.arms,
        "budgets": [each._asdict() for each in decided.uses],
        "refused_rows": [
            {"column": each.column, "lines": each.count, "found": each.found, "expected": each.expected}
            for each in found.problems
        ],
        "far_outside": [{"feature": name, "customers": count} for name, count in found.outside.items()],
    }
    figures = {
        "dagster/row_count": found.rows,
        "decided": found.decided,
        "refused": found.undecided,
        "offers": sum(int(row["customers"]) for row in decided.arms if row["arm"] != NO_CONTACT_ID),
        "most_spend": found.spend,
        "expected_value": sum(float(row["expected_value"]) for row in decided.arms),
        "seconds": seconds,
        "rows_per_s": found.rows / max(seconds, 1e-9),
    }
    prices = {f"shadow_price/{each.name}": each.shadow_price for each in decided.uses}
    return figures | prices | display(tables, ()) | {"file": dg.MetadataValue.path(str(file))}

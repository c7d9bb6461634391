"""How an asset of the flow becomes a Dagster asset: when it is unchanged, what it shows. Trains nothing itself."""

import importlib.metadata
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from churn_assets.flow.asset import AssetSpec, Made, Step, Upstream
from churn_assets.flow.source import training_digest
from churn_assets.gates.report import digest_of
from churn_assets.store.artifacts import StagedArtifact, stage
from churn_assets.store.errors import StoreError
from churn_assets.store.manifest import Manifest, Provenance
from churn_assets.store.reference import ArtifactRef
from resources.artifacts import Fresh, Kept
from resources.checks import display
from resources.project import ARTIFACT, Project
from resources.sources import SOURCES, source_observation

IO_MANAGER = "artifacts"
# Metadata that says why a step did what it did.
MADE_BECAUSE, UNCHANGED = "made_because", "unchanged"
SAMPLES = "samples"
# Materializations looked through for what an unchanged version showed before.
_HISTORY = 10


def dagster_asset(asset: AssetSpec, group: str, partitions: dg.PartitionsDefinition) -> dg.AssetsDefinition:
    """The Dagster asset, partitioned by experiment."""

    @dg.asset(
        name=asset.name,
        ins={name: dg.AssetIn() for name in asset.inputs},
        deps=list(asset.outside),
        partitions_def=partitions,
        group_name=group,
        kinds=set(asset.kinds),
        owners=list(asset.owners),
        description=asset.description,
        code_version=training_digest(asset),
        io_manager_key=IO_MANAGER,
        required_resource_keys={"project"},
        output_required=True,
    )
    def compute(context: dg.AssetExecutionContext, **inputs: Upstream | None) -> dg.MaterializeResult[Any]:
        return _materialize(asset, context, {name: each for name, each in inputs.items() if each})

    return compute


def _materialize(
    asset: AssetSpec, context: dg.AssetExecutionContext, inputs: Mapping[str, Upstream]
) -> dg.MaterializeResult[Any]:
    project: Project = context.resources.project
    name = context.partition_key
    experiment = project.experiment(
        name
    )  # the whole of it: a wrong section anywhere stops before any training
    if not project.takes_part(name, asset.name):
        raise dg.Failure(
            description=f"{asset.name} is not in experiment {name!r}: found no section {asset.name!r}; add its "
            "branch to it, or run the job train_decision or train_risk",
            allow_retries=False,
        )
    seed = int(experiment.seed)
    step: Step[Any] = Step(
        asset=asset,
        experiment=name,
        workspace=project,
        upstream={each: inputs[each].ref for each in asset.inputs if each in inputs},
        tell=lambda figures, samples: context.log_event(
            dg.AssetObservation(asset_key=asset.name, partition=name, metadata=_observed(figures, samples))
        ),
    )
    for source in asset.outside:
        if (event := source_observation(project, name, SOURCES[source])) is not None:
            context.log_event(event)  # what this run read, whether or not anybody looked before
    config = {section: project.training_config(name, section) for section in asset.sections}
    wanted = Recipe(
        config=digest_of(
            {
                "sections": {section: digest_of(content) for section, content in config.items()},
                "data": None if asset.data is None else asset.data(step),
            }
        ),
        upstream={each: content_name(ref) for each, ref in step.upstream.items()},
        source=training_digest(asset),
    )
    store = project.store(name)
    newest = next(reversed(store.versions(name, asset.name)), None)
    if newest is None:
        reason = "first version"
    else:
        kept, reason = _reusable(store.verify, newest, wanted)
        if kept is not None and asset.expired is not None and (why := asset.expired(step, newest)):
            kept, reason = None, why
        if kept is not None:
            context.log.info(f"{asset.name} unchanged: {reason}")
            return dg.MaterializeResult(
                value=Kept(newest),
                data_version=dg.DataVersion(kept.digest),
                metadata=_shown_before(context, asset.name, newest, kept) | {UNCHANGED: reason},
            )
    context.log.info(f"{asset.name} is made: {reason}")
    made = asset.body(
        step, **{each: handle if asset.lazy else handle.load() for each, handle in inputs.items()}
    )
    folder = tempfile.TemporaryDirectory(prefix=f"churn-{asset.name}-")
    staged: StagedArtifact = stage(asset.name, made.value, project.format(asset.name), Path(folder.name))
    if step.scratch.is_dir():
        shutil.rmtree(step.scratch)  # the training is over: nobody goes on from there
    provenance = Provenance(
        experiment=name,
        upstream={each: str(ref) for each, ref in step.upstream.items()},
        config_digest=wanted.config,
        config=config,
        seed=seed,
        code_version=wanted.source,
        run_id=context.run.run_id,
        metrics=dict(made.metrics),
    )
    return dg.MaterializeResult(
        value=Fresh(staged, provenance, folder),
        data_version=dg.DataVersion(staged.digest),
        metadata={MADE_BECAUSE: reason, **_shown(made)},
    )


def _observed(figures: Mapping[str, float], samples: Sequence[str]) -> dict[str, Any]:
    texts = {SAMPLES: dg.MetadataValue.md("\n\n".join(f"> {text}" for text in samples))} if samples else {}
    return {**figures, **texts}


@dataclass(frozen=True)
class Recipe:
    """What a version was made from: equal recipes make equal versions."""

    config: str
    upstream: Mapping[str, str]
    source: str


def content_name(ref: ArtifactRef) -> str:
    """The part of a version that names its content: equal for equal bytes, whenever they were made."""
    return ref.version.rpartition("-")[2]


def changes(stored: Recipe, wanted: Recipe) -> list[str]:
    """What differs between two recipes, in words."""
    found = []
    if stored.config != wanted.config:
        found.append("its configuration or source data changed")
    found += [
        f"{asset} changed"
        for asset, digest in wanted.upstream.items()
        if stored.upstream.get(asset) != digest
    ]
    found += [f"{asset} is no longer an input" for asset in stored.upstream if asset not in wanted.upstream]
    if stored.source != wanted.source:
        found.append("its source code changed")
    return found


def _reusable(
    verify: Callable[[ArtifactRef], Manifest], newest: ArtifactRef, wanted: Recipe
) -> tuple[Manifest | None, str]:
    """The newest version's manifest where it was made from the wanted recipe and its bytes hold; and why (not)."""
    try:
        manifest = verify(newest)
    except StoreError as error:
        return None, f"the newest version cannot be trusted ({error})"
    made_from = manifest.provenance
    upstream = {asset: content_name(ArtifactRef.parse(ref)) for asset, ref in made_from.upstream.items()}
    stored = Recipe(config=made_from.config_digest, upstream=upstream, source=made_from.code_version)
    found = changes(stored, wanted) + _package_changes(manifest)
    if found:
        return None, "; ".join(found)
    return manifest, f"same configuration, inputs and source code as version {newest.version}"


def _package_changes(manifest: Manifest) -> list[str]:
    return [
        f"{package} was {then}, is {now}"
        for package, then in manifest.packages.items()
        if (now := _installed(package)) != then
    ]


def _installed(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _shown_before(
    context: dg.AssetExecutionContext, asset: str, ref: ArtifactRef, manifest: Manifest
) -> dict[str, Any]:
    """What an earlier materialization of this very version showed; its metrics where history does not know it."""
    wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[ref.experiment])
    for record in context.instance.fetch_materializations(wanted, limit=_HISTORY).records:
        shown = {} if record.asset_materialization is None else record.asset_materialization.metadata
        if ARTIFACT in shown and shown[ARTIFACT].value == str(ref):
            return {name: value for name, value in shown.items() if name not in (ARTIFACT, MADE_BECAUSE)}
    return _metrics(manifest.provenance.metrics)


def _metrics(metrics: Mapping[str, Any]) -> dict[str, Any]:
    return {f"metric/{name}": value for name, value in metrics.items()}


def _shown(made: Made) -> dict[str, Any]:
    shown = _metrics(made.metrics)
    if made.rows is not None:
        shown["dagster/row_count"] = made.rows
    if made.columns:
        shown["dagster/column_schema"] = dg.TableSchema(
            [dg.TableColumn(name, kind, description) for name, (kind, description) in made.columns.items()]
        )
    return shown | display(made.tables, made.plots)

"""How an asset of the flow becomes a Dagster asset: when it is unchanged, what it shows. Trains nothing itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import dagster as dg

from churn_assets.flow.asset import AssetSpec, Made, Step, Upstream
from churn_assets.flow.making import make_version, planned_version, reusable
from churn_assets.flow.source import training_digest
from churn_assets.flow.usage import estimate_run
from churn_assets.store.manifest import Manifest, ResourceUsage
from churn_assets.store.reference import ArtifactRef
from resources.artifacts import Kept
from resources.checks import display
from resources.project import ARTIFACT, Project
from resources.remote import made_elsewhere
from resources.sources import SOURCES, source_observation

IO_MANAGER = "artifacts"
PARTITIONS_ARE = (
    "Each partition is an experiment, a file of `configs/`. One that nobody ran, or that does without this asset, "
    "stays missing: that the partitions are not all filled is no fault, and nothing that is left to do."
)
"""What the UI's share of filled partitions means, said where it shows."""
# Metadata that says why a step did what it did.
MADE_BECAUSE, UNCHANGED = "made_because", "unchanged"
COST = "used/cost"
SAMPLES = "samples"
CURVE, PROGRESS = "curve/", ("step", "total")
"""Before the name of a figure; figures that only say how far a step is."""
LONGEST_CURVE = 40
"""Bars of a curve."""
_BARS = "▁▂▃▄▅▆▇█"
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
        description=f"{asset.description}\n\n{PARTITIONS_ARE}",
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
    project.experiment(name)  # the whole of it: a wrong section anywhere stops before any training
    if not project.takes_part(name, asset.name):
        raise dg.Failure(
            description=f"{asset.name} is not in experiment {name!r}: found no section {asset.name!r}; add its "
            "branch to it, or run the job train_decision or train_risk",
            allow_retries=False,
        )
    curves = _Curves()
    step: Step[Any] = Step(
        asset=asset,
        experiment=name,
        workspace=project,
        upstream={each: inputs[each].ref for each in asset.inputs if each in inputs},
        tell=lambda figures, samples: context.log_event(
            dg.AssetObservation(
                asset_key=asset.name, partition=name, metadata=curves.observed(figures, samples)
            )
        ),
    )
    for source in asset.outside:
        if (event := source_observation(project, name, SOURCES[source])) is not None:
            context.log_event(event)  # what this run read, whether or not anybody looked before
    planned = planned_version(step, project)
    store = project.store(name)
    newest = next(reversed(store.versions(name, asset.name)), None)
    if newest is None:
        reason = "first version"
    else:
        kept, reason = reusable(store.verify, newest, planned.recipe)
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
    _refuse_costly_run(context, asset.name, project)
    elsewhere = made_elsewhere(context, planned)
    if elsewhere is not None:
        return dg.MaterializeResult(
            value=Kept(elsewhere.ref),
            data_version=dg.DataVersion(elsewhere.digest),
            metadata={
                MADE_BECAUSE: reason,
                **_shown(elsewhere.made),
                **elsewhere.metadata,
                **_used(store.manifest(elsewhere.ref).provenance.usage),
            },
        )
    made, fresh = make_version(planned, inputs, project, context.run.run_id)
    return dg.MaterializeResult(
        value=fresh,
        data_version=dg.DataVersion(fresh.staged.digest),
        metadata={MADE_BECAUSE: reason, **_shown(made), **_used(fresh.provenance.usage)},
    )


def _refuse_costly_run(context: dg.AssetExecutionContext, asset: str, project: Project) -> None:
    """Stops before a step by which, with all that will be made after it, the run costs more than it may."""
    name = context.partition_key
    compute = getattr(project.experiment(name), "compute", None)
    if compute is None or compute.most_per_run is None:
        return
    store = project.store(name)
    graph = context.job_def.asset_layer.asset_graph
    executed = {key.to_user_string() for key in context.job_def.asset_layer.executable_asset_keys}
    last: dict[str, ResourceUsage | None] = {}
    spent: list[ResourceUsage | None] = []
    ahead = {asset}
    for key in graph.toposorted_asset_keys:
        each = key.to_user_string()
        if each not in executed or not project.takes_part(name, each):
            continue
        newest = next(reversed(store.versions(name, each)), None)
        origin = None if newest is None else store.manifest(newest).provenance
        if each in ahead or any(parent.to_user_string() in ahead for parent in graph.get(key).parent_keys):
            ahead.add(each)
            last[each] = None if origin is None else origin.usage
        elif origin is not None and origin.run_id == context.run.run_id:
            spent.append(origin.usage)
    found = estimate_run(spent, last, {each: project.priced_profile(name, each)[1] for each in last})
    currency = project.section(name, "economics.currency")
    if (refusal := found.refusal(compute.most_per_run, currency)) is not None:
        raise dg.Failure(description=f"{asset} is not made: {refusal}", allow_retries=False)


def _used(usage: ResourceUsage | None) -> dict[str, Any]:
    """What making a version took, as metadata; what is not known is left out."""
    if usage is None:
        return {}
    named = {f"used/{name}": value for name, value in usage.model_dump().items() if value is not None}
    return named | ({} if usage.cost is None else {COST: usage.cost})


@dataclass
class _Curves:
    """What a step told of itself so far: each figure as a line of bars, which grows in the UI while the step runs."""

    told: dict[str, list[float]] = field(default_factory=dict)

    def observed(self, figures: Mapping[str, float], samples: Sequence[str]) -> dict[str, Any]:
        """Metadata of one more observation."""
        for name, value in figures.items():
            self.told.setdefault(name, []).append(float(value))
        curves = {
            f"{CURVE}{name}": curve(values)
            for name, values in self.told.items()
            if len(values) > 1 and name not in PROGRESS
        }
        texts = (
            {SAMPLES: dg.MetadataValue.md("\n\n".join(f"> {text}" for text in samples))} if samples else {}
        )
        return {**figures, **curves, **texts}


def curve(values: Sequence[float]) -> str:
    """A line of bars and both ends, as text: the UI shows it without a click.

    Args:
        values: At least one; of many, `LONGEST_CURVE` are drawn at equal distances, the first and last among them. One
            that is not finite has no bar.
    """
    steps = min(len(values), LONGEST_CURVE) - 1
    drawn = [values[round(i * (len(values) - 1) / steps)] for i in range(steps + 1)] if steps else values
    finite = [each for each in drawn if isfinite(each)]
    low, span = min(finite, default=0.0), max(finite, default=0.0) - min(finite, default=0.0)
    bars = (
        _BARS[min(int((each - low) / (span or 1.0) * len(_BARS)), len(_BARS) - 1)] if isfinite(each) else " "
        for each in drawn
    )
    return f"{''.join(bars)}  {values[0]:.4g} to {values[-1]:.4g}"


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

"""How a stage becomes a Dagster asset: what it reads, when it is unchanged, what it shows. Trains nothing itself."""

import functools
import importlib.metadata
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg

from churn_assets.gates.factory import display
from churn_assets.gates.plots import Plot
from churn_assets.gates.report import Tables, digest_of
from churn_assets.gates.source import group_of, source_digest, training_sources
from churn_assets.store.artifacts import ArtifactStore, StagedArtifact, stage
from churn_assets.store.errors import StoreError
from churn_assets.store.manifest import Manifest, Provenance
from churn_assets.store.reference import ArtifactRef
from resources.artifacts import Fresh, Kept, Upstream
from resources.project import ARTIFACT, Project
from resources.sources import SOURCES, observation

IO_MANAGER = "artifacts"
# Metadata that says why a step did what it did.
MADE_BECAUSE, UNCHANGED = "made_because", "unchanged"
SAMPLES = "samples"
# Materializations looked through for what an unchanged version showed before.
_HISTORY = 10


@dataclass(frozen=True)
class Made:
    """What a stage's body returns.

    Attributes:
        value: The asset's value, in the type that its format saves.
        metrics: Figures of this training; stored in the manifest and plotted over time.
        tables: Small tables for the reader.
        plots: How tables are drawn.
        columns: Type and meaning of each column, where the value is a table.
        rows: Number of rows, where the value is a table.
    """

    value: Any
    metrics: Mapping[str, float | int | str | bool] = field(default_factory=dict)
    tables: Tables = field(default_factory=dict)
    plots: tuple[Plot, ...] = ()
    columns: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    rows: int | None = None


@dataclass(frozen=True)
class Step:
    """What a stage's body may ask for besides its inputs.

    Attributes:
        experiment: Name of the experiment.
        root: The project's folder, where relative paths start.
        upstream: Exact version of every input.
    """

    experiment: str
    root: Path
    upstream: Mapping[str, ArtifactRef]
    _project: Project
    _stage: "StageAsset"
    _observe: Callable[[Mapping[str, Any]], None]

    def section(self, name: str) -> Any:
        """A section of the experiment, or a plain value such as `seed`; only what the stage declares."""
        if name not in self._stage.sections:
            message = f"{self._stage.name} reads section {name!r} without declaring it in its sections"
            raise KeyError(message)
        return self._project.section(self.experiment, name)

    @property
    def scratch(self) -> Path:
        """Where a long training of this asset may keep checkpoints of its own, to go on after a crash."""
        return self.root / ".dagster" / "checkpoints" / self.experiment / self._stage.name

    @property
    def store(self) -> ArtifactStore:
        """The experiment's store, for a stage that reads what was stored about its inputs."""
        return self._project.store(self.experiment)

    def champion(self, asset: str) -> ArtifactRef | None:
        """The version of an asset in the release that leads the experiment's channel."""
        return self._project.champion(self.experiment, asset)

    def progress(self, figures: Mapping[str, float], samples: Sequence[str] = ()) -> None:
        """Report figures of a running step: stored at once, plotted as curves, shown by the command line.

        Args:
            figures: What was measured. `step` and `total` say how far it is.
            samples: Texts that the model makes by now.
        """
        texts = (
            {SAMPLES: dg.MetadataValue.md("\n\n".join(f"> {text}" for text in samples))} if samples else {}
        )
        self._observe({**figures, **texts})


@dataclass(frozen=True)
class StageAsset:
    """One asset of the flow, before it is bound to experiments.

    Attributes:
        name: Name of the asset.
        stage: Folder of the flow that it belongs to.
        body: (step, *inputs) -> Made.
        inputs: Assets it is trained from; the body gets the values of those that are in the experiment, loaded at
            their exact versions.
        format: Import path (`module:ATTRIBUTE`) of its format.
        sections: Everything it reads of the experiment: its own section, and others such as `economics` and `seed`.
        kinds: Technologies, as badges in the UI.
        owners: Who answers for it.
        description: What it is.
        sources: Source files that its value depends on.
        data: (step) -> digest of data it reads from outside the flow, if it reads any.
        expired: (step, newest version) -> why it must be made again although nothing changed; empty if it need not.
        lazy: Give the body `Upstream` handles instead of loaded values.
        outside: Sources outside the flow (`resources.sources`) that it reads.
    """

    name: str
    stage: str
    body: Callable[..., Made]
    inputs: tuple[str, ...]
    format: str
    sections: tuple[str, ...]
    kinds: frozenset[str]
    owners: tuple[str, ...]
    description: str
    sources: Callable[[], Sequence[Path]]
    data: Callable[[Step], str] | None
    expired: Callable[[Step, ArtifactRef], str] | None
    lazy: bool
    outside: tuple[str, ...] = ()

    @property
    def group(self) -> str:
        """UI group; the groups sort in flow order."""
        return group_of(self.stage)

    def bind(self, partitions: dg.PartitionsDefinition) -> dg.AssetsDefinition:
        """The Dagster asset, partitioned by experiment."""

        @dg.asset(
            name=self.name,
            ins={name: dg.AssetIn() for name in self.inputs},
            deps=list(self.outside),
            partitions_def=partitions,
            group_name=self.group,
            kinds=set(self.kinds),
            owners=list(self.owners),
            description=self.description,
            io_manager_key=IO_MANAGER,
            required_resource_keys={"project"},
            output_required=True,
        )
        def compute(
            context: dg.AssetExecutionContext, **inputs: Upstream | None
        ) -> dg.MaterializeResult[Any]:
            return self._materialize(context, {name: each for name, each in inputs.items() if each})

        return compute

    def _materialize(
        self, context: dg.AssetExecutionContext, inputs: Mapping[str, Upstream]
    ) -> dg.MaterializeResult[Any]:
        project: Project = context.resources.project
        name = context.partition_key
        experiment = project.experiment(
            name
        )  # the whole of it: a wrong section anywhere stops before any training
        if not project.takes_part(name, self.name):
            raise dg.Failure(
                description=f"{self.name} is not in experiment {name!r}: found no section {self.name!r}; add the "
                "message branch to it, or run the job train_decision",
                allow_retries=False,
            )
        seed = int(experiment.seed)
        step = Step(
            experiment=name,
            root=project.root,
            upstream={asset: inputs[asset].ref for asset in self.inputs if asset in inputs},
            _project=project,
            _stage=self,
            _observe=lambda figures: context.log_event(
                dg.AssetObservation(asset_key=self.name, partition=name, metadata=dict(figures))
            ),
        )
        for source in self.outside:
            if (event := observation(project, name, SOURCES[source])) is not None:
                context.log_event(event)  # what this run read, whether or not anybody looked before
        config = {section: project.training_config(name, section) for section in self.sections}
        wanted = Recipe(
            config=digest_of(
                {
                    "sections": {section: digest_of(content) for section, content in config.items()},
                    "data": None if self.data is None else self.data(step),
                }
            ),
            upstream={asset: content_of(ref) for asset, ref in step.upstream.items()},
            source=source_digest(self.sources()),
        )
        store = project.store(name)
        newest = next(reversed(store.versions(name, self.name)), None)
        if newest is None:
            reason = "first version"
        else:
            kept, reason = _reusable(store.verify, newest, wanted)
            if kept is not None and self.expired is not None and (why := self.expired(step, newest)):
                kept, reason = None, why
            if kept is not None:
                context.log.info(f"{self.name} unchanged: {reason}")
                return dg.MaterializeResult(
                    value=Kept(newest),
                    data_version=dg.DataVersion(kept.digest),
                    metadata=_shown_before(context, self.name, newest, kept) | {UNCHANGED: reason},
                )
        context.log.info(f"{self.name} is made: {reason}")
        made = self.body(
            step,
            *(handle if self.lazy else handle.load() for handle in map(inputs.get, self.inputs) if handle),
        )
        folder = tempfile.TemporaryDirectory(prefix=f"churn-{self.name}-")
        staged: StagedArtifact = stage(self.name, made.value, project.format(self.name), Path(folder.name))
        if step.scratch.is_dir():
            shutil.rmtree(step.scratch)  # the training is over: nobody goes on from there
        provenance = Provenance(
            experiment=name,
            upstream={asset: str(ref) for asset, ref in step.upstream.items()},
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


def stage_asset(
    *,
    stage: str,
    format: str,  # noqa: A002 - the field's own name
    sections: Sequence[str],
    kinds: Sequence[str],
    description: str,
    inputs: Sequence[str] = (),
    owners: Sequence[str] = ("team:retention",),
    data: Callable[[Step], str] | None = None,
    expired: Callable[[Step, ArtifactRef], str] | None = None,
    lazy: bool = False,
    outside: Sequence[str] = (),
) -> Callable[[Callable[..., Made]], StageAsset]:
    """Declare an asset of the flow; the function's name is the asset's. See `StageAsset` for the arguments."""

    def declare(body: Callable[..., Made]) -> StageAsset:
        return StageAsset(
            name=body.__name__,
            stage=stage,
            body=body,
            inputs=tuple(inputs),
            format=format,
            sections=tuple(sections),
            kinds=frozenset(kinds),
            owners=tuple(owners),
            description=description,
            sources=functools.partial(training_sources, stage),
            data=data,
            expired=expired,
            lazy=lazy,
            outside=tuple(outside),
        )

    return declare


@dataclass(frozen=True)
class Recipe:
    """What a version was made from: equal recipes make equal versions."""

    config: str
    upstream: Mapping[str, str]
    source: str


def content_of(ref: ArtifactRef) -> str:
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
    upstream = {asset: content_of(ArtifactRef.parse(ref)) for asset, ref in made_from.upstream.items()}
    stored = Recipe(config=made_from.config_digest, upstream=upstream, source=made_from.code_version)
    found = changes(stored, wanted) + _package_changes(manifest)
    if found:
        return None, "; ".join(found)
    return manifest, f"same configuration, inputs and source code as version {newest.version}"


def _package_changes(manifest: Manifest) -> list[str]:
    return [
        f"{package} was {then}, is {now}"
        for package, then in manifest.packages.items()
        if (now := importlib.metadata.version(package)) != then
    ]


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

"""How a version of an asset comes to be: its recipe, whether a stored version follows it, and making a new one.

Knows neither an orchestrator nor on which machine it runs: a step makes its asset here wherever it is.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import TypeAdapter

from churn_assets.flow.asset import Made, Step, Upstream, Workspace
from churn_assets.flow.source import training_digest
from churn_assets.flow.usage import UsageMeter
from churn_assets.gates.plots import Plot
from churn_assets.gates.report import digest_of
from churn_assets.store.artifacts import StagedArtifact, stage
from churn_assets.store.errors import StoreError
from churn_assets.store.formats import ArtifactFormat
from churn_assets.store.manifest import Manifest, Provenance
from churn_assets.store.reference import ArtifactRef


class MakingWorkspace(Workspace, Protocol):
    """What making a version asks of the project, beside what a step asks."""

    def training_config(self, experiment: str, name: str) -> Any:
        """What training reads of a section, as JSON."""

    def format(self, asset: str) -> ArtifactFormat[Any]:
        """The format of an asset."""

    def priced_profile(self, experiment: str, asset: str) -> tuple[str, float | None]:
        """Name of the profile that an asset is made with, and the price of an hour there where it is known."""


@dataclass(frozen=True)
class Recipe:
    """What a version is made from: equal recipes make equal versions.

    Attributes:
        config: Digest of the configuration, and of data from outside of the flow.
        upstream: Asset to the content of its version.
        source: Digest of the source code.
    """

    config: str
    upstream: Mapping[str, str]
    source: str


@dataclass(frozen=True)
class PlannedVersion:
    """A version that is to be made.

    Attributes:
        step: Of what, for which experiment, from which versions.
        recipe: What it is made from, as digests.
        config: The same in words: what each section says.
        seed: Of the experiment.
    """

    step: Step[Any]
    recipe: Recipe
    config: Mapping[str, Any]
    seed: int


@dataclass(frozen=True)
class Fresh:
    """A newly made value, staged in a folder that lives as long as this object."""

    staged: StagedArtifact
    provenance: Provenance
    folder: tempfile.TemporaryDirectory[str]


def planned_version(step: Step[Any], workspace: MakingWorkspace) -> PlannedVersion:
    """What is to be made by a step; reads its configuration, and digests what comes from outside of the flow."""
    asset, experiment = step.asset, step.experiment
    config = {section: workspace.training_config(experiment, section) for section in asset.sections}
    recipe = Recipe(
        config=digest_of(
            {
                "sections": {section: digest_of(content) for section, content in config.items()},
                "data": None if asset.data is None else asset.data(step),
            }
        ),
        upstream={each: content_name(ref) for each, ref in step.upstream.items()},
        source=training_digest(asset),
    )
    return PlannedVersion(step, recipe, config, int(workspace.section(experiment, "seed")))


def make_version(
    planned: PlannedVersion, inputs: Mapping[str, Upstream], workspace: MakingWorkspace, run_id: str
) -> tuple[Made, Fresh]:
    """Run the body of an asset and stage what it returns.

    Args:
        planned: What is to be made.
        inputs: Asset to its version, loaded here unless the body is lazy.
        workspace: Where experiments and artifacts are.
        run_id: The run of the orchestrator, for the provenance.
    """
    step, asset = planned.step, planned.step.asset
    meter = UsageMeter(*workspace.priced_profile(step.experiment, asset.name))
    made = asset.body(
        step, **{each: handle if asset.lazy else handle.load() for each, handle in inputs.items()}
    )
    folder = tempfile.TemporaryDirectory(prefix=f"churn-{asset.name}-")
    staged = stage(asset.name, made.value, workspace.format(asset.name), Path(folder.name))
    if step.scratch.is_dir():
        shutil.rmtree(step.scratch)  # the training is over: nobody goes on from there
    provenance = Provenance(
        experiment=step.experiment,
        upstream={each: str(ref) for each, ref in step.upstream.items()},
        config_digest=planned.recipe.config,
        config=dict(planned.config),
        seed=planned.seed,
        code_version=planned.recipe.source,
        run_id=run_id,
        metrics=dict(made.metrics),
        usage=meter.read(),
    )
    return made, Fresh(staged, provenance, folder)


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


def reusable(
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


def to_show(made: Made) -> dict[str, Any]:
    """Everything of a training but its value, as JSON: what another machine hands over for people to see."""
    plain = {
        "metrics": made.metrics,
        "tables": made.tables,
        "plots": [dataclasses.asdict(each) for each in made.plots],
        "columns": made.columns,
        "rows": made.rows,
    }
    shown: dict[str, Any] = json.loads(json.dumps(plain, default=_of_numpy))
    return shown


def from_shown(shown: Mapping[str, Any]) -> Made:
    """The training that `to_show` told of, without its value."""
    plots = tuple(TypeAdapter(Plot).validate_python(each) for each in shown["plots"])
    columns = {name: (kind, meaning) for name, (kind, meaning) in shown["columns"].items()}
    return Made(None, shown["metrics"], shown["tables"], plots, columns, shown["rows"])


def _of_numpy(value: Any) -> Any:
    return value.item()


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

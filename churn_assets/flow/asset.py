"""An asset of the flow as data, declared once by the decorator `asset` on the function that makes it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, Generic, Literal, ParamSpec, Protocol, TypeVar, get_args

from pydantic import BaseModel

from churn_assets.flow.setting import SEED, Setting

if TYPE_CHECKING:
    from churn_assets.flow.check import CheckSpec
    from churn_assets.gates.plots import Plot
    from churn_assets.gates.report import Tables
    from churn_assets.store.artifacts import ArtifactStore
    from churn_assets.store.manifest import Manifest
    from churn_assets.store.reference import ArtifactRef

C = TypeVar("C", bound=BaseModel)
P = ParamSpec("P")
T = TypeVar("T")

Branch = Literal["risk", "accept", "decision", "message"]
"""What a release can do: tell who is likely to leave, tell who takes an offer, decide, write messages."""

BRANCHES: tuple[Branch, ...] = get_args(Branch)

WITHIN: Mapping[Branch, tuple[Branch, ...]] = {"accept": ("risk",), "decision": ("risk", "accept")}
"""What else a release can do that can do this: its members are needed for it."""

EVERY_MEMBER = ("*",)
"""The inputs of an asset that is made from every member of a release."""


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
class Upstream:
    """An input as handed to a lazy body: its exact version and manifest; the value is loaded when asked for."""

    ref: ArtifactRef
    manifest: Manifest
    load: Callable[[], Any]


class Workspace(Protocol):
    """Where experiments and artifacts are: what a step and a check ask of the project."""

    @property
    def root(self) -> Path:
        """The project's folder, where relative paths start."""

    def section(self, experiment: str, name: str) -> Any:
        """A section of an experiment, or a value in one; None where the experiment does without."""

    def section_digest(self, experiment: str, name: str) -> str:
        """Its digest."""

    def store(self, experiment: str) -> ArtifactStore:
        """The experiment's store."""

    def value(self, ref: ArtifactRef, *, reread: bool = False) -> Any:
        """The value of a stored version."""

    def champion(self, experiment: str, asset: str) -> ArtifactRef | None:
        """The version of an asset in the release that leads the experiment's channel."""


def _nothing(figures: Mapping[str, float], samples: Sequence[str]) -> None:
    """Tells nobody how far a step is."""


@dataclass(frozen=True)
class Step(Generic[C]):
    """What a stage's body may ask for besides its inputs.

    Attributes:
        asset: The asset that is made.
        experiment: Name of the experiment.
        workspace: Where experiments and artifacts are.
        upstream: Exact version of every input.
        tell: (figures, samples) -> passes on how far the step is.
    """

    asset: AssetSpec
    experiment: str
    workspace: Workspace
    upstream: Mapping[str, ArtifactRef] = field(default_factory=dict)
    tell: Callable[[Mapping[str, float], Sequence[str]], None] = _nothing

    @property
    def config(self) -> C:
        """The asset's own section of the experiment."""
        section: C = self.workspace.section(self.experiment, self.asset.name)
        return section

    @property
    def seed(self) -> int:
        """The experiment's seed, for an asset that declares to read it."""
        return self.read(SEED)

    def read(self, setting: Setting[T]) -> T:
        """Another value of the experiment.

        Raises:
            KeyError: The asset does not declare to read it, or the experiment goes without its section.
        """
        value = self.find(setting)
        if value is None:
            raise KeyError(
                f"{self.asset.name} needs {setting.path!r}, which experiment {self.experiment!r} goes without"
            )
        return value

    def find(self, setting: Setting[T]) -> T | None:
        """Another value of the experiment; None where the experiment goes without its section.

        Raises:
            KeyError: The asset does not declare to read it.
        """
        if setting not in self.asset.reads:
            raise KeyError(f"{self.asset.name} reads {setting.path!r} without declaring it in its reads")
        value: T | None = self.workspace.section(self.experiment, setting.path)
        return value

    @property
    def root(self) -> Path:
        """The project's folder, where relative paths start."""
        return self.workspace.root

    @property
    def scratch(self) -> Path:
        """Where a long training of this asset may keep checkpoints of its own, to go on after a crash."""
        return self.root / ".dagster" / "checkpoints" / self.experiment / self.asset.name

    @property
    def store(self) -> ArtifactStore:
        """The experiment's store, for a stage that reads what was stored about its inputs."""
        return self.workspace.store(self.experiment)

    def champion(self, asset: str) -> ArtifactRef | None:
        """The version of an asset in the release that leads the experiment's channel."""
        return self.workspace.champion(self.experiment, asset)

    def progress(self, figures: Mapping[str, float], samples: Sequence[str] = ()) -> None:
        """Report figures of a running step: stored at once, plotted as curves, shown by the command line.

        Args:
            figures: What was measured. `step` and `total` say how far it is.
            samples: Texts that the model makes by now.
        """
        self.tell(figures, samples)


@dataclass(frozen=True)
class AssetSpec:
    """One asset of the flow.

    Attributes:
        name: Name of the asset, and of its section of an experiment.
        stage: Folder of the flow that it belongs to.
        body: (step, **inputs) -> Made.
        inputs: Assets it is trained from; the body gets the values of those that are in the experiment by their names,
            loaded at their exact versions.
        config: Class of its section.
        reads: What it reads of the experiment besides.
        format: Import path (`module:ATTRIBUTE`) of its format.
        checks: What it must prove.
        branch: What a release can do that it is a member of, the least of it; None where it is no member.
        optional: Whether an experiment may do without it.
        kinds: Technologies, as badges in the UI.
        owners: Who answers for it.
        description: What it is.
        data: (step) -> digest of data it reads from outside the flow, if it reads any.
        expired: (step, newest version) -> why it must be made again although nothing changed; empty if it need not.
        lazy: Give the body `Upstream` handles instead of loaded values.
        outside: What it reads from outside the flow, by name: the lineage starts there.
        source: Digest of what it is made by, where that is not read from its imports.
    """

    name: str
    stage: str
    body: Callable[..., Made]
    inputs: tuple[str, ...]
    config: type[BaseModel]
    reads: tuple[Setting[Any], ...]
    format: str
    checks: tuple[CheckSpec, ...]
    branch: Branch | None
    optional: bool
    kinds: frozenset[str]
    owners: tuple[str, ...]
    description: str
    data: Callable[[Step[Any]], str] | None
    expired: Callable[[Step[Any], ArtifactRef], str] | None
    lazy: bool
    outside: tuple[str, ...] = ()
    source: Callable[[], str] | None = None

    @property
    def sections(self) -> tuple[str, ...]:
        """Paths of everything that it reads of an experiment."""
        return (self.name, *(setting.path for setting in self.reads))


def asset(
    *,
    config: type[C],
    format: str,  # noqa: A002 - the field's own name
    kinds: Sequence[str],
    description: str,
    branch: Branch | None = None,
    checks: Sequence[CheckSpec] = (),
    reads: Sequence[Setting[Any]] = (),
    inputs: Sequence[str] | None = None,
    stage: str | None = None,
    owners: Sequence[str] = ("team:retention",),
    optional: bool = False,
    data: Callable[[Step[C]], str] | None = None,
    expired: Callable[[Step[C], ArtifactRef], str] | None = None,
    lazy: bool = False,
    outside: Sequence[str] = (),
) -> Callable[[Callable[Concatenate[Step[C], P], Made]], AssetSpec]:
    """Declare an asset of the flow: the function's name is the asset's, its parameters after the step are its inputs.

    See `AssetSpec` for the arguments. `inputs` and `stage` are given where the parameters and the folder do not
    say them.
    """

    def declare(body: Callable[Concatenate[Step[C], P], Made]) -> AssetSpec:
        _, *named = inspect.signature(body).parameters
        return AssetSpec(
            name=body.__name__,
            stage=stage or body.__module__.split(".")[1],
            body=body,
            inputs=tuple(named if inputs is None else inputs),
            config=config,
            reads=tuple(reads),
            format=format,
            checks=tuple(checks),
            branch=branch,
            optional=optional,
            kinds=frozenset(kinds),
            owners=tuple(owners),
            description=description,
            data=data,
            expired=expired,
            lazy=lazy,
            outside=tuple(outside),
        )

    return declare

"""The project on disk: experiments, the artifact store that each of them names, formats and the champion."""

import functools
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from churn_assets.experiment import load_experiment, section_digest
from churn_assets.flow.paths import resolve_format
from churn_assets.remote.config import LOCAL
from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.backend import TransferProgress
from churn_assets.store.formats import ArtifactFormat
from churn_assets.store.listing import files_like
from churn_assets.store.location import open_store, store_uri
from churn_assets.store.reference import ArtifactRef

_ROOT_VARIABLE = "CHURN_ROOT"
_EXPERIMENT = re.compile(r"[a-z0-9][a-z0-9_-]*")
# Materialization metadata that names the version: the only link from Dagster's history to the store.
ARTIFACT = "artifact"
# Metadata that says in which store.
STORE = "store"
# Versions kept in memory, least recently used first out: about one run's worth.
_VALUES_KEPT = 12


class NeverMaterializedError(LookupError):
    """An upstream asset has no version yet for this experiment."""


@dataclass(frozen=True)
class Project:
    """Where experiments and artifacts are, and how they are read.

    Attributes:
        root: The project's folder; relative paths in an experiment start here, wherever the process was started.
        config_dir: Folder with one YAML file an experiment.
        formats: Import path (`module:ATTRIBUTE`) of every asset's format.
        leader: (store, experiment, asset) -> the champion's version of the asset.
        read: Reads and validates one experiment.
        progress: Told of every transfer from or to a remote store.
    """

    root: Path
    config_dir: Path
    formats: Mapping[str, str]
    leader: Callable[[ArtifactStore, Any, str], ArtifactRef | None]
    read: Callable[[str, Path], Any] = load_experiment
    progress: TransferProgress | None = None
    _values: dict[tuple[str, ArtifactRef], Any] = field(default_factory=dict, compare=False, repr=False)

    def names(self) -> list[str]:
        """Names of the experiments that have a file; files of editors and systems, such as `._a.yaml`, are none.

        Raises:
            OSError: The folder cannot be looked into.
        """
        files = files_like(self.config_dir, "*.yaml")
        return sorted(path.stem for path in files if _EXPERIMENT.fullmatch(path.stem) and path.is_file())

    def experiment(self, name: str) -> Any:
        """The whole experiment, validated; read again whenever its file changed."""
        path = self.config_dir / f"{name}.yaml"
        stamp = path.stat().st_mtime_ns if path.is_file() else 0
        return _read(self.read, name, self.config_dir, stamp)

    def section(self, experiment: str, name: str) -> Any:
        """A section or plain value, such as `seed`, of an experiment; dots lead to a part: `ppo_decision.menu`.

        None for a section that the experiment does without, and every part of it.
        """
        found = self.experiment(experiment)
        for part in name.split("."):
            found = None if found is None else getattr(found, part)
        return found

    def takes_part(self, experiment: str, asset: str) -> bool:
        """Whether an asset is in the experiment: one that is has a section of its name."""
        return getattr(self.experiment(experiment), asset, None) is not None

    def section_digest(self, experiment: str, name: str) -> str:
        """Digest of one section."""
        return section_digest(self.section(experiment, name))

    def config_digest(self, experiment: str) -> str:
        """Digest of all that an experiment says."""
        return section_digest(self.experiment(experiment))

    def training_config(self, experiment: str, name: str) -> Any:
        """What training reads of a section, as JSON: all but its gates, which judge a model and do not shape it."""
        section = self.section(experiment, name)
        if isinstance(section, BaseModel):
            return section.model_dump(mode="json", exclude={"gates"})
        return to_jsonable_python(section)

    def store(self, experiment: str) -> ArtifactStore:
        """The experiment's artifact store."""
        policy = self.experiment(experiment).store
        return open_store(self.store_uri(experiment), root=self.root, progress=self.progress, policy=policy)

    def store_uri(self, experiment: str) -> str:
        """Where that is; CHURN_STORE overrides what the experiment says."""
        return store_uri(self.experiment(experiment).store.uri)

    def store_place(self, experiment: str) -> str:
        """The same, as any working directory finds it: a folder by its whole path."""
        uri = self.store_uri(experiment)
        return uri if "://" in uri or uri.startswith("/") else str(self.root / Path(uri).expanduser())

    def machine(self, experiment: str, asset: str) -> tuple[str, Any] | None:
        """Name and content of the profile that an asset is made with; None where it is made by this process."""
        compute = getattr(self.experiment(experiment), "compute", None)
        return None if compute is None else compute.of(asset)

    def priced_profile(self, experiment: str, asset: str) -> tuple[str, float | None]:
        """Name of the profile that an asset is made with, and the price of an hour there where it is known."""
        compute = getattr(self.experiment(experiment), "compute", None)
        if compute is None:
            return LOCAL, None
        name = compute.assets.get(asset, LOCAL)
        return name, compute.prices.get(name)

    def machines(self, experiment: str) -> list[str]:
        """Names of the profiles that an experiment uses; none for one that cannot be read, which its run tells."""
        try:
            compute = getattr(self.experiment(experiment), "compute", None)
        except ValueError:  # an ExperimentError, or what another reader raises
            return []
        return [] if compute is None else list(compute.used)

    def value(self, ref: ArtifactRef, *, reread: bool = False) -> Any:
        """The value of a stored version. Treat it as read-only: the next one gets it too.

        Every file's digest is verified at every call. As a version never changes, this process parses it and
        replays its golden rows only once; the last few versions are kept.

        Args:
            ref: The version.
            reread: Read it from the store even if it is kept, as a check of what was saved must.
        """
        key = (self.store_uri(ref.experiment), ref)
        store = self.store(ref.experiment)
        kept = self._values.pop(key, None)
        if kept is None or reread:
            kept = store.load(ref, self.format(ref.asset))
        else:
            store.verify(ref)
        self._values[key] = kept
        while len(self._values) > _VALUES_KEPT:
            self._values.pop(next(iter(self._values)))
        return kept

    def format(self, asset: str) -> ArtifactFormat[Any]:
        """The format of an asset; imports the libraries it needs."""
        return resolve_format(self.formats[asset])

    def champion(self, experiment: str, asset: str) -> ArtifactRef | None:
        """The version of an asset in the release that leads the experiment's channel."""
        return self.leader(self.store(experiment), self.experiment(experiment), asset)

    def made(self, instance: dg.DagsterInstance, experiment: str, asset: str, run_id: str) -> ArtifactRef:
        """The version that a run made of an asset; where it made none, the latest that was materialized.

        Raises:
            NeverMaterializedError: Dagster has no materialization of the asset for this experiment.
        """
        key = dg.AssetKey(asset)
        wanted = dg.AssetRecordsFilter(asset_key=key, asset_partitions=[experiment])
        records = instance.fetch_materializations(wanted, limit=50).records
        if not records:
            raise NeverMaterializedError(
                f"{asset} of experiment {experiment!r} was never materialized: materialize it first "
                f"(churn run {experiment} --select {asset})"
            )
        record = next((record for record in records if record.run_id == run_id), records[0])
        materialization = record.asset_materialization
        if materialization is None or ARTIFACT not in materialization.metadata:
            raise NeverMaterializedError(
                f"{asset} of experiment {experiment!r}: its latest materialization names no stored version"
            )
        return ArtifactRef.parse(str(materialization.metadata[ARTIFACT].value))


class WrongFolderError(RuntimeError):
    """Dagster was started where it would quietly begin a second, empty history."""


def project_root() -> Path:
    """The project's folder: CHURN_ROOT, else the checkout that this code stands in."""
    named = os.environ.get(_ROOT_VARIABLE)
    return Path(named).resolve() if named else Path(__file__).resolve().parents[1]


def require_project_folder(root: Path) -> None:
    """Refuse to serve the project's own instance from another folder: its relative paths would lead elsewhere.

    Raises:
        WrongFolderError: DAGSTER_HOME is unset or the project, and the working directory is not the project.
    """
    home = os.environ.get("DAGSTER_HOME")
    own_instance = home is None or Path(home).resolve() == root
    if own_instance and Path.cwd().resolve() != root:
        raise WrongFolderError(
            f"started in {Path.cwd()}: Dagster would keep a second, empty history here. "
            f"Start it in {root}, or set DAGSTER_HOME to a folder with its own dagster.yaml."
        )


@functools.lru_cache(maxsize=32)
def _read(read: Callable[[str, Path], Any], name: str, config_dir: Path, stamp: int) -> Any:  # noqa: ARG001 - the key
    return read(name, config_dir)

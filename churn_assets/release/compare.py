"""What differs between two releases, from what the store knows of them: the comparison itself reads nothing."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from churn_assets.flow.registry import registry
from churn_assets.release.bundle import RELEASE
from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.manifest import Manifest
from churn_assets.store.reference import ArtifactRef

Value = float | int | str | bool | None


@dataclass(frozen=True)
class Facts:
    """What is told about one member of a release, by kind and name.

    Attributes:
        version: Its version.
        told: Kind (`content`, `config`, `code`, `seed`, `package`, `metric`, `gate`, `threshold`, `file`) to name
            to value. Digests are told in 12 digits.
    """

    version: str
    told: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)


@dataclass(frozen=True)
class Difference:
    """One thing that is not the same on both sides; None where a side has no such thing."""

    asset: str
    kind: str
    name: str
    a: Value
    b: Value


def differences(a: Mapping[str, Facts], b: Mapping[str, Facts]) -> list[Difference]:
    """Everything that differs between two releases, member by member in the order of the flow."""
    return [
        each for asset in registry().in_order({*a, *b}) for each in _member(asset, a.get(asset), b.get(asset))
    ]


def facts_of(store: ArtifactStore, release: ArtifactRef) -> dict[str, Facts]:
    """What the store knows of a release and its members, by asset.

    Raises:
        StoreError: The release, a manifest or a gate report cannot be read.
    """
    members = store.load(release, RELEASE).bundle.members
    return facts_of_versions(store, [*(member.version for member in members.values()), release])


def facts_of_versions(store: ArtifactStore, versions: Iterable[ArtifactRef]) -> dict[str, Facts]:
    """What the store knows of some versions, by asset.

    Raises:
        StoreError: A manifest or a gate report cannot be read.
    """
    return {
        ref.asset: Facts(ref.version, told_of(store.manifest(ref)) | _judged(store, ref)) for ref in versions
    }


def _member(asset: str, a: Facts | None, b: Facts | None) -> Iterator[Difference]:
    versions = None if a is None else a.version, None if b is None else b.version
    if versions[0] != versions[1]:
        yield Difference(asset, "version", "", *versions)
    if a is None or b is None:
        return
    for kind in dict.fromkeys([*a.told, *b.told]):
        left, right = a.told.get(kind, {}), b.told.get(kind, {})
        for name in dict.fromkeys([*left, *right]):
            if left.get(name) != right.get(name):
                yield Difference(asset, kind, name, left.get(name), right.get(name))


def told_of(manifest: Manifest) -> dict[str, Mapping[str, Value]]:
    """What a manifest tells of its version, by kind and name."""
    made = manifest.provenance
    return {
        "content": {"": _short(manifest.digest)},
        "config": {"": _short(made.config_digest), **dict(_keys(made.config))},
        "code": {"": _short(made.code_version)},
        "seed": {"": made.seed},
        "package": {"loader": manifest.loader, **manifest.packages},
        "metric": made.metrics,
        "file": {entry.path: f"{_short(entry.sha256)}, {entry.size} bytes" for entry in manifest.files},
    }


def _judged(store: ArtifactStore, ref: ArtifactRef) -> dict[str, Mapping[str, Value]]:
    gates = {
        f"{check}: {gate['name']}": gate
        for check, report in store.gate_reports(ref).items()
        for gate in report["gates"]
    }
    return {
        "gate": {name: gate["figure"] for name, gate in gates.items()},
        "threshold": {name: f"{gate['bound']} {gate['threshold']:g}" for name, gate in gates.items()},
    }


def _keys(config: Any, path: str = "") -> Iterator[tuple[str, Value]]:
    """Every key of a config by its path; a list is told as text."""
    if isinstance(config, Mapping):
        for key, value in config.items():
            yield from _keys(value, f"{path}.{key}" if path else key)
    else:
        yield path, json.dumps(config) if isinstance(config, list) else config


def _short(digest: str) -> str:
    return digest[:12]

"""The declaration of a check: what a stage's checks.py lists. Knows no orchestrator, so release can read it too."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from churn_assets.gates.plots import Plot
from churn_assets.gates.report import Outcome
from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.manifest import Manifest
from churn_assets.store.reference import ArtifactRef

LOADS_AND_AGREES = "loads_and_agrees"


@dataclass(frozen=True)
class GateInputs:
    """What a check may look at besides its subject; everything is loaded from the store, and only when asked for.

    Attributes:
        ref: The version under test.
        manifest: Its manifest.
        store: The store that it was loaded from.
        upstream: Loads an asset at the version that this one was trained from, directly or through others.
        section: One section of the experiment, by name; only the sections that the check declares.
        champions: (assets) -> the champion's version of this asset, or what that was trained from, by name. None
            where nothing leads, this version does, or the champion cannot be loaded: then the report says so, as a
            broken champion must not block its successor.
        once: (name, make) -> value, made once for all checks of this version.
    """

    ref: ArtifactRef
    manifest: Manifest
    store: ArtifactStore
    upstream: Callable[[str], Any]
    section: Callable[[str], Any]
    champions: Callable[..., tuple[Any, ...] | None]
    once: Callable[[str, Callable[[], Any]], Any]


@dataclass(frozen=True)
class CheckSpec:
    """One check of one asset. Beside those declared, every asset has `loads_and_agrees`.

    Attributes:
        name: Unique for its asset.
        description: What passing proves.
        advice: What to do when it fails.
        run: Measures the subject (loaded from the store). A check that cannot run must raise: it has failed.
        sections: Sections of the experiment that it reads (economics, seed, … and the asset's own).
        against_champion: Whether it compares with the champion's version.
        every_run: Measure anew in every run, as it looks at more of the store than its subject.
        plots: How its tables are drawn.
    """

    name: str
    description: str
    advice: str
    run: Callable[[Any, GateInputs], Outcome]
    sections: tuple[str, ...] = ()
    against_champion: bool = False
    every_run: bool = False
    plots: tuple[Plot, ...] = ()


def checks_by_name(specs: tuple[CheckSpec, ...]) -> Mapping[str, CheckSpec]:
    """The checks of an asset by name; two with one name are an error."""
    named = {spec.name: spec for spec in specs}
    if len(named) != len(specs):
        message = f"two checks share a name: {sorted(spec.name for spec in specs)}"
        raise ValueError(message)
    return named

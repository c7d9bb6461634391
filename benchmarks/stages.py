"""Stages and their checks as function calls on values in memory: no orchestrator, no store, no plots, no report."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from churn_assets.flow.asset import Step
from churn_assets.flow.check import measure
from churn_assets.flow.registry import registry
from churn_assets.gates.report import Outcome
from resources.project import Project

ROOT = Path(__file__).parents[1]


@dataclass
class Called:
    """What came of it.

    Attributes:
        values: Of each asset.
        seconds: Wall time of each asset's stage and checks together.
        outcomes: Of each check, by asset and check.
    """

    values: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    outcomes: dict[tuple[str, str], Outcome] = field(default_factory=dict)

    @property
    def failed(self) -> list[str]:
        """Checks that did not pass, with the first gate that was missed."""
        return [
            f"{asset}.{check}: {gate.name} {gate.figure}"
            for (asset, check), outcome in self.outcomes.items()
            for gate in [each for each in outcome.gates if not each.passed][:1]
        ]


@contextmanager
def project_folder(
    experiment: str, change: Mapping[str, Any], without: tuple[str, ...] = ()
) -> Iterator[Path]:
    """An empty project with one experiment, some sections of which are changed or left out."""
    content = yaml.safe_load((ROOT / "configs" / f"{experiment}.yaml").read_text(encoding="utf-8"))
    kept = {name: section for name, section in content.items() if name not in without} | dict(change)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "configs").mkdir()
        written = Path(folder) / "configs" / f"{experiment}.yaml"
        written.write_text(yaml.safe_dump(kept), encoding="utf-8")
        yield Path(folder)


def call_stages(project: Project, experiment: str, assets: tuple[str, ...] = ()) -> Called:
    """Calls every stage that takes part, or those that are named, each followed by its checks."""
    called = Called()
    for asset in registry().assets:
        left_out = assets and asset.name not in assets
        if asset.lazy or left_out or not project.takes_part(experiment, asset.name):
            continue
        start = time.perf_counter()
        step = Step(asset, experiment, project)
        inputs = {name: called.values[name] for name in asset.inputs}
        called.values[asset.name] = asset.body(step, **inputs).value
        supply = InMemory(asset.name, called.values, lambda path: project.section(experiment, path))
        for check in asset.checks:
            called.outcomes[asset.name, check.name] = measure(check, supply)
        called.seconds[asset.name] = time.perf_counter() - start
    return called


@dataclass(frozen=True)
class InMemory:
    """What a check may be given, of values in memory.

    Attributes:
        asset: The asset under test.
        values: Of it and of the assets upstream.
        section: A section of the experiment, or a value in one, by its path.
        leader: The value of the asset that leads, if any does.
        made: What checks have made of which values, and will make, once for all of them.
    """

    asset: str
    values: Mapping[str, Any]
    section: Callable[[str], Any]
    leader: Any = None
    made: dict[tuple[Any, ...], tuple[Any, Any]] = field(default_factory=dict)

    @property
    def subject(self) -> Any:
        """The value under test."""
        return self.values[self.asset]

    def upstream(self, asset: str) -> Any:
        """The value of an asset."""
        return self.values[asset]

    def champion(self, asset: str) -> Any | None:
        """What leads; nothing is known of what it was trained from."""
        return self.leader if asset == self.asset else None

    def evidence(self, name: str) -> Any:
        """Nothing is stored."""
        raise LookupError(f"{name}: there is no store")

    def once(self, name: str, arguments: Mapping[str, Any], make: Callable[[], Any]) -> Any:
        """What was made of just these values."""
        key = (self.asset, name, *map(id, arguments.values()))
        if key not in self.made:
            self.made[key] = make(), arguments  # kept, so that no other value gets their ids
        return self.made[key][0]

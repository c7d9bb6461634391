"""Stages and their checks as function calls on values in memory: no orchestrator, no store, no plots, no report."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import yaml

from churn_assets.definitions import FLOW
from churn_assets.gates.report import Outcome
from churn_assets.gates.spec import GateInputs
from resources.project import Project
from resources.stage import Step

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
    for checked in FLOW:
        asset = checked.asset
        left_out = assets and asset.name not in assets
        if asset.lazy or left_out or not project.takes_part(experiment, asset.name):
            continue
        start = time.perf_counter()
        step = Step(experiment, project.root, {}, project, asset, lambda _figures: None)
        called.values[asset.name] = asset.body(step, *(called.values[name] for name in asset.inputs)).value
        inputs = gate_inputs(called.values, lambda name: project.section(experiment, name), {})
        for check in checked.checks:
            called.outcomes[asset.name, check.name] = check.run(called.values[asset.name], inputs)
        called.seconds[asset.name] = time.perf_counter() - start
    return called


def gate_inputs(
    values: Mapping[str, Any],
    section: Callable[[str], Any],
    made: dict[str, Any],
    champion: Any = None,
) -> GateInputs:
    """What a check may look at.

    Args:
        values: Of the assets upstream.
        section: A section of the experiment, by name.
        made: What checks of this version have made, and will make, once for all of them.
        champion: The value that leads, if any does.
    """

    def once(name: str, make: Callable[[], Any]) -> Any:
        if name not in made:
            made[name] = make()
        return made[name]

    nothing = cast("Any", None)
    return GateInputs(
        ref=nothing,
        manifest=nothing,
        store=nothing,
        upstream=values.__getitem__,
        section=section,
        champions=lambda *_assets: None if champion is None else (champion,),
        once=once,
    )

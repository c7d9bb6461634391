"""Which assets there are: found in the stages' folders, never listed a second time."""

from __future__ import annotations

import functools
import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from churn_assets.flow.asset import BRANCHES, EVERY_MEMBER, WITHIN, AssetSpec, Branch

if TYPE_CHECKING:
    from churn_assets.flow.check import CheckSpec

_PACKAGE = Path(__file__).resolve().parents[1]


class FlowError(ValueError):
    """The declared assets make no flow."""


@dataclass(frozen=True)
class Registry:
    """The assets of a flow.

    Attributes:
        assets: In flow order: each after its inputs, the message branch after all others.
    """

    assets: tuple[AssetSpec, ...]

    @classmethod
    def of(cls, declared: Iterable[AssetSpec]) -> Registry:
        """Puts assets in flow order.

        Raises:
            FlowError: Two have one name, an input is no asset, or they go round in a circle.
        """
        found = list(declared)
        whole = {each.name for each in found if each.inputs == EVERY_MEMBER}

        def completed(assets: Sequence[AssetSpec]) -> list[AssetSpec]:
            members = tuple(each.name for each in assets if each.branch is not None)
            return [replace(each, inputs=members) if each.name in whole else each for each in assets]

        return cls(
            tuple(completed(_in_order(completed(found))))
        )  # once more: members are inputs in flow order

    def __getitem__(self, name: str) -> AssetSpec:
        for each in self.assets:
            if each.name == name:
                return each
        raise KeyError(f"{name!r} is no asset: there are {', '.join(self.names)}")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all assets."""
        return tuple(each.name for each in self.assets)

    @property
    def members(self) -> Mapping[Branch, tuple[str, ...]]:
        """Assets that a release needs, by what it can do: with those of what lies within."""
        return {
            branch: tuple(
                each.name for each in self.assets if each.branch in (*WITHIN.get(branch, ()), branch)
            )
            for branch in BRANCHES
        }

    @property
    def checks(self) -> Mapping[str, Sequence[CheckSpec]]:
        """What each asset must prove."""
        return {each.name: each.checks for each in self.assets}

    @property
    def inputs(self) -> Mapping[str, tuple[str, ...]]:
        """What each asset is made from."""
        return {each.name: each.inputs for each in self.assets}

    def in_order(self, assets: Iterable[str]) -> list[str]:
        """Names in flow order; those of no asset of this flow, as an older or newer release may hold, come last."""
        place = {name: number for number, name in enumerate(self.names)}
        return sorted(assets, key=lambda name: (place.get(name, len(place)), name))

    @property
    def stages(self) -> tuple[str, ...]:
        """Folders of the flow, left to right."""
        return tuple(dict.fromkeys(each.stage for each in self.assets))

    def group(self, asset: AssetSpec) -> str:
        """The asset's group in the UI; the groups sort in flow order."""
        return f"{self.stages.index(asset.stage) + 1}_{asset.stage}"


@functools.cache
def registry() -> Registry:
    """The assets of this library."""
    return Registry.of(discover())


def discover(package: Path = _PACKAGE) -> list[AssetSpec]:
    """Every asset that an `assets.py` in a folder of the package declares."""
    found: list[AssetSpec] = []
    for path in sorted(package.glob("*/**/assets.py")):
        module = import_module(".".join(path.relative_to(package.parent).with_suffix("").parts))
        found += [each for each in vars(module).values() if isinstance(each, AssetSpec)]
    return found


def _in_order(assets: Sequence[AssetSpec]) -> list[AssetSpec]:
    """Each after its inputs; of those that could be next, by branch, then by depth, then by stage."""
    named = {each.name: each for each in assets}
    if len(named) != len(assets):
        raise FlowError(f"two assets share a name: {sorted(each.name for each in assets)}")
    for each in assets:
        if unknown := [name for name in each.inputs if name not in named]:
            raise FlowError(f"{each.name} is made from {', '.join(unknown)}: there is no such asset")
    depth = _depths(named)
    position = {each.name: number for number, each in enumerate(assets)}

    def rank(each: AssetSpec) -> tuple[int, int, str, int]:
        late = 2 if each.branch is None else int(each.branch == "message")
        return late, depth[each.name], each.stage, position[each.name]

    waiting = {each.name: set(each.inputs) for each in assets}
    ready = [rank(each) for each in assets if not each.inputs]
    heapq.heapify(ready)
    ordered: list[AssetSpec] = []
    while ready:
        made = assets[heapq.heappop(ready)[-1]]
        ordered.append(made)
        for each in assets:
            if made.name in waiting[each.name]:
                waiting[each.name].remove(made.name)
                if not waiting[each.name]:
                    heapq.heappush(ready, rank(each))
    return ordered


def _depths(named: Mapping[str, AssetSpec]) -> dict[str, int]:
    """How many assets lie behind each, along the longest way."""
    depths: dict[str, int] = {}

    def depth(name: str, way: tuple[str, ...]) -> int:
        if name in way:
            raise FlowError(f"assets go round in a circle: {' <- '.join((*way, name))}")
        if name not in depths:
            depths[name] = max((1 + depth(each, (*way, name)) for each in named[name].inputs), default=0)
        return depths[name]

    for name in named:
        depth(name, ())
    return depths

"""The declaration of a check, and how its gate function gets what it asks for by the names of its parameters.

| A parameter named | gets |
|---|---|
| (the first) | the value under test, as loaded from the store |
| `config` | the asset's own section of the experiment |
| `gates` | the gates of that section |
| `seed` | the experiment's seed |
| an asset | the version that the one under test was trained from, directly or through others |
| `champion` | the version of this asset that leads; `champion_<asset>` what that was trained from |
| `ref`, `manifest`, `store` | the version under test, its manifest, and where both are |
| a key of the check's `given` | a setting of the experiment, or what another function makes, once for all checks |

A parameter with a default is left alone. A gate function that needs a champion is not called where there is none; one
that takes None in its place is.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from churn_assets.flow.paths import function_in, module_of, resolve
from churn_assets.flow.setting import SEED, Setting
from churn_assets.gates.plots import Plot
from churn_assets.gates.report import Outcome, no_champion

LOADS_AND_AGREES = "loads_and_agrees"
"""The check that every asset has beside those declared."""

Function = str | Callable[..., Any]
"""A function, or the import path `module:NAME` of one."""

Given = Mapping[str, Setting[Any] | Function]
"""What the parameters of a check get that have a name of their own: a setting, or a function that makes it."""

ArgumentKind = Literal["section", "gates", "asset", "champion", "evidence", "made"]


@dataclass(frozen=True)
class CheckSpec:
    """One check of one asset.

    Attributes:
        name: Unique for its asset.
        description: What passing proves.
        advice: What to do when it fails.
        run: The gate function: (subject, ...) -> Outcome. One that cannot run must raise: the check has failed.
        given: What its parameters get that have a name of their own: a setting, or a function that makes it.
        fault: What it means that it failed, in the few words of a headline.
        told_at_promotion: Its first gate's detail is told whenever a release is promoted.
        every_run: Measure anew in every run, as it looks at more of the store than its subject.
        plots: How its tables are drawn.
    """

    name: str
    description: str
    advice: str
    run: Function
    given: Given = field(default_factory=dict)
    fault: str = ""
    told_at_promotion: bool = False
    every_run: bool = False
    plots: tuple[Plot, ...] = ()

    @property
    def against_champion(self) -> bool:
        """Whether it compares with the champion's version, itself or in what is made for it."""
        return any(each.kind == "champion" for each in needs(self, ""))


@dataclass(frozen=True)
class Parameter:
    """A parameter that a function must be given.

    Attributes:
        name: Its name.
        optional: Whether it takes None.
    """

    name: str
    optional: bool


@dataclass(frozen=True)
class Argument:
    """Where the value of a parameter comes from.

    Attributes:
        name: The parameter's.
        kind: In which way.
        of: Of what: the path of a section, an asset, a function, or a name of the evidence.
        optional: Whether None will do.
    """

    name: str
    kind: ArgumentKind
    of: Any
    optional: bool


class Supply(Protocol):
    """What a check may be given. Everything is loaded only when it is asked for."""

    @property
    def asset(self) -> str:
        """The asset under test."""

    @property
    def subject(self) -> Any:
        """Its value."""

    def upstream(self, asset: str) -> Any:
        """The value of an asset that it was trained from."""

    def section(self, path: str) -> Any:
        """A section of the experiment, or a value in one."""

    def champion(self, asset: str) -> Any | None:
        """The champion, or what it was trained from; None where nothing leads, this version does, or it is broken."""

    def evidence(self, name: str) -> Any:
        """`ref`, `manifest` or `store` of the version under test."""

    def once(self, what: Hashable, arguments: Mapping[str, Any], make: Callable[[], Any]) -> Any:
        """What `make` returns, called once for all checks of this version: for a function and what it asks for."""


def checks_by_name(specs: Sequence[CheckSpec]) -> Mapping[str, CheckSpec]:
    """The checks of an asset by name; two with one name are an error."""
    named = {spec.name: spec for spec in specs}
    if len(named) != len(specs):
        raise ValueError(f"two checks share a name: {sorted(spec.name for spec in specs)}")
    return named


def parameters(function: Function) -> tuple[Parameter, ...]:
    """What a function must be given, in order. One that is named by a path is read, not imported."""
    if not isinstance(function, str):
        signature = inspect.signature(function)
        return tuple(
            Parameter(each.name, "None" in str(each.annotation))
            for each in signature.parameters.values()
            if each.default is each.empty
        )
    arguments = function_in(function).args
    positional = [*arguments.posonlyargs, *arguments.args]
    needed = positional[: len(positional) - len(arguments.defaults)]
    needed += [
        each for each, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if not default
    ]
    return tuple(
        Parameter(each.arg, each.annotation is not None and "None" in ast.unparse(each.annotation))
        for each in needed
    )


def arguments_of(function: Function, spec: CheckSpec, asset: str) -> list[Argument]:
    """Where everything comes from that a function asks for, but the subject of a gate function.

    Args:
        function: The check's gate function, or one that its `given` names.
        spec: The check.
        asset: The asset under test.
    """
    asked = parameters(function)
    return [_argument(each, spec, asset) for each in (asked[1:] if function is spec.run else asked)]


def needs(spec: CheckSpec, asset: str) -> list[Argument]:
    """Everything that a check asks for, by way of what is made for it too."""
    return list(_needs(spec.run, spec, asset))


def sections_of(spec: CheckSpec, asset: str) -> frozenset[str]:
    """Sections of the experiment, and values in them, that a check's verdict depends on."""
    return frozenset(each.of for each in needs(spec, asset) if each.kind in ("section", "gates"))


def modules_of(spec: CheckSpec) -> frozenset[str]:
    """Modules of the check's functions."""
    functions = (spec.run, *(each for each in spec.given.values() if not isinstance(each, Setting)))
    return frozenset(module_of(each) if isinstance(each, str) else each.__module__ for each in functions)


def measure(spec: CheckSpec, supply: Supply) -> Outcome:
    """Calls the gate function of a check with what it asks for; a table that is drawn and was not made is empty."""
    outcome = _measured(spec, supply)
    nothing: dict[str, list[Mapping[str, Any]]] = {plot.table: [] for plot in spec.plots}
    return replace(outcome, tables={**nothing, **outcome.tables})


def _measured(spec: CheckSpec, supply: Supply) -> Outcome:
    for each in needs(spec, supply.asset):
        if each.kind == "champion" and not each.optional and supply.champion(each.of) is None:
            return no_champion()
    values = {each.name: _value(each, spec, supply) for each in arguments_of(spec.run, spec, supply.asset)}
    outcome: Outcome = _function(spec.run)(supply.subject, **values)
    return outcome


def _argument(parameter: Parameter, spec: CheckSpec, asset: str) -> Argument:
    name, optional = parameter.name, parameter.optional
    if name in spec.given:
        given = spec.given[name]
        if isinstance(given, Setting):
            return Argument(name, "section", given.path, optional)
        return Argument(name, "made", given, optional)
    if name == "config":
        return Argument(name, "section", asset, optional)
    if name == "gates":
        return Argument(name, "gates", asset, optional)
    if name == SEED.path:
        return Argument(name, "section", SEED.path, optional)
    if name in ("ref", "manifest", "store"):
        return Argument(name, "evidence", name, optional)
    first, _, rest = name.partition("_")
    if first == "champion":
        return Argument(name, "champion", rest or asset, optional)
    return Argument(name, "asset", name, optional)


def _needs(function: Function, spec: CheckSpec, asset: str) -> Iterator[Argument]:
    for each in arguments_of(function, spec, asset):
        yield each
        if each.kind == "made":
            yield from _needs(each.of, spec, asset)


def _value(argument: Argument, spec: CheckSpec, supply: Supply) -> Any:
    match argument.kind:
        case "section":
            return supply.section(argument.of)
        case "gates":
            return supply.section(argument.of).gates
        case "champion":
            return supply.champion(argument.of)
        case "evidence":
            return supply.evidence(argument.of)
        case "asset":
            return supply.subject if argument.of == supply.asset else supply.upstream(argument.of)
        case "made":
            asked = arguments_of(argument.of, spec, supply.asset)
            values = {each.name: _value(each, spec, supply) for each in asked}
            what = (argument.of, *_needs(argument.of, spec, supply.asset))
            return supply.once(what, values, lambda: _function(argument.of)(**values))


def _function(function: Function) -> Callable[..., Any]:
    found: Callable[..., Any] = resolve(function) if isinstance(function, str) else function
    return found

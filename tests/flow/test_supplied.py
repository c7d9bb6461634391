"""Whatever a check's functions ask for can be given to them, in the type that they are annotated with."""

import types
from dataclasses import dataclass, field
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest

from churn_assets.experiment import Experiment
from churn_assets.flow.check import (
    CheckSpec,
    Parameter,
    arguments_of,
    measure,
    modules_of,
    needs,
    parameters,
    sections_of,
)
from churn_assets.flow.paths import resolve, resolve_format
from churn_assets.flow.registry import registry
from churn_assets.flow.setting import SEED
from churn_assets.gates.plots import Plot
from churn_assets.gates.report import Gate, Outcome, no_champion
from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.manifest import Manifest
from churn_assets.store.reference import ArtifactRef

EVIDENCE = {"ref": ArtifactRef, "manifest": Manifest, "store": ArtifactStore}
CHECKS = [(asset, spec) for asset in registry().assets for spec in asset.checks]


def choices(annotation):
    """The members of a union, without None."""
    union = get_origin(annotation) in (Union, types.UnionType)
    return {each for each in (get_args(annotation) if union else (annotation,)) if each is not type(None)}


def value_of(asset):
    """The type of an asset's value: what its format loads."""
    loader = resolve_format(registry()[asset].format)
    found = get_type_hints(type(loader).load)["return"]
    return getattr(loader, "kind", found)


def field_at(path):
    model = Experiment
    for key in path.split("."):
        annotation = model.model_fields[key].annotation
        (model,) = choices(annotation)
    return model


def type_of(argument):
    match argument.kind:
        case "section":
            return field_at(argument.of)
        case "gates":
            return field_at(f"{argument.of}.gates")
        case "asset" | "champion":
            return value_of(argument.of)
        case "evidence":
            return EVIDENCE[argument.of]
        case "made":
            return get_type_hints(resolve(argument.of))["return"]


def test_every_function_of_every_check_gets_what_it_is_annotated_with():
    for asset, spec in CHECKS:
        for function in {spec.run, *(each.of for each in needs(spec, asset.name) if each.kind == "made")}:
            hints = get_type_hints(resolve(function))
            for argument in arguments_of(function, spec, asset.name):
                assert plain(type_of(argument)) in map(plain, choices(hints[argument.name])), (
                    asset.name,
                    spec.name,
                    argument,
                )
        hints = get_type_hints(resolve(spec.run))
        subject = next(iter(hints))
        assert value_of(asset.name) in choices(hints[subject]), (asset.name, spec.name)
        assert hints["return"] is Outcome


def test_whatever_a_check_asks_for_is_upstream_of_its_asset():
    for asset, spec in CHECKS:
        pending, upstream = [asset.name], set()
        while pending:
            name = pending.pop()
            upstream.add(name)
            pending += registry()[name].inputs
        asked = {each.of for each in needs(spec, asset.name) if each.kind in ("asset", "champion")}
        assert asked <= upstream, (asset.name, spec.name)


def test_nothing_is_given_that_no_check_asks_for():
    for asset in registry().assets:
        given = {name for spec in asset.checks for name in spec.given}
        asked = {each.name for spec in asset.checks for each in needs(spec, asset.name)}
        assert given <= asked, asset.name


def test_every_setting_has_the_type_that_the_experiment_gives_it():
    settings = [setting for asset in registry().assets for setting in asset.reads]
    settings += [given for _, spec in CHECKS for given in spec.given.values() if not isinstance(given, str)]
    for setting in settings:
        assert plain(setting.kind) == plain(field_at(setting.path)), setting.path


def plain(kind: Any) -> Any:
    """A type without the bounds of its values."""
    if hasattr(kind, "__metadata__"):
        return plain(kind.__origin__)
    if get_origin(kind) in (Union, types.UnionType):
        return Union, frozenset(map(plain, get_args(kind)))
    origin = get_origin(kind)
    return (origin, tuple(map(plain, get_args(kind)))) if origin in (tuple, dict) else kind


def test_a_verdict_depends_on_the_sections_that_are_asked_for_by_way_of_others_too():
    checks = {(asset.name, spec.name): spec for asset, spec in CHECKS}
    assert sections_of(checks["ppo_decision", "captures_the_gain"], "ppo_decision") == {
        "ppo_decision", "economics", "arms", "seed",
    }  # fmt: skip
    assert sections_of(checks["ppo_text", "well_formed"], "ppo_text") == {
        "ppo_text", "messages", "safety", "seed", "ppo_decision.menu", "arms",
        "economics.discount_months", "economics.currency",
    }  # fmt: skip
    assert sections_of(checks["ppo_decision", "off_policy"], "ppo_decision") == {"ppo_decision"}


def test_what_a_function_asks_for_is_read_without_importing_it():
    path = "churn_assets.decision.gates:off_policy"
    names = [each.name for each in parameters(path)]
    assert names == [each.name for each in parameters(resolve(path))]
    assert Parameter("champion", optional=True) in parameters(path)
    assert Parameter("customers", optional=False) in parameters(path)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("churn_assets.risk.gates:discriminaton", "has no function discriminaton"),
        ("churn_assets.risk.gate:discrimination", "there is no module churn_assets.risk.gate"),
    ],
)
def test_a_path_that_leads_nowhere_is_named(path, message):
    with pytest.raises(LookupError, match=message):
        arguments_of(path, CheckSpec("", "", "", path), "risk_model")


def compared(subject, gain):
    return Outcome((Gate("gain", gain, ">=", 0.0),))


def gain(customers, champion):
    return customers - champion


def doubled(customers):
    return 2 * customers


@dataclass
class Held:
    """What a check may be given, by hand."""

    asset: str = "risk_model"
    subject: float = 1.0
    leads: float | None = None
    made: dict = field(default_factory=dict)

    def upstream(self, asset):
        return 5.0

    def champion(self, asset):
        return self.leads

    def once(self, what, arguments, make):
        if what not in self.made:
            self.made[what] = make()
        return self.made[what]


def test_a_check_compares_with_the_champion_by_way_of_what_is_made_for_it_too():
    spec = CheckSpec("", "", "", compared, given={"gain": gain})
    assert spec.against_champion
    assert not CheckSpec("", "", "", compared, given={"gain": doubled}).against_champion
    assert measure(spec, Held()).gates == no_champion().gates
    (gate,) = measure(spec, Held(leads=2.0)).gates
    assert gate.figure == 3.0


def test_functions_that_are_given_under_one_name_are_made_apart():
    held = Held(leads=2.0)
    figures = [
        measure(CheckSpec("", "", "", compared, given=given), held).gates[0].figure
        for given in ({"gain": gain}, {"gain": doubled}, {"gain": lambda: 7.0})
    ]
    assert figures == [3.0, 10.0, 7.0]


def test_a_verdict_is_made_by_functions_that_are_handed_over_too():
    named = "churn_assets.risk.gates:discrimination"
    spec = CheckSpec("", "", "", compared, given={"gain": named, "seed": SEED})
    assert modules_of(spec) == {__name__, "churn_assets.risk.gates"}


def test_every_table_that_a_check_draws_is_there_whatever_path_its_function_takes():
    """A world without effects ended in `KeyError: 'permuted'`, own preferences in `'labels'`."""
    drawn = Plot("drawn", "bar", "x", ("y",), "A title")

    def sound(_):
        return Outcome((Gate("right", 1, "==", 1),), {"other": []})

    assert measure(CheckSpec("", "", "", sound, plots=(drawn,)), Held()).tables == {"drawn": [], "other": []}
    untried = CheckSpec("", "", "", compared, given={"gain": gain}, plots=(drawn,))
    assert measure(untried, Held()).tables["drawn"] == []

"""Assets are found in their folders and put in flow order; what makes no flow is refused by name."""

from dataclasses import replace

import pytest

from churn_assets.flow.asset import EVERY_MEMBER
from churn_assets.flow.registry import FlowError, Registry, discover, registry

ASSETS = {each.name: each for each in discover()}


def test_the_flow_runs_from_customers_to_the_release_each_asset_after_its_inputs():
    names = registry().names
    assert names[0] == "customers"
    assert names[-1] == "release"
    for asset in registry().assets:
        assert all(names.index(each) < names.index(asset.name) for each in asset.inputs)


def test_the_order_does_not_depend_on_the_order_in_which_folders_are_found():
    backwards = sorted(discover(), key=lambda each: each.stage, reverse=True)
    assert Registry.of(backwards).names == registry().names


def test_an_asset_made_from_every_member_is_made_from_all_branches_in_flow_order():
    assert ASSETS["release"].inputs == EVERY_MEMBER
    members = registry().members
    assert registry()["release"].inputs == (*members["decision"], *members["message"])


def test_a_new_member_becomes_an_input_of_the_release():
    new = replace(ASSETS["risk_model"], name="second_opinion")
    assert "second_opinion" in Registry.of([*ASSETS.values(), new])["release"].inputs


def test_what_is_made_from_the_release_comes_after_it():
    campaign = replace(ASSETS["risk_model"], name="campaign", inputs=("release",), branch=None)
    assert Registry.of([campaign, *ASSETS.values()]).names == (*registry().names, "campaign")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (replace(ASSETS["customers"], inputs=("release",)), "go round in a circle: .*release"),
        (replace(ASSETS["risk_model"], inputs=("custommers",)), "there is no such asset"),
        (replace(ASSETS["customers"], inputs=("effect_model",)), "go round in a circle: .*customers"),
    ],
)
def test_what_makes_no_flow_is_refused(changed, message):
    with pytest.raises(FlowError, match=message):
        Registry.of((ASSETS | {changed.name: changed}).values())


def test_two_assets_of_one_name_are_refused():
    with pytest.raises(FlowError, match="share a name"):
        Registry.of([*ASSETS.values(), ASSETS["risk_model"]])


def test_an_unknown_asset_is_named_with_those_that_there_are():
    with pytest.raises(KeyError, match="'rsk_model' is no asset: there are customers, "):
        registry()["rsk_model"]

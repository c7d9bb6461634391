"""Arms as an experiment declares them, and menus that name them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from churn_assets.experiment import ExperimentError, load_experiment, section_digest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def load(tmp_path):
    """Loads `any_offer` with changes."""
    content = yaml.safe_load((ROOT / "configs" / "any_offer.yaml").read_text(encoding="utf-8"))

    def load(change=lambda content: None):
        change(content)
        (tmp_path / "any_offer.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
        return load_experiment("any_offer", tmp_path)

    return load


def menu(*arms):
    return lambda content: content["ppo_decision"].update(menu=list(arms))


def arm(place, **keys):
    return lambda content: content["arms"][place].update(keys)


def test_arms_are_declared_beside_percents_off(load):
    experiment = load(menu(0, 0.05, "free_month", "percent_30"))
    assert [each.id for each in experiment.arms] == ["ten_off", "free_month", "faster_router", "call"]
    assert experiment.ppo_decision.menu == (0, 0.05, "free_month", "percent_30")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            menu("no_contact", "free_moth"),
            r"ppo_decision\.menu: found arm 'free_moth'.*did you mean 'free_month'",
        ),
        (
            menu("no_contact", 0.1, "percent_10"),
            r"ppo_decision\.menu: found the arm percent_10 more than once",
        ),
        (
            lambda content: content["offer_log"].update(menu=["no_contact", "call"]),
            r"ppo_decision\.menu: found percent_10, .*, of which the demo world tries nothing alike",
        ),
        (arm(0, id="call"), r"arms\.3\.id: found 'call' a second time"),
        (arm(0, id="percent_15"), r"arms\.0\.id: found 'percent_15', which is always there as a percent off"),
        (arm(0, id="no_contact"), "no_contact is always there and is not declared"),
        (
            arm(0, terms={"kind": "percent_off", "share": 0.1, "months": 6}, channel="sms"),
            "are both of size 0.1 in family",
        ),
        (
            lambda content: content["offer_log"].update(menu=["no_contact", "cal"]),
            r"offer_log\.menu: found arm 'cal'",
        ),
    ],
)
def test_a_wrong_arm_names_the_key(load, change, said):
    with pytest.raises(ExperimentError, match=said):
        load(change)


def renamed(place, old, new, part="terms"):
    def change(content):
        keys = content["arms"][place][part]
        keys = keys[0] if isinstance(keys, list) else keys
        keys[new] = keys.pop(old)

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            renamed(0, "amount", "ammount"),
            r":\d+: arms\.0\.terms\.ammount: unknown key; did you mean 'amount'\?",
        ),
        (
            renamed(2, "cost", "cots"),
            r"arms\.2\.terms\.cots: unknown key; did you mean 'cost'\?; expected one of months, kind, gift, cost",
        ),
        (lambda content: content["arms"][2]["terms"].pop("cost"), r"arms\.2\.terms\.cost: missing key"),
        (
            arm(2, terms={"kind": "gift", "gift": "", "cost": 2}),
            r"arms\.2\.terms\.gift: found \"\", expected",
        ),
        (
            arm(2, terms={"kind": "gifts", "gift": "a cup", "cost": 2}),
            r"arms\.2\.terms\.kind: found \"gifts\"; did you mean 'gift'\?; expected one of 'no_contact', ",
        ),
        (renamed(2, "kind", "knd"), r"arms\.2\.terms\.kind: missing key; found 'knd'"),
        (
            renamed(2, "one_of", "one_off", "eligible"),
            r"arms\.2\.eligible\.0\.one_off: unknown key; did you mean 'one_of'\?",
        ),
        (arm(2, chanel="sms"), r"arms\.2\.chanel: unknown key; did you mean 'channel'\?"),
    ],
)
def test_a_wrong_key_inside_an_arm_is_named_with_the_nearest(load, change, said):
    """The kind of the terms, which is a step of pydantic's and of no file, once hid all keys below it."""
    with pytest.raises(ExperimentError, match=said):
        load(change)


def test_the_digest_of_the_arms_changes_with_their_terms(load):
    assert section_digest(load().arms) == section_digest(load().arms)
    assert section_digest(load().arms) != section_digest(load(arm(3, contact_cost=7.0)).arms)

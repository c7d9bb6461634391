"""A release of an earlier or later library: shown by what it holds, and refused by name where that is not enough."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from churn_assets.cli import app
from churn_assets.flow.registry import registry
from churn_assets.release.bundle import RELEASE
from churn_assets.release.compare import differences, facts_of
from churn_assets.release.loaded import load_member
from churn_assets.store.errors import IncompatibleArtifact

QUICKSTART = Path(__file__).parents[2] / "configs" / "quickstart.yaml"


@pytest.fixture
def other(shelf):
    """A release without five of the models that are decided with, and with one that nobody here knows."""
    shelf.required = {**registry().checks, "loyalty": ()}
    members = {asset: shelf.publish(asset, asset) for asset in ("customers", "risk_model", "loyalty")}
    for version in members.values():
        shelf.judge(version)
    return shelf.bundle(members, ("decision",))


@pytest.fixture
def churn(shelf, monkeypatch):
    """The command, in a project that keeps its releases on the shelf."""
    (shelf.root / "configs").mkdir()
    (shelf.root / "configs" / "toy.yaml").write_text(QUICKSTART.read_text())
    monkeypatch.setenv("CHURN_STORE", str(shelf.root / "store"))
    return lambda *words: CliRunner().invoke(app, ["--root", str(shelf.root), *words, "-e", "toy"])


def test_it_is_shown_with_the_members_that_it_has_in_flow_order(churn, other):
    shown = churn("show", str(other))
    assert shown.exit_code == 0, shown.output
    firsts = [line.split()[0] for line in shown.output.splitlines() if line.strip()]
    assert [word for word in firsts if word in (*registry().names, "loyalty")] == [
        "customers", "risk_model", "loyalty",
    ]  # fmt: skip
    assert "this library has no asset 'loyalty'" in " ".join(shown.output.split())


def test_its_checks_are_listed_and_what_nobody_knows_to_judge_is_refused(churn, other):
    listed = churn("checks", "--release", str(other))
    assert listed.exit_code == 1
    assert "ranks_well" in listed.output
    assert "this library has no asset 'loyalty'" in " ".join(listed.output.split())


def test_a_model_that_it_does_not_hold_is_named(shelf, other):
    with pytest.raises(IncompatibleArtifact, match=r"no member effect_model, expected one of \['customers'"):
        load_member(shelf.store, shelf.store.load(other, RELEASE).bundle, "effect_model")


def test_it_is_compared_with_another_member_by_member(shelf, other):
    before = shelf.bundle({"customers": shelf.members(other)["customers"]}, ("decision",))
    found = differences(facts_of(shelf.store, before), facts_of(shelf.store, other))
    assert list(dict.fromkeys(each.asset for each in found)) == ["risk_model", "release", "loyalty"]

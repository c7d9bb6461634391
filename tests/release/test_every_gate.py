"""Whichever check of whichever member has failed: the release that holds it is not promoted, and the check is named."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest

from churn_assets.deciding.decider import Decider
from churn_assets.deciding.release_models import Known
from churn_assets.flow.registry import registry
from churn_assets.release.build import as_raw
from churn_assets.release.bundle import Bundle, Golden
from churn_assets.release.gates import decides_as_built, models_are_members
from churn_assets.release.golden import golden_decisions, golden_frame
from churn_assets.store.errors import PromotionRefused

REQUIRED = dict(registry().checks)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A folder that the first test leaves its release in: publishing waits for the disk, copying does not."""
    return tmp_path_factory.mktemp("kept"), {}


@pytest.fixture
def whole(shelf, kept):
    """A release of toy members of both branches, each with a passing report of every check of the flow."""
    folder, built = kept
    shelf.required = dict(REQUIRED)
    if built:
        shutil.copytree(folder / "store", shelf.root / "store", dirs_exist_ok=True)
    else:
        built.update(publish_all(shelf), now=shelf.now)
        shutil.copytree(shelf.root / "store", folder / "store")
    shelf.now = built["now"]
    return built


def publish_all(shelf):
    members = {}
    for asset in (*registry().members["decision"], *registry().members["message"]):
        members[asset] = shelf.publish(asset, asset)
        shelf.judge(members[asset])
    release = shelf.bundle(members, ("decision", "message"))
    return {**members, "release": release}


def test_the_whole_release_is_promoted_while_every_check_holds(shelf, whole):
    shelf.promote(whole["release"])
    assert shelf.channel.head().ref == whole["release"]


@pytest.mark.parametrize(
    ("asset", "check"), [(asset, spec.name) for asset, checks in REQUIRED.items() for spec in checks]
)
def test_a_failed_check_stops_the_promotion_and_is_named(shelf, whole, asset, check):
    shelf.report(whole[asset], check, figure=0.4)
    with pytest.raises(PromotionRefused, match=rf"/{asset}/.*check {check}: figure is 0\.4, needed >= 0\.5$"):
        shelf.promote(whole["release"])
    assert shelf.channel.head() is None


def test_a_release_that_decides_with_other_numbers_than_its_members_is_stopped(small):
    def failed(models):
        outcome = models_are_members(models, small, small.table)
        return {gate.name: gate.detail for gate in outcome.gates if not gate.passed}

    models, risk = small.models, small.models.responses.risk
    assert failed(models) == {}
    first, *others = models.policy.layers
    policy = replace(models.policy, layers=((first[0] + np.float32(1e-3), first[1]), *others))
    assert failed(replace(models, policy=policy))["parts_that_differ"] == "policy.0.weight"
    spline = replace(risk.spline, intercept=risk.spline.intercept + 1e-9)
    responses = replace(models.responses, risk=replace(risk, spline=spline))
    assert set(failed(replace(models, responses=responses))) == {"parts_that_differ"}


def test_a_release_that_does_not_know_its_customers_or_says_otherwise_of_them_is_stopped(small):
    def failed(known):
        models = replace(small.models, known=known)
        return [gate.name for gate in models_are_members(models, small, small.table).gates if not gate.passed]

    known = small.models.known
    assert failed(Known(known.digests[1:], known.outlooks[1:])) == ["customers_not_known"]
    outlooks = known.outlooks.copy()
    outlooks["value"] += 1
    assert failed(Known(known.digests, outlooks)) == ["tabled_difference"]


def test_a_release_that_decides_otherwise_than_when_it_was_built_is_stopped(small):
    raw = as_raw(small.table).head(12)
    customers = raw.astype(object).where(raw.notna(), None).to_dict("records")
    decider = Decider(small.models, "toy")
    built = golden_decisions(golden_frame(customers), decider)
    bundle = Bundle.model_construct(golden=Golden(customers=customers, decisions=built, messages=[]))
    outlooks = small.models.known.outlooks.copy()
    outlooks["risk"] *= 1.01
    other = replace(small.models, known=replace(small.models.known, outlooks=outlooks))
    sound = decides_as_built(bundle, decider)
    assert all(gate.passed for gate in sound.gates)
    assert customers[0]["customerID"] not in str(sound.tables)  # a report does not say who is golden
    stopped = [gate.name for gate in decides_as_built(bundle, Decider(other, "toy")).gates if not gate.passed]
    assert stopped == ["decisions_differing"]

"""The gate really gates: every check of the flow stops a model that is broken in just the way it is for."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import pytest
from broken_models import ALSO, BREAK, CHECKS, HEALTHY_BESIDE, OFFER, Trained, train_all
from small_models import policy_by_hand

from churn_assets.arms import Catalogue
from churn_assets.deciding.messages import MessageWriter, Writing
from churn_assets.message.training.config import Sampling
from churn_assets.release.build import as_raw
from churn_assets.release.bundle import RELEASE_ASSET, Bundle, Golden
from churn_assets.release.gates import writes_as_built
from churn_assets.release.golden import golden_frame, golden_messages
from churn_assets.release.loaded import Models

TESTS = Path(__file__).parents[1]

RELEASE_CHECKS = {
    "members_agree": (
        "release/test_release_gates.py",
        "test_a_member_trained_from_other_customers_than_the_releases_own_is_noticed",
    ),
    "members_keep_their_gates": (
        "release/test_release_gates.py",
        "test_members_keep_their_gates_only_while_every_stored_report_holds",
    ),
    "decides_as_built": (
        "release/test_every_gate.py",
        "test_a_release_that_decides_otherwise_than_when_it_was_built_is_stopped",
    ),
    "models_are_members": (
        "release/test_every_gate.py",
        "test_a_release_that_decides_with_other_numbers_than_its_members_is_stopped",
    ),
    "writes_as_built": (
        "gates/test_every_check.py",
        "test_a_release_that_writes_otherwise_than_when_it_was_built_is_stopped",
    ),
    "report_stands": (
        "release/test_release_gates.py",
        "test_the_report_must_be_its_own_and_name_every_member",
    ),
}
"""Checks of the release itself, and where it is broken: file and test."""


@pytest.fixture(scope="module")
def trained() -> Trained:
    return train_all()


def failed(outcome) -> list[str]:
    return [
        f"{gate.name}: {gate.figure} {gate.bound} {gate.threshold}"
        for gate in outcome.gates
        if not gate.passed
    ]


CASES = (*((*key, breaker) for key, breaker in BREAK.items()), *ALSO)


@pytest.mark.parametrize(("asset", "check", "breaker"), CASES)
def test_the_check_fails_and_says_so(trained, asset, check, breaker):
    champion = trained.values[asset] if "champion" in check else None
    outcome = trained.outcome(asset, check, breaker(trained.values), champion)
    assert failed(outcome)
    beside = HEALTHY_BESIDE.get((asset, check), lambda _values: {})(trained.values)
    healthy = trained.outcome(asset, check, beside, champion)
    assert healthy.gates
    assert failed(healthy) == []


def test_every_check_of_the_flow_has_a_breaker():
    assert set(BREAK) == {key for key in CHECKS if key[0] != RELEASE_ASSET}
    assert set(RELEASE_CHECKS) == {check for asset, check in CHECKS if asset == RELEASE_ASSET}


@pytest.mark.parametrize("check", RELEASE_CHECKS)
def test_the_test_that_breaks_a_release_is_there(check):
    file, name = RELEASE_CHECKS[check]
    module = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    assert name in {each.name for each in module.body if isinstance(each, ast.FunctionDef)}


def test_a_release_that_writes_otherwise_than_when_it_was_built_is_stopped(trained):
    table, policy = trained.values["customers"], trained.values["ppo_text"]
    experiment = trained.experiments["ppo_text"]
    writing = Writing(
        safety=experiment.safety,
        profile=experiment.messages.profile,
        max_new_tokens=experiment.ppo_text.max_new_tokens,
        sampling=Sampling(),
        seed=experiment.seed,
    )

    process = replace(trained.values["ppo_decision"].process, menu=Catalogue().menu([0.0, OFFER]))
    one_offer = policy_by_hand(table, process)
    others = [trained.values[name] for name in ("risk_model", "accept_model", "effect_model")]

    def writer(model) -> Models:
        return Models(table.schema, *others, one_offer, MessageWriter.of(writing, model))

    raw, models = as_raw(table), writer(policy.model)
    plain = raw.astype(object).where(raw.notna(), None).to_dict("records")
    for first in range(
        0, len(plain), 8
    ):  # to most the template is sent: so small a model seldom says what may be said
        customers = plain[first : first + 8]
        built = golden_messages(golden_frame(customers), models)
        if "model" in {row["written_by"] for row in built}:
            break
    assert "model" in {row["written_by"] for row in built}
    spoilt = BREAK["ppo_text", "writes_no_worse_than_champion"](trained.values)["ppo_text"]
    bundle = Bundle.model_construct(golden=Golden(customers=customers, decisions=[], messages=built))
    assert failed(writes_as_built(bundle, models)) == []
    assert "messages_differing" in str(failed(writes_as_built(bundle, writer(spoilt.model))))

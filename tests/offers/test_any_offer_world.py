"""The demo world answers to arms of every kind as it promises, and offers nobody what they may not get."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from churn_assets.arms import ArmConfig, Catalogue
from churn_assets.experiment import load_experiment
from churn_assets.offers.economics import Economics, catalogue
from churn_assets.offers.gates import propensity_gates, volume_gates
from churn_assets.offers.world import DemoWorld, DemoWorldError

ROOT = Path(__file__).parents[2]


def load_arms(config):
    return Catalogue(tuple(map(ArmConfig.model_validate, config)))


@pytest.fixture(scope="module")
def experiment():
    return load_experiment("any_offer", ROOT / "configs")


@pytest.fixture(scope="module")
def any_world(telco, experiment):
    menu = experiment.offer_log.demo_menu(catalogue(experiment.arms, experiment.economics))
    return DemoWorld(telco, experiment.economics, menu)


@pytest.fixture(scope="module")
def drawn(any_world):
    return any_world.draw(50_000, seed=0)


def test_the_menu_has_five_kinds(any_world):
    kinds = {arm.terms.kind for arm in any_world.menu}
    assert kinds == {"no_contact", "percent_off", "amount_off", "free_months", "gift", "contact"}


def test_every_arm_is_tried_with_a_known_propensity_and_the_log_passes_its_gates(
    any_world, drawn, experiment, telco
):
    log, gates = drawn.log, experiment.offer_log.gates
    assert log.menu == any_world.menu
    assert log.propensities.sum(1) == pytest.approx(1)
    assert (np.bincount(log.arm, minlength=len(log.menu)) > 2_000).all()
    outcomes = [*propensity_gates(log, telco, gates).gates, *volume_gates(log, gates).gates]
    assert [gate.name for gate in outcomes if not gate.passed] == []


def test_nobody_without_internet_is_offered_a_router(any_world, drawn, telco):
    router = any_world.menu.position["faster_router"]
    online = (telco.frame["InternetService"] != "No").to_numpy()
    assert (any_world.allowed[:, router] == online).all()
    assert ((any_world.logging_policy()[:, router] > 0) == online).all()
    assert online[drawn.truth.customer[drawn.log.arm == router]].all()
    cohort = any_world.cohort(5_000, seed=1)
    assert online[cohort.customer[cohort.best == router]].all()


def test_an_answer_to_what_nobody_may_offer_is_refused(any_world):
    cohort, router = any_world.cohort(5_000, seed=1), any_world.menu.position["faster_router"]
    with pytest.raises(DemoWorldError, match="was offered faster_router, whose conditions they do not keep"):
        any_world.answer(cohort.truth, np.full(5_000, router), np.random.default_rng(0))


def test_answers_average_to_the_truth_of_each_arm(any_world):
    cohort = any_world.cohort(40_000, seed=3)
    for arm, offered in enumerate(any_world.menu):
        rows = np.flatnonzero(cohort.allowed[:, arm])
        truth = type(cohort.truth)(**{name: value[rows] for name, value in vars(cohort.truth).items()})
        answers = any_world.answer(truth, np.full(len(rows), arm), np.random.default_rng(arm))
        expected = {
            "accepted": truth.acceptance[:, arm], "churned": truth.churn[:, arm], "margin": truth.reward[:, arm]
        }  # fmt: skip
        for name, mean in expected.items():
            found = getattr(answers, name)
            error = (found - mean).std() / np.sqrt(len(rows))
            assert found.mean() == pytest.approx(mean.mean(), abs=4.5 * error + 1e-12), (offered.id, name)


def test_a_gift_is_gone_with_whoever_leaves_and_a_contact_costs_what_its_channel_does(any_world):
    cohort = any_world.cohort(20_000, seed=5)
    cost = {"faster_router": 32.0, "call": 6.0, "free_month": 1.0}
    for arm_id, given in cost.items():
        arm = any_world.menu.position[arm_id]
        rows = np.flatnonzero(cohort.allowed[:, arm])
        truth = type(cohort.truth)(**{name: value[rows] for name, value in vars(cohort.truth).items()})
        answers = any_world.answer(truth, np.full(len(rows), arm), np.random.default_rng(0))
        lost = (answers.accepted == 1) & (answers.churned == 1)
        assert lost.any()
        assert (answers.margin[lost] == -given).all()


def test_an_arm_is_worth_the_percent_off_that_costs_the_customer_as_much(telco):
    config = [
        {"id": "half_year", "terms": {"kind": "free_months", "months": 6}},
        {"id": "dear", "terms": {"kind": "amount_off", "amount": 1000.0, "months": 6}},
        {"id": "free", "terms": {"kind": "percent_off", "share": 1.0, "months": 6}},
    ]
    arms = load_arms(config)
    truth = DemoWorld(telco, Economics(), arms.menu([0.0, "half_year", "dear", "free"])).draw(1_000, 0).truth
    assert (truth.acceptance[:, 1] == truth.acceptance[:, 3]).all()
    assert truth.acceptance[:, 2] == pytest.approx(truth.acceptance[:, 3])


def test_larger_arms_of_a_family_are_accepted_more(telco):
    arms = load_arms(
        [
            {"id": "five", "terms": {"kind": "amount_off", "amount": 5.0, "months": 6}},
            {"id": "nine", "terms": {"kind": "amount_off", "amount": 9.0, "months": 6}},
            {"id": "one_free", "terms": {"kind": "free_months", "months": 1}},
            {"id": "two_free", "terms": {"kind": "free_months", "months": 2}},
        ]
    )
    truth = DemoWorld(telco, Economics(), arms.menu([0.0, "five", "nine", "one_free", "two_free"])).draw(
        1_000, 0
    )
    accept = truth.truth.acceptance
    assert (accept[:, 2] > accept[:, 1]).all()
    assert (accept[:, 4] > accept[:, 3]).all()

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from benchmarks.scikit_learn import fit_classifier
from churn_assets.arms import AmountOff, ArmConfig, ArmError, Catalogue, Contact, FreeMonths, Gift
from churn_assets.offers.log import OfferLog, OfferLogError
from churn_assets.predictors.conversion import ConversionError
from churn_assets.predictors.forest import Forest
from churn_assets.response import classifier
from churn_assets.response.accept import AcceptModel
from churn_assets.response.classifier import classifier_inputs
from churn_assets.response.config import AcceptGates, AcceptModelConfig, EffectModelConfig
from churn_assets.response.effect import EffectModel
from churn_assets.response.format import ACCEPT_MODEL, ARRAYS
from churn_assets.response.gates import (
    HeldOutOffers,
    accept_integrity,
    accept_no_worse_than,
    acceptance,
    held_out_offers,
)
from churn_assets.store.artifacts import stage
from churn_assets.store.errors import CorruptArtifact
from churn_assets.store.formats import read_parquet, read_tensors, write_parquet, write_tensors


def test_acceptance_never_falls_when_the_offer_rises_and_never_rises_with_fatigue(fitted):
    X = fitted.table.X[:400]
    offers = Catalogue().menu(np.linspace(0, 0.3, 31).round(3).tolist())
    rested = fitted.accept.predict_arms(X, np.zeros(len(X)), offers)
    tired = fitted.accept.predict_arms(X, np.full(len(X), 3.0), offers)
    assert np.diff(rested, axis=1).min() >= 0
    assert (tired <= rested).all()
    assert (rested[:, 0] == 0).all()


def test_acceptance_is_close_to_the_truth_that_the_model_never_saw(fitted):
    held_out = fitted.table.held_out[fitted.truth.customer]
    error = fitted.accept.out_of_fold[held_out, 1:] - fitted.truth.acceptance[held_out, 1:]
    assert np.sqrt((error**2).mean()) < 0.07  # the latent taste alone leaves about .05
    assert abs(error.mean()) < 0.01


def test_out_of_fold_acceptance_comes_from_a_model_that_never_saw_the_customer(fitted):
    rows = fitted.table.held_out[fitted.log.positions(fitted.table.ids)]
    X = fitted.table.X[fitted.log.positions(fitted.table.ids)]
    final = fitted.accept.predict_arms(X, fitted.log.prior_offers.astype(float), fitted.log.menu)
    same = np.isclose(final, fitted.accept.out_of_fold, atol=1e-6)[:, 1:].all(axis=1)
    assert same[rows].all()
    assert same[~rows].mean() < 0.01


def test_answers_of_held_out_customers_do_not_reach_the_model(fitted):
    held_out = fitted.table.held_out[fitted.log.positions(fitted.table.ids)]
    frame = fitted.log.frame.copy()
    frame.loc[held_out & (fitted.log.arm > 0), "accepted"] = 1
    poisoned = replace(fitted.log, frame=frame)
    again = AcceptModel.fit(fitted.table, poisoned, fitted.experiment.accept_model)
    np.testing.assert_array_equal(again.out_of_fold, fitted.accept.out_of_fold)


def test_another_number_of_features_is_refused(fitted):
    with pytest.raises(ValueError, match=r"found 3 features, expected 18"):
        fitted.accept.predict(np.zeros((2, 3)), np.ones(2, int), np.zeros(2))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("learning_rate", 0.2),
        ("max_iter", 7),
        ("max_leaf_nodes", 3),
        ("min_samples_leaf", 500),
        ("l2_regularization", 1.5),
    ],
)
def test_every_hyperparameter_reaches_the_classifier(fitted, key, value):
    config = AcceptModelConfig(**{"max_iter": 5, key: value})
    assert getattr(fit_classifier(fitted.table, fitted.log, config), key) == value


def test_the_numbers_of_cross_fits_and_of_draws_are_the_number_of_refits(fitted, monkeypatch):
    made = []
    build = classifier.new_classifier
    monkeypatch.setattr(classifier, "new_classifier", lambda *args: made.append(args) or build(*args))
    found = AcceptModel.fit(fitted.table, fitted.log, AcceptModelConfig(max_iter=2, cross_fits=3, draws=2))
    assert len(made) == 3 + 1 + 2
    assert len(found.draws) == 2


def test_the_same_data_and_config_give_the_same_digest_and_the_saved_model_the_same_bits(fitted, tmp_path):
    config = AcceptModelConfig(max_iter=10)
    digests = []
    for name in ("one", "two"):
        model = AcceptModel.fit(fitted.table, fitted.log, config)
        digests.append(stage("accept_model", model, ACCEPT_MODEL, tmp_path / name).digest)
    assert digests[0] == digests[1]
    loaded = ACCEPT_MODEL.load(tmp_path / "one")
    X, recent = fitted.table.X[:100], np.ones(100)
    assert loaded.menu == model.menu
    np.testing.assert_array_equal(
        loaded.predict_arms(X, recent, loaded.menu), model.predict_arms(X, recent, model.menu)
    )


def test_an_out_of_fold_table_with_an_arm_too_few_is_refused(fitted, tmp_path):
    ACCEPT_MODEL.save(fitted.accept, tmp_path)
    frame = read_parquet(tmp_path / "out_of_fold.parquet")
    write_parquet(frame.drop(columns="percent_30"), tmp_path / "out_of_fold.parquet")
    with pytest.raises(CorruptArtifact, match="a float32 column for each arm: no_contact, percent_5"):
        ACCEPT_MODEL.load(tmp_path)


def test_the_arrays_answer_as_the_classifier(fitted):
    boosting = fit_classifier(fitted.table, fitted.log, fitted.experiment.accept_model)
    X, menu = fitted.table.X, fitted.log.menu
    arm, recent = np.arange(len(X)) % 6 + 1, np.arange(len(X)) % 4 * 1.0
    expected = boosting.predict_proba(classifier_inputs(X, recent, arm, menu))[:, 1]
    np.testing.assert_allclose(fitted.accept.predict(X, arm, recent), expected, rtol=0, atol=1e-13)


def test_a_row_gets_the_same_bits_alone_in_company_and_among_other_arms(fitted):
    X, menu = fitted.table.X[:600], fitted.log.menu
    recent = np.arange(len(X)) % 3 * 1.0
    together = fitted.accept.predict_arms(X, recent, menu)
    alone = [fitted.accept.predict_arms(X[i : i + 1], recent[i : i + 1], menu)[0] for i in range(len(X))]
    np.testing.assert_array_equal(alone, together)
    arm = np.arange(len(X)) % len(menu)
    one_each = fitted.accept.predict(X, arm, recent)
    np.testing.assert_array_equal(one_each, together[np.arange(len(X)), arm])


def test_arrays_that_answer_otherwise_than_the_classifier_are_no_model(fitted, monkeypatch):
    build = Forest.build

    def perturbed(*arguments):
        built = build(*arguments)
        built.values[0, 0] += 1e-9
        return built

    monkeypatch.setattr(Forest, "build", perturbed)
    with pytest.raises(ConversionError, match="accept_model: the arrays answer"):
        AcceptModel.fit(fitted.table, fitted.log, AcceptModelConfig(max_iter=2))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("grid.levels", lambda array: array[:-1]),
        ("forest.reachable", lambda array: array.astype(np.int64)),
        ("forest.values", lambda array: array[:, :1]),
    ],
)
def test_a_tampered_array_is_refused_by_name(fitted, tmp_path, name, change):
    ACCEPT_MODEL.save(fitted.accept, tmp_path)
    arrays = read_tensors(tmp_path / ARRAYS)
    write_tensors(arrays | {name: change(arrays[name])}, tmp_path / ARRAYS)
    with pytest.raises(CorruptArtifact, match=rf"{ARRAYS}: found {name.split('.')[0]}\."):
        ACCEPT_MODEL.load(tmp_path)


def test_trees_of_64_leaves_are_predicted_too(fitted):
    config = AcceptModelConfig(max_iter=3, max_leaf_nodes=64, min_samples_leaf=20, cross_fits=2)
    model = AcceptModel.fit(fitted.table, fitted.log, config)
    assert model.predictor.forest.values.shape[1] == 64


DECLARED = (
    ArmConfig(id="ten_off", terms=AmountOff(amount=10, months=6)),
    ArmConfig(id="twenty_off", terms=AmountOff(amount=20, months=6)),
    ArmConfig(id="free_month", terms=FreeMonths(months=1)),
    ArmConfig(id="router", terms=Gift(gift="a new router", cost=60)),
    ArmConfig(id="call", terms=Contact(), channel="phone", contact_cost=8),
)
CATALOGUE = Catalogue(DECLARED)
LIKED = {"percent_10": 0.2, "percent_20": 0.4, "ten_off": 0.1, "twenty_off": 0.5, "free_month": 0.3}
LIKED |= {"router": 0.7, "call": 0.05}


@pytest.fixture(scope="module")
def any_offer(fitted):
    """A log of arms of five kinds, its acceptance a share of each arm's own."""
    menu = CATALOGUE.menu(["no_contact", *LIKED])
    rng, rows = np.random.default_rng(0), 12_000
    customer, arm = rng.integers(len(fitted.table), size=rows), rng.integers(len(menu), size=rows)
    ids = np.array(menu.ids, object)[arm]
    share = np.array([0.0, *LIKED.values()])[arm]
    frame = pd.DataFrame(
        {
            "customer_id": fitted.table.ids[customer],
            "decided_at": pd.Timestamp("2026-03-01", tz="UTC"),
            "arm": ids,
            "prior_offers": 0,
            "churned": 0,
            "accepted": (rng.random(rows) < share).astype(int),
        }
    )
    log = OfferLog(frame, menu, simulated=True)
    return log, AcceptModel.fit(fitted.table, log, AcceptModelConfig(cross_fits=2))


def test_every_kind_of_arm_is_accepted_as_often_as_in_the_log(fitted, any_offer):
    log, model = any_offer
    X = fitted.table.X
    found = model.predict_arms(X, np.zeros(len(X)), log.menu)
    assert (found[:, 0] == 0).all()
    np.testing.assert_allclose(found.mean(axis=0)[1:], list(LIKED.values()), atol=0.06)


def test_a_model_of_many_kinds_passes_its_gates_and_comes_back_from_its_files(fitted, any_offer, tmp_path):
    log, model = any_offer
    offers = HeldOutOffers.of(fitted.table, log)
    gates = fitted.experiment.accept_model.gates
    outcomes = [acceptance(model, offers, gates), accept_integrity(model, offers)]
    rows = outcomes[0].tables["acceptance_by_arm"]
    assert [row["arm"] for row in rows] == list(log.menu.ids[1:])
    assert "a new router" in [row["label"] for row in rows]
    failed = {gate.name for outcome in outcomes for gate in outcome.gates if not gate.passed}
    assert failed <= {"spread"}  # here nobody differs from anybody
    assert "fall_in_size" in {gate.name for gate in outcomes[1].gates}
    ACCEPT_MODEL.save(model, tmp_path)
    loaded = ACCEPT_MODEL.load(tmp_path)
    assert loaded.menu == log.menu
    assert ACCEPT_MODEL.golden(loaded) == ACCEPT_MODEL.golden(model)


def test_acceptance_rises_with_the_size_within_each_family(fitted, any_offer):
    _, model = any_offer
    names = [0.0, 0.05, 0.15, 0.25, "ten_off", "twenty_off"]
    X = fitted.table.X[:300]
    found = model.predict_arms(X, np.zeros(300), CATALOGUE.menu(names))
    assert np.diff(found[:, 1:4], axis=1).min() >= 0
    assert np.diff(found[:, 4:], axis=1).min() >= 0


def test_an_arm_whose_family_was_never_tried_is_an_error_that_names_it(fitted):
    menu = CATALOGUE.menu([0.0, 0.05, "router"])
    with pytest.raises(
        ArmError, match=r"found arm router of family 'router', .* of the log's families percent_off_6$"
    ):
        fitted.accept.predict_arms(fitted.table.X[:2], np.zeros(2), menu)


def test_a_champion_that_knows_fewer_arms_is_compared_on_those(fitted, any_offer):
    log, model = any_offer
    offers = HeldOutOffers.of(fitted.table, log)
    (gate,) = accept_no_worse_than(model, fitted.accept, offers, fitted.experiment.accept_model.gates).gates
    percents = sum(arm in ("percent_10", "percent_20") for arm in offers.log.frame["arm"])
    assert gate.passed
    assert f"{percents} offers" in gate.detail


def test_a_champion_that_knows_none_of_the_arms_is_no_champion(fitted, any_offer):
    log, model = any_offer
    gifts = log.where(np.isin(log.frame["arm"], ["no_contact", "router"]))
    offers = HeldOutOffers.of(fitted.table, gifts)
    outcome = accept_no_worse_than(model, fitted.accept, offers, fitted.experiment.accept_model.gates)
    assert [gate.name for gate in outcome.gates] == ["other_champions"]


def test_a_log_of_contacted_customers_alone_trains_acceptance_and_no_effect(fitted):
    telco, called = fitted.table, fitted.log.where(fitted.log.arm > 0)
    gone = [name for name in called.frame if name.startswith("propensity") or name in ("churned", "margin")]
    log = replace(called, frame=called.frame.drop(columns=gone), known_by="contacted_only")
    config = AcceptModelConfig(max_iter=40, cross_fits=2, draws=0)
    model, same = (AcceptModel.fit(telco, each, config) for each in (log, called))
    offers = held_out_offers(telco, log)
    for outcome in (acceptance(model, offers, AcceptGates()), accept_integrity(model, offers)):
        assert [gate.name for gate in outcome.gates if not gate.passed] == []
    np.testing.assert_array_equal(model.out_of_fold, same.out_of_fold)
    risk = np.full(len(log), 0.2)
    with pytest.raises(OfferLogError, match=r"contacted customers only.*branches: \[risk, accept\]"):
        EffectModel.fit(telco, log, risk, model.out_of_fold, EffectModelConfig())

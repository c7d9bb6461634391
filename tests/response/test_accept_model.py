import numpy as np
import pytest

from churn_assets.response.accept import AcceptModel
from churn_assets.response.config import AcceptModelConfig
from churn_assets.response.format import ACCEPT_MODEL
from churn_assets.store.artifacts import stage
from churn_assets.store.errors import CorruptArtifact
from churn_assets.store.formats import read_parquet, write_parquet


def test_acceptance_never_falls_when_the_offer_rises_and_never_rises_with_fatigue(fitted):
    X = fitted.table.X[:400]
    offers = tuple(np.linspace(0, 0.3, 31))
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
    final = fitted.accept.predict_arms(X, fitted.log.prior_offers.astype(float), fitted.log.arms)
    same = np.isclose(final, fitted.accept.out_of_fold, atol=1e-6)[:, 1:].all(axis=1)
    assert same[rows].all()
    assert same[~rows].mean() < 0.01


def test_answers_of_held_out_customers_do_not_reach_the_model(fitted):
    held_out = fitted.table.held_out[fitted.log.positions(fitted.table.ids)]
    frame = fitted.log.frame.copy()
    frame.loc[held_out & (frame["offer_pct"] > 0), "accepted"] = 1
    poisoned = type(fitted.log)(frame, fitted.log.arms, fitted.log.simulated)
    again = AcceptModel.fit(fitted.table, poisoned, fitted.experiment.accept_model)
    np.testing.assert_array_equal(again.out_of_fold, fitted.accept.out_of_fold)


def test_another_number_of_features_is_refused(fitted):
    with pytest.raises(ValueError, match=r"found 3 features, expected 18"):
        fitted.accept.predict(np.zeros((2, 3)), np.full(2, 0.1), np.zeros(2))


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
    model = AcceptModel.fit(fitted.table, fitted.log, config)
    assert getattr(model.classifier, key) == value


def test_the_number_of_cross_fits_is_the_number_of_refits(fitted, monkeypatch):
    from churn_assets.response import accept

    made = []
    build = accept._classifier
    monkeypatch.setattr(accept, "_classifier", lambda *args: made.append(args) or build(*args))
    AcceptModel.fit(fitted.table, fitted.log, AcceptModelConfig(max_iter=2, cross_fits=3))
    assert len(made) == 3 + 1


def test_the_same_data_and_config_give_the_same_digest_and_the_saved_model_the_same_bits(fitted, tmp_path):
    config = AcceptModelConfig(max_iter=10)
    digests = []
    for name in ("one", "two"):
        model = AcceptModel.fit(fitted.table, fitted.log, config)
        digests.append(stage("accept_model", model, ACCEPT_MODEL, tmp_path / name).digest)
    assert digests[0] == digests[1]
    loaded = ACCEPT_MODEL.load(tmp_path / "one")
    X, recent = fitted.table.X[:100], np.ones(100)
    np.testing.assert_array_equal(
        loaded.predict_arms(X, recent, loaded.arms), model.predict_arms(X, recent, model.arms)
    )


def test_an_out_of_fold_table_with_an_arm_too_few_is_refused(fitted, tmp_path):
    ACCEPT_MODEL.save(fitted.accept, tmp_path)
    frame = read_parquet(tmp_path / "out_of_fold.parquet")
    write_parquet(frame.drop(columns="arm_6"), tmp_path / "out_of_fold.parquet")
    with pytest.raises(CorruptArtifact, match=r"one column for each of 7 arms"):
        ACCEPT_MODEL.load(tmp_path)

from dataclasses import replace

import numpy as np

from churn_assets.gates.estimates import clustered_mean
from churn_assets.response.evidence import (
    doubly_robust_effects,
    effect_losses,
    over_eligible,
    realised_size,
)
from churn_assets.response.gates import (
    accept_integrity,
    accept_no_worse_than,
    acceptance,
    effect_no_worse_than,
)


def failed(outcome):
    return {gate.name for gate in outcome.gates if not gate.passed}


def with_values(model, change):
    """The acceptance with other values of its leaves."""
    forest = replace(model.predictor.forest, values=change(model.predictor.forest.values))
    return replace(model, predictor=replace(model.predictor, forest=forest))


def test_the_fitted_acceptance_passes_every_gate(fitted):
    gates = fitted.experiment.accept_model.gates
    assert failed(acceptance(fitted.accept, fitted.held_out, gates)) == set()
    assert failed(accept_integrity(fitted.accept, fitted.held_out)) == set()
    assert failed(accept_no_worse_than(fitted.accept, fitted.accept, fitted.held_out, gates)) == set()


def test_a_constant_acceptance_is_stopped_by_name(fitted):
    stuck = with_values(fitted.accept, np.zeros_like)
    gates = fitted.experiment.accept_model.gates
    assert {"log_loss_over_arm_rates", "arm_deviation"} <= failed(acceptance(stuck, fitted.held_out, gates))
    assert "log_loss_excess" in failed(accept_no_worse_than(stuck, fitted.accept, fitted.held_out, gates))


def test_a_constant_acceptance_passes_where_all_customers_take_every_arm_alike(fitted):
    stuck = with_values(fitted.accept, np.zeros_like)
    offers = fitted.held_out
    alike = stuck.predict(offers.X, offers.log.arm, offers.log.prior_offers.astype(float), offers.log.menu)
    taken = np.random.default_rng(7).random(len(alike)) < alike
    frame = offers.log.frame.assign(accepted=taken.astype(offers.log.accepted.dtype))
    alike_log = replace(offers, log=replace(offers.log, frame=frame))
    gates = fitted.experiment.accept_model.gates
    assert failed(acceptance(stuck, alike_log, gates)) == set()
    assert failed(accept_integrity(stuck, alike_log)) == set()
    assert "log_loss_over_arm_rates" in failed(acceptance(fitted.accept, alike_log, gates))


def test_an_acceptance_that_falls_with_the_offer_is_stopped_by_name(fitted):
    inverted = with_values(fitted.accept, np.negative)
    assert "fall_in_size" in failed(accept_integrity(inverted, fitted.held_out))


def test_a_candidate_without_effects_is_worse_than_a_champion_that_found_them(fitted):
    gates = fitted.experiment.effect_model.gates
    blind = replace(fitted.effect, size=0.0)
    parts = (fitted.held_out, fitted.risk, fitted.accept, gates)
    assert "relative_loss" in failed(effect_no_worse_than(blind, fitted.effect, *parts))
    assert failed(effect_no_worse_than(fitted.effect, blind, *parts)) == set()


def test_a_clustered_mean_of_copies_is_as_uncertain_as_the_originals():
    values = np.random.default_rng(0).normal(size=200)
    alone = clustered_mean(values, np.arange(200))
    copied = clustered_mean(np.repeat(values, 5), np.repeat(np.arange(200), 5))
    assert np.isclose(alone.standard_error, values.std(ddof=1) / np.sqrt(200))
    assert np.isclose(copied.standard_error, alone.standard_error)


def confounded(rng, rows=40_000, effect=-0.1):
    """Risky customers are contacted more often: the naive contrast is wrong, known propensities mend it."""
    risk = rng.uniform(0.05, 0.6, rows)
    contacted = np.clip(risk + 0.2, 0, 1)
    arm = (rng.random(rows) < contacted).astype(np.int64)
    true_effect = effect * (risk > 0.3)
    outcome = (rng.random(rows) < risk + arm * true_effect).astype(float)
    propensities = np.column_stack([1 - contacted, contacted])
    effects = np.column_stack([np.zeros(rows), true_effect])
    return outcome, arm, propensities, risk, effects


def test_doubly_robust_effects_survive_confounding_and_a_wrong_outcome_model():
    rng = np.random.default_rng(2)
    outcome, arm, propensities, risk, effects = confounded(rng)
    naive = outcome[arm == 1].mean() - outcome[arm == 0].mean()
    wrong = doubly_robust_effects(outcome, arm, propensities, np.full(len(risk), 0.5), np.zeros_like(effects))
    truth = effects[:, 1].mean()
    estimate = clustered_mean(wrong[:, 1], np.arange(len(risk)))
    assert naive > 0 > truth
    assert abs(estimate.value - truth) < 4 * estimate.standard_error
    assert (wrong[:, 0] == 0).all()


def test_realised_size_is_one_for_the_truth_and_zero_for_noise():
    rng = np.random.default_rng(3)
    outcome, arm, propensities, risk, effects = confounded(rng)
    rows = np.arange(len(risk))
    right = realised_size(outcome, arm, propensities, risk, effects, rows)
    halved = realised_size(outcome, arm, propensities, risk, 2 * effects, rows)
    noise = np.column_stack([np.zeros(len(risk)), 0.1 * rng.normal(size=len(risk))])
    none = realised_size(outcome, arm, propensities, risk, noise, rows)
    assert abs(right.value - 1) < 4 * right.standard_error
    assert abs(halved.value - 0.5) < 4 * halved.standard_error
    assert abs(none.z) < 4
    assert right.z > 10


def test_the_effect_loss_is_least_for_the_true_effects():
    outcome, arm, propensities, risk, effects = confounded(np.random.default_rng(4), effect=-0.25)
    mean_outcome = risk + (propensities * effects).sum(axis=1)
    losses = [
        effect_losses(outcome, arm, propensities, mean_outcome, scale * effects).mean()
        for scale in (0.0, 1.0, 2.0)
    ]
    assert losses[1] < min(losses[0], losses[2])


def test_an_arm_that_a_customer_may_not_get_counts_neither_for_nor_against_it():
    effects = np.array([[0.0, -0.1, 0.4], [0.0, -0.1, 0.4], [0.0, -0.1, 0.4]])
    propensities = np.array([[0.5, 0.5, 0.0], [0.2, 0.4, 0.4], [1.0, 0.0, 0.0]])
    np.testing.assert_allclose(over_eligible(effects, propensities), [-0.1, 0.15, 0.0])

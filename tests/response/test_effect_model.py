from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from churn_assets.arms import ArmConfig, ArmError, Catalogue, Contact
from churn_assets.gates.estimates import Estimate
from churn_assets.gates.metrics import log_losses
from churn_assets.offers.log import checked_log, propensity_column
from churn_assets.offers.world import DemoWorld
from churn_assets.predictors.conversion import ConversionError
from churn_assets.predictors.curves import Curves
from churn_assets.response.accept import AcceptModel
from churn_assets.response.config import EffectModelConfig
from churn_assets.response.effect import BOOSTED, MEDIATED, EffectModel, believed_size
from churn_assets.response.format import EFFECT_MODEL
from churn_assets.response.mediated import ridge_shift, ridge_woken
from churn_assets.store.artifacts import stage
from churn_assets.store.errors import CorruptArtifact
from churn_assets.store.formats import read_json, read_tensors, write_json, write_tensors


def predicted(fitted, rows):
    X = fitted.table.X[fitted.truth.customer[rows]]
    risk = fitted.risk.predict(X)
    acceptance = fitted.accept.predict_arms(X, fitted.log.prior_offers[rows].astype(float), fitted.log.menu)
    return fitted.effect.effects(X, risk, acceptance)


def unseen(fitted):
    return np.flatnonzero(fitted.table.held_out[fitted.truth.customer])


def test_mean_effects_of_unseen_customers_are_close_to_the_truth_that_the_model_never_saw(fitted):
    rows = unseen(fitted)
    truth = (fitted.truth.churn - fitted.truth.churn[:, :1])[rows]
    np.testing.assert_allclose(predicted(fitted, rows).mean(axis=0), truth.mean(axis=0), atol=0.015)


def test_it_finds_the_sleeping_dogs(fitted):
    """Unseen customers whom it says a small offer harms are harmed; those it says are helped are helped a lot."""
    rows = unseen(fitted)
    said = predicted(fitted, rows)[:, 1]
    truth = (fitted.truth.churn[:, 1] - fitted.truth.churn[:, 0])[rows]
    most_helped = np.argsort(said)[: len(rows) // 10]
    assert 0.2 < (said > 0).mean() < 0.7
    assert truth[said > 0].mean() > 0.002
    assert truth[said > 0.01].mean() > 0.002
    assert truth[most_helped].mean() < -0.05


def test_it_finds_nothing_where_there_is_nothing(without_effects):
    assert without_effects.effect.size == 0
    assert np.abs(predicted(without_effects, np.arange(1000))).max() < 1e-12


def test_an_effect_is_what_acceptance_makes_of_its_two_consequences(fitted):
    X = fitted.table.X[:500]
    risk = fitted.risk.predict(X)
    acceptance = fitted.accept.predict_arms(X, np.zeros(500), fitted.log.menu)
    idle, accepted, refused = fitted.effect.consequences(X, risk)
    effects = fitted.effect.effects(X, risk, acceptance)
    mixed = acceptance[:, 1:] * accepted + (1 - acceptance[:, 1:]) * refused - idle[:, None]
    np.testing.assert_allclose(effects[:, 1:], mixed, atol=1e-12)
    assert (effects[:, 0] == 0).all()
    assert ((accepted > 0) & (accepted < 1) & (refused > 0) & (refused < 1)).all()


def test_outcomes_of_held_out_customers_do_not_reach_the_model(fitted):
    held_out = fitted.table.held_out[fitted.log.positions(fitted.table.ids)]
    frame = fitted.log.frame.copy()
    frame.loc[held_out, "churned"] = 1
    poisoned = replace(fitted.log, frame=frame)
    risk = fitted.risk.risk_of(fitted.log.customer_id)
    again = EffectModel.fit(
        fitted.table, poisoned, risk, fitted.accept.out_of_fold, fitted.experiment.effect_model
    )
    np.testing.assert_array_equal(again.mediated.accepted, fitted.effect.mediated.accepted)
    np.testing.assert_array_equal(again.direct.kept, fitted.effect.direct.kept)
    assert (again.size, again.weights) == (fitted.effect.size, fitted.effect.weights)


def refit(fitted, **changes) -> EffectModel:
    risk = fitted.risk.risk_of(fitted.log.customer_id)
    config = EffectModelConfig(**changes)
    return EffectModel.fit(fitted.table, fitted.log, risk, fitted.accept.out_of_fold, config)


def test_every_key_changes_what_it_names(fitted):
    base = fitted.effect
    one = refit(fitted, baseline_penalties=(40.0, 50.0), shift_penalties=(50.0,), woken_penalties=(5.0, 6.0))
    assert one.baseline.shifts.shape[0] == 2
    assert one.mediated.accepted.shape[0] == one.mediated.refused.shape[0] == 1
    assert one.mediated.woken.shape[0] == 2
    knots = refit(fitted, knots=3, cross_fits=2, linear_penalties=((50.0, 60.0),), max_iter=3)
    assert max(len(inner) for inner in knots.mediated.basis.knots) == 2
    assert knots.overall != base.overall  # another number of cross-fits compares other refits
    assert list(knots.weights) == [*MEDIATED, BOOSTED, "linear, 50 and 60"]
    assert len(knots.boosted.forest.values) == 3
    assert refit(fitted, evidence_z=100.0).size == 0


@pytest.mark.parametrize(
    ("key", "value"),
    [("learning_rate", 0.9), ("max_leaf_nodes", 2), ("min_samples_leaf", 9_000), ("l2_regularization", 1e4)],
)
def test_every_key_of_the_trees_shapes_them(fitted, key, value):
    usual, other = (
        refit(fitted, max_iter=4, cross_fits=2, linear_penalties=((50.0, 60.0),), **changes)
        for changes in ({}, {key: value})
    )
    assert usual.weights[BOOSTED] != other.weights[BOOSTED]


def test_the_same_data_and_config_give_the_same_digest_and_the_saved_model_the_same_bits(fitted, tmp_path):
    digests = [
        stage("effect_model", model, EFFECT_MODEL, tmp_path / name).digest
        for name, model in (("one", fitted.effect), ("two", refit(fitted)))
    ]
    assert digests[0] == digests[1]
    loaded = EFFECT_MODEL.load(tmp_path / "one")
    X = fitted.table.X[:200]
    assert len(loaded.apart) == fitted.experiment.effect_model.cross_fits
    for group in range(-1, len(loaded.apart)):
        for ours, theirs in zip(
            fitted.effect.without(group).consequences(X, np.full(200, 0.3)),
            loaded.without(group).consequences(X, np.full(200, 0.3)),
            strict=True,
        ):
            np.testing.assert_array_equal(ours, theirs)


def test_the_refits_without_a_group_are_others_and_about_the_same(fitted):
    X, risk = fitted.table.X[:2_000], np.full(2_000, 0.3)
    acceptance = fitted.accept.predict_arms(X, np.zeros(2_000), fitted.log.menu)
    whole = fitted.effect.effects(X, risk, acceptance)
    for group in range(len(fitted.effect.apart)):
        apart = fitted.effect.without(group).effects(X, risk, acceptance)
        off = np.sqrt(((apart - whole) ** 2).mean())
        assert 0 < off < 0.5 * np.sqrt((whole**2).mean())
        assert (
            np.abs(
                fitted.accept.without(group).predict_arms(X, np.zeros(2_000), fitted.log.menu) - acceptance
            ).max()
            > 0
        )


def test_the_arrays_answer_as_the_regressions_also_far_outside_the_table(fitted, shocked):
    for model in (fitted.effect, shocked.effect):
        baseline, mediated, direct = model.baseline, model.mediated, model.direct
        far = fitted.table.X[:500].copy()
        far[:, [i for i, each in enumerate(fitted.table.schema.features) if each.kind == "numeric"]] *= 1e6
        for X in (fitted.table.X[:500], far):
            risk = fitted.risk.predict(X)
            logit = np.log(risk / (1 - risk))
            moved = logit[:, None] + baseline.basis.transform(X, logit) @ baseline.shifts.T
            with np.errstate(over="ignore"):
                unmoved = (1 / (1 + np.exp(-moved))).mean(axis=1)
                idle = np.clip(risk + baseline.size * (unmoved - risk), 1e-6, 1 - 1e-6)
                answers = mediated.churn(mediated.basis.transform(X, np.log(idle / (1 - idle))), idle)
            columns = mediated.basis.transform(X, np.log(risk / (1 - risk)))
            leaving, idle = risk[:, None], idle[:, None]
            shares = leaving * (columns @ direct.kept.T) + (1 - leaving) * (columns @ direct.driven.T)
            shares += model.boosted.forest.predict(model.boosted.grid, X)[:, None]
            accepting = leaving * direct.accepting[0] + (1 - leaving) * direct.accepting[1]
            expected = [
                idle + model.size * (shares + more + model.weights[part] * (churn[:, None] - idle))
                for part, churn, more in zip(MEDIATED, answers, (accepting, 0.0), strict=True)
            ]
            found = model.consequences(X, risk)
            np.testing.assert_allclose(found[0], idle[:, 0], rtol=0, atol=1e-8)
            for ours, theirs in zip(found[1:], np.clip(expected, 1e-6, 1 - 1e-6), strict=True):
                np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-7)


def test_a_row_gets_the_same_bits_alone_and_in_any_company(fitted):
    X = fitted.table.X[:600]
    risk = fitted.risk.predict(X)
    together = np.column_stack(fitted.effect.consequences(X, risk))
    alone = [
        np.column_stack(fitted.effect.consequences(X[i : i + 1], risk[i : i + 1]))[0] for i in range(len(X))
    ]
    np.testing.assert_array_equal(alone, together)


def test_arrays_that_answer_otherwise_than_the_regressions_are_no_model(fitted, monkeypatch):
    build = Curves.build

    def perturbed(*arguments):
        built = build(*arguments)
        built.coefficients[0, 3, 2] += 1e-9
        return built

    monkeypatch.setattr(Curves, "build", perturbed)
    with pytest.raises(ConversionError, match="effect_model, shifts: the arrays answer"):
        replace(fitted.effect).predictor  # noqa: B018


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("accepted", lambda array: array[:, :-1]),
        ("idle", lambda array: array[:0]),
        ("woken", lambda array: array * np.nan),
        ("kept", lambda array: array.astype(np.float32)),
        ("driven", lambda array: array[:-1]),
        ("accepting", lambda array: array[:, :-1]),
        ("boosted.values", lambda array: array * np.inf),
    ],
)
def test_a_tampered_array_is_refused(fitted, tmp_path, name, change):
    EFFECT_MODEL.save(fitted.effect, tmp_path)
    arrays = read_tensors(tmp_path / "coefficients.safetensors")
    write_tensors(arrays | {name: change(arrays[name])}, tmp_path / "coefficients.safetensors")
    with pytest.raises(CorruptArtifact, match=r"coefficients\.safetensors"):
        EFFECT_MODEL.load(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda described: described["basis"]["names"].pop(),
        lambda described: described["basis"]["knots"].reverse(),
        lambda described: described["basis"]["scale"].__setitem__(0, 0.0),
        lambda described: described["menu"].pop(),
        lambda described: described["weights"].pop("mediated, accepting"),
        lambda described: described["weights"].update(boosted=-1.0),
    ],
)
def test_a_description_that_does_not_fit_its_schema_is_refused(fitted, tmp_path, change):
    EFFECT_MODEL.save(fitted.effect, tmp_path)
    described = read_json(tmp_path / "model.json")
    change(described)
    write_json(described, tmp_path / "model.json")
    with pytest.raises(CorruptArtifact, match=r"model\.json|coefficients\.safetensors"):
        EFFECT_MODEL.load(tmp_path)


def test_no_more_is_believed_than_shows_and_nothing_without_evidence():
    assert believed_size(Estimate(0.9, 0.3), evidence_z=4.0) == 0
    assert believed_size(Estimate(0.9, 0.1), evidence_z=4.0) == 0.9
    assert believed_size(Estimate(1.3, 0.1), evidence_z=4.0) == 1
    assert believed_size(Estimate(-2.0, 0.1), evidence_z=4.0) == 0


def test_outcomes_that_have_nothing_to_do_with_customers_are_fitted_too():
    """The risk is far from such outcomes: whole Newton steps overshoot, from one side to the other."""
    rng = np.random.default_rng(0)
    offset = rng.normal(0, 6, 3000)
    columns = np.column_stack([np.ones(3000), offset - offset.mean(), rng.normal(size=(3000, 5))])
    outcome = (rng.random(3000) < 0.25).astype(float)
    found = ridge_shift(columns, offset, outcome, penalty=100.0)
    logit = offset + columns @ found
    assert np.abs(1 / (1 + np.exp(-logit)) - 0.25).mean() < 0.05


def test_noise_gives_no_effects(fitted):
    """Outcomes of the whole log in another order: nothing is told about anybody."""
    churned = np.random.default_rng(0).permutation(fitted.log.frame["churned"].to_numpy())
    noise = replace(fitted.log, frame=fitted.log.frame.assign(churned=churned))
    risk = fitted.risk.risk_of(fitted.log.customer_id)
    again = EffectModel.fit(
        fitted.table, noise, risk, fitted.accept.out_of_fold, fitted.experiment.effect_model
    )
    assert again.size == 0


@pytest.fixture(scope="module")
def shocked(fitted):
    """A log from after a competitor's offers, of which the customer table knows nothing; its truth; its model."""
    world = DemoWorld(fitted.table, fitted.experiment.economics, drift="competitor_shock")
    cohort = world.cohort(40_000, seed=11, shifted=True)
    menu = fitted.log.menu
    propensities = world.logging_policy()[cohort.customer]
    rng = np.random.default_rng(12)
    arm = (rng.random(len(cohort))[:, None] > propensities.cumsum(1)).sum(1).clip(0, len(menu) - 1)
    answers = world.answer(cohort.truth, arm, rng)
    columns = {
        "customer_id": fitted.table.ids[cohort.customer],
        "decided_at": pd.date_range("2026-03-01", periods=len(arm), freq="min", tz="UTC"),
        "wave": np.zeros(len(arm), np.int64),
        "arm": np.array(menu.ids, object)[arm],
        "propensity": propensities[np.arange(len(arm)), arm],
        **{propensity_column(each): propensities[:, k] for k, each in enumerate(menu.ids)},
        "policy_version": np.full(len(arm), "rules", object),
        "prior_offers": cohort.prior_offers,
        "accepted": answers.accepted,
        "churned": answers.churned,
        "margin": answers.margin,
    }
    log = checked_log(pd.DataFrame(columns), fitted.table.ids, menu, simulated=True, origin="shock")
    accept = AcceptModel.fit(fitted.table, log, fitted.experiment.accept_model)
    effect = EffectModel.fit(
        fitted.table,
        log,
        fitted.risk.risk_of(log.customer_id),
        accept.out_of_fold,
        fitted.experiment.effect_model,
    )
    return SimpleNamespace(log=log, truth=cohort.truth, accept=accept, effect=effect)


def test_churn_without_contact_follows_the_log_where_the_table_is_out_of_date(fitted, shocked):
    held_out = np.flatnonzero(fitted.table.held_out[shocked.truth.customer])
    customer, left = shocked.truth.customer[held_out], shocked.truth.would_churn[held_out]
    X = fitted.table.X[customer]
    risk = fitted.risk.predict(X)
    idle, *_ = shocked.effect.consequences(X, risk)
    fibre = (fitted.table.frame["InternetService"] == "Fiber optic").to_numpy()[customer]
    for who in (fibre, ~fibre):
        assert abs(idle[who].mean() - left[who].mean()) < 0.02
    assert left[fibre].mean() - risk[fibre].mean() > 0.04
    assert log_losses(left, idle).mean() < log_losses(left, risk).mean() - 0.002


def test_effects_are_found_beside_a_risk_that_is_out_of_date(fitted, shocked):
    held_out = np.flatnonzero(fitted.table.held_out[shocked.truth.customer])
    X = fitted.table.X[shocked.truth.customer[held_out]]
    recent = shocked.log.prior_offers[held_out].astype(float)
    effects = shocked.effect.effects(
        X, fitted.risk.predict(X), shocked.accept.predict_arms(X, recent, fitted.log.menu)
    )
    truth = (shocked.truth.churn - shocked.truth.churn[:, :1])[held_out]
    np.testing.assert_allclose(effects.mean(axis=0), truth.mean(axis=0), atol=0.01)
    assert shocked.effect.size > 0.7


def test_where_the_table_is_up_to_date_churn_without_contact_is_the_risk(fitted):
    assert fitted.effect.baseline.size == 0
    X = fitted.table.X[:200]
    risk = fitted.risk.predict(X)
    np.testing.assert_allclose(fitted.effect.consequences(X, risk)[0], risk, atol=1e-12)


def test_a_baseline_that_is_not_that_of_the_log_does_not_pass_its_gate(fitted, shocked):
    from churn_assets.response.gates import HeldOutOffers, effect

    gates = fitted.experiment.effect_model.gates
    held_out = HeldOutOffers.of(fitted.table, shocked.log)
    ours = effect(shocked.effect, held_out, fitted.risk, shocked.accept, gates)
    assert all(gate.passed for gate in ours.gates)
    stale = replace(shocked.effect, baseline=replace(shocked.effect.baseline, size=0.0))
    outcome = effect(stale, held_out, fitted.risk, shocked.accept, gates)
    assert "no_contact_deviation" in {gate.name for gate in outcome.gates if not gate.passed}


def test_the_shift_equals_a_ridge_logistic_regression_when_there_is_no_offset():
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    columns = np.column_stack([np.zeros(500), np.zeros(500), rng.normal(size=(500, 4))])
    outcome = (rng.random(500) < 1 / (1 + np.exp(-columns[:, 2] + 0.5 * columns[:, 3]))).astype(float)
    ours = ridge_shift(columns, np.zeros(500), outcome, penalty=3.0)
    theirs = LogisticRegression(C=1 / 3.0, fit_intercept=False, tol=1e-10, max_iter=1000)
    np.testing.assert_allclose(ours[2:], theirs.fit(columns[:, 2:], outcome).coef_[0], atol=1e-5)


def test_woken_stayers_are_told_from_churners_who_leave_anyway():
    rng = np.random.default_rng(1)
    rows = 60_000
    flag = rng.random(rows) < 0.3
    risk = rng.uniform(0.05, 0.6, rows)
    woken = np.where(flag, 0.15, 0.01)
    outcome = (rng.random(rows) < risk + (1 - risk) * woken).astype(float)
    columns = np.column_stack([np.ones(rows), rng.normal(size=rows), flag, ~flag]).astype(float)
    logit = columns @ ridge_woken(columns, risk, outcome, penalty=1.0)
    found = 1 / (1 + np.exp(-logit))
    assert abs(found[flag].mean() - 0.15) < 0.02
    assert abs(found[~flag].mean() - 0.01) < 0.01


def test_a_model_that_reverses_the_effects_does_not_pass_its_gate(fitted):
    from churn_assets.response.gates import effect

    gates = fitted.experiment.effect_model.gates
    assert all(
        gate.passed
        for gate in effect(fitted.effect, fitted.held_out, fitted.risk, fitted.accept, gates).gates
    )
    reversed_ = replace(fitted.effect, size=-1.0)
    outcome = effect(reversed_, fitted.held_out, fitted.risk, fitted.accept, gates)
    failed = {gate.name for gate in outcome.gates if not gate.passed}
    assert {"size_upper_bound", "size_above_zero", "arm_deviation"} <= failed


def test_a_model_that_claims_effects_where_there_are_none_does_not_pass_its_gate(fitted, without_effects):
    from churn_assets.response.gates import effect

    gates = fitted.experiment.effect_model.gates
    outcome = effect(fitted.effect, without_effects.held_out, fitted.risk, fitted.accept, gates)
    failed = {gate.name for gate in outcome.gates if not gate.passed}
    assert {"size_upper_bound", "group_deviation"} <= failed


def test_finding_nothing_passes_where_there_is_nothing(without_effects):
    from churn_assets.response.gates import effect, effect_integrity

    parts = (without_effects.effect, without_effects.held_out, without_effects.risk)
    gates = without_effects.experiment.effect_model.gates
    assert all(gate.passed for gate in effect(*parts, without_effects.accept, gates).gates)
    assert all(gate.passed for gate in effect_integrity(*parts).gates)


def test_an_arm_between_two_sizes_of_its_family_has_an_effect_between_theirs(fitted):
    X = fitted.table.X[:300]
    risk = fitted.risk.predict(X)
    arms = Catalogue().menu([0.0, 0.10, 0.12, 0.20, 0.50])
    told = fitted.effect.predictor.consequences(X, risk)[1]
    tried = [told[:, fitted.effect.menu.position[f"percent_{size}"] - 1] for size in (10, 15, 30)]
    _, found, _ = fitted.effect.predictor.of(arms).consequences(X, risk)
    np.testing.assert_allclose(found[:, 0], tried[0], rtol=1e-12)
    low, high = np.minimum(*tried[:2]), np.maximum(*tried[:2])
    assert ((low - 1e-12 <= found[:, 1]) & (found[:, 1] <= high + 1e-12)).all()
    inside = low > 1e-5
    np.testing.assert_allclose(found[inside, 1], (0.6 * tried[0] + 0.4 * tried[1])[inside], rtol=1e-9)
    np.testing.assert_allclose(found[:, 3], tried[2], rtol=1e-12)  # never beyond the largest that was tried


def test_an_arm_of_a_family_that_was_never_tried_is_refused_by_name(fitted):
    call = Catalogue(declared=(ArmConfig(id="call", terms=Contact(), channel="phone", contact_cost=4.0),))
    with pytest.raises(ArmError, match=r"effect_model: found arm call of family .* which was never tried"):
        fitted.effect.predictor.of(call.menu(["no_contact", "call"]))

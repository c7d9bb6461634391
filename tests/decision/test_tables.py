"""Model tables: they say exactly what the models say, and refuse what does not fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from churn_assets.arms import ArmConfig, ArmError, Catalogue, Condition, Gift, PercentOff
from churn_assets.customers.features import aged
from churn_assets.decision.responses import ResponseModels
from churn_assets.decision.tables import UPSTREAM, build_tables, feature_scaling, policy_features


@pytest.fixture(scope="module")
def customers(small):
    return small.everyone.where(np.arange(len(small.everyone)) < 300)


@pytest.fixture(scope="module")
def models(small):
    return small.models.responses


def test_tabled_probabilities_equal_live_predictions_row_by_row(customers, small, models):
    process = models.process
    prior = np.arange(len(customers)) % 3
    tables = build_tables(customers, models, prior_offers=prior)

    def on_menu(churn):
        return churn[[small.effect.menu.position[arm] - 1 for arm in process.menu.ids[1:]]]

    for i in (0, 1, 2, 117, 299):
        for t in (0, 2, 3, 29):
            x = aged(customers.X[i : i + 1], customers.schema, t)
            idle, accepted, refused = small.effect.consequences(x, small.risk.predict(x))
            assert tables.risk[i, t] == pytest.approx(idle[0], abs=1e-12)
            assert tables.churn_if_accepted[i, t] == pytest.approx(on_menu(accepted[0]), abs=1e-12)
            assert tables.churn_if_refused[i, t] == pytest.approx(on_menu(refused[0]), abs=1e-12)
            for own in (0, 1):
                recent = own + (prior[i] if t < process.recent_window_months else 0)
                live = small.accept.predict_arms(x, np.array([float(recent)]), process.menu)
                assert tables.acceptance[i, t, own] == pytest.approx(live[0], abs=1e-12)
    assert (tables.acceptance[..., 0] == 0).all()


def test_customers_are_asked_about_in_chunks_with_the_same_bits(customers, models, monkeypatch):
    whole = build_tables(customers, models)
    monkeypatch.setattr("churn_assets.decision.tables.CHUNK", 7)

    chunked = build_tables(customers, models)

    for name in whole.rowwise:
        assert (getattr(whole, name) == getattr(chunked, name)).all(), name


def test_whoever_does_not_keep_an_arms_condition_is_not_allowed_it(customers, small, models):
    menu = Catalogue(
        declared=(
            ArmConfig(
                id="fibre_only",
                terms=PercentOff(share=0.2, months=6),
                eligible=(Condition(column="InternetService", one_of=("Fiber optic",)),),
            ),
            ArmConfig(
                id="loyal",
                terms=PercentOff(share=0.3, months=6),
                eligible=(Condition(column="tenure", at_least=12),),
            ),
        )
    ).menu([0.0, "fibre_only", "loyal"])
    process = replace(models.process, menu=menu)

    tables = build_tables(customers, ResponseModels.of(small.risk, small.accept, small.effect, process))

    assert (tables.allowed[:, 1] == (customers.frame["InternetService"] == "Fiber optic")).all()
    assert (tables.allowed[:, 2] == (customers.frame["tenure"] >= 12)).all()


def test_an_arm_of_a_family_that_was_never_tried_is_refused_by_name(small, models):
    menu = Catalogue(declared=(ArmConfig(id="router", terms=Gift(gift="a router", cost=40.0)),)).menu(
        [0.0, "router"]
    )

    with pytest.raises(ArmError, match="router"):
        ResponseModels.of(small.risk, small.accept, small.effect, replace(models.process, menu=menu))


def reading(model, **changed):
    """The same model, said to read other features: by name, what of each is changed; None leaves it out."""
    features = tuple(
        each.model_copy(update=changed.get(each.name, {}))
        for each in model.schema.features
        if changed.get(each.name, {}) is not None
    )
    return replace(model, schema=model.schema.model_copy(update={"features": features}))


def test_models_of_other_features_are_refused_all_by_name(small, models):
    accept = reading(small.accept, Contract={"categories": ("Month", "Year")}, tenure={"kind": "categorical"})
    effect = reading(small.effect, Partner=None)

    with pytest.raises(ValueError, match="accept_model") as refused:
        ResponseModels.of(small.risk, accept, effect, models.process)

    tenure, contract, partner = str(refused.value).splitlines()
    assert "accept_model: feature 'tenure': found one of " in tenure
    assert contract.startswith(
        "accept_model: feature 'Contract': found one of Month, Year, expected risk_model's one of"
    )
    assert partner.startswith("effect_model: found features gender, SeniorCitizen, Dependents, tenure, ")
    assert ResponseModels.of(
        small.risk, reading(small.accept, tenure={"mean": 1.0}), small.effect, models.process
    )


def test_the_policys_features_are_standardised_bounded_and_never_blank(customers):
    schema = customers.schema
    X = customers.X.copy()
    X[0] = np.nan
    X[1, schema.tenure_index] = 1e9

    features = policy_features(X, feature_scaling(schema))

    assert (features[0] == 0).all()
    assert features[1, schema.tenure_index] == 10
    assert features.dtype == np.float32
    numeric = [spec.kind == "numeric" for spec in schema.features]
    assert (features[:, ~np.array(numeric)] >= 0).all()
    assert (features[:, ~np.array(numeric)] <= 1).all()


def test_tenure_advances_by_a_month_in_the_units_of_the_features(customers, models):
    tables = build_tables(customers, models)

    later = policy_features(aged(customers.X, customers.schema, 5), feature_scaling(customers.schema))

    column = tables.tenure_column
    assert later[:, column] - tables.features[:, column] == pytest.approx(5 * tables.tenure_step, abs=1e-5)


def logit(p):
    return np.log(p / (1 - p))


@pytest.fixture
def permuted(make_tables, monthly):
    tables = make_tables(50, monthly)
    return tables, {name: tables.permuted(name, np.random.default_rng(0)) for name in UPSTREAM}


def test_permuting_the_risk_keeps_the_effects_as_differences(permuted):
    tables, moved = permuted
    after = moved["risk_model"]

    assert (np.sort(after.risk, axis=0) == np.sort(tables.risk, axis=0)).all()
    assert (after.risk != tables.risk).any()
    assert (after.acceptance == tables.acceptance).all()
    for name in ("churn_if_accepted", "churn_if_refused"):
        before = logit(getattr(tables, name)) - logit(tables.risk)[:, :, None]
        found = logit(getattr(after, name)) - logit(after.risk)[:, :, None]
        assert found == pytest.approx(before, abs=1e-6)


def test_permuting_the_acceptance_gives_other_customers_and_offers(permuted):
    tables, moved = permuted
    after = moved["accept_model"]

    assert np.sort(after.acceptance, axis=None) == pytest.approx(np.sort(tables.acceptance, axis=None))
    assert (after.acceptance[..., 0] == 0).all()
    rising = (np.diff(after.acceptance[:, 0, 0, 1:], axis=1) >= 0).all(axis=1)
    assert rising.mean() < 0.3
    assert (after.risk == tables.risk).all()
    assert (after.churn_if_accepted == tables.churn_if_accepted).all()


def test_permuting_the_effects_keeps_risk_and_acceptance(permuted):
    tables, moved = permuted
    after = moved["effect_model"]

    assert (after.risk == tables.risk).all()
    assert (after.acceptance == tables.acceptance).all()
    shifts = [
        np.sort(logit(t.churn_if_accepted) - logit(t.risk)[:, :, None], axis=0) for t in (tables, after)
    ]
    assert shifts[0] == pytest.approx(shifts[1], abs=1e-6)
    assert (after.churn_if_refused != tables.churn_if_refused).any()


def test_an_unknown_upstream_is_refused_by_name(make_tables, monthly):
    with pytest.raises(ValueError, match="'price_model' is no upstream model"):
        make_tables(5, monthly).permuted("price_model", np.random.default_rng(0))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"price": np.array([1.0, 0.0, 1.0])}, "price"),
        ({"price": np.ones(2)}, "price"),
        ({"risk": np.full((3, 30), 1.2)}, "risk"),
        ({"churn_if_refused": np.full((3, 30), np.nan)}, "churn_if_refused"),
        ({"acceptance": np.full((3, 30, 2, 5), 0.5)}, "arm 0"),
        ({"allowed": np.zeros((3, 5), bool)}, "arm 0"),
        ({"features": np.full((3, 7), np.inf, np.float32)}, "features"),
    ],
)
def test_tables_that_make_no_sense_are_refused_by_name(make_tables, monthly, change, named):
    with pytest.raises(ValueError, match=named):
        replace(make_tables(3, monthly), **change)


def test_a_subset_keeps_every_row_together(make_tables, monthly):
    tables = make_tables(20, monthly)

    few = tables.subset(np.array([7, 3]))

    assert len(few) == 2
    assert (few.risk == tables.risk[[7, 3]]).all()
    assert (few.price == tables.price[[7, 3]]).all()
    assert few.feature_names == tables.feature_names

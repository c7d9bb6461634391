"""Model tables: they say exactly what the models say, and refuse what does not fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from churn_assets.customers.features import aged
from churn_assets.customers.table import read_customers
from churn_assets.decision.tables import UPSTREAM, build_tables, policy_features
from churn_assets.experiment import load_experiment

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def customers():
    experiment = load_experiment("quickstart", ROOT / "configs")
    table = read_customers(experiment.customers, seed=0, root=ROOT)
    return table.where(np.arange(len(table)) < 300)


class Risk:
    """A small boosting model on the real customers, as the risk model is."""

    def __init__(self, customers):
        self.model = HistGradientBoostingClassifier(max_iter=10, random_state=0).fit(customers.X, customers.y)

    def predict(self, X):
        return self.model.predict_proba(X)[:, 1]


class Accept:
    """A small boosting model of made-up answers, on customer features, recent offers and the offer."""

    def __init__(self, customers):
        rng = np.random.default_rng(0)
        X = np.repeat(customers.X, 5, axis=0)
        offer, recent = rng.choice([0.05, 0.1, 0.2, 0.3], len(X)), rng.poisson(0.6, len(X))
        accepted = rng.random(len(X)) < 0.1 + offer - 0.05 * recent.clip(0, 2)
        inputs = np.column_stack([X, recent, offer])
        self.model = HistGradientBoostingClassifier(max_iter=10, random_state=0).fit(inputs, accepted)

    def predict(self, X, offer_pct, recent_offers):
        return self.model.predict_proba(np.column_stack([X, recent_offers, offer_pct]))[:, 1]


class Effect:
    def consequences(self, X, risk):
        return 0.9 * risk, 0.4 * risk, np.minimum(1.05 * risk + 0.01 * (X[:, 0] > 0), 1)


@pytest.fixture(scope="module")
def models(customers):
    return Risk(customers), Accept(customers), Effect()


def test_tabled_probabilities_equal_live_predictions_row_by_row(customers, models, monthly):
    risk, accept, effect = models
    prior = np.arange(len(customers)) % 3
    tables = build_tables(customers, risk, accept, effect, monthly, prior_offers=prior)

    for i in (0, 1, 2, 117, 299):
        for t in (0, 2, 3, 29):
            x = aged(customers.X[i : i + 1], customers.schema, t)
            idle, accepted, refused = effect.consequences(x, risk.predict(x))
            assert tables.risk[i, t] == pytest.approx(idle[0], abs=1e-12)
            assert tables.churn_if_accepted[i, t] == pytest.approx(accepted[0], abs=1e-12)
            assert tables.churn_if_refused[i, t] == pytest.approx(refused[0], abs=1e-12)
            for own in (0, 1):
                recent = own + (prior[i] if t < monthly.recent_window_months else 0)
                for arm, offer in enumerate(monthly.menu[1:], start=1):
                    q = accept.predict(x, np.array([offer]), np.array([recent]))
                    assert tables.acceptance[i, t, own, arm] == pytest.approx(q[0], abs=1e-12)
    assert (tables.acceptance[..., 0] == 0).all()


def test_customers_are_asked_about_in_chunks_with_the_same_answers(customers, models, monthly, monkeypatch):
    whole = build_tables(customers, *models, monthly)
    monkeypatch.setattr("churn_assets.decision.tables.ROWS_A_CALL", 1000)

    chunked = build_tables(customers, *models, monthly)

    for name in whole.rowwise:
        assert (getattr(whole, name) == getattr(chunked, name)).all(), name


def test_the_policys_features_are_standardised_bounded_and_never_blank(customers):
    schema = customers.schema
    X = customers.X.copy()
    X[0] = np.nan
    X[1, schema.tenure_index] = 1e9

    features = policy_features(X, schema)

    assert (features[0] == 0).all()
    assert features[1, schema.tenure_index] == 10
    assert features.dtype == np.float32
    numeric = [spec.kind == "numeric" for spec in schema.features]
    assert (features[:, ~np.array(numeric)] >= 0).all()
    assert (features[:, ~np.array(numeric)] <= 1).all()


def test_tenure_advances_by_a_month_in_the_units_of_the_features(customers, models, monthly):
    tables = build_tables(customers, *models, monthly)

    later = policy_features(aged(customers.X, customers.schema, 5), customers.schema)

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
        before = logit(getattr(tables, name)) - logit(tables.risk)
        assert logit(getattr(after, name)) - logit(after.risk) == pytest.approx(before, abs=1e-6)


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
    shifts = [np.sort(logit(t.churn_if_accepted) - logit(t.risk), axis=0) for t in (tables, after)]
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

"""Every key of the `risk_model:` section reaches the parameter that it names."""

import numpy as np
import pytest

from churn_assets.risk.config import BoostingConfig, RiskModelConfig, SplineLogisticConfig
from churn_assets.risk.estimators import RiskEstimator

OTHER_BOOSTING = {
    "learning_rate": 0.07,
    "max_iter": 11,
    "max_leaf_nodes": 5,
    "min_samples_leaf": 33,
    "l2_regularization": 2.5,
    "max_features": 0.7,
}


@pytest.fixture(scope="module")
def fit(table):
    few = table.where(np.arange(len(table)) < 600)

    def fitted(**config) -> RiskEstimator:
        return RiskEstimator.fit(few.X, few.y, few.schema, RiskModelConfig(**config), seed=3)

    return fitted


def test_the_list_of_boosting_keys_below_is_complete():
    assert set(OTHER_BOOSTING) == set(BoostingConfig.model_fields)
    assert all(OTHER_BOOSTING[key] != value for key, value in BoostingConfig().model_dump().items())


@pytest.mark.parametrize("key", OTHER_BOOSTING)
def test_a_boosting_key_is_the_parameter_of_that_name(fit, key):
    boosting = fit(kind="boosting", boosting={key: OTHER_BOOSTING[key]}).parts["boosting"]
    assert boosting.get_params()[key] == OTHER_BOOSTING[key]
    unchanged = BoostingConfig().model_dump()
    assert {k: v for k, v in boosting.get_params().items() if k in unchanged and k != key} == {
        k: v for k, v in unchanged.items() if k != key
    }


def test_the_spline_keys_are_knots_degree_and_ridge_penalty(fit):
    pipeline = fit(kind="spline_logistic", spline_logistic={"n_knots": 7, "degree": 2, "penalty": 4.0})
    logistic = pipeline.parts["spline_logistic"]
    splines = [
        basis["curve"]
        for _, basis, _ in logistic["columns"].transformers
        if hasattr(basis, "steps") and hasattr(basis["curve"], "degree")
    ]
    assert splines
    assert {spline.degree for spline in splines} == {2}
    assert {len(spline.knots) for spline in splines} == {7}
    assert logistic["logistic"].C == 0.25
    assert set(SplineLogisticConfig.model_fields) == {"n_knots", "degree", "penalty"}


@pytest.mark.parametrize(
    ("kind", "parts"),
    [
        ("logit_mean", {"spline_logistic", "boosting"}),
        ("boosting", {"boosting"}),
        ("spline_logistic", {"spline_logistic"}),
    ],
)
def test_kind_says_what_is_fitted(fit, kind, parts):
    assert set(fit(kind=kind).parts) == parts


def test_monotone_names_numeric_features(fit):
    with pytest.raises(
        ValueError, match=r"risk_model.monotone: found \['Contract'\], expected some of \['SeniorCitizen'"
    ):
        fit(kind="boosting", monotone={"Contract": "increasing"})


@pytest.mark.parametrize("kind", ["boosting", "spline_logistic", "logit_mean"])
@pytest.mark.parametrize("direction", ["increasing", "decreasing"])
def test_the_risk_moves_one_way_only_in_a_monotone_feature(fit, table, kind, direction):
    features = {"tenure": direction, "MonthlyCharges": "decreasing", "SeniorCitizen": "increasing"}
    estimator = fit(kind=kind, monotone=features)
    for name, way in features.items():
        position = table.schema.names.index(name)
        grid = np.linspace(-20, 160, 61)
        X = np.repeat(table.X[:20], len(grid), axis=0)
        X[:, position] = np.tile(grid, 20)
        steps = np.diff(estimator.predict(X).reshape(20, -1), axis=1)
        assert (steps if way == "increasing" else -steps).min() >= -1e-12, name


def test_a_constraint_that_already_holds_changes_next_to_nothing(table):
    free = RiskEstimator.fit(table.X, table.y, table.schema, RiskModelConfig(kind="spline_logistic"), seed=1)
    config = RiskModelConfig(kind="spline_logistic", monotone={"SeniorCitizen": "increasing"})
    bound = RiskEstimator.fit(table.X, table.y, table.schema, config, seed=1)
    np.testing.assert_allclose(free.predict(table.X), bound.predict(table.X), atol=2e-4)

"""Each gate passes the real model and stops the failure it is there for."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from churn_assets.customers.table import CustomerTable
from churn_assets.risk import gates
from churn_assets.risk.config import RiskGates, RiskModelConfig
from churn_assets.risk.model import RiskModel


class Bent:
    """The fitted predictor with its risks bent by a function."""

    def __init__(self, predictor, bend) -> None:
        self.predictor, self.bend = predictor, bend

    def predict(self, X):
        return self.bend(self.predictor.predict(X), X)


def bent(model: RiskModel, bend) -> RiskModel:
    return replace(model, predictor=Bent(model.predictor, bend))


def failed(outcome) -> set[str]:
    return {gate.name for gate in outcome.gates if not gate.passed}


@pytest.fixture
def config(experiment) -> RiskModelConfig:
    return experiment.risk_model


@pytest.fixture
def limits(config) -> RiskGates:
    return config.gates


def test_the_real_model_passes_every_gate(model, table, config, limits):
    outcomes = [
        gates.discrimination(model, table, limits),
        gates.calibration(model, table, limits),
        gates.slices(model, table, limits),
        gates.integrity(model, table, config),
        gates.no_worse_than(model, model, table, limits),
    ]
    assert [failed(outcome) for outcome in outcomes] == [set()] * 5
    assert all(outcome.gates for outcome in outcomes)


def test_random_risks_do_not_discriminate(model, table, limits):
    rng = np.random.default_rng(0)
    shuffled = bent(model, lambda risk, X: rng.permutation(risk))
    assert {"auc", "brier_skill"} <= failed(gates.discrimination(shuffled, table, limits))


def test_a_leak_into_training_sounds_the_upper_alarm(model, table, limits):
    leaked = model.out_of_fold.assign(risk=np.clip(model.out_of_fold["risk"] + 0.1 * table.y, 0.001, 0.999))
    found = failed(gates.discrimination(replace(model, out_of_fold=leaked), table, limits))
    assert found == {"out_of_fold_auc_high"}


@pytest.mark.parametrize(
    "bend",
    [
        lambda risk, X: np.clip(risk * 1.3, 0, 0.999),
        lambda risk, X: 1 / (1 + np.exp(-2.5 * np.log(risk / (1 - risk)))),
        lambda risk, X: 1 / (1 + (1 - risk) / risk / 2.77),  # what balanced class weights do
    ],
    ids=["too high", "too sharp", "class weights"],
)
def test_risks_that_are_no_probabilities_are_not_calibrated(model, table, limits, bend):
    assert "calibration_ratio" in failed(gates.calibration(bent(model, bend), table, limits))


@pytest.mark.parametrize(
    ("bend", "stopped"),
    [(lambda logit: logit + 0.3, "mean_deviation"), (lambda logit: 1.5 * logit, "slope_deviation")],
)
def test_risks_that_are_off_in_the_mean_or_the_slope_are_stopped_by_name(model, table, limits, bend, stopped):
    """29.0 % expected and 26.2 % observed passed, bin by bin."""
    off = bent(model, lambda risk, X: 1 / (1 + np.exp(-bend(np.log(risk / (1 - risk))))))
    assert stopped in failed(gates.calibration(off, table, limits))


def test_a_misjudged_slice_is_named(model, table, limits):
    two_year = (table.frame["Contract"] == "Two year").to_numpy()
    risks = model.out_of_fold.assign(risk=np.where(two_year, 0.12, model.out_of_fold["risk"]))
    outcome = gates.slices(replace(model, out_of_fold=risks), table, limits)
    assert failed(outcome) == {"slice_deviation", "slice_auc"}
    assert "Contract: Two year" in outcome.gates[1].detail


def test_a_table_without_a_slice_large_enough_fails_rather_than_passes(model, table, limits):
    unreachable = limits.model_copy(update={"min_slice_rows": 10_000})
    assert failed(gates.slices(model, table, unreachable)) == {"slice_deviation", "slice_auc"}


def test_a_constant_risk_fails(model, table, config):
    constant = bent(model, lambda risk, X: np.full_like(risk, 0.27))
    assert {"spread", "held_out_agreement"} <= failed(gates.integrity(constant, table, config))


def test_a_risk_that_rises_where_it_must_fall_fails(model, table, config):
    tenure = table.schema.names.index("tenure")
    rising = bent(model, lambda risk, X: np.clip(risk + 0.001 * np.nan_to_num(X[:, tenure]), 0, 0.99))
    assert "against_decreasing_tenure" in failed(gates.integrity(rising, table, config))


def test_in_sample_risks_passed_off_as_out_of_fold_fail(model, table, config):
    own = model.out_of_fold.assign(risk=model.predict(table.X))
    assert failed(gates.integrity(replace(model, out_of_fold=own), table, config)) == {
        "seen_by_their_own_model"
    }


def test_a_customer_without_risk_fails(model, table, config):
    fewer = replace(model, out_of_fold=model.out_of_fold.iloc[1:].reset_index(drop=True))
    assert {"customers_without_risk", "held_out_agreement"} <= failed(gates.integrity(fewer, table, config))


def test_a_worse_model_does_not_replace_the_champion(model, table, limits):
    worse = bent(model, lambda risk, X: np.clip(risk * 0.7, 0.001, 1))
    assert failed(gates.no_worse_than(worse, model, table, limits)) == {"log_loss_excess"}
    assert not failed(gates.no_worse_than(model, worse, table, limits))


def test_a_champion_with_fewer_features_is_compared_on_the_same_customers(model, table, limits):
    names = [
        feature
        for feature in table.schema.features
        if feature.name in ("tenure", "MonthlyCharges", "Contract")
    ]
    narrow = CustomerTable(table.frame, table.schema.model_copy(update={"features": tuple(names)}))
    champion = RiskModel.fit(narrow, RiskModelConfig(kind="spline_logistic"))
    outcome = gates.no_worse_than(model, champion, table, limits)
    assert outcome.gates[0].figure < 0
    assert pd.DataFrame(outcome.tables["champion"])["model"].tolist() == ["this", "champion"]


@pytest.mark.parametrize("key", [key for key in RiskGates.model_fields if key != "min_slice_rows"])
def test_every_threshold_of_the_config_is_a_threshold_of_a_gate(model, table, limits, key):
    changed = limits.model_copy(update={key: 0.61803})
    outcomes = [
        gates.discrimination(model, table, changed),
        gates.calibration(model, table, changed),
        gates.slices(model, table, changed),
        gates.no_worse_than(model, model, table, changed),
    ]
    assert 0.61803 in [gate.threshold for outcome in outcomes for gate in outcome.gates]


def test_only_slices_of_the_configured_size_are_judged(model, table, limits):
    some = gates.slices(model, table, limits.model_copy(update={"min_slice_rows": 3_000})).tables["slices"]
    assert some
    assert all(row["customers"] >= 3_000 for row in some)
    assert len(some) < len(gates.slices(model, table, limits).tables["slices"])

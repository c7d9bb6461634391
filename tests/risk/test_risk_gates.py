"""Each gate passes the real model and stops the failure it is there for."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from benchmarks.foreign import foreign
from churn_assets.customers.schema import CHURNED
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


def test_a_table_that_tells_little_passes_as_it_is_and_one_that_tells_nothing_is_named():
    table = foreign("weak", 3_000, seed=1)
    config = RiskModelConfig(kind="logit_mean")
    assert failed(gates.discrimination(RiskModel.fit(table, config), table, config.gates)) == set()
    labels = np.random.default_rng(2).permutation(table.frame[CHURNED])
    told_nothing = replace(table, frame=table.frame.assign(**{CHURNED: labels}))
    found = failed(gates.discrimination(RiskModel.fit(told_nothing, config), told_nothing, config.gates))
    assert "out_of_fold_auc_least" in found


def test_labels_that_leak_into_cross_fitted_risks_put_them_ahead_of_held_out_ones(model, table, limits):
    leaked = model.out_of_fold.assign(risk=np.clip(model.out_of_fold["risk"] + 0.1 * table.y, 0.001, 0.999))
    found = failed(gates.discrimination(replace(model, out_of_fold=leaked), table, limits))
    assert found == {"out_of_fold_ahead_p_value", "out_of_fold_auc_high"}


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
    assert "calibration_p_value" in failed(gates.calibration(bent(model, bend), table, limits))


@pytest.mark.parametrize(
    ("bend", "stopped"),
    [(lambda logit: logit + 0.3, "mean_p_value"), (lambda logit: 1.5 * logit, "slope_p_value")],
)
def test_risks_that_are_off_in_the_mean_or_the_slope_are_stopped_by_name(model, table, limits, bend, stopped):
    """29.0 % expected and 26.2 % observed passed, bin by bin."""
    off = bent(model, lambda risk, X: 1 / (1 + np.exp(-bend(np.log(risk / (1 - risk))))))
    assert stopped in failed(gates.calibration(off, table, limits))


@pytest.mark.parametrize(
    ("key", "gate"), [("tolerated_error", "mean_p_value"), ("tolerated_slope", "slope_p_value")]
)
def test_what_is_tolerated_stops_nobody(model, table, limits, key, gate):
    off = bent(model, lambda risk, X: 1 / (1 + np.exp(-(1.5 * np.log(risk / (1 - risk)) + 0.9))))
    assert gate in failed(gates.calibration(off, table, limits))
    tolerant = limits.model_copy(update={key: 0.5})
    assert gate not in failed(gates.calibration(off, table, tolerant))


def redrawn(table: CustomerTable, risk, rng) -> CustomerTable:
    """The same customers, with labels of which these risks are true."""
    labels = (rng.random(len(risk)) < risk).astype(np.int8)
    return CustomerTable(table.frame.assign(churned=labels), table.schema, table.source)


@pytest.fixture(scope="module")
def true_model(model, table) -> tuple[RiskModel, np.ndarray]:
    """A model that is right, and its risks."""
    risk = model.predict(table.X)
    return replace(model, out_of_fold=model.out_of_fold.assign(risk=risk)), risk


def p_values(outcomes) -> dict[str, float]:
    return {gate.name: gate.figure for outcome in outcomes for gate in outcome.gates}


def test_p_values_of_a_true_model_are_small_as_seldom_as_they_say(true_model, table, limits):
    """With nothing tolerated: of 60 tables, 12 ± 3 would be below .2 if they were exact; the slices' auc is bounded."""
    right, risk = true_model
    rng = np.random.default_rng(5)
    strict = limits.model_copy(update={"tolerated_error": 0.0, "tolerated_slope": 0.0})
    found = []
    for _ in range(60):
        drawn = redrawn(table, risk, rng)
        found.append(p_values([gates.calibration(right, drawn, strict), gates.slices(right, drawn, strict)]))
    below = pd.DataFrame(found).lt(0.2).sum()
    assert set(below.index) == {
        "mean_p_value", "slope_p_value", "calibration_p_value", "slice_p_value", "slice_auc_p_value",
    }  # fmt: skip
    assert below.max() <= 22, below
    assert below.drop("slice_auc_p_value").min() >= 3, below


def test_a_misjudged_slice_is_named(model, table, limits):
    two_year = (table.frame["Contract"] == "Two year").to_numpy()
    risks = model.out_of_fold.assign(risk=np.where(two_year, 0.12, model.out_of_fold["risk"]))
    outcome = gates.slices(replace(model, out_of_fold=risks), table, limits)
    assert failed(outcome) == {"slice_p_value"}
    assert "Contract: Two year of 1695 customers" in outcome.gates[0].detail


def test_a_slice_ranked_upside_down_is_named(model, table, limits):
    month = (table.frame["Contract"] == "Month-to-month").to_numpy()
    risk = model.out_of_fold["risk"].to_numpy().copy()
    inside = np.sort(risk[month])
    risk[month] = inside[::-1][np.argsort(np.argsort(risk[month]))]
    outcome = gates.slices(replace(model, out_of_fold=model.out_of_fold.assign(risk=risk)), table, limits)
    assert "slice_auc_p_value" in failed(outcome)
    assert "Contract: Month-to-month" in outcome.gates[1].detail


def test_a_slice_in_which_nobody_can_be_ranked_is_no_fault(model, table, limits):
    """No feature tells its customers apart, and the risk says so: all alike."""
    two_year = (table.frame["Contract"] == "Two year").to_numpy()
    rate = float(table.y[two_year].mean())
    alike = model.out_of_fold.assign(risk=np.where(two_year, rate, model.out_of_fold["risk"]))
    assert "slice_auc_p_value" not in failed(gates.slices(replace(model, out_of_fold=alike), table, limits))


def test_many_slices_are_held_against_the_furthest_of_as_many(true_model, table, limits):
    """3.2 standard errors are once in 700 for one slice, and nothing among fifty."""
    _, risk = true_model
    inside = [(table.frame["Contract"] == "One year").to_numpy()]
    every = [mask for _, _, mask in gates._slices(table)]
    alone = gates._as_far(3.2, gates._furthest_by_chance(inside, risk))
    among = gates._as_far(3.2, gates._furthest_by_chance(every, risk))
    assert alone == pytest.approx(0.00137, abs=0.0012)
    assert 10 * alone < among < len(every) * 0.0015


def test_a_table_without_a_slice_large_enough_fails_rather_than_passes(model, table, limits):
    unreachable = limits.model_copy(update={"min_slice_rows": 10_000})
    assert failed(gates.slices(model, table, unreachable)) == {"slice_p_value", "slice_auc_p_value"}


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


NOT_COMPARED = {
    "min_slice_rows", "max_single_feature_auc", "tolerated_error", "tolerated_slope", "min_slice_auc",
    "tolerated_change", "known_before",
}  # fmt: skip
"""Keys that shape a figure, or are of a panel; the tests beside this one and those of panels change them."""


@pytest.mark.parametrize("key", [key for key in RiskGates.model_fields if key not in NOT_COMPARED])
def test_every_threshold_of_the_config_is_a_threshold_of_a_gate(model, table, config, limits, key):
    def judged(limits):
        outcomes = [
            gates.discrimination(model, table, limits),
            gates.calibration(model, table, limits),
            gates.slices(model, table, limits),
            gates.no_worse_than(model, model, table, limits),
            gates.integrity(model, table, config.model_copy(update={"gates": limits})),
        ]
        return [gate for outcome in outcomes for gate in outcome.gates]

    changed = judged(limits.model_copy(update={key: 0.61803}))
    assert any(each.threshold == 0.61803 or "0.61803 " in each.detail for each in changed)
    assert {each.threshold for each in changed} != {each.threshold for each in judged(limits)}


def test_a_lower_limit_for_columns_alone_and_a_higher_one_for_slices_stop_more(model, table, limits):
    lower = limits.model_copy(update={"max_single_feature_auc": 0.7})
    outcome = gates.discrimination(model, table, lower)
    assert failed(outcome) == {"leaking_columns"}
    assert "'tenure' ranks with AUC" in str(
        next(each for each in outcome.gates if each.name == "leaking_columns")
    )
    higher = limits.model_copy(update={"min_slice_auc": 0.9})
    assert "slice_auc_p_value" in failed(gates.slices(Promising(model), table, higher))


class Promising:
    """A model whose risks are spread further than the truth: they promise to rank better."""

    def __init__(self, model) -> None:
        self.model = model

    def risk_of_rows(self, rows):
        risk = self.model.risk_of_rows(rows)
        return 1 / (1 + ((1 - risk) / risk) ** 3)


def test_only_slices_of_the_configured_size_are_judged(model, table, limits):
    some = gates.slices(model, table, limits.model_copy(update={"min_slice_rows": 3_000})).tables["slices"]
    assert some
    assert all(row["customers"] >= 3_000 for row in some)
    assert len(some) < len(gates.slices(model, table, limits).tables["slices"])

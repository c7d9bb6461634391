"""The risk is a probability, cross-fitted by customer, and survives storage bit for bit."""

import numpy as np
import pandas as pd
import pytest

from churn_assets.customers.config import CustomersConfig
from churn_assets.customers.table import CustomerTable, read_customers
from churn_assets.predictors.conversion import ConversionError
from churn_assets.predictors.curves import Curves
from churn_assets.predictors.forest import Forest
from churn_assets.risk.config import RiskModelConfig
from churn_assets.risk.estimators import RiskEstimator
from churn_assets.risk.format import DESCRIPTION, OUT_OF_FOLD, RISK_MODEL, TENSORS
from churn_assets.risk.model import RiskModel
from churn_assets.store.errors import ContentError, CorruptArtifact
from churn_assets.store.formats import (
    read_json,
    read_parquet,
    read_tensors,
    write_json,
    write_parquet,
    write_tensors,
)
from churn_assets.store.staging import stage

SMALL = RiskModelConfig(kind="logit_mean", boosting={"max_iter": 5})


def relabelled(table: CustomerTable, y) -> CustomerTable:
    return CustomerTable(table.frame.assign(churned=y.astype(np.int8)), table.schema, table.source)


def test_the_risk_ranks_real_customers(model):
    assert 0.84 < model.metrics["out_of_fold_auc"] < 0.865
    assert model.metrics["held_out_auc"] > 0.8


def test_a_customer_never_meets_a_model_that_saw_them(table):
    """Flip the labels of one fold: its own out-of-fold risks must not move, all the others' must."""
    flipped = np.where(table.fold == 2, 1 - table.y, table.y)
    before = RiskModel.fit(table, SMALL).risk_of(table.ids)
    after = RiskModel.fit(relabelled(table, flipped), SMALL).risk_of(table.ids)
    np.testing.assert_array_equal(before[table.fold == 2], after[table.fold == 2])
    assert (before[table.fold != 2] != after[table.fold != 2]).mean() > 0.99


def test_held_out_customers_change_nothing(table):
    flipped = np.where(table.held_out, 1 - table.y, table.y)
    before, after = RiskModel.fit(table, SMALL), RiskModel.fit(relabelled(table, flipped), SMALL)
    np.testing.assert_array_equal(before.risk_of(table.ids), after.risk_of(table.ids))


def test_out_of_fold_risks_of_held_out_customers_are_the_final_models(model, table):
    held_out = table.where(table.held_out)
    np.testing.assert_allclose(model.risk_of(held_out.ids), model.predict(held_out.X), rtol=1e-12)


def test_the_same_seed_gives_the_same_bytes(table, tmp_path):
    few = table.where(np.arange(len(table)) < 800)
    first, second = (
        stage("risk_model", RiskModel.fit(few, SMALL), RISK_MODEL, tmp_path / f"{n}") for n in "ab"
    )
    assert first.digest == second.digest


def test_a_row_gets_the_same_bits_alone_and_in_any_company(model, table):
    together = model.predict(table.X)
    alone = np.concatenate([model.predict(row[None]) for row in table.X[:700]])
    np.testing.assert_array_equal(alone, together[:700])
    np.testing.assert_array_equal(model.predict(table.X[5:]), together[5:])
    assert model.predict(table.X[:0]).shape == (0,)


def test_a_category_that_is_not_in_the_schema_is_a_blank(model, table):
    for feature in [i for i, each in enumerate(table.schema.features) if each.kind == "categorical"]:
        X, unknown = table.X[:50].copy(), table.X[:50].copy()
        X[:, feature] = np.nan
        for code in (len(table.schema.features[feature].categories), 1e9, -1.0):
            unknown[:, feature] = code
            np.testing.assert_array_equal(model.predict(unknown), model.predict(X))


@pytest.mark.parametrize("kind", ["logit_mean", "spline_logistic", "boosting"])
def test_the_arrays_answer_as_scikit_learn_also_far_outside_the_table(table, kind):
    """Cubic splines once answered 1e-9 otherwise at a million: rounding that was cut off grew again."""
    few, config = table.where(np.arange(len(table)) < 800), RiskModelConfig(kind=kind)
    estimator = RiskEstimator.fit(few.X, few.y, few.schema, config, seed=1)
    predictor = estimator.converted(few.X, few.schema)
    assert predictor.kind == kind
    far = table.X.copy()
    far[:, [i for i, each in enumerate(table.schema.features) if each.kind == "numeric"]] *= 1e6
    for X in (table.X, far):
        np.testing.assert_allclose(predictor.predict(X), estimator.predict(X), rtol=0, atol=1e-13)


@pytest.mark.parametrize("part", ["boosting", "spline_logistic"])
def test_arrays_that_answer_otherwise_than_the_fitted_model_are_no_model(table, monkeypatch, part):
    few = table.where(np.arange(len(table)) < 800)
    estimator = RiskEstimator.fit(few.X, few.y, few.schema, RiskModelConfig(kind=part), seed=1)
    build = {"boosting": Forest.build, "spline_logistic": Curves.build}[part]

    def perturbed(*arguments):
        built = build(*arguments)
        if part == "boosting":
            built.values[3, 0] += 1e-9
        else:
            built.coefficients[0, 7] += 1e-9
        return built

    monkeypatch.setattr(Forest if part == "boosting" else Curves, "build", perturbed)
    with pytest.raises(ConversionError, match=rf"risk_model, {part}: the arrays answer .* the fitted model"):
        estimator.converted(few.X, few.schema)


def test_blanks_are_predicted(model, table):
    risk = model.predict(np.full((1, len(model.features)), np.nan))
    assert 0 < risk[0] < 1
    assert np.isfinite(model.predict(table.X[:1])).all()


def test_features_are_matched_by_name(model, table):
    shuffled = CustomerTable(table.frame[sorted(table.frame.columns)], table.schema)
    np.testing.assert_array_equal(model.predict_customers(shuffled), model.predict(table.X))


def test_a_wrong_matrix_is_an_error(model, table):
    with pytest.raises(
        ValueError, match=r"found a design matrix \(7043, 17\), expected columns \('gender', "
    ):
        model.predict(table.X[:, 1:])
    with pytest.raises(ValueError, match="'tenure': found an infinite value"):
        model.predict(
            np.where(np.arange(len(model.features)) == model.features.index("tenure"), np.inf, table.X[:1])
        )


def test_an_unknown_customer_has_no_out_of_fold_risk(model):
    with pytest.raises(KeyError, match="of 1 of 1 rows"):
        model.risk_of(np.array(["no-one"], dtype=object))


def test_one_label_alone_cannot_be_fitted(table):
    with pytest.raises(ValueError, match=r"found only label \[0\], expected both 0 and 1"):
        RiskEstimator.fit(table.X, np.zeros(len(table), dtype=np.int8), table.schema, SMALL, seed=1)


def test_a_table_without_tenure_categories_or_spread_can_be_fitted(tmp_path):
    rng = np.random.default_rng(0)
    left, flag = (rng.random((2, 400)) < 0.3).astype(int)
    gaps = np.where(np.arange(400) % 3, np.nan, np.arange(400))
    columns = {"left": left, "fee": rng.uniform(5, 50, 400), "flag": flag, "constant": 1, "gaps": gaps}
    pd.DataFrame(columns).to_csv(tmp_path / "t.csv", index_label="id")
    config = CustomersConfig(
        source="t.csv",
        id="id",
        label={"column": "left", "positive": 1, "window_months": 1},
        monthly_revenue="fee",
    )
    table = read_customers(config, seed=1, root=tmp_path)
    risk = RiskModel.fit(table, SMALL).predict(table.X)
    assert ((risk > 0) & (risk < 1)).all()


def test_a_saved_model_predicts_bit_for_bit_the_same(model, table, tmp_path):
    stage("risk_model", model, RISK_MODEL, tmp_path / "saved")
    loaded = RISK_MODEL.load(tmp_path / "saved")
    np.testing.assert_array_equal(loaded.predict(table.X), model.predict(table.X))
    np.testing.assert_array_equal(loaded.risk_of(table.ids), model.risk_of(table.ids))
    assert loaded.schema == model.schema
    assert loaded.metrics == dict(model.metrics)


@pytest.mark.parametrize("kind", ["spline_logistic", "boosting"])
def test_either_kind_alone_can_be_saved(table, kind, tmp_path):
    few = table.where(np.arange(len(table)) < 800)
    single = RiskModel.fit(few, RiskModelConfig(kind=kind))
    stage("risk_model", single, RISK_MODEL, tmp_path / "saved")
    np.testing.assert_array_equal(RISK_MODEL.load(tmp_path / "saved").predict(few.X), single.predict(few.X))


def test_golden_rows_cover_every_category_the_extremes_and_a_blank(model):
    golden = RISK_MODEL.golden(model)
    inputs = np.array(golden.inputs, dtype=float)
    assert np.isnan(inputs[-1]).all()
    for column, feature in zip(inputs[:-1].T, model.schema.features, strict=True):
        if feature.kind == "categorical":
            assert set(column) == set(range(len(feature.categories)))
        else:
            assert {feature.minimum, feature.maximum} <= set(column)


def change_json(path, **changes):
    write_json(read_json(path) | changes, path)


@pytest.mark.parametrize(
    "tamper",
    [
        lambda folder: change_json(folder / DESCRIPTION, kind="boosting"),
        lambda folder: change_json(folder / DESCRIPTION, kind="forest"),
        lambda folder: change_json(folder / DESCRIPTION, extra=1),
        lambda folder: write_parquet(
            read_parquet(folder / OUT_OF_FOLD).assign(risk=1.5), folder / OUT_OF_FOLD
        ),
        lambda folder: write_parquet(
            read_parquet(folder / OUT_OF_FOLD).assign(customer_id="one"), folder / OUT_OF_FOLD
        ),
        lambda folder: write_parquet(
            read_parquet(folder / OUT_OF_FOLD).rename(columns={"risk": "p"}), folder / OUT_OF_FOLD
        ),
        lambda folder: (folder / TENSORS).write_bytes(b"PK\x05\x06" + b"\0" * 18),
    ],
)
def test_files_that_do_not_fit_together_are_refused(model, tmp_path, tamper):
    stage("risk_model", model, RISK_MODEL, tmp_path / "saved")
    tamper(tmp_path / "saved")
    with pytest.raises(ContentError):
        RISK_MODEL.load(tmp_path / "saved")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("grid.edges", lambda array: array[::-1].copy()),
        ("grid.counts", lambda array: array + 1),
        ("grid.levels", lambda array: array * 0),
        ("boosting.reachable", lambda array: array[:-1]),
        ("boosting.reachable", lambda array: array * 0),
        ("boosting.reachable", lambda array: array | 1),
        ("boosting.reachable", lambda array: array | 128),
        ("boosting.values", lambda array: array.astype(np.float32)),
        ("boosting.baseline", lambda array: array * np.nan),
        ("spline.intercept", lambda array: np.zeros(2)),
        ("spline.coefficients", lambda array: array[:, :-1]),
    ],
)
def test_a_tampered_array_is_refused_by_name(model, tmp_path, name, change):
    stage("risk_model", model, RISK_MODEL, tmp_path / "saved")
    path = tmp_path / "saved" / TENSORS
    arrays = read_tensors(path)
    write_tensors(arrays | {name: change(arrays[name])}, path)
    with pytest.raises(CorruptArtifact, match=rf"{TENSORS}: found {name.split('.')[0]}\."):
        RISK_MODEL.load(tmp_path / "saved")


def test_an_array_that_no_part_reads_is_refused(model, tmp_path):
    stage("risk_model", model, RISK_MODEL, tmp_path / "saved")
    path = tmp_path / "saved" / TENSORS
    write_tensors(read_tensors(path) | {"more": np.zeros(1)}, path)
    with pytest.raises(CorruptArtifact, match="more"):
        RISK_MODEL.load(tmp_path / "saved")

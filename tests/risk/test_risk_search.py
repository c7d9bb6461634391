"""The model that suits a table is found in bounded time, told, and knows nothing of the customers it is asked about."""

import numpy as np
import pytest

from benchmarks.foreign import FOREIGN, foreign
from churn_assets.gates.metrics import brier
from churn_assets.risk import search
from churn_assets.risk.config import RiskModelConfig
from churn_assets.risk.estimators import RiskEstimator
from churn_assets.risk.model import RiskModel
from churn_assets.risk.search import Search, fit_chosen, sample

CONFIG = RiskModelConfig()
CONFIGURED = RiskModelConfig(kind="logit_mean")
GRID = [
    {"max_leaf_nodes": leaves, "learning_rate": 0.1, "min_samples_leaf": 20, "max_features": 1.0, "max_iter": trees}
    for leaves in (6, 16, 64)
    for trees in (150,)
]  # fmt: skip


def scored(name: str, config: RiskModelConfig, rows: int = 2_000) -> float:
    """Brier score on customers of the same truth, who were in no fit."""
    table, others = foreign(name, rows, seed=1), foreign(name, 10_000, seed=2)
    estimator = fit_chosen(table.X, table.y, table.schema, config, seed=0)
    return brier(others.y, estimator.predict(others.X))


@pytest.mark.parametrize("name", ["boxes", "tree"])
def test_a_table_unlike_telco_gets_another_model_within_a_twentieth_of_the_best_of_a_grid(name):
    boosted = [scored(name, RiskModelConfig(kind="boosting", boosting=each)) for each in GRID]
    found, configured = scored(name, CONFIG), scored(name, CONFIGURED)
    assert found <= 1.05 * min(boosted)
    assert found <= 0.8 * configured


@pytest.mark.parametrize("name", FOREIGN)
def test_the_choice_is_never_worse_than_the_configured_model_by_more_than_noise(name):
    assert scored(name, CONFIG, rows=800) <= 1.01 * scored(name, CONFIGURED, rows=800)


def test_telco_keeps_the_sizes_that_were_tuned_on_it(table, experiment):
    """So that the quickstart, whose own kind this is, fits the bytes that it fitted before."""
    rows, config = ~table.held_out, experiment.risk_model
    assert config.kind == "best_by_nested_cv"
    group = table.fold[rows] % config.nested_folds
    found = Search.run(table.X[rows], table.y[rows], group, table.schema, config, seed=experiment.seed)
    assert found.best() == config.model_copy(update={"kind": "logit_mean"})


def searched(table, **config) -> Search:
    section = RiskModelConfig(**config)
    group = np.arange(len(table)) % section.nested_folds
    return Search.run(table.X, table.y, group, table.schema, section, seed=0)


def test_a_choice_without_a_group_knows_nothing_of_its_labels():
    """Whoever is left out of a cross-fit had no part in choosing its model either."""
    table = foreign("tree", 1_200, seed=3)
    group = np.arange(len(table)) % CONFIG.nested_folds
    flipped = np.where(group == 1, 1 - table.y, table.y)
    before, after = (Search.run(table.X, y, group, table.schema, CONFIG, seed=0) for y in (table.y, flipped))
    for first, second in zip(before.splines + before.boostings, after.splines + after.boostings, strict=True):
        np.testing.assert_array_equal(first.logits[1], second.logits[1])
    assert before.best(without=1) == after.best(without=1)
    assert before.best(without=0) != after.best(without=0)


def test_a_customers_own_label_is_in_neither_choice_nor_fit():
    table = foreign("tree", 1_200, seed=3)
    other = foreign("tree", 1_200, seed=3)
    other.frame["churned"] = np.where(table.fold == 2, 1 - table.y, table.y).astype(np.int8)
    before, after = (RiskModel.fit(each, CONFIG).risk_of(table.ids) for each in (table, other))
    np.testing.assert_array_equal(before[table.fold == 2], after[table.fold == 2])
    assert (before[table.fold != 2] != after[table.fold != 2]).mean() > 0.9


def test_a_table_of_fewer_folds_than_groups_chooses_inside_every_cross_fit():
    table = foreign("interactions", 1_200, seed=4, folds={"count": 3, "held_out": 1})
    other = foreign("interactions", 1_200, seed=4, folds={"count": 3, "held_out": 1})
    other.frame["churned"] = np.where(table.fold == 1, 1 - table.y, table.y).astype(np.int8)
    first, second = (RiskModel.fit(each, CONFIG) for each in (table, other))
    np.testing.assert_array_equal(
        first.risk_of(table.ids)[table.fold == 1], second.risk_of(table.ids)[table.fold == 1]
    )


def test_the_same_seed_gives_the_same_choice_and_only_so_many_customers_are_compared(monkeypatch):
    monkeypatch.setattr(search, "SEARCHED_ROWS", 1_000)
    table = foreign("tree", 3_000, seed=5)
    first, second = searched(table), searched(table)
    assert len(first.y) == 1_000
    assert first.figures() == second.figures()
    assert first.best() == second.best()


def test_choice_and_scores_are_told_with_the_model():
    model = RiskModel.fit(foreign("boxes", 1_500, seed=6), CONFIG)
    assert model.metrics["chosen boosting.learning_rate"] == 0.1
    losses = {name: loss for name, loss in model.metrics.items() if name.startswith("log loss of ")}
    assert {name.split(" of ", 1)[1].split(",")[0] for name in losses} >= {"splines", "150 trees of 6 leaves"}
    assert len(losses) == len(search.PENALTIES) + 1 + len(search.SIZES)
    assert all(name.replace("log loss", "Brier score") in model.metrics for name in losses)


def test_a_large_table_is_fitted_on_a_sample_and_cross_fitted_in_a_few_batches(monkeypatch):
    fits = []
    fit = RiskEstimator.fit.__func__

    def counted(cls, X, *rest, **named):
        fits.append(len(X))
        return fit(cls, X, *rest, **named)

    monkeypatch.setattr(RiskEstimator, "fit", classmethod(counted))
    table = foreign("sum", 4_000, seed=7)
    config = RiskModelConfig(kind="spline_logistic", fit_rows=1_000)
    RiskModel.fit(table, config)
    assert fits == [1_000] * (1 + config.nested_folds)


def test_a_sample_is_drawn_by_the_seed_and_in_order():
    assert sample(5, 10, 0).tolist() == [0, 1, 2, 3, 4]
    drawn = sample(1_000, 10, 0)
    assert (np.diff(drawn) > 0).all()
    assert drawn.tolist() == sample(1_000, 10, 0).tolist() != sample(1_000, 10, 1).tolist()

"""Fitting the acceptance with scikit-learn, and its arrays. Knows design matrices, arms and no folds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

from churn_assets.arms import Menu
from churn_assets.customers.schema import CustomerSchema
from churn_assets.predictors.conversion import boosting_forest, cuts
from churn_assets.predictors.fitted import boosting_trees
from churn_assets.predictors.forest import Forest
from churn_assets.predictors.grid import Grid, edges_of
from churn_assets.response.config import AcceptModelConfig
from churn_assets.response.predictor import NEVER, AcceptPredictor

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def classifier_inputs(X: Floats, recent: Floats, arm: Ints, menu: Menu) -> Floats:
    """What the classifier reads: customer features, recent offers, family where there are several, and size.

    Args:
        X: (n, F) customer features.
        recent: (n,) recent offers.
        arm: (n,) index into `menu`, above 0.
        menu: The arms of the log.
    """
    family = [menu.family[arm].astype(np.float64)] if len(menu.families) > 1 else []
    return np.column_stack([X, recent, *family, menu.size[arm]])


def new_classifier(
    schema: CustomerSchema, menu: Menu, config: AcceptModelConfig
) -> HistGradientBoostingClassifier:
    """Unfitted: rises in the size, falls in recent offers."""
    categorical = [spec.kind == "categorical" for spec in schema.features]
    families = [True] if len(menu.families) > 1 else []
    return HistGradientBoostingClassifier(
        learning_rate=config.learning_rate,
        max_iter=config.max_iter,
        max_leaf_nodes=config.max_leaf_nodes,
        min_samples_leaf=config.min_samples_leaf,
        l2_regularization=config.l2_regularization,
        categorical_features=[*categorical, False, *families, False],
        monotonic_cst=[0] * len(categorical) + [-1] + [0] * len(families) + [1],
        early_stopping=False,
        random_state=schema.folds.seed,
    )


def nobody(schema: CustomerSchema, menu: Menu) -> AcceptPredictor:
    """Nobody accepts anything: of a log in which nothing was there to accept."""
    families = [len(menu.families)] if len(menu.families) > 1 else []
    levels = (*(len(feature.categories) for feature in schema.features), 0, *families, 0)
    grid = Grid(edges_of([np.empty(0)] * len(levels)), levels)
    return AcceptPredictor(grid, Forest.build([[0.0]], NEVER, grid), menu)


def converted(
    classifier: HistGradientBoostingClassifier, inputs: Floats, schema: CustomerSchema, menu: Menu
) -> AcceptPredictor:
    """The same acceptance as plain arrays.

    Args:
        classifier: Fitted.
        inputs: (n, columns) rows on which the arrays are compared with it, beside made-up ones.
        schema: The customer features.
        menu: The arms of the log.

    Raises:
        ConversionError: They differ by more than rounding.
    """
    families = [len(menu.families)] if len(menu.families) > 1 else []
    levels = (*(len(feature.categories) for feature in schema.features), 0, *families, 0)
    trees = boosting_trees(classifier, max(levels))
    grid = Grid(edges_of(cuts(trees, len(levels))), levels)
    return AcceptPredictor(grid, boosting_forest(classifier, trees, grid, inputs, "accept_model"), menu)

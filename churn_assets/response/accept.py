"""`AcceptModel`: P(accept | customer, offer, recent offers). Fits and predicts; gates live beside."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

from churn_assets.customers.schema import CustomerSchema
from churn_assets.customers.table import CustomerTable
from churn_assets.offers.log import OfferLog
from churn_assets.response.config import AcceptModelConfig

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class AcceptModel:
    """P(accept | customer, offer, recent offers), increasing in the offer and decreasing in recent offers.

    Attributes:
        schema: The customer features, in the order of the columns that `predict` takes.
        arms: The offers of the log it was trained on, as fractions of the monthly price, ascending; arms[0]
            is 0.
        classifier: Fitted on the customer features followed by recent offers and the offer.
        out_of_fold: (rows, arms) float32, the acceptance of every arm on each row of the log it was trained
            on. A row of a customer seen in training is predicted by a refit without that customer.
    """

    schema: CustomerSchema
    arms: tuple[float, ...]
    classifier: Any
    out_of_fold: NDArray[np.float32]

    @classmethod
    def fit(cls, table: CustomerTable, log: OfferLog, config: AcceptModelConfig) -> AcceptModel:
        """Fits on the contacted rows of customers that are not held out.

        Args:
            table: The customers; every customer of the log is in it.
            log: Past offers.
            config: The hyperparameters.
        """
        customer = log.positions(table.ids)
        features, recent = table.X[customer], log.prior_offers.astype(np.float64)
        group = cross_fit_groups(table, customer, config.cross_fits)
        contacted = log.arm > 0

        def fitted(rows: NDArray[np.bool_]) -> HistGradientBoostingClassifier:
            inputs = _inputs(features[rows], log.offer_pct[rows], recent[rows])
            return _classifier(table.schema, config).fit(inputs, log.accepted[rows])

        final = cls(table.schema, log.arms, fitted(contacted & (group >= 0)), np.zeros((0, 0), np.float32))
        out_of_fold = np.zeros((len(customer), len(log.arms)))
        for left_out in range(-1, config.cross_fits):
            rows = group == left_out
            if not rows.any():
                continue
            training = contacted & (group >= 0) & ~rows
            model = final if left_out < 0 else replace(final, classifier=fitted(training))
            out_of_fold[rows] = model.predict_arms(features[rows], recent[rows], log.arms)
        return replace(final, out_of_fold=out_of_fold.astype(np.float32))

    def predict(self, X: Floats, offer_pct: Floats, recent_offers: Floats) -> Floats:
        """P(accept) for one offer a row; exactly 0 where nothing is offered.

        Args:
            X: (n, F) customer features, columns in the order of `schema`.
            offer_pct: (n,) fraction of the monthly price, 0 to 1.
            recent_offers: (n,) offers received in the last 90 days, at least 0.

        Returns:
            (n,) probabilities.

        Raises:
            ValueError: X has another number of columns than the schema.
        """
        if X.shape[1] != len(self.schema.names):
            raise ValueError(f"accept_model: found {X.shape[1]} features, expected {len(self.schema.names)}")
        offer_pct = np.asarray(offer_pct, np.float64)
        accepted = np.zeros(len(X))
        offered = offer_pct > 0
        if offered.any():
            recent = np.asarray(recent_offers, np.float64)[offered]
            inputs = _inputs(X[offered], offer_pct[offered], recent)
            accepted[offered] = self.classifier.predict_proba(inputs)[:, 1]
        return accepted

    def predict_arms(self, X: Floats, recent_offers: Floats, arms: tuple[float, ...]) -> Floats:
        """P(accept) of every arm for every row: (n, len(arms)); one batched prediction an arm."""
        return np.column_stack([self.predict(X, np.full(len(X), arm), recent_offers) for arm in arms])


def cross_fit_groups(table: CustomerTable, customer: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """(n,) cross-fit group of each row by its customer's fold: 0 to count-1; -1 where held out."""
    return np.where(table.held_out[customer], -1, table.fold[customer].astype(np.int64) % count)


def _inputs(X: Floats, offer_pct: Floats, recent_offers: Floats) -> Floats:
    return np.column_stack([X, recent_offers, offer_pct])


def _classifier(schema: CustomerSchema, config: AcceptModelConfig) -> HistGradientBoostingClassifier:
    categorical = [spec.kind == "categorical" for spec in schema.features]
    return HistGradientBoostingClassifier(
        learning_rate=config.learning_rate,
        max_iter=config.max_iter,
        max_leaf_nodes=config.max_leaf_nodes,
        min_samples_leaf=config.min_samples_leaf,
        l2_regularization=config.l2_regularization,
        categorical_features=[*categorical, False, False],
        monotonic_cst=[0] * len(categorical) + [-1, 1],
        early_stopping=False,
        random_state=schema.folds.seed,
    )

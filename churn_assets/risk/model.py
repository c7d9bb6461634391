"""The risk model: fitted and cross-fitted on a customer table. What it must prove stands in gates.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn_assets.customers.features import design_matrix
from churn_assets.customers.panel import is_newest, later_windows, row_keys
from churn_assets.customers.schema import ID, ROW_DATE, CustomerSchema
from churn_assets.customers.table import CustomerTable
from churn_assets.gates.metrics import auc, brier, log_losses
from churn_assets.predictors.probability import logistic, logit
from churn_assets.risk.config import RiskModelConfig
from churn_assets.risk.predictor import RiskPredictor

Floats = NDArray[np.float64]

COMPARED_ROWS = 10_000
"""Customers on whom the arrays of a fit are compared with scikit-learn, beside rows that reach every cell."""


@dataclass(frozen=True, eq=False)
class RiskModel:
    """P(churn within the label window), without contact, at the list price.

    Attributes:
        schema: The customers it reads.
        predictor: Fitted on every customer that is not held out; plain arrays.
        out_of_fold: `customer_id` and `risk` of every customer of its table, by an estimator that never saw
            them: the final one for held-out customers, one fitted without their batch of folds for others. The
            only risk that may be a feature of another model. Of a panel, of every row, with its `row_date`.
        metrics: `out_of_fold_*` over the customers fitted on, `held_out_*` over the others and, of a panel,
            `out_of_time_*`: auc, brier, log_loss. What was chosen, and what every candidate scored, where a kind was
            chosen.
        out_of_time: Of a panel that is long enough, `customer_id`, `row_date` and `risk` of the rows of its last label
            window, by an estimator of the same section fitted on rows whose windows were over before. None otherwise.
    """

    schema: CustomerSchema
    predictor: RiskPredictor
    out_of_fold: pd.DataFrame
    metrics: Mapping[str, float]
    out_of_time: pd.DataFrame | None = None

    @classmethod
    def fit(cls, table: CustomerTable, config: RiskModelConfig) -> Self:
        """Fits the model, and once more without each batch of folds for the out-of-fold risks.

        Args:
            table: Labelled customers, or a panel: fitted on its labelled rows.
            config: The `risk_model:` section.

        Raises:
            ValueError: Only one label among the customers to fit on, `monotone` names no numeric feature, or
                `known_before` no feature.
            ConversionError: The arrays of a fit answer otherwise than scikit-learn.
        """
        from churn_assets.risk.search import choose, fit_chosen, sample  # predicting needs no scikit-learn

        if strange := set(config.gates.known_before) - set(table.schema.names):
            raise ValueError(
                f"risk_model.gates.known_before: found {sorted(strange)}, expected some of {list(table.schema.names)}"
            )
        rows, seed = table.rows, table.schema.folds.seed
        X, held_out, learned = rows.X, rows.held_out, rows.is_labelled & ~rows.held_out
        y = np.zeros(len(rows), np.int8)
        y[rows.is_labelled] = rows.labelled.y
        customer = np.unique(rows.ids, return_inverse=True)[1]
        batch = _batches(rows, learned, config)
        choice = choose(
            X[learned],
            y[learned],
            batch[learned],
            table.schema,
            config,
            customer=customer[learned],
            seed=seed,
        )

        def fitted_on(mask: NDArray[np.bool_], without: int | None) -> RiskPredictor:
            drawn = np.flatnonzero(mask)[sample(int(mask.sum()), config.fit_rows, seed)]
            section, parts = choice.of(without), (X[drawn], y[drawn])
            estimator = fit_chosen(*parts, table.schema, section, customer=customer[drawn], seed=seed)
            return estimator.converted(X[drawn[:COMPARED_ROWS]], table.schema)

        final = fitted_on(learned, None)
        risk = np.empty(len(rows))
        risk[held_out] = final.predict(X[held_out])
        for left_out in np.unique(batch[~held_out]):
            inside = ~held_out & (batch == left_out)
            risk[inside] = fitted_on(learned & ~inside, int(left_out)).predict(X[inside])
        scored, keys = rows.is_labelled, rows.frame[row_keys(rows.frame).names]
        out_of_fold = keys.assign(risk=risk)
        metrics = _metrics("out_of_fold", y[learned], risk[learned])
        metrics |= _metrics("held_out", y[held_out & scored], risk[held_out & scored])
        out_of_time = None
        if table.history is not None:
            later, before = later_windows(rows.days, scored, table.schema.label_window_months)
            if len(np.unique(y[before & learned])) == 2:
                foreseen = fitted_on(before & learned, None).predict(X[later])
                out_of_time = keys[later].reset_index(drop=True).assign(risk=foreseen)
                metrics |= _metrics("out_of_time", y[later], foreseen)
        return cls(table.schema, final, out_of_fold, metrics | choice.figures(), out_of_time)

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the columns of the design matrix that `predict` reads, in order."""
        return self.schema.names

    def predict(self, X: Floats) -> Floats:
        """Returns the risk of each row, (n,) float64 in (0, 1).

        Args:
            X: (n, F) design matrix of `schema`: columns in the order of `features`, NaN for a blank; a category
                that is not in the schema is one too.

        Raises:
            ValueError: Another number of columns, or an infinite value.
        """
        if X.ndim != 2 or X.shape[1] != len(self.features):
            raise ValueError(f"risk_model: found a design matrix {X.shape}, expected columns {self.features}")
        if np.isinf(X).any():
            column = int(np.flatnonzero(np.isinf(X).any(axis=0))[0])
            raise ValueError(f"risk_model: feature {self.features[column]!r}: found an infinite value")
        return self.predictor.predict(X)

    def predict_customers(self, table: CustomerTable) -> Floats:
        """Returns the risk of each customer of a table that has the features, matched by name, (n,)."""
        return self.predict(design_matrix(table.frame, self.schema))

    def risk_of(self, ids: NDArray[np.object_]) -> Floats:
        """Returns the out-of-fold risk of each of these customers, of a panel by the newest row, (n,).

        Raises:
            KeyError: An unknown customer.
        """
        known = self.out_of_fold
        if ROW_DATE in known:
            known = known[is_newest(known[ID], pd.DatetimeIndex(known[ROW_DATE]))]
            known = known.drop(columns=ROW_DATE)
        return _found(known, pd.Index(ids))

    def risk_of_rows(self, rows: CustomerTable) -> Floats:
        """Returns the out-of-fold risk of rows of its own table, (n,); KeyError for an unknown one.

        Where their features are an offer log's own, it is moved as the model moves it from the table's to these.
        """
        found = _found(self.out_of_fold, row_keys(rows.frame))
        if rows.stored is None:
            return found
        then, now = (logit(self.predict_customers(each), LEAST) for each in (rows, rows.stored))
        return logistic(logit(found, LEAST) + then - now)


LEAST = 1e-6
"""Of a risk whose logit is taken."""


def _found(known: pd.DataFrame, asked: pd.Index) -> Floats:
    place = row_keys(known).get_indexer(asked)
    if (place < 0).any():
        raise KeyError(f"risk_model: no out-of-fold risk of {int((place < 0).sum())} of {len(asked)} rows")
    return np.asarray(known["risk"].to_numpy()[place], dtype=np.float64)


def _batches(rows: CustomerTable, learned: NDArray[np.bool_], config: RiskModelConfig) -> NDArray[np.int64]:
    """(n,) which of the cross-fits leaves each customer out; anything for those held out.

    One for each fold, or a few where a few leave enough rows for a fit as large as any.
    """
    of_fold = np.cumsum(np.bincount(rows.fold[~rows.held_out], minlength=rows.fold.max() + 1) > 0) - 1
    batch: NDArray[np.int64] = of_fold[rows.fold]
    few = config.nested_folds
    return batch % few if learned.sum() * (few - 1) / few >= config.fit_rows else batch


def _metrics(prefix: str, y: NDArray[np.int8], risk: Floats) -> dict[str, float]:
    figures = {"auc": auc(y, risk), "brier": brier(y, risk), "log_loss": float(log_losses(y, risk).mean())}
    return {f"{prefix}_{name}": figure for name, figure in figures.items() if np.isfinite(figure)}

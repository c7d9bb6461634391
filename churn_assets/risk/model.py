"""The risk model: fitted and cross-fitted on a customer table. What it must prove stands in gates.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn_assets.customers.features import design_matrix
from churn_assets.customers.schema import ID, CustomerSchema
from churn_assets.customers.table import CustomerTable
from churn_assets.gates.metrics import auc, brier, log_losses
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
            only risk that may be a feature of another model.
        metrics: `out_of_fold_*` over the customers fitted on and `held_out_*` over the others: auc, brier,
            log_loss. What was chosen, and what every candidate scored, where a kind was chosen.
    """

    schema: CustomerSchema
    predictor: RiskPredictor
    out_of_fold: pd.DataFrame
    metrics: Mapping[str, float]

    @classmethod
    def fit(cls, table: CustomerTable, config: RiskModelConfig) -> Self:
        """Fits the model, and once more without each batch of folds for the out-of-fold risks.

        Args:
            table: Labelled customers.
            config: The `risk_model:` section.

        Raises:
            ValueError: Only one label among the customers to fit on, or `monotone` names no numeric feature.
            ConversionError: The arrays of a fit answer otherwise than scikit-learn.
        """
        from churn_assets.risk.search import choose, fit_chosen, sample  # predicting needs no scikit-learn

        X, y, held_out = table.X, table.y, table.held_out
        seed = table.schema.folds.seed
        batch = _batches(table, config)
        choice = choose(X[~held_out], y[~held_out], batch[~held_out], table.schema, config, seed=seed)

        def fitted_on(rows: NDArray[np.bool_], without: int | None) -> RiskPredictor:
            drawn = np.flatnonzero(rows)[sample(int(rows.sum()), config.fit_rows, seed)]
            estimator = fit_chosen(X[drawn], y[drawn], table.schema, choice.of(without), seed=seed)
            return estimator.converted(X[drawn[:COMPARED_ROWS]], table.schema)

        final = fitted_on(~held_out, None)
        risk = np.empty(len(table))
        risk[held_out] = final.predict(X[held_out])
        for left_out in np.unique(batch[~held_out]):
            rows = ~held_out & (batch == left_out)
            risk[rows] = fitted_on(~held_out & ~rows, int(left_out)).predict(X[rows])
        out_of_fold = pd.DataFrame({ID: table.ids, "risk": risk})
        metrics = _metrics("out_of_fold", y[~held_out], risk[~held_out])
        metrics |= _metrics("held_out", y[held_out], risk[held_out])
        metrics |= choice.figures()
        return cls(table.schema, final, out_of_fold, metrics)

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
        """Returns the out-of-fold risk of each of these customers, (n,); KeyError for an unknown one."""
        known = self.out_of_fold.set_index(ID)["risk"]
        unknown = [name for name in dict.fromkeys(ids) if name not in known.index]
        if unknown:
            raise KeyError(
                f"risk_model: no out-of-fold risk of customers {unknown[:3]} ({len(unknown)} in all)"
            )
        return np.asarray(known.loc[ids], dtype=np.float64)


def _batches(table: CustomerTable, config: RiskModelConfig) -> NDArray[np.int64]:
    """(n,) which of the cross-fits leaves each customer out; anything for those held out.

    One for each fold, or a few where a few leave enough customers for a fit as large as any.
    """
    of_fold = np.cumsum(np.bincount(table.fold[~table.held_out], minlength=table.fold.max() + 1) > 0) - 1
    batch: NDArray[np.int64] = of_fold[table.fold]
    fitted = int((~table.held_out).sum())
    few = config.nested_folds
    return batch % few if fitted * (few - 1) / few >= config.fit_rows else batch


def _metrics(prefix: str, y: NDArray[np.int8], risk: Floats) -> dict[str, float]:
    figures = {"auc": auc(y, risk), "brier": brier(y, risk), "log_loss": float(log_losses(y, risk).mean())}
    return {f"{prefix}_{name}": figure for name, figure in figures.items() if np.isfinite(figure)}

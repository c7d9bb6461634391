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


@dataclass(frozen=True, eq=False)
class RiskModel:
    """P(churn within the label window), without contact, at the list price.

    Attributes:
        schema: The customers it reads.
        predictor: Fitted on every customer that is not held out; plain arrays.
        out_of_fold: `customer_id` and `risk` of every customer of its table, by an estimator that never saw
            them: the final one for held-out customers, one fitted without their fold for others. The
            only risk that may be a feature of another model.
        metrics: `out_of_fold_*` over the customers fitted on and `held_out_*` over the others: auc, brier,
            log_loss.
    """

    schema: CustomerSchema
    predictor: RiskPredictor
    out_of_fold: pd.DataFrame
    metrics: Mapping[str, float]

    @classmethod
    def fit(cls, table: CustomerTable, config: RiskModelConfig) -> Self:
        """Fits the model, and once more without each fold for the out-of-fold risks.

        Args:
            table: Labelled customers.
            config: The `risk_model:` section.

        Raises:
            ValueError: Only one label among the customers to fit on, or `monotone` names no numeric feature.
            ConversionError: The arrays of a fit answer otherwise than scikit-learn.
        """
        from churn_assets.risk.estimators import RiskEstimator  # predicting needs no scikit-learn

        X, y, fold, held_out = table.X, table.y, table.fold, table.held_out
        seed = table.schema.folds.seed

        def fitted_on(rows: NDArray[np.bool_]) -> RiskPredictor:
            estimator = RiskEstimator.fit(X[rows], y[rows], table.schema, config, seed=seed)
            return estimator.converted(X[rows], table.schema)

        final = fitted_on(~held_out)
        risk = np.empty(len(table))
        risk[held_out] = final.predict(X[held_out])
        for left_out in np.unique(fold[~held_out]):
            rows = fold == left_out
            risk[rows] = fitted_on(~held_out & ~rows).predict(X[rows])
        out_of_fold = pd.DataFrame({ID: table.ids, "risk": risk})
        metrics = _metrics("out_of_fold", y[~held_out], risk[~held_out])
        metrics |= _metrics("held_out", y[held_out], risk[held_out])
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


def _metrics(prefix: str, y: NDArray[np.int8], risk: Floats) -> dict[str, float]:
    figures = {"auc": auc(y, risk), "brier": brier(y, risk), "log_loss": float(log_losses(y, risk).mean())}
    return {f"{prefix}_{name}": figure for name, figure in figures.items() if np.isfinite(figure)}

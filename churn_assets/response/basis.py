"""The columns of the effect model: main effects of every customer feature. No outcome is looked at here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from churn_assets.customers.schema import CustomerSchema

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class EffectBasis:
    """A fixed expansion of customer features and the risk logit into columns of comparable size.

    Columns: an intercept; the centred risk logit; of each numeric feature its standardised value, its hinges
        at the inner knots and one column a quantile bin; of each categorical feature one column a level.

    Attributes:
        names: The customer features, in the order of the columns of X.
        levels: Number of levels of each feature; 0 for a numeric one.
        knots: Inner quantile knots of each feature; empty for a categorical one.
        centre: Mean of each numeric feature (also used where a value is missing); 0 for a categorical one.
        scale: Standard deviation of each numeric feature; 1 for a categorical one.
        risk_centre: Mean of the risk logit.
    """

    names: tuple[str, ...]
    levels: tuple[int, ...]
    knots: tuple[tuple[float, ...], ...]
    centre: tuple[float, ...]
    scale: tuple[float, ...]
    risk_centre: float

    @classmethod
    def fit(cls, schema: CustomerSchema, X: Floats, risk_logit: Floats, knots: int) -> EffectBasis:
        """Reads knots, centres and scales off X (n, F); `knots` is the number of quantile bins."""
        inner: list[tuple[float, ...]] = []
        centre, scale, levels = [], [], []
        for column, spec in zip(X.T, schema.features, strict=True):
            numeric = spec.kind == "numeric"
            seen = column[~np.isnan(column)] if numeric else column
            quantiles = (
                np.quantile(seen, np.arange(1, knots) / knots) if numeric and len(seen) else np.array([])
            )
            inner.append(tuple(float(knot) for knot in np.unique(quantiles)))
            centre.append(float(seen.mean()) if numeric and len(seen) else 0.0)
            scale.append(float(seen.std()) or 1.0 if numeric and len(seen) else 1.0)
            levels.append(0 if numeric else len(spec.categories))
        return cls(
            tuple(schema.names),
            tuple(levels),
            tuple(inner),
            tuple(centre),
            tuple(scale),
            float(risk_logit.mean()),
        )

    def transform(self, X: Floats, risk_logit: Floats) -> Floats:
        """(n, F) features and (n,) risk logits -> (n, columns).

        Raises:
            ValueError: X has another number of columns than the features this basis was fitted on.
        """
        if X.shape[1] != len(self.names):
            raise ValueError(f"effect_model: found {X.shape[1]} features, expected {len(self.names)}")
        columns: list[Floats] = [np.ones((len(X), 1)), (risk_logit - self.risk_centre)[:, None]]
        for feature, count in enumerate(self.levels):
            if count:
                columns.append((X[:, feature, None] == np.arange(count)).astype(np.float64))
                continue
            knots = np.array(self.knots[feature])
            value = np.where(np.isnan(X[:, feature]), self.centre[feature], X[:, feature])
            standardised = (value - self.centre[feature]) / self.scale[feature]
            hinges = np.maximum(value[:, None] - knots, 0) / self.scale[feature]
            bins = np.searchsorted(knots, value, side="right")[:, None] == np.arange(len(knots) + 1)
            columns += [standardised[:, None], hinges, bins.astype(np.float64)]
        return np.concatenate(columns, axis=1)

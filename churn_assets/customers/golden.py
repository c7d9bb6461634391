"""Made-up customers on whom the models' golden rows are recorded. Nobody's data, whatever table was read."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from churn_assets.customers.schema import CustomerSchema


def golden_customers(schema: CustomerSchema) -> NDArray[np.float64]:
    """Rows of a design matrix that reach every category, the extremes and means of numbers, and all blanks.

    Returns:
        (n, F) float64 with n at least 5; the last row is blank (NaN) throughout.
    """
    rows = max(4, *(len(feature.categories) for feature in schema.features))
    X = np.full((rows + 1, len(schema.features)), np.nan)
    for position, feature in enumerate(schema.features):
        turn = np.arange(rows) + position
        if feature.kind == "categorical":
            X[:rows, position] = turn % len(feature.categories)
        else:
            X[:rows, position] = np.array([feature.minimum, feature.mean, feature.maximum])[turn % 3]
    return X

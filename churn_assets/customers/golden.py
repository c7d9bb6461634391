"""Made-up customers on whom the models' golden rows are recorded, and how such rows are stored. Nobody's data."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

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


def features_json(schema: CustomerSchema) -> list[JsonValue]:
    """The features in order, for a signature."""
    return [
        {"name": feature.name, "kind": feature.kind, "categories": list(feature.categories)}
        for feature in schema.features
    ]


def rows_json(values: NDArray[np.float64]) -> JsonValue:
    """Nested lists, null for NaN."""
    plain = values.astype(object)
    plain[np.isnan(values)] = None
    nested: JsonValue = plain.tolist()
    return nested

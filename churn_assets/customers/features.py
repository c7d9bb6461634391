"""The one feature function, shared by training, projection and serving. Reads validated frames only."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn_assets.customers.schema import CustomerSchema


def design_matrix(frame: pd.DataFrame, schema: CustomerSchema) -> NDArray[np.float64]:
    """Turns customers into numbers.

    Args:
        frame: Validated customers; holds at least the schema's features, in any order.
        schema: Which features, in which order, with which categories.

    Returns:
        (n, F) float64. Numbers as they are, categories as their position in the schema; a blank is NaN.

    Raises:
        ValueError: A feature is missing, or a category is not in the schema.
    """
    missing = [name for name in schema.names if name not in frame.columns]
    if missing:
        raise ValueError(f"features {missing} are missing; found columns {list(frame.columns)}")
    X = np.empty((len(frame), len(schema.features)), dtype=np.float64)
    for position, feature in enumerate(schema.features):
        column = frame[feature.name]
        if feature.kind == "numeric":
            X[:, position] = column.to_numpy(dtype=np.float64)
            continue
        codes = pd.Categorical(column, categories=list(feature.categories)).codes
        unseen = (codes < 0) & column.notna().to_numpy()
        if unseen.any():
            found, expected = column.to_numpy()[unseen][0], list(feature.categories)
            raise ValueError(f"feature {feature.name!r}: found {found!r}, expected one of {expected}")
        X[:, position] = np.where(codes < 0, np.nan, codes)
    return X


def aged(X: NDArray[np.float64], schema: CustomerSchema, months: float) -> NDArray[np.float64]:
    """Returns the same customers some months later, nothing else changed: tenure moves on, if there is one.

    Args:
        X: (n, F) design matrix.
        schema: Its schema.
        months: How much later.

    Returns:
        (n, F) float64, a copy.
    """
    later = X.copy()
    if schema.tenure_index is not None:
        later[:, schema.tenure_index] += months
    return later

"""Tables that are not Telco, drawn from known truths: interactions, steps, trees, sums, much or nothing to learn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from churn_assets.customers.schema import CHURNED, FOLD, ID, CustomerSchema, FeatureSpec
from churn_assets.customers.table import CustomerTable

Draw = tuple[np.ndarray, np.ndarray]
"""(n, F) features and (n,) logits."""


def _interactions(rng: np.random.Generator, n: int) -> Draw:
    X = rng.normal(size=(n, 10))
    z = 3.9 * np.sign(X[:, 0] * X[:, 1]) + 5.2 * (X[:, 2] > 0) * (X[:, 3] > 0.5) + 2 * X[:, 4] * (X[:, 5] > 0)
    return X, z - 3.6


def _boxes(rng: np.random.Generator, n: int) -> Draw:
    X = rng.uniform(size=(n, 8))
    one = (X[:, 0] > 0.6) & (X[:, 1] > 0.4) & (X[:, 2] < 0.5)
    return X, -5.5 + 10 * one + 9 * ((X[:, 3] < 0.12) & (X[:, 4] > 0.3))


def _tree(rng: np.random.Generator, n: int) -> Draw:
    counts, numbers = rng.integers(0, 30, size=(n, 6)), rng.normal(size=(n, 6))
    first = np.where(numbers[:, 0] > 0, 4.0, -4.0)
    second = (counts[:, 1] < 10) & (numbers[:, 1] > 0.3)
    third = np.where(counts[:, 2] % 2 == 0, -3.5, np.where(numbers[:, 2] > 1, 2.0, -3.0))
    X = np.column_stack([counts, numbers])
    return X, np.where(counts[:, 0] > 20, first, np.where(second, 3.0, third))


def _strong(rng: np.random.Generator, n: int) -> Draw:
    X = rng.normal(size=(n, 15))
    return X, 1.2 * X.sum(axis=1) - 2


def _sum(rng: np.random.Generator, n: int) -> Draw:
    X = rng.normal(size=(n, 10))
    return X, np.sin(2 * X[:, 0]) + X[:, 1] - 0.5 * X[:, 2] ** 2 + 0.7 * X[:, 3] - 1


def _weak(rng: np.random.Generator, n: int) -> Draw:
    X = rng.normal(size=(n, 10))
    return X, 0.4 * X[:, 0] - 0.3 * X[:, 1] - 1.5


FOREIGN: dict[str, Callable[..., Draw]] = {
    "interactions": _interactions,
    "boxes": _boxes,
    "tree": _tree,
    "strong": _strong,
    "sum": _sum,
    "weak": _weak,
}


def foreign(name: str, rows: int, seed: int, folds: dict[str, int] | None = None) -> CustomerTable:
    """A labelled table of one of these truths; its first column stands for the price."""
    rng = np.random.default_rng(seed)
    X, logits = FOREIGN[name](rng, rows)
    labels = (rng.random(rows) < 1 / (1 + np.exp(-logits))).astype(np.int8)
    return as_table(pd.DataFrame(X).add_prefix("f"), labels, folds)


def as_table(features: pd.DataFrame, y: np.ndarray, folds: dict[str, int] | None = None) -> CustomerTable:
    """A customer table of these numbers and labels."""
    specs = tuple(
        FeatureSpec(name=str(name), kind="numeric", minimum=float(column.min()), maximum=float(column.max()))
        for name, column in features.items()
    )
    schema = CustomerSchema(
        id="id",
        label={"column": "left", "positive": "1", "negative": "0"},
        features=specs,
        monthly_revenue=specs[0].name,
        tenure=None,
        label_window_months=1.0,
        folds={"seed": 1, **(folds or {"count": 10, "held_out": 2})},
    )
    ids = np.array([f"c{row}" for row in range(len(features))], dtype=object)
    frame = features.assign(**{ID: ids, CHURNED: y.astype(np.int8), FOLD: schema.fold_of(ids)})
    return CustomerTable(frame, schema)

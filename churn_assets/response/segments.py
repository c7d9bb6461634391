"""Customer segments in which the size of an effect is estimated: leaves of a small tree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from churn_assets.customers.schema import CustomerSchema
from churn_assets.predictors.forest import Branch, Tree

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Split:
    """A yes/no question on one feature: `value <= threshold`, or membership of one level for a category."""

    feature: int
    threshold: float | None
    level: int | None
    yes: int
    no: int


@dataclass(frozen=True)
class Segments:
    """A decision tree over raw customer features whose leaves are numbered 0 to count-1.

    Attributes:
        nodes: Node i is a `Split`, or the number of the segment that it is.
        fill: Value taken where a numeric feature is missing.
    """

    nodes: tuple[Split | int, ...]
    fill: tuple[float, ...]

    @classmethod
    def fit(
        cls, schema: CustomerSchema, X: Floats, target: Floats, *, most: int, least_rows: int
    ) -> Segments:
        """Groups rows of X (n, F) with similar target (n,): at most `most` groups of `least_rows` or more."""
        from sklearn.tree import DecisionTreeRegressor  # predicting needs no scikit-learn

        fill = [
            float(np.nanmean(column)) if spec.kind == "numeric" and not np.isnan(column).all() else 0.0
            for column, spec in zip(X.T, schema.features, strict=True)
        ]
        columns: list[Floats] = []
        meaning: list[tuple[int, int | None]] = []
        for feature, spec in enumerate(schema.features):
            if spec.kind == "numeric":
                columns.append(np.where(np.isnan(X[:, feature]), fill[feature], X[:, feature]))
                meaning.append((feature, None))
                continue
            for level in range(len(spec.categories)):
                columns.append((X[:, feature] == level).astype(np.float64))
                meaning.append((feature, level))
        least = min(least_rows, len(X))
        tree = DecisionTreeRegressor(
            max_leaf_nodes=most, min_samples_leaf=least, random_state=schema.folds.seed
        )
        fitted = tree.fit(np.column_stack(columns), target).tree_
        nodes: list[Split | int] = []
        leaves = 0
        for node in range(fitted.node_count):
            left, right = int(fitted.children_left[node]), int(fitted.children_right[node])
            if left < 0:
                nodes.append(leaves)
                leaves += 1
                continue
            feature, which = meaning[int(fitted.feature[node])]
            if which is None:
                nodes.append(Split(feature, float(fitted.threshold[node]), None, left, right))
            else:  # the indicator is at most one half where the customer has another level
                nodes.append(Split(feature, None, which, right, left))
        return cls(tuple(nodes), tuple(fill))

    @property
    def count(self) -> int:
        """Number of segments."""
        return sum(isinstance(node, int) for node in self.nodes)

    def assign(self, X: Floats) -> NDArray[np.int64]:
        """(n, F) features -> (n,) segment numbers."""
        segment = np.zeros(len(X), np.int64)
        pending: list[tuple[int, NDArray[np.int64]]] = [(0, np.arange(len(X)))]
        while pending:
            index, rows = pending.pop()
            node = self.nodes[index]
            if isinstance(node, int):
                segment[rows] = node
                continue
            value = X[rows, node.feature]
            if node.level is None:
                answer = np.where(np.isnan(value), self.fill[node.feature], value) <= node.threshold
            else:
                answer = value == node.level
            pending += [(node.yes, rows[answer]), (node.no, rows[~answer])]
        return segment

    def tree(self, values: Floats) -> Tree:
        """The segments as a tree whose leaves are their (S,) values."""

        def rule(split: Split) -> Branch:
            threshold, level, fill = split.threshold, split.level, self.fill[split.feature]

            def goes_left(x: Floats) -> NDArray[np.bool_]:
                return x == level if threshold is None else np.where(np.isnan(x), fill, x) <= threshold

            return Branch(split.feature, threshold, goes_left, split.yes, split.no)

        return [float(values[node]) if isinstance(node, int) else rule(node) for node in self.nodes]

    def describe(self, schema: CustomerSchema) -> list[str]:
        """One line a segment, e.g. `Contract is Month-to-month, tenure > 6.5`."""
        lines = [""] * self.count
        pending: list[tuple[int, tuple[str, ...]]] = [(0, ())]
        while pending:
            index, path = pending.pop()
            node = self.nodes[index]
            if isinstance(node, int):
                lines[node] = ", ".join(path) or "everyone"
                continue
            spec = schema.features[node.feature]
            if node.level is None:
                yes, no = f"{spec.name} <= {node.threshold:g}", f"{spec.name} > {node.threshold:g}"
            else:
                level = spec.categories[node.level]
                yes, no = f"{spec.name} is {level}", f"{spec.name} is not {level}"
            pending += [(node.yes, (*path, yes)), (node.no, (*path, no))]
        return lines

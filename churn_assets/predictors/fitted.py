"""Reads the rules of fitted scikit-learn models: trees of a boosting, splines of a pipeline. Fits nothing."""

# ruff: noqa: SLF001 - the rules of a fitted boosting are private attributes, and there is no other way to read them

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from churn_assets.predictors.forest import InnerNode, Tree
from churn_assets.predictors.grid import Bools, Floats


def boosting_trees(boosting: Any, categories: int = 0) -> list[Tree]:
    """The trees of a histogram gradient boosting, as rules about the columns that it was given.

    Args:
        boosting: Fitted.
        categories: Most categories of any column.
    """
    columns, codes = _columns(boosting), _own_codes(boosting, categories)
    return [
        [_rule(tree, node, columns, codes) for node in tree.nodes]
        for iteration in boosting._predictors
        for tree in iteration
    ]


def _columns(boosting: Any) -> list[int]:
    """Which given column each of its own is: categories come first behind its input step."""
    step = boosting._preprocessor
    if step is None:
        return list(range(boosting.n_features_in_))
    return [int(column) for _, _, chosen in step.transformers_ for column in np.flatnonzero(chosen)]


def _own_codes(boosting: Any, categories: int) -> Floats:
    """(categories + 1, columns) what its own columns hold for each given code and, last, for a blank."""
    given = np.append(np.arange(categories, dtype=np.float64), np.nan)
    probes = np.repeat(given[:, None], boosting.n_features_in_, axis=1)
    step = boosting._preprocessor
    return probes if step is None else np.asarray(step.transform(probes))


def _rule(tree: Any, node: Any, columns: list[int], codes: Floats) -> InnerNode | float:
    if node["is_leaf"]:
        return float(node["value"])
    own = int(node["feature_idx"])
    feature, blank = columns[own], bool(node["missing_go_to_left"])
    left, right = int(node["left"]), int(node["right"])
    if not node["is_categorical"]:
        edge = float(node["num_threshold"])
        # A rule that tells blanks from all numbers has no place between two of them.
        between = edge if np.isfinite(edge) else None
        return InnerNode(feature, between, lambda x: np.where(np.isnan(x), blank, x <= edge), left, right)
    words = tree.raw_left_cat_bitsets[int(node["bitset_idx"])]

    def goes_left(x: Floats) -> Bools:
        code = codes[np.where(np.isnan(x), len(codes) - 1, x).astype(np.int64), own]
        seen = ~np.isnan(code)  # a category that was not there in training is a blank
        place = np.where(seen, code, 0).astype(np.int64)
        return np.where(seen, (words[place // 32] >> (place % 32)) & 1 == 1, blank)

    return InnerNode(feature, None, goes_left, left, right)


def boosting_baseline(boosting: Any) -> float:
    return float(boosting._baseline_prediction[0, 0])


def spline_logit(pipeline: Any) -> Callable[[Floats], Floats]:
    """(n, F) -> (n, 1) logits of a pipeline."""
    return lambda X: np.asarray(pipeline.decision_function(X))[:, None]


def _columns_of_numbers(pipeline: Any) -> Iterator[tuple[int, Any, Any]]:
    """Number, fitted imputation and fitted spline (None where a line does) of every feature that is a number."""
    for _, basis, columns in pipeline.named_steps["columns"].transformers_:
        steps = getattr(basis, "named_steps", None)
        if steps is not None:
            yield columns[0], steps["blanks"], next(iter(getattr(steps["curve"], "bsplines_", ())), None)


def spline_knots(pipeline: Any) -> list[tuple[int, list[float]]]:
    """Where the curve of each number bends, or for a line any one place."""
    if pipeline is None:
        return []
    return [
        (feature, blanks.statistics_.tolist() if spline is None else np.unique(spline.t).tolist())
        for feature, blanks, spline in _columns_of_numbers(pipeline)
    ]


def spline_degree(pipeline: Any) -> int:
    """The highest degree among the curves of a pipeline."""
    return max((int(curve.k) for *_, curve in _columns_of_numbers(pipeline) if curve is not None), default=1)

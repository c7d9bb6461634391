"""Checks of the arrays that scikit-learn's and scipy's compiled code indexes by without looking."""

# ruff: noqa: SLF001 - those arrays are private attributes, and there is no other way to see them

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.interpolate import BSpline
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.ensemble._hist_gradient_boosting.common import PREDICTOR_RECORD_DTYPE
from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor

from churn_assets.store.errors import UntrustedContent

_BITSET_WORDS = 8  # 256 categories as bits of 32-bit words
_MAX_CATEGORY = 255


def check_compiled_arrays(model: object, file: str) -> None:
    """Refuse a model whose arrays would make prediction read or write outside its memory.

    Args:
        model: What was read, before anything is predicted with it.
        file: Name for messages.

    Raises:
        UntrustedContent: A tree whose children, features or category sets lie outside their arrays, or that
            belongs to no boosting model; a spline with too few coefficients or unordered knots.
    """
    boosting: list[Any] = []
    trees: list[TreePredictor] = []
    for part in _parts(model):
        if isinstance(part, HistGradientBoostingClassifier | HistGradientBoostingRegressor):
            boosting.append(part)
        elif isinstance(part, TreePredictor):
            trees.append(part)
        elif isinstance(part, BSpline):
            _check_spline(part, file)
    checked = {id(tree) for owner in boosting for tree in _check_boosting(owner, file)}
    if any(id(tree) not in checked for tree in trees):
        raise UntrustedContent(file, "a tree outside a boosting model", "trees that belong to one")


def _parts(model: object) -> Iterator[object]:
    """Everything reachable through attributes and containers, each object once."""
    seen: set[int] = set()
    pending: list[object] = [model]
    while pending:
        part = pending.pop()
        if id(part) in seen or isinstance(part, str | bytes | int | float | type(None)):
            continue
        seen.add(id(part))
        yield part
        if isinstance(part, dict):
            pending.extend(part.values())
        elif isinstance(part, list | tuple | set):
            pending.extend(part)
        elif isinstance(part, np.ndarray):
            pending.extend(part.ravel().tolist() if part.dtype == object else ())
        else:
            pending.extend(getattr(part, "__dict__", {}).values())


def _check_boosting(model: Any, file: str) -> list[TreePredictor]:
    """Check all trees of one boosting model and return them; none if it was never fitted."""
    if "_predictors" not in vars(model):
        return []
    features = model.n_features_in_
    categorical = _check_bins(model, features, file)
    trees = [tree for iteration in model._predictors for tree in iteration]
    for number, tree in enumerate(trees):
        fault = _tree_fault(tree, categorical)
        if fault:
            raise UntrustedContent(
                file, f"{fault} in tree {number}", "a tree whose indices stay inside its arrays"
            )
    return trees


def _check_bins(model: Any, features: Any, file: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which features are categorical, (F,) bool, once the binning agrees with the number of features."""
    expected = f"one entry for each of {features} features"
    bins = model._bin_mapper
    categorical = np.asarray(bins.is_categorical_)
    if type(features) is not int or features < 1 or categorical.shape != (features,):
        raise UntrustedContent(file, f"categorical mask of shape {categorical.shape}", expected)
    if len(bins.bin_thresholds_) != features:
        raise UntrustedContent(file, f"{len(bins.bin_thresholds_)} bin thresholds", expected)
    mask = categorical.astype(bool)
    for feature in np.flatnonzero(mask):
        codes = np.asarray(bins.bin_thresholds_[feature], dtype=float)
        if not np.all((codes >= 0) & (codes <= _MAX_CATEGORY)):
            raise UntrustedContent(
                file, f"category codes of feature {feature}", f"codes from 0 to {_MAX_CATEGORY}"
            )
    if model._preprocessor is not None:
        width = np.shape(model._preprocessor.transform(np.zeros((1, features))))[1]
        if width != features:
            raise UntrustedContent(file, f"an input step that yields {width} columns", str(features))
    return mask


def _tree_fault(tree: TreePredictor, categorical: np.ndarray[Any, np.dtype[np.bool_]]) -> str | None:
    nodes = tree.nodes
    if (
        not isinstance(nodes, np.ndarray)
        or nodes.dtype != PREDICTOR_RECORD_DTYPE
        or nodes.ndim != 1
        or not nodes.size
    ):
        return "no node array"
    bitsets = tree.raw_left_cat_bitsets
    if (
        not isinstance(bitsets, np.ndarray)
        or bitsets.dtype != np.uint32
        or bitsets.shape[1:] != (_BITSET_WORDS,)
    ):
        return "no category sets"
    here = np.flatnonzero(nodes["is_leaf"] == 0)
    inner = nodes[here]
    # A child lies behind its parent, so a walk from the root also ends.
    for side in ("left", "right"):
        child = inner[side].astype(np.int64)
        if np.any((child <= here) | (child >= nodes.size)):
            return f"a {side} child out of range"
    feature = inner["feature_idx"]
    if np.any((feature < 0) | (feature >= categorical.size)):
        return "a feature out of range"
    splits_by_set = inner["is_categorical"] != 0
    if np.any(splits_by_set & ~categorical[feature]):
        return "a category split on a numeric feature"
    if np.any(inner["bitset_idx"][splits_by_set] >= len(bitsets)):
        return "a category set out of range"
    return None


def _check_spline(spline: BSpline, file: str) -> None:
    knots, coefficients, degree = np.asarray(spline.t), np.asarray(spline.c), spline.k
    sound = (
        type(degree) is int
        and degree >= 0
        and knots.ndim == 1
        and knots.dtype == np.float64
        and coefficients.dtype == np.float64
        and coefficients.ndim >= 1
        and len(knots) >= 2 * (degree + 1)
        and len(coefficients) >= len(knots) - degree - 1
        and bool(np.all(np.isfinite(knots)))
        and bool(np.all(np.diff(knots) >= 0))
        and knots[degree] < knots[len(knots) - degree - 1]
    )
    if not sound:
        found = f"a spline with {knots.size} knots, degree {degree!r}, coefficients {coefficients.shape}"
        raise UntrustedContent(file, found, "ordered knots and one coefficient row per basis function")

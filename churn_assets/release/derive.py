"""Builds the derived forms from fitted models: reads the rules of trees, asks additive functions at probes."""

# ruff: noqa: SLF001 - the rules of a fitted boosting are private attributes, and there is no other way to read them

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from churn_assets.decision.process import Bools, Floats
from churn_assets.release.derived import (
    DIGEST_BYTES,
    Derived,
    EffectForm,
    Known,
    canonical,
    digest_of,
)
from churn_assets.release.forms import Branch, Curves, Forest, Grid, Tree, edges_of
from churn_assets.release.outlook import outlook_dtype

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from churn_assets.release.loaded import Models
    from churn_assets.response.basis import EffectBasis
    from churn_assets.response.segments import Segments


def derive(models: Models, X: Floats) -> Derived:
    """The derived forms of a release's models.

    Args:
        models: The reference models.
        X: (n, F) design matrix of the customers whose outlooks are tabled.

    Raises:
        ValueError: A tree has more leaves than its form can hold.
    """
    schema, effect, parts = models.schema, models.effect, models.risk.estimator.parts
    features, fitted = len(schema.features), effect.fitted
    boosting, spline, classifier = (
        parts.get("boosting"),
        parts.get("spline_logistic"),
        models.accept.classifier,
    )
    levels = tuple(len(feature.categories) for feature in schema.features)
    trees = [] if boosting is None else boosting_trees(boosting, max(levels))
    accept, segments = boosting_trees(classifier, max(levels)), _segment_tree(effect.segments, effect.size)
    edges: list[list[float]] = [[] for _ in range(features + 2)]
    for branch in (node for tree in (*trees, *accept, segments) for node in tree if isinstance(node, Branch)):
        edges[branch.feature] += [] if branch.edge is None else [branch.edge]
    for feature, knots in enumerate(fitted.basis.knots):
        # A value at a knot lies in the bin above it.
        edges[feature] += np.nextafter(knots, -np.inf).tolist()
    for feature, places in _spline_knots(spline):
        edges[feature] += places
    grid = Grid(edges_of(edges), (*levels, 0, 0))
    idle, accepted, refused, woken = effect.baseline.shifts, fitted.accepted, fitted.refused, fitted.woken
    coefficients = np.concatenate([idle, accepted, refused, woken])
    derived = Derived(
        schema=schema,
        policy=models.policy,
        grid=grid,
        boosting=None if boosting is None else Forest.build(trees, _baseline(boosting), grid),
        spline=None
        if spline is None
        else Curves.build(_spline_logit(spline), _degree(spline), features, grid),
        accept=Forest.build(accept, _baseline(classifier), grid),
        effect=EffectForm(
            curves=Curves.build(_shifts(fitted.basis, coefficients), 1, features, grid),
            slopes=coefficients[:, 1],
            centre=fitted.basis.risk_centre,
            counts=(len(idle), len(accepted), len(refused), len(woken)),
            baseline_size=effect.baseline.size,
            size=Forest.build([segments], 0.0, grid),
        ),
        known=Known(
            np.zeros((0, DIGEST_BYTES), np.uint8), np.zeros(0, outlook_dtype(models.policy.process, features))
        ),
    )
    return replace(derived, known=_known(derived, canonical(X)))


def _known(derived: Derived, X: Floats) -> Known:
    _, first = np.unique(X, axis=0, return_index=True)
    rows = X[np.sort(first)]
    digests = b"".join(digest_of(row.tobytes()) for row in rows)
    return Known(
        np.frombuffer(digests, np.uint8).reshape(-1, DIGEST_BYTES), derived.compute(rows, [0] * len(rows))
    )


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


def _rule(tree: Any, node: Any, columns: list[int], codes: Floats) -> Branch | float:
    if node["is_leaf"]:
        return float(node["value"])
    own = int(node["feature_idx"])
    feature, blank = columns[own], bool(node["missing_go_to_left"])
    left, right = int(node["left"]), int(node["right"])
    if not node["is_categorical"]:
        edge = float(node["num_threshold"])
        return Branch(feature, edge, lambda x: np.where(np.isnan(x), blank, x <= edge), left, right)
    words = tree.raw_left_cat_bitsets[int(node["bitset_idx"])]

    def goes_left(x: Floats) -> Bools:
        code = codes[np.where(np.isnan(x), len(codes) - 1, x).astype(np.int64), own]
        seen = ~np.isnan(code)  # a category that was not there in training is a blank
        place = np.where(seen, code, 0).astype(np.int64)
        return np.where(seen, (words[place // 32] >> (place % 32)) & 1 == 1, blank)

    return Branch(feature, None, goes_left, left, right)


def _baseline(boosting: Any) -> float:
    return float(boosting._baseline_prediction[0, 0])


def _segment_tree(segments: Segments, size: Floats) -> Tree:
    """The segments of the effect model as a tree whose leaves are their sizes."""

    def rule(feature: int, threshold: float | None, level: int | None, yes: int, no: int) -> Branch:
        if threshold is None:
            return Branch(feature, None, lambda x: x == level, yes, no)
        fill = segments.fill[feature]
        return Branch(feature, threshold, lambda x: np.where(np.isnan(x), fill, x) <= threshold, yes, no)

    return [float(size[node]) if isinstance(node, int) else rule(**vars(node)) for node in segments.nodes]


def _spline_logit(pipeline: Any) -> Callable[[Floats], Floats]:
    return lambda X: np.asarray(pipeline.decision_function(X))[:, None]


def _curves(pipeline: Any) -> Iterator[tuple[int, Any]]:
    """Number and fitted spline of every feature that has one."""
    for feature, (_, basis, _) in enumerate(pipeline.named_steps["columns"].transformers_):
        splines = getattr(getattr(basis, "named_steps", {}).get("curve"), "bsplines_", ())
        if splines:
            yield feature, splines[0]


def _spline_knots(pipeline: Any) -> list[tuple[int, list[float]]]:
    if pipeline is None:
        return []
    return [(feature, np.unique(spline.t).tolist()) for feature, spline in _curves(pipeline)]


def _degree(pipeline: Any) -> int:
    return max((int(spline.k) for _, spline in _curves(pipeline)), default=1)


def _shifts(basis: EffectBasis, coefficients: Floats) -> Callable[[Floats], Floats]:
    """Shifts of the logit at the centre of the risk, where its own logit adds nothing."""
    return lambda X: basis.transform(X, np.full(len(X), basis.risk_centre)) @ coefficients.T

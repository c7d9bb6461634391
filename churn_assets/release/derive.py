"""Builds the derived forms from fitted models: reads the rules of trees, asks additive functions at probes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from churn_assets.decision.process import Floats
from churn_assets.predictors.curves import Curves
from churn_assets.predictors.fitted import (
    boosting_baseline,
    boosting_trees,
    spline_degree,
    spline_knots,
    spline_logit,
)
from churn_assets.predictors.forest import Branch, Forest, Tree
from churn_assets.predictors.grid import Grid, edges_of
from churn_assets.release.derived import (
    DIGEST_BYTES,
    Derived,
    EffectForm,
    Known,
    canonical,
    digest_of,
)
from churn_assets.release.outlook import outlook_dtype

if TYPE_CHECKING:
    from collections.abc import Callable

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
    for feature, places in spline_knots(spline):
        edges[feature] += places
    grid = Grid(edges_of(edges), (*levels, 0, 0))
    idle, accepted, refused, woken = effect.baseline.shifts, fitted.accepted, fitted.refused, fitted.woken
    coefficients = np.concatenate([idle, accepted, refused, woken])
    derived = Derived(
        schema=schema,
        policy=models.policy,
        grid=grid,
        boosting=None if boosting is None else Forest.build(trees, boosting_baseline(boosting), grid),
        spline=None
        if spline is None
        else Curves.build(spline_logit(spline), spline_degree(spline), features, grid),
        accept=Forest.build(accept, boosting_baseline(classifier), grid),
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


def _segment_tree(segments: Segments, size: Floats) -> Tree:
    """The segments of the effect model as a tree whose leaves are their sizes."""

    def rule(feature: int, threshold: float | None, level: int | None, yes: int, no: int) -> Branch:
        if threshold is None:
            return Branch(feature, None, lambda x: x == level, yes, no)
        fill = segments.fill[feature]
        return Branch(feature, threshold, lambda x: np.where(np.isnan(x), fill, x) <= threshold, yes, no)

    return [float(size[node]) if isinstance(node, int) else rule(**vars(node)) for node in segments.nodes]


def _shifts(basis: EffectBasis, coefficients: Floats) -> Callable[[Floats], Floats]:
    """Shifts of the logit at the centre of the risk, where its own logit adds nothing."""
    return lambda X: basis.transform(X, np.full(len(X), basis.risk_centre)) @ coefficients.T

"""Fitting the churn risk with scikit-learn, and its arrays. Knows design matrices, no tables and no folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.optimize import lsq_linear
from scipy.special import expit
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, SplineTransformer, StandardScaler

from churn_assets.customers.schema import CustomerSchema
from churn_assets.predictors.conversion import additive_curves, boosting_forest, cuts
from churn_assets.predictors.fitted import boosting_trees, spline_degree, spline_knots, spline_logit
from churn_assets.predictors.grid import Grid, edges_of
from churn_assets.risk.config import SIGNS, RiskModelConfig, SplineLogisticConfig
from churn_assets.risk.predictor import RiskModelKind, RiskPredictor

Floats = NDArray[np.float64]

SPLINE: Final = "spline_logistic"
BOOSTING: Final = "boosting"
PARTS: Mapping[str, tuple[str, ...]] = {
    "logit_mean": (SPLINE, BOOSTING),
    "spline_logistic": (SPLINE,),
    "boosting": (BOOSTING,),
}


@dataclass(frozen=True)
class RiskEstimator:
    """Fitted scikit-learn classifiers whose mean logit is the logit of the risk; a model keeps only their arrays.

    Attributes:
        kind: Which classifiers.
        parts: The fitted classifiers by name; all read the design matrix.
    """

    kind: RiskModelKind
    parts: Mapping[str, Any]

    @classmethod
    def fit(
        cls, X: Floats, y: NDArray[np.int8], schema: CustomerSchema, config: RiskModelConfig, *, seed: int
    ) -> Self:
        """Fits what the config asks for.

        Args:
            X: (n, F) design matrix; NaN is a blank.
            y: (n,) labels, 0 or 1, both present.
            schema: The features of X.
            config: Kind and parameters.
            seed: Of the boosting's feature sampling.

        Raises:
            ValueError: Only one class, a kind that is still to be chosen, or `monotone` names a feature that is not
                numeric or not there.
        """
        if len(np.unique(y)) != 2:
            raise ValueError(f"risk_model: found only label {np.unique(y).tolist()}, expected both 0 and 1")
        if config.kind == "best_by_nested_cv":
            raise ValueError(
                "risk_model.kind: best_by_nested_cv is chosen before it is fitted; see risk/search.py"
            )
        kind = config.kind
        as_part = {part: config.model_copy(update={"kind": part}) for part in PARTS[kind]}
        return cls(kind, {part: fit_part(X, y, schema, each, seed=seed) for part, each in as_part.items()})

    def predict(self, X: Floats) -> Floats:
        """Returns P(churn in the label window), (n,) float64 in (0, 1), of the rows of a design matrix."""
        logits = np.mean([_logit(part.predict_proba(X)[:, 1]) for part in self.parts.values()], axis=0)
        return np.asarray(1 / (1 + np.exp(-logits)), dtype=np.float64)

    def converted(self, X: Floats, schema: CustomerSchema) -> RiskPredictor:
        """The same risk as plain arrays.

        Args:
            X: (n, F) rows on which the arrays are compared with the classifiers, beside made-up ones.
            schema: The features of X.

        Raises:
            ConversionError: They differ by more than rounding.
        """
        spline, boosting = self.parts.get(SPLINE), self.parts.get(BOOSTING)
        levels = tuple(len(feature.categories) for feature in schema.features)
        trees = [] if boosting is None else boosting_trees(boosting, max(levels))
        edges = cuts(trees, len(levels))
        for feature, knots in spline_knots(spline):
            edges[feature] += knots
        grid = Grid(edges_of(edges), levels)
        forest = curves = None
        if boosting is not None:
            forest = boosting_forest(boosting, trees, grid, X, "risk_model, boosting")
        if spline is not None:
            name = "risk_model, spline_logistic"
            curves = additive_curves(spline_logit(spline), spline_degree(spline), grid, X, name)
        return RiskPredictor(grid, forest, curves)


def monotone_signs(schema: CustomerSchema, config: RiskModelConfig) -> NDArray[np.int8]:
    """Returns 1, -1 or 0 (free) for each feature, (F,).

    Raises:
        ValueError: `monotone` names a feature that is not numeric or not there.
    """
    numeric = [feature.name for feature in schema.features if feature.kind == "numeric"]
    unknown = [name for name in config.monotone if name not in numeric]
    if unknown:
        raise ValueError(f"risk_model.monotone: found {unknown}, expected some of {numeric}")
    return np.array(
        [SIGNS[config.monotone[n]] if n in config.monotone else 0 for n in schema.names], dtype=np.int8
    )


def fit_part(
    X: Floats,
    y: NDArray[np.int8],
    schema: CustomerSchema,
    config: RiskModelConfig,
    *,
    seed: int,
    stops_early: bool = False,
) -> Any:
    """The fitted scikit-learn classifier of a section whose kind is a single part.

    Args:
        X: (n, F) design matrix.
        y: (n,) labels.
        schema: The features of X.
        config: Its kind is `spline_logistic` or `boosting`.
        seed: Of the boosting's feature sampling.
        stops_early: Boosting ends once a tenth of the rows, which it is then not fitted on, gains nothing any more.
    """
    signs = monotone_signs(schema, config)
    if config.kind == SPLINE:
        return _fit_spline_logistic(X, y, schema, config.spline_logistic, signs)
    categorical = np.array([feature.kind == "categorical" for feature in schema.features])
    boosting = HistGradientBoostingClassifier(
        **config.boosting.model_dump(),
        categorical_features=categorical if categorical.any() else None,
        monotonic_cst=signs.astype(int) if signs.any() else None,
        early_stopping=stops_early,
        n_iter_no_change=PATIENCE,
        random_state=seed,
    )
    return boosting.fit(X, y)


PATIENCE = 12
"""Trees without any gain after which a search looks no further."""


def logits_of(part: Any, X: Floats, trees: Sequence[int]) -> Floats:
    """(numbers of trees, n) logits of a fitted part after so many trees, or all that there are; splines have none."""
    if not hasattr(part, "staged_decision_function"):
        return np.asarray(part.decision_function(X))[None]
    last = [min(each, part.n_iter_) for each in trees]
    stages = enumerate(part.staged_decision_function(X), start=1)
    found = {stage: np.ravel(logits).copy() for stage, logits in stages if stage in last}
    return np.array([found[each] for each in last])


def _fit_spline_logistic(
    X: Floats,
    y: NDArray[np.int8],
    schema: CustomerSchema,
    config: SplineLogisticConfig,
    signs: NDArray[np.int8],
) -> Pipeline:
    # One encoder for all categories: the parts of a ColumnTransformer cost more than their columns.
    texts = [place for place, feature in enumerate(schema.features) if feature.kind == "categorical"]
    codes = [np.arange(len(schema.features[place].categories), dtype=np.float64) for place in texts]
    encoder = OneHotEncoder(categories=codes, handle_unknown="ignore", sparse_output=False)
    bases: list[tuple[str, Any, list[int]]] = [("categories", encoder, texts)] if texts else []
    blocks = [(sum(map(len, codes)), 0)]
    for place in sorted(set(range(len(schema.features))) - set(texts)):
        basis, width = _curve(X[:, place], config)
        bases.append((f"f{place}", basis, [place]))
        blocks.append((width, int(signs[place])))
    columns = ColumnTransformer(bases)
    scaled = Pipeline([("columns", columns), ("scale", StandardScaler())])
    Z = scaled.fit_transform(X)
    logistic = LogisticRegression(C=1 / config.penalty, solver="newton-cholesky", tol=1e-8)
    logistic.fit(Z, y)
    if signs.any():
        _constrain(logistic, Z, y, scaled.named_steps["scale"].scale_, blocks)
    return Pipeline([*scaled.steps, ("logistic", logistic)])


def _curve(values: Floats, config: SplineLogisticConfig) -> tuple[Pipeline, int]:
    """A spline with knots at observed quantiles, a line where there are too few; and its columns."""
    filled = values[~np.isnan(values)]
    places = np.linspace(0, 1, config.n_knots)
    knots = np.unique(np.quantile(filled, places, method="nearest")) if len(filled) else filled
    curve: Any = StandardScaler()
    width = 1
    if len(knots) > 2:
        # Flat beyond the knots: a projected tenure grows past what was seen.
        curve = SplineTransformer(
            degree=config.degree, knots=knots[:, None], extrapolation="constant", include_bias=False
        )
        width = len(knots) + config.degree - 2
    blanks = SimpleImputer(strategy="median", keep_empty_features=True)
    return Pipeline([("blanks", blanks), ("curve", curve)]), width


def _constrain(
    logistic: LogisticRegression, Z: Floats, y: NDArray[np.int8], scale: Floats, blocks: list[tuple[int, int]]
) -> None:
    """Refits the coefficients under the sign constraints, from the free fit.

    A spline with B-spline coefficients in order is monotone (de Boor 2001, ch. XI). The basis leaves out
    its last function, whose coefficient is thus 0: a rising curve has g_1 <= … <= g_m <= 0, minus the upper
    cumulative sums of increments >= 0, which are what is bounded.
    """
    transform = np.eye(Z.shape[1])
    lower = np.full(Z.shape[1], -np.inf)
    upper = np.full(Z.shape[1], np.inf)
    start = 0
    for width, sign in blocks:
        block = slice(start, start + width)
        start += width
        if not sign:
            continue
        if width == 1:
            transform[block, block] = sign
        else:
            transform[block, block] = -sign * np.triu(np.ones((width, width))) * scale[block][:, None]
        lower[block] = 0.0
    start_at = np.clip(np.linalg.solve(transform, logistic.coef_[0]), lower, upper)
    bounds = np.append(lower, -np.inf), np.append(upper, np.inf)
    found = _bounded_newton(Z @ transform, y, transform.T @ transform / logistic.C, bounds,
                            np.append(start_at, logistic.intercept_))  # fmt: skip
    logistic.coef_ = (transform @ found[:-1])[None, :]
    logistic.intercept_ = found[-1:]


NEWTON_STEPS = 50
"""A fit of splines needs four to ten."""


def _bounded_newton(
    Z: Floats, y: NDArray[np.int8], ridge: Floats, bounds: tuple[Floats, Floats], start: Floats
) -> Floats:
    """Logistic regression with a quadratic penalty and bounds: a Newton step is a small bounded least-squares problem.

    Args:
        Z: (n, d) columns.
        y: (n,) labels.
        ridge: (d, d) matrix of the penalty.
        bounds: (d + 1,) least and largest parameters, the intercept's last.
        start: (d + 1,) parameters within the bounds.

    Raises:
        RuntimeError: No convergence.
    """
    columns, penalty = np.column_stack([Z, np.ones(len(Z))]), np.zeros((len(start), len(start)))
    penalty[:-1, :-1] = ridge

    def objective(parameters: Floats) -> tuple[float, Floats]:
        logits = columns @ parameters
        loss = np.sum(np.logaddexp(0, logits) - y * logits) + 0.5 * parameters @ penalty @ parameters
        return float(loss), logits

    found = start
    loss, logits = objective(found)
    for _ in range(NEWTON_STEPS):
        chance = expit(logits)
        gradient = columns.T @ (chance - y) + penalty @ found
        factor = np.linalg.cholesky(
            (columns * (chance * (1 - chance))[:, None]).T @ columns + penalty + TINY * np.eye(len(found))
        ).T
        goal = factor @ found - solve_triangular(factor, gradient, trans="T")
        step = lsq_linear(factor, goal, bounds=bounds, method="bvls").x - found
        decrease = -float(gradient @ step)
        if decrease <= 1e-9 * (1 + abs(loss)):
            return found
        share = 1.0
        while (new := objective(found + share * step))[0] > loss - 1e-4 * share * decrease and share > 1e-6:
            share /= 2
        found, (loss, logits) = found + share * step, new
    raise RuntimeError(f"risk_model: the monotone spline fit did not converge in {NEWTON_STEPS} steps")


TINY = 1e-9
"""Keeps the second derivatives invertible where every chance is 0 or 1."""


def _logit(p: Floats) -> Floats:
    p = np.clip(p, 1e-9, 1 - 1e-9)
    return np.asarray(np.log(p) - np.log1p(-p))

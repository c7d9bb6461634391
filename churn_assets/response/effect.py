"""`EffectModel`: what contact does to churn in the label window. Fitting and predicting only.

Baseline. Churn without contact is a ridge-penalised shift of the logit of the risk, fitted on the log's rows without
contact. The log is newer than the labels of a customer table: beside a risk that is no longer true, the effects would
have to explain what contact has no part in. As much of the shift is believed as shows on customers left out of the fit;
where it does not certainly show, the baseline is the risk.

Model. Contact changes churn through two probabilities. Of customers who accept, churn is a ridge-penalised
shift of the logit of the baseline. Of customers who refuse, it is the mean of such a shift and of a
second form in which would-be churners still leave and a would-be stayer is *woken*, and leaves, with a
ridge-penalised logistic probability: the sleeping dogs. Every part is averaged over a few penalties rather
than selected. What an arm offers acts through the chance that it is accepted. The effect of contacting
with arm a (intention to
treat: what the propensities identify) is therefore

    effect_a = q_a · (churn_if_accepted - baseline) + (1 - q_a) · (churn_if_refused - baseline).

How the effect splits between those who accept and those who refuse is a modelling assumption, not a causal
statement: acceptance is chosen by the customer.

Shrinkage. Both parts are fitted across customers and their effects then compared with what the propensities
identify, on customers left out of the fit (`realised_size`): overall, and segment by segment with
empirical-Bayes pooling towards the overall size (DerSimonian & Laird 1986). Both parts are multiplied by the
pooled size. Without evidence that the predicted effects are real at all, every effect is zero.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from churn_assets.customers.schema import CustomerSchema
from churn_assets.customers.table import CustomerTable
from churn_assets.gates.estimates import Estimate
from churn_assets.offers.log import OfferLog
from churn_assets.predictors.conversion import additive_curves, cuts, made_up_rows, require_forest
from churn_assets.predictors.forest import Forest
from churn_assets.predictors.grid import Grid, edges_of
from churn_assets.predictors.probability import between, logistic, logit
from churn_assets.response.accept import cross_fit_groups
from churn_assets.response.basis import EffectBasis
from churn_assets.response.config import EffectModelConfig
from churn_assets.response.evidence import over_eligible, realised_size, slope
from churn_assets.response.predictor import LEAST, EffectPredictor
from churn_assets.response.segments import Segments

Floats = NDArray[np.float64]

_LARGEST_SIZE = 1.5  # the pooled size may enlarge an effect by at most this: shrinkage, not extrapolation


@dataclass(frozen=True)
class Baseline:
    """Churn without contact, as the log has it.

    Attributes:
        basis: The p columns of every regression.
        shifts: (b, p) shifts of the risk logit, one row a penalty.
        realised: How much of the shift shows on customers left out of the fit.
        size: How much of it is believed, 0 to 1.
    """

    basis: EffectBasis
    shifts: Floats
    realised: Estimate
    size: float


@dataclass(frozen=True)
class Consequences:
    """What was fitted, before shrinking: churn of those who accept, and of those who refuse.

    Attributes:
        basis: The p columns of every regression.
        accepted: (m, p) shifts of the baseline's logit of customers who accept, one row a penalty.
        refused: (m, p) shifts of the baseline's logit of customers who refuse.
        woken: (w, p) logits of the chance that a refusing would-be stayer is woken.
    """

    basis: EffectBasis
    accepted: Floats
    refused: Floats
    woken: Floats

    def churn(self, X: Floats, baseline: Floats) -> tuple[Floats, Floats]:
        """(n,) churn if accepted and (n,) churn if refused, of customers with this churn (n,) without contact."""
        base = logit(baseline, LEAST)
        columns = self.basis.transform(X, base)
        accepted, shifted = (_shifted(columns, shifts, base) for shifts in (self.accepted, self.refused))
        woken = logistic(columns @ self.woken.T).mean(axis=1)
        return accepted, (shifted + baseline + (1 - baseline) * woken) / 2


@dataclass(frozen=True, eq=False)
class EffectModel:
    """How contact with each arm changes P(churn in the label window).

    Attributes:
        schema: The customer features, in the order of the columns of X.
        arms: Ids of the arms of the log it was trained on, no contact first.
        baseline: Churn without contact.
        fitted: The consequences of contact before shrinking.
        segments: Where the size of the effect was estimated.
        size: (S,) pooled size of the effect in each segment: 0 is no effect, 1 the fitted one.
        size_sd: (S,) posterior standard deviation of `size`.
        raw_size: The sizes before pooling, by segment.
        overall: The overall size.
        evidence_z: Standard errors of evidence that `overall` had to show.
    """

    schema: CustomerSchema
    arms: tuple[str, ...]
    baseline: Baseline
    fitted: Consequences
    segments: Segments
    size: Floats
    size_sd: Floats
    raw_size: tuple[Estimate, ...]
    overall: Estimate
    evidence_z: float

    @classmethod
    def fit(
        cls,
        table: CustomerTable,
        log: OfferLog,
        risk: Floats,
        acceptance: NDArray[np.floating[Any]],
        config: EffectModelConfig,
    ) -> EffectModel:
        """Fits on the rows of customers that are not held out.

        Args:
            table: The customers; every customer of the log is in it.
            log: Past offers with the propensity of every arm.
            risk: (n,) out-of-fold churn risk of each log row's customer.
            acceptance: (n, A) out-of-fold acceptance of every arm on each log row, any float type.
            config: Penalties, basis, segments, evidence asked for.

        Raises:
            RuntimeError: A regression did not converge.
            ConversionError: The arrays that predict answer otherwise than the regressions.
        """
        customer = log.positions(table.ids)
        group = cross_fit_groups(table, customer, config.cross_fits)
        rows = np.flatnonzero(group >= 0)
        customer, group = customer[rows], group[rows]
        X, risk, acceptance = table.X[customer], risk[rows], acceptance[rows].astype(np.float64)
        arm, propensities = log.arm[rows], log.propensities[rows]
        accepted, churned = log.accepted[rows] > 0, log.churned[rows].astype(np.float64)

        everyone, idle = np.ones(len(rows), bool), arm == 0
        scored = logit(risk, LEAST)
        basis = EffectBasis.fit(table.schema, X, scored, config.knots)
        at_risk = basis.transform(X, scored)

        def idle_shifts(training: NDArray[np.bool_]) -> Floats:
            who = training & idle
            parts = (at_risk[who], scored[who], churned[who])
            return np.stack([ridge_shift(*parts, penalty) for penalty in config.baseline_penalties])

        shifted = np.empty(len(rows))
        for left_out in range(config.cross_fits):
            held = group == left_out
            shifted[held] = _shifted(at_risk[held], idle_shifts(~held), scored[held])
        realised = slope((shifted - risk)[idle], (churned - risk)[idle], customer[idle])
        believed = min(realised.value, 1.0) if realised.z >= config.evidence_z else 0.0
        baseline = Baseline(basis, idle_shifts(everyone), realised, believed)
        no_contact = _shrunken(risk, shifted, believed)
        base = logit(no_contact, LEAST)
        columns = basis.transform(X, base)

        def solve(training: NDArray[np.bool_]) -> Consequences:
            def shifts(who: NDArray[np.bool_]) -> Floats:
                parts = (columns[who], base[who], churned[who])
                return np.stack([ridge_shift(*parts, penalty) for penalty in config.shift_penalties])

            refused = training & (arm > 0) & ~accepted
            parts = (columns[refused], no_contact[refused], churned[refused])
            woken = np.stack([ridge_woken(*parts, penalty) for penalty in config.woken_penalties])
            return Consequences(basis, shifts(training & accepted), shifts(refused), woken)

        effects = np.zeros_like(acceptance)
        for left_out in range(config.cross_fits):
            held = group == left_out
            consequences = solve(~held).churn(X[held], no_contact[held])
            effects[held] = _intention_to_treat(no_contact[held], *consequences, acceptance[held])

        mean_contact = over_eligible(effects, propensities)
        segments = Segments.fit(
            table.schema, X, mean_contact, most=config.segments, least_rows=config.min_segment_rows
        )
        segment = segments.assign(X)

        def size_of(chosen: NDArray[np.bool_]) -> Estimate:
            return realised_size(
                churned[chosen],
                arm[chosen],
                propensities[chosen],
                no_contact[chosen],
                effects[chosen],
                customer[chosen],
            )

        overall = size_of(everyone)
        raw = tuple(size_of(segment == each) for each in range(segments.count))
        size, size_sd = pooled_sizes(overall, raw, config.evidence_z)
        model = cls(
            table.schema,
            log.menu.ids,
            baseline,
            solve(everyone),
            segments,
            size,
            size_sd,
            raw,
            overall,
            config.evidence_z,
        )
        model.converted(X)
        return model

    @cached_property
    def predictor(self) -> EffectPredictor:
        """What predicts, made from the regressions and the segments: plain arrays on a grid.

        Raises:
            ConversionError: They answer otherwise on made-up rows.
        """
        return self.converted(np.empty((0, len(self.schema.names))))

    def converted(self, X: Floats) -> EffectPredictor:
        """As `predictor`, compared with the regressions on the rows X (n, F) too."""
        fitted, basis, segments = self.fitted, self.fitted.basis, self.segments
        parts = (self.baseline.shifts, fitted.accepted, fitted.refused, fitted.woken)
        coefficients = np.concatenate(parts)
        tree = segments.tree(self.size)
        edges = cuts([tree], len(basis.names))
        for feature, knots in enumerate(basis.knots):
            # A value at a knot lies in the bin above it.
            edges[feature] += np.nextafter(knots, -np.inf).tolist()
        grid = Grid(edges_of(edges), basis.levels)
        size, rows = Forest.build([tree], 0.0, grid), np.concatenate([X, made_up_rows(grid, X)])
        require_forest(size, grid, rows, lambda X: self.size[segments.assign(X)], "effect_model, size")
        return EffectPredictor(
            grid=grid,
            curves=additive_curves(_shifts(basis, coefficients), 1, grid, X, "effect_model, shifts"),
            slopes=coefficients[:, 1],
            centre=basis.risk_centre,
            counts=(len(parts[0]), len(parts[1]), len(parts[2]), len(parts[3])),
            baseline_size=self.baseline.size,
            size=size,
        )

    def consequences(self, X: Floats, risk: Floats) -> tuple[Floats, Floats, Floats]:
        """P(churn in the label window) without contact, of a contacted customer who accepts, and of one who refuses.

        Args:
            X: (n, F) customer features, columns in the order of `schema`; NaN for a blank.
            risk: (n,) churn risk by the risk model.

        Returns:
            (n,) churn without contact, (n,) if accepted and (n,) if refused, strictly within (0, 1).

        Raises:
            ValueError: X has another number of columns than the schema.
        """
        if X.shape[1] != len(self.schema.names):
            raise ValueError(f"effect_model: found {X.shape[1]} features, expected {len(self.schema.names)}")
        return self.predictor.consequences(X, risk)

    def effects(self, X: Floats, risk: Floats, acceptance: Floats) -> Floats:
        """(n, A) change in churn by contact with each arm, given (n, A) acceptance; column 0 is 0."""
        return _intention_to_treat(*self.consequences(X, risk), acceptance)


def pooled_sizes(overall: Estimate, raw: tuple[Estimate, ...], evidence_z: float) -> tuple[Floats, Floats]:
    """Empirical-Bayes sizes by segment and their standard deviations; all zero without overall evidence.

    Sizes are clipped to [0, 1.5]: an effect may be shrunken away, never reversed.
    """
    if overall.z < evidence_z:
        return np.zeros(len(raw)), np.full(len(raw), overall.standard_error)
    value = np.array([each.value for each in raw])
    variance = np.array([each.standard_error**2 for each in raw])
    usable = variance > 0
    weight = np.where(usable, 1 / np.where(usable, variance, 1), 0)
    spread = float((weight * (value - overall.value) ** 2).sum()) - (usable.sum() - 1)
    scale = weight.sum() - (weight**2).sum() / weight.sum() if usable.any() else 0.0
    between = max(spread / scale, 0.0) if scale > 0 else 0.0
    precision = weight + (1 / between if between > 0 else np.inf)
    pooled = np.full(len(raw), overall.value)
    sd = np.full(len(raw), overall.standard_error)
    if between > 0:
        pooled = (weight * value + overall.value / between) / precision
        sd = np.sqrt(1 / precision + (overall.standard_error / between / precision) ** 2)
    return np.clip(pooled, 0, _LARGEST_SIZE), sd


def ridge_shift(columns: Floats, offset: Floats, outcome: Floats, penalty: float) -> Floats:
    """Coefficients of a logistic regression with a fixed offset and a ridge penalty, by Newton's method.

    The intercept and the risk logit (columns 0 and 1) are penalised a thousandth as much as the rest.

    Args:
        columns: (n, p).
        offset: (n,) added to the linear predictor.
        outcome: (n,) 0 or 1.
        penalty: Weight of half the sum of squared coefficients.

    Steps are halved until the penalised likelihood does not fall: an offset that is far from the outcomes makes whole
    ones overshoot.

    Raises:
        RuntimeError: no convergence in 50 steps.
    """
    ridge = np.full(columns.shape[1], penalty)
    ridge[:2] *= 1e-3

    def loss(coefficients: Floats) -> float:
        logit = offset + columns @ coefficients
        return float((np.logaddexp(0, logit) - outcome * logit).sum() + 0.5 * (ridge * coefficients**2).sum())

    coefficients = np.zeros(columns.shape[1])
    least = loss(coefficients)
    for _ in range(50):
        probability = logistic(offset + columns @ coefficients)
        gradient = columns.T @ (outcome - probability) - ridge * coefficients
        hessian = (columns * (probability * (1 - probability))[:, None]).T @ columns
        hessian[np.diag_indices_from(hessian)] += ridge
        step = np.linalg.solve(hessian, gradient)
        while np.abs(step).max() >= 1e-6 and loss(coefficients + step) > least:
            step = step / 2
        coefficients = coefficients + step
        if np.abs(step).max() < 1e-6:
            return coefficients
        least = loss(coefficients)
    raise RuntimeError("effect_model: a regression of churn did not converge in 50 Newton steps")


def ridge_woken(columns: Floats, risk: Floats, outcome: Floats, penalty: float) -> Floats:
    """Coefficients of P(woken) in P(churn | refused) = risk + (1 - risk) · P(woken), by L-BFGS.

    The intercept, which starts at and is drawn to a 2 % chance, is penalised a thousandth as much as the
    rest. The risk logit (column 1) is left out: what remains of churn at low risk is what tells waking from
    leaving. Arguments as in `ridge_shift`; risk is (n,).

    Raises:
        RuntimeError: no convergence in 500 steps.
    """
    ridge = np.full(columns.shape[1], penalty)
    ridge[0] *= 1e-3
    start = np.zeros(columns.shape[1])
    start[0] = -4.0
    used = columns.copy()
    used[:, 1] = 0.0

    def loss(coefficients: Floats) -> tuple[float, Floats]:
        woken = logistic(used @ coefficients)
        churn = np.clip(risk + (1 - risk) * woken, 1e-9, 1 - 1e-9)
        slope = ((1 - outcome) / (1 - churn) - outcome / churn) * (1 - risk) * woken * (1 - woken)
        away = coefficients - start
        log_likelihood = (outcome * np.log(churn) + (1 - outcome) * np.log1p(-churn)).sum()
        return 0.5 * float((ridge * away**2).sum()) - float(log_likelihood), used.T @ slope + ridge * away

    from scipy.optimize import minimize  # predicting needs no scipy

    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 500})
    if not found.success:
        raise RuntimeError(f"effect_model: the regression of churn after refusing failed: {found.message}")
    return np.asarray(found.x)


def _shifts(basis: EffectBasis, coefficients: Floats) -> Callable[[Floats], Floats]:
    """Shifts of the logit at the centre of the risk, where its own logit adds nothing."""
    return lambda X: basis.transform(X, np.full(len(X), basis.risk_centre)) @ coefficients.T


def _intention_to_treat(baseline: Floats, accepted: Floats, refused: Floats, acceptance: Floats) -> Floats:
    if_accepted, if_refused = (accepted - baseline)[:, None], (refused - baseline)[:, None]
    effects = acceptance * if_accepted + (1 - acceptance) * if_refused
    effects[:, 0] = 0.0
    return effects


def _shifted(columns: Floats, shifts: Floats, base: Floats) -> Floats:
    """(n,) mean over the shifts (m, p) of probabilities whose logit was (n,) `base`; columns are (n, p)."""
    return np.asarray(logistic(base[:, None] + columns @ shifts.T).mean(axis=1))


def _shrunken(baseline: Floats, churn: Floats, size: Floats | float) -> Floats:
    return between(LEAST, baseline + size * (churn - baseline), 1 - LEAST)

"""The mediated form of an effect: contact acts through whoever accepts, and through whom a refused contact wakes.

Of customers who accept, churn is a ridge-penalised shift of the logit of churn without contact. Of customers who
refuse, it is the mean of such a shift and of a second form in which would-be churners still leave and a would-be stayer
is *woken*, and leaves, with a ridge-penalised logistic probability: the sleeping dogs. Every part is averaged over a
few penalties rather than selected. All arms share it: what an arm offers acts through the chance that it is accepted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from churn_assets.gates.estimates import Estimate
from churn_assets.predictors.probability import logistic, logit
from churn_assets.response.basis import EffectBasis
from churn_assets.response.config import EffectModelConfig
from churn_assets.response.predictor import LEAST

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Baseline:
    """Churn without contact, as the log has it.

    Attributes:
        basis: The p columns of every regression.
        shifts: (b, p) shifts of the risk logit, one row a penalty.
        realised: How much of the shift shows on customers left out of the fit.
        size: How much of it is believed, 0 to 1.
        survival: As of `risk_of_survivors`; zeros where the log does not follow its customers.
    """

    basis: EffectBasis
    shifts: Floats
    realised: Estimate
    size: float
    survival: tuple[float, float] = (0.0, 0.0)

    def risk_of_survivors(self, risk: Floats, survived: Floats) -> Floats:
        """(n,) risk of those who stayed for label windows (n,) since their first decision."""
        return risk_of_survivors(risk, survived, self.survival, self.basis.risk_centre)


@dataclass(frozen=True)
class Mediated:
    """Churn of those who accept, and of those who refuse.

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

    @classmethod
    def fit(
        cls,
        basis: EffectBasis,
        columns: Floats,
        baseline: Floats,
        churned: Floats,
        accepted: Bools,
        refused: Bools,
        config: EffectModelConfig,
    ) -> Mediated:
        """Fits on the rows of a log.

        Args:
            basis: What made the columns.
            columns: (n, p).
            baseline: (n,) churn without contact.
            churned: (n,) 0 or 1.
            accepted: (n,) rows with an accepted offer that may be learned from.
            refused: (n,) rows with a refused contact that may be learned from.
            config: Penalties.

        Raises:
            RuntimeError: A regression did not converge.
        """
        base = logit(baseline, LEAST)

        def shifts(who: Bools) -> Floats:
            parts = (columns[who], base[who], churned[who])
            return np.stack([ridge_shift(*parts, penalty) for penalty in config.shift_penalties])

        parts = (columns[refused], baseline[refused], churned[refused])
        woken = np.stack([ridge_woken(*parts, penalty) for penalty in config.woken_penalties])
        return cls(basis, shifts(accepted), shifts(refused), woken)

    def churn(self, columns: Floats, baseline: Floats) -> tuple[Floats, Floats]:
        """(n,) churn if accepted and (n,) if refused, by columns (n, p) and churn without contact (n,)."""
        base = logit(baseline, LEAST)
        accepted, shifted = (shifted_mean(columns, shifts, base) for shifts in (self.accepted, self.refused))
        woken = logistic(columns @ self.woken.T).mean(axis=1)
        return accepted, (shifted + baseline + (1 - baseline) * woken) / 2


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


def risk_of_survivors(risk: Floats, survived: Floats, survival: tuple[float, float], centre: float) -> Floats:
    """(n,) risk of customers of whom it is known that they stayed.

    Args:
        risk: (n,) by their features.
        survived: (n,) label windows since the first decision about them.
        survival: Shift of the logit for each unit of log(1 + survived), and by how much more where the logit is larger.
        centre: Logit where it is the first alone.
    """
    if not survived.any():
        return risk
    base = logit(risk, LEAST)
    return np.asarray(logistic(base + np.log1p(survived) * (survival[0] + survival[1] * (base - centre))))


def shifted_mean(columns: Floats, shifts: Floats, base: Floats) -> Floats:
    """(n,) mean over the shifts (m, p) of probabilities whose logit was (n,) `base`; columns are (n, p)."""
    return np.asarray(logistic(base[:, None] + columns @ shifts.T).mean(axis=1))

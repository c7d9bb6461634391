"""What a log with known propensities says about effects: doubly robust contrasts and realised size.

Estimators only; no model is fitted here. Every standard error is clustered by customer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, chdtri, chndtrinc

from churn_assets.gates.estimates import Estimate

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def doubly_robust_effects(
    outcome: Floats, arm: Integers, propensities: Floats, no_contact: Floats, effects: Floats
) -> Floats:
    """Each row's doubly robust score of the effect of every arm against no contact.

    Robins, Rotnitzky & Zhao 1994: model + 1[arm = a] / propensity_a · (outcome - model).

    Args:
        outcome: (n,) observed outcome.
        arm: (n,) index of the logged arm; 0 is no contact.
        propensities: (n, A) probability of every arm; 0 for an arm that a row's customer may not get, which is never
            the logged one.
        no_contact: (n,) modelled outcome without contact.
        effects: (n, A) modelled effects; column 0 is 0.

    Returns:
        (n, A) scores whose mean estimates the mean effect; column 0 is 0.
    """
    rows = np.arange(len(outcome))
    scores = no_contact[:, None] + effects
    residual = outcome - scores[rows, arm]
    scores[rows, arm] += residual / propensities[rows, arm]
    return scores - scores[:, :1]


def over_eligible(effects: Floats, propensities: Floats) -> Floats:
    """(n, A) effects -> (n,) mean over the arms that contact and that the row's customer may get; 0 without any."""
    may = propensities[:, 1:] > 0
    return np.asarray((effects[:, 1:] * may).sum(axis=1) / np.maximum(may.sum(axis=1), 1))


def realised_size(
    outcome: Floats,
    arm: Integers,
    propensities: Floats,
    no_contact: Floats,
    effects: Floats,
    cluster: Integers,
) -> Estimate:
    """How large the effects really are per unit of predicted effect: 1 when right, 0 when they are noise.

    Robinson 1988's residual-on-residual slope with known propensities: the outcome less its mean given the
    customer, regressed on the effect of the logged arm less its mean over the arms. Confounding of the arm by
    the logging policy cancels because both means are taken with the propensities. Arguments as in
    `doubly_robust_effects`, and `cluster`: (n,) index of the customer.
    """
    mean_effect = (propensities * effects).sum(axis=1)
    regressor = effects[np.arange(len(arm)), arm] - mean_effect
    return slope(regressor, outcome - no_contact - mean_effect, cluster)


def slope(regressor: Floats, target: Floats, cluster: Integers) -> Estimate:
    """Least-squares slope through the origin of target (n,) on regressor (n,); 0 without error where that is all 0."""
    weight = float((regressor**2).sum())
    if weight == 0:
        return Estimate(0.0, 0.0)
    value = float((regressor * target).sum()) / weight
    scores = np.bincount(cluster, weights=regressor * (target - value * regressor))
    return Estimate(value, float(np.sqrt((scores**2).sum())) / weight)


ROWS = 4096
"""Whose scores are summed at once, and the rest of the last cluster: bounds the memory."""


@dataclass(frozen=True)
class Misspecification:
    """A score test: what the effects should explain and leave in the outcome.

    Attributes:
        statistic: χ², clustered by customer.
        degrees: Its degrees of freedom.
        spread: Shares of the variance, by independent directions, that the model itself said it leaves open.
    """

    statistic: float
    degrees: int
    spread: tuple[float, ...] = ()

    @property
    def p_value(self) -> float:
        """How often chance alone leaves as much."""
        return float(chdtrc(self.degrees, self.statistic)) if self.degrees else 1.0

    def limit(self, p_value: float) -> float:
        """The statistic that chance exceeds that often."""
        return float(chdtri(self.degrees, p_value)) if self.degrees else 0.0

    def added(self, p_value: float, power: float) -> float:
        """What a fault must add to the mean of χ² for `power` to reach this: χ² is then not central."""
        return (
            float(chndtrinc(self.limit(p_value), self.degrees, 1 - power)) if self.degrees else float("inf")
        )

    def power(self, p_value: float, factor: float) -> float:
        """How often the limit is exceeded where effects are `factor` times as far off as the model said they may be.

        By a scaled χ² with the mean and variance of the weighted sum that the statistic then is (Satterthwaite 1946).
        """
        if not self.degrees:
            return 0.0
        weights = 1 + (factor**2 - 1) * np.array(self.spread)
        mean, half_variance = float(weights.sum()), float((weights**2).sum())
        return float(chdtrc(mean**2 / half_variance, self.limit(p_value) * mean / half_variance))

    def seen(self, p_value: float, power: float) -> float:
        """Least factor, in steps of a half, at which `power` reaches this; infinite where 20 is not enough."""
        factors = np.arange(2, 41) / 2
        found = [factor for factor in factors.tolist() if self.power(p_value, factor) >= power]
        return found[0] if found else float("inf")


def specification_terms(arm: Integers, propensities: Floats, no_contact: Floats, given: Floats) -> Floats:
    """(n, 4) what effects that are right leave nothing for: contact, what is given, and both times the churn without.

    Each is centred by the propensities, so that a wrong `no_contact` does no harm. Arguments as of `realised_size`, and
    `given`: (A,) what each arm gives.
    """
    contact = (np.arange(len(given)) > 0).astype(np.float64)
    terms = []
    for what in (contact, given):
        centred = what[arm] - propensities @ what
        terms += [centred, centred * no_contact]
    return np.stack(terms, axis=1)


class ScoreTerms(Protocol):
    """Columns (n, t), some rows at a time: an array, or what makes them when they are asked for."""

    def __getitem__(self, rows: Any, /) -> Any: ...


@dataclass(frozen=True)
class Scores:
    """Sums of terms times a residual, by cluster, and how far they are off by chance.

    Attributes:
        total: (t,).
        chance: (t, t) covariance of them.
    """

    total: Floats
    chance: Floats

    @classmethod
    def of(cls, terms: ScoreTerms, residual: Floats, cluster: Integers) -> Scores:
        """Of terms (n, t), centred, a residual (n,) and the index of each row's cluster (n,)."""
        width = terms[:0].shape[1]
        total, chance = np.zeros(width), np.zeros((width, width))
        order = np.argsort(cluster, kind="stable")
        ends = np.append(np.flatnonzero(np.diff(cluster[order])) + 1, len(order))
        first = 0
        while first < len(order):  # whole clusters, some thousand rows at a time: bounds the memory
            last = int(ends[min(int(np.searchsorted(ends, first + ROWS)), len(ends) - 1)])
            rows = order[first:last]
            starts = np.append(0, np.flatnonzero(np.diff(cluster[rows])) + 1)
            sums = np.add.reduceat(terms[rows] * residual[rows, None], starts, axis=0)
            total, chance, first = total + sums.sum(axis=0), chance + sums.T @ sums, last
        return cls(total, chance)

    def test(self, left_open: Floats | None = None) -> Misspecification:
        """Whether they are further off than by chance and by (t, t) what is expected beside it; None: nothing."""
        own = np.zeros_like(self.chance) if left_open is None else left_open
        variance = self.chance + own
        scale = np.sqrt(np.diag(variance))
        used = scale > 0
        if not used.any():
            return Misspecification(0.0, 0)
        size = np.outer(scale[used], scale[used])
        values, vectors = np.linalg.eigh(variance[np.ix_(used, used)] / size)
        told = values > _COLLINEAR * values[-1]
        whitened = vectors[:, told] / np.sqrt(values[told])
        total = whitened.T @ (self.total[used] / scale[used])
        spread = np.linalg.eigvalsh(whitened.T @ (own[np.ix_(used, used)] / size) @ whitened)
        return Misspecification(float(total @ total), int(told.sum()), tuple(spread.tolist()))


def score_test(
    terms: ScoreTerms, residual: Floats, cluster: Integers, left_open: Floats | None = None
) -> Misspecification:
    """Whether terms still explain a residual.

    Args:
        terms: (n, t), centred.
        residual: (n,) what is left of the outcome.
        cluster: (n,) index of the customer.
        left_open: (t, t) covariance of the sums of terms times residual that the model itself says to expect, beside
            that of chance; None where it says nothing.
    """
    return Scores.of(terms, residual, cluster).test(left_open)


_COLLINEAR = 1e-8
"""Terms whose scores differ by no more than rounding are one."""


def effect_losses(
    outcome: Floats, arm: Integers, propensities: Floats, mean_outcome: Floats, effects: Floats
) -> Floats:
    """Squared errors (n,) of the residual-on-residual fit: in the mean least for the true effects (Nie & Wager 2021).

    Args:
        outcome: (n,) observed outcome.
        arm: (n,) index of the logged arm.
        propensities: (n, A) probability of every arm.
        mean_outcome: (n,) modelled mean outcome under the logging policy; one for all candidates.
        effects: (n, A) the candidate's effects.
    """
    centred = effects[np.arange(len(arm)), arm] - (propensities * effects).sum(axis=1)
    return np.asarray((outcome - mean_outcome - centred) ** 2)

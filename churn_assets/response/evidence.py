"""What a log with known propensities says about effects: doubly robust contrasts and realised size.

Estimators only; no model is fitted here. Every standard error is clustered by customer.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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


def effect_loss(
    outcome: Floats, arm: Integers, propensities: Floats, mean_outcome: Floats, effects: Floats
) -> float:
    """Mean squared error of the residual-on-residual fit: least for the true effects (Nie & Wager 2021).

    Args:
        outcome: (n,) observed outcome.
        arm: (n,) index of the logged arm.
        propensities: (n, A) probability of every arm.
        mean_outcome: (n,) modelled mean outcome under the logging policy; one for all candidates.
        effects: (n, A) the candidate's effects.
    """
    centred = effects[np.arange(len(arm)), arm] - (propensities * effects).sum(axis=1)
    return float(((outcome - mean_outcome - centred) ** 2).mean())

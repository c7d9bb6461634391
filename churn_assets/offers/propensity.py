"""How probable each arm was where the log does not say: estimated from who got what. Judges nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from churn_assets.offers.dependence import plain_columns

if TYPE_CHECKING:
    from churn_assets.customers.table import CustomerTable

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

GROUPS = 5
"""Of customers: each one's propensities are learned from those of the other groups."""
SHAPE: dict[str, Any] = {
    "learning_rate": 0.1,
    "max_iter": 40,
    "max_leaf_nodes": 8,
    "min_samples_leaf": 40,
    "l2_regularization": 10.0,
    "early_stopping": False,
    "random_state": 0,
}
"""Of the boosting. On 20,000 and 50,000 decisions of the demo world more trees or leaves were no better."""
RIDGE = 20.0
"""Rows that speak for a column adding nothing."""
STEPS = 100
LEAST = 1e-6
"""Of a probability whose logarithm is taken."""


def estimated(customers: CustomerTable, place: Ints, moments: Floats, arm: Ints, could: Bools) -> Floats:
    """Propensities of every arm: boosted, cross-fitted by customer, calibrated (vector scaling, Guo et al. 2017).

    Beside the features stands a cross-fitted score of the customers' label: teams offer by risk. Held-out customers are
    predicted by a fit on all others, which they have no part in.

    Args:
        customers: N, with labels.
        place: (n,) row of each decision's customer.
        moments: (n, m) what is known of each decision beside its customer: time, earlier offers.
        arm: (n,) what was chosen, 0 to K - 1.
        could: (n, K) arms that a condition did not keep from the customer; the chosen one is among them.

    Returns:
        (n, K) probabilities, 0 where an arm could not be chosen.
    """
    group = np.where(customers.held_out, -1, customers.fold.astype(np.int64) % GROUPS)
    kinds = [feature.kind == "categorical" for feature in customers.schema.features]
    score = _out_of_fold(customers.X, customers.y.astype(np.int64), group, kinds)
    inputs = np.column_stack([customers.X, score])[place]
    inputs = np.column_stack([inputs, moments])
    few = [*kinds, *[False] * (score.shape[1] + moments.shape[1])]
    chosen = np.unique(arm)
    raw = np.zeros(could.shape)
    raw[:, chosen] = _out_of_fold(inputs, np.searchsorted(chosen, arm), group[place], few)
    raw = _among(raw, could)
    columns = np.column_stack([each for _, each in plain_columns(customers)])[place]
    return _among(_calibrated(raw, np.column_stack([columns, moments]), arm, group[place] >= 0), could)


def completed(stated: Floats, arm: Ints, guess: Floats) -> Floats:
    """(n, K) propensities that are as stated (n,) of the chosen arm, and share out the rest as a guess (n, K) does."""
    at = np.arange(len(arm))
    others = guess.copy()
    others[at, arm] = 0.0
    total = others.sum(axis=1)
    share = np.divide(1 - stated, total, out=np.zeros_like(total), where=total > 0)
    found: Floats = others * share[:, None]
    found[at, arm] = stated
    return found


def _among(raw: Floats, could: Bools) -> Floats:
    kept = np.where(could, np.maximum(raw, LEAST), 0.0)
    return np.asarray(kept / kept.sum(axis=1, keepdims=True))


def _out_of_fold(inputs: Floats, target: Ints, group: Ints, kinds: list[bool]) -> Floats:
    """(n, classes) probabilities by a fit on the other groups; rows of group -1 are learned from by nobody."""
    from sklearn.ensemble import HistGradientBoostingClassifier  # serving reads logs without it

    classes = int(target.max()) + 1
    found = np.full((len(target), classes), 1 / classes)
    for left_out in range(-1, GROUPS):
        rows, learned = group == left_out, (group >= 0) & (group != left_out)
        known = np.unique(target[learned])
        if not rows.any() or len(known) < 2:
            continue
        boosting = HistGradientBoostingClassifier(**SHAPE, categorical_features=kinds)
        boosting.fit(inputs[learned], target[learned])
        found[rows] = 0.0
        found[np.ix_(rows, known)] = boosting.predict_proba(inputs[rows])
    return found


def _calibrated(raw: Floats, columns: Floats, arm: Ints, learned: Bools) -> Floats:
    """softmax(slope · log raw + what columns (n, d) add for each arm), by what was chosen in the learned rows.

    Arms are then as frequent as they were, no estimate is surer than it proved to be, and no feature is left that
    choices go with: trees alone are too timid where there are few rows.
    """
    if not learned.any():
        return raw
    from scipy.optimize import minimize

    spread = columns[learned].std(axis=0)
    added = (columns - columns[learned].mean(axis=0))[:, spread > 0] / spread[spread > 0]
    added = np.column_stack([np.ones(len(raw)), added])
    logs, shape = np.log(np.maximum(raw, LEAST)), (added.shape[1], raw.shape[1])
    ridge = np.full(shape, RIDGE)
    ridge[0] = LEAST  # constants are known but for what is added to all

    def softmax(free: Floats, rows: Bools | slice) -> Floats:
        scaled = free[0] * logs[rows] + added[rows] @ free[1:].reshape(shape)
        risen = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        return np.asarray(risen / risen.sum(axis=1, keepdims=True))

    chosen = np.eye(raw.shape[1])[arm[learned]]

    def loss(free: Floats) -> tuple[float, Floats]:
        p, weights = softmax(free, learned), free[1:].reshape(shape)
        off = p - chosen
        slopes = added[learned].T @ off + ridge * weights
        surprise = -np.log(np.maximum((p * chosen).sum(axis=1), LEAST)).sum()
        gradient = np.concatenate([[(off * logs[learned]).sum()], slopes.ravel()])
        return float(surprise + 0.5 * (ridge * weights**2).sum()) / len(p), gradient / len(p)

    start = np.concatenate([[1.0], np.zeros(shape[0] * shape[1])])
    return softmax(
        minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": STEPS}).x, slice(None)
    )

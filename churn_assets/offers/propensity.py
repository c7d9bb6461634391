"""How probable each arm was where the log does not say: estimated from who got what. Judges nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from churn_assets.customers.schema import CHURNED
from churn_assets.offers.dependence import PARTS, plain_columns

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
MOST_TREES, MOST_ROWS, LEAST_ROUNDS = 400, 100_000, 5
"""Of one fit of more than 10 arms: boosting makes a tree for every arm and round. Of 80 arms there are 5 rounds, each a
larger step; the calibration then says how far what they found is to be believed."""
LEAST = 1e-6
"""Of a probability whose logarithm is taken."""


def estimated(customers: CustomerTable, place: Ints, moments: Floats, arm: Ints, could: Bools) -> Floats:
    """Propensities of every arm: boosted, cross-fitted by customer, calibrated (vector scaling, Guo et al. 2017).

    Beside the features stands a cross-fitted score of the customers' label: teams offer by risk. Held-out customers are
    predicted by a fit on all others, which they have no part in.

    Args:
        customers: N rows, labelled as far as it is known: of a panel several a customer.
        place: (n,) row of each decision.
        moments: (n, m) what is known of each decision beside its customer: time, earlier offers.
        arm: (n,) what was chosen, 0 to K - 1.
        could: (n, K) arms that a condition did not keep from the customer; the chosen one is among them.

    Returns:
        (n, K) probabilities, 0 where an arm could not be chosen.
    """
    group = np.where(customers.held_out, -1, customers.fold.astype(np.int64) % GROUPS)
    kinds = [feature.kind == "categorical" for feature in customers.schema.features]
    known = np.column_stack([customers.X, _risk_scores(customers, group)])[place]
    inputs = np.column_stack([known, moments])
    few = [*kinds, *[False] * (1 + moments.shape[1])]
    chosen = np.unique(arm)
    raw = np.zeros(could.shape)
    raw[:, chosen] = _out_of_fold(inputs, np.searchsorted(chosen, arm), group[place], few)
    raw = _among(raw, could)
    return _among(_calibrated(raw, arm, group[place] >= 0), could)


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
        boosting = HistGradientBoostingClassifier(**_shape(len(known)), categorical_features=kinds)
        some = np.flatnonzero(learned)
        if len(known) > MOST_TREES // SHAPE["max_iter"]:
            some = some[:: -(-len(some) // MOST_ROWS)]
        known = np.unique(target[some])
        boosting.fit(inputs[some], target[some])
        found[rows] = 0.0
        found[np.ix_(rows, known)] = boosting.predict_proba(inputs[rows])
    return found


def _shape(arms: int) -> dict[str, Any]:
    """That of the boosting, in fewer and larger steps where there are many arms."""
    rounds = min(int(SHAPE["max_iter"]), max(MOST_TREES // arms, LEAST_ROUNDS))
    rate = min(float(SHAPE["learning_rate"]) * int(SHAPE["max_iter"]) / rounds, 0.3)
    return SHAPE | {"max_iter": rounds, "learning_rate": rate}


def _risk_scores(customers: CustomerTable, group: Ints) -> Floats:
    """(N,) P(leaves) by a logistic regression on splines that never saw the customer."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import SplineTransformer

    columns = [each for _, each in plain_columns(customers)]
    many = [each for each in columns if len(np.unique(each)) > PARTS]
    few = [each for each in columns if len(np.unique(each)) <= PARTS]
    splines = SplineTransformer(n_knots=PARTS + 1, extrapolation="constant")
    bent = [splines.fit_transform(np.column_stack(many))] if many else []
    inputs, labelled = np.column_stack([*bent, *few]), customers.is_labelled
    label = np.zeros(len(customers), np.int64)
    label[labelled] = customers.frame[CHURNED].to_numpy()[labelled]
    found = np.full(len(label), label[labelled].mean())
    for left_out in range(-1, GROUPS):
        rows, learned = group == left_out, labelled & (group >= 0) & (group != left_out)
        if rows.any() and len(np.unique(label[learned])) > 1:
            fit = LogisticRegression(max_iter=2000).fit(inputs[learned], label[learned])
            found[rows] = fit.predict_proba(inputs[rows])[:, 1]
    return found


def _calibrated(raw: Floats, arm: Ints, learned: Bools) -> Floats:
    """softmax(slope · log raw + a constant of each arm), by what was chosen in the learned rows.

    Arms are then as frequent as they were, and no estimate is surer than it proved to be. No more than that is fitted
    again: with a term for each feature, which the same decisions would be fitted and weighed by, lifts of the demo
    world were too large by .4 to .8 standard errors.
    """
    if not learned.any():
        return raw
    from scipy.optimize import minimize

    logs = np.log(np.maximum(raw, LEAST))
    chosen = np.eye(raw.shape[1])[arm[learned]]

    def softmax(free: Floats, of: Floats) -> Floats:
        scaled = free[0] * of + free[1:]
        risen = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        return np.asarray(risen / risen.sum(axis=1, keepdims=True))

    def loss(free: Floats) -> tuple[float, Floats]:
        p = softmax(free, logs[learned])
        off = p - chosen
        surprise = -np.log(np.maximum((p * chosen).sum(axis=1), LEAST)).mean()
        slopes = np.concatenate([[(off * logs[learned]).sum()], off.sum(axis=0)]) / len(p)
        slopes[1:] += LEAST * free[1:]  # constants are known but for what is added to all
        return float(surprise + 0.5 * LEAST * (free[1:] ** 2).sum()), slopes

    start = np.concatenate([[1.0], np.zeros(raw.shape[1])])
    return softmax(minimize(loss, start, jac=True, method="L-BFGS-B").x, logs)

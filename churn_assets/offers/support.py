"""Where an arm was never possible: found in a log's zeros, and said as conditions of the arm. Decides about nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn_assets.arms import Condition, Menu
from churn_assets.offers.as_of import rows_before
from churn_assets.offers.dependence import plain_columns
from churn_assets.offers.eligibility import may_get

if TYPE_CHECKING:
    from churn_assets.customers.schema import FeatureSpec
    from churn_assets.customers.table import CustomerTable
    from churn_assets.offers.log import OfferLog

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

FEWEST = 20
"""Customers who could get an arm, of a group that conditions are found by."""
LEAST_REACHED = 0.5
"""Of those who could get an arm, at least so many must keep the conditions: they are then what it went by."""
MOST_STRANGE = 0.005
"""Of the customers who keep conditions that were found without them, at most so many could not get the arm: conditions
that hold by chance let as many in as anybody."""


def never_possible(log: OfferLog, customers: CustomerTable) -> Bools:
    """(N, K) customers for whom an arm was not possible in any of their decisions, though their conditions allow it.

    Of a panel, or where the log has features of its own, N rows of `rows_before`: what they were like at the time.

    An arm that nobody could get in a week was not there yet, or no more; one that is impossible only soon after another
    offer is so for a time. Neither says anything of the customer.
    """
    known, place = rows_before(log, customers)
    zero = log.propensities == 0
    wave = np.unique(log.frame["wave"].to_numpy(), return_inverse=True)[1]
    offered = np.stack([np.bincount(wave, ~each) > 0 for each in zero.T], axis=1)[wave]
    said = zero & offered & (log.prior_offers == 0)[:, None]
    ever, never = (
        np.stack([np.bincount(place, each, len(known)) > 0 for each in mask.T], axis=1)
        for mask in (~zero, said)
    )
    return np.asarray(never & ~ever & may_get(log.menu, known.frame))


def where_possible(log: OfferLog, customers: CustomerTable) -> Menu:
    """The log's menu; an arm that some customers could never get has conditions that keep it from all like them.

    Conditions are those of one group of customers who all could get it, the largest that a tree of features finds:
    nobody who could not keeps them. Where zeros go by something else than features there is no such group, and the arm
    stays as it is: a gate refuses the log then.
    """
    never = never_possible(log, customers)
    if not never.any():
        return log.menu
    known, place = rows_before(log, customers)
    arms = []
    for number, arm in enumerate(log.menu):
        could = np.bincount(place, log.propensities[:, number] > 0, len(known)) > 0
        found = _conditions(known, could, never[:, number]) if never[:, number].any() else ()
        arms.append(arm.model_copy(update={"eligible": (*arm.eligible, *found)}))
    return Menu(tuple(arms))


def _conditions(customers: CustomerTable, could: Bools, never: Bools) -> tuple[Condition, ...]:
    """What all who could keep, or most of them, and nobody who never could; nothing where halves do not bear it out."""
    half = pd.factorize(customers.ids)[0] % 2 == 0
    for learned in (half, ~half):
        found = _group(customers, could & learned, never & learned)
        inside = _keep(found, customers) & (could | never) & ~learned
        if not found or (never & inside).sum() > MOST_STRANGE * inside.sum():
            return ()
    found = _group(customers, could, never)
    return found if (_keep(found, customers) & could).sum() >= LEAST_REACHED * could.sum() else ()


def _group(customers: CustomerTable, could: Bools, never: Bools) -> tuple[Condition, ...]:
    """Conditions of the largest group of a tree in which everybody could."""
    from sklearn.tree import DecisionTreeClassifier  # serving reads logs without it

    told = could | never
    columns = np.column_stack([each for _, each in plain_columns(customers)])[told].astype(np.float32)
    tree = DecisionTreeClassifier(min_samples_leaf=FEWEST, random_state=0).fit(columns, could[told])
    leaf = tree.apply(columns)
    sizes = np.bincount(leaf)
    sizes[np.unique(leaf[~could[told]])] = 0
    if not sizes.any():
        return ()
    inside = np.zeros(len(customers), dtype=bool)
    inside[told] = leaf == sizes.argmax()
    kept = [each for feature in customers.schema.features for each in _common(feature, customers, inside)]
    for each in list(kept):  # a condition that keeps nobody out who could not says nothing
        fewer = tuple(other for other in kept if other is not each)
        if fewer and not (_keep(fewer, customers) & never).any():
            kept.remove(each)
    return tuple(kept)


def _common(feature: FeatureSpec, customers: CustomerTable, inside: Bools) -> list[Condition]:
    """What the customers inside have in common; nothing where a feature is blank of some."""
    values = customers.X[inside, customers.schema.names.index(feature.name)]
    if np.isnan(values).any():
        return []
    if feature.kind == "numeric":
        least = Condition(column=feature.name, at_least=float(values.min()))
        return [least, Condition(column=feature.name, at_most=float(values.max()))]
    levels = tuple(feature.categories[int(code)] for code in np.unique(values))
    return [Condition(column=feature.name, one_of=levels)]


def _keep(conditions: tuple[Condition, ...], customers: CustomerTable) -> Bools:
    """(N,) who keeps all of some conditions."""
    kept = np.ones(len(customers), dtype=bool)
    for each in conditions:
        feature = customers.schema.features[place := customers.schema.names.index(each.column)]
        values = customers.X[:, place]
        if feature.kind == "numeric":
            kept &= each.among(values)
        else:
            means = np.array([*map(each.means, feature.categories), False])
            kept &= means[np.where(np.isnan(values), -1, values).astype(np.int64)]
    return kept

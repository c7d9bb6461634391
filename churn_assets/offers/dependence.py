"""Whether choices go with what is known of customers, or with time, beyond what propensities say. Judges nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import erfc

from churn_assets.offers.as_of import rows_before
from churn_assets.offers.log import CONTROL, UNIT

if TYPE_CHECKING:
    from churn_assets.customers.table import CustomerTable
    from churn_assets.offers.log import OfferLog

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PARTS = 5
"""Parts of a number by its quantiles: what goes up and down with it again leaves no slope."""
LEAVES = 16
"""Of a tree of features together. Few, as whatever it finds must show on other customers."""
LEAST_IN_LEAF = 20
HALVES = 2
"""Trees look at one half of the customers and are tested on the other."""
SEVERAL = "features together"
CLEAR = 1e-6
"""A single column with as small a p-value is named, even where several features together show more."""


class Dependence(NamedTuple):
    """How an arm's residuals go with a column, and how probable as much is where nothing does."""

    arm: str
    column: str
    z: float
    p_value: float


def dependence(log: OfferLog, customers: CustomerTable) -> Dependence:
    """What the residuals of any arm, chosen less propensity, go with most.

    Each arm's residuals are summed against every feature and its fifths, earlier offers, the time, negative controls
    (what no offer can have changed: Lipsitch, Tchetgen Tchetgen & Cohen 2010), and against what a tree of all features
    together finds on other customers. The p-value is corrected for how many sums there are (Bonferroni).

    If the propensities are true, the variance of a sum is known: that of chance by them. Decisions about a customer
    that hang together make it larger; the larger one counts. The known one keeps rare arms from alarming: where none of
    few is chosen, the observed spread is next to nothing.
    """
    known, row = rows_before(log, customers)
    place, customer = log.clusters(log.positions(customers.ids)), pd.factorize(known.ids)[0]
    residual, chance = residuals(log)
    found: list[tuple[float, str, str]] = []
    if UNIT in log.frame:  # customers of one draw hang together: decisions are looked at one by one
        columns = ((name, column[row]) for name, column in _of_customers(known))
        told = _each_z(residual, chance, columns, place)
    else:
        of_row = [_by_customer(each, row, len(known)) for each in (residual, chance)]
        several = _zs if len(known) == len(np.unique(customer)) else _each_z
        told = several(of_row[0], of_row[1], _of_customers(known), customer)
    for name, z in told:
        found += [(float(each), arm, name) for each, arm in zip(z, log.menu.ids, strict=True)]
    for name, column in (*_of_decisions(log), (SEVERAL, _learned(log, known.X[row], residual, place))):
        z = _z(residual, chance, column.reshape(len(log), -1), place)
        found += [(float(each), arm, name) for each, arm in zip(z, log.menu.ids, strict=True)]
    ranked = [
        Dependence(arm_id, name, z, min(1.0, len(found) * float(erfc(abs(z) / np.sqrt(2)))))
        for z, arm_id, name in sorted(found, key=lambda each: -abs(each[0]))
    ]
    alone = next(each for each in ranked if each.column != SEVERAL)
    return alone if alone.p_value < CLEAR else ranked[0]


def residuals(log: OfferLog) -> tuple[Floats, Floats]:
    """(n, K) what was chosen less its propensity, and (n, K) variances of that by chance; 0 for an impossible arm.

    Where only the chosen arm's propensity is known, how often an arm was chosen is weighted by its inverse instead: 1
    on average for every decision, whatever the others were. The share of the arm makes it as large as a residual.
    """
    p = log.propensities
    chosen = np.arange(len(log.menu)) == log.arm[:, None]
    if log.known_by != "logged_chosen":
        return chosen - p, p * (1 - p)
    share = chosen.mean(axis=0)
    weight = np.divide(chosen, p, out=np.zeros_like(p), where=chosen)
    spread = np.divide(1 - p, p, out=np.zeros_like(p), where=p > 0)
    return np.where(p > 0, share * (weight - 1), 0.0), share**2 * spread


def standardised_sum(residual: Floats, chance: Floats, cluster: Ints) -> float:
    """Sum of residuals (n,) over its standard error: the larger one of chance (n,) variances and of clusters (n,)."""
    spread = max(float(chance.sum()), float((np.bincount(cluster, residual) ** 2).sum()))
    return float(residual.sum() / np.sqrt(spread)) if spread > 0 else 0.0


def _by_customer(values: Floats, place: Ints, count: int) -> Floats:
    return np.column_stack([np.bincount(place, each, count) for each in values.T])


def _z(residual: Floats, chance: Floats, columns: Floats, cluster: Ints) -> Floats:
    """(K,) of each arm's residuals (m, K), with one column (m, 1) or one of each arm (m, K), by clusters (m,)."""
    total = chance.sum(axis=0)
    centre = np.divide((chance * columns).sum(axis=0), total, out=np.zeros_like(total), where=total > 0)
    centred = columns - centre
    terms = residual * centred
    terms = _by_customer(terms, cluster, int(cluster.max()) + 1)
    spread = np.sqrt(np.maximum((terms**2).sum(axis=0), (chance * centred**2).sum(axis=0)))
    z: Floats = np.divide(terms.sum(axis=0), spread, out=np.zeros_like(spread), where=spread > LEAST_SPREAD)
    return z


def _each_z(
    residual: Floats, chance: Floats, columns: Iterable[tuple[str, Floats]], cluster: Ints
) -> Iterator[tuple[str, Floats]]:
    for name, column in columns:
        yield name, _z(residual, chance, column[:, None], cluster)


def _zs(
    residual: Floats, chance: Floats, columns: Iterable[tuple[str, Floats]], cluster: Ints
) -> Iterator[tuple[str, Floats]]:
    """As `_each_z` where every row is a cluster of its own: sums of products, some columns at a time."""
    del cluster
    squared, total = residual**2, chance.sum(axis=0)[:, None]
    ours, squares = residual.sum(axis=0)[:, None], squared.sum(axis=0)[:, None]
    for some in _batched(columns, AT_A_TIME):
        names, values = [name for name, _ in some], np.column_stack([column for _, column in some])
        values = values - values.mean(axis=0)  # so that no two large sums are told from one another
        twice = values**2
        chances = chance.T @ values
        centre = np.divide(chances, total, out=np.zeros_like(chances), where=total > 0)
        shown = residual.T @ values - centre * ours
        told = squared.T @ twice - 2 * centre * (squared.T @ values) + centre**2 * squares
        known = chance.T @ twice - 2 * centre * chances + centre**2 * total
        spread = np.sqrt(np.maximum(np.maximum(told, known), 0.0))
        found = np.divide(shown, spread, out=np.zeros_like(spread), where=spread > LEAST_SPREAD)
        yield from zip(names, found.T, strict=True)


AT_A_TIME = 32
"""Columns; of many rows and arms more would fill the memory."""


def _batched(columns: Iterable[tuple[str, Floats]], size: int) -> Iterator[list[tuple[str, Floats]]]:
    """Some at a time, in order."""
    left = iter(columns)
    while some := list(islice(left, size)):
        yield some


LEAST_SPREAD = 1e-9
"""Of a sum that is more than rounding."""


def plain_columns(customers: CustomerTable) -> Iterator[tuple[str, Floats]]:
    """Name and (N,) of each number, standardised with a blank as the mean, and of each category as zeros and ones."""
    for place, feature in enumerate(customers.schema.features):
        values = customers.X[:, place]
        if feature.kind == "numeric":
            known = (values - feature.mean) / (feature.std or 1.0)
            yield feature.name, np.where(np.isnan(values), 0.0, known)
        for code, level in enumerate(feature.categories):
            yield f"{feature.name} {level}", (values == code).astype(np.float64)


def _of_customers(customers: CustomerTable) -> Iterator[tuple[str, Floats]]:
    """Name and (N,) numbers: features, fifths of numbers, categories and blanks as zeros and ones."""
    yield from plain_columns(customers)
    for place, feature in enumerate(customers.schema.features):
        values = customers.X[:, place]
        if (blank := np.isnan(values)).any():
            yield f"{feature.name}, blank", blank.astype(np.float64)
        if feature.kind == "numeric":
            yield from _parts(feature.name, values)


def _of_decisions(log: OfferLog) -> Iterator[tuple[str, Floats]]:
    """Name and (n,) numbers that differ between decisions about one customer."""
    wave = log.frame["wave"].to_numpy(np.float64)
    yield "time", wave - wave.mean()
    yield from _parts("time", wave)
    yield "prior_offers", np.minimum(log.prior_offers, 3).astype(np.float64)
    for name in (each for each in log.frame.columns if each.startswith(CONTROL)):
        values = log.frame[name].to_numpy(np.float64)
        yield (
            f"the negative control {name.removeprefix(CONTROL)}",
            (values - values.mean()) / (values.std() or 1.0),
        )


def _parts(name: str, values: Floats) -> Iterator[tuple[str, Floats]]:
    known = values[~np.isnan(values)]
    edges = np.unique(np.quantile(known, np.linspace(0, 1, PARTS + 1)[1:-1])) if len(known) else known
    for number, upper in enumerate(edges):
        lower = -np.inf if number == 0 else edges[number - 1]
        yield f"{name} up to {upper:g}", ((values > lower) & (values <= upper)).astype(np.float64)


def _learned(log: OfferLog, X: Floats, residual: Floats, place: Ints) -> Floats:
    """(n, K) what a tree of features and time says of the residuals, learned from other customers."""
    from sklearn.tree import DecisionTreeRegressor  # serving reads logs without it

    inputs = np.column_stack([X, log.prior_offers, log.frame["wave"].to_numpy(np.float64)]).astype(np.float32)
    half = np.random.default_rng(0).integers(HALVES, size=place.max() + 1)[place]
    found = np.zeros_like(residual)
    for held in range(HALVES):
        rows = half != held
        if not rows.any() or rows.all():
            continue
        tree = DecisionTreeRegressor(
            max_leaf_nodes=LEAVES, min_samples_leaf=max(LEAST_IN_LEAF, len(log) // 100), random_state=0
        )
        tree.fit(inputs[rows], residual[rows])
        found[~rows] = tree.predict(inputs[~rows]).reshape(-1, residual.shape[1])
    return found

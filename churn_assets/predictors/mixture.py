"""Probabilities that differ between customers of equal features, around a mean that is known."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from churn_assets.predictors.grid import Floats
from churn_assets.predictors.probability import between, logistic, logit

_LEAST = 1e-9
"""Probabilities are this far from 0 and 1 before their logit is taken."""
_EDGE = 21.0
_GRID = 1025


class Nodes(NamedTuple):
    """A distribution of mean 0 and unit variance by few points; the first carries what rounding leaves."""

    at: tuple[float, ...]
    share: tuple[float, ...]


NORMAL = Nodes((0.0, -(3**0.5), 3**0.5), (2 / 3, 1 / 6, 1 / 6))
"""Gauss–Hermite: a normal's moments up to the fifth."""
EITHER = Nodes((1.0, -1.0), (0.5, 0.5))
ALIKE = Nodes((0.0,), (1.0,))


def normal(count: int) -> Nodes:
    """A normal distribution by an odd number of points, the middle one first."""
    at, weight = np.polynomial.hermite_e.hermegauss(count)
    order = np.argsort(np.abs(at), kind="stable")
    share = weight / weight.sum()
    return Nodes(tuple(at[order].tolist()), tuple(share[order].tolist()))


def spread(probability: Floats, sd: float, nodes: Nodes) -> Floats:
    """(n, J, …) probabilities of types whose logits lie `sd` apart and whose mean is the `probability` (n, …)."""
    found = np.empty((len(probability), len(nodes.at), *probability.shape[1:]))
    if len(nodes.at) == 1:
        found[:, 0] = probability
        return found
    centre = logit(probability, _LEAST)
    centre += np.interp(centre, *_shifts(sd, nodes))
    rest = np.array(probability)
    for each in range(1, len(nodes.at)):
        found[:, each] = logistic(centre + sd * nodes.at[each])
        rest -= nodes.share[each] * found[:, each]
    found[:, 0] = between(0.0, rest / nodes.share[0], 1.0)
    return found


@lru_cache(maxsize=64)
def _shifts(sd: float, nodes: Nodes) -> tuple[Floats, Floats]:
    """Logits of a mean, and what to add to them so that the types have it."""
    mean = np.linspace(-_EDGE, _EDGE, _GRID)
    low, high = np.full(_GRID, -4 - sd * sd), np.full(_GRID, 4 + sd * sd)
    aimed = logistic(mean)
    for _ in range(45):
        tried = (low + high) / 2
        each = [
            share * logistic(mean + tried + sd * at) for at, share in zip(nodes.at, nodes.share, strict=True)
        ]
        above = np.sum(each, axis=0) > aimed
        low, high = np.where(above, low, tried), np.where(above, tried, high)
    return mean, (low + high) / 2

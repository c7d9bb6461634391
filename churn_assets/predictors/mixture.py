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
"""No logit of a probability so far from 0 and 1 lies beyond."""
_GRID = 1025
_LOGITS = np.linspace(-_EDGE, _EDGE, _GRID)
_CELLS_A_UNIT = (_GRID - 1) / (2 * _EDGE)


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
    return spread_each(probability, (sd,), nodes)[:, 0]


def spread_each(probability: Floats, sds: tuple[float, ...], nodes: Nodes) -> Floats:
    """(n, len(sds), J, …) `spread` of the `probability` (n, …) by each of several distances."""
    if len(nodes.at) == 1:
        return np.stack([probability[:, None]] * len(sds), axis=1)
    centre = logit(probability, _LEAST)
    found = np.empty((len(centre), len(sds), len(nodes.at), *centre.shape[1:]))
    others = found[:, :, 1:]
    cell = ((centre + _EDGE) * _CELLS_A_UNIT).astype(np.int64)
    within = centre - _LOGITS.take(cell)
    for place, sd in enumerate(sds):
        shift, slope = _shifts(sd, nodes)
        moved = centre + (slope.take(cell) * within + shift.take(cell))
        for each, at in enumerate(nodes.at[1:]):
            np.add(moved, sd * at, out=others[:, place, each])
    others[:] = logistic(others)
    rest = probability[:, None]
    for each, share in enumerate(nodes.share[1:]):
        rest = rest - share * others[:, :, each]
    found[:, :, 0] = between(0.0, rest / nodes.share[0], 1.0)
    return found


@lru_cache(maxsize=64)
def _shifts(sd: float, nodes: Nodes) -> tuple[Floats, Floats]:
    """What to add to the `_LOGITS` of a mean so that the types have it, and how it rises from each to the next."""
    mean = _LOGITS
    low, high = np.full(_GRID, -4 - sd * sd), np.full(_GRID, 4 + sd * sd)
    aimed = logistic(mean)
    for _ in range(45):
        tried = (low + high) / 2
        each = [
            share * logistic(mean + tried + sd * at) for at, share in zip(nodes.at, nodes.share, strict=True)
        ]
        above = np.sum(each, axis=0) > aimed
        low, high = np.where(above, low, tried), np.where(above, tried, high)
    shift = (low + high) / 2
    return shift, np.append(np.diff(shift) / np.diff(mean), 0.0)

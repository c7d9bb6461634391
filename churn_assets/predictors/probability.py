"""From logits to probabilities and back, alike for one row and for many."""

from __future__ import annotations

import numpy as np

from churn_assets.predictors.grid import Floats

_NO_OVERFLOW = 700.0


def logistic(logit: Floats) -> Floats:
    """Probability of any logit."""
    found = np.negative(logit, out=np.empty(np.shape(logit)))
    np.minimum(found, _NO_OVERFLOW, out=found)
    np.exp(found, out=found)
    found += 1
    return np.divide(1, found, out=found)


def logit(probability: Floats, least: float) -> Floats:
    """Logit of a probability that is first brought into [least, 1 - least]."""
    inside = between(least, probability, 1 - least)
    return np.asarray(np.log(inside / (1 - inside)))


def between(least: float, values: Floats, most: float) -> Floats:
    """As `np.clip`, which for a few numbers is far slower."""
    return np.asarray(np.minimum(np.maximum(values, least), most))


def mean(values: Floats) -> Floats:
    """Over the first axis, in one order however many rows there are."""
    total = values[0].copy()
    for each in values[1:]:
        total += each
    return np.asarray(total / len(values))

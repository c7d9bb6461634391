"""A figure with its standard error, where rows of one customer belong together. No thresholds."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

Z_TWO_SIDED_95 = 1.959964
Z_ONE_SIDED_95 = 1.644854


@dataclass(frozen=True)
class Estimate:
    """A point estimate and its standard error, both in the unit of what is estimated."""

    value: float
    standard_error: float

    @property
    def z(self) -> float:
        """Standard errors away from zero; 0 where the standard error is 0."""
        return self.value / self.standard_error if self.standard_error > 0 else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Two-sided 95 % normal interval."""
        half = Z_TWO_SIDED_95 * self.standard_error
        return self.value - half, self.value + half

    @property
    def lower_bound(self) -> float:
        """One-sided 95 % lower bound."""
        return self.value - Z_ONE_SIDED_95 * self.standard_error

    def wider(self, error: float) -> Estimate:
        """The same with another, independent standard error beside its own."""
        return Estimate(self.value, float(np.hypot(self.standard_error, error)))

    def lower_bound_at(self, confidence: float) -> float:
        """One-sided lower bound that lies below the truth with this probability; at 0.5 the estimate itself."""
        return self.value - NormalDist().inv_cdf(confidence) * self.standard_error


def clustered(value: float, influence: Floats, cluster: Integers) -> Estimate:
    """An estimate whose rows are independent between clusters only (Liang & Zeger 1986).

    Args:
        value: The estimate.
        influence: (n,) each row's influence on it, with mean 0.
        cluster: (n,) index of each row's customer.

    Returns:
        The estimate; its standard error is nan where there are fewer than two clusters.
    """
    total = np.bincount(cluster, weights=influence)[np.bincount(cluster) > 0]
    if len(total) < 2:
        return Estimate(value, float("nan"))
    variance = len(total) / (len(total) - 1) * float((total**2).sum()) / len(influence) ** 2
    return Estimate(value, float(np.sqrt(variance)))


def clustered_mean(values: Floats, cluster: Integers) -> Estimate:
    """Mean of (n,) values, clustered."""
    mean = float(values.mean())
    return clustered(mean, values - mean, cluster)

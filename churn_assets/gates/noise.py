"""Gates on estimates: a limit, the noise around it, and which fault beyond it is seen. Knows no stage."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np

from churn_assets.gates.estimates import Estimate
from churn_assets.gates.report import Gate

LEAST_CHANCE = 0.0015
"""How seldom what no more than keeps a limit is refused."""
POWER = 0.8
"""How often a gate that noise can fail sees what it says that it sees."""

_NORMAL = NormalDist()
Z_POWER = _NORMAL.inv_cdf(0.9)
"""More than `POWER`, so that what is said holds though standard errors are estimates and tails skewed."""


@dataclass(frozen=True)
class NoiseBand:
    """How far off its truth a figure may be by chance.

    A gate refuses a figure beyond its limit and the band: what keeps the limit is refused once in 1 / `chance`, and
    what is beyond it by `seen` is found with power `POWER` (Lehmann & Romano 2005, section 3.3: a one-sided test of
    a normal mean).

    Attributes:
        standard_error: Of the figure; one that is not known (NaN) makes no band.
        width: How far beyond the limit the figure may be.
        seen: How far beyond the limit the truth must be to be found with power `POWER`.
    """

    standard_error: float
    width: float
    seen: float

    @classmethod
    def of(cls, standard_error: float, chance: float = 0.025) -> NoiseBand:
        """The band beyond which a figure is once in 1 / `chance`, on the side that is refused."""
        known, z = float(np.nan_to_num(standard_error)), -_NORMAL.inv_cdf(chance)
        return cls(known, z * known, (z + Z_POWER) * known)

    @classmethod
    def above_share(cls, limit: float, standard_error: float, chance: float) -> NoiseBand:
        """Above a limit that lies from 0 to 1, as of an AUC: never as wide as the way to 1.

        Normal on the scale of logits (Pepe 2003, section 5.2.6).
        """
        if not 0 < limit < 1:
            return cls.of(0.0, chance)
        scaled = cls.of(standard_error / (limit * (1 - limit)), chance)
        odds = (1 - limit) / limit
        width, seen = (1 / (1 + odds * float(np.exp(-each))) - limit for each in (scaled.width, scaled.seen))
        return cls(float(np.nan_to_num(standard_error)), width, seen)


def gate_beyond_noise(
    name: str, found: Estimate, bound: Literal[">=", "<="], limit: float, band: NoiseBand, detail: str = ""
) -> Gate:
    """A gate that only a figure beyond its limit and the noise fails; its detail says what it sees.

    >>> print(gate_beyond_noise("auc", Estimate(0.78, 0.01), ">=", 0.8, NoiseBand.of(0.01)))
    auc is 0.78, needed >= 0.7804 (0.8 less the noise, standard error 0.01; a true 0.768 is found 8 times in 10)
    """
    sign = -1 if bound == ">=" else 1
    told = (
        f"{limit:g} {'less' if sign < 0 else 'and'} the noise, standard error {band.standard_error:.3g}; a true "
        f"{limit + sign * band.seen:.3g} is found 8 times in 10"
    )
    return Gate(name, found.value, bound, limit + sign * band.width, f"{detail}; {told}" if detail else told)


def gate_no_worse(name: str, excess: Estimate, tolerated: float, detail: str) -> Gate:
    """A gate on how much worse than the champion: an equal one fails once in 40, or less often where more is tolerated.

    What is tolerated and the noise are not added up: a model that is certainly worse would lead.

    >>> print(gate_no_worse("loss", Estimate(0.004, 0.001), 0.001, "nats"))
    loss is 0.004, needed <= 0.00195996 (nats; 0.001 or the noise; a true 0.00324 is found 8 times in 10)
    """
    band = NoiseBand.of(excess.standard_error)
    limit = max(tolerated, band.width)
    seen = limit + band.seen - band.width
    told = f"{detail}; {tolerated:g} or the noise; a true {seen:.3g} is found 8 times in 10"
    return Gate(name, excess.value, "<=", limit, told)


def seen_deviation(limit: float) -> str:
    """What a gate on standard errors sees, for its detail."""
    return f"one of {limit + Z_POWER:.1f} is found 8 times in 10"

"""Inference that may be looked at as often as one likes: confidence sequences, e-processes, shared error.

A fixed-sample interval that is asked again at every look is wrong at some look with a probability that goes to 1. What
stands here holds at all looks together (Ville 1939): whoever looks may stop when they please.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from churn_assets.gates.estimates import Estimate, Floats

SPENDING_POWER = 1.6
"""Of the shares of an error that is spent over a sequence without a known end; the one of LORD++ (Ramdas, Yang,
Wainwright & Jordan 2017) and of alpha spending in the R package onlineFDR."""
_SPENT = 2.2857656  # the sum of k ** -1.6 over all k: Riemann's zeta at 1.6
_BETS = 20
_NEVER = 10**15


@dataclass(frozen=True)
class Bounds:
    """An estimate with bounds that hold at all looks together, each side with its own error.

    Attributes:
        estimate: At this look, with its fixed-sample standard error.
        lower: The truth lies above it, at every look so far and to come, but for `error`.
        upper: The truth lies below it, likewise.
        error: Of each side.
    """

    estimate: Estimate
    lower: float
    upper: float
    error: float


def share_of_error(number: int, error: float) -> float:
    """What the number-th of a sequence of tests may err, so that all of them together err by `error` at most.

    Proportional to number ** -1.6, for any number of tests: those that come first get most.

    Args:
        number: From 1.
        error: In (0, 1).
    """
    return error * math.pow(number, -SPENDING_POWER) / _SPENT


def mixture_z(progress: float, error: float) -> float:
    """How many standard errors a one-sided bound lies from the estimate if it is to hold at all looks.

    The boundary of the one-sided normal mixture (Robbins 1970; Howard, Ramdas, McAuliffe & Sekhon 2021, Ann. Statist.
    49, eq. 3.8): a sum with variance V stays below ``sqrt(2 (V + r) log(1 + sqrt((V + r) / r) / (2 error)))`` at all
    times but for `error`; r is set so that the bound is tightest at `progress` 1. For sums of independent customers
    it holds asymptotically (Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas 2024, Ann. Statist. 52), also if the variance
    and the nuisances of a doubly robust estimate are estimated. Where a customer comes again, increments go together,
    and by Slepian's inequality (1962) a boundary is then crossed no more often.

    Args:
        progress: Rows so far over those for which the bound is to be tightest, above 0.
        error: Of this side, in (0, .5).
    """
    told = -2 * math.log(2 * error)
    ratio = progress * (told + math.log1p(told))  # V / r
    return math.sqrt(2 * (1 + 1 / ratio) * math.log1p(math.sqrt(1 + ratio) / (2 * error)))


def bounds_at(estimate: Estimate, rows: int, planned: int, error: float) -> Bounds:
    """Bounds of an estimate that is looked at again and again as rows come.

    Args:
        estimate: Of all rows so far, asymptotically normal, with its standard error, clustered by customer.
        rows: Behind it.
        planned: Rows for which the bounds are to be tightest; a guess that is wrong tenfold costs a tenth.
        error: Of each side, in (0, .5).

    Returns:
        The bounds; infinite where the standard error is no number.
    """
    if not (rows > 1 and math.isfinite(estimate.standard_error)):
        return Bounds(estimate, -math.inf, math.inf, error)
    reach = mixture_z(rows / planned, error) * estimate.standard_error
    return Bounds(estimate, estimate.value - reach, estimate.value + reach, error)


def more_needed(bounds: Bounds, rows: int, planned: int, bar: float = 0.0) -> int | None:
    """How many more rows until a lower bound exceeds a bar, if the estimate stays where it is; None for never.

    Args:
        bounds: At this look.
        rows: Behind them.
        planned: As in `bounds_at`.
        bar: What the lower bound must exceed.
    """
    if bounds.lower > bar:
        return 0
    above = bounds.estimate.value - bar
    error = bounds.estimate.standard_error
    if not (above > 0 and math.isfinite(error)):
        return None

    def reached(times: float) -> bool:
        z = mixture_z(times * rows / planned, bounds.error)
        return above > z * error / math.sqrt(times)

    times = 2.0
    while not reached(times):
        times *= 2
        if times * rows > _NEVER:
            return None
    low, high = times / 2, times
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return math.ceil((high - 1) * rows)


def evidence_above(values: Floats, limit: float) -> float:
    """The most that a bettor had at any time who bets that a mean exceeds a limit, having begun with 1: an e-process.

    If the mean of each value, given those before it, is at most the limit, it ever reaches ``1 / error`` with a
    probability of at most `error`. Capital is spread over a grid of constant bets; of values that are 0 or 1 it is the
    likelihood ratio, mixed over rates above the limit (Waudby-Smith & Ramdas 2024, JRSS B 86; Robbins 1970).

    Args:
        values: (n,) in [0, 1], one of each customer, in the order in which they became known.
        limit: In (0, 1).

    Raises:
        ValueError: A value or the limit lies outside.
    """
    if not (0 < limit < 1 and (len(values) == 0 or (values.min() >= 0 and values.max() <= 1))):
        raise ValueError(f"found values or a limit ({limit}) outside of 0 to 1")
    if not len(values):
        return 1.0
    rates = 1 - (1 - limit) * np.geomspace(1.0, 0.02, _BETS + 1)[1:]
    low = limit * np.geomspace(1.0, 4.0, _BETS + 1)[1:]
    rates = np.concatenate([low[low < 1], rates])
    bets = (rates - limit) / (limit * (1 - limit))
    capital = np.full(len(values), -np.inf)
    for bet in bets:
        np.logaddexp(capital, np.cumsum(np.log1p(bet * (values - limit))), out=capital)
    return float(np.exp(max(0.0, min(capital.max() - math.log(len(bets)), 700.0))))

"""Which arm a customer gets who explores: with what probability, by what the models take the arms to be worth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_COOLING = 2.0
"""An arm at the end of the reach is e ** -2 times as likely as the best one."""


@dataclass(frozen=True, slots=True)
class Plausible:
    """A tempered choice among arms that may yet be the best, by their expected values.

    Most of what exploring costs is spent on arms that are far from the best for the customer; what a comparison and the
    next model lack are outcomes of arms that are near it (Kasy & Sautmann 2021, Econometrica 89, for the like of it in
    waves of a trial).

    Attributes:
        reach: An arm is plausible if it is expected to be worth less than the best by no more than this share of the
            largest value, as an amount, of any arm of the customer.
        floor: Least probability of each arm that is possible, plausible or not: what was never tried is never known.
    """

    reach: float = 0.2
    floor: float = 0.005

    def __post_init__(self) -> None:
        if not (self.reach > 0 and 0 <= self.floor < 1):
            raise ValueError(f"exploration: found {self}, expected a reach above 0 and a floor of 0 to 1")

    def shares(self, values: Sequence[float]) -> list[float]:
        """Probability of each of the arms that are possible; they add up to 1.

        Args:
            values: What each is expected to be worth, in money.
        """
        best = max(values)
        reach = self.reach * max(map(abs, values))
        weights = [
            math.exp(-_COOLING * (best - value) / reach) if best - value <= reach and reach else value == best
            for value in values
        ]
        total, floor = sum(weights), min(self.floor, 1 / len(values))
        free = 1 - floor * len(values)
        return [floor + free * weight / total for weight in weights]


@dataclass(frozen=True, slots=True)
class TopTwo:
    """Top-two Thompson sampling: an arm that may be the best, or half the time the next one that may be.

    An arm is drawn by the probability that it is the best, given what the log leaves open; half the time it is put
    aside, and another is drawn in the same way (Russo 2020, Operations Research 68). The probabilities of both draws
    together are in closed form, so propensities are as exact as those of any other design. It adapts from release to
    release: an arm that certainly is not the best is tried no more than the floor.

    Attributes:
        floor: As of `Plausible`.
    """

    floor: float = 0.005

    def __post_init__(self) -> None:
        if not 0 <= self.floor < 1:
            raise ValueError(f"exploration: found {self}, expected a floor of 0 to 1")

    def shares(self, best: Sequence[float]) -> list[float]:
        """Probability of each of the arms that are possible; they add up to 1.

        Args:
            best: How likely each is the best; those that are not possible now are left out, so they may add up to less.
                Where none of them ever is, each is as likely.
        """
        total = sum(best)
        chances = [each / total for each in best] if total > 0 else [1 / len(best)] * len(best)
        aside = [each / (1 - each) if each < 1 else 0.0 for each in chances]
        shares = [
            each * (0.5 + 0.5 * sum(aside[:place] + aside[place + 1 :])) for place, each in enumerate(chances)
        ]
        floor = min(self.floor, 1 / len(best))
        free = (1 - floor * len(best)) / sum(shares)  # rounding leaves them a little off 1
        return [floor + free * share for share in shares]


def drawn_arm(shares: Sequence[float], which: float) -> int:
    """The place of the arm that a number in [0, 1) draws; never one of probability 0."""
    left = which
    for place, share in enumerate(shares):
        if left < share:
            return place
        left -= share
    return max(place for place, share in enumerate(shares) if share > 0)  # rounding left a rest

"""The shares of a later campaign, from what the log of earlier ones shows; its propensities are as exact as ever."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from churn_assets.arms import ArmError
from churn_assets.campaigns.config import CampaignConfig
from churn_assets.deciding.chance import Shares
from churn_assets.offers.log import OfferLog

Floats = NDArray[np.float64]

DRAWS = 10_000
"""Of which arm is best: a share of a half is known to half a percent."""


def adapted_shares(shares: Shares, log: OfferLog, risk: Floats, config: CampaignConfig, seed: int) -> Shares:
    """Exploration sampling: arms that may yet be the best of a stratum are tried most, none less than the floor.

    ``share = S p (1 - p)``, with p the probability that the arm is the best of those that contact, by the mean decision
    value, weighted by propensity, and its standard error (Kasy & Sautmann 2021, Econometrica 89). As shares depend on
    earlier campaigns alone, later propensities are exact, and estimates weighted by them stay unbiased.

    Args:
        shares: As planned without a log: menu, strata and holdout stay.
        log: Of earlier campaigns.
        risk: (n,) of its decisions' customers.
        config: `floor`, the least share of an arm among those who are contacted.
        seed: Of the draws.

    Raises:
        ArmError: The log never tried an arm, or is of a campaign of the same name, whose draw would come again.
    """
    if f"campaign/{config.name}" in set(log.frame["policy_version"]):
        message = (
            f"campaign.name: found {config.name!r}, of which the log is; expected another, which draws anew"
        )
        raise ArmError(message)
    if untried := [arm for arm in shares.menu.ids if arm not in log.menu.position]:
        message = (
            f"campaign.menu: found {', '.join(untried)}, expected arms of the log: {', '.join(log.menu.ids)}"
        )
        raise ArmError(message)
    rng, stratum = np.random.default_rng(seed), shares.stratum(risk)
    place = np.array([log.menu.position[arm] for arm in shares.menu.ids[1:]])
    found = shares.shares.copy()
    for number in range(len(found)):
        means, errors = _values(log, stratum == number, place)
        best = rng.normal(means, errors, (DRAWS, len(place))).argmax(axis=1)
        p = np.bincount(best, minlength=len(place)) / DRAWS
        wanted = p * (1 - p)
        wanted = wanted / wanted.sum() if wanted.sum() > 0 else p
        floor = min(config.floor, 1 / len(place))
        found[number, 1:] = (1 - found[number, 0]) * (floor + (1 - floor * len(place)) * wanted)
    return replace(shares, shares=found)


def _values(log: OfferLog, inside: NDArray[np.bool_], arms: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Mean decision value of each arm in a stratum, weighted by propensity, and its standard error.

    Of an arm that was hardly tried there, the mean and the spread of all.
    """
    value, spread = log.margin[inside], float(log.margin.std())
    means, errors = np.full(len(arms), float(log.margin.mean())), np.full(len(arms), spread)
    for k, arm in enumerate(arms):
        tried = log.arm[inside] == arm
        if tried.sum() < 2:
            continue
        weight = 1 / log.propensities[inside, arm][tried]
        means[k] = np.average(value[tried], weights=weight)
        errors[k] = np.sqrt(((weight * (value[tried] - means[k])) ** 2).sum()) / weight.sum()
    return means, errors

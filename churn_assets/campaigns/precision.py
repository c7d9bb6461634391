"""What a campaign will cost and how exactly it will tell, before anything is sent. Pure; assigns nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from churn_assets.arms import Menu
from churn_assets.campaigns.config import CampaignConfig
from churn_assets.gates.estimates import Estimate
from churn_assets.offers.economics import Economics

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_NORMAL = NormalDist()


@dataclass(frozen=True, eq=False)
class Planned:
    """Those who may be contacted, as far as a plan knows them.

    Attributes:
        risk: (n,) P(churn) without contact.
        price: (n,) list price a month.
        propensities: (n, K) of the arms; 0 where a customer may not get one.
        decisions: How many of the n are decided for, drawn by chance.
    """

    risk: Floats
    price: Floats
    propensities: Floats
    decisions: int


def variance_of_difference(mean: Floats, square: Floats, treated: Floats, control: Floats) -> float:
    """Variance, times n, of the difference of two means weighted by propensity.

    ``E[(Y - mu)^2 / p_treated] + E[(Y - mu)^2 / p_control]``, of outcomes Y that an arm does not change: with weights
    that are normalised and propensities that are known (Lunceford & Davidian 2004, Statistics in Medicine 23, the
    variance of their second weighted estimator; of one stratum with constant shares it is Neyman's s²/n1 + s²/n0).

    Args:
        mean: (n,) expected outcome of each customer.
        square: (n,) expected square of it.
        treated: (n,) propensity of the arm, above 0.
        control: (n,) propensity of no contact, above 0.
    """
    centre = mean.mean()
    spread = square - 2 * centre * mean + centre**2
    return float((spread / treated + spread / control).mean())


def weighted_difference(outcome: Floats, arm: Ints, propensities: Floats, treated: int) -> Estimate:
    """Mean outcome with an arm less that without contact, among those who could get both, weighted by propensity.

    Args:
        outcome: (n,).
        arm: (n,) index of what was done.
        propensities: (n, K).
        treated: Index of the arm.
    """
    could = (propensities[:, treated] > 0) & (propensities[:, 0] > 0)
    y, done, p = outcome[could], arm[could], propensities[could]
    value, influence = 0.0, np.zeros(len(y))
    for each, sign in ((treated, 1.0), (0, -1.0)):
        weight = (done == each) / p[:, each]
        mean = float(weight @ y / weight.sum()) if weight.any() else math.nan
        value += sign * mean
        influence += sign * weight * (y - mean)
    return Estimate(value, float(np.sqrt((influence**2).sum()) / max(len(y), 1)))


def campaign_plan(
    people: Planned, menu: Menu, config: CampaignConfig, economics: Economics
) -> list[dict[str, Any]]:
    """A row for each arm that contacts: what it costs, which effect pays, and how surely the campaign will see it.

    - `pays_from`: by how much the arm must lower the risk of leaving to pay for itself, at the acceptance that the
      config expects: its mean cost over the mean worth of a customer who stays.
    - `standard_error`: of the effect on leaving, as the campaign will measure it; `money_error` of that on money.
    - `detectable`: the least effect that the test finds with the power asked for.
    - `power`: chance that it finds the effect that pays.
    - `decisions_needed`, `weeks_needed`: until that chance is the power asked for, at this holdout and these shares.
    """
    return [_arm_row(people, menu, arm, config, economics) for arm in range(1, len(menu))]


def _arm_row(
    people: Planned, menu: Menu, arm: int, config: CampaignConfig, economics: Economics
) -> dict[str, Any]:
    could = people.propensities[:, arm] > 0
    row: dict[str, Any] = {"arm": menu.ids[arm], "offer": menu.labels[arm], "eligible": int(could.sum())}
    if not could.any():
        return row | {"decisions": 0.0, "power": 0.0}
    share = people.decisions / len(people.risk)
    risk, price, chances = people.risk[could], people.price[could], people.propensities[could]
    worth = economics.margin * price * economics.value_horizon_months
    benefit = menu.monthly(price)[:, arm] * menu.months[arm]
    spent = config.acceptance * ((1 - risk) * benefit + menu.given_once[arm])
    pays = float((spent + menu.contact_cost[arm]).mean() / worth.mean())
    treated, control = chances[:, arm], chances[:, 0]
    of_one = variance_of_difference(risk, risk, treated, control)
    decided = share * len(risk)
    error = math.sqrt(of_one / decided)
    money = _money_variance(risk, worth, benefit, menu.given_once[arm], config.acceptance, treated, control)
    z = _NORMAL.inv_cdf(1 - config.significance / 2)
    needed = (
        of_one * ((z + _NORMAL.inv_cdf(config.power)) / pays) ** 2 / len(risk) * len(people.risk)
        if pays
        else 0
    )
    return row | {
        "decisions": share * float(treated.sum()),
        "contact_cost": share * float(treated.sum()) * float(menu.contact_cost[arm]),
        "offer_cost": share * float((treated * spent).sum()),
        "offer_cost_most": share * float((treated * (benefit + menu.given_once[arm])).sum()),
        "pays_from": pays,
        "standard_error": error,
        "money_error": math.sqrt(money / decided),
        "detectable": (z + _NORMAL.inv_cdf(config.power)) * error,
        "power": _NORMAL.cdf(pays / error - z) + _NORMAL.cdf(-pays / error - z),
        "decisions_needed": math.ceil(needed),
        "weeks_needed": math.ceil(needed / config.weekly) if config.weekly else None,
    }


def _money_variance(
    risk: Floats,
    worth: Floats,
    benefit: Floats,
    once: float,
    accepted: float,
    treated: Floats,
    control: Floats,
) -> float:
    """As of `variance_of_difference`, of a decision's value: other with the arm, as some accept, than without."""
    with_arm, squared = np.zeros_like(risk), np.zeros_like(risk)
    for stays, takes in product((0, 1), (0, 1)):
        chance = np.where(stays, 1 - risk, risk) * (accepted if takes else 1 - accepted)
        value = stays * (worth - takes * benefit) - takes * once
        with_arm += chance * value
        squared += chance * value**2
    without = (1 - risk) * worth
    spread_with = squared - 2 * with_arm.mean() * with_arm + with_arm.mean() ** 2
    spread_without = (1 - risk) * worth**2 - 2 * without.mean() * without + without.mean() ** 2
    return float((spread_with / treated + spread_without / control).mean())

"""What decisions earned, and how true their forecasts were, from decisions with outcomes. Reads no storage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn_assets.gates.estimates import Estimate, clustered, clustered_mean
from churn_assets.monitoring.config import LiveConfig

Floats = NDArray[np.float64]

NO_OFFER = "propensity_0"


@dataclass(frozen=True)
class Forecast:
    """What was forecast less what happened, as a share.

    Attributes:
        name: What was forecast.
        rows: How many decisions tell.
        error: Observed less forecast; nan where too few tell.
        p: Probability of as large an error of a true forecast.
    """

    name: str
    rows: int
    error: Estimate
    p: float


@dataclass(frozen=True)
class Earned:
    """What decisions earned against no contact.

    Attributes:
        rows: Decisions.
        value: Money a decision.
        no_contact: Money a decision if nobody had been contacted: decisions without contact, weighted by the inverse
            of their propensity (Hájek).
        lift: The difference.
        churn_increase: Share of customers who left, less the share that would have left without contact.
    """

    rows: int
    value: Estimate
    no_contact: Estimate
    lift: Estimate
    churn_increase: Estimate


@dataclass(frozen=True)
class Breach:
    """A guardrail that was broken.

    Attributes:
        rows: Decisions that were looked at.
        reason: What was found and what was allowed.
    """

    rows: int
    reason: str


def forecasts(decisions: pd.DataFrame) -> tuple[Forecast, ...]:
    """How true the forecasts of churn without contact, and of acceptance of what was offered, were.

    Args:
        decisions: Rows of a `LiveLog` with whole outcomes.
    """
    idle = decisions[decisions["offer_pct"] == 0]
    offered = decisions[decisions["offer_pct"] > 0]
    return (
        _forecast("churn without contact", idle, idle["churned"] - idle["risk"]),
        _forecast("acceptance", offered, offered["accepted"] - offered["acceptance"]),
    )


def wrong_forecasts(found: tuple[Forecast, ...], config: LiveConfig) -> tuple[Forecast, ...]:
    """Those that are wrong beyond doubt and by more than is of no consequence (Bonferroni over the forecasts)."""
    return tuple(
        each
        for each in found
        if each.p <= config.false_alarms / len(found) and abs(each.error.value) > config.max_calibration_error
    )


def earned(decisions: pd.DataFrame) -> Earned | None:
    """What decisions earned; None where some could not have been left uncontacted, so that nothing tells.

    Args:
        decisions: Rows with whole outcomes, a margin each, and `propensity_0`.
    """
    idle = decisions[NO_OFFER].to_numpy(np.float64)
    if not len(decisions) or not (idle > 0).all():
        return None
    margin, churned = (decisions[name].to_numpy(np.float64) for name in ("margin", "churned"))
    customer = _customers(decisions)
    weight = np.where(decisions["offer_pct"] == 0, 1 / idle, 0.0)
    if not weight.any():
        return None
    no_contact, lift = _against(margin, weight, customer)
    return Earned(
        rows=len(decisions),
        value=clustered_mean(margin, customer),
        no_contact=no_contact,
        lift=lift,
        churn_increase=_against(churned, weight, customer)[1],
    )


def first_breach(decisions: pd.DataFrame, config: LiveConfig) -> Breach | None:
    """The first guardrail that was broken since a release began to lead, if any.

    Looked at each time the outcomes have doubled, beginning with `min_outcomes`, and each time with half the error
    probability of the time before: however often it is asked, a harmless release is called harmful with a
    probability of at most `false_alarms`.

    Args:
        decisions: All decisions of the release with whole outcomes, oldest first, as for `earned`.
        config: Guardrails.
    """
    for rows, level in looks(len(decisions), config):
        found = earned(decisions.iloc[:rows])
        if found is not None and (why := _broken(found, level, config)):
            return Breach(rows, f"{why} over {rows} decisions")
    return None


def looks(rows: int, config: LiveConfig) -> Iterator[tuple[int, float]]:
    """After how many decisions the guardrails are looked at, up to `rows`, and with which error probability."""
    count, level = config.min_outcomes, config.false_alarms / 2
    while count <= rows:
        yield count, level
        count, level = 2 * count, level / 2


def _broken(found: Earned, level: float, config: LiveConfig) -> str:
    z = NormalDist().inv_cdf(1 - level / 2)  # two guardrails
    most = found.lift.value + z * found.lift.standard_error
    allowed = -config.max_loss * abs(found.no_contact.value)
    if most < allowed:
        return f"lift over no contact is at most {most:+.2f} a decision, allowed {allowed:+.2f},"
    least = found.churn_increase.value - z * found.churn_increase.standard_error
    if least > config.max_churn_increase:
        return (
            f"at least {least:.1%} more customers left than without contact, allowed "
            f"{config.max_churn_increase:.1%},"
        )
    return ""


def _forecast(name: str, decisions: pd.DataFrame, error: pd.Series) -> Forecast:
    known = error.notna().to_numpy()
    values = error.to_numpy(np.float64)[known]
    if len(values) < 2:
        return Forecast(name, len(values), Estimate(float("nan"), float("nan")), 1.0)
    found = clustered_mean(values, _customers(decisions[known]))
    certain = found.standard_error > 0
    return Forecast(name, len(values), found, 2 * NormalDist().cdf(-abs(found.z)) if certain else 1.0)


def _against(outcome: Floats, weight: Floats, customer: NDArray[np.int64]) -> tuple[Estimate, Estimate]:
    """Mean outcome of the weighted rows, and the mean of all less it, with intervals by customer."""
    base = float((weight * outcome).sum() / weight.sum())
    influence = weight * (outcome - base) / weight.mean()
    mean = float(outcome.mean())
    return clustered(base, influence, customer), clustered(mean - base, outcome - mean - influence, customer)


def _customers(decisions: pd.DataFrame) -> NDArray[np.int64]:
    return np.asarray(pd.factorize(decisions["customer_id"])[0], dtype=np.int64)

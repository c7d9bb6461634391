"""What decisions earned, and how true their forecasts were, from decisions with outcomes. Reads no storage."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn_assets.arms import NO_CONTACT_ID
from churn_assets.gates.anytime import evidence_above, mixture_z, share_of_error
from churn_assets.gates.estimates import Estimate, clustered_mean
from churn_assets.monitoring.config import WINDOWS, LiveConfig
from churn_assets.offers.log import propensity_column

Floats = NDArray[np.float64]

NO_CONTACT = propensity_column(NO_CONTACT_ID)
_PLAN = 8
"""Times `min_outcomes` for which the bound over all decisions is tightest."""
_GROWS = 1.25


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
    """What the policy earned against no contact; what exploration costs is not the policy's.

    Attributes:
        rows: Decisions.
        value: Money a decision of the customers who were left to the policy, whom a hash drew.
        no_contact: Money a decision if nobody had been contacted: decisions without contact, the holdout's among
            them, weighted by the inverse of their propensity (Hájek).
        lift: The difference.
        churn_increase: Share of customers who left under the policy, less the share without contact.
        lift_skew: Third moment of the lift's estimate over its standard error; 0 where it is not known.
        churn_skew: The same of `churn_increase`.
    """

    rows: int
    value: Estimate
    no_contact: Estimate
    lift: Estimate
    churn_increase: Estimate
    lift_skew: float = 0.0
    churn_skew: float = 0.0


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

    Of what the chance of a campaign offered there is no forecast.

    Args:
        decisions: Rows of a `LiveLog` with whole outcomes.
    """
    idle = decisions[decisions["arm"] == NO_CONTACT_ID]
    offered = decisions[(decisions["arm"] != NO_CONTACT_ID) & (decisions["assigned"] != "experiment")]
    return (
        _forecast("churn without contact", idle, idle["churned"] - idle["risk"]),
        _forecast("acceptance", offered, offered["accepted"] - offered["acceptance"]),
    )


def wrong_forecasts(found: tuple[Forecast, ...], config: LiveConfig) -> tuple[Forecast, ...]:
    """Those that are wrong beyond doubt and by more than is of no consequence (Bonferroni, over windows too)."""
    level = config.false_alarms / (WINDOWS * len(found))
    return tuple(
        each for each in found if each.p <= level and abs(each.error.value) > config.max_calibration_error
    )


@dataclass(frozen=True)
class Tally:
    """All that `earned` needs of decisions: sums over customers, however many decisions there are.

    A customer's part is (6,): the sums of margin, churn and 1, each weighted as the policy's and as no contact's.

    Attributes:
        rows: Decisions.
        customers: Customers.
        total: (6,) sum of the parts.
        cross: (6, 6) sum of each part's outer product with itself.
        third: (6, 6, 6) sum of the threefold products.
        possible: Whether every decision could have been left without contact.
    """

    rows: int
    customers: int
    total: Floats
    cross: Floats
    third: Floats
    possible: bool

    @classmethod
    def of(cls, rows: int, parts: Floats, *, possible: bool) -> Tally:
        """Of (n, 6) parts of customers who made `rows` decisions."""
        pairs = (parts[:, :, None] * parts[:, None, :]).reshape(-1, 36)
        return cls(
            rows,
            len(parts),
            parts.sum(axis=0),
            pairs.sum(axis=0).reshape(6, 6),
            (pairs.T @ parts).reshape(6, 6, 6),
            possible,
        )

    def __add__(self, other: Tally) -> Tally:
        """Of both, which have no customer in common."""
        return Tally(
            self.rows + other.rows,
            self.customers + other.customers,
            self.total + other.total,
            self.cross + other.cross,
            self.third + other.third,
            self.possible and other.possible,
        )


def tallied(frames: Iterable[pd.DataFrame]) -> Tally:
    """The tally of decisions in frames of which no two have a customer in common; columns as of `earned`."""
    found = Tally.of(0, np.zeros((0, 6)), possible=True)
    for frame in frames:
        idle = frame[NO_CONTACT].to_numpy(np.float64)
        contacted = (frame["arm"] != NO_CONTACT_ID).to_numpy() | ~(idle > 0)
        weight = np.where(contacted, 0.0, 1 / np.where(contacted, 1.0, idle))
        policy = (frame["assigned"] == "policy").to_numpy(np.float64)
        margin, churned = (frame[name].to_numpy(np.float64) for name in ("margin", "churned"))
        place = _customers(frame)
        each = [weights * values for weights in (policy, weight) for values in (margin, churned, 1.0)]
        parts: Floats = np.stack([np.bincount(place, weights=column) for column in each], axis=1)
        found += Tally.of(len(frame), parts, possible=bool((idle > 0).all()))
    return found


def earned(decisions: pd.DataFrame | Tally) -> Earned | None:
    """What the policy earned; None where some could not have been left uncontacted, so that nothing tells.

    Args:
        decisions: Rows with whole outcomes, a margin each, and the propensity of no contact; or their tally.
    """
    tally = decisions if isinstance(decisions, Tally) else tallied([decisions])
    policy, idle = tally.total[2], tally.total[5]
    if not (tally.rows and tally.possible and policy and idle):
        return None
    means = tally.total / np.repeat([policy, idle], 3)
    value, margin_idle = _influence(0, policy, means), _influence(3, idle, means)
    churn, churn_idle = _influence(1, policy, means), _influence(4, idle, means)
    return Earned(
        rows=tally.rows,
        value=_estimate(tally, means[0], value),
        no_contact=_estimate(tally, means[3], margin_idle),
        lift=_estimate(tally, means[0] - means[3], value - margin_idle),
        churn_increase=_estimate(tally, means[1] - means[4], churn - churn_idle),
        lift_skew=_skew(tally, value - margin_idle),
        churn_skew=_skew(tally, churn - churn_idle),
    )


def _influence(column: int, weight: float, means: Floats) -> Floats:
    """(6,) what a customer's part counts in the error of a weighted mean (Hájek), in the unit of the mean."""
    one = 2 if column < 3 else 5
    found = np.zeros(6)
    found[column], found[one] = 1 / weight, -means[column] / weight
    return found


def _estimate(tally: Tally, value: float, influence: Floats) -> Estimate:
    """As `gates.estimates.clustered`, of sums by customer."""
    number = tally.customers
    if number < 2:
        return Estimate(float(value), float("nan"))
    variance = number / (number - 1) * float(influence @ tally.cross @ influence)
    return Estimate(float(value), float(np.sqrt(max(variance, 0.0))))


def _skew(tally: Tally, influence: Floats) -> float:
    spread = float(influence @ tally.cross @ influence)
    if spread <= 1e-12 * float(influence**2 @ tally.cross.diagonal()):
        return 0.0  # policy and no contact are the same decisions: what is left is rounding
    third = float(np.einsum("ijk,i,j,k", tally.third, influence, influence, influence))
    return float(third / spread**1.5)


def skewed_z(z: float, skew: float) -> float:
    """How many standard errors an estimate lies from the truth where a normal one would lie `z`, with its sign.

    A weighted mean of few, of whom few left, is small just where its error is found small, too: bounds that are taken
    for normal then fail on one side. The cubic transformation of Hall (1992, JRSS B 54) takes the skew out.

    Args:
        z: Of the standard normal distribution.
        skew: Third moment of the estimate over its standard error, cubed.
    """
    if abs(skew) < 1e-6:  # of no consequence, and 0 / 0 at 0
        return z
    return 3 / skew * float(np.cbrt(1 + skew * (z - skew / 6)) - 1)


def first_breach(decisions: pd.DataFrame, config: LiveConfig) -> Breach | None:
    """The first guardrail that was broken since a release began to lead, if any.

    Only decisions tell that could have been left without contact; see `breach_in`.

    Args:
        decisions: All decisions of the release with whole outcomes, oldest first, as for `earned`.
        config: Guardrails.
    """
    telling = decisions[telling_rows(decisions)]
    return breach_in(len(telling), lambda start, stop: tallied([telling.iloc[start:stop]]), config)


def breach_in(
    rows: int, tally: Callable[[int, int], Tally], config: LiveConfig, judged: int = 0
) -> Breach | None:
    """The first guardrail that was broken, if any, among the looks that were not taken yet.

    However often it is asked, a harmless release is called harmful with a probability of at most `false_alarms`:
    see `looks`.

    Args:
        rows: How many decisions tell by now.
        tally: Of those from one place to another.
        config: Guardrails.
        judged: How many told when it was asked last.
    """
    for look in looks(rows, config):
        if look.stop <= judged:
            continue
        found = earned(tally(look.start, look.stop))
        if found is not None and (why := broken(found, look.z, config)):
            return Breach(look.stop - look.start, f"{why} over decisions {look.start + 1} to {look.stop}")
    return None


def telling_rows(decisions: pd.DataFrame) -> NDArray[np.bool_]:
    """(n,) which decisions guardrails can judge: those that could have been left without contact."""
    return np.asarray(decisions[NO_CONTACT] > 0)


@dataclass(frozen=True)
class Look:
    """Decisions that are looked at together, from a place to another, and how many standard errors a harm must have."""

    start: int
    stop: int
    z: float


def look_at_all(count: int, config: LiveConfig) -> Look:
    """The first `count` decisions together, by a bound that holds however often it is asked."""
    return Look(0, count, harm_z(count, _error(config) / 4, config))


def looks(rows: int, config: LiveConfig) -> list[Look]:
    """Which decisions are looked at, in the order in which they become known.

    Half the error goes to all decisions since the first, by a bound that holds at every look (`mixture_z`): harm too
    small for one window adds up. Half goes to windows of `min_outcomes`, shared out by `share_of_error`: harm that
    begins late is found within a window. All are looked at each time a quarter more of them have come, as it costs
    reading them; the bound would hold at every single one. Two guardrails share each.
    """
    size, half = config.min_outcomes, _error(config) / 2
    found = [
        Look((k - 1) * size, k * size, NormalDist().inv_cdf(1 - share_of_error(k, half) / 2))
        for k in range(1, rows // size + 1)
    ]
    count = size
    while count <= rows:
        found.append(look_at_all(count, config))
        count = math.ceil(count * _GROWS)
    return sorted(found, key=lambda look: (look.stop, look.start))


_SAID = {
    "contact": "the policy contacts {:.1%} of its customers",
    "complaint": "{:.2%} of the customers whom it contacted complained",
    "opt_out": "{:.2%} of the customers whom it contacted asked not to be contacted again",
}


def limit_breach(decisions: pd.DataFrame, config: LiveConfig) -> Breach | None:
    """Whether a share of customers exceeds a limit of the config, beyond doubt at all looks and limits together.

    Each customer counts once: by the first decision that was left to the policy, and by the first contact it made.
    The evidence is an e-process (`evidence_above`).

    Args:
        decisions: Rows with customer_id, arm, assigned, complained and opted_out, oldest first, all since the release
            began to lead.
        config: Guardrails.
    """
    left = decisions[decisions["assigned"] == "policy"]
    for name, limit in config.limits.items():
        values = _shares(left, name)
        needed = len(config.limits) / _error(config)
        if len(values) >= config.min_outcomes and evidence_above(values, limit) >= needed:
            said = _SAID[name].format(values.mean())
            return Breach(len(values), f"{said}, allowed {limit:.2%}, over {len(values)} of them")
    return None


def _shares(left: pd.DataFrame, name: str) -> Floats:
    """(n,) 0 or 1 of each customer."""
    if name == "contact":
        return np.asarray(left.drop_duplicates("customer_id")["arm"] != NO_CONTACT_ID, np.float64)
    contacted = left[left["arm"] != NO_CONTACT_ID].drop_duplicates("customer_id")
    return np.asarray(contacted["complained" if name == "complaint" else "opted_out"], np.float64)


def slice_breach(decisions: pd.DataFrame, config: LiveConfig) -> Breach | None:
    """Whether the release does harm, beyond doubt at all looks, in a slice of its customers (`slices`).

    Args:
        decisions: As for `earned`, oldest first, all since the release began to lead, with `levels`: of `slices`, as a
            JSON list of texts.
        config: Guardrails.
    """
    if not config.slices:
        return None
    telling = decisions[telling_rows(decisions)]
    levels = levels_of(telling, config)
    for name, inside, z in sliced(levels, config):
        found = earned(telling[inside])
        if found is not None and (why := broken(found, z, config)):
            return Breach(found.rows, f"{name}: {why} over {found.rows} decisions")
    return None


def levels_of(decisions: pd.DataFrame, config: LiveConfig) -> pd.DataFrame:
    """(n, slices) texts, of rows of a `DecisionIndex`; "None" of a feature that a decision has not."""
    found = [json.loads(each) for each in decisions["levels"]]
    return pd.DataFrame(found, decisions.index, list(config.slices))


def sliced(levels: pd.DataFrame, config: LiveConfig) -> Iterator[tuple[str, NDArray[np.bool_], float]]:
    """Each slice with enough decisions: what it is called, which (n,) are its, the standard errors a harm must have.

    The error is shared equally by the columns, and by a column's levels in the order in which they first came, which
    stays as it is while decisions come: for any number of them (`share_of_error`).

    Args:
        levels: (n, slices) texts, oldest first.
        config: Guardrails.
    """
    for column in levels:
        place, names = pd.factorize(levels[column])
        for number, name in enumerate(names):
            inside = place == number
            if inside.sum() >= config.min_outcomes:
                error = share_of_error(number + 1, _error(config) / len(levels.columns)) / 2
                yield f"{column} {name}", inside, harm_z(int(inside.sum()), error, config)


def harm_z(rows: int, error: float, config: LiveConfig) -> float:
    """How many standard errors a harm must have over decisions that are looked at again and again as they come."""
    return mixture_z(rows / (_PLAN * config.min_outcomes), error)


def harm_error(config: LiveConfig) -> float:
    """What may be erred about the harm that a release does to all customers, by either of the two figures."""
    return _error(config) / 2


def _error(config: LiveConfig) -> float:
    """Of each kind of guardrail: harm, limits where there are any, and harm in slices where there are some."""
    return config.false_alarms / (1 + bool(config.limits) + bool(config.slices))


def broken(found: Earned, z: float, config: LiveConfig) -> str:
    """Which guardrail a release breaks beyond doubt, and what was found; empty where it keeps both.

    Args:
        found: What it earned.
        z: Standard errors that a harm must have.
        config: Guardrails.
    """
    most = found.lift.value - skewed_z(-z, found.lift_skew) * found.lift.standard_error
    allowed = -config.max_loss * abs(found.no_contact.value)
    if most < allowed:
        return f"lift over no contact is at most {most:+.2f} a decision, allowed {allowed:+.2f},"
    least = found.churn_increase.value - skewed_z(z, found.churn_skew) * found.churn_increase.standard_error
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


def _customers(decisions: pd.DataFrame) -> NDArray[np.int64]:
    return np.asarray(pd.factorize(decisions["customer_id"])[0], dtype=np.int64)

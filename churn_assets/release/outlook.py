"""One record a customer: all that the models say about it at the first step, as a decision and its answer need it.

The same numbers as `decision.tables`, `incremental` and `observation` give, without tabling what nobody will look at,
and with operations whose result for one customer does not depend on who else is asked about.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from churn_assets.decision.observation import (
    PRICE_KNOTS,
    VALUE_UNIT,
    Observations,
    net_wait_regret,
    price_knot,
    shown_probability,
    shown_value,
)
from churn_assets.decision.process import IDLE, Floats, Ints, RetentionProcess

Outlooks = npt.NDArray[np.void]
"""(n,) records of `outlook_dtype`."""

Singles = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Responses:
    """What the models say about n customers at T steps. All probabilities of churn are for the label window.

    Attributes:
        price: (n,) list price a month.
        features: (n, F) float32, as the policy sees them; see `policy_features`.
        risk: (n, T) P(churn) at the list price without contact.
        churn_if_accepted: (n, T) P(churn) once an offer is accepted.
        churn_if_refused: (n, T) P(churn) once an offer is refused.
        acceptance: (n, T, 2, K - 1) P(accept), without and with a recent contact of the policy itself.
    """

    price: Floats
    features: Singles
    risk: Floats
    churn_if_accepted: Floats
    churn_if_refused: Floats
    acceptance: Floats


def outlook_dtype(process: RetentionProcess, n_features: int) -> np.dtype[np.void]:
    """The fields of an outlook; O open statuses, K arms, A columns of the observation that are the customer's own.

    `acceptance`, `value` (expected customer value that an offer adds), `spend` and `shown` (the observation without
    a budget price) are by open status; `waiting` is the value of waiting by price knot, in units.
    """
    views, arms = len(process.open_statuses), process.n_arms
    shown = n_features + 2 + 2 * (arms - 1) + 2 * arms + 1
    return np.dtype(
        [
            ("price", "<f8"),
            ("risk", "<f8"),
            ("churn_if_accepted", "<f8"),
            ("churn_if_refused", "<f8"),
            ("acceptance", "<f8", (views, arms)),
            ("value", "<f4", (views, arms)),
            ("spend", "<f4", (views, arms)),
            ("waiting", "<f4", (PRICE_KNOTS + 1,)),
            ("shown", "<f4", (views, shown)),
        ]
    )


def outlooks_of(responses: Responses, process: RetentionProcess) -> Outlooks:
    """The outlooks of n customers."""
    n, horizon = responses.risk.shape
    arms, gamma, price = process.n_arms, process.discount_factor, responses.price[:, None]
    survival = 1 - process.hazard(
        np.stack([responses.risk, responses.churn_if_accepted, responses.churn_if_refused], axis=1)
    )
    # What a customer is worth who is never contacted (again), by step; nothing is spent on it.
    idle = np.empty((n, horizon + 1))
    idle[:, horizon] = process.final_margin[IDLE] * responses.price
    base, pays = survival[:, 0], process.step_margin[IDLE] * responses.price
    for t in reversed(range(horizon)):
        idle[:, t] = base[:, t] * (pays + gamma * idle[:, t + 1])
    refused = [idle]
    for age in reversed(range(process.memory)):
        status = process.refused(age)
        following = refused[0][:, 1:]
        worth = np.empty_like(idle)
        worth[:, :-1] = survival[:, process.hazard_kind[status]] * (
            process.step_margin[status] * price + gamma * following
        )
        worth[:, -1] = process.final_margin[status] * responses.price
        refused.insert(0, worth)
    value, spend = _granted(survival, idle, responses.price, process)

    # (n, O, T or 1, K - 1): every step while idle, which waiting looks at; the first step in other open statuses.
    out = np.zeros(n, outlook_dtype(process, responses.features.shape[1]))
    for view, status in enumerate(process.open_statuses):
        steps = horizon if status == IDLE else 1
        now = refused[process.age[status]] if status != IDLE else idle
        q = responses.acceptance[:, :steps, process.recently_contacted[view]]
        after, cost = refused[0][:, :steps, None], process.contact_cost
        gained = q * value[:, :steps] + (1 - q) * after - cost - now[:, :steps, None]
        spent = q * spend[:, :steps] + cost
        if status == IDLE:
            added, costs = gained.astype(np.float32), spent.astype(np.float32)
        out["acceptance"][:, view, 1:] = q[:, 0]
        out["value"][:, view, 1:], out["spend"][:, view, 1:] = gained[:, 0], spent[:, 0]
    out["price"] = responses.price
    out["risk"] = responses.risk[:, 0]
    out["churn_if_accepted"] = responses.churn_if_accepted[:, 0]
    out["churn_if_refused"] = responses.churn_if_refused[:, 0]
    unit = _unit(responses.price, process)
    out["waiting"][:, :-1] = _waiting(added, costs, gamma * base) / unit[:, None]
    out["shown"] = _shown(out, responses.features, unit, arms - 1)
    return out


def observations(
    outlooks: Outlooks,
    view: Ints,
    situation: Observations,
    budget_price: float,
    process: RetentionProcess,
) -> Observations:
    """What the policy is shown.

    Args:
        outlooks: (m,) of the customers.
        view: (m,) index of the open status whose acceptance and gains are shown.
        situation: (m, K + 3) rows of `situation_rows`, arms that may not be offered now set to 0.
        budget_price: λ ≥ 0.
        process: the rules.

    Returns:
        (m, width) float32.
    """
    everyone, shown = np.arange(len(outlooks)), outlooks["shown"]
    own = shown.shape[2]
    out = np.empty((len(outlooks), own + situation.shape[1]), np.float32)
    out[:, :own] = shown[everyone, view]
    out[:, own:] = situation
    if budget_price:
        price = np.full(len(outlooks), budget_price, np.float32)
        share = price / (1 + price)
        knot, beyond = price_knot(share)
        below, above = outlooks["waiting"][everyone, knot], outlooks["waiting"][everyone, knot + 1]
        unit = _unit(outlooks["price"], process)[:, None]
        values, spends = (outlooks[name][everyone, view, 1:] / unit for name in ("value", "spend"))
        net = np.asarray(values - price[:, None] * spends, np.float32)
        worth = net_wait_regret(net, below + beyond * (above - below))
        out[:, own - 1 - worth.shape[1] : own - 1] = shown_value(worth)
        out[:, own - 1] = share
    return out


def _granted(
    survival: Floats, idle: Floats, price: Floats, process: RetentionProcess
) -> tuple[Floats, Floats]:
    """(n, T, K - 1) what a customer is worth, and what is spent on it, who accepts each offer at each step."""
    n, horizon = len(idle), idle.shape[1] - 1
    offers, gamma = process.n_arms - 1, process.discount_factor
    # Value and spend side by side, (n, T + 1, 2, K - 1): the same survival and the same recursion.
    following = np.zeros((n, horizon + 1, 2, offers))
    following[:, :, 0] = idle[:, :, None]
    for age in reversed(range(process.discount)):
        statuses = np.array([process.discounted(arm, age) for arm in range(1, process.n_arms)])
        paid = np.stack([process.step_margin[statuses], process.step_spend[statuses]])
        owed = np.stack([process.final_margin[statuses], process.final_spend[statuses]])
        kind = process.hazard_kind[statuses[0]]
        worth = np.empty_like(following)
        worth[:, :-1] = survival[:, kind, :, None, None] * (
            paid * price[:, None, None, None] + gamma * following[:, 1:]
        )
        worth[:, -1] = owed * price[:, None, None]
        following = worth
    return following[:, :-1, 0], following[:, :-1, 1]


def _waiting(value: Singles, spend: Singles, survival: Floats) -> Singles:
    """(n, knots) what the best single offer at a later step adds, at every price knot but the infinite one.

    Nothing is gained while waiting, so the optimal stopping problem is a maximum over the step of the offer.
    """
    n, horizon, _ = value.shape
    shares = np.arange(PRICE_KNOTS, dtype=np.float32) / PRICE_KNOTS
    prices = shares / (1 - shares)
    best = np.zeros((n, horizon - 1, PRICE_KNOTS), np.float32)
    for arm in range(value.shape[2]):
        np.maximum(best, value[:, 1:, arm, None] - prices * spend[:, 1:, arm, None], out=best)
    reached = survival[:, :-1].astype(np.float32).cumprod(axis=1)
    best *= reached[:, :, None]
    return np.asarray(best.max(axis=1, initial=0.0))


def _shown(outlooks: Outlooks, features: Singles, unit: Singles, offers: int) -> Observations:
    """(n, O, A) the columns of the observation that are the customer's own, at the first step without a price."""
    n, views, _ = outlooks["value"].shape
    acceptance = outlooks["acceptance"][:, :, 1:]
    accepted, refused = outlooks["churn_if_accepted"], outlooks["churn_if_refused"]
    if_offered = acceptance * accepted[:, None, None] + (1 - acceptance) * refused[:, None, None]
    at = features.shape[1]
    shown = np.zeros((n, views, outlooks["shown"].shape[2]), np.float32)
    shown[:, :, :at] = features[:, None]
    shown[:, :, at + 1] = shown_probability(outlooks["risk"])[:, None]  # after the time, which is 0
    shown[:, :, at + 2 : at + 2 + offers] = shown_probability(if_offered)
    shown[:, :, at + 2 + offers : at + 2 + 2 * offers] = shown_probability(acceptance)
    net = np.asarray(outlooks["value"][:, :, 1:] / unit[:, None, None], np.float32).reshape(n * views, offers)
    values = net_wait_regret(net, np.repeat(outlooks["waiting"][:, 0], views))
    shown[:, :, at + 2 + 2 * offers : -1] = shown_value(values).reshape(n, views, -1)
    return shown


def _unit(price: Floats, process: RetentionProcess) -> Singles:
    return np.asarray((VALUE_UNIT * process.margin * price).astype(np.float32))

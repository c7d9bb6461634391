"""One record a customer: all that the models say about it at the first step, as a decision and its answer need it.

Made of the very functions that training and gates use; each is of one customer alone, so that a record is the same to
the last bit whoever else is asked about.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from churn_assets.decision.incremental import (
    OneOffer,
    PredictedResponses,
    Worths,
    waiting_first,
    within_window,
)
from churn_assets.decision.observation import (
    KNOT_PRICES,
    PRICE_KNOTS,
    Observations,
    observation,
    price_knot,
    shown_by_models,
    value_unit,
)
from churn_assets.decision.process import Bools, RetentionProcess

Outlooks = npt.NDArray[np.void]
"""(n,) records of `outlook_dtype`."""


def outlook_dtype(process: RetentionProcess, n_features: int) -> np.dtype[np.void]:
    """The fields of an outlook; K arms, V views (without a recent contact, and with one where that can be).

    `logits` are the policy's for a customer without history, restricted by the arms' own conditions alone and without a
    budget price, as most are. `acceptance`, `churn` (once contacted; of no contact the risk), `value` (expected value
    that an arm adds over the horizon), `low` and `high` (the least and the most of it over the band), `window` (what it
    adds by what happens in the label window) and `models` (what a policy is shown of the models) are by view; `cost` is
    the most that an arm can cost; `waiting` is the value of waiting by price knot, in units; `allowed` says which arms'
    conditions the customer keeps. `best`, by view, is the probability that an arm is the best of those, given what the
    log leaves open; 0 of all where that was not kept.
    """
    return _dtype(len(process.recent_at), process.n_arms, n_features)


@lru_cache
def _dtype(views: int, arms: int, n_features: int) -> np.dtype[np.void]:
    return np.dtype(
        [
            ("price", "<f8"),
            ("risk", "<f8"),
            ("logits", "<f4", (arms,)),
            ("acceptance", "<f8", (views, arms)),
            ("churn", "<f8", (views, arms)),
            ("value", "<f4", (views, arms)),
            ("low", "<f4", (views, arms)),
            ("high", "<f4", (views, arms)),
            ("window", "<f4", (views, arms)),
            ("best", "<f4", (views, arms)),
            ("cost", "<f8", (arms,)),
            ("waiting", "<f4", (PRICE_KNOTS + 1,)),
            ("features", "<f4", (n_features,)),
            ("models", "<f4", (views, 1 + 4 * (arms - 1))),
            ("allowed", "|b1", (arms,)),
        ]
    )


class ArmFigures(NamedTuple):
    """What an outlook says of each arm, as Python's own numbers, for one customer in one situation.

    Attributes:
        risk: P(churn) in the label window without contact.
        acceptance: K.
        churn: K, once contacted.
        value: K.
        low: K.
        high: K.
        window: K.
        best: K.
        cost: K, the most that each can cost.
    """

    risk: float
    acceptance: list[float]
    churn: list[float]
    value: list[float]
    low: list[float]
    high: list[float]
    window: list[float]
    best: list[float]
    cost: list[float]


def blocks_dtype(dtype: np.dtype[np.void]) -> np.dtype[np.void]:
    """The records of `outlook_dtype` with the figures that lie side by side seen as one block each: fewer steps."""
    views, arms = dtype["acceptance"].shape
    blocks = {
        "risk": ("<f8", "risk"),
        "chances": (("<f8", (2, views, arms)), "acceptance"),
        "values": (("<f4", (5, views, arms)), "value"),
        "cost": (("<f8", (arms,)), "cost"),
    }
    assert dtype.fields is not None
    return np.dtype(
        {
            "names": list(blocks),
            "formats": [form for form, _ in blocks.values()],
            "offsets": [dtype.fields[first][1] for _, first in blocks.values()],
            "itemsize": dtype.itemsize,
        }
    )


def figures(found: Outlooks, view: Sequence[int], blocks: np.dtype[np.void]) -> list[ArmFigures]:
    """The figures of m outlooks.

    Args:
        found: (m,) outlooks.
        view: m, whether the last contact is recent.
        blocks: Of their dtype.
    """
    seen = found.view(blocks)
    return [
        ArmFigures(risk, accept[v], churn[v], value[v], low[v], high[v], window[v], best[v], cost)
        for v, risk, (accept, churn), (value, low, high, window, best), cost in zip(
            view, *(seen[name].tolist() for name in ("risk", "chances", "values", "cost")), strict=True
        )
    ]


def outlooks(
    responses: PredictedResponses,
    features: Observations,
    allowed: Bools,
    rules: OneOffer,
    best: Callable[..., npt.NDArray[np.float64]] | None = None,
) -> Outlooks:
    """The outlooks of n customers, but for their logits.

    Args:
        responses: What the models say; acceptance after a recent contact at the first step, where that can be.
        features: (n, F) as of `policy_features`.
        allowed: (n, K) arms whose conditions each customer keeps.
        rules: Of the process, at all its projections.
        best: (risk, acceptance, values, worth, allowed) of these customers to `best`, as of `LeftOpen.best`.
    """
    process, worths, price = rules.process, Worths(responses, rules), responses.price
    out = np.zeros(len(price), outlook_dtype(process, features.shape[1]))
    unit, horizon = value_unit(price, process), process.horizon
    spends = np.empty((len(price), len(process.recent_at), process.n_arms - 1))
    for view in process.recent_at.tolist():
        # Without a recent contact every step, for the value of waiting; with one the first step.
        asked = responses.acceptance_again[:, :1] if view else responses.acceptance
        gained, spent = worths.gained(asked)
        if view == 0:
            value, spend = (each[..., :horizon].astype(np.float32) for each in (gained, spent))
            out["waiting"][:, :-1] = waiting_first(value, spend, worths.reached, KNOT_PRICES) / unit[:, None]
        hopeful, cautious = (asked.shape[1], -1) if len(rules.types) > 1 else (0, 0)
        out["acceptance"][:, view, 1:] = asked[:, 0]
        out["value"][:, view, 1:], spends[:, view] = gained[..., 0], spent[..., 0]
        out["low"][:, view, 1:], out["high"][:, view, 1:] = gained[..., cautious], gained[..., hopeful]
    put_in_order(out)
    out["price"], out["features"], out["allowed"] = price, features, allowed
    menu = process.menu
    out["cost"] = worths.monthly * menu.months + menu.given_once + menu.contact_cost
    out["risk"] = responses.risk[:, 0]
    risk, acceptance, value = out["risk"][:, None, None], out["acceptance"][:, :, 1:], out["value"][:, :, 1:]
    accepted, refused = (
        each[:, None, 0] for each in (responses.churn_if_accepted, responses.churn_if_refused)
    )
    out["churn"][:, :, :1] = risk
    out["churn"][:, :, 1:] = acceptance * accepted + (1 - acceptance) * refused
    if best is not None:
        for view in process.recent_at.tolist():
            added = out["value"][:, view].astype(np.float64)
            chances = out["acceptance"][:, view, 1:]
            out["best"][:, view] = best(out["risk"], chances, added, worths.staying, allowed)
    out["window"][:, :, 1:] = within_window(
        risk, acceptance, accepted, refused, price, worths.monthly, process
    )
    out["models"] = shown_by_models(
        risk, out["churn"][:, :, 1:], acceptance, value, spends, unit[:, None, None]
    )
    return out


def put_in_order(found: Outlooks) -> None:
    """Make `low` and `high` the least and the most of all projections: what is hopeful for all is not for each.

    Somebody whom an offer costs more the longer they stay is worth less where effects last.

    Args:
        found: (m,) outlooks, with the projections at either end in place.
    """
    told = np.stack([found["low"], found["value"], found["high"]])
    found["low"], found["high"] = told.min(0), told.max(0)


def observations(
    found: Outlooks, view: Sequence[int], situation: Observations, budget_price: float
) -> Observations:
    """What the policy is shown of m customers at the first step.

    Args:
        found: (m,) outlooks.
        view: m, whether the last contact is recent where acceptance and gains are shown.
        situation: (m, 2 K or 2 K + 1) rows of `situation_rows`, arms that may not be offered now set to 0.
        budget_price: λ ≥ 0.
    """
    price = np.full(len(found), budget_price, np.float32)
    models = found["models"][np.arange(len(found)), view]
    if budget_price:
        knot, beyond = price_knot(price / (1 + price))
        everyone = np.arange(len(found))
        below, above = found["waiting"][everyone, knot], found["waiting"][everyone, knot + 1]
        wait = below + beyond * (above - below)
    else:
        wait = found["waiting"][:, 0]
    return observation(found["features"], np.zeros_like(price), models, wait, price, situation)

"""One record a customer: all that the models say about it at the first step, as a decision and its answer need it.

The same numbers as `decision.tables`, `incremental` and `observation` give, without tabling what nobody will look at,
and with operations whose result for one customer does not depend on who else is asked about.
"""

from __future__ import annotations

from collections.abc import Sequence
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
from churn_assets.decision.process import BASE, IDLE, Floats, RetentionProcess

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

    `logits` are the policy's for a customer without history, unrestricted and without a budget price, as most are.
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
            ("logits", "<f4", (arms,)),
            ("acceptance", "<f8", (views, arms)),
            ("value", "<f4", (views, arms)),
            ("spend", "<f4", (views, arms)),
            ("waiting", "<f4", (PRICE_KNOTS + 1,)),
            ("shown", "<f4", (views, shown)),
        ]
    )


class OutlookForm:
    """Writes the outlooks of customers under one process; all that does not depend on a customer is prepared.

    Args:
        process: the rules.
        n_features: F, what the policy sees of a customer.
    """

    def __init__(self, process: RetentionProcess, n_features: int) -> None:
        self.process, self.n_features = process, n_features
        self.dtype = outlook_dtype(process, n_features)
        granted = np.array(
            [
                [process.discounted(arm, age) for arm in range(1, process.n_arms)]
                for age in range(process.discount)
            ]
        )
        # Of a running discount by age (the last also where it has run out), margin beside spend, and offer.
        self._granted_kind = process.hazard_kind[granted[:, 0]].tolist()
        self._paid = np.stack([process.step_margin[granted[0]], process.step_spend[granted[0]]])
        self._owed = np.stack([process.final_margin[granted], process.final_spend[granted]], axis=1)
        refused = [process.refused(age) for age in range(process.memory)]
        self._refused_kind = process.hazard_kind[refused].tolist()
        self._views = [
            (view, int(process.age[status]), int(process.recently_contacted[view]))
            for view, status in enumerate(process.open_statuses.tolist())
        ]
        shares = np.arange(PRICE_KNOTS, dtype=np.float32) / PRICE_KNOTS
        self._prices = shares / (1 - shares)

    def of(self, responses: Responses) -> Outlooks:
        """The outlooks of n customers, but for their logits."""
        process, price = self.process, responses.price
        survival = 1 - process.hazard(
            np.stack([responses.risk, responses.churn_if_accepted, responses.churn_if_refused], axis=1)
        )
        base = survival[:, BASE]
        idle = self._idle(base, price)
        refused = self._refused(survival, idle, price)
        value, spend = self._granted(survival, idle, price)

        out = np.zeros(len(price), self.dtype)
        for view, age, recently in self._views:
            # While idle every step, for the value of waiting; in another open status the first step.
            steps = process.horizon if view == 0 else 1
            now = idle if view == 0 else refused[age]
            q = responses.acceptance[:, :steps, recently].swapaxes(1, 2)
            gained = q * value[:, :, :steps] + (1 - q) * refused[0][:, None, :steps] - process.contact_cost
            gained -= now[:, None, :steps]
            spent = q * spend[:, :, :steps] + process.contact_cost
            out["acceptance"][:, view, 1:] = q[:, :, 0]
            out["value"][:, view, 1:], out["spend"][:, view, 1:] = gained[:, :, 0], spent[:, :, 0]
            if view == 0:
                waiting = self._waiting(gained, spent, process.discount_factor * base)
        out["price"] = price
        out["risk"] = responses.risk[:, 0]
        out["churn_if_accepted"] = responses.churn_if_accepted[:, 0]
        out["churn_if_refused"] = responses.churn_if_refused[:, 0]
        unit = _unit(price, process)
        out["waiting"][:, :-1] = waiting / unit[:, None]
        self._show(out, responses.features, unit)
        return out

    def _idle(self, survival: Floats, price: Floats) -> Floats:
        """(n, T + 1) what a customer is worth who is never contacted (again); nothing is spent on it."""
        process, gamma = self.process, self.process.discount_factor
        pays, last = process.step_margin[IDLE] * price, process.final_margin[IDLE] * price
        worths = []
        # Step by step in Python's own numbers, which for a few customers is faster than in arrays.
        for stays, paid, worth in zip(survival.tolist(), pays.tolist(), last.tolist(), strict=True):
            row = [worth]
            for stay in reversed(stays):
                worth = stay * (paid + gamma * worth)
                row.append(worth)
            worths.append(row)
        return np.array(worths)[:, ::-1]

    def _refused(self, survival: Floats, idle: Floats, price: Floats) -> list[Floats]:
        """By age of the refusal, (n, T + 1) what a customer is worth who is not contacted again."""
        process = self.process
        pays = (process.step_margin[IDLE] * price)[:, None]
        refused = [idle]
        for kind in reversed(self._refused_kind):
            worth = np.empty_like(idle)
            worth[:, :-1] = survival[:, kind] * (pays + process.discount_factor * refused[-1][:, 1:])
            worth[:, -1] = idle[:, -1]
            refused.append(worth)
        return refused[::-1]

    def _granted(self, survival: Floats, idle: Floats, price: Floats) -> tuple[Floats, Floats]:
        """(n, K - 1, T) what a customer is worth, and what is spent on it, who accepts each offer at each step."""
        paid = (self._paid * price[:, None, None])[:, :, :, None]
        following = np.zeros((*paid.shape[:3], idle.shape[1]))
        following[:, 0] = idle[:, None]
        for kind, owed in zip(reversed(self._granted_kind), reversed(self._owed), strict=True):
            worth = np.empty_like(following)
            ahead = worth[..., :-1]
            np.multiply(self.process.discount_factor, following[..., 1:], out=ahead)
            ahead += paid
            ahead *= survival[:, kind, None, None]
            worth[..., -1] = owed * price[:, None, None]
            following = worth
        return following[:, 0, :, :-1], following[:, 1, :, :-1]

    def _waiting(self, value: Floats, spend: Floats, survival: Floats) -> Singles:
        """(n, knots) what the best single offer at a later step adds, at every price knot but the infinite one.

        Nothing is gained while waiting, so the optimal stopping problem is a maximum over the step of the offer.
        """
        gained, cost = (each[:, :, 1:, None].astype(np.float32) for each in (value, spend))
        best = np.zeros((len(value), value.shape[2] - 1, PRICE_KNOTS), np.float32)
        for arm in range(value.shape[1]):
            np.maximum(best, gained[:, arm] - self._prices * cost[:, arm], out=best)
        best *= survival[:, :-1].astype(np.float32).cumprod(axis=1)[:, :, None]
        return np.asarray(best.max(axis=1, initial=0.0))

    def _show(self, out: Outlooks, features: Singles, unit: Singles) -> None:
        """Writes `shown`: the columns of the observation that are the customer's own, at the first step unpriced."""
        shown, acceptance = out["shown"], out["acceptance"][:, :, 1:]
        n, views, offers = acceptance.shape
        at = self.n_features
        accepted, refused = (out[name][:, None, None] for name in ("churn_if_accepted", "churn_if_refused"))
        probabilities = np.empty((n, views, 1 + 2 * offers))
        probabilities[:, :, 0] = out["risk"][:, None]
        probabilities[:, :, 1 : 1 + offers] = acceptance * accepted + (1 - acceptance) * refused
        probabilities[:, :, 1 + offers :] = acceptance
        shown[:, :, :at] = features[:, None]
        # The time comes first: it is 0.
        shown[:, :, at + 1 : at + 2 + 2 * offers] = shown_probability(probabilities)
        net = np.asarray(out["value"][:, :, 1:] / unit[:, None, None], np.float32)
        values = net_wait_regret(net.reshape(n * views, offers), out["waiting"][:, 0].repeat(views))
        shown[:, :, at + 2 + 2 * offers : -1] = shown_value(values).reshape(n, views, -1)


def observations(
    outlooks: Outlooks,
    view: Sequence[int],
    situation: Observations,
    budget_price: float,
    process: RetentionProcess,
) -> Observations:
    """What the policy is shown.

    Args:
        outlooks: (m,) of the customers.
        view: m, index of the open status whose acceptance and gains are shown.
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


def _unit(price: Floats, process: RetentionProcess) -> Singles:
    return np.asarray((VALUE_UNIT * process.margin * price).astype(np.float32))

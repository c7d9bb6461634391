"""Policies to beat: rules that a retention team would use, as exact choices. Nothing here is learned."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from churn_assets.decision.incremental import incremental, value_of_waiting
from churn_assets.decision.optimum import Choice, never
from churn_assets.decision.process import Bools, Floats, Ints, RetentionProcess
from churn_assets.decision.tables import ResponseTables


def constant(process: RetentionProcess, arm: int) -> Choice:
    """The same arm for everyone whenever it is allowed."""
    weights = np.zeros((1, 1, process.n_arms, 1))
    weights[:, :, arm] = 1
    return lambda _t: weights


def uniform(process: RetentionProcess) -> Choice:
    """Every arm with the same probability; what is not allowed becomes no offer."""
    weights = np.full((1, 1, process.n_arms, 1), 1 / process.n_arms)
    return lambda _t: weights


def riskiest(
    tables: ResponseTables, process: RetentionProcess, *, share: float = 0.30, offer_pct: float = 0.20
) -> Choice:
    """The share of customers with the highest current risk, at the arm nearest to one offer."""
    arm = 1 + int(np.abs(np.asarray(process.menu[1:]) - offer_pct).argmin())
    threshold = np.quantile(tables.risk[:, 0], 1 - share)
    return lambda t: _one_arm(process, (tables.risk[:, t] > threshold) * arm)


def uplift_threshold(
    tables: ResponseTables, process: RetentionProcess, *, threshold: float = 0.05, offer_pct: float = 0.20
) -> Choice:
    """One offer to everyone whose churn probability it lowers by more than a threshold."""
    arm = 1 + int(np.abs(np.asarray(process.menu[1:]) - offer_pct).argmin())

    def choice(t: int) -> Floats:
        q = tables.acceptance[:, t, 0, arm]
        churn = q * tables.churn_if_accepted[:, t] + (1 - q) * tables.churn_if_refused[:, t]
        return _one_arm(process, (tables.risk[:, t] - churn > threshold) * arm)

    return choice


def highest_incremental_value(
    tables: ResponseTables, process: RetentionProcess, budget_price: float = 0.0
) -> Choice:
    """The arm that adds most if no other offer followed: the exact one-offer optimum, repeated."""
    best = incremental(tables, process).net(budget_price).argmax(axis=-1)
    return lambda t: _arms(process, best[:, t].T)


def best_time_for_one_offer(
    tables: ResponseTables, process: RetentionProcess, budget_price: float = 0.0
) -> Choice:
    """The arm that adds most if no other offer followed, unless a single offer at a later step adds more."""
    added = incremental(tables, process)
    net = added.net(budget_price)
    waiting = value_of_waiting(added, tables, process, np.array([budget_price]))
    best = np.where(net.max(axis=-1) > waiting, net.argmax(axis=-1), 0)
    return lambda t: _arms(process, best[:, t].T)


def baselines(tables: ResponseTables, process: RetentionProcess) -> Mapping[str, Choice]:
    """Every baseline that a policy is reported against, by name."""
    constants = {
        f"everyone {offer:.0%}": constant(process, arm) for arm, offer in enumerate(process.menu) if arm > 0
    }
    return {
        "no offer": never(process),
        **constants,
        "random": uniform(process),
        "riskiest 30% at 20%": riskiest(tables, process),
        "uplift threshold": uplift_threshold(tables, process),
        "highest incremental value": highest_incremental_value(tables, process),
        "best time for one offer": best_time_for_one_offer(tables, process),
    }


def _one_arm(process: RetentionProcess, arm: Ints | Bools) -> Floats:
    return _arms(process, arm[None])


def _arms(process: RetentionProcess, arm: Ints | Bools) -> Floats:
    """(O or 1, 1, K, n) one-hot choice from the arm of (open status, customer)."""
    return np.asarray(np.arange(process.n_arms)[:, None] == arm[:, None, None, :], np.float64)

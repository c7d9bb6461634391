"""Policies to beat: rules that a retention team would use, as exact choices. Nothing here is learned."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from churn_assets.decision.incremental import incremental, value_of_waiting
from churn_assets.decision.off_policy import TOP_RISK_SHARE, USUAL_MONTHS_GIVEN
from churn_assets.decision.optimum import Choice, never
from churn_assets.decision.process import IDLE, Bools, Floats, Ints, RetentionProcess
from churn_assets.decision.tables import ResponseTables

MOST_CONSTANTS = 20
"""Arms, at most, that are reported for everybody: an exact evaluation of each of 80 takes as long as their square."""


def constant(process: RetentionProcess, arm: int) -> Choice:
    """The same arm for everyone whenever it is allowed."""
    weights = np.zeros((1, 1, process.n_arms, 1))
    weights[:, :, arm] = 1
    return lambda _t: weights


def uniform(process: RetentionProcess) -> Choice:
    """Every arm with the same probability; what is not allowed becomes no offer."""
    weights = np.full((1, 1, process.n_arms, 1), 1 / process.n_arms)
    return lambda _t: weights


def usual_arm(tables: ResponseTables, process: RetentionProcess) -> int:
    """The arm whose benefit is nearest to what a usual offer gives, on average over customers."""
    given = (process.menu.commitment(tables.price) / tables.price[:, None]).mean(axis=0)
    return 1 + int(np.abs(given[1:] - USUAL_MONTHS_GIVEN).argmin())


def riskiest(
    tables: ResponseTables, process: RetentionProcess, arm: int, *, share: float = TOP_RISK_SHARE
) -> Choice:
    """One arm to the share of customers with the highest current risk."""
    threshold = np.quantile(tables.risk[:, 0], 1 - share)
    return lambda t: _one_arm(process, (tables.risk[:, t] > threshold) * arm)


def uplift_threshold(
    tables: ResponseTables, process: RetentionProcess, arm: int, *, threshold: float = 0.05
) -> Choice:
    """One arm to everyone whose churn probability it lowers by more than a threshold."""

    def choice(t: int) -> Floats:
        saved = tables.risk[:, t] - tables.churn_if_contacted[:, t, 0, arm - 1]
        return _one_arm(process, (saved > threshold) * arm)

    return choice


def highest_incremental_value(
    tables: ResponseTables, process: RetentionProcess, budget_price: float = 0.0
) -> Choice:
    """The arm that adds most if no other offer followed: the exact one-offer optimum, repeated."""
    best = incremental(tables.responses, process).net(budget_price).argmax(axis=-1)
    return lambda t: _arms(process, best[:, t, process.view[process.open_states]].T)


def best_time_for_one_offer(
    tables: ResponseTables, process: RetentionProcess, budget_price: float = 0.0
) -> Choice:
    """The arm that adds most if no other offer followed, unless a single offer at a later step adds more."""
    added = incremental(tables.responses, process)
    net = added.net(budget_price)
    waiting = value_of_waiting(added, np.array([budget_price]))
    best = np.where(net.max(axis=-1) > waiting, net.argmax(axis=-1), 0)
    return lambda t: _arms(process, best[:, t, process.view[process.open_states]].T)


def baselines(tables: ResponseTables, process: RetentionProcess) -> Mapping[str, Choice]:
    """Every baseline that a policy is reported against, by name; of many arms the best for everybody, by one offer."""
    usual = usual_arm(tables, process)
    arms = process.menu.ids
    offered = np.arange(1, len(arms))
    if len(offered) > MOST_CONSTANTS:
        worth = incremental(tables.responses, process).net(0.0)[:, 0, process.view[IDLE]]
        offered = np.sort(1 + np.argsort(-worth[:, 1:].mean(axis=0), kind="stable")[:MOST_CONSTANTS])
    constants = {f"everyone: {arms[arm]}": constant(process, arm) for arm in offered.tolist()}
    return {
        "no offer": never(process),
        **constants,
        "random": uniform(process),
        f"riskiest 30%: {arms[usual]}": riskiest(tables, process, usual),
        "uplift threshold": uplift_threshold(tables, process, usual),
        "highest incremental value": highest_incremental_value(tables, process),
        "best time for one offer": best_time_for_one_offer(tables, process),
    }


def _one_arm(process: RetentionProcess, arm: Ints | Bools) -> Floats:
    return _arms(process, arm[None])


def _arms(process: RetentionProcess, arm: Ints | Bools) -> Floats:
    """(O or 1, 1, K, n) one-hot choice from the arm of (open state, customer)."""
    return np.asarray(np.arange(process.n_arms)[:, None] == arm[:, None, None, :], np.float64)

"""How often the clustered 95 % interval of the doubly robust lift covers the truth of the demo world."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, factorial

import numpy as np
from numpy.typing import NDArray

from churn_assets.customers.table import CustomerTable
from churn_assets.decision.off_policy import (
    LoggedDecisions,
    cross_fitted_outcomes,
    outcome_design,
)
from churn_assets.gates.estimates import Z_TWO_SIDED_95
from churn_assets.offers.world import PRIOR_OFFERS_MEAN, DemoWorld, Truth

FOLDS = 5


@dataclass(frozen=True)
class Coverage:
    """Result of a coverage study: share of intervals that hold the true lift, and how wide they are."""

    coverage: float
    mean_half_width: float
    bias: float
    spread: float
    mean_standard_error: float
    truth: float
    replications: int


def one_window_lift(truth: Truth, arms: NDArray[np.int64]) -> float:
    """Mean value over no offer, in money a situation, of choosing `arms` (n,) index into the menu."""
    return float((truth.reward[np.arange(len(arms)), arms] - truth.reward[:, 0]).mean())


def true_lift(world: DemoWorld, arms: NDArray[np.int64]) -> float:
    """Lift over no offer of giving customer i always `arms[i]`, latent state integrated out, no drift."""
    everyone = np.arange(len(world.ids))
    lift = np.zeros(len(everyone))
    for prior in range(10):
        share = exp(-PRIOR_OFFERS_MEAN) * PRIOR_OFFERS_MEAN**prior / factorial(prior)
        reward = world.expected_reward(
            everyone, np.full(len(everyone), prior), world.would_churn.astype(np.float64)
        )
        lift += share * (reward[everyone, arms] - reward[:, 0])
    return float(lift.mean())


def dr_coverage(
    world: DemoWorld, table: CustomerTable, *, replications: int = 400, rows: int = 50_000, seed: int = 0
) -> Coverage:
    """Coverage for a fixed policy, the 30 % riskiest at 20 %, over replicated logs of replicated customers.

    Each replication draws as many customers as the table has, with replacement, as new pseudo-customers; then
    their log; then fits the outcome model by pseudo-customer fold and takes the interval.

    Args:
        world: a world without drift, built on `table`.
        table: the customers.
        replications: logs drawn.
        rows: decisions a log.
        seed: of all draws.
    """
    count = len(table)
    arms = np.where(world.risk >= np.quantile(world.risk, 0.7), world.menu.position["percent_20"], 0)
    truth = true_lift(world, arms)
    design = outcome_design(table)
    chosen = np.eye(len(world.menu))
    means, errors, covered = (
        np.empty(replications),
        np.empty(replications),
        np.empty(replications, dtype=bool),
    )
    for number in range(replications):
        rng = np.random.default_rng([seed, number])
        people = rng.integers(0, count, count)
        draw = world.draw(rows, int(rng.integers(2**31)), pseudo_customers=people)
        log, fold = draw.log, rng.integers(0, FOLDS, count)
        expected = cross_fitted_outcomes(
            design[people], draw.person, log.prior_offers, log.arm, log.margin, fold, len(world.menu)
        )
        evidence = LoggedDecisions(log.arm, log.margin, log.propensities, expected, draw.person)
        lift = evidence.estimate(chosen[arms[draw.truth.customer]]).lift.dr
        low, high = lift.interval
        means[number], errors[number], covered[number] = lift.value, lift.standard_error, low <= truth <= high
    return Coverage(
        coverage=float(covered.mean()),
        mean_half_width=float(Z_TWO_SIDED_95 * errors.mean()),
        bias=float(means.mean() - truth),
        spread=float(means.std(ddof=1)),
        mean_standard_error=float(errors.mean()),
        truth=truth,
        replications=replications,
    )

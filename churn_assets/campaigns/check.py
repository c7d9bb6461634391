"""Whether what was sent is what was assigned, by chance alone: pure measurements, all problems at once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn_assets.campaigns.files import Assignment
from churn_assets.customers.schema import CustomerSchema
from churn_assets.deciding.chance import drawn
from churn_assets.gates.report import Gate, Outcome

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

LEAST_P = 0.001
"""A sound campaign fails a test once in a thousand: the bound that is usual for a sample-ratio mismatch (Fabijan et al.
2019, KDD). Tests of several features share it."""
MOST_UNSENT = 0.05
"""Share of those to be contacted who were not: the log tells what assigning an arm does, which fades with it."""
BINS = 5
LEAST_EXPECTED = 5.0
"""Customers of an arm that a group must expect, for the chi-square to hold (Cochran 1954); smaller ones are pooled."""


def chi_square_p(statistic: float, freedom: int) -> float:
    """P(a chi-square of so many degrees of freedom is at least as large).

    The finite sums of whole degrees (Abramowitz & Stegun 26.4.4 and 26.4.5).

    >>> round(chi_square_p(3.841459, 1), 6), round(chi_square_p(9.487729, 4), 6)
    (0.05, 0.05)
    """
    if freedom == 0:
        return 1.0
    half = statistic / 2
    odd = freedom % 2
    total = math.erfc(math.sqrt(half)) if odd else 0.0
    powers = np.arange(freedom // 2) + odd / 2
    logs = [
        power * math.log(half) - half - math.lgamma(power + 1) if half > 0 else -math.inf for power in powers
    ]
    if not odd and half == 0:
        return 1.0
    return min(total + sum(map(math.exp, logs)), 1.0)


def by_chance_p(arm: Ints, propensities: Floats, group: Ints) -> float:
    """P-value of arms that chance drew by these propensities, alike in every group.

    In each group the count of an arm less the sum of its propensities, over its exact covariance: with constant shares
    Pearson's chi-square; a score test else.

    Args:
        arm: (n,) index of what each got.
        propensities: (n, K) they were drawn by.
        group: (n,) from 0.
    """
    surplus = np.eye(propensities.shape[1])[arm] - propensities
    statistic, freedom = 0.0, 0
    for each in _pooled(propensities, group):
        p, off = propensities[each], surplus[each].sum(0)
        covariance = np.diag(p.sum(0)) - p.T @ p
        rank = int(np.linalg.matrix_rank(covariance, tol=1e-6))
        statistic += float(off @ np.linalg.pinv(covariance, rcond=1e-9, hermitian=True) @ off)
        freedom += rank
    return chi_square_p(statistic, freedom)


def _pooled(propensities: Floats, group: Ints) -> Iterator[Bools]:
    """The groups, those of which an arm expects too few as one."""
    small = np.zeros(len(group), dtype=bool)
    for number in np.unique(group):
        inside = group == number
        expected = propensities[inside].sum(0)
        if expected[expected > 0].min(initial=np.inf) < LEAST_EXPECTED:
            small |= inside
        else:
            yield inside
    if small.any():
        yield small


@dataclass(frozen=True, eq=False)
class Arrived:
    """What became of each decision.

    Attributes:
        arm: (n,) index of what the customer got: what was sent first, no contact where the holdout got nothing.
        kept: (n,) whether that is known: not of those who were to be contacted and were sent nothing.
        sent_at: (n,) when, NaT where it is not told.
        gates: What the two files differ in.
    """

    arm: Ints
    kept: Bools
    sent_at: pd.DatetimeIndex
    gates: tuple[Gate, ...]

    @classmethod
    def of(cls, assignment: Assignment, sent: pd.DataFrame, contaminated: float) -> Arrived:
        """Compares what was assigned with what was sent, a row each time; see `check_campaign`."""
        frame, menu, was = assignment.frame, assignment.menu, assignment.arm
        contacts = sent[sent["arm"] != menu.ids[0]]
        first = contacts.drop_duplicates("customer_id").set_index("customer_id")
        found = first.reindex(frame["customer_id"])
        got = np.asarray(pd.Index(menu.ids).get_indexer(found["arm"]), np.int64)
        unsent, arm = (was > 0) & (got < 0), np.maximum(got, 0)
        strangers = ~contacts["customer_id"].isin(frame["customer_id"])
        share = float(unsent.sum() / max((was > 0).sum(), 1))
        again = int(contacts["customer_id"].duplicated().sum())
        times = found["sent_at"] if "sent_at" in found else [pd.NaT] * len(frame)
        few = contaminated * len(frame)
        gates = (
            Gate("sent_to_the_holdout", int(((was == 0) & (got > 0)).sum()), "<=", few, "customers"),
            Gate(
                "sent_another_arm", int(((was > 0) & (got > 0) & (got != was)).sum()), "<=", few, "customers"
            ),
            Gate("sent_again", again, "<=", few, "contacts with whom there was one before"),
            Gate(
                "sent_unassigned", int(strangers.sum()), "<=", few, "contacts of no decision of the campaign"
            ),
            Gate("unsent_share", share, "<=", MOST_UNSENT, "of those to be contacted, who were sent nothing"),
        )
        return cls(arm, ~unsent, pd.DatetimeIndex(times), gates)


def check_campaign(
    assignment: Assignment,
    sent: pd.DataFrame,
    X: Floats,
    schema: CustomerSchema,
    key: bytes,
    contaminated: float = 0.0,
) -> Outcome:
    """All that can be wrong with a campaign once it is sent.

    - Files: what was sent to the holdout, with another arm, again, to nobody of the campaign, or not at all.
    - `not_as_drawn`: decisions whose arm the key does not draw: the assignment was changed after it was made.
    - `sample_ratio`: whether the arms arrived as often as planned.
    - `random_by_<feature>`, `random_by_week` and `random_by_sent_at`: whether they did so among all alike.

    Args:
        assignment: n decisions.
        sent: As of `read_sent`.
        X: (n, F) features of their customers, as when it was made.
        schema: Of the features.
        key: That the assignment was drawn with.
        contaminated: Share of the decisions that may have got what was not assigned, of each kind.
    """
    frame, was, p = assignment.frame, assignment.arm, assignment.propensities
    arrived = Arrived.of(assignment, sent, contaminated)
    drew = np.full(len(frame), -1)
    for name in frame["campaign"].unique():
        rows = np.flatnonzero(frame["campaign"] == name)
        drew[rows], _ = drawn(key, str(name), frame["customer_id"].iloc[rows].tolist(), p[rows])
    arm, kept = arrived.arm, arrived.kept & (p[np.arange(len(p)), arrived.arm] > 0)
    groups = {"week": frame["wave"].to_numpy(np.int64)} | _groups(X, schema)
    timed = np.asarray(~arrived.sent_at.isna()) & (arm > 0) & kept
    tests = len(groups) + 1
    gates = [
        Gate(
            "not_as_drawn", int((drew != was).sum()), "==", 0, "decisions of which the key draws another arm"
        ),
        *arrived.gates,
        Gate("impossible_arm", int((arrived.kept & ~kept).sum()), "==", 0, "customers who could not get it"),
        Gate(
            "sample_ratio",
            by_chance_p(arm[kept], p[kept], np.zeros(int(kept.sum()), np.int64)),
            ">=",
            LEAST_P,
            "p-value of the arms' counts against those planned",
        ),
    ]
    gates += _random_by(arm[kept], p[kept], {name: group[kept] for name, group in groups.items()}, tests)
    if timed.any():
        among = p[timed] * (np.arange(p.shape[1]) > 0)
        fifths = _fifths(arrived.sent_at[timed].asi8.astype(np.float64))
        gates += _random_by(arm[timed], among / among.sum(1, keepdims=True), {"sent_at": fifths}, tests)
    return Outcome(tuple(gates), {"arms": _counts(assignment, arrived)})


def _random_by(arm: Ints, propensities: Floats, groups: Mapping[str, Ints], tests: int) -> Iterator[Gate]:
    """Whether arms are drawn alike in all groups of each name; `tests` share the bound."""
    for name, group in groups.items():
        found = by_chance_p(arm, propensities, group)
        yield Gate(f"random_by_{name}", found, ">=", LEAST_P / tests, "p-value, arms against it")


def _groups(X: Floats, schema: CustomerSchema) -> dict[str, Ints]:
    """(n,) group of each customer by every feature: categories, fifths of numbers, blanks."""
    return {
        feature.name: np.where(np.isnan(column), -1, column).astype(np.int64)
        if feature.kind == "categorical"
        else _fifths(column)
        for feature, column in zip(schema.features, X.T, strict=True)
    }


def _fifths(column: Floats) -> Ints:
    known = column[~np.isnan(column)]
    values = np.unique(known)
    if len(values) > 2 * BINS:
        values = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1]))
    return np.where(np.isnan(column), -1, np.searchsorted(values, column))


def _counts(assignment: Assignment, arrived: Arrived) -> list[dict[str, object]]:
    """Planned, assigned and arrived, an arm a row."""
    p = assignment.propensities
    return [
        {
            "arm": arm,
            "expected": float(p[:, k].sum()),
            "assigned": int((assignment.arm == k).sum()),
            "arrived": int(((arrived.arm == k) & arrived.kept).sum()),
        }
        for k, arm in enumerate(assignment.menu.ids)
    ]

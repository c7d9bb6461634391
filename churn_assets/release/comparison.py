"""A candidate against every leader so far, on the same decisions, at any number of looks. Reads nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from churn_assets.decision.off_policy import Floats, LoggedDecisions
from churn_assets.gates.anytime import bounds_at, more_needed, share_of_error
from churn_assets.gates.estimates import Estimate
from churn_assets.release.config import PromotionPolicy
from churn_assets.release.policy import Against

PLAN = 4
"""Times `min_decisions` for which bounds are tightest: what a comparison needs that is no landslide."""


@dataclass(frozen=True)
class OverLeader:
    """What a candidate earns over a share of what a leader adds; fields as of `release.policy.Against`."""

    leader: str
    keeps: float
    estimate: Estimate
    alike: bool = False


@dataclass(frozen=True)
class ComparisonVerdict:
    """What the decisions so far say of a candidate.

    Attributes:
        verdict: `reject` where it is certainly worse than what it is held against.
        reason: For people: estimates, bounds, and what is still needed.
        against: The champion first.
    """

    verdict: Literal["promote", "wait", "reject"]
    reason: str
    against: tuple[Against, ...]


def compare(
    evidence: LoggedDecisions,
    candidate: Floats,
    leaders: Sequence[tuple[str, Floats]],
    policy: PromotionPolicy,
    number: int,
    a_day: float | None = None,
) -> ComparisonVerdict:
    """May a candidate follow the champion, and keep what the best leader so far has brought?

    By `rule: better` it must earn more than the champion; by `not_worse` all but `may_lose` of its lift over no offer;
    and all but `may_lose` of the lift of every leader before, so that small losses cannot add up. All of it must hold,
    so no error is shared between the leaders (Berger 1982). Over looks it is (`bounds_at`), and over the candidates
    that were held against one champion (`share_of_error`).

    Args:
        evidence: Decisions with outcomes, which were not chosen by what they show.
        candidate: (n, A) what the candidate would decide.
        leaders: Name and (n, A) decisions; the champion first, then those that led before it.
        policy: The rule.
        number: Of the candidate, from 1, among those that were held against this champion.
        a_day: Decisions that come a day, to say how long it takes; None where that is not known.
    """
    loses = 1 - policy.may_lose
    keeps = [1.0 if policy.rule == "better" else loses] + [loses] * (len(leaders) - 1)
    found = [
        OverLeader(
            name,
            share,
            evidence.difference(candidate, _keeping(leader, share)).dr,
            alike=bool(np.array_equal(candidate, leader)),
        )
        for (name, leader), share in zip(leaders, keeps, strict=True)
    ]
    return verdict_on(found, len(evidence.arm), policy, number, a_day)


def verdict_on(
    differences: Sequence[OverLeader],
    rows: int,
    policy: PromotionPolicy,
    number: int,
    a_day: float | None = None,
) -> ComparisonVerdict:
    """The rule, of what was estimated; the arguments are as of `compare`.

    Args:
        differences: The champion's first.
        rows: Decisions behind them.
        policy: The rule.
        number: Of the candidate.
        a_day: Decisions that come a day.
    """
    error = share_of_error(number, policy.error)
    planned = PLAN * policy.min_decisions
    found = tuple(_against(each, rows, planned, error) for each in differences)
    open_ = [each for each in found if not each.holds]
    if not open_:
        return ComparisonVerdict("promote", _said(found), found)
    worse = [each for each in open_ if each.upper < 0]
    if worse:
        return ComparisonVerdict("reject", f"certainly worse: {_said(worse)}", found)
    latest = max(open_, key=lambda each: float("inf") if each.more is None else each.more)
    return ComparisonVerdict("wait", f"not certain yet: {_said(open_)}; {latest.needed(a_day)}", found)


def _said(found: Sequence[Against]) -> str:
    return ", ".join(each.said for each in found)


def _keeping(leader: Floats, share: float) -> Floats:
    """Keeping a share of a lift is earning more than a policy that decides as the leader with that probability."""
    mixed = share * leader
    mixed[:, 0] += 1 - share
    return mixed


def _against(found: OverLeader, rows: int, planned: int, error: float) -> Against:
    bounds = bounds_at(found.estimate, rows, planned, error)
    return Against(
        found.leader,
        found.keeps,
        found.estimate.value,
        found.estimate.standard_error,
        bounds.lower,
        bounds.upper,
        more_needed(bounds, rows, planned),
        alike=found.alike,
    )

"""What a candidate would have decided where the champion decided, and what that would have earned. Moves nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn_assets.customers.table import CustomerTableError, prepare
from churn_assets.deciding.table import PRIOR_OFFERS, decide_table
from churn_assets.decision.off_policy import (
    Floats,
    LoggedDecisions,
    OffPolicyError,
    cross_fitted_outcomes,
    outcome_design,
)
from churn_assets.offers.live import LiveLog
from churn_assets.offers.log import propensity_column
from churn_assets.offers.offer_rows import OfferRows
from churn_assets.release.comparison import compare
from churn_assets.release.config import PromotionPolicy
from churn_assets.release.policy import Shadow

if TYPE_CHECKING:
    from churn_assets.customers.schema import CustomerSchema
    from churn_assets.deciding.risk_only import AnyDecider

_ANY_TIME = datetime(2000, 1, 1, tzinfo=UTC)
_KEY = ["customer_id", "decided_at"]
MOST_COMPARED = 200_000
"""Decisions on which releases are compared: more would make the bound tighter by less than it moves in a day."""


def newest_learnable(
    chunks: Iterable[LiveLog],
    rows: Iterable[OfferRows],
    most: int = MOST_COMPARED,
    since: datetime = _ANY_TIME,
) -> tuple[LiveLog, OfferRows]:
    """The newest decisions that can be learned from, whole and as rows; reads no further back than they lie.

    Args:
        chunks: The decision log, segment by segment, newest first.
        rows: Of each segment, those that can be learned from.
        most: How many are wanted.
        since: Of those that were made then, or later.
    """
    whole, learned, arms, count = list[pd.DataFrame](), list[pd.DataFrame](), tuple[str, ...](), 0
    for live, part in zip(chunks, rows, strict=False):  # stops where there are enough
        arms, new = part.arms, part.frame[part.frame["decided_at"] >= since]
        count += len(new)
        if len(new):
            whole.append(live.frame.merge(new[_KEY], on=_KEY))
            learned.append(new)
        if count >= most:
            break
    found, both = (
        pd.concat(each[::-1], ignore_index=True).tail(most).reset_index(drop=True)
        if each
        else pd.DataFrame(columns=columns)
        for each, columns in ((learned, _KEY), (whole, [*_KEY, "assigned", "release"]))
    )
    return LiveLog(both, {}), OfferRows(found, arms, {})


def shadow(
    live: LiveLog,
    rows: OfferRows,
    candidate: AnyDecider,
    leaders: Sequence[AnyDecider],
    policy: PromotionPolicy,
    number: int,
) -> Shadow:
    """Score releases on live decisions, each by its best arm as a first contact; see `release.comparison.compare`.

    A leader before the champion that cannot decide about these customers with these arms is told and left out.

    Args:
        live: The decision log.
        rows: Those of its decisions that can be learned from.
        candidate: Of the release that would lead.
        leaders: Of the release that leads, then of those that led before it.
        policy: What the candidate must keep.
        number: Of the candidate, from 1, among those that were held against this champion.
    """
    logged = whole_rows(live, rows)
    try:
        scored = Scored.of(logged, rows.arms, [candidate, leaders[0]])
    except OffPolicyError as error:
        return Shadow(len(logged), by_chance(logged, candidate), release=False, reason=str(error))
    return beside_leaders(scored, rows.arms, candidate, leaders, policy, number)


def beside_leaders(
    scored: Scored,
    arms: tuple[str, ...],
    candidate: AnyDecider,
    leaders: Sequence[AnyDecider],
    policy: PromotionPolicy,
    number: int,
) -> Shadow:
    """As `shadow`, of decisions of a log with these arms, made ready for candidate and champion."""
    ours, theirs = scored.choices
    earlier, left_out = _earlier(scored.logged, arms, leaders[1:])
    against = [(leaders[0].release, theirs), *earlier]
    told = compare(scored.evidence, ours, against, policy, number, _a_day(scored.logged))
    reason = "; ".join([told.reason, *left_out])
    promote, reject = told.verdict == "promote", told.verdict == "reject"
    explored = by_chance(scored.logged, candidate)
    return Shadow(len(scored.logged), explored, promote, reason, reject, told.against)


def by_chance(logged: pd.DataFrame, candidate: AnyDecider) -> float:
    """Share of decisions that were drawn: by exploration, or by a trial that left them to the candidate."""
    drawn = (logged["assigned"] == "exploration") | (logged["release"] == candidate.release)
    return float(drawn.mean()) if len(logged) else 0.0


def whole_rows(live: LiveLog, rows: OfferRows) -> pd.DataFrame:
    """The decisions that can be learned from, with all that was logged of them."""
    return rows.frame.merge(
        live.frame.drop_duplicates(_KEY), on=_KEY, suffixes=("", "_live"), validate="one_to_one"
    )


@dataclass(frozen=True, eq=False)
class Scored:
    """Live decisions made ready to score, and what some releases would have decided there.

    Attributes:
        logged: n decisions, as of `whole_rows`.
        design: (n, p) of the outcome model.
        fold: (n,) of the customers.
        evidence: What they show of money.
        choices: (n, K) of each release.
    """

    logged: pd.DataFrame
    design: Floats
    fold: NDArray[np.int64]
    evidence: LoggedDecisions
    choices: tuple[Floats, ...]

    @classmethod
    def of(cls, logged: pd.DataFrame, arms: tuple[str, ...], deciders: Sequence[AnyDecider]) -> Scored:
        """Ask releases, all of one schema, about n decisions.

        Raises:
            OffPolicyError: There are fewer than 2, or a release cannot decide about these customers with these arms.
        """
        if len(logged) < 2:
            raise OffPolicyError("there is nothing to compare on")
        try:
            evidence, design, fold = _evidence(logged, arms, deciders[-1].schema)
            choices = tuple(_choices(logged, arms, decider) for decider in deciders)
        except CustomerTableError as error:  # its text says whose value that is
            message = (
                "they cannot be compared: the features of a live decision are none that both releases take"
            )
            raise OffPolicyError(message) from error
        except OffPolicyError as error:
            raise OffPolicyError(f"they cannot be compared: {error}") from error
        return cls(logged, design, fold, evidence, choices)

    @property
    def left(self) -> LoggedDecisions:
        """The same of who left: 1 for a customer who did."""
        return _told(self.logged, self.evidence, self.design, self.fold, "churned")


def _a_day(logged: pd.DataFrame) -> float | None:
    """Decisions a day; None where all were made within one."""
    days = (logged["decided_at"].max() - logged["decided_at"].min()) / timedelta(days=1)
    return None if days < 1 else float(len(logged) / days)


def _earlier(
    logged: pd.DataFrame, arms: tuple[str, ...], leaders: Sequence[AnyDecider]
) -> tuple[list[tuple[str, Floats]], list[str]]:
    """What those that led before would choose, and who of them cannot."""
    found, left_out = [], []
    for leader in leaders:
        try:
            found.append((leader.release, _choices(logged, arms, leader)))
        except (CustomerTableError, OffPolicyError):
            left_out.append(f"{leader.release} takes other features or arms and is not held against")
    return found, left_out


def _customers(logged: pd.DataFrame, schema: CustomerSchema) -> pd.DataFrame:
    """The decisions as customers of a release's schema, each decision one of its own."""
    names = {f"feature_{name}": name for name in schema.names}
    missing = sorted(set(names) - set(logged.columns))
    if missing:
        raise OffPolicyError(f"live decisions: found no {missing}, which the release needs")
    return logged[list(names)].rename(columns=names).assign(**{schema.id: logged["decision_id"]})


def _choices(logged: pd.DataFrame, arms: tuple[str, ...], decider: AnyDecider) -> Floats:
    """(n, K) 1 for the arm of the log that a release would choose."""
    strange = [arm for arm in decider.menu.ids if arm not in arms]
    if strange:
        raise OffPolicyError(
            f"{decider.release} may choose {', '.join(strange)}, which the decisions never tried; their arms are "
            f"{', '.join(arms)}"
        )
    raw = _customers(logged, decider.schema).assign(**{PRIOR_OFFERS: logged[PRIOR_OFFERS]})
    decided = decide_table(raw, decider, _ANY_TIME)["arm"]
    return np.asarray(decided.to_numpy()[:, None] == np.array(arms, object), np.float64)


def _evidence(
    logged: pd.DataFrame, arms: tuple[str, ...], schema: CustomerSchema
) -> tuple[LoggedDecisions, Floats, NDArray[np.int64]]:
    """The decisions made ready to score: a customer's decisions share a fold and are no independent rows."""
    design = outcome_design(prepare(_customers(logged, schema), schema, where="live decisions"))
    fold = schema.fold_of(logged["customer_id"]).astype(np.int64)
    customer = np.asarray(pd.factorize(logged["customer_id"])[0], np.int64)
    arm = np.asarray(pd.Index(arms).get_indexer(logged["arm"]), np.int64)
    propensities = logged[list(map(propensity_column, arms))].to_numpy(np.float64)
    nothing = np.zeros(len(logged))
    known = LoggedDecisions(arm, nothing, propensities, np.zeros_like(propensities), customer)
    return _told(logged, known, design, fold, "margin"), design, fold


def _told(
    logged: pd.DataFrame, known: LoggedDecisions, design: Floats, fold: NDArray[np.int64], outcome: str
) -> LoggedDecisions:
    """The same decisions with another outcome, and what is expected of it."""
    reward, prior = logged[outcome].to_numpy(np.float64), logged[PRIOR_OFFERS].to_numpy(np.int64)
    arms = known.propensities.shape[1]
    expected = cross_fitted_outcomes(design, np.arange(len(logged)), prior, known.arm, reward, fold, arms)
    return replace(known, reward=reward, expected=expected)

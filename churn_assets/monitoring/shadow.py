"""What a candidate would have decided where the champion decided, and what that would have earned. Moves nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

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
    chunks: Iterable[LiveLog], rows: Iterable[OfferRows], most: int = MOST_COMPARED
) -> tuple[LiveLog, OfferRows]:
    """The newest decisions that can be learned from, whole and as rows; reads no further back than they lie.

    Args:
        chunks: The decision log, segment by segment, newest first.
        rows: Of each segment, those that can be learned from.
        most: How many are wanted.
    """
    whole, learned, arms, count = list[pd.DataFrame](), list[pd.DataFrame](), tuple[str, ...](), 0
    for live, part in zip(chunks, rows, strict=False):  # stops where there are enough
        arms, count = part.arms, count + len(part.frame)
        if len(part.frame):
            whole.append(live.frame.merge(part.frame[_KEY], on=_KEY))
            learned.append(part.frame)
        if count >= most:
            break
    none = pd.DataFrame(columns=_KEY)
    found, both = (
        pd.concat(each[::-1], ignore_index=True).tail(most).reset_index(drop=True) if each else none
        for each in (learned, whole)
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
    logged = rows.frame.merge(
        live.frame.drop_duplicates(_KEY), on=_KEY, suffixes=("", "_live"), validate="one_to_one"
    )
    explored = float((logged["assigned"] == "exploration").mean()) if len(logged) else 0.0
    if len(logged) < 2:
        return Shadow(len(logged), explored, release=False, reason="there is nothing to compare on")
    champion = leaders[0]
    try:
        evidence = _evidence(logged, rows.arms, champion.schema)
        ours = _choices(logged, rows.arms, candidate)
        theirs = [(champion.release, _choices(logged, rows.arms, champion))]
    except CustomerTableError:  # its text says whose value that is
        why = "the features of a live decision are none that both releases take"
    except OffPolicyError as error:
        why = str(error)
    else:
        earlier, left_out = _earlier(logged, rows.arms, leaders[1:])
        found = compare(evidence, ours, [*theirs, *earlier], policy, number, _a_day(logged))
        reason = "; ".join([found.reason, *left_out])
        promote, reject = found.verdict == "promote", found.verdict == "reject"
        return Shadow(len(logged), explored, promote, reason, reject, found.against)
    return Shadow(len(logged), explored, release=False, reason=f"they cannot be compared: {why}")


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


def _evidence(logged: pd.DataFrame, arms: tuple[str, ...], schema: CustomerSchema) -> LoggedDecisions:
    """The decisions made ready to score: a customer's decisions share a fold and are no independent rows."""
    design = outcome_design(prepare(_customers(logged, schema), schema, where="live decisions"))
    customer = np.asarray(pd.factorize(logged["customer_id"])[0], np.int64)
    arm = np.asarray(pd.Index(arms).get_indexer(logged["arm"]), np.int64)
    reward = logged["margin"].to_numpy(np.float64)
    expected = cross_fitted_outcomes(
        design,
        np.arange(len(logged)),
        logged[PRIOR_OFFERS].to_numpy(np.int64),
        arm,
        reward,
        schema.fold_of(logged["customer_id"]).astype(np.int64),
        len(arms),
    )
    propensities = logged[list(map(propensity_column, arms))].to_numpy(np.float64)
    return LoggedDecisions(arm, reward, propensities, expected, customer)

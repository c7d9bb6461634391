"""What a candidate would have decided where the champion decided, and what that would have earned. Moves nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from churn_assets.customers.columns import CustomerTableError
from churn_assets.customers.table import prepare
from churn_assets.decision.off_policy import (
    Evidence,
    Floats,
    OffPolicyError,
    cross_fitted_outcomes,
    decide_release,
    on_arms,
    outcome_design,
)
from churn_assets.offers.log import propensity_column
from churn_assets.release.decide import PRIOR_OFFERS, decide
from churn_assets.release.policy import Shadow

if TYPE_CHECKING:
    from churn_assets.offers.live import LiveLog
    from churn_assets.offers.offer_rows import OfferRows
    from churn_assets.release.derived import Derived
    from churn_assets.store.reference import ArtifactRef

_AT_ONCE = 2_000
"""Decisions at a time: an outlook takes several kB."""
_ANY_TIME = datetime(2000, 1, 1, tzinfo=UTC)
_KEY = ["customer_id", "decided_at"]


def shadow(
    live: LiveLog,
    rows: OfferRows,
    candidate: tuple[ArtifactRef, Derived],
    champion: tuple[ArtifactRef, Derived],
) -> Shadow:
    """Score both releases on live decisions, each by its best arm as a first contact, by the rule of off-policy gates.

    Args:
        live: The decision log.
        rows: Those of its decisions that can be learned from.
        candidate: The release that would lead.
        champion: The release that leads.
    """
    logged = rows.frame.merge(
        live.frame.drop_duplicates(_KEY), on=_KEY, suffixes=("", "_live"), validate="one_to_one"
    )
    explored = float((logged["assigned"] == "exploration").mean()) if len(logged) else 0.0
    if len(logged) < 2:
        return Shadow(len(logged), explored, release=False, reason="there is nothing to compare on")
    try:
        evidence = _evidence(logged, rows.arms, champion[1])
        verdict = decide_release(
            evidence, _choices(logged, rows.arms, *candidate), _choices(logged, rows.arms, *champion)
        )
    except (CustomerTableError, OffPolicyError) as error:
        return Shadow(len(logged), explored, release=False, reason=f"they cannot be compared: {error}")
    return Shadow(len(logged), explored, verdict.release, verdict.reason)


def _customers(logged: pd.DataFrame, derived: Derived) -> pd.DataFrame:
    """The decisions as customers of a release's schema, each decision one of its own."""
    names = {f"feature_{name}": name for name in derived.schema.names}
    missing = sorted(set(names) - set(logged.columns))
    if missing:
        raise CustomerTableError(f"live decisions: found no {missing}, which the release needs")
    return logged[list(names)].rename(columns=names).assign(**{derived.schema.id: logged["decision_id"]})


def _choices(logged: pd.DataFrame, arms: tuple[float, ...], ref: ArtifactRef, derived: Derived) -> Floats:
    raw = _customers(logged, derived).assign(**{PRIOR_OFFERS: logged[PRIOR_OFFERS]})
    menu = derived.process.menu
    chosen = np.zeros((len(raw), len(menu)))
    for start in range(0, len(raw), _AT_ONCE):
        offers = decide(raw.iloc[start : start + _AT_ONCE], derived, ref, _ANY_TIME)["offer_pct"].to_numpy()
        arm = np.abs(offers[:, None] - np.asarray(menu)[None]).argmin(1)
        chosen[np.arange(start, start + len(arm)), arm] = 1.0
    return on_arms(menu, chosen, arms)


def _evidence(logged: pd.DataFrame, arms: tuple[float, ...], champion: Derived) -> Evidence:
    """The decisions made ready to score: a customer's decisions share a fold and are no independent rows."""
    schema = champion.schema
    design = outcome_design(prepare(_customers(logged, champion), schema, where="live decisions"))
    customer = np.asarray(pd.factorize(logged["customer_id"])[0], np.int64)
    offered = logged["offer_pct"].to_numpy(np.float64)
    arm = np.abs(offered[:, None] - np.asarray(arms)[None]).argmin(1)
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
    propensities = logged[[propensity_column(each) for each in arms]].to_numpy(np.float64)
    return Evidence(arm, reward, propensities, expected, customer)

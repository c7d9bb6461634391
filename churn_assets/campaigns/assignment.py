"""Who gets which arm of a campaign: the shares that it plans, and the table of its decisions. Judges nothing."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn_assets.arms import Menu
from churn_assets.campaigns.config import CampaignConfig
from churn_assets.deciding.chance import Shares, drawn
from churn_assets.deciding.table import Asked
from churn_assets.offers.eligibility import Eligibility
from churn_assets.offers.log import propensity_column

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_ID_BYTES = 12


def planned_shares(config: CampaignConfig, menu: Menu, risk: Floats) -> Shares:
    """The shares of a section, over strata of equal size by the risk (n,) of those who may be contacted."""
    inner = np.linspace(0, 1, config.strata + 1)[1:-1]
    cuts = np.unique(np.quantile(risk, inner)) if len(risk) else np.zeros(0)
    weights = np.ones((config.strata, len(menu) - 1))
    for arm, given in config.weights.items():
        weights[:, menu.position[arm] - 1] = given
    weights = weights[: len(cuts) + 1]  # equal risks make fewer strata
    contacted = (1 - config.holdout_share) * weights / weights.sum(1, keepdims=True)
    return Shares(menu, cuts, np.column_stack([np.full(len(contacted), config.holdout_share), contacted]))


def may_be_contacted(people: Asked, menu: Menu) -> Bools:
    """(n, K) arms that each customer may get: conditions kept, named if any are named, and not opted out.

    Raises:
        ArmError: An arm has a condition that the customers' features cannot tell.
    """
    allowed = Eligibility.of(menu, people.table.schema).allowed(people.table.X)
    for row in np.flatnonzero([named is not None for named in people.eligible]).tolist():
        allowed[row] &= [arm in people.eligible[row] for arm in menu.ids]
    allowed[people.opted_out] = False
    allowed[:, 0] = True
    return allowed


def decision_id(key: bytes, campaign: str, customer_id: str) -> str:
    """Names a customer's decision in a campaign, in the server's form; without the key it tells nobody who it is."""
    text = f"{len(campaign)}:{campaign}{customer_id}".encode("utf-8", "surrogatepass")
    return f"{hmac.digest(key, b'decision:' + text, 'sha256')[:_ID_BYTES].hex()}-0"


def assigned(
    ids: Sequence[str] | NDArray[np.object_],
    risk: Floats,
    allowed: Bools,
    shares: Shares,
    config: CampaignConfig,
    key: bytes,
    start: datetime,
) -> pd.DataFrame:
    """The campaign's decisions, in the order of weeks.

    Left out are customers who may get no arm; of the others `config.decisions`, whom chance chooses.

    Args:
        ids: n customers.
        risk: (n,) P(churn) without contact.
        allowed: (n, K) arms that each may get.
        shares: What is drawn by.
        config: How many, and how many a week.
        key: Secret.
        start: Of the first week, aware.

    Returns:
        `decision_id`, `customer_id`, `campaign`, `decided_at` (the week's beginning), `wave` (from 0), `stratum`, `arm`
        (its id), `propensity` (of that arm), `propensity_<arm id>` of every arm.
    """
    able = np.flatnonzero(allowed[:, 1:].any(1))
    stratum = shares.stratum(risk[able])
    propensities = shares.propensities(stratum, allowed[able])
    names = [str(ids[row]) for row in able.tolist()]
    arm, place = drawn(key, config.name, names, propensities)
    chosen = np.argsort(place, kind="stable")[: config.decisions]
    wave = np.arange(len(chosen)) // (config.weekly or max(len(chosen), 1))
    menu, chances = shares.menu, propensities[chosen]
    return pd.DataFrame(
        {
            "decision_id": [decision_id(key, config.name, names[row]) for row in chosen.tolist()],
            "customer_id": [names[row] for row in chosen.tolist()],
            "campaign": config.name,
            "decided_at": [
                (start + timedelta(weeks=int(week))).isoformat(timespec="seconds") for week in wave
            ],
            "wave": wave,
            "stratum": stratum[chosen],
            "arm": [menu.ids[each] for each in arm[chosen]],
            "propensity": chances[np.arange(len(chosen)), arm[chosen]],
            **{propensity_column(each): chances[:, k] for k, each in enumerate(menu.ids)},
        }
    )

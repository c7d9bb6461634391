"""What a log does not say and can be known: margins, propensities, where an arm was never possible. Reads no file."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn_assets.offers.as_of import rows_before
from churn_assets.offers.config import EVERYBODY, OfferLogConfig
from churn_assets.offers.economics import Economics, decision_value
from churn_assets.offers.eligibility import may_get
from churn_assets.offers.log import STRATUM, OfferLog, OfferLogError, propensity_column
from churn_assets.offers.propensity import completed, estimated
from churn_assets.offers.support import where_possible

if TYPE_CHECKING:
    from churn_assets.customers.table import CustomerTable

Floats = NDArray[np.float64]

RARE = 0.01
"""Of an estimated propensity. Below it there are hardly any to learn from, and a single decision weighs a hundred."""


def completed_log(
    log: OfferLog, customers: CustomerTable, config: OfferLogConfig, economics: Economics
) -> OfferLog:
    """The log with margins, every propensity, and conditions where an arm was never possible.

    Args:
        log: As it was read.
        customers: The table.
        config: How propensities are known.
        economics: What a decision is worth where the log does not say.

    Raises:
        OfferLogError: A stratum has no shares, or an arm was chosen where its share is 0.
    """
    log = _with_margins(log, customers, economics)
    if log.known_by == "contacted_only":
        return _told(log, "everybody was contacted: what contact changes cannot be known from this log")
    if log.known_by == "randomised":
        log = _with_propensities(log, _by_design(log, customers, config))
    elif log.known_by == "logged_chosen":
        log = _that_could_be_left_alone(log)
        log = _with_propensities(log, completed(_stated(log), log.arm, _estimated(log, customers)))
        log = _told(
            log,
            "propensities of arms that were not chosen are estimated: effects rest on them, off-policy figures do not",
        )
    elif log.known_by == "estimated":
        log = _trimmed(log, _estimated(log, customers))
    menu = where_possible(log, customers)
    changed = [arm.id for arm, before in zip(menu, log.menu, strict=True) if arm != before]
    log = replace(log, menu=menu, frame=log.frame.drop(columns=STRATUM, errors="ignore"))
    if not changed:
        return log
    return _told(
        log, f"{', '.join(changed)}: never possible for some customers, and not offered to any like them"
    )


def _told(log: OfferLog, what: str) -> OfferLog:
    return replace(log, said=(*log.said, what))


def _that_could_be_left_alone(log: OfferLog) -> OfferLog:
    """Without decisions that were certain to contact: there is nothing that they could be compared with."""
    certain = (log.arm > 0) & (_stated(log) >= 1)
    if not certain.any():
        return log
    kept = replace(log.where(~certain), said=log.said, strangers=log.strangers, left_out=int(certain.sum()))
    return _told(kept, f"{int(certain.sum())} decisions were certain to contact: left out")


def _stated(log: OfferLog) -> Floats:
    return np.asarray(log.frame["propensity"], dtype=np.float64)


def _with_margins(log: OfferLog, customers: CustomerTable, economics: Economics) -> OfferLog:
    if "margin" in log.frame or "churned" not in log.frame:
        return log
    known, row = rows_before(log, customers)
    margin = decision_value(log.menu, log.arm, known.price[row], log.accepted, log.churned, economics)
    place = list(log.frame.columns).index("churned") + 1
    frame = log.frame.copy()
    frame.insert(place, "margin", margin)
    return _told(replace(log, frame=frame), "margins were computed by economics: the file has none")


def _with_propensities(log: OfferLog, propensities: Floats) -> OfferLog:
    own = {propensity_column(arm_id): propensities[:, place] for place, arm_id in enumerate(log.menu.ids)}
    logged = propensities[np.arange(len(log)), log.arm]
    return replace(log, frame=log.frame.assign(propensity=logged, **own))


def _by_design(log: OfferLog, customers: CustomerTable, config: OfferLogConfig) -> Floats:
    """(n, K) the shares of each decision's stratum."""
    shares = config.shares_by_stratum
    stratum = _strata(log, customers, config)
    found = np.zeros((len(log), len(log.menu)))
    for name in pd.unique(stratum):
        rows = stratum == name
        if name not in shares:
            raise OfferLogError(
                f"offer_log.shares: found no shares of stratum {name!r} ({config.stratum}), which has "
                f"{int(rows.sum())} decisions; expected shares of each: {', '.join(shares)}"
            )
        each = np.array([shares[name].get(arm_id, 0.0) for arm_id in log.menu.ids])
        found[rows] = each / each.sum()
        strange = sorted({log.menu.ids[arm] for arm in np.unique(log.arm[rows]) if each[arm] == 0})
        if strange:
            raise OfferLogError(
                f"offer_log.shares: found {', '.join(strange)} chosen in the log, with a share of 0 or none "
                f"({name}: {shares[name]}); expected shares of every arm that was made"
            )
    return found


def _strata(log: OfferLog, customers: CustomerTable, config: OfferLogConfig) -> NDArray[np.object_]:
    """(n,) stratum of each decision, by name."""
    if config.stratum is None:
        return np.full(len(log), EVERYBODY, dtype=object)
    if STRATUM in log.frame:
        return np.asarray(log.frame[STRATUM], dtype=object)
    if config.stratum not in customers.schema.names:
        raise OfferLogError(
            f"offer_log.stratum: found {config.stratum!r}, expected wave, a column of {config.source} or a feature of "
            f"the customers: {', '.join(customers.schema.names)}"
        )
    known, row = rows_before(log, customers)
    values = known.frame[config.stratum].iloc[row]
    return np.array([f"{each:g}" if isinstance(each, float) else each for each in values], dtype=object)


def _estimated(log: OfferLog, customers: CustomerTable) -> Floats:
    """(n, K) by who got what."""
    known, row = rows_before(log, customers)
    could = may_get(log.menu, known.frame)[row]
    could[np.arange(len(log)), log.arm] = True
    moments = np.column_stack([log.frame["wave"], log.prior_offers]).astype(np.float64)
    return estimated(known, row, moments, log.arm, could)


def _trimmed(log: OfferLog, propensities: Floats) -> OfferLog:
    """Arms that customers like these hardly ever got count as impossible there; decisions for them are left out.

    What is then known of an arm is known of those who might have got it (Crump et al. 2009).
    """
    rare = propensities < RARE
    kept = ~rare[np.arange(len(log)), log.arm] & ~rare[:, 0]
    if not kept.any():
        raise OfferLogError(
            "offer_log.propensities: found no decision that could have been another, expected customers who are alike "
            "and were treated otherwise: from who was chosen by a rule alone, no effect can be learned"
        )
    possible = np.where(rare, 0.0, propensities)[kept]
    propensities = possible / possible.sum(axis=1, keepdims=True)
    before = log
    log = _with_propensities(log.where(kept), propensities)
    log = replace(
        log, said=before.said, strangers=before.strangers, left_out=before.left_out + int((~kept).sum())
    )
    trimmed = float(rare[kept].any(axis=1).mean())
    return _told(
        log,
        "propensities are estimated from who got what: true if nothing else decided. Overlap: "
        f"{int((~kept).sum())} decisions ({(~kept).mean():.1%}), whose arm or no contact was all but impossible, were "
        f"left out; for {trimmed:.1%} of the others some arm was",
    )

"""Whether an offer log can be learnt from: pure measurements of a log that already keeps its contract."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from churn_assets.customers.table import CustomerTable
from churn_assets.gates.report import Gate, Outcome
from churn_assets.offers.config import OfferLogGates
from churn_assets.offers.dependence import dependence, standardised_sum
from churn_assets.offers.log import OfferLog

Floats = NDArray[np.float64]

BINS = 5


def volume_gates(log: OfferLog, gates: OfferLogGates) -> Outcome:
    """Enough decisions, enough of them without contact, and no acceptance of an offer that was not made."""
    arm = log.arm
    accepted_nothing = int(((arm == 0) & (log.accepted == 1)).sum())
    origin = "simulated by the demo world" if log.simulated else "observed"
    return Outcome(
        (
            Gate("rows", float(len(log)), ">=", gates.min_rows, f"decisions, {origin}"),
            Gate("no_contact_share", float((arm == 0).mean()), ">=", gates.min_no_contact_share),
            Gate("accepted_without_offer", accepted_nothing, "==", 0, "decisions"),
        ),
        {"arms": _arms(log), "waves": _waves(log), "no_contact_churn": _no_contact_churn(log)},
    )


def propensity_gates(log: OfferLog, customers: CustomerTable, gates: OfferLogGates) -> Outcome:
    """Propensities that are true of what was chosen, and large enough to say something of every arm.

    Calibration: within each fifth of an arm's propensities, the arm's realised count less the sum of its
    propensities, over its standard error; decisions that a condition of the arm kept from it say nothing
    of it. With 7 arms the largest of 35 such z exceeds 4 by
    chance in 0.2 % of logs.

    Features: whoever chose by something that the propensities do not know leaves residuals that go with it, see
    `dependence`.
    """
    calibration = _calibration(log)
    off = max(calibration, key=lambda row: abs(row["z"]))
    least = _least(log)
    rarest = log.menu.ids[least.argmin()]
    effective, heaviest = min((_effective_share(log, arm), name) for arm, name in enumerate(log.menu.ids))
    depends = dependence(log, customers)
    size = "effective sample size as a share of its decisions, the smallest of all arms"
    return Outcome(
        (
            Gate(
                "propensity_calibration",
                abs(off["z"]),
                "<=",
                gates.max_propensity_z,
                f"{off['arm']}, fifth {off['fifth']} of its propensity: largest |z| of realised against stated share",
            ),
            Gate(
                "propensity_explained",
                depends.p_value,
                ">=",
                gates.least_p_value,
                f"{depends.arm} by {depends.column}: p of the largest |z|, {abs(depends.z):.1f}, of residuals against "
                "the customers' features and the time",
            ),
            Gate(
                "least_propensity",
                float(least.min()),
                ">=",
                gates.min_propensity,
                f"{rarest}, the smallest of all arms",
            ),
            Gate("effective_share", effective, ">=", gates.min_effective_share, f"{heaviest}, {size}"),
        ),
        {"calibration": calibration},
    )


def _effective_share(log: OfferLog, arm: int) -> float:
    weight = 1 / log.propensities[log.arm == arm, arm]
    return float(weight.sum() ** 2 / (weight**2).sum() / len(weight)) if len(weight) else 0.0


def _calibration(log: OfferLog) -> list[dict[str, Any]]:
    _, customer = np.unique(log.customer_id, return_inverse=True)
    rows = []
    for arm, offered in enumerate(log.menu):
        could = log.propensities[:, arm] > 0
        if not could.any():
            continue  # its effective share is 0, and fails the gate
        stated = log.propensities[could, arm]
        realised = (log.arm[could] == arm).astype(np.float64)
        edges = np.quantile(stated, np.linspace(0, 1, BINS + 1)[1:-1])
        fifth = np.digitize(stated, edges)
        for number in np.unique(fifth):
            inside = fifth == number
            surplus, chance = (realised - stated)[inside], (stated * (1 - stated))[inside]
            rows.append(
                {
                    "arm": offered.id,
                    "fifth": int(number) + 1,
                    "rows": int(inside.sum()),
                    "stated": float(stated[inside].mean()),
                    "realised": float(realised[inside].mean()),
                    "z": standardised_sum(surplus, chance, customer[could][inside]),
                }
            )
    return rows


def _least(log: OfferLog) -> Floats:
    """(K,) smallest of every arm; 0 stands where a condition kept the customer from it, and does not count."""
    return np.asarray(np.where(log.propensities > 0, log.propensities, np.inf).min(axis=0))


def _arms(log: OfferLog) -> list[dict[str, Any]]:
    least = _least(log)
    return [
        row
        | {
            "mean_propensity": float(log.propensities[:, arm].mean()),
            "least_propensity": float(least[arm]) if np.isfinite(least[arm]) else None,
            "effective_share": _effective_share(log, arm),
            "margin": _mean(log.margin, log.arm == arm),
        }
        for arm, row in enumerate(log.by_arm())
    ]


def _waves(log: OfferLog) -> list[dict[str, Any]]:
    wave = log.frame["wave"].to_numpy(np.int64)
    return [
        {
            "wave": int(number),
            "rows": int((wave == number).sum()),
            "accepted": _mean(log.accepted, (wave == number) & (log.arm > 0)),
            "churned": _mean(log.churned, wave == number),
        }
        for number in np.unique(wave)
    ]


def _no_contact_churn(log: OfferLog) -> list[dict[str, Any]]:
    """Churn without contact: as it stands in the log, and with the choice of whom to leave alone undone."""
    alone = log.arm == 0
    if not alone.any():
        return []
    weight = 1 / log.propensities[alone, 0]
    churned = log.churned[alone]
    return [
        {"estimate": "rows without contact, as they are", "churned": float(churned.mean())},
        {"estimate": "weighted by propensity", "churned": float((weight * churned).sum() / weight.sum())},
    ]


def _mean(values: NDArray[Any], inside: NDArray[np.bool_]) -> float | None:
    return float(values[inside].mean()) if inside.any() else None

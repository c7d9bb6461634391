"""Whether an offer log can be learnt from: pure measurements of a log that already keeps its contract."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from churn_assets.customers.table import CustomerTable
from churn_assets.gates.estimates import clustered
from churn_assets.gates.report import Gate, Outcome
from churn_assets.offers.config import OfferLogGates
from churn_assets.offers.dependence import dependence, residuals, standardised_sum
from churn_assets.offers.log import OUTCOME, OfferLog
from churn_assets.offers.support import never_possible

Floats = NDArray[np.float64]

BINS = 5
TIMID_Z, TIMID_P = 1.5, 0.01
"""Of estimated propensities, by what factors more is allowed: few decisions make timid estimates. Of nine honest logs
of the demo world, 5,000 to 50,000 decisions, |z| was 2.6 to 4.5, and p .001 or more."""


def volume_gates(log: OfferLog, gates: OfferLogGates) -> Outcome:
    """As precise as a decision needs, enough decisions without contact, no acceptance of what was not offered.

    How many rows that takes depends on how many were left alone and how many leave: what is asked for is the change of
    churn by contact that the log would show.
    """
    arm = log.arm
    accepted_nothing = int(((arm == 0) & (log.accepted == 1)).sum())
    origin = "simulated by the demo world" if log.simulated else "observed"
    found = [
        Gate("rows", float(len(log)), ">=", gates.min_rows, f"decisions, {origin}"),
        Gate("accepted_without_offer", accepted_nothing, "==", 0, "decisions"),
    ]
    tables = {"arms": _arms(log), "waves": _waves(log)}
    if log.known_by != "contacted_only":
        found[1:1] = [
            Gate(
                "no_contact_share",
                float((arm == 0).mean()),
                ">=",
                _by_lot(gates.min_no_contact_share, log),
                "offer_log.gates.min_no_contact_share, or half of an equal share of all arms",
            ),
            _precision(log, gates),
        ]
        tables["no_contact_churn"] = _no_contact_churn(log)
    return Outcome(tuple(found), tables)


def _precision(log: OfferLog, gates: OfferLogGates) -> Gate:
    """The least effect that shows: of leaving in shares of customers, of another outcome in shares of its mean."""
    found, limit, what = detectable_effect(log), gates.max_detectable_effect, "change of churn by contact"
    key = "max_detectable_effect"
    if log.of_outcome:
        missed = float(log.churned[log.arm == 0].mean())
        found = found / max(1 - missed, np.finfo(np.float64).tiny)
        limit, what, key = (
            gates.max_detectable_share,
            "change by contact, as a share of the mean outcome without one,",
            "max_detectable_share",
        )
    told = (
        f"least {what} that it would show, with power {POWER:g}; more decisions, or as many with contact as without, "
        f"make it smaller; if only larger changes count, write offer_log.gates.{key}"
    )
    return Gate("detectable_effect", found, "<=", limit, told)


POWER = 0.8
POWERED = 2.80
"""Standard errors of an effect that a two-sided test at 5 % finds with power .8: 1.96 + .84."""


def detectable_effect(log: OfferLog) -> float:
    """Least effect of contact on churn, in shares of customers, that the log shows with power .8; nan if it shows none.

    By the weighted means of those who were contacted, by whatever arm, and those who were not.
    """
    alone, p = (log.arm == 0).astype(np.float64), log.propensities[:, 0]
    if not 0 < alone.sum() < len(log):
        return float("nan")
    sides = [(alone, p), (1 - alone, 1 - p)]
    influence = np.zeros(len(log))
    for sign, (chosen, probability) in zip((-1, 1), sides, strict=True):
        weight = np.divide(chosen, probability, out=np.zeros_like(chosen), where=chosen > 0)
        influence += sign * weight * (log.churned - np.average(log.churned, weights=weight)) / weight.mean()
    customer = log.clusters(np.unique(log.customer_id, return_inverse=True)[1])
    return POWERED * clustered(0.0, influence, customer).standard_error


def propensity_gates(log: OfferLog, customers: CustomerTable, gates: OfferLogGates) -> Outcome:
    """Propensities that are true of what was chosen, and large enough to say something of every arm.

    Calibration: within each fifth of an arm's propensities, the arm's realised count less the sum of its
    propensities, over its standard error; decisions that a condition of the arm kept from it say nothing
    of it. With 7 arms the largest of 35 such z exceeds 4 by
    chance in 0.2 % of logs.

    Features: whoever chose by something that the propensities do not know leaves residuals that go with it, see
    `dependence`.

    Support: where an arm was never possible, conditions keep it from all customers like those, see `where_possible`.
    """
    if log.known_by == "contacted_only":
        told = "decisions without contact: what contact changes cannot be known"
        return Outcome((Gate("no_contact_rows", float((log.arm == 0).sum()), "==", 0, told),))
    calibration = _calibration(log)
    off = max(calibration, key=lambda row: abs(row["z"]))
    least = _least(log)
    rarest = log.menu.ids[least.argmin()]
    by_chance = decided_by_chance(log)
    depends = dependence(log, customers)
    how = "" if log.known_by == "logged" else f" (propensities: {log.known_by}){_as_it_was(log)}"
    return Outcome(
        (
            Gate(
                "propensity_calibration",
                abs(off["z"]),
                "<=",
                gates.max_propensity_z * (TIMID_Z if log.known_by == "estimated" else 1.0),
                f"{off['arm']}, fifth {off['fifth']} of its propensity: largest |z| of realised against stated share"
                f"{how}",
            ),
            Gate(
                "propensity_explained",
                depends.p_value,
                ">=",
                gates.least_p_value * (TIMID_P if log.known_by == "estimated" else 1.0),
                f"{depends.arm} by {depends.column}: p of the largest |z|, {abs(depends.z):.1f}, of residuals against "
                "the customers' features and the time; where one draw was for several customers, as of a household, "
                "offer_log.drawn_together says so",
            ),
            Gate(
                "least_propensity",
                float(least.min()),
                ">=",
                _by_lot(gates.min_propensity, log),
                f"{rarest}, the smallest of all arms; offer_log.gates.min_propensity, or half of an equal share",
            ),
            Gate(
                "decided_by_chance",
                float(by_chance.min()),
                ">=",
                gates.min_arm_decisions,
                f"{log.menu.ids[by_chance.argmin()]}, the fewest of all arms: the sum of p (1 - p) over the decisions; "
                "an arm that was hardly ever left to chance is to be tried more, or left out of the log's arms",
            ),
            *_support(log, customers),
        ),
        {"calibration": calibration},
    )


def _as_it_was(log: OfferLog) -> str:
    """Of a lot whose shares were written down: those that the log shows, to be compared."""
    if log.known_by != "randomised" or len(log.menu) > SHOWN_SHARES:
        return ""
    shares = ", ".join(f"{name} {(log.arm == arm).mean():.4g}" for arm, name in enumerate(log.menu.ids))
    return f"; the log has {shares}: if those were set, write them as offer_log.shares (a third as 1/3)"


SHOWN_SHARES = 12


def _by_lot(least: float, log: OfferLog) -> float:
    """What is asked of an arm's share: of many arms no more than half of what a fair lot would give each."""
    return min(least, 0.5 / len(log.menu))


def _support(log: OfferLog, customers: CustomerTable) -> Iterator[Gate]:
    """Of a log with exact zeros: whether features tell for whom an arm was never possible."""
    if log.known_by not in ("logged", "randomised") or (log.propensities > 0).all():
        return
    never = never_possible(log, customers).sum(axis=0)
    worst = int(never.argmax())
    yield Gate(
        "never_possible",
        float(never[worst]),
        "==",
        0,
        f"customers who could never get {log.menu.ids[worst]}, and whom no condition on features tells from those who "
        "could: it would be offered to them. Put what it went by into the customer table, or leave the arm out",
    )


def decided_by_chance(log: OfferLog) -> Floats:
    """(K,) decisions about each arm that chance decided: the sum of p (1 - p), 0 of an arm that was never chosen.

    An effect that is estimated beside the propensities has a variance of one over this many decisions' worth of noise
    (Robinson 1988). Whom an arm was all but certain for, or all but barred to, adds next to nothing, and takes nothing
    away: a log of served decisions is mostly of such customers.
    """
    p = log.propensities
    tried = np.bincount(log.arm, minlength=len(log.menu)) > 0
    return np.asarray(np.where(tried, (p * (1 - p)).sum(axis=0), 0.0))


def _calibration(log: OfferLog) -> list[dict[str, Any]]:
    customer = log.clusters(np.unique(log.customer_id, return_inverse=True)[1])
    residual, chance = residuals(log)
    bins = (
        1 if log.known_by == "logged_chosen" else BINS
    )  # what is estimated of the others is no part of this
    rows = []
    for arm, offered in enumerate(log.menu):
        could = log.propensities[:, arm] > 0
        if not could.any():
            continue  # nothing about it was decided by chance, which fails the gate
        stated = log.propensities[could, arm]
        realised = (log.arm[could] == arm).astype(np.float64)
        edges = np.quantile(stated, np.linspace(0, 1, bins + 1)[1:-1])
        fifth = np.digitize(stated, edges)
        for number in np.unique(fifth):
            inside = fifth == number
            surplus, spread = (each[could, arm][inside] for each in (residual, chance))
            rows.append(
                {
                    "arm": offered.id,
                    "fifth": int(number) + 1,
                    "rows": int(inside.sum()),
                    "stated": float(stated[inside].mean()),
                    "realised": float(realised[inside].mean()),
                    "z": standardised_sum(surplus, spread, customer[could][inside]),
                }
            )
    return rows


def _least(log: OfferLog) -> Floats:
    """(K,) smallest of every arm; 0 stands where it was not possible, and does not count."""
    return np.asarray(np.where(log.propensities > 0, log.propensities, np.inf).min(axis=0))


def _arms(log: OfferLog) -> list[dict[str, Any]]:
    if log.known_by == "contacted_only":
        return log.by_arm()
    least, by_chance = _least(log), decided_by_chance(log)
    return [
        row
        | {
            "mean_propensity": float(log.propensities[:, arm].mean()),
            "least_propensity": float(least[arm]) if np.isfinite(least[arm]) else None,
            "decided_by_chance": float(by_chance[arm]),
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
            **_came_of(log, wave == number),
        }
        for number in np.unique(wave)
    ]


def _came_of(log: OfferLog, inside: NDArray[np.bool_]) -> dict[str, float | None]:
    name = OUTCOME if log.of_outcome else "churned"
    told = name in log.frame
    return {name: _mean(log.frame[name].to_numpy(), inside) if told else None}


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

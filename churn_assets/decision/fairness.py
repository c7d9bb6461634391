"""Fair offers: who gets which value at equal risk and equal expected effect, by groups that may be no features."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

from churn_assets.customers.table import CustomerTable
from churn_assets.decision.config import DecisionGates
from churn_assets.decision.gates import Yardstick
from churn_assets.decision.incremental import within_window
from churn_assets.decision.policy import DecisionPolicy
from churn_assets.decision.process import IDLE, Bools, Floats, Ints
from churn_assets.gates.report import Gate, Outcome

LEAST_OF_A_GROUP = 50
"""Customers of a level of a group that is judged; of fewer, the mean value is known to no better than half a month."""
FALSE_ALARM = 0.005
"""Chance that a policy which is fair to all groups is told to be unfair to any, as of `fair_to_slices`."""
POWER = 0.8
PARTS = 5
"""Cells are fifths of risk by fifths of the expected effect; within them both count linearly."""


class Gap(NamedTuple):
    """What customers of a level get more than others who are alike, in months of their bill.

    Attributes:
        value: The difference at equal risk and equal expected effect; below 0 they get less.
        noise: What may be chance: as wide as all levels together need.
        found: The difference beyond the tolerance that is found `POWER` of the time, above the tolerance.
    """

    value: float
    noise: float
    found: float


def fair_offers(
    policy: DecisionPolicy, yardstick: Yardstick, customers: CustomerTable, gates: DecisionGates
) -> Outcome:
    """No group certainly gets more or less than customers of the same risk and the same expected effect.

    The value is what an offer may give, in months of the customer's bill, by the first decision for each held-out
    customer. The expected effect is that of each customer's best arm of the whole menu, whatever is kept from them: on
    churn, and on money. A level of a group is compared with all others: least squares on cells of risk and effect, and
    on both within the cells, with standard errors that hold whatever the spread (HC1; White 1980).
    """
    held_out = customers.where(customers.held_out)
    groups = {name: held_out.group(name) for name in customers.schema.groups}
    told, controls = _offered(policy, yardstick), _controls(yardstick)
    found: list[tuple[str, str, int, Bools]] = [
        (name, level, int((code == place).sum()), code == place)
        for name, (levels, code) in groups.items()
        for place, level in enumerate(levels)
    ]
    judged = [each for each in found if LEAST_OF_A_GROUP <= each[2] <= len(told) - LEAST_OF_A_GROUP]
    width = NormalDist().inv_cdf(1 - FALSE_ALARM / 2 / max(len(judged), 1))
    rows: list[dict[str, Any]] = []
    worst, about = 0.0, "no groups are configured (customers.groups)" if not groups else "no group is judged"
    for name, level, count, member in found:
        row: dict[str, Any] = {"group": name, "level": level, "customers": count}
        row |= {"mean_value": float(told[member].mean()) if count >= LEAST_OF_A_GROUP else None}
        row |= {"gap": None, "noise": None, "found": None}
        if any(member is each[3] for each in judged):
            gap = gap_of(told, member, controls, width)
            row |= gap._asdict() | {"gap": gap.value}
            row.pop("value")
            certain = max(abs(gap.value) - gap.noise, 0.0)
            if certain >= worst:
                worst = certain
                about = (
                    f"months of the bill, beyond noise; furthest: {name} {level}, {gap.value:+.3f} at equal risk and "
                    f"effect, give or take {gap.noise:.3f}; {gates.max_unfair_months + gap.found:.2f} would be found "
                    f"{POWER:.0%} of the time"
                )
        rows.append(row)
    return Outcome((Gate("unfair_months", worst, "<=", gates.max_unfair_months, about),), {"groups": rows})


def gap_of(value: Floats, member: Bools, controls: Floats, width: float) -> Gap:
    """How much more a group's members get than others with the same controls.

    Args:
        value: (n,).
        member: (n,).
        controls: (n, C) what must be equal.
        width: Standard errors that count as noise.
    """
    apart, left = (_residual(each, controls) for each in (member.astype(np.float64), value))
    spread = float(apart @ apart)
    if spread <= 1e-9 * len(value):  # the controls tell exactly who belongs: nobody to compare with
        return Gap(0.0, 0.0, float("inf"))
    gap = float(apart @ left) / spread
    rest = left - gap * apart
    free = max(len(value) - controls.shape[1] - 1, 1)
    error = float(np.sqrt(((apart * rest) ** 2).sum() * len(value) / free)) / spread
    return Gap(gap, width * error, (width + NormalDist().inv_cdf(POWER)) * error)


def _residual(value: Floats, controls: Floats) -> Floats:
    return value - controls @ np.linalg.lstsq(controls, value, rcond=None)[0]


def _offered(policy: DecisionPolicy, yardstick: Yardstick) -> Floats:
    """(n,) what the first decision may give each customer, in months of the bill."""
    process, price, n = yardstick.process, yardstick.tables.price, len(yardstick.tables)
    everyone, nothing = np.arange(n), np.zeros(n, np.int64)
    seen = yardstick.observer.observe(everyone, nothing, nothing + IDLE, nothing, np.zeros(n, np.float32))
    arm: Ints = policy.act(seen)
    given = process.commitments(price) - process.menu.contact_cost
    return np.asarray(np.where(arm > 0, given[everyone, arm], 0.0) / price)


def _controls(yardstick: Yardstick) -> Floats:
    """(n, C) cells of risk and effect, and both within them; the money too that the best arm is expected to add."""
    tables = yardstick.tables
    risk, takes = tables.risk[:, 0], tables.acceptance[:, 0, 0, 1:]
    accepted, refused = tables.churn_if_accepted[:, 0], tables.churn_if_refused[:, 0]
    effect = (risk[:, None] - takes * accepted - (1 - takes) * refused).max(axis=1)
    money = within_window(
        risk[:, None, None],
        takes[:, None],
        accepted[:, None],
        refused[:, None],
        tables.price,
        yardstick.process.menu.monthly(tables.price),
        yardstick.process,
    )[:, 0].max(axis=1)
    cell = _fifths(risk) * PARTS + _fifths(effect)
    cells = cell[:, None] == np.unique(cell)
    ranks = [risk, effect, money / tables.price]
    return np.column_stack([cells, *((each - each.mean()) / (each.std() or 1.0) for each in ranks)]).astype(
        np.float64
    )


def _fifths(value: Floats) -> Ints:
    return np.searchsorted(np.quantile(value, np.linspace(0, 1, PARTS + 1)[1:-1]), value)

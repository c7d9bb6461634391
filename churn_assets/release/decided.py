"""How a release decides for customers that no model was fitted on, as small tables that name no customer."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from churn_assets.gates.estimates import Floats, Integers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn_assets.arms import Arm
    from churn_assets.customers.table import CustomerTable
    from churn_assets.deciding.decider import Decision

LEAST_CUSTOMERS = 50
"""Of a slice whose figures are told: the share of fewer is known to no better than 14 points."""
ACCEPTED, KEPT = "expected to accept", "expected to be kept by it"
"""The last stages of a funnel: expected numbers."""
POINTS = 20
"""Of the budget curve."""
PARTS = 5
"""Groups of equal size by risk."""
_THIRDS = 3
_WIDEST = 12
"""Most levels of a feature that is told apart."""

Row = dict[str, Any]
Segments = Mapping[str, tuple[Sequence[str], Integers]]
"""Name to the names of its levels and the level (n,) of every customer."""


@dataclass(frozen=True, eq=False)
class Decided:
    """Decisions for n customers, a column each; money is in the currency of the price.

    Attributes:
        menu: The arms.
        arm: (n,) index of the arm decided.
        risk: (n,) P(churn) within the label window without contact.
        acceptance: (n,) of the arm decided.
        risk_if_offered: (n,) P(churn) given the decision.
        window: (n,) what the arm adds by what happens in the label window.
        value: (n,) what it adds over the horizon, projected; `low` and `high` are the band.
        low: (n,).
        high: (n,).
        cost: (n,) the most that the arm can cost.
        eligible: (n,) some offer may be made.
        worth: (n,) some offer that may be made is expected to pay.
        stopped: (n,) the rule or reason that stopped an offer; empty where one is made.
    """

    menu: Sequence[Arm]
    arm: Integers
    risk: Floats
    acceptance: Floats
    risk_if_offered: Floats
    window: Floats
    value: Floats
    low: Floats
    high: Floats
    cost: Floats
    eligible: NDArray[np.bool_]
    worth: NDArray[np.bool_]
    stopped: NDArray[np.str_]

    @classmethod
    def of(cls, decisions: Sequence[Decision], menu: Sequence[Arm]) -> Decided:
        """The decisions of one call, in order."""
        chosen = [each.chosen for each in decisions]
        free = [[arm for arm in each.arms[1:] if arm.forbidden is None] for each in decisions]
        arm = np.array([each.arm for each in decisions], np.int64)
        pays = [any(each.expected_value > 0 for each in arms) for arms in free]
        return cls(
            menu=menu,
            arm=arm,
            risk=np.array([each.risk for each in decisions], np.float64),
            acceptance=np.array([each.acceptance for each in chosen], np.float64),
            risk_if_offered=np.array([each.risk_if_offered for each in chosen], np.float64),
            window=np.array([each.window_value for each in chosen], np.float64),
            value=np.array([each.expected_value for each in chosen], np.float64),
            low=np.array([each.value_low for each in chosen], np.float64),
            high=np.array([each.value_high for each in chosen], np.float64),
            cost=np.array([each.cost for each in decisions], np.float64),
            eligible=np.array([bool(arms) for arms in free], bool),
            worth=np.array(pays, bool) | (arm > 0),
            stopped=np.array(["" if each.arm else each.reasons[-1].code for each in decisions], np.str_),
        )

    def __len__(self) -> int:
        return len(self.arm)

    @property
    def contacted(self) -> NDArray[np.bool_]:
        """(n,) an offer is made."""
        return self.arm > 0


def segments_of(customers: CustomerTable, risk: Floats) -> Segments:
    """How customers are told apart: fifths of risk, thirds of price and tenure, levels of features.

    Args:
        customers: n customers.
        risk: (n,) of theirs.
    """
    schema = customers.schema
    found: dict[str, tuple[Sequence[str], Integers]] = {"risk": _parts(risk, PARTS, "{:.1%}")}
    for name in dict.fromkeys(each for each in (schema.monthly_revenue, schema.tenure) if each):
        values = customers.X[:, schema.names.index(name)]
        if len(np.unique(values[np.isfinite(values)])) > _THIRDS:
            found[name] = _parts(values, _THIRDS, "{:g}")
    for place, feature in enumerate(schema.features):
        if 1 < len(feature.categories) <= _WIDEST:
            codes = np.nan_to_num(customers.X[:, place], nan=-1).astype(np.int64)
            found[feature.name] = (feature.categories, codes)
    return found


def _parts(values: Floats, parts: int, shown: str) -> tuple[Sequence[str], Integers]:
    """Groups of about equal size, the lowest first; values that are no numbers belong to none."""
    inner = np.unique(np.nanquantile(values, np.linspace(0, 1, parts + 1)[1:-1]))
    ends = [shown.format(each) for each in inner]
    names = [f"up to {ends[0]}", *(f"{low} to {high}" for low, high in itertools.pairwise(ends))]
    code = np.searchsorted(inner, values, side="left")
    return [*names, f"above {ends[-1]}"], np.where(np.isfinite(values), code, -1).astype(np.int64)


def decision_tables(
    decided: Decided, segments: Segments, before: Sequence[str] | None
) -> dict[str, list[Row]]:
    """All that a report tells of decisions.

    Args:
        decided: n decisions.
        segments: Of the same customers.
        before: n ids of the arms that another release decides; None where there is none to ask.
    """
    ids = np.array([arm.id for arm in decided.menu])
    moved = None if before is None else np.asarray(before) != ids[decided.arm]
    tables = {
        "funnel": _funnel(decided),
        "stopped": _stopped(decided),
        "offers": _offers(decided),
        "slices": list(_slices(decided, segments, moved)),
        "budget": _budget(decided),
    }
    return tables if before is None else tables | {"flips": flips(ids[decided.arm].tolist(), before)}


def _funnel(decided: Decided) -> list[Row]:
    """From all to kept: each stage is part of the one before; the last two are expected numbers."""
    made = decided.contacted
    kept = (decided.risk - decided.risk_if_offered)[made].sum()
    return [
        {"stage": "customers", "customers": len(decided)},
        {"stage": "eligible for an offer now", "customers": int(decided.eligible.sum())},
        {"stage": "worth an offer", "customers": int((decided.eligible & decided.worth).sum())},
        {"stage": "contacted", "customers": int(made.sum())},
        {"stage": ACCEPTED, "customers": float(decided.acceptance[made].sum())},
        {"stage": KEPT, "customers": float(kept)},
    ]


def _stopped(decided: Decided) -> list[Row]:
    """Who is not contacted, by the stage that was not reached and the rule or reason."""
    stages = np.array(["eligible for an offer now", "worth an offer", "contacted"])
    missed = stages[np.where(~decided.eligible, 0, np.where(~decided.worth, 1, 2))][~decided.contacted]
    counts = Counter(zip(missed.tolist(), decided.stopped[~decided.contacted].tolist(), strict=True))
    return [
        {"not": stage, "rule": rule, "customers": count} for (stage, rule), count in sorted(counts.items())
    ]


def _offers(decided: Decided) -> list[Row]:
    """A row for every arm that is decided for somebody; arms whose terms sound alike are told apart by their ids."""
    alike = Counter(arm.label for arm in decided.menu)
    rows = []
    for place, arm in enumerate(decided.menu):
        mine = decided.arm == place
        if mine.any():
            rows.append(
                {
                    "offer": arm.label if alike[arm.label] == 1 else f"{arm.id} ({arm.label})",
                    "customers": int(mine.sum()),
                    "share": float(mine.mean()),
                    "mean_risk": float(decided.risk[mine].mean()),
                    "mean_window_value": float(decided.window[mine].mean()),
                    "mean_expected_value": float(decided.value[mine].mean()),
                    "mean_value_low": float(decided.low[mine].mean()),
                    "mean_value_high": float(decided.high[mine].mean()),
                    "mean_cost": float(decided.cost[mine].mean()),
                }
            )
    return rows


def _slices(decided: Decided, segments: Segments, moved: NDArray[np.bool_] | None) -> Iterator[Row]:
    """Offers and values by slice; of few customers nothing is told but their number."""
    columns = {"risk": decided.risk, "contacted": decided.contacted.astype(np.float64)}
    columns |= {"window_value": decided.window, "expected_value": decided.value}
    columns |= {"value_low": decided.low, "value_high": decided.high}
    if moved is not None:
        columns["moved"] = moved.astype(np.float64)
    arms = len(decided.menu)
    for feature, (levels, code) in segments.items():
        inside = code >= 0
        at, size = code[inside], len(levels)
        count = np.bincount(at, minlength=size)
        chosen = np.bincount(at * arms + decided.arm[inside], minlength=size * arms).reshape(size, arms)
        sums = {name: np.bincount(at, each[inside], minlength=size) for name, each in columns.items()}
        for place, level in enumerate(levels):
            n = int(count[place])
            told = n >= LEAST_CUSTOMERS
            row: Row = {"feature": feature, "level": level, "customers": n}
            row |= {name: float(each[place] / n) if told else None for name, each in sums.items()}
            offers = {arm.id: chosen[place, i] / n if told else None for i, arm in enumerate(decided.menu)}
            yield row | {
                f"offer:{arm}": None if share is None else float(share) for arm, share in offers.items()
            }


def _budget(decided: Decided) -> list[Row]:
    """Offers in the order in which a scarce budget is given out: the highest projected value for money first."""
    made = np.flatnonzero(decided.contacted)
    cost, value = decided.cost[made], decided.value[made]
    price = np.divide(value, cost, out=np.full(len(made), np.inf), where=cost > 0)
    order = np.argsort(-price, kind="stable")
    spent, gained = np.cumsum(cost[order]), np.cumsum(value[order])
    ends = np.unique(np.linspace(0, len(made), POINTS + 1).round().astype(int))[1:]
    n = max(len(decided), 1)
    first: Row = {"offers": 0, "reserved": 0.0, "expected_value": 0.0, "shadow_price": None}
    rows = [
        {
            "offers": int(end),
            "reserved": float(spent[end - 1] / n),
            "expected_value": float(gained[end - 1] / n),
            "shadow_price": float(last) if np.isfinite(last := price[order[end - 1]]) else None,
        }
        for end in ends.tolist()
    ]
    return [first, *rows] if rows else []


def flips(now: Sequence[str], before: Sequence[str]) -> list[Row]:
    """How many customers go from which arm to which, the most first; who keeps theirs is among them."""
    rows = [
        {"before": was, "now": is_, "customers": count}
        for (was, is_), count in sorted(Counter(zip(before, now, strict=True)).items())
    ]
    return sorted(rows, key=lambda row: (row["before"] == row["now"], -row["customers"]))

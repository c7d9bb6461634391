"""Limits that all rows of a batch share: what each part wants is set down, weighed as one, and granted part by part.

Memory holds one part, and what `knapsack.InParts` says for every customer; whatever is set down stays, so that a batch
that was killed goes on with the same prices and grants.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from churn_assets.batch.files import create_arrays, create_json, read_arrays, read_plain
from churn_assets.batch.staging import STAGED, part_name, staged_part
from churn_assets.customers.table import CustomerTableError
from churn_assets.deciding.budgets import all_fits, more_than_granted, standing
from churn_assets.deciding.columns import BUDGET
from churn_assets.deciding.decider import Decider
from churn_assets.deciding.table import PartWishes, wanted_of_part
from churn_assets.decision.knapsack import InParts, Knapsacks, allocate, with_rows
from churn_assets.decision.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from churn_assets.deciding.budgets import BudgetUse

WANTED, GRANTED = "wanted", "granted"
ALLOWED, TOGETHER = "allowed.json", "together.json"
"""What the batch may use, set down before anything is granted, so that it is granted alike however often it is begun;
and what all together were granted, set down last."""


@dataclass(frozen=True, eq=False)
class Limited:
    """What all rows of a batch may use together.

    Attributes:
        limits: J.
        before: (J,) what others used of each.
        most: (J,) what the batch may use.
        price: (J,) shadow prices.
        value: What the arms granted add, as the limits see it.
        bound: What no arms that fit can add more than.
        everything: Whether every limit is kept whatever anybody gets, so that none stops an offer.
    """

    limits: Limits
    before: NDArray[np.float64]
    most: NDArray[np.float64]
    price: NDArray[np.float64]
    value: float
    bound: float
    everything: bool

    @classmethod
    def read(cls, folder: Path, limits: Limits) -> Limited:
        """What `grant` set down."""
        told = read_plain(folder / GRANTED / TOGETHER)
        before, most, price = (np.array(told[name], np.float64) for name in ("before", "most", "price"))
        return cls(limits, before, most, price, told["value"], told["bound"], told["everything"])

    def uses(self, parts: Sequence[Sequence[float]]) -> list[BudgetUse]:
        """How each limit stands after the decisions, of which each part uses J amounts."""
        used = np.array(parts, np.float64).reshape(-1, len(self.most)).sum(axis=0)
        return standing(self.limits, self.before, self.most, used, self.price)


def weigh(folder: Path, number: int, decider: Decider, now: datetime, limits: Limits) -> None:
    """Set down what the customers of a part want, unless that is done; nobody's of a part that is refused."""
    path = _arrays(folder / WANTED, number)
    if path.exists():
        return
    k, j = len(decider.menu), len(limits.names)
    try:
        found = wanted_of_part(staged_part(folder, number), decider, now, limits)
    except CustomerTableError:  # deciding tells it, with all other parts
        nothing = np.zeros((0, k))
        found = PartWishes(nothing, nothing, np.zeros((0, j), bool), np.zeros((0, k), np.int64))
    create_arrays(
        path, value=found.value, cost=found.cost, covered=found.covered, capped=found.capped.astype(np.int8)
    )


def grant(
    folder: Path,
    limits: Limits,
    before: NDArray[np.float64],
    allow: Callable[[int], NDArray[np.float64]],
) -> None:
    """Share the limits out among the customers of all parts, unless that is done.

    Args:
        folder: Of a batch whose parts are all weighed.
        limits: That hold.
        before: (J,) what others used of each.
        allow: From how many customers there are to what they may use, (J,).
    """
    if (folder / GRANTED / TOGETHER).exists():
        return
    parts = read_plain(folder / STAGED)["parts"]
    rows = sum(
        len(read_arrays(_arrays(folder / WANTED, each), "covered")["covered"]) for each in range(parts)
    )
    create_json(folder / GRANTED / ALLOWED, {"before": before.tolist(), "most": allow(rows).tolist()})
    allowed = read_plain(folder / GRANTED / ALLOWED)
    most = np.array(allowed["most"], np.float64)

    def read() -> Iterator[Knapsacks]:
        return (_problem(folder, number, limits, most) for number in range(parts))

    problem = InParts(read, rows, most, limits.contacts)
    everything = not len(most) or all_fits(problem)
    price, value, bound = np.zeros(len(most)), 0.0, 0.0
    if not everything:
        found = allocate(problem)
        price, value, bound = found.price, found.value, found.bound
        for number, (place, _) in enumerate(with_rows(problem)):
            create_arrays(_arrays(folder / GRANTED, number), arm=found.arm[place].astype(np.int16))
    told: dict[str, Any] = {"value": value, "bound": bound, "everything": everything}
    create_json(folder / GRANTED / TOGETHER, told | allowed | {"price": price.tolist()})


def stopped_of(folder: Path, number: int, limited: Limited) -> NDArray[np.int64] | None:
    """(m, K) codes of what caps and limits stop for the customers of a part; None where they stop nothing."""
    capped = read_arrays(_arrays(folder / WANTED, number), "capped")["capped"]
    codes: NDArray[np.int64] = capped.astype(np.int64)
    if not limited.everything:
        arm = read_arrays(_arrays(folder / GRANTED, number), "arm")["arm"].astype(np.int64)
        more = more_than_granted(_problem(folder, number, limited.limits, limited.most), arm)
        codes = np.where((codes == 0) & more, BUDGET, codes)
    return codes if codes.any() else None


def use_of(folder: Path, number: int, limited: Limited, arm: NDArray[np.int64]) -> list[float]:
    """(J,) what the arms (m,) decided for the customers of a part use of each limit."""
    used: list[float] = _problem(folder, number, limited.limits, limited.most).uses(arm).tolist()
    return used


def _problem(folder: Path, number: int, limits: Limits, most: NDArray[np.float64]) -> Knapsacks:
    found = read_arrays(_arrays(folder / WANTED, number), "value", "cost", "covered")
    return Knapsacks.of(found["value"], found["cost"], most, limits.contacts, limits.arms, found["covered"])


def _arrays(folder: Path, number: int) -> Path:
    return folder / part_name(number).replace(".parquet", ".npz")

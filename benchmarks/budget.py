"""Many hard budgets at once on a million customers, and budgets that must last for twelve weeks.

Ten limits on cost or contacts of some arms and some customers, and a cap for each customer. Value is held against the
Lagrangian dual bound, which no allocation exceeds, and use is counted anew from the arms alone. Simple rules stand
beside it: first come, the most value for money first, and one price for all money. Weeks come with random numbers of
customers, of another mix each week; the bound knows all of them beforehand.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Sequence
from datetime import date
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import Figure, main
from churn_assets.decision.knapsack import Allocation, Knapsacks, allocate, preferred_at
from churn_assets.decision.pacing import Moment, allowance, expected_ahead

CUSTOMERS, ARMS, LIMITS = 1_000_000, 5, 10
WEEKS, WEEKLY = 12, 15_000
SEED = 20_261_130

Floats = NDArray[np.float64]


class Market(NamedTuple):
    """Customers as they come; the limits are about the same arms and customers throughout.

    Attributes:
        value: (n, K) money that each arm adds.
        cost: (n, K) the most that it costs.
        covered: (n, J) who is covered by which limit.
    """

    value: Floats
    cost: Floats
    covered: NDArray[np.bool_]

    def rows(self, chosen: slice) -> Market:
        """Some of them."""
        return Market(*(each[chosen] for each in self))


def market(n: int, rng: np.random.Generator, richer: float = 1.0) -> Market:
    """Customers with prices, risks and a cap of their own, in 6 regions, 3 tenures and 2 kinds of contract."""
    price, effect = rng.gamma(4.0, 16.0, n) * richer, rng.gamma(1.5, 0.05, n)
    shares = np.array([0.0, 0.05, 0.1, 0.2, 0.3])
    cost = price[:, None] * shares * 6 + (shares > 0)
    taken = 1 / (1 + np.exp(2.2 - 9 * shares))
    value = price[:, None] * 20 * effect[:, None] * taken - cost * taken * 0.6 + rng.normal(0, 1.5, (n, ARMS))
    value[:, 0] = 0.0
    capped = cost > (price * rng.uniform(0.6, 2.0, n))[:, None]
    value[capped] = -np.inf
    region, tenure, contract = rng.integers(0, 6, n), rng.integers(0, 3, n), rng.integers(0, 2, n)
    members = [region == 0, region == 1, region < 3, region >= 3, tenure == 0, tenure > 0, contract == 0]
    members += [np.ones(n, bool), np.ones(n, bool), rng.random(n) < 0.3]
    return Market(value, cost, np.stack(members, axis=1))


CONTACTS = np.array([False, True, False, False, True, False, True, False, True, False])
COVERS = np.array(
    [[0, 1, 1, 1, 1], [0, 1, 1, 1, 1], [0, 0, 0, 1, 1], [0, 1, 1, 0, 0], [0, 1, 1, 1, 1], [0, 0, 0, 0, 1],
     [0, 0, 1, 1, 1], [0, 1, 1, 1, 1], [0, 1, 1, 1, 1], [0, 1, 0, 1, 0]], bool
)  # fmt: skip
MONEY = 7
"""The limit on all money."""
TIGHT = np.array([0.8, 0.85, 0.85, 0.8, 0.85, 0.8, 0.9, 1.0, 0.95, 0.9])
"""Part of what would be used if all money were the only limit."""


def limited(customers: Market, most: Floats) -> Knapsacks:
    """The problem of these customers."""
    return Knapsacks.of(customers.value, customers.cost, most, CONTACTS, COVERS, customers.covered)


def scarce(customers: Market) -> Floats:
    """(J,) limits that nearly all bind: half of the money wanted, and less of everything than is then used."""
    nothing = np.zeros(LIMITS)
    free = limited(customers, nothing)
    wanted = free.uses(preferred_at(free, nothing))
    money = allocate(limited(customers, np.where(np.arange(LIMITS) == MONEY, 0.5 * wanted, wanted)))
    most = np.where(np.arange(LIMITS) == MONEY, 0.46 * wanted, TIGHT * money.used)
    return np.where(CONTACTS, np.floor(most), most)


def violations(customers: Market, arm: NDArray[np.int64], most: Floats) -> int:
    """Limits overrun and caps broken by (n,) arms, counted without the code that chose them."""
    rows = np.arange(len(arm))
    amount = np.where(CONTACTS, 1.0, customers.cost[rows, arm][:, None])
    used = (amount * (COVERS.T[arm] & customers.covered)).sum(axis=0)
    capped = ~np.isfinite(customers.value[rows, arm])
    return int((used > most * (1 + 1e-9)).sum() + capped.sum())


def one_by_one(problem: Knapsacks, order: NDArray[np.int64], arm: NDArray[np.int64]) -> float:
    """What is gained if customers come in an order and each gets their (n,) arm where it still fits, else nothing."""
    left, gained = problem.limit.copy(), 0.0
    draws, contacts = problem.draws, problem.contacts
    for row in order[arm[order] > 0].tolist():
        k = int(arm[row])
        use = draws[problem.group[row], :, k] * np.where(contacts, 1.0, problem.cost[row, k])
        if (use <= left).all():
            left -= use
            gained += float(problem.value[row, k])
    return gained


def simple_rules(problem: Knapsacks, rng: np.random.Generator) -> dict[str, float]:
    """Values of what is done without prices of each limit."""
    n = len(problem)
    best = preferred_at(problem, np.zeros(LIMITS))
    value, cost = problem.value[np.arange(n), best], problem.cost[np.arange(n), best]
    greedy = np.argsort(-np.divide(value, cost, out=np.zeros(n), where=cost > 0), kind="stable")
    rules = {
        "first_come": one_by_one(problem, rng.permutation(n), best),
        "greedy": one_by_one(problem, greedy, best),
    }
    tried = []
    for price in np.geomspace(0.02, 8, 12):
        arm = (problem.value - price * problem.cost).argmax(axis=1)
        net = problem.value[np.arange(n), arm] - price * problem.cost[np.arange(n), arm]
        tried.append(one_by_one(problem, np.argsort(-net, kind="stable"), arm))
    return rules | {"one_price": max(tried)}


def paced(rng: np.random.Generator) -> tuple[float, float, int]:
    """Value of twelve weeks that are decided one after the other, what the bound over all is, limits overrun."""
    sizes = rng.poisson(WEEKLY * rng.uniform(0.6, 1.4, WEEKS))
    weeks = [
        market(int(n), rng, richer) for n, richer in zip(sizes, rng.uniform(0.9, 1.1, WEEKS), strict=True)
    ]
    whole = Market(*(np.concatenate(parts) for parts in zip(*weeks, strict=True)))
    most, used, gained = scarce(whole), np.zeros(LIMITS), 0.0
    offline: Allocation = allocate(limited(whole, most))
    arrived, arms = [0] * WEEKS, []
    for week, customers in enumerate(weeks):
        n, moment = len(customers.value), Moment(date(2026, 12, 7), week, 0.0, WEEKS)
        ahead = expected_ahead(moment, [WEEKLY] * WEEKS, arrived, n, at_once=True)
        found = allocate(limited(customers, allowance(most, used, n, ahead, CONTACTS)))
        used, gained, arrived[week] = used + found.used, gained + found.value, n
        arms.append(found.arm)
    return gained, offline.bound, violations(whole, np.concatenate(arms), most)


def measure() -> Sequence[Figure]:
    """All figures."""
    rng = np.random.default_rng(SEED)
    customers = market(CUSTOMERS, rng)
    most = scarce(customers)
    start = time.process_time()
    found = allocate(limited(customers, most))
    seconds = time.process_time() - start
    gibibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    share, broken = found.value / found.bound, violations(customers, found.arm, most)
    few = customers.rows(slice(0, 20_000))
    small = limited(few, np.where(CONTACTS, np.floor(most / 50), most / 50))
    top = allocate(small)
    rules = simple_rules(small, rng)
    weeks = [paced(rng) for _ in range(3)]
    return [
        Figure("budget_cpu_seconds", seconds, "<=", 60, "1,000,000 customers, 5 arms, 10 limits, a cap each"),
        Figure("budget_gib", gibibytes, "<=", 2, "of the whole process, the customers among it"),
        Figure("budget_value_of_bound", share, ">=", 0.995, "of the Lagrangian dual bound"),
        Figure("budget_violations", broken, "<=", 0, "limits overrun and caps broken, counted anew"),
        Figure("budget_prices_above_0", float((found.price > 0).sum()), note="limits that bind"),
        Figure(
            "budget_paced_of_offline", min(a / b for a, b, _ in weeks), ">=", 0.98, "12 weeks, the worst of 3"
        ),
        Figure(
            "budget_paced_violations",
            sum(each for *_, each in weeks),
            "<=",
            0,
            "limits overrun over all weeks",
        ),
        Figure(
            "budget_small_of_bound",
            top.value / top.bound,
            note="20,000 customers: what the rules are held to",
        ),
        *(
            Figure(f"budget_{name}_of_bound", value / top.bound, note="of the same bound")
            for name, value in rules.items()
        ),
    ]


if __name__ == "__main__":
    main(__doc__, measure)

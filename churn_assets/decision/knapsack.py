"""Many limits at once: which customer gets which arm so that no limit is overrun, and what more could be worth at most.

The multiple-choice multiple-knapsack problem. Prices of the limits come from its Lagrangian dual, smoothed by a soft
maximum and minimised by Newton's method on the box of useful prices (Bertsekas 1982); any prices give a true bound.
What the customers choose at those prices is then made to fit and filled up. Numbers only: what a limit is about, when
it begins and who pays stands elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, pairwise

import numpy as np
import numpy.typing as npt

from churn_assets.decision.process import Bools, Floats, Ints

SAMPLE = 40_000
"""Customers on whom prices are found first; the price of a limit that covers a tenth of them is known to 1 %."""
NEWTON_STEPS = 25
SOFTEST, SHARPEST, COOLING = 0.3, 1e-4, 0.25
WARM = 0.02
"""Of the soft maximum, in units of a customer's usual best value: at the last a bound is at most .02 % off."""
FILLED = 60_000
"""Improvements tried one by one when what is left is filled: all of some ten thousand customers, the best of more."""
_ROWS = 1 << 15
_RIDGE = 1e-9


@dataclass(frozen=True, eq=False)
class Knapsacks:
    """n customers, K arms, J limits. The customers stand in groups whose members draw on the same limits.

    Attributes:
        value: (n, K) money that each arm adds; 0 of arm 0, which draws on no limit; -inf: not for this customer.
        cost: (n, K) money that an arm can cost at most, at least 0.
        limit: (J,) most that may be used.
        contacts: (J,) whether a limit counts contacts; else it adds up cost.
        arms: (J, K) which arms draw on a limit.
        group: (n,) index into `covers`.
        covers: (G, J) which limits the customers of a group draw on.
    """

    value: Floats
    cost: Floats
    limit: Floats
    contacts: Bools
    arms: Bools
    group: Ints
    covers: Bools

    @classmethod
    def of(
        cls, value: Floats, cost: Floats, limit: Floats, contacts: Bools, arms: Bools, covered: Bools
    ) -> Knapsacks:
        """The problem of customers who are covered by limits, (n, J); the rest as the attributes.

        Raises:
            ValueError: Shapes do not fit, an amount is negative or no number, or leaving somebody alone is not free.

        >>> one = Knapsacks.of(
        ...     np.array([[0.0, 5.0], [0.0, 4.0]]), np.array([[0.0, 2.0], [0.0, 2.0]]), np.array([3.0]),
        ...     np.array([False]), np.array([[False, True]]), np.ones((2, 1), bool),
        ... )
        >>> allocate(one).arm.tolist()
        [1, 0]
        """
        n, k = value.shape
        shapes = (cost.shape, contacts.shape, arms.shape, covered.shape)
        if shapes != ((n, k), limit.shape, (*limit.shape, k), (n, *limit.shape)):
            raise ValueError(
                f"knapsacks: found shapes {value.shape}, {limit.shape} and {shapes} that do not fit"
            )
        if not ((limit >= 0).all() and np.isfinite(limit).all()):
            raise ValueError(
                f"knapsacks: found limits {limit.tolist()}, expected finite amounts of at least 0"
            )
        if not ((cost >= 0).all() and np.isfinite(cost).all()) or not (value < np.inf).all():
            raise ValueError("knapsacks: found a cost or a value that is out of range")
        if value[:, 0].any() or arms[:, 0].any():
            raise ValueError("knapsacks: arm 0 must add nothing and draw on no limit")
        covers, group = _groups(covered)
        return cls(value, cost, limit, contacts, arms, group, covers)

    def __len__(self) -> int:
        return len(self.value)

    @cached_property
    def draws(self) -> Bools:
        """(G, J, K) which arm of a group's customers draws on which limit."""
        return self.covers[:, :, None] & self.arms

    def pick(self, rows: Ints) -> Knapsacks:
        """Some of the customers; the limits stay as they are."""
        return replace(self, value=self.value[rows], cost=self.cost[rows], group=self.group[rows])

    def parts(self) -> Iterator[Knapsacks]:
        """The customers as one part, see `InParts`."""
        yield self

    @cached_property
    def by_group(self) -> list[tuple[int, Floats, Floats]]:
        """Each group that has customers, with their values and costs side by side."""
        order, known = np.argsort(self.group, kind="stable"), np.arange(len(self.covers) + 1)
        ends = np.searchsorted(self.group[order], known).tolist()
        value, cost = self.value[order], self.cost[order]
        return [(g, value[a:b], cost[a:b]) for g, (a, b) in enumerate(pairwise(ends)) if a < b]

    def use(self, row: int, arm: int) -> Floats:
        """(J,) what one customer's arm uses of each limit."""
        amount = np.where(self.contacts, 1.0, self.cost[row, arm])
        return np.asarray(self.draws[self.group[row], :, arm] * amount)

    def uses(self, arm: Ints) -> Floats:
        """(J,) what (n,) arms use of each limit together, rounded once: in any order it is the same."""
        return uses(self, arm)

    def without_the_impossible(self) -> Knapsacks:
        """The same problem, an arm that alone uses more than a limit has taken from its customer."""
        value = self.value
        for j in np.flatnonzero(
            self.limit < np.where(self.contacts, 1.0, self.cost.max(initial=0.0))
        ).tolist():
            drawn = self.draws[self.group, j]
            amount = np.ones_like(self.cost) if self.contacts[j] else self.cost
            value = np.where(drawn & (amount > self.limit[j]), -np.inf, value)
        return replace(self, value=value)

    def chunks(self) -> Iterator[slice]:
        """The customers, as many at a time as the processor's cache holds."""
        return (slice(start, start + _ROWS) for start in range(0, len(self), _ROWS))

    def net(self, price: Floats, rows: slice) -> Floats:
        """(m, K) values of some customers less what their arms use at (J,) prices."""
        return np.asarray(self.value[rows] - self.priced_use(price, rows))

    def priced_use(self, price: Floats, rows: slice) -> Floats:
        """(m, K) what some customers' arms use of all limits, at (J,) prices."""
        money, contact = self.rates(price)
        group = self.group[rows]
        return np.asarray(self.cost[rows] * money[group] + contact[group])

    def rates(self, price: Floats) -> tuple[Floats, Floats]:
        """(G, K) prices of a unit of cost and of a contact."""
        money = np.where(self.contacts, 0.0, price)
        return np.einsum("gjk,j->gk", self.draws, money), np.einsum("gjk,j->gk", self.draws, price - money)


@dataclass(frozen=True, eq=False)
class InParts:
    """A problem whose customers are read a part at a time, as often as they are looked at.

    Attributes:
        read: Reads the parts in order, each with the whole limits.
        rows: How many customers there are.
        limit: As of `Knapsacks`.
        contacts: As of `Knapsacks`.
    """

    read: Callable[[], Iterator[Knapsacks]]
    rows: int
    limit: Floats
    contacts: Bools

    def __len__(self) -> int:
        return self.rows

    def parts(self) -> Iterator[Knapsacks]:
        """The customers, a part at a time."""
        return self.read()

    def without_the_impossible(self) -> InParts:
        """As of `Knapsacks`."""
        return replace(self, read=lambda: (each.without_the_impossible() for each in self.read()))


SharedProblem = Knapsacks | InParts
"""What is shared out. Of one in parts, memory holds a part, and some 50 bytes for every customer who is contacted."""


def with_rows(problem: SharedProblem) -> Iterator[tuple[slice, Knapsacks]]:
    """Each part, with the rows of the whole that it is."""
    start = 0
    for part in problem.parts():
        yield slice(start, start + len(part)), part
        start += len(part)


def in_memory(problem: SharedProblem, rows: Ints) -> Knapsacks:
    """Some of the customers in memory; `rows` are in order."""
    found = []
    for place, part in with_rows(problem):
        mine = rows[slice(*np.searchsorted(rows, [place.start, place.stop]))] - place.start
        found.append((part.value[mine], part.cost[mine], part.covers[part.group[mine]]))
        arms = part.arms
    value, cost, covered = (np.concatenate(each) for each in zip(*found, strict=True))
    covers, group = _groups(covered)
    return Knapsacks(value, cost, problem.limit, problem.contacts, arms, group, covers)


def uses(problem: SharedProblem, arm: Ints) -> Floats:
    """(J,) what (n,) arms use of each limit together, rounded once: in any order it is the same."""
    costs: list[Floats] = []
    drawn: list[Bools] = []
    for place, part in with_rows(problem):
        mine = arm[place]
        rows = np.flatnonzero(mine)
        costs.append(part.cost[rows, mine[rows]])
        drawn.append(part.draws[part.group[rows], :, mine[rows]])
    return np.array(
        [
            float(sum(int(each[:, j].sum()) for each in drawn))
            if counted
            else math.fsum(
                chain.from_iterable(
                    cost[each[:, j]].tolist() for cost, each in zip(costs, drawn, strict=True)
                )
            )
            for j, counted in enumerate(problem.contacts.tolist())
        ]
    )


def worth(problem: SharedProblem, arm: Ints) -> float:
    """What (n,) arms add together."""
    return math.fsum(
        chain.from_iterable(
            part.value[np.arange(len(part)), arm[place]].tolist() for place, part in with_rows(problem)
        )
    )


@dataclass(frozen=True, eq=False)
class Allocation:
    """Arms that fit all limits.

    Attributes:
        arm: (n,) the arm of each customer.
        price: (J,) shadow prices: what another unit of each limit would bring.
        used: (J,) of each limit, never above it.
        value: What the arms add.
        bound: No arms that fit add more.
    """

    arm: Ints
    price: Floats
    used: Floats
    value: float
    bound: float


def allocate(problem: SharedProblem, price: Floats | None = None) -> Allocation:
    """Arms that fit all limits, near the best there are, and the bound that says how near.

    Args:
        problem: Customers and limits.
        price: (J,) where the search for prices begins; no price if None.
    """
    possible = problem.without_the_impossible()
    found = shadow_prices(possible, price)
    bound = dual_bound(possible, found)
    arm = filled(possible, fitting(possible, preferred_at(possible, found), found), found)
    return Allocation(arm, found, uses(problem, arm), worth(problem, arm), bound)


def dual_bound(problem: SharedProblem, price: Floats) -> float:
    """What no allocation can be worth more than: the Lagrangian dual at (J,) prices, all of at least 0."""
    best = [
        float(part.net(price, rows).max(axis=1).sum()) for part in problem.parts() for rows in part.chunks()
    ]
    return math.fsum([*best, *(price * problem.limit).tolist()])


def preferred_at(problem: SharedProblem, price: Floats) -> Ints:
    """(n,) the arm of most value net of prices; of equal ones the first."""
    chosen = (part.net(price, rows).argmax(axis=1) for part in problem.parts() for rows in part.chunks())
    return np.concatenate([np.zeros(0, np.int64), *chosen])


def shadow_prices(problem: SharedProblem, price: Floats | None = None) -> Floats:
    """(J,) prices that make the dual bound about as low as it can be.

    Args:
        problem: Customers and limits.
        price: Where to begin.
    """
    found = np.zeros(len(problem.limit)) if price is None else np.asarray(price, np.float64)
    n = len(problem)
    if not n or not len(found):
        return np.zeros(len(found))
    if n > SAMPLE:
        few = in_memory(problem, np.sort(np.random.default_rng(0).choice(n, SAMPLE, replace=False)))
        found = shadow_prices(replace(few, limit=problem.limit * (SAMPLE / n)), found)
        return _minimised(problem, [found, np.zeros_like(found)], [SHARPEST * 2])
    if isinstance(problem, InParts):
        problem = in_memory(problem, np.arange(n))
    stages = [SOFTEST if price is None else WARM]
    while stages[-1] > SHARPEST:
        stages.append(max(stages[-1] * COOLING, SHARPEST))
    return _minimised(problem, [found, np.zeros_like(found)], stages)


def _minimised(problem: SharedProblem, starts: list[Floats], stages: list[float]) -> Floats:
    """The prices of the lowest bound of all that each stage of the smoothed dual ends at, and of the starts."""
    smooth = _SmoothDual.of(problem)
    found = np.minimum(starts[0], smooth.most)
    tried = [*starts, found]
    for stage in stages:
        found = _newton(smooth, found, stage * smooth.unit)
        tried.append(found)
    return min(tried, key=lambda each: dual_bound(problem, each))


@dataclass(frozen=True, eq=False)
class _SmoothDual:
    """The dual with a soft maximum: twice differentiable.

    Attributes:
        problem: Its customers.
        unit: A customer's usual best value.
        most: (J,) prices above which nobody draws on a limit.
    """

    problem: SharedProblem
    unit: float
    most: Floats

    @classmethod
    def of(cls, problem: SharedProblem) -> _SmoothDual:
        total, some, most = 0.0, 0, np.zeros(len(problem.limit))
        for part in problem.parts():
            best = part.value.max(axis=1, initial=0.0)
            total, some = total + float(best.sum()), some + int((best > 0).sum())
            most = np.maximum(most, _most_useful(part))
        return cls(problem, total / some if some else 1.0, most)

    def at(self, price: Floats, softness: float) -> tuple[float, Floats, Floats]:
        """Smoothed dual, its gradient (J,) and its Hessian (J, J)."""
        limit, j = self.problem.limit, len(price)
        value, gradient, hessian = float(price @ limit), limit.copy(), np.zeros((j, j))
        for part in self.problem.parts():
            money, contact = part.rates(price)
            for group, worths, cost in part.by_group:
                net = worths - cost * money[group] - contact[group]
                top = net.max(axis=1, keepdims=True)
                chance = np.exp((net - top) / softness)
                total = chance.sum(axis=1, keepdims=True)
                chance /= total
                value += float(top.sum() + softness * np.log(total).sum())
                into = _into_limits(part, group)
                expected, second = _expected_use(chance, cost)
                gradient -= into @ expected.sum(axis=0)
                hessian += into @ (second - expected.T @ expected) @ into.T
        return value, gradient, hessian / softness


def _expected_use(chance: Floats, cost: Floats) -> tuple[Floats, Floats]:
    """(m, 2 K) spend and contacts by arm that are expected of customers, and (2 K, 2 K) their second moments.

    What a customer is expected to use of any limit is linear in these 2 K numbers.
    """
    spent, k = chance * cost, cost.shape[1]
    second = np.diag(np.concatenate([(spent * cost).sum(axis=0), chance.sum(axis=0)]))
    crossed = np.diag(spent.sum(axis=0))
    second[:k, k:], second[k:, :k] = crossed, crossed
    return np.concatenate([spent, chance], axis=1), second


def _into_limits(problem: Knapsacks, group: int) -> Floats:
    """(J, 2 K) how cost by arm and contacts by arm of a group add up in each limit."""
    draws, counted = problem.draws[group], problem.contacts[:, None]
    return np.concatenate([draws & ~counted, draws & counted], axis=1).astype(np.float64)


def _most_useful(problem: Knapsacks) -> Floats:
    """(J,) the largest value for a unit of each limit that any arm has; above it a price changes nothing."""
    most = np.zeros(len(problem.limit))
    for rows in problem.chunks():
        value, cost = np.maximum(problem.value[rows], 0.0), problem.cost[rows]
        ratio = np.divide(value, cost, out=np.zeros_like(value), where=cost > 0)
        for j, counted in enumerate(problem.contacts.tolist()):
            told = np.where(problem.draws[problem.group[rows], j], value if counted else ratio, 0.0)
            most[j] = max(most[j], float(told.max(initial=0.0)))
    return most


def _newton(smooth: _SmoothDual, price: Floats, softness: float) -> Floats:
    """Projected Newton steps until no limit is missed by more than a thousandth."""
    limit = smooth.problem.limit
    close = 1e-3 * np.maximum(limit, limit[limit > 0].min(initial=1.0) * 1e-3)
    value, gradient, hessian = smooth.at(price, softness)
    for _ in range(NEWTON_STEPS):
        held = ((price <= 0) & (gradient >= 0)) | ((price >= smooth.most) & (gradient <= 0))
        free = np.flatnonzero(~held)
        if not len(free) or (np.abs(gradient[free]) <= close[free]).all():
            break
        # Where nothing is curved, as nobody chooses otherwise, a step goes as far as prices go.
        least = np.maximum(np.abs(gradient[free]) / 10, 1e-9 * limit[free]) / smooth.most[free]
        part = hessian[np.ix_(free, free)]
        part = part + np.diag(np.maximum(least - np.diag(part), 0.0))
        scale = np.sqrt(np.diag(part))
        ridged = part / np.outer(scale, scale) + _RIDGE * np.eye(len(free))
        step = np.zeros_like(price)
        step[free] = -np.linalg.solve(ridged, gradient[free] / scale) / scale
        for shorter in (1.0, 0.5, 0.25, 0.1, 0.03, 0.01, 1e-3):
            tried = np.clip(price + shorter * step, 0.0, smooth.most)
            found = smooth.at(tried, softness)
            if found[0] <= value + 1e-4 * float(gradient @ (tried - price)):
                break
        else:
            break
        price, (value, gradient, hessian) = tried, found
    return price


def fitting(problem: SharedProblem, arm: Ints, price: Floats) -> Ints:
    """(n,) arms of which some were taken back, the least worth at (J,) prices first, until all limits are kept.

    Leaving a customer alone uses nothing, so that whatever is taken back makes no other limit worse.
    """
    arm = arm.copy()
    for j in np.flatnonzero(uses(problem, arm) > problem.limit).tolist():
        rows, amount, ratio = _drawing(problem, arm, price, j)
        order = np.argsort(-ratio, kind="stable")
        taken, rows = np.cumsum(amount[order]), rows[order]
        kept = int(np.searchsorted(taken, problem.limit[j], side="right"))
        arm[rows[kept:]] = 0
        while uses(problem, arm)[j] > problem.limit[j]:  # the sum was rounded otherwise
            kept -= 1
            arm[rows[kept]] = 0
    return arm


def _drawing(problem: SharedProblem, arm: Ints, price: Floats, j: int) -> tuple[Ints, Floats, Floats]:
    """Who draws on limit j, with what they use of it, and what a unit of that is worth net of all other prices."""
    found, counted = [], bool(problem.contacts[j])
    for place, part in with_rows(problem):
        mine = arm[place]
        rows = np.flatnonzero(mine)
        rows = rows[part.draws[part.group[rows], j, mine[rows]]]
        if not counted:
            rows = rows[part.cost[rows, mine[rows]] > 0]
        amount = np.ones(len(rows)) if counted else part.cost[rows, mine[rows]]
        net = _net_of(part, price, rows, mine[rows]) + price[j] * amount
        found.append((rows + place.start, amount, net / amount))
    rows, amount, ratio = (np.concatenate(each) for each in zip(*found, strict=True))
    return rows, amount, ratio


def filled(problem: SharedProblem, arm: Ints, price: Floats) -> Ints:
    """(n,) arms that fit, made better one customer at a time, the most value for priced use first."""
    rows, better = _improvements(problem, arm, price)
    if not len(rows):
        return fitting(problem, arm, price)
    known, at = np.unique(rows, return_inverse=True)
    few, chosen = in_memory(problem, known), arm[known]
    left = (problem.limit - uses(problem, arm)).tolist()
    limits = [[np.flatnonzero(each).tolist() for each in of.T] for of in few.draws]
    counted, group = problem.contacts.tolist(), few.group[at].tolist()
    for row, new, g in zip(at.tolist(), better.tolist(), group, strict=True):
        old = int(chosen[row])
        if few.value[row, new] <= few.value[row, old]:
            continue
        change: dict[int, float] = {}
        for now, sign in ((new, 1.0), (old, -1.0)):
            for j in limits[g][now]:
                amount = 1.0 if counted[j] else float(few.cost[row, now])
                change[j] = change.get(j, 0.0) + sign * amount
        if all(amount <= left[j] or amount <= 0 for j, amount in change.items()):
            for j, amount in change.items():
                left[j] -= amount
            chosen[row] = new
    whole = arm.copy()
    whole[known] = chosen
    return fitting(problem, whole, price)


def _improvements(problem: SharedProblem, arm: Ints, price: Floats) -> tuple[Ints, Ints]:
    """Customers and arms that would add value, in the order in which they are tried."""
    row, new, ratio = np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    for place, part in with_rows(problem):
        for rows in part.chunks():
            value, priced = part.value[rows], part.priced_use(price, rows)
            mine = arm[place][rows, None]
            gain = value - np.take_along_axis(value, mine, axis=1)
            dearer = priced - np.take_along_axis(priced, mine, axis=1)
            at, to = np.nonzero(np.isfinite(value) & (gain > 0))
            row, new = np.concatenate([row, at + rows.start + place.start]), np.concatenate([new, to])
            ratio = np.concatenate([ratio, gain[at, to] / np.maximum(dearer[at, to], 1e-12)])
            if len(ratio) > FILLED:
                best = np.argpartition(-ratio, FILLED)[:FILLED]
                row, new, ratio = row[best], new[best], ratio[best]
    order = np.lexsort((new, row, -ratio))
    return row[order], new[order]


def _net_of(problem: Knapsacks, price: Floats, rows: Ints, arm: Ints) -> Floats:
    """(m,) value net of prices of some customers' arms."""
    money, contact = problem.rates(price)
    group = problem.group[rows]
    return np.asarray(
        problem.value[rows, arm] - problem.cost[rows, arm] * money[group, arm] - contact[group, arm]
    )


def _groups(covered: Bools) -> tuple[Bools, npt.NDArray[np.int64]]:
    """Distinct rows of (n, J), and which of them each row is."""
    if not covered.shape[1] or not len(covered):
        return np.zeros((1, covered.shape[1]), bool), np.zeros(len(covered), np.int64)
    packed = np.packbits(covered, axis=1)
    keys = np.ascontiguousarray(packed).view(np.dtype((np.void, packed.shape[1]))).ravel()
    _, first, group = np.unique(keys, return_index=True, return_inverse=True)
    return covered[first], group.astype(np.int64)

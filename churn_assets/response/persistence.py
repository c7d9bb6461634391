"""What later windows show of customers who were decided for more than once: who is kept, and for how long.

One window tells how many a contact keeps, not whether they stay. Where a log has customers in several label windows,
one after the other, two things show: the risk of those who are left falls faster than their features say if customers
of equal features differ (frailty, Vaupel & Yashin 1985), and those whom a contact kept leave in the window after it if
it only delayed them (decay of the effect). Both are fitted at once by maximum likelihood, the frailty integrated out.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import chi2

from churn_assets.customers.labels import LEAST_HISTORIES, SLACK
from churn_assets.predictors.mixture import normal, spread
from churn_assets.predictors.probability import logistic, logit

if TYPE_CHECKING:
    from churn_assets.customers.table import CustomerTable
    from churn_assets.offers.log import OfferLog
    from churn_assets.risk.model import RiskModel

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FOLLOWED = 0.9
"""Least share of customers who stay, and have nothing running, that is decided for in the next window as well: then who
is not seen any more has left."""
MOST_FRAILTY = 4.0
MOST_CUSTOMERS = 10_000
"""More would narrow an interval that is narrow already."""
_NODES = normal(7)
_LEVEL = 0.95
_HALVINGS = 5
_START = np.array([0.7, 0.2, 0.0])
_LEAST = 1e-6


class Consequences(Protocol):
    """An effect model, as far as it says what a contact leads to."""

    def consequences(self, X: Floats, risk: Floats, /) -> tuple[Floats, Floats, Floats]: ...


@dataclass(frozen=True)
class Interval:
    """An estimate and the ends of its 95 % interval."""

    estimate: float
    low: float
    high: float

    @property
    def ends(self) -> tuple[float, float]:
        """Both."""
        return self.low, self.high


@dataclass(frozen=True)
class Persistence:
    """How customers whom a contact kept go on.

    Attributes:
        frailty: Standard deviation of what no feature shows, on the logit of the risk of a label window.
        decay: Share of those kept who leave in the window after.
        customers: Customers seen in more than one window.
        windows: Windows in which they were seen.
    """

    frailty: Interval
    decay: Interval
    customers: int
    windows: int


@dataclass(frozen=True, eq=False)
class Windows:
    """n decisions, each of one customer in one label window.

    Attributes:
        customer: (n,) who.
        months: (n,) when, since any start.
        risk: (n,) P(churn in the window) without contact, by features as old as the decision.
        contacted: (n,) P(churn) as the contact was answered; the risk itself without one.
        churned: (n,) whether the customer left.
        length: (n,) windows that the row stands for: 1, or more of a time in which nothing was decided.
    """

    customer: Ints
    months: Floats
    risk: Floats
    contacted: Floats
    churned: Ints
    length: Ints


def windows_of(table: CustomerTable, log: OfferLog, risk: RiskModel, effect: Consequences) -> Windows:
    """A log's decisions on customers who are not held out, and the times between in which an accepted benefit ran.

    Features are as of the decision. Whoever took a benefit that outlasts the window is decided for again when it ends;
    who is not, where others are, has left.
    """
    from churn_assets.offers.as_of import rows_before  # a release reads what persists, and no log

    log = log.where(~table.held_out[log.positions(table.ids)])
    window = table.schema.label_window_months
    customer, accepted = log.positions(table.ids), log.accepted == 1
    months = log.months
    known, row = rows_before(log, table)
    base, if_accepted, if_refused = effect.consequences(known.X[row], risk.risk_of_rows(known)[row])
    rows, offered = np.arange(len(log)), np.maximum(log.arm - 1, 0)
    answered = np.where(accepted, if_accepted[rows, offered], if_refused[rows, offered])
    contacted = np.where(log.arm > 0, answered, base)
    seen = Windows(customer, months, base, contacted, log.churned, np.ones(len(log), np.int64))
    unseen = np.where(accepted, np.ceil(log.menu.months[log.arm] / window).astype(np.int64) - 1, 0)
    return _with_times_between(seen, unseen * (log.churned == 0), window)


def _with_times_between(seen: Windows, unseen: Ints, window: float) -> Windows:
    """Adds a row for the windows after a decision in which nothing was to be decided.

    Args:
        seen: (n,) the decisions.
        unseen: (n,) windows after each of them in which an accepted benefit ran on.
        window: Months.
    """
    order = np.lexsort((seen.months, seen.customer))
    following = np.full(len(order), np.inf)
    same = seen.customer[order][1:] == seen.customer[order][:-1]
    following[order[:-1][same]] = seen.months[order[1:][same]]
    due = seen.months + (1 + unseen) * window
    told = (seen.churned == 0) & (due <= seen.months.max() + SLACK * window)
    came = following <= due + SLACK * window
    plain = told & (unseen == 0)
    if not plain.any() or came[plain].mean() < FOLLOWED:
        return seen
    added = np.flatnonzero(told & (unseen > 0))
    between = Windows(
        seen.customer[added],
        seen.months[added] + window,
        seen.risk[added],
        seen.risk[added],
        (~came[added]).astype(np.int64),
        unseen[added],
    )
    parts = ((getattr(seen, each.name), getattr(between, each.name)) for each in fields(Windows))
    return Windows(*map(np.concatenate, parts))


def persistence(seen: Windows, window_months: float) -> Persistence | None:
    """Frailty and decay, by the customers who were seen in windows that follow each other.

    None where the log does not show them: too few customers were decided for again, or some after they had left.
    """
    order = np.lexsort((seen.months, seen.customer))
    customer, churned, length = (each[order] for each in (seen.customer, seen.churned, seen.length))
    months = seen.months[order]
    again = customer[1:] == customer[:-1]
    gap = np.diff(months) / window_months - length[:-1]
    follows = again & (gap >= -SLACK) & (gap < SLACK)
    # Whoever wrote a log in which people come back, or are decided for twice at a time, does not follow customers.
    if (again & ((churned[:-1] == 1) | (gap < -SLACK))).any() or follows.sum() < LEAST_HISTORIES:
        return None
    # Those who left in their first window are seen too: without them the others would seem loyal.
    everyone, people = np.unique(customer), np.unique(customer[1:][follows])
    some = np.isin(customer, everyone[:: -(-len(everyone) // MOST_CUSTOMERS)])
    chain = _Chain.of(customer, follows, seen.risk[order], seen.contacted[order], churned, length, some)
    best, found = chain.fitted()
    frailty, decay = (
        Interval(float(found[each]), *_ends(chain, best, found, each, most))
        for each, most in enumerate((MOST_FRAILTY, 1.0))
    )
    return Persistence(frailty, decay, len(people), int(follows.sum()) + len(people))


@dataclass(frozen=True, eq=False)
class _Chain:
    """Decisions in the order of customers and time.

    Attributes:
        first: (m,) where each customer's row of windows begins.
        follows: (n,) whether the decision comes in the window after the one before it.
        centre: (n,) logit of the risk.
        kept: (n,) share of would-be churners who are kept, 0 where none are.
        driven: (n,) share of would-be stayers who stay, 1 where none is driven away.
        churned: (n,) whether the customer left.
        length: (n,) windows that a row stands for.
    """

    first: Ints
    follows: NDArray[np.bool_]
    centre: Floats
    kept: Floats
    driven: Floats
    churned: NDArray[np.bool_]
    length: Floats

    @classmethod
    def of(
        cls,
        customer: Ints,
        follows: NDArray[np.bool_],
        risk: Floats,
        contacted: Floats,
        churned: Ints,
        length: Ints,
        some: NDArray[np.bool_],
    ) -> _Chain:
        customer, contacted = customer[some], contacted[some]
        risk = np.clip(risk[some], _LEAST, 1 - _LEAST)
        return cls(
            np.flatnonzero(np.concatenate([[True], customer[1:] != customer[:-1]])),
            np.concatenate([[False], follows])[some],
            logit(risk, _LEAST),
            1 - np.minimum(contacted / risk, 1.0),
            np.minimum((1 - contacted) / (1 - risk), 1.0),
            churned[some] == 1,
            length[some].astype(np.float64),
        )

    def log_likelihood(self, frailty: float, decay: float, level: float) -> float:
        """Of what happened, by a frailty, a decay and a common shift of the logits."""
        risk = spread(logistic(self.centre + level), frailty, _NODES)
        churn = 1 - self.driven[:, None] * (1 - (1 - self.kept[:, None]) * risk)
        delayed = decay * self.kept[:, None] * risk / np.maximum(1 - churn, _LEAST)
        before = np.zeros_like(delayed)
        before[1:] = np.minimum(delayed[:-1], 1.0) * self.follows[1:, None]
        leaves = before + (1 - before) * (1 - (1 - churn) ** self.length[:, None])
        happened = np.log(np.maximum(np.where(self.churned[:, None], leaves, 1 - leaves), 1e-12))
        each = np.add.reduceat(happened, self.first, axis=0)
        most = each.max(axis=1, keepdims=True)
        total = np.exp(each - most) @ np.array(_NODES.share)
        return float((np.log(total) + most[:, 0]).sum())

    def fitted(self, start: Floats = _START, **given: float) -> tuple[float, Floats]:
        """The largest log-likelihood and (3,) frailty, decay and level there; `given` are held."""
        ends = {"frailty": (0.0, MOST_FRAILTY), "decay": (0.0, 1.0), "level": (-3.0, 3.0)}
        bounds = [(given.get(name, low), given.get(name, high)) for name, (low, high) in ends.items()]
        inside = np.clip(start, *np.transpose(bounds))
        scale = float(len(self.first))
        found = minimize(
            lambda x: -self.log_likelihood(*x) / scale,
            inside,
            method="L-BFGS-B",
            bounds=bounds,
            options={"ftol": 1e-8},
        )
        return -float(found.fun) * scale, found.x


def _ends(chain: _Chain, best: float, found: Floats, which: int, most: float) -> tuple[float, float]:
    """Where the profile likelihood has fallen as far as chance would have it once in twenty samples, on both sides."""
    limit = best - chi2.ppf(_LEVEL, 1) / 2
    name = ("frailty", "decay")[which]

    def crossing(outside: float) -> float:
        inside, start = float(found[which]), found
        if chain.fitted(start, **{name: outside})[0] >= limit:
            return outside
        for _ in range(_HALVINGS):
            middle = (inside + outside) / 2
            value, there = chain.fitted(start, **{name: middle})
            if value >= limit:
                inside, start = middle, there
            else:
                outside = middle
        return outside

    return crossing(0.0), crossing(most)

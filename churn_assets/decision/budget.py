"""A budget shared by many customers: the price that makes a policy keep it, and the stop that it cannot overrun.

The price keeps the *expected* spend within the budget; the hard stop keeps every single campaign within it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from churn_assets.decision.observation import Observer
from churn_assets.decision.optimum import Evaluation, evaluate, solve
from churn_assets.decision.policy import DecisionPolicy
from churn_assets.decision.process import IDLE, Bools, Floats, Ints, RetentionProcess
from churn_assets.decision.tables import ResponseTables, hazards, relapses

PRICE_LIMIT = 1e6
"""No price of a dollar of spend beyond it is tried: an e-mail of a cent may bring thousands of times what it costs."""
TO_GAIN = 1e-4
"""Share of a budget: where no more is to be gained, no lower price is looked for."""
NEAREST = 0.05
"""To either end of the interval that a price is looked for in, as a share of it."""


class BudgetNotKeptError(ValueError):
    """At no price that is tried does a policy keep a budget."""


@dataclass(frozen=True)
class Priced:
    """A policy at the lowest price found at which it keeps a budget.

    Attributes:
        budget_price: λ.
        evaluation: exact value and spend at that price.
        over: the same at the highest price found at which the budget is overspent; None where it does not bind.
    """

    budget_price: float
    evaluation: Evaluation
    over: Evaluation | None = None

    def worth(self, budget: float) -> float:
        """Mean value where what is left of a budget is spent as at the next lower price, on some by lot.

        Where customers are alike, a price has all of them contacted or none, and no price spends the budget; some of
        them can be contacted within it all the same.
        """
        value, spend = self.evaluation.value.mean(), self.evaluation.spend.mean()
        if self.over is None:
            return float(value)
        share = (budget - spend) / (self.over.spend.mean() - spend)
        return float(value + share * (self.over.value.mean() - value))


@dataclass(frozen=True)
class Campaign:
    """One sampled run of a policy over a population under a hard stop. Amounts are totals, undiscounted.

    Attributes:
        spend: benefits given (with what is owed at the horizon) and contact costs.
        largest_commitment: the most that was ever spent or reserved at once.
        offers: contacts made.
        stopped: offers that the policy wanted and the budget no longer allowed.
        violations: steps at which more than the budget was spent or reserved.
    """

    spend: float
    largest_commitment: float
    offers: int
    stopped: int
    violations: int


@dataclass(frozen=True)
class BudgetBound:
    """Lagrangian dual of the shared budget.

    Attributes:
        value: where nothing of customers is hidden, no policy that keeps the expected spend within the budget has a
            higher mean value; else none that plans as `Optimum` does.
        budget_price: the lowest price found at which the optimum keeps the budget; 0 where it does not bind.
        spend: mean spend of the optimum at that price.
        feasible_value: mean value of that optimum: a policy that attains it exists.
    """

    value: float
    budget_price: float
    spend: float
    feasible_value: float


def budget_bound(
    tables: ResponseTables, process: RetentionProcess, budget: float, *, rounds: int = 20
) -> BudgetBound:
    """Bound what a policy can attain, by the price at which the optimum meets the budget.

    Args:
        tables: the customers who share the budget.
        process: the rules.
        budget: discounted spend a customer, on average.
        rounds: prices tried at most.
    """
    bound = np.inf

    def optimum_at(price: float) -> Evaluation:
        nonlocal bound
        found = solve(tables, process, price).evaluation
        dual = found.value.mean() - price * (found.spend.mean() - budget)
        bound = min(bound, float(dual))
        return found

    priced = _lowest_price(optimum_at, budget, rounds)
    value, spend = priced.evaluation.value.mean(), priced.evaluation.spend.mean()
    return BudgetBound(bound, priced.budget_price, float(spend), float(value))


def price_for_budget(
    policy: DecisionPolicy, observer: Observer, tables: ResponseTables, budget: float, *, rounds: int = 16
) -> Priced:
    """The lowest price at which the policy's exact expected spend is within the budget.

    Args:
        policy: trained for many prices.
        observer: what it is shown about the customers.
        tables: the customers who share the budget.
        budget: discounted spend a customer, on average.
        rounds: prices tried at most.
    """
    process = policy.process
    return _lowest_price(lambda p: evaluate(tables, process, policy.choice(observer, p)), budget, rounds)


def value_per_unit(value: Floats, cost: Floats) -> Floats:
    """(m,) priorities of offers that share a budget: value for money, and first of all what costs nothing."""
    return np.asarray(np.divide(value, cost, out=np.full(len(cost), np.inf), where=cost > 0))


def within_budget(commitment: Floats, remaining: float, priority: Floats) -> Bools:
    """Reserve one commitment after the other, the highest priority first, skipping what no longer fits.

    Args:
        commitment: (m,) full cost of each offer wanted.
        remaining: of the budget, what is neither spent nor reserved.
        priority: (m,) higher goes first.

    Returns:
        (m,) which offers may be made: together they fit.
    """
    granted = np.zeros(len(commitment), bool)
    for i in np.argsort(-priority, kind="stable"):
        if commitment[i] <= remaining:
            remaining -= commitment[i]
            granted[i] = True
    return granted


def run_campaign(
    policy: DecisionPolicy,
    observer: Observer,
    tables: ResponseTables,
    *,
    budget: float,
    budget_price: float,
    rng: np.random.Generator,
) -> Campaign:
    """Sample one campaign over all customers at once, from the first step to the horizon.

    An offer is made only while its full commitment (the benefit for all its months, and the contact) fits into what
    is neither spent nor reserved; a refusal or a customer's leaving frees what was reserved.

    Args:
        policy: who decides.
        observer: what it is shown.
        tables: the customers and how they respond.
        budget: total.
        budget_price: λ that the policy is told.
        rng: draws acceptance and churn.
    """
    process, n = policy.process, len(tables)
    hazard, full = hazards(tables, process), process.commitments(tables.price)
    relapse = relapses(tables, process) if process.effect_decay else None
    owed = full - process.menu.contact_cost - process.menu.given_once
    given = process.spend(tables.price)
    everyone = np.arange(n)
    state, past, alive = np.full(n, IDLE), np.zeros(n, np.int64), np.ones(n, bool)
    price = np.full(n, budget_price, np.float32)
    reserved = np.zeros(n)
    spent, offers, stopped, violations, largest = 0.0, 0, 0, 0, 0.0
    for t in range(process.horizon):
        remaining = budget - spent - reserved.sum()
        step = np.full(n, t)
        rows = observer.observe(everyone, step, state, past, price, full[:, 1:] <= remaining)
        unlimited = observer.observe(everyone, step, state, past, price)
        arm = policy.act(rows) * alive
        stopped += int(((policy.act(unlimited) > 0) & (arm == 0) & alive).sum())
        wanted = np.flatnonzero(arm)
        cost = full[wanted, arm[wanted]]
        gain = observer.added.value[wanted, t, process.view[state[wanted]], arm[wanted]].astype(np.float64)
        granted = within_budget(cost, remaining, value_per_unit(gain, cost))
        stopped += int((~granted).sum())
        arm[wanted[~granted]] = 0
        contacted = arm > 0
        offers += int(contacted.sum())
        spent += float(process.menu.contact_cost[arm].sum())
        accepted = contacted & (rng.random(n) < _acceptance(tables, process, t, state, arm))
        spent += float(process.menu.given_once[arm[accepted]].sum())
        past = np.where(contacted, process.past_after[past, accepted.astype(np.int64)], past)
        reserved[accepted] = owed[accepted, arm[accepted]]
        state = process.after_offer[state, arm, accepted.astype(np.int64)]
        alive &= rng.random(n) >= hazard[everyone, t, process.hazard_kind[state]]
        reserved[~alive] = 0
        paid = np.where(alive, given[state, everyone], 0.0)
        spent += float(paid.sum())
        reserved -= paid
        if relapse is not None:
            alive &= rng.random(n) >= relapse[everyone, t, process.leaving[state]]
            reserved[~alive] = 0
        state = process.successor[state]
        committed = spent + float(reserved.sum())
        largest = max(largest, committed)
        violations += committed > budget * (1 + 1e-9)
    return Campaign(spent + float(reserved.sum()), largest, offers, stopped, violations)


def _acceptance(
    tables: ResponseTables, process: RetentionProcess, t: int, state: Ints, arm: Ints
) -> npt.NDArray[np.float64]:
    return np.asarray(tables.acceptance[np.arange(len(tables)), t, process.view[state], arm])


def _lowest_price(evaluate_at: Callable[[float], Evaluation], budget: float, rounds: int) -> Priced:
    """The lowest price tried whose mean spend is within the budget.

    The price is raised until the budget is kept, then found by false position with the Illinois rule (Dowell and
    Jarratt 1971) on the scale of log(1 + price). Value changes by the price times the spend, so that between the ends
    of the interval no more is to be gained than their difference of prices times that of spends: a small share of the
    budget ends the search.

    Raises:
        BudgetNotKeptError: even the highest price spends more.
    """
    found = evaluate_at(0.0)
    most = above = float(found.spend.mean()) - budget
    if most <= 0:
        return Priced(0.0, found)
    low, high, least, below, limit = 0.0, np.inf, 0.0, 0.0, float(np.log1p(PRICE_LIMIT))
    # Prices that matter are seldom above a few dollars: start there rather than in the middle.
    tried, kept, kept_last, over = float(np.log1p(1.0)), None, False, found
    for _ in range(rounds):
        found = evaluate_at(float(np.expm1(tried)))
        excess = float(found.spend.mean()) - budget
        if excess <= 0:
            kept = Priced(float(np.expm1(tried)), found, over)
            high, least, below, above = tried, excess, excess, above / 2 if kept_last else above
        elif tried == limit:
            msg = f"at a price of {PRICE_LIMIT:g} the spend is {excess + budget}: expected at most {budget}"
            raise BudgetNotKeptError(msg)
        else:
            low, most, above, below = tried, excess, excess, below if kept_last else below / 2
            over, kept = found, None if kept is None else replace(kept, over=found)
        kept_last = excess <= 0
        if (np.expm1(high) - np.expm1(low)) * (most - least) <= TO_GAIN * budget:
            break
        inside = np.clip(above / (above - below), NEAREST, 1 - NEAREST)
        tried = min(2 * tried, limit) if kept is None else float(low + inside * (high - low))
    if kept is None:
        raise ValueError(f"{rounds} prices are tried, expected more: the highest is not among them")
    return kept

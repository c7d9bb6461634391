"""Logs as companies have them: what is said of policies by each way that propensities are known, and what is refused.

One log of the demo world is read in every way: as its own propensities have it, by the chosen arm's alone, by known
shares, with arms impossible for some, and as a history of which nobody wrote down a chance. Estimates are compared with
those by all logged propensities, and with the truth. Honest logs must pass, and untrue propensities must not: the
share of all arms written beside choices that went by age, and a history whose agents knew who would leave.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.report import Figure, main
from benchmarks.truth import Ground, Misled, ground, misled, remaining
from churn_assets.arms import Catalogue, Menu
from churn_assets.customers.table import CustomerTable
from churn_assets.decision.off_policy import LoggedDecisions, OffPolicyEstimate
from churn_assets.decision.optimum import solve
from churn_assets.decision.process import RetentionProcess
from churn_assets.offers.completing import completed_log
from churn_assets.offers.config import KnownBy, OfferLogConfig, OfferLogGates
from churn_assets.offers.gates import propensity_gates
from churn_assets.offers.log import OfferLog, propensity_column
from churn_assets.offers.world import DemoWorld, Draw

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

SEEDS = tuple(range(20))
ROWS = 10_000
HONEST_SEEDS = tuple(range(20))
HONEST_ROWS = (300, 1_000, 5_000)
TARGETED = (-0.60, -0.30, -0.15, 0.15, 0.30, 0.60)
TARGETED_SEEDS = (0,)
SHARES = np.array([0.4, 0.3, 0.2, 0.1])
MENU: Menu = Catalogue().menu([0.0, 0.05, 0.1, 0.2])


@dataclass(frozen=True)
class Read:
    """A policy's lift by one way of knowing propensities, beside that by all of them, and the truth."""

    found: OffPolicyEstimate
    full: OffPolicyEstimate
    true: float

    @property
    def agrees(self) -> bool:
        """Whether it lies within the 95 % interval by all logged propensities."""
        low, high = self.full.lift.dr.interval
        return low <= self.found.lift.dr.value <= high

    @property
    def covers(self) -> bool:
        """Whether its own 95 % interval has the truth."""
        low, high = self.found.lift.dr.interval
        return low <= self.true <= high


@cache
def world_of(seed: int) -> DemoWorld:
    """The demo world on the quickstart's customers."""
    found: Ground = ground(seed)
    return DemoWorld(found.table, found.experiment.economics)


def policies(world: DemoWorld, draw: Draw) -> dict[str, Floats]:
    """Some that a team might try, and the best that can be known, as (n, K)."""
    customer, arms = draw.truth.customer, len(world.menu)
    risk = world.risk[customer]
    best = world.expected_reward(customer, draw.log.prior_offers, risk).argmax(axis=1)
    chosen = {
        "best": best,
        "riskiest": np.where(risk > np.quantile(risk, 0.7), 4, 0),
        "everybody": 0 * best + 4,
    }
    return {name: np.eye(arms)[arm] for name, arm in chosen.items()}


def read_as(log: OfferLog, known_by: KnownBy, table: CustomerTable, **settings: object) -> OfferLog:
    """The log as if that were all that is known of its propensities."""
    config = OfferLogConfig.model_validate({"source": "a file", "propensities": known_by, **settings})
    return completed_log(replace(log, known_by=known_by), table, config, ground(0).experiment.economics)


def compared(draw: Draw, world: DemoWorld, known_by: KnownBy) -> Iterator[Read]:
    """Every policy by a log of the demo world, read in one way and in full."""
    table = ground(0).table
    full, found = draw.log, read_as(draw.log, known_by, table)
    kept = remaining(full, found)
    evidence, other = LoggedDecisions.of(full, table), LoggedDecisions.of(found, table)
    reward = draw.truth.reward
    for chosen in policies(world, draw).values():
        true = float(((chosen * reward).sum(axis=1) - reward[:, 0]).mean())
        yield Read(other.estimate(chosen[kept]), evidence.estimate(chosen), true)


def by_lot(
    rng: np.random.Generator, table: CustomerTable, propensities: Floats, customer: NDArray[np.int64]
) -> OfferLog:
    """A log of (n,) customers by (n, K) propensities over a quarter, with no answers in it."""
    n = len(customer)
    arm = (rng.random(n)[:, None] > propensities.cumsum(axis=1)).sum(axis=1).clip(0, len(MENU) - 1)
    columns = {propensity_column(each): propensities[:, place] for place, each in enumerate(MENU.ids)}
    frame = pd.DataFrame(
        {
            "customer_id": table.ids[customer],
            "wave": np.sort(rng.integers(12, size=n)),
            "arm": np.array(MENU.ids, object)[arm],
            "propensity": propensities[np.arange(n), arm],
            **columns,
            "prior_offers": rng.poisson(0.6, n),
        }
    )
    return OfferLog(frame, MENU, simulated=False)


def honest_logs(table: CustomerTable, seed: int, rows: int) -> Iterator[OfferLog]:
    """By lot; about few customers again and again; with rare arms; arms that some may not get; by age; by the week."""
    rng = np.random.default_rng([seed, rows])
    tenure = table.X[:, table.schema.tenure_index]
    anybody = rng.integers(len(table), size=rows)
    yield by_lot(rng, table, np.tile(SHARES, (rows, 1)), anybody)
    few = rng.choice(len(table), rows // 20)[rng.integers(rows // 20, size=rows)]
    yield by_lot(rng, table, np.tile(SHARES, (rows, 1)), few)
    yield by_lot(rng, table, np.tile([0.95, 0.03, 0.01, 0.01], (rows, 1)), anybody)
    limited = np.tile(SHARES, (rows, 1))
    limited[tenure[anybody] < 12, 2] = 0.0
    yield by_lot(rng, table, limited / limited.sum(axis=1, keepdims=True), anybody)
    yield by_lot(rng, table, shares_by(tenure[anybody] / 72), anybody)
    yield by_lot(rng, table, shares_by(np.linspace(0, 1, rows)), anybody)


def shares_by(level: Floats) -> Floats:
    """(n, K) more of no contact the higher a level in [0, 1]."""
    alone = 0.1 + 0.7 * level
    return np.stack([alone, *((1 - alone) * share for share in (0.5, 0.3, 0.2))], axis=1)


def alarms() -> Iterator[Figure]:
    """Honest logs that are refused, and untrue ones that are not."""
    table = ground(0).table
    every = [
        propensity_gates(log, table, OfferLogGates()).gates[:2]
        for seed in HONEST_SEEDS
        for rows in HONEST_ROWS
        for log in honest_logs(table, seed, rows)
    ]
    refused = np.mean([not all(gate.passed for gate in gates) for gates in every])
    yield Figure(
        "honest_logs",
        len(every),
        ">=",
        200,
        "small, clustered, with rare or impossible arms, by age, by week",
    )
    yield Figure(
        "honest_refused", float(refused), "<=", 0.005, "share of them that true_propensities refuses"
    )
    seldom = np.mean([(gates[1].figure or 0.0) < 0.05 for gates in every])
    yield Figure("honest_p_below_05", float(seldom), "<=", 0.05, "share of them with a p-value below .05")
    stopped = 0
    for seed in HONEST_SEEDS:
        rng = np.random.default_rng(seed)
        customer = rng.integers(len(table), size=5_000)
        log = by_lot(rng, table, shares_by(table.X[customer, table.schema.tenure_index] / 72), customer)
        overall = np.bincount(log.arm, minlength=len(MENU)) / len(log)
        columns = {propensity_column(each): overall[place] for place, each in enumerate(MENU.ids)}
        written = replace(log, frame=log.frame.assign(**columns, propensity=overall[log.arm]))
        stopped += any(not gate.passed for gate in propensity_gates(written, table, OfferLogGates()).gates)
    yield Figure(
        "shares_refused",
        stopped / len(HONEST_SEEDS),
        ">=",
        1,
        "each arm's share of all, written after choices by age",
    )


def agreement() -> Iterator[Figure]:
    """Each way of knowing propensities beside all of them, 20 draws of three policies."""
    world = world_of(0)
    ways: tuple[KnownBy, ...] = ("logged_chosen", "estimated")
    reads: dict[KnownBy, list[list[Read]]] = {way: [] for way in ways}
    for seed in SEEDS:
        draw = world.draw(ROWS, 100 + seed)
        for way in ways:
            reads[way].append(list(compared(draw, world, way)))
            print(
                f"{way} {seed}: {[(each.found.lift.dr.value, each.full.lift.dr.value) for each in reads[way][-1]]}",
                flush=True,
            )
    for way, every in reads.items():
        agree = sum(all(each.agrees for each in those) for those in every)
        note = f"of {len(SEEDS)} draws: all policies within the intervals by all logged propensities"
        yield Figure(f"{way}_agrees", agree, ">=", 0.95 * len(SEEDS), note)
        covers = np.mean([each.covers for those in every for each in those])
        full = np.mean([replace(each, found=each.full).covers for those in every for each in those])
        yield Figure(
            f"{way}_covers",
            float(covers),
            note=f"share of intervals with the truth; by all propensities {full:.2f}",
        )
        undone = np.median([those[0].found.undone_by for those in every])
        yield Figure(
            f"{way}_undone_by", float(undone), note="odds that would undo the lift of the best, the median"
        )
        bias = np.mean([each.found.lift.dr.value - each.true for those in every for each in those])
        error = np.mean([each.full.lift.dr.standard_error for those in every for each in those])
        yield Figure(
            f"{way}_bias",
            float(bias),
            note=f"money a decision; the standard error of one draw is {error:.2f}",
        )


def impossible() -> Iterator[Figure]:
    """An arm that some could never get: its estimates beside those of the log before, and how often it is offered."""
    found, world = ground(0), world_of(0)
    table = found.table
    barred = np.asarray(table.frame["Contract"] == "Two year") | np.asarray(table.frame["tenure"] < 6)
    inside, offered = 0, 0
    for seed in SEEDS:
        draw = world.draw(ROWS, 100 + seed)
        cut, kept = without(draw.log, barred, 4, table)
        chosen = np.eye(len(world.menu))[np.where(world.risk[draw.truth.customer] > 0.3, 3, 0)]
        by_cut = LoggedDecisions.of(cut, table).estimate(chosen[kept]).lift.dr
        low, high = LoggedDecisions.of(draw.log, table).estimate(chosen).lift.dr.interval
        inside += low <= by_cut.value <= high
        if seed == 0:
            offered = offers_of(found, cut, barred)
    yield Figure(
        "impossible_agrees",
        inside,
        ">=",
        0.95 * len(SEEDS),
        "of 20 draws: another arm's lift beside the full log's",
    )
    yield Figure(
        "impossible_offered",
        offered,
        "<=",
        0,
        f"of {int(barred.sum())} customers who could never get the arm",
    )


def without(log: OfferLog, barred: Bools, arm: int, table: CustomerTable) -> tuple[OfferLog, Bools]:
    """The log as if an arm (index) were impossible for some customers (N,), and the (n,) rows that are left."""
    rows = barred[log.positions(table.ids)]
    kept = ~(rows & (log.arm == arm))
    p = log.propensities.copy()
    p[rows, arm] = 0.0
    p /= p.sum(axis=1, keepdims=True)
    columns = {propensity_column(each): p[:, place] for place, each in enumerate(log.menu.ids)}
    frame = log.frame.assign(**columns, propensity=p[np.arange(len(log)), log.arm])
    return read_as(replace(log, frame=frame).where(kept), "logged", table), kept


def offers_of(found: Ground, log: OfferLog, barred: Bools) -> int:
    """To how many of some customers (N,) the models' optimum ever offers the log's fifth arm, in any state."""
    from benchmarks.world import Models

    table, experiment = found.table, found.experiment
    models = Models.fit(table, log, experiment, found.risk)
    menu = experiment.ppo_decision.model_copy(update={"menu": (0.0, 0.1, 0.2)})
    window = table.schema.label_window_months
    process = RetentionProcess.build(
        menu, experiment.economics, window, experiment.arms, None, models.effect.menu
    )
    tables = models.tables(table, process, np.zeros(len(table), np.int64))
    first = solve(tables, process).evaluation.first
    return int((first[barred, process.menu.position[log.menu.ids[4]]] > 0).sum())


def hidden() -> Iterator[Figure]:
    """A history without propensities whose agents knew who would leave: refused, or its own line says so."""
    honest, cases = [], []
    for seed in TARGETED_SEEDS:
        honest.append(history(0.0, seed))
        cases += [history(share, seed) for share in TARGETED]
    stopped = sum(bool(each.stopped_by) for each in honest)
    yield Figure(
        "history_refused", stopped, "<=", 0, f"of {len(honest)} without hidden targeting, 50,000 decisions"
    )
    undone = min(each.undone_by for each in honest)
    yield Figure("history_undone_by", undone, note="odds of hidden targeting that would undo its lift")
    refused = sum(bool(each.stopped_by) for each in cases)
    yield Figure(
        "hidden_refused",
        refused,
        note=f"of {len(cases)} with targeting of {TARGETED[0]:+.0%} to {TARGETED[-1]:+.0%}",
    )
    silent = sum(each.silent for each in cases)
    yield Figure(
        "silent_pass", silent, "<=", 0, "released, and more is said to be needed to undo it than there is"
    )


def history(share: float, seed: int) -> Misled:
    """A release's own evidence from a log without propensities, with hidden targeting."""
    found = ground(seed)
    case = misled(share, found, seen=lambda log: read_as(log, "estimated", found.table))
    print(f"hidden {share:+.0%} {seed}: {case}", flush=True)
    return case


def randomised() -> Iterator[Figure]:
    """Known shares against the same ones logged: the same log."""
    table = ground(0).table
    rng = np.random.default_rng(0)
    log = by_lot(rng, table, np.tile(SHARES, (ROWS, 1)), rng.integers(len(table), size=ROWS))
    shares = dict(zip(MENU.ids, SHARES.tolist(), strict=True))
    found = read_as(log.where(np.ones(len(log), bool)), "randomised", table, shares=shares)
    off = float(np.abs(found.propensities - log.propensities).max())
    yield Figure(
        "randomised_difference", off, "<=", 1e-12, "largest, of propensities by known shares from logged ones"
    )


def measure() -> list[Figure]:
    """All parts."""
    return [*alarms(), *randomised(), *agreement(), *impossible(), *hidden()]


if __name__ == "__main__":
    main(__doc__, measure)

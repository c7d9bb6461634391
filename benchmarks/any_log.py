"""From a churn table alone: how much of a large log's gain does a designed first campaign bring, and is it as told?

Cold start: on the demo customers, the risk model alone plans a campaign (`churn_assets.campaigns`), the demo world
answers 5,000 decisions of it, and what the models learn from that log decides for held-out customers, with as little
evidence as docs/first-campaign.md asks of a first log; beside it the same from 50,000 decisions of the world's own past
policy. Gains are true ones, by the world. The interval is that of a release: each customer is decided for by refits
that never saw them, and what chance chose is in its width (`decision.logged.DecidedApart`). Power: the standard errors
that the plan promises against the spread of the estimates over many such campaigns, each with customers, arms and
answers of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.report import Figure, main  # first: it sets the number of threads

from benchmarks.served import ROOT  # isort: skip
from benchmarks.truth import Ground, true_gain  # isort: skip
from benchmarks.world import Models, at, one_window  # isort: skip
from churn_assets.campaigns.assignment import assigned, planned_shares
from churn_assets.campaigns.config import CampaignConfig
from churn_assets.campaigns.files import Assignment, campaign_log
from churn_assets.campaigns.precision import Planned, campaign_plan, weighted_difference
from churn_assets.decision.logged import DecidedApart
from churn_assets.decision.off_policy import LoggedDecisions
from churn_assets.decision.optimum import solve
from churn_assets.decision.process import RetentionProcess
from churn_assets.experiment import load_experiment
from churn_assets.offers.economics import catalogue
from churn_assets.offers.log import OfferLog, as_log
from churn_assets.offers.records import LoggedOutcome
from churn_assets.offers.world import DemoWorld, Draw, Truth
from churn_assets.response.accept import cross_fit_groups
from churn_assets.simulation.campaign import answered, faced

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SEEDS = (0, 1, 2, 3, 4)
DECISIONS, LOGGED = 5_000, 50_000
EVIDENCE_Z = 2.0
"""Of a first campaign's effects; of the large log it is that of the experiment."""
COVERED = 4
"""Campaigns a seed whose interval is compared with the truth."""
CAMPAIGNS = 200
"""Of which the spread is known to 5 %, over five seeds to 2 %."""
START = datetime(2026, 1, 5, tzinfo=UTC)
CONFIG = CampaignConfig(menu=(0.0, 0.05, 0.1, 0.2, 0.3), decisions=DECISIONS)


def designed(ground: Ground, world: DemoWorld, seed: int) -> tuple[Planned, Assignment]:
    """Plans a campaign by the risk of all customers, and draws who gets what."""
    table = ground.table
    risk = ground.risk.predictor.predict(table.X)
    shares = planned_shares(CONFIG, world.menu, risk)
    key = b"seed %d of this benchmark" % seed
    frame = assigned(table.ids, risk, world.allowed, shares, CONFIG, key, START)
    chances = shares.propensities(shares.stratum(risk), world.allowed)
    assignment = Assignment(frame.assign(decided_at=pd.to_datetime(frame["decided_at"])), world.menu)
    return Planned(risk, table.price, chances, len(frame)), assignment


def campaign(ground: Ground, world: DemoWorld, seed: int) -> tuple[OfferLog, Truth]:
    """The log of a designed campaign that the world answers, and what is true of its decisions."""
    table, economics = ground.table, ground.experiment.economics
    _, assignment = designed(ground, world, seed)
    truth, rng = faced(world, assignment, seed)
    found, names = world.answer(truth, assignment.arm, rng), assignment.frame["decision_id"]
    outcomes = [
        LoggedOutcome(name, bool(took) if arm else None, bool(left))
        for name, arm, took, left in zip(names, assignment.arm, found.accepted, found.churned, strict=True)
    ]
    customer = pd.Index(table.ids).get_indexer(assignment.frame["customer_id"])
    rows, _ = campaign_log(
        assignment, outcomes, table.price[customer], np.zeros(len(names), np.int64), economics
    )
    known = catalogue(ground.experiment.arms, economics)
    log = as_log(rows, table.ids, known, simulated=True, origin="campaign", features=table.frame)
    return log, truth


@dataclass(frozen=True)
class Learned:
    """Models fitted on a log, and the optimum by them of one label window."""

    ground: Ground
    models: Models

    @classmethod
    def of(cls, ground: Ground, log: OfferLog) -> Learned:
        return cls(ground, Models.fit(ground.table, log, ground.experiment, ground.risk))

    def decided(self, customer: Ints, prior: Ints) -> NDArray[np.str_]:
        """(n,) ids of the arms for customers with recent offers."""
        experiment, table = self.ground.experiment, self.ground.table
        window = table.schema.label_window_months
        section = one_window(experiment.ppo_decision, window)
        process = RetentionProcess.build(section, experiment.economics, window, experiment.arms)
        asked, place = np.unique(np.stack([customer, prior]), axis=1, return_inverse=True)
        tables = self.models.tables(at(table, asked[0]), process, asked[1])
        best = solve(tables, process).evaluation
        return np.array(process.menu.ids)[best.first.argmax(axis=1)][place.reshape(-1)]

    def without(self, group: int) -> Learned:
        """The refits that never saw a cross-fit group."""
        models = self.models
        return Learned(
            self.ground,
            replace(models, accept=models.accept.without(group), effect=models.effect.without(group)),
        )

    def decided_apart(self, log: OfferLog) -> DecidedApart:
        """What is decided at the rows of the log that it was learned from."""
        table, model = self.ground.table, self.models.effect
        customer = log.positions(table.ids)

        def chosen(learned: Learned) -> Floats:
            arms = learned.decided(customer, log.prior_offers)
            return np.eye(len(log.menu))[[log.menu.position[each] for each in arms]]

        group = cross_fit_groups(table, customer, len(model.apart))
        whole, without = chosen(self), {each: chosen(self.without(each)) for each in range(len(model.apart))}
        apart = whole.copy()
        for each, decisions in without.items():
            apart[group == each] = decisions[group == each]
        return DecidedApart(whole, apart, group, without)


@dataclass(frozen=True)
class Lift:
    """True gains over no offer, money a decision of held-out customers: from the campaign, and from the large log."""

    campaign: float
    logged: float


@dataclass(frozen=True)
class Shown:
    """The lift over no offer that a release shows of a campaign's log, and the true one of the same decisions."""

    low: float
    high: float
    true: float

    @property
    def covers(self) -> bool:
        """Whether the interval holds the truth."""
        return self.low <= self.true <= self.high


def cold_start(ground: Ground) -> tuple[Lift, list[Shown]]:
    """Both gains on the same held-out decisions, and the intervals of `COVERED` campaigns, learned from each."""
    asked = ground.experiment.effect_model.model_copy(update={"evidence_z": EVIDENCE_Z})
    small = replace(ground, experiment=ground.experiment.model_copy(update={"effect_model": asked}))
    table, economics = ground.table, ground.experiment.economics
    past = DemoWorld(table, economics)
    drawn: Draw = past.draw(LOGGED, ground.seed)
    first = DemoWorld(table, economics, CONFIG.arms(catalogue((), economics)))
    customer, prior = drawn.log.positions(table.ids), drawn.log.prior_offers
    rows = np.flatnonzero(table.held_out[customer])

    def gain(learned: Learned) -> float:
        arms = learned.decided(customer[rows], prior[rows])
        return true_gain(drawn.truth, rows, np.array([past.menu.position[each] for each in arms]))

    shown, gains = [], []
    for number in range(COVERED):
        log, truth = campaign(ground, first, ground.seed + 100 * number)
        learned = Learned.of(small, log)
        gains += [gain(learned)] if number == 0 else []
        decided, evidence = learned.decided_apart(log), LoggedDecisions.of(log, table)
        arms = np.array([first.menu.position[log.menu.ids[each]] for each in decided.apart.argmax(axis=1)])
        evidence = replace(evidence, chance=decided.chance(evidence))
        low, high = evidence.estimate(decided.apart).lift.dr.interval
        shown.append(Shown(low, high, true_gain(truth, np.arange(len(log)), arms)))
    return Lift(gains[0], gain(Learned.of(ground, drawn.log))), shown


def design_errors(ground: Ground) -> list[float]:
    """By arm, how far the realised standard error is from the one planned, as a share of it."""
    economics = ground.experiment.economics
    world = DemoWorld(ground.table, economics, CONFIG.arms(catalogue((), economics)))
    estimates, arms = [], range(1, len(world.menu))
    for number in range(CAMPAIGNS):
        seed = 1000 * (ground.seed + 1) + number
        planned, assignment = designed(ground, world, seed)
        churned, arm, p = (
            answered(world, assignment, seed).churned,
            assignment.arm,
            assignment.propensities,
        )
        estimates.append([weighted_difference(churned.astype(float), arm, p, each).value for each in arms])
    promised = [row["standard_error"] for row in campaign_plan(planned, world.menu, CONFIG, economics)]
    return (np.std(estimates, axis=0, ddof=1) / promised - 1).tolist()


def grounds() -> Iterator[Ground]:
    """The quickstart's customers, split and learned anew by each seed."""
    experiment = load_experiment("quickstart", ROOT / "configs")
    for seed in SEEDS:
        yield Ground.of(experiment, seed)


def first_campaign() -> Iterator[Figure]:
    """Cold start, coverage and power; some minutes a seed."""
    lifts: list[Lift] = []
    shown: list[Shown] = []
    errors: list[list[float]] = []
    for ground in grounds():
        lift, intervals = cold_start(ground)
        lifts.append(lift)
        shown += intervals
        errors.append(design_errors(ground))
        covered = sum(each.covers for each in intervals)
        told = f"{covered} of {len(intervals)} intervals, design errors {np.round(errors[-1], 3)}"
        print(f"seed {ground.seed}: {lift}, {told}", flush=True)
    ours, theirs = (
        float(np.mean([getattr(each, name) for each in lifts])) for name in ("campaign", "logged")
    )
    least = min(each.campaign / each.logged for each in lifts)
    note = f"{ours:.2f} of {theirs:.2f} money a decision, {len(SEEDS)} seeds"
    by_arm = np.abs(np.mean(errors, axis=0))
    yield Figure("cold_start_lift", ours / theirs, ">=", 0.6, note)
    yield Figure("cold_start_lift_least", least, note="of the seeds")
    covers = float(np.mean([each.covers for each in shown]))
    yield Figure("cold_start_covers", covers, ">=", 0.95, f"of {len(shown)} intervals of the lift")
    yield Figure("design_power_error", float(by_arm.max()), "<=", 0.1, "mean over seeds, the worst arm")
    yield Figure("design_power_error_largest", float(np.abs(errors).max()), note="of any arm and seed")


def measure() -> list[Figure]:
    """All parts."""
    return [*first_campaign()]


if __name__ == "__main__":
    main(__doc__, measure)

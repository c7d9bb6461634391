"""Does a policy's gain over its own horizon come true on a world's panel? Part of `benchmarks.truth`.

Models and policies learn from a log of a world, of single windows or one that follows its customers; the world is then
run forward over held-out customers. Contenders: nobody, one arm for everybody, the exact optimum of the mean models
(certainty equivalent), the plan that knows of hidden types, PPO. Whether PPO's policy would be released is asked of the
very rule of the gate `off_policy`, on the same log: what a refused policy would bring is told apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import exp, factorial

import numpy as np
from numpy.typing import NDArray

from benchmarks.panel import PanelPolicy, PanelResult, history_log
from benchmarks.report import Figure
from benchmarks.served import ROOT
from benchmarks.world import (
    Models,
    PanelDecider,
    at,
    everybody,
    over_horizon,
    planned,
    tables_by_prior_offers,
    train_policy,
    trained,
    under_the_rules,
)
from benchmarks.worlds import WORLDS
from churn_assets.customers.table import CustomerTable, read_customers
from churn_assets.decision.caution import planned_process
from churn_assets.decision.logged import decided_apart
from churn_assets.decision.observation import Observer
from churn_assets.decision.off_policy import LoggedDecisions, OffPolicyVerdict, decide_release
from churn_assets.decision.optimum import evaluate, never
from churn_assets.decision.process import Projection, RetentionProcess
from churn_assets.decision.tables import ResponseTables
from churn_assets.experiment import Experiment, load_experiment
from churn_assets.offers.log import OfferLog
from churn_assets.offers.world import PRIOR_OFFERS_MEAN, DemoWorld
from churn_assets.risk.model import RiskModel

Floats = NDArray[np.float64]

SEEDS = (0, 1, 2, 3, 4)
ROWS = 50_000
WINDOWS = 6
"""That a customer is followed for, if nothing runs and they stay."""
REPLICATES = 8
COMPARED = ("frailty", "steady", "taste", "delay", "fatigue")
"""Whose logs follow customers for `WINDOWS` windows."""
SINGLE = ("frailty", "steady", "taste")
"""Whose logs are of single windows, so that frailty and decay are as configured."""
NOTHING = "no offer"
OPTIMUM, PLAN, PPO = "certainty equivalent", "plan with types", "ppo"
RELEASED = PPO
"""Whose figures a release shows."""


@dataclass(frozen=True, eq=False)
class Scene:
    """One world, its log, what was learned from it, and who is decided about.

    Attributes:
        experiment: Rules and money.
        table: Customers.
        world: Who answers.
        log: What it answered to the past policy, one window a row.
        models: Fitted on it.
        process: Over the whole horizon.
        seed: Of everything.
    """

    experiment: Experiment
    table: CustomerTable
    world: DemoWorld
    log: OfferLog
    models: Models
    process: RetentionProcess
    seed: int


@dataclass(frozen=True, eq=False)
class Contender:
    """A policy; of that of a release, what is said that it brings over no offer, and what the log says of it.

    Attributes:
        policy: Who decides.
        reported: Money a customer.
        verdict: Of the gate.
    """

    policy: PanelPolicy
    reported: float | None = None
    verdict: OffPolicyVerdict | None = None


def policies(scene: Scene) -> dict[str, Contender]:
    """Who is run forward on the panel, by name; `RELEASED` is among them.

    The place where another horizon model, or another policy, is joined.
    """
    process, world = scene.process, scene.world
    found = {NOTHING: Contender(everybody(0))}
    for arm in process.menu.ids[1:]:
        rule = under_the_rules(process, everybody(world.menu.position[arm]))
        found[f"everyone: {arm}"] = Contender(rule)
    policy = train_policy(scene.models, scene.table, process, scene.experiment, scene.seed)
    held = scene.table.held_out
    asked = tables_by_prior_offers(scene.models, at(scene.table, np.flatnonzero(held)), process)
    means = replace(process.at(Projection()), taste=0.0)
    by_ppo = [evaluate(each, process, policy.choice(Observer(each, process))).value for each in asked]
    certain = PanelDecider([planned(each, means) for each in asked], means, world, held)
    planner = PanelDecider([planned(each, process) for each in asked], process, world, held)
    network = PanelDecider([trained(policy, each) for each in asked], process, world, held)
    found[OPTIMUM], found[PLAN] = Contender(certain), Contender(planner)
    models = scene.models
    decided = decided_apart(policy, scene.table, scene.log, models.risk, models.accept, models.effect)
    evidence = LoggedDecisions.of(scene.log, scene.table)
    evidence = replace(evidence, chance=decided.chance(evidence))
    verdict = decide_release(evidence, decided.apart, None)
    found[PPO] = Contender(network, over_nothing(by_ppo, asked, process), verdict)
    return found


def over_nothing(
    values: Sequence[Floats], asked: Sequence[ResponseTables], process: RetentionProcess
) -> float:
    """Mean value over no offer, by offers of the last 90 days, of which the panel draws a Poisson number."""
    mean = PRIOR_OFFERS_MEAN
    share = np.array([exp(-mean) * mean**prior / factorial(prior) for prior in range(len(asked))])
    gains = [
        float((value - evaluate(tables, process, never(process)).value).mean())
        for value, tables in zip(values, asked, strict=True)
    ]
    return float(np.dot(share / share.sum(), gains))


@dataclass(frozen=True)
class Forward:
    """What became of the contenders on one panel.

    Attributes:
        reported: what the released policy is said to bring over no offer.
        gains: what each brings, money a customer.
        ppo_minus_optimum: PPO over the exact optimum of the mean models, and the simulation's standard error.
        released: whether the log lets the policy lead.
        reason: why, or why not.
    """

    reported: float
    gains: dict[str, float]
    ppo_minus_optimum: tuple[float, float]
    released: bool
    reason: str


def run_forward(
    world: str, seed: int, experiment: Experiment, table: CustomerTable, risk: RiskModel, *, follows: bool
) -> Forward:
    """Learns from a world's log and runs every contender forward: about a minute."""
    kind = DemoWorld(table, experiment.economics, responses=WORLDS[world])
    log = history_log(kind, seed, windows=WINDOWS) if follows else kind.draw_log(ROWS, seed)
    models = Models.fit(table, log, experiment, risk)
    fitted = (models.risk, models.accept, models.effect)
    rules = (experiment.ppo_decision, experiment.arms, experiment.economics)
    process = planned_process(table, *fitted, *rules, seed)
    contenders = policies(Scene(experiment, table, kind, log, models, process, seed))
    held = np.flatnonzero(table.held_out)
    ran: dict[str, PanelResult] = {
        name: over_horizon(kind, each.policy, process, seed, REPLICATES, held)
        for name, each in contenders.items()
    }
    reported, verdict = contenders[RELEASED].reported, contenders[RELEASED].verdict
    if reported is None or verdict is None:
        raise ValueError(f"{RELEASED} is released, and says nothing of what it brings")
    return Forward(
        reported,
        {name: each.lift(ran[NOTHING])[0] for name, each in ran.items()},
        ran[PPO].lift(ran[OPTIMUM]),
        verdict.release,
        verdict.reason,
    )


def figures_of(world: str, found: Sequence[Forward]) -> Iterator[Figure]:
    """The bars of one world, over seeds."""
    gains = {name: float(np.mean([each.gains[name] for each in found])) for name in found[0].gains}
    reported, true = float(np.mean([each.reported for each in found])), gains[RELEASED]
    ratio = reported / true if true > 0 else None
    note = f"reported {reported:.2f}, true {true:.2f} a customer"
    yield Figure(f"horizon_reported_over_true_{world}", ratio, ">=", 0.8, note)
    yield Figure(f"horizon_reported_at_most_{world}", ratio, "<=", 1.25, note)
    bar = 5.33 if world.startswith("frailty") else None
    note = "of PPO's policy over no offer, a customer, released or not"
    yield Figure(f"panel_value_{world}", true, ">=", bar, note)
    let_go = [each for each in found if each.released]
    yield Figure(f"released_{world}", len(let_go) / len(found), note=f"{len(let_go)} of {len(found)}")
    if let_go:
        said, came = (
            float(np.mean(each))
            for each in zip(*((f.reported, f.gains[RELEASED]) for f in let_go), strict=True)
        )
        note = f"reported {said:.2f}, of those that the gate `off_policy` lets lead"
        yield Figure(f"panel_value_of_released_{world}", came, note=note)
        least = min(each.gains[RELEASED] for each in let_go)
        yield Figure(f"panel_value_of_released_min_{world}", least, ">=", 0.0, "no release loses money")
    yield Figure(f"panel_certainty_equivalent_{world}", gains[OPTIMUM])
    yield Figure(f"panel_plan_{world}", gains[PLAN], note="planned with hidden types")
    constant = max((name for name in gains if name.startswith("everyone")), key=lambda name: gains[name])
    yield Figure(f"panel_best_constant_{world}", gains[constant], note=constant)
    over = np.array([each.ppo_minus_optimum[0] for each in found])
    half = 1.96 * over.std(ddof=1) / np.sqrt(len(over)) if len(over) > 1 else float("nan")
    note = f"± {half:.2f} over seeds; above 0 in {(over > 0).sum()} of {len(over)}"
    yield Figure(f"ppo_minus_certainty_equivalent_{world}", float(over.mean()), note=note)


def measure(seeds: Sequence[int] = SEEDS) -> list[Figure]:
    """Every world and seed."""
    experiment = load_experiment("quickstart", ROOT / "configs")
    logs = [(world, True) for world in COMPARED] + [(world, False) for world in SINGLE]
    found: dict[tuple[str, bool], list[Forward]] = {each: [] for each in logs}
    for seed in seeds:
        table = read_customers(experiment.customers, seed=seed, root=ROOT)
        risk = RiskModel.fit(table, experiment.risk_model)
        for (world, follows), those in found.items():
            those.append(run_forward(world, seed, experiment, table, risk, follows=follows))
            print(f"horizon {world}, log follows {follows}, {seed}: {those[-1]}", flush=True)
    return [
        figure
        for (world, follows), those in found.items()
        for figure in figures_of(world if follows else f"{world}_single", those)
    ]

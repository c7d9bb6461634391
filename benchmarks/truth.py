"""Do the figures come true, in worlds whose answers the models do not know? Beside simple opponents and an oracle.

One window, held-out customers: what the exact optimum of the fitted models decides, its true gain over no offer, what
the models said it would be, and what the 30 % riskiest at a usual offer, the best constant arm and a plain ridge
R-learner on the same log would have earned. Hidden targeting: whether a log that misleads is released without a word.
Two e-mails: arms whose order means nothing, in a randomised log. Horizon: the panel, see `benchmarks.horizon`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.report import Figure, main  # first: it sets the number of threads

from benchmarks import emails, horizon  # isort: skip
from benchmarks.emails import features  # isort: skip
from benchmarks.served import ROOT  # isort: skip
from benchmarks.world import Models, at, one_window
from benchmarks.worlds import WORLDS
from churn_assets.customers.table import CustomerTable, read_customers
from churn_assets.decision.off_policy import (
    CERTAIN,
    LoggedDecisions,
    decide_release,
    off_policy_outcome,
    simple_policies,
)
from churn_assets.decision.optimum import evaluate, never, solve
from churn_assets.decision.process import RetentionProcess
from churn_assets.experiment import Experiment, load_experiment
from churn_assets.gates.estimates import clustered_mean
from churn_assets.offers.config import OfferLogConfig
from churn_assets.offers.gates import propensity_gates
from churn_assets.offers.log import OfferLog
from churn_assets.offers.responses import Hidden, ResponseFunctions
from churn_assets.offers.world import WAVES, DemoWorld, Draw, Truth
from churn_assets.response.gates import effect, held_out_offers
from churn_assets.risk.model import RiskModel

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SEEDS = (0, 1, 2, 3, 4)
ROWS = 50_000
RIDGE = 3_000.0
"""Prior rows of the R-learner's coefficients, in columns of unit size: the best of six in the demo world."""
TARGETED = (-0.60, -0.30, -0.15, 0.15, 0.30, 0.60)
"""Shares of their offers that would-be churners get more, or fewer, than is written."""
TARGETED_SEEDS = (0, 1, 2)
ELSEWHERE = ("targeted", "delay")
"""Worlds that are no case of their own in one window: there an offer that only delays keeps as in the world of frailty,
and hidden targeting is held to other bars."""


@dataclass(frozen=True)
class Outcome:
    """Money a decision over no offer, of held-out customers in one world.

    Attributes:
        ours: true gain of the models' optimum.
        said: what the models said that it would be.
        opponents: true gains of the simple policies and of the R-learner.
        beaten_by: simple policies that are certainly better, on these customers, by the truth.
        oracle: of who knows the world but nothing latent.
        contacted: share of decisions with an offer.
        failed: gates of the effect model that do not hold.
    """

    ours: float
    said: float
    opponents: dict[str, float]
    beaten_by: tuple[str, ...]
    oracle: float
    contacted: float
    failed: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Played:
    """One world's log, all that was fitted on it, and what the models' optimum decides at some of its rows.

    Attributes:
        world: Who answered.
        drawn: The log with its truth.
        models: Fitted on it.
        process: One window.
        rows: (n,) rows of the log that are decided.
        arms: (n,) index into the log's menu.
        said: (n,) what the models say that these arms bring over no offer.
    """

    world: DemoWorld
    drawn: Draw
    models: Models
    process: RetentionProcess
    rows: Ints
    arms: Ints
    said: Floats

    @property
    def on_menu(self) -> Ints:
        """(K,) the process's arms on the log's menu."""
        return np.array([self.world.menu.position[arm] for arm in self.process.menu.ids])


@dataclass(frozen=True, eq=False)
class Ground:
    """What all worlds of one seed have in common: customers, and their risk."""

    experiment: Experiment
    table: CustomerTable
    risk: RiskModel
    seed: int

    @classmethod
    def of(cls, experiment: Experiment, seed: int) -> Ground:
        """Reads the customers and learns their risk."""
        table = read_customers(experiment.customers, seed=seed, root=ROOT)
        return cls(experiment, table, RiskModel.fit(table, experiment.risk_model), seed)

    def play(
        self,
        world: DemoWorld,
        *,
        held_out: bool = True,
        seen: Callable[[OfferLog], OfferLog] = lambda log: log,
    ) -> Played:
        """Fits everything on a world's log, as it is `seen`, and decides at its rows, held-out ones or all."""
        table, experiment = self.table, self.experiment
        drawn = world.draw(ROWS, self.seed)
        log = seen(drawn.log)
        kept = remaining(drawn.log, log)
        drawn = Draw(log, drawn.truth.of(kept), drawn.person[kept])
        customer = log.positions(table.ids)
        models = Models.fit(table, log, experiment, self.risk)
        window = table.schema.label_window_months
        section = one_window(experiment.ppo_decision, window)
        process = RetentionProcess.build(section, experiment.economics, window, experiment.arms)
        rows = np.flatnonzero(table.held_out[customer] | (not held_out))
        asked, place = np.unique(
            np.stack([customer[rows], log.prior_offers[rows]]), axis=1, return_inverse=True
        )
        tables = models.tables(at(table, asked[0]), process, asked[1])
        best = solve(tables, process).evaluation
        said = best.value - evaluate(tables, process, never(process)).value
        menu = np.array([log.menu.position[arm] for arm in process.menu.ids])
        place = place.reshape(-1)
        return Played(
            world, drawn, models, process, rows, menu[best.first.argmax(axis=1)][place], said[place]
        )


def remaining(before: OfferLog, after: OfferLog) -> Ints:
    """Rows of a log that are left in another, in order: a customer is decided about once a wave."""
    decisions = [pd.MultiIndex.from_frame(each.frame[["customer_id", "wave"]]) for each in (before, after)]
    return np.flatnonzero(decisions[0].isin(decisions[1]))


@lru_cache(maxsize=1)
def ground(seed: int) -> Ground:
    """The quickstart's customers."""
    return Ground.of(load_experiment("quickstart", ROOT / "configs"), seed)


def played(world: str, found: Ground) -> Outcome:
    """Fits everything on one world's log and scores it by the truth."""
    experiment, table = found.experiment, found.table
    kind = DemoWorld(table, experiment.economics, responses=WORLDS[world])
    play = found.play(kind)
    drawn, models, held, ours = play.drawn, play.models, play.rows, play.arms
    log, customer = drawn.log, drawn.log.positions(table.ids)
    risk = models.risk.risk_of(log.customer_id)[held]
    simple = simple_policies(log.menu, play.on_menu[1:].tolist(), risk, table.price[customer[held]])
    chosen = {name: each.argmax(axis=1) for name, each in simple.items()}
    chosen["ridge R-learner"] = r_learner(table, log, models, held, play.on_menu, experiment)
    reward = drawn.truth.reward

    def certainly_better(arms: Ints) -> bool:
        over = clustered_mean(reward[held, arms] - reward[held, ours], customer[held])
        return over.value > CERTAIN * over.standard_error

    chance = kind.risk if kind.hidden.labels else kind.hazard
    late = log.frame["wave"].to_numpy() / (WAVES - 1)
    known = kind.expected_reward(customer[held], log.prior_offers[held], chance[customer[held]], late[held])
    gates = effect(
        models.effect, held_out_offers(table, log), models.risk, models.accept, experiment.effect_model.gates
    ).gates
    return Outcome(
        ours=true_gain(drawn.truth, held, ours),
        said=float(play.said.mean()),
        opponents={name: true_gain(drawn.truth, held, arms) for name, arms in chosen.items()},
        beaten_by=tuple(name for name in simple if certainly_better(chosen[name])),
        oracle=true_gain(drawn.truth, held, play.on_menu[known[:, play.on_menu].argmax(axis=1)]),
        contacted=float((ours > 0).mean()),
        failed=tuple(gate.name for gate in gates if not gate.passed),
    )


@dataclass(frozen=True)
class Misled:
    """What becomes of a release from a log with hidden targeting.

    Attributes:
        true: gain over no offer that its policy really brings, money a decision.
        said: what the off-policy evidence says, doubly robust.
        undone_by: the factor on the odds that would undo the lift, as the report says.
        strength: the factor by which odds really were other than written: what `undone_by` is to be compared with.
        suspected: the factor that the log's churn without contact shows beside the customer table's.
        stopped_by: gates that do not hold.
    """

    true: float
    said: float
    undone_by: float
    strength: float
    suspected: float
    stopped_by: tuple[str, ...]

    @property
    def silent(self) -> bool:
        """Whether it is released, and more is said to be needed to undo it than there is, or than is suspected."""
        return not self.stopped_by and self.undone_by > max(self.strength, self.suspected)


def misled(
    share: float,
    found: Ground,
    responses: type[ResponseFunctions] = ResponseFunctions,
    seen: Callable[[OfferLog], OfferLog] = lambda log: log,
) -> Misled:
    """A release's own evidence where would-be churners got a `share` more of their offers than is written."""
    table, experiment = found.table, found.experiment
    hidden = Hidden(targeting=share)
    world = DemoWorld(table, experiment.economics, responses=responses, hidden=hidden)
    play = found.play(world, held_out=False, seen=seen)
    log, truth = play.drawn.log, play.drawn.truth
    customer = log.positions(table.ids)
    evidence, chosen = LoggedDecisions.of(log, table), np.eye(len(log.menu))[play.arms]
    offered = play.on_menu[1:].tolist()
    risk = play.models.risk.risk_of(log.customer_id)
    simple = simple_policies(log.menu, offered, risk, table.price[customer])
    verdict = decide_release(evidence, chosen, None)
    against = [evidence.against(name, chosen, each) for name, each in simple.items()]
    offers = held_out_offers(table, log)
    gates = (
        *propensity_gates(log, table, experiment.section(OfferLogConfig).gates).gates,
        *off_policy_outcome(verdict, against, simulated=True, known_by=log.known_by).gates,
        *effect(
            play.models.effect, offers, play.models.risk, play.models.accept, experiment.effect_model.gates
        ).gates,
    )
    return Misled(
        true=true_gain(truth, play.rows, play.arms),
        said=verdict.estimate.lift.dr.value,
        undone_by=verdict.estimate.undone_by,
        strength=strength_of(world, truth),
        suspected=suspected_in(log, table),
        stopped_by=tuple(gate.name for gate in gates if not gate.passed),
    )


def strength_of(world: DemoWorld, truth: Truth) -> float:
    """The factor, 1 or more, between the odds that would-be churners were contacted and those written: the median."""
    leaving = truth.would_churn == 1
    customer = truth.customer[leaving]
    really = world.targeted(customer, truth.would_churn[leaving])[:, 0]
    written = world.logging_policy()[customer, 0]
    return float(np.exp(np.median(np.abs(np.log(1 / really - 1) - np.log(1 / written - 1)))))


def suspected_in(log: OfferLog, table: CustomerTable) -> float:
    """The factor on the odds of being left alone by which the log's would-be churners would have to differ.

    Churn without contact, weighted by propensity, against the customer table's labels: a table that is out of date
    shows the same.
    """
    alone = log.arm == 0
    by_log = float(np.average(log.churned[alone], weights=1 / log.propensities[alone, 0]))
    by_table = float(table.y[log.positions(table.ids)].mean())
    return float(np.exp(abs(np.log(by_log / (1 - by_log)) - np.log(by_table / (1 - by_table)))))


def true_gain(truth: Truth, rows: Ints, arms: Ints) -> float:
    """Mean true reward over no offer."""
    return float((truth.reward[rows, arms] - truth.reward[rows, 0]).mean())


def r_learner(
    table: CustomerTable, log: OfferLog, models: Models, held: Ints, on_menu: Ints, experiment: Experiment
) -> Ints:
    """Arms by a ridge regression of the centred outcome on centred arms times features (Nie & Wager 2021)."""
    customer = log.positions(table.ids)
    risk = models.risk.risk_of(log.customer_id)
    columns = features(table)[customer]
    X = np.column_stack([columns, risk])
    seen = np.flatnonzero(~table.held_out[customer])
    churned = log.churned.astype(np.float64)
    outcome = np.column_stack([X, log.propensities[:, 1:]])
    nuisance = np.linalg.lstsq(outcome[seen], churned[seen], rcond=None)[0]
    residual = churned[seen] - outcome[seen] @ nuisance
    chance = (log.arm[seen, None] == np.arange(len(log.menu))) - log.propensities[seen]
    blocks = [chance[:, arm, None] * X[seen] for arm in range(1, len(log.menu))]
    design = np.concatenate([np.sum(blocks, axis=0), *blocks], axis=1)
    size = np.sqrt((design**2).mean(axis=0)) + 1e-9
    design /= size
    penalty = np.repeat([RIDGE, 30 * RIDGE], [X.shape[1], X.shape[1] * len(blocks)])
    found = np.linalg.solve(design.T @ design + np.diag(penalty), design.T @ residual) / size
    common, own = found[: X.shape[1]], found[X.shape[1] :].reshape(len(blocks), -1)
    effects = np.column_stack([np.zeros(len(held)), X[held] @ (common + own).T])
    q = models.accept.out_of_fold[held].astype(np.float64)
    price, money = table.price[customer[held]], experiment.economics
    stays = 1 - np.clip(risk[held, None] + effects, 0, 1)
    worth = stays * (money.margin * price * money.value_horizon_months)[:, None]
    spent = q * (log.menu.monthly(price) * log.menu.months + log.menu.given_once) + log.menu.contact_cost
    return np.asarray(on_menu[(worth - spent)[:, on_menu].argmax(axis=1)])


def figures_of(world: str, outcomes: list[Outcome]) -> Iterator[Figure]:
    """The bars of one world, over seeds."""

    def mean(values: list[float]) -> float:
        return float(np.mean(values))

    ours = mean([each.ours for each in outcomes])
    failed = sum(bool(each.failed) for each in outcomes)
    if world == "none":
        most = max(each.contacted for each in outcomes)
        yield Figure("world_none_contact", most, "<=", 0.01, "share of decisions, worst seed")
        yield Figure("world_none_failed", failed, "<=", 0, "seeds with a gate of the effect model that fails")
        return
    simple = {name: mean([each.opponents[name] for each in outcomes]) for name in outcomes[0].opponents}
    strongest = max(simple, key=lambda name: simple[name])
    said = mean([each.said for each in outcomes])
    beaten = sum(bool(each.beaten_by) for each in outcomes)
    yield Figure(f"world_{world}_gain", ours, note="true, money a decision of held-out customers")
    yield Figure(f"world_{world}_vs_simple", ours / simple[strongest], ">=", 1.0, f"best: {strongest}")
    least = {"demo": 0.92, "weak": 0.0}.get(world, 0.75)
    yield Figure(f"world_{world}_of_oracle", ours / mean([each.oracle for each in outcomes]), ">=", least)
    yield Figure(f"world_{world}_certainly_below", beaten, "<=", 0, "seeds with a simple policy above it")
    if world == "weak":
        yield Figure("world_weak_reported", said, note=f"what the models said; true {ours:.2f}")
    else:
        yield Figure(f"world_{world}_reported_over_true", said / ours, ">=", 0.85)
        yield Figure(f"world_{world}_reported_at_most", said / ours, "<=", 1.15)
    yield Figure(f"world_{world}_failed", failed, "<=", 0, "seeds with a gate of the effect model that fails")


def figures_of_targeting(found: dict[float, list[Misled]]) -> Iterator[Figure]:
    """What hidden targeting does, by its share."""
    for share, each in found.items():
        name = f"targeted_{'more' if share > 0 else 'fewer'}_{abs(share):.0%}".rstrip("%")
        stopped = sum(bool(one.stopped_by) for one in each)
        true, said = (float(np.mean([getattr(one, name) for one in each])) for name in ("true", "said"))
        note = f"said {said:.1f}, true {true:.1f}; stopped in {stopped} of {len(each)} seeds"
        yield Figure(f"{name}_undone_by", max(one.undone_by for one in each), note=note)
        yield Figure(
            f"{name}_strength", min(one.strength for one in each), note="what odds really were off by"
        )
        suspected = min(one.suspected for one in each)
        note = "by churn without contact in the log, beside the customers' table"
        yield Figure(f"{name}_suspected", suspected, note=note)
    silent = sum(one.silent for each in found.values() for one in each)
    note = "released although more than the real targeting is said to be needed"
    yield Figure("silent_pass", silent, "<=", 0, note)


def windows() -> Iterator[Figure]:
    """Every world of the family and seed: about ten seconds each."""
    outcomes: dict[str, list[Outcome]] = {world: [] for world in WORLDS if world not in ELSEWHERE}
    for seed in SEEDS:
        for world, those in outcomes.items():
            those.append(played(world, ground(seed)))
            print(f"{world} {seed}: {those[-1]}", flush=True)
    for world, those in outcomes.items():
        yield from figures_of(world, those)


def targeting() -> Iterator[Figure]:
    """Every share and seed: about ten seconds each."""
    found: dict[float, list[Misled]] = {share: [] for share in TARGETED}
    for seed in TARGETED_SEEDS:
        for share, cases in found.items():
            cases.append(misled(share, ground(seed)))
            print(f"targeting {share:+.0%} {seed}: {cases[-1]}", flush=True)
    yield from figures_of_targeting(found)


def measure() -> list[Figure]:
    """All parts."""
    return [*windows(), *targeting(), *emails.measure(), *horizon.measure()]


if __name__ == "__main__":
    main(__doc__, measure)

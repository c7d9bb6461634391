"""Do the figures come true, in worlds whose answers the models do not know? Beside simple opponents and an oracle.

One window, held-out customers: what the exact optimum of the fitted models decides, its true gain over no offer, what
the models said it would be, and what the 30 % riskiest at a usual offer, the best constant arm and a plain ridge
R-learner on the same log would have earned.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import Figure, main  # first: it sets the number of threads

from benchmarks.served import ROOT  # isort: skip
from benchmarks.world import Models, at, one_window
from benchmarks.worlds import WORLDS
from churn_assets.customers.table import CustomerTable, read_customers
from churn_assets.decision.off_policy import simple_policies
from churn_assets.decision.optimum import evaluate, never, solve
from churn_assets.decision.process import RetentionProcess
from churn_assets.experiment import Experiment, load_experiment
from churn_assets.offers.log import OfferLog
from churn_assets.offers.world import DemoWorld, Truth
from churn_assets.response.gates import effect, held_out_offers

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SEEDS = (0, 1, 2, 3, 4)
ROWS = 50_000
RIDGE = 3_000.0
"""Prior rows of the R-learner's coefficients, in columns of unit size: the best of six in the demo world."""


@dataclass(frozen=True)
class Outcome:
    """Money a decision over no offer, of held-out customers in one world.

    Attributes:
        ours: true gain of the models' optimum.
        said: what the models said that it would be.
        opponents: true gains of the simple policies and of the R-learner.
        oracle: of who knows the world but nothing latent.
        contacted: share of decisions with an offer.
        failed: gates of the effect model that do not hold.
    """

    ours: float
    said: float
    opponents: dict[str, float]
    oracle: float
    contacted: float
    failed: tuple[str, ...]


def played(world: str, seed: int, experiment: Experiment) -> Outcome:
    """Fits everything on one world's log and scores it by the truth."""
    table = read_customers(experiment.customers, seed=seed, root=ROOT)
    kind: dict[str, Any] = {"effects": False} if world == "none" else {"responses": WORLDS[world]}
    draw = DemoWorld(table, experiment.economics, **kind)
    drawn = draw.draw(ROWS, seed)
    log, customer = drawn.log, drawn.log.positions(table.ids)
    models = Models.fit(table, log, experiment)
    window = table.schema.label_window_months
    process = RetentionProcess.build(
        one_window(experiment.ppo_decision, window), experiment.economics, window
    )
    held = np.flatnonzero(table.held_out[customer])
    tables = models.tables(at(table, customer[held]), process, log.prior_offers[held])
    on_menu = np.array([log.menu.position[arm] for arm in process.menu.ids])
    best = solve(tables, process).evaluation

    def gain(arms: Ints) -> float:
        return true_gain(drawn.truth, held, arms)

    ours = on_menu[best.first.argmax(axis=1)]
    risk = models.risk.risk_of(log.customer_id)
    simple = simple_policies(log.menu, on_menu[1:].tolist(), risk[held], table.price[customer[held]])
    opponents = {name: gain(each.argmax(axis=1)) for name, each in simple.items()}
    opponents["ridge R-learner"] = gain(r_learner(table, log, models, held, on_menu, experiment))
    known = draw.expected_reward(customer[held], log.prior_offers[held], draw.risk[customer[held]])
    gates = effect(
        models.effect, held_out_offers(table, log), models.risk, models.accept, experiment.effect_model.gates
    ).gates
    return Outcome(
        ours=gain(ours),
        said=float((best.value - evaluate(tables, process, never(process)).value).mean()),
        opponents=opponents,
        oracle=gain(on_menu[known[:, on_menu].argmax(axis=1)]),
        contacted=float((ours > 0).mean()),
        failed=tuple(gate.name for gate in gates if not gate.passed),
    )


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


def features(table: CustomerTable) -> Floats:
    """(N, d) one, standardised numbers, a column a category."""
    columns = [np.ones(len(table))]
    for position, feature in enumerate(table.schema.features):
        values = table.X[:, position]
        if feature.kind == "categorical":
            columns += [(values == code).astype(np.float64) for code in range(len(feature.categories))]
        else:
            columns.append((np.where(np.isnan(values), feature.mean, values) - feature.mean) / feature.std)
    return np.column_stack(columns)


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
    yield Figure(f"world_{world}_gain", ours, note="true, money a decision of held-out customers")
    yield Figure(f"world_{world}_vs_simple", ours / simple[strongest], ">=", 1.0, f"best: {strongest}")
    least = {"demo": 0.92, "weak": 0.0}.get(world, 0.75)
    yield Figure(f"world_{world}_of_oracle", ours / mean([each.oracle for each in outcomes]), ">=", least)
    if world == "weak":
        yield Figure("world_weak_reported", said, note=f"what the models said; true {ours:.2f}")
    else:
        yield Figure(f"world_{world}_reported_over_true", said / ours, ">=", 0.85)
        yield Figure(f"world_{world}_reported_at_most", said / ours, "<=", 1.15)
    yield Figure(f"world_{world}_failed", failed, "<=", 0, "seeds with a gate of the effect model that fails")


def measure() -> list[Figure]:
    """Every world and seed: about fifteen seconds each."""
    experiment = load_experiment("quickstart", ROOT / "configs")
    figures: list[Figure] = []
    for world in (*WORLDS, "none"):
        outcomes = []
        for seed in SEEDS:
            outcomes.append(played(world, seed, experiment))
            print(f"{world} {seed}: {outcomes[-1]}", flush=True)
        figures += figures_of(world, outcomes)
    return figures


if __name__ == "__main__":
    main(__doc__, measure)

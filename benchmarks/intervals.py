"""Do intervals of effects hold what is true of held-out customers, in worlds whose answers the models do not know?

The truth that an interval is of: how an arm changes churn in the mean over all customers who show the same features and
recent offers, and differ in what nobody sees (whether they would leave, how they feel about prices). So that it exists,
would-be outcomes are drawn anew from a known risk: the real table's own labels are one draw from an unknown one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import Figure, main  # first: it sets the number of threads

from benchmarks.served import ROOT  # isort: skip
from benchmarks.truth import ROWS, SEEDS
from benchmarks.world import Models
from benchmarks.worlds import WORLDS
from churn_assets.customers.schema import CHURNED
from churn_assets.customers.table import CustomerTable, read_customers
from churn_assets.experiment import Experiment, load_experiment
from churn_assets.offers.log import OfferLog
from churn_assets.offers.world import SENSITIVITY_SD, DemoWorld
from churn_assets.response.accept import AcceptModel
from churn_assets.response.effect import EffectModel
from churn_assets.response.gates import effect, held_out_offers
from churn_assets.risk.model import RiskModel

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Known:
    """Models of one world's log, and what is true of the log's rows about held-out customers.

    Attributes:
        table: The customers, their labels drawn from `DemoWorld.risk` of the real ones.
        log: Of the world.
        models: Fitted on both.
        X: (n, F) features of the rows.
        risk: (n,) by the risk model.
        acceptance: (n, A) by the acceptance model.
        truth: (n, A) conditional effect of every arm.
        fit_seconds: CPU time of the effect model alone.
    """

    table: CustomerTable
    log: OfferLog
    models: Models
    X: Floats
    risk: Floats
    acceptance: Floats
    truth: Floats
    fit_seconds: float

    def coverage(self, model: EffectModel, level: float = 0.95) -> float:
        """Share of effects of arms that contact that lie within their interval."""
        lower, upper = model.interval(self.X, self.risk, self.acceptance, level)
        return float(((lower <= self.truth) & (self.truth <= upper))[:, 1:].mean())

    def half_width(self) -> float:
        """Mean of the 95 % intervals."""
        lower, upper = self.models.effect.interval(self.X, self.risk, self.acceptance)
        return float((upper - lower)[:, 1:].mean() / 2)

    def failed(self, experiment: Experiment) -> tuple[str, ...]:
        """Gates of the effect model that do not hold."""
        offers = held_out_offers(self.table, self.log)
        models, gates = self.models, experiment.effect_model.gates
        found = effect(models.effect, offers, models.risk, models.accept, gates)
        return tuple(gate.name for gate in found.gates if not gate.passed)


def known(name: str, seed: int, experiment: Experiment) -> Known:
    """One world, drawn and fitted; about fifteen seconds."""
    table, risk = with_known_risk(
        read_customers(experiment.customers, seed=seed, root=ROOT), experiment, seed
    )
    kind: dict[str, Any] = {"effects": False} if name == "none" else {"responses": WORLDS[name]}
    world = DemoWorld(table, experiment.economics, **kind)
    log = world.draw_log(ROWS, seed)
    risk_model = RiskModel.fit(table, experiment.risk_model)
    accept = AcceptModel.fit(table, log, experiment.accept_model)
    out_of_fold = risk_model.risk_of(log.customer_id)
    started = time.process_time()
    effect_model = EffectModel.fit(table, log, out_of_fold, accept.out_of_fold, experiment.effect_model)
    spent = time.process_time() - started
    models = Models(risk_model, accept, effect_model)
    customer = log.positions(table.ids)
    held = np.flatnonzero(table.held_out[customer])
    X, prior = table.X[customer[held]], log.prior_offers[held]
    acceptance = accept.predict_arms(X, prior.astype(np.float64), log.menu)
    truth = conditional_effects(world, customer[held], prior, risk[customer[held]])
    return Known(table, log, models, X, risk_model.predict(X), acceptance, truth, spent)


def with_known_risk(table: CustomerTable, experiment: Experiment, seed: int) -> tuple[CustomerTable, Floats]:
    """The customers with labels drawn from the demo world's risk of them, and that risk (N,)."""
    risk = DemoWorld(table, experiment.economics).risk
    left = np.random.default_rng([seed, 77]).random(len(risk)) < risk
    labels = left.astype(table.frame[CHURNED].dtype)
    return replace(table, frame=table.frame.assign(**{CHURNED: labels})), risk


def conditional_effects(world: DemoWorld, customer: Ints, prior_offers: Ints, risk: Floats) -> Floats:
    """(n, A) change of P(churn) by every arm, in the mean over all that features do not show; `risk` (n,) is true."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(9)
    answers, same = world.responses, np.ones(len(customer))
    stays = np.zeros((len(customer), len(world.menu)))
    for node, weight in zip(nodes, weights / weights.sum(), strict=True):
        who = world.someone(customer, SENSITIVITY_SD * node * same, prior_offers, 0 * same)
        by_answer = answers.stays(who)
        for left, share in ((0, 1 - risk), (1, risk)):
            would_churn = np.full(len(customer), left)
            acceptance = answers.acceptance(who, would_churn, answers.worth[customer])
            given = by_answer.given(would_churn[:, None].astype(np.float64), acceptance)
            stays += weight * share[:, None] * given
    return np.asarray(stays[:, :1] - stays)


def figures_of(name: str, outcomes: list[Known], failed: int) -> Iterator[Figure]:
    """The bars of one world, over seeds."""

    def mean(values: list[float]) -> float:
        return float(np.mean(values))

    def covered(level: float) -> float:
        return mean([each.coverage(each.models.effect, level) for each in outcomes])

    key, of = f"interval_coverage_{name}", "held-out customers, arms that contact"
    yield Figure(key, covered(0.95), ">=", 0.92, f"nominal .95, {of}")
    if name != "none":  # every effect is exactly 0 there, and said to be: within any interval
        yield Figure(f"{key}_upper", covered(0.95), "<=", 0.98)
    yield Figure(f"{key}_of_80", covered(0.8), note="nominal .8")
    least = min(each.coverage(each.models.effect) for each in outcomes)
    yield Figure(f"interval_coverage_{name}_least", least, note="worst seed")
    widest = mean([each.half_width() for each in outcomes])
    truth = mean([float(np.sqrt((each.truth[:, 1:] ** 2).mean())) for each in outcomes])
    yield Figure(f"interval_half_width_{name}", widest, note=f"change of churn; effects are {truth:.3f}")
    yield Figure(
        f"interval_failed_{name}", failed, "<=", 0, "seeds with a gate of the effect model that fails"
    )


def measure() -> list[Figure]:
    """Every world and seed: about twenty seconds each."""
    experiment = load_experiment("quickstart", ROOT / "configs")
    figures: list[Figure] = []
    seconds: list[float] = []
    for name in (*WORLDS, "none"):
        outcomes, failed = [], 0
        for seed in SEEDS:
            outcomes.append(known(name, seed, experiment))
            broken = outcomes[-1].failed(experiment)
            failed += bool(broken)
            seconds.append(outcomes[-1].fit_seconds)
            covered = outcomes[-1].coverage(outcomes[-1].models.effect)
            print(f"{name} {seed}: {covered:.3f} ± {outcomes[-1].half_width():.4f} {broken}", flush=True)
        figures += figures_of(name, outcomes, failed)
    figures.append(Figure("effect_fit_cpu_seconds", float(np.median(seconds)), note=f"{ROWS:,} rows"))
    return figures


if __name__ == "__main__":
    main(__doc__, measure)

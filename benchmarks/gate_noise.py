"""How often a gate on an estimate refuses what just keeps its limit, and finds the fault that it says it finds.

Labels are drawn from risks, acceptances and effects that are true by construction. The truth of a figure is its mean
over many tables; the limit is then put there (false alarms), and so far beyond as the gate's detail says (power).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.report import Figure, main  # first: it sets the number of threads

import numpy as np  # isort: skip

from benchmarks.risk_tables import _redrawn
from churn_assets.customers.gates import leakage
from churn_assets.customers.table import CustomerTable, read_customers
from churn_assets.experiment import Experiment, load_experiment
from churn_assets.gates.report import Gate, Outcome
from churn_assets.offers.world import DemoWorld
from churn_assets.response import gates as response
from churn_assets.response.accept import AcceptModel
from churn_assets.response.effect import EffectModel
from churn_assets.response.gates import HeldOutOffers
from churn_assets.risk import gates as risk_gates
from churn_assets.risk.model import RiskModel

ROOT = Path(__file__).parents[1]
SMALL, TABLES, LOGS = 1_500, 200, 100
"""Customers of the small table; tables and logs drawn for each figure."""
BASE_KEYS = {"auc": "min_auc", "brier_skill": "min_brier_skill", "out_of_fold_auc_low": "min_auc",
             "out_of_fold_auc_high": "max_auc", "leaking_columns": "max_single_feature_auc",
             "single_feature_auc": "max_single_feature_auc", "log_loss_excess": "champion_log_loss_tolerance",
             "relative_loss": "champion_loss_tolerance"}  # fmt: skip
AGAINST_A_CHAMPION = ("log_loss_excess", "relative_loss")
SEEN = re.compile(r"a true (\S+) is found|one of (\S+) is found")

Floats = np.ndarray
Judge = Callable[[object, object], Outcome]


@dataclass(frozen=True)
class Case:
    """A set of gates over drawn tables.

    Attributes:
        name: Of the figures.
        judge: A drawn table and limits to gates.
        limits: As configured.
        gates: Which of the gates are looked at.
        drawn: The tables.
    """

    name: str
    judge: Judge
    limits: object
    gates: tuple[str, ...]
    drawn: Sequence[object]

    def figures(self) -> list[Figure]:
        """False alarms and power of each gate."""
        return [figure for gate in self.gates for figure in self._figures(gate)]

    def _figures(self, name: str) -> list[Figure]:
        truth = float(np.mean([self._measured(each, name) for each in self.drawn]))
        against = name in AGAINST_A_CHAMPION
        at_limit = [self._gate(each, name, None if against else truth) for each in self.drawn]
        seen = float(np.median([_seen(gate) for gate in at_limit]))
        if against:  # the truth moves: to that of an equal, and to what is said to be seen
            over = np.array([float(gate.figure or 0.0) - truth - gate.threshold for gate in at_limit])
            alarms, power = (float(np.mean(over + to > 0)) for to in (0.0, seen))
            note = f"worse by {seen:.4g}"
        else:
            beyond = [self._gate(each, name, 2 * truth - seen) for each in self.drawn]
            alarms, power = (
                float(np.mean([not each.passed for each in gates])) for gates in (at_limit, beyond)
            )
            note = f"true {truth:.4g}, a limit of {2 * truth - seen:.4g}"
        tables = f"of {len(self.drawn)} tables"
        return [
            Figure(f"{self.name}_{name}_false_alarms", alarms, "<=", 0.05, tables),
            Figure(f"{self.name}_{name}_power", power, ">=", 0.8, f"{tables}; {note}"),
        ]

    def _measured(self, drawn: object, name: str) -> float:
        outcome = self.judge(drawn, self.limits)
        if name == "leaking_columns":
            return max(float(row["auc"]) for row in outcome.tables["columns_alone"])
        return float(_named(outcome, name).figure or 0.0)

    def _gate(self, drawn: object, name: str, limit: float | None) -> Gate:
        moved = {} if limit is None else {BASE_KEYS[name]: limit}
        return _named(self.judge(drawn, self.limits.model_copy(update=moved)), name)


def _seen(gate: Gate) -> float:
    found = SEEN.search(gate.detail)
    assert found is not None, gate.detail
    return float(found[1] or found[2])


def _named(outcome: Outcome, name: str) -> Gate:
    return next(gate for gate in outcome.gates if gate.name == name)


def measure() -> Sequence[Figure]:
    """All of it: about ten minutes of CPU time."""
    experiment = load_experiment("quickstart", ROOT / "configs")
    table = read_customers(experiment.customers, seed=experiment.seed, root=ROOT)
    config = experiment.risk_model.model_copy(update={"kind": "logit_mean"})
    model = RiskModel.fit(table, config)
    cases = [case for rows in (SMALL, len(table)) for case in _risk_cases(experiment, model, table, rows)]
    cases += _response_cases(experiment, model, table)
    return [figure for case in cases for figure in case.figures()]


def _risk_cases(experiment: Experiment, model: RiskModel, table: CustomerTable, rows: int) -> list[Case]:
    rng = np.random.default_rng(rows)
    chosen = np.zeros(len(table), dtype=bool)
    chosen[rng.choice(len(table), rows, replace=False)] = True
    table = table.where(chosen)
    risk = model.predict(table.X)
    right = replace(model, out_of_fold=model.out_of_fold[chosen].assign(risk=risk))
    blunt = replace(model, predictor=_Blunt(model.predictor))
    drawn = [_redrawn(table, risk, rng) for _ in range(TABLES)]
    limits = experiment.risk_model.gates.model_copy(update={"known_before": table.schema.names})
    ranked = tuple(
        each for each in BASE_KEYS if each not in ("single_feature_auc", "log_loss_excess", "relative_loss")
    )
    return [
        Case(f"risk_{rows}", lambda each, to: risk_gates.discrimination(right, each, to), limits, ranked, drawn),
        Case(f"risk_{rows}", lambda each, to: risk_gates.no_worse_than(blunt, right, each, to), limits,
             ("log_loss_excess",), drawn),
        Case(f"customers_{rows}", leakage, experiment.customers.gates, ("single_feature_auc",), drawn),
    ]  # fmt: skip


@dataclass(frozen=True)
class _Blunt:
    """Risks nearer to each other than they are: worse than the champion's by some thousandths of a nat."""

    predictor: object

    def predict(self, X: Floats) -> Floats:
        risk = self.predictor.predict(X)
        return 1 / (1 + ((1 - risk) / risk) ** 0.8)


def _response_cases(experiment: Experiment, risk: RiskModel, table: CustomerTable) -> list[Case]:
    log = DemoWorld(table, experiment.economics, effects=True).draw(50_000, seed=5).log
    accept = AcceptModel.fit(table, log, experiment.accept_model)
    effect = EffectModel.fit(
        table, log, risk.risk_of(log.customer_id), accept.out_of_fold, experiment.effect_model
    )
    offers, rng = HeldOutOffers.of(table, log), np.random.default_rng(3)
    scored, recent = risk.predict(offers.X), offers.log.prior_offers.astype(np.float64)
    chance = accept.predict(offers.X, offers.log.arm, recent, offers.log.menu)
    base, *_ = effect.consequences(offers.X, scored)
    effects = effect.effects(offers.X, scored, accept.predict_arms(offers.X, recent, offers.log.menu))
    gone = np.clip(base + effects[np.arange(len(base)), offers.log.arm], 0, 1)
    drawn = []
    for _ in range(LOGS):
        lots = rng.random((2, len(gone)))
        told = {"accepted": (lots[0] < chance).astype(np.int64), "churned": (lots[1] < gone).astype(np.int64)}
        drawn.append(replace(offers, log=replace(offers.log, frame=offers.log.frame.assign(**told))))
    blind, dull = replace(effect, size=0.5 * effect.size), _dull(accept)
    limits = experiment.effect_model.gates
    of_accept = experiment.accept_model.gates
    found = [
        Case("accept", lambda each, to: response.acceptance(accept, each, to), of_accept, ("auc",), drawn),
        Case("accept", lambda each, to: response.accept_no_worse_than(dull, accept, each, to), of_accept,
             ("log_loss_excess",), drawn),
        Case("effect", lambda each, to: response.effect_no_worse_than(blind, effect, each, risk, accept, to), limits,
             ("relative_loss",), drawn),
    ]  # fmt: skip
    honest = [response.effect(effect, each, risk, accept, limits) for each in drawn]
    honest_accept = [response.acceptance(accept, each, of_accept) for each in drawn]
    for name, outcomes in (("effect", honest), ("accept", honest_accept)):
        alarms = float(np.mean([not all(gate.passed for gate in each.gates) for each in outcomes]))
        found.append(_Told(Figure(f"{name}_all_gates_false_alarms", alarms, "<=", 0.05, f"of {LOGS} logs")))
    return found


@dataclass(frozen=True)
class _Told:
    """A figure that is known already."""

    figure: Figure

    def figures(self) -> list[Figure]:
        """The figure."""
        return [self.figure]


def _dull(model: AcceptModel) -> AcceptModel:
    """Acceptance whose leaves are nearer to each other than they are."""
    forest = model.predictor.forest
    return replace(
        model, predictor=replace(model.predictor, forest=replace(forest, values=0.8 * forest.values))
    )


if __name__ == "__main__":
    main(__doc__, measure)

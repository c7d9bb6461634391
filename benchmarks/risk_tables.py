"""The risk model on tables that are not Telco, on large ones, and how often its gates are wrong.

Foreign tables have known truths (`benchmarks/foreign.py`). The gates judge models that are right, or wrong in a named
way, at the demo's size: labels are drawn from the quickstart's own risks. CPU seconds, one thread; a plain boosting of
as many trees on all the rows is the unit, so that the bar is one on any machine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from time import process_time

from benchmarks.report import Figure, main  # first: it sets the number of threads

import numpy as np  # isort: skip
from sklearn.ensemble import HistGradientBoostingClassifier

from benchmarks.foreign import FOREIGN, foreign
from churn_assets.customers.table import CustomerTable, read_customers
from churn_assets.experiment import load_experiment
from churn_assets.gates.metrics import brier
from churn_assets.risk import gates
from churn_assets.risk.config import RiskGates, RiskModelConfig
from churn_assets.risk.model import RiskModel
from churn_assets.risk.search import fit_chosen

ROOT = Path(__file__).parents[1]
ROWS, LARGE, OTHERS = (1_500, 6_000), 200_000, 20_000
GRID = [
    {"max_leaf_nodes": leaves, "learning_rate": rate, "min_samples_leaf": 20, "max_features": 1.0, "max_iter": trees}
    for leaves in (6, 16, 32, 64)
    for rate in (0.05, 0.1)
    for trees in (100, 300)
]  # fmt: skip
SOUND, REFITTED, WRONG = 1_000, 30, 200
BASE_UNITS = 20.9
"""What a fit took at 485b820, in plain boostings: 9 fits of both parts on all rows."""

Floats = np.ndarray
Bend = Callable[[Floats], Floats]


def measure() -> Sequence[Figure]:
    """All of it: about a quarter of an hour."""
    return [*_foreign_tables(), *_gates(), *_large()]


def _foreign_tables() -> list[Figure]:
    found = []
    for rows in ROWS:
        for name in FOREIGN:
            scores = [_score(name, rows, RiskModelConfig(kind="boosting", boosting=each)) for each in GRID]
            alone = [_score(name, rows, RiskModelConfig(kind="spline_logistic"))]
            configured = _score(name, rows, RiskModelConfig(kind="logit_mean"))
            best, chosen = min(scores + alone), _score(name, rows, RiskModelConfig())
            note = f"Brier {chosen:.4f}; configured {configured:.4f}, best of {len(GRID) + 1} {best:.4f}"
            found.append(Figure(f"brier_vs_best_{name}_{rows}", chosen / best, "<=", 1.05, note))
            found.append(Figure(f"brier_vs_configured_{name}_{rows}", chosen / configured, "<=", 1.01))
    return found


def _score(name: str, rows: int, config: RiskModelConfig) -> float:
    table, others = foreign(name, rows, seed=1), foreign(name, OTHERS, seed=2)
    return brier(others.y, fit_chosen(table.X, table.y, table.schema, config, seed=0).predict(others.X))


def _gates() -> list[Figure]:
    experiment = load_experiment("quickstart", ROOT / "configs")
    table = read_customers(experiment.customers, seed=experiment.seed, root=ROOT)
    config = experiment.risk_model.model_copy(update={"kind": "logit_mean"})
    model = RiskModel.fit(table, config)
    risk = model.predict(table.X)
    right = replace(model, out_of_fold=model.out_of_fold.assign(risk=risk))
    limits, rng = config.gates, np.random.default_rng(0)
    alarms = _failures(right, table, [risk] * SOUND, limits, rng)
    refitted = []
    for _ in range(REFITTED):
        drawn = _redrawn(table, risk, rng)
        refitted.append(any(_judged(RiskModel.fit(drawn, config), drawn, limits)))
    one_year = (table.frame["Contract"] == "One year").to_numpy()
    wrong: dict[str, Floats] = {
        "mean_off_3.5_points": _shifted(risk, 0.035),
        "logits_half_as_large_again": 1 / (1 + np.exp(-np.log(risk / (1 - risk)) / 1.5)),
        "slice_of_1473_off_8_points": np.where(one_year, np.clip(risk + 0.08, 0, 1), risk),
    }
    found = [
        Figure(f"{name}_false_alarms", alarms[name], "<=", 1 / 200, f"of {SOUND} tables, the model is right")
        for name in alarms
    ]
    seen = sum(refitted) / REFITTED
    found.append(
        Figure("refitted_false_alarms", seen, "<=", 0.05, f"of {REFITTED} models fitted on drawn labels")
    )
    for name, truth in wrong.items():
        caught = _failures(right, table, [truth] * WRONG, limits, rng)
        gate = "slices" if name.startswith("slice") else "calibration"
        found.append(Figure(f"power_{name}", caught[gate], ">=", 0.9, f"of {WRONG} tables, by {gate}"))
    return found


def _failures(
    model: RiskModel,
    table: CustomerTable,
    truths: Sequence[Floats],
    limits: RiskGates,
    rng: np.random.Generator,
) -> dict[str, float]:
    """Share of tables drawn from these truths on which each set of gates fails."""
    failed = [_judged(model, _redrawn(table, truth, rng), limits) for truth in truths]
    return {
        name: float(np.mean([bool(each[place]) for each in failed]))
        for place, name in enumerate(("calibration", "slices"))
    }


def _judged(model: RiskModel, table: CustomerTable, limits: RiskGates) -> list[list[str]]:
    outcomes = gates.calibration(model, table, limits), gates.slices(model, table, limits)
    return [[gate.name for gate in each.gates if not gate.passed] for each in outcomes]


def _redrawn(table: CustomerTable, risk: Floats, rng: np.random.Generator) -> CustomerTable:
    labels = (rng.random(len(risk)) < risk).astype(np.int8)
    return CustomerTable(table.frame.assign(churned=labels), table.schema, table.source)


def _shifted(risk: Floats, points: float) -> Floats:
    """The same risks with logits moved so that their mean is this much higher."""
    logits, low, high = np.log(risk / (1 - risk)), 0.0, 3.0
    for _ in range(50):
        middle = (low + high) / 2
        moved = 1 / (1 + np.exp(-(logits + middle)))
        low, high = (middle, high) if moved.mean() < risk.mean() + points else (low, middle)
    return moved


def _large() -> list[Figure]:
    experiment = load_experiment("quickstart", ROOT / "configs")
    small = read_customers(experiment.customers, seed=experiment.seed, root=ROOT)
    table = _repeated(small, LARGE)
    X, y = table.X[~table.held_out], table.y[~table.held_out]
    texts = np.array([feature.kind == "categorical" for feature in table.schema.features])
    started = process_time()
    HistGradientBoostingClassifier(
        **experiment.risk_model.boosting.model_dump(), categorical_features=texts, early_stopping=False
    ).fit(X, y)
    unit, started = process_time() - started, process_time()
    RiskModel.fit(table, experiment.risk_model)
    taken = process_time() - started
    return [
        Figure("fit_cpu_s", taken, note=f"{LARGE} customers, {unit:.2f} s for one plain boosting"),
        Figure("fit_cpu_vs_485b820", taken / unit / BASE_UNITS, "<=", 0.35, "both in plain boostings"),
    ]


def _repeated(table: CustomerTable, rows: int) -> CustomerTable:
    """Customers drawn from a table, each a little another one."""
    rng = np.random.default_rng(7)
    frame = table.frame.iloc[rng.integers(len(table), size=rows)].reset_index(drop=True)
    ids = np.array([f"c{row}" for row in range(rows)], dtype=object)
    price = table.schema.monthly_revenue
    frame = frame.assign(
        customer_id=ids,
        fold=table.schema.fold_of(ids),
        **{price: (frame[price] * rng.uniform(0.95, 1.05, rows)).round(2)},
    )
    return CustomerTable(frame, table.schema, table.source)


if __name__ == "__main__":
    main(__doc__, measure)

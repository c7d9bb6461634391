"""The environment's speed, against a naive one and Gymnasium's own CartPole, and its exactness.

All on one thread and in one run; contenders take turns and the best turn of each counts, as a busy machine only ever
slows a turn down. The naive environment asks the same fitted boosting models for one row an offer and step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.report import Figure, main  # first: it sets the number of threads

import gymnasium as gym  # isort: skip
import numpy as np

from benchmarks.quickstart import Quickstart, quickstart
from benchmarks.scikit_learn import ScikitLearn
from churn_assets.customers.features import aged
from churn_assets.decision.env import RetentionVectorEnv
from churn_assets.risk.estimators import BOOSTING

VECTOR, NAIVE = 1024, 8
TURNS, SECONDS = 7, 0.4
LIVE_CUSTOMERS = 12


class NaiveEnv:
    """One customer at a time, the boosting models asked for one row whenever a probability is needed.

    As fast as that gets: the classifiers themselves are called, on arrays, and the effect model is left out.
    """

    def __init__(self, models: Quickstart, fitted: ScikitLearn, rng: np.random.Generator) -> None:
        self._risk, self._accept = fitted.estimator.parts[BOOSTING], fitted.classifier
        self._process, self._rng = models.process, rng
        self._X, self._price = models.customers.X, models.customers.price
        tenure = models.customers.schema.tenure_index
        if tenure is None:
            raise ValueError("the quickstart's customers have no tenure: expected one that advances")
        self._tenure = tenure
        self.reset()

    def reset(self) -> None:
        self._customer = int(self._rng.integers(len(self._X)))
        self._row = self._X[self._customer].copy()
        self._t = self._left = self._arm = self._used = 0
        self._since = 99
        self._observe()

    def _observe(self) -> None:
        process = self._process
        p = self._risk.predict_proba(self._row[None])[0, 1]
        self._hazard = 1 - (1 - p) ** (process.step_months / process.window_months)
        recent = float(self._since < process.recent_window_months)
        self._acceptance = [
            self._accept.predict_proba(np.append(self._row, (recent, size))[None])[0, 1]
            for size in process.menu.size[1:]
        ]

    def step(self, action: int) -> tuple[float, bool]:
        process, price = self._process, self._price[self._customer]
        may = self._left == 0 and self._since >= process.cooldown_months and self._used < process.max_offers
        reward, hazard = 0.0, self._hazard
        if action and may:
            reward -= process.menu.contact_cost[action]
            self._used, self._since = self._used + 1, -1
            if self._rng.random() < self._acceptance[action - 1]:
                self._arm, self._left = action, process.menu[action].months
                hazard *= 0.5
        churned = self._rng.random() < hazard
        if not churned:
            discount = process.menu[self._arm].terms.share_off if self._left else 0.0
            reward += (process.margin - discount) * price
        self._t, self._since, self._left = self._t + 1, self._since + 1, max(self._left - 1, 0)
        self._row[self._tenure] += process.step_months
        if churned or self._t == process.horizon:
            self.reset()
            return reward, True
        self._observe()
        return reward, False


def best_rates(contenders: dict[str, tuple[Callable[[int], Any], int]]) -> dict[str, float]:
    """Steps a second of each contender's best turn; a contender is a call that takes the turn's step number."""
    best = dict.fromkeys(contenders, 0.0)
    for _ in range(TURNS):
        for name, (step, size) in contenders.items():
            count, start = 0, time.perf_counter()
            while (elapsed := time.perf_counter() - start) < SECONDS:
                for _ in range(4):
                    step(count)
                    count += 1
            best[name] = max(best[name], count * size / elapsed)
    return best


def table_vs_live(models: Quickstart) -> float:
    """Largest difference between tabled and live predictions, asked for row by row, over whole horizons."""
    held_out = models.customers.where(models.customers.held_out)
    rows = np.random.default_rng(0).choice(len(held_out), LIVE_CUSTOMERS, replace=False)
    mask = np.zeros(len(held_out), bool)
    mask[rows] = True
    few, process, worst = held_out.where(mask), models.process, 0.0
    tables = models.tables(few)
    for i in range(len(few)):
        for t in range(process.horizon):
            x = aged(few.X[i : i + 1], few.schema, t * process.step_months)
            risk = models.risk.predict(x)
            idle, accepted, refused = models.effect.consequences(x, risk)
            live = [(idle, tables.risk[i, t])]
            for arm, name in enumerate(process.menu.ids[1:]):
                place = models.effect.menu.position[name] - 1
                live += [
                    (accepted[:, place], tables.churn_if_accepted[i, t, arm]),
                    (refused[:, place], tables.churn_if_refused[i, t, arm]),
                ]
            for recent in (0, 1):
                asked = models.accept.predict_arms(x, np.array([float(recent)]), process.menu)[0]
                live += [
                    (asked[[arm]], tables.acceptance[i, t, recent, arm]) for arm in range(process.n_arms)
                ]
            worst = max(worst, *(abs(float(a[0]) - b) for a, b in live))
    return worst


def measure() -> Sequence[Figure]:
    models = quickstart()
    rng = np.random.default_rng(0)
    ours = RetentionVectorEnv(VECTOR, models.learners(), models.process)
    ours.reset(seed=0)
    cartpole: Any = gym.make_vec("CartPole-v1", VECTOR, vectorization_mode="vector_entry_point").unwrapped
    cartpole.reset(seed=0)
    fitted = ScikitLearn.fit(models)
    naive = [NaiveEnv(models, fitted, rng) for _ in range(NAIVE)]
    arms = rng.integers(0, models.process.n_arms, (64, VECTOR))
    pushes = rng.integers(0, 2, (64, VECTOR))
    rates = best_rates(
        {
            "ours": (lambda i: ours.step(arms[i % 64]), VECTOR),
            "cartpole": (lambda i: cartpole.step(pushes[i % 64]), VECTOR),
            "naive": (
                lambda i: [env.step(int(a)) for env, a in zip(naive, arms[i % 64], strict=False)],
                NAIVE,
            ),
        }
    )
    return [
        Figure(
            "ratio_naive", rates["ours"] / rates["naive"], ">=", 8000, "aim 12,500; 8 envs, one row a call"
        ),
        Figure("ratio_cartpole", rates["ours"] / rates["cartpole"], ">=", 0.45, "aim 0.8; both n = 1,024"),
        Figure("table_vs_live_max_abs_diff", table_vs_live(models), "<=", 1e-6, "12 customers, every month"),
        Figure("steps_per_s", rates["ours"]),
        Figure("steps_per_s_cartpole", rates["cartpole"]),
        Figure("steps_per_s_naive", rates["naive"]),
        Figure("customers", ours.core.customers),
    ]


if __name__ == "__main__":
    main(__doc__, measure)

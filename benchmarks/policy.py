"""The decision policy on the quickstart's models: exact gain on held-out customers, budgets, training speed.

Every figure of value is an exact expectation over acceptance and churn, none is sampled; only the hard stop is tried on
sampled campaigns.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

from benchmarks.report import Figure, main  # first: it sets the number of threads

import numpy as np  # isort: skip
import torch
from stable_baselines3 import PPO

from benchmarks.lean_ppo import lean_steps_per_second
from benchmarks.quickstart import quickstart
from churn_assets.decision.baselines import baselines
from churn_assets.decision.budget import BudgetBound, budget_bound, price_for_budget, run_campaign
from churn_assets.decision.config import PpoDecisionConfig
from churn_assets.decision.core import RetentionCore
from churn_assets.decision.gates import Yardstick
from churn_assets.decision.optimum import Choice
from churn_assets.decision.policy import DecisionPolicy
from churn_assets.decision.ppo import ppo_model, train
from churn_assets.decision.process import RetentionProcess
from churn_assets.decision.tables import ResponseTables
from churn_assets.decision.vec_env import RetentionVecEnv

SEEDS = range(5)
BUDGETS = {"budget_share_50": (0.50, 0.95), "budget_share_25": (0.25, 0.95), "budget_share_10": (0.10, 0.90)}
"""Share of the unconstrained optimum's spend, and the share of the bound's gain that must be reached."""

SHARING = 600
"""Held-out customers who share a budget."""

CAMPAIGNS = 20
SPEED_TURNS, SPEED_STEPS = 3, 131_072
SB3_DEFAULT_ENVS, SB3_DEFAULT_STEPS = 8, 98_304
"""Six rollouts of 8 x 2,048 steps: about the time that our training takes twice."""


def budget_shares(
    policy: DecisionPolicy, yardstick: Yardstick, bounds: dict[str, BudgetBound]
) -> dict[str, float]:
    """(V - V_none) / (bound - V_none) of the one policy, steered by its price, at each budget."""
    none, shares = float(yardstick.none.mean()), {}
    for name, bound in bounds.items():
        kept = price_for_budget(policy, yardstick.observer, yardstick.tables, budget(yardstick, name))
        shares[name] = (float(kept.evaluation.value.mean()) - none) / (bound.value - none)
    return shares


def budget(yardstick: Yardstick, name: str) -> float:
    return BUDGETS[name][0] * float(yardstick.best.spend.mean())


def hard_stop_violations(policy: DecisionPolicy, yardstick: Yardstick) -> int:
    """Steps at which a campaign had spent or reserved more than its budget, told of a price or not."""
    violations = 0
    for seed in range(CAMPAIGNS):
        share, price = (0.5, 0.25, 0.1)[seed % 3], (0.0, 1.0)[seed % 2]
        run = run_campaign(
            policy,
            yardstick.observer,
            yardstick.tables,
            budget=share * float(yardstick.best.spend.sum()),
            budget_price=price,
            rng=np.random.default_rng(seed),
        )
        violations += run.violations
    return violations


def steps_per_second(
    learners: ResponseTables, process: RetentionProcess, config: PpoDecisionConfig
) -> tuple[float, float]:
    """Ours and the lean loop's, same environment and parameters; each one's best of several alternating turns."""
    ours, lean = 0.0, 0.0
    core = RetentionCore(
        learners.subset(slice(0, config.ppo.cases)),
        process,
        config.ppo.n_envs,
        np.random.default_rng(0),
        reward="expected_incremental",
    )
    for turn in range(SPEED_TURNS):
        model = ppo_model(core, config, seed=turn)
        start = time.perf_counter()
        model.learn(SPEED_STEPS)
        ours = max(ours, model.num_timesteps / (time.perf_counter() - start))
        lean = max(lean, lean_steps_per_second(core, config.ppo, SPEED_STEPS, seed=turn))
    return ours, lean


def sb3_defaults(learners: ResponseTables, process: RetentionProcess, yardstick: Yardstick) -> float:
    """Gain captured by stable-baselines3 PPO as it comes: its defaults, unmasked, on the rewards as they happen."""
    core = RetentionCore(learners, process, SB3_DEFAULT_ENVS, np.random.default_rng(0), reward="realised")
    model = PPO("MlpPolicy", RetentionVecEnv(core), device="cpu", seed=0)
    model.learn(SB3_DEFAULT_STEPS)
    found = yardstick.evaluate(as_choice(model, yardstick))
    return float(yardstick.captured(found.value) or 0.0)


def as_choice(model: PPO, yardstick: Yardstick) -> Choice:
    """What a stable-baselines3 model does at every decision; a forbidden arm is no offer."""
    process, n, pasts = yardstick.process, len(yardstick.tables), len(yardstick.process.pasts)

    def choose(t: int) -> np.ndarray:
        chosen = np.zeros((len(process.open_states), pasts, process.n_arms, n))
        for place, state in enumerate(process.open_states):
            for past in range(pasts):
                rows = yardstick.observer.observe(
                    np.arange(n),
                    np.full(n, t),
                    np.full(n, state),
                    np.full(n, past),
                    np.zeros(n, np.float32),
                )
                arms, _ = model.predict(rows, deterministic=True)
                chosen[place, past, arms, np.arange(n)] = 1
        return chosen

    return choose


def measure() -> Sequence[Figure]:
    torch.set_num_threads(1)
    models = quickstart()
    config, process = models.experiment.ppo_decision, models.process
    learners, held_out = models.learners(), models.held_out()
    yardstick = Yardstick.of(held_out, process)
    sharing = Yardstick.of(held_out.subset(slice(0, SHARING)), process)
    bounds = {name: budget_bound(sharing.tables, process, budget(sharing, name)) for name in BUDGETS}
    captured, seconds, violations = [], [], 0
    shares: dict[str, list[float]] = {name: [] for name in BUDGETS}
    for seed in SEEDS:
        start = time.perf_counter()
        policy = train(learners, process, config, seed=seed).policy
        seconds.append(time.perf_counter() - start)
        captured.append(
            yardstick.captured(yardstick.evaluate(policy.choice(yardstick.observer)).value) or 0.0
        )
        for name, share in budget_shares(policy, sharing, bounds).items():
            shares[name].append(share)
        violations += hard_stop_violations(policy, sharing)
        print(f"seed {seed}: captured {captured[-1]:.4f} in {seconds[-1]:.1f} s", end="; ")
        print(", ".join(f"{name} {values[-1]:.4f}" for name, values in shares.items()), flush=True)
    rivals = {
        name: yardstick.captured(yardstick.evaluate(choice).value) or 0.0
        for name, choice in baselines(held_out, process).items()
    }
    best = max(rivals, key=lambda name: rivals[name])
    ours, lean = steps_per_second(learners, process, config)
    attainable = float((yardstick.best.value - yardstick.none).mean())
    return [
        Figure("captured_min", min(captured), ">=", 0.997, f"was .98; {len(SEEDS)} seeds, greedy, as served"),
        Figure("captured_median", statistics.median(captured)),
        Figure("captured_best_baseline", rivals[best], note=best),
        Figure(
            "captured_sb3_defaults", sb3_defaults(learners, process, yardstick), note="8 envs, 98,304 steps"
        ),
        *(Figure(f"captured_{name.replace(' ', '_')}", value) for name, value in rivals.items()),
        *(Figure(name, min(values), ">=", BUDGETS[name][1], "worst seed") for name, values in shares.items()),
        Figure("hard_stop_violations", violations, "<=", 0, f"{CAMPAIGNS} campaigns a seed"),
        Figure("train_seconds_median", statistics.median(seconds), "<=", 15),
        Figure("steps_per_s_vs_lean_loop", ours / lean, ">=", 0.75, "aim .9"),
        Figure("steps_per_s", ours),
        Figure("held_out_customers", len(held_out), ">=", 500),
        Figure("attainable_gain", attainable, note="money a customer, optimum over no offer"),
    ]


if __name__ == "__main__":
    main(__doc__, measure)

"""The watched shop under a real daemon: tables as files, a leader that wastes money, trainings that take seconds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import yaml
from real_daemon import PROJECT, Daemon
from watched_shop import AUTOMATION, WatchedShop

from benchmarks.served import EXPERIMENT
from churn_assets.customers.table import EMBEDDED, read_customers
from churn_assets.decision.policy import DecisionPolicy
from churn_assets.offers.world import DemoWorld

SHARE, DECISIONS, TIMESTEPS = 0.3, 20_000, 65_536
"""Of customers, of past offers, of PPO: with these, a training of the decision branch keeps its gates in 14 s."""
NEVER = 1_000_000
LARGEST = "percent_30"
CODE = """from pathlib import Path

from churn_assets.definitions import Overrides, build_defs

defs = build_defs(Overrides(root=Path({root!r}), sensor_interval=2))
"""


def always_the_largest_offer(policy: DecisionPolicy) -> DecisionPolicy:
    *hidden, (weight, bias) = policy.layers
    sure = np.zeros_like(bias)
    sure[-1] = 50.0
    return replace(policy, layers=(*hidden, (np.zeros_like(weight), sure)), skip=np.zeros_like(policy.skip))


def moved_by_smaller_offers(decision: dict[str, Any]) -> float:
    """Most who get one stay: whatever chance the decisions draw, who gives them certainly earns more."""
    moved = decision["contact"] and decision["arm"]["id"] != LARGEST
    return float((1 - decision["retention_probability"]) * (0.3 if moved else 1.0))


def watch(shop: WatchedShop, webhook: str) -> Daemon:
    """The daemon, not started yet; decisions are not judged before `shop.configure` says when."""
    project, root = shop.project, shop.project.root
    shop.publish("wasteful", 1, always_the_largest_offer)
    shop.prove(shop.releases["wasteful"], None)
    project.lead(shop.releases["wasteful"])
    shop.serve(8, churn=moved_by_smaller_offers)

    path = root / "configs" / f"{EXPERIMENT}.yaml"
    content: dict[str, Any] = yaml.safe_load(path.read_text())
    content["customers"]["source"] = "customers.csv"
    content["offer_log"] |= {"source": "offers.csv"}
    content["offer_log"].pop("rows", None)
    content["ppo_decision"]["ppo"] = {"total_timesteps": TIMESTEPS}
    content["automation"] |= {
        "settle_seconds": 0.0,
        "promotion": AUTOMATION["promotion"] | {"min_decisions": 5_000, "may_lose": 0.5},
        "daily_cap": 100,
        "new_decisions": NEVER,
        "drift": {"window_decisions": NEVER},
        "live": {"window_outcomes": NEVER, "min_outcomes": NEVER},
        "alerts": {"webhook_variable": "CHURN_WEBHOOK"},
    }
    path.write_text(yaml.safe_dump(content))
    (root / "shop.py").write_text(CODE.format(root=str(root)))
    code = {"python_file": {"relative_path": "shop.py", "location_name": "shop"}}
    return Daemon(root, code, {"PYTHONPATH": str(PROJECT), "CHURN_WEBHOOK": webhook})


def drop_tables(shop: WatchedShop) -> None:
    """What the shop knows: some real customers, and offers that the demo world made them."""
    root, experiment = shop.project.root, shop.project.experiment
    everyone = pd.read_csv(EMBEDDED["telco"], dtype=str, keep_default_na=False)
    some = everyone[np.random.default_rng(0).random(len(everyone)) < SHARE]
    some.to_csv(root / "customers.csv", index=False)
    table = read_customers(experiment.customers, seed=experiment.seed, root=root)
    log = DemoWorld(table, experiment.economics).draw_log(DECISIONS, 1)
    log.frame.to_csv(root / "offers.csv", index=False)

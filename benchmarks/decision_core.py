"""What one decision costs inside the process: models, values of all offers, policy, rules, holdout and exploration.

One customer a call, each call timed alone; the median of the calls, and of several rounds the fastest: noise only adds.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.report import Figure, main
from benchmarks.served import new_project, publish_release, questions
from churn_assets.customers.table import read_customers
from churn_assets.release.deciding import load_deciding
from churn_assets.release.derived import canonical
from churn_assets.serving.core import Contact, CustomerInput, DecisionCore, Rollout

ROLLOUT = Rollout(b"a key of this benchmark", "", holdout_share=0.1, exploration_share=0.05)
CALLS, ROUNDS, BATCH = 500, 7, 1000


def known_us(core: DecisionCore, customers: Sequence[CustomerInput]) -> float:
    """Microseconds of a decision for a customer whose features are as when the release was built."""
    return _median_us(core, customers[:CALLS], known=True)


def known_with_history_us(core: DecisionCore, customers: Sequence[CustomerInput]) -> float:
    """The same for customers who were contacted before and may not be made every offer: the network is asked anew."""
    history = {"last_contact": Contact(2), "offers_used": 1, "eligible": core.menu[1:3]}
    return _median_us(core, [replace(each, **history) for each in customers[:CALLS]], known=True)


def unseen_us(core: DecisionCore, customers: Sequence[CustomerInput]) -> float:
    """Microseconds of a decision for a customer with features never seen before."""
    return _median_us(core, unseen(core, customers[:CALLS]), known=False)


def unseen(core: DecisionCore, customers: Sequence[CustomerInput]) -> list[CustomerInput]:
    """The customers with a price that nobody pays."""
    price = core.schema.monthly_revenue
    return [
        replace(each, features={**each.features, price: float(each.features[price] or 0) + 0.0137})
        for each in customers
    ]


def batch_us(core: DecisionCore, customers: Sequence[CustomerInput]) -> float:
    """Microseconds a customer in one call."""
    batch = list(customers[:BATCH])
    return min(_timed(lambda: core.decide(batch, ROLLOUT)) for _ in range(ROUNDS)) / len(batch)


def _median_us(core: DecisionCore, customers: Sequence[CustomerInput], *, known: bool) -> float:
    assert all(decision.known is known for decision in core.decide(customers))
    calls = [[customer] for customer in customers]
    return min(
        statistics.median(_timed(lambda call=call: core.decide(call, ROLLOUT)) for call in calls)
        for _ in range(ROUNDS)
    )


def _timed(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1e6


def measure() -> list[Figure]:
    """A release of the quickstart's models on all real customers; the policy is trained briefly, as its size counts."""
    with tempfile.TemporaryDirectory() as folder:
        project = new_project(Path(folder) / "project")
        experiment = project.experiment
        table = read_customers(experiment.customers, seed=experiment.seed, root=project.root)
        ref = publish_release(project, experiment, table, rows=20_000, timesteps=65_536, seed=1)
        loading = _timed(lambda: load_deciding(project.store, ref)) / 1e3
        _, derived = load_deciding(project.store, ref)
    core = DecisionCore(derived, str(ref))
    asked = [CustomerInput(each["customer_id"], each["features"]) for each in questions(table)]
    X = canonical(table.X[:BATCH])
    start = time.process_time()
    derived.compute(X, [0] * len(X))
    computing = (time.process_time() - start) * 1e6 / len(X)
    bytes_each = derived.known.outlooks.nbytes / len(derived.known.digests)
    return [
        Figure(
            "decision_core_us_known", known_us(core, asked), "<=", 30, "features unchanged since the release"
        ),
        Figure(
            "decision_core_us_known_with_history", known_with_history_us(core, asked), note="contacted before"
        ),
        Figure("decision_core_us_unseen", unseen_us(core, asked), "<=", 1500, "aim 500"),
        Figure(
            "decision_core_us_batch_known", batch_us(core, asked), note=f"a customer in a call of {BATCH}"
        ),
        Figure(
            "decision_core_us_batch_unseen", batch_us(core, unseen(core, asked)), note="the same, never seen"
        ),
        Figure("outlook_cpu_us", computing, note="models and values of one customer, tabled in bulk"),
        Figure("outlook_bytes", bytes_each, note="of a known customer in the release"),
        Figure("deciding_load_ms", loading, note="all digests verified, golden decisions made again"),
    ]


if __name__ == "__main__":
    main(__doc__, measure)

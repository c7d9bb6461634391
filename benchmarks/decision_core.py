"""What one decision costs inside the process: models, values of all offers, policy, rules, holdout and exploration.

One customer a call, each call timed alone; the median of the calls, and of several rounds the fastest: noise only adds.
Bars are multiples of what Python's `json` needs to write and read a customer, measured in the same run: a machine half
as fast needs twice the time for both.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.report import Figure, main
from benchmarks.served import fit_models, new_project, publish_release, questions
from churn_assets.customers.table import read_customers
from churn_assets.deciding.decider import CustomerInput, Decider, LastContact, Rollout
from churn_assets.deciding.release_models import canonical
from churn_assets.release.deciding import load_release

ROLLOUT = Rollout(b"a key of this benchmark", "", holdout_share=0.1, exploration_share=0.05)
CALLS, ROUNDS, BATCH = 500, 7, 1000


def known_us(decider: Decider, customers: Sequence[CustomerInput]) -> float:
    """Microseconds of a decision for a customer whose features are as when the release was built."""
    return _median_us(decider, customers[:CALLS], known=True)


def known_with_history_us(decider: Decider, customers: Sequence[CustomerInput]) -> float:
    """The same for customers who were contacted before and may not be made every offer: the network is asked anew."""
    history = {"last_contact": LastContact(2), "offers_used": 1, "eligible": decider.menu.ids[1:3]}
    return _median_us(decider, [replace(each, **history) for each in customers[:CALLS]], known=True)


def unseen_us(decider: Decider, customers: Sequence[CustomerInput]) -> float:
    """Microseconds of a decision for a customer with features never seen before."""
    return _median_us(decider, unseen(decider, customers[:CALLS]), known=False)


def unseen(decider: Decider, customers: Sequence[CustomerInput]) -> list[CustomerInput]:
    """The customers with a price that nobody pays."""
    price = decider.schema.monthly_revenue
    return [
        replace(each, features={**each.features, price: float(each.features[price] or 0) + 0.0137})
        for each in customers
    ]


def json_us(customers: Sequence[CustomerInput]) -> float:
    """Microseconds in which Python's own JSON writes and reads the features of a customer."""
    asked = [dict(each.features) for each in customers[:CALLS]]
    return min(
        statistics.median(_timed(lambda each=each: json.loads(json.dumps(each))) for each in asked)
        for _ in range(ROUNDS)
    )


def core_figures(decider: Decider, customers: Sequence[CustomerInput]) -> list[Figure]:
    """A decision against the yardstick, which is measured before and after."""
    before = json_us(customers)
    known, never_seen = known_us(decider, customers), unseen_us(decider, customers)
    yardstick = (before + json_us(customers)) / 2
    return [
        Figure("decision_core_us_known", known, note="features unchanged since the release"),
        Figure("decision_core_us_unseen", never_seen, note="features never seen"),
        Figure("json_us", yardstick, note="the features of a customer written and read as JSON"),
        Figure("decision_core_known_vs_json", known / yardstick, "<=", 4.5),
        Figure("decision_core_unseen_vs_json", never_seen / yardstick, "<=", 80, "aim 40"),
    ]


def batch_us(decider: Decider, customers: Sequence[CustomerInput]) -> float:
    """Microseconds a customer in one call."""
    batch = list(customers[:BATCH])
    return min(_timed(lambda: decider.decide(batch, ROLLOUT)) for _ in range(ROUNDS)) / len(batch)


def _median_us(decider: Decider, customers: Sequence[CustomerInput], *, known: bool) -> float:
    assert all(decision.known is known for decision in decider.decide(customers))
    calls = [[customer] for customer in customers]
    return min(
        statistics.median(_timed(lambda call=call: decider.decide(call, ROLLOUT)) for call in calls)
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
        ref = publish_release(project, fit_models(experiment, table, rows=20_000, timesteps=65_536, seed=1))
        loading = _timed(lambda: load_release(project.store, ref)) / 1e3
        _, models = load_release(project.store, ref)
    decider = Decider(models, str(ref))
    asked = [CustomerInput(each["customer_id"], each["features"]) for each in questions(table)]
    X = canonical(table.X[:BATCH])
    start = time.process_time()
    models.compute(X, [0] * len(X))
    computing = (time.process_time() - start) * 1e6 / len(X)
    bytes_each = models.known.outlooks.nbytes / len(models.known.digests)
    return [
        *core_figures(decider, asked),
        Figure(
            "decision_core_us_known_with_history",
            known_with_history_us(decider, asked),
            note="contacted before",
        ),
        Figure(
            "decision_core_us_batch_known", batch_us(decider, asked), note=f"a customer in a call of {BATCH}"
        ),
        Figure(
            "decision_core_us_batch_unseen",
            batch_us(decider, unseen(decider, asked)),
            note="the same, never seen",
        ),
        Figure("outlook_cpu_us", computing, note="models and values of one customer, tabled in bulk"),
        Figure("outlook_bytes", bytes_each, note="of a known customer in the release"),
        Figure("deciding_load_ms", loading, note="all digests verified, golden decisions made again"),
    ]


if __name__ == "__main__":
    main(__doc__, measure)

"""What the platform costs: the quickstart's decision branch through Dagster and the store, against plain calls.

Three warm measurements in one process, on a fresh project folder each: the library alone (the same stages and
checks and the release's decisions, called as functions on values in memory), the job with its store, checks, plots
and release, and the same job again with nothing changed. Beside them, the environment's tables by the models' arrays
against scikit-learn's own answers to the same rows.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import numpy as np

from benchmarks.quickstart import quickstart
from benchmarks.report import Figure, main
from benchmarks.scikit_learn import ScikitLearn
from benchmarks.stages import call_stages, project_folder
from churn_assets.deciding.messages import MessageWriter, Writing
from churn_assets.deciding.risk_only import decider_of
from churn_assets.deciding.table import decide_table
from churn_assets.definitions import Overrides, build_defs, build_project
from churn_assets.flow.registry import registry
from churn_assets.message.training.config import Sampling
from churn_assets.release.build import as_raw
from churn_assets.release.bundle import RELEASE_ASSET
from churn_assets.release.loaded import Models
from resources.stage import UNCHANGED

EXPERIMENT = "quickstart"
IN_FLOW = (*registry().members["decision"], RELEASE_ASSET)
TABLED = 1000
"""Customers whose tables are built both ways."""
ROUNDS = 2
"""Both are measured this often, in turn, and the faster time of each is used: noise only adds."""


def decision_folder() -> AbstractContextManager[Path]:
    """An empty project with the quickstart, without its message branch: minutes of training would hide the cost."""
    return project_folder(EXPERIMENT, {"release": {"branches": ["decision"]}}, registry().members["message"])


def run_job(root: Path, instance: dg.DagsterInstance) -> tuple[float, int, int]:
    """Seconds of one run of the job, how many assets it made and how many it skipped as unchanged."""
    job = build_defs(Overrides(root=root)).resolve_job_def("train_decision")
    start = time.perf_counter()
    quiet = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}
    result = job.execute_in_process(instance=instance, partition_key=EXPERIMENT, run_config=quiet)
    seconds = time.perf_counter() - start
    events = [event for event in result.all_events if event.event_type_value == "ASSET_MATERIALIZATION"]
    skipped = sum(UNCHANGED in event.materialization.metadata for event in events)
    return seconds, len(events) - skipped, skipped


def call_library(root: Path) -> float:
    """Seconds of the same stages, checks and decisions by function calls: no store, no plots, no report."""
    project = build_project(Overrides(root=root))
    start = time.perf_counter()
    values = call_stages(project, EXPERIMENT).values
    customers = values["customers"]
    writing = Writing(
        safety=project.section(EXPERIMENT, "safety"),
        profile=None,
        max_new_tokens=0,
        sampling=Sampling(),
        seed=0,
    )
    models = Models(
        schema=customers.schema,
        risk=values["risk_model"],
        accept=values["accept_model"],
        effect=values["effect_model"],
        policy=values["ppo_decision"],
        desk=MessageWriter(writing),
    )
    unseen = as_raw(customers.where(customers.held_out))
    deciding = models.deciding(customers.X)
    decider = decider_of(deciding, f"{EXPERIMENT}/release/in-memory")
    decide_table(unseen, decider, datetime.now(UTC))
    return time.perf_counter() - start


def tables_vs_scikit_learn() -> tuple[float, float]:
    """How many times faster the tables are by arrays, and the largest difference."""
    models = quickstart()
    fitted = ScikitLearn.fit(models)
    some = models.customers.where(np.arange(len(models.customers)) < TABLED)
    theirs, ours = [], []
    for _ in range(ROUNDS):
        start = time.process_time()
        expected = fitted.responses(some.X, models)
        theirs.append(time.process_time() - start)
        start = time.process_time()
        tables = models.tables(some)
        ours.append(time.process_time() - start)
    pairs = zip(tables.responses, expected, strict=True)
    return min(theirs) / min(ours), max(float(np.abs(a - b).max()) for a, b in pairs)


def measure() -> list[Figure]:
    """Warms up with the job, then measures both in turn."""
    with decision_folder() as root, dg.instance_for_test() as instance:
        run_job(root, instance)  # what is imported on the way is imported from now on
    library, job, again = [], [], []
    retrained = 0
    for _ in range(ROUNDS):
        with decision_folder() as root:
            library.append(call_library(root))
        with decision_folder() as root, dg.instance_for_test() as instance:
            seconds, made, _ = run_job(root, instance)
            job.append(seconds)
            seconds, made_again, skipped = run_job(root, instance)
            again.append(seconds)
            retrained += made_again + (len(IN_FLOW) - made) + (len(IN_FLOW) - skipped)
    faster, difference = tables_vs_scikit_learn()
    return [
        Figure("tables_vs_scikit_learn", faster, ">=", 8, "the same rows, one process, CPU time"),
        Figure("tables_max_abs_diff", difference, "<=", 1e-12),
        Figure("wall_seconds", min(job), "<=", 90, "the whole job: stages, store, checks, release"),
        Figure("library_seconds", min(library), note="stages, checks and decisions as function calls"),
        Figure("overhead_vs_library", min(job) / min(library), "<=", 1.15),
        Figure("rerun_unchanged_seconds", min(again), "<=", 10, "versions and reports verified again"),
        Figure("retrained_when_unchanged", retrained, "<=", 0, "assets made where none should be"),
    ]


if __name__ == "__main__":
    main(__doc__, measure)

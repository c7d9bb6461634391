"""A million customers decided for as `churn decide` does it: time, memory, and what is lost beside the bare models.

The models are the quickstart's, the policy made by hand; the rows are its customers, each with a price of its own, so
that none is tabled. Everything that is compared runs in this process, in CPU time; the batch itself by the wall clock
too, with a process a core. A batch is killed with SIGKILL, again and again, and must end with the bytes of a calm one;
the same of one whose customers share limits, of which none may be overrun.
"""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.report import Figure, main  # first: it sets the number of threads

import numpy as np  # isort: skip
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.quickstart import ROOT, quickstart
from benchmarks.scikit_learn import ScikitLearn
from churn_assets.batch.job import (
    DECIDED,
    PART_ROWS,
    Job,
    begin_batch,
    decide_part,
    limits_of,
    outcome,
    stage_rows,
)
from churn_assets.batch.limited import Limited
from churn_assets.batch.progress import NoProgress
from churn_assets.batch.wave import BatchWave, decide_wave
from churn_assets.batch.workers import work_parts
from churn_assets.customers.config import CustomersConfig
from churn_assets.customers.table import CustomerTableError, prepare
from churn_assets.deciding.files import load_models, save_models
from churn_assets.deciding.release_models import ReleaseModels, canonical
from churn_assets.decision.limits import BudgetsConfig
from churn_assets.decision.observation import observation_names
from churn_assets.decision.policy import DecisionPolicy
from churn_assets.decision.responses import ResponseModels
from churn_assets.store.canonical import sha256_file
from churn_assets.tables.files import DETECTED
from churn_assets.tables.problems import Problems
from churn_assets.tables.source import read_source_chunks

ROWS = int(os.environ.get("CHURN_BATCH_ROWS", "1000000"))
MANY = 4
"""Linearity: so many times the parts."""
KILLS = int(os.environ.get("CHURN_BATCH_KILLS", "20"))
NOW = datetime(2026, 11, 22, tzinfo=UTC)
RELEASE = "quickstart/release/20260101T000000Z-000000000000"


def models_of_quickstart() -> ReleaseModels:
    """What a release decides with that knows nobody; its policy takes the arm of least regret."""
    made = quickstart()
    responses = ResponseModels.of(made.risk, made.accept, made.effect, made.process)
    names = observation_names(responses.schema.names, made.process)
    arms, rng = made.process.n_arms, np.random.default_rng(1)
    layers = tuple(
        (rng.normal(0, 0.1, (out, into)).astype(np.float32), rng.normal(0, 0.1, out).astype(np.float32))
        for into, out in ((len(names), 64), (64, 64), (64, arms))
    )
    skip = np.zeros((arms, len(names)), np.float32)
    first = next(i for i, name in enumerate(names) if name.startswith("regret:"))
    skip[:, first : first + arms] = 16 * np.eye(arms)
    policy = DecisionPolicy(made.process, names, layers, skip)
    return ReleaseModels.build(responses, policy, np.empty((0, len(responses.schema.features))))


def write_customers(path: Path, rows: int) -> None:
    """Rows of the quickstart's customers, each with an id and a price of its own, a part at a time."""
    few = pd.read_csv(ROOT / "data" / "telco_customer_churn.csv").drop(columns="Churn")
    few["TotalCharges"] = pd.to_numeric(few["TotalCharges"], errors="coerce")
    writer = None
    for start in range(0, rows, PART_ROWS):
        place = np.arange(start, min(start + PART_ROWS, rows))
        some = few.iloc[place % len(few)].reset_index(drop=True)
        some["MonthlyCharges"] *= 1 + 0.05 * np.sin(place)
        some["customerID"] = [f"C{each:09d}" for each in place]
        table = pa.Table.from_pandas(some, preserve_index=False)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()


def set_down(folder: Path, path: Path, models: ReleaseModels) -> int:
    """A batch whose rows are set down; how many parts."""
    job = Job(release=RELEASE, source=path.name, content=sha256_file(path), now=NOW, responses="observed")
    begin_batch(folder, job, models)
    problems = Problems(path.name, CustomerTableError)
    return stage_rows(
        folder, lambda: read_source_chunks(str(path), Path(), problems, DETECTED, [], PART_ROWS)
    )


def timed_batch(folder: Path, path: Path, models: ReleaseModels) -> tuple[float, float]:
    """Wall-clock and CPU seconds of a whole batch, its processes among them."""
    start, before = time.perf_counter(), cpu_seconds()
    work_parts("decide", folder, set_down(folder, path, models))
    found = outcome(folder)
    if found.undecided:
        raise RuntimeError(f"{found.undecided} rows were not decided for: {found.problems}")
    return time.perf_counter() - start, cpu_seconds() - before


def cpu_seconds() -> float:
    """Of this process and of those that it waited for."""
    used = [resource.getrusage(each) for each in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def peak_mb(folder: Path, path: Path, rows: int = 0) -> float:
    """Most memory of a process that does all of it alone, the models loaded; arguments as of `work`."""
    code = (
        "import sys, resource; from pathlib import Path; from benchmarks.batch import work\n"
        "work(*map(Path, sys.argv[1:4]), int(sys.argv[4]))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
    )
    command = [sys.executable, "-c", code, *map(str, (folder, path, folder.parent / "models", rows))]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return float(done.stdout)


def ratios(folder: Path, path: Path, models: ReleaseModels) -> tuple[float, float]:
    """CPU time for the same rows: of the bare models, and of scikit-learn, over ours; the faster of two each."""
    raw = pq.read_table(path).slice(0, PART_ROWS // 4).to_pandas()
    small = folder / "small.parquet"
    raw.to_parquet(small, index=False)
    ours, bare = [], []
    for each in range(2):
        start = time.process_time()
        job = folder / f"small-{each}"
        for number in range(set_down(job, small, models)):
            decide_part(job, number)
        ours.append(time.process_time() - start)
        X = canonical(prepare(raw, models.schema).X)
        start = time.process_time()
        models.compute(X, [0] * len(X))
        bare.append(time.process_time() - start)
    made, some = quickstart(), 500
    fitted = ScikitLearn.fit(made)
    start = time.process_time()
    fitted.responses(X[:some], made)
    theirs = time.process_time() - start
    return min(bare) / min(ours), (theirs / some) / (min(ours) / len(raw))


def limited(folder: Path, path: Path, rows: int) -> BatchWave:
    """A wave of which a tenth may be contacted, for two of money a customer, a third of that for one contract."""
    limits = [
        {"name": "contacts", "most_contacts": rows // 10},
        {"name": "money", "most_cost": rows * 2.0},
        {
            "name": "monthly",
            "most_cost": rows * 0.6,
            "where": [{"column": "Contract", "one_of": ["Month-to-month"]}],
        },
    ]
    period = {"starts": f"{NOW:%Y-%m-%d}", "weeks": 1, "arrivals": 0}
    return BatchWave(
        folder=folder,
        root=Path(),
        ledger=folder.parent / f"{folder.name}.ledger",
        experiment="benchmark",
        source=str(path),
        customers=CustomersConfig.model_construct(id="customerID", reading=DETECTED),
        release=RELEASE,
        responses="observed",
        budgets=BudgetsConfig.model_validate({"period": period, "limits": limits}),
        name="benchmark",
    )


def work(folder: Path, path: Path, models: Path, rows: int) -> None:
    """All of a batch by this process alone; within limits if there are rows of them."""
    if rows:
        decide_wave(limited(folder, path, rows), load_models(models), NoProgress(), NOW, processes=1)
        return
    work_parts("decide", folder, set_down(folder, path, load_models(models)), processes=1)
    outcome(folder)


def limits_kept(folder: Path, path: Path, models: ReleaseModels) -> tuple[float, float, float, float]:
    """Of a batch within limits: CPU seconds, limits that are overrun, value over the bound, memory of one process."""
    before = cpu_seconds()
    decide_wave(limited(folder, path, ROWS), models, NoProgress(), NOW)
    cpu = cpu_seconds() - before
    bounds = limits_of(folder)
    assert bounds is not None
    granted = Limited.read(folder, bounds)
    memory = peak_mb(folder.with_name("limited-alone"), path, ROWS)
    return cpu, overrun(folder, path, models), granted.value / granted.bound, memory


def overrun(folder: Path, path: Path, models: ReleaseModels) -> float:
    """How many of the limits of `limited` the arms that were written overrun, by the rows as they came in.

    Nothing is taken from what the batch says of itself: contacts are counted, and offers cost what their terms say.
    """
    menu = models.process.menu
    raw = pq.read_table(path, columns=["MonthlyCharges", "Contract"])
    written = [pq.read_table(each, columns=["arm"]) for each in sorted((folder / DECIDED).glob("*.parquet"))]
    arm = pa.concat_tables(written).column("arm").to_pandas().map(menu.position).to_numpy(np.int64)
    price = raw.column("MonthlyCharges").to_numpy()
    cost = (menu.commitment(price) + menu.contact_cost)[np.arange(len(arm)), arm]
    cost[arm == 0] = 0.0
    monthly = raw.column("Contract").to_numpy() == "Month-to-month"
    used = np.array([(arm > 0).sum(), cost.sum(), cost[monthly].sum()])
    if not used.all():
        raise RuntimeError(f"limits: found {used} used of them, expected some of each")
    return float((used > np.array([len(arm) // 10, len(arm) * 2.0, len(arm) * 0.6]) * (1 + 1e-12)).sum())


def killed(folder: Path, path: Path, rows: int) -> int:
    """Parts that are other than a calm batch's, after a batch was killed `KILLS` times; within limits if `rows`."""
    calm, often = folder / f"calm-{rows}", folder / f"often-{rows}"
    small = folder / "killed.parquet"
    pq.write_table(pq.read_table(path).slice(0, 4 * PART_ROWS), small)
    work(calm, small, folder / "models", rows)
    code = "import sys; from pathlib import Path; from benchmarks.batch import work\n"
    code += "work(*map(Path, sys.argv[1:4]), int(sys.argv[4]))"
    command = [sys.executable, "-c", code, str(often), str(small), str(folder / "models"), str(rows)]
    rng = np.random.default_rng(0)
    for _ in range(KILLS):
        with subprocess.Popen(command, cwd=ROOT) as process:
            try:
                process.wait(float(rng.uniform(2, 8)))
            except subprocess.TimeoutExpired:
                os.kill(process.pid, signal.SIGKILL)
    work(often, small, folder / "models", rows)
    return sum(digest(calm, each) != digest(often, each) for each in range(4))


def digest(folder: Path, number: int) -> str:
    """Of a part's bytes."""
    return hashlib.sha256((folder / DECIDED / f"{number:06d}.parquet").read_bytes()).hexdigest()


def measure() -> Sequence[Figure]:
    """Everything once; the figures by the wall clock say nothing on a machine that is shared."""
    models = models_of_quickstart()
    with tempfile.TemporaryDirectory(prefix="batch-benchmark-") as name:
        folder = Path(name)
        (folder / "models").mkdir()
        save_models(models, folder / "models")
        once, more = folder / "once.parquet", folder / "more.parquet"
        write_customers(once, ROWS)
        write_customers(more, MANY * ROWS)
        seconds, cpu = timed_batch(folder / "once", once, models)
        _, cpu_more = timed_batch(folder / "more", more, models)
        bare, peer = ratios(folder, once, models)
        cpu_limited, overrun, of_bound, memory = limits_kept(folder / "limited", once, models)
        told = f"{ROWS} customers, {len(os.sched_getaffinity(0))} cores"
        return [
            Figure("seconds", seconds, "<=", 60, told),
            Figure("cpu_seconds", cpu, note=told),
            Figure("linearity", cpu_more / MANY / cpu, "<=", 1.1, f"CPU time a row, {MANY} times the rows"),
            Figure("peak_rss_mb", peak_mb(folder / "alone", once), "<=", 2048, "one process does all"),
            Figure(
                "vs_bare_models",
                bare,
                ">=",
                0.7,
                "CPU time of the models alone over ours, read and write included",
            ),
            Figure(
                "vs_scikit_learn", peer, ">=", 20, "CPU time a row of the pipelines' predict_proba over ours"
            ),
            Figure(
                "parts_unlike_after_kills",
                killed(folder, once, 0),
                "<=",
                0,
                f"{KILLS} times SIGKILL",
            ),
            Figure("limited_cpu_seconds", cpu_limited, note=f"{told}, three limits"),
            Figure("limits_overrun", overrun, "<=", 0, "of three"),
            Figure("limited_value_over_bound", of_bound, ">=", 0.995, "what is granted, over the dual bound"),
            Figure("limited_peak_rss_mb", memory, "<=", 2048, "one process does all"),
            Figure(
                "limited_parts_unlike_after_kills",
                killed(folder, once, 4 * PART_ROWS),
                "<=",
                0,
                f"{KILLS} times SIGKILL, with the limits",
            ),
        ]


if __name__ == "__main__":
    main(__doc__, measure)

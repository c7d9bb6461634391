"""The server against a trivial endpoint of the same payload sizes, interleaved; latency, batches, log and reloads.

Ratios are taken round by round, so that a machine that grows slower does so for both; the median round counts. The load
generator is a process of its own.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.report import Figure, main  # first: it sets the number of threads

import httpx  # isort: skip
import msgspec
import numpy as np

from benchmarks.decision_core import core_figures
from benchmarks.served import ROOT, Project, Server, fit_models, new_project, publish_release, questions
from benchmarks.trivial_endpoint import ANSWER_BYTES
from churn_assets.customers.table import read_customers
from churn_assets.deciding.decider import CustomerInput
from churn_assets.serving.app import utc_now
from churn_assets.serving.reload import load_served
from churn_assets.serving.run import SERVED, ServerPlan
from churn_assets.store.artifacts import ArtifactRef

ROUNDS, SECONDS, CONNECTIONS = 7, 2.0, 32
BATCH, BATCH_CONNECTIONS = 1000, 2
RELOADS = 10
BODIES = 2000


@dataclass(frozen=True)
class Target:
    """A server process and what it is asked."""

    port: int
    path: str
    bodies: Path
    pid: int

    def load(
        self, *, connections: int = CONNECTIONS, seconds: float = SECONDS, rate: float | None = None
    ) -> Load:
        """Ask it for some time."""
        before = cpu_seconds(self.pid)
        command = [
            *(
                sys.executable,
                "-m",
                "benchmarks.load_generator",
                "--port",
                str(self.port),
                "--path",
                self.path,
            ),
            *("--bodies", self.bodies, "--connections", str(connections), "--seconds", str(seconds)),
            *(() if rate is None else ("--rate", str(rate))),
        ]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        found = json.loads(done.stdout)
        if found["failed"]:
            raise RuntimeError(f"{self.path}: {found['failed']} failed requests")
        return Load(found, (cpu_seconds(self.pid) - before) / found["answers"])


@dataclass(frozen=True)
class Load:
    """What the load generator measured, and what an answer cost the server in CPU seconds."""

    measured: dict[str, Any]
    cpu_an_answer: float

    @property
    def rate(self) -> float:
        return float(self.measured["answers_per_s"])


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure() -> Sequence[Figure]:
    with tempfile.TemporaryDirectory(prefix="serving-benchmark-") as name, ExitStack() as stack:
        folder = Path(name)
        project = new_project(folder / "project")
        # Limits are no part of what is compared, and reloads should not wait for the poll.
        project.configure(poll_seconds=0.1, limits={"requests_per_second": 1e6, "burst": 1_000_000})
        first, second, customers = releases(project)
        project.lead(first)
        bodies = write_bodies(folder, customers)
        server = stack.enter_context(Server(project).start())
        assert server.process is not None
        pid = server.process.pid
        sizes = answer_sizes(server, customers)
        port = stack.enter_context(
            uvicorn("benchmarks.trivial_endpoint:app", {ANSWER_BYTES: str(sizes - 70)})
        )
        bare = stack.enter_context(
            uvicorn("benchmarks.without_log:worker", {SERVED: plan(project)}, "--factory")
        )
        known = Target(server.port, "/v1/decisions", bodies["known"], pid)
        unseen = Target(server.port, "/v1/decisions", bodies["unseen"], pid)
        trivial = Target(port[0], "/trivial", bodies["known"], port[1])
        without = Target(bare[0], "/v1/decisions", bodies["known"], bare[1])
        figures = compared(known, unseen, trivial, without)
        peak = next(figure.value for figure in figures if figure.key == "requests_per_s_known") or 1.0
        half = known.load(seconds=8, rate=peak / 2).measured
        batch = Target(server.port, "/v1/decisions", bodies["batch"], pid)
        batches = [batch.load(connections=BATCH_CONNECTIONS, seconds=4).rate for _ in range(3)]
        pauses, calm = reload_pause(project, known, peak / 4, first, second)
        decider = load_served(project.store, first, 1.0, utc_now()).decider
        asked = [CustomerInput(each["customer_id"], each["features"]) for each in customers]
        return [
            *figures,
            *core_figures(decider, asked),
            Figure(
                "p99_ms_1_customer",
                half["p99_ms"],
                note=f"at {peak / 2:.0f} requests/s; median {half['p50_ms']:.1f}",
            ),
            Figure("customers_per_s_batch_1000", BATCH * statistics.median(batches)),
            Figure(
                "reload_pause_vs_calm",
                statistics.median(pauses) / statistics.median(calm),
                "<=",
                3,
                "medians of the slowest answer of a second, with and without a reload",
            ),
            Figure(
                "reload_pause_vs_calm_max",
                max(pauses) / max(calm),
                "<=",
                2,
                f"slowest answer within a second of {2 * RELOADS} reloads, and of as many without",
            ),
            Figure("reload_pause_ms_max", max(pauses)),
            Figure("calm_pause_ms_max", max(calm), note="the same of as many seconds without a reload"),
            Figure("reload_pause_ms_median", statistics.median(pauses), note="slowest answer a reload"),
            Figure("calm_pause_ms_median", statistics.median(calm), note="slowest answer a calm second"),
            Figure("answer_bytes", sizes, note="of a known customer, the trivial endpoint's too"),
        ]


def compared(known: Target, unseen: Target, trivial: Target, without: Target) -> list[Figure]:
    """Rounds of all four, one after the other, after one that does not count."""
    targets = {"known": known, "trivial": trivial, "unseen": unseen, "without": without}
    rounds = [{name: target.load() for name, target in targets.items()} for _ in range(ROUNDS + 1)][1:]

    def median(of: Callable[[dict[str, Load]], float]) -> float:
        return statistics.median(of(each) for each in rounds)

    return [
        Figure(
            "decision_vs_trivial_known",
            median(lambda r: r["known"].rate / r["trivial"].rate),
            ">=",
            0.75,
        ),
        Figure(
            "decision_vs_trivial_unseen",
            median(lambda r: r["unseen"].rate / r["trivial"].rate),
            ">=",
            0.3,
            "aim .5",
        ),
        Figure("decision_log_overhead", median(lambda r: r["without"].rate / r["known"].rate), "<=", 1.25),
        Figure(
            "requests_per_s_known",
            median(lambda r: r["known"].rate),
            note=f"{CONNECTIONS} connections, one worker",
        ),
        Figure("requests_per_s_trivial", median(lambda r: r["trivial"].rate)),
        *(
            Figure(
                f"cpu_us_{name}", median(lambda r, name=name: 1e6 * r[name].cpu_an_answer), note="an answer"
            )  # type: ignore[misc]
            for name in targets
        ),
    ]


def reload_pause(
    project: Project, known: Target, rate: float, first: ArtifactRef, second: ArtifactRef
) -> tuple[list[float], list[float]]:
    """Slowest answer, in ms, of the second after each reload, and of as many calm seconds between, at a steady load."""
    command = [
        *(sys.executable, "-m", "benchmarks.load_generator", "--port", str(known.port), "--path", known.path),
        *("--bodies", known.bodies, "--seconds", str(4 * RELOADS + 3), "--rate", str(rate)),
    ]
    generator = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    time.sleep(2.0)
    reloads, calm = [], []
    for turn in range(RELOADS):
        for ref, action in ((second, "promote"), (first, "rollback" if turn else "promote")):
            calm.append(time.time())
            time.sleep(1.0)
            reloads.append(time.time())
            project.lead(ref, action)
            time.sleep(reloads[-1] + 1.0 - time.time())
    found = json.loads(generator.communicate()[0])
    if found["failed"]:
        raise RuntimeError(f"reloads: {found['failed']} failed requests")
    slowest = {int(tenth): ms for tenth, ms in found["slowest_ms_by_tenth"].items()}

    def within(moment: float) -> float:
        tenths = range(int(moment * 10), int(moment * 10) + 10)
        return max(slowest.get(tenth, 0.0) for tenth in tenths)

    return [within(moment) for moment in reloads], [within(moment) for moment in calm]


def releases(project: Project) -> tuple[ArtifactRef, ArtifactRef, list[dict[str, Any]]]:
    """Two releases on the whole table, and the customers that both know."""
    experiment = project.experiment
    table = read_customers(experiment.customers, seed=experiment.seed, root=ROOT)
    first, second = (
        publish_release(
            project,
            fit_models(experiment, table, rows=experiment.offer_log.rows, timesteps=131_072, seed=seed),
        )
        for seed in (1, 2)
    )
    return first, second, questions(table)


def write_bodies(folder: Path, customers: list[dict[str, Any]]) -> dict[str, Path]:
    """Questions about customers as the release knows them, with a bill nobody ever had, and a thousand at once."""
    rng = np.random.default_rng(0)
    few = [customers[i] for i in rng.permutation(len(customers))[:BODIES]]
    bills = rng.uniform(18.0, 119.0, BODIES)
    unseen = [
        c | {"features": c["features"] | {"MonthlyCharges": bill}} for c, bill in zip(few, bills, strict=True)
    ]
    batches = [[customers[i] for i in rng.permutation(len(customers))[:BATCH]] for _ in range(8)]
    lines = {
        "known": [{"customers": [customer]} for customer in few],
        "unseen": [{"customers": [customer]} for customer in unseen],
        "batch": [{"customers": batch} for batch in batches],
    }
    for name, asked in lines.items():
        (folder / name).write_text("\n".join(json.dumps(each) for each in asked))
    return {name: folder / name for name in lines}


def answer_sizes(server: Server, customers: list[dict[str, Any]]) -> int:
    """Bytes of a usual answer about one known customer."""
    with server.client() as client:
        return int(
            statistics.median(
                len(client.post("/v1/decisions", json={"customers": [customer]}).content)
                for customer in customers[:200]
            )
        )


def plan(project: Project) -> str:
    """As `churn serve` tells its workers, with a log folder of its own."""
    config = project.experiment.serving
    apart = config.decision_log.model_copy(update={"folder": ".churn/no_log"})
    made = ServerPlan(
        root=str(project.root),
        experiment=project.experiment.name,
        config=config.model_copy(update={"decision_log": apart}).model_dump_json(),
        store=".churn/store",
        channel=project.channel.name,
        host="127.0.0.1",
        port=0,
        workers=1,
    )
    return msgspec.json.encode(made).decode()


@contextmanager
def uvicorn(app: str, environment: dict[str, str], *options: str) -> Iterator[tuple[int, int]]:
    """Port and process id of a server of its own, run as `churn serve` runs one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        *(
            sys.executable,
            "-m",
            "uvicorn",
            app,
            "--port",
            str(port),
            "--no-access-log",
            "--log-level",
            "warning",
        ),
        *("--loop", "uvloop", "--http", "httptools", "--ws", "none", *options),
    ]
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | environment)
    try:
        for _ in range(600):
            try:
                httpx.get(f"http://127.0.0.1:{port}/openapi.json", timeout=5)
                break
            except httpx.TransportError:
                time.sleep(0.1)
        yield port, process.pid
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


if __name__ == "__main__":
    main(__doc__, measure)

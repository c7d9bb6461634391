"""Dagster's own daemon and code server on a scratch instance with the watched flow, to be killed at any moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import yaml
from watched_flow import ROOT, configure

HERE = Path(__file__).parent
PROJECT = HERE.parents[1]
PATIENCE = 120  # seconds that a loaded machine may take


class Daemon:
    """A scratch DAGSTER_HOME, and the processes that work on it."""

    def __init__(self, root: Path) -> None:
        self.root, self.home = root, root / "home"
        self.home.mkdir()
        settings = {
            "telemetry": {"enabled": False},
            "concurrency": {"runs": {"max_concurrent_runs": 1}},
            "run_monitoring": {"enabled": True, "start_timeout_seconds": 60, "poll_interval_seconds": 1},
        }
        (self.home / "dagster.yaml").write_text(yaml.safe_dump(settings))
        module = {"module_name": "watched_flow", "working_directory": str(HERE), "location_name": "watched"}
        (root / "workspace.yaml").write_text(yaml.safe_dump({"load_from": [{"python_module": module}]}))
        configure(root)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        path = os.pathsep.join([str(HERE), str(PROJECT)])
        return os.environ | {"DAGSTER_HOME": str(self.home), ROOT: str(self.root), "PYTHONPATH": path}

    def start_sensors(self, *names: str) -> None:
        for name in names:
            command = [self._program("dagster"), "sensor", "start", name, "-w", self.root / "workspace.yaml"]
            subprocess.run(command, env=self.environment, check=True, capture_output=True, cwd=self.root)

    def start(self) -> None:
        log = (self.root / "daemon.log").open("ab")
        command = [self._program("dagster-daemon"), "run", "-w", self.root / "workspace.yaml"]
        self.process = subprocess.Popen(
            command, env=self.environment, cwd=self.root, stdout=log, stderr=log, start_new_session=True
        )

    def kill(self) -> None:
        """The daemon, its code server and the runs, all at once, without a word."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    @property
    def instance(self) -> dg.DagsterInstance:
        return dg.DagsterInstance.from_config(str(self.home))

    def runs(self, job: str = "train") -> list[dg.DagsterRun]:
        """Oldest first."""
        with self.instance as instance:
            return list(reversed(instance.get_runs(dg.RunsFilter(job_name=job))))

    def until(self, what: Callable[[], object], seconds: float = PATIENCE) -> float:
        """Wait; returns how long it took."""
        began = time.monotonic()
        while not what():
            if time.monotonic() - began > seconds:
                raise TimeoutError((self.root / "daemon.log").read_text()[-4000:])
            time.sleep(0.1)
        return time.monotonic() - began

    def succeeded(self, count: int, job: str = "train") -> Callable[[], bool]:
        return lambda: sum(run.status == dg.DagsterRunStatus.SUCCESS for run in self.runs(job)) == count

    @staticmethod
    def _program(name: str) -> Path:
        return Path(sys.executable).with_name(name)

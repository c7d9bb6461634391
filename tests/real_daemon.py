"""Dagster's own daemon and code server on a scratch instance, to be watched and killed at any moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import yaml

PROJECT = Path(__file__).parents[1]
PATIENCE = 600  # seconds that a loaded machine may take; nothing waits that long unless it has failed


class Daemon:
    """A scratch DAGSTER_HOME, and the processes that work on it.

    Args:
        root: The project's folder.
        code: What the code server loads: an entry of `load_from` in a workspace.yaml.
        environment: Variables of the daemon, its code server and its runs.
    """

    def __init__(self, root: Path, code: Mapping[str, Any], environment: Mapping[str, str]) -> None:
        self.root, self.home = root, root / "home"
        self.home.mkdir()
        settings = {
            "telemetry": {"enabled": False},
            "concurrency": {"runs": {"max_concurrent_runs": 1}},
            "run_monitoring": {"enabled": True, "start_timeout_seconds": 60, "poll_interval_seconds": 1},
        }
        (self.home / "dagster.yaml").write_text(yaml.safe_dump(settings))
        (root / "workspace.yaml").write_text(yaml.safe_dump({"load_from": [dict(code)]}))
        self.environment = os.environ | {"DAGSTER_HOME": str(self.home)} | dict(environment)
        self.process: subprocess.Popen[bytes] | None = None

    def start_sensors(self, *names: str) -> None:
        """Those, or all: a command takes seconds each time it loads the code."""
        for which in names or ("--start-all",):
            command = [self._program("dagster"), "sensor", "start", which, "-w", self.root / "workspace.yaml"]
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

    def runs(self, experiment: str, trigger: str | None = None, job: str = "train") -> list[dg.DagsterRun]:
        """Of an experiment, oldest first; those that one sensor asked for, or all."""
        asked = {} if trigger is None else {"churn/trigger": trigger}
        found: dict[str, dg.RunRecord] = {}
        with self.instance as instance:
            for name in ("dagster/partition", "churn/experiment"):
                wanted = dg.RunsFilter(job_name=job, tags={name: experiment} | asked)
                found |= {each.dagster_run.run_id: each for each in instance.get_run_records(wanted)}
        return [each.dagster_run for each in sorted(found.values(), key=lambda each: each.storage_id)]

    def steps(self, run: dg.DagsterRun) -> set[str]:
        """The assets that a run made or checked."""
        with self.instance as instance:
            return {each.step_key.removesuffix("_checks") for each in instance.get_run_step_stats(run.run_id)}

    def said(self, sensor: str) -> list[str]:
        """What each tick of a sensor said, the run it asked for or its reason not to, oldest first."""
        with self.instance as instance:
            (state,) = [each for each in instance.all_instigator_state() if each.instigator_name == sensor]
            ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id)
        return [each.skip_reason or ", ".join(each.run_ids) for each in reversed(ticks)]

    def until(self, what: Callable[[], object], seconds: float = PATIENCE) -> None:
        """Wait."""
        began = time.monotonic()
        while not what():
            if time.monotonic() - began > seconds:
                raise TimeoutError((self.root / "daemon.log").read_text()[-4000:])
            time.sleep(0.1)

    def succeeded(
        self, count: int, experiment: str, trigger: str | None = None, job: str = "train"
    ) -> Callable[[], bool]:
        return lambda: (
            sum(run.status == dg.DagsterRunStatus.SUCCESS for run in self.runs(experiment, trigger, job))
            == count
        )

    @staticmethod
    def _program(name: str) -> Path:
        return Path(sys.executable).with_name(name)

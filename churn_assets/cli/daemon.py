"""Dagster's daemon over a scratch project, and what its sensors make of what comes in. Decides nothing itself."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from churn_assets.cli.screen import note

if TYPE_CHECKING:
    from churn_assets.simulation.loop import Learned
    from churn_assets.simulation.project import Scratch

_INTERVAL = 5
"""Seconds between two ticks of a sensor: a wave is a quarter, and nobody wants to wait for it."""
_STARTS_SECONDS = 180.0
_LEARNS_SECONDS = 1800.0
_PROMOTIONS = "promotions"
# What the daemon serves: the project's own definitions, with sensors that tick more often.
_DEFINITIONS = f"""from churn_assets.definitions import Overrides, build_defs

defs = build_defs(Overrides(sensor_interval={_INTERVAL}))
"""
_WORKSPACE = "load_from:\n  - python_file:\n      relative_path: simulated.py\n      location_name: churn\n"


@dataclass
class Daemon:
    """Dagster's daemon over a scratch project, with its sensors started; what it says is in `daemon.log` there.

    Attributes:
        scratch: The project.
        repository: Where `dagster.yaml` is copied from.
    """

    scratch: Scratch
    repository: Path
    _process: subprocess.Popen[bytes] | None = None
    _seen: set[str] = field(default_factory=set)
    _led: Any = None

    def __enter__(self) -> Daemon:
        root = self.scratch.root
        shutil.copy(self.repository / "dagster.yaml", root)
        (root / "simulated.py").write_text(_DEFINITIONS, encoding="utf-8")
        (root / "workspace.yaml").write_text(_WORKSPACE, encoding="utf-8")
        self._dagster("dagster", "sensor", "start", "--start-all", "-w", "workspace.yaml")
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(_beside("dagster-daemon")), "run", "-w", "workspace.yaml"],
                cwd=root,
                env=self._environment(),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self

    def __exit__(self, *_: object) -> None:
        process = self._process
        if process is not None and process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def learn(self, wave: int) -> Learned:
        """Wait for what the sensors make of all that has come: a training, and what the promotion policy says of it."""
        from churn_assets.simulation.loop import Learned  # loads the world, which the definitions must not

        before = self._led
        with self._instance() as instance:
            run = self._wait(
                lambda: self._new_training(instance), _LEARNS_SECONDS, f"a training after wave {wave}"
            )
            note(f"wave {wave}: run {run.run_id[:8]} ({run.tags.get('churn/reason', 'started by hand')})")
            ended = self._wait(
                lambda: self._ended(instance, run.run_id), _LEARNS_SECONDS, f"the end of run {run.run_id[:8]}"
            )
            self._seen.add(run.run_id)
            if ended.status != dg.DagsterRunStatus.SUCCESS:
                return Learned(str(self.scratch.leader), promoted=False, reason=_failed(instance, run.run_id))
            said = self._wait(
                lambda: self._judged(instance, before, ended),
                _LEARNS_SECONDS,
                "what the promotion policy says",
            )
        self._led = self.scratch.leader
        return Learned(str(self._led), promoted=self._led != before, reason=said)

    def _new_training(self, instance: dg.DagsterInstance) -> dg.DagsterRun | None:
        """One that was asked for when all outcomes of a wave had come: an earlier one learned from a part of them."""
        whole = self.scratch.outcomes.stat().st_mtime
        asked = dg.RunsFilter(job_name="train", tags={"churn/experiment": self.scratch.name})
        records = [
            record
            for record in instance.get_run_records(asked)
            if record.create_timestamp.timestamp() >= whole and record.dagster_run.run_id not in self._seen
        ]
        return records[-1].dagster_run if records else None

    def _ended(self, instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRun | None:
        run = instance.get_run_by_id(run_id)
        return run if run is not None and run.is_finished else None

    def _judged(self, instance: dg.DagsterInstance, before: Any, run: dg.DagsterRun) -> str | None:
        """What the promotion sensor has said about the newest release since that run ended; None: nothing yet."""
        newest, leader = self.scratch.store.versions(self.scratch.name, "release")[-1], self.scratch.leader
        if newest == leader:
            head = self.scratch.channel.head()
            return "nothing new was made" if head is None or leader == before else head.reason
        (record,) = instance.get_run_records(dg.RunsFilter(run_ids=[run.run_id]))
        since = record.end_time or 0.0
        for tick in (tick for tick in _ticks(instance, _PROMOTIONS) if tick.timestamp > since):
            for line in (tick.skip_reason or "").splitlines():
                if newest.version in line and "would not promote" in line:
                    return line.partition(f"{newest.version}: ")[2]
        return None

    def _wait(self, found: Callable[[], Any], seconds: float, what: str) -> Any:
        deadline = time.monotonic() + seconds
        while True:
            value = found()
            if value is not None:
                return value
            if self._process is None or self._process.poll() is not None:
                raise RuntimeError(f"the daemon ended; {self._log} says why")
            if time.monotonic() > deadline:
                raise RuntimeError(f"waited {seconds:g} s for {what}; see {self._log}")
            time.sleep(1)

    def _instance(self) -> dg.DagsterInstance:
        # dagster.yaml's paths start at the working directory: from here on that is the project.
        os.chdir(self.scratch.root)
        return dg.DagsterInstance.from_config(str(self.scratch.root))

    def _dagster(self, *command: str) -> None:
        done = subprocess.run(
            [str(_beside(command[0])), *command[1:]],
            cwd=self.scratch.root,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=_STARTS_SECONDS,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr[-2000:]}")

    def _environment(self) -> dict[str, str]:
        root = str(self.scratch.root)
        return os.environ | {"DAGSTER_HOME": root, "CHURN_ROOT": root}

    @property
    def _log(self) -> Path:
        return self.scratch.root / "daemon.log"


def _beside(command: str) -> Path:
    return Path(sys.executable).with_name(command)


def _ticks(instance: dg.DagsterInstance, sensor: str) -> list[Any]:
    for state in instance.all_instigator_state():
        if state.instigator_name == sensor:
            return list(instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=20))
    return []


def _failed(instance: dg.DagsterInstance, run_id: str) -> str:
    """Which checks failed, or which step."""
    records = instance.all_logs(run_id)
    events = [record.dagster_event for record in records if record.dagster_event is not None]
    checks = [
        f"{each.asset_key.to_user_string()}: {each.check_name}: {each.description}"
        for event in events
        if event.event_type_value == "ASSET_CHECK_EVALUATION"
        for each in [event.asset_check_evaluation_data]
        if not each.passed
    ]
    steps = [f"step {event.step_key} failed" for event in events if event.event_type_value == "STEP_FAILURE"]
    return "; ".join(checks or steps) or "the run failed"

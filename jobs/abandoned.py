"""Runs whose process died without a word, so that they would be in progress, and hold the queue, for ever.

Dagster's default launcher starts runs as children of the code server. The server notices a child that is killed; when
both go down at once, nobody does, and Dagster's monitoring has no way to ask. Sensors are evaluated in that server, on
the machine of its runs, so they can.
"""

import json
import logging
import os
from pathlib import Path

import dagster as dg
from dagster import DagsterEventType

# The server that launched a run, by the address of its socket: only such a run is on this machine for certain.
_LAUNCHED_BY = ".dagster/grpc_info"
_PROCESSES = Path("/proc")
# Seconds of slack for what the kernel rounds.
_SLACK = 2.0


def fail_abandoned(instance: dg.DagsterInstance, log: logging.Logger) -> list[str]:
    """Report every run as failed whose process is gone; nothing where the kernel does not tell.

    Returns:
        Ids of the runs.
    """
    if not _PROCESSES.is_dir():
        return []
    found = []
    going_on = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING])
    for run in instance.get_runs(going_on):
        worker = _worker(instance, run)
        if worker is None or _alive(*worker):
            continue
        now = instance.get_run_by_id(run.run_id)  # its last word comes before its end
        if now is not None and not now.is_finished:
            message = f"Process {worker[0]} of this run is gone: the machine or the code server was stopped."
            instance.report_run_failed(now, message)
            log.error(f"run {run.run_id}: {message}")
            found.append(run.run_id)
    return found


def _worker(instance: dg.DagsterInstance, run: dg.DagsterRun) -> tuple[int, float] | None:
    """Process of a run that a code server of this machine launched, and a time at which it lived."""
    if "socket" not in json.loads(run.tags.get(_LAUNCHED_BY, "{}")):
        return None
    for entry in reversed(instance.all_logs(run.run_id, of_type=DagsterEventType.ENGINE_EVENT)):
        event = entry.dagster_event
        if event is not None and "pid" in event.engine_event_data.metadata:
            return int(str(event.engine_event_data.metadata["pid"].value)), entry.timestamp
    return None


def _alive(pid: int, at: float) -> bool:
    """Whether the process that had this id then has it still: another that got the id began later."""
    try:
        fields = (_PROCESSES / str(pid) / "stat").read_text().rpartition(")")[2].split()
        booted = next(
            float(line.split()[1])
            for line in (_PROCESSES / "stat").read_text().splitlines()
            if line.startswith("btime")
        )
    except (FileNotFoundError, ProcessLookupError):
        return False
    state, began = fields[0], booted + int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return state not in ("Z", "X") and began <= at + _SLACK

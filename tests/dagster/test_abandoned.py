"""A run whose process is gone is failed; one that lives, or of which nothing is known, is left alone."""

import json
import logging
import os
import subprocess
import sys

import dagster as dg
import pytest
from dagster._core.events import EngineEventData

from jobs.abandoned import fail_abandoned

LOG = logging.getLogger("abandoned")
HERE = {".dagster/grpc_info": json.dumps({"host": "localhost", "socket": "/tmp/s"})}
STARTED = dg.DagsterRunStatus.STARTED


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@dg.job
def nothing():
    pass


def run_of(instance, pid, tags=HERE):
    run = instance.create_run_for_job(nothing, tags=tags, status=STARTED)
    if pid is not None:
        told = EngineEventData({"pid": dg.MetadataValue.text(str(pid))})
        instance.report_engine_event("Started process for run.", run, told)
    return run.run_id


def gone():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_run_whose_process_is_gone_has_failed(instance):
    run = run_of(instance, gone())
    assert fail_abandoned(instance, LOG) == [run]
    assert instance.get_run_by_id(run).status == dg.DagsterRunStatus.FAILURE
    assert fail_abandoned(instance, LOG) == []


def test_a_run_whose_process_lives_goes_on(instance):
    run_of(instance, os.getpid())
    assert fail_abandoned(instance, LOG) == []


def test_a_process_that_got_the_id_later_is_another(instance, monkeypatch):
    run = run_of(instance, os.getpid())
    monkeypatch.setattr("jobs.abandoned._SLACK", -3600.0)  # as if it had begun an hour after the run
    assert fail_abandoned(instance, LOG) == [run]


def test_a_process_that_ended_and_that_nobody_asked_after_is_gone(instance):
    process = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    run = run_of(instance, process.pid)
    assert fail_abandoned(instance, LOG) == [run]
    process.wait()


@pytest.mark.parametrize("tags", [{}, {".dagster/grpc_info": '{"host": "elsewhere", "port": 4000}'}])
def test_a_run_that_may_be_on_another_machine_is_left_alone(instance, tags):
    run_of(instance, gone(), tags)
    assert fail_abandoned(instance, LOG) == []


def test_a_run_that_said_nothing_of_its_process_is_left_alone(instance):
    run_of(instance, None)
    assert fail_abandoned(instance, LOG) == []

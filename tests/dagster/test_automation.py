"""The loop for real: Dagster's daemon, its code server and its run workers on files that change, killed at any time."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
from real_daemon import PROJECT, Daemon
from watched_flow import MEMBERS, ROOT, build, configure
from webhook import webhook_server

from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.channels import Channel
from churn_assets.store.local import LocalBackend
from churn_assets.store.manifest import minting_time

HERE = Path(__file__).parent
OFF = {"enabled": False}
EXPERIMENTS = ("dropped", "aged", "checked", "failing")


def daemon_over(root: Path, **environment: str) -> Daemon:
    module = {"module_name": "watched_flow", "working_directory": str(HERE), "location_name": "watched"}
    path = os.pathsep.join([str(HERE), str(HERE.parent), str(PROJECT)])
    return Daemon(root, {"python_module": module}, {ROOT: str(root), "PYTHONPATH": path} | environment)


@pytest.fixture(scope="module")
def webhook():
    with webhook_server() as server:
        yield server


@pytest.fixture(scope="module")
def daemon(tmp_path_factory, webhook):
    """One daemon with every sensor; each test is about an experiment of its own."""
    root = tmp_path_factory.mktemp("watched")
    for name in EXPERIMENTS:
        configure(root, name, automation=OFF)
    made = daemon_over(root, CHURN_WEBHOOK=webhook.url)
    made.start_sensors()
    made.start()
    yield made
    made.kill()


def train_by_hand(daemon: Daemon, name: str) -> bool:
    job = build(daemon.root)[1].resolve_job_def("train")
    with daemon.instance as instance:
        return job.execute_in_process(instance=instance, partition_key=name, raise_on_error=False).success


def test_a_dropped_file_starts_the_right_run_within_two_intervals_and_only_what_it_touches_runs(daemon):
    configure(daemon.root, "dropped")
    daemon.until(daemon.succeeded(1, "dropped"))
    ticks = len(daemon.said("new_inputs"))
    (daemon.root / "dropped_offers.csv").write_text("7\n")
    daemon.until(daemon.succeeded(2, "dropped"))
    configure(daemon.root, "dropped", automation=OFF)
    run = daemon.runs("dropped")[-1]
    assert daemon.steps(run) == {"offer_log", "accept_model", "release"}
    assert run.tags["churn/reason"].startswith("dropped_offers.csv changed since run ")
    asked = next(number for number, said in enumerate(daemon.said("new_inputs")) if run.run_id in said)
    assert asked - ticks < 2, "an interval is what lies between two ticks, however busy the machine is"


def test_a_model_that_has_grown_too_old_is_made_again_with_what_follows(daemon):
    assert train_by_hand(daemon, "aged")
    store = ArtifactStore(LocalBackend(daemon.root / "store"))
    age = datetime.now(UTC) - minting_time(store.versions("aged", "accept_model")[-1].version)
    configure(
        daemon.root, "aged", automation={"max_age_days": {"accept_model": age.total_seconds() / 86_400}}
    )
    daemon.until(lambda: daemon.runs("aged", "freshness"))
    configure(daemon.root, "aged", automation=OFF)
    daemon.until(daemon.succeeded(1, "aged", "freshness"))
    (run,) = daemon.runs("aged", "freshness")
    assert daemon.steps(run) == {"accept_model", "release"}
    assert run.tags["churn/reason"].startswith("accept_model is ")


def test_what_failed_its_check_is_judged_again_once_somebody_mended_it(daemon):
    configure(daemon.root, "checked")
    # Else its files would still be new to that sensor, which would ask first.
    daemon.until(daemon.succeeded(1, "checked", "new_inputs"))
    configure(daemon.root, "checked", automation=OFF, risk_model={"smallest": 100.0})
    assert not train_by_hand(daemon, "checked")
    configure(daemon.root, "checked")
    daemon.until(daemon.succeeded(1, "checked", "failed_checks"))
    configure(daemon.root, "checked", automation=OFF)
    (run,) = daemon.runs("checked", "failed_checks")
    assert daemon.steps(run) == {"risk_model", "release"}
    assert "check is_large: mean is 3, needed >= 100" in run.tags["churn/reason"]


def test_people_are_told_of_a_run_that_failed_once(daemon, webhook):
    (daemon.root / "failing_customers.csv").write_text("five\n")
    configure(
        daemon.root,
        "failing",
        automation=OFF | {"alerts": {"webhook_variable": "CHURN_WEBHOOK", "page": "http://dagster:3000"}},
    )
    assert not train_by_hand(daemon, "failing")
    daemon.until(lambda: webhook.texts)
    ticks = len(daemon.said("alerts"))
    daemon.until(lambda: len(daemon.said("alerts")) >= ticks + 2)
    (text,) = webhook.texts
    (run,) = daemon.runs("failing")
    assert text.startswith("failing: train failed\n")
    assert text.endswith(f"http://dagster:3000/runs/{run.run_id}")


@pytest.fixture
def killed(tmp_path):
    """A daemon that may be killed."""
    configure(tmp_path)
    made = daemon_over(tmp_path)
    yield made
    made.kill()


def test_killed_between_detection_run_publishing_and_promotion_it_loses_and_doubles_nothing(killed):
    automation = {"attempts": 10, "promotion": {"mode": "auto"}}
    configure(killed.root, automation=automation, risk_model={"seconds": 3.0})
    store = ArtifactStore(LocalBackend(killed.root / "store"))
    killed.start_sensors("new_inputs", "promotions")

    def in_progress(job):
        return any(not run.is_finished for run in killed.runs("toy", job=job))

    for reached in (
        lambda: in_progress("train"),
        lambda: in_progress("train") and store.versions("toy", "customers"),
        lambda: in_progress("promote"),
    ):
        killed.start()
        killed.until(reached)
        killed.kill()
    killed.start()
    killed.until(lambda: Channel(store, "toy").head() is not None and not in_progress("promote"))
    killed.until(killed.succeeded(1, "toy"))
    killed.kill()
    assert [record.actor for record in Channel(store, "toy").history()] == ["automation"]
    for asset in (*MEMBERS, "release"):
        assert len(store.versions("toy", asset)) == 1, "what a killed run published is what the next one uses"
    keys = [
        run.tags["dagster/run_key"] for job in ("train", "promote") for run in killed.runs("toy", job=job)
    ]
    assert len(keys) == len(set(keys))
    ended = {run.status for run in killed.runs("toy")[:-1]}
    assert ended <= {dg.DagsterRunStatus.FAILURE}, "one training succeeded, after those that were killed"

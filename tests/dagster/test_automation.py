"""The loop for real: Dagster's daemon, its code server and its run workers on files that change, killed at any time."""

import dagster as dg
import pytest
from real_daemon import Daemon
from watched_flow import MEMBERS, configure

from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.channels import Channel
from churn_assets.store.local import LocalBackend


@pytest.fixture
def daemon(tmp_path):
    made = Daemon(tmp_path)
    yield made
    made.kill()


def test_a_dropped_file_starts_the_right_run_within_two_intervals_and_only_what_it_touches_runs(daemon):
    daemon.start_sensors("new_inputs")
    daemon.start()
    daemon.until(daemon.succeeded(1))
    (daemon.root / "toy_offers.csv").write_text("7\n")
    waited = daemon.until(lambda: len(daemon.runs()) == 2)
    daemon.until(daemon.succeeded(2))
    run = daemon.runs()[-1]
    with daemon.instance as instance:
        steps = {stats.step_key for stats in instance.get_run_step_stats(run.run_id)}
    assert {step.removesuffix("_checks") for step in steps} == {"offer_log", "accept_model", "release"}
    assert run.tags["churn/reason"].startswith("toy_offers.csv changed since run ")
    assert waited < 2 * 5, "the interval is 2 seconds here; the daemon looks every 5"


def test_killed_between_detection_run_publishing_and_promotion_it_loses_and_doubles_nothing(daemon):
    automation = {"attempts": 10, "promotion": {"mode": "auto"}}
    configure(daemon.root, automation=automation, risk_model={"seconds": 3.0})
    store = ArtifactStore(LocalBackend(daemon.root / "store"))
    daemon.start_sensors("new_inputs", "promotions")

    def in_progress(job):
        return any(not run.is_finished for run in daemon.runs(job))

    for reached in (
        lambda: in_progress("train"),
        lambda: in_progress("train") and store.versions("toy", "customers"),
        lambda: in_progress("promote"),
    ):
        daemon.start()
        daemon.until(reached)
        daemon.kill()
    daemon.start()
    daemon.until(lambda: Channel(store, "toy").head() is not None and not in_progress("promote"))
    daemon.until(daemon.succeeded(1))
    daemon.kill()
    assert [record.actor for record in Channel(store, "toy").history()] == ["automation"]
    for asset in (*MEMBERS, "release"):
        assert len(store.versions("toy", asset)) == 1, "what a killed run published is what the next one uses"
    keys = [run.tags["dagster/run_key"] for job in ("train", "promote") for run in daemon.runs(job)]
    assert len(keys) == len(set(keys))
    ended = {run.status for run in daemon.runs("train")[:-1]}
    assert ended <= {dg.DagsterRunStatus.FAILURE}, "one training succeeded, after those that were killed"

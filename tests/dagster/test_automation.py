"""The loop for real: Dagster's daemon, its code server and its run workers on files that change, killed at any time."""

import pytest
from real_daemon import Daemon


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

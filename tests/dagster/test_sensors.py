"""Each sensor as a state machine on a real instance: what it asks for, when, why not, and that it forgets nothing."""

import dagster as dg
import pytest
from watched_flow import build

from churn_assets.definitions import build_defs

FAILURE, SUCCESS = dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_SUCCESS


def assets(request):
    return {key.to_user_string() for key in request.asset_selection}


@pytest.fixture
def trained(loop):
    """The loop after its first training."""
    (request,) = loop.asked("new_inputs")
    assert loop.run(request).success
    return loop


def test_every_sensor_is_off_until_somebody_starts_it_and_says_what_it_does():
    for sensor in build_defs().get_repository_def().sensor_defs:
        assert sensor.default_status == dg.DefaultSensorStatus.STOPPED
        assert sensor.description
        assert sensor.minimum_interval_seconds == 30


def test_the_first_tick_asks_for_everything_once(loop):
    (request,) = loop.asked("new_inputs")
    assert assets(request) == {"customers", "offer_log", "risk_model", "accept_model", "release"}
    assert request.partition_key == "toy"
    assert request.tags["churn/trigger"] == "new_inputs"
    assert "toy_customers.csv is new" in request.tags["churn/reason"]
    assert loop.run(request).success
    assert "nothing to do" in loop.said("new_inputs")


def test_a_changed_file_makes_only_what_is_made_from_it(trained):
    trained.write("offer_log", "5\n")
    (request,) = trained.asked("new_inputs")
    assert assets(request) == {"offer_log", "accept_model", "release"}
    assert trained.run(request).success
    assert {
        asset: trained.versions(asset) for asset in ("customers", "offer_log", "risk_model", "release")
    } == {
        "customers": 1,
        "offer_log": 2,
        "risk_model": 1,
        "release": 2,
    }
    assert "nothing to do" in trained.said("new_inputs")


def test_the_checks_of_what_is_made_run_too(trained):
    trained.write("customers", "5\n")
    (request,) = trained.asked("new_inputs")
    checked = {each.check_name for each in trained.run(request).get_asset_check_evaluations()}
    assert checked == {"loads_and_agrees", "is_large"}


def test_a_change_during_a_training_waits_and_is_asked_for_after_it(trained):
    trained.write("offer_log", "5\n")
    (first,) = trained.asked("new_inputs")
    run = trained.started(first)
    assert "is at it" in trained.said("new_inputs")
    trained.write("offer_log", "6\n")
    assert "trains this experiment" in trained.said("new_inputs")
    trained.end(run, SUCCESS)
    (second,) = trained.asked("new_inputs")
    assert second.run_key != first.run_key


def test_a_file_that_goes_back_is_trained_with_again(trained):
    first = (trained.root / "toy_offers.csv").read_text()
    for text in ("5\n", first, "5\n"):
        trained.write("offer_log", text)
        (request,) = trained.asked("new_inputs")
        assert trained.run(request).success
        assert "nothing to do" in trained.said("new_inputs")


def test_what_failed_is_not_used_and_is_asked_for_again_under_another_key(trained):
    trained.write("offer_log", "five\n")
    keys = set()
    for attempt in ("1", "2", "3"):
        (request,) = trained.asked("new_inputs")
        assert request.tags["churn/attempt"] == attempt
        keys.add(request.run_key)
        assert not trained.run(request).success
    assert len(keys) == 3
    assert "a person is needed" in trained.said("new_inputs")
    trained.write("offer_log", "5\n")
    (mended,) = trained.asked("new_inputs")
    assert trained.run(mended).success


def test_a_broken_file_that_was_given_up_is_not_taken_as_used_by_a_run_of_another(trained):
    trained.write("offer_log", "five\n")
    for _ in range(3):
        trained.run(trained.asked("new_inputs")[0])
    trained.write("customers", "9\n")
    (request,) = trained.asked("new_inputs")
    assert "offer_log" in assets(request), "it is made from customers"
    assert not trained.run(request).success
    (again,) = trained.asked("new_inputs")
    assert (again.tags["churn/attempt"], again.tags["churn/evidence"]) == (
        "2",
        request.tags["churn/evidence"],
    )


def test_a_run_that_a_person_stopped_is_left_alone(trained):
    trained.write("offer_log", "5\n")
    run = trained.started(trained.asked("new_inputs")[0])
    trained.end(run, dg.DagsterEventType.RUN_CANCELED)
    assert "stopped by a person" in trained.said("new_inputs")


def test_a_lost_cursor_loses_and_doubles_nothing(trained):
    trained.cursors.clear()
    assert "nothing to do" in trained.said("new_inputs")
    trained.write("offer_log", "5\n")
    run = trained.started(trained.asked("new_inputs")[0])
    trained.cursors.clear()
    assert "is at it" in trained.said("new_inputs")
    trained.end(run, SUCCESS)
    trained.cursors.clear()
    assert "nothing to do" in trained.said("new_inputs")


def test_a_training_by_hand_makes_the_sensor_wait(trained):
    trained.write("offer_log", "5\n")
    job = trained.defs.resolve_job_def("train")
    by_hand = trained.instance.create_run_for_job(
        job, tags={"dagster/partition": "toy"}, status=dg.DagsterRunStatus.STARTED
    )
    assert "trains this experiment" in trained.said("new_inputs")
    trained.end(by_hand.run_id, SUCCESS)
    assert trained.asked("new_inputs")


def test_the_kill_switch_stops_one_experiment(trained):
    trained.write("offer_log", "5\n")
    trained.configure(automation={"enabled": False})
    assert trained.said("new_inputs") == "toy: automation.enabled is false"
    trained.configure()
    assert trained.asked("new_inputs")


def test_a_broken_experiment_is_told_by_name_and_the_others_go_on(loop):
    loop.configure("other")
    loop.project, loop.defs = build(loop.root)
    (loop.root / "configs" / "other.yaml").write_text("[]")
    (request,) = loop.asked("new_inputs")
    assert request.partition_key == "toy"
    loop.started(request)
    assert "other: cannot be looked at: ExperimentError: other.yaml: no sections" in loop.said("new_inputs")

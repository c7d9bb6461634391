"""Each sensor as a state machine on a real instance: what it asks for, when, why not, and that it forgets nothing."""

import errno
import os
import re
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
import yaml
from watched_flow import build
from webhook import webhook_server

from churn_assets.definitions import build_defs
from churn_assets.monitoring.config import AutomationConfig
from churn_assets.store.channels import Channel

FAILURE, SUCCESS = dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_SUCCESS


def assets(request):
    return {key.to_user_string() for key in request.asset_selection}


@pytest.fixture
def trained(loop):
    """The loop after its first training."""
    (request,) = loop.asked("new_inputs")
    assert loop.run(request).success
    return loop


@pytest.fixture
def webhook(monkeypatch):
    with webhook_server() as server:
        monkeypatch.setenv("CHURN_WEBHOOK", server.url)
        yield server


ALERTS = {"alerts": {"webhook_variable": "CHURN_WEBHOOK", "page": "http://dagster:3000"}}


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
    assert checked == {"loads_and_agrees", "is_large", "not_worse"}


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


def by_hand(loop):
    job = loop.defs.resolve_job_def("train")
    return job.execute_in_process(instance=loop.instance, partition_key="toy", raise_on_error=False)


def test_a_check_that_failed_in_a_training_by_hand_is_tried_again_with_what_follows(loop):
    loop.configure(risk_model={"smallest": 100.0})
    assert not by_hand(loop).success
    (request,) = loop.asked("failed_checks")
    assert assets(request) == {"risk_model", "release"}
    assert "check is_large: mean is 3, needed >= 100" in request.tags["churn/reason"]
    assert not loop.run(request).success
    loop.configure()
    (again,) = loop.asked("failed_checks")
    assert loop.run(again).success, "somebody mended the threshold"
    assert "nothing to do" in loop.said("failed_checks")


def test_a_check_that_failed_in_an_automatic_training_is_left_to_what_asked_for_it(loop):
    loop.configure(risk_model={"smallest": 100.0})
    assert not loop.run(loop.asked("new_inputs")[0]).success
    assert "nothing to do" in loop.said("failed_checks")


def test_what_a_check_refused_is_not_tried_again_until_data_or_the_experiment_change(loop, webhook):
    loop.configure(risk_model={"smallest": 100.0}, automation=ALERTS)
    assert not loop.run(loop.asked("new_inputs")[0]).success
    assert "failed a check, as it would again" in loop.said("new_inputs")
    loop.tick("alerts")
    loop.tick("alerts")
    told = [text for text in webhook.texts if "train failed" in text]
    assert len(told) == 1
    assert "A check or a rule refused it, as it would again" in told[0]
    loop.write("customers", "500\n")
    (other_data,) = loop.asked("new_inputs")
    assert other_data.tags["churn/attempt"] == "1"
    loop.write("customers", "1\n2\n6\n")
    loop.configure(risk_model={"smallest": 1.0}, automation=ALERTS)
    (mended,) = loop.asked("new_inputs")
    assert mended.tags["churn/attempt"] == "2"
    assert loop.run(mended).success


def test_a_new_experiment_stops_no_other_and_is_told_until_the_definitions_are_loaded_again(loop, webhook):
    loop.configure(automation=ALERTS)
    loop.configure("other")
    (loop.root / "configs" / "._toy.yaml").write_bytes(b"\x00\x05\x16\x07")
    (loop.root / "configs" / "utf16.yaml").write_bytes("channel: a".encode("utf-16"))
    (request,) = loop.asked("new_inputs")
    assert request.partition_key == "toy"
    loop.started(request)
    assert "other: its file is newer than the definitions: reload them" in loop.said("new_inputs")
    for _ in range(2):
        loop.tick("alerts")
    assert [text.splitlines()[0] for text in webhook.texts] == ["utf16: cannot be looked at"]
    loop.project, loop.defs = build(loop.root)
    assert {request.partition_key for request in loop.asked("new_inputs")} == {"other"}


def test_an_experiment_whose_file_is_gone_is_told_once_and_looked_at_again_when_it_is_back(trained):
    trained.tick("alerts")
    configs = trained.root / "configs"
    configs.rename(trained.root / "away")
    assert "toy: cannot be looked at" in trained.said("alerts")
    assert trained.said("alerts") == "there is no experiment"
    # Nobody says any more where people are told: that is the log's.
    (trained.root / "away").rename(configs)
    assert "cannot be looked at" not in trained.said("alerts")


def test_a_folder_of_experiments_that_cannot_be_listed_is_no_empty_one(trained, monkeypatch):
    trained.tick("new_inputs")
    scandir = os.scandir

    def refused(path):
        if str(path).endswith("configs"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    assert (
        trained.said("new_inputs").splitlines()[0].startswith("new experiments are not seen: PermissionError")
    )
    trained.cursors.clear()
    with pytest.raises(PermissionError):
        trained.said("new_inputs")


def test_what_is_wrong_with_a_store_is_told_once_and_the_other_alerts_go_on(trained, webhook):
    trained.configure(automation=ALERTS | {"max_age_days": {"customers": 1e-6}})
    store = trained.root / "store"
    (store / ".DS_Store").write_bytes(b"?")
    trained.tick("alerts")
    version = trained.project.store("toy").versions("toy", "risk_model")[-1]
    (store / version.prefix / "value.json").unlink()
    for _ in range(2):
        trained.cursors["alerts"] = re.sub(r'"wait": [0-9.e-]+', '"wait": 0.0', trained.cursors["alerts"])
        trained.tick("alerts")
    told = [text.splitlines()[:2] for text in webhook.texts if "store" in text.splitlines()[0]]
    assert told[0] == ["toy: 1 foreign files in the store", ".DS_Store"]
    assert told[1][0] == "toy: the store is not as it was written, or cannot be read"
    assert "value.json" in told[1][1]
    assert len(told) == 2
    assert any("customers is 0.0 days old" in text for text in webhook.texts)


def test_a_store_that_cannot_be_read_is_told(trained, webhook):
    trained.configure(automation=ALERTS)
    record = trained.root / "store" / "channels" / "toy" / "000000000001.json"
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text("broken")
    trained.tick("alerts")
    assert "toy: cannot be looked at" in {text.splitlines()[0] for text in webhook.texts}


def test_checks_of_an_automatic_training_that_a_person_stopped_are_left_alone(loop):
    loop.configure(risk_model={"smallest": 100.0})
    run = loop.run(loop.asked("new_inputs")[0])
    loop.end(run.run_id, dg.DagsterEventType.RUN_CANCELED)
    assert "nothing to do" in loop.said("failed_checks")


def test_a_run_that_was_lost_before_it_began_does_not_hold_checks_up(trained, monkeypatch):
    job = trained.defs.resolve_job_def("train")
    trained.instance.create_run_for_job(
        job, tags={"dagster/partition": "toy"}, status=dg.DagsterRunStatus.NOT_STARTED
    )
    assert "waits for the training in progress" in trained.said("failed_checks")
    monkeypatch.setattr("jobs.scene._LOST_AFTER", timedelta(0))
    assert "nothing to do" in trained.said("failed_checks")


def test_checks_are_not_judged_while_a_training_runs(trained):
    job = trained.defs.resolve_job_def("train")
    trained.instance.create_run_for_job(
        job, tags={"dagster/partition": "toy"}, status=dg.DagsterRunStatus.STARTED
    )
    assert "waits for the training in progress" in trained.said("failed_checks")


def test_a_version_that_is_too_old_is_asked_for_once(trained):
    trained.configure(automation={"max_age_days": {"accept_model": 1e-6}})
    (request,) = trained.asked("freshness")
    assert assets(request) == {"accept_model", "release"}
    assert "accept_model is 0.0 days old" in request.tags["churn/reason"]
    trained.configure(automation={"max_age_days": {"accept_model": 1000.0}})
    assert "nothing to do" in trained.said("freshness")


AUTO = {"promotion": {"mode": "auto", "min_gap_hours": 0.0}}


def head(loop):
    return Channel(loop.project.store("toy"), "toy").head()


def act(loop, request):
    """What the daemon does with a request for a job without partitions."""
    return loop.defs.resolve_job_def(request.job_name).execute_in_process(
        instance=loop.instance,
        run_config=request.run_config,
        tags=dict(request.tags) | {"dagster/run_key": request.run_key},
        raise_on_error=False,
    )


def test_by_hand_the_first_release_waits_and_the_tick_says_what_would_happen(trained):
    said = trained.said("promotions")
    assert "would promote" in said
    assert "and waits for a person: all 11 gates of 5 artifacts hold" in said
    assert head(trained) is None


def test_automatically_the_first_release_leads_when_its_gates_hold_and_once(trained):
    trained.configure(automation=AUTO)
    (request,) = trained.asked("promotions")
    (again,) = trained.asked("promotions")
    assert again.run_key == request.run_key, "Dagster starts one run a key"
    assert act(trained, request).success
    record = head(trained)
    assert (record.seq, record.actor, record.action) == (1, "automation", "promote")
    assert "leads" in trained.said("promotions")


def test_a_promotion_that_was_killed_is_asked_for_again_and_one_that_was_asked_twice_happens_once(trained):
    trained.configure(automation=AUTO)
    (request,) = trained.asked("promotions")
    job = trained.defs.resolve_job_def("promote")
    killed = trained.instance.create_run_for_job(
        job, run_config=request.run_config, tags=request.tags, status=dg.DagsterRunStatus.STARTED
    )
    assert "is at it" in trained.said("promotions")
    trained.end(killed.run_id, FAILURE)
    (second,) = trained.asked("promotions")
    assert second.run_key != request.run_key
    assert act(trained, second).success
    assert not act(trained, request).success, "the channel has moved"
    assert head(trained).seq == 1


def test_a_promotion_that_somebody_overtook_is_refused(trained):
    trained.configure(automation=AUTO)
    (request,) = trained.asked("promotions")
    config = {"experiment": "toy", "actor": "ann", "reason": "I was quicker"}
    by_ann = trained.defs.resolve_job_def("promote").execute_in_process(
        instance=trained.instance, run_config={"ops": {"promote_release": {"config": config}}}
    )
    assert by_ann.success
    assert not act(trained, request).success
    assert [record.actor for record in Channel(trained.project.store("toy"), "toy").history()] == ["ann"]


def test_a_release_without_its_gates_is_not_promoted(trained):
    trained.configure(automation=AUTO)
    version = trained.project.store("toy").versions("toy", "risk_model")[-1]
    for path in (trained.root / "store" / version.gates_prefix / "is_large").glob("*.json"):
        path.unlink()
    assert "would not promote" in trained.said("promotions")
    assert "is_large never ran" in trained.said("promotions")


def test_a_failed_run_is_told_once_with_a_link_and_what_to_do(loop, webhook):
    loop.write("customers", "five\n")
    loop.configure(automation=ALERTS)
    failed = loop.run(loop.asked("new_inputs")[0])
    assert "told: toy: train failed, attempt 1 of 3" in loop.said("alerts")
    (text,) = webhook.texts
    assert f"http://dagster:3000/runs/{failed.run_id}" in text
    assert "toy_customers.csv is new" in text
    assert "tried again by itself" in text
    loop.cursors.clear()
    assert "nothing to do" in loop.said("alerts")
    assert len(webhook.texts) == 1


def test_an_alert_that_nobody_got_is_sent_at_the_next_tick(loop, webhook):
    loop.write("customers", "five\n")
    loop.configure(automation=ALERTS | {"enabled": False})
    by_hand(loop)
    webhook.status = 500
    assert "nobody was told of run" in loop.said("alerts")
    webhook.status = 200
    assert "told: toy: train failed" in loop.said("alerts")
    assert "churn run toy" in webhook.texts[-1]


def test_an_automatic_promotion_is_told(trained, webhook):
    trained.configure(automation=AUTO | ALERTS)
    assert act(trained, trained.asked("promotions")[0]).success
    assert f"told: toy: automation did: promote of {head(trained).release}" in trained.said("alerts")
    assert "all 11 gates of 5 artifacts hold" in webhook.texts[0]


class LaterDays(datetime):
    """The clock of sensors, some days ahead."""

    ahead = timedelta(0)

    @classmethod
    def now(cls, tz=None):
        return datetime.now(tz) + cls.ahead


def test_what_is_too_old_is_told_once_and_again_when_its_age_has_doubled(trained, webhook, monkeypatch):
    monkeypatch.setattr("jobs.scene.datetime", LaterDays)
    trained.configure(automation=ALERTS | {"max_age_days": {"customers": 35}, "enabled": False})
    for days, told in ((34, 0), (36, 1), (69, 1), (71, 2), (72, 2)):
        monkeypatch.setattr(LaterDays, "ahead", timedelta(days=days))
        trained.tick("alerts")
        assert len(webhook.texts) == told
    assert webhook.texts[0].startswith("toy: customers is 36.0 days old, at most 35 are wanted\n")
    assert "Bring newer data; then churn run toy." in webhook.texts[0]
    assert webhook.texts[0].endswith("http://dagster:3000/assets/customers")


def test_a_candidate_that_waits_for_a_person_is_told_once_and_the_next_one_too(trained, webhook):
    trained.configure(automation=ALERTS)
    first = trained.project.store("toy").versions("toy", "release")[-1]
    for _ in range(2):
        trained.tick("alerts")
    (text,) = webhook.texts
    assert text.startswith(
        f"toy: release {first.version} waits for a person\nAll 11 gates of 5 artifacts hold;"
    )
    assert f"churn promote {first.version} -e toy" in text
    assert text.endswith("http://dagster:3000/assets/release")
    config = {"experiment": "toy", "actor": "ann", "reason": "told"}
    promoted = trained.defs.resolve_job_def("promote").execute_in_process(
        instance=trained.instance, run_config={"ops": {"promote_release": {"config": config}}}
    )
    assert promoted.success
    assert "waits for a person" not in trained.said("alerts")
    trained.write("offer_log", "5\n")
    assert trained.run(trained.asked("new_inputs")[0]).success
    trained.tick("alerts")
    assert [text.split()[2] for text in webhook.texts if "waits for a person" in text] == [
        each.version for each in trained.project.store("toy").versions("toy", "release")
    ]


def test_a_candidate_that_may_not_lead_waits_for_nobody(trained, webhook):
    trained.configure(automation=ALERTS)
    version = trained.project.store("toy").versions("toy", "risk_model")[-1]
    for path in (trained.root / "store" / version.gates_prefix / "is_large").glob("*.json"):
        path.unlink()
    assert trained.said("alerts") == "toy: nothing to do"
    assert webhook.texts == []


def test_the_page_tells_of_every_sensor_and_its_example_is_an_automation_section():
    page = (Path(__file__).parents[2] / "docs" / "automation.md").read_text()
    told = re.findall(r"^## ([a-z_]+)$", page, re.MULTILINE)
    assert sorted(told) == sorted(sensor.name for sensor in build_defs().get_repository_def().sensor_defs)
    (example,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert AutomationConfig.model_validate(yaml.safe_load(example)["automation"]).enabled


def test_two_triggers_at_once_make_one_training_at_a_time(trained):
    trained.write("offer_log", "5\n")
    trained.configure(automation={"max_age_days": {"risk_model": 1e-6}})
    (first,) = trained.asked("new_inputs")
    run = trained.started(first)
    assert "waits, run" in trained.said("freshness")
    trained.end(run, SUCCESS)
    (second,) = trained.asked("freshness")
    assert assets(second) == {"risk_model", "release"}


def test_a_candidate_that_was_compared_with_another_champion_is_judged_again(trained):
    trained.configure(automation=AUTO)
    first = trained.project.store("toy").versions("toy", "release")[0]
    trained.write("customers", "9\n")
    assert trained.run(trained.asked("new_inputs")[0]).success
    config = {"experiment": "toy", "actor": "ann", "reason": "this one first", "release": first.version}
    job = trained.defs.resolve_job_def("promote")
    assert job.execute_in_process(
        instance=trained.instance, run_config={"ops": {"promote_release": {"config": config}}}
    ).success
    assert "compared with nothing" in trained.said("promotions")
    (request,) = trained.asked("failed_checks")
    assert assets(request) == {"risk_model", "release"}
    assert trained.run(request).success
    assert trained.versions("risk_model") == 2, "judged again, not trained again"
    assert "nothing to do" in trained.said("failed_checks")
    trained.configure(automation={"promotion": {"mode": "auto", "min_gap_hours": 24.0}})
    assert "min_gap_hours" in trained.said("promotions"), "the next rule"

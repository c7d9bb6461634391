"""Dagster's state in PostgreSQL, as documented: runs, sensors, and nothing lost when the database is killed."""

import shutil
import threading
from pathlib import Path

import dagster as dg
import pytest
from postgresql_server import ADMIN, PostgresServer
from test_sensors import (  # the sensors' own tests, on this instance
    test_a_changed_file_makes_only_what_is_made_from_it,
    test_the_first_tick_asks_for_everything_once,
)
from test_sensors import trained as trained
from watched_flow import Loop, build, configure

DOCUMENTED = Path(__file__).parents[2] / "docs" / "production" / "dagster-postgresql.yaml"
__all__ = [
    "test_a_changed_file_makes_only_what_is_made_from_it",
    "test_the_first_tick_asks_for_everything_once",
]


@pytest.fixture(scope="module")
def database():
    """A server of its own, as it is killed."""
    server = PostgresServer()
    server.make()
    server.start()
    yield server
    server.close()


@pytest.fixture
def instance(database, tmp_path, bucket, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(DOCUMENTED, home / "dagster.yaml")
    database.run("drop schema if exists public cascade", "create schema public")
    place = database.location().removeprefix("postgresql://")
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", f"postgresql+psycopg2://{ADMIN}:{database.password}@{place}")
    monkeypatch.setenv("DAGSTER_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("DAGSTER_LOGS_BUCKET", bucket)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "churn")
    with dg.DagsterInstance.from_config(str(home)) as loaded:
        yield loaded


@pytest.fixture
def loop(tmp_path, instance):
    """The watched flow of the sensors' tests, on this instance."""
    configure(tmp_path)
    project, defs = build(tmp_path)
    return Loop(tmp_path, instance, project, defs, {})


def kill_while(toy, asset, server, then):
    """Kills the database in the middle of the body of an asset."""

    class Bodies(list):
        def append(self, name):
            super().append(name)
            if name == asset and self.count(asset) == 1:
                server.kill()
                then()

    toy.calls.bodies = Bodies()


def materialized(instance, asset):
    return instance.fetch_materializations(dg.AssetKey(asset), limit=10).records


def test_a_database_that_is_killed_in_the_middle_of_a_step_and_comes_back_loses_nothing(
    toy, instance, database
):
    toy.instance = instance
    kill_while(toy, "risk_model", database, then=database.start)
    result = toy.run()
    assert result.success
    assert instance.get_run_by_id(result.run_id).status == dg.DagsterRunStatus.SUCCESS
    for asset in ("customers", "risk_model"):
        (record,) = materialized(instance, asset)
        assert record.run_id == result.run_id
    told = {
        event.event_type_value
        for event in (e.dagster_event for e in instance.all_logs(result.run_id))
        if event
    }
    assert {"PIPELINE_START", "STEP_START", "ASSET_CHECK_EVALUATION", "PIPELINE_SUCCESS"} <= told


def test_a_database_that_stays_away_fails_the_run_and_loses_nothing_of_before(toy, instance, database):
    toy.instance = instance
    kill_while(toy, "risk_model", database, then=lambda: None)
    failed = threading.Thread(target=lambda: ran.append(attempted(toy)))
    ran = []
    failed.start()
    failed.join(300)
    (error,) = ran
    assert "too many retries" in error
    database.start()
    (before,) = materialized(instance, "customers")
    (run,) = instance.get_runs()
    instance.report_run_failed(run)  # as Dagster's monitoring does with a run that is gone
    result = toy.run()
    assert result.success
    assert toy.calls.bodies == ["customers", "risk_model", "risk_model"]  # what was made is not made again
    assert [each.run_id for each in materialized(instance, "customers")] == [result.run_id, before.run_id]


def attempted(toy):
    try:
        toy.run()
    except Exception as error:  # noqa: BLE001 - whatever it is, its text is looked at
        return str(error)
    return "it succeeded"

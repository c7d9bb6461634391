"""The documented production dagster.yaml loads with the pinned dagster-gcp, and keeps what steps print in a bucket."""

import shutil
import sys
from pathlib import Path

import dagster as dg
import pytest
import requests
import yaml
from dagster_gcp.gcs import GCSComputeLogManager

DOCUMENTED = Path(__file__).parents[2] / "docs" / "production" / "dagster.yaml"


@pytest.fixture
def instance(bucket, tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(DOCUMENTED, home / "dagster.yaml")
    monkeypatch.setenv("DAGSTER_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("DAGSTER_LOGS_BUCKET", bucket)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "churn")
    with dg.DagsterInstance.from_config(str(home)) as loaded:
        yield loaded


def test_it_loads_and_sends_nothing_anywhere(instance):
    assert isinstance(instance.compute_log_manager, GCSComputeLogManager)
    assert instance.run_monitoring_enabled
    assert not instance.telemetry_enabled


def test_what_a_step_prints_is_kept_in_the_bucket(instance, bucket, gcs_server):
    @dg.op
    def speak():
        sys.stdout.write("figures of a training\n")

    @dg.job
    def talk():
        speak()

    result = talk.execute_in_process(instance=instance)
    assert result.success
    url = f"{gcs_server.url}/storage/v1/b/{bucket}/o"
    names = [item["name"] for item in requests.get(url, timeout=10).json()["items"]]
    (printed,) = [name for name in names if name.endswith(".out")]
    assert printed.startswith(f"dagster/storage/{result.run_id}/")
    found = requests.get(f"{url}/{printed.replace('/', '%2F')}", params={"alt": "media"}, timeout=10)
    assert "figures of a training" in found.text


def test_it_differs_from_the_projects_own_only_in_where_things_are():
    own, documented = (
        yaml.safe_load(path.read_text()) for path in (DOCUMENTED.parents[2] / "dagster.yaml", DOCUMENTED)
    )
    places = ("storage", "local_artifact_storage", "compute_logs")
    assert {key: own[key] for key in own if key not in places} == {
        key: documented[key] for key in documented if key not in places
    }
    assert set(own) == set(documented)

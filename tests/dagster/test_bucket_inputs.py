"""Tables of a bucket: read by the real assets, watched by the real sensor, named in errors."""

from __future__ import annotations

import dagster as dg
import pytest
import yaml
from watched_flow import Loop

from churn_assets.customers.table import EMBEDDED, read_customers
from churn_assets.definitions import Overrides, build_defs, build_project
from churn_assets.experiment import load_experiment
from churn_assets.offers.world import DemoWorld
from churn_assets.release.bundle import MEMBERS

ROWS = 400
NAME = "quickstart"


@pytest.fixture
def place(bucket, gcs_server):
    """Uploads a file of the experiment, or another in its place; its address."""

    def upload(name, data):
        gcs_server.upload(bucket, f"in/{name}", data)
        return f"gs://{bucket}/in/{name}"

    return upload


@pytest.fixture
def offers():
    """An offer log as CSV: the first rows of one that was written for the embedded customers."""
    experiment = load_experiment(NAME, EMBEDDED["telco"].parents[1] / "configs")
    table = read_customers(experiment.customers, seed=experiment.seed, root=EMBEDDED["telco"].parents[1])
    frame = DemoWorld(table, experiment.economics).draw_log(ROWS, 1).frame
    return lambda rows: frame.head(rows).to_csv(index=False).encode()


@pytest.fixture
def loop(tmp_path, place, offers):
    """The real flow in a project whose tables lie in a bucket."""
    root = EMBEDDED["telco"].parents[1]
    content = yaml.safe_load((root / "configs" / f"{NAME}.yaml").read_text())
    content = {key: section for key, section in content.items() if key not in MEMBERS["message"]}
    content["release"] = {"branches": ["decision"]}
    content["customers"]["source"] = place("customers.csv", EMBEDDED["telco"].read_bytes())
    content["offer_log"] = {"source": place("offers.csv", offers(ROWS - 1)), "gates": {"min_rows": 100}}
    content["automation"] = {"enabled": True, "cooldown_hours": 0.0}
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / f"{NAME}.yaml").write_text(yaml.safe_dump(content))
    overrides = Overrides(root=tmp_path)
    project = build_project(overrides)
    with dg.DagsterInstance.ephemeral() as instance:
        yield Loop(tmp_path, instance, project, build_defs(overrides, project), {})


def read(loop):
    """What a run does with the two tables."""
    loop.wait_for_another_second()
    return loop.defs.resolve_job_def("train").execute_in_process(
        instance=loop.instance,
        partition_key=NAME,
        asset_selection=[dg.AssetKey("customers"), dg.AssetKey("offer_log")],
        raise_on_error=False,
    )


def answered(loop, request):
    loop.end(loop.started(request), dg.DagsterEventType.RUN_SUCCESS)


def assets(request):
    return {key.to_user_string() for key in request.asset_selection}


def test_tables_of_a_bucket_are_read_and_each_new_content_asks_for_what_reads_it(loop, place, offers):
    (request,) = loop.asked("new_inputs")
    assert {"customers", "offer_log", "release"} <= assets(request)
    assert read(loop).success
    answered(loop, request)
    versions = {name: loop.versions(name, NAME) for name in ("customers", "offer_log")}
    assert versions == {"customers": 1, "offer_log": 1}

    place("offers.csv", offers(ROWS - 1))
    assert "nothing to do" in loop.said("new_inputs"), "another generation of the same bytes"

    source = place("offers.csv", offers(ROWS))
    (request,) = loop.asked("new_inputs")
    assert assets(request) == {"offer_log", "accept_model", "effect_model", "ppo_decision", "release"}
    assert f"{source} changed since run" in request.tags["churn/reason"]
    assert read(loop).success
    answered(loop, request)
    assert (loop.versions("customers", NAME), loop.versions("offer_log", NAME)) == (1, 2)
    table = loop.project.value(loop.project.store(NAME).versions(NAME, "offer_log")[-1])
    assert len(table) == ROWS
    assert "nothing to do" in loop.said("new_inputs")


def test_what_is_wrong_with_an_object_is_said_of_its_address(loop, place):
    source = place("offers.csv", b"customer,offer\n1,2\n")
    failed = read(loop)
    assert not failed.success
    (failure,) = [event for event in failed.all_events if event.is_step_failure]
    assert f"{source}: " in failure.step_failure_data.error.to_string()


def test_an_object_that_is_not_there_is_told(loop, bucket, gcs_server):
    path = loop.root / "configs" / f"{NAME}.yaml"
    path.write_text(path.read_text().replace("customers.csv", "gone.csv"))
    answered(loop, loop.asked("new_inputs")[0])
    assert f"customers: gs://{bucket}/in/gone.csv is missing" in loop.said("new_inputs")
    failed = read(loop)
    (failure,) = [event for event in failed.all_events if event.is_step_failure]
    assert f"gs://{bucket}/in/gone.csv: no such file" in failure.step_failure_data.error.to_string()

"""Tables of a database: read by the real assets, watched by the real sensor, seen by the lineage."""

import dagster as dg
import pandas as pd
import pyarrow as pa
import pytest
from duckdb_shop import Duck
from test_bucket_inputs import NAME, ROWS, answered, assets, content, flow, newest, offers, read  # noqa: F401
from test_sources import seen

from churn_assets.customers.table import EMBEDDED
from churn_assets.flow.registry import registry


@pytest.fixture(params=["postgresql", "duckdb"])
def database(request, tmp_path):
    return request.getfixturevalue("postgresql") if request.param == "postgresql" else Duck(tmp_path)


@pytest.fixture
def loop(tmp_path, database, offers, content):  # noqa: F811 - fixtures
    """A project whose customers and offer log are tables of a database."""
    content = {key: section for key, section in content.items() if key not in registry().members["message"]}
    content["release"] = {"branches": ["decision"]}
    database.put(
        "people", pa.Table.from_pandas(pd.read_csv(EMBEDDED["telco"], dtype=str, keep_default_na=False))
    )
    (tmp_path / "offers.csv").write_bytes(offers(ROWS))
    log = pd.read_csv(tmp_path / "offers.csv", dtype={"customer_id": str}, parse_dates=["decided_at"])
    database.put("offers", pa.Table.from_pandas(log.sample(frac=1, random_state=1), preserve_index=False))
    content["customers"]["source"] = {"database": database.location(), "table": "people"}
    content["offer_log"] = {
        "source": {"database": database.location(), "query": "select * from offers where margin is not null"},
        "gates": {"min_rows": 100, "max_detectable_effect": 1.0, "min_arm_decisions": 20},
    }
    with flow(tmp_path, content) as found:
        yield found


def test_tables_of_a_database_are_read_and_each_new_content_asks_for_what_reads_it(loop, database):
    (request,) = loop.asked("new_inputs")
    assert {"customers", "offer_log", "release"} <= assets(request)
    assert read(loop).success
    answered(loop, request)
    assert len(newest(loop, "offer_log")) == ROWS
    assert "nothing to do" in loop.said("new_inputs")
    version, origin, where = seen(loop.instance, "customer_table")[NAME]
    assert (origin, where) == ("database", f"{database.location()}: people")
    assert version

    loop.cursors.clear()  # or as long has passed as looking costs
    database.run("update offers set margin = margin + 1 where prior_offers = 0")
    (request,) = loop.asked("new_inputs")
    assert assets(request) == {"offer_log", "accept_model", "effect_model", "ppo_decision", "release"}
    assert f"{database.location()}: query" in request.tags["churn/reason"]
    assert read(loop).success
    answered(loop, request)
    assert (loop.versions("customers", NAME), loop.versions("offer_log", NAME)) == (1, 2)


def test_a_table_that_is_not_there_or_is_none_is_told(loop, database):
    database.run("drop table people")
    answered(loop, loop.asked("new_inputs")[0])
    assert f"customers: {database.location()}: people is missing" in loop.said("new_inputs")
    failed = read(loop)
    (failure,) = [event for event in failed.all_events if event.is_step_failure]
    assert (
        f"{database.location()}: people: found no such table" in failure.step_failure_data.error.to_string()
    )


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_server_that_refuses_is_told_by_the_sensor_and_the_lineage_without_who_asked(loop, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "hunter2-wrong")
    said = loop.said("new_inputs")
    assert "cannot be looked at: Database" in said
    assert "hunter2" not in said
    observed = loop.defs.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=loop.instance,
        partition_key=NAME,
        asset_selection=[dg.AssetKey("customer_table")],
        raise_on_error=False,
    )
    assert not observed.success

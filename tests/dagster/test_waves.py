"""The asset `customer_decisions`: a wave is decided with the release that leads, and its page tells what came of it."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
import yaml
from dagster._core.definitions.partitions.context import partition_loading_context
from kept_release import KEPT

from churn_assets.batch.config import CustomerDecisionsConfig, wave_due
from churn_assets.definitions import Overrides, build_defs, build_project
from churn_assets.offers.log import propensity_column
from churn_assets.release.bundle import RELEASE
from churn_assets.release.trial import TrialDesign
from churn_assets.store.artifacts import stage
from churn_assets.store.channels import Channel
from churn_assets.store.location import open_store
from churn_assets.store.tried import START, trial_log
from jobs.waves import DECIDE_WAVE, WAVES

DECISIONS = dg.AssetKey("customer_decisions")
BUDGETS = {
    "period": {"starts": "2026-01-05", "weeks": 4},
    "limits": [{"name": "money", "most_cost": 400}, {"name": "calls", "most_contacts": 9}],
}


class Shop:
    """A project with a stored release, and Dagster's history of it."""

    def __init__(self, root: Path, instance: dg.DagsterInstance) -> None:
        self.root, self.instance = root, instance

    def configure(self, **sections):
        path = self.root / "configs" / "quickstart.yaml"
        told = yaml.safe_load((KEPT / "configs" / "quickstart.yaml").read_text())
        path.write_text(yaml.safe_dump(told | {"customer_decisions": {"source": "people.csv"}} | sections))
        overrides = Overrides(root=self.root)
        self.project = build_project(overrides)
        self.defs = build_defs(overrides, self.project)
        return self

    def decide(self, wave: str, **config):
        self.instance.add_dynamic_partitions(WAVES, [wave])
        asked = {"release": "latest"} | config
        return self.defs.resolve_job_def(DECIDE_WAVE).execute_in_process(
            partition_key=dg.MultiPartitionKey({"experiment": "quickstart", "wave": wave}),
            run_config={"ops": {"customer_decisions": {"config": asked}}},
            instance=self.instance,
            raise_on_error=False,
        )

    def shown(self):
        event = self.instance.get_latest_materialization_event(DECISIONS).asset_materialization
        return {name: each.value for name, each in event.metadata.items()}, event

    def file(self, wave: str) -> Path:
        return self.root / ".churn" / "waves" / "quickstart" / f"{wave}.parquet"


@pytest.fixture
def shop(tmp_path):
    (tmp_path / "configs").mkdir()
    shutil.copytree(KEPT / "store", tmp_path / ".churn" / "store")
    people = pd.read_csv(KEPT / "customers.csv", dtype=str, keep_default_na=False).head(60)
    people.loc[3, "MonthlyCharges"] = "-4"
    people.to_csv(tmp_path / "people.csv", index=False)
    with dg.DagsterInstance.ephemeral() as instance:
        yield Shop(tmp_path, instance).configure(budgets=BUDGETS)


def test_a_wave_is_decided_within_the_budgets_and_its_page_says_what_came_of_it(shop):
    assert shop.decide("2026-11").success
    told, event = shop.shown()
    decided = pd.read_parquet(shop.file("2026-11"))
    assert (told["dagster/row_count"], told["decided"], told["refused"]) == (60, 59, 1)
    assert told["rows_per_s"] > 0
    assert 0 < told["offers"] == (decided["decision"] == "offer").sum() <= 9
    assert 0 < told["most_spend"] <= 400
    assert told["shadow_price/calls"] > 0
    (refused,) = (row.data for row in told["table/refused_rows"].records)
    assert (refused["column"], refused["found"]) == ("MonthlyCharges", "'-4'")
    assert {row.data["name"] for row in told["table/budgets"].records} == {"money", "calls"}
    assert told["release"] == decided["release"][0]
    chances = decided[[propensity_column(arm) for arm in decided["arm"].dropna().unique()]]
    assert chances[decided["arm"].notna()].sum(axis=1).eq(1).all()
    assert event.partition == "quickstart|2026-11"
    assert not [*shop.file("x").parent.glob(".*")], "the parts are gone"


@pytest.fixture
def tried(shop):
    """The stored release leads; another one of the same training is tried beside it, for half of the customers."""
    store = open_store(".churn/store", root=shop.root)
    (first,) = store.versions("quickstart", "release")
    staged = stage("release", store.load(first, RELEASE), RELEASE, shop.root / "staged")
    candidate = store.publish(staged, store.manifest(first).provenance, datetime.now(UTC))
    head = Channel(store, "quickstart").head()
    design = TrialDesign(
        candidate=str(candidate), champion=head.release, record=head.seq, shares="0.5", step_hours=168, rule="{}",
        guardrails="{}",
    )  # fmt: skip
    trial_log(store, "quickstart").append(
        START, expected_seq=0, actor="ann", reason="newer", now=datetime.now(UTC), details=design.model_dump()
    )
    return str(candidate)


def test_while_a_trial_runs_a_wave_of_the_champion_goes_by_both_releases(shop, tried, monkeypatch):
    monkeypatch.setenv("CHURN_ASSIGNMENT_KEY", "s" * 32)
    shop.configure()
    assert shop.decide("a", release="champion").success
    decided = pd.read_parquet(shop.file("a")).query("decision != 'could not be decided'")
    counts, (told, _) = decided["release"].value_counts(), shop.shown()
    assert told["trial"] == {"candidate": tried, "share": 0.5, "decided": int(counts[tried])}
    assert 15 < counts[tried] < 45
    assert counts.sum() == 59
    assert shop.decide("b", release=told["release"].rpartition("/")[2]).success
    assert set(pd.read_parquet(shop.file("b"))["release"]) == {told["release"]}
    assert "trial" not in shop.shown()[0]


@pytest.mark.parametrize(
    ("key", "asked", "why"),
    [
        ("s" * 32, {"budget": 50.0}, "a budget is for one release"),
        ("", {}, "there is no secret to draw with"),
    ],
)
def test_where_a_trial_cannot_be_decided_by_the_champion_decides_and_that_is_said(
    shop, tried, monkeypatch, capfd, key, asked, why
):
    monkeypatch.setenv("CHURN_ASSIGNMENT_KEY", key)
    shop.configure()
    assert shop.decide("a", release="champion", **asked).success
    assert tried not in set(pd.read_parquet(shop.file("a"))["release"])
    assert f"{tried} is tried, but " in (said := capfd.readouterr().err)
    assert why in said


def test_a_wave_counts_once_in_the_ledger_and_the_next_one_finds_what_is_left(shop):
    assert shop.decide("a").success
    first, _ = shop.shown()
    assert shop.decide("a").success
    again, _ = shop.shown()
    assert again["offers"] == first["offers"]
    assert shop.decide("b").success
    more, _ = shop.shown()
    assert first["offers"] + more["offers"] <= 9


def test_the_budget_of_a_wave_and_its_file_are_asked_for_in_the_launchpad(shop):
    pd.read_csv(KEPT / "customers.csv", dtype=str, keep_default_na=False).tail(40).to_csv(
        shop.root / "others.csv", index=False
    )
    assert shop.decide("x", source="others.csv", budget=50.0).success
    told, _ = shop.shown()
    assert told["dagster/row_count"] == 40
    assert told["most_spend"] <= 50
    job = shop.defs.resolve_job_def(DECIDE_WAVE)
    shown = job.partitioned_config.get_run_config_for_partition_key("quickstart|x")
    assert shown == {"ops": {"customer_decisions": {"config": {"release": "champion", "source": ""}}}}


def test_a_wave_goes_to_a_table_once(shop):
    duckdb = pytest.importorskip("duckdb")
    table = {"database": "duckdb://shop.duckdb", "table": "decided"}
    shop.configure(customer_decisions={"source": "people.csv", "to": "{wave}.csv", "table": table})
    assert shop.decide("2026-11").success
    assert len(pd.read_csv(shop.root / "2026-11.csv")) == 60
    with duckdb.connect(shop.root / "shop.duckdb", read_only=True) as connection:
        assert connection.execute("select wave, count(*) from decided group by 1").fetchall() == [
            ("2026-11", 60)
        ]
    failed = shop.decide("2026-11")
    assert not failed.success
    assert "rows of wave '2026-11'" in str(failed.all_node_events[-1].event_specific_data)


def test_without_a_release_that_leads_nothing_is_decided(shop):
    shutil.rmtree(shop.root / ".churn" / "store" / "channels")
    failed = shop.decide("2026-11", release="champion")
    assert not failed.success
    assert not shop.file("2026-11").exists()
    assert not shop.decide("a/b").success, "a name is no path"


def test_a_wave_stands_downstream_of_the_release_and_no_training_makes_it(shop):
    graph = shop.defs.resolve_asset_graph()
    assert graph.get(DECISIONS).parent_keys == {dg.AssetKey("release")}
    assert DECISIONS not in shop.defs.resolve_job_def("train").asset_layer.selected_asset_keys


def test_the_sensor_asks_once_for_the_wave_of_the_month_when_a_release_leads(shop):
    shop.configure(
        customer_decisions={"source": "people.csv", "every": "month"}, automation={"enabled": True}
    )
    sensor = shop.defs.resolve_sensor_def(WAVES)

    def tick():
        context = dg.build_sensor_context(
            instance=shop.instance,
            resources={"project": shop.project},
            repository_def=shop.defs.get_repository_def(),
        )
        with partition_loading_context(dynamic_partitions_store=shop.instance):  # as the daemon does
            return sensor.evaluate_tick(context)

    channels = shop.root / ".churn" / "store" / "channels"
    shutil.rmtree(channels)
    assert "no release leads" in tick().skip_message
    shutil.copytree(KEPT / "store" / "channels", channels)
    (asked,) = tick().run_requests
    wave = wave_due("month", datetime.now(UTC))
    assert asked.partition_key == f"quickstart|{wave}"
    assert asked.run_key == f"quickstart {wave}"
    assert shop.instance.get_dynamic_partitions(WAVES) == [wave]
    shop.configure(customer_decisions={}, automation={"enabled": True})
    sensor = shop.defs.resolve_sensor_def(WAVES)
    assert "customer_decisions.every is left out" in tick().skip_message


def test_a_place_that_is_no_file_of_each_wave_is_refused_at_load():
    for to in ("decided.parquet", "{wave}.txt", "{wave}/{day}.csv", "gs://shop/{wave}.csv"):
        with pytest.raises(ValueError, match="expected a path with"):
            CustomerDecisionsConfig(to=to)

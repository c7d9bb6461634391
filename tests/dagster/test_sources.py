"""Sources outside the flow: the lineage starts at them, and their data version is their content."""

from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.definitions.data_version import CachingStaleStatusResolver
from dagster._core.loader import LoadingContextForTest

from churn_assets.definitions import Overrides, build_defs
from churn_assets.store.canonical import sha256_file
from resources.sources import DATA_VERSION, GROUP, MISSING, SOURCES

PROJECT = Path(__file__).parents[2]
TELCO = sha256_file(PROJECT / "data" / "telco_customer_churn.csv")
READS = {
    "customers": {"customer_table"},
    "offer_log": {"offer_log_table", "outcome_table", "decision_log"},
    "messages": {"message_texts"},
    "preferences": {"preference_pairs"},
    "sft_model": {"base_model"},
}


@pytest.fixture
def shop(tmp_path):
    """Two experiments: one with the embedded table, one with a table of its own."""
    content = yaml.safe_load((PROJECT / "configs" / "quickstart.yaml").read_text())
    content["store"] = {"uri": "store"}
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "embedded.yaml").write_text(yaml.safe_dump(content | {"channel": "embedded"}))
    content["customers"]["source"] = "mine.csv"
    content["offer_log"] = {
        "source": "offers.csv",
        "decisions": {"outcomes": "outcomes.csv", "window_days": 30},
    }
    (tmp_path / "configs" / "mine.yaml").write_text(yaml.safe_dump(content | {"channel": "mine"}))
    (tmp_path / "mine.csv").write_text("id\n1\n")
    return tmp_path


def run(root, instance, *assets, experiment=None):
    job = build_defs(Overrides(root=root)).resolve_implicit_global_asset_job_def()
    return job.execute_in_process(
        instance=instance,
        partition_key=experiment,
        asset_selection=[dg.AssetKey(asset) for asset in assets],
    )


def seen(instance, source):
    """Data version, origin and place by experiment, of the last time that a source was looked at."""
    records = instance.fetch_observations(dg.AssetKey(source), limit=100).records
    found = {}
    for record in reversed(records):
        event = record.asset_observation
        found[event.partition] = (
            event.tags[DATA_VERSION],
            event.metadata["origin"].value,
            event.metadata["where"].value,
        )
    return found


def test_the_lineage_starts_at_the_sources():
    graph = build_defs().resolve_asset_graph()
    for asset, sources in READS.items():
        parents = {key.to_user_string() for key in graph.get(dg.AssetKey(asset)).parent_keys}
        assert sources == parents & set(SOURCES)
    read = {key.to_user_string() for key in graph.observable_asset_keys}
    assert read == set(SOURCES) == set().union(*READS.values())
    specs = {spec.key.to_user_string(): spec for spec in build_defs().resolve_all_asset_specs()}
    for source in SOURCES:
        assert specs[source].group_name == GROUP
        assert specs[source].description


def test_a_source_is_observed_in_every_experiment_that_reads_it(shop):
    with dg.DagsterInstance.ephemeral() as instance:
        run(shop, instance, *SOURCES)
        digest = sha256_file(shop / "mine.csv")
        assert seen(instance, "customer_table") == {
            "embedded": (TELCO, "embedded", "telco"),
            "mine": (digest, "file", "mine.csv"),
        }
        assert seen(instance, "offer_log_table") == {
            "embedded": ("simulated", "simulated", "demo_world"),
            "mine": (MISSING, "file", "offers.csv"),
        }
        assert seen(instance, "outcome_table") == {"mine": (MISSING, "file", "outcomes.csv")}
        assert seen(instance, "decision_log") == {"mine": ("empty", "served", "store")}
        assert seen(instance, "message_texts")["mine"] == ("simulated", "simulated", "corpus")
        assert seen(instance, "base_model") == {}  # trained from scratch


def test_a_broken_experiment_is_named_with_all_others_that_are_and_hides_no_sound_one(shop):
    for name in ("another", "broken"):
        (shop / "configs" / f"{name}.yaml").write_text("seed: none\n")
    with dg.DagsterInstance.ephemeral() as instance:
        job = build_defs(Overrides(root=shop)).resolve_implicit_global_asset_job_def()
        wanted = [dg.AssetKey("customer_table"), dg.AssetKey("message_texts")]
        result = job.execute_in_process(instance=instance, asset_selection=wanted, raise_on_error=False)
        for source in ("customer_table", "message_texts"):
            assert set(seen(instance, source)) == {"embedded", "mine"}
            said = result.failure_data_for_node(source).user_failure_data.description
            assert all(
                f"{name}: " in said and f"{name}.yaml:1: seed" in said for name in ("another", "broken")
            )


def test_one_experiment_can_be_looked_at_alone_and_a_changed_file_is_another_version(shop):
    with dg.DagsterInstance.ephemeral() as instance:
        run(shop, instance, "customer_table", experiment="mine")
        (before,) = seen(instance, "customer_table").values()
        (shop / "mine.csv").write_text("id\n2\n")
        run(shop, instance, "customer_table", experiment="mine")
        (after,) = seen(instance, "customer_table").values()
    assert after[0] == sha256_file(shop / "mine.csv") != before[0]


def test_a_run_records_what_it_read_and_what_it_made_is_not_stale(shop):
    with dg.DagsterInstance.ephemeral() as instance:
        run(shop, instance, "customers", experiment="embedded")
        (version, origin, _) = seen(instance, "customer_table")["embedded"]
        assert (version, origin) == (TELCO, "embedded")
        run(shop, instance, "customer_table")
        graph = build_defs(Overrides(root=shop)).resolve_asset_graph()
        resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
        assert resolver.get_stale_causes(dg.AssetKey("customers"), "embedded") == []

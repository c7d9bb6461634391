"""A run trains, publishes, checks and hands over exact versions; a rerun does nothing that it need not do."""

import importlib.metadata
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import inf, nan
from typing import Any

import dagster as dg
import pytest
from toy_flow import TOY_PATH, ToyGates

from churn_assets.definitions import Overrides, build_defs
from churn_assets.flow import asset as flow_asset
from churn_assets.flow.asset import Made, Step
from churn_assets.flow.setting import Setting
from resources.artifacts import in_time
from resources.stage import LONGEST_CURVE, curve


def step_events(result, kind):
    return [event.step_key for event in result.all_events if event.event_type_value == kind]


def test_a_run_publishes_every_asset_and_its_digest_is_the_data_version(toy, metadata_of):
    result = toy.run()
    assert result.success
    for asset in ("customers", "risk_model"):
        manifest = toy.store.manifest(toy.newest(asset))
        assert metadata_of(result, asset)["artifact"] == str(toy.newest(asset))
        (event,) = result.asset_materializations_for_node(asset)
        assert event.tags["dagster/data_version"] == manifest.digest
        assert manifest.provenance.run_id == result.run_id
    assert toy.store.manifest(toy.newest("risk_model")).provenance.upstream == {
        "customers": str(toy.newest("customers"))
    }


def test_a_rerun_of_everything_trains_nothing_and_says_why(toy, metadata_of):
    toy.run()
    toy.calls.bodies.clear()
    toy.calls.checks.clear()
    again = toy.run()
    assert again.success
    assert toy.calls.bodies == []
    assert toy.calls.checks == []
    for asset in ("customers", "risk_model"):
        assert len(toy.store.versions("toy", asset)) == 1
        assert "same configuration, inputs and source code" in metadata_of(again, asset)["unchanged"]
        (event,) = again.asset_materializations_for_node(asset)
        assert event.tags["dagster/data_version"] == toy.store.manifest(toy.newest(asset)).digest
    for evaluation in again.get_asset_check_evaluations():
        assert evaluation.passed
        assert "unchanged" in evaluation.metadata


def test_a_version_that_is_kept_still_shows_what_it_showed_when_it_was_made(toy, metadata_of):
    made = toy.run()
    for _ in range(2):
        again = toy.run()
        for asset in ("customers", "risk_model"):
            before, after = metadata_of(made, asset), metadata_of(again, asset)
            assert set(after) - {"unchanged"} == set(before) - {"made_because"}
            assert "same configuration" in after["unchanged"]


@pytest.mark.parametrize(
    ("change", "trained", "reason"),
    [
        (lambda toy: toy.configure(risk_model={"scale": 2.0}), ["risk_model"], "configuration"),
        (lambda toy: toy.configure(seed=8), ["risk_model"], "configuration"),
        (
            lambda toy: toy.configure(customers={"values": [1.0, 2.0]}),
            ["customers", "risk_model"],
            "customers changed",
        ),
        (
            lambda toy: toy.calls.code.write_text("A = 2\n"),
            ["customers", "risk_model"],
            "source code changed",
        ),
    ],
    ids=["its section", "the seed it declares", "its upstream", "its code"],
)
def test_what_changed_is_trained_again_and_the_reason_is_shown(toy, metadata_of, change, trained, reason):
    toy.run()
    toy.calls.bodies.clear()
    change(toy)
    toy.wait_for_another_second()
    again = toy.run()
    assert toy.calls.bodies == trained
    assert reason in metadata_of(again, "risk_model")["made_because"]


def test_a_version_written_with_a_package_that_is_gone_is_made_again(toy, metadata_of, monkeypatch):
    toy.run()

    def version(package, installed=importlib.metadata.version):
        if package == "numpy":
            raise importlib.metadata.PackageNotFoundError(package)
        return installed(package)

    monkeypatch.setattr("churn_assets.flow.making.importlib.metadata.version", version)
    result = toy.run("customers")
    assert "numpy was " in metadata_of(result, "customers")["made_because"]


def test_a_threshold_is_judged_again_without_training(toy):
    toy.run()
    toy.calls.bodies.clear()
    toy.configure(risk_model={"gates": {"smallest": 100.0}})
    again = toy.run()
    assert toy.calls.bodies == []
    assert [e.check_name for e in again.get_asset_check_evaluations() if not e.passed] == ["is_large"]


def test_an_upstream_made_again_with_equal_bytes_leaves_downstream_as_it_is(toy):
    toy.run()
    toy.calls.bodies.clear()
    toy.calls.code.write_text("A = 3\n")
    toy.wait_for_another_second()
    toy.run("customers")
    toy.calls.code.write_text("A = 1\n")
    toy.run("risk_model")
    assert toy.calls.bodies == ["customers"]


def test_a_version_whose_bytes_rotted_is_never_reused(toy, metadata_of):
    toy.run()
    toy.spoil("risk_model")
    toy.calls.bodies.clear()
    toy.wait_for_another_second()
    again = toy.run("risk_model")
    assert toy.calls.bodies == ["risk_model"]
    assert "cannot be trusted" in metadata_of(again, "risk_model")["made_because"]


def test_corrupt_upstream_bytes_are_refused_by_name_and_nothing_is_trained_on_them(toy):
    toy.run("customers")
    toy.spoil("customers")
    result = toy.run("risk_model")
    assert not result.success
    assert toy.calls.bodies == ["customers"]
    assert "CorruptArtifact" in failure_of(result)
    assert "value.json" in failure_of(result)


def failure_of(result) -> str:
    return "\n".join(
        event.step_failure_data.error.to_string()
        for event in result.all_events
        if event.event_type_value == "STEP_FAILURE"
    )


def test_a_job_started_before_its_inputs_exist_fails_by_name_and_says_what_to_run(toy):
    result = toy.run("risk_model")
    assert not result.success
    assert toy.calls.bodies == []
    assert "customers of experiment 'toy' was never materialized" in failure_of(result)
    assert "churn run toy --select customers" in failure_of(result)


def test_downstream_gets_the_version_that_its_upstream_run_made_never_the_newest_file(toy):
    toy.run("customers")
    used = toy.newest("customers")
    toy.configure(customers={"values": [100.0]})
    toy.wait_for_another_second()
    toy.instance, other = (
        dg.DagsterInstance.ephemeral(),
        toy.instance,
    )  # a run that Dagster's history does not know
    with toy.instance:
        toy.run("customers")
    toy.instance = other
    assert toy.newest("customers") != used
    toy.run("risk_model")
    assert toy.store.manifest(toy.newest("risk_model")).provenance.upstream == {"customers": str(used)}


def test_experiments_do_not_meet(toy):
    toy.run()
    toy.run(experiment="other")
    other = toy.project.store("other")
    assert len(toy.store.versions("toy", "risk_model")) == 1
    (ref,) = other.versions("other", "risk_model")
    assert other.manifest(ref).provenance.upstream["customers"].startswith("other/customers/")


def test_a_crash_while_training_leaves_no_version_and_a_plain_retry_trains_only_what_is_missing(toy):
    toy.calls.interrupt = "risk_model"
    assert not toy.run().success
    assert toy.store.versions("toy", "risk_model") == []
    toy.calls.interrupt = None
    toy.calls.bodies.clear()
    assert toy.run().success
    assert toy.calls.bodies == ["risk_model"]


def test_a_wrong_section_anywhere_stops_the_first_step_before_any_training(toy):
    toy.configure(risk_model={"sclae": 2.0})
    result = toy.run()
    assert not result.success
    assert toy.calls.bodies == []
    assert "sclae" in failure_of(result)


def test_a_stage_cannot_read_a_setting_that_it_does_not_declare(toy):
    step = Step(toy.asset("risk_model"), "toy", toy.project)
    assert step.seed == 7
    with pytest.raises(KeyError, match="without declaring"):
        step.read(Setting("customers.values", tuple[float, ...]))
    with pytest.raises(KeyError, match="without declaring"):
        Step(toy.asset("customers"), "toy", toy.project).seed  # noqa: B018


def test_progress_of_a_step_is_stored_as_it_happens(toy):
    toy.run()
    records = toy.instance.fetch_observations(dg.AssetKey("risk_model"), limit=10).records
    newest, first = (each.asset_observation.metadata for each in records)
    assert [each["loss"].value for each in (newest, first)] == [0.5, 1.0]
    assert newest["curve/loss"].value == "█▁  1 to 0.5", "what came so far stands beside the newest figure"
    assert not {"curve/loss", "curve/step"} & set(first)


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([3.0], "▁  3 to 3"),
        ([1.0, 1.0], "▁▁  1 to 1"),
        ([0.0, nan, 1.0], "▁ █  0 to 1"),
        ([nan, nan], "    nan to nan"),
        ([inf, 1.0], " ▁  inf to 1"),
    ],
)
def test_a_curve_draws_what_is_finite(values, shown):
    assert curve(values) == shown


def test_a_long_curve_keeps_its_ends():
    bars, _, ends = curve([float(each) for each in range(1000)]).partition("  ")
    assert (len(bars), bars[0], bars[-1], ends) == (LONGEST_CURVE, "▁", "█", "0 to 999")


def test_assets_show_group_kinds_owners_columns_and_description(toy, metadata_of):
    specs = {spec.key.to_user_string(): spec for spec in toy.defs.resolve_all_asset_specs()}
    assert specs.pop("customer_decisions").group_name == "3_decisions", "after all that is trained"
    assert {name: spec.group_name for name, spec in specs.items()} == {
        "customers": "1_customers",
        "risk_model": "2_risk",
    }
    assert all(
        spec.owners == ["team:retention"] and spec.description and spec.kinds for spec in specs.values()
    )
    assert all(
        "that the partitions are not all filled is no fault" in spec.description for spec in specs.values()
    )
    shown = metadata_of(toy.run(), "customers")
    assert [column.name for column in shown["dagster/column_schema"].columns] == ["value"]
    assert shown["dagster/row_count"] == 3


def test_an_asset_gets_its_inputs_by_name_so_that_one_left_out_moves_no_other(toy):
    got = {}

    @flow_asset.asset(stage="risk", config=ToyGates, format=TOY_PATH, kinds=("json",), description="A toy.")
    def release(step: Step[ToyGates], risk_model: Any = None, customers: Any = None) -> Made:
        got.update(risk_model=risk_model, customers=customers)
        return Made(0)

    flow = (*toy.flow, replace(release, source=lambda: "code"))
    formats = {each.name: each.format for each in flow}
    toy.defs = build_defs(Overrides(root=toy.root, flow=flow), replace(toy.project, formats=formats))
    toy.configure(risk_model=None)
    assert toy.run("customers", "release").success
    assert got == {"risk_model": None, "customers": [1.0, 2.0, 6.0]}


def test_an_asset_that_is_not_in_the_experiment_fails_at_once_and_names_the_section(toy):
    toy.configure(risk_model=None)
    result = toy.run()
    assert not result.success
    assert step_events(result, "STEP_FAILURE") == ["risk_model"]
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert "found no section 'risk_model'" in failure.event_specific_data.user_failure_data.description
    assert toy.run("customers").success


def test_a_run_that_publishes_too_late_is_refused_as_its_sources_may_be_gone():
    start = datetime(2026, 3, 1, tzinfo=UTC)
    assert in_time(start, start + timedelta(days=7)) == start
    with pytest.raises(dg.Failure, match="more than 7 days ago"):
        in_time(start, start + timedelta(days=7, seconds=1))


def test_a_version_that_expired_is_made_again_although_nothing_changed(toy, metadata_of):
    toy.run()
    model = toy.asset("risk_model")
    stale = replace(model, expired=lambda _step, newest: f"{newest.asset} is too old")
    flow = tuple(stale if each is model else each for each in toy.flow)
    toy.defs = build_defs(Overrides(root=toy.root, flow=flow), toy.project)
    toy.wait_for_another_second()
    again = toy.run()
    assert metadata_of(again, "risk_model")["made_because"] == "risk_model is too old"
    assert "unchanged" in metadata_of(again, "customers")


def test_what_making_a_version_took_is_kept_with_it_and_shown(toy, metadata_of):
    toy.configure(compute={"prices": {"local": 1.0}})
    result = toy.run()
    for asset in ("customers", "risk_model"):
        used = toy.store.manifest(toy.newest(asset)).provenance.usage
        shown = metadata_of(result, asset)
        assert (used.device, used.profile, used.hourly_price) == ("cpu", "local", 1.0)
        assert (shown["used/seconds"], shown["used/cost"]) == (used.seconds, used.cost)
    again = toy.run()
    assert metadata_of(again, "risk_model")["used/seconds"] == used.seconds, "of the version that is kept"


def test_a_run_that_would_cost_too_much_is_refused_by_name_before_a_step_of_it_begins(toy):
    prices = {"local": 1e6}
    toy.configure(compute={"prices": prices})
    assert toy.run().success, "nothing tells what a first run costs"
    toy.calls.bodies.clear()
    toy.configure(customers={"values": [4.0, 5.0]}, compute={"prices": prices, "most_per_run": 1e-9})
    refused = toy.run()
    assert not refused.success
    (failure,) = [event for event in refused.all_events if event.event_type_value == "STEP_FAILURE"]
    told = failure.step_failure_data.error.message + str(failure.step_failure_data.user_failure_data)
    assert "customers is not made: compute.most_per_run: found a run of about" in told
    assert "then customers" in told
    assert "risk_model" in told, "which follows it"
    assert toy.calls.bodies == []
    toy.configure(customers={"values": [4.0, 5.0]}, compute={"prices": prices, "most_per_run": 1e8})
    assert toy.run().success


def test_a_run_that_has_spent_what_it_may_stops_though_nothing_was_known_before(toy):
    toy.configure(compute={"prices": {"local": 1e6}, "most_per_run": 1e-9})
    refused = toy.run()
    assert not refused.success
    assert toy.calls.bodies == ["customers"]

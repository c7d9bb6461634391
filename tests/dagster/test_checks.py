"""Checks read the saved artifact back, stop what comes after, and never take an earlier verdict on trust."""

from dataclasses import replace

import dagster as dg

from churn_assets.definitions import Overrides, build_defs
from churn_assets.gates.report import Gate, GateReport, Outcome
from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.errors import IncompatibleArtifact, StoreUnreachable
from resources.artifacts import ArtifactIOManager


def evaluations(result):
    return {
        e.check_name: e
        for e in result.get_asset_check_evaluations()
        if e.asset_key == dg.AssetKey("risk_model")
    }


def test_a_check_shows_digest_figure_table_plot_and_what_to_do(toy):
    shown = evaluations(toy.run())["is_large"]
    ref = toy.newest("risk_model")
    assert shown.passed
    assert shown.partition == "toy"
    assert shown.metadata["digest"].value == toy.store.manifest(ref).digest
    assert shown.metadata["artifact"].value == str(ref)
    assert shown.metadata["figure/mean"].value == 3.0
    assert shown.metadata["what_to_do"].value == "Feed it larger numbers."
    assert len(shown.metadata["table/numbers"].records) == 3
    assert shown.metadata["plot/Numbers"].value.startswith("![Numbers](data:image/png;base64,")
    (gate,) = shown.metadata["gates"].records
    assert gate.data["needed"] == ">= 0"


def test_every_asset_proves_that_it_loads_and_agrees(toy):
    result = toy.run()
    loads = [e for e in result.get_asset_check_evaluations() if e.check_name == "loads_and_agrees"]
    assert {e.asset_key.to_user_string() for e in loads} == {"customers", "risk_model"}
    assert all(e.passed and e.metadata["figure/golden_rows_replayed"].value == 1 for e in loads)


def test_the_report_is_stored_beside_the_version_and_bound_to_its_digest(toy):
    toy.run()
    ref = toy.newest("risk_model")
    reports = {name: GateReport.from_json(stored) for name, stored in toy.store.gate_reports(ref).items()}
    assert set(reports) == {"is_large", "not_worse", "loads_and_agrees"}
    assert all(
        r.digest == toy.store.manifest(ref).digest and r.version == ref.version for r in reports.values()
    )


def test_a_failed_check_stops_everything_downstream_in_the_run(toy):
    toy.configure(risk_model={"gates": {"smallest": 100.0}})
    result = toy.run()
    assert not result.success
    shown = evaluations(result)["is_large"]
    assert not shown.passed
    assert shown.metadata["gates"].records[0].data["verdict"] == "FAILED"
    assert "needed >= 100" in shown.description
    assert "Feed it larger numbers." in shown.description


def test_a_check_that_cannot_run_has_failed(toy):
    toy.calls.broken_check = "is_large"
    result = toy.run()
    assert not result.success
    assert "is_large" not in evaluations(result)
    assert "is_large" not in toy.store.gate_reports(toy.newest("risk_model"))


def test_an_upload_that_arrives_corrupt_fails_the_check_by_name_and_stops_the_run(toy, monkeypatch):
    publish = ArtifactIOManager.handle_output

    def publish_and_rot(self, context, obj):
        publish(self, context, obj)
        toy.spoil(context.asset_key.to_user_string())

    monkeypatch.setattr(ArtifactIOManager, "handle_output", publish_and_rot)
    result = toy.run()
    assert not result.success
    assert toy.calls.bodies == ["customers"]
    (failure,) = [e.step_failure_data for e in result.all_events if e.event_type_value == "STEP_FAILURE"]
    assert "CorruptArtifact" in failure.user_failure_data.description
    assert "value.json" in failure.user_failure_data.description


def test_a_verdict_written_over_in_the_store_is_measured_anew(toy):
    toy.configure(risk_model={"gates": {"smallest": 100.0}})
    toy.run()
    ref = toy.newest("risk_model")
    forged = toy.store.gate_reports(ref)["is_large"] | {"passed": True}
    toy.store.add_gate_report(ref, "is_large", forged)
    toy.calls.checks.clear()
    again = toy.run()
    assert toy.calls.checks == ["is_large"]
    assert not evaluations(again)["is_large"].passed
    assert not GateReport.from_json(toy.store.gate_reports(ref)["is_large"]).passed


def test_a_version_is_compared_with_the_champion_and_the_report_names_it(toy):
    toy.run()
    toy.calls.champion = toy.newest("risk_model")
    toy.configure(risk_model={"scale": 0.5})
    toy.wait_for_another_second()
    result = toy.run()
    assert not evaluations(result)["not_worse"].passed
    report = toy.store.gate_reports(toy.newest("risk_model"))["not_worse"]
    assert report["champion"] == str(toy.calls.champion)


def test_another_champion_makes_an_old_comparison_stale(toy):
    toy.run()
    first = toy.newest("risk_model")
    toy.configure(risk_model={"scale": 2.0})
    toy.wait_for_another_second()
    toy.run()
    toy.calls.champion = first
    result = toy.run()
    assert "unchanged" not in evaluations(result)["not_worse"].metadata
    assert "unchanged" in evaluations(result)["is_large"].metadata


def test_a_version_that_leads_by_now_keeps_the_verdict_that_let_it_lead(toy):
    toy.run()
    toy.calls.champion = toy.newest("risk_model")
    result = toy.run()
    assert "unchanged" in evaluations(result)["not_worse"].metadata


def worse_than_a_broken_champion(toy):
    toy.run()
    toy.calls.champion = toy.newest("risk_model")
    toy.spoil("risk_model")
    toy.configure(risk_model={"scale": 0.5})
    toy.wait_for_another_second()
    return evaluations(toy.run())["not_worse"]


def test_a_broken_champion_does_not_block_its_successor_and_the_report_says_so(toy):
    shown = worse_than_a_broken_champion(toy)
    assert shown.passed
    (row,) = shown.metadata["table/broken_champion"].records
    assert "CorruptArtifact" in row.data["cannot be loaded"]


def test_a_leading_release_of_another_format_does_not_block_its_successor_and_the_report_says_so(toy):
    def of_another_format(*_):
        raise IncompatibleArtifact(
            "manifest.json", "loader 'release/4'", "loader 'release/5'", "toy/release/1"
        )

    toy.project = replace(toy.project, leader=of_another_format)
    toy.defs = build_defs(Overrides(root=toy.root, flow=toy.flow), toy.project)
    result = toy.run()
    assert result.success
    shown = evaluations(result)["not_worse"]
    assert shown.passed
    (row,) = shown.metadata["table/broken_champion"].records
    assert row.data["champion"] == "the release"
    assert "found loader 'release/4'" in row.data["cannot be loaded"]


def test_a_champion_that_was_mended_is_compared_after_all(toy):
    assert worse_than_a_broken_champion(toy).passed
    toy.spoil("risk_model", toy.calls.champion)  # the same bit once more
    assert not evaluations(toy.run())["not_worse"].passed


def test_a_store_that_does_not_answer_is_no_broken_champion(toy, monkeypatch):
    toy.run()
    toy.calls.champion = champion = toy.newest("risk_model")
    toy.configure(risk_model={"scale": 0.5})
    toy.wait_for_another_second()
    verify = ArtifactStore.verify

    def away(self, ref):
        if ref == champion:
            raise StoreUnreachable("the store does not answer")
        return verify(self, ref)

    monkeypatch.setattr(ArtifactStore, "verify", away)
    result = toy.run()
    assert not result.success
    assert "not_worse" not in toy.store.gate_reports(toy.newest("risk_model"))


def test_a_table_without_rows_has_no_picture_and_breaks_nothing(toy):
    toy.configure(customers={"values": [4.0]})
    asset = toy.asset("risk_model")
    empty = replace(
        asset.checks[0], run=lambda _subject: Outcome((Gate("n", 0.0, "==", 0.0),), {"numbers": []})
    )
    flow = tuple(replace(each, checks=(empty,)) if each is asset else each for each in toy.flow)
    toy.defs = build_defs(Overrides(root=toy.root, flow=flow), toy.project)
    shown = evaluations(toy.run())["is_large"]
    assert shown.passed
    assert not [name for name in shown.metadata if name.startswith(("plot/", "table/"))]

"""Commands on the store: history, differences, any channel, retention, copies, the doctor, and where the store is."""

import io
import json
import shutil
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from dagster._core.definitions.dependency import NodeHandle
from dagster._core.events import AssetObservationData
from dagster._core.execution.plan.handle import StepHandle
from rich.console import Console
from rich.progress import Progress

from churn_assets.cli.running import Followed
from churn_assets.cli.transfers import SHOWN_FROM, Transfers
from churn_assets.release.bundle import RELEASE
from churn_assets.store.artifacts import stage
from churn_assets.store.channels import Channel
from churn_assets.store.location import open_store


def store(project, uri=".churn/store"):
    return open_store(uri, root=project.root)


def log(project, name="quickstart"):
    return Channel(store(project), name).history()


@pytest.fixture(scope="session")
def twice(trained, tmp_path_factory):
    """Two releases; the second policy was trained for less time, with shorter episodes. Tests must not change it."""
    root = tmp_path_factory.mktemp("twice") / "project"
    shutil.copytree(trained.root, root)
    project = type(trained)(root)
    assert project.churn("promote", "--reason", "first", "--actor", "ann").exit_code == 0
    project.configure(
        lambda content: content["ppo_decision"].update(episode_length=11, ppo={"total_timesteps": 65_536})
    )
    done = project.run("quickstart", "--select", "ppo_decision+")
    assert done.returncode == 0, done.stdout + done.stderr
    return project


@pytest.fixture
def project(twice, tmp_path):
    root = tmp_path / "project"
    shutil.copytree(twice.root, root)
    return type(twice)(root)


def versions(project):
    return [str(ref) for ref in store(project).versions("quickstart", "release")]


def test_history_tells_every_act_newest_first(project):
    first, second = versions(project)
    assert project.churn("promote", "--reason", "better", "--actor", "bob").exit_code == 0
    assert project.churn("rollback", "--reason", "complaints", "--actor", "ann").exit_code == 0
    rows = json.loads(project.churn("history", "--json").output)
    told = [(row["record"], row["action"], row["release"], row["actor"], row["reason"]) for row in rows]
    assert told == [
        (3, "rollback", first, "ann", "complaints"),
        (2, "promote", second, "bob", "better"),
        (1, "promote", first, "ann", "first"),
    ]
    shown = project.churn("history").output
    assert "complaints" in shown
    assert shown.index("rollback") < shown.index("better")


def test_history_of_a_log_that_was_rewritten_is_refused(project):
    path = project.root / ".churn/store/channels/quickstart/000000000001.json"
    path.chmod(0o644)
    path.write_text(path.read_text().replace('"ann"', '"bob"'))
    result = project.churn("history")
    assert result.exit_code == 3
    assert "seal" in result.output


def test_history_of_a_channel_that_nothing_leads_says_so(project):
    result = project.churn("history", "--channel", "challenger")
    assert result.exit_code == 0
    assert "Nothing leads challenger in .churn/store yet" in result.output


def test_diff_tells_figures_thresholds_digests_and_files_that_differ_and_nothing_else(project):
    first, second = versions(project)
    found = json.loads(project.churn("diff", "champion", "latest", "--json").output)
    assert (found["a"], found["b"]) == (first, second)
    rows = {(row["asset"], row["kind"], row["name"]): (row["a"], row["b"]) for row in found["differences"]}
    assert {asset for asset, _, _ in rows} == {"ppo_decision", "release"}
    for kind, name in (
        ("version", ""),
        ("content", ""),
        ("config", ""),
        ("metric", "timesteps"),
        ("gate", "captures_the_gain: gain_captured"),
        ("file", "policy.safetensors"),
    ):
        a, b = rows["ppo_decision", kind, name]
        assert a != b
    assert ("ppo_decision", "seed", "") not in rows
    shown = project.churn("diff", first.rpartition("/")[2], second).output
    assert (
        "The same in both: accept_model, customers, effect_model, messages, offer_log, ppo_text"
        in " ".join(shown.split())
    )


def test_diff_of_a_release_with_itself_is_empty(project):
    found = json.loads(project.churn("diff", "latest", versions(project)[1], "--json").output)
    assert found["differences"] == []


def test_a_challenger_leads_its_own_channel_and_can_be_named_by_it(project):
    first, second = versions(project)
    result = project.churn("promote", "--reason", "test", "latest", "--channel", "challenger")
    assert result.exit_code == 0, result.output
    assert f"{second} leads challenger (record 1)" in " ".join(result.output.split())
    assert [record.release for record in log(project)] == [first]
    assert second in project.churn("show", "challenger").output
    assert project.churn("promote", "--reason", "test", "challenger").exit_code == 0
    assert log(project)[-1].release == second


def test_rollback_moves_the_channel_that_is_named(project):
    first, second = versions(project)
    for release in (first, second):
        promoted = project.churn("promote", "--reason", "test", release, "--channel", "trial")
        assert promoted.exit_code == 0, promoted.output
    assert project.churn("rollback", "--reason", "test", "--channel", "trial").exit_code == 0
    assert [record.release for record in log(project, "trial")] == [first, second, first]
    assert len(log(project)) == 1


@pytest.fixture
def superseded(project, tmp_path):
    """A release of six weeks ago that never led, and one that took its place two weeks later."""
    place = store(project)
    newest = place.versions("quickstart", "release")[-1]
    value = place.load(newest, RELEASE)
    provenance = place.manifest(newest).provenance
    refs = []
    for age in (42, 28):
        bundle = value.bundle.model_copy(update={"report_sha256": f"{age:064d}"})
        staged = stage("release", value.model_copy(update={"bundle": bundle}), RELEASE, tmp_path / str(age))
        refs.append(place.publish(staged, provenance, datetime.now(UTC) - timedelta(days=age)))
    return refs[0]


def test_retention_tells_what_may_go_and_why_and_removes_nothing(project, superseded):
    result = project.churn("retention")
    assert result.exit_code == 0, result.output
    assert str(superseded) in result.output
    assert "add --apply" in result.output
    found = json.loads(project.churn("retention", "--json").output)
    assert found["applied"] is False
    assert [row["version"] for row in found["versions"] if row["collect"]] == [str(superseded)]
    assert all(row["reason"] for row in found["versions"])
    assert store(project).exists(superseded)


def test_retention_removes_what_may_go_when_it_is_told_to(project, superseded):
    before = versions(project)
    assert project.churn("retention", "--apply").exit_code == 0
    assert versions(project) == [version for version in before if version != str(superseded)]
    assert "stays" in project.churn("retention", "--all").output


def test_a_store_is_copied_and_used_by_its_uri_alone(project):
    result = project.churn("store", "copy", ".churn/store", "moved")
    assert result.exit_code == 0, result.output
    assert "quickstart: 1 records" in result.output
    shutil.rmtree(project.root / ".churn" / "store")
    project.configure(lambda content: content["store"].update(uri="moved"))
    assert project.churn("promote", "--reason", "test").exit_code == 0
    assert json.loads(project.churn("releases", "--json").output)[0]["channel"] == "leads quickstart"
    assert "14 were there" in project.churn("store", "copy", "moved", "moved").output


def test_a_store_that_does_not_verify_is_not_moved(project):
    project.spoil("risk_model", "model.json")
    result = project.churn("store", "copy", ".churn/store", "moved")
    assert result.exit_code == 3
    assert "model.json" in result.output
    assert "no channel was copied" in result.output
    assert Channel(store(project, "moved"), "quickstart").head() is None


def test_one_variable_names_the_store_of_every_experiment_and_is_not_silent(project, monkeypatch):
    project.churn("store", "copy", ".churn/store", "moved")
    monkeypatch.setenv("CHURN_STORE", "moved")
    assert project.churn("promote", "--reason", "test").exit_code == 0
    assert len(log(project)) == 1
    result = project.churn("history", "--json")
    assert "store: moved (CHURN_STORE), not .churn/store" in result.stderr
    assert len(json.loads(result.stdout)) == 2


def test_the_doctor_finds_a_sound_store_and_exits_0(project):
    result = project.churn("doctor", "--json")
    assert result.exit_code == 0, result.output
    assert all(row["passed"] for row in json.loads(result.output))
    (project.root / "elsewhere").mkdir()
    assert "publish, promote, roll back" in project.churn("doctor", "--store", "elsewhere").output


def test_the_doctor_says_what_to_do_about_a_place_that_cannot_hold_a_store_and_exits_1(project, bucket):
    result = project.churn("doctor", "--store", f"gs://{bucket}-gone/churn")
    assert result.exit_code == 1
    assert "FAILED" in result.output
    assert "the name of the bucket" in " ".join(result.output.split())


def test_a_store_that_nobody_can_open_is_wrong_usage(project):
    result = project.churn("doctor", "--store", "s3://bucket/churn")
    assert result.exit_code == 2
    assert "found scheme 's3'" in result.output


def watched(terminal):
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=terminal, width=100, color_system=None)
    with Transfers(console) as transfers:
        for done in range(5):
            transfers("artifacts/quickstart/ppo_text/1/model.safetensors", done * SHOWN_FROM, 4 * SHOWN_FROM)
            transfers("artifacts/quickstart/ppo_text/1/small.json", done, 4)
    return screen.getvalue()


def test_a_large_transfer_shows_on_a_terminal_and_a_small_one_never():
    shown = watched(terminal=True)
    assert "ppo_text/1/model.safetensors" in shown
    assert "small.json" not in shown


def test_a_run_shows_a_large_transfer_on_the_line_of_its_asset():
    followed, progress = Followed(), Progress(console=Console(file=io.StringIO()))
    followed.start(progress, progress.console, {"sft_model": 3, "ppo_text": 3})
    followed.transfer("artifacts/quickstart/ppo_text/1/model.safetensors", SHOWN_FROM, 2 * SHOWN_FROM)
    followed.transfer("artifacts/quickstart/sft_model/1/model.json", 1, 2)
    followed.transfer("channels/quickstart/000000000001.json", 1, 2)
    assert [task.fields["state"] for task in progress.tasks] == [
        "waits",
        "model.safetensors: 50% of 16.8 MB",
    ]


def test_what_a_run_sees_of_a_source_is_no_progress_of_the_asset_that_reads_it():
    followed, progress = Followed(), Progress(console=Console(file=io.StringIO()))
    followed.start(progress, progress.console, {"customers": 3})
    for key, told in (
        ("customers", {"step": 1, "total": 4, "loss": 0.5}),
        ("customer_table", {"origin": "file"}),
    ):
        seen = dg.AssetObservation(asset_key=key, metadata=told)
        followed.event(
            dg.DagsterEvent(
                event_type_value="ASSET_OBSERVATION",
                job_name="train",
                event_specific_data=AssetObservationData(seen),
                step_handle=StepHandle(NodeHandle("customers", None), "customers"),
            )
        )
    (task,) = progress.tasks
    assert (task.fields["state"], task.completed) == ("25%  loss 0.5", 0.25)


def test_nothing_of_a_transfer_shows_in_a_pipe():
    assert watched(terminal=False) == ""


def test_a_transfer_that_breaks_off_leaves_the_terminal_as_it_was():
    screen = io.StringIO()
    with Transfers(Console(file=screen, force_terminal=True)) as transfers:
        transfers("artifacts/quickstart/ppo_text/1/model.safetensors", 0, SHOWN_FROM)
    assert screen.getvalue().endswith(("\x1b[?25h", "\x1b[1A\x1b[2K"))

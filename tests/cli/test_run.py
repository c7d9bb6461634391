"""`churn run`: what it makes, skips, refuses and says, on the project's own Dagster instance."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from churn_assets.cli.running import select_assets
from churn_assets.definitions import build_defs
from churn_assets.flow.registry import registry
from churn_assets.release.bundle import RELEASE_ASSET

FLOW = sorted((*registry().members["decision"], *registry().members["message"], RELEASE_ASSET))


def lines(done, state):
    return re.findall(rf"^ok  (\w+)  {state}", done.stdout, re.MULTILINE)


@pytest.fixture
def history(monkeypatch):
    def records(project):
        monkeypatch.chdir(project.root)
        monkeypatch.setenv("DAGSTER_HOME", str(project.root))
        with dg.DagsterInstance.get() as instance:
            return instance.get_run_records()

    return records


def test_a_second_run_trains_nothing_says_why_and_stands_in_the_projects_history(project, history):
    again = project.run("quickstart")
    assert again.returncode == 0
    assert sorted(lines(again, "skipped, unchanged: same configuration, inputs and source code")) == FLOW
    assert "0 made, 12 skipped because nothing changed" in again.stdout
    records = history(project)
    assert len(records) == 2
    assert all(record.dagster_run.status == dg.DagsterRunStatus.SUCCESS for record in records)
    assert not (project.root.parent / ".dagster").exists()
    for record in records:  # by this the UI puts a run on its timeline
        served = record.dagster_run.remote_job_origin
        assert (served.location_name, served.repository_origin.repository_name) == ("churn", "__repository__")
        assert record.dagster_run.tags[".dagster/repository"] == "__repository__@churn"


def test_only_what_is_selected_runs(project):
    done = project.run("quickstart", "--select", "risk_model")
    assert done.returncode == 0
    assert lines(done, "skipped") == ["risk_model"]


@pytest.mark.parametrize(
    ("select", "named"),
    [
        ("messages+", {"messages", "sft_model", "reward_model", "ppo_text", "release"}),
        ("messages+1", {"messages", "sft_model", "ppo_text", "release"}),
        ("+accept_model", {"customers", "offer_log", "accept_model"}),
        ("1+accept_model", {"customers", "offer_log", "accept_model"}),
        ("risk_model or sft_model", {"risk_model", "sft_model"}),
        ('key:"messages"+1', {"messages", "sft_model", "ppo_text", "release"}),
        ('group:"3_risk"', {"risk_model"}),
        ("customer_table+1", {"customers"}),
        ("*", set(FLOW)),
    ],
)
def test_a_selection_means_what_dagsters_documentation_says(select, named):
    assert select_assets(build_defs(), select) == named


def test_a_release_over_a_member_whose_gate_failed_is_refused_in_a_later_run_too(project):
    project.configure(lambda content: content["risk_model"]["gates"].update(min_auc=0.95, max_auc=0.99))
    judged = project.run("quickstart", "--select", "risk_model")
    assert judged.returncode == 1
    assert (
        "failed  risk_model  skipped, unchanged" in judged.stdout
    )  # a threshold is judged anew, not trained for
    assert re.search(r"ranks_well: auc is 0\.8\d+, needed >= 0\.9\d+", judged.stdout)
    released = project.run("quickstart", "--select", "release")
    assert released.returncode == 1
    assert "check ranks_well: auc is 0.8" in released.stderr
    assert "Traceback" not in released.stderr + judged.stderr
    assert project.churn("promote", "--reason", "test").exit_code == 1


def test_a_wrong_configuration_stops_before_anything_is_launched(empty):
    empty.configure(lambda content: content.pop("economics"))
    done = empty.run("quickstart")
    assert done.returncode == 2
    assert "economics: missing section" in done.stderr
    assert "quickstart.yaml" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (empty.root / ".dagster").exists()
    assert not (empty.root / ".churn").exists()


def test_an_unknown_experiment_names_the_nearest(empty):
    done = empty.run("quikstart")
    assert done.returncode == 2
    assert "did you mean 'quickstart'?" in done.stderr


@pytest.mark.parametrize(
    ("select", "hint"), [("risk_modle", "did you mean risk_model?"), ("((", "the assets are")]
)
def test_a_selection_that_names_nothing_is_an_error_with_a_hint(empty, select, hint):
    done = empty.run("quickstart", "--select", select)
    assert done.returncode == 2
    assert hint in done.stderr
    assert "Traceback" not in done.stderr


def test_an_asset_whose_inputs_were_never_made_says_what_to_run(empty):
    done = empty.run("quickstart", "--select", "risk_model")
    assert done.returncode == 2
    assert "customers of experiment 'quickstart' was never materialized" in done.stderr
    assert "churn run quickstart --select customers" in done.stderr


def test_a_customer_table_that_is_not_there_is_one_line(empty):
    empty.configure(lambda content: content["customers"].update(source="data/none.csv"))
    done = empty.run("quickstart", "--select", "customers")
    assert done.returncode == 2
    assert "none.csv: found no such file" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_upload_that_rotted_is_refused_by_name(project):
    project.spoil("customers", "customers.parquet")
    project.configure(lambda content: content["risk_model"].update(kind="boosting"))
    done = project.run("quickstart", "--select", "risk_model")
    assert done.returncode == 3
    assert re.search(r"^error: risk_model: quickstart/customers/.*customers\.parquet", done.stderr)


def test_a_run_that_is_stopped_is_told_as_an_interruption(empty):
    command = [Path(sys.executable).with_name("churn"), "--root", empty.root, "run", "quickstart"]
    environment = {k: v for k, v in os.environ.items() if k not in ("DAGSTER_HOME", "CHURN_ROOT")}
    run = subprocess.Popen(
        command, cwd=empty.root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert run.stdout.readline().startswith("ok  customers")  # the next asset is being made
    run.send_signal(signal.SIGINT)
    _, complaint = run.communicate(timeout=600)
    assert run.returncode == 130, complaint
    assert "interrupted; run the same command again" in complaint
    assert "Traceback" not in complaint

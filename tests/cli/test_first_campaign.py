"""From a churn table alone: a release of the risk, a designed campaign, and the log that trains the rest."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import httpx
import pandas as pd
import pytest
from conftest import REPOSITORY, Project

from benchmarks.served import Server, questions
from churn_assets.arms import Catalogue
from churn_assets.customers.table import EMBEDDED, read_customers
from churn_assets.experiment import load_experiment
from churn_assets.offers.log import read_log
from churn_assets.simulation.campaign import send_simulated

TELCO = EMBEDDED["telco"]
CONFIG = REPOSITORY / "configs" / "first_campaign.yaml"
KEY = {"CHURN_ASSIGNMENT_KEY": "a secret of some length"}
E = ("-e", "first_campaign")


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose only experiment has no offers: run, released and promoted."""
    project = Project(tmp_path_factory.mktemp("first") / "project")
    (project.root / "configs").mkdir(parents=True)
    for name in ("dagster.yaml", "workspace.yaml", "configs/first_campaign.yaml"):
        shutil.copy(REPOSITORY / name, project.root / name)
    project.configure(lambda content: content["risk_model"].update(kind="spline_logistic"), "first_campaign")
    done = project.run("first_campaign")
    assert done.returncode == 0, done.stdout + done.stderr
    assert project.churn("promote", *E, "--reason", "the first").exit_code == 0
    return project


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEY.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def campaign(first: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the campaign as assigned, as the demo world was sent it, and what came of it."""
    folder = tmp_path_factory.mktemp("campaign")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in KEY.items():
            patch.setenv(name, value)
        done = first.churn("design", TELCO, *E, "-o", folder / "assigned.csv", "--start", "2026-12-07")
    assert done.exit_code == 0, done.output
    files = [str(folder / f"{name}.csv") for name in ("assigned", "sent", "outcomes")]
    send_simulated(first.root, "first_campaign", *files)
    return folder


def check(first: Project, campaign: Path, sent: Path | None = None, *more: object):
    files = ("-o", campaign / "assigned.csv", "--check", sent or campaign / "sent.csv")
    return first.churn("design", TELCO, *E, *files, *more)


def test_the_release_holds_the_members_of_its_branch_and_says_what_is_missing(first, tmp_path):
    shown = first.churn("show", "champion", *E)
    assert shown.exit_code == 0, shown.output
    assert "branches: risk" in shown.output
    assert "it cannot tell which offer pays" in shown.output
    written = first.churn("report", "champion", *E, "--out", tmp_path / "report.html")
    assert written.exit_code == 0, written.output
    report = (tmp_path / "report.html").read_text()
    assert "no policy for offers" in report
    assert "churn design" in report
    held = {path.name for path in (first.root / ".churn/store/artifacts/first_campaign").iterdir()}
    assert held == {"customers", "risk_model", "release"}


def test_its_checks_hold_and_it_can_be_rolled_back(first):
    assert first.churn("checks", *E, "--release", "champion").exit_code == 0
    back = first.churn("rollback", *E, "--reason", "a try")
    assert back.exit_code == 1
    assert "the only release that ever led" in back.output


def test_decide_tells_risk_drivers_and_no_offer(first, tmp_path):
    done = first.churn("decide", TELCO, *E, "-o", tmp_path / "decided.csv", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.output)
    assert told["decided"] == 7043
    assert [row["arm"] for row in told["arms"]] == ["no_contact"]
    assert len(told["missing"]) == 2
    decided = pd.read_csv(tmp_path / "decided.csv")
    assert set(decided["arm"]) == {"no_contact"}
    assert set(decided["responses"]) == {"no offer model"}
    assert decided["drivers"].notna().mean() > 0.9


def test_a_message_needs_an_offer_and_says_so(first):
    done = first.churn("write", "7590-VHVEG", *E, "--arm", "percent_10")
    assert done.exit_code == 2
    assert "no offer model" in done.output


def test_tables_are_read_without_an_offer_log(first):
    done = first.churn("tables", "first_campaign")
    assert done.exit_code == 0, done.output
    assert "no offer log" in done.output


def test_a_server_tells_the_risk_and_logs_what_it_told(first):
    row = pd.read_csv(TELCO).iloc[0]
    features = {name: row[name] for name in row.index if name not in ("customerID", "Churn", "TotalCharges")}
    plain = {name: value.item() if hasattr(value, "item") else value for name, value in features.items()}
    with Server(first, options=E).start() as server, server.client() as client:
        told = client.get("/v1/release").json()
        assert told["branches"] == ["risk"]
        assert [arm["id"] for arm in told["menu"]] == ["no_contact"]
        assert told["rules"] is None
        answer = client.post("/v1/decisions", json={"customers": [{"customer_id": "a", "features": plain}]})
        assert answer.status_code == 200, answer.text
        (decision,) = answer.json()["decisions"]
        assert answer.json()["policy"] == "risk_model"
        assert (decision["contact"], decision["assigned"]) == (False, "no_offer_model")
        assert decision["churn_risk"] > 0.5
        assert {each["feature"] for each in decision["drivers"]} >= {"tenure"}
        wrong = client.post("/v1/decisions", json={"customers": [{"customer_id": "a", "features": {}}]})
        assert wrong.status_code == 422
        assert httpx.get(f"{server.url}/v2/models/release").json()["outputs"][1]["shape"] == [-1, 1]


def test_a_design_is_the_same_again(first, campaign, tmp_path):
    again = first.churn("design", TELCO, *E, "-o", tmp_path / "again.csv", "--start", "2026-12-07", "--json")
    assert (tmp_path / "again.csv").read_bytes() == (campaign / "assigned.csv").read_bytes()
    told = json.loads(again.output)
    assert told["decisions"] == 5000
    assert {row["arm"] for row in told["arms"]} == set(load_menu(first)[1:])


def load_menu(first: Project) -> list[str]:
    config = load_experiment("first_campaign", first.root / "configs").campaign
    return list(config.arms(Catalogue()).ids)


@pytest.mark.parametrize("secret", ["", "short", "@/nowhere/at/all"])
def test_no_campaign_without_a_secret(first, tmp_path, monkeypatch, secret):
    monkeypatch.setenv("CHURN_ASSIGNMENT_KEY", secret)
    done = first.churn("design", TELCO, *E, "-o", tmp_path / "a.csv")
    assert done.exit_code == 2
    assert "CHURN_ASSIGNMENT_KEY" in done.output
    assert not (tmp_path / "a.csv").exists()


def test_no_campaign_without_a_section(first, tmp_path):
    copy = Project(tmp_path / "project")
    shutil.copytree(first.root / "configs", copy.root / "configs")
    copy.configure(lambda content: content.pop("campaign"), "first_campaign")
    done = copy.churn("design", TELCO, *E)
    assert done.exit_code == 2
    assert "no section campaign" in done.output


def test_who_opted_out_is_assigned_nothing(first, tmp_path):
    raw = pd.read_csv(TELCO)
    raw.assign(opted_out=(raw.index < 3000).astype(int)).to_csv(tmp_path / "t.csv", index=False)
    done = first.churn("design", tmp_path / "t.csv", *E, "-o", tmp_path / "a.csv", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["opted_out"] == 3000
    assert not set(raw["customerID"][:3000]) & set(pd.read_csv(tmp_path / "a.csv")["customer_id"])


def test_what_was_sent_as_assigned_becomes_a_log_that_training_reads(first, campaign, tmp_path):
    done = check(
        first,
        campaign,
        None,
        "--outcomes",
        campaign / "outcomes.csv",
        "--log",
        tmp_path / "log.csv",
        "--json",
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["log"]["written"] == 5000
    experiment = load_experiment("first_campaign", first.root / "configs")
    customers = read_customers(experiment.customers, seed=experiment.seed, root=first.root)
    log = read_log(tmp_path / "log.csv", {}, customers.ids, Catalogue(), features=customers.frame)
    assert len(log) == 5000
    assert log.menu.ids == tuple(load_menu(first))
    assert log.accepted[log.arm > 0].mean() > 0.1


def test_a_spoiled_campaign_makes_no_log_and_all_that_is_wrong_is_told(first, campaign, tmp_path):
    sent, assigned = pd.read_csv(campaign / "sent.csv"), pd.read_csv(campaign / "assigned.csv")
    held = assigned[assigned["arm"] == "no_contact"]["customer_id"].head(10)
    other = pd.DataFrame({"customer_id": [*held, sent["customer_id"].iloc[0], "nobody"], "arm": "percent_30"})
    pd.concat([sent, other]).to_csv(tmp_path / "sent.csv", index=False)
    files = ("--outcomes", campaign / "outcomes.csv", "--log", tmp_path / "log.csv", "--json")
    done = check(first, campaign, tmp_path / "sent.csv", *files)
    assert done.exit_code == 1
    verdicts = {row["gate"] for row in json.loads(done.output)["gates"] if row["verdict"] == "FAILED"}
    assert {"sent_to_the_holdout", "sent_again", "sent_unassigned"} <= verdicts
    assert not (tmp_path / "log.csv").exists()


def test_another_table_than_the_campaigns_is_refused(first, campaign, tmp_path):
    pd.read_csv(TELCO).head(100).to_csv(tmp_path / "few.csv", index=False)
    files = ("-o", campaign / "assigned.csv", "--check", campaign / "sent.csv")
    done = first.churn("design", tmp_path / "few.csv", *E, *files)
    assert done.exit_code == 2
    assert "are not in the table" in done.output


def test_a_served_campaign_lets_chance_decide_and_its_log_is_an_offer_log(first, tmp_path):
    project = Project(tmp_path / "project")
    shutil.copytree(first.root, project.root)
    project.configure(lambda content: content["campaign"].update(served=True), "first_campaign")
    done = project.run("first_campaign")
    assert done.returncode == 0, done.stdout + done.stderr
    assert project.churn("promote", *E, "--reason", "the experiment").exit_code == 0
    experiment = load_experiment("first_campaign", project.root / "configs")
    customers = read_customers(experiment.customers, seed=experiment.seed, root=project.root)
    some = questions(customers)[:600]
    unkeyed = Server(project, options=E, environment={"CHURN_ASSIGNMENT_KEY": ""})
    with unkeyed.start(ready=False) as server, server.client() as client:
        trouble = client.get("/v1/release").json()["trouble"]
        assert trouble["kind"] == "UnservableError"
        assert "CHURN_ASSIGNMENT_KEY" in trouble["detail"]
    with Server(project, options=E, environment=KEY).start() as server, server.client() as client:
        answer = client.post("/v1/decisions", json={"customers": some})
        assert answer.status_code == 200, answer.text
        decided = answer.json()["decisions"]
        assert {each["assigned"] for each in decided} == {"experiment"}
        assert {each["message"]["written_by"] for each in decided if each["contact"]} == {"template"}
        outcomes = [
            {
                "decision_id": each["decision_id"],
                "accepted": each["contact"] and place % 3 == 0,
                "churned": place % 5 == 0,
            }
            for place, each in enumerate(decided)
        ]
        assert client.post("/v1/outcomes", json={"outcomes": outcomes}).status_code == 200
        server.stop()
    done = project.churn("log", *E, "-o", tmp_path / "log.csv")
    assert done.exit_code == 0, done.output
    log = read_log(tmp_path / "log.csv", {}, customers.ids, Catalogue(), features=customers.frame)
    assert len(log) == 600
    assert log.propensities[:, 0] == pytest.approx(0.25)

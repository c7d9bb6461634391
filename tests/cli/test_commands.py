"""Every other command: each option reaches its parameter, each refusal is one line and an exit code."""

import json
import subprocess
import sys

import pandas as pd
import pytest
import yaml

from churn_assets.cli import ROOT, app
from churn_assets.customers.table import EMBEDDED
from churn_assets.store.channels import Channel
from churn_assets.store.location import open_store


def channel(project):
    return Channel(open_store(".churn/store", root=project.root), "quickstart")


@pytest.fixture
def some(tmp_path):
    """Thirty real customers."""
    path = tmp_path / "some.csv"
    pd.read_csv(EMBEDDED["telco"], dtype=str, keep_default_na=False).head(30).to_csv(path, index=False)
    return path


def test_releases_lists_what_was_released_and_what_leads(project):
    assert "leads" not in project.churn("releases").output
    assert project.churn("promote", "--reason", "test").exit_code == 0
    (row,) = json.loads(project.churn("releases", "--json").output)
    assert row["channel"] == "leads quickstart"
    assert row["responses"] == "simulated"


def test_releases_of_an_empty_project_say_what_to_run(empty):
    result = empty.churn("releases")
    assert result.exit_code == 0
    assert "churn run quickstart" in result.output


def test_show_gives_members_figures_and_what_promotion_would_decide(project):
    result = project.churn("show", "latest")
    assert result.exit_code == 0
    for shown in ("risk_model", "held_out_auc", "simulated", "can be promoted", "gates of 12 artifacts hold"):
        assert shown in result.output


def test_the_report_is_the_releases_own_evidence(project, tmp_path):
    told = json.loads(project.churn("report", "--out", tmp_path / "report.html", "--json").stdout)
    assert told["call"] in ("promote", "discuss")
    stored = (project.newest("release") / "report.html").read_text()
    for html in (stored, (tmp_path / "report.html").read_text()):
        assert "SIMULATED" in html
        assert 'id="funnel"' in html
        assert html.count("data:image/svg+xml;base64,") >= 8
        assert "http://" not in html
        assert "https://" not in html


def test_promote_and_rollback_record_actor_and_reason(project):
    assert project.churn("promote", "latest", "--reason", "first", "--actor", "ann").exit_code == 0
    (record,) = channel(project).history()
    assert (record.actor, record.reason) == ("ann", "first")
    refused = project.churn("rollback", "--reason", "oops", "--actor", "bob")
    assert refused.exit_code == 1
    assert "only release that ever led" in refused.output


def test_rollback_goes_back_to_the_release_that_is_named(project):
    first = project.newest("release").name
    assert project.churn("promote", "--reason", "test").exit_code == 0
    project.configure(lambda content: content["release"].update(golden_customers=5))
    assert project.run("quickstart").returncode == 0
    assert project.churn("promote", "--reason", "test").exit_code == 0
    assert channel(project).head().ref.version != first
    project.spoil("release", "bundle.json")  # what leads is broken
    result = project.churn("rollback", "--reason", "test", "--to", first, "--actor", "bob")
    assert result.exit_code == 0, result.output
    head = channel(project).head()
    assert (head.action, head.actor, head.ref.version) == ("rollback", "bob", first)


def test_promoting_a_release_with_a_tampered_gate_report_is_refused(project):
    reports = project.newest("ppo_decision") / "gates" / "off_policy"
    (stored,) = reports.iterdir()
    stored.chmod(0o644)
    stored.write_text(stored.read_text().replace('"passed":true', '"passed":false', 1))
    result = project.churn("promote", "--reason", "test")
    assert result.exit_code == 1
    assert "off_policy" in result.output
    assert channel(project).head() is None


def test_promoting_a_release_with_a_corrupt_member_is_refused_by_name(project):
    project.spoil("ppo_decision", "policy.safetensors")
    result = project.churn("promote", "--reason", "test")
    assert result.exit_code == 1
    assert "policy.safetensors" in result.output


def test_a_release_that_does_not_exist_names_the_nearest(project):
    newest = project.newest("release").name
    result = project.churn("promote", "--reason", "test", newest[:-1] + ("0" if newest[-1] != "0" else "1"))
    assert result.exit_code == 2
    assert newest in result.output


def test_checks_give_every_figure_and_threshold_as_json(project):
    result = project.churn("checks", "--json")
    assert result.exit_code == 0
    found = json.loads(result.output)
    assert found["problems"] == []
    by_gate = {(row["asset"], row["check"], row["gate"]): row for row in found["checks"]}
    auc = by_gate["risk_model", "ranks_well", "auc"]
    assert auc["figure"] > auc["threshold"]
    assert (auc["bound"], auc["verdict"]) == (">=", "passed")
    assert {row["asset"] for row in found["checks"]} >= {"customers", "offer_log", "ppo_decision", "release"}
    assert json.loads(project.churn("checks", "--release", "latest", "--json").output) == found
    (newest, *_) = json.loads(project.churn("releases", "--json").output)
    assert newest["checks"] == len({(row["asset"], row["check"]) for row in found["checks"]}), "one count"


def test_checks_fail_where_a_version_fails(project):
    project.spoil("risk_model", "model.json")
    result = project.churn("checks")
    assert result.exit_code == 1
    assert "model.json" in result.output


def test_decide_adds_decision_offer_reasons_value_propensity_and_release(project, some, tmp_path):
    assert project.churn("promote", "--reason", "test").exit_code == 0
    out = tmp_path / "decided.parquet"
    result = project.churn("decide", some, "--out", out)
    assert result.exit_code == 0, result.output
    given, decided = pd.read_csv(some, dtype=str, keep_default_na=False), pd.read_parquet(out)
    pd.testing.assert_frame_equal(decided[given.columns.tolist()], given)
    assert (decided["release"] == str(channel(project).head().ref)).all()
    assert decided["decision_id"].is_unique
    labels = {
        "no_contact": "no contact",
        "percent_10": "10% off for 6 months",
        "percent_30": "30% off for 6 months",
    }
    assert (decided["offer"] == decided["arm"].map(labels)).all()
    assert ((decided["decision"] == "offer") == (decided["arm"] != "no_contact")).all()
    assert (decided.loc[decided["arm"] == "no_contact", "expected_value"] == 0).all()
    assert decided["propensity"].between(0, 1).all()
    assert decided["reasons"].str.contains("risk").all()
    assert (decided["responses"] == "simulated").all()
    assert "SIMULATED" in result.output
    assert "USD of value added over no offer" in result.output


def test_decide_reads_parquet_writes_beside_the_file_and_can_use_a_release_that_does_not_lead(project, some):
    parquet = some.with_suffix(".parquet")
    pd.read_csv(some, dtype=str, keep_default_na=False).to_parquet(parquet)
    result = project.churn("decide", parquet, "--release", "latest")
    assert result.exit_code == 0, result.output
    beside = pd.read_parquet(parquet.with_name("some.decided.parquet"))
    assert len(beside) == 30


def test_decide_without_a_champion_says_so_and_decides_nothing(project, some):
    result = project.churn("decide", some)
    assert result.exit_code == 2
    assert "nothing leads quickstart yet" in result.output
    assert not some.with_name("some.decided.csv").exists()


def test_nobody_who_opted_out_is_offered_anything(project, some, tmp_path):
    table = pd.read_csv(some, dtype=str, keep_default_na=False)
    table.assign(opted_out=1, prior_offers=0).to_csv(some, index=False)
    out = tmp_path / "decided.csv"
    assert project.churn("decide", some, "--release", "latest", "--out", out).exit_code == 0
    decided = pd.read_csv(out)
    assert (decided["arm"] == "no_contact").all()
    assert decided["reasons"].str.contains("opted out").all()


def test_recent_offers_lower_acceptance(project, some, tmp_path):
    table = pd.read_csv(some, dtype=str, keep_default_na=False)
    means = []
    for prior in (0, 3):
        table.assign(prior_offers=prior).to_csv(some, index=False)
        out = tmp_path / f"{prior}.csv"
        assert project.churn("decide", some, "--release", "latest", "--out", out).exit_code == 0
        decided = pd.read_csv(out)
        means.append(decided.loc[decided["arm"] == "percent_10", "acceptance"].max())
    assert means[1] < means[0] or pd.isna(means[1])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda table: table.drop(columns="Contract"), "Contract"),
        (lambda table: table.assign(Contract="Decade"), "Decade"),
        (lambda table: table.assign(MonthlyCharges="-3"), "MonthlyCharges"),
        (lambda table: table.assign(tenure=""), "tenure"),
        (lambda table: pd.concat([table, table]), "customerID"),
        (lambda table: table.assign(prior_offers=1.5), "prior_offers"),
    ],
    ids=[
        "missing column",
        "unseen category",
        "negative price",
        "blank tenure",
        "twice",
        "half an offer",
    ],
)
def test_a_customer_table_that_is_not_what_was_trained_on_is_refused_and_nothing_is_invented(
    project, some, change, said
):
    change(pd.read_csv(some, dtype=str, keep_default_na=False)).to_csv(some, index=False)
    result = project.churn("decide", some, "--release", "latest")
    assert result.exit_code == 2, result.output
    assert said in result.output
    assert "Traceback" not in result.output
    assert not some.with_name("some.decided.csv").exists()


def test_a_corrupt_release_decides_nothing(project, some):
    project.spoil("accept_model", "predictor.safetensors")
    result = project.churn("decide", some, "--release", "latest")
    assert result.exit_code == 3
    assert "predictor.safetensors" in result.output


def test_another_experiment_is_another_store_view(project):
    (project.root / "configs" / "other.yaml").write_text(
        (project.root / "configs" / "quickstart.yaml").read_text()
    )
    assert "No release of other yet" in project.churn("releases", "--experiment", "other").output


def test_the_command_starts_without_the_libraries_it_may_never_need():
    heavy = ("dagster", "pandas", "numpy", "torch", "sklearn", "matplotlib")
    code = f"import sys, churn_assets.cli; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_the_exit_codes_are_documented_in_the_help():
    from typer.testing import CliRunner

    shown = CliRunner().invoke(app, ["--help"]).output
    for code in ("0 done", "1 a gate", "2", "3 the", "4 a run", "70"):
        assert code in " ".join(shown.split())


def test_explore_says_what_each_design_costs_before_a_server_starts(project):
    config = project.root / "configs" / "quickstart.yaml"
    content = yaml.safe_load(config.read_text())
    content["serving"] = {}
    config.write_text(yaml.safe_dump(content))
    refused = project.churn("explore", "--release", "latest")
    assert refused.exit_code == 2
    assert "expected a share above 0" in refused.output
    content["serving"] = {"holdout_share": 0.05, "exploration_share": 0.45}
    config.write_text(yaml.safe_dump(content))
    done = project.churn("explore", "--release", "latest", "--json")
    assert done.exit_code == 0, done.output
    uniform, plausible, top_two = json.loads(done.output)["designs"]
    assert (uniform["design"], uniform["configured"]) == ("uniform", True)
    assert plausible["cost"] <= uniform["cost"]
    assert top_two["cost"] <= uniform["cost"]
    assert uniform["served"] + uniform["cost"] == pytest.approx(uniform["policy"])
    shown = project.churn("explore", "--release", "latest").output
    assert "money a decision" in " ".join(shown.split())


def test_write_shows_texts_rewards_and_what_would_be_sent(project):
    command = ("write", "7590-VHVEG", "--release", "latest", "--n", "2", "--json")
    shown = project.churn(*command, "--arm", "percent_10")
    assert shown.exit_code == 0, shown.output
    told = json.loads(shown.output)
    assert told["arm"] == "percent_10"
    assert "Offer: 10% off for 6 months" in told["prompt"]
    # A model that was hardly trained does not beat the template, so that is what the release sends, once.
    (message,) = told["messages"]
    assert isinstance(message["reward"], float)
    assert message["sent"] == "template"
    assert "10% off" in message["as sent"]
    assert json.loads(project.churn(*command, "--offer", "10").output) == told


def test_write_puts_a_name_in_only_if_it_is_one(project):
    command = ("write", "7590-VHVEG", "--release", "latest", "--offer", "10", "--json", "--name")
    (message,) = json.loads(project.churn(*command, "Ada").output)["messages"]
    assert "Ada" in message["as sent"]
    assert "{name}" not in message["as sent"]
    refused = project.churn(*command, "Ada 90% off")
    assert refused.exit_code == 2
    assert "expected at most 40 letters" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("7590-VHVE", "--arm", "percent_10"), "did you mean 7590-VHVEG"),
        (("7590-VHVEG", "--arm", "free_month"), "expected one of percent_10, percent_30"),
        (("7590-VHVEG", "--offer", "15"), "arm percent_15 is not on the menu"),
        (("7590-VHVEG", "--offer", "10", "--arm", "percent_10"), "expected one of them"),
    ],
)
def test_write_refuses_whom_and_what_the_release_does_not_know(project, arguments, said):
    refused = project.churn("write", *arguments, "--release", "latest")
    assert refused.exit_code == 2
    assert said in refused.stderr


def test_decide_writes_to_everybody_who_is_made_an_offer_and_to_nobody_else(project, some, tmp_path):
    out = tmp_path / "decided.csv"
    done = project.churn("decide", some, "--release", "latest", "--messages", "--out", out)
    assert done.exit_code == 0, done.output
    decided = pd.read_csv(out, keep_default_na=False)
    offered = decided["arm"] != "no_contact"
    assert offered.any()
    assert (decided.loc[~offered, "message"] == "").all()
    for row in decided[offered].itertuples():
        assert row.offer.split(" for ")[0] in row.message
        assert row.written_by in ("model", "template")


def test_decide_knows_what_an_earlier_wave_sent_and_refuses_a_file_that_does_not_say(project, some, tmp_path):
    out, sent = tmp_path / "decided.csv", tmp_path / "sent.csv"
    known = pd.read_csv(some, dtype=str)["customerID"]
    pd.DataFrame({"customerID": known, "message": "Hello."}).to_csv(sent, index=False)
    command = ("decide", some, "--release", "latest", "--out", out, "--sent-before", sent)
    done = project.churn(*command, "--messages")
    assert done.exit_code == 0, done.output
    assert (pd.read_csv(out, keep_default_na=False)["message"] != "").any()
    refused = project.churn(*command)
    assert refused.exit_code == 2
    assert "--sent-before without --messages" in refused.stderr
    pd.DataFrame({"customerID": known}).to_csv(sent, index=False)
    refused = project.churn(*command, "--messages")
    assert refused.exit_code == 2
    assert "found no column 'message'" in refused.stderr


def test_a_row_that_cannot_be_decided_for_says_why_and_the_exit_code_says_so(project, some, tmp_path):
    table = pd.read_csv(some, dtype=str, keep_default_na=False)
    table.loc[4, "MonthlyCharges"] = "0"
    table.to_csv(some, index=False)
    out = tmp_path / "decided.csv"
    command = ("decide", some, "--release", "latest", "--out", out)
    shown = project.churn(*command)
    assert shown.exit_code == 5, shown.output
    assert "1 rows could not be decided for" in shown.output
    assert "column 'MonthlyCharges', line 6: found '0'" in shown.output
    decided = pd.read_csv(out, keep_default_na=False)
    assert (decided["decision"] == "could not be decided").tolist() == [row == 4 for row in range(len(table))]
    assert "line 6" in decided["reasons"][4]
    assert decided["arm"][4] == ""
    told = json.loads(project.churn(*command, "--json").output)
    assert (told["decided"], told["undecided"]) == (len(table) - 1, 1)
    assert told["problems"][0]["lines"] == [6]
    with_texts = project.churn(*command, "--messages")
    assert with_texts.exit_code == 5, with_texts.output
    assert pd.read_csv(out, keep_default_na=False)["message"][4] == ""


def test_a_column_called_like_an_output_stays_and_ours_has_another_name(project, some, tmp_path):
    out = tmp_path / "decided.csv"
    pd.read_csv(some, dtype=str, keep_default_na=False).assign(policy="A", release="mine").to_csv(
        some, index=False
    )
    shown = project.churn("decide", some, "--release", "latest", "--out", out)
    assert shown.exit_code == 0, shown.output
    assert "column 'policy' is there already: ours is 'decided_policy'" in shown.output
    decided = pd.read_csv(out)
    assert set(decided["policy"]) == {"A"}
    assert decided["decided_release"].str.startswith("quickstart/release/").all()


def test_a_dialect_decides_as_the_plain_file(project, some, tmp_path):
    table = pd.read_csv(some, dtype=str, keep_default_na=False)
    arms = []
    for name, options in {
        "plain.csv": {},
        "german.CSV": {"sep": ";"},
        "packed.csv.gz": {"compression": "gzip"},
    }.items():
        file = tmp_path / name
        german = table.assign(MonthlyCharges=table["MonthlyCharges"].str.replace(".", ","))
        (german if options.get("sep") else table).to_csv(file, index=False, **options)
        shown = project.churn("decide", file, "--release", "latest")
        assert shown.exit_code == 0, shown.output
        arms.append(pd.read_csv(file.with_name(f"{name.split('.')[0]}.decided.csv"))["arm"].tolist())
    assert arms[0] == arms[1] == arms[2]


def test_a_refused_file_is_told_as_data_too(project, some):
    pd.read_csv(some, dtype=str, keep_default_na=False).assign(Opted_Out=1).to_csv(some, index=False)
    refused = project.churn("decide", some, "--release", "latest", "--json")
    assert refused.exit_code == 2
    (problem,) = json.loads(refused.output)["problems"]
    assert (problem["column"], problem["found"][:12]) == ("Opted_Out", "a name like ")
    assert not some.with_name("some.decided.csv").exists()

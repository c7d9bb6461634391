"""`report`, `explain`, `checks --junit`, `show --json`: on a stored release of small models, whose checks never ran."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import pandas as pd
import pytest
from kept_release import of_kept_release
from typer.testing import CliRunner

from churn_assets.cli import app


@dataclass
class Unchecked:
    """A project with that release."""

    root: Path

    def churn(self, *arguments):
        return CliRunner().invoke(app, ["--root", str(self.root), *map(str, arguments)])

    @property
    def release(self):
        (folder,) = (self.root / ".churn" / "store" / "artifacts" / "quickstart" / "release").iterdir()
        return folder.name

    @property
    def customer(self):
        (file,) = (self.root / ".churn" / "store" / "artifacts").rglob("customers.parquet")
        return str(pd.read_parquet(file)["customer_id"].iloc[0])


@pytest.fixture(scope="module")
def unchecked(tmp_path_factory):
    return Unchecked(of_kept_release(tmp_path_factory.mktemp("unchecked") / "project"))


def test_report_writes_a_page_and_says_the_verdict(unchecked, tmp_path):
    file = tmp_path / "deep" / "report.html"
    shown = unchecked.churn("report", "--out", file)
    assert shown.exit_code == 0, shown.output
    assert "Do not promote: the evidence does not hold" in shown.output
    html = file.read_text()
    assert "never ran on this version" in html
    assert 'id="funnel"' in html
    # Decided anew, as this release keeps no tables.
    assert "expected to be kept by it" in html


def test_without_a_file_the_report_goes_beside_the_store_and_json_says_where(unchecked):
    shown = unchecked.churn("report", "latest", "--json")
    assert shown.exit_code == 0, shown.output
    told = json.loads(shown.stdout)
    assert told["call"] == "do not promote"
    assert told["written"] == str(unchecked.root / ".churn" / "reports" / f"{unchecked.release}.html")
    assert Path(told["written"]).is_file()
    assert {"weight", "fault", "said", "advice", "where"} == set(told["grounds"][0])


def test_report_names_no_customer(unchecked, tmp_path):
    unchecked.churn("report", "--out", tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text()
    (file,) = (unchecked.root / ".churn" / "store" / "artifacts").rglob("customers.parquet")
    assert [each for each in pd.read_parquet(file)["customer_id"] if str(each) in html] == []


def test_report_against_itself_flips_nobody(unchecked, tmp_path):
    shown = unchecked.churn("report", "--against", unchecked.release, "--out", tmp_path / "report.html")
    assert shown.exit_code == 0, shown.output
    html = (tmp_path / "report.html").read_text()
    assert 'data-from="= sum of tables/flips where before is not now">0</data>' in html


@pytest.mark.parametrize("arguments", [("report", "nothing"), ("report", "--against", "nothing")])
def test_report_of_no_release_says_so(unchecked, arguments):
    shown = unchecked.churn(*arguments)
    assert shown.exit_code == 2
    assert "no release 'nothing' of quickstart" in " ".join(shown.output.split())


def test_a_report_that_cannot_be_written_is_wrong_use(unchecked, tmp_path):
    (tmp_path / "file").write_text("")
    shown = unchecked.churn("report", "--out", tmp_path / "file" / "report.html")
    assert shown.exit_code == 2
    assert "cannot be written" in " ".join(shown.output.split())


def test_show_no_longer_writes_reports_and_says_what_does(unchecked):
    shown = unchecked.churn("show", "latest", "--report", "x.html")
    assert shown.exit_code == 2
    assert "churn report latest --out x.html" in " ".join(shown.output.split())


def test_show_as_json_has_members_and_what_promotion_would_decide(unchecked):
    told = json.loads(unchecked.churn("show", "latest", "--json").stdout)
    assert [each["asset"] for each in told["members"]][:2] == ["customers", "offer_log"]
    assert told["promotion"]["promote"] is False
    assert told["promotion"]["reason"]


def test_explain_tells_arms_drivers_and_what_would_change_it(unchecked):
    shown = unchecked.churn("explain", unchecked.customer)
    assert shown.exit_code == 0, shown.output
    for said in ("Every arm, USD", "What drives the risk", "projected", "least", "forbidden by"):
        assert said in shown.output
    told = json.loads(unchecked.churn("explain", unchecked.customer, "--json").stdout)
    assert told["decision"] in [each["arm"] for each in told["arms"]]
    assert all(each["least"] <= each["most"] + 1e-9 for each in told["arms"])
    assert told["history"] == []
    assert "Nothing was decided for this customer before" in " ".join(shown.output.split())
    assert told["drivers"]


def test_explain_of_a_stranger_is_wrong_use(unchecked):
    shown = unchecked.churn("explain", "nobody-at-all")
    assert shown.exit_code == 2
    assert "is not in the 400 of" in " ".join(shown.output.split())


def test_junit_has_a_case_for_every_check_and_says_what_is_missing(unchecked, tmp_path):
    file = tmp_path / "checks.xml"
    shown = unchecked.churn("checks", "--release", "latest", "--junit", file)
    assert shown.exit_code == 1
    root = ET.parse(file).getroot()
    suites = {each.get("name").split("/")[1]: each for each in root}
    assert set(suites) == {
        "customers", "offer_log", "risk_model", "accept_model", "effect_model", "ppo_decision", "release",
    }  # fmt: skip
    said = [each.get("message") for each in suites["risk_model"].iter("error")]
    assert any("check calibrated never ran" in each for each in said)
    assert int(suites["risk_model"].get("errors")) == len(said)


def test_junit_tells_failed_gates_with_what_to_do(tmp_path):
    from report_cases import FAULTS, CaseShelf, good, publish

    from churn_assets.cli.report_commands import write_junit
    from churn_assets.release.promotion import inspect

    evidence = good()
    FAULTS["miscalibration"].plant(evidence)
    shelf = CaseShelf(tmp_path / "shelf")
    candidate = inspect(shelf.store, publish(shelf, evidence), shelf.required)
    write_junit(tmp_path / "checks.xml", "toy", candidate.evidence)
    root = ET.parse(tmp_path / "checks.xml").getroot()
    (failure,) = root.iter("failure")
    assert "mean_p_value is 1e-07" in failure.get("message")
    assert "calibration plot" in failure.text
    assert list(root.iter("error")) == []


def test_the_version_is_told():
    shown = CliRunner().invoke(app, ["--version"])
    assert shown.exit_code == 0
    assert shown.output.startswith("churn ")


def test_a_shell_completes_experiments():
    from churn_assets.cli.place import complete_experiment

    assert "quickstart" in complete_experiment("quick")
    assert complete_experiment("no such") == []
    assert "--install-completion" in CliRunner().invoke(app, ["--help"]).output

"""`churn offers`: stopped for a reason, told with who and why, made again; and keys of people."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from churn_assets.cli import app
from churn_assets.serving.security import Keyring, read_keys

ROOT = Path(__file__).parents[2]


@pytest.fixture
def churn(tmp_path):
    """Runs a command in a project of its own."""
    (tmp_path / "configs").mkdir()
    shutil.copy(ROOT / "configs" / "quickstart.yaml", tmp_path / "configs")
    return lambda *words: CliRunner().invoke(app, ["--root", str(tmp_path), *map(str, words)])


def test_offers_are_stopped_told_and_made_again(churn):
    assert "Offers are made" in churn("offers", "status").output
    stopped = churn("offers", "stop", "--reason", "wrong price list", "--actor", "anna")
    assert stopped.exit_code == 0, stopped.output
    assert "Offers are stopped (record 1)" in stopped.output
    told = json.loads(churn("offers", "status", "--json").stdout)
    assert told["stopped"] is True
    assert (told["acts"][0]["actor"], told["acts"][0]["reason"]) == ("anna", "wrong price list")
    assert churn("offers", "resume", "-r", "prices are right").exit_code == 0
    assert json.loads(churn("offers", "status", "--json").stdout)["stopped"] is False


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("offers", "stop"), "--reason: found none"),
        (("offers", "resume", "-r", "why not"), "made already"),
        (("keys", "keys.json", "--add", "anna", "--role", "boss"), "expected viewer or promoter"),
        (("keys", "keys.json", "--role", "viewer"), "with --add"),
    ],
)
def test_wrong_use_is_named(churn, words, said):
    shown = churn(*words)
    assert shown.exit_code == 2
    assert said in " ".join(shown.output.split())


def test_a_persons_key_has_a_role_and_a_callers_file_stays_readable_by_older_servers(churn, tmp_path):
    file = tmp_path / "keys.json"
    assert churn("keys", file, "--add", "crm").exit_code == 0
    assert "role" not in json.loads(file.read_text())[0]
    shown = churn("keys", file, "--add", "anna", "--role", "promoter")
    assert "console (promoter)" in shown.output
    assert [(each.name, each.role) for each in read_keys(file)] == [("crm", None), ("anna", "promoter")]


def test_a_name_in_brackets_is_shown_as_it_is_and_its_key_is_good(churn, tmp_path):
    file = tmp_path / "keys.json"
    shown = churn("keys", file, "--add", "a[/b]")
    assert shown.exit_code == 0, shown.output
    assert "a[/b]" in shown.output
    assert Keyring(file).name_of(f"Bearer {shown.stdout.split()[-1]}".encode()) == "a[/b]"
    assert "a[/b]" in churn("keys", file).output

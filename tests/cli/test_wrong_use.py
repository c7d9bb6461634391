"""Every command, used wrongly: exit code 2 and a way on, never a traceback. New commands are found by themselves."""

from __future__ import annotations

import pytest
import typer
from typer.testing import CliRunner

from churn_assets.cli import app

GROUP = typer.main.get_command(app)
EVERY = [
    pytest.param(path, command, id=" ".join(path))
    for name, found in sorted(GROUP.commands.items())
    for path, command in (
        [((name, inner), each) for inner, each in sorted(found.commands.items())]
        if hasattr(found, "commands")
        else [((name,), found)]
    )
]
NEEDED = {  # what stands for each argument that a command cannot go without
    "experiment": "quickstart", "source": "a-store", "target": "another-store", "file": "nothing.json",
    "table": "nothing.csv", "customer": "7590-VHVEG",
}  # fmt: skip


@pytest.fixture
def churn(tmp_path, monkeypatch):
    """`churn` in an empty project, as a person would have it after cloning into the wrong folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CHURN_STORE", raising=False)
    monkeypatch.setenv("COLUMNS", "200")

    def use(*arguments):
        return CliRunner().invoke(app, ["--root", str(tmp_path), *arguments])

    return use


def refused(done, *words):
    assert done.exit_code == 2, (done.exit_code, done.output)
    assert "Traceback" not in done.output
    assert done.exception is None or isinstance(done.exception, SystemExit)
    assert all(word in done.output for word in words), done.output


def arguments_of(command):
    return [each for each in command.params if each.param_type_name == "argument"]


@pytest.mark.parametrize(("path", "command"), EVERY)
def test_an_unknown_option_is_refused_with_a_way_to_the_help(churn, path, command):
    refused(churn(*path, "--no-such-option"), "--no-such-option", "--help")


@pytest.mark.parametrize(("path", "command"), EVERY)
def test_an_argument_too_many_is_refused(churn, path, command):
    several = any(each.nargs == -1 for each in arguments_of(command))
    if not several:
        refused(churn(*path, *["one"] * (len(arguments_of(command)) + 1)), "--help")


@pytest.mark.parametrize(
    ("path", "command"), [each for each in EVERY if any(a.required for a in arguments_of(each.values[1]))]
)
def test_a_missing_argument_is_named(churn, path, command):
    refused(churn(*path), "Missing", "--help")


@pytest.mark.parametrize(
    ("path", "command"),
    [each for each in EVERY if any("--experiment" in p.opts for p in each.values[1].params)],
)
def test_an_experiment_that_is_not_there_is_named(churn, path, command):
    needed = [NEEDED.get(each.name, "one") for each in arguments_of(command) if each.required]
    options = [
        word
        for each in command.params
        if each.param_type_name == "option" and each.required
        for word in (each.opts[0], "nothing.csv")
    ]
    reason = ["--reason", "a reason"] if any("--reason" in each.opts for each in command.params) else []
    refused(churn(*path, *needed, *options, *reason, "--experiment", "nosuch"))


@pytest.mark.parametrize("command", ["promote", "rollback"])
@pytest.mark.parametrize("reason", [[], ["--reason", "  "]])
def test_what_moves_a_channel_needs_a_reason(churn, command, reason):
    refused(churn(command, *reason), "--reason", "why")


def test_no_command_at_all_shows_the_help(churn):
    assert "Usage" in churn().output


def test_a_root_that_is_not_there_is_named(tmp_path):
    refused(
        CliRunner().invoke(app, ["--root", str(tmp_path / "none"), "releases"]), "does not exist", "--help"
    )

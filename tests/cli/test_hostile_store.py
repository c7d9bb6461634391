"""What the command line makes of texts, files, machines and paths that nobody hoped for; on stored releases."""

import errno
import json
import os
import pwd
import re
import shutil
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from conftest import Project
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from churn_assets.cli import store_commands
from churn_assets.cli.errors import BUG, MACHINE, UsageProblemError, code_of, guarded, hint_of
from churn_assets.cli.screen import out, table
from churn_assets.cli.shown import one_line, plain, styled
from churn_assets.release.bundle import RELEASE
from churn_assets.store import errors as store_errors
from churn_assets.store.artifacts import stage
from churn_assets.store.channels import Channel
from churn_assets.store.location import open_store

KEPT = Path(__file__).parents[1] / "kept" / "release-6"
NASTY = "fix [/green] \x1b[2J\x07 \u202e evil \u2066 \ud800 [bold]x[/] \\[ \\ \n line"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project with two releases of one training, nothing trained here; the first leads. Tests must not change it."""
    root = tmp_path_factory.mktemp("kept") / "project"
    shutil.copytree(KEPT / "store", root / ".churn" / "store")
    (root / "configs").mkdir()
    shutil.copy(Path(__file__).parents[2] / "configs" / "quickstart.yaml", root / "configs")
    for path in (root / ".churn").rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    store = open_store(".churn/store", root=root)
    (first,) = store.versions("quickstart", "release")
    staged = stage("release", store.load(first, RELEASE), RELEASE, root.parent / "staged")
    store.publish(staged, store.manifest(first).provenance, datetime.now(UTC))
    return Project(root)


@pytest.fixture
def project(made, tmp_path):
    root = tmp_path / "project"
    shutil.copytree(made.root, root)
    return Project(root)


def store_of(project):
    return open_store(".churn/store", root=project.root)


def lead(project, number, reason="better", actor="ann"):
    """Let a release lead, as `promote` does once its gates hold."""
    store = store_of(project)
    channel = Channel(store, "quickstart")
    return channel.append(
        "promote", store.versions("quickstart", "release")[number],
        expected_seq=channel.head().seq, actor=actor, reason=reason, gate_report_digest="", now=datetime.now(UTC),
    )  # fmt: skip


def line_of(result):
    return " ".join((result.output + (result.stderr or "")).split())


# -- one escape for all that is printed


TEXTS = st.text(alphabet=st.characters(exclude_categories=[]), max_size=80) | st.sampled_from(
    [NASTY, "[/]", "[/green]", "[link=x]", "\\", "a\\", "[red]\\", "\x9b31m", "\u061c", "\x00", "\udcff"]
)
UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)


@given(text=TEXTS)
@settings(max_examples=300, deadline=None)
def test_whatever_is_shown_is_text_and_nothing_else(text):
    assert not UNSAFE.search(plain(text))
    assert "\n" not in one_line(text)
    with out.capture() as shown:
        out.print(styled("green", text), text, style="dim")
        out.print(table([{"reason": text, text: text}], title=text))
    assert not UNSAFE.search(re.sub(r"\x1b\[[0-9;]*m", "", shown.get()))
    if text.isascii() and text.isprintable():
        assert text.strip() in " ".join(shown.get().split("\n")).replace("  ", " ") or len(text.split()) > 1


@given(text=TEXTS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_promotion_with_any_reason_is_written_once_and_every_command_shows_it(text, made, tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("any") / "project")
    shutil.copytree(made.root, project.root)
    before = len(Channel(store_of(project), "quickstart").history())
    lead(project, 1, reason=text, actor=text)
    reason = text.replace("\0", "")
    if not reason.strip():
        assert project.churn("rollback", "--reason", reason, "--actor", "x").exit_code == 2
        reason = "none that shows"
    done = project.churn("rollback", "--reason", reason, "--actor", text.replace("\0", "") or "x")
    assert done.exit_code == 0, done.output
    assert len(Channel(store_of(project), "quickstart").history()) == before + 2
    for command in (["history"], ["history", "--json"], ["releases"], ["store", "verify"], ["doctor"]):
        shown = project.churn(*command)
        assert shown.exit_code == 0, shown.output
        assert not UNSAFE.search(shown.output)
    assert len(json.loads(project.churn("history", "--json").output)) == before + 2


def test_history_on_a_terminal_without_the_signs_shows_their_codes(project):
    lead(project, 1, reason="für 5 € – prima 🎉")
    churn = Path(sys.executable).with_name("churn")
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "CHURN_ROOT": str(project.root)}
    done = subprocess.run([churn, "history"], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert "5 \\u20ac" in done.stdout


# -- one table from errors to exit codes


def raised(error, name="promote"):
    def command():
        raise error

    command.__name__ = name
    with pytest.raises(Exception) as caught:  # noqa: PT011 - typer's own, whatever its class
        guarded(command)()
    return caught.value.exit_code


@pytest.mark.parametrize("number", sorted(set(errno.errorcode)))
def test_no_error_of_the_operating_system_is_a_bug_and_each_has_a_hint(number, capsys):
    error = OSError(number, os.strerror(number), "/store/channels/x")
    assert raised(error) in (2, MACHINE)
    told = capsys.readouterr().err
    assert f"/store/channels/x: {os.strerror(number)}" in told
    assert "hint: " in told


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EMFILE, errno.EACCES])
@pytest.mark.parametrize("command", ["promote", "rollback", "retention", "copy", "run", "keys", "sign"])
def test_what_may_have_been_done_is_said(number, command, capsys):
    assert raised(OSError(number, os.strerror(number)), command) == MACHINE
    assert re.search(r"may have been|goes on|to go on", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), 2),
        (MemoryError(), MACHINE),
        (TimeoutError("slow"), MACHINE),
        (ConnectionResetError(errno.ECONNRESET, "reset"), MACHINE),
        (store_errors.StoreUnreachable("gone"), 3),
        (UsageProblemError("no", "do"), 2),
        (ZeroDivisionError(), BUG),
        (KeyError("x"), BUG),
    ],
)
def test_an_error_has_the_code_of_its_kind(error, code, capsys):
    assert raised(error) == code
    assert "Traceback" in capsys.readouterr().err or code != BUG


def test_clients_errors_that_nobody_named_are_no_bugs():
    from google.api_core import exceptions as api
    from google.auth import exceptions as auth
    from requests import exceptions as http

    kinds = [
        api.GoogleAPICallError,
        api.Forbidden,
        api.RetryError,
        auth.DefaultCredentialsError,
        auth.RefreshError,
    ]
    for kind in (*kinds, http.ConnectionError, http.InvalidSchema, http.ProxyError):
        names = [base.__name__ for base in kind.__mro__]
        assert code_of(names) == 3, kind
        assert hint_of(names), kind


@pytest.mark.parametrize(
    "command",
    [
        ["erase", "M\udcfcller"],
        ["explain", "M\udcfcller"],
        ["write", "M\udcfcller"],
        ["store", "verify", "--store", "M\udcfcller"],
        ["store", "copy", "M\udcfcller", "x"],
    ],
)
def test_what_was_typed_in_another_encoding_is_wrong_usage(command, project):
    result = project.churn(*command)
    assert result.exit_code == 2, result.output


def test_a_project_whose_folder_has_a_name_in_another_encoding_works(made, tmp_path):
    root = tmp_path / "M\udcfcller"
    shutil.copytree(made.root, root)
    for command in (["store", "verify"], ["history"], ["doctor"]):
        assert Project(root).churn(*command).exit_code == 0


def test_a_user_without_a_name_acts_under_a_number(project, monkeypatch):
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(variable, raising=False)

    def nobody(uid):
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    assert store_commands.user_name() == f"uid {os.getuid()}"
    lead(project, 1)
    assert project.churn("rollback", "--reason", "x").exit_code == 0
    assert Channel(store_of(project), "quickstart").head().actor == f"uid {os.getuid()}"


@pytest.mark.parametrize("home", ["relative", "/nowhere/at/all"])
def test_a_home_of_dagster_that_cannot_be_is_wrong_usage(home, project, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", home)
    monkeypatch.chdir(project.root)
    result = project.churn("run", "quickstart")
    assert result.exit_code == 2
    assert f"DAGSTER_HOME: found {home!r}, expected the whole path of a folder" in line_of(result)


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_a_config_in_another_encoding_is_wrong_usage_with_its_file(encoding, project):
    path = project.root / "configs" / "quickstart.yaml"
    path.write_bytes(("# für\n" + path.read_text()).encode(encoding, "replace"))
    result = project.churn("history")
    assert result.exit_code == 2
    assert "quickstart.yaml: found byte 0x" in line_of(result)
    assert "expected UTF-8" in line_of(result)


def test_a_port_that_is_in_use_is_wrong_usage(project):
    with socket.create_server(("127.0.0.1", 0)) as other:
        result = project.churn("serve", "--port", other.getsockname()[1])
    assert result.exit_code == 2
    assert "choose another --port" in line_of(result)


def test_an_output_folder_that_is_not_there_is_wrong_usage(project, tmp_path):
    result = project.churn("store", "key", tmp_path / "no" / "key.pem", "--role", "builder")
    assert result.exit_code == 2
    assert "make the folder first" in line_of(result)


def test_credentials_that_are_no_credentials_are_told(project, tmp_path, monkeypatch):
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    (tmp_path / "key.json").write_text("{}")
    for file in ("missing.json", "key.json"):
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / file))
        why = ["--reason", "a try"]
        for command in (
            ["history"],
            ["releases"],
            ["promote", *why],
            ["rollback", *why],
            ["store", "verify"],
        ):
            monkeypatch.setenv("CHURN_STORE", "gs://a-bucket/churn")
            result = project.churn(*command)
            assert result.exit_code == 3, (command, result.output)
            assert "credentials" in line_of(result)


# -- misspelt places, foreign files, tampered stores


@pytest.mark.parametrize("command", [["doctor", "--store"], ["store", "verify", "--store"]])
def test_a_misspelt_place_is_refused_and_never_made(command, project):
    result = project.churn(*command, ".churn/stroe")
    assert result.exit_code == 2
    assert "did you mean store?" in line_of(result)
    assert not (project.root / ".churn" / "stroe").exists()


def test_a_misspelt_variable_is_refused_and_never_made(project, monkeypatch):
    monkeypatch.setenv("CHURN_STORE", ".churn/stroe")
    for command in (["doctor"], ["store", "verify"]):
        assert project.churn(*command).exit_code == 2
    assert not (project.root / ".churn" / "stroe").exists()


def test_a_copy_of_a_misspelt_or_empty_place_is_refused(project):
    result = project.churn("store", "copy", ".churn/stroe", "moved")
    assert result.exit_code == 2
    assert "did you mean store?" in line_of(result)
    (project.root / "empty").mkdir()
    result = project.churn("store", "copy", "empty", "moved")
    assert result.exit_code == 2
    assert "expected a store to copy" in line_of(result)
    assert not (project.root / "moved").exists()


@pytest.mark.parametrize("place", [".churn", ".churn/store"])
def test_a_loop_of_links_where_a_store_should_be_is_no_bug(project, place):
    path = project.root / place
    shutil.rmtree(path)
    path.symlink_to(path.name)
    for command in (["history"], ["releases"], ["promote", "--reason", "x"], ["store", "verify"], ["doctor"]):
        result = project.churn(*command)
        assert result.exit_code in (2, 6), (command, result.output)
        assert re.search("symbolic links|found no folder", result.output), (command, result.output)


FOREIGN = (
    ".DS_Store",
    "000000000001.json~",
    "#a#",
    "folder/notes.txt",
    "Kopie von 1.json",
    "\udcff.bak",
    "x y/z",
)


def test_foreign_files_anywhere_are_told_and_stop_nothing(project, tmp_path):
    root = project.root / ".churn" / "store"
    release = project.newest("release")
    for folder in (
        root,
        root / "channels",
        root / "channels" / "quickstart",
        root / "artifacts",
        release,
        release.parent,
    ):
        for name in FOREIGN:
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_text("?")
    lead(project, 1)
    for command in (
        ["history"], ["releases"], ["rollback", "--reason", "x"], ["retention", "--apply"], ["store", "verify"],
        ["doctor"], ["store", "copy", ".churn/store", tmp_path / "moved"],
    ):  # fmt: skip
        result = project.churn(*command)
        assert result.exit_code == 0, (command, result.output)
        assert not UNSAFE.search(result.output)
    told = json.loads(project.churn("store", "verify", "--json").output)
    assert len(told["foreign"]) == 6 * len(FOREIGN)
    assert told["problems"] == []
    rows = {row["check"]: row for row in json.loads(project.churn("doctor", "--json").output)}
    assert rows["foreign files"]["found"].startswith(f"{6 * len(FOREIGN)} ignored")


def stored_files(project):
    root = project.root / ".churn" / "store"
    return sorted(
        path.relative_to(root) for path in root.rglob("*") if path.is_file() and ".tmp" not in path.parts
    )


def test_whatever_byte_is_changed_or_file_is_gone_is_named_and_the_store_is_not_fit(project):
    root = project.root / ".churn" / "store"
    lead(project, 1)
    files = [path for path in stored_files(project) if path.parts[0] != "marks"]
    assert len(files) > 20
    for number, path in enumerate(files):
        whole = (root / path).read_bytes()
        (root / path).unlink()
        if number % 2:
            (root / path).write_bytes(bytes([whole[0] ^ 1]) + whole[1:] if whole else b"?")
        result = project.churn("store", "verify", "--json")
        assert result.exit_code == 3, path
        named = " ".join(json.loads(result.output)["problems"])
        assert path.name in named or path.parent.name in named, (path, named)
        if number % 5 == 0:
            assert project.churn("doctor").exit_code == 1, path
        (root / path).unlink(missing_ok=True)
        (root / path).write_bytes(whole)
    assert project.churn("store", "verify").exit_code == 0


def test_a_deleted_newest_record_is_told_until_somebody_takes_the_log_as_it_is(project):
    lead(project, 1)
    (project.root / ".churn/store/channels/quickstart/000000000002.json").unlink()
    for command in (["history"], ["rollback", "--reason", "x"], ["store", "verify"], ["releases"]):
        result = project.churn(*command)
        assert result.exit_code == 3, command
        assert "000000000002.json: found nothing, expected a record: 2 were there" in line_of(result)
    assert project.churn("doctor").exit_code == 1
    assert "quickstart has 1 records from here on" in project.churn("store", "forget").output
    for command in (["history"], ["store", "verify"], ["doctor"]):
        assert project.churn(*command).exit_code == 0


def test_a_stop_of_offers_that_was_deleted_is_told_until_somebody_takes_the_log_as_it_is(project):
    for act in ("stop", "resume", "stop"):
        assert project.churn("offers", act, "--reason", "\udcff").exit_code == 0
    (project.root / ".churn/store/acts/quickstart.offers/000000000003.json").unlink()
    for command in (["offers", "status"], ["offers", "stop", "--reason", "x"], ["store", "verify"]):
        result = project.churn(*command)
        assert result.exit_code == 3, command
        assert "000000000003.json: found nothing, expected a record: 3 were there" in line_of(result)
    forgotten = project.churn("store", "forget", "--acts", "quickstart.offers")
    assert "quickstart.offers has 2 records from here on" in forgotten.output
    assert "Offers are made" in project.churn("offers", "status").output


# -- signatures, as an operator turns them on


def test_an_operator_makes_keys_adopts_a_store_and_nobody_acts_without_one(project, monkeypatch):
    keys = []
    for role in ("builder", "promoter"):
        file = project.root / f"{role}-1.pem"
        result = project.churn("store", "key", file, "--role", role)
        assert result.exit_code == 0, result.output
        assert file.stat().st_mode & 0o777 == 0o600
        keys += yaml.safe_load(result.output.splitlines()[-1])
        assert project.churn("store", "key", file, "--role", role).exit_code == 2, "never overwritten"
    assert project.churn("store", "key", "x.pem", "--role", "king").exit_code == 2
    project.configure(lambda content: content["store"].update(require_signatures=True, trusted_keys=keys))
    refused = project.churn("history")
    assert refused.exit_code == 3
    assert "found no signature by a trusted key" in line_of(refused)
    assert project.churn("store", "sign").exit_code == 2, "no private key is named"
    for role in ("builder", "promoter"):
        monkeypatch.setenv(f"CHURN_{role.upper()}_KEY", f"@{project.root / f'{role}-1.pem'}")
    assert project.churn("store", "sign").exit_code == 3
    assert "objects signed" in project.churn("store", "sign", "--vouch").output
    for command in (["history"], ["store", "verify"], ["doctor"], ["releases"]):
        assert project.churn(*command).exit_code == 0, command
    lead_signed = project.churn("rollback", "--reason", "x")
    assert lead_signed.exit_code == 1, "only one release ever led"
    monkeypatch.delenv("CHURN_BUILDER_KEY")
    monkeypatch.delenv("CHURN_PROMOTER_KEY")
    assert project.churn("history").exit_code == 0, "reading needs no private key"

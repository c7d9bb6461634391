"""Keys, rates and secrets: what is refused, and what a log line may hold."""

import os
import stat
import subprocess
import sys
from datetime import UTC, datetime

import msgspec
import pytest

from churn_assets.deciding.secret import ASSIGNMENT_KEY
from churn_assets.serving.config import ServingConfig
from churn_assets.serving.run import KEYS_FILE, ServingError, is_loopback, read_secrets
from churn_assets.serving.schemas import DecisionsQuestion, redacted
from churn_assets.serving.security import (
    KeyFileError,
    Keyring,
    RateLimit,
    new_key,
    read_keys,
    revoked,
    write_keys,
)

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def file(tmp_path):
    return tmp_path / "keys.json"


def bearer(key):
    return f"Bearer {key}".encode()


def test_the_file_holds_no_key_and_is_its_owners_alone(file):
    key, keys = new_key((), "crm", NOW)
    write_keys(file, keys)
    assert key not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_several_keys_are_good_until_one_is_revoked(file):
    clock = Clock()
    crm, keys = new_key((), "crm", NOW)
    web, keys = new_key(keys, "web", NOW)
    write_keys(file, keys)
    ring = Keyring(file, clock)
    assert (ring.name_of(bearer(crm)), ring.name_of(bearer(web))) == ("crm", "web")
    write_keys(file, revoked(keys, "crm", NOW))
    clock.now = 1.1
    assert (ring.name_of(bearer(crm)), ring.name_of(bearer(web))) == (None, "web")


@pytest.mark.parametrize(
    "sent", [b"", b"Bearer ", b"Bearer nonsense", b"Basic YTpi", b"\xff\xfe", b"Bearer \xff"]
)
def test_what_is_no_key_is_nobodys(file, sent):
    write_keys(file, new_key((), "crm", NOW)[1])
    assert Keyring(file).name_of(sent) is None


def test_a_revoked_name_may_have_a_new_key_and_a_good_one_no_second(file):
    _, keys = new_key((), "crm", NOW)
    with pytest.raises(KeyFileError, match="crm"):
        new_key(keys, "crm", NOW)
    key, keys = new_key(revoked(keys, "crm", NOW), "crm", NOW)
    write_keys(file, keys)
    assert Keyring(file).name_of(bearer(key)) == "crm"
    with pytest.raises(KeyFileError, match="nobody"):
        revoked(keys, "nobody", NOW)


@pytest.mark.parametrize("content", ["", "{}", '[{"name":"crm"}]', "[1]"])
def test_a_file_that_is_no_list_of_keys_is_refused_by_name(file, content):
    file.write_text(content)
    with pytest.raises(KeyFileError, match=file.name):
        read_keys(file)


def test_a_file_that_breaks_while_serving_leaves_the_keys_that_were_good(file, caplog):
    clock = Clock()
    key, keys = new_key((), "crm", NOW)
    write_keys(file, keys)
    ring = Keyring(file, clock)
    file.write_text("broken")
    clock.now = 2.0
    assert ring.name_of(bearer(key)) == "crm"
    assert "stay as they were" in caplog.text


def test_a_burst_passes_and_then_the_rate_counts_for_each_caller():
    clock = Clock()
    limit = RateLimit(per_second=2, burst=3, monotonic=clock)
    assert [limit.wait("a") for _ in range(4)] == [0, 0, 0, 0.5]
    assert limit.wait("b") == 0
    clock.now = 0.5
    assert limit.wait("a") == 0
    assert limit.wait("a") > 0


@pytest.mark.parametrize(("host", "loopback"), [
    ("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True),
    ("0.0.0.0", False), ("::", False), ("10.0.0.7", False), ("example.org", False),
])  # fmt: skip
def test_only_loopback_is_loopback(host, loopback):
    assert is_loopback(host) is loopback


@pytest.mark.parametrize("kind", ["pipe", "folder", "loop", "huge"])
def test_what_stands_in_the_place_of_the_keys_is_told_and_never_waited_for(file, kind):
    """A pipe without a writer once stopped every answer of the server."""
    clear, keys = new_key((), "crm", NOW)
    write_keys(file, keys)
    ring = Keyring(file)
    file.unlink()
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    elif kind == "loop":
        file.symlink_to(file)
    else:
        with file.open("wb") as huge:
            huge.truncate(1 << 40)
    with pytest.raises((KeyFileError, OSError)):
        ring.check()
    assert ring.key_of(clear.encode()) is not None
    file.rmdir() if kind == "folder" else file.unlink()
    write_keys(file, revoked(keys, "crm", NOW))
    ring.check()
    assert ring.key_of(clear.encode()) is None


def test_a_link_to_a_file_of_keys_is_followed_as_mounted_secrets_are(file):
    clear, keys = new_key((), "crm", NOW)
    write_keys(file.with_name("target"), keys)
    file.symlink_to("target")
    assert Keyring(file).key_of(clear.encode()) is not None


def test_off_loopback_there_is_no_server_without_keys():
    with pytest.raises(ServingError, match=KEYS_FILE):
        read_secrets({}, ServingConfig(), loopback=False)
    assert read_secrets({}, ServingConfig(), loopback=True).keys is None
    assert read_secrets({}, ServingConfig(require_keys="never"), loopback=False).keys is None
    with pytest.raises(ServingError, match=KEYS_FILE):
        read_secrets({}, ServingConfig(require_keys="always"), loopback=True)


def test_groups_are_not_drawn_without_a_secret(tmp_path):
    config = ServingConfig(holdout_share=0.1)
    for environment in ({}, {ASSIGNMENT_KEY: "short"}):
        with pytest.raises(ServingError, match=ASSIGNMENT_KEY):
            read_secrets(environment, config, loopback=True)
    (tmp_path / "secret").write_text("from a file, and long\n")
    found = read_secrets({ASSIGNMENT_KEY: f"@{tmp_path / 'secret'}"}, config, loopback=True)
    assert found.assignment_key == b"from a file, and long"


def test_a_question_in_a_log_line_says_nothing_of_a_person():
    body = (
        b'{"customers":[{"customer_id":"7590","features":{"x":42},"local_time":"14:30:00","prior_offers":2}]}'
    )
    told = repr(redacted(msgspec.json.decode(body, type=DecisionsQuestion)))
    assert not any(secret in told for secret in ("7590", "tenure", "42", "14"))
    assert "'prior_offers': 2" in told
    assert os.linesep not in told


def test_keys_added_and_revoked_at_once_lose_nothing(tmp_path):
    """Two processes of the command, forty rounds."""
    file = tmp_path / "keys.json"
    code = f"""
import sys
from typer.testing import CliRunner
from churn_assets.cli import app
for line in sys.stdin:
    what, name = line.split()
    done = CliRunner().invoke(app, ["keys", {str(file)!r}, what, name])
    print(done.exit_code, flush=True)
"""
    write_keys(file, new_key((), "old-0", NOW)[1])
    commands = [
        subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    for turn in range(40):
        for command, line in zip(commands, (f"--add old-{turn + 1}", f"--revoke old-{turn}"), strict=True):
            command.stdin.write(f"{line}\n")
            command.stdin.flush()
        assert [command.stdout.readline() for command in commands] == ["0\n", "0\n"]
    for command in commands:
        command.stdin.close()
        command.wait(30)
        command.stdout.close()
    keys = read_keys(file)
    assert [key.name for key in keys] == [f"old-{turn}" for turn in range(41)]
    assert [key.revoked_at is None for key in keys] == [False] * 40 + [True]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_file_of_keys_that_cannot_be_written_leaves_nothing_beside_it(file, monkeypatch):
    write_keys(file, ())

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_keys(file, new_key((), "crm", NOW)[1])
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert read_keys(file) == ()

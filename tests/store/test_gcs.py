"""What only a bucket does: refusals, lost answers, a server that dies, and what the errors say of it."""

import http.server
import json
import random
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Timer

import pytest
import requests
from flaky_line import flaky_line
from gcs_server import GcsServer
from google.cloud import storage
from store_cases import (
    ASSET,
    EXPERIMENT,
    NOW,
    LineFormat,
    days,
    promote,
    provenance,
    published_line,
    staged_line,
)

from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.backend import ObjectInfo
from churn_assets.store.channels import Channel
from churn_assets.store.digests import digests_of
from churn_assets.store.errors import (
    AccessDenied,
    BucketMissing,
    ObjectExists,
    ObjectMissing,
    RequestRefused,
    StoreUnreachable,
)
from churn_assets.store.gcs import GcsBackend, _process_client

LARGE = 20 << 20


def every_operation(backend: GcsBackend):
    return (
        lambda: backend.create("a/b", b"x"),
        lambda: backend.read("a/b"),
        lambda: backend.fetch("a/b", 1),
        lambda: backend.info("a/b"),
        lambda: backend.list("a/"),
        lambda: backend.delete("a/b"),
    )


def test_a_missing_bucket_is_no_missing_object(bucket: str) -> None:
    for operation in every_operation(GcsBackend("no-such-bucket")):
        with pytest.raises(BucketMissing, match=r"gs://no-such-bucket/a/.*found no bucket 'no-such-bucket'"):
            operation()
    with pytest.raises(ObjectMissing):
        GcsBackend(bucket).read("a/b")


def test_a_bucket_that_does_not_answer_is_named(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{nobody.getsockname()[1]}")
        for operation in every_operation(GcsBackend(bucket, patience=0.3)):
            started = time.monotonic()
            with pytest.raises(StoreUnreachable, match=rf"gs://{bucket}/a/.*expected an answer within 0.3 s"):
                operation()
            assert time.monotonic() - started < 3


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (401, AccessDenied, "credentials"),
        (403, AccessDenied, "Forbidden"),
        (503, StoreUnreachable, "503"),
        (429, StoreUnreachable, "429"),
        (400, RequestRefused, "BadRequest"),
    ],
)
def test_a_refusal_is_named(
    status: int, error: type[Exception], words: str, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with flaky_line("nowhere", lambda *_: status) as url:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        for operation in every_operation(GcsBackend(bucket, patience=0.3)):
            with pytest.raises(error, match=rf"gs://{bucket}/a/.*{words}"):
                operation()


def told(status: int, reason: str, message: str) -> tuple[int, bytes]:
    """An answer as Cloud Storage words a refusal."""
    detail = {"message": message, "domain": "global", "reason": reason}
    return status, json.dumps({"error": {"code": status, "message": message, "errors": [detail]}}).encode()


UNTIL = (
    "Object 'a-bucket/team/churn/artifacts/quickstart/risk_model/20261122T124501Z-5064bec6bcae/about.json' is subject "
    "to bucket's retention policy or object retention and cannot be deleted or overwritten until "
    "2027-03-01T00:00:00.000-08:00"
)


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (told(403, "retentionPolicyNotMet", UNTIL), RequestRefused, "until 2027-03-01T00:00:00.000-08:00"),
        (
            told(403, "objectUnderActiveHold", "is under active Temporary hold"),
            RequestRefused,
            "Temporary hold",
        ),
        (
            told(403, "forbidden", "does not have storage.objects.create access"),
            AccessDenied,
            "objects.create",
        ),
        (told(403, "quotaExceeded", "The quota is used up"), StoreUnreachable, "quota"),
        (
            told(412, "orgPolicy", "'us' violates constraint 'constraints/gcp.resourceLocations'"),
            RequestRefused,
            "violates constraint",
        ),
    ],
)
def test_a_refusal_says_whether_a_person_a_policy_or_a_date_is_in_the_way(
    answer: tuple[int, bytes], error: type[Exception], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, body = answer

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.say(status, body)

        def do_DELETE(self) -> None:
            self.say(status, body)

        def do_GET(self) -> None:  # nothing is there
            self.say(
                *told(404, "notFound", "Not Found") if "/o/" in self.path else (200, b'{"name": "a-bucket"}')
            )

        def say(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server.server_port}")
        backend = GcsBackend("a-bucket", patience=0.3)
        with pytest.raises(error, match=re.escape(words)):
            backend.create("a/b", b"x")
        if status == 403:
            with pytest.raises(error, match=re.escape(words)):
                backend.delete("a/b")
        server.shutdown()


def test_a_login_of_a_person_has_no_project_and_needs_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    login = {"type": "authorized_user", "client_id": "a", "client_secret": "b", "refresh_token": "c"}
    (tmp_path / "login.json").write_text(json.dumps(login))
    for variable in ("STORAGE_EMULATOR_HOST", "GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "login.json"))
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    _process_client.cache_clear()
    client = GcsBackend("a-bucket")._client  # where it would say that no project was passed
    assert client.project in (None, "<none>")
    _process_client.cache_clear()


def test_without_credentials_the_error_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "nothing.json"))
    with pytest.raises(AccessDenied, match=r"gs://a-bucket/: list: found DefaultCredentialsError"):
        GcsBackend("a-bucket").list("")


def test_a_busy_storage_is_asked_again(
    bucket: str, gcs_server: GcsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def busy(method: str, path: str, body: bytes) -> int | str:
        if "/o" not in path:  # the client looks at the bucket for itself
            return "pass"
        seen.append(method)
        return 503 if len(seen) % 2 else "pass"

    with flaky_line(gcs_server.url, busy) as url:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        backend = GcsBackend(bucket)
        backend.create("a/b", b"x")
        assert (backend.read("a/b"), backend.list("a/"), backend.info("a/b").size) == (b"x", ["a/b"], 1)
    assert len(seen) == 8


def test_a_lost_answer_to_a_create_is_an_object_that_exists_and_publishing_knows_it_for_its_own(
    bucket: str, gcs_server: GcsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost: list[str] = []

    def lose_every_first_answer(method: str, path: str, body: bytes) -> str:
        name = body.partition(b'"name": "')[2].partition(b'"')[0].decode()
        if method != "POST" or name in lost:
            return "pass"
        lost.append(name)
        return "unanswered"

    with flaky_line(gcs_server.url, lose_every_first_answer) as url:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        with pytest.raises(ObjectExists):
            GcsBackend(bucket).create("a/b", b"x")
        store = ArtifactStore(GcsBackend(bucket, "store"))
        ref = published_line(store, tmp_path / "s", 1.0)
        record = promote(store, ref)
    assert len(lost) == 7  # the mark of the channel is one of them
    assert store.load(ref, LineFormat())["about"] == {"tag": 1.0}
    assert Channel(store, "champion").history() == [record]


def test_a_large_upload_that_is_cut_off_goes_on_where_it_was(
    bucket: str, gcs_server: GcsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.write_bytes(random.Random(0).randbytes(LARGE))
    seen: list[str] = []

    def refuse_the_first_piece(method: str, path: str, body: bytes) -> int | str:
        seen.append(method)
        return 503 if method == "PUT" and seen.count("PUT") == 1 else "pass"

    told: list[tuple[str, int, int]] = []
    with flaky_line(gcs_server.url, refuse_the_first_piece) as url:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        backend = GcsBackend(bucket, progress=lambda *step: told.append(step))
        backend.create("a/b", source)
        assert (backend.fetch("a/b", LARGE), backend.info("a/b")) == digests_of(source)
    assert seen.count("PUT") >= 2
    assert told[-1] == ("a/b", LARGE, LARGE)
    assert all(key == "a/b" and 0 <= done <= LARGE == size for key, done, size in told)


def test_a_download_that_is_cut_off_goes_on(
    bucket: str, gcs_server: GcsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.write_bytes(random.Random(0).randbytes(LARGE))
    GcsBackend(bucket).create("a/b", source)
    seen: list[str] = []

    def cut_the_first(method: str, path: str, body: bytes) -> str:
        seen.append(path)
        return "unanswered" if len(seen) <= 2 else "pass"

    with flaky_line(gcs_server.url, cut_the_first) as url:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        assert GcsBackend(bucket).fetch("a/b", LARGE) == digests_of(source)[0]


@pytest.fixture
def checking_server() -> Iterator[str]:
    """An emulator that compares checksums; it knows no preconditions, so it serves this one purpose."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "gcp_storage_emulator", "start", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--in-memory", "--quiet", "--default-bucket", "a-bucket"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        url = f"http://127.0.0.1:{port}"
        for _ in range(200):
            try:
                requests.get(url, timeout=2)
                break
            except requests.ConnectionError:
                time.sleep(0.05)
        yield url
        process.kill()


def test_a_wrong_checksum_is_rejected_on_upload(
    checking_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    garble = {"on": True}

    def flip_a_bit(method: str, path: str, body: bytes) -> str | bytes:
        return body.replace(b"these bytes", b"those bytes") if method == "POST" and garble["on"] else "pass"

    with flaky_line(checking_server, flip_a_bit) as url:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        backend = GcsBackend("a-bucket")
        with pytest.raises(RequestRefused, match=r"gs://a-bucket/a/b: create: found BadRequest .*CRC32C"):
            backend.create("a/b", b"these bytes")
        assert backend.list("") == []
        garble["on"] = False
        backend.create("a/b", b"these bytes")
        assert backend.read("a/b") == b"these bytes"


def test_a_folder_that_a_console_made_is_no_object(bucket: str) -> None:
    backend = GcsBackend(bucket, "team")
    storage.Client().bucket(bucket).blob("team/channels/").upload_from_string(b"")
    backend.create("channels/x", b"1")
    storage.Client().bucket(bucket).blob("team2/x").upload_from_string(b"another team's")
    assert backend.list("") == backend.list("channels/") == ["channels/x"]


@pytest.fixture
def mortal_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GcsServer]:
    server = GcsServer(tmp_path / "server")
    server.start()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
    yield server
    server.kill()


class KillsItsServer(GcsBackend):
    """Ends the server with SIGKILL right after its n-th create."""

    def __init__(self, bucket: str, server: GcsServer, after: int) -> None:
        super().__init__(bucket, patience=0.5)
        self._server = server
        self._after = after

    def create(self, key: str, source: bytes | Path) -> ObjectInfo:
        found = super().create(key, source)
        self._after -= 1
        if self._after == 0:
            self._server.kill()
        return found


@pytest.mark.parametrize("after", [1, 2, 3, 4])
def test_a_server_killed_while_a_version_is_published_shows_the_old_state_or_the_new_and_a_retry_finishes(
    after: int, mortal_server: GcsServer, tmp_path: Path
) -> None:
    name = mortal_server.create_bucket()
    store = ArtifactStore(GcsBackend(name))
    old = published_line(store, tmp_path / "old", 1.0, NOW - days(1))
    staged = staged_line(tmp_path / "new", 2.0)
    with pytest.raises(StoreUnreachable):
        ArtifactStore(KillsItsServer(name, mortal_server, after)).publish(staged, provenance(), NOW)
    mortal_server.start()
    seen = store.versions(EXPERIMENT, ASSET)
    assert len(seen) == (2 if after == 4 else 1)
    for ref in seen:
        store.load(ref, LineFormat())
    new = store.publish(staged, provenance(), NOW)
    assert store.versions(EXPERIMENT, ASSET) == [old, new]
    assert store.load(new, LineFormat())["about"] == {"tag": 2.0}


def test_a_server_killed_in_the_middle_of_a_large_upload_holds_nothing_of_it(
    mortal_server: GcsServer, tmp_path: Path
) -> None:
    name = mortal_server.create_bucket()
    source = tmp_path / "source"
    source.write_bytes(random.Random(0).randbytes(LARGE))
    dying = GcsBackend(name, patience=0.5, progress=lambda *_: mortal_server.kill())
    with pytest.raises(StoreUnreachable, match="a/b: create"):
        dying.create("a/b", source)
    mortal_server.start()
    backend = GcsBackend(name)
    assert backend.list("") == []
    backend.create("a/b", source)
    assert backend.info("a/b") == digests_of(source)[1]


def test_a_server_that_comes_back_in_time_is_not_noticed(mortal_server: GcsServer) -> None:
    name = mortal_server.create_bucket()
    backend = GcsBackend(name)
    backend.create("a/b", b"x")
    mortal_server.kill()
    restart = Timer(1.0, mortal_server.start)
    restart.start()
    assert backend.read("a/b") == b"x"
    restart.join()

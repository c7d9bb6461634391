"""The doctor tries a place for real: it passes what can hold a store, names what cannot, and leaves nothing behind."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests

from churn_assets.store.doctor import examine
from churn_assets.store.errors import AccessDenied
from churn_assets.store.gcs import GcsBackend
from churn_assets.store.local import LocalBackend


def now():
    return datetime.now(UTC)


def failed(findings):
    return {each.check: each for each in findings if not each.passed}


def test_a_sound_place_passes_every_check_and_is_left_as_it_was(backend):
    backend.create("artifacts/mine", b"stays")
    findings = examine(backend, now)
    assert failed(findings) == {}
    assert [each.check for each in findings] == [
        "list", "hard links", "create", "read", "checksum", "create only once", "list what is there", "clock",
        "publish, promote, roll back", "delete",
    ]  # fmt: skip
    assert backend.list("") == ["artifacts/mine"]


def test_a_local_store_keeps_no_empty_folders(root):
    examine(LocalBackend(root), now)
    assert [path.name for path in root.iterdir()] == [".tmp"]
    assert list((root / ".tmp").iterdir()) == []


@pytest.mark.parametrize("minutes", [-5, 5])
def test_a_clock_that_is_wrong_is_told_with_both_times(backend, minutes):
    (clock,) = failed(examine(backend, lambda: now() + timedelta(minutes=minutes))).values()
    assert clock.check == "clock"
    assert "expected at most 60 s between" in clock.found
    assert "clock" in clock.advice


def test_a_bucket_that_is_not_there_stops_at_the_first_check(bucket):
    first, *rest = examine(GcsBackend(f"{bucket}-gone"), now)
    assert not first.passed
    assert f"{bucket}-gone" in first.found
    assert all(not each.passed and each.found == "not tried, as list failed" for each in rest)


def test_a_place_that_cannot_be_written_says_why(tmp_path):
    (tmp_path / "store").write_text("a file where a folder should be")
    found = failed(examine(LocalBackend(tmp_path / "store"), now))
    assert "hard links" in found
    assert "create" in found


def test_a_file_system_without_hard_links_is_told(root, monkeypatch):
    def link(*_, **__):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", link)
    found = failed(examine(LocalBackend(root), now))
    assert "Operation not supported" in found["hard links"].found
    assert "hard links" in found["hard links"].advice


class MayNotDelete(LocalBackend):
    def delete(self, key):
        raise AccessDenied(f"{key}: delete: found Forbidden")


def test_a_missing_permission_to_delete_is_told_with_what_is_left(root):
    found = failed(examine(MayNotDelete(root), now))
    assert set(found) == {"delete"}
    assert "Forbidden" in found["delete"].found
    assert "doctor/" in found["delete"].advice


@pytest.fixture
def careless(tmp_path, monkeypatch):
    """A bucket on a storage that ignores preconditions: a real one, made for other tests than ours."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [Path(sys.executable).with_name("gcp-storage-emulator"), "start", "--host", "127.0.0.1",
         "--port", str(port), "--in-memory", "--default-bucket", "careless"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tmp_path,
    )  # fmt: skip
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(requests.ConnectionError):
            requests.get(f"{url}/storage/v1/b", timeout=2)
            break
        time.sleep(0.1)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
    yield "careless"
    server.kill()
    server.wait()


def test_a_storage_that_ignores_preconditions_is_unfit(careless):
    found = failed(examine(GcsBackend(careless), now))
    assert "two writers would overwrite each other" in found["create only once"].found
    assert "if-generation-match" in found["create only once"].advice

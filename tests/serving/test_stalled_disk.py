"""A disk that stands still: callers are told within bounds, and so is whoever asks whether the server is ready."""

from __future__ import annotations

import os
import sys
import time

import pytest
from shop import Server, wait_until

# Loaded by the server's Python before anything else: the one system call that waits for the disk is held back.
SLOW_DISK = """
import os, pathlib, time
write, held = os.pwritev, pathlib.Path(os.environ["HELD"])

def pwritev(*arguments):
    while held.exists():
        time.sleep(0.01)
    return write(*arguments)

os.pwritev = pwritev
"""


@pytest.fixture
def held(tmp_path):
    """While this file exists, the disk of `server` stands still."""
    return tmp_path / "held"


@pytest.fixture
def server(shop, tmp_path, held):
    shop.configure(decision_log={"write_seconds": 0.5})
    (tmp_path / "sitecustomize.py").write_text(SLOW_DISK)
    path = os.pathsep.join([str(tmp_path), *sys.path])
    with Server(shop, environment={"PYTHONPATH": path, "HELD": str(held)}).start() as server:
        yield server
        held.unlink(missing_ok=True)


def test_while_the_disk_stands_still_nothing_is_acknowledged_and_the_server_says_so(server, held, customers):
    question = {"customers": customers[:1]}
    with server.client() as client:
        assert client.post("/v1/decisions", json=question).status_code == 200
        held.touch()
        for longest in (3.0, 0.5):  # the second is refused at once
            started = time.monotonic()
            refused = client.post("/v1/decisions", json=question)
            assert (refused.status_code, refused.json()["title"]) == (503, "not recorded")
            assert time.monotonic() - started < longest
        ready = client.get("/v2/health/ready")
        assert (ready.status_code, ready.json()["log_stalled"]) == (503, True)
        assert client.get("/v2/health/live").status_code == 200
        held.unlink()
        wait_until(lambda: client.get("/v2/health/ready").status_code == 200)
        assert client.post("/v1/decisions", json=question).status_code == 200

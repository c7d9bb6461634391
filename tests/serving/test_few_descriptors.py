"""A server that may open no more files: it goes on answering, says what fails, and is well once it may again."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import pytest
from kept_release import of_kept_release
from shop import Server, wait_until

from benchmarks.hostile import begun
from benchmarks.served import Project

pytestmark = pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux limits another process")


def test_a_server_without_descriptors_answers_says_so_and_heals(tmp_path):
    root = of_kept_release(tmp_path / "project")
    question = json.loads((root / "questions.json").read_text())[:1]
    project = Project(root)
    project.configure(poll_seconds=0.2)
    with Server(project).start() as server, server.client() as client:

        def asked():
            return client.post("/v1/decisions", json={"customers": question}).status_code

        def trouble():
            return [
                each["name"] for each in client.get("/v2/health/ready").json()["loops"] if each["failures"]
            ]

        assert asked() == 200
        assert server.process is not None
        pid = server.process.pid
        usual = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(
            pid, resource.RLIMIT_NOFILE, (len(list(Path(f"/proc/{pid}/fd").iterdir())), usual[1])
        )
        with begun(server.port, 60):
            wait_until(lambda: "release" in trouble(), 60)
            assert asked() == 200
        resource.prlimit(pid, resource.RLIMIT_NOFILE, usual)
        wait_until(lambda: not trouble(), 120)
        assert asked() == 200
        assert "Too many open files" in server.output()

"""A local server that answers as Vertex AI's REST API of custom jobs does, and misbehaves as it is told to."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

_PATH = re.compile(
    r"/v1/(?P<parent>projects/[^/]+/locations/[^/]+)/customJobs(?:/(?P<id>[0-9]+))?(?P<verb>:cancel)?"
)


class FakeVertex(ThreadingHTTPServer):
    """On a free port of this machine.

    Attributes:
        jobs: Resource name to the job, as JSON.
        asked: Method and path of every request.
        faults: What becomes of the next requests, by method: a status with its error, `dropped` (done, and no answer),
            `refused` (not done, and no answer), `garbage` (something else answers).
        runs: Called with each new job: what it does, and the states that looks at it give, the last for ever.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.jobs: dict[str, dict[str, Any]] = {}
        self.asked: list[tuple[str, str]] = []
        self.faults: dict[str, list[Any]] = {"POST": [], "GET": []}
        self.runs: Callable[[dict[str, Any]], list[Any]] = lambda job: ["JOB_STATE_SUCCEEDED"]
        self.states: dict[str, list[Any]] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def create(self, parent: str, job: dict[str, Any]) -> dict[str, Any]:
        name = f"{parent}/customJobs/{len(self.jobs) + 1}"
        made = job | {
            "name": name,
            "state": "JOB_STATE_QUEUED",
            "createTime": f"2026-11-22T12:00:{len(self.jobs):02d}Z",
        }
        self.jobs[name] = made
        self.states[name] = [*self.runs(made)]
        return made

    def look(self, name: str) -> dict[str, Any] | None:
        job = self.jobs.get(name)
        if job is None or job["state"] == "JOB_STATE_CANCELLED":
            return job
        states = self.states[name]
        now = states.pop(0) if len(states) > 1 else states[0]
        state, error = now if isinstance(now, tuple) else (now, None)
        job |= {"state": state} | ({"error": error} if error else {})
        return job

    def labelled(self, wanted: str) -> list[dict[str, Any]]:
        key, value = re.fullmatch(r'labels\.([a-z_]+)="([0-9a-z]+)"', wanted).groups()
        return [job for job in self.jobs.values() if job["labels"].get(key) == value]


class _Handler(BaseHTTPRequestHandler):
    server: FakeVertex
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        content = json.loads(self.rfile.read(int(self.headers["Content-Length"] or 0)) or "{}")
        found = self._found()
        if found["verb"]:
            name = f"{found['parent']}/customJobs/{found['id']}"
            self._handled("cancel", lambda: self.server.jobs[name].update(state="JOB_STATE_CANCELLED") or {})
        else:
            self._handled("POST", lambda: self.server.create(found["parent"], content))

    def do_GET(self) -> None:
        found, query = self._found(), parse_qs(urlsplit(self.path).query)
        if found["id"]:
            self._handled("GET", lambda: self.server.look(f"{found['parent']}/customJobs/{found['id']}"))
        else:
            self._handled("list", lambda: {"customJobs": self.server.labelled(query["filter"][0])})

    def _found(self) -> Any:
        self.server.asked.append((self.command, self.path))
        return _PATH.fullmatch(urlsplit(self.path).path)

    def _handled(self, kind: str, act: Callable[[], Any]) -> None:
        faults = self.server.faults.get(kind) or []
        fault = faults.pop(0) if faults else None
        if isinstance(fault, tuple):
            self._send(fault[0], {"error": {"code": fault[0], "status": fault[1], "message": fault[2]}})
            return
        if fault == "garbage":
            self._send(200, "<html>a proxy</html>")
            return
        answer = None if fault == "refused" else act()
        if fault is not None:
            self.close_connection = True
            self.connection.close()
        elif answer is None:
            self._send(404, {"error": {"code": 404, "status": "NOT_FOUND", "message": "no such job"}})
        else:
            self._send(200, answer)

    def _send(self, status: int, content: Any) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def fake_vertex() -> Iterator[FakeVertex]:
    """A server that answers until the block ends."""
    server = FakeVertex()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()

"""How the answers of Ray's REST API of jobs are read, from a local server that answers as it does, or as a proxy."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from remote_cases import ordered

from churn_assets.remote.config import RayProfile
from churn_assets.remote.following import EngineRefused, EngineUnreachable
from churn_assets.remote.ray_jobs import RayJobs


class Dashboard(HTTPServer):
    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers, self.asked = [], []


class _Handler(BaseHTTPRequestHandler):
    def _handle(self):
        length = int(self.headers["Content-Length"] or 0)
        self.server.asked.append((self.command, self.path, self.rfile.read(length), self.headers))
        status, content = self.server.answers.pop(0)
        body = content.encode() if isinstance(content, str) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = _handle  # noqa: N815 - the server's own names

    def log_message(self, *_):
        pass


@pytest.fixture
def dashboard():
    server = Dashboard()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def jobs(dashboard):
    address = f"http://127.0.0.1:{dashboard.server_port}"
    return RayJobs(RayProfile(kind="ray", address=address, cpus=2, resources={"big": 1}), "/srv/churn")


def test_a_step_is_submitted_under_its_token_with_what_it_needs(dashboard, jobs, monkeypatch):
    dashboard.answers = [(200, {"submission_id": "t0"})]
    assert jobs.submit(ordered(), "t0", {"A": "b"}) == "t0"
    wanted = json.loads(dashboard.asked[0][2])
    assert wanted["submission_id"] == "t0"
    assert wanted["entrypoint"].startswith("churn --root /srv/churn step risk_model --experiment tiny")
    assert wanted["runtime_env"] == {"env_vars": {"A": "b"}}
    assert (wanted["entrypoint_num_cpus"], wanted["entrypoint_resources"]) == (2, {"big": 1})


def test_a_token_that_ray_has_already_is_that_job(dashboard, jobs):
    dashboard.answers = [(500, "Job with submission_id t0 already exists"), (200, {"status": "RUNNING"})]
    assert jobs.submit(ordered(), "t0", {}) == "t0"


def test_the_token_of_a_cluster_that_asks_for_one_is_sent(dashboard, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "secret")
    dashboard.answers = [(200, {"status": "RUNNING"})]
    address = f"http://127.0.0.1:{dashboard.server_port}"
    RayJobs(RayProfile(kind="ray", address=address), "/srv").look("t0")
    assert dashboard.asked[0][3]["Authorization"] == "Bearer secret"


@pytest.mark.parametrize(
    ("told", "state"),
    [
        ({"status": "PENDING"}, "waits"),
        ({"status": "RUNNING"}, "works"),
        ({"status": "SUCCEEDED"}, "succeeded"),
        ({"status": "STOPPED"}, "cancelled"),
        ({"status": "DREAMING"}, "unclear"),
        ({}, "unclear"),
        ({"status": "FAILED", "error_type": "JOB_ENTRYPOINT_COMMAND_ERROR", "driver_exit_code": 1}, "failed"),
        ({"status": "FAILED", "error_type": "JOB_ENTRYPOINT_COMMAND_ERROR", "driver_exit_code": 137}, "lost"),
        ({"status": "FAILED", "error_type": "JOB_ENTRYPOINT_COMMAND_ERROR", "driver_exit_code": -9}, "lost"),
        ({"status": "FAILED", "error_type": "JOB_ENTRYPOINT_COMMAND_START_ERROR"}, "failed"),
        ({"status": "FAILED", "error_type": "JOB_SUPERVISOR_ACTOR_DIED"}, "lost"),
        ({"status": "FAILED", "error_type": "JOB_SUPERVISOR_ACTOR_START_TIMEOUT"}, "lost"),
        ({"status": "FAILED", "error_type": "RUNTIME_ENV_SETUP_FAILURE"}, "lost"),
        ({"status": "FAILED", "error_type": None}, "lost"),
    ],
)
def test_every_status_is_read_for_what_it_is(dashboard, jobs, told, state):
    dashboard.answers = [(200, told)]
    assert jobs.look("t0").state == state


def test_a_job_that_the_cluster_forgot_is_lost(dashboard, jobs):
    dashboard.answers = [(404, "no such job")]
    assert jobs.look("t0").state == "lost"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ((200, "<html>a proxy</html>"), EngineUnreachable),
        ((200, "[]"), EngineUnreachable),
        ((503, "away"), EngineUnreachable),
        ((429, "slowly"), EngineUnreachable),
        ((401, "who are you?"), EngineRefused),
        ((400, "bad"), EngineRefused),
    ],
)
def test_an_answer_that_is_none_is_told_apart_from_a_refusal(dashboard, jobs, answer, kind):
    dashboard.answers = [answer]
    with pytest.raises(kind):
        jobs.look("t0")


def test_a_cluster_that_is_not_there_is_unreachable():
    with pytest.raises(EngineUnreachable):
        RayJobs(RayProfile(kind="ray", address="http://127.0.0.1:9"), "/srv").look("t0")

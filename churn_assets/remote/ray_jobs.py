"""Steps as jobs of a Ray cluster, by the REST API of jobs that Ray documents.

Over plain HTTP: whoever asks needs neither Ray nor its version, and every question has a time limit, which Ray's own
client does not set.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import requests

from churn_assets.remote.config import RayProfile
from churn_assets.remote.engines import command_of
from churn_assets.remote.following import EngineRefused, EngineUnreachable
from churn_assets.remote.steps import EngineState, JobState, StepOrder

TOKEN_VARIABLE = "RAY_AUTH_TOKEN"
"""Variable with the token of a cluster that asks for one; the same that Ray's own commands read."""
ANSWER_WITHIN = 30.0
"""Seconds for one answer of the cluster."""
_STATES: Mapping[str, EngineState] = {
    "PENDING": "waits",
    "RUNNING": "works",
    "SUCCEEDED": "succeeded",
    "STOPPED": "cancelled",
    "FAILED": "failed",
}
# What a step's own command did. Any other error of a failed job is the cluster's.
_OF_THE_STEP = ("JOB_ENTRYPOINT_COMMAND_ERROR", "JOB_ENTRYPOINT_COMMAND_START_ERROR")
# The process was killed: by whoever reclaims the node, or the node's own memory monitor.
_KILLED = (-9, 137, -15, 143)
_GB = 1_000_000_000
_LAST_CHARACTERS = 600


class RayJobs:
    """Submits a step as a job, whose id is the token of the try: submitting twice starts one job.

    Args:
        profile: The cluster, and what the step is given of it.
        folder: The project's folder there.
    """

    def __init__(self, profile: RayProfile, folder: str) -> None:
        self._profile, self._folder = profile, folder
        self._jobs = f"{profile.address.rstrip('/')}/api/jobs/"
        self._http = requests.Session()
        if token := os.environ.get(TOKEN_VARIABLE):
            self._http.headers["Authorization"] = f"Bearer {token}"

    @property
    def place(self) -> str:
        """The cluster."""
        return f"Ray at {self._profile.address}"

    def submit(self, order: StepOrder, token: str, environment: Mapping[str, str]) -> str:
        """Submit the step. Ray takes each id once; where it has the id already, this is that job."""
        answer = self._answer("POST", "", self._wanted(order, token, environment))
        if answer.status_code == HTTPStatus.OK:
            return token
        if self.find(token) is not None:
            return token
        raise _unwilling(answer)

    def find(self, token: str) -> str | None:
        """The token, where the cluster has a job of it."""
        answer = self._answer("GET", token)
        if answer.status_code == HTTPStatus.NOT_FOUND:
            return None
        _willing(answer)
        return token

    def look(self, job: str) -> JobState:
        """What became of a job; one that the cluster does not know, as after its head was lost, is lost."""
        answer = self._answer("GET", job)
        if answer.status_code == HTTPStatus.NOT_FOUND:
            return JobState("lost", "the cluster does not know the job any more")
        return _state(_content(_willing(answer)))

    def cancel(self, job: str) -> None:
        """Stop a job; one that has ended stays as it is."""
        answer = self._answer("POST", f"{job}/stop")
        if answer.status_code != HTTPStatus.NOT_FOUND:
            _willing(answer)

    def log_of(self, job: str) -> str:
        """The end of what the step printed."""
        try:
            told = _content(_willing(self._answer("GET", f"{job}/logs")))
        except (EngineUnreachable, EngineRefused):
            return ""
        printed = str(told.get("logs") or "")[-_LAST_CHARACTERS:].strip()
        return f"it last printed: {printed}" if printed else ""

    def _wanted(self, order: StepOrder, token: str, environment: Mapping[str, str]) -> dict[str, Any]:
        profile = self._profile
        return {
            "entrypoint": shlex.join(command_of(order, self._folder)),
            "submission_id": token,
            "runtime_env": {"env_vars": dict(environment)},
            "metadata": {"asset": order.asset, "experiment": order.experiment, "run": order.run_id},
            "entrypoint_num_cpus": profile.cpus,
            "entrypoint_num_gpus": profile.gpus,
            "entrypoint_memory": None if profile.memory_gb is None else int(profile.memory_gb * _GB),
            "entrypoint_resources": dict(profile.resources) or None,
        }

    def _answer(self, method: str, path: str, content: Mapping[str, Any] | None = None) -> requests.Response:
        try:
            return self._http.request(method, self._jobs + path, json=content, timeout=ANSWER_WITHIN)
        except requests.RequestException as error:
            raise EngineUnreachable(f"{type(error).__name__}: {error}") from error


def _state(told: Mapping[str, Any]) -> JobState:
    status, kind, code = str(told.get("status")), told.get("error_type"), told.get("driver_exit_code")
    detail = " ".join(str(told.get("message") or "").split())
    state = _STATES.get(status)
    if state is None:
        return JobState("unclear", f"status {status}")
    if state == "failed" and (kind not in _OF_THE_STEP or code in _KILLED):
        return JobState("lost", f"{kind or 'no error type'}: {detail}"[:_LAST_CHARACTERS])
    return JobState(state, detail[-_LAST_CHARACTERS:] if state in ("failed", "cancelled") else "")


def _content(answer: requests.Response) -> Mapping[str, Any]:
    """What an answer says; one that is not the API's, as of a proxy in its place, is none."""
    try:
        told = answer.json()
    except ValueError as error:
        raise EngineUnreachable(f"found no JSON: {answer.text[:_LAST_CHARACTERS]!r}") from error
    if not isinstance(told, dict):
        raise EngineUnreachable(f"found {type(told).__name__}, expected an object")
    return told


def _willing(answer: requests.Response) -> requests.Response:
    if answer.status_code != HTTPStatus.OK:
        raise _unwilling(answer)
    return answer


def _unwilling(answer: requests.Response) -> Exception:
    told = f"HTTP {answer.status_code}: {' '.join(answer.text.split())[:_LAST_CHARACTERS]}"
    if (
        answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR
        or answer.status_code == HTTPStatus.TOO_MANY_REQUESTS
    ):
        return EngineUnreachable(told)
    return EngineRefused(told)

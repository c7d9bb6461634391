"""Steps as custom jobs of Vertex AI, by Google's own client over REST.

A job is followed by its resource name, and found again by a label with the token of the try. Display names are for
people: nothing is looked up by them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from json import JSONDecodeError
from typing import TYPE_CHECKING, Any

from google.api_core import exceptions
from google.auth.exceptions import GoogleAuthError, TransportError
from google.protobuf.json_format import ParseError
from google.rpc import code_pb2
from requests import RequestException

from churn_assets.remote.config import OWN_LABEL, VertexProfile
from churn_assets.remote.engines import command_of
from churn_assets.remote.following import EngineBusy, EngineRefused, EngineUnreachable
from churn_assets.remote.steps import ENDED, EngineState, JobState, StepOrder

if TYPE_CHECKING:
    from google.cloud.aiplatform_v1 import CustomJob, JobServiceClient

ANSWER_WITHIN = 60.0
"""Seconds for one answer of the API."""
_LONGEST_LABEL = 63

# Every state that the API documents; another one, of a later version, arrives as unspecified.
_STATES: Mapping[str, EngineState] = {
    "JOB_STATE_QUEUED": "waits",
    "JOB_STATE_PENDING": "waits",
    "JOB_STATE_PAUSED": "waits",
    "JOB_STATE_RUNNING": "works",
    "JOB_STATE_UPDATING": "works",
    "JOB_STATE_CANCELLING": "works",
    "JOB_STATE_SUCCEEDED": "succeeded",
    "JOB_STATE_PARTIALLY_SUCCEEDED": "failed",
    "JOB_STATE_FAILED": "failed",
    "JOB_STATE_CANCELLED": "cancelled",
    "JOB_STATE_EXPIRED": "lost",
}
# Of a failed job: quota, stock, preemption, the service's own trouble.
_OF_THE_SERVICE = (
    code_pb2.RESOURCE_EXHAUSTED,
    code_pb2.UNAVAILABLE,
    code_pb2.ABORTED,
    code_pb2.INTERNAL,
)
_SAYS_LOST = ("preempt", "stockout", "resources are insufficient", "quota", "does not have enough resources")
_SAYS_FAILED = ("non-zero status", "out-of-memory", "out of memory", "low on memory")


class VertexJobs:
    """Submits a step as a custom job of one machine.

    Args:
        profile: Project, region, image and machine.
        folder: The project's folder in the image.

    Raises:
        EngineRefused: The library is not installed, or finds no credentials.
    """

    def __init__(self, profile: VertexProfile, folder: str) -> None:
        self._profile, self._folder = profile, folder
        self._parent = f"projects/{profile.project}/locations/{profile.region}"
        self._jobs = _client(profile)

    @property
    def place(self) -> str:
        """Project and region."""
        return f"Vertex AI, {self._parent}"

    def submit(self, order: StepOrder, token: str, environment: Mapping[str, str]) -> str:
        """Create the job; returns its resource name.

        A lost answer leaves the question open whether there is one now: whoever asks again looks for it first.
        """
        from google.cloud.aiplatform_v1 import CustomJob

        try:
            job = CustomJob(self._wanted(order, token, environment))
        except (KeyError, TypeError, ValueError) as error:
            raise EngineRefused(f"the profile makes no job: {error}") from error
        with _explained():
            try:
                created = self._jobs.create_custom_job(parent=self._parent, custom_job=job, **_ONCE)
            except (
                exceptions.TooManyRequests
            ) as error:  # a quota, or no stock: of a look, it is the pace of asking
                raise EngineBusy(str(error.message)) from error
        return str(created.name)

    def find(self, token: str) -> str | None:
        """The oldest job that bears the token. Others of it, of an answer that came late, are cancelled."""
        from google.cloud.aiplatform_v1 import ListCustomJobsRequest

        wanted = ListCustomJobsRequest(parent=self._parent, filter=f'labels.{OWN_LABEL}="{token}"')
        with _explained():
            found = [
                job
                for job in self._jobs.list_custom_jobs(request=wanted, **_ONCE)
                if job.labels.get(OWN_LABEL) == token
            ]
        names = [str(job.name) for job in sorted(found, key=lambda job: (job.create_time, job.name))]
        for later in names[1:]:
            self.cancel(later)
        return names[0] if names else None

    def look(self, job: str) -> JobState:
        """What became of a job; one that was deleted is lost."""
        try:
            with _explained():
                return _state(self._jobs.get_custom_job(name=job, **_ONCE))
        except _JobMissing:
            return JobState("lost", "the job was deleted")

    def cancel(self, job: str) -> None:
        """Cancel a job; one that has ended stays as it is."""
        try:
            with _explained():
                self._jobs.cancel_custom_job(name=job, **_ONCE)
        except _JobMissing:
            return
        except EngineRefused:
            if self.look(job).state not in ENDED:
                raise

    def log_of(self, job: str) -> str:
        """Where its log is."""
        return f"its log: gcloud ai custom-jobs stream-logs {job}"

    def _wanted(self, order: StepOrder, token: str, environment: Mapping[str, str]) -> dict[str, Any]:
        profile = self._profile
        machine: dict[str, Any] = {"machine_type": profile.machine_type}
        if profile.accelerator_type is not None:
            machine |= {
                "accelerator_type": profile.accelerator_type,
                "accelerator_count": profile.accelerator_count,
            }
        command, *arguments = command_of(order, self._folder)
        container = {
            "image_uri": profile.image,
            "command": [command],
            "args": arguments,
            "env": [{"name": name, "value": value} for name, value in environment.items()],
        }
        pool = {
            "machine_spec": machine,
            "replica_count": 1,
            "disk_spec": {"boot_disk_type": "pd-ssd", "boot_disk_size_gb": profile.boot_disk_gb},
            "container_spec": container,
        }
        scheduling = {
            "timeout": f"{int(profile.within_minutes * 60)}s",
            "disable_retries": True,  # whoever follows the step begins it again, and counts
            "strategy": "SPOT" if profile.spot else "STANDARD",
        }
        spec: dict[str, Any] = {"worker_pool_specs": [pool], "scheduling": scheduling}
        if profile.service_account is not None:
            spec["service_account"] = profile.service_account
        own = {OWN_LABEL: token, "churn_asset": order.asset, "churn_experiment": order.experiment}
        labels = {name: value[:_LONGEST_LABEL] for name, value in own.items()}
        return {
            "display_name": f"churn {order.experiment} {order.asset}",
            "labels": {**profile.labels, **labels},
            "job_spec": spec,
        }


_NOT_NOW = (
    exceptions.ServerError,
    exceptions.RetryError,
    exceptions.TooManyRequests,
    RequestException,
    TransportError,
    ParseError,  # as of a proxy that answers in the API's place
    JSONDecodeError,
)
"""Errors after which the same question may be answered."""
_ONCE: Mapping[str, Any] = {"retry": None, "timeout": ANSWER_WITHIN}
"""Of every question: the follower asks again, and counts."""


class _JobMissing(EngineRefused):
    """The API knows no such job, or no such project."""


def _client(profile: VertexProfile) -> JobServiceClient:
    try:
        from google.auth.credentials import AnonymousCredentials
        from google.cloud.aiplatform_v1 import JobServiceClient
    except ImportError as error:
        raise EngineRefused(
            "google-cloud-aiplatform is not installed: pip install 'churn-assets[vertex]'"
        ) from error
    endpoint = profile.endpoint or f"{profile.region}-aiplatform.googleapis.com"
    anonymous: Any = AnonymousCredentials
    credentials = anonymous() if profile.credentials == "anonymous" else None
    with _explained():
        return JobServiceClient(
            transport="rest", credentials=credentials, client_options={"api_endpoint": endpoint}
        )


@contextmanager
def _explained() -> Iterator[None]:
    """The errors of the client, in this library's words."""
    try:
        yield
    except exceptions.NotFound as error:
        raise _JobMissing(error.message) from error
    except _NOT_NOW as error:
        raise EngineUnreachable(f"{type(error).__name__}: {error}") from error
    except GoogleAuthError as error:
        kind = EngineUnreachable if error.retryable else EngineRefused
        raise kind(f"{type(error).__name__}: {error}") from error
    except exceptions.ClientError as error:
        raise EngineRefused(f"{type(error).__name__}: {error}") from error


def _state(job: CustomJob) -> JobState:
    # A state of a later version is no member of the enumeration.
    name = str(getattr(job.state, "name", f"state {job.state}"))
    message = " ".join(str(job.error.message).split())
    state = _STATES.get(name)
    if state is None:
        return JobState("unclear", name)
    detail = f"{name} {message}".rstrip() if state in ("failed", "lost", "cancelled") else ""
    return JobState("lost" if state == "failed" and _lost(job.error.code, message) else state, detail)


def _lost(code: int, message: str) -> bool:
    """Whether a failed job was lost by the service: begun again, it may succeed."""
    said = message.lower()
    if any(each in said for each in _SAYS_FAILED):
        return False
    return code in _OF_THE_SERVICE or any(each in said for each in _SAYS_LOST)

"""Custom jobs of Vertex AI against a local server of its REST API: every state and fault ends rightly, in time."""

import pytest
from fake_vertex import fake_vertex
from google.cloud.aiplatform_v1 import AcceleratorType, Scheduling
from remote_cases import ordered, publish, remote_step, report, says, store_in

from churn_assets.remote.attempts import STEPS, attempts, begin
from churn_assets.remote.config import VertexProfile
from churn_assets.remote.steps import RemoteStepError
from churn_assets.remote.vertex_jobs import VertexJobs

PENDING, RUNNING, SUCCEEDED = "JOB_STATE_PENDING", "JOB_STATE_RUNNING", "JOB_STATE_SUCCEEDED"


@pytest.fixture
def vertex():
    with fake_vertex() as server:
        yield server


@pytest.fixture
def store(tmp_path):
    return store_in(tmp_path / "store")


def profile(vertex, **changes):
    said = {"kind": "vertex", "project": "retention", "region": "europe-west4", "image": "train@sha256:ab"}
    said |= {"endpoint": vertex.url, "credentials": "anonymous", "poll_seconds": 1.0}
    return VertexProfile(**said | changes)


def engine(vertex, **changes):
    return VertexJobs(profile(vertex, **changes), "/app")


def step(vertex, store, **changes):
    return remote_step(store, engine(vertex, **changes), profile=profile(vertex, **changes))


def publishes(store, *states):
    """A job that publishes what was asked for and reports it, before it passes through these states."""

    def runs(_job):
        order = ordered()
        report(attempts(store.backend, order)[-1], says(store, publish(store, order)))
        return [*states]

    return runs


def in_turn(*runs):
    """What each new job does, one after the other."""
    waiting = [*runs]
    return lambda job: waiting.pop(0)(job) if callable(waiting[0]) else waiting.pop(0)


def test_a_step_runs_as_a_job_of_its_image_with_what_was_asked(vertex, store):
    vertex.runs = publishes(store, PENDING, RUNNING, SUCCEEDED)
    machine = {"machine_type": "g2-standard-8", "accelerator_type": "NVIDIA_L4", "accelerator_count": 1}
    money = {"spot": True, "labels": {"team": "retention"}, "service_account": "train@retention.example"}
    ref, _, _ = step(vertex, store, **machine, **money).run()
    assert store.exists(ref)
    (job,) = vertex.jobs.values()
    spec = job["jobSpec"]
    (pool,) = spec["workerPoolSpecs"]
    assert pool["containerSpec"]["imageUri"] == "train@sha256:ab"
    assert [*pool["containerSpec"]["command"], *pool["containerSpec"]["args"]] == [
        *("churn", "--root", "/app", "step", "risk_model"),
        *("--experiment", "tiny", "--config-digest", "config"),
    ]
    assert AcceleratorType(pool["machineSpec"]["acceleratorType"]).name == "NVIDIA_L4"
    assert Scheduling.Strategy(spec["scheduling"]["strategy"]).name == "SPOT"
    assert spec["scheduling"]["disableRetries"] is True
    assert spec["serviceAccount"] == "train@retention.example"
    assert job["labels"]["team"] == "retention"
    assert job["labels"]["churn_asset"] == "risk_model"


def test_an_accelerator_that_is_none_is_refused_before_anything_is_asked(vertex, store):
    with pytest.raises(RemoteStepError, match="NVIDIA_L5"):
        step(vertex, store, accelerator_type="NVIDIA_L5", accelerator_count=1).run()
    assert vertex.asked == []


def test_nothing_is_looked_up_by_a_display_name(vertex, store):
    vertex.create(
        "projects/retention/locations/europe-west4", {"displayName": "churn tiny risk_model", "labels": {}}
    )
    vertex.runs = publishes(store, SUCCEEDED)
    vertex.faults["POST"] = ["dropped"]
    step(vertex, store).run()
    assert len(vertex.jobs) == 2
    assert not [path for _, path in vertex.asked if "isplay" in path]
    assert {path for method, path in vertex.asked if method == "GET" and "filter" not in path} == {
        "/v1/projects/retention/locations/europe-west4/customJobs/2?%24alt=json%3Benum-encoding%3Dint"
    }


def test_a_lost_answer_starts_no_second_job(vertex, store):
    vertex.runs = publishes(store, RUNNING, SUCCEEDED)
    vertex.faults["POST"] = ["dropped"]
    vertex.faults["GET"] = ["dropped", (503, "UNAVAILABLE", "try later")]
    step(vertex, store).run()
    assert len(vertex.jobs) == 1


def test_who_is_asked_too_often_or_answers_for_somebody_else_is_asked_again(vertex, store):
    vertex.runs = publishes(store, RUNNING, RUNNING, SUCCEEDED)
    vertex.faults["GET"] = [(429, "RESOURCE_EXHAUSTED", "too many reads"), "garbage"]
    step(vertex, store).run()
    assert len(vertex.jobs) == 1


def test_a_project_that_is_not_there_is_a_refusal(vertex, store):
    vertex.faults["POST"] = [(404, "NOT_FOUND", "no such project")]
    with pytest.raises(RemoteStepError, match="no such project"):
        step(vertex, store).run()


def test_a_request_that_never_arrived_is_made_again(vertex, store):
    vertex.runs = publishes(store, SUCCEEDED)
    vertex.faults["POST"] = ["refused", (500, "INTERNAL", "oops")]
    step(vertex, store).run()
    assert len(vertex.jobs) == 1


def test_of_two_jobs_of_one_token_the_older_counts_and_the_other_is_cancelled(vertex, store):
    vertex.runs = lambda job: [RUNNING]
    jobs = engine(vertex)
    attempt = begin(store.backend, ordered(), "a1b2")
    first, second = (jobs.submit(ordered(), attempt.token, {}) for _ in range(2))
    assert jobs.find(attempt.token) == first
    assert vertex.jobs[second]["state"] == "JOB_STATE_CANCELLED"
    assert vertex.jobs[first]["state"] == "JOB_STATE_QUEUED"


def test_success_without_publishing_is_a_failure(vertex, store):
    vertex.runs = lambda job: [RUNNING, SUCCEEDED]
    with pytest.raises(RemoteStepError, match="without reporting a published version"):
        step(vertex, store).run()
    assert len(vertex.jobs) == 1


RETRIABLE = [
    (8, "The following quota metrics exceed quota limits: custom_model_training_nvidia_l4_gpus"),
    (8, "Resources are insufficient in region: europe-west4. Please try a different region"),
    (14, "The service is currently unavailable."),
    (13, "Internal error occurred for the current attempt."),
    (10, "The job was aborted."),
    (9, "The replica workerpool0-0 was preempted."),
    (2, "STOCKOUT: no machine of this type is left"),
]
OWN_FAULT = [
    (3, "The replica workerpool0-0 exited with a non-zero status of 1."),
    (8, "The following replicas ran out-of-memory: workerpool0-0"),
    (7, "Permission denied on the image."),
    (5, "Image not found."),
    (0, ""),
]


@pytest.mark.parametrize(("code", "message"), RETRIABLE)
def test_what_the_service_lost_is_begun_again(vertex, store, code, message):
    failed = ("JOB_STATE_FAILED", {"code": code, "message": message})
    vertex.runs = in_turn([RUNNING, failed], publishes(store, RUNNING, SUCCEEDED))
    work = step(vertex, store)
    work.run()
    assert len(vertex.jobs) == 2
    assert any(message in note for note in work.listener.notes)


@pytest.mark.parametrize(("code", "message"), OWN_FAULT)
def test_what_the_step_did_is_not_begun_again(vertex, store, code, message):
    vertex.runs = lambda job: [RUNNING, ("JOB_STATE_FAILED", {"code": code, "message": message})]
    with pytest.raises(RemoteStepError, match="JOB_STATE_FAILED") as failed:
        step(vertex, store).run()
    assert message in str(failed.value)
    assert "gcloud ai custom-jobs stream-logs projects/retention" in str(failed.value)
    assert len(vertex.jobs) == 1


def test_a_quota_at_submission_is_waited_for_and_ends_in_a_failure(vertex, store):
    vertex.faults["POST"] = [(429, "RESOURCE_EXHAUSTED", "quota of CPUs")] * 3
    work = step(vertex, store)
    with pytest.raises(RemoteStepError, match=r"lost 3 times .*quota of CPUs"):
        work.run()
    assert vertex.jobs == {}
    assert work.clock.now() >= 30 + 60


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ((403, "PERMISSION_DENIED", "aiplatform.customJobs.create"), "aiplatform.customJobs.create"),
        ((400, "INVALID_ARGUMENT", "machine type"), "machine type"),
        ((401, "UNAUTHENTICATED", "no token"), "credentials"),
    ],
)
def test_a_refusal_is_final(vertex, store, fault, said):
    vertex.faults["POST"] = [fault]
    with pytest.raises(RemoteStepError, match="refuses") as failed:
        step(vertex, store).run()
    assert said in str(failed.value)
    assert vertex.jobs == {}


TERMINAL = {
    "JOB_STATE_CANCELLED": "cancelled",
    "JOB_STATE_PARTIALLY_SUCCEEDED": "failed",
    "JOB_STATE_EXPIRED": "lost",
}


@pytest.mark.parametrize(("state", "said"), TERMINAL.items())
def test_every_other_end_is_a_failure(vertex, store, state, said):
    vertex.runs = lambda job: [RUNNING, state]
    with pytest.raises(RemoteStepError, match=said):
        step(vertex, store, attempts=1).run()


@pytest.mark.parametrize(
    "state",
    ["JOB_STATE_QUEUED", PENDING, RUNNING, "JOB_STATE_PAUSED", "JOB_STATE_UPDATING", "JOB_STATE_CANCELLING"],
)
def test_a_job_that_never_ends_is_cancelled_in_its_time(vertex, store, state):
    vertex.runs = lambda job: [state]
    with pytest.raises(RemoteStepError, match=r"more than 0\.5 minutes"):
        step(vertex, store, within_minutes=0.5).run()
    (job,) = vertex.jobs.values()
    assert job["state"] == "JOB_STATE_CANCELLED"


@pytest.mark.parametrize("state", ["JOB_STATE_HIBERNATING", 42, "JOB_STATE_UNSPECIFIED"])
def test_a_state_of_a_later_version_ends_in_a_failure_in_bounded_time(vertex, store, state):
    vertex.runs = lambda job: [RUNNING, state]
    with pytest.raises(RemoteStepError, match="does not know"):
        step(vertex, store, unclear_minutes=0.5).run()
    (job,) = vertex.jobs.values()
    assert job["state"] == "JOB_STATE_CANCELLED"


def test_a_state_of_a_later_version_that_passes_does_no_harm(vertex, store):
    vertex.runs = publishes(store, RUNNING, "JOB_STATE_HIBERNATING", RUNNING, SUCCEEDED)
    step(vertex, store).run()


def test_an_api_that_is_gone_ends_in_a_failure_in_bounded_time(vertex, store):
    vertex.runs = lambda job: [RUNNING]
    vertex.faults["GET"] = [(503, "UNAVAILABLE", "away")] * 1000
    with pytest.raises(RemoteStepError, match=r"no clear answer for 0\.5 minutes"):
        step(vertex, store, unclear_minutes=0.5).run()


def test_a_job_that_was_deleted_is_begun_again(vertex, store):
    vertex.runs = in_turn([RUNNING, RUNNING], publishes(store, SUCCEEDED))
    vertex.faults["GET"] = [(404, "NOT_FOUND", "no such job")]
    step(vertex, store).run()
    assert len(vertex.jobs) == 2


def test_after_a_restart_the_job_is_joined_by_its_resource_name(vertex, store):
    vertex.runs = publishes(store, RUNNING, SUCCEEDED)
    attempt = begin(store.backend, ordered(), "a1b2")
    attempt.submitted(engine(vertex).submit(ordered(), attempt.token, {}))
    work = step(vertex, store)
    work.run()
    assert len(vertex.jobs) == 1
    assert work.listener.notes[0].startswith(
        "joined job projects/retention/locations/europe-west4/customJobs/1"
    )
    assert not [path for _, path in vertex.asked if "filter" in path]
    assert store.backend.list(STEPS) == []


def test_a_job_that_ended_cannot_be_cancelled_and_that_is_no_error(vertex):
    jobs = engine(vertex)
    job = jobs.submit(ordered(), "a1b2", {})
    vertex.faults["cancel"] = [
        (400, "FAILED_PRECONDITION", "it has ended"),
        (404, "NOT_FOUND", "no such job"),
    ]
    for _ in range(2):
        jobs.cancel(job)

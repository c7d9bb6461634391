"""A remote step is believed for what it proves, begun again where it was lost, and never begun twice."""

from datetime import timedelta

import pytest
from remote_cases import NOW, ScriptedEngine, ordered, publish, remote_step, report, says, store_in

from churn_assets.remote.attempts import STEPS, attempts, begin
from churn_assets.remote.following import EngineBusy, EngineRefused, EngineUnreachable
from churn_assets.remote.steps import JobState, RemoteStepError

WORKS, DONE, FAILED = JobState("works"), JobState("succeeded"), JobState("failed", "exit code 1")
LOST = JobState("lost", "the node is gone")


@pytest.fixture
def store(tmp_path):
    return store_in(tmp_path / "store")


def good(store, value="made"):
    """A step that publishes what was asked for, and says so."""
    return lambda attempt: report(attempt, says(store, publish(store, attempt.order, value)))


def test_what_a_step_published_and_reported_is_accepted(store):
    engine = ScriptedEngine(store, (good(store), [WORKS, WORKS, DONE]))
    step = remote_step(store, engine)
    ref, manifest, _ = step.run()
    assert store.versions("tiny", "risk_model") == [ref]
    assert manifest.provenance.config_digest == "config"
    assert store.backend.list(STEPS) == []
    assert "submitted job job-1 to a scripted engine" in step.listener.notes


def test_success_without_a_report_is_a_failure(store):
    engine = ScriptedEngine(store, (None, [DONE]))
    with pytest.raises(RemoteStepError, match="without reporting a published version"):
        remote_step(store, engine).run()
    assert len(engine.submissions) == 1


def test_a_step_that_publishes_and_says_nothing_has_failed(store):
    engine = ScriptedEngine(store, (lambda attempt: publish(store, attempt.order), [DONE]))
    with pytest.raises(RemoteStepError, match="without reporting"):
        remote_step(store, engine).run()


def test_a_report_whose_manifest_is_not_in_the_store_is_a_failure(store):
    def lies(attempt):
        ref = publish(store, attempt.order)
        said = says(store, ref)
        store.backend.delete(ref.manifest_key)
        report(attempt, said)

    with pytest.raises(RemoteStepError, match="does not bear out: ObjectMissing"):
        remote_step(store, ScriptedEngine(store, (lies, [DONE]))).run()


def test_a_version_with_a_changed_byte_is_a_failure(store, tmp_path):
    def spoils(attempt):
        ref = publish(store, attempt.order)
        path = tmp_path / "store" / ref.prefix / "text.json"
        path.chmod(0o644)
        path.write_bytes(b'"mAde"\n')
        report(attempt, says(store, ref))

    with pytest.raises(RemoteStepError, match="does not bear out: CorruptArtifact"):
        remote_step(store, ScriptedEngine(store, (spoils, [DONE]))).run()


OTHER = {"customers": "tiny/customers/20261122T120000Z-ba9876543210"}


@pytest.mark.parametrize(
    ("other", "found"),
    [
        ({"config_digest": "another"}, "config another, expected config"),
        ({"code_version": "another"}, "source code another, expected code"),
        ({"upstream": OTHER}, "upstream {'customers': 'ba9876543210'}"),
        ({"upstream": {}}, "upstream {}"),
        ({"seed": 8}, "seed 8, expected 7"),
        ({"minted_at": NOW - timedelta(days=1)}, "minting time 2026-11-21"),
    ],
)
def test_a_version_made_from_something_else_is_a_failure(store, other, found):
    act = lambda attempt: report(attempt, says(store, publish(store, attempt.order, **other)))  # noqa: E731
    with pytest.raises(RemoteStepError, match="is not what was asked for") as failed:
        remote_step(store, ScriptedEngine(store, (act, [DONE]))).run()
    assert found in str(failed.value)


def test_a_report_about_another_asset_is_a_failure(store):
    other = ordered(asset="accept_model")
    act = lambda attempt: report(attempt, says(store, publish(store, other)))  # noqa: E731
    with pytest.raises(RemoteStepError, match="expected a version of tiny/risk_model"):
        remote_step(store, ScriptedEngine(store, (act, [DONE]))).run()


@pytest.mark.parametrize("changes", [{"digest": "0" * 64}, {"digest": "short"}, {"artifact": "nothing"}])
def test_a_report_that_is_wrong_is_a_failure(store, changes):
    act = lambda attempt: report(attempt, says(store, publish(store, attempt.order), **changes))  # noqa: E731
    with pytest.raises(RemoteStepError):
        remote_step(store, ScriptedEngine(store, (act, [DONE]))).run()


def test_two_reports_that_differ_are_a_failure(store):
    def act(attempt):
        report(attempt, *(says(store, publish(store, attempt.order, value)) for value in ("one", "two")))

    with pytest.raises(RemoteStepError, match="several versions"):
        remote_step(store, ScriptedEngine(store, (act, [DONE]))).run()


def test_a_step_that_fails_is_not_begun_again_and_says_why(store):
    def act(attempt):
        report(attempt, {"failed": "MemoryError: 3 GB"})

    engine = ScriptedEngine(store, (act, [WORKS, FAILED]))
    with pytest.raises(RemoteStepError, match=r"job-1 failed: exit code 1; MemoryError: 3 GB"):
        remote_step(store, engine).run()
    assert len(engine.submissions) == 1
    assert store.backend.list(STEPS) == []


def test_a_lost_step_is_begun_again(store):
    engine = ScriptedEngine(store, (None, [WORKS, LOST]), (good(store), [WORKS, DONE]))
    step = remote_step(store, engine)
    step.run()
    assert len(set(engine.submissions)) == 2
    assert "lost (the node is gone); begun again in 30 s" in step.listener.notes


def test_a_step_that_is_always_lost_fails_in_the_end(store):
    engine = ScriptedEngine(store, *[(None, [LOST])] * 3)
    with pytest.raises(RemoteStepError, match=r"lost 3 times .* the node is gone"):
        remote_step(store, engine).run()
    assert store.backend.list(STEPS) == []


def test_an_engine_without_room_is_asked_again(store):
    engine = ScriptedEngine(store, (good(store), [DONE]))
    engine.refuse = [EngineBusy("quota"), EngineBusy("no stock")]
    step = remote_step(store, engine)
    step.run()
    assert len(engine.submissions) == 3
    assert step.clock.now() >= 30 + 60


def test_an_engine_that_refuses_is_not_asked_again(store):
    engine = ScriptedEngine(store)
    engine.refuse = [EngineRefused("no permission")]
    with pytest.raises(RemoteStepError, match="refuses: no permission"):
        remote_step(store, engine).run()
    assert len(engine.submissions) == 1


def test_a_lost_answer_starts_no_second_job(store):
    engine = ScriptedEngine(store, (good(store), [WORKS, DONE]))
    engine.answers_lost = 1
    remote_step(store, engine).run()
    assert len(engine.submissions) == 1


def test_what_was_never_submitted_is_submitted_again_under_the_same_token(store):
    engine = ScriptedEngine(store, (good(store), [DONE]))
    engine.refuse = [EngineUnreachable("connection refused")] * 3
    remote_step(store, engine).run()
    assert len(engine.submissions) == 4
    assert len(set(engine.submissions)) == 1


def test_an_engine_that_stays_silent_ends_in_a_failure_within_its_time(store):
    engine = ScriptedEngine(store, (None, [WORKS, EngineUnreachable("timed out")]))
    step = remote_step(store, engine)
    with pytest.raises(RemoteStepError, match="no clear answer for 15 minutes"):
        step.run()
    assert 15 * 60 < step.clock.now() < 17 * 60
    assert engine.cancelled == ["job-1"]


def test_a_short_silence_is_waited_for(store):
    engine = ScriptedEngine(store, (good(store), [WORKS, *[EngineUnreachable("timed out")] * 100, DONE]))
    remote_step(store, engine).run()


def test_a_state_that_nobody_knows_ends_in_a_failure_within_its_time(store):
    engine = ScriptedEngine(store, (None, [WORKS, JobState("unclear", "JOB_STATE_DREAMING")]))
    step = remote_step(store, engine)
    with pytest.raises(RemoteStepError, match="does not know: JOB_STATE_DREAMING"):
        step.run()
    assert 15 * 60 < step.clock.now() < 17 * 60
    assert engine.cancelled == ["job-1"]


def test_a_step_that_takes_too_long_is_cancelled(store):
    engine = ScriptedEngine(store, (None, [WORKS]))
    step = remote_step(store, engine)
    step.profile = step.profile.model_copy(update={"within_minutes": 60.0})
    with pytest.raises(RemoteStepError, match="more than 60 minutes"):
        step.run()
    assert engine.cancelled == ["job-1"]


def test_a_step_that_somebody_cancelled_has_failed(store):
    engine = ScriptedEngine(store, (None, [WORKS, JobState("cancelled", "by ann")]))
    with pytest.raises(RemoteStepError, match="cancelled: by ann"):
        remote_step(store, engine).run()


def test_a_cancelled_run_cancels_its_job_and_the_next_run_begins_anew(store):
    engine = ScriptedEngine(store, (None, [WORKS, KeyboardInterrupt()]), (good(store), [DONE]))
    with pytest.raises(KeyboardInterrupt):
        remote_step(store, engine).run()
    assert engine.cancelled == ["job-1"]
    remote_step(store, engine).run()
    assert len(engine.submissions) == 2


class _Killed(BaseException):
    """The process is gone, without a word."""


def killed_while_following(store, engine):
    """Leaves what a killed process leaves."""
    step = remote_step(store, engine)
    step._stop = lambda *_: None
    with pytest.raises(_Killed):
        step.run()


def test_a_run_after_a_crash_joins_the_job_that_is_on_its_way(store):
    engine = ScriptedEngine(store, (good(store), [WORKS, _Killed(), WORKS, DONE]))
    killed_while_following(store, engine)
    later = ordered(minted_at=NOW + timedelta(hours=2), run_id="later")
    step = remote_step(store, engine, later)
    ref, manifest, _ = step.run()
    assert len(engine.submissions) == 1
    assert "joined job job-1 on a scripted engine" in step.listener.notes
    assert manifest.provenance.run_id == "run"
    assert ref.version.startswith("20261122T124501Z")


def test_a_run_after_a_crash_finds_a_job_whose_id_was_never_kept(store):
    engine = ScriptedEngine(store, (good(store), [WORKS, DONE]))
    attempt = begin(store.backend, ordered(), "token")
    engine.submit(ordered(), attempt.token, {})
    remote_step(store, engine).run()
    assert len(engine.submissions) == 1


def test_a_run_that_asks_for_something_else_joins_nothing(store):
    engine = ScriptedEngine(store, (None, [WORKS, _Killed()]), (good(store), [DONE]))
    killed_while_following(store, engine)
    remote_step(store, engine, ordered(config_digest="another")).run()
    assert len(engine.submissions) == 2


def test_two_that_begin_at_once_share_one_try(store):
    first, second = begin(store.backend, ordered(), "one"), attempts(store.backend, ordered())[-1]
    assert (first.token, first.prefix) == (second.token, second.prefix)
    first.submitted("job-1")
    second.submitted("job-2")
    assert first.job == second.job == "job-1"


def test_an_orphan_that_publishes_late_changes_nothing(store):
    orphan = []
    engine = ScriptedEngine(store, (orphan.append, [WORKS, LOST]), (good(store), [DONE]))
    ref, manifest, _ = remote_step(store, engine).run()
    before = {key: store.backend.read(key) for key in store.backend.list("artifacts/")}
    report(orphan[0], says(store, publish(store, orphan[0].order)))  # the same content: the same version
    assert {key: store.backend.read(key) for key in store.backend.list("artifacts/")} == before
    publish(store, orphan[0].order, "other bytes")  # of another content: a version that nobody was handed
    assert store.verify(ref).digest == manifest.digest
    engine.script = [(good(store), [DONE])]
    again = ordered(minted_at=NOW + timedelta(hours=1))
    assert remote_step(store, engine, again).run()[0].version.startswith("20261122T134501Z")

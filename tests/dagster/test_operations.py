"""Promotion and rollback as Dagster jobs: typed config in, a record in the channel's log and on the run out."""

import shutil
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from toy_flow import toy_release

from churn_assets.definitions import build_defs
from churn_assets.flow.check import LOADS_AND_AGREES
from churn_assets.gates.report import Gate, GateReport
from churn_assets.release.bundle import RELEASE, Member
from churn_assets.store.artifacts import stage
from churn_assets.store.channels import Channel
from churn_assets.store.manifest import Provenance
from jobs.operations import daily_verification, operations, retention, verification, weekly_retention

WHO = {"experiment": "toy", "actor": "ann", "reason": "lift holds"}


@pytest.fixture
def jobs(toy):
    required = {each.name: each.checks for each in toy.flow} | {"release": ()}
    return {job.name: job for job in operations(required)}


@pytest.fixture
def release(toy, tmp_path):
    """Trains whatever changed and publishes a release of the newest versions."""

    def publish():
        assert toy.run().success
        members = {asset: toy.newest(asset) for asset in ("customers", "risk_model")}
        found = {
            asset: Member(ref=str(ref), digest=toy.store.manifest(ref).digest)
            for asset, ref in members.items()
        }
        staged = stage(
            "release", toy_release("toy", found), RELEASE, tmp_path / members["risk_model"].version
        )
        ref = toy.store.publish(staged, Provenance(experiment="toy"), datetime.now(UTC))
        report = GateReport(
            check=LOADS_AND_AGREES,
            asset="release",
            version=ref.version,
            digest=toy.store.manifest(ref).digest,
            key="k",
            champion=None,
            gates=(Gate("figure", 1.0, ">=", 0.5),),
            advice="",
        )
        toy.store.add_gate_report(ref, LOADS_AND_AGREES, report.to_json())
        return ref

    return publish


@pytest.fixture
def act(toy, jobs):
    """Runs a job on the ephemeral instance."""

    def execute(job, **config):
        (op,) = jobs[job].graph.node_dict
        return jobs[job].execute_in_process(
            run_config={"ops": {op: {"config": config}}},
            resources={"project": toy.project},
            instance=toy.instance,
            raise_on_error=False,
        )

    return execute


def why(result):
    (failure,) = [e.step_failure_data for e in result.all_events if e.event_type_value == "STEP_FAILURE"]
    error = failure.error
    while error.cause is not None:
        error = error.cause
    return error.message


def shown(result):
    (output,) = [e.step_output_data for e in result.all_events if e.event_type_value == "STEP_OUTPUT"]
    return {name: value.value for name, value in output.metadata.items()}


def test_promotion_writes_a_record_that_the_run_shows_and_is_tagged_with(toy, release, act):
    ref = release()
    result = act("promote", **WHO)
    assert result.success
    (record,) = Channel(toy.store, "toy").history()
    assert (record.release, record.actor, record.reason) == (str(ref), "ann", "lift holds")
    assert shown(result)["release"] == str(ref)
    assert shown(result)["evidence"] == record.gate_report_digest
    tags = toy.instance.get_run_by_id(result.run_id).tags
    assert (tags["churn/channel"], tags["churn/record"], tags["churn/release"]) == ("toy", "1", str(ref))


def test_a_challenger_is_promoted_to_its_own_channel_and_from_there_to_the_experiments(toy, release, act):
    ref = release()
    assert act("promote", channel="challenger", **WHO).success
    assert Channel(toy.store, "toy").head() is None
    assert act("promote", release="challenger", **WHO).success
    assert Channel(toy.store, "toy").head().ref == ref


def test_rollback_needs_nothing_of_the_release_that_leads(toy, release, act):
    first = release()
    assert act("promote", **WHO).success
    toy.calls.champion = toy.newest("risk_model")
    toy.configure(risk_model={"scale": 2.0})
    toy.wait_for_another_second()
    second = release()
    assert act("promote", **WHO).success
    toy.spoil("risk_model")
    result = act("rollback", **WHO | {"reason": "complaints"})
    assert result.success
    head = Channel(toy.store, "toy").head()
    assert (head.action, head.ref, head.previous, head.reason) == (
        "rollback",
        first,
        str(second),
        "complaints",
    )
    assert act("promote", release=second.version, **WHO).success is False
    assert act("rollback", to=second.version, **WHO).success is False
    assert Channel(toy.store, "toy").head() == head


def test_a_release_that_may_not_lead_fails_the_run_with_the_reason(toy, release, act):
    release()
    toy.spoil("risk_model")
    result = act("promote", **WHO)
    assert not result.success
    assert "value.json" in why(result)
    assert Channel(toy.store, "toy").head() is None


def test_a_release_that_is_not_there_fails_the_run(toy, act):
    assert "no release of toy yet" in why(act("promote", **WHO))


@pytest.mark.parametrize("job", ["promote", "rollback", "begin_trial", "end_trial"])
def test_an_unknown_field_is_refused_before_anything_runs(job, act):
    with pytest.raises(dg.DagsterInvalidConfigError, match="releese"):
        act(job, releese="latest", **WHO)


@pytest.mark.parametrize(
    ("job", "changes", "said"),
    [
        ("promote", {"reason": ""}, "reason"),
        ("rollback", {"actor": ""}, "actor"),
        ("begin_trial", {"reason": " "}, "reason"),
        ("end_trial", {"reason": ""}, "reason"),
        ("end_trial", {}, "no trial runs"),
        ("promote", {"experiment": "../toy"}, "experiment"),
        ("promote", {"channel": "a/b"}, "channel"),
    ],
)
def test_a_value_out_of_bounds_fails_the_run_and_names_the_field(toy, release, act, job, changes, said):
    release()
    result = act(job, **WHO | changes)
    assert not result.success
    assert said in why(result)
    assert Channel(toy.store, "toy").head() is None


@pytest.mark.parametrize(
    ("job", "fields"),
    [
        ("promote", {"experiment": "", "actor": "", "reason": "", "release": "latest"}),
        ("rollback", {"experiment": "", "actor": "", "reason": ""}),
        ("begin_trial", {"experiment": "", "actor": "", "reason": "", "release": "latest", "shares": []}),
        ("end_trial", {"experiment": "", "actor": "", "reason": ""}),
        ("retention", {"experiment": "", "apply": False}),
        ("verification", {"experiment": ""}),
        ("decision_retention", {"experiment": ""}),
    ],
)
def test_a_launchpad_opens_with_every_field_that_is_needed_and_each_has_its_help(job, fields):
    found = build_defs().resolve_job_def(job)
    (op,) = found.nodes
    assert found.run_config == {"ops": {op.name: {"config": fields}}}
    assert all(each.description for each in op.definition.config_field.config_type.fields.values())


def test_the_project_offers_the_jobs():
    names = {job.name for job in build_defs().resolve_all_job_defs()}
    assert {"train", "promote", "rollback", "retention"} <= names


def test_one_variable_moves_every_experiment_to_another_store_and_runs_show_which(
    toy, monkeypatch, metadata_of, tmp_path
):
    assert metadata_of(toy.run(), "customers")["store"] == "store"
    shutil.copytree(tmp_path / "store", tmp_path / "moved")
    monkeypatch.setenv("CHURN_STORE", "moved")
    toy.configure(risk_model={"scale": 2.0})
    toy.wait_for_another_second()
    result = toy.run()
    assert "unchanged" in metadata_of(result, "customers")
    assert metadata_of(result, "customers")["store"] == "moved"
    assert len(toy.store.versions("toy", "risk_model")) == 2
    monkeypatch.delenv("CHURN_STORE")
    assert len(toy.store.versions("toy", "risk_model")) == 1


@pytest.fixture
def superseded(toy):
    """A model of six weeks ago, and the one that took its place two weeks later."""
    refs = []
    for days_ago, scale in ((42, 1.0), (28, 2.0)):
        staged = stage("risk_model", scale, toy.project.format("risk_model"), toy.root / f"staged-{days_ago}")
        minted = datetime.now(UTC) - timedelta(days=days_ago)
        refs.append(toy.store.publish(staged, Provenance(experiment="toy"), minted))
    return refs


def collection(toy, **config):
    return retention.execute_in_process(
        run_config={"ops": {"collect_versions": {"config": {"experiment": "toy", **config}}}},
        resources={"project": toy.project},
        instance=toy.instance,
    )


def test_retention_tells_what_would_go_and_removes_nothing(toy, superseded):
    told = shown(collection(toy))
    assert (told["applied"], told["versions"], told["collected"]) == (False, 2, 1)
    (output,) = [
        e.step_output_data for e in collection(toy).all_events if e.event_type_value == "STEP_OUTPUT"
    ]
    (row,) = output.metadata["what_goes_and_why"].records
    assert row.data["version"] == str(superseded[0])
    assert row.data["reason"]
    assert toy.store.versions("toy", "risk_model") == superseded


def test_retention_removes_what_may_go_when_it_is_told_to(toy, superseded):
    assert shown(collection(toy, apply=True))["applied"] is True
    assert toy.store.versions("toy", "risk_model") == superseded[1:]


def test_the_retention_schedule_is_off_and_would_visit_every_store_once(toy):
    toy.configure("third", store={"uri": "elsewhere"})
    assert weekly_retention.default_status == dg.DefaultScheduleStatus.STOPPED
    context = dg.build_schedule_context(
        instance=toy.instance,
        scheduled_execution_time=datetime(2026, 11, 22, 4, tzinfo=UTC),
        resources={"project": toy.project},
        repository_def=build_defs().get_repository_def(),
    )
    requests = weekly_retention.evaluate_tick(context).run_requests
    configs = [request.run_config["ops"]["collect_versions"]["config"] for request in requests]
    assert [config["experiment"] for config in configs] == ["other", "third"]
    assert all(config["apply"] for config in configs)
    assert len({request.run_key for request in requests}) == 2


def test_the_verification_names_what_is_wrong_with_a_store_and_its_schedule_leaves_out_what_cannot_be_read(
    toy,
):
    assert toy.run().success
    (toy.root / "configs" / "broken.yaml").write_bytes("seed: 1".encode("utf-16"))
    assert daily_verification.default_status == dg.DefaultScheduleStatus.STOPPED
    context = dg.build_schedule_context(
        instance=toy.instance,
        scheduled_execution_time=datetime(2026, 11, 22, 3, tzinfo=UTC),
        resources={"project": toy.project},
        repository_def=build_defs().get_repository_def(),
    )
    (request,) = daily_verification.evaluate_tick(context).run_requests
    assert request.tags["churn/experiment"] == "other", "the first that uses the store"

    def verify():
        return verification.execute_in_process(
            run_config=request.run_config,
            resources={"project": toy.project},
            instance=toy.instance,
            raise_on_error=False,
        )

    sound = verify()
    assert sound.success
    assert shown(sound)["foreign"] == "none"
    toy.spoil("risk_model")
    (failure,) = [e for e in verify().all_events if e.event_type_value == "STEP_FAILURE"]
    assert "risk_model" in failure.step_failure_data.user_failure_data.description

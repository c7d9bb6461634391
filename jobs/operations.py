"""Promotion, rollback and retention as jobs: typed config in, one record out. What may happen is decided elsewhere."""

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import dagster as dg
from pydantic import Field

from churn_assets.monitoring.requests import EXPERIMENT, REASON, REFUSED
from churn_assets.privacy.decision_retention import age_out
from churn_assets.release import promotion
from churn_assets.release.evidence import Required
from churn_assets.release.naming import find_release
from churn_assets.release.whole import verify_whole
from churn_assets.store.acts import ActRecord
from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.channels import Channel, ChannelRecord
from churn_assets.store.errors import PromotionRefused
from churn_assets.store.retention import collect, review
from resources.project import Project

_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
_COLLECTED = dg.TableSchema(
    [dg.TableColumn("version"), dg.TableColumn("bytes", "int"), dg.TableColumn("reason")]
)


class ActConfig(dg.Config):
    """Who does what to which channel, and why; all of it is kept in the channel's log."""

    experiment: str = Field(pattern=_NAME, description="A file of configs/: names store and channel.")
    channel: str | None = Field(
        default=None, pattern=_NAME, description="The experiment's own channel if left out."
    )
    actor: str = Field(min_length=1, description="Who acts.")
    reason: str = Field(pattern=r"\S", description="Why; kept in the channel's log.")


class LeaderConfig(ActConfig):
    """What rests on which release leads."""

    expected_record: int | None = Field(
        default=None,
        ge=0,
        description="The channel's newest record when this was decided, 0 for none: refused if it moved since.",
    )


class PromoteConfig(LeaderConfig):
    """A promotion."""

    release: str = Field(
        default="latest", min_length=1, description="latest, champion, another channel, or a version."
    )


class RollbackConfig(LeaderConfig):
    """A rollback."""

    to: str | None = Field(
        default=None, min_length=1, description="A release that led before; the one before if left out."
    )


class BeginTrialConfig(LeaderConfig):
    """A trial that begins."""

    release: str = Field(
        default="latest", min_length=1, description="latest, another channel, or a version: what is tried."
    )
    shares: list[float] = Field(
        default=[],
        description="Of the customers left to the policy, that go by it, step by step; empty: those of "
        "automation.promotion.trial.",
    )
    step_hours: int | None = Field(
        default=None, ge=1, description="From one share to the next; as there if left out."
    )


class EndTrialConfig(ActConfig):
    """A trial that ends."""

    trial: int | None = Field(
        default=None, ge=1, description="Number of the record that started it; the one that runs if left out."
    )


class RetentionConfig(dg.Config):
    """What to collect."""

    experiment: str = Field(
        pattern=_NAME, description="A file of configs/: its store is looked through, all of it."
    )
    apply: bool = Field(default=False, description="Remove what may go; only told otherwise.")


class VerificationConfig(dg.Config):
    """What to verify."""

    experiment: str = Field(pattern=_NAME, description="A file of configs/: its store is read, all of it.")


def operations(required: Required) -> list[dg.JobDefinition]:
    """The jobs that move a channel.

    Args:
        required: Checks that each asset of a release needs.
    """

    @dg.op(required_resource_keys={"project"}, description="Verify a release anew and let it lead a channel.")
    def promote_release(context: dg.OpExecutionContext, config: PromoteConfig) -> None:
        store, channel, own = _place(context.resources.project, config)
        ref = find_release(store, config.experiment, own, config.release)
        try:
            record = promotion.promote(
                store,
                channel,
                ref,
                required=required,
                actor=config.actor,
                reason=config.reason,
                now=datetime.now(UTC),
                champion=Channel(store, own),
                expected_seq=config.expected_record,
            )
        except PromotionRefused:  # as it would be again: nobody asks for it a second time
            digest = context.resources.project.config_digest(config.experiment)
            context.instance.add_run_tags(context.run_id, {REFUSED: digest})
            raise
        _tell(context, record)

    @dg.op(required_resource_keys={"project"}, description="Let a release lead a channel that led it before.")
    def roll_back(context: dg.OpExecutionContext, config: RollbackConfig) -> None:
        store, channel, own = _place(context.resources.project, config)
        to = None if config.to is None else find_release(store, config.experiment, own, config.to)
        record = promotion.rollback(
            store,
            channel,
            to,
            actor=config.actor,
            reason=config.reason,
            now=datetime.now(UTC),
            expected_seq=config.expected_record,
        )
        _tell(context, record)

    @dg.op(
        required_resource_keys={"project"},
        description="Let a release decide for a share of the customers beside what leads a channel.",
    )
    def try_release(context: dg.OpExecutionContext, config: BeginTrialConfig) -> None:
        from churn_assets.release.begin_trial import start_trial

        store, channel, own = _place(context.resources.project, config)
        automation = context.resources.project.experiment(config.experiment).automation
        try:
            record = start_trial(
                store,
                channel,
                find_release(store, config.experiment, own, config.release),
                required=required,
                policy=automation.promotion,
                guardrails=automation.live.model_dump_json(),
                actor=config.actor,
                reason=config.reason,
                now=datetime.now(UTC),
                shares=config.shares or None,
                step_hours=config.step_hours,
                expected_seq=config.expected_record,
            )
        except PromotionRefused:
            digest = context.resources.project.config_digest(config.experiment)
            context.instance.add_run_tags(context.run_id, {REFUSED: digest})
            raise
        _tell_act(context, channel, record)

    return [
        _job("promote", promote_release, PromoteConfig),
        _job("rollback", roll_back, RollbackConfig),
        _job("begin_trial", try_release, BeginTrialConfig),
        _job("end_trial", stop_trying, EndTrialConfig),
    ]


@dg.op(
    required_resource_keys={"project"},
    description="End the trial that runs: what leads a channel decides for everybody again.",
)
def stop_trying(context: dg.OpExecutionContext, config: EndTrialConfig) -> None:
    from churn_assets.release.trial import stop_trial

    store, channel, _ = _place(context.resources.project, config)
    record = stop_trial(
        store,
        channel,
        actor=config.actor,
        reason=config.reason,
        now=datetime.now(UTC),
        expected_seq=config.trial,
    )
    _tell_act(context, channel, record)


@dg.op(
    required_resource_keys={"project"}, description="Tell, or remove, what no channel can ever need again."
)
def collect_versions(context: dg.OpExecutionContext, config: RetentionConfig) -> None:
    store = context.resources.project.store(config.experiment)
    plan = review(store, datetime.now(UTC))
    if config.apply:
        collect(store, plan)
    rows = [
        dg.TableRecord({"version": str(row.ref), "bytes": row.size, "reason": row.reason})
        for row in plan.collected
    ]
    context.add_output_metadata(
        {
            "applied": config.apply,
            "versions": len(plan.rows),
            "collected": len(plan.collected),
            "freed_bytes": plan.freed,
            "what_goes_and_why": dg.TableMetadataValue(rows, _COLLECTED),
        }
    )


@dg.op(
    required_resource_keys={"project"},
    description="Read every byte of a store: files, manifests, gate reports, logs, decisions, signatures.",
)
def verify_store_of(context: dg.OpExecutionContext, config: VerificationConfig) -> None:
    found = verify_whole(context.resources.project.store(config.experiment))
    counts = {name: getattr(found, name) for name in ("versions", "files", "reports", "records", "others")}
    if found.problems:
        more = f" and {len(found.problems) - 1} more" if len(found.problems) > 1 else ""
        raise dg.Failure(
            description=f"{found.problems[0]}{more}",
            metadata={**counts, "problems": "\n".join(found.problems), "what_to_do": "docs/runbook.md"},
            allow_retries=False,
        )
    context.add_output_metadata(
        {**counts, "bytes": found.size, "foreign": "\n".join(found.foreign) or "none"}
    )


_Places = Callable[[Project, logging.Logger], Mapping[str, str]]
"""What is looked after, by its name or URI, and the first experiment that stands for it."""


def stores_of(project: Project, log: logging.Logger) -> dict[str, str]:
    """Every store that the experiments use, by its URI, and the first experiment that uses it.

    An experiment that cannot be read is told and left out: the others' stores are looked after.
    """
    return _places(project, log, project.store_uri)


def _keeping_for_a_time(project: Project, log: logging.Logger) -> dict[str, str]:
    """The experiments whose decisions are kept for some days."""

    def kept(name: str) -> str | None:
        return None if project.experiment(name).privacy.keep_decisions_days is None else name

    return _places(project, log, kept)


def _places(project: Project, log: logging.Logger, of: Callable[[str], str | None]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in project.names():
        try:
            place = of(name)
        except (OSError, ValueError) as error:
            log.error(f"{name}: cannot be looked at: {error}")
            continue
        if place is not None:
            found.setdefault(place, name)
    return found


def _place(project: Project, config: ActConfig) -> tuple[ArtifactStore, Channel, str]:
    """Store, the channel that is meant, and the name of the experiment's own."""
    store, own = project.store(config.experiment), str(project.experiment(config.experiment).channel)
    return store, Channel(store, config.channel or own), own


def _job(name: str, op: dg.OpDefinition, config: type[dg.Config]) -> dg.JobDefinition:
    # The launchpad shows every field that is needed, empty: an empty one is refused by name.
    shown = {
        key: "" if field.is_required() else field.default
        for key, field in config.model_fields.items()
        if field.default is not None
    }

    # Ahead of every training that waits; not of one that runs: `churn rollback` waits for nothing.
    @dg.job(
        name=name,
        description=op.description,
        tags={"dagster/priority": "10"},
        config={"ops": {op.name: {"config": shown}}},
    )
    def job() -> None:
        op()

    return job


class DecisionRetentionConfig(dg.Config):
    """Whose decisions."""

    experiment: str = Field(
        pattern=_NAME, description="A file of configs/ with `privacy.keep_decisions_days`."
    )


@dg.op(
    required_resource_keys={"project"},
    description="Delete decisions that are older than an experiment keeps them; counts stay.",
)
def age_decisions(context: dg.OpExecutionContext, config: DecisionRetentionConfig) -> None:
    project: Project = context.resources.project
    days = project.experiment(config.experiment).privacy.keep_decisions_days
    if days is None:
        raise dg.Failure(
            description=f"{config.experiment}: privacy.keep_decisions_days: found nothing, expected days",
            allow_retries=False,
        )
    done = age_out(project.store(config.experiment), config.experiment, days, datetime.now(UTC), apply=True)
    context.add_output_metadata({"kept_days": days, "deleted_segments": len(done.gone)})
    if done.problems:
        raise dg.Failure(
            description=done.problems[0], metadata={"problems": "\n".join(done.problems)}, allow_retries=False
        )


retention = _job("retention", collect_versions, RetentionConfig)
decision_retention = _job("decision_retention", age_decisions, DecisionRetentionConfig)
verification = _job("verification", verify_store_of, VerificationConfig)


def _each(
    name: str,
    job: dg.JobDefinition,
    cron: str,
    config: Callable[[str], dg.RunConfig],
    where: _Places,
    description: str,
) -> dg.ScheduleDefinition:
    """A schedule that asks for a run for each experiment that stands for something to look after.

    Args:
        name: Of the schedule.
        job: What runs.
        cron: When, in UTC.
        config: (experiment) -> its run's config.
        where: What is looked after, and the experiment that stands for it.
        description: What it is for.
    """

    @dg.schedule(
        name=name,
        job=job,
        cron_schedule=cron,
        default_status=dg.DefaultScheduleStatus.STOPPED,
        required_resource_keys={"project"},
        description=f"{description} Off until somebody starts it.",
    )
    def each(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest]:
        return [
            dg.RunRequest(
                run_key=f"{context.scheduled_execution_time:%Y-%m-%d} {place}",
                run_config=config(experiment),
                tags={EXPERIMENT: experiment, REASON: f"the schedule {name}"},
            )
            for place, experiment in where(context.resources.project, context.log).items()
        ]

    return each


weekly_retention = _each(
    "weekly_retention",
    retention,
    "0 4 * * 0",
    lambda experiment: dg.RunConfig(
        {collect_versions.name: RetentionConfig(experiment=experiment, apply=True)}
    ),
    stores_of,
    "Every Sunday, what may go from each store goes.",
)
daily_verification = _each(
    "daily_verification",
    verification,
    "0 3 * * *",
    lambda experiment: dg.RunConfig({verify_store_of.name: VerificationConfig(experiment=experiment)}),
    stores_of,
    "Every night, every byte of each store is verified.",
)
daily_decision_retention = _each(
    "daily_decision_retention",
    decision_retention,
    "0 5 * * *",
    lambda experiment: dg.RunConfig({age_decisions.name: DecisionRetentionConfig(experiment=experiment)}),
    _keeping_for_a_time,
    "Every night, decisions go that are older than their experiment keeps them.",
)
SCHEDULES = (weekly_retention, daily_verification, daily_decision_retention)


def _tell_act(context: dg.OpExecutionContext, channel: Channel, record: ActRecord) -> None:
    """As `_tell`, of a record of the log of trials."""
    context.add_output_metadata(
        {
            "channel": channel.name,
            "record": record.seq,
            "act": record.kind,
            "actor": record.actor,
            "reason": record.reason,
            **{name: value for name, value in record.details.items() if value is not None},
        }
    )
    tags = {"churn/channel": channel.name, "churn/trial": str(record.seq)}
    context.instance.add_run_tags(context.run_id, tags)


def _tell(context: dg.OpExecutionContext, record: ChannelRecord) -> None:
    """Show the record on the run: figures in its output, and tags that runs can be found by."""
    context.add_output_metadata(
        {
            "channel": record.channel,
            "record": record.seq,
            "release": record.release,
            "previous": record.previous or "nothing",
            "actor": record.actor,
            "reason": record.reason,
            "evidence": record.gate_report_digest,
        }
    )
    tags = {
        "churn/channel": record.channel,
        "churn/record": str(record.seq),
        "churn/release": record.release,
    }
    context.instance.add_run_tags(context.run_id, tags)

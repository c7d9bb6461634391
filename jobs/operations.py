"""Promotion, rollback and retention as jobs: typed config in, one record out. What may happen is decided elsewhere."""

from datetime import UTC, datetime

import dagster as dg
from pydantic import Field

from churn_assets.release import promotion
from churn_assets.release.evidence import Required
from churn_assets.release.naming import find_release
from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.channels import Channel, ChannelRecord
from resources.project import Project

_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"


class ActConfig(dg.Config):
    """Who does what to which channel, and why; all of it is kept in the channel's log."""

    experiment: str = Field(pattern=_NAME, description="A file of configs/: names store and channel.")
    channel: str | None = Field(
        default=None, pattern=_NAME, description="The experiment's own channel if left out."
    )
    actor: str = Field(min_length=1, description="Who acts.")
    reason: str = Field(min_length=1, description="Why.")


class PromoteConfig(ActConfig):
    """A promotion."""

    release: str = Field(
        default="latest", min_length=1, description="latest, champion, another channel, or a version."
    )


class RollbackConfig(ActConfig):
    """A rollback."""

    to: str | None = Field(
        default=None, min_length=1, description="A release that led before; the one before if left out."
    )


def operations(required: Required) -> list[dg.JobDefinition]:
    """The jobs.

    Args:
        required: Checks that each asset of a release needs.
    """

    @dg.op(required_resource_keys={"project"}, description="Verify a release anew and let it lead a channel.")
    def promote_release(context: dg.OpExecutionContext, config: PromoteConfig) -> None:
        store, channel, own = _place(context.resources.project, config)
        ref = find_release(store, config.experiment, own, config.release)
        record = promotion.promote(
            store,
            channel,
            ref,
            required=required,
            actor=config.actor,
            reason=config.reason,
            now=datetime.now(UTC),
        )
        _tell(context, record)

    @dg.op(required_resource_keys={"project"}, description="Let a release lead a channel that led it before.")
    def roll_back(context: dg.OpExecutionContext, config: RollbackConfig) -> None:
        store, channel, own = _place(context.resources.project, config)
        to = None if config.to is None else find_release(store, config.experiment, own, config.to)
        record = promotion.rollback(
            store, channel, to, actor=config.actor, reason=config.reason, now=datetime.now(UTC)
        )
        _tell(context, record)

    return [_job("promote", promote_release), _job("rollback", roll_back)]


def _place(project: Project, config: ActConfig) -> tuple[ArtifactStore, Channel, str]:
    """Store, the channel that is meant, and the name of the experiment's own."""
    store, own = project.store(config.experiment), str(project.experiment(config.experiment).channel)
    return store, Channel(store, config.channel or own), own


def _job(name: str, op: dg.OpDefinition) -> dg.JobDefinition:
    @dg.job(name=name, description=op.description)
    def job() -> None:
        op()

    return job


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

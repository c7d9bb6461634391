"""The IO manager on the artifact store: publishes what a step staged, hands over exactly what an upstream run made."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from churn_assets.flow.asset import Upstream
from churn_assets.flow.making import Fresh
from churn_assets.release.bundle import RELEASE_ASSET
from churn_assets.store.deadlines import FIRST_PROMOTION_WITHIN
from churn_assets.store.reference import ArtifactRef
from resources.project import ARTIFACT, STORE, Project


@dataclass(frozen=True)
class Kept:
    """A stored version that is still what the step would make."""

    ref: ArtifactRef


class ArtifactIOManager(dg.IOManager):
    """Reads and writes the store of the experiment that is the partition."""

    def __init__(self, project: Project) -> None:
        self.project = project

    def handle_output(self, context: dg.OutputContext, obj: Fresh | Kept) -> None:
        """Publish a fresh value, minted at the run's start so that a retried step finds its own version."""
        if isinstance(obj, Fresh):
            with obj.folder:
                store = self.project.store(context.partition_key)
                started = run_start(
                    context.step_context.instance, context.run_id, context.asset_key.to_user_string()
                )
                ref = store.publish(obj.staged, obj.provenance, in_time(started, datetime.now(UTC)))
        else:
            ref = obj.ref
        context.add_output_metadata(
            {ARTIFACT: str(ref), STORE: self.project.store_uri(context.partition_key), **_report(ref)}
        )

    def load_input(self, context: dg.InputContext) -> Upstream | None:
        """The version that the upstream's run made (a parent run on re-execution), else its latest materialization.

        None for an upstream that is not in the experiment, such as the models of a branch that it goes without.
        """
        produced = context.upstream_output
        run_id = produced.run_id if produced is not None and produced.run_id is not None else ""
        asset, experiment = context.asset_key.to_user_string(), context.partition_key
        if not self.project.takes_part(experiment, asset):
            return None
        ref = self.project.made(context.instance, experiment, asset, run_id)
        manifest = self.project.store(experiment).manifest(ref)
        return Upstream(ref, manifest, lambda: self.project.value(ref))


def in_time(started: datetime, now: datetime) -> datetime:
    """The minting time of a run's versions, its start, while they may still be published.

    A collection counts on it: what a run took when it started may be gone a week later.

    Raises:
        Failure: The run began too long ago.
    """
    if now - started > FIRST_PROMOTION_WITHIN:
        days = FIRST_PROMOTION_WITHIN.days
        raise dg.Failure(
            description=f"the run began on {started:%Y-%m-%d %H:%M} UTC, more than {days} days ago: what it was made "
            "from may be gone; run it again",
            allow_retries=False,
        )
    return started


def run_start(instance: dg.DagsterInstance, run_id: str, asset: str) -> datetime:
    """When a run was created, which its versions are named by: aware, in UTC.

    Raises:
        LookupError: Dagster has no record of the run.
    """
    record = instance.get_run_record_by_id(run_id)
    if record is None:
        raise LookupError(f"run {run_id} has no record, so {asset} has no time to be minted at")
    return record.create_timestamp.astimezone(UTC)


def _report(ref: ArtifactRef) -> dict[str, dg.MetadataValue[Any]]:
    """How a release's whole report is opened: a browser follows no link from a page of a server to a file."""
    if ref.asset != RELEASE_ASSET:
        return {}
    command = f"churn report {ref.version} -e {ref.experiment} --open"
    return {"report": dg.MetadataValue.md(f"The whole report: `{command}`")}

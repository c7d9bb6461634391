"""The trial that runs beside a release, as a batch decides by it: for the customers for whom servers do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from churn_assets.batch.job import TrialJob
from churn_assets.deciding.risk_only import DecidingModels, decider_of
from churn_assets.deciding.secret import ASSIGNMENT_KEY, SHORTEST_SECRET
from churn_assets.release.bundle import Bundle
from churn_assets.release.deciding import load_release
from churn_assets.release.trial import RunningTrial, cannot_be_tried, trial_now
from churn_assets.store.errors import BROKEN

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from churn_assets.batch.job import BatchOutcome
    from churn_assets.store.artifacts import ArtifactStore
    from churn_assets.store.channels import Channel
    from churn_assets.store.reference import ArtifactRef


@dataclass(frozen=True)
class Tried:
    """The candidate of the trial that runs: it decides for its share of the table, as it does in servers.

    Attributes:
        job: What the batch keeps of it.
        bundle: Of its release.
        models: Of its release.
    """

    job: TrialJob
    bundle: Bundle
    models: DecidingModels

    def told(self, found: BatchOutcome) -> dict[str, Any]:
        """What is said of it after a batch, as plain data."""
        decided = found.releases.get(self.job.candidate, 0)
        return {"candidate": self.job.candidate, "share": self.job.share, "decided": decided}


@dataclass(frozen=True)
class Leading:
    """A release that leads a channel.

    Attributes:
        channel: That it leads.
        ref: The release.
        bundle: Of it.
        models: Of it.
    """

    channel: Channel
    ref: ArtifactRef
    bundle: Bundle
    models: DecidingModels


def tried_beside(
    leading: Leading,
    store: ArtifactStore,
    now: datetime,
    *,
    limited: bool,
    key: bytes,
    rollout_epoch: str,
    say: Callable[[str], None],
) -> Tried | None:
    """Who is tried beside a release; None where no trial runs, or none can be decided by here: that is said.

    Args:
        leading: The release.
        store: Of it.
        now: Aware time.
        limited: Whether all customers of the batch share limits.
        key: The secret that draws, as for the servers.
        rollout_epoch: `serving.assignment_epoch`.
        say: Told why one release decides for all although a trial runs.

    Raises:
        StoreError: The store does not answer, or the log of trials is not sound.
    """
    trial = trial_now(store, leading.channel, now)
    if trial is None or trial.design.champion != str(leading.ref):
        return None
    if limited:
        found: Tried | str = "a budget is for one release"
    elif len(key) < SHORTEST_SECRET:
        found = f"there is no secret to draw with: set {ASSIGNMENT_KEY} as for the servers"
    else:
        found = _candidate(leading, store, trial, rollout_epoch)
    if isinstance(found, str):
        say(f"{trial.candidate} is tried, but {leading.ref.version} decides for all here: {found}")
        return None
    return found


def _candidate(
    leading: Leading, store: ArtifactStore, trial: RunningTrial, rollout_epoch: str
) -> Tried | str:
    """The candidate as it decides for this table; or why it cannot, as in a server."""
    try:
        bundle, models = load_release(store, trial.candidate)
    except BROKEN as error:
        return str(error)
    ours, theirs = (
        decider_of(each, str(ref)) for each, ref in ((leading.models, leading.ref), (models, trial.candidate))
    )
    if problem := cannot_be_tried(leading.bundle, ours, bundle, theirs):
        return problem
    job = TrialJob(
        candidate=str(trial.candidate), share=trial.share, epoch=trial.epoch, rollout_epoch=rollout_epoch
    )
    return Tried(job, bundle, models)

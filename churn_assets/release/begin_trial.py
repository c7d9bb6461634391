"""Starting a trial: everything about the candidate is judged anew, as for a promotion."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from churn_assets.release.evidence import Required
from churn_assets.release.promotion import consider
from churn_assets.release.trial import (
    START,
    TrialDesign,
    append_act,
    checked_shares,
    refuse_blank,
    running,
    trial_log,
)
from churn_assets.store.acts import ActRecord
from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.channels import Channel
from churn_assets.store.errors import InvalidSetting, PromotionRefused
from churn_assets.store.reference import ArtifactRef


def start_trial(
    store: ArtifactStore,
    channel: Channel,
    candidate: ArtifactRef,
    *,
    required: Required,
    shares: Sequence[float],
    step_hours: int,
    rule: str,
    guardrails: str,
    actor: str,
    reason: str,
    now: datetime,
) -> ActRecord:
    """Let a release decide for a share of the customers beside the one that leads.

    It must keep what a promotion asks: every byte and every gate, against what leads now.

    Args:
        store: The store.
        channel: Whose leader it is tried beside.
        candidate: The release.
        required: Checks that each asset needs.
        shares: Steps, as of `TrialDesign`.
        step_hours: As there.
        rule: As there.
        guardrails: As there.
        actor: Who.
        reason: Why; not empty.
        now: Aware time.

    Raises:
        InvalidSetting: A share, the hours or the reason cannot be used.
        PromotionRefused: Nothing leads, a trial runs already, or the release may not lead.
        ChannelConflict: Somebody started or stopped one meanwhile.
        StoreError: The store does not answer, or the release cannot be read.
    """
    steps = checked_shares(shares)
    refuse_blank(reason)
    if step_hours < 1:
        raise InvalidSetting(f"step_hours: found {step_hours}, expected at least 1")
    log, head = trial_log(store, channel.name), channel.head()
    newest = log.newest()
    if head is None:
        raise PromotionRefused(f"{channel.name}: nothing leads, so there is nothing to try beside")
    going = running(newest, head)
    if going is not None:
        raise PromotionRefused(f"{channel.name}: a trial of {going.candidate} runs; stop it first")
    decision = consider(store, channel, candidate, required)
    if not decision.promote:
        raise PromotionRefused(f"{channel.name}: {decision.reason}")
    design = TrialDesign(
        candidate=str(candidate),
        champion=head.release,
        record=head.seq,
        shares=steps,
        step_hours=step_hours,
        rule=rule,
        guardrails=guardrails,
    )
    return append_act(log, START, newest, actor, reason, now, design)

"""Starting a trial: everything about the candidate is judged anew, as for a promotion."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from churn_assets.deciding.risk_only import decider_of
from churn_assets.release.config import PromotionPolicy
from churn_assets.release.deciding import load_release
from churn_assets.release.evidence import Required
from churn_assets.release.promotion import changes_nothing, consider
from churn_assets.release.trial import TrialDesign, as_kept, cannot_be_tried, refuse_blank, running
from churn_assets.store.acts import ActRecord
from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.channels import Channel
from churn_assets.store.errors import ChannelConflict, InvalidSetting, PromotionRefused
from churn_assets.store.reference import ArtifactRef
from churn_assets.store.tried import START, trial_log


def start_trial(
    store: ArtifactStore,
    channel: Channel,
    candidate: ArtifactRef,
    *,
    required: Required,
    policy: PromotionPolicy,
    guardrails: str,
    actor: str,
    reason: str,
    now: datetime,
    shares: Sequence[float] | None = None,
    step_hours: int | None = None,
    expected_seq: int | None = None,
) -> ActRecord:
    """Let a release decide for a share of the customers beside the one that leads.

    It must keep what a promotion asks: every byte, every gate against what leads now, and its age. From here on no
    collection takes it or what it was trained from, and it may begin to lead at any time.

    Args:
        store: The store.
        channel: Whose leader it is tried beside.
        candidate: The release.
        required: Checks that each asset needs.
        policy: `automation.promotion`: the rule, and the usual shares and hours.
        guardrails: `automation.live`, as JSON.
        actor: Who.
        reason: Why; not empty.
        now: Aware time.
        shares: Steps, as of `TrialDesign`; the policy's if None.
        step_hours: As there.
        expected_seq: The channel's newest record when this was decided, 0 for none; None to go by what leads now.

    Raises:
        InvalidSetting: A share, the hours or the reason cannot be used.
        PromotionRefused: Nothing leads, a trial runs already, or the release may not lead or be tried.
        ChannelConflict: The channel moved, or somebody started or stopped a trial meanwhile.
        StoreError: The store does not answer, or a release cannot be read.
    """
    steps = as_kept(policy.trial.shares if shares is None else shares)
    hours = policy.trial.step_hours if step_hours is None else step_hours
    refuse_blank(reason)
    if hours < 1:
        raise InvalidSetting(f"step_hours: found {hours}, expected at least 1")
    log, head = trial_log(store, channel.name), channel.head()
    newest, seq = log.head(), 0 if head is None else head.seq
    if expected_seq is not None and seq != expected_seq:
        message = f"channel {channel.name}: found record {seq}, expected {expected_seq}: it has moved"
        raise ChannelConflict(message)
    if head is None:
        raise PromotionRefused(f"{channel.name}: nothing leads, so there is nothing to try beside")
    going = running(newest, head)
    if going is not None:
        raise PromotionRefused(f"{channel.name}: a trial of {going.candidate} runs; stop it first")
    decision = consider(store, channel, candidate, required)
    why_not = "" if decision.promote else decision.reason
    if why_not or (why_not := _not_beside(store, head.ref, candidate)):
        raise PromotionRefused(f"{channel.name}: {why_not}")
    channel.refuse_unfit(candidate, now)
    design = TrialDesign(
        candidate=str(candidate),
        champion=head.release,
        record=head.seq,
        shares=steps,
        step_hours=hours,
        rule=policy.model_dump_json(),
        guardrails=guardrails,
    )
    before = 0 if newest is None else newest.seq
    return log.append(
        START, expected_seq=before, actor=actor, reason=reason, now=now, details=design.model_dump()
    )


def _not_beside(store: ArtifactStore, leads: ArtifactRef, candidate: ArtifactRef) -> str:
    """Why there is nothing to try, or customers cannot be shared: both releases are read and verified."""
    if changes_nothing(store, candidate, leads):
        return f"{candidate} decides and writes as {leads} does, which leads: there is nothing to try"
    ours, theirs = (load_release(store, ref) for ref in (leads, candidate))
    return cannot_be_tried(
        ours[0], decider_of(ours[1], str(leads)), theirs[0], decider_of(theirs[1], str(candidate))
    )

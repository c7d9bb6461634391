"""What a person does in the console, at once or after another person approved it, by the very acts of the store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from churn_assets.console.approvals import ActRequest, answer_request, ask_for, tell_outcome
from churn_assets.flow.registry import registry
from churn_assets.release.begin_trial import start_trial
from churn_assets.release.promotion import promote, rollback
from churn_assets.release.trial import stop_trial
from churn_assets.serving.switch import throw_switch
from churn_assets.store.errors import ChannelConflict, StoreError
from churn_assets.store.reference import ArtifactRef

if TYPE_CHECKING:
    from datetime import datetime

    from churn_assets.console.place import ConsolePlace
    from churn_assets.serving.config import Act
    from churn_assets.serving.switch import SwitchAct
    from churn_assets.store.acts import ActRecord
    from churn_assets.store.channels import ChannelRecord

SWITCHED = ("stop", "resume")
END_TRIAL = "end_trial"
TRIALS = ("begin_trial", END_TRIAL)
LEAST_REASON = 5
"""Characters of a reason; fewer say nothing to whoever reads the log."""
MOST_REASON = 2_000


@dataclass(frozen=True)
class Deed:
    """What a person wants.

    Attributes:
        act: What.
        release: Which release is to lead; empty for the one before, or where it is about no release.
        expected_seq: The newest record of channel, switch or log of trials on the page that they looked at.
        actor: Name of their key.
        reason: Why.
    """

    act: Act
    release: str
    expected_seq: int
    actor: str
    reason: str


def do_or_ask(place: ConsolePlace, deed: Deed) -> str:
    """Do it, or ask for it where another person must approve; returns which: `done` or `asked`.

    Raises:
        PromotionRefused: A gate, a byte or the channel's rules forbid it.
        ChannelConflict: Somebody acted since the page was made.
        StoreError: The store does not answer, or a signature is asked for and this server has no key to sign with.
    """
    if deed.act not in place.config.needing_two:
        _do(place, deed)
        return "done"
    refuse_stale(place, deed.act, deed.expected_seq)
    ask_for(
        place.requests,
        deed.act,
        release=deed.release,
        expected_seq=deed.expected_seq,
        actor=deed.actor,
        reason=deed.reason,
        now=place.now(),
    )
    return "asked"


def approve_and_do(place: ConsolePlace, seq: int, actor: str) -> ActRequest:
    """Approve what another person asked for, and do it; what comes of it is written down either way.

    Raises:
        ApprovalError: There is no such open request, or the same person asked.
        StoreError: As of `do_or_ask`.
    """
    request = answer_request(
        place.requests, seq, approve=True, actor=actor, lasts=place.lasts, now=place.now()
    )
    both = f"{request.asked_by}, approved by {actor}"
    deed = Deed(request.act, request.release, request.expected_seq, both, request.reason)
    try:
        said = _do(place, deed)
    except StoreError as error:
        tell_outcome(place.requests, request, done=False, said=str(error), now=place.now())
        raise
    tell_outcome(place.requests, request, done=True, said=said, now=place.now())
    return request


def refuse_stale(place: ConsolePlace, act: Act, expected_seq: int) -> None:
    """Refuse what was decided on a page that is no longer true.

    Raises:
        ChannelConflict: The channel, the switch or the log of trials has moved.
    """
    log = place.switch if act in SWITCHED else place.trials if act == END_TRIAL else place.channel
    newest = log.head()
    found = 0 if newest is None else newest.seq
    if found != expected_seq:
        raise ChannelConflict(
            f"found record {found}, expected {expected_seq}: somebody acted since this page was made. Look again."
        )


def _do(place: ConsolePlace, deed: Deed) -> str:
    """The very acts of the command line; returns the record that was written, in words."""
    actor, now = f"{deed.actor} (console)", place.now()
    if deed.act in SWITCHED:
        switched = throw_switch(
            place.switch,
            cast("SwitchAct", deed.act),
            actor=actor,
            reason=deed.reason,
            now=now,
            expected_seq=deed.expected_seq,
        )
        return f"record {switched.seq} of {place.switch.name}"
    if deed.act in TRIALS:
        tried = _try_release(place, deed, actor, now)
        return f"record {tried.seq} of {place.trials.name}"
    record = _move(place, deed, actor, now)
    return f"{record.release} leads {place.channel.name} (record {record.seq})"


def _try_release(place: ConsolePlace, deed: Deed, actor: str, now: datetime) -> ActRecord:
    """Begins or ends a trial, at the shares of the experiment."""
    if deed.act == END_TRIAL:
        return stop_trial(
            place.store,
            place.channel,
            actor=actor,
            reason=deed.reason,
            now=now,
            expected_seq=deed.expected_seq,
        )
    automation = place.experiment.automation
    return start_trial(
        place.store,
        place.channel,
        ArtifactRef.parse(deed.release),
        required=registry().checks,
        policy=automation.promotion,
        guardrails=automation.live.model_dump_json(),
        actor=actor,
        reason=deed.reason,
        now=now,
        expected_seq=deed.expected_seq,
    )


def _move(place: ConsolePlace, deed: Deed, actor: str, now: datetime) -> ChannelRecord:
    """Promotes or rolls back."""
    if deed.act == "promote":
        return promote(
            place.store,
            place.channel,
            ArtifactRef.parse(deed.release),
            required=registry().checks,
            actor=actor,
            reason=deed.reason,
            now=now,
            champion=place.champion,
            expected_seq=deed.expected_seq,
        )
    return rollback(
        place.store,
        place.channel,
        ArtifactRef.parse(deed.release) if deed.release else None,
        actor=actor,
        reason=deed.reason,
        now=now,
        expected_seq=deed.expected_seq,
    )

"""What a person does in the console, at once or after another person approved it, by the very acts of the store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from churn_assets.console.approvals import ActRequest, answer_request, ask_for, tell_outcome
from churn_assets.flow.registry import registry
from churn_assets.release.promotion import promote, rollback
from churn_assets.serving.switch import throw_switch
from churn_assets.store.errors import ChannelConflict, StoreError
from churn_assets.store.reference import ArtifactRef

if TYPE_CHECKING:
    from churn_assets.console.place import ConsolePlace
    from churn_assets.serving.config import Act
    from churn_assets.serving.switch import SwitchAct

SWITCHED = ("stop", "resume")
LEAST_REASON = 5
"""Characters of a reason; fewer say nothing to whoever reads the log."""
MOST_REASON = 2_000


@dataclass(frozen=True)
class Deed:
    """What a person wants.

    Attributes:
        act: What.
        release: Which release is to lead; empty for the one before, or where it is about no release.
        expected_seq: The newest record of the channel, or of the switch, on the page that they looked at.
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
    if deed.act not in place.config.two_persons:
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
        ChannelConflict: The channel, or the switch, has moved.
    """
    newest = place.switch.head() if act in SWITCHED else place.channel.head()
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
    if deed.act == "promote":
        record = promote(
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
    else:
        record = rollback(
            place.store,
            place.channel,
            ArtifactRef.parse(deed.release) if deed.release else None,
            actor=actor,
            reason=deed.reason,
            now=now,
            expected_seq=deed.expected_seq,
        )
    return f"{record.release} leads {place.channel.name} (record {record.seq})"

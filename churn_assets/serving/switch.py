"""The switch that stops all offers: a log in the store that every worker of every machine follows."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from churn_assets.store.acts import ActLog, ActRecord
from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.errors import ChannelConflict, InvalidSetting

SwitchAct = Literal["stop", "resume"]
STOP, RESUME = "stop", "resume"


def switch_log(store: ArtifactStore, channel: str) -> ActLog:
    """The log of the switch of a channel."""
    return ActLog(store, f"{channel}.offers")


class OfferSwitch:
    """Whether offers are stopped, as the store says. One thread calls `check`, any may read `stopped`.

    Until the store was asked once, offers are stopped: a server that starts beside a store that cannot be read must
    not make offers that somebody stopped. After that the last answer holds until another one comes.

    Args:
        log: Of the channel that is served.
        always: Offers are stopped whatever the log says (`serving.kill_switch`).
    """

    def __init__(self, log: ActLog, *, always: bool = False) -> None:
        self.log = log
        self.always = always
        self.newest: ActRecord | None = None
        self._known = False

    @property
    def stopped(self) -> bool:
        """Whether nobody is made an offer."""
        return self.always or not self._known or is_stopped(self.newest)

    def check(self) -> None:
        """Ask the store once.

        Raises:
            StoreError: It does not answer, or the log is not sound; what was known holds.
        """
        if self.newest is not None:
            self.log.refuse_lost(self.newest)
        seen = 0 if self.newest is None else self.newest.seq
        if not self._known or self.log.moved_since(seen):
            self.newest, self._known = self.log.head(since=seen), True


def is_stopped(newest: ActRecord | None) -> bool:
    """What the newest record of a switch's log says."""
    return newest is not None and newest.kind == STOP


def throw_switch(
    log: ActLog, act: SwitchAct, *, actor: str, reason: str, now: datetime, expected_seq: int | None = None
) -> ActRecord:
    """Stop all offers of a channel, or make them again. Servers follow within `serving.poll_seconds`.

    Args:
        log: As of `switch_log`.
        act: Which.
        actor: Who.
        reason: Why; not empty.
        now: Aware time.
        expected_seq: The log's newest record when this was decided, 0 for none; None to go by what stands there now.

    Raises:
        InvalidSetting: There is no reason, nothing would change, or a signature is asked for and no key is given.
        ChannelConflict: Somebody threw it meanwhile.
        StoreError: The store does not answer.
    """
    if not reason.strip():
        raise InvalidSetting("reason: found none, expected why; it is kept in the log")
    newest = log.head()
    seq = 0 if newest is None else newest.seq
    if expected_seq is not None and expected_seq != seq:
        raise ChannelConflict(f"log {log.name}: found record {seq}, expected {expected_seq}: it has moved")
    if is_stopped(newest) == (act == STOP):
        state = "stopped" if act == STOP else "made"
        raise InvalidSetting(f"log {log.name}: offers are {state} already, so there is nothing to {act}")
    return log.append(act, expected_seq=seq, actor=actor, reason=reason, now=now)

"""In which time a release leads, and which trials were begun beside it: from the records alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import zip_longest

from churn_assets.offers.decision_index import Reign
from churn_assets.store.acts import ActRecord
from churn_assets.store.channels import ChannelRecord
from churn_assets.store.tried import START

_STILL_RUNS = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class PastTrial:
    """A trial that was started while one release led, whether it still runs or not.

    Attributes:
        seq: Number of the record that started it.
        start: When.
        end: When it was stopped; a day far ahead where it was not.
    """

    seq: int
    start: datetime
    end: datetime


def trials_beside(history: Sequence[ActRecord], record: int) -> tuple[PastTrial, ...]:
    """The trials that were started beside a release that leads, oldest first.

    Args:
        history: The log of trials, oldest first.
        record: Of the channel, by which it leads.
    """
    return tuple(
        PastTrial(act.seq, act.at, _STILL_RUNS if then is None else then.at)
        for act, then in zip_longest(history, history[1:])
        if act.kind == START and act.details.get("record") == record
    )


def reign_of(head: ChannelRecord, history: Sequence[ActRecord]) -> Reign:
    """The time in which a release leads, without its trials: in those, who was left to it was drawn otherwise.

    Args:
        head: The channel's newest record.
        history: The log of trials, oldest first.
    """
    tried = tuple((each.start, each.end) for each in trials_beside(history, head.seq))
    return Reign(head.seq, head.release, head.at, tried)

"""Logs of what people did beside promoting. Decides nothing.

A log named `NAME` lies below ``acts/NAME/``; as with channels, its newest record says how things stand.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

from pydantic import Field

from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.manifest import whole_second
from churn_assets.store.names import ACTS, record_key, record_place
from churn_assets.store.records import ChainedRecord, RecordLog, writable

Detail = str | int | bool | None


class ActRecord(ChainedRecord):
    """One act.

    Attributes:
        log: Name of the log.
        kind: What was done; a word of whoever keeps the log.
        details: What else is to be known of it.
    """

    log: str
    kind: Annotated[str, Field(min_length=1, max_length=64)]
    details: dict[str, Detail]

    @property
    def of(self) -> str:
        """Its log."""
        return self.log

    @property
    def key(self) -> str:
        """Where it is."""
        return record_key(f"{ACTS}{self.log}", self.seq)


class ActLog(RecordLog[ActRecord]):
    """One named log of acts.

    Raises:
        InvalidName: ``name`` is not one plain path segment.
    """

    record = ActRecord
    kind = "log"
    place = ACTS

    def append(
        self,
        kind: str,
        *,
        expected_seq: int,
        actor: str,
        reason: str,
        now: datetime,
        details: Mapping[str, Detail] | None = None,
    ) -> ActRecord:
        """Add a record, if the log is still where the decision was taken.

        Args:
            kind: What was done.
            expected_seq: Number of the newest record that the decision was based on; 0 for none.
            actor: Who.
            reason: Why.
            now: Aware time.
            details: What else is to be known.

        Raises:
            ChannelConflict: Somebody else acted meanwhile.
            InvalidSetting: The reason is longer than a log takes, or the record would have to be signed and no key is
                given that may.
            StoreError: The store does not answer, or the record before is not sound.
        """

        def make(_: ActRecord | None, digest: str | None, nonce: str) -> ActRecord:
            return ActRecord(
                seq=expected_seq + 1,
                log=self.name,
                kind=kind,
                actor=writable("actor", actor),
                reason=writable("reason", reason),
                details=dict(details or {}),
                prev_hash=digest,
                nonce=nonce,
                at=whole_second(now),
            )

        return self._append(expected_seq, None, make)


def act_logs(store: ArtifactStore) -> list[str]:
    """Names of the logs of acts that have a record, sorted."""
    places = map(record_place, store.backend.list(ACTS))
    return sorted({place[0].removeprefix(ACTS) for place in places if place is not None})

"""Logs of what people did beside promoting: append-only, hash-chained, one object an act. Decides nothing.

A log named `NAME` lies below ``acts/NAME/``; as with channels, its newest record says how things stand.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Annotated

from pydantic import Field

from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.canonical import seal, sha256_bytes, unseal
from churn_assets.store.errors import (
    ChannelConflict,
    ContentError,
    CorruptArtifact,
    InvalidSetting,
    ObjectExists,
    ObjectMissing,
)
from churn_assets.store.manifest import Sealed, Sha256, parse_sealed, whole_second
from churn_assets.store.marks import refuse_lost
from churn_assets.store.names import ACTS, LONGEST_REASON, check_name

ACT_SCHEMA = 1
_AT_ONCE = 8

Detail = str | int | bool | None


class ActRecord(Sealed):
    """One act.

    Attributes:
        seq: Position in the log, from 1 without gaps.
        log: Name of the log.
        kind: What was done; a word of whoever keeps the log.
        actor: Who did it.
        reason: Why.
        details: What else is to be known of it.
        prev_hash: SHA-256 of the previous record's bytes; None on the first record.
        nonce: Tells the writer its own record after a lost acknowledgement.
        at: UTC, whole seconds.
    """

    schema_version: Annotated[int, Field(ge=1, le=ACT_SCHEMA)] = ACT_SCHEMA
    seq: Annotated[int, Field(ge=1)]
    log: str
    kind: Annotated[str, Field(min_length=1, max_length=64)]
    actor: str
    reason: str
    details: dict[str, Detail]
    prev_hash: Sha256 | None
    nonce: Annotated[str, Field(min_length=1)]
    at: datetime

    def to_bytes(self) -> bytes:
        """The sealed canonical document."""
        return seal(self.model_dump(mode="json"))


class ActLog:
    """One named log of acts.

    Where the store asks for signatures, each record is signed as a channel's is: by a promoter.

    Args:
        store: The store.
        name: Of the log.

    Raises:
        InvalidName: ``name`` is not one plain path segment.
    """

    def __init__(self, store: ArtifactStore, name: str) -> None:
        self.store = store
        self.name = check_name("log", name)

    def history(self, since: int = 0) -> list[ActRecord]:
        """The records after number ``since``, oldest first, each verified with its link to the one before.

        Raises:
            CorruptArtifact: A gap, an altered record, or one that does not follow its predecessor.
            UnsignedContent: Nobody signed a record who may.
            StoreError: The store does not answer.
        """
        seqs = range(max(since, 1), self._length() + 1)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = list(pool.map(self._read, seqs))
        if found and found[0][0].seq == 1 and found[0][0].prev_hash is not None:
            raise self._corrupt(1, "a link to an earlier record", "the first record to have none")
        for (_, digest), (record, _) in pairwise(found):
            if record.prev_hash != digest:
                raise self._corrupt(record.seq, f"a link to {record.prev_hash}", f"a link to {digest}")
        return [record for record, _ in found if record.seq > since]

    def newest(self) -> ActRecord | None:
        """The newest record; None where there is none.

        Raises:
            StoreError: As of `history`.
        """
        length = self._length()
        return self._read(length)[0] if length else None

    def moved_since(self, seq: int) -> bool:
        """Whether a record follows number ``seq``: one question, for whoever polls."""
        try:
            self.store.backend.info(act_key(self.name, seq + 1))
        except ObjectMissing:
            return False
        return True

    def refuse_lost(self, newest: ActRecord) -> None:
        """As of a channel: whether the record still stands where it was.

        Raises:
            RecordsLost: It is gone, or another stands in its place.
            StoreError: The store does not answer.
        """
        refuse_lost(self.store.backend, act_key(self.name, newest.seq), newest.to_bytes(), f"log {self.name}")

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
        if len(reason) > LONGEST_REASON:
            raise InvalidSetting(f"reason: found {len(reason)} characters, expected at most {LONGEST_REASON}")
        previous = self._read(expected_seq)[1] if expected_seq else None
        record = ActRecord(
            seq=expected_seq + 1,
            log=self.name,
            kind=kind,
            actor=actor,
            reason=reason,
            details=dict(details or {}),
            prev_hash=previous,
            nonce=secrets.token_hex(16),
            at=whole_second(now),
        )
        key, data = act_key(self.name, record.seq), record.to_bytes()
        if self.moved_since(expected_seq):
            raise self._conflict(record.seq)
        self.store.signatures.sign(self.store.backend, key, data)
        with suppress(
            ObjectExists
        ):  # perhaps our own, whose acknowledgement was lost: what is stored decides
            self.store.backend.create(key, data)
        if self._read(record.seq)[0].nonce != record.nonce:
            raise self._conflict(record.seq)
        return record

    def _conflict(self, seq: int) -> ChannelConflict:
        return ChannelConflict(f"log {self.name}: found record {seq} already, expected none: it has moved")

    def _length(self) -> int:
        """Number of records; what else lies there is none of the log's."""
        keys = [key for key in self.store.backend.list(f"{ACTS}{self.name}/") if _is_act(key)]
        for seq, key in enumerate(keys, start=1):
            if key != act_key(self.name, seq):
                raise self._corrupt(seq, f"a gap before {key}", "records without a gap")
        return len(keys)

    def _read(self, seq: int) -> tuple[ActRecord, str]:
        """A record and the SHA-256 of its bytes."""
        key = act_key(self.name, seq)
        try:
            data = self.store.backend.read(key)
            record = read_act(key, data)
            self.store.signatures.check(self.store.backend, key, data)
        except ObjectMissing as error:
            raise self._corrupt(seq, "nothing", "a record") from error
        except ContentError as error:
            raise error.about(f"log {self.name}") from error
        if (record.log, record.seq) != (self.name, seq):
            raise self._corrupt(seq, f"record {record.seq} of {record.log}", f"record {seq} of {self.name}")
        return record, sha256_bytes(data)

    def _corrupt(self, seq: int, found: str, expected: str) -> CorruptArtifact:
        return CorruptArtifact(act_key(self.name, seq), found, expected, f"log {self.name}")


def act_key(log: str, seq: int) -> str:
    """Where a record is."""
    return f"{ACTS}{log}/{seq:012d}.json"


def read_act(key: str, data: bytes) -> ActRecord:
    """The record that bytes hold.

    Raises:
        ContentError: They are none.
    """
    return parse_sealed(ActRecord, unseal(data, file=key, schema_version=ACT_SCHEMA), key)


def check_act(key: str, copy: Path) -> None:
    """Refuse a stored act that is not as it was written, where a whole store is verified.

    Raises:
        ValueError: It is none.
    """
    try:
        read_act(key, copy.read_bytes())
    except ContentError as error:
        raise ValueError(str(error)) from error


def act_logs(store: ArtifactStore) -> list[str]:
    """Names of the logs that have a record, sorted."""
    return sorted({key.split("/")[1] for key in store.backend.list(ACTS) if _is_act(key)})


def _is_act(key: str) -> bool:
    name = key.rpartition("/")[2].removesuffix(".json")
    return key.count("/") == 2 and len(name) == 12 and name.isascii() and name.isdecimal()

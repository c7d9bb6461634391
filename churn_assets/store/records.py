"""Logs of sealed records: append-only, hash-chained, one object a record, the newest says how things stand.

What channels and the logs of people's acts have in common; what a record says is theirs.
"""

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from typing import Annotated, ClassVar, Generic, TypeVar

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
    RecordsLost,
)
from churn_assets.store.manifest import Sealed, Sha256, parse_sealed
from churn_assets.store.marks import Mark, leave_mark, marked_length, refuse_lost, take_marks
from churn_assets.store.names import CHANNELS, LONGEST_REASON, check_name, record_key, record_place

RECORD_SCHEMA = 1
_AT_ONCE = 8


class ChainedRecord(Sealed):
    """One record of a log.

    Attributes:
        seq: Position in the log, from 1 without gaps.
        prev_hash: SHA-256 of the previous record's bytes; None on the first record.
        actor: Who did it: a person or automation.
        reason: Why.
        nonce: Tells the writer its own record after a lost acknowledgement.
        at: UTC, whole seconds.
    """

    schema_version: Annotated[int, Field(ge=1, le=RECORD_SCHEMA)] = RECORD_SCHEMA
    seq: Annotated[int, Field(ge=1)]
    prev_hash: Sha256 | None
    actor: str
    reason: str
    nonce: Annotated[str, Field(min_length=1)]
    at: datetime

    @property
    @abstractmethod
    def of(self) -> str:
        """Name of the log that it is written for."""

    @property
    def link(self) -> tuple[str | None, ...]:
        """What it says of the record before; None of each on the first record."""
        return (self.prev_hash,)

    def linked(self, digest: str) -> tuple[str | None, ...]:
        """What the next record has to say of this one, whose bytes have this SHA-256."""
        return (digest,)

    def to_bytes(self) -> bytes:
        """The sealed canonical document."""
        return seal(self.model_dump(mode="json"))


R = TypeVar("R", bound=ChainedRecord)


class RecordLog(ABC, Generic[R]):
    """One named log. Where the store asks for signatures, a promoter signs each record.

    Args:
        store: The store.
        name: Of the log, as its records say it.

    Raises:
        InvalidName: ``name`` is not one plain path segment.
    """

    record: ClassVar[type[ChainedRecord]]
    kind: ClassVar[str]
    """What such a log is called in messages."""
    place: ClassVar[str]
    """Prefix of the keys of all logs of this kind."""

    def __init__(self, store: ArtifactStore, name: str) -> None:
        self.store = store
        self.name = check_name(self.kind, name)
        self.log = f"{self.place}{self.name}".removeprefix(CHANNELS)

    def head(self, since: int = 0) -> R | None:
        """The newest record; None where there is none. Reads one record, whatever the log's length.

        Args:
            since: ``seq`` of a record that was read before: the log is walked from there, where it would else be
                listed. What lies before it is not looked at again.

        Raises:
            CorruptArtifact: The log has a gap, or the record was altered.
            RecordsLost: Records are gone that were there.
            UnsignedContent: Nobody signed the record who may.
            IncompatibleArtifact: A newer schema wrote the record.
            StoreError: The store does not answer.
        """
        length = since or self._length()
        while since and self.moved_since(length):
            length += 1
        return self._remembered(self._read(length)[0]) if length else None

    def moved_since(self, seq: int) -> bool:
        """Whether a record follows ``seq``: one question, for whoever polls. What it says is for `head`."""
        try:  # as a document, which has a size: `info` of a folder reads whatever stands there
            self.store.backend.read(record_key(self.log, seq + 1))
        except ObjectMissing:
            return False
        return True

    def refuse_lost(self, newest: R) -> None:
        """Whether a record that a process reads by still stands where it was: one question, for whoever polls.

        Raises:
            RecordsLost: It is gone, or another stands in its place: nothing that anybody recorded.
            StoreError: The store does not answer.
        """
        refuse_lost(self.store.backend, record_key(self.log, newest.seq), newest.to_bytes(), self.subject)

    def history(self, since: int = 0) -> list[R]:
        """The records after number ``since``, oldest first, after verifying every seal and link.

        Raises:
            CorruptArtifact: A gap, an altered record, or one that does not follow its predecessor.
            RecordsLost: Records are gone that were there.
            UnsignedContent: Nobody signed a record who may.
            StoreError: The store does not answer.
        """
        records = list(self._newest_first(self._length(), max(since, 1)))[::-1]
        if records:
            self._remembered(records[-1])
        return [record for record in records if record.seq > since]

    def forget_lost(self) -> int:
        """Take the log as it is, where its newest records are lost for good; returns how many records it has."""
        length = len(self._keys())
        take_marks(self.store.backend, self.log, length)
        if self.store.seen is not None:
            self.store.seen.forget(self.log)
        return length

    def _append(
        self, expected_seq: int, nonce: str | None, make: Callable[[R | None, str | None, str], R]
    ) -> R:
        """Add a record, if the log is still where the decision was taken.

        Args:
            expected_seq: Number of the record that the decision rests on; 0 for none.
            nonce: Unique to this act; random if None.
            make: Makes the record of that one, the SHA-256 of its bytes and the nonce.
        """
        nonce = nonce or secrets.token_hex(16)
        head, digest = self._decided_on(expected_seq)
        if head and head.nonce == nonce:
            return self._done(head)
        if self.moved_since(expected_seq):
            return self._own_or_conflict(expected_seq + 1, nonce)
        record = make(head, digest, nonce)
        key, data = record_key(self.log, record.seq), record.to_bytes()
        self.store.signatures.sign(self.store.backend, key, data)
        # ObjectExists may be our own write whose acknowledgement was lost: what is stored decides.
        with suppress(ObjectExists):
            self.store.backend.create(key, data)
        return self._own_or_conflict(record.seq, nonce)

    def _decided_on(self, seq: int) -> tuple[R | None, str | None]:
        """The record a decision was based on and the SHA-256 of its bytes."""
        if not seq:
            return None, None
        try:
            data = self.store.backend.read(record_key(self.log, seq))
        except ObjectMissing as error:
            raise ChannelConflict(
                f"{self.subject}: found no record {seq}, which the decision was based on"
            ) from error
        return self._parse(seq, data)

    def _own_or_conflict(self, seq: int, nonce: str) -> R:
        record, _ = self._read(seq)
        if record.nonce == nonce:
            return self._done(record)
        raise ChannelConflict(
            f"{self.subject}: found record {seq} by {record.actor}, expected none: it has moved"
        )

    def _done(self, record: R) -> R:
        """Leave witnesses of a record that is there."""
        leave_mark(self.store.backend, self.log, record.seq)
        return self._remembered(record)

    def _newest_first(self, length: int, oldest: int = 1) -> Iterator[R]:
        """Records from ``length`` down to ``oldest``, each checked against the link of its successor."""
        said: tuple[str | None, ...] = ()
        for seq, (record, digest) in self._read_back_from(length, oldest):
            if said and said != record.linked(digest):
                raise self._corrupt(
                    record_key(self.log, seq + 1), f"a link to {said}", f"a link to {record.linked(digest)}"
                )
            said = record.link
            yield record
        if oldest == 1 and any(said):
            first = record_key(self.log, 1)
            raise self._corrupt(first, "a link to an earlier record", "the first record to have none")

    def _read_back_from(self, length: int, oldest: int) -> Iterator[tuple[int, tuple[R, str]]]:
        """Records from ``length`` down to ``oldest``, some at a time: a remote store answers after milliseconds."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for newest in range(length, oldest - 1, -_AT_ONCE):
                block = range(newest, max(newest - _AT_ONCE, oldest - 1), -1)
                yield from zip(block, pool.map(self._read, block), strict=True)

    def _length(self) -> int:
        """Number of records, after checking that their keys are 1, 2, 3, … and that none of the newest is gone.

        What else lies there, such as an editor's backup, is none of the log's. Witnesses are asked before the records
        are listed: a record is there before anything tells of it, so that one which comes meanwhile is not missed.
        """
        marked = marked_length(self.store.backend, self.log)
        seen = None if self.store.seen is None else self.store.seen.newest(self.log)
        keys = self._keys()
        for seq, key in enumerate(keys, start=1):
            if key != record_key(self.log, seq):
                raise self._corrupt(key, "a gap", record_key(self.log, seq))
        self._refuse_lost(len(keys), marked, "by its mark in the store")
        if seen is not None:
            self._refuse_lost(len(keys), seen.seq, "as this machine has seen")
            if seen.seq < len(keys):  # the newest is compared when it is read
                self._refuse_other_way(seen, self._read(seen.seq)[1])
        return len(keys)

    def _keys(self) -> list[str]:
        """Keys of the records, in order."""
        return [key for key in self.store.backend.list(f"{self.place}{self.name}/") if record_place(key)]

    def _refuse_lost(self, found: int, least: int, witness: str) -> None:
        if found < least:
            raise RecordsLost(
                record_key(self.log, found + 1),
                "nothing",
                f"a record: {least} were there, {witness}",
                self.subject,
            )

    def _refuse_other_way(self, seen: Mark, sha256: str) -> None:
        if seen.sha256 != sha256:
            raise RecordsLost(
                record_key(self.log, seen.seq),
                f"sha256 {sha256}",
                f"sha256 {seen.sha256}, as this machine has seen",
                self.subject,
            )

    def _remembered(self, newest: R) -> R:
        """The newest record, which this machine remembers from here on."""
        if self.store.seen is not None:
            mark = Mark(newest.seq, sha256_bytes(newest.to_bytes()))
            seen = self.store.seen.newest(self.log)
            if seen is not None and seen.seq == mark.seq:
                self._refuse_other_way(seen, mark.sha256)
            self.store.seen.saw(self.log, mark)
        return newest

    def _read(self, seq: int) -> tuple[R, str]:
        """A record and the SHA-256 of its bytes."""
        key = record_key(self.log, seq)
        try:
            data = self.store.backend.read(key)
        except ObjectMissing as error:
            raise self._corrupt(key, "nothing", "a record") from error
        return self._parse(seq, data)

    def _parse(self, seq: int, data: bytes) -> tuple[R, str]:
        key = record_key(self.log, seq)
        try:
            document = unseal(data, file=key, schema_version=RECORD_SCHEMA)
            record: R = parse_sealed(self.record, document, key)  # type: ignore[assignment]
            self.store.signatures.check(self.store.backend, key, data)
        except ContentError as error:
            raise error.about(self.subject) from error
        if (record.of, record.seq) != (self.name, seq):
            raise self._corrupt(key, f"record {record.seq} of {record.of}", f"record {seq} of {self.name}")
        return record, sha256_bytes(data)

    def _corrupt(self, key: str, found: str, expected: str) -> CorruptArtifact:
        return CorruptArtifact(key, found, expected, self.subject)

    @property
    def subject(self) -> str:
        """What it is called in messages."""
        return f"{self.kind} {self.name}"


def writable(what: str, text: str) -> str:
    """A text as the log keeps it, whatever a terminal or a caller gave: bytes that are no text become codes.

    Raises:
        InvalidSetting: It is longer than a log takes.
    """
    if len(text) > LONGEST_REASON:
        raise InvalidSetting(f"{what}: found {len(text)} characters, expected at most {LONGEST_REASON}")
    return text.encode("utf-8", "backslashreplace").decode()

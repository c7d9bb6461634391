"""Channels: append-only logs whose newest record says which release is current."""

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, field_validator

from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.canonical import seal, sha256_bytes, unseal
from churn_assets.store.deadlines import unfit_to_lead
from churn_assets.store.errors import (
    ChannelConflict,
    ContentError,
    CorruptArtifact,
    InvalidSetting,
    ObjectExists,
    ObjectMissing,
    PromotionRefused,
    RecordsLost,
)
from churn_assets.store.manifest import Sealed, Sha256, parse_sealed, whole_second
from churn_assets.store.marks import Mark, leave_mark, marked_length, refuse_lost, take_marks
from churn_assets.store.names import CHANNELS, LONGEST_REASON, check_name, record_key, record_place
from churn_assets.store.reference import ArtifactRef
from churn_assets.store.tried import tried_anywhere

CHANNEL_SCHEMA = 1
_AT_ONCE = 8

Action = Literal["promote", "rollback"]


class ChannelRecord(Sealed):
    """One act on a channel.

    Attributes:
        seq: Position in the log, from 1 without gaps.
        release: ``experiment/asset/version`` that is current from here on.
        previous: What was current before; None on the first record.
        prev_hash: SHA-256 of the previous record's bytes; None on the first record.
        actor: Person or automation that acted.
        gate_report_digest: Digest of the gate report that the decision rests on.
        nonce: Tells the writer its own record after a lost acknowledgement.
        at: UTC, whole seconds.
    """

    schema_version: Annotated[int, Field(ge=1, le=CHANNEL_SCHEMA)] = CHANNEL_SCHEMA
    seq: Annotated[int, Field(ge=1)]
    action: Action
    channel: str
    release: str
    previous: str | None
    prev_hash: Sha256 | None
    actor: str
    reason: str
    gate_report_digest: str
    nonce: Annotated[str, Field(min_length=1)]
    at: datetime

    @field_validator("release")
    @classmethod
    def _is_a_reference(cls, value: str) -> str:
        return str(ArtifactRef.parse(value))

    @property
    def ref(self) -> ArtifactRef:
        """``release`` as a reference."""
        return ArtifactRef.parse(self.release)

    def to_bytes(self) -> bytes:
        """The sealed canonical document."""
        return seal(self.model_dump(mode="json"))


def channel_names(store: ArtifactStore) -> list[str]:
    """Channels that have a record, sorted."""
    places = map(record_place, store.backend.list(CHANNELS))
    return sorted({place[0] for place in places if place is not None})


def led_anywhere(store: ArtifactStore, ref: ArtifactRef) -> bool:
    """Whether a version ever led a channel. A log that is broken, or a copy of another's, vouches for nobody."""
    for name in channel_names(store):
        with suppress(ContentError):
            if Channel(store, name).has_led(ref):
                return True
    return False


class Channel:
    """One named log, such as ``champion``. The record with the highest number is current.

    Raises:
        InvalidName: ``name`` is not one plain path segment.
    """

    def __init__(self, store: ArtifactStore, name: str) -> None:
        self.store = store
        self.name = check_name("channel", name)

    def head(self, since: int = 0) -> ChannelRecord | None:
        """The current record; None before the first promotion. Reads one record, whatever the log's length.

        Args:
            since: ``seq`` of a record that was read before: the log is walked from there, where it would else be
                listed. What lies before it is not looked at again.

        Raises:
            CorruptArtifact: The log has a gap, or the record was altered.
            RecordsLost: Records are gone that were there.
            UnsignedContent: Nobody signed the record who may.
            IncompatibleArtifact: A newer schema wrote the record.
        """
        length = since or self._length()
        while since and self.moved_since(length):
            length += 1
        return self._remembered(self._read(length)[0]) if length else None

    def moved_since(self, seq: int) -> bool:
        """Whether a record follows ``seq``: one question, for whoever polls. What it says is for `head`."""
        try:
            self.store.backend.info(record_key(self.name, seq + 1))
        except ObjectMissing:
            return False
        return True

    def refuse_lost(self, newest: ChannelRecord) -> None:
        """Whether a record that a process reads by still stands where it was: one question, for whoever polls.

        Raises:
            RecordsLost: It is gone, or another stands in its place: no rollback that anybody recorded.
            StoreError: The store does not answer.
        """
        refuse_lost(self.store.backend, record_key(self.name, newest.seq), newest.to_bytes(), self._subject)

    def history(self) -> list[ChannelRecord]:
        """All records, oldest first, after verifying every seal and link.

        Raises:
            CorruptArtifact: A gap, an altered record, or one that does not follow its predecessor.
            RecordsLost: Records are gone that were there.
            UnsignedContent: Nobody signed a record who may.
        """
        records = list(self._newest_first(self._length()))[::-1]
        if records:
            self._remembered(records[-1])
        return records

    def append(
        self,
        action: Action,
        ref: ArtifactRef,
        *,
        expected_seq: int,
        actor: str,
        reason: str,
        gate_report_digest: str,
        now: datetime,
        nonce: str | None = None,
    ) -> ChannelRecord:
        """Make a verified version current, if the channel is still where the decision was taken.

        Args:
            action: ``promote``, or ``rollback`` to a version that has led this channel before.
            ref: The version.
            expected_seq: ``seq`` of the head the decision was based on; 0 for an empty channel.
            actor: Who acts.
            reason: Why.
            gate_report_digest: Digest of the gate report the decision rests on.
            now: Aware time.
            nonce: Unique to this act. Pass the same again to retry after a crash; random if left out.

        Returns:
            The stored record, also if an earlier try with this nonce stored it.

        Raises:
            ChannelConflict: The channel has moved; read the head and decide again.
            InvalidSetting: The record would have to be signed, and no key is given that may.
            PromotionRefused: A first promotion later than 7 days after publishing, or of something trained
                from what may be collected meanwhile, or a rollback to a version that never led.
            ObjectMissing: The version, or one it was trained from, is not committed.
            CorruptArtifact: The version or the log does not verify; nothing was changed.
        """
        nonce = nonce or secrets.token_hex(16)
        head, head_hash = self._decided_on(expected_seq)
        if head and head.nonce == nonce:
            return self._done(head)
        if self.moved_since(expected_seq):
            return self._own_or_conflict(expected_seq + 1, nonce)
        self.store.verify(ref)
        if action == "rollback":
            self._refuse_unknown_return(ref)
        else:
            self.refuse_unfit(ref, now)
        record = ChannelRecord(
            seq=expected_seq + 1,
            action=action,
            channel=self.name,
            release=str(ref),
            previous=head.release if head else None,
            prev_hash=head_hash,
            actor=_writable("actor", actor),
            reason=_writable("reason", reason),
            gate_report_digest=gate_report_digest,
            nonce=nonce,
            at=whole_second(now),
        )
        key, data = record_key(self.name, record.seq), record.to_bytes()
        self.store.signatures.sign(self.store.backend, key, data)
        # ObjectExists may be our own write whose acknowledgement was lost: what is stored decides.
        with suppress(ObjectExists):
            self.store.backend.create(key, data)
        return self._own_or_conflict(record.seq, nonce)

    def _decided_on(self, seq: int) -> tuple[ChannelRecord | None, str | None]:
        """The record a decision was based on and the SHA-256 of its bytes."""
        if not seq:
            return None, None
        try:
            data = self.store.backend.read(record_key(self.name, seq))
        except ObjectMissing as error:
            raise ChannelConflict(
                f"channel {self.name}: found no record {seq}, which the decision was based on"
            ) from error
        return self._parse(seq, data)

    def _own_or_conflict(self, seq: int, nonce: str) -> ChannelRecord:
        record, _ = self._read(seq)
        if record.nonce == nonce:
            return self._done(record)
        raise ChannelConflict(
            f"channel {self.name}: found record {seq} by {record.actor}, expected none: it has moved"
        )

    def _done(self, record: ChannelRecord) -> ChannelRecord:
        """Leave witnesses of a record that is there."""
        leave_mark(self.store.backend, self.name, record.seq)
        return self._remembered(record)

    def forget_lost(self) -> int:
        """Take the log as it is, where its newest records are lost for good; returns how many records it has."""
        length = len(self._keys())
        take_marks(self.store.backend, self.name, length)
        if self.store.seen is not None:
            self.store.seen.forget(self.name)
        return length

    def _refuse_unknown_return(self, ref: ArtifactRef) -> None:
        if not self.has_led(ref):
            raise PromotionRefused(
                f"channel {self.name}: {ref} has never led it, so there is no way back to it"
            )

    def refuse_unfit(self, ref: ArtifactRef, now: datetime) -> None:
        """Whether a version may begin to lead, or to be tried: after either it may lead at any time.

        Raises:
            PromotionRefused: A collection may be taking it, or what it was trained from.
            ObjectMissing: One of these is not committed.
        """
        unfit = unfit_to_lead(ref, now, trained_from=self._trained_from, versions=self._versions)
        if unfit and not (led_anywhere(self.store, ref) or tried_anywhere(self.store, ref)):
            raise PromotionRefused(f"channel {self.name}: {ref} {unfit}; train again")

    def _trained_from(self, ref: ArtifactRef) -> list[ArtifactRef]:
        return [ArtifactRef.parse(text) for text in self.store.manifest(ref).provenance.upstream.values()]

    def _versions(self, ref: ArtifactRef) -> list[ArtifactRef]:
        return self.store.versions(ref.experiment, ref.asset)

    def has_led(self, ref: ArtifactRef) -> bool:
        """Whether the version was ever current here; reads the log back to where it was.

        Raises:
            CorruptArtifact: The log does not verify.
        """
        return any(record.release == str(ref) for record in self._newest_first(self._length()))

    def _newest_first(self, length: int) -> Iterator[ChannelRecord]:
        """Records from ``length`` down to 1, each checked against the link of its successor."""
        prev_hash: str | None = None
        previous: str | None = None
        for seq, (record, digest) in self._read_back_from(length):
            if seq < length and (prev_hash, previous) != (digest, record.release):
                raise self._corrupt(
                    record_key(self.name, seq + 1),
                    f"a link to {prev_hash} ({previous})",
                    f"a link to {digest} ({record.release})",
                )
            prev_hash, previous = record.prev_hash, record.previous
            yield record
        if (prev_hash, previous) != (None, None):
            first = record_key(self.name, 1)
            raise self._corrupt(first, "a link to an earlier record", "the first record to have none")

    def _read_back_from(self, length: int) -> Iterator[tuple[int, tuple[ChannelRecord, str]]]:
        """Records from ``length`` down to 1, some at a time: a remote store answers after milliseconds."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for newest in range(length, 0, -_AT_ONCE):
                block = range(newest, max(newest - _AT_ONCE, 0), -1)
                yield from zip(block, pool.map(self._read, block), strict=True)

    def _length(self) -> int:
        """Number of records, after checking that their keys are 1, 2, 3, … and that none of the newest is gone.

        What else lies there, such as an editor's backup, is none of the log's.
        """
        keys = self._keys()
        for seq, key in enumerate(keys, start=1):
            if key != record_key(self.name, seq):
                raise self._corrupt(key, "a gap", record_key(self.name, seq))
        marked = marked_length(self.store.backend, self.name)
        self._refuse_lost(len(keys), marked, "by its mark in the store")
        seen = None if self.store.seen is None else self.store.seen.newest(self.name)
        if seen is not None:
            self._refuse_lost(len(keys), seen.seq, "as this machine has seen")
            if seen.seq < len(keys):  # the newest is compared when it is read
                self._refuse_other_way(seen, self._read(seen.seq)[1])
        return len(keys)

    def _keys(self) -> list[str]:
        """Keys of the records, in order."""
        return [key for key in self.store.backend.list(f"{CHANNELS}{self.name}/") if record_place(key)]

    def _refuse_lost(self, found: int, least: int, witness: str) -> None:
        if found < least:
            raise RecordsLost(
                record_key(self.name, found + 1),
                "nothing",
                f"a record: {least} were there, {witness}",
                self._subject,
            )

    def _refuse_other_way(self, seen: Mark, sha256: str) -> None:
        if seen.sha256 != sha256:
            raise RecordsLost(
                record_key(self.name, seen.seq),
                f"sha256 {sha256}",
                f"sha256 {seen.sha256}, as this machine has seen",
                self._subject,
            )

    def _remembered(self, newest: ChannelRecord) -> ChannelRecord:
        """The newest record, which this machine remembers from here on."""
        if self.store.seen is not None:
            mark = Mark(newest.seq, sha256_bytes(newest.to_bytes()))
            seen = self.store.seen.newest(self.name)
            if seen is not None and seen.seq == mark.seq:
                self._refuse_other_way(seen, mark.sha256)
            self.store.seen.saw(self.name, mark)
        return newest

    def _read(self, seq: int) -> tuple[ChannelRecord, str]:
        """A record and the SHA-256 of its bytes."""
        key = record_key(self.name, seq)
        try:
            data = self.store.backend.read(key)
        except ObjectMissing as error:
            raise self._corrupt(key, "nothing", "a record") from error
        return self._parse(seq, data)

    def _parse(self, seq: int, data: bytes) -> tuple[ChannelRecord, str]:
        key = record_key(self.name, seq)
        try:
            record = parse_sealed(ChannelRecord, unseal(data, file=key, schema_version=CHANNEL_SCHEMA), key)
            self.store.signatures.check(self.store.backend, key, data)
        except ContentError as error:
            raise error.about(self._subject) from error
        if (record.channel, record.seq) != (self.name, seq):
            raise self._corrupt(
                key, f"record {record.seq} of {record.channel}", f"record {seq} of {self.name}"
            )
        return record, sha256_bytes(data)

    def _corrupt(self, key: str, found: str, expected: str) -> CorruptArtifact:
        return CorruptArtifact(key, found, expected, self._subject)

    @property
    def _subject(self) -> str:
        return f"channel {self.name}"


def _writable(what: str, text: str) -> str:
    """A text as the log keeps it, whatever a terminal or a caller gave: bytes that are no text become codes.

    Raises:
        InvalidSetting: It is longer than a log takes.
    """
    if len(text) > LONGEST_REASON:
        raise InvalidSetting(f"{what}: found {len(text)} characters, expected at most {LONGEST_REASON}")
    return text.encode("utf-8", "backslashreplace").decode()

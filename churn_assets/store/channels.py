"""Channels: append-only logs whose newest record says which release is current."""

from contextlib import suppress
from datetime import datetime
from typing import Literal

from pydantic import field_validator

from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.deadlines import unfit_to_lead
from churn_assets.store.errors import ContentError, PromotionRefused
from churn_assets.store.manifest import whole_second
from churn_assets.store.names import CHANNELS, record_place
from churn_assets.store.records import ChainedRecord, RecordLog, writable
from churn_assets.store.reference import ArtifactRef
from churn_assets.store.tried import tried_anywhere

Action = Literal["promote", "rollback"]


class ChannelRecord(ChainedRecord):
    """One act on a channel.

    Attributes:
        release: ``experiment/asset/version`` that is current from here on.
        previous: What was current before; None on the first record.
        gate_report_digest: Digest of the gate report that the decision rests on.
    """

    action: Action
    channel: str
    release: str
    previous: str | None
    gate_report_digest: str

    @field_validator("release")
    @classmethod
    def _is_a_reference(cls, value: str) -> str:
        return str(ArtifactRef.parse(value))

    @property
    def ref(self) -> ArtifactRef:
        """``release`` as a reference."""
        return ArtifactRef.parse(self.release)

    @property
    def of(self) -> str:
        """Its channel."""
        return self.channel

    @property
    def link(self) -> tuple[str | None, ...]:
        """Digest and release of the record before."""
        return (self.prev_hash, self.previous)

    def linked(self, digest: str) -> tuple[str | None, ...]:
        """As of `link`, of this record."""
        return (digest, self.release)


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


class Channel(RecordLog[ChannelRecord]):
    """One named log, such as ``champion``. The record with the highest number is current.

    Raises:
        InvalidName: ``name`` is not one plain path segment.
    """

    record = ChannelRecord
    kind = "channel"
    place = CHANNELS

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

        def make(head: ChannelRecord | None, digest: str | None, nonce: str) -> ChannelRecord:
            self.store.verify(ref)
            if action == "rollback":
                self._refuse_unknown_return(ref)
            else:
                self.refuse_unfit(ref, now)
            return ChannelRecord(
                seq=expected_seq + 1,
                action=action,
                channel=self.name,
                release=str(ref),
                previous=head.release if head else None,
                prev_hash=digest,
                actor=writable("actor", actor),
                reason=writable("reason", reason),
                gate_report_digest=gate_report_digest,
                nonce=nonce,
                at=whole_second(now),
            )

        return self._append(expected_seq, nonce, make)

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

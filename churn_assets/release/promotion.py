"""Promotion and rollback: the decision is a pure function; the act verifies everything anew and appends one record."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from churn_assets.gates.estimates import Estimate
from churn_assets.release.best_ever import JUDGED, MAY_LOSE, lift_of, over_best
from churn_assets.release.bundle import RELEASE, RELEASE_ASSET, Bundle, act_alike
from churn_assets.release.evidence import Evidence, Required, evidence_digest, gather
from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.channels import Channel, ChannelRecord, led_anywhere
from churn_assets.store.deadlines import FIRST_PROMOTION_WITHIN
from churn_assets.store.errors import BROKEN, ChannelConflict, PromotionRefused, StoreError
from churn_assets.store.manifest import minting_time
from churn_assets.store.reference import ArtifactRef
from churn_assets.store.tried import tried_anywhere


@dataclass(frozen=True)
class PromotionDecision:
    """Whether a release may lead, and why (not)."""

    promote: bool
    reason: str


@dataclass(frozen=True)
class Candidate:
    """A release and everything that was found about it.

    Attributes:
        ref: The release.
        bundle: Its content.
        evidence: Of the release itself and of every member.
    """

    ref: ArtifactRef
    bundle: Bundle
    evidence: tuple[Evidence, ...]

    @property
    def problems(self) -> list[str]:
        """Why it must not lead: evidence that fails, and members whose bytes are not those of the bundle."""
        found = [problem for each in self.evidence for problem in each.problems]
        digests = {each.ref: each.digest for each in self.evidence}
        found += [
            f"{member.ref}: the release was built from other bytes"
            for member in self.bundle.members.values()
            if digests.get(member.version, "") not in ("", member.digest)
        ]
        return found


def inspect(
    store: ArtifactStore, ref: ArtifactRef, required: Required, *, every_byte: bool = True
) -> Candidate:
    """Read a release and gather the evidence about it and its members.

    Args:
        store: The store.
        ref: The release.
        required: Checks that each asset needs.
        every_byte: As of `gather`.

    Raises:
        StoreError: The release itself cannot be loaded.
        PromotionRefused: The reference is no release.
    """
    if ref.asset != RELEASE_ASSET:
        raise PromotionRefused(f"{ref} is no release; expected experiment/{RELEASE_ASSET}/version")
    bundle = store.load(ref, RELEASE).bundle
    versions = [ref, *(member.version for member in bundle.members.values())]
    return Candidate(
        ref, bundle, tuple(gather(store, each, required, every_byte=every_byte) for each in versions)
    )


def decide_promotion(
    candidate: Candidate, leading: Mapping[str, ArtifactRef], required: Required
) -> PromotionDecision:
    """May the candidate lead?

    Args:
        candidate: What was found about it.
        leading: Asset to version of the release that leads now, `release` included; empty where nothing leads.
        required: Checks that each asset needs.
    """
    problems = candidate.problems or list(_not_compared(candidate, leading, required).values())
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        return PromotionDecision(promote=False, reason=problems[0] + more)
    gates = sum(len(report.gates) for each in candidate.evidence for report in each.reports.values())
    held = f"all {gates} gates of {len(candidate.evidence)} artifacts hold"
    return PromotionDecision(promote=True, reason="; ".join([held, *_told(candidate, required)]))


def _told(candidate: Candidate, required: Required) -> list[str]:
    """What the checks say that whoever promotes should have read."""
    return [
        each.reports[spec.name].gates[0].detail
        for each in candidate.evidence
        for spec in required[each.ref.asset]
        if spec.told_at_promotion
    ]


def _not_compared(
    candidate: Candidate, leading: Mapping[str, ArtifactRef], required: Required
) -> dict[ArtifactRef, str]:
    """Versions with a check against the champion that compared with another one than leads now, and what to do."""
    found = {}
    for each in candidate.evidence:
        champion = leading.get(each.ref.asset)
        if champion is None or champion == each.ref:
            continue
        for spec in required[each.ref.asset]:
            compared = each.reports[spec.name].champion
            if spec.against_champion and compared != str(champion):
                found[each.ref] = (
                    f"{each.ref}: check {spec.name} compared with {compared or 'nothing'}, but {champion} leads now; "
                    "run the experiment again"
                )
    return found


def compared_with_another(
    store: ArtifactStore, channel: Channel, ref: ArtifactRef, required: Required
) -> dict[ArtifactRef, str]:
    """The release, and its members, that were compared with another champion than leads now: to be judged again.

    Empty too where something else is wrong with the release, which judging again does not mend.

    Raises:
        StoreError: The release cannot be read.
    """
    head, candidate = channel.head(), inspect(store, ref, required)
    if head is None or head.ref == ref or candidate.problems:
        return {}
    return _not_compared(candidate, _leading(store, head), required)


def too_old_to_lead(store: ArtifactStore, ref: ArtifactRef, now: datetime) -> str:
    """Why a release that never led can no longer begin to, so that it must be made again; empty where it can.

    Raises:
        StoreError: The channels cannot be read.
    """
    age = now - minting_time(ref.version)
    if age <= FIRST_PROMOTION_WITHIN or led_anywhere(store, ref) or tried_anywhere(store, ref):
        return ""
    return f"{ref.version} never led, and after {age.days} days it can no longer begin to"


def changes_nothing(store: ArtifactStore, ref: ArtifactRef, other: ArtifactRef) -> bool:
    """Whether a release acts as another does; False where the other is broken or gone.

    A training that found nothing new builds such a release, as it was compared with another champion.

    Raises:
        StoreError: The release cannot be read, or the store could not be asked for the other.
    """
    bundle = store.load(ref, RELEASE).bundle
    try:
        known = store.load(other, RELEASE).bundle
    except BROKEN:
        return False
    return act_alike(bundle, known)


def taken_back(history: Sequence[ChannelRecord]) -> dict[ArtifactRef, datetime]:
    """The releases that a rollback took from the lead and nobody promoted since, and when.

    Args:
        history: A channel's records, oldest first.
    """
    found: dict[ArtifactRef, datetime] = {}
    for before, record in zip([None, *history], history, strict=False):
        if record.action == "rollback" and before is not None:
            found[before.ref] = record.at
        found.pop(record.ref, None)
    return found


MOST_LEADERS = 20
"""Leaders that a candidate is held against, the newest first: each has to decide about all the decisions."""


def held_against(
    history: Sequence[ChannelRecord], leader: ArtifactRef, candidate: ArtifactRef
) -> tuple[ArtifactRef, ...]:
    """The leaders so far beside the one that leads: what any of them brought, a candidate must keep.

    Those that were taken back are none of them.

    Args:
        history: A channel's records, oldest first.
        leader: The release that leads.
        candidate: The release that would.
    """
    left = {leader, candidate, *taken_back(history)}
    led = dict.fromkeys(record.ref for record in reversed(history) if record.ref not in left)
    return tuple(led)[:MOST_LEADERS]


def consider(
    store: ArtifactStore,
    channel: Channel,
    ref: ArtifactRef,
    required: Required,
    found: Candidate | None = None,
) -> PromotionDecision:
    """What `promote` would decide now.

    Args:
        store: The store.
        channel: The channel that the release would lead.
        ref: The release.
        required: Checks that each asset needs.
        found: What was found about it already, if anything.

    Raises:
        StoreError: The release cannot be read.
    """
    head = channel.head()
    if head is not None and head.ref == ref:
        return PromotionDecision(promote=False, reason=f"{ref} leads already")
    candidate = found or inspect(store, ref, required)
    decision = decide_promotion(candidate, _leading(store, head), required)
    return _beside_best(store, channel, candidate, decision)


def _beside_best(
    store: ArtifactStore, channel: Channel, candidate: Candidate, decision: PromotionDecision
) -> PromotionDecision:
    """The decision, unless too much of what the best leader so far brought would be lost; it says how much."""
    if not decision.promote or JUDGED not in candidate.bundle.members:
        return decision
    history = channel.history()
    ours = lift_of(store.gate_reports(candidate.bundle.members[JUDGED].version))
    over = over_best(history, taken_back(history), lambda ref: _tested(store, ref), ours)
    if over is None:
        return decision
    if not over.holds:
        why = f"{over.said}: more than {MAY_LOSE:.0%} of its lift of {over.lift:.2f} would be lost"
        return PromotionDecision(promote=False, reason=why)
    return PromotionDecision(promote=True, reason=f"{decision.reason}; {over.said}")


def _tested(store: ArtifactStore, leader: ArtifactRef) -> Estimate | None:
    """What the off-policy gate found of a release that led; None where nothing tells."""
    try:
        members = store.load(leader, RELEASE).bundle.members
        return lift_of(store.gate_reports(members[JUDGED].version)) if JUDGED in members else None
    except BROKEN:
        return None


def promote(
    store: ArtifactStore,
    channel: Channel,
    ref: ArtifactRef,
    *,
    required: Required,
    actor: str,
    reason: str,
    now: datetime,
    champion: Channel | None = None,
    expected_seq: int | None = None,
) -> ChannelRecord:
    """Let a release lead its channel, if everything about it still holds.

    Args:
        store: The store.
        channel: The channel.
        ref: The release.
        required: Checks that each asset needs.
        actor: Who promotes.
        reason: Why; kept in the log.
        now: Aware time.
        champion: The channel whose leader the release must have been compared with, if that is another one: a
            challenger is compared with the champion, not with the challenger before it.
        expected_seq: The channel's newest record when this was decided, 0 for none; None to go by what leads now.

    Raises:
        PromotionRefused: A gate, a byte or the age of the release forbids it.
        ChannelConflict: Somebody moved the channel meanwhile.
        StoreError: The release cannot be read.
    """
    head = channel.head()
    _refuse_moved(channel, head, expected_seq)
    if head is not None and head.ref == ref:
        raise PromotionRefused(f"{channel.name}: {ref} leads already")
    compared = head if champion is None else champion.head()
    candidate = inspect(store, ref, required)
    decision = decide_promotion(candidate, _leading(store, compared), required)
    decision = _beside_best(store, champion or channel, candidate, decision)
    if not decision.promote:
        raise PromotionRefused(f"{channel.name}: {decision.reason}")
    return channel.append(
        "promote",
        ref,
        expected_seq=0 if head is None else head.seq,
        actor=actor,
        reason=reason or decision.reason,
        gate_report_digest=evidence_digest(candidate.evidence),
        now=now,
    )


def rollback(
    store: ArtifactStore,
    channel: Channel,
    to: ArtifactRef | None,
    *,
    actor: str,
    reason: str,
    now: datetime,
    expected_seq: int | None = None,
) -> ChannelRecord:
    """Let a release lead again that led before. Works while the current release, or newer ones, are broken.

    The target's bytes and those of its members are verified; its gates are not judged anew, as it kept them when
    it was promoted and a way back must not depend on today's code.

    Args:
        store: The store.
        channel: The channel.
        to: The release; the one that led last before the current one and still verifies, if None.
        actor: Who rolls back.
        reason: Why; kept in the log.
        now: Aware time.
        expected_seq: As for `promote`.

    Raises:
        PromotionRefused: Nothing to go back to, or the target never led or does not verify.
        ChannelConflict: Somebody moved the channel meanwhile.
    """
    history = channel.history()
    if not history:
        raise PromotionRefused(f"{channel.name}: nothing was ever promoted, so there is no way back")
    current = history[-1]
    _refuse_moved(channel, current, expected_seq)
    earlier = [record for record in reversed(history) if record.ref != current.ref]
    if to is not None:
        earlier = [record for record in earlier if record.ref == to]
    broken: list[str] = []
    for record in earlier:
        try:
            _verify_all(store, record.ref)
        except StoreError as error:
            broken.append(f"{record.release} does not verify ({error})")
            continue
        return channel.append(
            "rollback",
            record.ref,
            expected_seq=current.seq,
            actor=actor,
            reason=reason,
            gate_report_digest=record.gate_report_digest,
            now=now,
        )
    if to is not None and to == current.ref:
        message = f"{channel.name}: {to} leads already"
    elif broken:
        message = f"{channel.name}: no release to go back to: {'; '.join(dict.fromkeys(broken))}"
    elif to is not None:
        message = f"{channel.name}: {to} never led this channel"
    else:
        message = f"{channel.name}: {current.release} is the only release that ever led"
    raise PromotionRefused(message)


def _refuse_moved(channel: Channel, head: ChannelRecord | None, expected_seq: int | None) -> None:
    found = 0 if head is None else head.seq
    if expected_seq is not None and found != expected_seq:
        message = f"channel {channel.name}: found record {found}, expected {expected_seq}: it has moved"
        raise ChannelConflict(message)


def _verify_all(store: ArtifactStore, ref: ArtifactRef) -> None:
    for member in store.load(ref, RELEASE).bundle.members.values():
        member.confirmed(store.verify(member.version))


def _leading(store: ArtifactStore, head: ChannelRecord | None) -> dict[str, ArtifactRef]:
    """The leading release and its members; itself alone where it is broken: its successor must not be blocked."""
    if head is None:
        return {}
    try:
        members = store.load(head.ref, RELEASE).bundle.members
    except BROKEN:
        members = {}
    return {RELEASE_ASSET: head.ref} | {asset: member.version for asset, member in members.items()}

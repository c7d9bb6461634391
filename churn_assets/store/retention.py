"""Which versions may go, why, and their removal. When to look, and whom to tell, is the caller's business.

The rule, and why nothing that leads or will lead can fall to it, whoever pauses wherever. `protocol_model.py` of the
tests explores all of it with this very code, and shows what each part of the rule prevents.

*Kept* is, whatever else holds, what ever led a channel or was tried beside a leader, and what that was trained from.
A trial starts as a promotion is made, by one record under the same conditions: what is said of promotions holds for
it. Kept, too, is what may yet come to lead: every version younger than 14 days, the newest of an asset, and one whose
successor is younger than 14 days, with all that these were trained from. Everything else is collected.

A run takes the versions it finds, publishes its own, and one of them is promoted, within 7 days of the run's start:
later, a channel refuses a first promotion. Age alone would not protect what the run took: a version of any age may be
the newest, hence in use, and be superseded a moment later. So its successor's age counts. Nor need a run take the
newest; it may continue an old one that failed. So a channel refuses a first promotion, too, where a source has a
successor older than 7 days, or is gone. What a promotion accepts and what a collection takes are thus a week apart.

That rests on one thing: nobody takes more than a week between looking, at the clock or at the store, and the last
write that rests on it, skew of clocks included; nor does a run between its start and its last commit.

Order matters twice. The clock is read before the logs: a promotion made in between would else be missed.
The manifest is deleted before the files: a crash leaves a folder that is no version, and the next collection empties.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby, pairwise

from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.channels import Channel, channel_names
from churn_assets.store.deadlines import COLLECTED_AFTER, collectable
from churn_assets.store.errors import ContentError, CorruptArtifact, InvalidName, ObjectMissing
from churn_assets.store.local import LocalBackend
from churn_assets.store.manifest import minting_time
from churn_assets.store.names import MANIFEST, is_key
from churn_assets.store.reference import ARTIFACTS, ArtifactRef
from churn_assets.store.signatures import SIGNATURES
from churn_assets.store.tried import tried_versions

_AT_ONCE = 8
_DRAFT_ABANDONED_AFTER = timedelta(days=1)


@dataclass(frozen=True)
class Version:
    """What retention knows of one committed version.

    Attributes:
        trained_from: Versions that it names as its upstream.
        size: Bytes of its files.
        broken: Why its manifest cannot be trusted; None where it can.
    """

    trained_from: tuple[ArtifactRef, ...]
    size: int
    broken: ContentError | None = None


@dataclass(frozen=True)
class Inventory:
    """A store as found.

    Attributes:
        versions: Every committed version.
        unfinished: Folders of versions without a manifest: in the making, or left by a crash.
        led: Every version that was ever current, and the first channel it led.
        tried: Every version that a trial was started with, and the first channel beside whose leader.
    """

    versions: Mapping[ArtifactRef, Version]
    unfinished: frozenset[ArtifactRef]
    led: Mapping[ArtifactRef, str]
    tried: Mapping[ArtifactRef, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RetentionRow:
    """One version and its fate.

    Attributes:
        size: Bytes of its files; None where no manifest tells.
        collect: Whether it goes.
        reason: Why, or why not.
    """

    ref: ArtifactRef
    size: int | None
    collect: bool
    reason: str


@dataclass(frozen=True)
class RetentionPlan:
    """What would go and what would stay.

    Attributes:
        rows: Every version, sorted.
        at: The moment it was decided for.
    """

    rows: tuple[RetentionRow, ...]
    at: datetime

    @property
    def collected(self) -> tuple[RetentionRow, ...]:
        """The rows that go."""
        return tuple(row for row in self.rows if row.collect)

    @property
    def freed(self) -> int:
        """Bytes that go, as far as manifests tell."""
        return sum(row.size or 0 for row in self.collected)


def review(store: ArtifactStore, now: datetime) -> RetentionPlan:
    """What a collection would do now; changes nothing.

    Args:
        store: The store.
        now: Aware time, taken before this call.

    Raises:
        CorruptArtifact: A log, or the manifest of something that is kept, is missing or broken.
        IncompatibleArtifact: A newer schema wrote one of them.
    """
    return plan_retention(survey(store), now)


def survey(store: ArtifactStore) -> Inventory:
    """Read all logs and manifests. The logs first: what they name was committed before.

    Raises:
        CorruptArtifact: A log does not verify.
        IncompatibleArtifact: A newer schema wrote a record.
    """
    led: dict[ArtifactRef, str] = {}
    for name in channel_names(store):
        for record in Channel(store, name).history():
            led.setdefault(record.ref, name)
    tried = tried_versions(store)
    folders: dict[ArtifactRef, bool] = {}
    for key in store.backend.list(ARTIFACTS):
        place, file = key.removeprefix(ARTIFACTS).split("/")[:3], key.split("/")[4:]
        try:
            ref = ArtifactRef.parse("/".join(place))
            minting_time(ref.version)
        except InvalidName:
            continue  # not the store's own: whoever put it there takes it away
        folders[ref] = folders.get(ref, False) or file == [MANIFEST]
    committed = [ref for ref, has_manifest in folders.items() if has_manifest]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        read = pool.map(lambda ref: _version(store, ref), committed)
        versions = {ref: found for ref, found in zip(committed, read, strict=True) if found}
    return Inventory(versions, frozenset(folders.keys() - versions.keys()), led, tried)


def _version(store: ArtifactStore, ref: ArtifactRef) -> Version | None:
    try:
        manifest = store.manifest(ref)
    except ContentError as error:
        return Version((), 0, error)
    except ObjectMissing:
        return None  # another collection is taking it
    upstream = tuple(ArtifactRef.parse(text) for text in manifest.provenance.upstream.values())
    return Version(upstream, sum(entry.size for entry in manifest.files))


def plan_retention(inventory: Inventory, now: datetime) -> RetentionPlan:
    """Decide about every version of a store.

    Args:
        inventory: The store, read after ``now``.
        now: Aware time.

    Raises:
        CorruptArtifact: The manifest of something that is kept is missing or broken: what that was trained from
            is unknown, so nothing can be collected.
        IncompatibleArtifact: A newer schema wrote it.
    """
    kept = _kept(inventory, now)
    rows = [
        RetentionRow(ref, version.size, ref not in kept, kept.get(ref, "never led and long superseded"))
        for ref, version in inventory.versions.items()
    ]
    for ref in inventory.unfinished:
        old = collectable(ref, now)
        reason = f"unfinished {'since' if old else 'for less than'} {COLLECTED_AFTER.days} days"
        rows.append(RetentionRow(ref, None, old, reason))
    return RetentionPlan(tuple(sorted(rows, key=lambda row: str(row.ref))), now)


def _kept(inventory: Inventory, now: datetime) -> dict[ArtifactRef, str]:
    """Every version that stays, and why."""
    kept = {ref: f"was tried on channel {channel}" for ref, channel in inventory.tried.items()}
    kept |= {ref: f"led channel {channel}" for ref, channel in inventory.led.items()}
    for ref, reason in _may_lead(sorted(inventory.versions, key=str), now).items():
        kept.setdefault(ref, reason)
    pending = list(kept)
    while pending:
        ref = pending.pop()
        version = inventory.versions.get(ref)
        if version is None:
            raise CorruptArtifact(
                ref.manifest_key, "nothing", f"a manifest: it is kept, as it {kept[ref]}", str(ref)
            )
        if version.broken is not None:
            raise version.broken
        for source in version.trained_from:
            if source not in kept:
                kept[source] = f"was used to train {ref}"
                pending.append(source)
    return kept


def _may_lead(versions: Sequence[ArtifactRef], now: datetime) -> dict[ArtifactRef, str]:
    """Versions, sorted, that a run under way may use or a channel may still accept."""
    found = {}
    for _, group in groupby(versions, key=lambda ref: (ref.experiment, ref.asset)):
        of_asset = list(group)
        found[of_asset[-1]] = "is the newest of its asset"
        for ref, successor in pairwise(of_asset):
            if not collectable(ref, now):
                found[ref] = f"is younger than {COLLECTED_AFTER.days} days"
            elif not collectable(successor, now):
                found[ref] = f"was superseded less than {COLLECTED_AFTER.days} days ago"
    return found


def collect(store: ArtifactStore, plan: RetentionPlan) -> None:
    """Remove what the plan says. Safe to repeat, and to be killed: the next plan holds what is left.

    A store in a folder is cleared of the drafts of killed writers, too.

    Args:
        store: The store.
        plan: Made from this store a moment ago; what it does not name is not touched.
    """
    # The newest first, so that whatever is left after a crash has what it was made from.
    for row in sorted(plan.collected, key=lambda row: row.ref.version, reverse=True):
        keys = store.backend.list(row.ref.prefix)
        if row.size is None and row.ref.manifest_key in keys:
            continue  # it was unfinished, and has been committed after all
        if store.signatures.policy.trusted_keys:
            keys = store.backend.list(f"{SIGNATURES}{row.ref.prefix}") + keys
        ours = [key for key in keys if is_key(key)]  # whoever left something else takes it away
        for key in sorted(ours, key=lambda key: key != row.ref.manifest_key):
            store.backend.delete(key)
    if isinstance(store.backend, LocalBackend):
        store.backend.clear_drafts(plan.at - _DRAFT_ABANDONED_AFTER)

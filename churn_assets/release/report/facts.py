"""What a report tells of a release, as the store has it. Judges nothing and measures nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from churn_assets.flow.check import CheckSpec
from churn_assets.flow.registry import registry
from churn_assets.gates.report import GateReport
from churn_assets.release.bundle import RELEASE, RELEASE_ASSET
from churn_assets.release.compare import Difference, differences, facts_of, facts_of_versions
from churn_assets.release.evidence import Required
from churn_assets.release.promotion import consider, inspect
from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.channels import Channel
from churn_assets.store.errors import BROKEN, IncompatibleArtifact, PromotionRefused
from churn_assets.store.manifest import Manifest, minting_time
from churn_assets.store.reference import ArtifactRef

Rows = Sequence[Mapping[str, Any]]

STALE_DAYS = 45.0
"""Age from which data are old where the experiment does not say: a month's extract, and half as much again."""
EARLIER = 9
"""Releases before that a report compares with."""
DATED = ("customers", "offer_log")
"""Assets whose age is that of the data."""


@dataclass(frozen=True)
class MemberView:
    """A member as the report shows it.

    Attributes:
        asset: Which.
        ref: Its version.
        manifest: Of it.
        reports: Its gate reports, verdicts recomputed.
        specs: The checks that it needs.
    """

    asset: str
    ref: str
    manifest: Manifest
    reports: Mapping[str, GateReport]
    specs: Sequence[CheckSpec]


@dataclass(frozen=True)
class ReportFacts:
    """Everything that the report shows.

    Attributes:
        release: Its version; None while it is built.
        experiment: Its name.
        branches: What the release can do.
        simulated: Whether the responses to offers are simulated.
        currency: ISO 4217 code of all money.
        members: In flow order; the release itself last, once it is stored.
        tables: What the release keeps of its decisions, by name.
        against: The release that it is compared with; None where there is none.
        changes: What differs from that one.
        problems: Why it must not be promoted beside gates that fail: bytes, missing checks, another champion.
        leads: It leads the channel already.
        now: When the report is made; None while the release is built, and ages are those at its newest member.
        max_age_days: Age from which data are old, by asset.
        earlier: Facts of the releases before, oldest first, or why one cannot be read.
    """

    release: str | None
    experiment: str
    branches: Sequence[str]
    simulated: bool
    currency: str
    members: Sequence[MemberView]
    tables: Mapping[str, Rows] = field(default_factory=dict)
    against: str | None = None
    changes: Sequence[Difference] = ()
    problems: Sequence[str] = ()
    leads: bool = False
    now: datetime | None = None
    max_age_days: Mapping[str, float] = field(default_factory=dict)
    earlier: Mapping[str, ReportFacts | str] = field(default_factory=dict)

    def member(self, asset: str) -> MemberView | None:
        """One of the members."""
        return next((each for each in self.members if each.asset == asset), None)

    def gate_report(self, asset: str, check: str) -> GateReport | None:
        """What a check said of a member; None where it never ran or there is no such member."""
        member = self.member(asset)
        return None if member is None else member.reports.get(check)

    def rows(self, asset: str, check: str, table: str) -> Rows:
        """A table of a gate report; no rows where there is none."""
        report = self.gate_report(asset, check)
        return () if report is None else report.tables.get(table, ())

    @property
    def outcome(self) -> Mapping[str, Any] | None:
        """`economics.outcome`, as the offer log was read by it; None where the value is of customers who stay."""
        member = self.member("offer_log")
        economics = {} if member is None else member.manifest.provenance.config.get("economics")
        found = economics.get("outcome") if isinstance(economics, Mapping) else None
        return found if isinstance(found, Mapping) else None

    @property
    def made(self) -> datetime | None:
        """When the release was made, or its newest member."""
        times = [each.manifest.created_at for each in self.members]
        return max(times, default=None)

    def ages(self) -> dict[str, tuple[float, float]]:
        """Days since the data of each source changed, and how many are too many."""
        now = self.now or self.made
        return {
            each.asset: (
                (now - minting_time(ArtifactRef.parse(each.ref).version)).total_seconds() / 86_400,
                self.max_age_days.get(each.asset, STALE_DAYS),
            )
            for each in self.members
            if each.asset in DATED and now is not None
        }


def changes_since(
    store: ArtifactStore, other: ArtifactRef, members: Iterable[ArtifactRef]
) -> Sequence[Difference]:
    """What differs between the members of another release and these; nothing where that one cannot be read."""
    try:
        before = facts_of(store, other)
    except BROKEN:
        return ()
    before.pop(RELEASE_ASSET, None)
    return differences(before, facts_of_versions(store, members))


def read_facts(
    store: ArtifactStore,
    channel: Channel,
    ref: ArtifactRef,
    required: Required,
    *,
    against: ArtifactRef | None,
    now: datetime,
    tables: Mapping[str, Rows] | None = None,
    max_age_days: Mapping[str, float] | None = None,
    every_byte: bool = True,
) -> ReportFacts:
    """Read a stored release: its evidence as it stands now, whatever was found when it was built.

    Args:
        store: The store.
        channel: The channel that it would lead.
        ref: The release.
        required: Checks that each asset needs.
        against: The release that it is compared with; the champion of when it was built, if None.
        now: Aware time.
        tables: What is told of its decisions in place of what it keeps.
        max_age_days: Age from which data are old, by asset.
        every_byte: As of `gather`.

    Raises:
        StoreError: The release or a manifest cannot be read.
        PromotionRefused: The reference is no release.
    """
    release = store.load(ref, RELEASE)
    bundle, candidate = release.bundle, inspect(store, ref, required, every_byte=every_byte)
    evidence = {each.ref.asset: each for each in candidate.evidence}
    order = registry().in_order(bundle.members)
    other = against or (ArtifactRef.parse(bundle.champion) if bundle.champion else None)
    decision = consider(store, channel, ref, required, candidate)
    head = channel.head()
    leads = head is not None and head.ref == ref
    failed = {
        f"{each.ref}: check {check}: {gate}"
        for each in candidate.evidence
        for check, report in each.reports.items()
        for gate in report.gates
        if not gate.passed
    }
    problems = [each for each in candidate.problems if each not in failed]
    if not candidate.problems and not decision.promote and not leads:
        problems.append(decision.reason)
    return ReportFacts(
        release=str(ref),
        experiment=bundle.experiment,
        branches=bundle.branches,
        simulated=bundle.simulated,
        currency=bundle.writing.currency,
        members=[
            MemberView(asset, str(each.ref), store.manifest(each.ref), each.reports, required.get(asset, ()))
            for asset in [*order, RELEASE_ASSET]
            for each in (evidence[asset],)
        ],
        tables=tables if tables is not None else release.tables,
        against=None if other is None else str(other),
        changes=()
        if other is None
        else changes_since(store, other, [bundle.members[a].version for a in order]),
        problems=problems,
        leads=leads,
        now=now,
        max_age_days=max_age_days or {},
    )


def earlier_facts(
    store: ArtifactStore, channel: Channel, ref: ArtifactRef, required: Required, *, now: datetime
) -> dict[str, ReportFacts | str]:
    """Facts of the releases of an experiment before one, the oldest first, or why one cannot be read.

    Files of members are not read.

    Raises:
        StoreError: The store does not answer.
    """
    found: dict[str, ReportFacts | str] = {}
    before = [each for each in store.versions(ref.experiment, ref.asset) if each.version < ref.version]
    for each in before[-EARLIER:]:
        try:
            found[str(each)] = read_facts(
                store, channel, each, required, against=None, now=now, every_byte=False
            )
        except (*BROKEN, IncompatibleArtifact, PromotionRefused) as error:
            found[str(each)] = str(error)
    return found

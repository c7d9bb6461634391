"""Measures one stored version with the checks of its asset, and stores their reports beside it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Mapping
from typing import Any

from churn_assets.flow.asset import Workspace
from churn_assets.flow.check import LOADS_AND_AGREES, CheckSpec, measure, sections_of
from churn_assets.gates.report import Gate, GateReport, GateReportError, Outcome, digest_of
from churn_assets.store.errors import BROKEN
from churn_assets.store.manifest import Manifest
from churn_assets.store.reference import ArtifactRef

BROKEN_CHAMPION = "broken_champion"
"""Table of a report that had nothing to compare with, as what leads cannot be loaded."""


class Inspection:
    """Measures one stored version with check declarations; loads its bytes once, and only when a check needs them."""

    def __init__(self, workspace: Workspace, ref: ArtifactRef, gate_source: str) -> None:
        self.workspace = workspace
        self.ref = ref
        self.store = workspace.store(ref.experiment)
        self.manifest: Manifest = self.store.verify(ref)
        self.gate_source = gate_source
        self.stored = self.store.gate_reports(ref)
        self.broken_champion = ""
        self._leader: ArtifactRef | None = None
        self._made: dict[Hashable, Any] = {}

    @property
    def asset(self) -> str:
        """The asset under test."""
        return self.ref.asset

    @functools.cached_property
    def subject(self) -> Any:
        """The value as loaded from the store: digests verified, golden rows replayed."""
        return self.workspace.value(self.ref, reread=True)

    def report(self, spec: CheckSpec) -> tuple[GateReport, bool]:
        """The report of one check, and whether a stored one still holds."""
        leader, unknown = self._leading() if spec.against_champion else (None, "")
        key = self._key(spec)
        if not spec.every_run and (stored := self._stored(spec.name, key, leader)) is not None:
            return stored, True
        self._leader = None if leader == self.ref else leader
        self.broken_champion = unknown
        outcome = measure(spec, self)
        tables = dict(outcome.tables)
        if self.broken_champion:
            tables[BROKEN_CHAMPION] = [
                {"champion": str(self._leader or "the release"), "cannot be loaded": self.broken_champion}
            ]
        report = GateReport(
            check=spec.name,
            asset=self.ref.asset,
            version=self.ref.version,
            digest=self.manifest.digest,
            key=key,
            champion=None if self._leader is None else str(self._leader),
            gates=outcome.gates,
            advice=spec.advice,
            tables=tables,
        )
        self.store.add_gate_report(self.ref, spec.name, report.to_json())
        return report, False

    def _leading(self) -> tuple[ArtifactRef | None, str]:
        """The champion's version of this asset, and why the release that leads does not say which it is."""
        try:
            return self.workspace.champion(self.ref.experiment, self.ref.asset), ""
        except BROKEN as error:
            return None, f"{type(error).__name__}: {error}"

    def upstream(self, asset: str) -> Any:
        """The value of an asset at the version that this one was trained from, directly or through others."""
        return self._load(self._origin(self.ref, asset))

    def section(self, path: str) -> Any:
        """A section of the experiment, or a value in one."""
        return self.workspace.section(self.ref.experiment, path)

    def champion(self, asset: str) -> Any | None:
        """The champion's version of this asset, or what that was trained from.

        None where nothing leads, this version does, or the champion cannot be loaded: then the report says so, as a
        broken champion must not block its successor.
        """
        if self._leader is None or self.broken_champion:
            return None
        try:
            return self._load(self._leader if asset == self.asset else self._origin(self._leader, asset))
        except BROKEN as error:
            self.broken_champion = f"{type(error).__name__}: {error}"
            return None

    def evidence(self, name: str) -> Any:
        """`ref`, `manifest` or `store`."""
        return {"ref": self.ref, "manifest": self.manifest, "store": self.store}[name]

    def once(self, what: Hashable, arguments: Mapping[str, Any], make: Callable[[], Any]) -> Any:  # noqa: ARG002
        """What is made for all checks of this version."""
        if what not in self._made:
            self._made[what] = make()
        return self._made[what]

    def _stored(self, check: str, key: str, champion: ArtifactRef | None) -> GateReport | None:
        """The stored report where it still holds; one that contradicts itself is measured anew, never believed.

        A version that leads by now keeps the verdict that let it lead: compared with itself nothing is worse. One that
        found its champion broken is compared again, as that may be mended.
        """
        if check not in self.stored:
            return None
        try:
            report = GateReport.from_json(self.stored[check])
        except GateReportError:
            return None
        leads = champion == self.ref
        if BROKEN_CHAMPION in report.tables and not leads:
            return None
        same_champion = leads or report.champion == (None if champion is None else str(champion))
        same = (report.key, report.digest) == (key, self.manifest.digest)
        return report if same and same_champion else None

    def _key(self, spec: CheckSpec) -> str:
        return digest_of(
            {
                "check": spec.name,
                "artifact": self.manifest.digest,
                "upstream": dict(self.manifest.provenance.upstream),
                "sections": {
                    path: self.workspace.section_digest(self.ref.experiment, path)
                    for path in sorted(sections_of(spec, self.asset))
                },
                "source": self.gate_source,
            }
        )

    def _load(self, ref: ArtifactRef) -> Any:
        return self.once(ref, {}, lambda: self.workspace.value(ref))

    def _origin(self, ref: ArtifactRef, asset: str) -> ArtifactRef:
        """The version of an asset that a version was trained from, directly or through others."""
        pending = list(self.store.manifest(ref).provenance.upstream.values())
        seen: dict[str, ArtifactRef] = {}
        while pending:
            found = ArtifactRef.parse(pending.pop(0))
            if found.asset == asset:
                return found
            if found.asset not in seen:
                seen[found.asset] = found
                pending += self.store.manifest(found).provenance.upstream.values()
        raise KeyError(f"{ref.asset} was not trained from {asset!r}: its upstreams are {sorted(seen)}")


def loads_and_agrees() -> CheckSpec:
    """The check that every asset has beside those declared."""
    return CheckSpec(
        name=LOADS_AND_AGREES,
        description="Loads from the store; every byte and every golden row agrees with what was saved.",
        advice="The saved form differs from the trained one: do not use it; materialize it again, look at its format.",
        run=_agrees,
    )


def _agrees(subject: Any, manifest: Manifest) -> Outcome:  # noqa: ARG001 - it was loaded: that is the proof
    files = len(manifest.files)
    gates = [Gate("files_verified", files, "==", files, "size and sha256 of every file match the manifest")]
    golden = manifest.golden
    if golden is not None:
        rows = len(golden.outputs) if isinstance(golden.outputs, list) else 1
        detail = "answers of what was loaded equal those before saving"
        gates.append(Gate("golden_rows_replayed", rows, ">=", 1, detail))
    return Outcome(tuple(gates))

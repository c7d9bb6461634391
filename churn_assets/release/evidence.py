"""Proof, gathered from the store alone, that a version kept its gates. Trusts no earlier green light."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from churn_assets.flow.check import LOADS_AND_AGREES, CheckSpec
from churn_assets.gates.report import GateReport, GateReportError, digest_of
from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.errors import BROKEN
from churn_assets.store.reference import ArtifactRef

# The checks that an asset needs, by asset.
Required = Mapping[str, Sequence[CheckSpec]]


@dataclass(frozen=True)
class Evidence:
    """What the store says about one version.

    Attributes:
        ref: The version.
        digest: Content digest of its bytes, verified; empty where they could not be.
        reports: Its gate reports by check, verdicts recomputed.
        problems: Why it must not be used, one line each; empty where it may.
    """

    ref: ArtifactRef
    digest: str
    reports: Mapping[str, GateReport]
    problems: tuple[str, ...]

    @property
    def report_digests(self) -> dict[str, str]:
        """Digest of every report, by check."""
        return {check: report.sha256() for check, report in sorted(self.reports.items())}


def gather(
    store: ArtifactStore, ref: ArtifactRef, required: Required, *, every_byte: bool = True
) -> Evidence:
    """Verify a version's bytes, read its gate reports, recompute their verdicts and list what is wrong.

    A required report must exist, be bound to exactly these bytes and pass; other reports on the version (checks
    that no longer exist) decide nothing.

    Args:
        store: The store.
        ref: The version.
        required: Checks that each asset needs.
        every_byte: Read every file; else the manifest is believed, which shows and proves nothing.
    """
    try:
        digest = (store.verify(ref) if every_byte else store.manifest(ref)).digest
        stored = store.gate_reports(ref)
    except BROKEN as error:
        return Evidence(ref, "", {}, (f"{ref}: {type(error).__name__}: {error}",))
    if ref.asset not in required:
        unknown = f"{ref}: this library has no asset {ref.asset!r}, so nothing says what it must prove: release again"
        return Evidence(ref, digest, {}, (unknown,))
    reports: dict[str, GateReport] = {}
    problems: list[str] = []
    for check in sorted({LOADS_AND_AGREES, *(spec.name for spec in required[ref.asset])}):
        if check not in stored:
            problems.append(f"{ref}: check {check} never ran on this version")
            continue
        try:
            report = GateReport.from_json(stored[check])
        except GateReportError as error:
            problems.append(f"{ref}: {error}")
            continue
        reports[check] = report
        if (report.asset, report.version, report.check) != (ref.asset, ref.version, check):
            problems.append(f"{ref}: the report of check {check} is about {report.asset} {report.version}")
        elif report.digest != digest:
            problems.append(
                f"{ref}: check {check} judged other bytes ({report.digest[:12]}, not {digest[:12]})"
            )
        problems += [f"{ref}: check {check}: {gate}" for gate in report.gates if not gate.passed]
        if not report.gates:
            problems.append(f"{ref}: check {check} measured nothing")
    return Evidence(ref, digest, reports, tuple(problems))


def evidence_digest(evidence: Collection[Evidence]) -> str:
    """One digest over every report of every version: what a promotion rests on."""
    return digest_of({str(each.ref): each.report_digests for each in evidence})

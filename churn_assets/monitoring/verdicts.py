"""Checks that failed, never ended or are out of date, from the reports in the store. Measures nothing."""

from __future__ import annotations

from collections.abc import Mapping

from churn_assets.monitoring.requests import Finding, evidence_of
from churn_assets.release.evidence import Evidence
from churn_assets.store.reference import ArtifactRef

FAILED_CHECKS = "failed_checks"


def failed_checks(found: Mapping[str, Evidence]) -> tuple[Finding, ...]:
    """The assets whose newest version has a check that failed, raised, or never ran.

    Args:
        found: Asset to the evidence about its newest version.
    """
    return tuple(
        Finding(
            FAILED_CHECKS,
            frozenset({asset}),
            evidence_of({"version": str(evidence.ref), "problems": list(evidence.problems)}),
            evidence.problems[0] + (f" (and {more} more)" if (more := len(evidence.problems) - 1) else ""),
        )
        for asset, evidence in found.items()
        if evidence.problems
    )


def outdated_checks(found: Mapping[ArtifactRef, str], leader: ArtifactRef | None) -> tuple[Finding, ...]:
    """Versions of the candidate that were compared with another champion than leads by now.

    Args:
        found: Version to what is wrong with it.
        leader: The release that leads.
    """
    if not found:
        return ()
    evidence = evidence_of({"leader": str(leader), "versions": sorted(map(str, found))})
    assets = frozenset(ref.asset for ref in found)
    return (Finding(FAILED_CHECKS, assets, evidence, next(iter(found.values()))),)

"""How old data and models are, and what is made again because of it. Knows versions by their names alone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from churn_assets.monitoring.config import Asset
from churn_assets.monitoring.requests import Finding, evidence_of
from churn_assets.store.manifest import minting_time
from churn_assets.store.reference import ArtifactRef

FRESHNESS = "freshness"


def too_old(
    newest: Mapping[str, ArtifactRef], max_age_days: Mapping[Asset, float], now: datetime
) -> tuple[Finding, ...]:
    """The assets whose newest version is older than it may be.

    Each time an asset grows older by its greatest age once more, that is new evidence: what was found unchanged when
    it was looked at is looked at again, and a training that failed for good is not the last.

    Args:
        newest: Asset to its newest version; an asset that has none is not old, it was never made.
        max_age_days: Greatest age by asset.
        now: Aware time.
    """
    findings = []
    for asset, days in sorted(max_age_days.items()):
        if asset not in newest:
            continue
        age, most = now - minting_time(newest[asset].version), timedelta(days=days)
        if age <= most:
            continue
        found = {"asset": asset, "version": newest[asset].version, "times": age // most}
        why = f"{asset} is {age / timedelta(days=1):.1f} days old, at most {days:g} are wanted"
        findings.append(Finding(FRESHNESS, frozenset({asset}), evidence_of(found), why))
    return tuple(findings)

"""A release as far as decisions need it: verified, in its derived forms. No member is read into memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from churn_assets.customers.features import FeatureError, RowEncoder
from churn_assets.decision.process import IDLE
from churn_assets.release.bundle import RELEASE, Bundle, Golden, same
from churn_assets.store.errors import CorruptArtifact, GoldenMismatch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from churn_assets.release.derived import Derived
    from churn_assets.store.artifacts import ArtifactStore
    from churn_assets.store.manifest import Manifest
    from churn_assets.store.reference import ArtifactRef


def load_deciding(store: ArtifactStore, ref: ArtifactRef) -> tuple[Bundle, Derived]:
    """Load what decides.

    The bytes of the release and of every member are verified, and the golden decisions made again: they must be what
    they were.

    Raises:
        StoreError: The release or a member is missing or corrupt, or the release decides otherwise than when built.
    """
    bundle, derived, _ = load_with_members(store, ref)
    return bundle, derived


def load_with_members(
    store: ArtifactStore, ref: ArtifactRef
) -> tuple[Bundle, Derived, Mapping[str, Manifest]]:
    """What decides, as `load_deciding` gives it, and the manifests of the verified members by asset.

    Raises:
        StoreError: As of `load_deciding`.
    """
    release = store.load(ref, RELEASE)
    manifests = {asset: store.verify(member.version) for asset, member in release.bundle.members.items()}
    for asset, member in release.bundle.members.items():
        found = manifests[asset].digest
        if found != member.digest:
            raise CorruptArtifact(asset, f"digest {found}", f"digest {member.digest}", member.ref)
    if release.derived is None:
        raise CorruptArtifact("derived forms", "none", "forms to decide with", str(ref))
    replay_golden(release.bundle.golden, release.derived, ref)
    return release.bundle, release.derived, manifests


def replay_golden(golden: Golden, derived: Derived, ref: ArtifactRef) -> None:
    """Decide again for the golden customers.

    Raises:
        GoldenMismatch: A decision is not what it was when the release was built.
        CorruptArtifact: A golden customer is none of the schema's.
    """
    encoder, customers = RowEncoder(derived.schema), golden.customers
    if not customers:
        return
    try:
        rows = [encoder.row({name: row[name] for name in encoder.names if name in row}) for row in customers]
    except FeatureError as error:
        raise CorruptArtifact("golden customers", f"{error}", "customers of the schema", str(ref)) from error
    n, process = len(rows), derived.process
    outlooks, _ = derived.outlooks(np.array(rows), [0] * n)
    arms = derived.preferred(outlooks, [IDLE] * n, [0] * n, [list(range(process.n_arms))] * n, 0.0)
    for arm, outlook, kept in zip(arms, outlooks, golden.decisions, strict=True):
        found = {
            "offer_pct": process.menu[arm],
            "risk": float(outlook["risk"]),
            "acceptance": float(outlook["acceptance"][IDLE, arm]),
            "expected_value": float(outlook["value"][IDLE, arm]),
        }
        if not all(same(value, kept[name]) for name, value in found.items()):
            raise GoldenMismatch("golden decisions", f"{found}", f"{kept}", str(ref))

"""A release as far as decisions need it: verified, in its own form. No member is read into memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from churn_assets.arms import NO_CONTACT_ID
from churn_assets.customers.features import FeatureError, RowEncoder
from churn_assets.deciding.release_models import ReleaseModels, own_arms
from churn_assets.decision.process import IDLE
from churn_assets.release.bundle import RELEASE, Bundle, Golden, same
from churn_assets.store.errors import CorruptArtifact, GoldenMismatch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from churn_assets.deciding.risk_only import DecidingModels
    from churn_assets.decision.process import Floats
    from churn_assets.store.artifacts import ArtifactStore
    from churn_assets.store.manifest import Manifest
    from churn_assets.store.reference import ArtifactRef


def load_release(store: ArtifactStore, ref: ArtifactRef) -> tuple[Bundle, DecidingModels]:
    """Load what decides.

    The bytes of the release and of every member are verified, and the golden decisions made again: they must be what
    they were.

    Raises:
        StoreError: The release or a member is missing or corrupt, or the release decides otherwise than when built.
    """
    bundle, models, _ = load_with_members(store, ref)
    return bundle, models


def load_with_members(
    store: ArtifactStore, ref: ArtifactRef
) -> tuple[Bundle, DecidingModels, Mapping[str, Manifest]]:
    """What decides, as `load_release` gives it, and the manifests of the verified members by asset.

    Raises:
        StoreError: As of `load_release`.
    """
    release = store.load(ref, RELEASE)
    members = release.bundle.members.items()
    manifests = {asset: member.confirmed(store.verify(member.version)) for asset, member in members}
    if release.models is None:
        raise CorruptArtifact("models", "none", "models to decide with", str(ref))
    replay_golden(release.bundle.golden, release.models, ref)
    return release.bundle, release.models, manifests


def replay_golden(golden: Golden, models: DecidingModels, ref: ArtifactRef) -> None:
    """Decide again for the golden customers.

    Raises:
        GoldenMismatch: A decision is not what it was when the release was built.
        CorruptArtifact: A golden customer is none of the schema's.
    """
    encoder, customers = RowEncoder(models.schema), golden.customers
    if not customers:
        return
    try:
        rows = [encoder.row({name: row[name] for name in encoder.names if name in row}) for row in customers]
    except FeatureError as error:
        told = f"a value of {error.feature!r} that is none of the schema's"
        raise CorruptArtifact("golden customers", told, "customers of the schema", str(ref)) from None
    decided = _decided(models, np.array(rows))
    for number, (found, kept) in enumerate(zip(decided, golden.decisions, strict=True)):
        if differing := [name for name, value in found.items() if not same(value, kept[name])]:
            told = (
                f"another {', '.join(differing)} of golden customer {number}"  # who that is, no log may say
            )
            raise GoldenMismatch("golden decisions", told, "what was decided when it was built", str(ref))


def _decided(models: DecidingModels, X: Floats) -> list[dict[str, object]]:
    """What is decided for customers (n, F) without history, in the names of `COMPARED`."""
    if not isinstance(models, ReleaseModels):
        nothing = {"arm": NO_CONTACT_ID, "acceptance": 0.0, "expected_value": 0.0}
        return [nothing | {"risk": risk} for risk in models.risk(X).tolist()]
    n, menu = len(X), models.process.menu
    outlooks, _ = models.outlooks(X, [0] * n)
    arms = models.preferred(outlooks, [IDLE] * n, [0] * n, own_arms(outlooks), 0.0)
    return [
        {
            "arm": menu.ids[arm],
            "risk": float(outlook["risk"]),
            "acceptance": float(outlook["acceptance"][IDLE, arm]),
            "expected_value": float(outlook["value"][IDLE, arm]),
        }
        for arm, outlook in zip(arms, outlooks, strict=True)
    ]

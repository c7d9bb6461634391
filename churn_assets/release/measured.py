"""What the gates of a release are measured on: its members as they are in the store. The gates judge it."""

from __future__ import annotations

from dataclasses import replace

from churn_assets.customers.table import CustomerTable
from churn_assets.deciding.risk_only import DecidingModels, RiskModels, decider_of
from churn_assets.flow.registry import registry
from churn_assets.gates.report import Outcome
from churn_assets.release import gates
from churn_assets.release.bundle import Release
from churn_assets.release.evidence import gather
from churn_assets.release.loaded import Models, load_members
from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.reference import ArtifactRef


def models(release: Release, store: ArtifactStore) -> Models:
    """The members that decide and write, loaded at their exact versions."""
    members, deciding = load_members(store, release.bundle), release.models
    return replace(members, campaign=deciding.campaign) if isinstance(deciding, RiskModels) else members


def members_agree(release: Release, store: ArtifactStore) -> Outcome:
    """Every member is there, and each was trained from the bytes of the others that are in the release."""
    bundle, flow = release.bundle, registry()
    manifests = {asset: store.verify(member.version) for asset, member in bundle.members.items()}
    expected = [
        asset
        for branch in bundle.branches
        for asset in flow.members[branch]
        if asset in bundle.members or not flow[asset].optional
    ]
    return gates.members_agree(bundle, manifests, expected)


def members_keep_their_gates(release: Release, store: ArtifactStore) -> Outcome:
    """Every member's gate reports, read again."""
    members = release.bundle.members.values()
    return gates.members_keep_their_gates(
        [gather(store, each.version, registry().checks) for each in members]
    )


def decides_as_built(release: Release, ref: ArtifactRef) -> Outcome:
    """It decides for golden customers as it did when it was built."""
    return gates.decides_as_built(release.bundle, decider_of(_deciding(release), str(ref)))


def models_are_members(release: Release, models: Models, customers: CustomerTable) -> Outcome:
    """What it decides with are its members, number for number."""
    return gates.models_are_members(_deciding(release), models, customers)


def writes_as_built(release: Release, models: Models) -> Outcome:
    """It writes to golden customers as it did when it was built."""
    return gates.writes_as_built(release.bundle, models)


def _deciding(release: Release) -> DecidingModels:
    if release.models is None:
        raise ValueError("the release holds no models to decide with")
    return release.models

"""What a release is: exact member versions and a few golden customers. Building and judging one live elsewhere."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from churn_assets.release.config import Branch
from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.channels import Channel
from churn_assets.store.files import read_json, write_json
from churn_assets.store.formats import ArtifactFormat
from churn_assets.store.manifest import Sha256
from churn_assets.store.reference import ArtifactRef

RELEASE_ASSET = "release"
REPORT_FILE = "report.html"
_BUNDLE_FILE = "bundle.json"

# Assets of each branch, in flow order.
MEMBERS: Mapping[Branch, tuple[str, ...]] = {
    "decision": ("customers", "offer_log", "risk_model", "accept_model", "effect_model", "ppo_decision"),
}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Member(_Frozen):
    """One artifact of a release: its version, and the digest that its bytes must have."""

    ref: str
    digest: Sha256

    @property
    def version(self) -> ArtifactRef:
        """`ref` as a reference."""
        return ArtifactRef.parse(self.ref)


class Golden(_Frozen):
    """Customers as they came in, and what the release decided for them when it was built."""

    customers: list[dict[str, JsonValue]]
    decisions: list[dict[str, JsonValue]]


class Bundle(_Frozen):
    """A release.

    Attributes:
        experiment: Experiment that it belongs to.
        branches: What it can do; without the message branch it writes no messages.
        members: Asset to exact version.
        evidence: Digest of every gate report that let it be built.
        champion: The release it was compared with in its report; None before the first promotion.
        simulated: Whether the responses it learned from were written by the demo world.
        golden: Customers for whom the loaded release must decide as it did when it was built.
        report_sha256: Of the HTML report.
    """

    experiment: str
    branches: tuple[Branch, ...] = Field(min_length=1)
    members: dict[str, Member]
    evidence: dict[str, dict[str, Sha256]]
    champion: str | None
    simulated: bool
    golden: Golden
    report_sha256: Sha256


class Release(_Frozen):
    """A bundle and its HTML report: the value of the asset `release`."""

    bundle: Bundle
    report: str


class ReleaseFormat(ArtifactFormat[Release]):
    """`bundle.json` and `report.html`."""

    loader = "release/1"

    def save(self, value: Release, folder: Path) -> None:
        write_json(value.bundle.model_dump(mode="json"), folder / _BUNDLE_FILE)
        (folder / REPORT_FILE).write_text(value.report, encoding="utf-8")

    def load(self, folder: Path) -> Release:
        bundle = Bundle.model_validate(read_json(folder / _BUNDLE_FILE))
        return Release(bundle=bundle, report=(folder / REPORT_FILE).read_text(encoding="utf-8"))

    def signature(self, value: Release) -> dict[str, Any]:
        return {"branches": list(value.bundle.branches), "members": sorted(value.bundle.members)}


RELEASE = ReleaseFormat()


def champion_release(store: ArtifactStore, channel: str) -> ArtifactRef | None:
    """The release that leads a channel; None before the first promotion."""
    head = Channel(store, channel).head()
    return None if head is None else head.ref


def champion_of(store: ArtifactStore, channel: str, asset: str) -> ArtifactRef | None:
    """The version of an asset in the release that leads a channel; the release itself for `release`."""
    leader = champion_release(store, channel)
    if leader is None or asset == RELEASE_ASSET:
        return leader
    member = store.load(leader, RELEASE).bundle.members.get(asset)
    return None if member is None else member.version

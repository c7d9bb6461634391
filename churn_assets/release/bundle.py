"""What a release is: exact member versions and a few golden customers. Building and judging one live elsewhere."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, InstanceOf, JsonValue

from churn_assets.deciding.files import DESCRIPTION, load_models, save_models
from churn_assets.deciding.messages import Writing
from churn_assets.deciding.release_models import ReleaseModels
from churn_assets.deciding.risk_only import RiskModels
from churn_assets.flow.asset import Branch
from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.channels import Channel
from churn_assets.store.errors import CorruptArtifact, IncompatibleArtifact
from churn_assets.store.files import read_json, write_json
from churn_assets.store.formats import ArtifactFormat
from churn_assets.store.manifest import Manifest, Sha256
from churn_assets.store.reference import ArtifactRef

RELEASE_ASSET = "release"
REPORT_FILE = "report.html"
BUNDLE_FILE = "bundle.json"
_TABLES_FILE = "tables.json"


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

    def confirmed(self, found: Manifest) -> Manifest:
        """Its manifest as found.

        Raises:
            CorruptArtifact: It is of other bytes than the release was built from.
        """
        if found.digest != self.digest:
            expected = f"digest {self.digest}, which the release was built from"
            raise CorruptArtifact(found.asset, f"digest {found.digest}", expected, self.ref)
        return found


class Golden(_Frozen):
    """Customers as they came in, and what the release decided for them and wrote to them when it was built."""

    customers: list[dict[str, JsonValue]]
    decisions: list[dict[str, JsonValue]]
    messages: list[dict[str, JsonValue]]


class Bundle(_Frozen):
    """A release.

    Attributes:
        experiment: Experiment that it belongs to.
        branches: What it can do; without the message branch all its messages are the template.
        members: Asset to exact version.
        evidence: Digest of every gate report that let it be built.
        champion: The release it was compared with in its report; None before the first promotion.
        simulated: Whether the responses it learned from were written by the demo world.
        writing: How its messages are written.
        golden: Customers for whom the loaded release must decide as it did when it was built.
        report_sha256: Of the HTML report.
    """

    experiment: str
    branches: tuple[Branch, ...] = Field(min_length=1)
    members: dict[str, Member]
    evidence: dict[str, dict[str, Sha256]]
    champion: str | None
    simulated: bool
    writing: Writing
    golden: Golden
    report_sha256: Sha256

    @property
    def responses(self) -> str:
        """How the answers to offers are known that it learned from, in the words of every decision."""
        known = "observed" if "decision" in self.branches else "no offer model"
        return "simulated" if self.simulated else known

    def member(self, asset: str) -> Member:
        """One of its members.

        Raises:
            IncompatibleArtifact: It has none of this name.
        """
        if asset not in self.members:
            raise IncompatibleArtifact(BUNDLE_FILE, f"no member {asset}", f"one of {sorted(self.members)}")
        return self.members[asset]


def act_alike(a: Bundle, b: Bundle) -> bool:
    """Whether two releases decide and write alike: members of the same bytes, the same rules and golden answers."""

    def acts(bundle: Bundle) -> tuple[object, ...]:
        digests = {asset: member.digest for asset, member in bundle.members.items()}
        return bundle.branches, digests, bundle.writing, bundle.golden

    return acts(a) == acts(b)


class Release(_Frozen):
    """The value of the asset `release`.

    Attributes:
        bundle: What it is made of.
        report: HTML.
        tables: How it decided for held-out customers when it was built, for its report: rows by table, none of them a
            customer. Empty for a release that was built before there were any.
        models: What it decides with; a release without them passes no check and is not served.
    """

    bundle: Bundle
    report: str
    tables: dict[str, list[dict[str, JsonValue]]] = {}
    models: InstanceOf[ReleaseModels] | InstanceOf[RiskModels] | None = None


class ReleaseFormat(ArtifactFormat[Release]):
    """`bundle.json`, `report.html`, `tables.json` and the files of the models that it decides with."""

    loader = "release/7"
    reads = ("release/5", "release/6")

    def save(self, value: Release, folder: Path) -> None:
        write_json(value.bundle.model_dump(mode="json"), folder / BUNDLE_FILE)
        (folder / REPORT_FILE).write_text(value.report, encoding="utf-8")
        if value.tables:
            write_json(value.tables, folder / _TABLES_FILE)
        if value.models is not None:
            save_models(value.models, folder)

    def load(self, folder: Path) -> Release:
        bundle = Bundle.model_validate(read_json(folder / BUNDLE_FILE))
        models = load_models(folder) if (folder / DESCRIPTION).exists() else None
        report = (folder / REPORT_FILE).read_text(encoding="utf-8")
        kept = folder / _TABLES_FILE
        tables = read_json(kept) if kept.exists() else {}
        return Release(bundle=bundle, report=report, tables=tables, models=models)

    def signature(self, value: Release) -> dict[str, Any]:
        return {"branches": list(value.bundle.branches), "members": sorted(value.bundle.members)}


RELEASE = ReleaseFormat()

TOLERANCE = 1e-6
"""Relative difference within which a golden figure is what it was; another processor rounds otherwise."""


def same(found: object, kept: object) -> bool:
    """Whether a golden figure or text is what it was when the release was built."""
    if isinstance(found, float) and isinstance(kept, int | float):
        return abs(found - kept) <= TOLERANCE * max(1.0, abs(kept))
    return found == kept


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

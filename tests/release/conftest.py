"""Releases on a real store whose members are toys: what is under test is evidence, promotion and rollback."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from churn_assets.deciding.messages import Writing
from churn_assets.flow.check import LOADS_AND_AGREES, CheckSpec
from churn_assets.gates.report import Gate, GateReport, Outcome
from churn_assets.message.config import SafetyRules
from churn_assets.message.training.config import Sampling
from churn_assets.release.bundle import RELEASE, Bundle, Golden, Member, Release
from churn_assets.release.config import Branch
from churn_assets.release.evidence import gather
from churn_assets.release.promotion import promote, rollback
from churn_assets.store.artifacts import ArtifactRef, ArtifactStore, stage
from churn_assets.store.channels import Channel, ChannelRecord
from churn_assets.store.formats import ArtifactFormat, read_json, write_json
from churn_assets.store.local import LocalBackend
from churn_assets.store.manifest import Provenance


class ToyFormat(ArtifactFormat[Any]):
    loader = "toy/1"

    def save(self, value: Any, folder: Path) -> None:
        write_json(value, folder / "value.json")

    def load(self, folder: Path) -> Any:
        return read_json(folder / "value.json")

    def signature(self, value: Any) -> dict[str, Any]:
        return {}


TOY = ToyFormat()


def _never(subject: Any) -> Outcome:
    raise AssertionError("promotion reads stored reports, it measures nothing")


def _never_compared(subject: Any, champion: Any) -> Outcome:
    raise AssertionError("promotion reads stored reports, it measures nothing")


REQUIRED = {
    "customers": (CheckSpec("complete", "", "", _never),),
    "risk_model": (
        CheckSpec("ranks_well", "", "", _never),
        CheckSpec("no_worse", "", "", _never_compared),
    ),
    "release": (CheckSpec("members_agree", "", "", _never),),
}
MONDAY = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


@dataclass
class Shelf:
    """A store, a channel and a clock that moves by a minute with every act."""

    root: Path
    store: ArtifactStore
    channel: Channel
    now: datetime = MONDAY
    required: Any = field(default_factory=lambda: dict(REQUIRED))

    def tick(self) -> datetime:
        self.now += timedelta(minutes=1)
        return self.now

    def publish(self, asset: str, value: Any, fmt: Any = TOY, **provenance: Any) -> ArtifactRef:
        folder = self.root / "staging" / f"{asset}-{self.tick():%H%M%S}"
        staged = stage(asset, value, fmt, folder)
        return self.store.publish(staged, Provenance(experiment="toy", **provenance), self.now)

    def report(self, ref: ArtifactRef, check: str, figure: float = 1.0, **changes: Any) -> GateReport:
        fields: dict[str, Any] = {
            "check": check,
            "asset": ref.asset,
            "version": ref.version,
            "digest": self.store.manifest(ref).digest,
            "key": "k",
            "champion": None,
            "gates": (Gate("figure", figure, ">=", 0.5),),
            "advice": "",
        }
        report = GateReport(**(fields | changes))
        self.store.add_gate_report(ref, check, report.to_json())
        return report

    def judge(self, ref: ArtifactRef, champion: ArtifactRef | None = None) -> None:
        """All required reports of a version, passing."""
        self.report(ref, LOADS_AND_AGREES)
        for spec in self.required[ref.asset]:
            against = str(champion) if champion is not None and spec.against_champion else None
            self.report(ref, spec.name, champion=against)

    def release(
        self, risk: float, champion: ArtifactRef | None = None, *, judged: bool = True
    ) -> ArtifactRef:
        """A complete release with a risk model of its own."""
        customers = self.publish("customers", [1, 2, 3])
        model = self.publish("risk_model", risk, upstream={"customers": str(customers)})
        members = {"customers": customers, "risk_model": model}
        leading = None if champion is None else self.members(champion)["risk_model"]
        self.judge(customers)
        self.judge(model, leading)
        return self.bundle(members, ("decision",), champion, judged=judged)

    def bundle(
        self,
        members: dict[str, ArtifactRef],
        branches: tuple[Branch, ...],
        champion: ArtifactRef | None = None,
        *,
        judged: bool = True,
    ) -> ArtifactRef:
        """A release of these members."""
        report = "<html>" + " ".join(map(str, members.values())) + "</html>"
        bundle = Bundle(
            experiment="toy",
            branches=branches,
            members={a: Member(ref=str(r), digest=self.store.manifest(r).digest) for a, r in members.items()},
            evidence={a: gather(self.store, r, self.required).report_digests for a, r in members.items()},
            champion=None if champion is None else str(champion),
            simulated=True,
            writing=Writing(
                safety=SafetyRules(), profile=None, max_new_tokens=0, sampling=Sampling(), seed=0
            ),
            golden=Golden(customers=[{"id": "a"}], decisions=[{"arm": "no_contact"}], messages=[]),
            report_sha256=sha256(report.encode()).hexdigest(),
        )
        ref = self.publish("release", Release(bundle=bundle, report=report), RELEASE)
        if judged:
            self.judge(ref)
        return ref

    def members(self, ref: ArtifactRef) -> dict[str, ArtifactRef]:
        return {a: m.version for a, m in self.store.load(ref, RELEASE).bundle.members.items()}

    def promote(self, ref: ArtifactRef) -> ChannelRecord:
        return promote(
            self.store, self.channel, ref, required=self.required, actor="ann", reason="", now=self.tick()
        )

    def rollback(self, to: ArtifactRef | None = None) -> ChannelRecord:
        return rollback(self.store, self.channel, to, actor="bob", reason="it misbehaved", now=self.tick())

    def spoil(self, ref: ArtifactRef, file: str = "value.json") -> None:
        path = self.root / "store" / ref.prefix / file
        path.chmod(0o644)
        data = path.read_bytes()
        path.write_bytes(bytes([data[0] ^ 1]) + data[1:])


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    store = ArtifactStore(LocalBackend(tmp_path / "store"))
    return Shelf(tmp_path, store, Channel(store, "toy"))

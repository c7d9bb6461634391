"""Stored releases for reports: the evidence of a real one, kept, with faults planted in it.

`tests/kept/report_evidence.json.gz` holds gate reports, metrics and tables of a small trained quickstart, without its
models: a report reads no model. What is stored here are toys with that evidence beside them.
"""

from __future__ import annotations

import copy
import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from churn_assets.deciding.messages import Writing
from churn_assets.flow.registry import registry
from churn_assets.gates.report import Gate, GateReport
from churn_assets.message.config import SafetyRules
from churn_assets.message.training.config import Sampling
from churn_assets.release.bundle import RELEASE, Bundle, Golden, Member, Release
from churn_assets.release.report.facts import ReportFacts, read_facts
from churn_assets.store.artifacts import ArtifactRef, ArtifactStore, stage
from churn_assets.store.channels import Channel
from churn_assets.store.formats import ArtifactFormat, read_json, write_json
from churn_assets.store.local import LocalBackend
from churn_assets.store.manifest import Provenance

KEPT = Path(__file__).parent / "kept" / "report_evidence.json.gz"
LATER = timedelta(hours=1)
CHAMPION = "toy/ppo_decision/20261101T000000Z-000000000000"

Evidence = dict[str, Any]


def good() -> Evidence:
    """The evidence of a first release that is as it should be; the caller's own to change."""
    return json.loads(gzip.decompress(KEPT.read_bytes()))


def without(evidence: Evidence, *members: str) -> Evidence:
    """A release that lacks members, and what was measured of them."""
    kept = {name: each for name, each in evidence["members"].items() if name not in members}
    for each in kept.values():
        each["provenance"]["upstream"] = [name for name in each["provenance"]["upstream"] if name in kept]
    return evidence | {"members": kept}


def gate(evidence: Evidence, asset: str, check: str, name: str, **changes: Any) -> None:
    """Plants another figure or detail in one gate."""
    (found,) = [
        each for each in evidence["members"][asset]["reports"][check]["gates"] if each["name"] == name
    ]
    found.update(changes)


def limited(evidence: Evidence) -> None:
    """The experiment has limits, of which one leaves nothing to be wished, and groups that offers must be fair to."""
    limits = (("all_money", "money", 90_000.0, 691.5, 690.25, 0.7364), ("calls", "contacts", 400.0, 3.0, 3.0, 26.25),
              ("discounts", "money", 30_000.0, 230.5, 0.0, 0.0))  # fmt: skip
    names = ("limit", "unit", "period", "allowed", "used", "shadow_price")
    evidence["tables"]["limits"] = [dict(zip(names, each, strict=True)) for each in limits]
    groups = (
        ("Female", 684, 0.04978, -0.0081, 0.0274),
        ("Male", 690, 0.05566, 0.0081, 0.0274),
        ("–", 9, *[None] * 3),
    )
    names = ("level", "customers", "mean_value", "gap", "noise")
    report = evidence["members"]["ppo_decision"]["reports"]["offers_are_fair"]
    report["tables"]["groups"] = [
        {"group": "gender", **dict(zip(names, each, strict=True))} for each in groups
    ]


def by_visits(evidence: Evidence) -> None:
    """The value is of visits, each worth less than a unit of money, and not of customers who stay."""
    outcome = {"column": "visit", "window_days": 14, "worth": 0.8, "largest": None}
    evidence["members"]["offer_log"]["provenance"]["config"].setdefault("economics", {})["outcome"] = outcome
    for row in evidence["members"]["ppo_decision"]["reports"]["off_policy"]["tables"]["off_policy"]:
        row.update(mean=0.0648, low_95=0.00581, high_95=0.1219)
    for row in evidence["members"]["ppo_decision"]["reports"]["off_policy"]["tables"]["simple_policies"]:
        row.update(candidate_over_it=-0.00012, low_95=-0.0031, high_95=0.0029)


def against_champion(evidence: Evidence, mean: float, low: float, high: float, bound: float) -> None:
    """The policy was compared with a champion's on the log."""
    report = evidence["members"]["ppo_decision"]["reports"]["off_policy"]
    report["champion"] = CHAMPION
    for row in report["tables"]["off_policy"]:
        if (row["quantity"], row["estimator"]) == ("tested", "DR"):
            row.update(mean=mean, low_95=low, high_95=high)
    gate(evidence, "ppo_decision", "off_policy", "lower_bound_over_bar", figure=bound)


@dataclass(frozen=True)
class Fault:
    """One planted fault, what is to be done with the release, and the words by which a reader knows it."""

    plant: Callable[[Evidence], object]
    call: str
    words: tuple[str, ...]
    after: timedelta = LATER


def _leak(evidence: Evidence) -> None:
    detail = "know the outcome: exit_interviews; `customers.exclude: ['exit_interviews']`"
    gate(evidence, "customers", "no_leakage", "single_feature_auc", figure=0.993, detail=detail)


def _unit(evidence: Evidence) -> None:
    told = "MonthlyCharges moved most: median 70.3 for the champion, median 7035 here"
    evidence["members"]["customers"]["reports"]["like_the_champions"]["gates"] = [
        {"name": "features_of_another_kind", "figure": 0.0, "bound": "==", "threshold": 0.0, "detail": ""},
        {"name": "psi", "figure": 8.2, "bound": "<=", "threshold": 0.5, "detail": told},
    ]


def _constant(evidence: Evidence) -> None:
    offers = evidence["tables"]["offers"]
    evidence["tables"]["offers"] = [{**offers[-1], "share": 1.0, "customers": 1383}]


FAULTS: Mapping[str, Fault] = {
    "leak": Fault(_leak, "do not promote", ("leak", "exit_interviews")),
    "miscalibration": Fault(
        lambda e: gate(e, "risk_model", "calibrated", "mean_p_value", figure=1e-7), "do not promote",
        ("miscalibrated", "calibrated"),
    ),
    "no effect": Fault(
        lambda e: gate(e, "effect_model", "effects_are_real", "size_above_zero", figure=-0.41), "do not promote",
        ("no effect", "effects_are_real"),
    ),
    "worse than the champion": Fault(
        lambda e: against_champion(e, -4.1, -6.0, -2.2, -3.7), "do not promote",
        ("worse than the champion", "off_policy"),
    ),
    "wrong unit": Fault(_unit, "do not promote", ("unit", "MonthlyCharges")),
    "unsafe text": Fault(
        lambda e: gate(e, "ppo_text", "safe_to_send", "unsafe_sent", figure=2.0), "do not promote",
        ("unsafe text", "safe_to_send"),
    ),
    "constant policy": Fault(_constant, "do not promote", ("constant policy", "alike")),
    "stale data": Fault(lambda _: None, "discuss", ("stale", "customers"), timedelta(days=91)),
}  # fmt: skip


class ToyFormat(ArtifactFormat[str]):
    """A text."""

    loader = "toy/1"

    def save(self, value: str, folder: Path) -> None:
        write_json(value, folder / "value.json")

    def load(self, folder: Path) -> str:
        return read_json(folder / "value.json")

    def signature(self, value: str) -> dict[str, Any]:
        return {}


TOY = ToyFormat()


class CaseShelf:
    """A store, a channel and a clock that moves by a minute with every act."""

    def __init__(self, root: Path) -> None:
        self.root, self.now = root, datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
        self.store = ArtifactStore(LocalBackend(root / "store"))
        self.channel = Channel(self.store, "toy")
        self.required: Any = {}

    def publish(self, asset: str, value: Any, fmt: Any = TOY, **provenance: Any) -> ArtifactRef:
        self.now += timedelta(minutes=1)
        staged = stage(asset, value, fmt, self.root / "staging" / f"{asset}-{self.now:%H%M%S}")
        return self.store.publish(staged, Provenance(experiment="toy", **provenance), self.now)


def publish(shelf: Any, evidence: Evidence) -> ArtifactRef:
    """Stores toys with that evidence, and a release of them."""
    shelf.required = dict(registry().checks)
    stored = copy.deepcopy(evidence["members"])
    members: dict[str, ArtifactRef] = {}
    for asset in registry().in_order(each for each in stored if each != "release"):
        provenance = stored[asset]["provenance"]
        upstream = {name: str(members[name]) for name in provenance.pop("upstream")}
        members[asset] = shelf.publish(asset, asset, upstream=upstream, **provenance)
        _judge(shelf, members[asset], stored[asset]["reports"])
    report = "<html>" + " ".join(map(str, members.values())) + "</html>"
    bundle = Bundle(
        experiment="toy",
        branches=tuple(evidence["branches"]) if "ppo_text" in members else ("decision",),
        members={a: Member(ref=str(r), digest=shelf.store.manifest(r).digest) for a, r in members.items()},
        evidence={},
        champion=None,
        simulated=True,
        writing=Writing(safety=SafetyRules(), profile=None, max_new_tokens=0, sampling=Sampling(), seed=0),
        golden=Golden(customers=[], decisions=[], messages=[]),
        report_sha256=sha256(report.encode()).hexdigest(),
    )
    ref = shelf.publish("release", Release(bundle=bundle, report=report, tables=evidence["tables"]), RELEASE)
    _judge(shelf, ref, stored["release"]["reports"])
    return ref


def _judge(shelf: Any, ref: ArtifactRef, reports: Evidence) -> None:
    for check, told in reports.items():
        report = GateReport(
            check=check, asset=ref.asset, version=ref.version, digest=shelf.store.manifest(ref).digest, key="k",
            champion=told.get("champion"), gates=tuple(Gate(**each) for each in told["gates"]), advice=told["advice"],
            tables=told["tables"],
        )  # fmt: skip
        shelf.store.add_gate_report(ref, check, report.to_json())


def facts_of(
    shelf: Any, ref: ArtifactRef, now: datetime | None = None, against: ArtifactRef | None = None
) -> ReportFacts:
    """What a report of it tells."""
    return read_facts(
        shelf.store, shelf.channel, ref, shelf.required, against=against, now=now or shelf.now + LATER
    )

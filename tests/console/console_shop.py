"""A project with two stored releases whose checks hold, people with keys, and the server's own application over it."""

from __future__ import annotations

import re
import shutil
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from report_cases import against_champion, good
from starlette.testclient import TestClient

from benchmarks.served import EXPERIMENT, Project, questions
from churn_assets.console.pages import Console
from churn_assets.console.run import WithConsole, console_place
from churn_assets.deciding.decider import Decider
from churn_assets.deciding.release_models import ReleaseModels
from churn_assets.deciding.table import decide_table
from churn_assets.flow.check import LOADS_AND_AGREES
from churn_assets.flow.paths import resolve_format
from churn_assets.flow.registry import registry
from churn_assets.gates.report import Gate, GateReport
from churn_assets.release.build import as_raw
from churn_assets.release.bundle import RELEASE, Golden, Member, Release
from churn_assets.release.golden import COMPARED, GOLDEN_AT
from churn_assets.release.loaded import load_member
from churn_assets.serving import run
from churn_assets.serving.app import create_app
from churn_assets.serving.security import new_key, read_keys, revoked, write_keys
from churn_assets.store.artifacts import ArtifactRef, stage
from churn_assets.store.manifest import Provenance

KEPT = Path(__file__).parents[1] / "kept" / "release-6"
PEOPLE = {"anna": "promoter", "ben": "promoter", "vera": "viewer"}
SECRET = "s" * 40
REPORT = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>A report</title>'
    "<style>body{color:green}</style></head><body><h1>Report of %s</h1></body></html>"
)


@dataclass(frozen=True)
class ConsoleShop(Project):
    """The project.

    Attributes:
        first: A release that leads.
        second: One that offers everybody who may be offered something the same arm, made after it.
        keys: By person, in the clear.
    """

    first: ArtifactRef
    second: ArtifactRef
    keys: dict[str, str]

    @property
    def key_file(self) -> Path:
        return self.root / "keys.json"

    def copy_to(self, root: Path) -> ConsoleShop:
        shutil.copytree(self.root, root)
        return replace(self, root=root)

    def revoke(self, name: str) -> None:
        write_keys(self.key_file, revoked(read_keys(self.key_file), name, datetime.now(UTC)))


def build_shop(root: Path) -> ConsoleShop:
    """From the release that is kept of the present format: nothing is trained."""
    shutil.copytree(KEPT, root, ignore=shutil.ignore_patterns("channels"))
    (root / ".churn").mkdir()
    (root / "store").rename(root / ".churn" / "store")
    project = Project(root)
    project.configure(poll_seconds=0.1, console={"enabled": True}, holdout_share=0.1)
    (kept,) = project.store.versions(EXPERIMENT, "release")
    first = publish_again(project, kept, None)
    judge(project, first, None)
    project.lead(first)
    second = publish_again(project, kept, first)
    judge(project, second, first)
    keys: dict[str, str] = {}
    known: Any = ()
    for name, role in PEOPLE.items():
        keys[name], known = new_key(known, name, datetime.now(UTC), role)
    keys["crm"], known = new_key(known, "crm", datetime.now(UTC))
    write_keys(root / "keys.json", known)
    return ConsoleShop(root, first, second, keys)


def publish_again(project: Project, kept: ArtifactRef, champion: ArtifactRef | None) -> ArtifactRef:
    """The kept release made anew, so that it may lead; with a policy that always offers if it follows another."""
    old = project.store.load(kept, RELEASE)
    members, models = dict(old.bundle.members), old.models
    assert isinstance(models, ReleaseModels)
    customers = load_member(project.store, old.bundle, "customers")
    if champion is not None:
        policy = models.policy
        *layers, (weights, bias) = policy.layers
        liked = bias.copy()
        liked[0] -= 50.0  # no contact
        policy = replace(policy, layers=(*layers, (weights, liked)))
        ref = _publish(
            project,
            "ppo_decision",
            policy,
            {a: str(m.ref) for a, m in members.items() if a != "ppo_decision"},
        )
        members["ppo_decision"] = Member(ref=str(ref), digest=project.store.manifest(ref).digest)
        models = ReleaseModels.build(models.responses, policy, customers.X)
    raw = as_raw(customers).head(5)
    decided = decide_table(raw, Decider(models, f"{EXPERIMENT}/release/unborn"), GOLDEN_AT)[list(COMPARED)]
    plain = [frame.astype(object).where(frame.notna(), None).to_dict("records") for frame in (raw, decided)]
    bundle = old.bundle.model_copy(
        update={
            "members": members,
            "champion": None if champion is None else str(champion),
            "golden": Golden(customers=plain[0], decisions=plain[1], messages=[]),
        }
    )
    release = Release(bundle=bundle, report=REPORT % kept.version, models=models)
    return _publish(project, "release", release, {asset: str(m.ref) for asset, m in members.items()})


def _publish(project: Project, asset: str, value: Any, upstream: dict[str, str]) -> ArtifactRef:
    fmt = RELEASE if asset == "release" else resolve_format(registry()[asset].format)
    folder = project.root / "staging" / asset
    staged = stage(asset, value, fmt, folder)
    global _minutes
    _minutes += 1
    at = datetime.now(UTC) - timedelta(hours=1) + timedelta(minutes=_minutes)
    ref = project.store.publish(staged, Provenance(experiment=EXPERIMENT, upstream=upstream), at)
    shutil.rmtree(folder)
    return ref


_minutes = 0


def judge(project: Project, release: ArtifactRef, champion: ArtifactRef | None) -> None:
    """Every check of the release and its members holds, as compared with a champion, by figures of a real run."""
    store, stored = project.store, good()
    if champion is not None:
        against_champion(stored, 0.37, 0.05, 0.69, 1.9)
    leading = {} if champion is None else store.load(champion, RELEASE).bundle.members
    members = store.load(release, RELEASE).bundle.members
    for ref in (release, *(member.version for member in members.values())):
        reports = stored["members"][ref.asset]["reports"]
        for check in {LOADS_AND_AGREES, *(spec.name for spec in registry().checks[ref.asset])}:
            told = reports.get(check, {"gates": [], "tables": {}, "advice": "look at it"})
            gates = tuple(Gate(**each) for each in told["gates"]) or (
                Gate("held", 1.0, ">=", 0.5, "planted"),
            )
            before = str(champion) if ref == release else str(leading[ref.asset].ref) if leading else None
            report = GateReport(
                check=check, asset=ref.asset, version=ref.version, digest=store.manifest(ref).digest, key="k",
                champion=before, gates=gates, advice=told["advice"], tables=told["tables"],
            )  # fmt: skip
            if check not in store.gate_reports(ref) or champion is not None:
                store.add_gate_report(ref, check, report.to_json())


class Served:
    """The application of one worker over a shop, without a socket; its loops are turned by hand."""

    def __init__(self, shop: ConsoleShop, *, channel: str = EXPERIMENT, host: str = "127.0.0.1") -> None:
        self.shop = shop
        config = shop.experiment.serving
        self.later = timedelta(0)
        self.plan = run.ServerPlan(
            root=str(shop.root), experiment=EXPERIMENT, config=config.model_dump_json(), store=".churn/store",
            channel=channel, host=host, port=0, workers=1,
            signatures=shop.experiment.store.model_dump_json(exclude={"uri"}),
        )  # fmt: skip
        interval = sys.getswitchinterval()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(run.SERVED, msgspec.json.encode(self.plan).decode())
            patch.setenv("CHURN_ASSIGNMENT_KEY", "k" * 32)
            patch.delenv(run.KEYS_FILE, raising=False)
            parts = run.worker_parts()
        sys.setswitchinterval(interval)
        self.parts = replace(parts, clock=lambda: datetime.now(UTC) + self.later)
        place = console_place(self.plan, self.parts, shop.key_file, SECRET.encode())
        self.place = place
        self.app = WithConsole(
            create_app(self.parts), Console(place, loopback=run.is_loopback(host)), self.parts
        )
        self.turn()

    def turn(self) -> None:
        """What a worker does at every poll."""
        self.parts.switch.check()
        self.parts.follower.check()
        self.parts.trial.check()

    def question(self, count: int) -> dict[str, Any]:
        """Customers whom the releases know, as they are asked about."""
        bundle = self.shop.store.load(self.shop.first, RELEASE).bundle
        return {"customers": questions(load_member(self.shop.store, bundle, "customers"))[:count]}

    def browser(self) -> Browser:
        return Browser(self)


class Browser:
    """A browser as far as a server sees one: cookies, `Origin`, forms of the pages it opened."""

    def __init__(self, served: Served) -> None:
        self.client = TestClient(served.app, base_url="http://127.0.0.1:8080", follow_redirects=False)
        self.origin = {"origin": "http://127.0.0.1:8080"}
        self.served = served

    def get(self, path: str) -> httpx.Response:
        return self.client.get(f"/console{path}")

    def post(self, path: str, form: dict[str, Any], **headers: str) -> httpx.Response:
        return self.client.post(f"/console{path}", data=form, headers=self.origin | headers)

    def log_in(self, who: str) -> Browser:
        answer = self.post("/login", {"key": self.served.shop.keys[who]})
        assert answer.status_code == 303, answer.text
        return self

    def csrf(self, path: str = "/releases") -> str:
        return re.search(r'name="csrf" value="([0-9a-f]+)"', self.get(path).text)[1]

    def expected(self, act: str, path: str = "/releases") -> str:
        page = self.get(path).text
        return re.search(
            rf'name="act" value="{act}">\s*<input type="hidden" name="expected" value="(\d+)"', page
        )[1]

    def act(
        self, act: str, reason: str = "because it is better", path: str = "/releases", **changes: str
    ) -> httpx.Response:
        form = {"csrf": self.csrf(path), "act": act, "reason": reason}
        form |= changes if "expected" in changes else {"expected": self.expected(act, path)} | changes
        return self.post("/acts", form)

    def answer(self, seq: int, answer: str = "approve") -> httpx.Response:
        return self.post(f"/requests/{seq}", {"csrf": self.csrf(), "answer": answer})

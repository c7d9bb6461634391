"""A trial through the real parts: begun by a Dagster job, two releases under load, kill -9, a hand, a promotion.

Every propensity is worked out again from the signed record, the secret and the two releases, by none of the code that
served it.
"""

from __future__ import annotations

import hmac
import json
import shutil
import signal
import struct
import threading
from datetime import UTC, datetime
from functools import cache

import dagster as dg
import httpx
import pandas as pd
import pytest
from console_shop import KEPT
from typer.testing import CliRunner

from benchmarks.logged import logged_records
from benchmarks.served import EXPERIMENT, Server, questions
from churn_assets.cli import app
from churn_assets.deciding.decider import CustomerInput, Decider
from churn_assets.deciding.exploration import Plausible
from churn_assets.definitions import Overrides, build_project
from churn_assets.flow.registry import registry
from churn_assets.offers.records import read_decision
from churn_assets.offers.segments import DECISIONS
from churn_assets.release.bundle import RELEASE
from churn_assets.release.deciding import load_release
from churn_assets.release.loaded import load_member
from churn_assets.release.promotion import promote
from churn_assets.release.trial import trial_now
from churn_assets.serving.config import ExplorationConfig
from churn_assets.store.tried import trial_log
from jobs.operations import operations

pytestmark = pytest.mark.whole
SECRET = "a secret of some length"
HELD, EXPLORED = 0.05, 0.15
WHO = {"experiment": EXPERIMENT, "actor": "ann"}


@pytest.fixture
def walked(console_built, tmp_path):
    copy = console_built.copy_to(tmp_path / "project")
    copy.configure(
        holdout_share=HELD, exploration_share=EXPLORED, exploration={"design": "plausible"},
        decision_log={"ship_seconds": 0.3, "segment_bytes": 65_536}, console={"enabled": False},
    )  # fmt: skip
    return copy


def run_job(shop, name, **config):
    """A job as the launchpad runs it, with every check of the registry."""
    job = {job.name: job for job in operations(registry().checks)}[name]
    (op,) = job.graph.node_dict
    with dg.DagsterInstance.ephemeral() as instance:
        project = build_project(Overrides(root=shop.root))
        done = job.execute_in_process(
            run_config={"ops": {op: {"config": WHO | config}}},
            resources={"project": project},
            instance=instance,
            raise_on_error=False,
        )
        assert done.success, [event.message for event in done.all_events if event.is_failure]
        return instance.get_run_by_id(done.run_id).tags


class Callers:
    """Two who ask about one customer after the other, until they are cut off."""

    def __init__(self, url, customers):
        self.url, self.customers, self.answers = url, customers, []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(n,)) for n in range(2)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, place):
        with httpx.Client(base_url=self.url, timeout=30) as client:
            while not self._stop.is_set():
                place = (place + 1) % len(self.customers)
                try:
                    answer = client.post("/v1/decisions", json={"customers": [self.customers[place]]})
                except httpx.TransportError:
                    return  # what did not arrive was not acknowledged
                self.answers.append((answer.status_code, answer.json()))

    def wait_for(self, holds, more=0):
        """Until something holds, and so many answers came after it."""
        deadline = threading.Event()
        while not holds():
            deadline.wait(0.05)
        reached = len(self.answers) + more
        while len(self.answers) < reached:
            deadline.wait(0.02)


def drawn(epoch, customer):
    """Two numbers in [0, 1): HMAC-SHA256 of the epoch, its length before it, and the customer."""
    digest = hmac.digest(SECRET.encode(), f"{len(epoch)}:{epoch}{customer}".encode(), "sha256")
    return [(each >> 11) / 2**53 for each in struct.unpack(">QQ", digest[:16])]


def expected_of(shop, share, epoch):
    """Customer to (release, propensities) of the design; share 0: no trial."""
    deciders = [Decider(load_release(shop.store, ref)[1], str(ref)) for ref in (shop.first, shop.second)]
    plausible = ExplorationConfig(design="plausible")
    tempered = Plausible(plausible.reach, plausible.floor)

    @cache
    def of(customer):
        asked = [CustomerInput(customer, by_id[customer])]
        ours, theirs = (each.decide(asked)[0] for each in deciders)
        allowed = [n for n, arm in enumerate(ours.arms) if arm.forbidden is None]
        told = [0.0] * len(ours.arms)
        told[0] += HELD
        shares = tempered.shares([ours.arms[n].expected_value for n in allowed])
        for n, part in zip(allowed, shares, strict=True):
            told[n] += EXPLORED * part
        left = 1 - HELD - EXPLORED
        told[ours.arm] += left * (1 - share)
        told[theirs.arm] += left * share
        policy = drawn("", customer)[0] >= HELD + EXPLORED
        goes = policy and drawn(f"/{epoch}", customer)[0] < share
        return str(shop.second if goes else shop.first), told

    by_id = {each["customer_id"]: each["features"] for each in customers_of(shop)}
    return of


def customers_of(shop):
    bundle = shop.store.load(shop.first, RELEASE).bundle
    return questions(load_member(shop.store, bundle, "customers"))[:80]


def decisions_in(answers):
    assert {status for status, _ in answers} == {200}
    return [(answer, decision) for _, answer in answers for decision in answer["decisions"]]


def check(answers, expected):
    """Each decision names its release, and has the propensities of the design; returns them by id."""
    found = {}
    for answer, decision in decisions_in(answers):
        release, told = expected(decision["customer_id"])
        named = decision["release"] or answer["release"]
        assert named == release
        assert [arm["propensity"] for arm in decision["arms"]] == pytest.approx(told, abs=1e-12)
        found[decision["decision_id"]] = (named, [arm["propensity"] for arm in decision["arms"]])
    return found


def churn(shop, *arguments):
    """What a command says."""
    done = CliRunner().invoke(
        app, ["--root", str(shop.root), *arguments], env={"CHURN_ASSIGNMENT_KEY": SECRET}
    )
    assert done.exit_code == 0, done.output
    return done.stdout


def decided_in_batch(shop):
    """Customer to release, by `churn decide`; and what it says."""
    table = shop.root / "customers.csv"
    shutil.copy(KEPT / "customers.csv", table)
    said = json.loads(churn(shop, "decide", str(table), "--json", "--messages"))
    frame = pd.read_csv(shop.root / "customers.decided.csv", dtype=str)
    assert (frame["message"].notna() == (frame["decision"] == "offer")).all()
    return dict(zip(frame["customerID"], frame["release"], strict=True)), said["trial"]


def test_a_trial_from_the_job_to_the_promotion(walked):
    shop, secret, acknowledged = walked, {"CHURN_ASSIGNMENT_KEY": SECRET}, {}
    customers = customers_of(shop)

    def serves():
        return httpx.get(f"{server.url}/v1/release").json()["trial"]

    def running():
        return trial_now(shop.store, shop.channel, datetime.now(UTC))

    with Server(shop, environment=secret).start() as server:
        with Callers(server.url, customers) as callers:
            tags = run_job(shop, "begin_trial", reason="newer data", shares=[0.3, 0.6], expected_record=1)
            callers.wait_for(serves, more=20)
            begun = len(callers.answers) - 15
            callers.wait_for(lambda: True, more=200)
            server.stop(signal.SIGKILL)
        first = callers.answers[begun:]
    trial = running()
    assert tags["churn/trial"] == "1" == str(trial.record.seq)
    assert (trial.record.actor, trial.record.reason) == ("ann", "newer data")
    in_trial = expected_of(shop, 0.3, "trial 1")
    acknowledged |= check(first, in_trial)
    with Server(shop, environment=secret).start() as server, Callers(server.url, customers) as callers:
        callers.wait_for(lambda: True, more=100)
        assert serves() == {"candidate": str(shop.second), "share": 0.3, "trouble": None}
        acknowledged |= check(callers.answers[:100], in_trial)
        batch, told = decided_in_batch(shop)
        goes = [name for name in batch if drawn("/trial 1", name)[0] < 0.3]
        assert {name for name, release in batch.items() if release == str(shop.second)} == set(goes)
        assert told == {"candidate": str(shop.second), "share": 0.3, "decided": len(goes)}
        run_job(shop, "end_trial", reason="seen enough", trial=1)
        callers.wait_for(lambda: serves() is None, more=5)
        ended = len(callers.answers)
        callers.wait_for(lambda: True, more=60)
        acknowledged |= check(callers.answers[ended:], expected_of(shop, 0.0, ""))
        said = churn(
            shop, "trial", "start", "latest", "--share", "0.5", "--step-hours", "9", "--reason", "once more"
        )
        assert "is tried (record 3)" in said
        status = json.loads(churn(shop, "trial", "status", "--json"))
        assert (status["trial"]["share"], status["trial"]["grows_at"]) == (0.5, None)
        assert [each["reason"] for each in status["acts"]] == ["once more", "seen enough", "newer data"]
        assert str(shop.second) in churn(shop, "trial", "status")
        callers.wait_for(serves, more=5)
        again = len(callers.answers)
        callers.wait_for(lambda: True, more=60)
        acknowledged |= check(callers.answers[again:], expected_of(shop, 0.5, "trial 3"))
        promote(
            shop.store, shop.channel, shop.second, required=registry().checks, actor="ann", reason="earns more",
            now=datetime.now(UTC),
        )  # fmt: skip
        callers.wait_for(lambda: serves() is None, more=60)
        last = callers.answers[-20:]
    assert running() is None
    assert set(decided_in_batch(shop)[0].values()) == {str(shop.second)}
    assert {answer["release"] for _, answer in last} == {str(shop.second)}
    assert {each["release"] for _, each in decisions_in(last)} == {None}
    assert {name for name, _ in acknowledged.values()} == {str(shop.first), str(shop.second)}
    rows = {
        each.decision_id: (answer.by(each), [arm.propensity for arm in each.arms])
        for record in logged_records(shop.store.backend, EXPERIMENT, shop.log)
        if record.kind == DECISIONS
        for answer in [read_decision(record.payload)[1]]
        for each in answer.decisions
    }
    assert acknowledged.items() <= rows.items()
    assert len(acknowledged) > 300
    log = trial_log(shop.store, EXPERIMENT).history()
    assert [(each.kind, each.reason) for each in log] == [
        ("start", "newer data"), ("stop", "seen enough"), ("start", "once more"),
    ]  # fmt: skip
    assert json.loads(log[0].details["rule"])["trial"]["step_hours"] == 168

"""Two releases under load: who decides, with what propensity, from a trial's start to its end, through kill -9."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from shop import Load, Server, wait_until
from typer.testing import CliRunner

from benchmarks.logged import logged_records
from churn_assets.cli import app
from churn_assets.deciding.decider import Budget, CustomerInput, Rollout
from churn_assets.deciding.exploration import Plausible
from churn_assets.deciding.trial import SideBySide
from churn_assets.flow.registry import registry
from churn_assets.offers.records import read_decision
from churn_assets.offers.segments import DECISIONS
from churn_assets.release import begin_trial
from churn_assets.release import trial as trials
from churn_assets.release.config import PromotionPolicy
from churn_assets.release.promotion import PromotionDecision
from churn_assets.serving.app import utc_now
from churn_assets.serving.reload import load_served
from churn_assets.store.errors import CorruptArtifact, InvalidSetting, PromotionRefused
from churn_assets.store.tried import trial_log

SECRET = b"a secret of some length"
ROLLOUT = Rollout(SECRET, "", 0.05, 0.15, plausible=Plausible())


@pytest.fixture(scope="module")
def deciders(built):
    return [load_served(built.store, ref, 1.0, utc_now()).decider for ref in (built.first, built.second)]


@pytest.fixture
def passed(monkeypatch):
    """As if every gate held: the releases of the shop were not judged."""
    held = PromotionDecision(promote=True, reason="held")
    monkeypatch.setattr(begin_trial, "consider", lambda *_: held)


def start(shop, **changed):
    usual = {
        "required": {}, "policy": PromotionPolicy(), "shares": [0.5], "step_hours": 24, "guardrails": "{}",
        "actor": "anna", "reason": "newer data", "now": datetime.now(UTC),
    }  # fmt: skip
    return begin_trial.start_trial(shop.store, shop.channel, **({"candidate": shop.second} | usual | changed))


def stop(shop, reason="seen enough"):
    return trials.stop_trial(shop.store, shop.channel, actor="anna", reason=reason, now=datetime.now(UTC))


def append_unfit(shop, like):
    """The record of a trial that nobody could have started: its candidate reads other features."""
    log = trial_log(shop.store, shop.channel.name)
    details = like.details | {"candidate": str(shop.narrower)}
    log.append("start", expected_seq=log.newest().seq, actor="x", reason="x", now=utc_now(), details=details)


def asked(customers):
    return [CustomerInput(c["customer_id"], c["features"]) for c in customers]


def test_propensities_are_those_of_the_design_whichever_release_decided(deciders, customers):
    ours, theirs = deciders
    batch = asked(customers[:300])
    both = SideBySide(ours, theirs, 0.4, "trial 1")
    found = both.decide(batch, ROLLOUT)
    explored = ours.decide(batch, replace(ROLLOUT, holdout_share=0.0, exploration_share=1.0))
    mine, other = ours.decide(batch), theirs.decide(batch)
    differ = 0
    for each, tempered, a, b in zip(found, explored, mine, other, strict=True):
        expected = [0.15 * p for p in tempered.propensities]
        expected[0] += 0.05
        expected[a.arm] += 0.8 * 0.6
        expected[b.arm] += 0.8 * 0.4
        assert each.propensities == pytest.approx(expected, abs=1e-12)
        assert sum(each.propensities) == pytest.approx(1, abs=1e-12)
        differ += a.arm != b.arm
        if each.assigned == "policy":
            assert each.arm == (b if each.release == theirs.release else a).arm
        else:
            assert each.release == ours.release
    assert differ > 10
    for share in (0.0, 1.0):
        named = {
            each.release
            for each in SideBySide(ours, theirs, share, "trial 1").decide(batch, ROLLOUT)
            if each.assigned == "policy"
        }
        assert named == {(ours, theirs)[int(share)].release}


def test_drawn_again_and_again_arms_are_as_frequent_as_their_propensities_say(deciders, customers):
    ours, theirs = deciders
    batch = asked(customers[:40])
    both, rounds = SideBySide(ours, theirs, 0.4, "trial 1"), 150
    z = []
    first = both.decide(batch, ROLLOUT)
    taken = [[0] * len(each.arms) for each in first]
    for epoch in range(rounds):
        for counts, each in zip(taken, both.decide(batch, replace(ROLLOUT, epoch=str(epoch))), strict=True):
            counts[each.arm] += 1
    for counts, each in zip(taken, first, strict=True):
        for count, p in zip(counts, each.propensities, strict=True):
            if p * rounds > 5 and (1 - p) * rounds > 5:
                z.append((count - p * rounds) / (p * (1 - p) * rounds) ** 0.5)
    assert len(z) > 40
    assert max(map(abs, z)) < 4.5


def test_who_goes_by_the_candidate_stays_so_while_its_share_grows_and_another_trial_draws_anew(
    deciders, customers
):
    ours, theirs = deciders
    batch = asked(customers[:300])

    def named(share, epoch="trial 1"):
        found = SideBySide(ours, theirs, share, epoch).decide(batch, ROLLOUT)
        return {each.customer_id for each in found if each.release == theirs.release}

    assert named(0.1) < named(0.3) < named(0.6)
    assert named(0.3) != named(0.3, "trial 2")


def test_while_offers_are_stopped_or_a_budget_is_shared_the_champion_decides(deciders, customers):
    ours, theirs = deciders
    batch, both = asked(customers[:50]), SideBySide(ours, theirs, 0.5, "trial 1")
    stopped = replace(ROLLOUT, kill_switch=True)
    assert both.decide(batch, stopped) == ours.decide(batch, stopped)
    budget = Budget(remaining=200.0)
    assert both.decide(batch, ROLLOUT, budget) == ours.decide(batch, ROLLOUT, budget)


def test_a_trial_is_refused_by_name_and_ends_when_the_channel_moves(shop, passed):
    for changed, found in (
        ({"shares": [0.5, 0.2]}, "shares: found 0.5, 0.2"),
        ({"shares": [1.0]}, "shares: found 1"),
        ({"reason": " "}, "reason: found none"),
        ({"step_hours": 0}, "step_hours: found 0"),
    ):
        with pytest.raises(InvalidSetting, match=found):
            start(shop, **changed)
    with pytest.raises(InvalidSetting, match="no trial runs"):
        stop(shop)
    first = start(shop, shares=[0.05, 0.2, 0.5])
    design, at = trials.design_of(first), first.at
    times = [at + timedelta(hours=hours) for hours in (-1, 0, 23, 24, 48, 5000)]
    assert [design.share_at(time, at) for time in times] == [0.05, 0.05, 0.05, 0.2, 0.5, 0.5]
    with pytest.raises(PromotionRefused, match="runs; stop it first"):
        start(shop)
    log = trial_log(shop.store, shop.channel.name)
    assert trials.running(log.newest(), shop.channel.head()) == design
    shop.lead(shop.second)
    assert trials.running(log.newest(), shop.channel.head()) is None
    with pytest.raises(CorruptArtifact, match="the design of a trial"):
        trials.design_of(first.model_copy(update={"details": first.details | {"shares": "much"}}))


def test_a_release_that_keeps_no_gate_is_not_tried(shop):
    with pytest.raises(PromotionRefused, match="check"):
        start(shop, required=registry().checks)


def test_two_releases_under_load_through_kill_9_and_the_end(shop, customers, passed):
    shop.configure(
        holdout_share=0.05, exploration_share=0.15, exploration={"design": "plausible"},
        decision_log={"ship_seconds": 0.3, "segment_bytes": 65_536},
    )  # fmt: skip
    bodies = [json.dumps({"customers": [customer]}).encode() for customer in customers[:60]]
    secret = {"CHURN_ASSIGNMENT_KEY": SECRET.decode()}
    served = [load_served(shop.store, ref, 1.0, utc_now()).decider for ref in (shop.first, shop.second)]
    answers = []

    def trial(client):
        return client.get("/v1/release").json()["trial"]

    with Server(shop, environment=secret).start() as server, server.client() as client:
        with Load(server.port, bodies) as load:
            record = start(shop, shares=[0.5])
            wait_until(lambda: trial(client) is not None)
            begun = len(load.answers)
            wait_until(lambda: len(load.answers) > begun + 300)
            server.stop(signal.SIGKILL)
        answers += load.answers[begun + 3 :]
    with Server(shop, environment=secret).start() as server, server.client() as client:
        assert trial(client) == {"candidate": str(shop.second), "share": 0.5, "trouble": None}
        with Load(server.port, bodies) as load:
            wait_until(lambda: len(load.answers) > 120)
            answers += load.answers[:120]
            stop(shop)
            wait_until(lambda: trial(client) is None)
        with pytest.raises(PromotionRefused, match="reads other features"):
            start(shop, candidate=shop.narrower)
        append_unfit(shop, record)
        wait_until(lambda: trial(client) is not None)
        assert trial(client)["trouble"]["kind"] == "UnservableError"
        after = client.post("/v1/decisions", json={"customers": customers[:60]}).json()
    both = SideBySide(*served, 0.5, f"trial {record.seq}")
    expected = both.decide(asked(customers[:60]), ROLLOUT)
    assert {status for _, status, _, _ in answers} == {200}
    acknowledged = {}
    for place, _, body, _ in answers:
        decision, known = json.loads(body)["decisions"][0], expected[place]
        assert decision["release"] == known.release
        assert decision["arm"]["id"] == known.chosen.arm.id
        assert [each["propensity"] for each in decision["arms"]] == list(known.propensities)
        acknowledged[decision["decision_id"]] = decision
    assert {decision["release"] for decision in acknowledged.values()} == {str(shop.first), str(shop.second)}
    assert {(after["release"], each["release"]) for each in after["decisions"]} == {(str(shop.first), None)}
    rows = {
        each.decision_id: (answer.by(each), [arm.propensity for arm in each.arms])
        for record in logged_records(shop.store.backend, "quickstart", shop.log)
        if record.kind == DECISIONS
        for answer in [read_decision(record.payload)[1]]
        for each in answer.decisions
    }
    for name, told in acknowledged.items():
        assert rows[name] == (told["release"], [each["propensity"] for each in told["arms"]])
    done = CliRunner().invoke(app, ["--root", str(shop.root), "trial", "status", "--json"])
    assert done.exit_code == 0, done.output
    assert [each["act"] for each in json.loads(done.stdout)["acts"]] == ["start", "stop", "start"]
    assert json.loads(done.stdout)["trial"]["candidate"] == str(shop.narrower)

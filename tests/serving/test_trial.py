"""Two releases side by side: who decides, with what propensity, and which records are served."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from churn_assets.deciding.decider import Budget, CustomerInput, Rollout
from churn_assets.deciding.exploration import Plausible
from churn_assets.deciding.trial import SideBySide
from churn_assets.flow.registry import registry
from churn_assets.release import begin_trial
from churn_assets.release import trial as trials
from churn_assets.release.config import PromotionPolicy
from churn_assets.release.promotion import PromotionDecision
from churn_assets.serving.app import utc_now
from churn_assets.serving.reload import ReleaseFollower, load_served
from churn_assets.serving.trial import TrialFollower
from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.errors import (
    ContentError,
    CorruptArtifact,
    InvalidSetting,
    PromotionRefused,
    RecordsLost,
    StoreError,
    UnsignedContent,
)
from churn_assets.store.names import record_key
from churn_assets.store.resigning import sign_store
from churn_assets.store.signatures import SignaturePolicy, Signatures, TrustedKey, new_signing_key
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
    log.append("start", expected_seq=log.head().seq, actor="x", reason="x", now=utc_now(), details=details)


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
    batch = asked(customers[:60])
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
    assert trials.running(log.head(), shop.channel.head()) == design
    shop.lead(shop.second)
    assert trials.running(log.head(), shop.channel.head()) is None
    with pytest.raises(CorruptArtifact, match="the design of a trial"):
        trials.design_of(first.model_copy(update={"details": first.details | {"shares": "much"}}))


def test_a_release_that_keeps_no_gate_is_not_tried(shop):
    with pytest.raises(PromotionRefused, match="check"):
        start(shop, required=registry().checks)


@pytest.fixture
def clock():
    """By how much the wall clock is wrong."""
    return SimpleNamespace(shift=timedelta(0))


@pytest.fixture
def follower(shop, clock):
    """What a worker follows, turned by hand."""
    leads = ReleaseFollower(
        shop.channel, lambda ref: load_served(shop.store, ref, 1.0, utc_now()), lambda _: None
    )
    log = trial_log(shop.store, shop.channel.name)
    later = [0.0]
    found = TrialFollower(
        log,
        leads,
        lambda ref: load_served(shop.store, ref, 1.0, utc_now()),
        lambda: utc_now() + timedelta(seconds=later[0]) + clock.shift,
        monotonic=lambda: later[0],
    )

    def turn(seconds=0.0):
        later[0] += seconds
        leads.check()
        found.check()
        candidate = found.answering.candidate
        return None if candidate is None else candidate.ref

    found.turn = turn
    return found


def test_a_candidate_that_cannot_answer_leaves_all_to_the_champion_and_says_why(shop, passed, follower):
    with pytest.raises(PromotionRefused, match="reads other features"):
        start(shop, candidate=shop.narrower)
    with pytest.raises(PromotionRefused, match="there is nothing to try"):
        start(shop, candidate=shop.first)
    record = start(shop, shares=[0.05, 0.2, 0.5])
    shares = []
    for hours in (0, 23, 2, 24):
        assert follower.turn(hours * 3600.0) == shop.second
        shares.append(follower.answering.decider.share)
    assert shares == [0.05, 0.05, 0.2, 0.5], "it grows though nobody acts"
    stop(shop)
    append_unfit(shop, record)
    assert follower.turn() is None
    assert (follower.trouble.kind, follower.trouble.release) == ("UnservableError", str(shop.narrower))
    stop(shop)
    start(shop, candidate=shop.third)
    shop.spoil(shop.third)
    assert follower.turn() is None
    assert follower.trouble.kind == "CorruptArtifact"
    shop.spoil(shop.third)  # the same bit again: it is as it was
    assert (follower.turn(), follower.turn(61.0)) == (None, shop.third)
    shop.lead(shop.second)
    assert follower.turn() is None
    assert (follower.answering.ref, follower.trouble) == (shop.second, None)


@pytest.mark.parametrize(
    ("jump", "last"),
    [
        (timedelta(hours=1), 0.5),
        (timedelta(hours=-1), 0.2),
        (timedelta(days=366), 0.5),
        (timedelta(days=-366), 0.05),
    ],
)
def test_a_clock_that_jumps_gives_no_customer_to_a_candidate_before_the_time(
    shop, passed, follower, clock, jump, last
):
    start(shop, shares=[0.05, 0.2, 0.5], step_hours=24)
    shares = []
    for hours, wrong in (
        (0, timedelta(0)),
        (23.5, jump),
        (0.25, timedelta(0)),
        (0.5, timedelta(0)),
        (24, jump),
    ):
        clock.shift = wrong
        assert follower.turn(hours * 3600.0) == shop.second
        shares.append(follower.answering.decider.share)
    assert shares == [0.05, 0.05, 0.05, 0.2, last]


def test_a_stop_whose_record_is_deleted_starts_no_trial_again(shop, passed, follower):
    start(shop)
    assert follower.turn() == shop.second
    stopped = stop(shop)
    assert follower.turn() is None
    (shop.root / ".churn" / "store" / stopped.key).unlink()
    starting = TrialFollower(follower.log, follower.follower, follower._load, utc_now)
    for check in (follower.turn, starting.check, lambda: start(shop)):
        with pytest.raises(RecordsLost):
            check()
    assert follower.answering.candidate is starting.answering.candidate is None
    assert follower.log.forget_lost() == 1
    starting.check()
    assert starting.answering.candidate.ref == shop.second, "somebody took the log as it is"


def test_a_record_that_was_edited_put_in_or_taken_away_is_served_by_nobody(shop, passed, follower):
    pairs = {role: new_signing_key() for role in ("builder", "promoter")}
    keys = tuple(TrustedKey(name=role, role=role, public=public) for role, (_, public) in pairs.items())
    policy = SignaturePolicy(require_signatures=True, trusted_keys=keys)
    private = {f"CHURN_{role.upper()}_KEY": pair[0].decode() for role, pair in pairs.items()}
    log = follower.log
    log.store = ArtifactStore(log.store.backend, None, Signatures(policy, private))
    design = start(shop).details  # nobody signed it
    with pytest.raises(UnsignedContent):
        follower.turn()
    assert follower.answering.candidate is None
    sign_store(log.store, vouch=True)
    assert follower.turn() == shop.second
    path = shop.root / ".churn" / "store" / record_key(log.log, 1)
    kept = path.read_bytes()
    path.unlink()
    for edited in (None, kept.replace(b'"shares":"0.5"', b'"shares":"0.9"')):
        if edited is not None:
            path.write_bytes(edited)
        with pytest.raises(ContentError):
            follower.turn()
        assert follower.answering.decider.share == 0.5, "what was known holds"
        starting = TrialFollower(log, follower.follower, follower._load, utc_now)
        with suppress(StoreError):
            starting.check()
        assert starting.answering.candidate is None, "a server that starts now"
    path.write_bytes(kept)
    assert follower.turn() == shop.second
    thief = trial_log(shop.store, shop.channel.name)
    thief.append(
        "start", expected_seq=1, actor="x", reason="x", now=utc_now(), details=design | {"shares": "0.99"}
    )
    with pytest.raises(UnsignedContent):
        follower.turn()
    assert follower.answering.decider.share == 0.5

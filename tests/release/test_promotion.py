"""Promotion verifies everything again; rollback works while what leads is broken. Nothing is believed."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from churn_assets.flow.check import LOADS_AND_AGREES
from churn_assets.gates.report import Gate
from churn_assets.release.bundle import champion_of
from churn_assets.release.promotion import (
    consider,
    decide_promotion,
    inspect,
    promote,
    taken_back,
    too_old_to_lead,
)
from churn_assets.store.channels import Channel
from churn_assets.store.errors import ChannelConflict, CorruptArtifact, PromotionRefused, StoreUnreachable
from churn_assets.store.manifest import minting_time


def test_a_release_whose_gates_hold_leads_and_the_log_says_who_why_and_on_what(shelf):
    release = shelf.release(0.2)
    record = shelf.promote(release)
    assert shelf.channel.head().ref == release
    assert (record.action, record.actor, record.previous) == ("promote", "ann", None)
    assert "gates of 3 artifacts hold" in record.reason
    assert len(record.gate_report_digest) == 64
    assert champion_of(shelf.store, "toy", "risk_model") == shelf.members(release)["risk_model"]


@pytest.mark.parametrize("asset", ["customers", "risk_model", "release"])
def test_a_report_that_is_missing_on_any_member_refuses_promotion(shelf, asset):
    release = shelf.release(0.2)
    version = {**shelf.members(release), "release": release}[asset]
    for path in (shelf.root / "store" / version.gates_prefix / shelf.required[asset][0].name).glob("*.json"):
        path.unlink()
    with pytest.raises(PromotionRefused, match=rf"{asset}.*{shelf.required[asset][0].name} never ran"):
        shelf.promote(release)
    assert shelf.channel.head() is None


def test_a_check_added_to_the_code_since_refuses_what_never_passed_it(shelf):
    release = shelf.release(0.2)
    shelf.required["customers"] += (replace(shelf.required["customers"][0], name="no_leakage"),)
    with pytest.raises(PromotionRefused, match="no_leakage never ran"):
        shelf.promote(release)


def test_a_failed_gate_of_a_member_refuses_promotion_whatever_was_green_before(shelf):
    release = shelf.release(0.2)
    shelf.report(shelf.members(release)["risk_model"], "ranks_well", figure=0.4)
    with pytest.raises(PromotionRefused, match=r"ranks_well: figure is 0\.4, needed >= 0\.5"):
        shelf.promote(release)


def test_a_tampered_gate_report_refuses_promotion(shelf):
    release = shelf.release(0.2)
    model = shelf.members(release)["risk_model"]
    shelf.report(model, "ranks_well", figure=0.4)
    forged = shelf.store.gate_reports(model)["ranks_well"] | {"passed": True}
    shelf.store.add_gate_report(model, "ranks_well", forged)
    with pytest.raises(PromotionRefused, match="disagrees with its own figures"):
        shelf.promote(release)


def test_a_gate_report_edited_on_disk_refuses_promotion(shelf):
    release = shelf.release(0.2)
    model = shelf.members(release)["risk_model"]
    shelf.spoil(model, "gates/ranks_well/000001.json")
    with pytest.raises(PromotionRefused, match="CorruptArtifact"):
        shelf.promote(release)


def test_the_report_of_another_version_is_no_proof(shelf):
    release = shelf.release(0.2)
    model = shelf.members(release)["risk_model"]
    shelf.report(model, "ranks_well", version="20200101T000000Z-0123456789ab")
    with pytest.raises(PromotionRefused, match="is about risk_model 20200101"):
        shelf.promote(release)


def test_a_report_on_other_bytes_is_no_proof(shelf):
    release = shelf.release(0.2)
    shelf.report(shelf.members(release)["risk_model"], "ranks_well", digest="ab" * 32)
    with pytest.raises(PromotionRefused, match="judged other bytes"):
        shelf.promote(release)


def test_a_report_that_measured_nothing_is_no_proof(shelf):
    release = shelf.release(0.2)
    shelf.report(shelf.members(release)["risk_model"], "ranks_well", gates=())
    with pytest.raises(PromotionRefused, match="measured nothing"):
        shelf.promote(release)


@pytest.mark.parametrize("asset", ["customers", "risk_model"])
def test_a_flipped_byte_in_any_member_refuses_promotion_by_name(shelf, asset):
    release = shelf.release(0.2)
    shelf.spoil(shelf.members(release)[asset])
    with pytest.raises(PromotionRefused, match=rf"{asset}.*value.json"):
        shelf.promote(release)


@pytest.mark.parametrize("file", ["bundle.json", "report.html", "manifest.json"])
def test_a_flipped_byte_in_the_release_itself_is_refused_by_name(shelf, file):
    release = shelf.release(0.2)
    shelf.spoil(release, file)
    with pytest.raises(CorruptArtifact, match=file):
        shelf.promote(release)


def test_a_member_is_no_release(shelf):
    model = shelf.members(shelf.release(0.2))["risk_model"]
    with pytest.raises(PromotionRefused, match="is no release"):
        shelf.promote(model)


def test_the_leading_release_cannot_be_promoted_again(shelf):
    release = shelf.release(0.2)
    shelf.promote(release)
    with pytest.raises(PromotionRefused, match="leads already"):
        shelf.promote(release)


def test_a_release_that_was_never_compared_with_todays_champion_is_refused(shelf):
    first, second = shelf.release(0.2), shelf.release(0.3)
    shelf.promote(first)
    with pytest.raises(
        PromotionRefused, match=r"no_worse compared with nothing, but toy/risk_model.* leads now"
    ):
        shelf.promote(second)


def test_a_release_that_was_compared_with_todays_champion_follows_it(shelf):
    first = shelf.release(0.2)
    shelf.promote(first)
    second = shelf.release(0.3, champion=first)
    assert shelf.promote(second).previous == str(first)


def test_a_release_older_than_a_week_cannot_lead_for_the_first_time(shelf):
    release = shelf.release(0.2)
    shelf.now += timedelta(days=8)
    with pytest.raises(PromotionRefused, match="7 days"):
        shelf.promote(release)


def test_two_promoters_cannot_both_win(shelf, monkeypatch):
    first = shelf.release(0.2)
    second = shelf.release(0.3)
    append = shelf.channel.append

    def beaten(*arguments, **named):
        monkeypatch.setattr(shelf.channel, "append", append)
        shelf.promote(first)
        return append(*arguments, **named)

    monkeypatch.setattr(shelf.channel, "append", beaten)
    with pytest.raises(ChannelConflict):
        shelf.promote(second)
    assert [record.ref for record in shelf.channel.history()] == [first]


def test_the_decision_is_a_pure_function_of_what_was_found(shelf):
    release = shelf.release(0.2)
    candidate = inspect(shelf.store, release, shelf.required)
    assert decide_promotion(candidate, {}, shelf.required).promote
    broken = replace(candidate.evidence[0], problems=("it smells",))
    decision = decide_promotion(
        replace(candidate, evidence=(broken, *candidate.evidence[1:])), {}, shelf.required
    )
    assert (decision.promote, decision.reason) == (False, "it smells")


def two_led(shelf):
    first = shelf.release(0.2)
    shelf.promote(first)
    second = shelf.release(0.3, champion=first)
    shelf.promote(second)
    return first, second


def test_rollback_lets_the_release_before_lead_again(shelf):
    first, second = two_led(shelf)
    record = shelf.rollback()
    assert (record.action, record.ref, record.previous) == ("rollback", first, str(second))
    assert shelf.channel.head().ref == first


def test_rollback_works_while_the_leading_release_is_broken(shelf):
    first, second = two_led(shelf)
    shelf.spoil(second, "bundle.json")
    shelf.spoil(second, "manifest.json")
    assert shelf.rollback().ref == first


def test_rollback_works_while_a_newer_release_is_broken(shelf):
    first, second = two_led(shelf)
    third = shelf.release(0.4, champion=second)
    shelf.spoil(third, "manifest.json")
    assert shelf.rollback().ref == first


def test_rollback_passes_over_a_release_that_does_not_verify(shelf):
    first, second = two_led(shelf)
    third = shelf.release(0.4, champion=second)
    shelf.promote(third)
    shelf.spoil(shelf.members(second)["risk_model"])
    assert shelf.rollback().ref == first


def test_rollback_to_a_release_that_does_not_verify_is_refused_and_nothing_moves(shelf):
    first, second = two_led(shelf)
    shelf.spoil(shelf.members(first)["risk_model"])
    with pytest.raises(PromotionRefused, match="does not verify"):
        shelf.rollback(first)
    assert shelf.channel.head().ref == second


def test_rollback_needs_no_gates_of_todays_code(shelf):
    first, _ = two_led(shelf)
    shelf.required["risk_model"] += (replace(shelf.required["risk_model"][0], name="new_check"),)
    assert shelf.rollback().ref == first


def test_rollback_to_a_release_that_never_led_is_refused(shelf):
    two_led(shelf)
    never = shelf.release(0.5)
    with pytest.raises(PromotionRefused, match="never led"):
        shelf.rollback(never)


def test_rollback_where_nothing_or_only_one_ever_led_says_so(shelf):
    with pytest.raises(PromotionRefused, match="nothing was ever promoted"):
        shelf.rollback()
    release = shelf.release(0.2)
    shelf.promote(release)
    with pytest.raises(PromotionRefused, match="only release that ever led"):
        shelf.rollback()
    with pytest.raises(PromotionRefused, match="leads already"):
        shelf.rollback(release)


def test_a_broken_champion_does_not_block_its_successor(shelf):
    first = shelf.release(0.2)
    shelf.promote(first)
    second = shelf.release(0.3, champion=first)
    shelf.spoil(first, "bundle.json")
    assert shelf.promote(second).ref == second


def test_a_released_member_replaced_by_other_bytes_is_noticed(shelf):
    release = shelf.release(0.2)
    candidate = inspect(shelf.store, release, shelf.required)
    member = candidate.bundle.members["risk_model"].model_copy(update={"digest": "ab" * 32})
    bundle = candidate.bundle.model_copy(
        update={"members": candidate.bundle.members | {"risk_model": member}}
    )
    assert any("built from other bytes" in problem for problem in replace(candidate, bundle=bundle).problems)


def test_the_loads_check_is_required_of_everything(shelf):
    release = shelf.release(0.2)
    model = shelf.members(release)["risk_model"]
    shelf.report(model, LOADS_AND_AGREES, gates=(Gate("files_verified", None, ">=", 1),))
    with pytest.raises(PromotionRefused, match="loads_and_agrees: files_verified is not measured"):
        shelf.promote(release)


def test_a_challenger_is_compared_with_the_champion_and_not_with_the_challenger_before_it(shelf):
    champion = shelf.release(0.7)
    shelf.promote(champion)
    challengers = Channel(shelf.store, "challenger")
    first, second = (shelf.release(risk, champion) for risk in (0.8, 0.9))

    def promoted(ref):
        return promote(
            shelf.store, challengers, ref, required=shelf.required, actor="ann", reason="", now=shelf.tick(),
            champion=shelf.channel,
        )  # fmt: skip

    promoted(first)
    assert promoted(second).previous == str(first)
    with pytest.raises(PromotionRefused, match="leads already"):
        promoted(second)
    uncompared = shelf.release(0.95)
    with pytest.raises(PromotionRefused, match="compared with nothing"):
        promoted(uncompared)


def test_a_release_that_never_led_is_too_old_after_a_week_and_one_that_led_never_is(shelf):
    release = shelf.release(0.2)
    born = minting_time(release.version)
    assert too_old_to_lead(shelf.store, release, born + timedelta(days=7)) == ""
    assert "after 8 days" in too_old_to_lead(shelf.store, release, born + timedelta(days=8))
    shelf.promote(release)
    assert too_old_to_lead(shelf.store, release, born + timedelta(days=80)) == ""


def test_a_store_that_does_not_answer_decides_nothing(shelf, monkeypatch):
    first = shelf.release(0.2)
    shelf.promote(first)
    second = shelf.release(0.3, champion=first)
    load = type(shelf.store).load

    def away(self, ref, form):
        if ref == first:
            raise StoreUnreachable("the store does not answer")
        return load(self, ref, form)

    monkeypatch.setattr(type(shelf.store), "load", away)
    with pytest.raises(StoreUnreachable):
        shelf.promote(second)
    monkeypatch.undo()
    assert shelf.channel.head().ref == first


def test_a_release_is_taken_back_until_somebody_promotes_it_again(shelf):
    first, second = shelf.release(0.2), shelf.release(0.3)
    now = datetime(2026, 11, 23, tzinfo=UTC)
    acts = (("promote", first), ("promote", second), ("rollback", first), ("promote", second))
    for seq, (action, ref) in enumerate(acts):
        shelf.channel.append(
            action, ref, expected_seq=seq, actor="test", reason="", gate_report_digest="", now=now
        )
        assert taken_back(shelf.channel.history()) == ({second: now} if action == "rollback" else {})


def test_losses_that_each_gate_allowed_are_refused_once_they_add_up_and_the_reason_says_how_much(shelf):
    shelf.required["ppo_decision"] = (replace(shelf.required["customers"][0], name="off_policy"),)

    def made(mean, champion=None):
        members = {asset: shelf.publish(asset, mean) for asset in ("customers", "ppo_decision")}
        row = {"quantity": "tested", "estimator": "DR", "mean": mean, "low_95": mean - 1, "high_95": mean + 1}
        shelf.judge(members["customers"])
        shelf.report(members["ppo_decision"], LOADS_AND_AGREES)
        shelf.report(members["ppo_decision"], "off_policy", tables={"off_policy": [row]})
        return shelf.bundle(members, ("decision",), champion)

    first = made(12.0)
    shelf.promote(first)
    second = made(-2.0, first)
    assert f"-2.00 a decision over {first.version}, the best leader so far" in shelf.promote(second).reason
    third = made(-2.0, second)
    with pytest.raises(PromotionRefused, match=r"more than 25% of its lift of 12\.00 would be lost"):
        shelf.promote(third)
    assert not consider(shelf.store, shelf.channel, third, shelf.required).promote
    assert shelf.channel.head().ref == second

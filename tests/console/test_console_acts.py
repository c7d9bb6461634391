"""Promoting, rolling back and stopping offers by people: reasons, second persons, what was true when they looked."""

from __future__ import annotations

from datetime import timedelta

import pytest
from console_shop import Served

from churn_assets.release.trial import trial_now
from churn_assets.serving.switch import switch_log
from churn_assets.store.signatures import SignaturePolicy, Signatures, TrustedKey, new_signing_key


def heads(desk):
    head = desk.shop.channel.head()
    return head.release, head.action, head.actor, head.reason


def ask(browser, desk, **changes):
    return browser.act(
        "promote", path=f"/releases/{desk.shop.second.version}", release=str(desk.shop.second), **changes
    )


def test_two_people_promote_and_one_goes_back(desk, anna, ben):
    assert ask(anna, desk, reason="the lift holds").headers["location"] == "/console/releases?notice=asked"
    assert heads(desk)[0] == str(desk.shop.first)
    assert "Waiting for a second person" in ben.get("/releases").text
    done = ben.answer(1)
    assert done.headers["location"] == "/console/releases?notice=done", done.text
    assert heads(desk) == (
        str(desk.shop.second),
        "promote",
        "anna, approved by ben (console)",
        "the lift holds",
    )
    desk.turn()
    assert str(desk.parts.follower.served.ref) == str(desk.shop.second)
    assert anna.act("rollback", reason="complaints").status_code == 303
    assert heads(desk) == (str(desk.shop.first), "rollback", "anna (console)", "complaints")
    trail = anna.get("/audit").text
    for said in ("the lift holds", "complaints", "approved by ben", "done", "leads quickstart (record 2)"):
        assert said in trail


def test_who_asks_does_not_approve_and_nothing_is_approved_twice(desk, anna, ben):
    ask(anna, desk)
    refused = anna.answer(1)
    assert refused.status_code == 409
    assert "another person approves" in refused.text
    assert desk.browser().log_in("anna").answer(1).status_code == 409, "nor in another session"
    assert heads(desk)[0] == str(desk.shop.first)
    assert ben.answer(1).status_code == 303
    assert "is done" in ben.answer(1).text
    assert "found none" in ben.answer(7).text


def test_a_request_is_declined_or_expires(desk, anna, ben):
    ask(anna, desk)
    assert ben.answer(1, "decline").status_code == 303
    assert "is declined" in ben.answer(1).text
    ask(anna, desk)
    desk.later = timedelta(hours=25)
    for browser in (anna, ben):
        browser.log_in("ben" if browser is ben else "anna")
    assert "Waiting for" not in ben.get("/releases").text
    assert "is expired" in ben.answer(3).text
    assert heads(desk)[0] == str(desk.shop.first)


def test_what_rests_on_an_old_page_is_refused(desk, anna, ben):
    path = f"/releases/{desk.shop.second.version}"
    before = anna.expected("promote", path)
    ask(anna, desk)
    ask(anna, desk)
    ben.answer(1)
    stale = ask(anna, desk, expected=before)
    assert stale.status_code == 409
    assert "somebody acted since this page was made" in stale.text
    failed = ben.answer(2)
    assert failed.status_code == 409
    assert "it has moved" in failed.text
    assert "failed" in ben.get("/audit").text
    assert len(desk.shop.channel.history()) == 2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"reason": "   "}, "A reason is missing"),
        ({"reason": "x" * 2001}, "A reason is missing"),
        ({"act": "delete"}, "expected one of a form"),
        ({"expected": "-1"}, "open the page again"),
        ({"release": "quickstart/release/20260101T000000Z-000000000000"}, "No such release"),
        ({"release": "quickstart/risk_model/x"}, "No such release"),
        ({"release": ""}, "No such release"),
    ],
)
def test_a_form_that_says_too_little_does_nothing(desk, anna, changes, said):
    form = {"act": "promote", "expected": "1", "reason": "well founded", "release": str(desk.shop.second)}
    answer = anna.post("/acts", {"csrf": anna.csrf(), **form, **changes})
    assert answer.status_code == 422
    assert said in answer.text
    assert desk.place.requests.head() is None


def test_promotion_verifies_every_byte_and_gate_again(desk, anna, ben):
    ask(anna, desk)
    folder = desk.shop.root / ".churn" / "store" / desk.shop.second.prefix
    path = max((each for each in folder.iterdir() if each.is_file()), key=lambda each: each.stat().st_size)
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    refused = ben.answer(1)
    assert refused.status_code in (422, 503), refused.text
    assert heads(desk)[0] == str(desk.shop.first)
    assert "failed" in ben.get("/audit").text


def test_offers_stop_at_once_for_all_workers_and_after_a_restart_and_two_people_resume_them(desk, anna, ben):
    assert anna.act("stop", reason="wrong price list").status_code == 303
    assert desk.parts.switch.stopped
    assert desk.parts.live_rollout.kill_switch
    assert anna.client.get("/v1/release").json()["kill_switch"]
    assert "Offers are stopped" in ben.get("/live").text
    other = Served(desk.shop)  # another worker, or this one after a restart
    assert other.parts.switch.stopped
    again = anna.post("/acts", {"csrf": anna.csrf(), "act": "stop", "expected": "1", "reason": "once more"})
    assert again.status_code == 422
    assert "stopped already" in again.text
    assert anna.act("resume", reason="prices are right").headers["location"].endswith("asked")
    assert desk.parts.switch.stopped
    assert ben.answer(1).status_code == 303
    other.turn()
    assert (desk.parts.switch.stopped, other.parts.switch.stopped) == (False, False)
    assert [each.actor for each in switch_log(desk.shop.store, "quickstart").history()] == [
        "anna (console)", "anna, approved by ben (console)",
    ]  # fmt: skip


def test_two_people_begin_a_trial_and_one_ends_it(desk, anna, ben):
    shop, page = desk.shop, f"/releases/{desk.shop.second.version}"
    assert "No trial runs" in anna.get("/trial").text
    ask = {"path": page, "release": str(shop.second)}
    assert anna.act("begin_trial", "newer data", **ask).headers["location"].endswith("asked")
    assert trial_now(shop.store, shop.channel, desk.place.now()) is None
    assert "Begin trial" in ben.get("/trial").text
    assert ben.answer(1).headers["location"].endswith("done")
    trial = trial_now(shop.store, shop.channel, desk.place.now())
    assert (trial.design.champion, trial.candidate) == (str(shop.first), shop.second)
    assert (trial.record.actor, trial.record.reason) == ("anna, approved by ben (console)", "newer data")
    assert "follows at its next poll" in anna.get("/trial").text
    desk.turn()
    anna.client.post("/v1/decisions", json=desk.question(40))
    shown = anna.get("/trial").text
    for said in (
        "Both releases answer here",
        "5 %",
        "step 1 of 3",
        shop.second.version,
        "newer data",
        "candidate",
    ):
        assert said in shown
    assert "A trial of" in anna.get(page).text
    stale = anna.act("end_trial", "seen enough", path="/trial", expected="7")
    assert stale.status_code == 409
    assert anna.act("end_trial", "seen enough", path="/trial").headers["location"].endswith("done")
    assert trial_now(shop.store, shop.channel, desk.place.now()) is None
    desk.turn()
    assert desk.parts.trial.answering.candidate is None
    trail = ben.get("/audit").text
    for said in ("newer data", "seen enough", "begin trial", "record 1 of quickstart.trials"):
        assert said in trail
    refused = anna.act("begin_trial", path=page, release=str(shop.first), expected="1")
    assert refused.headers["location"].endswith("asked")
    assert "leads already" in ben.answer(4).text


def test_where_signatures_are_asked_for_it_says_what_is_missing(console_built, tmp_path):
    desk = Served(console_built.copy_to(tmp_path / "project"))
    keys = [TrustedKey(name=role, role=role, public=new_signing_key()[1]) for role in ("builder", "promoter")]
    policy = SignaturePolicy(require_signatures=True, trusted_keys=tuple(keys))
    object.__setattr__(desk.place.store, "signatures", Signatures(policy, {}))
    anna = desk.browser().log_in("anna")
    session = desk.place.sessions.read(anna.client.cookies["churn_console"], desk.place.now())
    form = {"act": "stop", "expected": "0", "reason": "wrong price list", "csrf": session.csrf}
    answer = anna.post("/acts", form)
    assert answer.status_code == 422
    assert "CHURN_PROMOTER_KEY: not set" in answer.text

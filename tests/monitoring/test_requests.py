"""What is asked for, and when: nothing genuine is lost and nothing is done twice, in any order of events."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_assets.monitoring.config import AutomationConfig
from churn_assets.monitoring.requests import Finding, PastRun, downstream, evidence_of, plan

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
CONFIG = AutomationConfig(enabled=True, cooldown_hours=6, daily_cap=4, attempts=3)
FLOW = {
    "customers": (),
    "offer_log": ("customers",),
    "risk_model": ("customers",),
    "accept_model": ("customers", "offer_log"),
    "release": ("risk_model", "accept_model"),
}


def finding(evidence="e1", asset="offer_log", trigger="new_inputs"):
    return Finding(trigger, frozenset({asset}), evidence, f"{asset} changed")


def run(state, *evidence, attempt=1, hours_ago=1.0, run_id="0123456789"):
    asked = NOW - hours_ago * HOUR
    ended = None if state == "in_progress" else asked
    return PastRun(run_id, frozenset(evidence), attempt, state, asked, ended)


def planned(*findings, past=(), config=CONFIG, now=NOW):
    return plan("toy", findings, past, config, FLOW, now)


def why(made):
    assert made.request is None
    (waiting,) = made.waiting
    return waiting.why


def test_what_is_found_is_asked_for_with_what_is_made_from_it():
    request = planned(finding()).request
    assert request.assets == {"offer_log", "accept_model", "release"}
    assert (request.attempt, request.evidence, request.triggers) == (1, ("e1",), ("new_inputs",))


def test_two_findings_at_once_make_one_run_of_all_that_either_touches():
    request = planned(finding("e1", "offer_log"), finding("e2", "risk_model", "drift")).request
    assert request.assets == {"offer_log", "accept_model", "risk_model", "release"}
    assert request.evidence == ("e1", "e2")
    assert request.reason == "offer_log changed; risk_model changed"


def test_evidence_that_was_answered_is_not_asked_for_again():
    made = planned(finding(), past=[run("succeeded", "e1", "e2", hours_ago=100)])
    assert (made.request, made.waiting, made.answered) == (None, (), (finding(),))


def test_a_trigger_during_its_own_training_waits():
    assert "is at it" in why(planned(finding(), past=[run("in_progress", "e1")]))


@pytest.mark.parametrize("other", [("e2",), ()], ids=["automatic", "by hand"])
def test_a_trigger_during_another_training_waits_and_goes_afterwards(other):
    assert "trains this experiment" in why(planned(finding(), past=[run("in_progress", *other)]))
    assert planned(finding(), past=[run("succeeded", *other, hours_ago=7)]).request


def test_a_failed_run_is_tried_again_after_the_cool_down_under_a_fresh_key():
    failed = run("failed", "e1", hours_ago=1)
    assert "failed less than cooldown_hours ago; the next at 2026-11-22 17:00" in why(
        planned(finding(), past=[failed])
    )
    again = planned(finding(), past=[run("failed", "e1", hours_ago=6)]).request
    assert again.attempt == 2
    assert again.run_key != planned(finding()).request.run_key


def test_after_its_last_attempt_a_person_is_needed_and_other_evidence_still_goes():
    failed = [run("failed", "e1", attempt=n, hours_ago=100 - 10 * n) for n in (1, 2, 3)]
    assert "a person is needed" in why(planned(finding(), past=failed))
    assert planned(finding(), finding("e2"), past=failed).request.evidence == ("e2",)


def test_a_run_that_a_person_stopped_does_not_start_again_by_itself():
    assert "stopped by a person" in why(planned(finding(), past=[run("stopped", "e1", hours_ago=100)]))


def test_an_experiment_cools_down_after_a_training():
    assert "cooldown_hours" in why(planned(finding(), past=[run("succeeded", "e2", hours_ago=5)]))
    assert planned(finding(), past=[run("succeeded", "e2", hours_ago=6)]).request


def test_a_mended_file_does_not_wait_for_the_broken_one_to_cool_down():
    assert planned(finding("mended"), past=[run("failed", "broken", hours_ago=0.1)]).request


def test_the_daily_cap_holds_and_says_when_it_opens():
    past = [run("failed", f"old{n}", hours_ago=n) for n in (23, 20, 10, 1)]
    assert "daily_cap: 4 in the last 24 hours; the next at 2026-11-22 13:00" in why(
        planned(finding(), past=past)
    )
    assert planned(finding(), past=past, now=NOW + HOUR).request


def test_the_kill_switch_says_what_would_be_asked_for_and_asks_for_nothing():
    assert why(planned(finding(), config=AutomationConfig())) == "automation.enabled is false"


def test_one_that_fails_often_does_not_use_up_the_attempts_of_another_in_the_same_run():
    past = [run("failed", "e1", hours_ago=40), run("failed", "e1", attempt=2, hours_ago=30)]
    both = planned(finding("e1"), finding("e2"), past=past).request
    assert both.attempt == 3
    past.append(run("failed", *both.evidence, attempt=3, hours_ago=10))
    made = planned(finding("e1"), finding("e2"), past=past)
    assert (made.request.evidence, made.request.attempt) == (("e2",), 4)


def test_downstream_leaves_out_what_is_not_in_the_experiment():
    assert downstream(["messages", "risk_model"], FLOW) == {"risk_model", "release"}


class World:
    """A file that changes, trainings that end well or badly, a daemon that dies; the plan alone decides."""

    def __init__(self):
        self.now, self.content, self.used, self.used_by = NOW, 0, None, None
        self.past, self.asked, self.trained = [], [], []

    def findings(self):
        if self.content == self.used:
            return []
        return [finding(evidence_of({"file": self.content, "since": self.used_by}))]

    def tick(self, *, dies=False):
        request = plan("toy", self.findings(), self.past, CONFIG, FLOW, self.now).request
        if request is None or dies:
            return
        assert request.run_key not in self.asked
        assert not any(past.state == "in_progress" for past in self.past)
        self.asked.append(request.run_key)
        self.past.append(
            PastRun(
                f"run{len(self.past):07}",
                frozenset(request.evidence),
                request.attempt,
                "in_progress",
                self.now,
                None,
            )
        )
        self.trained.append(self.content)

    def end(self, state):
        for place, past in enumerate(self.past):
            if past.state == "in_progress":
                self.past[place] = replace(past, state=state, ended_at=self.now)
                if state == "succeeded":
                    self.used, self.used_by = self.trained[place], past.run_id

    def do(self, event):
        self.now += timedelta(hours=event[1])
        match event[0]:
            case "change":
                self.content = event[2]
            case "tick":
                self.tick()
            case "dies":
                self.tick(dies=True)
            case state:
                self.end(state)


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["change", "tick", "tick", "dies", "succeeded", "failed"]),
        st.floats(0, 10),
        st.integers(0, 2),
    ),
    max_size=60,
)


@settings(max_examples=300)
@given(EVENTS)
def test_whatever_happens_the_last_content_is_trained_once_and_no_cap_is_broken(events):
    world = World()
    for event in events:
        world.do(event)
        answers = [past.evidence for past in world.past if past.state == "succeeded"]
        assert len(answers) == len(set(answers)), "nothing is answered twice"
    starts = [past.requested_at for past in world.past]
    for start in starts:
        assert sum(start - timedelta(days=1) < other <= start for other in starts) <= CONFIG.daily_cap
    given_up = any(
        sum(found.evidence in past.evidence and past.state == "failed" for past in world.past)
        >= CONFIG.attempts
        for found in world.findings()
    )
    for _ in range(4):
        world.do(("succeeded", 25, 0))
        world.do(("tick", 0, 0))
    world.do(("succeeded", 0, 0))
    assert given_up or world.used == world.content
    before = len(world.past)
    world.do(("tick", 100, 0))
    assert len(world.past) == before, "nothing more is asked for once all is answered"

"""What a sensor remembers, whatever the clock says meanwhile."""

import logging
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from churn_assets.monitoring.config import AutomationConfig
from churn_assets.monitoring.requests import Finding, PastRun, plan
from churn_assets.store.channels import Channel
from churn_assets.store.location import open_store
from churn_assets.store.tried import START, trial_log
from jobs.scene import Scene

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
WRONG = (timedelta(days=365), timedelta(days=-365), timedelta(hours=1))


def scene(memory, now):
    return Scene("toy", None, None, None, {}, now, memory, logging.getLogger())


def look(memory, now, segments, found="calm"):
    """Whether it was looked for anew, which takes a little."""
    looked = []

    def find():
        looked.append(now)
        time.sleep(0.02)
        return found

    assert scene(memory, now).recall("guardrails", {"record": 1}, {"segments": segments}, find)
    return bool(looked)


def test_what_is_costly_is_not_looked_for_again_at_once():
    memory = {}
    assert look(memory, NOW, 1)
    assert not look(memory, NOW + timedelta(seconds=0.1), 2)
    assert look(memory, NOW + timedelta(seconds=5), 2)
    assert not look(memory, NOW + timedelta(days=1), 2), "nothing is new"


@pytest.mark.parametrize("wrong", WRONG)
def test_one_tick_of_a_wrong_clock_blinds_nobody(wrong):
    memory = {}
    assert look(memory, NOW, 1)
    look(memory, NOW + wrong, 2)
    assert look(memory, NOW + timedelta(seconds=30), 3)


def test_what_an_older_version_remembered_is_looked_for_anew():
    kept = {"asked": [None, None], "found": "calm", "not_before": (NOW + timedelta(days=365)).timestamp()}
    assert look({"guardrails": kept}, NOW, 1)


def past(at):
    return PastRun("r" * 8, frozenset({"e"}), 1, "succeeded", at, at + timedelta(minutes=1))


@pytest.mark.parametrize("wrong", WRONG)
def test_a_run_that_a_wrong_clock_dated_keeps_no_training_waiting(wrong):
    config = AutomationConfig(enabled=True, daily_cap=1)
    finding = Finding("drift", frozenset({"customers"}), "new", "customers changed")
    found = plan("toy", [finding], [past(NOW + wrong)], config, {"customers": ()}, NOW)
    assert found.request is not None
    held = plan("toy", [finding], [past(NOW - timedelta(hours=1))], config, {"customers": ()}, NOW)
    assert held.request is None


@pytest.mark.parametrize("details", [{}, {"candidate": "toy/release/1"}], ids=["empty", "in part"])
def test_a_record_that_holds_no_trial_is_told_and_stops_nothing_else(tmp_path, monkeypatch, details):
    store = open_store("store", root=tmp_path)
    log = trial_log(store, "toy")
    log.append(START, expected_seq=0, actor="a thief", reason="?", now=NOW, details=details)
    monkeypatch.setattr(Channel, "head", lambda self: SimpleNamespace(seq=1))  # something leads
    seen = scene({}, NOW)
    seen.project, seen.experiment = SimpleNamespace(store=lambda _: store), SimpleNamespace(channel="toy")
    assert seen.trial() is None
    (told,) = seen.told
    assert told.startswith("trials are left out: ")

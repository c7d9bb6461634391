"""The switch that stops all offers: what the store says, what is unknown, and what a server makes of it."""

from datetime import UTC, datetime

import pytest

from churn_assets.serving.switch import OfferSwitch, switch_log, throw_switch
from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.errors import ChannelConflict, InvalidSetting, RecordsLost, StoreUnreachable
from churn_assets.store.local import LocalBackend

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


@pytest.fixture
def log(tmp_path):
    return switch_log(ArtifactStore(LocalBackend(tmp_path / "store")), "quickstart")


def throw(log, act, **more):
    return throw_switch(log, act, actor="anna", reason="wrong prices", now=NOW, **more)


def test_offers_are_stopped_until_the_store_says_otherwise(log):
    switch = OfferSwitch(log)
    assert switch.stopped, "nobody knows yet"
    switch.check()
    assert not switch.stopped


def test_every_server_follows_and_a_new_one_begins_as_it_was_left(log):
    switch = OfferSwitch(log)
    switch.check()
    throw(log, "stop")
    assert not switch.stopped
    switch.check()
    assert switch.stopped
    restarted = OfferSwitch(log)
    restarted.check()
    assert restarted.stopped
    throw(log, "resume")
    for each in (switch, restarted):
        each.check()
        assert not each.stopped


def test_the_config_stops_them_whatever_the_log_says(log):
    switch = OfferSwitch(log, always=True)
    switch.check()
    assert switch.stopped


def test_a_store_that_is_away_or_lost_the_record_changes_nothing(log, monkeypatch):
    switch = OfferSwitch(log)
    throw(log, "stop")
    switch.check()

    def away(_):
        raise StoreUnreachable("away")

    with monkeypatch.context() as patch:
        patch.setattr(log, "moved_since", away)
        with pytest.raises(StoreUnreachable):
            switch.check()
    assert switch.stopped
    for path in (log.store.backend.root / "acts" / log.name).iterdir():
        path.unlink()
    with pytest.raises(RecordsLost, match=r"found nothing, expected .* as this process has read"):
        switch.check()
    assert switch.stopped


def test_it_is_thrown_for_a_reason_once_and_from_what_was_seen(log):
    with pytest.raises(InvalidSetting, match="reason"):
        throw_switch(log, "stop", actor="anna", reason=" ", now=NOW)
    with pytest.raises(InvalidSetting, match="made already"):
        throw(log, "resume")
    with pytest.raises(ChannelConflict, match="has moved"):
        throw(log, "stop", expected_seq=1)
    assert throw(log, "stop", expected_seq=0).seq == 1
    with pytest.raises(InvalidSetting, match="stopped already"):
        throw(log, "stop")

"""What is new among the files of an experiment: nothing twice, nothing swallowed, nothing half written."""

import os
from datetime import UTC, datetime, timedelta

import pytest

from churn_assets.monitoring.inputs import Seen, Used, changed_inputs, look, used_inputs
from churn_assets.store.gcs import GcsBackend

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
SOURCES = [("customers", "customers.csv"), ("offer_log", "offers.csv")]
A, B = Seen("aaaa"), Seen("bbbb")


def changes(customers=A, offers=A, *, used=(), now=NOW):
    seen = {"customers.csv": customers, "offers.csv": offers}
    return changed_inputs(SOURCES, seen, dict(used), now, timedelta(seconds=5))


ALL_USED = {"customers.csv": Used("aaaa", "r1"), "offers.csv": Used("aaaa", "r1")}


def test_only_the_asset_whose_file_changed_is_touched():
    (found,) = changes(offers=B, used=ALL_USED).findings
    assert found.assets == {"offer_log"}
    assert found.reason == "offers.csv changed since run r1"


def test_a_file_that_was_used_is_not_found_again_until_it_changes():
    assert changes(used=ALL_USED).findings == ()


def test_what_comes_back_is_new_evidence():
    first = changes().findings[0]
    back = changes(used={"customers.csv": Used("bbbb", "r2")}).findings[0]
    assert first.assets == back.assets == {"customers"}
    assert first.evidence != back.evidence


def test_a_missing_file_and_one_that_is_being_written_are_told_and_asked_for_later():
    young = Seen("cccc", "stamp", NOW.timestamp() - 3)
    made = changes(customers=Seen(""), offers=young)
    assert made.findings == ()
    assert made.notes == (
        "customers: customers.csv is missing",
        "offer_log: offers.csv changed just now and may still be written",
    )
    assert len(changes(offers=young, now=NOW + timedelta(seconds=3)).findings) == 2


def test_the_last_run_that_used_an_object_counts():
    used = used_inputs([("r1", {"a": "1", "b": "1"}), ("r2", {"a": "2"})])
    assert used == {"a": Used("2", "r2"), "b": Used("1", "r1")}


def test_a_local_file_is_read_again_only_when_it_was_touched(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("1")
    first = look("a.csv", tmp_path)
    told = Seen("believed", first.stamp, first.changed_at)
    assert look("a.csv", tmp_path, told).content == "believed"
    path.write_text("2")
    assert look("a.csv", tmp_path, told).content not in ("believed", first.content)


def test_a_file_moved_into_place_with_its_old_times_is_seen(tmp_path):
    path, other = tmp_path / "a.csv", tmp_path / "b.csv"
    path.write_text("1")
    before = look("a.csv", tmp_path)
    other.write_text("2")
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    other.rename(path)
    assert look("a.csv", tmp_path, before).content != before.content


def test_touching_a_file_changes_nothing(tmp_path):
    (tmp_path / "a.csv").write_text("1")
    before = look("a.csv", tmp_path)
    os.utime(tmp_path / "a.csv")
    assert look("a.csv", tmp_path, before).content == before.content


@pytest.mark.parametrize("source", ["none.csv", "{bucket}/none.csv"])
def test_what_is_not_there_has_no_content(tmp_path, bucket, source):
    assert look(source.replace("{bucket}", f"gs://{bucket}"), tmp_path).content == ""


def test_an_object_of_a_bucket_is_known_by_its_content(tmp_path, bucket):
    GcsBackend(bucket, "in").create("a.csv", b"1")
    GcsBackend(bucket, "in").create("b.csv", b"2")
    first, second = (look(f"gs://{bucket}/in/{name}", tmp_path) for name in ("a.csv", "b.csv"))
    assert first.content
    assert first.content != second.content


def test_a_file_whose_time_is_still_to_come_settles_by_when_it_was_first_seen(tmp_path):
    path = tmp_path / "customers.csv"
    path.write_text("1")
    later = (NOW + timedelta(days=365)).timestamp()
    os.utime(path, (later, later))
    first = look("customers.csv", tmp_path, None, NOW)
    assert changes(customers=first, used={"offers.csv": Used("aaaa", "r")}).findings == ()
    again = look("customers.csv", tmp_path, first, NOW + timedelta(seconds=6))
    found = changes(customers=again, used={"offers.csv": Used("aaaa", "r")}, now=NOW + timedelta(seconds=6))
    assert [each.assets for each in found.findings] == [frozenset({"customers"})]


def test_a_clock_that_is_set_back_makes_no_file_wait_for_ever(tmp_path):
    path = tmp_path / "customers.csv"
    path.write_text("1")
    ahead = look("customers.csv", tmp_path, None, datetime.now(UTC) + timedelta(days=365))
    now = datetime.now(UTC) - timedelta(days=400)
    back = look("customers.csv", tmp_path, ahead, now)
    settled = look("customers.csv", tmp_path, back, now + timedelta(seconds=6))
    found = changes(customers=settled, used={"offers.csv": Used("aaaa", "r")}, now=now + timedelta(seconds=6))
    assert len(found.findings) == 1

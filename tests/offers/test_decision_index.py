"""The index of the decision log: what is read once, what keeps its place, what is ignored and told, what heals."""

import json
import sqlite3
import tracemalloc
from datetime import UTC, datetime, timedelta

import pytest
from served import NOW, decided, told

from benchmarks import log_read
from churn_assets.offers.decision_index import DecisionIndex, Reign, decision_identity, identity
from churn_assets.offers.live import ServedLog
from churn_assets.offers.records import LoggedOutcome
from churn_assets.offers.segments import Segment, frame
from churn_assets.offers.stored_log import segment_key
from churn_assets.serving.shipping import ship
from churn_assets.store.local import LocalBackend

REIGN = Reign(1, "toy/release/1", NOW - timedelta(days=1))
LATER = NOW + timedelta(days=100)
STRAYS = ("decisions/toy/.DS_Store", "decisions/toy/20261123/notes.txt", "decisions/toy/20261123/x.log")


@pytest.fixture
def backend(tmp_path):
    return LocalBackend(tmp_path / "store")


@pytest.fixture
def index(tmp_path):
    found = DecisionIndex(tmp_path / "index.sqlite", "price")
    yield found
    found.close()


def store(backend, tmp_path, *records, at=NOW):
    segment = Segment(tmp_path / "log", at)
    segment.append([frame(record.kind, record.payload) for record in records], durable=True)
    segment.seal()
    assert ship(tmp_path / "log", backend, "toy").shipped == 1
    return segment_key("toy", segment.name)


def settled(index, backend, window=timedelta(0), reign=REIGN, now=LATER):
    index.refresh(backend, "toy")
    index.settle(reign, now, window)
    return list(index.rows(0, 100)["margin"])


def whole(name, **outcome):
    """Decided a second later for each letter."""
    at = NOW + timedelta(seconds=ord(name[-1]) - ord("a"))
    return decided(name, at=at), told(
        name, **({"accepted": False, "churned": False, "margin": 1.0} | outcome)
    )


def test_a_decision_has_its_place_once_it_is_whole_and_keeps_it(index, backend, tmp_path):
    store(backend, tmp_path, decided("a"), *whole("b", margin=2.0))
    assert settled(index, backend) == [2.0]
    store(backend, tmp_path, told("a", accepted=True, churned=False, margin=1.0), *whole("c", margin=3.0))
    assert settled(index, backend) == [2.0, 1.0, 3.0], "the late one comes behind, though it is older"
    assert settled(index, backend) == [2.0, 1.0, 3.0]


def test_a_window_that_is_not_over_waits(index, backend, tmp_path):
    store(backend, tmp_path, *whole("a"))
    assert settled(index, backend, window=timedelta(days=30), now=NOW + timedelta(days=29)) == []
    assert settled(index, backend, window=timedelta(days=30), now=NOW + timedelta(days=30)) == [1.0]


def test_decisions_before_the_reign_and_of_others_do_not_count(index, backend, tmp_path):
    store(backend, tmp_path, *whole("a"))
    assert settled(index, backend, reign=Reign(1, "toy/release/1", NOW + timedelta(seconds=90))) == []
    assert settled(index, backend, reign=Reign(1, "toy/release/2", NOW)) == []


def test_a_reign_that_a_wrong_clock_dated_ahead_blinds_nobody(index, backend, tmp_path):
    store(backend, tmp_path, *whole("a"))
    ahead = Reign(1, "toy/release/1", LATER + timedelta(days=365))
    assert settled(index, backend, reign=ahead) == [1.0]


def test_an_outcome_that_contradicts_teaches_nothing(index, backend, tmp_path):
    store(backend, tmp_path, *whole("a"), told("a", churned=True))
    assert settled(index, backend) == []


def test_a_segment_is_read_once(index, backend, tmp_path, monkeypatch):
    store(backend, tmp_path, *whole("a"))
    settled(index, backend)
    fetched = []
    fetch = LocalBackend.fetch
    monkeypatch.setattr(
        LocalBackend, "fetch", lambda self, key, *rest: fetched.append(key) or fetch(self, key, *rest)
    )
    key = store(backend, tmp_path, *whole("b", margin=2.0))
    assert settled(index, backend) == [1.0, 2.0]
    assert fetched == [key]


def test_what_is_no_segment_and_what_is_rotten_is_told_and_the_rest_is_read(index, backend, tmp_path):
    rotten = store(backend, tmp_path, *whole("a"))
    store(backend, tmp_path, *whole("b", margin=2.0))
    path = tmp_path / "store" / rotten
    path.chmod(0o644)
    sound = path.read_bytes()
    path.write_bytes(sound[:-9])
    for stray in STRAYS:
        (tmp_path / "store" / stray).write_bytes(b"an editor's backup")
    assert settled(index, backend) == [2.0]
    assert set(index.problems) == {rotten, *STRAYS}
    log = ServedLog(backend, "toy", index)
    assert [len(chunk) for chunk in log.chunks()] == [1]
    path.write_bytes(sound)
    assert settled(index, backend) == [2.0, 1.0], "restored bytes are read"
    assert set(index.problems) == set(STRAYS)


def test_a_segment_that_is_gone_is_forgotten(index, backend, tmp_path):
    key = store(backend, tmp_path, *whole("a"))
    store(backend, tmp_path, *whole("b", margin=2.0))
    assert settled(index, backend) == [1.0, 2.0]
    backend.delete(key)
    assert settled(index, backend) == [2.0]


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"", "older"])
def test_an_index_that_is_none_or_another_versions_is_made_anew(backend, tmp_path, content):
    store(backend, tmp_path, *whole("a"))
    path = tmp_path / "broken.sqlite"
    if content == "older":
        DecisionIndex(path, "another price").close()
    else:
        path.write_bytes(content)
    index = DecisionIndex(path, "price")
    assert settled(index, backend) == [1.0]
    index.close()


def test_a_file_of_outcomes_is_read_when_it_changes_and_mended_by_mending_it(index, backend, tmp_path):
    store(backend, tmp_path, decided("a"), decided("b"))
    index.refresh(backend, "toy")
    report = [LoggedOutcome(f"{'a':0>24}-0", accepted=False, churned=True, margin=5.0)]
    index.report("1", lambda: report)
    index.report("1", lambda: pytest.fail("it was read already"))
    assert settled(index, backend) == [5.0]
    index.report("2", lambda: [LoggedOutcome(f"{'a':0>24}-0", accepted=False, churned=True, margin=6.0)])
    assert settled(index, backend) == [6.0]


def test_frames_by_customer_share_no_customer_and_miss_nobody(index, backend, tmp_path, monkeypatch):
    monkeypatch.setattr("churn_assets.offers.decision_index._CHUNK", 3)
    pairs = [whole(str(n), margin=float(n)) for n in range(20)]
    records = [decided(str(n), customer=f"c{n % 6}") for n in range(20)]
    store(backend, tmp_path, *records, *(each for _, each in pairs))
    settled(index, backend)
    frames = list(index.by_customer(20))
    assert sorted(value for frame in frames for value in frame["margin"]) == [float(n) for n in range(20)]
    seen = [customer for frame in frames for customer in set(frame["customer_id"])]
    assert len(seen) == len(set(seen)) == 6


def test_no_text_of_a_customer_is_in_the_index(index, backend, tmp_path):
    store(backend, tmp_path, decided("a", customer="7590-VHVEG"), told("a", churned=True))
    index.refresh(backend, "toy")
    index.close()
    for path in tmp_path.glob("index.sqlite*"):
        assert b"7590-VHVEG" not in path.read_bytes()
        assert path.stat().st_mode & 0o077 == 0
    DecisionIndex(tmp_path / "index.sqlite", "price").close()


def test_decisions_that_a_wrong_clock_dated_ahead_are_counted(index, backend, tmp_path):
    store(backend, tmp_path, decided("a", at=datetime.now(UTC) + timedelta(days=365)))
    index.refresh(backend, "toy")
    assert index.totals()["decisions dated later than now"] == 1


def test_two_processes_read_a_log_into_one_index(backend, tmp_path):
    store(backend, tmp_path, *whole("a"))
    first, second = (DecisionIndex(tmp_path / "index.sqlite", "price") for _ in range(2))
    for index in (first, second, first):
        assert settled(index, backend) == [1.0]
    with sqlite3.connect(tmp_path / "index.sqlite") as base:
        assert base.execute("SELECT count(*) FROM decisions").fetchone() == (1,)
    first.close()
    second.close()


def test_an_index_that_is_locked_or_rots_says_so_and_is_well_at_the_next_look(
    index, backend, tmp_path, monkeypatch
):
    store(backend, tmp_path, *whole("a"))
    monkeypatch.setattr("churn_assets.offers.decision_index._BUSY_SECONDS", 0.05)
    with sqlite3.connect(tmp_path / "index.sqlite", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        hasty = pytest.raises(OSError, match="index of the decision log")
        with hasty:
            DecisionIndex(tmp_path / "index.sqlite", "price").refresh(backend, "toy")
        other.execute("ROLLBACK")
    assert settled(index, backend) == [1.0]
    index.close()
    path = tmp_path / "index.sqlite"
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    path.write_bytes(data)
    for _ in range(3):
        try:
            rotten = DecisionIndex(path, "price")
            found = settled(rotten, backend)
            rotten.close()
            break
        except (OSError, sqlite3.Error):
            continue
    assert found == [1.0]


def test_a_complaint_that_comes_later_contradicts_nothing_and_what_is_not_told_did_not_happen(
    index, backend, tmp_path
):
    store(backend, tmp_path, *whole("a"), *whole("b", complained=False))
    store(backend, tmp_path, told("b", complained=True), told("a", opted_out=True), at=LATER)
    assert settled(index, backend) == [1.0, 1.0]
    rows = index.rows(0, 100)
    assert rows["complained"].tolist() == [0.0, 1.0]
    assert rows["opted_out"].tolist() == [1.0, 0.0]


def test_whoever_goes_on_reads_what_is_new_and_what_came_late(index, backend, tmp_path, monkeypatch):
    store(backend, tmp_path, *whole("a"), at=NOW + timedelta(hours=2))
    log = ServedLog(backend, "toy", index)
    log.refresh()
    ((first, _),) = log.arrived(0, NOW)
    store(backend, tmp_path, *whole("b"), at=NOW)  # of another server, whose line was down
    log.refresh()
    fetched = []
    fetch = LocalBackend.fetch
    monkeypatch.setattr(
        LocalBackend, "fetch", lambda self, key, *rest: fetched.append(key) or fetch(self, key, *rest)
    )
    assert [list(live.frame["customer_id"]) for _, live in log.arrived(first + 1, NOW)] == [["b"]]
    assert [list(live.frame["customer_id"]) for live in log.newest_first(until=NOW + timedelta(hours=1))] == [
        ["b"]
    ]
    assert len(fetched) == 2
    assert len(next(log.newest_first())) == 1
    assert len(fetched) == 3, "whoever stops has read no more"
    assert len(list(log.newest_first(since=NOW))) == 2
    assert list(log.newest_first(since=NOW + timedelta(days=30))) == [], "segments that were full before"


def test_an_index_that_was_made_anew_is_told_from_the_one_before(index, backend, tmp_path):
    before, key = index.made, store(backend, tmp_path, *whole("a"))
    settled(index, backend)
    assert index.made == before
    backend.delete(key)
    settled(index, backend)
    assert index.made != before


def test_a_release_that_is_tried_has_places_of_its_own_and_a_trial_counts_for_no_reign(
    index, backend, tmp_path
):
    store(backend, tmp_path, *whole("a"), *whole("b", margin=2.0), *whole("c", margin=3.0))
    second = (NOW + timedelta(seconds=1), NOW + timedelta(seconds=1))
    assert settled(index, backend, reign=Reign(1, "toy/release/1", NOW, (second,))) == [1.0, 2.0, 3.0]
    assert list(index.rows(0, 9)["propensity_no_contact"] > 0) == [True, False, True], "one tells nothing"
    tried = Reign(7, "toy/release/2", NOW, side="candidate")
    assert settled(index, backend, reign=tried) == [1.0, 2.0, 3.0], "the leader's places stay"
    assert index.counts() == (3, 2)
    assert index.counts("candidate") == (0, 0)
    assert len(index.rows(0, 9, side="candidate")) == 0


def test_levels_of_slices_are_kept_and_an_index_with_others_is_made_anew(backend, tmp_path):
    store(backend, tmp_path, *whole("a"))
    for slices in (("price",), ("price", "nothing")):
        index = DecisionIndex(tmp_path / "index.sqlite", "price", slices)
        settled(index, backend)
        (levels,) = map(json.loads, index.rows(0, 9)["levels"])
        assert len(levels) == len(slices)
        assert float(levels[0]) == index.rows(0, 9)["price"].item()
        index.close()


def test_a_log_is_read_in_memory_that_does_not_grow_with_it(tmp_path, monkeypatch):
    """The whole of it in memory took 7 kB a decision; `benchmarks.log_read` measures ten million."""
    monkeypatch.setattr(log_read, "CALLS", 2)

    def peak(segments):
        index = DecisionIndex(tmp_path / f"{segments}.sqlite", "price")
        tracemalloc.start()
        try:
            index.refresh(log_read.MadeLog(segments), log_read.EXPERIMENT)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
            index.close()

    peak(2)  # what is made once
    assert peak(30) < 1.3 * peak(6)


def test_decisions_of_a_call_are_neighbours_in_the_index_and_no_two_are_alike():
    calls = [f"{number:024x}" for number in range(2000)]
    found = {call: [decision_identity(f"{call}-{place}") for place in range(50)] for call in calls}
    assert len({each for ids in found.values() for each in ids}) == 50 * len(calls)
    assert all(max(ids) - min(ids) < 1 << 16 for ids in found.values())
    assert all(-(2**63) <= each < 2**63 for ids in found.values() for each in ids)


@pytest.mark.parametrize("name", ["a-01", "a-", "a-65536", "a-x", "abc", "a-\u0661", "7590-VHVEG"])
def test_an_id_of_another_form_stands_by_all_of_it(name):
    assert decision_identity(name) == identity(name)


def test_a_file_that_says_it_has_terabytes_is_told_and_never_copied(index, backend, tmp_path):
    store(backend, tmp_path, *whole("a", margin=2.0))
    planted = tmp_path / "store" / segment_key("toy", "20261123T090000Z-0123456789abcdef")
    planted.parent.mkdir(parents=True, exist_ok=True)
    with planted.open("wb") as stream:
        stream.truncate(1 << 40)  # no byte of it is on the disk
    assert settled(index, backend) == [2.0]
    (told,) = index.problems.values()
    assert "expected at most" in told

"""The decision log: what was acknowledged is there after any end, once."""

import asyncio
import errno
import io
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from benchmarks.logged import logged_records
from churn_assets.offers.segments import (
    DECISIONS,
    OPEN,
    QUARANTINE,
    SEALED,
    TORN,
    Record,
    Segment,
    SegmentError,
    check_sealed,
    frame,
    quarantine,
    read_sealed,
    recover,
    scan,
    sealed_segments,
)
from churn_assets.offers.stored_log import SEGMENTS, segment_key
from churn_assets.serving.config import DecisionLogConfig
from churn_assets.serving.decision_log import DecisionLog, LogUnavailableError
from churn_assets.serving.shipping import ShippingReport, ship
from churn_assets.store.errors import StoreUnreachable
from churn_assets.store.local import LocalBackend

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


def segment(folder, *payloads, sealed=True):
    found = Segment(folder, NOW)
    found.append([frame(DECISIONS, payload) for payload in payloads], durable=True)
    if sealed:
        return found.seal()
    found.close()
    return folder / OPEN / f"{found.name}.log"


def payloads(records):
    return [record.payload for record in records]


def log_of(folder, flushed=lambda records, seconds: None, **config):
    return DecisionLog(folder, DecisionLogConfig(**config), lambda: NOW, flushed)


def test_a_sealed_segment_gives_its_records_in_order(tmp_path):
    path = segment(tmp_path, b"one", b"two")
    assert read_sealed(path.read_bytes(), path.stem) == (Record(DECISIONS, b"one"), Record(DECISIONS, b"two"))


def test_a_segment_without_records_leaves_nothing(tmp_path):
    assert Segment(tmp_path, NOW).seal() is None
    assert not list((tmp_path / OPEN).iterdir())
    assert not list((tmp_path / SEALED).iterdir())


@pytest.mark.parametrize("padding", [0, 500])
@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_an_unfinished_write_is_put_aside_and_the_rest_is_kept(tmp_path, cut, padding):
    path = segment(tmp_path, b"a" * 20, b"b" * 20, sealed=False)
    whole = path.read_bytes().rstrip(b"\0")
    tail = frame(DECISIONS, b"c" * 60)[:cut]
    path.write_bytes(whole + tail + bytes(padding))
    (recovered,) = recover(tmp_path)
    assert (recovered.records, recovered.torn) == (2, cut)
    (sealed,) = sealed_segments(tmp_path)
    assert payloads(read_sealed(sealed.read_bytes(), sealed.stem)) == [b"a" * 20, b"b" * 20]
    assert (tmp_path / TORN / path.name).read_bytes() == tail


def test_whatever_a_log_makes_is_its_owners_alone(tmp_path):
    folder = tmp_path / ".churn" / "decision_log"
    path = segment(folder, b"a" * 20, sealed=False)
    path.write_bytes(path.read_bytes().rstrip(b"\0") + frame(DECISIONS, b"c" * 60)[:30])
    recover(folder)
    (folder / SEALED / "20261123T090000Z-0123456789abcdef.log").write_text("rotten")
    quarantine(folder, folder / SEALED / "20261123T090000Z-0123456789abcdef.log")
    modes = {path: path.stat().st_mode & 0o077 for path in (tmp_path / ".churn").rglob("*") if path.is_dir()}
    assert len(modes) == 5
    assert set(modes.values()) == {0}
    assert {each.stat().st_mode & 0o077 for each in (folder / TORN).iterdir()} == {0}


@pytest.mark.parametrize("padding", [0, 500])
def test_a_segment_that_was_ended_but_not_moved_is_moved(tmp_path, padding):
    sealed = segment(tmp_path, b"one")
    (tmp_path / OPEN / sealed.name).write_bytes(sealed.read_bytes() + bytes(padding))
    sealed.unlink()
    (recovered,) = recover(tmp_path)
    assert (recovered.records, recovered.torn) == (1, 0)
    assert payloads(read_sealed(sealed.read_bytes(), sealed.stem)) == [b"one"]


def test_the_segment_of_a_living_writer_is_left_alone(tmp_path):
    living = Segment(tmp_path, NOW)
    living.append([frame(DECISIONS, b"one")], durable=True)
    assert recover(tmp_path) == []
    living.append([frame(DECISIONS, b"two")], durable=True)
    path = living.seal()
    assert payloads(read_sealed(path.read_bytes(), path.stem)) == [b"one", b"two"]


def test_every_flipped_bit_of_a_sealed_segment_shows(tmp_path):
    path = segment(tmp_path, b"one", b"two")
    data = bytearray(path.read_bytes())
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1
        with pytest.raises(SegmentError, match=path.stem):
            read_sealed(bytes(changed), path.stem)
        path.write_bytes(changed)
        with pytest.raises(SegmentError, match=path.stem):
            check_sealed(path)
    path.write_bytes(data)
    check_sealed(path)


def test_a_sealed_segment_cut_short_or_made_longer_shows(tmp_path):
    data = (path := segment(tmp_path, b"one")).read_bytes()
    for changed in (data[:-1], data + b"x", data + frame(DECISIONS, b"two"), b""):
        with pytest.raises(SegmentError):
            read_sealed(changed, path.stem)
        path.write_bytes(changed)
        with pytest.raises(SegmentError):
            check_sealed(path)


def test_records_that_come_together_are_flushed_together(tmp_path):
    groups = []

    async def write():
        log = log_of(tmp_path, lambda records, seconds: groups.append(records))
        await asyncio.gather(*(log.append(DECISIONS, str(i).encode()) for i in range(100)))
        await log.close()

    asyncio.run(write())
    (path,) = sealed_segments(tmp_path)
    assert payloads(read_sealed(path.read_bytes(), path.stem)) == [str(i).encode() for i in range(100)]
    assert sum(groups) == 100
    assert len(groups) <= 3


def test_a_segment_that_is_large_or_old_is_sealed(tmp_path):
    """Old by a clock that nobody sets: the other one goes back a day meanwhile."""
    times = iter([NOW, NOW, NOW - timedelta(days=1)])

    async def write():
        config = DecisionLogConfig(segment_bytes=4096, segment_seconds=0.05)
        log = DecisionLog(tmp_path, config, lambda: next(times), lambda *_: None)
        await log.append(DECISIONS, b"x" * 5000)
        large = len(sealed_segments(tmp_path))
        await log.append(DECISIONS, b"y")
        await log.tend()
        await asyncio.sleep(0.1)
        await log.tend()
        return large, len(sealed_segments(tmp_path))

    assert asyncio.run(write()) == (1, 2)


def test_a_record_that_cannot_be_written_is_not_acknowledged(tmp_path):
    (tmp_path / OPEN).write_text("in the way")

    async def write():
        log = log_of(tmp_path)
        with pytest.raises(LogUnavailableError):
            await log.append(DECISIONS, b"one")
        (tmp_path / OPEN).unlink()
        await log.append(DECISIONS, b"two")
        await log.close()
        with pytest.raises(LogUnavailableError, match="closed"):
            await log.append(DECISIONS, b"three")

    asyncio.run(write())
    (path,) = sealed_segments(tmp_path)
    assert payloads(read_sealed(path.read_bytes(), path.stem)) == [b"two"]


WRITER = """
import asyncio, sys
from datetime import UTC, datetime
from pathlib import Path
from churn_assets.serving.config import DecisionLogConfig
from churn_assets.serving.decision_log import DecisionLog

async def one(log, name):
    for i in range(10**6):
        await log.append(b"D", f"{name}-{i}".encode())
        print(f"{name}-{i}", flush=True)

async def main():
    config = DecisionLogConfig(segment_bytes=4096)
    log = DecisionLog(Path(sys.argv[1]), config, lambda: datetime.now(UTC), lambda *_: None)
    await asyncio.gather(*(one(log, f"{sys.argv[2]}{n}") for n in range(8)))

asyncio.run(main())
"""


def test_what_killed_writers_acknowledged_is_in_the_log_once(tmp_path):
    acknowledged = []
    for turn in range(3):
        writers = [
            subprocess.Popen([sys.executable, "-c", WRITER, tmp_path, f"{turn}{who}"], stdout=subprocess.PIPE)
            for who in "ab"
        ]
        for writer in writers:
            for _ in range(50):
                acknowledged.append(writer.stdout.readline().strip())
            os.kill(writer.pid, signal.SIGKILL)
            acknowledged += [
                line.strip()
                for line in writer.stdout.read().splitlines(keepends=True)
                if line.endswith(b"\n")
            ]
            writer.wait()
            writer.stdout.close()
        recover(tmp_path)
    found = [
        p for path in sealed_segments(tmp_path) for p in payloads(read_sealed(path.read_bytes(), path.stem))
    ]
    assert len(acknowledged) >= 300
    assert len(set(found)) == len(found)
    assert set(acknowledged) <= set(found)


def test_a_shipped_segment_is_in_the_store_and_no_longer_here(tmp_path):
    backend = LocalBackend(tmp_path / "store")
    path = segment(tmp_path / "log", b"one")
    assert ship(tmp_path / "log", backend, "toy").shipped == 1
    assert sealed_segments(tmp_path / "log") == []
    assert backend.list(SEGMENTS) == [segment_key("toy", path.stem)]
    assert payloads(logged_records(backend, "toy", tmp_path / "log")) == [b"one"]
    assert ship(tmp_path / "log", backend, "toy").shipped == 0


class LosesTheAnswer(LocalBackend):
    """Stores, and says that it did not."""

    def adopt(self, key, source):
        super().adopt(key, source)
        raise StoreUnreachable("the line went dead")


def test_a_store_on_the_same_disk_takes_the_segment_itself(tmp_path):
    backend = LocalBackend(tmp_path / "store")
    path = segment(tmp_path / "log", b"one")
    number = path.stat().st_ino
    ship(tmp_path / "log", backend, "toy")
    assert (tmp_path / "store" / segment_key("toy", path.stem)).stat().st_ino == number


def test_a_lost_answer_of_the_store_ships_no_row_twice(tmp_path):
    log = tmp_path / "log"
    segment(log, b"one")
    (left,) = ship(log, LosesTheAnswer(tmp_path / "store"), "toy").left
    assert "StoreUnreachable" in left
    backend = LocalBackend(tmp_path / "store")
    assert payloads(logged_records(backend, "toy", log)) == [b"one"]
    assert ship(log, backend, "toy").shipped == 1
    assert payloads(logged_records(backend, "toy", log)) == [b"one"]


def test_a_segment_whose_name_holds_other_bytes_is_moved_aside_and_nothing_is_lost(tmp_path):
    log, backend = tmp_path / "log", LocalBackend(tmp_path / "store")
    path, later = segment(log, b"one"), segment(log, b"two")
    before = path.read_bytes()
    backend.create(segment_key("toy", path.stem), b"other")
    report = ship(log, backend, "toy")
    assert (report.shipped, report.left) == (1, ())
    assert path.stem in report.aside[0]
    assert (log / QUARANTINE / path.name).read_bytes() == before
    assert segment_key("toy", later.stem) in backend.list(SEGMENTS)


def test_a_rotten_segment_is_moved_aside_and_the_later_ones_go_on(tmp_path):
    log, backend = tmp_path / "log", LocalBackend(tmp_path / "store")
    paths = sorted([segment(log, b"one"), segment(log, b"two"), segment(log, b"three")])
    paths[0].write_bytes(paths[0].read_bytes()[:-3])
    (log / SEALED / "00-notes.log").mkdir()
    (log / SEALED / "01-notes.log").write_text("an editor's backup")
    (log / SEALED / ".DS_Store").write_text("a desktop's own")
    report = ship(log, backend, "toy")
    assert (report.shipped, len(report.aside), report.left) == (2, 3, ())
    assert backend.list(SEGMENTS) == [segment_key("toy", path.stem) for path in paths[1:]]
    assert ship(log, backend, "toy") == ShippingReport(0, (), ())


def test_a_segment_that_cannot_be_read_now_keeps_no_other_waiting(tmp_path, monkeypatch):
    log, backend = tmp_path / "log", LocalBackend(tmp_path / "store")
    first, _ = sorted([segment(log, b"one"), segment(log, b"two")])
    opened = os.open

    def unreadable(path, *arguments, **options):
        if str(path) == str(first):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, *arguments, **options)

    monkeypatch.setattr(os, "open", unreadable)
    report = ship(log, backend, "toy")
    assert (report.shipped, report.aside, len(report.left)) == (1, (), 1)
    monkeypatch.undo()
    assert ship(log, backend, "toy").shipped == 1
    assert len(backend.list(SEGMENTS)) == 2


def test_a_foreign_object_among_the_segments_is_an_error(tmp_path):
    backend = LocalBackend(tmp_path / "store")
    backend.create("decisions/toy/20261123/notes.txt", b"hello")
    with pytest.raises(SegmentError, match=r"notes\.txt"):
        list(logged_records(backend, "toy", tmp_path / "log"))


def test_bytes_that_are_no_segment_hold_nothing():
    for data in (b"", b"\x00" * 100, b"x" * 100, frame(DECISIONS, b"no header")):
        found = scan(io.BytesIO(data))
        assert (found.name, found.records, found.whole, found.sealed) == ("", 0, 0, False)

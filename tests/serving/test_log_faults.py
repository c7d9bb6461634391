"""A log whose disk fills, whose folder is taken away, whose files rot: told, healed without a restart, nothing lost."""

import asyncio
import errno
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from churn_assets.offers.segments import (
    DECISIONS,
    OPEN,
    QUARANTINE,
    TORN,
    Segment,
    frame,
    read_sealed,
    recover,
    sealed_segments,
)
from churn_assets.serving.config import DecisionLogConfig
from churn_assets.serving.decision_log import DecisionLog, LogUnavailableError

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


def log_of(folder):
    return DecisionLog(folder, DecisionLogConfig(), lambda: NOW, lambda *_: None)


def descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def kept(folder):
    recover(folder)
    return [
        record.payload
        for path in sealed_segments(folder)
        for record in read_sealed(path.read_bytes(), path.stem)
    ]


async def tried(log, payload):
    """Whether a record was acknowledged."""
    try:
        await log.append(DECISIONS, payload)
    except LogUnavailableError:
        return False
    return True


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT])
@pytest.mark.parametrize("call", ["pwritev", "fsync"])
def test_a_full_disk_leaks_nothing_and_the_log_is_back_with_it(tmp_path, monkeypatch, code, call):
    async def scene():
        log = log_of(tmp_path)
        assert await tried(log, b"before")
        held = descriptors()
        with monkeypatch.context() as full:

            def refuses(*_):
                raise OSError(code, os.strerror(code))

            full.setattr(os, call, refuses)
            if call == "fsync":
                log._segment.seal()
            refused = [await tried(log, b"refused") for _ in range(50)]
            assert (call == "fsync") or not any(refused)
            assert errno.errorcode[code] in log.trouble
            with pytest.raises(OSError, match=os.strerror(code)):
                await log.tend()
        assert descriptors() <= held
        await log.tend()
        assert log.trouble == "", "though nobody asked"
        assert await tried(log, b"after")
        await log.close()

    asyncio.run(scene())
    assert set(kept(tmp_path)) == {b"before", b"after"}
    assert not list((tmp_path / OPEN).iterdir())


def removed(folder):
    shutil.rmtree(folder)


def moved(folder):
    folder.rename(folder.with_name("elsewhere"))


def emptied(folder):
    for path in (folder / OPEN).iterdir():
        path.unlink()


def replaced(folder):
    shutil.copytree(folder, folder.with_name("copy"))
    shutil.rmtree(folder)
    folder.with_name("copy").rename(folder)


@pytest.mark.parametrize("happens", [removed, moved, emptied, replaced])
@pytest.mark.parametrize("between", [0.0, 1.0])
def test_nothing_is_acknowledged_into_a_file_that_nobody_will_read(tmp_path, happens, between):
    folder, acknowledged = tmp_path / "log", []

    async def scene():
        log = log_of(folder)
        for number in range(30):
            payload = str(number).encode()
            if await tried(log, payload):
                acknowledged.append(payload)
            if number == 15:
                happens(folder)
                if between:
                    await log.tend()
        await log.close()

    asyncio.run(scene())
    assert len(acknowledged) >= 29, "one group at most is refused each time"
    assert set(acknowledged) <= set(kept(folder))


def test_an_unlinked_log_is_saved_at_once_though_nobody_asks(tmp_path):
    async def scene():
        log = log_of(tmp_path)
        assert await tried(log, b"one")
        emptied(tmp_path)
        await log.tend()
        await log.close()

    asyncio.run(scene())
    assert kept(tmp_path) == [b"one"]


def open_segment(folder, *payloads):
    found = Segment(folder, NOW)
    found.append([frame(DECISIONS, payload) for payload in payloads], durable=True)
    found.close()
    return folder / OPEN / f"{found.name}.log"


def test_a_file_that_is_no_segment_is_put_aside_whole_and_stops_no_other(tmp_path):
    open_segment(tmp_path, b"one")
    stray = tmp_path / OPEN / "00-notes.log"
    stray.write_bytes(b"an editor's backup\0\0")
    (tmp_path / OPEN / "00-folder.log").mkdir()
    found = recover(tmp_path)
    assert [each.rotten for each in found] == [True, True, False]
    assert (tmp_path / QUARANTINE / stray.name).read_bytes() == b"an editor's backup\0\0"
    assert kept(tmp_path) == [b"one"]
    assert recover(tmp_path) == []


def test_what_the_disk_changed_costs_its_own_record_and_no_later_one(tmp_path):
    path = open_segment(tmp_path, b"a" * 40, b"b" * 40, b"c" * 40)
    data = bytearray(path.read_bytes())
    data[data.index(b"b" * 40) + 5] ^= 1
    path.write_bytes(data)
    (found,) = recover(tmp_path)
    assert (found.records, found.rotten) == (2, True)
    assert kept(tmp_path) == [b"a" * 40, b"c" * 40]
    assert b"b" * 30 in (tmp_path / TORN / path.name).read_bytes()


def test_one_open_file_that_cannot_be_read_keeps_no_other_waiting(tmp_path, monkeypatch):
    first, _ = sorted([open_segment(tmp_path, b"one"), open_segment(tmp_path, b"two")])
    opened, failed = os.open, []

    def unreadable(path, *arguments, **options):
        if str(path) == str(first):
            raise OSError(errno.EIO, "Input/output error", str(path))
        return opened(path, *arguments, **options)

    with monkeypatch.context() as rotten:
        rotten.setattr(os, "open", unreadable)
        assert len(recover(tmp_path, lambda path, error: failed.append((path, error.errno)))) == 1
        with pytest.raises(OSError, match="Input/output"):
            recover(tmp_path)
    assert failed == [(first, errno.EIO)]
    assert sorted(kept(tmp_path)) == [b"one", b"two"]

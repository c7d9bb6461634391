"""A follower and the background over a store that fails for a while: it goes on once the cause is gone."""

import asyncio
import errno
import itertools

import pytest

from benchmarks.faults import prepared
from churn_assets.serving.views import ready_view
from churn_assets.store.errors import ObjectMissing, StoreUnreachable


@pytest.fixture
def world(tmp_path):
    return prepared(tmp_path)


def follows(world):
    return world.follower.served is not None and world.follower.served.ref == world.leads


@pytest.mark.parametrize(
    "error",
    [
        PermissionError(errno.EACCES, "channels/"),
        OSError(errno.EIO, "I/O"),
        StoreUnreachable("away"),
        ValueError("a record that no code foresaw"),
        KeyError("x"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_rollback_is_followed_after_whatever_error_in_between(world, monkeypatch, error):
    async def scene():
        await world.turns()
        world.lead(world.leads)
        with monkeypatch.context() as broken:

            def refuses(_):
                raise error

            broken.setattr(world.channel, "moved_since", refuses)
            for _ in range(3):
                await world.turns()
            assert not follows(world)
            (state,) = [each for each in world.background.states if each.name == "release"]
            assert (state.failures, state.trouble != "") == (3, True)
            assert b'churn_loop_failures_total{loop="release"} 3.0' in world.metrics.exposition()
        await world.turns()
        assert follows(world)
        assert world.follower.trouble is None
        await world.log.close()

    asyncio.run(scene())


def test_a_release_whose_object_was_missing_at_the_start_answers_once_it_is_restored(world):
    (manifest,) = [
        path for path in (world.folder / "store").rglob("manifest.json") if world.leads.version in str(path)
    ]
    data = manifest.read_bytes()
    world.lead(world.leads)
    manifest.unlink()

    async def scene():
        for _ in range(2):
            await world.turns()
        assert world.follower.trouble.kind == ObjectMissing.__name__
        assert world.follower.served is None
        manifest.write_bytes(data)
        await world.turns()
        assert follows(world)
        assert world.follower.trouble is None
        await world.log.close()

    asyncio.run(scene())


def test_a_bad_release_is_looked_at_again_seldom_while_another_answers(world):
    times = iter(itertools.count(0.0, 1.0))
    looked = []

    async def scene():
        await world.turns()
        world.follower._monotonic = lambda: next(times)
        load = world.follower._load
        world.follower._load = lambda ref: looked.append(ref) or load(ref)
        world.lead(world.leads)
        for path in (world.folder / "store").rglob("note.json"):
            if world.leads.version in str(path):
                path.chmod(0o644)
                path.write_bytes(b"{}")
        for _ in range(60):
            world.follower.check()
        await world.log.close()

    asyncio.run(scene())
    assert 2 <= len(looked) <= 4


def test_a_trouble_of_the_channel_is_over_once_it_can_be_read(world, monkeypatch):
    async def scene():
        await world.turns()
        with monkeypatch.context() as broken:
            broken.setattr(
                world.channel, "moved_since", lambda _: (_ for _ in ()).throw(StoreUnreachable("away"))
            )
            await world.turns()
            assert world.follower.trouble.kind == "StoreUnreachable"
        await world.turns()
        assert world.follower.trouble is None
        await world.log.close()

    asyncio.run(scene())


def _deleted(path, _):
    path.unlink()


def _replaced(path, data):
    path.chmod(0o644)
    path.write_bytes(data.replace(b'"actor":"', b'"actor":"x'))


@pytest.mark.parametrize("done", [_deleted, _replaced])
def test_a_lost_newest_record_is_told_while_the_server_runs_and_no_older_release_is_followed(
    world, done, caplog
):
    async def scene():
        await world.turns()
        world.lead(world.leads)
        await world.turns()
        assert follows(world)
        newest = max((world.folder / "store").glob("channels/*/*.json"))
        data = newest.read_bytes()
        for mark in (world.folder / "store").glob("marks/*/*"):
            mark.unlink()  # whoever owns the bucket deletes that witness too
        done(newest, data)
        await world.turns()
        assert follows(world)
        view = ready_view(world.follower, world.log, world.background.states)
        assert (view.ready, view.trouble) == (True, "RecordsLost")
        assert b'churn_loop_failures_total{loop="release"} 1.0' in world.metrics.exposition()
        assert "as this process has read" in caplog.text
        newest.write_bytes(data)
        await world.turns()
        assert follows(world)
        assert world.follower.trouble is None
        await world.log.close()

    asyncio.run(scene())


def record_of(world, seq):
    return world.folder / "store" / "channels" / world.channel.name / f"{seq:012d}.json"


def test_a_huge_file_in_the_place_of_the_next_record_is_told_and_not_read_whole(world):
    """A terabyte of zeros costs nobody a byte of disk; to read it would take hours, in which nothing is followed."""

    async def scene():
        await world.turns()
        with record_of(world, 2).open("wb") as huge:
            huge.truncate(1 << 40)
        await world.turns()
        (state,) = [each for each in world.background.states if each.name == "release"]
        assert state.trouble == "CorruptArtifact"
        record_of(world, 2).unlink()
        world.lead(world.leads)
        await world.turns()
        assert follows(world)
        await world.log.close()

    asyncio.run(scene())


def test_decisions_wait_while_the_store_is_away_and_are_shipped_when_it_is_back(world):
    """An unmounted disk leaves an empty folder: what is shipped into it would be hidden by the next mount."""
    store, away = world.folder / "store", world.folder / "away"

    async def scene():
        await world.turns()
        store.rename(away)
        store.mkdir()
        for number in range(40):
            await world.ask(number)
        for _ in range(2):
            await world.turns()
        (state,) = [each for each in world.background.states if each.name == "shipping"]
        assert state.trouble
        assert list(store.iterdir()) == []
        store.rmdir()
        away.rename(store)
        for _ in range(2):
            await world.turns()
        await world.log.close()
        await world.turns()
        kept, ignored = world.kept()
        assert set(kept) == set(world.acknowledged)
        assert ignored == []

    asyncio.run(scene())

"""Every operation of publish, promote and rollback × {crash before, crash after, acknowledgement lost}.

The points are enumerated by running each act once and counting; a new operation is covered by itself.
"""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from store_cases import (
    ASSET,
    EXPERIMENT,
    NOW,
    Crash,
    Faulty,
    LineFormat,
    Unanswered,
    act,
    promote,
    promote_until_done,
    provenance,
    published_line,
    staged_line,
)

from churn_assets.store import local
from churn_assets.store.artifacts import ArtifactRef, ArtifactStore
from churn_assets.store.channels import Channel
from churn_assets.store.local import LocalBackend

Act = Callable[[ArtifactStore, "World"], object]


@dataclass(frozen=True)
class World:
    """A store in which ``old`` led before, ``current`` leads, and ``new`` is to come."""

    root: Path
    old: ArtifactRef
    current: ArtifactRef
    staging: Path

    @property
    def store(self) -> ArtifactStore:
        return ArtifactStore(LocalBackend(self.root))


def publish_new(store: ArtifactStore, world: World) -> ArtifactRef:
    """Publish again and again under the same minting time: the files differ in no byte."""
    shutil.rmtree(world.staging, ignore_errors=True)
    return store.publish(staged_line(world.staging, 3.0), provenance(), NOW)


def promote_old_version(store: ArtifactStore, world: World) -> object:
    return act("promote", store, world.old, nonce="this act")


def roll_back(store: ArtifactStore, world: World) -> object:
    return act("rollback", store, world.old, nonce="this act")


ACTS: dict[str, Act] = {"publish": publish_new, "promote": promote_old_version, "rollback": roll_back}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


def make_world(folder: Path) -> World:
    store = ArtifactStore(LocalBackend(folder / "store"))
    old = published_line(store, folder / "old", 1.0)
    current = published_line(store, folder / "current", 2.0)
    promote(store, old)
    promote(store, current)
    return World(folder / "store", old, current, folder / "staging")


def operations_of(name: str, world: World) -> list[str]:
    backend = Faulty(LocalBackend(world.root))
    ACTS[name](ArtifactStore(backend), world)
    return backend.operations


def read_everything(world: World) -> tuple[ArtifactRef, list[ArtifactRef]]:
    """What a reader sees: the leader loads whole, every listed version loads whole, the log verifies."""
    head = Channel(world.store, "champion").head()
    assert head is not None
    leader = world.store.load(head.ref, LineFormat())
    assert leader["about"]["tag"] in (1.0, 2.0)
    versions = world.store.versions(EXPERIMENT, ASSET)
    for ref in versions:
        world.store.load(ref, LineFormat())
    assert [record.seq for record in Channel(world.store, "champion").history()] == list(
        range(1, head.seq + 1)
    )
    return head.ref, versions


@pytest.mark.parametrize("mode", Faulty.MODES)
@pytest.mark.parametrize("name", ACTS)
def test_at_every_crash_point_a_reader_sees_old_or_new_and_a_plain_retry_recovers(
    name: str, mode: str, world: World, tmp_path: Path
) -> None:
    pristine = tmp_path / "pristine"
    shutil.copytree(world.root, pristine, copy_function=shutil.copy2)
    before = read_everything(world)
    points = len(operations_of(name, world))
    assert points >= 6
    seen = set()
    for at in range(points):
        shutil.rmtree(world.root)
        shutil.copytree(pristine, world.root)
        acknowledged = None
        with suppress(Crash, Unanswered):
            acknowledged = ACTS[name](ArtifactStore(Faulty(LocalBackend(world.root), at, mode)), world)
        after = read_everything(world)
        recovered = ACTS[name](world.store, world)
        final = read_everything(world)
        assert after in (before, final)
        assert final != before
        if acknowledged is not None:
            assert after == final
            assert recovered == acknowledged
        assert len(Channel(world.store, "champion").history()) == (2 if name == "publish" else 3)
        seen.add(after == final)
    if mode in ("before", "after", "unanswered"):
        assert seen == {False, True}


class DyingOs:
    """The ``os`` module as the local backend sees it, dying at its n-th call; the dead clean up nothing."""

    def __init__(self, at: int | None, mode: str) -> None:
        self.at = at
        self.mode = mode
        self.calls = 0
        self.dead = False

    def __getattr__(self, name: str) -> object:
        real = getattr(os, name)
        if name not in ("open", "close", "mkdir", "link", "unlink", "fsync", "fdopen"):
            return real

        def call(*args: object, **kwargs: object) -> object:
            hit = self.calls == self.at
            self.calls += 1
            if self.dead or (hit and self.mode == "before"):
                self.dead = True
                raise Crash
            result = real(*args, **kwargs)
            if hit and self.mode == "after":
                self.dead = True
                raise Crash
            return result

        return call


@pytest.mark.parametrize("mode", ["before", "after"])
def test_at_every_system_call_of_a_write_the_object_is_whole_or_absent(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"whole" * 1000)
    counter = DyingOs(None, mode)
    monkeypatch.setattr(local, "os", counter)
    LocalBackend(tmp_path / "count").create("artifacts/a/b", source)
    assert counter.calls >= 12
    outcomes = set()
    for at in range(counter.calls):
        root = tmp_path / f"{mode}{at}"
        monkeypatch.setattr(local, "os", DyingOs(at, mode))
        with pytest.raises(Crash):
            LocalBackend(root).create("artifacts/a/b", source)
        monkeypatch.setattr(local, "os", os)
        backend = LocalBackend(root)
        present = backend.list("")
        assert present in ([], ["artifacts/a/b"])
        if not present:
            backend.create("artifacts/a/b", source)
        assert backend.read("artifacts/a/b") == source.read_bytes()
        outcomes.add(bool(present))
    assert outcomes == {False, True}


def test_a_publisher_killed_with_sigkill_leaves_no_version_and_its_retry_commits_one(tmp_path: Path) -> None:
    program = textwrap.dedent(
        """
        import sys, time
        from pathlib import Path
        from store_cases import NOW, provenance, staged_line
        from churn_assets.store.artifacts import ArtifactStore
        from churn_assets.store.local import LocalBackend

        class Slow(LocalBackend):
            def create(self, key, source):
                super().create(key, source)
                print(key, flush=True)
                time.sleep(30)

        root, staging = map(Path, sys.argv[1:])
        ArtifactStore(Slow(root)).publish(staged_line(staging, 3.0), provenance(), NOW)
        """
    )
    root = tmp_path / "store"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", program, str(root), str(tmp_path / "a")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    assert first.startswith(f"artifacts/{EXPERIMENT}/{ASSET}/")
    store = ArtifactStore(LocalBackend(root))
    assert store.versions(EXPERIMENT, ASSET) == []
    ref = published_line(store, tmp_path / "b", 3.0)
    assert store.versions(EXPERIMENT, ASSET) == [ref]
    assert store.load(ref, LineFormat())["about"] == {"tag": 3.0}


def test_two_processes_promoting_at_once_lose_no_acknowledged_record(tmp_path: Path) -> None:
    root = tmp_path / "store"
    store = ArtifactStore(LocalBackend(root))
    refs = [published_line(store, tmp_path / str(tag), tag) for tag in (1.0, 2.0)]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        jobs = [(str(root), str(ref), worker, 25) for worker, ref in enumerate(refs)]
        acknowledged = [answer for answers in pool.starmap(promote_until_done, jobs) for answer in answers]
    history = Channel(store, "champion").history()
    assert len(acknowledged) == len(set(acknowledged)) == len(history) == 50
    assert sorted(acknowledged) == [(record.seq, record.nonce) for record in history]
    assert {record.actor for record in history} == {"worker 0", "worker 1"}

"""The crash table: every operation of every act × {crash before, crash after, acknowledgement lost} × every backend.

The points are enumerated by running each act once and counting; a new operation is covered by itself.
"""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from gcs_server import GcsServer
from shelf import NOTE, SHELF, publish_note
from store_cases import (
    ASSET,
    EXPERIMENT,
    NOW,
    Crash,
    Faulty,
    LineFormat,
    Unanswered,
    act,
    days,
    promote,
    provenance,
    published_line,
    staged_line,
)

from churn_assets.store import local
from churn_assets.store.artifacts import ArtifactRef, ArtifactStore
from churn_assets.store.backend import Backend
from churn_assets.store.cache import FileCache
from churn_assets.store.channels import Channel
from churn_assets.store.errors import StoreUnreachable
from churn_assets.store.gcs import GcsBackend
from churn_assets.store.local import LocalBackend
from churn_assets.store.retention import collect, review

REPORT = {"gates": [{"name": "sound", "figure": 1.0}]}


@dataclass(frozen=True)
class World:
    """A store in which ``old`` led before, ``current`` leads, ``new`` may lead, and ``unused`` may go.

    Attributes:
        backend: Where it lies.
        folder: Where that is on this machine's disk.
        scratch: A folder for whatever else an act needs.
    """

    backend: Backend
    folder: Path
    scratch: Path
    old: ArtifactRef
    current: ArtifactRef
    new: ArtifactRef
    unused: ArtifactRef

    @property
    def store(self) -> ArtifactStore:
        return ArtifactStore(self.backend)


def make_world(backend: Backend, folder: Path, scratch: Path) -> World:
    store = ArtifactStore(backend)
    unused = publish_note(store, "customers", NOW - days(30))
    store.add_gate_report(unused, "sound", REPORT)
    customers = publish_note(store, "customers", NOW - days(20))
    with suppress(Crash):
        publish_note(ArtifactStore(Faulty(backend, 3)), "customers", NOW - days(25))
    old, current, new = (publish_note(store, "release", NOW - days(age), customers) for age in (3, 2, 1))
    promote(store, old)
    promote(store, current)
    return World(backend, folder, scratch, old, current, new, unused)


def publish(store: ArtifactStore, world: World) -> ArtifactRef:
    """Publish again and again under the same minting time: the files differ in no byte."""
    shutil.rmtree(world.scratch, ignore_errors=True)
    return store.publish(staged_line(world.scratch, 3.0), provenance(), NOW)


def promote_new(store: ArtifactStore, world: World) -> object:
    return act("promote", store, world.new, nonce="this act")


def roll_back(store: ArtifactStore, world: World) -> object:
    return act("rollback", store, world.old, nonce="this act")


def collect_unused(store: ArtifactStore, world: World) -> object:
    return collect(store, review(store, NOW))


def report(store: ArtifactStore, world: World) -> object:
    return store.add_gate_report(world.current, "sound", REPORT)


def fill_cache(store: ArtifactStore, world: World) -> object:
    """Load through a cache that is empty at the first try and holds what that left at the second."""
    return ArtifactStore(store.backend, FileCache(world.scratch, 1 << 20)).load(world.current, NOTE)


ACTS: dict[str, Callable[[ArtifactStore, World], object]] = {
    "publish": publish,
    "promote": promote_new,
    "roll back": roll_back,
    "collect": collect_unused,
    "report": report,
    "fill the cache": fill_cache,
}
CHANGES_NOTHING = "fill the cache"


@pytest.fixture(params=["local", "gcs"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    if request.param == "local":
        return make_world(LocalBackend(tmp_path / "store"), tmp_path / "store", tmp_path / "scratch")
    bucket = request.getfixturevalue("bucket")
    server: GcsServer = request.getfixturevalue("gcs_server")
    return make_world(GcsBackend(bucket), server.folder / bucket, tmp_path / "scratch")


def read_everything(world: World) -> dict[str, Any]:
    """What readers see: every version they find and the leader load whole, and the log verifies."""
    store = world.store
    history = Channel(store, "champion").history()
    head = Channel(store, "champion").head()
    assert head == history[-1]
    assert store.load(head.ref, NOTE)
    assert [record.seq for record in history] == list(range(1, len(history) + 1))
    notes = {
        ref: store.load(ref, NOTE)
        for asset in ("customers", "release")
        for ref in store.versions(SHELF, asset)
    }
    lines = {ref: store.load(ref, LineFormat())["about"] for ref in store.versions(EXPERIMENT, ASSET)}
    return {
        "log": [record.nonce for record in history],
        "head": head.ref,
        "versions": {**notes, **lines},
        "reports": store.gate_reports(head.ref),
    }


def operations_of(name: str, world: World) -> list[str]:
    faulty = Faulty(world.backend)
    ACTS[name](ArtifactStore(faulty), world)
    return faulty.operations


class Snapshot:
    """A store's objects set aside, and put back where they were; the server looks at the disk at every request."""

    def __init__(self, world: World, aside: Path) -> None:
        self.world = world
        self.aside = aside
        shutil.copytree(world.folder, aside)

    def restore(self) -> None:
        shutil.rmtree(self.world.folder)
        shutil.copytree(self.aside, self.world.folder)
        shutil.rmtree(self.world.scratch, ignore_errors=True)


@pytest.mark.parametrize("mode", Faulty.MODES)
@pytest.mark.parametrize("name", ACTS)
def test_at_every_crash_point_a_reader_sees_old_or_new_and_a_plain_retry_recovers(
    name: str, mode: str, world: World, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    pristine = Snapshot(world, tmp_path / "pristine")
    before = read_everything(world)
    operations = operations_of(name, world)
    points = [at for at, each in enumerate(operations) if mode != "exists" or each.startswith("create")]
    record_property("points", len(points))
    new, keys = read_everything(world), world.backend.list("")
    assert (new == before) is (name == CHANGES_NOTHING)
    seen = set()
    for at in points:
        pristine.restore()
        answers = []
        with suppress(Crash, Unanswered):
            answers.append(ACTS[name](ArtifactStore(Faulty(world.backend, at, mode)), world))
        after = read_everything(world)
        assert after in (before, new)
        answers.append(ACTS[name](world.store, world))
        assert read_everything(world) == new
        assert world.backend.list("") == keys
        if len(answers) == 2:
            assert after == new
            assert answers[0] == answers[1]
        seen.add(after == new)
    if mode in ("after", "unanswered") and name != CHANGES_NOTHING:
        assert seen == {False, True}


class ServerDies(Faulty):
    """A store whose server is ended with SIGKILL just before or just after its ``at``-th operation."""

    def __init__(self, backend: Backend, at: int, mode: str, server: GcsServer) -> None:
        super().__init__(backend, at, mode)
        self.server = server

    @contextmanager
    def _operation(self, name: str, key: str) -> Iterator[None]:
        hit = len(self.operations) == self.at
        self.operations.append(f"{name} {key}")
        if hit and self.mode == "before":
            self.server.kill()
        yield
        if hit and self.mode == "after":
            self.server.kill()


@pytest.mark.parametrize("mode", ["before", "after"])
@pytest.mark.parametrize("name", ["promote", "roll back", "collect"])
def test_a_server_killed_at_a_write_shows_old_or_new_when_it_is_back_and_a_plain_retry_recovers(
    name: str, mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = GcsServer(tmp_path / "server")
    server.start()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
    bucket = server.create_bucket()
    world = make_world(GcsBackend(bucket, patience=0.2), server.folder / bucket, tmp_path / "scratch")
    pristine = Snapshot(world, tmp_path / "pristine")
    before = read_everything(world)
    operations = operations_of(name, world)
    new = read_everything(world)
    for at, operation in enumerate(operations):
        if operation.startswith(("create", "delete")):
            pristine.restore()
            with suppress(StoreUnreachable):  # where its last operation is done, the act has succeeded
                ACTS[name](ArtifactStore(ServerDies(world.backend, at, mode, server)), world)
            server.start()
            assert read_everything(world) in (before, new)
            ACTS[name](world.store, world)
            assert read_everything(world) == new
    server.kill()


class DyingOs:
    """The ``os`` module as the local backend sees it, dying at its n-th call; the dead clean up nothing."""

    def __init__(self, at: int | None, mode: str) -> None:
        self.at = at
        self.mode = mode
        self.calls = 0
        self.dead = False

    def __getattr__(self, name: str) -> object:
        real = getattr(os, name)
        if name not in ("open", "close", "mkdir", "link", "unlink", "fsync", "fdopen", "fchmod", "utime"):
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
@pytest.mark.parametrize("write", [LocalBackend.create, LocalBackend.adopt])
def test_at_every_system_call_of_a_write_the_object_is_whole_or_absent(
    write: Callable[[LocalBackend, str, Path], object],
    mode: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"whole" * 1000)
    counter = DyingOs(None, mode)
    monkeypatch.setattr(local, "os", counter)
    write(LocalBackend(tmp_path / "count"), "artifacts/a/b", source)
    assert counter.calls >= 12
    outcomes = set()
    for at in range(counter.calls):
        root = tmp_path / f"{mode}{at}"
        monkeypatch.setattr(local, "os", DyingOs(at, mode))
        with pytest.raises(Crash):
            write(LocalBackend(root), "artifacts/a/b", source)
        monkeypatch.setattr(local, "os", os)
        backend = LocalBackend(root)
        present = backend.list("")
        assert present in ([], ["artifacts/a/b"])
        if not present:
            write(backend, "artifacts/a/b", source)
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
                found = super().create(key, source)
                print(key, flush=True)
                time.sleep(30)
                return found

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

"""The local cache of a remote store: verified on use, bounded, shared by processes, and never needed."""

import hashlib
import logging
import multiprocessing
import os
import random
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from store_cases import (
    ASSET,
    EXPERIMENT,
    Crash,
    Faulty,
    LineFormat,
    line,
    overwrite,
    published_line,
)

from churn_assets.store import cache as cache_module
from churn_assets.store.artifacts import ArtifactRef, ArtifactStore
from churn_assets.store.backend import ObjectInfo
from churn_assets.store.cache import FileCache, cache_of
from churn_assets.store.errors import CorruptArtifact, InvalidSetting
from churn_assets.store.gcs import GcsBackend

MIB = 1 << 20


@pytest.fixture
def cache(tmp_path: Path) -> FileCache:
    return FileCache(tmp_path / "cache", 100 * MIB)


@pytest.fixture
def backend(bucket: str) -> GcsBackend:
    return GcsBackend(bucket)


@pytest.fixture
def ref(backend: GcsBackend, tmp_path: Path) -> ArtifactRef:
    return published_line(ArtifactStore(backend), tmp_path / "staged", 1.0)


def kept(cache: FileCache) -> list[Path]:
    return sorted(path for path in (cache.folder / "files").rglob("*") if path.is_file())


def keep(cache: FileCache, data: bytes) -> str:
    sha256 = hashlib.sha256(data).hexdigest()
    with cache.workspace() as folder:
        (folder / "file").write_bytes(data)
        cache.keep(sha256, folder / "file")
    return sha256


def taken(cache: FileCache, sha256: str) -> bytes | None:
    with cache.workspace() as folder:
        return (folder / "file").read_bytes() if cache.take(sha256, folder / "file") else None


def test_what_is_kept_is_taken_as_it_was(cache: FileCache) -> None:
    sha256 = keep(cache, b"123456789")
    assert taken(cache, sha256) == b"123456789"
    assert taken(cache, "0" * 64) is None
    with cache.workspace() as folder:
        assert cache.take(sha256, folder / "file") == ObjectInfo(9, 0xE3069283)


def test_a_version_is_downloaded_once(backend: GcsBackend, ref: ArtifactRef, cache: FileCache) -> None:
    counting = Faulty(backend)
    for _ in range(3):
        store = ArtifactStore(counting, cache)
        assert store.load(ref, LineFormat())["about"] == {"tag": 1.0}
        store.verify(ref)
    fetched = [operation for operation in counting.operations if operation.startswith("fetch")]
    assert len(fetched) == len(set(fetched)) == len(kept(cache)) == 3
    assert list((cache.folder / "in_use").iterdir()) == []


@pytest.mark.parametrize("damage", ["flipped", "cut", "linked"])
def test_a_damaged_copy_is_thrown_away_says_so_and_is_fetched_again(
    damage: str, backend: GcsBackend, ref: ArtifactRef, cache: FileCache, caplog: pytest.LogCaptureFixture
) -> None:
    store = ArtifactStore(backend, cache)
    store.verify(ref)
    for path in kept(cache):
        data = path.read_bytes()
        path.unlink()
        if damage == "linked":
            path.symlink_to("/etc/hostname")
        else:
            path.write_bytes(bytes([data[0] ^ 1]) + data[1:] if damage == "flipped" else data[:-1])
    with caplog.at_level(logging.WARNING):
        assert store.load(ref, LineFormat())["about"] == {"tag": 1.0}
    assert caplog.text.count("no longer holds what its name says") == 3
    assert [hashlib.sha256(path.read_bytes()).hexdigest() for path in kept(cache)] == [
        path.name for path in kept(cache)
    ]


def test_a_version_broken_in_the_bucket_is_refused_although_a_good_copy_is_kept(
    backend: GcsBackend, ref: ArtifactRef, cache: FileCache
) -> None:
    store = ArtifactStore(backend, cache)
    store.verify(ref)
    whole = backend.read(f"{ref.prefix}about.json")
    overwrite(backend, f"{ref.prefix}about.json", bytes([whole[0] ^ 1]) + whole[1:])
    for use in (store.verify, lambda ref: store.load(ref, LineFormat())):
        with pytest.raises(
            CorruptArtifact, match=rf"{ref}: about\.json: found {len(whole)} bytes with crc32c"
        ):
            use(ref)
    backend.delete(f"{ref.prefix}about.json")
    with pytest.raises(CorruptArtifact, match=r"about\.json: found nothing"):
        store.verify(ref)


def test_what_was_used_longest_ago_makes_room(cache: FileCache) -> None:
    cache.limit = 3 * MIB
    names = []
    for number in range(3):
        names.append(keep(cache, bytes([number]) * MIB))
        os.utime(next(path for path in kept(cache) if path.name == names[-1]), (number, number))
    assert taken(cache, names[0]) is not None
    names.append(keep(cache, b"new" * 1000))
    assert [taken(cache, name) is not None for name in names] == [True, False, True, True]
    keep(cache, b"too large" * MIB)
    assert sum(path.stat().st_size for path in kept(cache)) <= cache.limit


def test_a_file_in_use_outlives_its_eviction(cache: FileCache) -> None:
    sha256 = keep(cache, b"x" * MIB)
    with cache.workspace() as folder:
        cache.take(sha256, folder / "file")
        cache.limit = 1
        keep(cache, b"y")
        assert kept(cache)[0].read_bytes() == b"y"
        assert (folder / "file").read_bytes() == b"x" * MIB


def test_what_a_killed_process_left_behind_is_cleared_away_after_a_day(cache: FileCache) -> None:
    with cache.workspace() as folder:
        (folder.parent / "abandoned").mkdir()
        (folder.parent / "abandoned" / "file").write_bytes(b"x")
        os.utime(folder.parent / "abandoned", (0, time.time() - 90_000))
        (folder.parent / "recent").mkdir()
        keep(cache, b"y")
        assert {path.name for path in folder.parent.iterdir()} == {folder.name, "recent"}


def load_again_and_again(
    emulator: str, bucket: str, folder: Path, refs: list[str], seed: int, times: int
) -> int:
    """Body of a process that loads versions through a cache too small for them; returns how many were right."""
    os.environ["STORAGE_EMULATOR_HOST"] = emulator
    store = ArtifactStore(GcsBackend(bucket), FileCache(folder, 4000))
    rng = random.Random(seed)
    right = 0
    for _ in range(times):
        number = rng.randrange(len(refs))
        loaded = store.load(ArtifactRef.parse(refs[number]), LineFormat())
        right += loaded["weights"].tobytes() == line(float(number))["weights"].tobytes()
    return right


def test_processes_that_share_a_cache_too_small_for_them_disturb_nobody(
    backend: GcsBackend, bucket: str, tmp_path: Path
) -> None:
    store = ArtifactStore(backend)
    refs = [str(published_line(store, tmp_path / f"s{tag}", float(tag))) for tag in range(5)]
    emulator, folder = os.environ["STORAGE_EMULATOR_HOST"], tmp_path / "cache"
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as pool:
        jobs = [
            pool.submit(load_again_and_again, emulator, bucket, folder, refs, seed, 15) for seed in range(4)
        ]
        assert [job.result() for job in jobs] == [15] * 4
    assert sum(path.stat().st_size for path in kept(FileCache(folder, 4000))) <= 4000


class DyingOs:
    """The ``os`` module as the cache sees it, dying before or after its n-th link."""

    def __init__(self, at: int | None, mode: str) -> None:
        self.at = at
        self.mode = mode
        self.calls = 0

    def __getattr__(self, name: str) -> object:
        return self._link if name == "link" else getattr(os, name)

    def _link(self, *args: object, **kwargs: object) -> None:
        hit = self.calls == self.at
        self.calls += 1
        if hit and self.mode == "before":
            raise Crash
        try:
            os.link(*args, **kwargs)
        except OSError:
            if not hit:
                raise
        if hit:
            raise Crash


@pytest.mark.parametrize("mode", ["before", "after"])
def test_a_crash_while_filling_the_cache_leaves_it_sound(
    mode: str, backend: GcsBackend, ref: ArtifactRef, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(folder: Path, links: object) -> None:
        monkeypatch.setattr(cache_module, "os", links)
        loaded = ArtifactStore(backend, FileCache(folder, 100 * MIB)).load(ref, LineFormat())
        assert loaded["about"] == {"tag": 1.0}

    counter = DyingOs(None, mode)
    load(tmp_path / "counted", counter)
    assert counter.calls == 6
    for at in range(counter.calls):
        folder = tmp_path / f"{mode}{at}"
        with pytest.raises(Crash):
            load(folder, DyingOs(at, mode))
        for path in kept(FileCache(folder, 0)):
            assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
        load(folder, os)


def test_the_environment_says_where_the_cache_is_and_how_large(tmp_path: Path) -> None:
    asked = cache_of({"CHURN_CACHE_DIR": str(tmp_path), "CHURN_CACHE_BYTES": "1000"})
    assert (asked.folder, asked.limit) == (tmp_path, 1000)
    assert cache_of({"XDG_CACHE_HOME": str(tmp_path)}).folder == tmp_path / "churn"
    assert cache_of({}).folder == Path.home() / ".cache" / "churn"
    for wrong in ("", "10 GB", "-1", "1e9"):
        with pytest.raises(InvalidSetting, match="CHURN_CACHE_BYTES: found"):
            cache_of({"CHURN_CACHE_BYTES": wrong})


def test_a_cache_of_no_size_keeps_nothing_and_loading_works(
    backend: GcsBackend, ref: ArtifactRef, cache: FileCache
) -> None:
    cache.limit = 0
    assert ArtifactStore(backend, cache).load(ref, LineFormat())["about"] == {"tag": 1.0}
    assert kept(cache) == []
    assert ArtifactStore(backend).versions(EXPERIMENT, ASSET) == [ref]

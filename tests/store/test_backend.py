"""What every backend must do; each test runs on all of them."""

import hashlib
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from churn_assets.store.backend import DOCUMENT_LIMIT, Backend, ObjectInfo
from churn_assets.store.digests import digests_of, info_of
from churn_assets.store.errors import (
    CorruptArtifact,
    InvalidName,
    ObjectExists,
    ObjectMissing,
)


def test_an_object_comes_back_as_it_was_created(backend: Backend, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(bytes(range(256)) * 9000)
    backend.create("a/from_file", source)
    backend.create("a/from_bytes", b"")
    backend.fetch("a/from_file", 256 * 9000, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == source.read_bytes() == backend.read("a/from_file")
    assert backend.read("a/from_bytes") == b""


def test_what_is_fetched_is_digested_on_its_way(backend: Backend, tmp_path: Path) -> None:
    backend.create("a/b", b"123456789")
    sha256 = hashlib.sha256(b"123456789").hexdigest()
    assert backend.fetch("a/b", 9) == backend.fetch("a/b", 9, tmp_path / "copy") == sha256


def test_the_storage_tells_size_and_checksum_of_what_it_holds(backend: Backend, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(bytes(range(256)) * 50_000)
    assert backend.create("a/b", source) == backend.info("a/b") == info_of(source.read_bytes())
    assert backend.create("a/c", b"123456789") == backend.info("a/c") == ObjectInfo(size=9, crc32c=0xE3069283)
    assert backend.create("a/d", b"") == backend.info("a/d") == ObjectInfo(size=0, crc32c=0)


@pytest.mark.parametrize("size", [0, 8, 10, 1 << 40])
def test_an_object_of_another_size_than_expected_is_not_fetched(
    size: int, backend: Backend, tmp_path: Path
) -> None:
    backend.create("a/b", b"123456789")
    with pytest.raises(CorruptArtifact, match=f"a/b: found 9 bytes, expected {size} bytes"):
        backend.fetch("a/b", size, tmp_path / "copy")


def test_an_object_too_large_for_a_document_is_not_read(backend: Backend, tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as huge:
        huge.truncate(DOCUMENT_LIMIT + 1)
    backend.create("a/b", tmp_path / "huge")
    with pytest.raises(CorruptArtifact, match=f"a/b: found more than {DOCUMENT_LIMIT} bytes"):
        backend.read("a/b")


def test_nothing_is_ever_overwritten(backend: Backend) -> None:
    backend.create("a/b", b"first")
    with pytest.raises(ObjectExists, match="a/b"):
        backend.create("a/b", b"second")
    assert backend.read("a/b") == b"first"


def test_a_missing_object_is_named(backend: Backend, tmp_path: Path) -> None:
    for read in (backend.read, backend.info, lambda key: backend.fetch(key, 1, tmp_path / "copy")):
        with pytest.raises(ObjectMissing, match="a/b"):
            read("a/b")
    assert not (tmp_path / "copy").exists()


def test_a_listing_is_sorted_and_stops_at_folder_names(backend: Backend) -> None:
    for key in ("a/2", "a/10/x", "ab/1", "a/1"):
        backend.create(key, b"")
    assert backend.list("a/") == ["a/1", "a/10/x", "a/2"]
    assert backend.list("") == ["a/1", "a/10/x", "a/2", "ab/1"]
    assert backend.list("nothing/") == []


def test_a_deleted_object_is_gone_and_deleting_again_is_no_error(backend: Backend) -> None:
    backend.create("a/b", b"x")
    backend.delete("a/b")
    backend.delete("a/b")
    backend.delete("never/was")
    assert backend.list("") == []


@pytest.mark.parametrize(
    "key", ["", "/etc/passwd", "a/../b", "..", "a//b", "a/", ".tmp/x", "a\\b", "a/\0", "a b"]
)
def test_a_key_that_could_leave_the_store_is_refused(backend: Backend, key: str, tmp_path: Path) -> None:
    for use in (backend.read, backend.info, backend.delete, lambda key: backend.create(key, b"")):
        with pytest.raises(InvalidName, match="store key"):
            use(key)


@pytest.mark.parametrize("prefix", ["a", "../", "/", "a/../"])
def test_a_prefix_is_a_folder_inside_the_store(backend: Backend, prefix: str) -> None:
    with pytest.raises(InvalidName):
        backend.list(prefix)


def test_a_large_object_comes_back_and_is_not_overwritten(backend: Backend, tmp_path: Path) -> None:
    size = 3 * (8 << 20)
    source = tmp_path / "source"
    source.write_bytes(random.Random(0).randbytes(size))
    backend.create("a/large", source)
    assert (backend.fetch("a/large", size, tmp_path / "copy"), backend.info("a/large")) == digests_of(source)
    assert (tmp_path / "copy").read_bytes() == source.read_bytes()
    for wrong in (size - 1, size + 1):
        with pytest.raises(CorruptArtifact, match=f"found {size} bytes, expected {wrong}"):
            backend.fetch("a/large", wrong)
    with pytest.raises(ObjectExists, match="a/large"):
        backend.create("a/large", source)


def test_a_file_is_fetched_to_a_new_place_only(backend: Backend, tmp_path: Path) -> None:
    backend.create("a/b", b"x")
    (tmp_path / "taken").write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        backend.fetch("a/b", 1, tmp_path / "taken")
    assert (tmp_path / "taken").read_bytes() == b"mine"


def test_of_many_writers_of_one_key_one_wins(backend: Backend) -> None:
    def write(number: int) -> bool:
        try:
            backend.create("a/b", b"%d" % number)
        except ObjectExists:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = [number for number, done in enumerate(pool.map(write, range(40))) if done]
    assert [backend.read("a/b")] == [b"%d" % number for number in won]


def test_a_source_that_is_not_there_is_an_error_of_its_own(backend: Backend, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such source"):
        backend.create("a/b", tmp_path / "no such source")
    assert backend.list("") == []


def test_an_object_of_more_bytes_than_are_meant_is_refused(backend: Backend) -> None:
    backend.create("a/b", b"12345")
    assert backend.info("a/b", 5).size == 5
    with pytest.raises(CorruptArtifact, match="found 5 bytes, expected at most 4 bytes"):
        backend.info("a/b", 4)

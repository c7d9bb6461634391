"""What only a local folder does: links, temporary files, and how a place is named."""

import errno
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from churn_assets.store import local
from churn_assets.store.digests import info_of
from churn_assets.store.errors import (
    CorruptArtifact,
    InvalidName,
    InvalidSetting,
    ObjectExists,
    StoreUnreachable,
    UnsupportedLocation,
)
from churn_assets.store.gcs import GcsBackend
from churn_assets.store.local import LocalBackend
from churn_assets.store.location import open_store


def test_a_symbolic_link_to_a_file_is_listed_and_never_followed(root: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (root / "a").mkdir(parents=True)
    (root / "a" / "b").symlink_to(secret)
    backend = LocalBackend(root)
    assert backend.list("a/") == ["a/b"]
    with pytest.raises(CorruptArtifact, match="symbolic link"):
        backend.read("a/b")


def test_a_symbolic_link_to_a_folder_is_neither_read_nor_written_through(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "b").write_text("secret")
    root.mkdir()
    (root / "a").symlink_to(outside)
    backend = LocalBackend(root)
    with pytest.raises(CorruptArtifact, match="symbolic link"):
        backend.read("a/b")
    with pytest.raises(CorruptArtifact, match="symbolic link"):
        backend.create("a/c", b"")
    assert sorted(path.name for path in outside.iterdir()) == ["b"]


def test_a_failed_write_leaves_no_temporary_file(root: Path, tmp_path: Path) -> None:
    backend = LocalBackend(root)
    backend.create("a/b", b"x")
    with pytest.raises(ObjectExists):
        backend.create("a/b", b"y")
    with pytest.raises(FileNotFoundError):
        backend.create("a/c", tmp_path / "no such source")
    assert list((root / ".tmp").iterdir()) == []


@pytest.mark.parametrize("left", ["nothing", "an empty folder", "another run's drafts"])
def test_where_a_store_was_read_and_is_away_no_other_is_begun(left: str, root: Path, tmp_path: Path) -> None:
    """A disk that is not mounted any more, or a folder that somebody moved: what is written there would be gone."""
    backend, source = LocalBackend(root), tmp_path / "source"
    source.write_bytes(b"y")
    backend.create("a/b", b"x")
    assert backend.read("a/b") == b"x"
    root.rename(tmp_path / "away")
    if left != "nothing":
        (root / ".tmp" if "drafts" in left else root).mkdir(parents=True)
    for write in (lambda: backend.create("a/c", b"y"), lambda: backend.adopt("a/c", source)):
        with pytest.raises(StoreUnreachable, match="found no store any more"):
            write()
    assert source.read_bytes() == b"y"
    shutil.rmtree(root, ignore_errors=True)
    (tmp_path / "away").rename(root)
    backend.create("a/c", b"y")
    assert backend.list("") == ["a/b", "a/c"]


def test_an_adopted_file_is_an_object_without_a_copy(root: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"finished")
    backend = LocalBackend(root)
    found = backend.adopt("a/b", source)
    assert found == backend.info("a/b") == info_of(b"finished")
    status = (root / "a" / "b").stat()
    assert (status.st_ino, status.st_mode & 0o777) == (source.stat().st_ino, 0o400)
    source.unlink()
    assert backend.read("a/b") == b"finished"
    assert backend.list("") == ["a/b"]


@pytest.mark.parametrize(("shared", "modes"), [(False, {0o400, 0o700}), (True, {0o440, 0o750})])
def test_what_is_stored_is_its_owners_alone_unless_its_group_may_read(
    shared: bool, modes: set[int], root: Path, tmp_path: Path
) -> None:
    backend = LocalBackend(root, shared=shared)
    (tmp_path / "source").write_bytes(b"decided")
    before = os.umask(0)
    try:
        backend.create("artifacts/a/customers.parquet", b"personal")
        backend.adopt("decisions/a/segment.log", tmp_path / "source")
    finally:
        os.umask(before)
    found = [root, *root.rglob("*")]
    assert {path.stat().st_mode & 0o777 for path in found} == modes


def test_the_variable_that_shares_a_store_says_yes_or_no(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHURN_STORE_SHARED", "1")
    open_store(str(root), root=root.parent).backend.create("a/b", b"x")
    assert (root / "a/b").stat().st_mode & 0o777 == 0o440
    monkeypatch.setenv("CHURN_STORE_SHARED", "yes")
    with pytest.raises(InvalidSetting, match="CHURN_STORE_SHARED: found 'yes', expected 1 or 0"):
        open_store(str(root), root=root.parent)


def test_an_adopted_file_takes_nobodys_name(root: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"second")
    backend = LocalBackend(root)
    backend.create("a/b", b"first")
    with pytest.raises(ObjectExists):
        backend.adopt("a/b", source)
    assert backend.read("a/b") == b"first"
    assert source.read_bytes() == b"second"


def test_a_link_or_a_folder_is_not_adopted(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    for source in (tmp_path / "link", tmp_path):
        with pytest.raises(CorruptArtifact, match="plain file"):
            LocalBackend(root).adopt("a/b", source)
    assert LocalBackend(root).list("") == []


MEMORY = Path("/dev/shm")


@pytest.mark.skipif(not MEMORY.is_dir(), reason="needs a second file system")
def test_a_file_on_another_file_system_is_copied_after_all(root: Path) -> None:
    with tempfile.NamedTemporaryFile(dir=MEMORY) as source:
        source.write(b"far away")
        source.flush()
        LocalBackend(root).adopt("a/b", Path(source.name))
    assert LocalBackend(root).read("a/b") == b"far away"


class FailingDisk:
    """The ``os`` module, whose disk fails once, while more is being written, and tells nobody again."""

    def __getattr__(self, name: str) -> object:
        return getattr(os, name)

    def fdatasync(self, _: int) -> None:
        raise OSError(errno.EIO, "the disk failed")


def test_a_disk_that_failed_during_the_copy_stores_nothing(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.write_bytes(bytes(4 << 20))
    monkeypatch.setattr(local, "_FLUSH_EVERY", 1 << 20)
    monkeypatch.setattr(local, "os", FailingDisk())
    with pytest.raises(OSError, match="the disk failed"):
        LocalBackend(root).create("a/b", source)
    assert LocalBackend(root).list("") == []


def test_a_location_is_a_folder_relative_to_the_project_or_a_file_uri(tmp_path: Path) -> None:
    for uri in (".churn/store", str(tmp_path / ".churn/store"), (tmp_path / ".churn/store").as_uri()):
        backend = open_store(uri, root=tmp_path).backend
        assert isinstance(backend, LocalBackend)
        assert backend.root == (tmp_path / ".churn/store").resolve()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("uri", "prefix"),
    [
        ("gs://a-bucket", ""),
        ("gs://a-bucket/", ""),
        ("gs://a-bucket/team/churn", "team/churn/"),
        ("/gcs/a-bucket/team/churn/", "team/churn/"),
    ],
)
def test_a_location_is_a_bucket_as_a_uri_or_as_vertex_mounts_it(
    uri: str, prefix: str, tmp_path: Path
) -> None:
    backend = open_store(uri, root=tmp_path).backend
    assert isinstance(backend, GcsBackend)
    assert (backend.bucket, backend.prefix) == ("a-bucket", prefix)


@pytest.mark.parametrize(
    "uri", ["gs://A/x", "gs://a", "gs://a-bucket/../b", "gs://a-bucket//x", "/gcs/a_b/.x"]
)
def test_a_bucket_or_prefix_that_cannot_be_one_is_refused_by_name(uri: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidName, match="found"):
        open_store(uri, root=tmp_path)


@pytest.mark.parametrize(
    "uri", ["gs://", "gs:///prefix", "s3://bucket", "", "file://host/share", "http://x/y"]
)
def test_another_location_is_refused_by_name(uri: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedLocation, match="store uri"):
        open_store(uri, root=tmp_path)


@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_stands_where_drafts_belong_is_named_as_that(tmp_path, kind):
    backend = LocalBackend(tmp_path / "store")
    (tmp_path / "store").mkdir()
    place = tmp_path / "store" / ".tmp"
    place.write_text("x") if kind == "file" else place.symlink_to(tmp_path)
    with pytest.raises(CorruptArtifact, match=r"^\.tmp: found a symbolic link or another kind of file"):
        backend.create("channels/c/000000000001.json", b"x")
    place.unlink()
    backend.create("channels/c/000000000001.json", b"x")


def test_a_file_in_place_of_the_store_or_of_a_folder_is_told_and_not_taken_for_nothing(
    tmp_path: Path,
) -> None:
    (tmp_path / "store").write_text("a mount point that went wrong")
    with pytest.raises(CorruptArtifact, match="another kind of file, expected a folder"):
        LocalBackend(tmp_path / "store").list("")
    backend = LocalBackend(tmp_path / "sound")
    backend.create("channels", b"?")
    with pytest.raises(CorruptArtifact, match="another kind of file, expected a folder"):
        backend.list("channels/production/")

"""Files that an experiment reads from outside: whole copies of objects, and what is said where there is none."""

from pathlib import Path

import pytest
import requests
from flaky_line import flaky_line
from gcs_server import GcsServer

from churn_assets.store.errors import BucketMissing, InputChanged, UnsupportedLocation
from churn_assets.store.gcs import GcsBackend
from churn_assets.store.inputs import content_of, local_copy


def test_a_file_is_read_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.csv").write_text("1")
    with local_copy("in/a.csv", tmp_path) as (path, name):
        assert path == tmp_path / "in" / "a.csv"
        assert name == str(path)
    assert content_of("in/a.csv", tmp_path)
    assert content_of("in/b.csv", tmp_path) == ""


def test_a_folder_is_named_by_its_files(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    before = content_of("model", tmp_path)
    (tmp_path / "model" / "weights").write_text("1")
    assert before != content_of("model", tmp_path)
    (tmp_path / "model" / "weights").unlink()
    assert before == content_of("model", tmp_path)


def test_an_object_is_copied_under_its_own_name_and_the_copy_goes(bucket: str, tmp_path: Path) -> None:
    GcsBackend(bucket).create("in/a.csv", b"1,2")
    source = f"gs://{bucket}/in/a.csv"
    with local_copy(source, tmp_path) as (path, name):
        assert (path.name, path.read_bytes(), name) == ("a.csv", b"1,2", source)
    assert not path.exists()


def test_content_tells_objects_apart_and_is_the_same_for_the_same_bytes(bucket: str, tmp_path: Path) -> None:
    for name, data in (("a.csv", b"1"), ("b.csv", b"2"), ("c.csv", b"1")):
        GcsBackend(bucket).create(name, data)
    a, b, c = (content_of(f"gs://{bucket}/{name}.csv", tmp_path) for name in "abc")
    assert a == c != b


def test_an_object_that_is_not_there_has_no_content_and_leads_nowhere(bucket: str, tmp_path: Path) -> None:
    source = f"gs://{bucket}/none.csv"
    assert content_of(source, tmp_path) == ""
    with local_copy(source, tmp_path) as (path, name):
        assert not path.exists()
        assert name == source


def test_a_missing_bucket_is_named(bucket: str, tmp_path: Path) -> None:
    with pytest.raises(BucketMissing, match=r"gs://no-such-bucket/a\.csv"):
        content_of("gs://no-such-bucket/a.csv", tmp_path)


@pytest.mark.parametrize("source", ["gs://bucket", "gs://bucket/", "gs://bucket/folder/"])
def test_a_bucket_or_a_folder_is_no_object(source: str, tmp_path: Path) -> None:
    with (
        pytest.raises(UnsupportedLocation, match=rf"{source}: found no object's name"),
        local_copy(source, tmp_path),
    ):
        pass


@pytest.mark.parametrize("later", [b"9,9", b"longer than it was"])
def test_an_object_that_is_replaced_while_it_is_read_is_refused(
    later: bytes, bucket: str, gcs_server: GcsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    GcsBackend(bucket).create("a.csv", b"1,2")
    source = f"gs://{bucket}/a.csv"

    def replaced(_method: str, path: str, _body: bytes) -> str:
        if "alt=media" in path:
            gcs_server.upload(bucket, "a.csv", later)
        return "pass"

    with flaky_line(gcs_server.url, replaced) as url:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        with pytest.raises(InputChanged, match=rf"{source}: found .* bytes"), local_copy(source, tmp_path):
            pass
    assert requests.get(f"{gcs_server.url}/storage/v1/b/{bucket}/o/a.csv", timeout=5).json()["size"] == str(
        len(later)
    )

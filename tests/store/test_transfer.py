"""A store copied to another place: the same versions, reports and logs; verified, resumable, valid at every crash."""

import os
import shutil
from contextlib import suppress

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
    days,
    overwrite,
    promote,
    published_line,
)

from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.channels import Channel
from churn_assets.store.errors import ChannelConflict, ContentError, CorruptArtifact
from churn_assets.store.gcs import GcsBackend
from churn_assets.store.local import LocalBackend
from churn_assets.store.transfer import copy_store


def quiet(version, done, total):
    """Nobody watches."""


@pytest.fixture
def store(root):
    """The source: a folder, so that a bucket can be the target."""
    return ArtifactStore(LocalBackend(root))


@pytest.fixture
def filled(store, tmp_path):
    """Three versions, two of which led; reports, one of them replaced; a rollback."""
    refs = [published_line(store, tmp_path / str(tag), tag, NOW + days(tag)) for tag in (1.0, 2.0, 3.0)]
    store.add_gate_report(refs[0], "ranks_well", {"auc": 0.7})
    store.add_gate_report(refs[0], "ranks_well", {"auc": 0.8})
    for ref in refs[:2]:
        promote(store, ref, now=NOW + days(2))
    act("rollback", store, refs[0], now=NOW + days(2))
    promote(store, refs[2], channel="challenger", now=NOW + days(3))
    return store, refs


@pytest.fixture
def target(tmp_path):
    return ArtifactStore(LocalBackend(tmp_path / "target"))


@pytest.fixture
def remote(bucket):
    return ArtifactStore(GcsBackend(bucket, "team/churn"))


def content(store):
    return {key: store.backend.read(key) for key in store.backend.list("")}


def test_everything_arrives_byte_for_byte(filled, target):
    store, refs = filled
    heard = []
    done = copy_store(store, target, lambda *told: heard.append(told))
    assert content(target) == content(store)
    assert [target.load(ref, LineFormat())["about"]["tag"] for ref in refs] == [1.0, 2.0, 3.0]
    assert target.gate_reports(refs[0]) == {"ranks_well": {"auc": 0.8}}
    assert Channel(target, "champion").history() == Channel(store, "champion").history()
    assert (done.versions, done.there, done.gate_reports) == (3, 0, 2)
    assert done.records == {"champion": 3, "challenger": 1}
    assert (done.problems, done.left) == ([], [])
    assert heard == [(str(ref), number, 3) for number, ref in enumerate(refs, start=1)]


def test_what_is_no_plain_file_is_told_and_stops_no_copy(filled, target):
    store, _ = filled
    root = store.backend.root
    os.mkfifo(root / "pipe")
    (root / "loop").symlink_to("loop")
    (root / "notes.txt").write_text("somebody's")
    done = copy_store(store, target, quiet)
    assert (done.left, done.problems, done.records) == (
        ["loop", "notes.txt", "pipe"], [], {"champion": 3, "challenger": 1}
    )  # fmt: skip
    (root / "decisions").mkdir()
    os.mkfifo(root / "decisions" / "pipe")
    done = copy_store(store, target, quiet)
    assert [each.split(":")[0] for each in done.problems] == ["decisions/pipe"]


def test_a_folder_moves_to_a_bucket_and_back_unchanged(filled, remote, target):
    store, _ = filled
    assert copy_store(store, remote, quiet).versions == 3
    assert copy_store(store, remote, quiet).there == 3
    assert copy_store(remote, target, quiet).records == {"champion": 3, "challenger": 1}
    assert content(target) == content(remote) == content(store)


def test_copying_again_moves_nothing_and_takes_what_is_new(filled, target, tmp_path):
    store, refs = filled
    copy_store(store, target, quiet)
    new = published_line(store, tmp_path / "new", 4.0, NOW + days(4))
    store.add_gate_report(refs[1], "ranks_well", {"auc": 0.9})
    promote(store, new, now=NOW + days(4))
    done = copy_store(store, target, quiet)
    assert (done.versions, done.there) == (1, 3)
    assert content(target) == content(store)


def test_a_target_that_went_on_by_itself_stays_as_it_is(filled, target):
    store, refs = filled
    copy_store(store, target, quiet)
    act("rollback", target, refs[1], now=NOW + days(3))
    assert copy_store(store, target, quiet).records == {"champion": 3, "challenger": 1}
    assert Channel(target, "champion").head().seq == 4


@pytest.mark.parametrize("mode", Faulty.MODES)
def test_after_a_crash_at_any_operation_the_target_is_a_store_and_the_next_copy_finishes(
    mode, filled, target, tmp_path
):
    store, _ = filled
    pristine = content(store)
    counted = Faulty(target.backend)
    copy_store(store, ArtifactStore(counted), quiet)
    assert len(counted.operations) > 30
    for at in range(len(counted.operations)):
        folder = tmp_path / f"{mode}-{at}"
        place = ArtifactStore(LocalBackend(folder))
        with suppress(Crash, Unanswered):
            copy_store(store, ArtifactStore(Faulty(place.backend, at, mode)), quiet)
        for ref in place.versions(EXPERIMENT, ASSET):
            place.load(ref, LineFormat())
            assert place.gate_reports(ref) == store.gate_reports(ref)
        for name in ("champion", "challenger"):
            for record in Channel(place, name).history():
                assert place.exists(record.ref)
        copy_store(store, place, quiet)
        assert content(place) == pristine
        shutil.rmtree(folder)


@pytest.mark.parametrize(
    "file",
    [
        "weights.safetensors",
        "tables/scores.parquet",
        "manifest.json",
        "gates/ranks_well/000001.json",
        "gates/ranks_well/000002.json",
    ],
)
def test_a_changed_byte_is_told_and_nothing_of_that_version_or_of_any_log_is_copied(
    filled, target, root, file
):
    store, refs = filled
    key = refs[0].prefix + file
    data = store.backend.read(key)
    overwrite(root, key, data[:-2] + bytes([data[-2] ^ 1]) + data[-1:])
    done = copy_store(store, target, quiet)
    (problem,) = done.problems
    assert str(refs[0]) in problem
    assert file.rsplit("/", 1)[-1] in problem
    assert target.versions(EXPERIMENT, ASSET) == refs[1:]
    assert target.backend.list("channels/") == []


def test_a_log_that_was_rewritten_is_refused_before_anything_is_copied(filled, target, root):
    store, _ = filled
    overwrite(root, "channels/champion/000000000001.json", b"{}")
    with pytest.raises(ContentError, match="000000000001"):
        copy_store(store, target, quiet)
    assert target.backend.list("") == []


def test_other_bytes_at_the_target_are_never_taken_for_a_copy(filled, target, tmp_path):
    store, refs = filled
    key = refs[0].prefix + "weights.safetensors"
    overwrite(tmp_path / "target", key, bytes(len(store.backend.read(key))))
    (problem,) = copy_store(store, target, quiet).problems
    assert "at the target" in problem
    assert not target.exists(refs[0])


def test_a_copied_version_that_rotted_at_the_target_is_told(filled, target, tmp_path):
    store, refs = filled
    copy_store(store, target, quiet)
    key = refs[0].prefix + "weights.safetensors"
    overwrite(tmp_path / "target", key, bytes(len(store.backend.read(key))))
    (problem,) = copy_store(store, target, quiet).problems
    assert "weights.safetensors" in problem


def test_a_target_whose_log_went_another_way_is_refused(filled, target):
    store, refs = filled
    copy_store(store, target, quiet)
    act("rollback", target, refs[1], now=NOW + days(3), actor="bob")
    act("rollback", store, refs[1], now=NOW + days(3), actor="ada")
    with pytest.raises(ChannelConflict, match="another way"):
        copy_store(store, target, quiet)


def test_leftovers_and_foreign_objects_are_told_and_left(filled, target, root):
    store, refs = filled
    left = [
        "artifacts/notes.txt",
        f"artifacts/{EXPERIMENT}/{ASSET}/20261201T000000Z-0123456789ab/about.json",
        refs[2].prefix + "stray.json",
    ]
    for key in left:
        overwrite(root, key, b"{}")
    done = copy_store(store, target, quiet)
    assert sorted(done.left) == sorted(left)
    assert done.versions == 3
    assert not set(left) & set(target.backend.list(""))


def test_a_file_that_is_missing_at_the_source_is_told(filled, target, root):
    store, refs = filled
    (root / refs[0].prefix / "about.json").unlink()
    (problem,) = copy_store(store, target, quiet).problems
    assert "about.json" in problem
    with pytest.raises(CorruptArtifact):
        store.verify(refs[0])


def test_what_others_keep_in_the_store_moves_with_it_and_must_be_the_same(filled, target):
    store, _ = filled
    store.backend.create("decisions/quickstart/20260301/a.seg", b"decided")
    done = copy_store(store, target, quiet)
    assert done.others == 1
    assert target.backend.read("decisions/quickstart/20260301/a.seg") == b"decided"
    assert copy_store(store, target, quiet).others == 1
    overwrite(target.backend, "decisions/quickstart/20260301/a.seg", b"DECIDED")
    with pytest.raises(CorruptArtifact, match="at the target"):
        copy_store(store, target, quiet)

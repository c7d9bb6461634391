"""Publishing, loading and finding versions on a store that nobody has broken; on every backend."""

from datetime import datetime
from pathlib import Path

import pytest
from store_cases import (
    ASSET,
    EXPERIMENT,
    NOW,
    LineFormat,
    days,
    line,
    overwrite,
    provenance,
    published_line,
    staged_line,
)

from churn_assets.store.artifacts import ArtifactRef, ArtifactStore, stage
from churn_assets.store.errors import (
    CorruptArtifact,
    GoldenMismatch,
    IncompatibleArtifact,
    InvalidName,
    ObjectMissing,
    PublishConflict,
)


def test_a_published_version_loads_equal(store: ArtifactStore, tmp_path: Path) -> None:
    loaded = store.load(published_line(store, tmp_path / "s", 0.1), LineFormat())
    assert loaded["about"] == {"tag": 0.1}
    assert loaded["weights"].tobytes() == line(0.1)["weights"].tobytes()
    assert loaded["table"].equals(line(0.1)["table"])


def test_the_version_is_the_minting_second_and_the_content_digest(
    store: ArtifactStore, tmp_path: Path
) -> None:
    staged = staged_line(tmp_path / "s", 1.0)
    ref = store.publish(staged, provenance(), NOW)
    assert str(ref) == f"{EXPERIMENT}/{ASSET}/20261122T124501Z-{staged.digest[:12]}"
    assert ArtifactRef.parse(str(ref)) == ref


def test_equal_values_have_equal_digests_and_other_values_do_not(tmp_path: Path) -> None:
    digests = [staged_line(tmp_path / str(i), tag).digest for i, tag in enumerate((1.0, 1.0, 1.5))]
    assert digests[0] == digests[1] != digests[2]


def test_the_manifest_tells_where_a_version_comes_from(store: ArtifactStore, tmp_path: Path) -> None:
    origin = provenance(
        upstream={"customers": "quickstart/customers/v1"}, metrics={"auc": 0.85, "kind": "line", "n": 3}
    )
    ref = store.publish(staged_line(tmp_path / "s", 1.0), origin, NOW)
    manifest = store.manifest(ref)
    assert manifest.provenance == origin
    assert manifest.created_at == NOW.replace(microsecond=0)
    assert manifest.loader == "line/1"
    assert set(manifest.packages) == {"numpy", "pandas"}
    assert [entry.path for entry in manifest.files] == [
        "about.json",
        "tables/scores.parquet",
        "weights.safetensors",
    ]


def test_versions_are_listed_oldest_first_and_only_once_committed(
    store: ArtifactStore, tmp_path: Path
) -> None:
    late = published_line(store, tmp_path / "a", 1.0, NOW + days(1))
    early = published_line(store, tmp_path / "b", 1.0, NOW)
    overwrite(
        store.backend, f"artifacts/{EXPERIMENT}/{ASSET}/20270101T000000Z-0123456789ab/about.json", b"{}"
    )
    assert store.versions(EXPERIMENT, ASSET) == [early, late]
    assert store.versions(EXPERIMENT, "accept_model") == []
    assert store.exists(early)
    assert not store.exists(ArtifactRef(EXPERIMENT, ASSET, "20270101T000000Z-0123456789ab"))


def test_publishing_again_under_the_same_minting_time_is_the_same_version(
    store: ArtifactStore, tmp_path: Path
) -> None:
    first = published_line(store, tmp_path / "a", 1.0)
    again = store.publish(
        staged_line(tmp_path / "b", 1.0), provenance(run_id="r2", metrics={"seconds": 3.2}), NOW
    )
    assert again == first
    assert store.manifest(first).provenance.run_id == "r1"


def test_a_version_never_changes_its_origin(store: ArtifactStore, tmp_path: Path) -> None:
    published_line(store, tmp_path / "a", 1.0)
    with pytest.raises(PublishConflict, match="seed 7, expected 8"):
        store.publish(staged_line(tmp_path / "b", 1.0), provenance(seed=8), NOW)


def test_a_leftover_of_equal_size_but_other_bytes_is_detected_before_the_commit(
    store: ArtifactStore, tmp_path: Path
) -> None:
    staged = staged_line(tmp_path / "a", 1.0)
    ref = ArtifactRef(EXPERIMENT, ASSET, f"20261122T124501Z-{staged.digest[:12]}")
    size = (staged.folder / "about.json").stat().st_size
    overwrite(store.backend, f"{ref.prefix}about.json", b"\0" * size)
    with pytest.raises(CorruptArtifact, match=rf"about\.json: found {size} bytes with crc32c"):
        store.publish(staged, provenance(), NOW)
    assert not store.exists(ref)
    later = store.publish(staged, provenance(), NOW + days(1))
    assert store.versions(EXPERIMENT, ASSET) == [later]


def test_a_stray_file_among_the_staged_ones_is_detected_before_the_commit(
    store: ArtifactStore, tmp_path: Path
) -> None:
    staged = staged_line(tmp_path / "a", 1.0)
    ref = ArtifactRef(EXPERIMENT, ASSET, f"20261122T124501Z-{staged.digest[:12]}")
    overwrite(store.backend, f"{ref.prefix}stray.bin", b"?")
    with pytest.raises(CorruptArtifact, match=r"extra \[.*stray\.bin"):
        store.publish(staged, provenance(), NOW)
    assert not store.exists(ref)


def test_a_file_that_changes_after_staging_is_not_committed(store: ArtifactStore, tmp_path: Path) -> None:
    staged = staged_line(tmp_path / "a", 1.0)
    path = staged.folder / "about.json"
    path.write_bytes(path.read_bytes().replace(b"1.0", b"9.0"))
    with pytest.raises(CorruptArtifact, match=r"about\.json"):
        store.publish(staged, provenance(), NOW)
    assert store.versions(EXPERIMENT, ASSET) == []


def test_a_value_that_does_not_survive_saving_is_not_staged(tmp_path: Path) -> None:
    class Forgetful(LineFormat):
        def load(self, folder):
            return {**super().load(folder), "weights": line(9.0)["weights"]}

    with pytest.raises(
        GoldenMismatch, match=rf"{ASSET}: manifest\.json: found other answers.*\[0\]: found 10"
    ):
        stage(ASSET, line(1.0), Forgetful(), tmp_path / "s")


def test_a_signature_that_does_not_survive_saving_is_not_staged(tmp_path: Path) -> None:
    class Renaming(LineFormat):
        def signature(self, value):
            return {"inputs": type(value["about"]["tag"]).__name__}

        def load(self, folder):
            return {**super().load(folder), "about": {"tag": "1.0"}}

    with pytest.raises(CorruptArtifact, match="another signature"):
        stage(ASSET, line(1.0), Renaming(), tmp_path / "s")


def test_staging_refuses_a_used_folder_and_an_empty_artifact(tmp_path: Path) -> None:
    staged_line(tmp_path / "s", 1.0)
    with pytest.raises(ValueError, match="not empty"):
        staged_line(tmp_path / "s", 1.0)

    class Empty(LineFormat):
        def save(self, value, folder):
            return None

    with pytest.raises(CorruptArtifact, match="no files"):
        stage(ASSET, line(1.0), Empty(), tmp_path / "e")


def test_a_symbolic_link_is_not_staged(tmp_path: Path) -> None:
    class Linking(LineFormat):
        def save(self, value, folder):
            super().save(value, folder)
            (folder / "link").symlink_to("/etc/hostname")

    with pytest.raises(CorruptArtifact, match="link: found a link"):
        stage(ASSET, line(1.0), Linking(), tmp_path / "s")


def test_another_loader_is_refused_by_name(store: ArtifactStore, tmp_path: Path) -> None:
    class Newer(LineFormat):
        loader = "line/2"

    with pytest.raises(IncompatibleArtifact, match=r"found loader 'line/1', expected loader 'line/2'"):
        store.load(published_line(store, tmp_path / "s", 1.0), Newer())


def test_golden_rows_that_no_longer_hold_are_refused(store: ArtifactStore, tmp_path: Path) -> None:
    class Drifted(LineFormat):
        def replay(self, value, inputs):
            return [answer + 1e-12 for answer in super().replay(value, inputs)]

    ref = published_line(store, tmp_path / "s", 1.0)
    with pytest.raises(GoldenMismatch, match=rf"{ref}: .*rtol 0, atol 0"):
        store.load(ref, Drifted())


def test_an_unknown_version_is_missing(store: ArtifactStore) -> None:
    ref = ArtifactRef(EXPERIMENT, ASSET, "20261122T124501Z-0123456789ab")
    for use in (store.manifest, store.verify, store.gate_reports, lambda ref: store.load(ref, LineFormat())):
        if use == store.gate_reports:
            assert use(ref) == {}
            continue
        with pytest.raises(ObjectMissing, match=r"manifest\.json"):
            use(ref)


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "-x", "a b", "a\n"])
def test_a_name_that_could_leave_its_place_is_refused(
    name: str, store: ArtifactStore, tmp_path: Path
) -> None:
    for build in (
        lambda: ArtifactRef(EXPERIMENT, ASSET, name),
        lambda: store.versions(name, ASSET),
        lambda: stage(name, line(1.0), LineFormat(), tmp_path / "s"),
        lambda: provenance(experiment=name),
    ):
        with pytest.raises(ValueError, match="name"):
            build()
    with pytest.raises(InvalidName, match="expected experiment/asset/version"):
        ArtifactRef.parse("a/b")


def test_a_minting_time_without_a_zone_is_refused(store: ArtifactStore, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="time zone"):
        store.publish(staged_line(tmp_path / "s", 1.0), provenance(), datetime(2026, 11, 22))  # noqa: DTZ001


def test_a_metric_that_is_no_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="finite"):
        provenance(metrics={"auc": float("nan")})


def test_the_newest_gate_report_of_each_check_counts(store: ArtifactStore, tmp_path: Path) -> None:
    ref = published_line(store, tmp_path / "s", 1.0)
    digest = store.manifest(ref).digest
    for figure in (0.7, 0.8, 0.8):
        store.add_gate_report(ref, "good_enough", {"figure": figure})
    store.add_gate_report(ref, "loads", {"passed": True})
    assert store.gate_reports(ref) == {"good_enough": {"figure": 0.8}, "loads": {"passed": True}}
    assert store.backend.list(ref.gates_prefix) == [
        f"{ref.gates_prefix}good_enough/000001.json",
        f"{ref.gates_prefix}good_enough/000002.json",
        f"{ref.gates_prefix}loads/000001.json",
    ]
    assert store.verify(ref).digest == digest
    assert published_line(store, tmp_path / "t", 1.0) == ref


def test_a_gate_report_belongs_to_a_committed_version(store: ArtifactStore) -> None:
    with pytest.raises(ObjectMissing):
        store.add_gate_report(ArtifactRef(EXPERIMENT, ASSET, "20261122T124501Z-0123456789ab"), "loads", {})

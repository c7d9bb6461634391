"""One flipped byte anywhere, in every kind of stored file, is refused by name; nothing is ever made of it."""

import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_cases import (
    ASSET,
    EXPERIMENT,
    NOW,
    LineFormat,
    overwrite,
    promote,
    provenance,
    published_line,
    staged_line,
)

from churn_assets.store.artifacts import ArtifactRef, ArtifactStore
from churn_assets.store.canonical import canonical_json, parse_json, seal, unseal
from churn_assets.store.channels import Channel
from churn_assets.store.errors import ContentError, CorruptArtifact, IncompatibleArtifact, ObjectMissing
from churn_assets.store.local import LocalBackend
from churn_assets.store.manifest import MANIFEST_SCHEMA, Manifest

FILES = ("about.json", "tables/scores.parquet", "weights.safetensors")


def flipped(data: bytes, position: int, mask: int) -> bytes:
    return data[:position] + bytes([data[position] ^ mask]) + data[position + 1 :]


@pytest.mark.parametrize("file", FILES)
def test_a_flipped_byte_in_a_file_is_refused_by_name(file: str, store: ArtifactStore, tmp_path: Path) -> None:
    ref = published_line(store, tmp_path / "s", 1.0)
    whole = store.backend.read(f"{ref.prefix}{file}")
    rng = random.Random(0)
    for position in {0, len(whole) - 1, *(rng.randrange(len(whole)) for _ in range(10))}:
        overwrite(store.backend, f"{ref.prefix}{file}", flipped(whole, position, 1 << rng.randrange(8)))
        with pytest.raises(CorruptArtifact, match=rf"{ref}: {file}: found sha256 \w+, expected sha256"):
            store.load(ref, LineFormat())
        with pytest.raises(CorruptArtifact):
            store.verify(ref)


@pytest.mark.parametrize("file", FILES)
def test_a_missing_or_cut_or_grown_file_is_refused_by_name(
    file: str, store: ArtifactStore, tmp_path: Path
) -> None:
    ref = published_line(store, tmp_path / "s", 1.0)
    whole = store.backend.read(f"{ref.prefix}{file}")
    for data in (whole[:-1], whole + b"\0", b""):
        overwrite(store.backend, f"{ref.prefix}{file}", data)
        with pytest.raises(
            CorruptArtifact, match=f"{file}: found {len(data)} bytes, expected {len(whole)} bytes"
        ):
            store.load(ref, LineFormat())
    store.backend.delete(f"{ref.prefix}{file}")
    with pytest.raises(CorruptArtifact, match=f"{file}: found nothing"):
        store.load(ref, LineFormat())


def test_any_flipped_bit_of_a_manifest_is_refused(store: ArtifactStore, tmp_path: Path) -> None:
    ref = published_line(store, tmp_path / "s", 1.0)
    whole = store.backend.read(ref.manifest_key)
    rng = random.Random(0)
    for position in range(len(whole)):
        with pytest.raises((CorruptArtifact, IncompatibleArtifact), match=r"manifest\.json"):
            Manifest.from_bytes(flipped(whole, position, 1 << rng.randrange(8)), file="manifest.json")
    overwrite(store.backend, ref.manifest_key, flipped(whole, len(whole) // 2, 1))
    with pytest.raises(CorruptArtifact, match=str(ref)):
        store.load(ref, LineFormat())


def test_any_flipped_bit_of_a_channel_record_is_refused(store: ArtifactStore, tmp_path: Path) -> None:
    promote(store, published_line(store, tmp_path / "s", 1.0))
    key = "channels/champion/000000000001.json"
    whole = store.backend.read(key)
    rng = random.Random(0)
    for position in range(0, len(whole), 7):
        overwrite(store.backend, key, flipped(whole, position, 1 << rng.randrange(8)))
        with pytest.raises((CorruptArtifact, IncompatibleArtifact), match=rf"channel champion: {key}"):
            Channel(store, "champion").head()


def test_a_flipped_bit_of_a_gate_report_is_refused(store: ArtifactStore, tmp_path: Path) -> None:
    ref = published_line(store, tmp_path / "s", 1.0)
    store.add_gate_report(ref, "good_enough", {"figure": 0.7, "passed": False})
    key = f"{ref.gates_prefix}good_enough/000001.json"
    whole = store.backend.read(key)
    overwrite(store.backend, key, whole.replace(b"false", b"true "))
    with pytest.raises(CorruptArtifact, match=r"good_enough/000001\.json"):
        store.gate_reports(ref)


def test_a_gate_report_of_another_version_is_refused(store: ArtifactStore, tmp_path: Path) -> None:
    good, bad = (published_line(store, tmp_path / str(tag), tag) for tag in (1.0, 2.0))
    store.add_gate_report(good, "loads", {"passed": True})
    overwrite(
        store.backend,
        f"{bad.gates_prefix}loads/000001.json",
        store.backend.read(f"{good.gates_prefix}loads/000001.json"),
    )
    with pytest.raises(CorruptArtifact, match=f"{bad}: .*found report 1 of 'loads' on '{good}'"):
        store.gate_reports(bad)


def test_a_manifest_moved_to_another_place_is_refused(store: ArtifactStore, tmp_path: Path) -> None:
    ref = published_line(store, tmp_path / "s", 1.0)
    data = store.backend.read(ref.manifest_key)
    for other in (
        ArtifactRef("production", ASSET, ref.version),
        ArtifactRef(EXPERIMENT, "accept_model", ref.version),
        ArtifactRef(EXPERIMENT, ASSET, "20261122T124502Z" + ref.version[16:]),
    ):
        overwrite(store.backend, other.manifest_key, data)
        with pytest.raises(
            CorruptArtifact, match=f"found the manifest of {ref}, expected the manifest of {other}"
        ):
            store.manifest(other)


def resealed(store: ArtifactStore, ref: ArtifactRef, **changes: object) -> None:
    """Alter a manifest and seal it again, as somebody who knows the code would."""
    data = store.backend.read(ref.manifest_key)
    document = unseal(data, file="manifest.json", schema_version=MANIFEST_SCHEMA)
    overwrite(store.backend, ref.manifest_key, seal({**document, **changes}))


def test_other_bytes_with_a_matching_manifest_still_do_not_match_the_version(
    store: ArtifactStore, tmp_path: Path
) -> None:
    ref, other = (published_line(store, tmp_path / str(tag), tag) for tag in (1.0, 2.0))
    files = unseal(store.backend.read(other.manifest_key), file="", schema_version=MANIFEST_SCHEMA)["files"]
    for file in FILES:
        overwrite(store.backend, f"{ref.prefix}{file}", store.backend.read(f"{other.prefix}{file}"))
    resealed(store, ref, files=files)
    with pytest.raises(CorruptArtifact, match="found the manifest of"):
        store.load(ref, LineFormat())


def test_a_manifest_of_the_future_is_refused_by_name(store: ArtifactStore, tmp_path: Path) -> None:
    ref = published_line(store, tmp_path / "s", 1.0)
    resealed(store, ref, schema_version=MANIFEST_SCHEMA + 1, invention="unknown here")
    with pytest.raises(
        IncompatibleArtifact,
        match=rf"{ref}: .*found schema_version {MANIFEST_SCHEMA + 1}, expected at most {MANIFEST_SCHEMA}: a newer",
    ):
        store.load(ref, LineFormat())


@pytest.mark.parametrize(
    "path", ["../../../escape", "/etc/passwd", "a/../../b", "manifest.json", "gates/x/1.json", ""]
)
def test_a_path_that_leaves_the_artifact_is_refused(path: str, store: ArtifactStore, tmp_path: Path) -> None:
    ref = published_line(store, tmp_path / "s", 1.0)
    files = unseal(store.backend.read(ref.manifest_key), file="", schema_version=MANIFEST_SCHEMA)["files"]
    resealed(store, ref, files=[{**files[0], "path": path}])
    with pytest.raises(CorruptArtifact, match=rf"{ref}: .*found files\.0\.path = "):
        store.load(ref, LineFormat())


@pytest.mark.parametrize(
    "change", [{"surprise": 1}, {"asset": 7}, {"files": []}, {"created_at": "yesterday"}]
)
def test_a_manifest_with_wrong_fields_is_refused_by_field(
    change: dict[str, object], store: ArtifactStore, tmp_path: Path
) -> None:
    ref = published_line(store, tmp_path / "s", 1.0)
    resealed(store, ref, **change)
    with pytest.raises(CorruptArtifact, match=f"found {next(iter(change))} = "):
        store.manifest(ref)


def test_a_file_replaced_by_a_symbolic_link_is_refused(root: Path, tmp_path: Path) -> None:
    store = ArtifactStore(LocalBackend(root))
    ref = published_line(store, tmp_path / "s", 1.0)
    path = root / ref.prefix / "about.json"
    path.rename(tmp_path / "elsewhere.json")
    path.symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(CorruptArtifact, match="symbolic link"):
        store.load(ref, LineFormat())


def test_a_manifest_of_absurd_size_is_not_read(root: Path, tmp_path: Path) -> None:
    store = ArtifactStore(LocalBackend(root))
    ref = published_line(store, tmp_path / "s", 1.0)
    with (tmp_path / "huge").open("wb") as huge:
        huge.truncate(1 << 40)
    store.backend.delete(ref.manifest_key)
    (tmp_path / "huge").rename(root / ref.manifest_key)
    with pytest.raises(CorruptArtifact, match="found more than"):
        store.manifest(ref)


@pytest.mark.parametrize("text", ['{"a":1,"a":2}', '{"a":NaN}', "{", "[" * 100_000, "\xff"])
def test_json_is_read_strictly(text: str) -> None:
    with pytest.raises(CorruptArtifact, match="unreadable JSON"):
        parse_json(text.encode("latin-1"), "x.json")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=60)
@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_a_sealed_document_opens_equal(document: dict[str, object]) -> None:
    document = {**document, "schema_version": 1}
    document.pop("seal", None)
    assert canonical_json(unseal(seal(document), file="x", schema_version=1)) == canonical_json(document)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_never_a_manifest(data: bytes) -> None:
    with pytest.raises(ContentError):
        Manifest.from_bytes(data, file="manifest.json")


def test_a_deleted_manifest_takes_the_whole_version_with_it(store: ArtifactStore, tmp_path: Path) -> None:
    ref = published_line(store, tmp_path / "s", 1.0)
    store.backend.delete(ref.manifest_key)
    assert store.versions(EXPERIMENT, ASSET) == []
    with pytest.raises(ObjectMissing):
        store.load(ref, LineFormat())
    assert store.publish(staged_line(tmp_path / "t", 1.0), provenance(), NOW) == ref

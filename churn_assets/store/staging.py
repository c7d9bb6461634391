"""Staging: a value saved to a local folder, hashed and proven to load again. Knows no backend."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import JsonValue

from churn_assets.store.backend import ObjectInfo
from churn_assets.store.canonical import canonical_json, parse_json
from churn_assets.store.digests import digests_of
from churn_assets.store.errors import ContentError, CorruptArtifact, GoldenMismatch
from churn_assets.store.formats import ArtifactFormat
from churn_assets.store.golden import first_difference
from churn_assets.store.manifest import FileEntry, GoldenRows, content_digest
from churn_assets.store.names import MANIFEST, check_name

T = TypeVar("T")


@dataclass(frozen=True)
class StagedArtifact:
    """A saved value, ready to be published.

    Attributes:
        folder: Local folder with the files.
        asset: Name of the asset.
        format: The format that wrote them.
        files: Their paths, sizes and digests, sorted by path.
        infos: What any storage that holds them must tell of each, by path.
        signature: Inputs and outputs.
        golden: Golden rows, if the format records any.
        digest: Content digest, 64 hex digits; the asset's data version.
    """

    folder: Path
    asset: str
    format: ArtifactFormat[Any]
    files: tuple[FileEntry, ...]
    infos: dict[str, ObjectInfo]
    signature: dict[str, JsonValue]
    golden: GoldenRows | None
    digest: str


def stage(asset: str, value: T, fmt: ArtifactFormat[T], folder: Path) -> StagedArtifact:
    """Save ``value``, hash the files, and read them back once: what cannot be loaded is never published.

    Args:
        asset: Name of the asset.
        value: What to save.
        fmt: How to save it.
        folder: Empty or new local folder; it must stay until the artifact is published.

    Raises:
        InvalidName: The asset's or a file's name cannot be stored.
        GoldenMismatch: Read back, the value answers its golden rows differently.
        CorruptArtifact: Nothing was saved, a saved file is a link, or the signature changes on the way.
        ValueError: ``folder`` is not empty, or the signature or golden rows hold NaN.
    """
    check_name("asset", asset)
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise ValueError(f"{asset}: staging folder {folder} is not empty")
    fmt.save(value, folder)
    files, infos = _digest(folder, asset)
    signature = _plain(fmt.signature(value))
    golden = fmt.golden(value)
    try:
        check_read_back(fmt, fmt.load(folder), signature, golden)
    except ContentError as error:
        raise error.about(asset) from error
    return StagedArtifact(
        folder, asset, fmt, files, infos, signature, golden, content_digest(files, fmt.loader, signature)
    )


def check_read_back(
    fmt: ArtifactFormat[T], value: T, signature: dict[str, JsonValue], golden: GoldenRows | None
) -> None:
    """Does a value that was read back have the recorded signature and give the recorded answers?

    Raises:
        CorruptArtifact: Its signature differs.
        GoldenMismatch: An answer differs.
    """
    found = _plain(fmt.signature(value))
    if difference := first_difference(found, signature, rtol=0.0, atol=0.0):
        raise CorruptArtifact(
            MANIFEST, f"another signature ({difference})", "the signature it was published with"
        )
    if golden is None:
        return
    answers = _plain(fmt.replay(value, golden.inputs))
    if difference := first_difference(answers, golden.outputs, rtol=golden.rtol, atol=golden.atol):
        expected = f"the answers at publishing (rtol {golden.rtol:g}, atol {golden.atol:g})"
        raise GoldenMismatch(MANIFEST, f"other answers to the golden rows ({difference})", expected)


def _plain(value: Any) -> Any:
    """``value`` as JSON gives it back: tuples become lists."""
    return parse_json(canonical_json(value), MANIFEST)


def _digest(folder: Path, asset: str) -> tuple[tuple[FileEntry, ...], dict[str, ObjectInfo]]:
    found = [path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]
    if not found:
        raise CorruptArtifact(folder.name, "no files", "at least one saved file", asset)
    for path in found:
        if path.is_symlink() or not path.is_file():
            raise CorruptArtifact(
                path.relative_to(folder).as_posix(), "a link or special file", "a plain file", asset
            )
    entries, infos = [], {}
    for path in sorted(found, key=lambda path: path.relative_to(folder).as_posix()):
        name = path.relative_to(folder).as_posix()
        sha256, infos[name] = digests_of(path)
        entries.append(FileEntry(path=name, size=infos[name].size, sha256=sha256))
    return tuple(entries), infos

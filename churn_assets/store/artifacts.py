"""Publishing, verifying and loading artifact versions. Which version is current is the channels' business."""

import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import partial
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Any, TypeVar

from churn_assets.store.backend import Backend, ObjectInfo, stored
from churn_assets.store.cache import FileCache
from churn_assets.store.erasures import replacement_of
from churn_assets.store.errors import (
    ContentError,
    CorruptArtifact,
    IncompatibleArtifact,
    ObjectExists,
    ObjectMissing,
    PublishConflict,
)
from churn_assets.store.formats import ArtifactFormat
from churn_assets.store.gate_reports import add_gate_report, gate_reports
from churn_assets.store.manifest import FileEntry, Manifest, Provenance, whole_second
from churn_assets.store.marks import SeenRecords
from churn_assets.store.names import MANIFEST, check_name, is_key
from churn_assets.store.reference import ARTIFACTS, ArtifactRef
from churn_assets.store.signatures import UNSIGNED, Signatures
from churn_assets.store.staging import StagedArtifact, check_read_back, stage

__all__ = ["ArtifactRef", "ArtifactStore", "StagedArtifact", "stage"]

T = TypeVar("T")
_VERSION = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{12}")
# What tells two trainings of equal bytes apart. Timings and run ids may differ between a try and its retry.
_ORIGIN = ("experiment", "upstream", "config_digest", "seed", "code_version")


class ArtifactStore:
    """Immutable, verified artifact versions on a backend.

    A version's files are written first, its manifest last: the manifest's existence is the commit. A crash
    at any point leaves either no such version or the whole of it, and publishing again finishes the work.

    Args:
        backend: Where the objects lie.
        cache: Local copies of a remote backend's files. A copy is used only if its SHA-256 and what the backend says
            of the object agree with the manifest, so a version is refused alike with a cache and without.
        signatures: Signs what is written and checks what is read, where the policy asks for it.
        seen: What this machine has seen of the channels; None keeps no such witness.
    """

    def __init__(
        self,
        backend: Backend,
        cache: FileCache | None = None,
        signatures: Signatures = UNSIGNED,
        seen: SeenRecords | None = None,
    ) -> None:
        self.backend = backend
        self.cache = cache
        self.signatures = signatures
        self.seen = seen

    def publish(self, staged: StagedArtifact, provenance: Provenance, minted_at: datetime) -> ArtifactRef:
        """Make a staged artifact a committed version; idempotent.

        Args:
            staged: What :func:`stage` returned; its folder must still be there.
            provenance: Where it comes from.
            minted_at: Aware time that names the version. Take it once per run and asset and keep it on a
                retry: then a retry finds its own work, finished or not.

        Returns:
            The version. If it was committed before, by this writer or one that trained the same, it stands.

        Raises:
            CorruptArtifact: What is stored under the version differs from what is staged, for instance a
                leftover of a crash; nothing was committed. Publishing with a new ``minted_at`` is then safe.
            PublishConflict: The version is committed with equal content but another origin.
            InvalidSetting: It would have to be signed, and no key is given that may.
        """
        manifest = _manifest(staged, provenance, minted_at)
        ref = ArtifactRef(provenance.experiment, staged.asset, manifest.version)
        if self.exists(ref):
            committed = self.verify(ref)
        else:
            for path, info in staged.infos.items():
                self._store_file(ref, path, staged.folder / path, info)
            self._compare_listing(ref, manifest)
            data = manifest.to_bytes()
            self.signatures.sign(self.backend, ref.manifest_key, data)
            # Another writer's manifest, or our own of an earlier try: it is read back and compared below.
            with suppress(ObjectExists):
                self.backend.create(ref.manifest_key, data)
            committed = self.manifest(ref)
        self._refuse_other_origin(ref, committed, manifest)
        return ref

    def exists(self, ref: ArtifactRef) -> bool:
        """Whether the version is committed; says nothing about its content."""
        try:
            self.backend.info(ref.manifest_key)
        except ObjectMissing:
            return False
        return True

    def versions(self, experiment: str, asset: str) -> list[ArtifactRef]:
        """Committed versions of an asset, oldest first. Unfinished and foreign folders are not versions."""
        prefix = f"{ARTIFACTS}{check_name('experiment', experiment)}/{check_name('asset', asset)}/"
        rest = (key.removeprefix(prefix).split("/") for key in self.backend.list(prefix))
        names = [parts[0] for parts in rest if parts[1:] == [MANIFEST] and _VERSION.fullmatch(parts[0])]
        return [ArtifactRef(experiment, asset, name) for name in sorted(names)]

    def manifest(self, ref: ArtifactRef) -> Manifest:
        """The manifest of a version, after checking that it is whole and belongs there.

        Raises:
            ObjectMissing: The version is not committed.
            IncompatibleArtifact: A newer schema wrote it.
            CorruptArtifact: It was altered, or belongs to another experiment, asset or version.
            UnsignedContent: Nobody signed it who may, and the policy asks for that.
        """
        key = ref.manifest_key
        try:
            data = self.backend.read(key)
            manifest = Manifest.from_bytes(data, file=key)
            self.signatures.check(self.backend, key, data)
        except ContentError as error:
            raise error.about(str(ref)) from error
        found = f"{manifest.provenance.experiment}/{manifest.asset}/{manifest.version}"
        if found != str(ref):
            raise CorruptArtifact(key, f"the manifest of {found}", f"the manifest of {ref}", str(ref))
        return manifest

    def verify(self, ref: ArtifactRef) -> Manifest:
        """Check manifest and every file's digest without loading anything.

        Raises:
            ObjectMissing: The version is not committed.
            IncompatibleArtifact: A newer schema wrote it.
            CorruptArtifact: The manifest or a file is missing or differs.
        """
        manifest = self.manifest(ref)
        if self.cache is None:
            for entry in manifest.files:
                self._fetch_verified(ref, entry)
        else:
            with self.cache.workspace() as folder:
                self._copy_verified(ref, manifest, folder)
        return manifest

    def load(self, ref: ArtifactRef, fmt: ArtifactFormat[T]) -> T:
        """Verify a version, read it, replay its golden rows, then hand it over.

        The files are copied to a private folder first; what was verified there is what is read.

        Raises:
            ObjectMissing: The version is not committed.
            IncompatibleArtifact: A newer schema or another loader wrote it.
            CorruptArtifact: The manifest, a file or the signature differs.
            UntrustedContent: A file could run code or crash the process.
            GoldenMismatch: The loaded value answers differently.
        """
        manifest = self.manifest(ref)
        if manifest.loader not in (fmt.loader, *fmt.reads):
            expected = f"loader {' or '.join(map(repr, (fmt.loader, *fmt.reads)))}"
            raise IncompatibleArtifact(MANIFEST, f"loader {manifest.loader!r}", expected, str(ref))
        with self.cache.workspace() if self.cache else _temporary_folder() as folder:
            self._copy_verified(ref, manifest, folder)
            try:
                value = fmt.load(folder)
                check_read_back(fmt, value, manifest.signature, manifest.golden)
            except ContentError as error:
                raise error.about(str(ref)) from error
        return value

    def add_gate_report(self, ref: ArtifactRef, check: str, report: dict[str, Any]) -> None:
        """Store a check's verdict beside a committed version; the newest of each check counts.

        Raises:
            ObjectMissing: The version is not committed.
            InvalidName: ``check`` is not one plain path segment.
        """
        self.backend.info(ref.manifest_key)
        add_gate_report(self.backend, ref, check, report, self.signatures)

    def gate_reports(self, ref: ArtifactRef) -> dict[str, dict[str, Any]]:
        """The newest report of every check on a version.

        Raises:
            CorruptArtifact: A report was altered or does not belong there.
            UnsignedContent: As of :meth:`manifest`.
        """
        return gate_reports(self.backend, ref, self.signatures)

    def _store_file(self, ref: ArtifactRef, path: str, source: Path, staged: ObjectInfo) -> None:
        """Store one file and have the storage attest it; nothing is read twice or downloaded again for that.

        Staging took SHA-256 and CRC-32C in one pass. That the storage finds the same CRC-32C in what it holds rules
        out every accident in between: a staged file that changed, a transfer that garbled it, a leftover of other
        bytes. CRC-32C stops no forger, which is why loading, and promoting, check SHA-256.
        """
        found = stored(self.backend, ref.prefix + path, source)
        if found != staged:
            raise CorruptArtifact(path, str(found), f"{staged} as staged", str(ref))

    def _compare_listing(self, ref: ArtifactRef, manifest: Manifest) -> None:
        """Are all files there, and none that the store could have written and this version has not?"""
        found = {
            key
            for key in self.backend.list(ref.prefix)
            if is_key(key) and key != ref.manifest_key and not key.startswith(ref.gates_prefix)
        }
        expected = {ref.prefix + entry.path for entry in manifest.files}
        if found != expected:
            extra, missing = sorted(found - expected), sorted(expected - found)
            raise CorruptArtifact(
                ref.prefix, f"extra {extra}, missing {missing}", "exactly the staged files", str(ref)
            )

    def _copy_verified(self, ref: ArtifactRef, manifest: Manifest, folder: Path) -> None:
        """Bring the files of a version to a private folder and verify each of them there."""
        for entry in manifest.files:
            destination = folder / entry.path
            destination.parent.mkdir(parents=True, exist_ok=True)
            self._where_it_is(ref, entry, partial(self._copy_one, ref, destination=destination))

    def _copy_one(self, ref: ArtifactRef, key: str, entry: FileEntry, destination: Path) -> None:
        kept = self.cache.take(entry.sha256, destination) if self.cache else None
        if kept is None:
            self._fetch_one(ref, key, entry, destination)
            if self.cache:
                self.cache.keep(entry.sha256, destination)
        elif (stored := self.backend.info(key)) != kept:
            raise CorruptArtifact(entry.path, str(stored), str(kept), str(ref))

    def _fetch_verified(self, ref: ArtifactRef, entry: FileEntry) -> None:
        self._where_it_is(ref, entry, partial(self._fetch_one, ref, destination=None))

    def _where_it_is(self, ref: ArtifactRef, entry: FileEntry, act: Callable[[str, FileEntry], None]) -> None:
        """Do something with a file of a version, or with what stands in its place since a person was erased."""
        try:
            act(ref.prefix + entry.path, entry)
        except ObjectMissing as error:
            found = replacement_of(self.backend, ref, entry.path, self.signatures)
            if found is None:
                expected = f"a file of {entry.size} bytes"
                raise CorruptArtifact(entry.path, "nothing", expected, str(ref)) from error
            act(found.key, found.entry)

    def _fetch_one(self, ref: ArtifactRef, key: str, entry: FileEntry, destination: Path | None) -> None:
        try:
            found = self.backend.fetch(key, entry.size, destination)
        except CorruptArtifact as error:
            raise CorruptArtifact(entry.path, error.found, error.expected, str(ref)) from error
        if found != entry.sha256:
            raise CorruptArtifact(entry.path, f"sha256 {found}", f"sha256 {entry.sha256}", str(ref))

    def _refuse_other_origin(self, ref: ArtifactRef, stored: Manifest, ours: Manifest) -> None:
        if stored.digest != ours.digest:
            raise CorruptArtifact(MANIFEST, f"content {stored.digest}", f"content {ours.digest}", str(ref))
        for field in _ORIGIN:
            found, expected = getattr(stored.provenance, field), getattr(ours.provenance, field)
            if found != expected:
                raise PublishConflict(
                    f"{ref}: already committed with {field} {found!r}, expected {expected!r}"
                )


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="artifact-") as name:
        yield Path(name)


def _manifest(staged: StagedArtifact, provenance: Provenance, minted_at: datetime) -> Manifest:
    return Manifest(
        asset=staged.asset,
        files=staged.files,
        loader=staged.format.loader,
        packages={name: package_version(name) for name in staged.format.packages},
        signature=staged.signature,
        golden=staged.golden,
        provenance=provenance,
        created_at=whole_second(minted_at),
    )

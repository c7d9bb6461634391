"""Copying a whole store to another place: verified, resumable, and a valid store after a crash at any point."""

import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.backend import Backend, ObjectInfo, stored
from churn_assets.store.canonical import unseal
from churn_assets.store.digests import digests_of
from churn_assets.store.erasures import FilePlace, file_places, is_record
from churn_assets.store.errors import (
    ChannelConflict,
    ContentError,
    CorruptArtifact,
    ObjectExists,
    ObjectMissing,
)
from churn_assets.store.gate_reports import REPORT_SCHEMA, is_gate_report
from churn_assets.store.logs import log_names, open_log
from churn_assets.store.marks import MARKS, leave_mark
from churn_assets.store.names import LOGS, is_key, record_key, record_place
from churn_assets.store.records import RecordLog
from churn_assets.store.reference import ARTIFACTS, ArtifactRef, by_version

Tell = Callable[[str, int, int], None]
"""Told after each version: the version, versions done, versions in all."""
Superseded = Callable[[str, Path], Iterable[str]]
"""Keys that an object beside the versions stands for since a person was erased, by its key and a local copy of it."""


@dataclass
class Copied:
    """What a copy did.

    Attributes:
        versions: Versions that were copied by this call.
        there: Versions that were there already, and agree.
        size: Bytes of files that were copied.
        gate_reports: Gate reports that agree, copied now or before.
        others: Objects beside versions and logs, such as segments of a decision log, that agree.
        records: Records that agree, copied now or before; by log.
        left: Keys that belong to no committed version: leftovers of crashes and foreign objects. Not copied.
        problems: Versions that do not verify and objects that are no plain ones, one line each. Where there is one, no
            record of a channel was copied.
    """

    versions: int = 0
    there: int = 0
    size: int = 0
    gate_reports: int = 0
    others: int = 0
    records: dict[str, int] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def copy_store(
    source: ArtifactStore, target: ArtifactStore, tell: Tell, superseded: Superseded = lambda *_: ()
) -> Copied:
    """Copy every committed version, its gate reports, every log and what else is kept; resumable.

    Logs are read and verified before versions are listed, so that every release they name is among these; they are
    written last, oldest record first. What is there already must be the same. A version that does not verify is a
    problem that is told, and keeps the logs from being copied: a store with a hole must not lead anybody. What was made
    anew in the source since an earlier copy is deleted in the target: whoever was erased here is erased there.

    Args:
        source: From where.
        target: To where.
        tell: Told of the progress.
        superseded: Of objects that are kept for others.

    Raises:
        ChannelConflict: A log of the target went another way.
        CorruptArtifact: A log of the source does not verify.
    """
    done = Copied()
    logs = _logs(source)
    versions, loose = by_version(source.backend.list(ARTIFACTS))
    done.left += loose
    for number, (ref, keys) in enumerate(versions.items(), start=1):
        try:
            _copy_version(source, target, ref, keys, done)
        except (ContentError, ObjectMissing) as error:
            done.problems.append(str(error))
        tell(str(ref), number, len(versions))
    keys = source.backend.list("")
    for key in keys:
        if key.startswith((ARTIFACTS, MARKS)) or record_place(key) is not None:
            continue
        if key.startswith(LOGS) or not is_key(key) or "/" not in key:
            done.left.append(key)
            continue
        try:
            ours = source.backend.info(key)
        except ContentError as error:  # no plain file
            done.problems.append(str(error))
            continue
        for old in set(_copy_other(source.backend, target.backend, key, ours, superseded)) - set(keys):
            target.backend.delete(old)
        done.others += 1
    if not done.problems:
        for log, records in logs:
            done.records[log.log] = _copy_log(log, records, target)
    return done


def _logs(source: ArtifactStore) -> list[tuple[RecordLog[Any], list[Any]]]:
    logs = [open_log(source, name) for name in log_names(source)]
    return [(log, log.history()) for log in logs]


def _copy_version(
    source: ArtifactStore, target: ArtifactStore, ref: ArtifactRef, keys: list[str], done: Copied
) -> None:
    """Files, then gate reports, then the manifest: its existence is the commit, as in publishing."""
    manifest = source.manifest(ref)
    there = target.exists(ref)
    files = file_places(source.backend, ref, manifest.files, source.signatures)
    for file, entry in zip(files, manifest.files, strict=True):
        if there and file.key == ref.prefix + entry.path:
            _compare(source.backend, target.backend, ref, file)
        else:
            _copy_file(source.backend, target.backend, ref, file)
            done.size += file.entry.size
    known = {file.key for file in files} | {ref.manifest_key}
    for key in filter(lambda key: is_record(ref, key), keys):
        _copy_document(target.backend, key, source.backend.read(key), str(ref))
        known.add(key)
    for file, entry in zip(files, manifest.files, strict=True):
        if file.key != ref.prefix + entry.path:  # erased here since an earlier copy: then there, too
            target.backend.delete(ref.prefix + entry.path)
    reports = [key for key in keys if is_gate_report(ref, key)]
    source.gate_reports(ref)  # the newest of each check stands where it belongs
    for key in reports:
        data = source.backend.read(key)
        try:
            unseal(data, file=key, schema_version=REPORT_SCHEMA)
        except ContentError as error:
            raise error.about(str(ref)) from error
        _copy_document(target.backend, key, data, str(ref))
    _copy_document(target.backend, ref.manifest_key, source.backend.read(ref.manifest_key), str(ref))
    done.gate_reports += len(reports)
    done.left += [key for key in keys if key not in known and key not in reports]
    done.there += there
    done.versions += not there


def _copy_file(source: Backend, target: Backend, ref: ArtifactRef, file: FilePlace) -> None:
    key, entry = file.key, file.entry
    with tempfile.TemporaryDirectory(prefix="copy-") as name:
        copy = Path(name) / "file"
        found = source.fetch(key, entry.size, copy)
        if found != entry.sha256:
            raise CorruptArtifact(entry.path, f"sha256 {found}", f"sha256 {entry.sha256}", str(ref))
        theirs = stored(target, key, copy)
        _, sent = digests_of(copy)
    if theirs != sent:
        raise CorruptArtifact(entry.path, f"{theirs} at the target", str(sent), str(ref))


def _copy_other(
    source: Backend, target: Backend, key: str, ours: ObjectInfo, superseded: Superseded
) -> Iterable[str]:
    """An object that the store keeps for others: whatever it says, it must arrive as the source tells it."""
    with tempfile.TemporaryDirectory(prefix="copy-") as name:
        copy = Path(name) / "file"
        source.fetch(key, ours.size, copy)
        theirs = stored(target, key, copy)
        old = list(superseded(key, copy))
    if theirs != ours:
        raise CorruptArtifact(key, f"{theirs} at the target", str(ours))
    return old


def _compare(source: Backend, target: Backend, ref: ArtifactRef, file: FilePlace) -> None:
    """Both storages tell what they hold: a version that was copied before is not moved again."""
    key, entry = file.key, file.entry
    ours, theirs = source.info(key), target.info(key)
    if ours != theirs or ours.size != entry.size:
        raise CorruptArtifact(
            entry.path, f"{theirs} at the target", f"{ours}, {entry.size} by the manifest", str(ref)
        )


def _copy_document(target: Backend, key: str, data: bytes, subject: str) -> None:
    with suppress(ObjectExists):  # of an earlier try: its bytes decide
        target.create(key, data)
    if target.read(key) != data:
        raise CorruptArtifact(key, "another document at the target", "that of the source", subject)


def _copy_log(log: RecordLog[Any], records: list[Any], target: ArtifactStore) -> int:
    source = log.store.backend
    for record in records:
        key = record_key(log.log, record.seq)
        with suppress(ObjectExists):
            target.backend.create(key, source.read(key))
    if type(log)(target, log.name).history()[: len(records)] != records:
        raise ChannelConflict(f"{log.kind} {log.name}: the target's log went another way than the source's")
    for record in records:
        leave_mark(target.backend, log.log, record.seq)
    return len(records)

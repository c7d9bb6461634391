"""Is everything in a store as it was written? Reads all of it, names whatever is not, and changes nothing."""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.backend import SEGMENT_LIMIT
from churn_assets.store.channels import Channel
from churn_assets.store.erasures import (
    ERASURES,
    file_places,
    is_certificate,
    is_record,
    left_behind,
    read_certificate,
)
from churn_assets.store.errors import ContentError, InvalidName, ObjectMissing, UnsignedContent
from churn_assets.store.gate_reports import is_gate_report, verify_gate_reports
from churn_assets.store.logs import log_names, open_log
from churn_assets.store.manifest import Manifest, minting_time
from churn_assets.store.marks import MARKS, marked_logs
from churn_assets.store.names import GATES, LOGS, MANIFEST, is_key, record_key, record_place
from churn_assets.store.reference import ARTIFACTS, ArtifactRef, by_version
from churn_assets.store.signatures import SIGNATURES
from churn_assets.store.tried import START, candidate_of

Reader = Callable[[str, Path], None]
"""Reads an object kept for others, by its key and a local copy of it; raises ValueError if it is not whole."""
Manifests = Mapping[ArtifactRef, Manifest | None]
"""Of every committed version; None where it cannot be read."""
Witness = Callable[[ArtifactStore, Manifests], Iterable[str]]
"""Tells, once all was read, what must be there by what others say and is not; one line each."""
_AT_ONCE = 8
# What may be wrong with one object; that the storage does not answer is not a verdict on what it holds.
_WRONG = (ContentError, ObjectMissing, OSError, ValueError)


@dataclass
class Verified:
    """What was found.

    Attributes:
        versions: Committed versions that were looked at.
        files: Files of theirs, or listed by them where not every byte is read.
        size: Bytes of those files.
        reports: Gate reports.
        records: Records of channels and of logs of acts.
        others: Objects kept for others, such as segments of a decision log.
        signed: Whether all that has to be signed has a trusted signature that holds.
        problems: What is not as it was written, and what is missing; one line each.
        foreign: Keys of what the store never wrote; ignored.
        unfinished: Keys of versions in the making, or left by a crash.
    """

    versions: int = 0
    files: int = 0
    size: int = 0
    reports: int = 0
    records: int = 0
    others: int = 0
    signed: bool = True
    problems: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)

    @contextmanager
    def judging(self, place: str = "") -> Iterator[None]:
        """Whatever of one object is wrong is a problem of it, and no more."""
        try:
            yield
        except _WRONG as error:
            self.signed = self.signed and not isinstance(error, UnsignedContent)
            self.problems.append(f"{place}: {error}" if place else str(error))


def verify_store(
    store: ArtifactStore,
    *,
    every_byte: bool = True,
    readers: Mapping[str, Reader] | None = None,
    witnesses: Iterable[Witness] = (),
) -> Verified:
    """Look at all that a store holds.

    Args:
        store: The store; where its policy asks for signatures, they are checked too.
        every_byte: Digest every file and read what is kept for others; else only manifests, gate reports and logs are
            read, and files must be listed.
        readers: Who reads what is kept for others, by the prefix of its keys.
        witnesses: Who knows of what others keep that it must be there.

    Raises:
        StoreError: The storage does not answer.
    """
    found, readers = Verified(), {ERASURES: read_certificate} | dict(readers or {})
    keys = store.backend.list("")
    versions, loose = by_version(key for key in keys if key.startswith(ARTIFACTS))
    for key in loose:
        (found.unfinished if _may_be_ours(key) else found.foreign).append(key)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        looked = list(pool.map(lambda item: _version(store, item[0], item[1], every_byte), versions.items()))
    for part, _ in looked:
        _add(found, part)
    manifests = {ref: manifest for ref, (_, manifest) in zip(versions, looked, strict=True)}
    lengths = _logs(store, manifests, found)
    for key in keys:
        if not key.startswith(ARTIFACTS):
            _other(store, key, every_byte, readers, found)
    _signatures(store, versions, lengths, found)
    found.problems += _signed_and_gone(keys)
    for witness in witnesses:
        found.problems += witness(store, manifests)
    return found


def _version(
    store: ArtifactStore, ref: ArtifactRef, keys: list[str], every_byte: bool
) -> tuple[Verified, Manifest | None]:
    found, manifest = Verified(versions=1), None
    with found.judging():
        manifest = store.manifest(ref)
    entries = manifest.files if manifest else ()
    expected = {ref.prefix + entry.path for entry in entries}
    records = [key for key in keys if is_record(ref, key)]
    if any(key.startswith(ref.erased_prefix) for key in keys):
        with found.judging():
            expected = {each.key for each in file_places(store.backend, ref, entries, store.signatures)}
            for key in left_behind(store.backend, ref, entries, store.signatures):
                found.problems.append(
                    f"{key}: an erasure was not finished: found it, expected it gone; erase again"
                )
    for missing in sorted(expected - set(keys)):
        found.problems.append(f"{ref}: {missing.removeprefix(ref.prefix)}: found nothing, expected a file")
    if manifest and every_byte and expected <= set(keys):
        with found.judging():
            store.verify(ref)
    reports = [key for key in keys if is_gate_report(ref, key)]
    for error in verify_gate_reports(store.backend, ref, reports, store.signatures):
        with found.judging():
            raise error
    known = {*expected, *reports, *records, ref.manifest_key}
    found.foreign += [key for key in keys if key not in known] if manifest else []
    found.files, found.size = len(entries), sum(entry.size for entry in entries)
    found.reports = len(reports)
    return found, manifest


def _add(found: Verified, part: Verified) -> None:
    for name in ("versions", "files", "size", "reports"):
        setattr(found, name, getattr(found, name) + getattr(part, name))
    found.problems += part.problems
    found.foreign += part.foreign
    found.signed = found.signed and part.signed


def _logs(store: ArtifactStore, manifests: Manifests, found: Verified) -> dict[str, int]:
    """Verify every log, and that all it names is there; returns how many records each has."""
    names = {*log_names(store), *marked_logs(store.backend)}
    names |= set() if store.seen is None else set(store.seen.logs())
    lengths, needed = {}, dict[ArtifactRef, str]()
    for name in sorted(names):
        with found.judging():
            log = open_log(store, name)
            history = log.history()
            lengths[name] = len(history)
            found.records += len(history)
            for record in history:
                if isinstance(log, Channel):
                    needed[record.ref] = f"record {record.seq} of {log.subject}"
                elif record.kind == START:
                    needed[candidate_of(record)] = f"record {record.seq} of {log.subject}"
    found.problems += _gone(needed, manifests)
    return lengths


def _gone(needed: Mapping[ArtifactRef, str], manifests: Manifests) -> Iterator[str]:
    """What led, was tried, or was used to make what is there, and is gone itself."""
    why = dict(needed)
    for ref, manifest in manifests.items():
        for source in manifest.provenance.upstream.values() if manifest else ():
            why.setdefault(ArtifactRef.parse(source), str(ref))
    for ref, user in sorted(why.items(), key=str):
        if ref not in manifests:
            yield f"{ref}: found no such version, expected it: {user} needs it"


def _signed_and_gone(keys: Iterable[str]) -> Iterator[str]:
    """What somebody signed and is not there. Of logs, `_signatures` tells by their lengths."""
    there = set(keys)
    signed = {key.removeprefix(SIGNATURES).rpartition("/")[0] for key in there if key.startswith(SIGNATURES)}
    for key in sorted(signed - there):
        place = key.removeprefix(ARTIFACTS).split("/")
        if key.startswith(LOGS) or not is_key(key):
            continue
        begun = {each for each in there if each.startswith(f"{ARTIFACTS}{'/'.join(place[:3])}/")}
        if place[3:] == [MANIFEST] and begun and not any(f"/{GATES}/" in each for each in begun):
            continue  # a version in the making, or left by a crash
        yield f"{key}: found nothing, expected what was signed: it is gone, or its writer was killed just before"


def _other(
    store: ArtifactStore, key: str, every_byte: bool, readers: Mapping[str, Reader], found: Verified
) -> None:
    """An object beside the versions."""
    read = next((reader for prefix, reader in readers.items() if key.startswith(prefix)), None)
    if key.startswith(LOGS):
        ours = record_place(key) is not None
    else:
        ours = is_key(key) and (read is not None or key.startswith((MARKS, SIGNATURES)))
    if not ours:
        found.foreign.append(key)
    elif read is not None:
        found.others += not key.startswith(ERASURES)
        if every_byte:
            with found.judging(key), tempfile.TemporaryDirectory(prefix="verify-") as folder:
                copy = Path(folder) / key.rpartition("/")[2]
                store.backend.fetch(key, store.backend.info(key, SEGMENT_LIMIT).size, copy)
                read(key, copy)


def _signatures(
    store: ArtifactStore,
    versions: Mapping[ArtifactRef, list[str]],
    lengths: Mapping[str, int],
    found: Verified,
) -> None:
    """Whether all that has to be signed is, and no log is shorter than a signature says it was."""
    if not store.signatures.policy.trusted_keys:
        return
    signed = [ref.manifest_key for ref in versions]
    signed += [key for ref, keys in versions.items() for key in keys if is_gate_report(ref, key)]
    signed += [key for ref, keys in versions.items() for key in keys if is_record(ref, key)]
    signed += [key for key in store.backend.list(ERASURES) if is_certificate(key)]
    signed += [record_key(name, seq) for name, length in lengths.items() for seq in range(1, length + 1)]
    longest: dict[str, tuple[int, str]] = {}
    for key in signed:
        try:
            heads = store.signatures.confirm(store.backend, key, store.backend.read(key))
        except (ContentError, ObjectMissing):
            found.signed = False  # where signatures are required, it was named when it was read
            continue
        for name, length in heads.items():
            longest[name] = max(longest.get(name, (0, "")), (length, key))
    for name, (length, key) in sorted(longest.items()):
        if lengths.get(name, 0) < length:
            found.problems.append(
                f"{open_log(store, name).subject}: found {lengths.get(name, 0)} records, expected at least {length}: "
                f"so many were there when {key} was signed"
            )


def _may_be_ours(key: str) -> bool:
    """Whether a key outside every committed version is of one that is being written, or never was finished."""
    parts = key.removeprefix(ARTIFACTS).split("/")
    try:
        ref = ArtifactRef.parse("/".join(parts[:3]))
        minting_time(ref.version)
    except InvalidName:
        return False
    return len(parts) > 3 and is_key(key)

"""Erasing a customer from a project: its store, its server's log, its index and its cache. Safe to repeat.

Files are made anew without the person rather than encrypted by a key a person: a key would have to be asked for at each
read of each row, would itself be personal data in another store, and would leave every row where it was. Made anew,
plain tables of the same shape are left, and a promoter's signature says that they stand for those that were built.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from churn_assets.offers.records import NOBODY
from churn_assets.privacy.decisions import (
    Gone,
    LogPlace,
    Remade,
    StoredLog,
    WaitingLog,
    erase_from_log,
    still_named,
)
from churn_assets.privacy.places import PLACES
from churn_assets.privacy.search import holds, spellings
from churn_assets.privacy.tables import PERSONS
from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.erasures import FilePlace, Subjects, file_places, left_behind, replace, replacements
from churn_assets.store.errors import (
    ContentError,
    InvalidSetting,
    ObjectMissing,
    StoreError,
    StoreUnreachable,
)
from churn_assets.store.listing import files_like
from churn_assets.store.local import LocalBackend
from churn_assets.store.names import is_key
from churn_assets.store.reference import ARTIFACTS, ArtifactRef, by_version

INDEXES = ".churn/decision_index"


@dataclass(frozen=True)
class RemadeFile:
    """A file of a version that stands for another, and how many of its rows are nobody's or gone."""

    artifact: str
    path: str
    rows: int


@dataclass
class Erased:
    """What an erasure did.

    Attributes:
        files: Files of versions that were made anew.
        segments: Segments of decision logs that were made anew.
        problems: Where the customer still is, or may be; one line each. Erase again once they are mended.
        elsewhere: Places that nobody but you reaches.
        certificate: Key of the certificate; empty where there was nothing to certify.
        before: Certificates of earlier erasures of this customer.
        alike: Where nothing was found: other spellings of the id that are there.
    """

    files: list[RemadeFile] = field(default_factory=list)
    segments: list[Remade] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)
    certificate: str = ""
    before: int = 0
    alike: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ErasedPlace:
    """Where a customer is erased.

    Attributes:
        store: The store, with the signatures that it asks for.
        root: Of the project.
        logs: Folders of servers of this machine, by experiment.
        kept_features: Features that evidence needs and that no person can be known by: list prices.
    """

    store: ArtifactStore
    root: Path
    logs: Mapping[str, Path]
    kept_features: frozenset[str] = frozenset()


def erase(
    place: ErasedPlace,
    customer: str,
    names_of: Callable[[str], frozenset[str]],
    subjects: Subjects,
    *,
    who: str,
    now: datetime,
) -> Erased:
    """Erase a customer; what could not be done is told, and all else is done. Waits for another erasure to end.

    Args:
        place: Where.
        customer: Their id.
        names_of: All that stands for an id: itself, and the pseudonym where there is a key.
        subjects: Who was erased from this store.
        who: Who asks for it; stands in the certificate.
        now: Aware time, in UTC.

    Raises:
        StoreUnreachable: The store does not answer: what was done stays; do it again.
        InvalidSetting: Something would have to be signed, and no key is given that may.
    """
    with _alone(place):
        return _erase(place, customer, names_of(customer), names_of, subjects, who, now)


@contextmanager
def _alone(place: ErasedPlace) -> Iterator[None]:
    """One erasure at a time: two would each make a segment anew without one person, and both would stay.

    The lock is the store's folder, or the project's beside a bucket, and ends with the process that holds it.
    """
    backend = place.store.backend
    root = backend.root if isinstance(backend, LocalBackend) and backend.root.is_dir() else place.root
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _erase(
    place: ErasedPlace,
    customer: str,
    names: frozenset[str],
    names_of: Callable[[str], frozenset[str]],
    subjects: Subjects,
    who: str,
    now: datetime,
) -> Erased:
    done = Erased(before=len(subjects.certificates(customer)))
    nobody = f"{NOBODY}{secrets.token_hex(8)}"
    _versions(place.store, names, nobody, now, done)
    _logs(place, Gone(dict.fromkeys(names, nobody), place.kept_features), done)
    _copies(place, done)
    done.problems += _left(place.store, names)
    if not (done.files or done.segments or done.before):
        others = {each: names_of(each) - names for each in spellings(customer)}
        done.alike = sorted(each for each, theirs in others.items() if any(_left(place.store, theirs)))
    done.elsewhere = [each.place for each in PLACES if not each.reached]
    if done.files or done.segments or not done.before:
        done.certificate = subjects.certify(customer, _certificate(done, who, now), place.store.signatures)
    return done


def _certificate(done: Erased, who: str, now: datetime) -> dict[str, Any]:
    """What was deleted and what stays, without a name."""
    return {
        "at": now.isoformat(timespec="seconds"),
        "by": who,
        "files": [asdict(each) for each in done.files],
        "segments": [asdict(each) for each in done.segments],
        "kept": "aligned rows with typical values; arms, probabilities, prices and outcomes of decisions; of nobody",
        "not_reached": done.elsewhere,
        "problems": [each.split(": ", 1)[0] for each in done.problems],
    }


def _versions(store: ArtifactStore, names: frozenset[str], nobody: str, now: datetime, done: Erased) -> None:
    versions, _ = by_version(store.backend.list(ARTIFACTS))
    for ref in versions:
        with _told(done, str(ref)):
            manifest = store.manifest(ref)
            for key in left_behind(store.backend, ref, manifest.files, store.signatures):
                store.backend.delete(key)
            if store.cache is not None:
                for record in replacements(store.backend, ref, store.signatures).values():
                    store.cache.forget(record.before)
            if ref.asset in PERSONS:
                done.files += _version(store, ref, names, nobody, now)


def _version(
    store: ArtifactStore, ref: ArtifactRef, names: frozenset[str], nobody: str, now: datetime
) -> list[RemadeFile]:
    files = file_places(store.backend, ref, store.manifest(ref).files, store.signatures)
    with tempfile.TemporaryDirectory(prefix="erase-") as name:
        folder = Path(name)
        _fetched(store, files, folder)
        changed = Counter[str]()
        for each in sorted(names):
            changed.update(PERSONS[ref.asset](folder, each, nobody))
        for old in files:
            if rows := changed.get(old.entry.path):
                new = folder / old.entry.path
                replace(store.backend, ref, old, new, rows=rows, now=now, signatures=store.signatures)
                if store.cache is not None:
                    store.cache.forget(old.entry.sha256)
    return [RemadeFile(str(ref), path, rows) for path, rows in changed.items()]


def _fetched(store: ArtifactStore, files: list[FilePlace], folder: Path) -> None:
    for each in files:
        target = folder / each.entry.path
        target.parent.mkdir(parents=True, exist_ok=True)
        found = store.backend.fetch(each.key, each.entry.size, target)
        if found != each.entry.sha256:
            raise ContentError(each.key, f"sha256 {found}", f"sha256 {each.entry.sha256}")


def _logs(place: ErasedPlace, gone: Gone, done: Erased) -> None:
    backend = place.store.backend
    named = {key.split("/")[1] for key in backend.list("decisions/") if key.count("/") > 1}
    for experiment in sorted(named | set(place.logs)):
        folder = place.logs.get(experiment)
        places: list[LogPlace] = [StoredLog(backend, experiment)]
        with _told(done, f"decision log of {experiment}"), ExitStack() as held:
            if folder is not None:
                places.append(WaitingLog(folder, held))
            for remade in erase_from_log(places, gone):
                done.segments.append(remade)
    for folder in sorted(set(place.logs.values())):
        with _told(done, str(folder)):
            for path in still_named(folder, gone.people):
                done.problems.append(
                    f"{path}: names the customer and is open, being shipped, torn or in quarantine: erase again"
                )


def _copies(place: ErasedPlace, done: Erased) -> None:
    """The index names customers by a hash: it is made anew from the log at the next look."""
    if done.segments or not done.before:  # an erasure that was cut off may have made the segments anew
        with _told(done, INDEXES):
            for path in files_like(place.root / INDEXES, "*.sqlite*"):
                path.unlink(missing_ok=True)


def _left(store: ArtifactStore, names: frozenset[str]) -> Iterator[str]:
    """Whatever of the store still holds the customer, in any form: nothing is trusted to have been done."""
    for key in filter(is_key, store.backend.list("")):  # what the store never wrote, `verify` tells
        with tempfile.TemporaryDirectory(prefix="erase-") as name:
            copy = Path(name) / "object"
            try:
                store.backend.fetch(key, store.backend.info(key).size, copy)
                if holds(copy, names):
                    yield f"{key}: still names the customer: erase again, or look at docs/runbook.md"
            except ObjectMissing:
                continue
            except (ContentError, OSError, ValueError) as error:
                yield f"{key}: could not be searched: {type(error).__name__}"


class _told:  # noqa: N801 - reads as a word of a sentence
    """Whatever of one place fails is a problem of it, and no more; a store that is away ends all."""

    def __init__(self, done: Erased, place: str) -> None:
        self._done = done
        self._place = place

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, StoreUnreachable | InvalidSetting) or not isinstance(
            error, StoreError | OSError | ValueError
        ):
            return False
        self._done.problems.append(f"{self._place}: {error}")
        return True

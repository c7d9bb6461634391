"""Is a place fit to hold a store? Every operation tried for real on scratch objects, which are removed afterwards."""

import os
import secrets
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from churn_assets.store.artifacts import ArtifactRef, ArtifactStore, stage
from churn_assets.store.backend import Backend, ObjectInfo
from churn_assets.store.channels import Channel
from churn_assets.store.digests import info_of
from churn_assets.store.errors import ObjectExists, StoreError
from churn_assets.store.files import read_json, write_json
from churn_assets.store.formats import ArtifactFormat
from churn_assets.store.local import LocalBackend
from churn_assets.store.manifest import Provenance
from churn_assets.store.verify import Verified

SCRATCH = "doctor/"
# Versions are named by the second and age in days: within a minute only the order of two machines' runs can suffer.
LARGEST_SKEW = timedelta(minutes=1)

Clock = Callable[[], datetime]


@dataclass(frozen=True)
class Examined:
    """One thing that was tried.

    Attributes:
        check: What was tried.
        passed: Whether it did what a store needs.
        found: What happened.
        advice: What to do where it did not; empty where it did, or was not tried.
    """

    check: str
    passed: bool
    found: str
    advice: str


class ScratchBackend:
    """A corner of a backend that looks like a backend of its own."""

    def __init__(self, backend: Backend, prefix: str) -> None:
        self.backend = backend
        self.prefix = prefix

    def create(self, key: str, source: bytes | Path) -> ObjectInfo:
        """See :class:`~churn_assets.store.backend.Backend`."""
        return self.backend.create(self.prefix + key, source)

    def read(self, key: str) -> bytes:
        """See :class:`~churn_assets.store.backend.Backend`."""
        return self.backend.read(self.prefix + key)

    def fetch(self, key: str, size: int, destination: Path | None = None) -> str:
        """See :class:`~churn_assets.store.backend.Backend`."""
        return self.backend.fetch(self.prefix + key, size, destination)

    def info(self, key: str, most: int | None = None) -> ObjectInfo:
        """See :class:`~churn_assets.store.backend.Backend`."""
        return self.backend.info(self.prefix + key, most)

    def list(self, prefix: str) -> list[str]:
        """See :class:`~churn_assets.store.backend.Backend`."""
        return [key.removeprefix(self.prefix) for key in self.backend.list(self.prefix + prefix)]

    def delete(self, key: str) -> None:
        """See :class:`~churn_assets.store.backend.Backend`."""
        self.backend.delete(self.prefix + key)

    def written_at(self, key: str) -> datetime:
        """See :class:`~churn_assets.store.backend.Backend`."""
        return self.backend.written_at(self.prefix + key)


def look_through(store: ArtifactStore, verify: Callable[..., Verified]) -> list[Examined]:
    """Is what the place holds as it was written? In a folder every byte is read, in a bucket what is no file.

    Args:
        store: The store in that place.
        verify: As `verify_store`, with all that others keep there.
    """
    local = isinstance(store.backend, LocalBackend)
    try:
        found = verify(store, every_byte=local)
    except (StoreError, OSError) as error:
        return [
            Examined(
                _STORED, passed=False, found=" ".join(str(error).split()), advice="mend what failed above"
            )
        ]
    said = f"{found.versions} versions, {found.reports} gate reports, {found.records} records"
    if found.problems:
        more = f" (and {len(found.problems) - 1} more)" if len(found.problems) > 1 else ""
        said = f"{found.problems[0]}{more}"
    elif not local:
        said += "; files are listed, not read"
    foreign = f"{len(found.foreign)} ignored: {', '.join(found.foreign[:3])}" if found.foreign else "none"
    advice = "churn store verify names all of it; docs/runbook.md" if found.problems else ""
    tidy = "take them away when you can" if found.foreign else ""
    return [
        Examined(_STORED, passed=not found.problems, found=said, advice=advice),
        Examined("foreign files", passed=True, found=foreign, advice=tidy),
    ]


class _UnfitError(Exception):
    """An operation was answered, but not as a store needs it."""


def examine(backend: Backend, clock: Clock) -> list[Examined]:
    """Try everything that a store does, on objects of its own below `doctor/`; what fails is told, never raised.

    Args:
        backend: The place.
        clock: The time that versions are named by, aware.

    Returns:
        One entry a check. Once the place cannot be listed or written, the rest is not tried, and has failed.
    """
    scratch = ScratchBackend(backend, f"{SCRATCH}{secrets.token_hex(8)}/")
    examined: list[Examined] = []
    for check, attempt, advice in _ATTEMPTS:
        stopped = next((each.check for each in examined if not each.passed and each.check in _NEEDED), None)
        if stopped is not None:
            examined.append(Examined(check, passed=False, found=f"not tried, as {stopped} failed", advice=""))
            continue
        try:
            examined.append(Examined(check, passed=True, found=attempt(scratch, clock), advice=""))
        except (StoreError, OSError, _UnfitError) as error:
            found = " ".join(str(error).split())
            examined.append(Examined(check, passed=False, found=found, advice=advice))
    return examined


def _lists(scratch: ScratchBackend, _: Clock) -> str:
    scratch.list("")
    return "it answers"


def _links(scratch: ScratchBackend, _: Clock) -> str:
    backend = scratch.backend
    if not isinstance(backend, LocalBackend):
        return "not needed in a bucket"
    backend.root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="doctor-", dir=backend.root) as name:
        draft = Path(name) / "draft"
        draft.touch()
        os.link(draft, Path(name) / "link")
    return "a second name for a file"


_BYTES, _OTHER = b"first", b"second"


def _creates(scratch: ScratchBackend, _: Clock) -> str:
    scratch.create("object", _BYTES)
    return f"{len(_BYTES)} bytes"


def _reads(scratch: ScratchBackend, _: Clock) -> str:
    found = scratch.read("object")
    if found != _BYTES:
        raise _UnfitError(f"found {found!r:.80}, expected {_BYTES!r}")
    return "the same bytes"


def _attests(scratch: ScratchBackend, _: Clock) -> str:
    scratch.create("attested", _BYTES)
    found, sent = scratch.info("attested"), info_of(_BYTES)
    if found != sent:
        raise _UnfitError(f"found {found}, expected {sent}")
    return str(found)


def _refuses_a_second_create(scratch: ScratchBackend, _: Clock) -> str:
    try:
        scratch.create("object", _OTHER)
    except ObjectExists:
        _reads(scratch, _)
        return "the second is refused, the first stands"
    raise _UnfitError("a second create of the same key was accepted: two writers would overwrite each other")


def _lists_what_is_there(scratch: ScratchBackend, _: Clock) -> str:
    found = scratch.list("")
    if found != ["attested", "object"]:
        raise _UnfitError(f"found {found}, expected ['attested', 'object']")
    return "both objects"


def _clocks_agree(scratch: ScratchBackend, clock: Clock) -> str:
    before = clock()
    scratch.create("clock", _BYTES)
    after, there = clock(), scratch.written_at("clock")
    skew = max(before - there, there - after, timedelta(0))
    if skew > LARGEST_SKEW:
        raise _UnfitError(
            f"found {there:%Y-%m-%d %H:%M:%S} UTC there and {after:%Y-%m-%d %H:%M:%S} here, "
            f"expected at most {LARGEST_SKEW.seconds} s between"
        )
    return f"{skew.total_seconds():.1f} s apart"


class _Note(ArtifactFormat[str]):
    """A text, as an artifact."""

    loader = "doctor/1"

    def save(self, value: str, folder: Path) -> None:
        write_json(value, folder / "note.json")

    def load(self, folder: Path) -> str:
        return str(read_json(folder / "note.json"))

    def signature(self, value: str) -> dict[str, Any]:  # noqa: ARG002 - every text has the same
        return {}


def _publishes(scratch: ScratchBackend, clock: Clock) -> str:
    store = ArtifactStore(scratch)
    channel = Channel(store, "scratch")
    with tempfile.TemporaryDirectory(prefix="doctor-") as name:
        refs = {
            text: store.publish(
                stage("note", text, _Note(), Path(name) / text), Provenance(experiment="doctor"), clock()
            )
            for text in ("old", "new")
        }
    for seq, (action, ref) in enumerate(
        (("promote", refs["old"]), ("promote", refs["new"]), ("rollback", refs["old"]))
    ):
        _append(channel, action, ref, seq, clock())
    history = channel.history()
    if [record.ref for record in history] != [refs["old"], refs["new"], refs["old"]]:
        message = f"found a history of {[record.release for record in history]}, expected old, new, old"
        raise _UnfitError(message)
    return f"{store.load(history[-1].ref, _Note())!r} leads again, {len(history)} records in order"


def _append(channel: Channel, action: Any, ref: ArtifactRef, seq: int, now: datetime) -> None:
    channel.append(
        action,
        ref,
        expected_seq=seq,
        actor="doctor",
        reason="a trial",
        gate_report_digest="",
        now=now,
    )


def _deletes(scratch: ScratchBackend, _: Clock) -> str:
    keys = scratch.list("")
    for key in keys:
        scratch.delete(key)
    left = scratch.list("")
    if left:
        raise _UnfitError(f"{len(left)} objects are left below {scratch.prefix}")
    if isinstance(scratch.backend, LocalBackend):
        _remove_empty(scratch.backend.root / scratch.prefix)
    return f"{len(keys)} scratch objects are gone"


def _remove_empty(folder: Path) -> None:
    """A folder without files, and the one above it if this was the last in it."""
    for below in sorted(folder.rglob("*"), reverse=True):
        below.rmdir()
    folder.rmdir()
    with suppress(OSError):  # another doctor is at work
        folder.parent.rmdir()


_NEEDED = ("list", "create")
_STORED = "what is stored"
# What is tried, how, and what to do where it fails.
_ATTEMPTS: tuple[tuple[str, Callable[[ScratchBackend, Clock], str], str], ...] = (
    ("list", _lists, "mend credentials, the permission to list, or the name of the bucket"),
    ("hard links", _links, "use a file system with hard links; a mounted bucket is none: name it gs://"),
    ("create", _creates, "grant the permission to create objects; make room on the disk"),
    ("read", _reads, "grant the permission to read objects"),
    ("checksum", _attests, "find what changes bytes on their way: a proxy or a mount"),
    ("create only once", _refuses_a_second_create, "use a storage that honours if-generation-match"),
    ("list what is there", _lists_what_is_there, "use a storage whose listings show what was just written"),
    ("clock", _clocks_agree, "set this machine's clock: versions are named and aged by it"),
    ("publish, promote, roll back", _publishes, "mend what failed above"),
    ("delete", _deletes, "grant the permission to delete objects, which retention needs; delete doctor/ by hand"),
)  # fmt: skip

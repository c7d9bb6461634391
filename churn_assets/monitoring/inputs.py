"""The files that an experiment reads from outside: what they are now, and which of them no training has used yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from churn_assets.monitoring.requests import Finding, evidence_of
from churn_assets.store.canonical import sha256_file
from churn_assets.store.inputs import in_bucket
from churn_assets.tables.config import TablePlace
from churn_assets.tables.source import source_content

NEW_INPUTS = "new_inputs"
_DIGITS = 16


@dataclass(frozen=True)
class Seen:
    """An object as it is now.

    Attributes:
        content: Names its content; empty where there is no such object.
        stamp: Tells that a local file has not been touched since it was read; empty for what is no local file.
        changed_at: When a local file was last touched, seconds since 1970, or was first seen so where its own time is
            still to come; 0 for what is none: an object of a bucket appears whole or not at all, and so does a
            transaction.
    """

    content: str
    stamp: str = ""
    changed_at: float = 0.0


@dataclass(frozen=True)
class Used:
    """What the last training that succeeded with an object had before it.

    Attributes:
        content: As in `Seen`.
        run_id: That training.
    """

    content: str
    run_id: str


@dataclass(frozen=True)
class Changes:
    """What no training has used yet.

    Attributes:
        findings: One an object.
        notes: Objects that are missing or still being written, in words.
    """

    findings: tuple[Finding, ...]
    notes: tuple[str, ...]


def look(source: TablePlace, root: Path, before: Seen | None = None, now: datetime | None = None) -> Seen:
    """An object as it is now.

    Args:
        source: A path, relative to `root`, `gs://bucket/name`, or a table of a database.
        root: The project's folder.
        before: What was seen there before: a local file with the same stamp is not read again.
        now: Aware time; a file is not believed to be touched later.

    Raises:
        StoreError: The bucket or the database refuses or does not answer.
    """
    if not isinstance(source, str) or in_bucket(source):
        return Seen(source_content(source, root))
    path = root / Path(source).expanduser()
    try:
        stat = path.stat()
    except FileNotFoundError:
        return Seen("")
    # The time of change as well: a file that was moved here keeps its time of modification.
    stamp = f"{stat.st_ino}-{stat.st_size}-{stat.st_mtime_ns}-{stat.st_ctime_ns}"
    if before is not None and before.stamp == stamp:
        content, touched = before.content, before.changed_at
    else:
        content, touched = sha256_file(path)[:_DIGITS], stat.st_mtime
    return Seen(content, stamp, touched if now is None else min(touched, now.timestamp()))


def changed_inputs(
    sources: Sequence[tuple[str, str]],
    seen: Mapping[str, Seen],
    used: Mapping[str, Used],
    now: datetime,
    settle: timedelta,
) -> Changes:
    """The objects that differ from what the last successful training with them had.

    The evidence names that training as well: content that comes back after another was used is found anew.

    Args:
        sources: Assets, each with the name of an object that it reads.
        seen: The objects now.
        used: The objects as they were used; without those that never were.
        now: Aware time.
        settle: How long a local file must have been left alone.
    """
    findings, notes = [], []
    for asset, source in sources:
        now_there, before = seen[source], used.get(source)
        if not now_there.content:
            notes.append(f"{asset}: {source} is missing")
        elif before is not None and before.content == now_there.content:
            continue
        elif now.timestamp() - now_there.changed_at < settle.total_seconds():
            notes.append(f"{asset}: {source} changed just now and may still be written")
        else:
            since = "" if before is None else before.run_id
            found = {"object": source, "content": now_there.content, "since": since}
            why = f"{source} is new" if before is None else f"{source} changed since run {since[:8]}"
            findings.append(Finding(NEW_INPUTS, frozenset({asset}), evidence_of(found), why))
    return Changes(tuple(findings), tuple(notes))


def used_inputs(succeeded: Sequence[tuple[str, Mapping[str, str]]]) -> dict[str, Used]:
    """What was used last, from the runs that succeeded, oldest first: run and the objects that it was asked to use."""
    return {
        source: Used(content, run_id) for run_id, inputs in succeeded for source, content in inputs.items()
    }

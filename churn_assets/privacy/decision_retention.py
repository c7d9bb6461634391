"""Decisions that are older than an experiment keeps them: counts stay, nobody's, and segments go."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from churn_assets.offers.segments import SegmentError
from churn_assets.offers.stored_log import EVIDENCE, EVIDENCE_SCHEMA, read_segment
from churn_assets.privacy.decisions import counted, segment_name, segments_before
from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.backend import Backend
from churn_assets.store.canonical import seal, unseal
from churn_assets.store.errors import BROKEN, ObjectExists, StoreError, StoreUnreachable

LARGEST_LEAD = timedelta(hours=12)
"""By which a machine's clock may be ahead of the storage's; ages are told in days."""


@dataclass
class Aged:
    """What age did.

    Attributes:
        going: Names of segments that are older than they are kept.
        gone: Those that were deleted.
        problems: What could not be, one line each.
    """

    going: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def age_out(store: ArtifactStore, experiment: str, keep_days: int, now: datetime, *, apply: bool) -> Aged:
    """Delete segments of days that are further back than they are kept; safe to repeat after a crash at any point.

    Args:
        store: The store.
        experiment: Whose log.
        keep_days: Whole days.
        now: Aware time, in UTC.
        apply: Whether to delete; else only told.

    Raises:
        StoreUnreachable: The store does not answer.
    """
    done, day = Aged(), f"{now - timedelta(days=keep_days):%Y%m%d}"
    if apply and segments_before(store.backend, experiment, day) and (ahead := _ahead(store.backend, now)):
        done.problems.append(ahead)
        return done
    for key in segments_before(store.backend, experiment, day):
        name = segment_name(key)
        done.going.append(name)
        if not apply:
            continue
        try:
            _keep_counts(store.backend, experiment, key)
            store.backend.delete(key)
        except (SegmentError, StoreError, OSError) as error:
            if isinstance(error, StoreUnreachable):
                raise
            done.problems.append(f"{key}: {error}")
            continue
        done.gone.append(name)
    return done


def _ahead(backend: Backend, now: datetime) -> str:
    """What is wrong with a clock by which decisions would go too early; empty where it agrees with the storage's."""
    key = f"{EVIDENCE}clock-{secrets.token_hex(8)}.json"
    backend.create(key, seal({"schema_version": EVIDENCE_SCHEMA}))
    there = backend.written_at(key)
    backend.delete(key)
    if now - there <= LARGEST_LEAD:
        return ""
    return f"clock: found {now:%Y-%m-%d %H:%M} here and {there:%Y-%m-%d %H:%M} UTC in the storage: nothing was deleted"


def evidence_key(experiment: str, name: str) -> str:
    """Where the counts of a segment are."""
    return f"{EVIDENCE}{experiment}/{name[:8]}/{name}.json"


def _keep_counts(backend: Backend, experiment: str, key: str) -> None:
    """A segment that is not sound counts nothing, and goes with its age all the same."""
    name = segment_name(key)
    try:
        rows = counted(read_segment(backend, key), name)
    except (SegmentError, *BROKEN):
        rows = []
    data = seal({"schema_version": EVIDENCE_SCHEMA, "segment": name, "decisions": rows})
    try:
        backend.create(evidence_key(experiment, name), data)
    except ObjectExists:
        unseal(backend.read(evidence_key(experiment, name)), file=key, schema_version=EVIDENCE_SCHEMA)

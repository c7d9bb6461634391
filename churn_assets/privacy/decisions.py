"""Segments of the decision log made anew without a person, or deleted by age. Evidence stays, nobody's."""

from __future__ import annotations

import json
import os
import secrets
import struct
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from churn_assets.offers.segments import (
    DECISIONS,
    OPEN,
    OUTCOMES,
    QUARANTINE,
    SUFFIX,
    TORN,
    Record,
    SegmentError,
    claimed,
    frame,
    read_sealed,
    renamed,
    sealed_bytes,
    sealed_segments,
)
from churn_assets.offers.stored_log import segment_key, stored_segments
from churn_assets.privacy.search import holds
from churn_assets.store.backend import Backend
from churn_assets.store.canonical import sha256_bytes

_LENGTH = struct.Struct("<I")


@dataclass(frozen=True)
class Gone:
    """Who is erased from a log.

    Attributes:
        ids: As the log names them: the id, and its pseudonym.
        nobody: The id that stands there afterwards.
        kept_features: Features that no person can be known by and that evidence needs: the list price.
        decisions: Old id of a decision to its new one; grows while segments are read.
    """

    ids: frozenset[str]
    nobody: str
    kept_features: frozenset[str] = frozenset()
    decisions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Remade:
    """A segment that stands for another: names and SHA-256 of both, and how many of its records were changed."""

    old: str
    old_sha256: str
    new: str
    new_sha256: str
    records: int


def erase_from_store(backend: Backend, experiment: str, gone: Gone) -> list[Remade]:
    """Make every segment of the store anew that names somebody; safe to repeat after a crash at any point.

    The new segment is stored before the old one is deleted; a reader who meets both counts each decision once per id.

    Raises:
        StoreError: The store does not answer, or refuses to delete.
    """
    keys = stored_segments(backend, experiment)
    for key in keys:
        _note(_records(read_segment(backend, key), key), gone)
    found = []
    for key in keys:
        data = read_segment(backend, key)
        made = _remade(data, segment_name(key), gone)
        if made is None:
            continue
        name, new, records = made
        backend.create(segment_key(experiment, name), new)
        backend.delete(key)
        found.append(Remade(segment_name(key), sha256_bytes(data), name, sha256_bytes(new), records))
    return found


def erase_from_folder(folder: Path, gone: Gone) -> list[Remade]:
    """The same for sealed segments of a server that wait to be shipped.

    Raises:
        OSError: One cannot be read or written.
    """
    found = []
    for path in sealed_segments(folder):
        with claimed(path) as ours:
            made = _remade(path.read_bytes(), path.stem, gone) if ours else None
            if made is None:
                continue
            name, new, records = made
            old = sha256_bytes(path.read_bytes())
            draft = path.with_suffix(".remade")
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
                stream.write(new)
                stream.flush()
                os.fsync(stream.fileno())
            draft.rename(path.with_name(name + SUFFIX))
            path.unlink()
            found.append(Remade(path.stem, old, name, sha256_bytes(new), records))
    return found


def note_folder(folder: Path, gone: Gone) -> None:
    """Learn which decisions of a server's own segments are of somebody, before any segment is made anew."""
    for path in sealed_segments(folder):
        _note(_records(path.read_bytes(), path.stem), gone)


def still_named(folder: Path, ids: Collection[str]) -> list[Path]:
    """Files of a server's log that name somebody and cannot be made anew: open, torn or quarantined ones."""
    below = [path for name in (OPEN, TORN, QUARANTINE) for path in sorted((folder / name).glob("*"))]
    return [path for path in below if path.is_file() and holds(path, ids)]


def segments_before(backend: Backend, experiment: str, day: str) -> list[str]:
    """Keys of segments that were opened on an earlier day than `day` (YYYYMMDD)."""
    return [key for key in stored_segments(backend, experiment) if segment_name(key)[:8] < day]


def counted(data: bytes, name: str) -> list[dict[str, Any]]:
    """A segment as evidence without persons: counts by day, release, arm and who chose.

    Returns:
        Rows with day, release, arm, assigned, decisions, contacts.

    Raises:
        SegmentError: It is not sound.
    """
    counts: dict[tuple[str, str, str, str], list[int]] = {}
    for record in _records(data, name):
        if record.kind != DECISIONS:
            continue
        _, answer = _opened(record.payload)
        for each in answer["decisions"]:
            key = (str(answer["decided_at"])[:10], answer["release"], each["arm"]["id"], each["assigned"])
            row = counts.setdefault(key, [0, 0])
            row[0] += 1
            row[1] += bool(each["contact"])
    named = ("day", "release", "arm", "assigned")
    return [
        dict(zip(named, key, strict=True)) | {"decisions": row[0], "contacts": row[1]}
        for key, row in sorted(counts.items())
    ]


def _note(records: Collection[Record], gone: Gone) -> None:
    for record in records:
        if record.kind == DECISIONS and _mentions(record.payload, gone.ids):
            for each in _opened(record.payload)[1]["decisions"]:
                if each["customer_id"] in gone.ids and each["decision_id"] not in gone.decisions:
                    gone.decisions[each["decision_id"]] = f"{secrets.token_hex(12)}-0"


def _remade(data: bytes, name: str, gone: Gone) -> tuple[str, bytes, int] | None:
    """Name, bytes and number of changed records of the segment that stands for another; None where nothing changes."""
    frames, changed = [], 0
    for record in _records(data, name):
        payload = _without(record, gone)
        changed += payload != record.payload
        frames.append(frame(record.kind, payload))
    if not changed:
        return None
    new = renamed(name)
    return new, sealed_bytes(new, frames), changed


def _without(record: Record, gone: Gone) -> bytes:
    if record.kind == OUTCOMES:
        told = json.loads(record.payload) if _mentions(record.payload, gone.decisions) else []
        if not any(each["decision_id"] in gone.decisions for each in told):
            return record.payload
        for each in told:
            each["decision_id"] = gone.decisions.get(each["decision_id"], each["decision_id"])
        return _json(told)
    if record.kind != DECISIONS or not _mentions(record.payload, gone.ids):
        return record.payload
    question, answer = _opened(record.payload)
    asked = [_nobody_asked(each, gone) for each in question["customers"]]
    decided = [_nobody_decided(each, gone) for each in answer["decisions"]]
    undecided = [each for each in answer.get("undecided", []) if each["customer_id"] not in gone.ids]
    question, answer = (
        question | {"customers": asked},
        answer | {"decisions": decided, "undecided": undecided},
    )
    body = _json(question)
    return b"".join((_LENGTH.pack(len(body)), body, _json(answer)))


def _nobody_asked(customer: Mapping[str, Any], gone: Gone) -> Mapping[str, Any]:
    """What was asked about, of nobody: values that a person could be known by are blank."""
    if customer["customer_id"] not in gone.ids:
        return customer
    features = {
        name: value if name in gone.kept_features else None for name, value in customer["features"].items()
    }
    kept = {name: customer[name] for name in ("prior_offers",) if name in customer}
    return {"customer_id": gone.nobody, "features": features, **kept}


_EVIDENCE = (
    "contact", "arm", "churn_risk", "acceptance_probability", "propensity", "assigned", "policy_arm", "holdout",
    "exploration", "arms",
)  # fmt: skip
"""What of a decision is needed to judge a release, and says nothing that a person could be known by."""


def _nobody_decided(decision: Mapping[str, Any], gone: Gone) -> Mapping[str, Any]:
    if decision["customer_id"] not in gone.ids:
        return decision
    kept = {name: decision[name] for name in _EVIDENCE if name in decision}
    return {"decision_id": gone.decisions[decision["decision_id"]], "customer_id": gone.nobody, **kept}


def _opened(payload: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        (length,) = _LENGTH.unpack_from(payload)
        start = _LENGTH.size
        return json.loads(payload[start : start + length]), json.loads(payload[start + length :])
    except (struct.error, ValueError) as error:
        raise SegmentError(f"decision record: {error}; expected a question and its answer") from error


def _mentions(payload: bytes, names: Collection[str]) -> bool:
    """Whether it is worth parsing: most records name nobody who is looked for."""
    return any(name.encode() in payload or json.dumps(name)[1:-1].encode() in payload for name in names)


def _records(data: bytes, name: str) -> tuple[Record, ...]:
    return read_sealed(data, segment_name(name))


def read_segment(backend: Backend, key: str) -> bytes:
    """The bytes of a segment."""
    with tempfile.TemporaryDirectory(prefix="segment-") as workspace:
        copy = Path(workspace) / "segment"
        backend.fetch(key, backend.info(key).size, copy)
        return copy.read_bytes()


def segment_name(key: str) -> str:
    """Name of the segment at a key."""
    return key.rsplit("/", 1)[-1].removesuffix(SUFFIX)


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()

"""Segments of the decision log made anew without a person, or deleted by age. Evidence stays, nobody's."""

from __future__ import annotations

import json
import os
import secrets
import struct
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from churn_assets.offers.records import NOBODY
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
    stands_for,
)
from churn_assets.offers.stored_log import segment_key, stored_segments
from churn_assets.privacy.search import holds
from churn_assets.store.backend import Backend
from churn_assets.store.canonical import sha256_bytes
from churn_assets.store.listing import files_like

_LENGTH = struct.Struct("<I")


@dataclass
class Gone:
    """Who is erased from a log.

    Attributes:
        ids: As the log names them: the id, and its pseudonym.
        nobody: The id that stands there afterwards; that of an erasure that was not finished, where there was one.
        kept_features: Features that no person can be known by and that evidence needs: the list price.
        decisions: Old id of a decision to its new one; grows while segments are read.
        twins: Name of a segment to the name of what an unfinished erasure made of it.
    """

    ids: frozenset[str]
    nobody: str
    kept_features: frozenset[str] = frozenset()
    decisions: dict[str, str] = field(default_factory=dict)
    twins: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Remade:
    """A segment that stands for another: names and SHA-256 of both, and how many of its records were changed."""

    old: str
    old_sha256: str
    new: str
    new_sha256: str
    records: int


def erase_from_store(backend: Backend, experiment: str, gone: Gone) -> Iterator[Remade]:
    """Make every segment of the store anew that names somebody; safe to repeat after a crash at any point.

    All new segments are stored before an old one is deleted, and say what they stand for: whoever repeats it finds
    them, and learns from both which decision became which. Until the old ones are gone, both are read.

    Yields:
        What was made anew, once the old one is gone.

    Raises:
        StoreError: The store does not answer, or refuses to delete.
    """
    keys = {segment_name(key): key for key in stored_segments(backend, experiment)}

    def read(name: str) -> bytes:
        return read_segment(backend, keys[name])

    _learn(keys, read, gone)
    made = []
    for name, key in keys.items():
        data = read(name)
        if (new := _remade(data, name, gone)) is None:
            continue
        if name not in gone.twins:
            backend.create(segment_key(experiment, new.name), new.data)
        made.append((key, new.instead_of(name, data)))
    for key, remade in made:
        backend.delete(key)
        yield remade


def erase_from_folder(folder: Path, gone: Gone) -> Iterator[Remade]:
    """The same for sealed segments of a server that wait to be shipped.

    Raises:
        OSError: One cannot be read or written.
    """
    made = []
    with ExitStack() as held:  # nobody ships an old one meanwhile
        for path in sealed_segments(folder):
            with ExitStack() as claim:
                if not claim.enter_context(claimed(path)):
                    continue
                data = path.read_bytes()
                if (new := _remade(data, path.stem, gone)) is None:
                    continue
                if path.stem not in gone.twins:
                    _write(path.with_suffix(".remade"), new.data)
                    path.with_suffix(".remade").rename(path.with_name(new.name + SUFFIX))
                made.append((path, new.instead_of(path.stem, data)))
                held.push(claim.pop_all())
        for path, remade in made:
            path.unlink()
            yield remade


def _write(draft: Path, data: bytes) -> None:
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def note_folder(folder: Path, gone: Gone) -> None:
    """Learn which decisions of a server's own segments are of somebody, before any segment is made anew."""
    paths = {path.stem: path for path in sealed_segments(folder)}
    _learn(paths, lambda name: paths[name].read_bytes(), gone)


def still_named(folder: Path, ids: Collection[str]) -> list[Path]:
    """Files of a server's log that name somebody and cannot be made anew: open, torn or quarantined ones."""
    below = [path for name in (OPEN, TORN, QUARANTINE) for path in files_like(folder / name)]
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


def _learn(names: Iterable[str], read: Callable[[str], bytes], gone: Gone) -> None:
    """Which decisions are of somebody, and what an erasure that was not finished made of them."""
    known, made = set(names), dict[str, str]()
    for name in sorted(known):
        data = read(name)
        _note(_records(data, name), gone)
        if (old := stands_for(data)) in known:
            made[old] = name
    for old, name in made.items():
        _note_twin(_records(read(old), old), _records(read(name), name), gone)
    for old, name in made.items():
        remade = _remade(read(old), old, gone, name)
        if remade is not None and remade.data == read(name):
            gone.twins[old] = name


def _note(records: Collection[Record], gone: Gone) -> None:
    for record in records:
        if record.kind == DECISIONS and _mentions(record.payload, gone.ids):
            for each in _of_decisions(record):
                if each["customer_id"] in gone.ids and each["decision_id"] not in gone.decisions:
                    gone.decisions[each["decision_id"]] = f"{secrets.token_hex(12)}-0"


def _note_twin(before: tuple[Record, ...], after: tuple[Record, ...], gone: Gone) -> None:
    """The ids that an unfinished erasure gave: decisions and outcomes that it did not come to get the same."""
    for old, new in zip(before, after, strict=False):
        if old.payload == new.payload:
            continue
        for was, became in zip(_of_decisions(old), _of_decisions(new), strict=False):
            if was["decision_id"] != became["decision_id"]:
                gone.decisions[was["decision_id"]] = became["decision_id"]
            if was.get("customer_id") in gone.ids and became["customer_id"].startswith(NOBODY):
                gone.nobody = became["customer_id"]


def _of_decisions(record: Record) -> list[dict[str, Any]]:
    """What a record says of decisions, each with its id."""
    if record.kind == OUTCOMES:
        return list(json.loads(record.payload))
    return list(_opened(record.payload)[1]["decisions"]) if record.kind == DECISIONS else []


@dataclass(frozen=True)
class _NewSegment:
    """What stands for a segment: its name, its bytes, and how many records were changed."""

    name: str
    data: bytes
    records: int

    def instead_of(self, old: str, data: bytes) -> Remade:
        return Remade(old, sha256_bytes(data), self.name, sha256_bytes(self.data), self.records)


def _remade(data: bytes, name: str, gone: Gone, new: str = "") -> _NewSegment | None:
    """What stands for another segment; None where nothing changes.

    Args:
        data: Of the old one.
        name: Of the old one.
        gone: Who is erased.
        new: Name of the new one; that of its twin, or another one, where it is left out.
    """
    frames, changed = [], 0
    for record in _records(data, name):
        payload = _without(record, gone)
        changed += payload != record.payload
        frames.append(frame(record.kind, payload))
    if not changed:
        return None
    new = new or (gone.twins[name] if name in gone.twins else renamed(name))
    return _NewSegment(new, sealed_bytes(new, frames, instead_of=name), changed)


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

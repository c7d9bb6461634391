"""Segments of the decision log made anew without a person, or deleted by age. Evidence stays, nobody's."""

from __future__ import annotations

import io
import json
import os
import secrets
import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from churn_assets.offers.records import NOBODY
from churn_assets.offers.segments import (
    DECISIONS,
    OPEN,
    OUTCOMES,
    QUARANTINE,
    SEALED,
    SUFFIX,
    TORN,
    Record,
    SegmentError,
    SegmentOrigin,
    claimed,
    frame,
    origin_of,
    read_sealed,
    renamed,
    sealed_bytes,
    sealed_segments,
)
from churn_assets.offers.stored_log import read_segment, segment_key, stored_segments
from churn_assets.privacy.search import holds
from churn_assets.store.backend import Backend
from churn_assets.store.canonical import sha256_bytes
from churn_assets.store.listing import files_like

_LENGTH = struct.Struct("<I")
_DRAFT = ".remade"


@dataclass
class Gone:
    """Who is erased from a log.

    Attributes:
        people: Ids as the log names them, of one person the id and its pseudonym, to the id that stands there instead.
        kept_features: Features that no person can be known by and that evidence needs: the list price.
        decisions: Old id of a decision to its new one; grows while segments are read.
    """

    people: dict[str, str]
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


class LogPlace(Protocol):
    """Where sealed segments of a log are."""

    def names(self) -> list[str]:
        """Names of segments, oldest first."""

    def read(self, name: str) -> bytes:
        """Its bytes."""

    def claim(self, name: str) -> bool:
        """Whether it may be replaced by this process, from now on and until the end."""

    def put(self, name: str, data: bytes) -> None:
        """Keep a new segment."""

    def remove(self, name: str) -> None:
        """Delete one."""


class StoredLog:
    """Segments in the store; all are everybody's."""

    def __init__(self, backend: Backend, experiment: str) -> None:
        self._backend = backend
        self._experiment = experiment

    def names(self) -> list[str]:
        """See `LogPlace`."""
        return [segment_name(key) for key in stored_segments(self._backend, self._experiment)]

    def read(self, name: str) -> bytes:
        """See `LogPlace`."""
        return read_segment(self._backend, segment_key(self._experiment, name))

    def claim(self, name: str) -> bool:
        """See `LogPlace`."""
        del name
        return True

    def put(self, name: str, data: bytes) -> None:
        """See `LogPlace`."""
        self._backend.create(segment_key(self._experiment, name), data)

    def remove(self, name: str) -> None:
        """See `LogPlace`."""
        self._backend.delete(segment_key(self._experiment, name))


class WaitingLog:
    """Sealed segments of a server that wait to be shipped; who claims one keeps it from being shipped.

    Args:
        folder: Of the server's log.
        held: Keeps what is claimed until it is closed.
    """

    def __init__(self, folder: Path, held: ExitStack) -> None:
        self._folder = folder / SEALED
        self._held = held
        for draft in files_like(self._folder, f"*{_DRAFT}"):  # of an erasure that was cut off
            draft.unlink(missing_ok=True)

    def names(self) -> list[str]:
        """See `LogPlace`."""
        return [path.stem for path in sealed_segments(self._folder.parent)]

    def read(self, name: str) -> bytes:
        """See `LogPlace`."""
        return self._path(name).read_bytes()

    def claim(self, name: str) -> bool:
        """See `LogPlace`."""
        return self._held.enter_context(claimed(self._path(name)))

    def put(self, name: str, data: bytes) -> None:
        """See `LogPlace`."""
        draft = self._path(name).with_suffix(_DRAFT)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        draft.rename(self._path(name))

    def remove(self, name: str) -> None:
        """See `LogPlace`."""
        self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}{SUFFIX}"


def erase_from_log(places: Sequence[LogPlace], gone: Gone) -> Iterator[Remade]:
    """Make every segment anew that names somebody; safe to repeat after a crash at any point.

    All new segments are written before an old one is deleted, and say what they stand for: until the old ones are gone,
    both are read. What an erasure left that was cut off between the two, of this person or of another, is finished
    first: both segments together say who was erased, and which decision became which.

    Yields:
        What was made anew, once the old one is gone.

    Raises:
        SegmentError: A segment stands for another that it cannot have been made from.
        StoreError: The store does not answer, or refuses to delete.
        OSError: A server's segment cannot be read or written.
    """
    earlier, pairs = _unfinished(places, gone.kept_features)
    if pairs:
        yield from _made_anew(places, earlier, pairs)
    known = {earlier.people[each] for each in gone.people if each in earlier.people}
    if known:
        gone.people = dict.fromkeys(gone.people, min(known))
    yield from _made_anew(places, gone, {})


def _made_anew(places: Sequence[LogPlace], gone: Gone, made: Mapping[str, Remade]) -> Iterator[Remade]:
    """Make segments anew, but for those that were `made`, by old name; then delete the old ones."""
    for place in places:
        for name in place.names():
            _note(_records(place.read(name), name), gone)
    old, made = [], dict(made)
    for place in places:
        for name in place.names():
            if (remade := made.get(name)) is None:
                data = place.read(name)
                if (new := _remade(data, name, gone)) is None or not place.claim(name):
                    continue
                place.put(new.name, new.data)
                remade = Remade(name, sha256_bytes(data), new.name, sha256_bytes(new.data), new.records)
                made[name] = (
                    remade  # one that was shipped and is still on the server stands for no second one
                )
            elif not place.claim(name):
                continue
            old.append((place, remade))
    for place, remade in old:
        place.remove(remade.old)
        yield remade


def still_named(folder: Path, ids: Collection[str]) -> list[Path]:
    """Files of a server's log that name somebody: open, torn or quarantined ones, or being shipped just now."""
    below = [path for name in (OPEN, SEALED, TORN, QUARANTINE) for path in files_like(folder / name)]
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


def _unfinished(places: Sequence[LogPlace], kept_features: frozenset[str]) -> tuple[Gone, dict[str, Remade]]:
    """Whom an erasure was cut off from, and what it had made of which segments that are still there, by old name."""
    where = {name: place for place in places for name in place.names()}
    gone, pairs = Gone({}, kept_features), dict[str, Remade]()
    for name, place in sorted(where.items()):
        data = place.read(name)
        for old in origin_of(io.BytesIO(data)).stands_for if _records(data, name) else ():
            if old in where:
                before = where[old].read(old)
                changed = _note_twin(_records(before, old), _records(data, name), name, gone)
                pairs[old] = Remade(old, sha256_bytes(before), name, sha256_bytes(data), changed)
    return gone, pairs


def _note(records: Collection[Record], gone: Gone) -> None:
    for record in records:
        if record.kind == DECISIONS and _mentions(record.payload, gone.people):
            for each in _of_decisions(record):
                if each["customer_id"] in gone.people and each["decision_id"] not in gone.decisions:
                    gone.decisions[each["decision_id"]] = f"{secrets.token_hex(12)}-0"


def _note_twin(before: tuple[Record, ...], after: tuple[Record, ...], name: str, gone: Gone) -> int:
    """Who became nobody between two segments, and the new ids of their decisions; how many records differ."""
    if [each.kind for each in before] != [each.kind for each in after]:
        raise SegmentError(
            f"segment {name}: found other records than in what it stands for, expected the same"
        )
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old.payload != new.payload]
    for old, new in changed:
        for was, became in zip(_of_customers(old), _of_customers(new), strict=True):
            if was["customer_id"] != became["customer_id"] and became["customer_id"].startswith(NOBODY):
                gone.people[was["customer_id"]] = became["customer_id"]
        for was, became in zip(_of_decisions(old), _of_decisions(new), strict=True):
            if was["decision_id"] != became["decision_id"]:
                gone.decisions[was["decision_id"]] = became["decision_id"]
    return len(changed)


def _of_customers(record: Record) -> list[dict[str, Any]]:
    """Whom a record was asked about."""
    return list(_opened(record.payload)[0]["customers"]) if record.kind == DECISIONS else []


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


def _remade(data: bytes, name: str, gone: Gone) -> _NewSegment | None:
    """What stands for a segment; None where nothing changes."""
    frames, changed = [], 0
    for record in _records(data, name):
        payload = _without(record, gone)
        changed += payload != record.payload
        frames.append(frame(record.kind, payload))
    if not changed:
        return None
    origin = origin_of(io.BytesIO(data))
    new = renamed(name)
    made = sealed_bytes(new, frames, SegmentOrigin(origin.after, (*origin.stands_for, name)))
    return _NewSegment(new, made, changed)


def _without(record: Record, gone: Gone) -> bytes:
    if record.kind == OUTCOMES:
        told = json.loads(record.payload) if _mentions(record.payload, gone.decisions) else []
        if not any(each["decision_id"] in gone.decisions for each in told):
            return record.payload
        for each in told:
            each["decision_id"] = gone.decisions.get(each["decision_id"], each["decision_id"])
        return _json(told)
    if record.kind != DECISIONS or not _mentions(record.payload, gone.people):
        return record.payload
    question, answer = _opened(record.payload)
    asked = [_nobody_asked(each, gone) for each in question["customers"]]
    decided = [_nobody_decided(each, gone) for each in answer["decisions"]]
    undecided = [each for each in answer.get("undecided", []) if each["customer_id"] not in gone.people]
    question, answer = (
        question | {"customers": asked},
        answer | {"decisions": decided, "undecided": undecided},
    )
    body = _json(question)
    return b"".join((_LENGTH.pack(len(body)), body, _json(answer)))


def _nobody_asked(customer: Mapping[str, Any], gone: Gone) -> Mapping[str, Any]:
    """What was asked about, of nobody: values that a person could be known by are blank."""
    if customer["customer_id"] not in gone.people:
        return customer
    features = {
        name: value if name in gone.kept_features else None for name, value in customer["features"].items()
    }
    kept = {name: customer[name] for name in ("prior_offers",) if name in customer}
    return {"customer_id": gone.people[customer["customer_id"]], "features": features, **kept}


_EVIDENCE = (
    "contact", "arm", "churn_risk", "acceptance_probability", "propensity", "assigned", "policy_arm", "holdout",
    "exploration", "arms",
)  # fmt: skip
"""What of a decision is needed to judge a release, and says nothing that a person could be known by."""


def _nobody_decided(decision: Mapping[str, Any], gone: Gone) -> Mapping[str, Any]:
    if decision["customer_id"] not in gone.people:
        return decision
    kept = {name: decision[name] for name in _EVIDENCE if name in decision}
    nobody = gone.people[decision["customer_id"]]
    return {"decision_id": gone.decisions[decision["decision_id"]], "customer_id": nobody, **kept}


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


def segment_name(key: str) -> str:
    """Name of the segment at a key."""
    return key.rsplit("/", 1)[-1].removesuffix(SUFFIX)


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()

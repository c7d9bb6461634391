"""Files of committed versions that were made anew without a person, and who was erased. Chooses no rows.

A manifest and what was made from it stay as they are. Beside the version stands the new file, and a record that says by
how many bytes and which SHA-256 it replaces the old one: the record is the act. Then the old file is deleted, and
whoever misses it finds the record. Where signatures are asked for, a promoter signs it.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from churn_assets.store.backend import Backend, stored
from churn_assets.store.canonical import seal, unseal
from churn_assets.store.digests import digests_of
from churn_assets.store.errors import CorruptArtifact, InvalidSetting, ObjectExists, ObjectMissing
from churn_assets.store.manifest import FileEntry, Sealed, parse_sealed
from churn_assets.store.names import is_key
from churn_assets.store.reference import ArtifactRef
from churn_assets.store.signatures import UNSIGNED, Signatures

ERASURES = "erasures/"
"""Certificates, by the digest of whom they are about; and the salt of these digests."""
SALT = f"{ERASURES}salt"
CHECK = f"{ERASURES}key"
"""Tells whether a secret is the one that customers were erased by, and not what it is."""
_SCHEMA = 1
_RECORD = re.compile(r"(?P<number>[0-9]{6})\.json")
_CERTIFICATE = re.compile(ERASURES + r"(?P<subject>[0-9a-f]{64})/(?P<number>[0-9]{6})\.json")


class Replacement(Sealed):
    """A file that stands in the place of another, without some rows' persons.

    Attributes:
        artifact: The version.
        number: Of the record, from 1.
        path: Of the file within the version.
        before: SHA-256 of what it replaces.
        now: Path, size and SHA-256 of what stands there.
        rows: How many rows are nobody's, or gone.
        at: When; UTC.
    """

    schema_version: Annotated[int, Field(ge=1, le=_SCHEMA)] = _SCHEMA
    artifact: str
    number: Annotated[int, Field(ge=1)]
    path: str
    before: str
    now: FileEntry
    rows: Annotated[int, Field(ge=0)]
    at: datetime


@dataclass(frozen=True)
class FilePlace:
    """Where a file of a version is: its key, and what it must hold."""

    key: str
    entry: FileEntry


def replacements(
    backend: Backend, ref: ArtifactRef, signatures: Signatures = UNSIGNED
) -> dict[str, Replacement]:
    """The newest replacement of each file of a version, by its path.

    Raises:
        CorruptArtifact: A record was altered, moved, or is missing.
        UnsignedContent: Nobody signed one who may.
    """
    numbers = sorted(_number(ref, key) for key in backend.list(ref.erased_prefix) if is_record(ref, key))
    found: dict[str, Replacement] = {}
    for number in range(1, (numbers or [0])[-1] + 1):
        record = _read(backend, ref, number, signatures)
        found[record.path] = record
    return found


def file_places(
    backend: Backend, ref: ArtifactRef, entries: Iterable[FileEntry], signatures: Signatures = UNSIGNED
) -> list[FilePlace]:
    """Where every file of a version is now; raises as `replacements`."""
    newest = replacements(backend, ref, signatures)
    return [
        _place(ref, newest[entry.path].now)
        if entry.path in newest
        else FilePlace(ref.prefix + entry.path, entry)
        for entry in entries
    ]


def replacement_of(backend: Backend, ref: ArtifactRef, path: str, signatures: Signatures) -> FilePlace | None:
    """What stands in the place of a file that is not there; None where nothing does. Raises as `replacements`."""
    found = replacements(backend, ref, signatures).get(path)
    return None if found is None else _place(ref, found.now)


def replace(
    backend: Backend,
    ref: ArtifactRef,
    old: FilePlace,
    new: Path,
    *,
    rows: int,
    now: datetime,
    signatures: Signatures = UNSIGNED,
) -> Replacement:
    """Let a new file stand in the place of an old one, and delete that; safe to repeat after a crash at any point.

    Args:
        backend: The store's.
        ref: The version.
        old: What stands there now.
        new: The file without the person, on this machine.
        rows: How many rows of it are nobody's, or gone.
        now: Aware time, in UTC.
        signatures: Signs the record where that is asked for.

    Raises:
        CorruptArtifact: The storage holds other bytes than it was given.
        InvalidSetting: The record would have to be signed, and no key is given that may.
    """
    sha256, info = digests_of(new)
    entry = FileEntry(path=old.entry.path, size=info.size, sha256=sha256)
    target = _place(ref, entry)
    if (held := stored(backend, target.key, new)) != info:
        raise CorruptArtifact(target.key, str(held), str(info), str(ref))
    number = 1 + max(
        (_number(ref, key) for key in backend.list(ref.erased_prefix) if is_record(ref, key)), default=0
    )
    record = Replacement(
        artifact=str(ref), number=number, path=entry.path, before=old.entry.sha256, now=entry, rows=rows, at=now
    )  # fmt: skip
    data, key = seal(record.model_dump(mode="json")), replacement_key(ref, number)
    signatures.sign(backend, key, data)
    backend.create(key, data)
    backend.delete(old.key)
    return record


def left_behind(
    backend: Backend, ref: ArtifactRef, entries: Iterable[FileEntry], signatures: Signatures
) -> list[str]:
    """Keys of files of a version that a crash left of an erasure: replaced ones, and new ones without a record."""
    newest = replacements(backend, ref, signatures)
    standing = {_place(ref, record.now).key for record in newest.values()}
    old = {ref.prefix + entry.path for entry in entries if entry.path in newest}
    return [
        key
        for key in backend.list(ref.prefix)
        if key in old or (is_replaced_file(ref, key) and key not in standing)
    ]


def is_record(ref: ArtifactRef, key: str) -> bool:
    """Whether a key is that of a record of what was replaced."""
    name = key.removeprefix(ref.erased_prefix)
    return key.startswith(ref.erased_prefix) and bool(_RECORD.fullmatch(name))


def is_replaced_file(ref: ArtifactRef, key: str) -> bool:
    """Whether a key may be that of a file that stands for another."""
    return key.startswith(f"{ref.erased_prefix}files/") and is_key(key)


def replacement_key(ref: ArtifactRef, number: int) -> str:
    """Where a record is."""
    return f"{ref.erased_prefix}{number:06d}.json"


class Subjects:
    """Who was erased from a store, by keyed digests of their ids: the ids themselves are nowhere.

    Args:
        backend: The store's.
        key: A secret from the environment; empty: the store's own salt, which keeps ids from whoever has a listing and
            not from whoever may read the store.
    """

    def __init__(self, backend: Backend, key: bytes = b"") -> None:
        self._backend = backend
        self._key = key
        self._known: list[bytes] | None = None

    def digest(self, customer: str) -> str:
        """64 hex digits that stand for a customer in a new certificate."""
        return _digest(self._own(), customer)

    def certificates(self, customer: str) -> list[dict[str, Any]]:
        """What was certified of a customer, oldest first."""
        prefixes = {f"{ERASURES}{_digest(secret, customer)}/" for secret in self._secrets()}
        keys = [
            key for prefix in sorted(prefixes) for key in self._backend.list(prefix) if is_certificate(key)
        ]
        return [unseal(self._backend.read(key), file=key, schema_version=_SCHEMA) for key in keys]

    def certify(self, customer: str, document: Mapping[str, Any], signatures: Signatures) -> str:
        """Keep a certificate, signed where that is asked for; returns its key."""
        subject = self.digest(customer)
        number = 1 + len(self._backend.list(f"{ERASURES}{subject}/"))
        key = f"{ERASURES}{subject}/{number:06d}.json"
        data = seal({"schema_version": _SCHEMA, "subject": subject, **document})
        signatures.sign(self._backend, key, data)
        self._backend.create(key, data)
        return key

    def erased(self) -> frozenset[str]:
        """Digests of everybody who was erased."""
        found = map(_CERTIFICATE.fullmatch, self._backend.list(ERASURES))
        return frozenset(match["subject"] for match in found if match)

    def among(self, customers: Iterable[str]) -> list[bool]:
        """Whether each of these customers was erased; nothing is digested where nobody was.

        Raises:
            InvalidSetting: Some were erased by a secret that is not given here, so nobody can say who.
        """
        gone = self.erased()
        if not gone:
            return [False for _ in customers]
        known = self._secrets()
        return [any(_digest(secret, each) in gone for secret in known) for each in customers]

    def _own(self) -> bytes:
        """The secret of new certificates; who has another one later is told, and learns from nobody by mistake."""
        if self._key:
            with suppress(ObjectExists):
                if _read_or_none(self._backend, CHECK) is None:
                    self._backend.create(CHECK, _digest(self._key, CHECK).encode())
        elif _read_or_none(self._backend, SALT) is None:
            with suppress(ObjectExists):
                self._backend.create(SALT, secrets.token_bytes(32))
        self._known = None
        return self._secrets()[0]

    def _secrets(self) -> list[bytes]:
        """The secret from the environment first, then the store's salt; those that certificates may be by."""
        if self._known is None:
            check, salt = _read_or_none(self._backend, CHECK), _read_or_none(self._backend, SALT)
            if check is not None and check != _digest(self._key, CHECK).encode():
                found = "another one" if self._key else "nothing"
                message = (
                    f"CHURN_PRIVACY_KEY: found {found}, expected the secret by which customers were erased"
                )
                raise InvalidSetting(f"{message} from this store")
            self._known = [each for each in (self._key, salt) if each]
        return self._known


def _digest(secret: bytes, text: str) -> str:
    return hmac.digest(secret, text.encode(), "sha256").hex()


def _read_or_none(backend: Backend, key: str) -> bytes | None:
    try:
        return backend.read(key)
    except ObjectMissing:
        return None


def is_certificate(key: str) -> bool:
    """Whether a key is that of a certificate."""
    return bool(_CERTIFICATE.fullmatch(key))


def read_certificate(key: str, copy: Path) -> None:
    """Refuse a certificate that is not as it was written, or stands elsewhere; salt and check are no certificates.

    Raises:
        CorruptArtifact: It is not.
    """
    if key in (SALT, CHECK):
        return
    document = unseal(copy.read_bytes(), file=key, schema_version=_SCHEMA)
    match = _CERTIFICATE.fullmatch(key)
    if match is None or document.get("subject") != match["subject"]:
        raise CorruptArtifact(key, f"a certificate of {document.get('subject')!r:.80}", "one of its place")


def _place(ref: ArtifactRef, entry: FileEntry) -> FilePlace:
    return FilePlace(f"{ref.erased_prefix}files/{entry.sha256[:16]}/{entry.path}", entry)


def _number(ref: ArtifactRef, key: str) -> int:
    return int(key.removeprefix(ref.erased_prefix).removesuffix(".json"))


def _read(backend: Backend, ref: ArtifactRef, number: int, signatures: Signatures) -> Replacement:
    key = replacement_key(ref, number)
    try:
        data = backend.read(key)
    except ObjectMissing as error:
        raise CorruptArtifact(key, "nothing", "a record: later ones are there", str(ref)) from error
    signatures.check(backend, key, data)
    record = parse_sealed(Replacement, unseal(data, file=key, schema_version=_SCHEMA), key)
    if (record.artifact, record.number) != (str(ref), number):
        found = f"record {record.number} of {record.artifact}"
        raise CorruptArtifact(key, found, f"record {number} of {ref}", str(ref))
    return record

"""Who looked at what: one create-only object a look, by day. It is written before anything is shown."""

from __future__ import annotations

import secrets
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

from pydantic import Field

from churn_assets.store.backend import Backend
from churn_assets.store.canonical import seal, unseal
from churn_assets.store.errors import ContentError
from churn_assets.store.manifest import Sealed, parse_sealed
from churn_assets.store.names import ACCESS, check_name

ACCESS_SCHEMA = 1


class AccessRecord(Sealed):
    """One look.

    Attributes:
        who: Name of the key; empty where nobody was known.
        what: What was done, such as `customer` or `signed in`.
        whom: What stands for the customer that was looked at, a keyed digest; empty where it was none.
        at: UTC.
    """

    schema_version: Annotated[int, Field(ge=1, le=ACCESS_SCHEMA)] = ACCESS_SCHEMA
    who: str
    what: str
    whom: str
    at: datetime


def note_access(backend: Backend, experiment: str, record: AccessRecord) -> None:
    """Write one look down; durable on return.

    Raises:
        StoreError: The store does not take it; then nothing may be shown.
    """
    at = record.at.astimezone(UTC)
    name = f"{at:%Y%m%dT%H%M%S%fZ}-{secrets.token_hex(8)}.json"
    key = f"{ACCESS}{check_name('experiment', experiment)}/{at:%Y%m%d}/{name}"
    backend.create(key, seal(record.model_dump(mode="json")))


def looks_on(backend: Backend, experiment: str, day: date, most: int = 500) -> list[AccessRecord]:
    """The looks of a day (UTC), newest first, at most so many.

    Raises:
        StoreError: The store does not answer, or a record is not as it was written.
    """
    keys = backend.list(f"{ACCESS}{check_name('experiment', experiment)}/{day:%Y%m%d}/")
    return [_read(key, backend.read(key)) for key in sorted(keys, reverse=True)[:most]]


def check_access(key: str, copy: Path) -> None:
    """Refuse a record that is not as it was written, where a whole store is verified.

    Raises:
        ValueError: It is none.
    """
    try:
        _read(key, copy.read_bytes())
    except ContentError as error:
        raise ValueError(str(error)) from error


def _read(key: str, data: bytes) -> AccessRecord:
    return parse_sealed(AccessRecord, unseal(data, file=key, schema_version=ACCESS_SCHEMA), key)

"""Who asked for whose data: one line of JSON an act, in files by day that only their owner reads. Judges nothing.

Customers stand there by keyed digests, so that the audit log is no second place of ids.
"""

from __future__ import annotations

import fcntl
import hmac
import json
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from churn_assets.store.local import private_folder

AUDIT = ".churn/audit"
"""Where a project keeps it."""
_MOST = 20
"""Customers of one act that are named; of more, only how many."""


def record(
    root: Path,
    *,
    who: str,
    did: str,
    now: datetime,
    customers: Iterable[str] = (),
    key: bytes = b"",
    about: str = "",
) -> None:
    """Append one act, whole and durable, whichever processes write.

    Args:
        root: Of the project.
        who: Name of an API key, of a user of the console, or of the machine.
        did: What was done, such as `explain`, `write`, `erase`, `console:customer`.
        now: Aware time.
        customers: Whose data were read or changed.
        key: Secret of the digests; empty: a salt of this log's own.
        about: What else there is to say, such as the release. No customer's data.

    Raises:
        OSError: It cannot be written; then the act must not go on.
    """
    folder = private_folder(root / AUDIT)
    subjects = list(customers)
    line: dict[str, Any] = {"at": now.isoformat(timespec="seconds"), "who": who, "did": did, "about": about}
    line["customers"] = len(subjects)
    secret = key or _salt(folder)
    line["subjects"] = [subject_of(each, secret) for each in subjects[:_MOST]]
    data = json.dumps(line, separators=(",", ":")).encode() + b"\n"
    file = os.open(
        folder / f"{now:%Y%m%d}.jsonl",
        os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK,  # a planted pipe has no reader
        0o600,
    )
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        if os.write(file, data) != len(data):
            raise OSError("the audit log took a part of a line")
        os.fsync(file)
    finally:
        os.close(file)


def entries(root: Path, customer: str = "", key: bytes = b"") -> Iterator[dict[str, Any]]:
    """What was recorded, oldest first; of one customer where one is named. Lines that a crash cut are left out."""
    folder = root / AUDIT
    subject = subject_of(customer, key or _salt(folder)) if customer and folder.is_dir() else ""
    for path in sorted(folder.iterdir()) if folder.exists() else []:
        lines = path.read_bytes().splitlines() if path.suffix == ".jsonl" and path.is_file() else []
        for line in lines:
            try:
                found = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if not customer or subject in found.get("subjects", ()):
                yield found


def subject(root: Path, customer: str, key: bytes = b"") -> str:
    """What stands for a customer in a project's logs of who looked at whom; arguments as of `record`."""
    folder = root / AUDIT
    if not key:
        private_folder(folder)
    return subject_of(customer, key or _salt(folder))


def subject_of(customer: str, key: bytes) -> str:
    """16 hex digits that stand for a customer."""
    return hmac.digest(key, customer.encode(), "sha256").hex()[:16]


def _salt(folder: Path) -> bytes:
    path = folder / "salt"
    if not path.exists():
        draft = folder / f".salt-{secrets.token_hex(8)}"
        file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(file, "wb") as stream:
            stream.write(secrets.token_bytes(32))
        with suppress(FileExistsError):  # another process was faster: its salt counts
            os.link(draft, path)
        draft.unlink()
    return path.read_bytes()

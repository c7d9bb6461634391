"""A small project whose store holds a kept release, and a server's log that names some of its customers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from churn_assets.offers.segments import frame, sealed_bytes
from churn_assets.offers.stored_log import segment_key
from churn_assets.store.backend import Backend
from churn_assets.store.local import LocalBackend
from tests.kept_release import KEPT
from tests.offers.served import decided, told

EXPERIMENT = "quickstart"
NOW = datetime(2026, 11, 30, 9, 0, tzinfo=UTC)
PRICE = "MonthlyCharges"


def store_files(backend: Backend) -> None:
    """Put the kept release into any place."""
    for path in sorted((KEPT / "store").rglob("*")):
        if path.is_file():
            backend.create(path.relative_to(KEPT / "store").as_posix(), path)


def backend_of(root: Path) -> LocalBackend:
    return LocalBackend(root / ".churn" / "store")


def segment(number: int, at: datetime, *records: object) -> tuple[str, bytes]:
    name = f"{at:%Y%m%dT%H%M%SZ}-{number:016x}"
    return name, sealed_bytes(name, [frame(each.kind, each.payload) for each in records])


def log_of(backend: Backend, customer: str, other: str, now: datetime = NOW) -> list[str]:
    """Two segments in the store: one with decisions of both customers, a later one with the outcome of each."""
    features = {"gender": "Female", "Contract": "Month-to-month"}
    asked = {"feature": PRICE, "features": features, "at": now}
    first = segment(
        1, now, decided("aa", customer=customer, price=84.3, **asked), decided("bb", customer=other, **asked)
    )
    later = segment(
        2,
        now + timedelta(hours=1),
        told("aa", churned=False, accepted=True),
        told("bb", churned=True, accepted=False),
    )
    for name, data in (first, later):
        backend.create(segment_key(EXPERIMENT, name), data)
    return [name for name, _ in (first, later)]

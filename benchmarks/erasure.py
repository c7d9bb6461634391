"""What erasing one customer costs: CPU time on a store with a release and a decision log of 100,000 decisions."""

from __future__ import annotations

import tempfile
import time
from datetime import timedelta
from pathlib import Path

from benchmarks.report import Figure, main
from churn_assets.offers.stored_log import READERS, segment_key
from churn_assets.privacy.erasure import ErasedPlace, erase
from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.erasures import Subjects
from churn_assets.store.verify import verify_store
from tests.kept_release import of_kept_release
from tests.offers.served import decided
from tests.privacy.kept_project import EXPERIMENT, NOW, PRICE, backend_of, segment

SEGMENTS, DECISIONS = 100, 1_000
CUSTOMER = "5575-GNVDE"


def measure() -> list[Figure]:
    """Erase a customer who was decided for in every tenth segment."""
    with tempfile.TemporaryDirectory(prefix="erasure-") as place:
        root = of_kept_release(Path(place) / "project")
        store = ArtifactStore(backend_of(root))
        for number in range(SEGMENTS):
            _segment(store, number)
        started, subjects = time.process_time(), Subjects(store.backend)
        done = erase(
            ErasedPlace(store, root, {}, frozenset({PRICE})), CUSTOMER, lambda name: frozenset({name}), subjects,
            who="benchmark", now=NOW,
        )  # fmt: skip
        seconds = time.process_time() - started
        problems = len(verify_store(store, readers=READERS).problems) + len(done.problems)
    detail = f"{SEGMENTS * DECISIONS} decisions, {len(done.files)} files and {len(done.segments)} segments made anew"
    return [
        Figure("erasure_cpu_seconds", round(seconds, 2), "<=", 60, detail),
        Figure("erasure_problems", problems, "<=", 0, "of the erasure, and of the store afterwards"),
    ]


def _segment(store: ArtifactStore, number: int) -> None:
    at = NOW + timedelta(minutes=number)
    records = [
        decided(
            f"{number:x}{place:06x}",
            customer=CUSTOMER if place == 0 and number % 10 == 0 else f"c-{number}-{place}",
            feature=PRICE,
            at=at,
        )
        for place in range(DECISIONS)
    ]
    name, data = segment(number, at, *records)
    store.backend.create(segment_key(EXPERIMENT, name), data)


if __name__ == "__main__":
    main(__doc__, measure)

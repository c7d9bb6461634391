"""The decision log record by record, as tests and benchmarks look at it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from churn_assets.offers.segments import Record
from churn_assets.offers.stored_log import logged_segments
from churn_assets.store.backend import Backend


def logged_records(backend: Backend, experiment: str, folder: Path | None = None) -> Iterator[Record]:
    """Every record of an experiment, each once; see `logged_segments`."""
    for _, records in logged_segments(backend, experiment, folder):
        yield from records

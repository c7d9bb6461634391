"""The decision log record by record, as tests and benchmarks look at it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from churn_assets.offers.segments import Record, SegmentError
from churn_assets.offers.stored_log import logged_segments
from churn_assets.store.backend import Backend


def logged_records(backend: Backend, experiment: str, folder: Path | None = None) -> Iterator[Record]:
    """Every record of an experiment, each once; what is no sound segment is an error here."""
    for segment in logged_segments(backend, experiment, folder, ignored=_refuse):
        yield from segment.records


def _refuse(key: str, why: str) -> None:
    raise SegmentError(f"{key}: {why}")

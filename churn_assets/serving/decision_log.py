"""Appends records to the decision log and waits until the disk has them: one flush for all that wait. Reads nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from churn_assets.offers.segments import Segment, frame
from churn_assets.serving.config import DecisionLogConfig

_LOG = logging.getLogger(__name__)

_QUIET_TURNS = 3
"""A question that has arrived needs two turns of the loop to become a record."""
_LARGEST_GROUP = 256


class LogUnavailableError(Exception):
    """A record could not be written; whatever rests on it must not be answered."""


class DecisionLog:
    """The log of one process: all records of one turn of the event loop wait for one flush (group commit).

    The flush is done in the loop itself: while the disk works, the next questions gather in their sockets and make
    the next group. A thread would free the loop for that time and cost more than it frees, as every group then waits
    for two changes of threads. A segment whose write failed is left as it is, since what the disk holds of it is
    unknown; `segments.recover` keeps what is whole of it.

    Args:
        folder: Where segments are; several processes may share it.
        config: Sizes, ages, and whether to wait for the disk.
        clock: Aware time now.
        flushed: Told of every group: records, and seconds until the disk had them.
    """

    def __init__(
        self,
        folder: Path,
        config: DecisionLogConfig,
        clock: Callable[[], datetime],
        flushed: Callable[[int, float], None],
    ) -> None:
        self._folder = folder
        self._config = config
        self._clock = clock
        self._flushed = flushed
        self._segment: Segment | None = None
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self._closed = False

    async def append(self, kind: bytes, *payload: bytes) -> None:
        """Write one record; returns when it is as durable as the config asks.

        Raises:
            LogUnavailableError: It could not be written.
        """
        if self._closed:
            raise LogUnavailableError("the decision log is closed")
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._gather, 0, _QUIET_TURNS)
        written: asyncio.Future[None] = loop.create_future()
        self._waiting.append((frame(kind, *payload), written))
        await written

    def seal_if_old(self) -> None:
        """Seal a segment that has been open for long, so that quiet hours are shipped too."""
        segment = self._segment
        if segment is None:
            return
        if (self._clock() - segment.opened_at).total_seconds() >= self._config.segment_seconds:
            self._seal()

    def close(self) -> None:
        """Write what waits, and seal the segment."""
        self._closed = True
        self._flush()
        self._seal()

    def _gather(self, seen: int, quiet: int) -> None:
        """Flush once some turns of the loop have brought no more records: a flush costs as much for one as for all."""
        if len(self._waiting) > seen:
            seen, quiet = len(self._waiting), _QUIET_TURNS
        if quiet and seen < _LARGEST_GROUP:
            asyncio.get_running_loop().call_soon(self._gather, seen, quiet - 1)
        else:
            self._flush()

    def _flush(self) -> None:
        group, self._waiting = self._waiting, []
        if not group:
            return
        clock = asyncio.get_running_loop().time
        started = clock()
        try:
            self._write([record for record, _ in group])
        except OSError as error:
            failed = LogUnavailableError(f"the decision log cannot be written: {error}")
            for _, written in group:
                if not written.done():
                    written.set_exception(failed)
            return
        self._flushed(len(group), clock() - started)
        for _, written in group:
            if not written.done():  # else whoever waited has gone; the record is in the log all the same
                written.set_result(None)

    def _write(self, frames: list[bytes]) -> None:
        if self._segment is None:
            self._segment = Segment(self._folder, self._clock())
        try:
            self._segment.append(frames, durable=self._config.flush)
        except OSError:
            self._segment.close()
            self._segment = None
            raise
        if self._segment.size >= self._config.segment_bytes:
            self._seal()

    def _seal(self) -> None:
        segment, self._segment = self._segment, None
        if segment is None:
            return
        try:
            segment.seal()
        except OSError as error:  # its records are written; `recover` seals it as soon as the disk allows
            _LOG.error("segment %s could not be sealed: %s", segment.name, error)

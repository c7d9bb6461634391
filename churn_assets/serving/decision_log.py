"""Appends records to the decision log and waits until the disk has them: one flush for all that wait. Reads nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

from churn_assets.serving.config import DecisionLogConfig
from churn_assets.serving.segments import Segment, frame

_LOG = logging.getLogger(__name__)


class LogUnavailableError(Exception):
    """A record could not be written; whatever rests on it must not be answered."""


class DecisionLog:
    """The log of one process: records wait together for one flush (group commit).

    While one group is on its way to the disk, the next one gathers. A segment whose write failed is left as it
    is, since what the disk holds of it is unknown; `segments.recover` keeps what is whole of it.

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
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="decision-log")
        self._segment: Segment | None = None
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self._writing = False
        self._closed = False

    async def append(self, kind: bytes, *payload: bytes) -> None:
        """Write one record; returns when it is as durable as the config asks.

        Raises:
            LogUnavailableError: It could not be written.
        """
        if self._closed:
            raise LogUnavailableError("the decision log is closed")
        loop = asyncio.get_running_loop()
        written: asyncio.Future[None] = loop.create_future()
        self._waiting.append((frame(kind, *payload), written))
        if not self._writing:
            self._writing = True
            loop.call_soon(self._start)
        await written

    async def seal_if_old(self) -> None:
        """Seal a segment that has been open for long, so that quiet hours are shipped too."""
        await asyncio.get_running_loop().run_in_executor(self._writer, self._seal_old)

    async def close(self) -> None:
        """Write what waits, seal the segment, end the thread."""
        self._closed = True
        while self._writing:
            await asyncio.sleep(0.005)
        await asyncio.get_running_loop().run_in_executor(self._writer, self._seal)
        self._writer.shutdown()

    def _start(self) -> None:
        group, self._waiting = self._waiting, []
        loop = asyncio.get_running_loop()
        started = loop.time()
        work = self._writer.submit(self._write, [record for record, _ in group])
        work.add_done_callback(
            lambda done: loop.call_soon_threadsafe(self._done, group, done.exception(), started)
        )

    def _done(
        self, group: list[tuple[bytes, asyncio.Future[None]]], error: BaseException | None, started: float
    ) -> None:
        for _, written in group:
            if written.done():
                continue  # whoever waited has gone; the record is in the log all the same
            if error is None:
                written.set_result(None)
            else:
                written.set_exception(LogUnavailableError(f"the decision log cannot be written: {error}"))
        if error is None:
            self._flushed(len(group), asyncio.get_running_loop().time() - started)
        if self._waiting:
            self._start()
        else:
            self._writing = False

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

    def _seal_old(self) -> None:
        segment = self._segment
        if segment is None:
            return
        if (self._clock() - segment.opened_at).total_seconds() >= self._config.segment_seconds:
            self._seal()

    def _seal(self) -> None:
        segment, self._segment = self._segment, None
        if segment is None:
            return
        try:
            segment.seal()
        except OSError as error:  # its records are written; `recover` seals it as soon as the disk allows
            _LOG.error("segment %s could not be sealed: %s", segment.name, error)

"""Appends records to the decision log and waits until the disk has them: one flush for all that wait. Reads nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from time import monotonic

from churn_assets.offers.segments import Segment, frame
from churn_assets.serving.config import DecisionLogConfig
from churn_assets.serving.supervisor import error_kind

_LOG = logging.getLogger(__name__)

_QUIET_TURNS = 3
"""A question that has arrived needs two turns of the loop to become a record."""
_WORTH_A_FLUSH = 16
"""Records that do not wait for more: half of those that 32 callers wait for, so that disk and loop work by turns."""


class LogUnavailableError(Exception):
    """A record could not be written; whatever rests on it must not be answered."""


@dataclass(frozen=True)
class _Group:
    """Records that share a flush, and those who wait for it."""

    frames: Sequence[bytes]
    written: Sequence[asyncio.Future[None]]

    def settle(self, error: BaseException | None = None) -> None:
        for written in self.written:
            if written.done():
                continue  # whoever waited has gone; the record may be in the log all the same
            if error is None:
                written.set_result(None)
            else:
                written.set_exception(error)


class DecisionLog:
    """The log of one process: all records that come while the disk works wait for the next flush (group commit).

    The disk is the business of one thread, so that a disk which stands still stops the log and not the server: after
    `write_seconds` all who wait are refused, and so is whoever comes until the disk is back. What they asked to be
    recorded may still reach the log; it was never acknowledged. A segment whose write failed is left as it is, since
    what the disk holds of it is unknown; `segments.recover` keeps what is whole of it. One that somebody removed is
    written anew from what the process still holds of it. `tend` tries again what failed, so that the log is well again
    though nobody asks.

    Args:
        folder: Where segments are; several processes may share it.
        config: Sizes, ages, and whether to wait for the disk.
        clock: Aware time now.
        flushed: Told of every group: records, and seconds until the disk had them.

    Attributes:
        stalled: Whether the disk has been at a group for longer than it may.
        trouble: Kind of error of the last write; empty where it succeeded.
    """

    def __init__(
        self,
        folder: Path,
        config: DecisionLogConfig,
        clock: Callable[[], datetime],
        flushed: Callable[[int, float], None],
    ) -> None:
        self.stalled = False
        self.trouble = ""
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="decision-log")
        self._segment = _OpenSegment(folder, config, clock)
        self._seconds = config.write_seconds
        self._flushed = flushed
        self._frames: list[bytes] = []
        self._waiting: list[asyncio.Future[None]] = []
        self._in_hand: _Group | None = None
        self._gathering = False
        self._closed = False

    async def append(self, kind: bytes, *payload: bytes) -> None:
        """Write one record; returns when it is as durable as the config asks.

        Raises:
            LogUnavailableError: It could not be written, or not in time.
        """
        if self._closed:
            raise LogUnavailableError("the decision log is closed")
        if self.stalled:
            raise LogUnavailableError("the disk stands still")
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._frames.append(frame(kind, *payload))
        self._waiting.append(written)
        self._offer()
        await written

    async def tend(self) -> None:
        """Seal what has been open for long, save what was removed, and try again what failed last.

        Raises:
            OSError: The log cannot be written.
        """
        if self._closed:
            return
        again = bool(self.trouble)
        try:
            await asyncio.get_running_loop().run_in_executor(self._disk, self._segment.tend, again)
        except OSError as error:
            self._note(error_kind(error), error)
            raise
        if again:
            self._note("", None)

    async def close(self) -> None:
        """Write what waits, and seal the segment; a disk that stands still is not waited for."""
        self._closed = True
        if self._waiting:
            self._hand_over()
        sealed = asyncio.get_running_loop().run_in_executor(self._disk, self._segment.seal)
        try:
            async with asyncio.timeout(self._seconds):
                await sealed
        except TimeoutError:
            _LOG.error("the disk stands still: the next start seals what it holds")
        self._disk.shutdown(wait=False)

    def _offer(self) -> None:
        """Give the disk its next group, if it has none: at once if that is worth a flush, else when nobody joins it."""
        if self._in_hand is not None:
            return
        if len(self._waiting) >= _WORTH_A_FLUSH:
            self._hand_over()
        elif not self._gathering:
            self._gathering = True
            asyncio.get_running_loop().call_soon(self._gather, len(self._waiting), _QUIET_TURNS)

    def _gather(self, seen: int, quiet: int) -> None:
        """Hand over once some turns of the loop have brought no more: a flush costs as much for one as for all."""
        if self._waiting and self._in_hand is None:
            if len(self._waiting) > seen:
                seen, quiet = len(self._waiting), _QUIET_TURNS
            if quiet:
                asyncio.get_running_loop().call_soon(self._gather, seen, quiet - 1)
                return
            self._hand_over()
        self._gathering = False

    def _hand_over(self) -> None:
        group = self._in_hand = _Group(self._frames, self._waiting)
        self._frames, self._waiting = [], []
        loop = asyncio.get_running_loop()
        late = loop.call_later(self._seconds, self._stall, group)
        writing = loop.run_in_executor(self._disk, self._segment.write, group.frames)
        writing.add_done_callback(partial(self._written, group, late))

    def _written(self, group: _Group, late: asyncio.TimerHandle, writing: asyncio.Future[float]) -> None:
        late.cancel()
        if self.stalled:
            self.stalled = False
            _LOG.warning("the disk is back, and so is the decision log")
        if self._in_hand is group:
            self._in_hand = None
        error = writing.exception()
        self._note("" if error is None else error_kind(error), error)
        if isinstance(error, OSError):
            group.settle(LogUnavailableError(f"the decision log cannot be written: {error}"))
        elif error is not None:
            group.settle(error)
        else:
            self._flushed(len(group.frames), writing.result())
            group.settle()
        if self._waiting:
            self._offer()

    def _note(self, trouble: str, error: BaseException | None) -> None:
        """Tell of a trouble that is new, and of its end; each refused caller is told by its answer."""
        if trouble and trouble != self.trouble:
            _LOG.error("the decision log cannot be written: %s", error)
        elif self.trouble and not trouble:
            _LOG.warning("the decision log can be written again")
        self.trouble = trouble

    def _stall(self, group: _Group) -> None:
        """The disk is late: nobody waits for it any longer, and nothing more is given to it."""
        self.stalled = True
        error = LogUnavailableError(f"the disk stands still: no answer within {self._seconds:g} s")
        _LOG.error("%s", error)
        for each in (group, _Group(self._frames, self._waiting)):
            each.settle(error)
        self._frames, self._waiting = [], []


class _OpenSegment:
    """The segment that is written, and the next one where it is full. One thread's own."""

    def __init__(self, folder: Path, config: DecisionLogConfig, clock: Callable[[], datetime]) -> None:
        self._folder = folder
        self._config = config
        self._clock = clock
        self._segment: Segment | None = None
        self._opened = 0.0
        self._before = ""
        self._displaced: list[Segment] = []

    def write(self, frames: Sequence[bytes]) -> float:
        """Write, and wait for the disk if the config asks; seconds it took."""
        started = monotonic()
        self._rescue_now()
        segment = self._open()
        try:
            segment.append(frames, durable=self._config.flush)
        except OSError:
            self._give_up(segment)
            raise
        if segment.size >= self._config.segment_bytes:
            self.seal()
        return monotonic() - started

    def tend(self, again: bool) -> None:
        """See `DecisionLog.tend`; `again` where the last write failed."""
        self._rescue()
        segment = self._segment
        if segment is not None and segment.displaced():
            self._give_up(segment)
        elif segment is not None and monotonic() - self._opened >= self._config.segment_seconds:
            self.seal()
        self._rescue()
        if again:
            self._open()

    def seal(self) -> None:
        segment = self._leave()
        if segment is not None and _displaced(segment):
            self._give_up(segment)
        elif segment is not None:
            try:
                segment.seal()
            except OSError as error:  # its records are written; `recover` seals it as soon as the disk allows
                _LOG.error("segment %s could not be sealed: %s", segment.name, error)
        self._rescue_now()

    def _open(self) -> Segment:
        if self._segment is None:
            self._segment, self._opened = Segment(self._folder, self._clock(), self._before), monotonic()
        return self._segment

    def _leave(self) -> Segment | None:
        """Take the segment away from writers; the next one names it where it holds anything."""
        segment, self._segment = self._segment, None
        self._before = segment.name if segment is not None and segment.records else self._before
        return segment

    def _give_up(self, segment: Segment) -> None:
        """Write no more to it. One that was removed is kept until its records are elsewhere."""
        self._leave()
        if _displaced(segment):
            _LOG.error("segment %s was removed or replaced under the server; writing it anew", segment.name)
            self._displaced.append(segment)
        else:
            segment.close()

    def _rescue_now(self) -> None:
        try:
            self._rescue()
        except OSError as error:  # `tend` tries again
            _LOG.error("the segment %s is not written anew yet: %s", self._displaced[0].name, error)

    def _rescue(self) -> None:
        while self._displaced:
            self._displaced[0].rescue()
            self._displaced.pop(0)


def _displaced(segment: Segment) -> bool:
    try:
        return segment.displaced()
    except OSError:
        return False  # it is there, and cannot be looked at now

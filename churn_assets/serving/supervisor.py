"""Work that a server repeats for as long as it lives: what fails is told and tried again, and never ends the rest."""

from __future__ import annotations

import asyncio
import errno
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

_LOG = logging.getLogger(__name__)

_LONGEST_DELAY = 30.0
"""Seconds at most until something that failed is tried again, unless it is done more seldom anyway: what is wrong with
a disk or a bucket is found to be mended within this time."""
_JITTER = 0.1
"""Share by which a delay is longer or shorter, so that many servers do not ask at one moment."""
_PATIENCE = 60.0
"""Seconds after which work that has not ended is told as late. It is not begun a second time beside itself."""


@dataclass(frozen=True)
class LoopState:
    """How a loop is.

    Attributes:
        name: Of the loop.
        age_seconds: Since it last succeeded, or began, by a clock that nobody sets.
        failures: Tries since then that failed.
        trouble: Kind of the last error; empty while all is well. No text: whoever has no key may read it.
    """

    name: str
    age_seconds: float
    failures: int
    trouble: str


class Loop:
    """One kind of work, done again and again.

    Args:
        name: In log, metrics and `/v2/health/ready`.
        seconds: Between two turns while all is well.
        work: One turn. Whatever it raises is told, and tried again after twice the time, and so on.
        told: Told of every turn: name, and whether it succeeded.
    """

    def __init__(
        self,
        name: str,
        seconds: float,
        work: Callable[[], Awaitable[object]],
        told: Callable[[str, bool], None],
        patience: float = _PATIENCE,
    ) -> None:
        self.name = name
        self._seconds = seconds
        self._work = work
        self._told = told
        self._patience = patience
        self._failures = 0
        self._trouble = ""
        self._succeeded = time.monotonic()
        self._unfinished: asyncio.Future[object] | None = None

    @property
    def state(self) -> LoopState:
        """How it is now."""
        return LoopState(self.name, time.monotonic() - self._succeeded, self._failures, self._trouble)

    @property
    def delay(self) -> float:
        """Seconds until the next turn, without jitter."""
        return min(self._seconds * 2.0 ** min(self._failures, 16), max(self._seconds, _LONGEST_DELAY))

    async def run(self) -> None:
        """Turn after turn, until cancelled."""
        while True:
            await asyncio.sleep(self.delay * random.uniform(1 - _JITTER, 1 + _JITTER))
            await self.turn()

    async def turn(self) -> None:
        """Do the work once, or go on waiting for the turn before; raises nothing but cancellation."""
        work = self._unfinished or asyncio.ensure_future(self._work())
        done, _ = await asyncio.wait({work}, timeout=self._patience)
        if not done:
            self._unfinished = work
            self._failed("TimeoutError", f"not done within {self._patience:g} s")
            return
        self._unfinished = None
        error = asyncio.CancelledError() if work.cancelled() else work.exception()
        if error is None:
            self._went_well()
        else:
            self._failed(error_kind(error), str(error) or type(error).__name__)

    def _went_well(self) -> None:
        if self._failures:
            _LOG.warning("%s works again after %d failures", self.name, self._failures)
        self._failures, self._trouble, self._succeeded = 0, "", time.monotonic()
        self._told(self.name, True)  # noqa: FBT003 - what happened

    def _failed(self, kind: str, why: str) -> None:
        self._failures += 1
        if kind != self._trouble:  # once for each kind: the metric counts the rest
            _LOG.error("%s failed (%s): %s; tried again until it works", self.name, kind, why)
        self._trouble = kind
        self._told(self.name, False)  # noqa: FBT003 - what happened


def error_kind(error: BaseException) -> str:
    """The name of an error, of an operating system's with its code: `OSError ENOSPC`. Never what it says."""
    code = errno.errorcode.get(error.errno or 0, "") if isinstance(error, OSError) else ""
    return f"{type(error).__name__} {code}".rstrip()

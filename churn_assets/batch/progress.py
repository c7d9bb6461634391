"""How far a batch is: what is told to whoever waits for it. A terminal's bar is the command line's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

EVERY = 10.0
"""Seconds between two lines of a log."""


class BatchProgress(Protocol):
    """Is told how far a batch is; from several threads."""

    def say(self, text: str) -> None:
        """Something to know, in a sentence."""

    def read(self, rows: int) -> None:
        """So many rows are read."""

    def begin(self, task: str, parts: int, part_rows: int) -> None:
        """The parts are worked on now, as of `workers.TASKS`."""

    def done(self, number: int) -> None:
        """One more part is done."""


class NoProgress:
    """Of whoever waits for nothing."""

    def say(self, text: str) -> None:
        """As of `BatchProgress`."""

    def read(self, rows: int) -> None:
        """As of `BatchProgress`."""

    def begin(self, task: str, parts: int, part_rows: int) -> None:
        """As of `BatchProgress`."""

    def done(self, number: int) -> None:
        """As of `BatchProgress`."""


class LoggedProgress:
    """Lines of a log: rows, rows a second and time left, at most one in `EVERY` seconds.

    Args:
        tell: Writes a line.
        clock: Monotonic seconds.
    """

    def __init__(self, tell: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._tell, self._clock = tell, clock
        self._rows = self._parts = self._done = self._part_rows = 0
        self._task = "read"
        self._begun = self._told = clock()

    def say(self, text: str) -> None:
        """As of `BatchProgress`."""
        self._tell(text)

    def read(self, rows: int) -> None:
        """As of `BatchProgress`."""
        self._rows = rows
        self._line(rows, 0)

    def begin(self, task: str, parts: int, part_rows: int) -> None:
        """As of `BatchProgress`."""
        self._task, self._parts, self._part_rows, self._done = task, parts, part_rows, 0
        self._begun = self._clock()

    def done(self, _number: int) -> None:
        """As of `BatchProgress`."""
        self._done += 1
        total = self._rows or self._parts * self._part_rows
        self._line(min(self._done * self._part_rows, total), total)

    def _line(self, rows: int, total: int) -> None:
        now = self._clock()
        if now - self._told < EVERY:
            return
        self._told, speed = now, rows / max(now - self._begun, 1e-9)
        left = f" of {total:,}, {(total - rows) / speed:,.0f} s left" if total and speed else ""
        self._tell(f"{self._task}: {rows:,} rows{left}, {speed:,.0f} rows a second")

"""Progress of large uploads and downloads on the terminal. In a pipe or a log nothing of it shows."""

from __future__ import annotations

import threading
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

# Smaller files are there before anybody could read a line about them.
SHOWN_FROM = 8 << 20


class Transfers:
    """Shows a bar a file while files move; what it is told may come from several threads.

    Args:
        console: Where people look; standard error, as a command's output may be read by another.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars: dict[str, TaskID] = {}
        self._progress: Progress | None = None
        self._lock = threading.Lock()

    def __call__(self, key: str, done: int, size: int) -> None:
        """See :data:`~churn_assets.store.backend.TransferProgress`."""
        if size < SHOWN_FROM or not self._console.is_terminal:
            return
        with self._lock:
            if self._progress is None:
                self._progress = Progress(
                    TextColumn("{task.description}", markup=False),
                    BarColumn(bar_width=24),
                    DownloadColumn(),
                    TransferSpeedColumn(),
                    console=self._console,
                    transient=True,
                )
                self._progress.start()
            if key not in self._bars:
                self._bars[key] = self._progress.add_task("/".join(key.split("/")[2:]), total=size)
            self._progress.update(self._bars[key], completed=done)
            if done >= size:
                self._progress.remove_task(self._bars.pop(key))
        if not self._bars:
            self.close()

    def close(self) -> None:
        """Leave the terminal as it was; a transfer that broke off leaves no bar behind."""
        with self._lock:
            if self._progress is not None:
                self._progress.stop()
            self._progress, self._bars = None, {}

    def __enter__(self) -> Transfers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


transfers = Transfers(Console(stderr=True))

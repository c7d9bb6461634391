"""How far a table is decided for: rows, rows a second and time left. In a pipe or a log nothing shows."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from churn_assets.cli.screen import note

TASKS = {"weigh": "weighing", "decide": "deciding"}
"""What the bar calls what is done with the parts."""


class _Speed(ProgressColumn):
    """Rows that are done, and how many a second."""

    def render(self, task: Task) -> Text:
        speed = "" if task.speed is None else f", {task.speed:,.0f} a second"
        return Text(f"{task.completed:,.0f} rows{speed}")


class RowProgress:
    """A bar of rows; what it is told may come from several threads."""

    def __init__(self, console: Console | None = None) -> None:
        console = console or Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            _Speed(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("reading", total=None)
        self._rows = 0
        self._part_rows = 0

    def read(self, rows: int) -> None:
        """So many rows are read."""
        self._rows = rows
        self._progress.update(self._task, completed=rows)

    def begin(self, task: str, parts: int, part_rows: int) -> None:
        """The rows are read; something is done with their parts."""
        self._part_rows = part_rows
        self._progress.reset(self._task, description=TASKS[task], total=self._rows or parts * part_rows)

    def done(self, _number: int) -> None:
        """It is done with one more part."""
        self._progress.advance(self._task, self._part_rows)

    def say(self, text: str) -> None:
        """A line above the bar, on a terminal or not."""
        note(text)

    def __enter__(self) -> RowProgress:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

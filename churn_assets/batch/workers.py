"""The parts of a batch worked on by several processes of this machine. Each ends with the one that started it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO

from churn_assets.batch.job import decide_part, weigh_part

ALONE = 2
"""Up to so many parts are decided in this process: starting another takes as long."""


TASKS = {"weigh": weigh_part, "decide": decide_part}
"""What is done with a part, by its name."""


class WorkerError(RuntimeError):
    """A process that worked on a part ended; what it said stands in the message."""


def work_parts(
    task: str,
    folder: Path,
    parts: int,
    tell: Callable[[int], None] = lambda _: None,
    processes: int | None = None,
    lock: IO[bytes] | None = None,
) -> None:
    """Do with all parts what is not done yet.

    Args:
        task: One of `TASKS`.
        folder: Of a batch whose rows are set down.
        parts: How many there are.
        tell: Called with the number of every part that is done.
        processes: How many at once; None: as many as there are cores.
        lock: Of the batch: held until the last of them ends, however this process does.

    Raises:
        WorkerError: A process was killed, or raised what this one could not tell.
    """
    count = min(parts - 1, len(os.sched_getaffinity(0)) if processes is None else processes)
    TASKS[task](folder, 0)  # what is wrong with all parts is wrong with the first
    tell(0)
    if parts <= ALONE or count < 2:
        for number in range(1, parts):
            TASKS[task](folder, number)
            tell(number)
        return
    waiting: SimpleQueue[int] = SimpleQueue()
    for number in range(1, parts):
        waiting.put(number)
    stopped = threading.Event()
    with ThreadPoolExecutor(count) as pool:
        for done in [pool.submit(_work, task, folder, waiting, tell, stopped, lock) for _ in range(count)]:
            done.result()


def _work(
    task: str,
    folder: Path,
    waiting: SimpleQueue[int],
    tell: Callable[[int], None],
    stopped: threading.Event,
    lock: IO[bytes] | None,
) -> None:
    """Hands parts to one process until none is left."""
    command = [sys.executable, "-m", "churn_assets.batch.workers", task, str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    inherited = () if lock is None else (lock.fileno(),)
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        pass_fds=inherited,
    ) as process:
        try:
            while not stopped.is_set() and (number := _next(waiting)) is not None:
                _ask(process, number)
                tell(number)
        except BaseException:
            stopped.set()
            raise


def _next(waiting: SimpleQueue[int]) -> int | None:
    try:
        return waiting.get_nowait()
    except Empty:
        return None


def _ask(process: subprocess.Popen[str], number: int) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(BrokenPipeError):  # it is gone, and does not answer
        print(number, file=process.stdin, flush=True)
    if process.stdout.readline().strip() != str(number):
        raise WorkerError(
            f"part {number}: found a process that ended with {process.wait()}, expected its decisions; what it said "
            "stands above; run the same command again, it goes on where it was"
        )


def answer_parts(arguments: list[str]) -> None:
    """Works on the parts whose numbers come in, a line each, and answers with the number; ends with the input."""
    task, folder = arguments
    for line in sys.stdin:
        TASKS[task](Path(folder), int(line))
        sys.stdout.write(f"{int(line)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    answer_parts(sys.argv[1:])

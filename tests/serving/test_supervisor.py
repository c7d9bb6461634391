"""Loops of a server: whatever they raise is told and tried again, and is forgotten once it is over."""

import asyncio
import logging

import pytest

from churn_assets.serving.supervisor import Loop


class Odd(BaseException):
    """No Exception even."""


def loop_of(work, seconds=0.01, **options):
    told = []
    return Loop("work", seconds, work, lambda name, well: told.append((name, well)), **options), told


@pytest.mark.parametrize(
    "error",
    [OSError(28, "No space"), ValueError("x"), MemoryError(), KeyError("a"), asyncio.CancelledError()],
)
def test_any_error_is_told_once_counted_and_forgotten_when_it_is_over(caplog, error):
    broken = True

    async def work():
        if broken:
            raise error

    async def scene():
        nonlocal broken
        loop, told = loop_of(work)
        for _ in range(3):
            await loop.turn()
        state = loop.state
        assert (state.failures, type(error).__name__ in state.trouble) == (3, True)
        assert told == [("work", False)] * 3
        broken = False
        await loop.turn()
        assert (loop.state.failures, loop.state.trouble, told[-1]) == (0, "", ("work", True))

    with caplog.at_level(logging.WARNING):
        asyncio.run(scene())
    assert caplog.text.count("work failed") == 1
    assert "works again" in caplog.text


def test_what_failed_is_tried_again_later_and_later_and_never_so_late_that_nobody_believes_it():
    async def work():
        raise ValueError

    async def scene():
        loop, _ = loop_of(work, seconds=2.0)
        delays = []
        for _ in range(8):
            delays.append(loop.delay)
            await loop.turn()
        assert delays == [2, 4, 8, 16, 30, 30, 30, 30]

    asyncio.run(scene())


def test_a_loop_goes_on_after_errors_and_its_age_says_how_long_it_has_not_succeeded():
    turns = 0

    async def work():
        nonlocal turns
        turns += 1
        if turns < 4:
            raise OSError(5, "I/O")

    async def scene():
        loop, told = loop_of(work)
        task = asyncio.create_task(loop.run())
        while (("work", True)) not in told:
            assert loop.state.age_seconds >= 0
            await asyncio.sleep(0.01)
        assert loop.state.age_seconds < 1
        task.cancel()

    asyncio.run(asyncio.wait_for(scene(), 20))


def test_work_that_hangs_is_told_and_not_begun_a_second_time_beside_itself():
    begun = 0

    async def scene():
        free = asyncio.Event()

        async def work():
            nonlocal begun
            begun += 1
            await free.wait()

        loop, told = loop_of(work, patience=0.02)
        for _ in range(3):
            await loop.turn()
        assert (begun, loop.state.trouble, told) == (1, "TimeoutError", [("work", False)] * 3)
        free.set()
        await loop.turn()
        assert (begun, loop.state.trouble) == (1, "")

    asyncio.run(scene())

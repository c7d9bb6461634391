"""The end of a server that loses no request: nobody new is let in, who is in is answered, and only then it closes."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import select
import signal
import socket
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

_LOG = logging.getLogger(__name__)

_SO_ATTACH_FILTER = 26
_REFUSE_ALL = struct.pack("HBBI", 0x06, 0, 0, 0)
"""One instruction of the classic packet filter: take 0 bytes of the packet, which drops it."""
_LONGEST_DRAIN = 5.0
_LOOK_SECONDS = 0.02
_QUIET_LOOKS = 3


@contextmanager
def drain_on_sigterm() -> Iterator[None]:
    """While inside, SIGTERM first empties the queue of accepted connections, and then does what it did before.

    So does the end of the terminal (SIGHUP), which would else end the process on the spot; who is told to outlive it,
    as by `nohup`, does.

    Closing a listening socket resets whoever the kernel has accepted and no process has yet. Several processes share
    one queue: the first to be told stops the kernel from adding to it, and each goes on taking from it until it is
    empty. A caller who comes later is not accepted, and may ask another server.
    """
    loop = asyncio.get_running_loop()
    before = signal.getsignal(signal.SIGTERM)
    draining: list[asyncio.Task[None]] = []

    def leave(number: int, frame: FrameType | None) -> None:
        if callable(before):
            before(number, frame)

    async def drain() -> None:
        await _drained(listening_sockets())
        leave(signal.SIGTERM, None)

    def told(_: int, frame: FrameType | None) -> None:
        if draining:
            leave(signal.SIGTERM, frame)
        else:
            loop.call_soon_threadsafe(lambda: draining.append(loop.create_task(drain())))

    hangs_up = signal.getsignal(signal.SIGHUP) == signal.SIG_DFL
    try:
        signal.signal(signal.SIGTERM, told)
        if hangs_up:
            signal.signal(signal.SIGHUP, told)
    except ValueError:  # not the main thread: whoever runs the server here stops it another way
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        if hangs_up:
            signal.signal(signal.SIGHUP, signal.SIG_DFL)


def listening_sockets() -> list[socket.socket]:
    """The sockets on which this process waits for callers, each by a descriptor of its own."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            if not stat.S_ISSOCK(entry.stat().st_mode):
                continue  # a second descriptor of a file would hold its lock
            held = socket.socket(fileno=os.dup(int(entry.name)))
            if held.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                found.append(held)
            else:
                held.close()
    return found


def refuse_new(listening: socket.socket) -> None:
    """Let the kernel drop what comes to a listening socket; connections that it has accepted are not touched."""
    code = ctypes.create_string_buffer(_REFUSE_ALL)
    program = struct.pack("HP", 1, ctypes.addressof(code))
    listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


async def _drained(listening: list[socket.socket]) -> None:
    """Until no accepted connection waits to be taken; the event loop takes them meanwhile."""
    waiting = select.poll()
    for each in listening:
        try:
            refuse_new(each)
        except OSError as error:
            _LOG.warning("callers who come at the last moment may be cut off: %s", error)
        waiting.register(each, select.POLLIN)
    quiet, looks = 0, int(_LONGEST_DRAIN / _LOOK_SECONDS)
    while quiet < _QUIET_LOOKS and looks > 0:
        await asyncio.sleep(_LOOK_SECONDS)
        quiet, looks = 0 if waiting.poll(0) else quiet + 1, looks - 1
    for each in listening:
        each.close()

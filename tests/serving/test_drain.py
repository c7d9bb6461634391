"""The sockets on which a process listens, found without holding anything else."""

import asyncio
import fcntl
import os
import signal
import socket
from pathlib import Path

from churn_assets.serving.drain import drain_on_sigterm, listening_sockets, refuse_new


def descriptors():
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


def test_only_listening_sockets_are_found_and_no_lock_is_held_longer(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listening, (tmp_path / "segment").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        found = listening_sockets()
        assert listening.getsockname() in [each.getsockname() for each in found]
        for each in found:
            each.close()
        file.close()
        again = os.open(tmp_path / "segment", os.O_RDONLY)
        fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(again)


def test_looking_leaves_no_descriptor_behind(tmp_path):
    with socket.create_server(("127.0.0.1", 0)), (tmp_path / "x").open("w"):
        before = descriptors()
        for each in listening_sockets():
            each.close()
        assert len(descriptors()) == len(before)


def test_who_was_accepted_is_served_and_who_comes_later_is_not_accepted():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        early = socket.create_connection(listening.getsockname(), timeout=5)
        refuse_new(listening)
        late = socket.socket()
        late.settimeout(0.3)
        try:
            late.connect(listening.getsockname())
        except OSError:
            pass
        else:
            raise AssertionError("accepted")
        line, _ = listening.accept()
        line.sendall(b"answer")
        assert early.recv(10) == b"answer"
        for each in (early, late, line):
            each.close()


def test_a_terminal_that_closes_ends_a_server_as_sigterm_does_and_nohup_holds():
    ended = []
    held = (
        signal.signal(signal.SIGTERM, lambda number, _: ended.append(number)),
        signal.getsignal(signal.SIGHUP),
    )

    async def hung_up(before):
        signal.signal(signal.SIGHUP, before)
        with drain_on_sigterm():
            os.kill(os.getpid(), signal.SIGHUP)
            await asyncio.sleep(0.3)
        assert signal.getsignal(signal.SIGHUP) == before

    try:
        asyncio.run(hung_up(signal.SIG_DFL))
        assert ended == [signal.SIGTERM]
        asyncio.run(hung_up(signal.SIG_IGN))
        assert ended == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, held[0])
        signal.signal(signal.SIGHUP, held[1])

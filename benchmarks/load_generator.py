"""Asks a server over keep-alive connections, as fast as it answers or at a fixed rate; prints JSON.

At a fixed rate, latency counts from the moment a question was due, not from when a connection was free for it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import deque
from pathlib import Path

import uvloop


class Caller(asyncio.Protocol):
    """One connection; told what to send, tells when the answer is whole."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._data = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._crew.free(self)

    def ask(self, question: bytes, due: float) -> None:
        self._due = due
        self._transport.write(question)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self._data += data
        head = self._data.find(b"\r\n\r\n")
        if head < 0:
            return
        if self._data[9:12] != b"200":
            self._crew.failed += 1
        at = self._data.lower().find(b"content-length:", 0, head)
        if len(self._data) < head + 4 + int(self._data[at + 15 : self._data.find(b"\r\n", at)]):
            return
        self._data.clear()
        self._crew.answered(self._due)
        self._crew.free(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        if self._crew.running:
            self._crew.failed += 1


class Crew:
    """All callers, the questions, and what was measured."""

    def __init__(self, questions: list[bytes], rate: float | None) -> None:
        self.questions, self.rate = questions, rate
        self.running, self.failed, self.next = True, 0, 0
        self.latencies: list[tuple[float, float]] = []
        self.idle: deque[Caller] = deque()
        self.due: deque[float] = deque()

    def free(self, caller: Caller) -> None:
        """A connection can take a question."""
        if not self.running:
            return
        if self.rate is None:
            caller.ask(self._question(), time.perf_counter())
        elif self.due:
            caller.ask(self._question(), self.due.popleft())
        else:
            self.idle.append(caller)

    def answered(self, due: float) -> None:
        now = time.perf_counter()
        self.latencies.append((now, now - due))

    async def pace(self, seconds: float) -> None:
        """Make questions due at the rate."""
        start, sent = time.perf_counter(), 0
        while (elapsed := time.perf_counter() - start) < seconds:
            if self.rate is not None:
                while sent < elapsed * self.rate:
                    due = start + sent / self.rate
                    sent += 1
                    if self.idle:
                        self.idle.popleft().ask(self._question(), due)
                    else:
                        self.due.append(due)
            await asyncio.sleep(0.0005 if self.rate else 0.05)

    def _question(self) -> bytes:
        question = self.questions[self.next]
        self.next = (self.next + 1) % len(self.questions)
        return question


async def load(
    port: int, path: str, bodies: list[bytes], connections: int, seconds: float, rate: float | None
) -> dict[str, object]:
    """What was measured: answers a second, latencies, failures, and the slowest answer of each tenth second (epoch)."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "
    crew = Crew([f"{head}{len(body)}\r\n\r\n".encode() + body for body in bodies], rate)
    loop = asyncio.get_running_loop()
    begun = time.perf_counter()
    for _ in range(connections):
        await loop.create_connection(lambda: Caller(crew), "127.0.0.1", port)
    await crew.pace(seconds)
    took, crew.running = time.perf_counter() - begun, False
    times = sorted(latency for _, latency in crew.latencies)
    offset = time.time() - time.perf_counter()
    slowest: dict[int, float] = {}
    for at, latency in crew.latencies:
        tenth = int((at + offset) * 10)
        slowest[tenth] = max(slowest.get(tenth, 0.0), 1000 * latency)
    return {
        "answers": len(times),
        "answers_per_s": len(times) / took,
        "failed": crew.failed,
        "unanswered": len(crew.due),
        "p50_ms": 1000 * times[len(times) // 2],
        "p99_ms": 1000 * times[int(len(times) * 0.99)],
        "max_ms": 1000 * times[-1],
        "slowest_ms_by_tenth": slowest,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--bodies", type=Path, required=True, help="file with one JSON body a line")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rate", type=float, help="questions a second; as fast as answered if left out")
    given = parser.parse_args()
    lines = given.bodies.read_bytes().splitlines()
    print(
        json.dumps(
            uvloop.run(load(given.port, given.path, lines, given.connections, given.seconds, given.rate))
        )
    )

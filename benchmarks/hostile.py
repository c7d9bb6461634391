"""Callers who mean harm, against one server: hostile bodies, raw connections, and batches that are sent without end.

Ten thousand bodies with something wrong in them, five hundred connections that begin a request and never end it, and
eighty that send batches one after another without reading in turn: beside the latter two, somebody asks about one
customer. Nothing may be answered with 5xx, and that somebody waits for a second at most.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import socket
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.report import Figure, main  # first: it sets the number of threads
from benchmarks.served import Project, Server, questions
from churn_assets.release.bundle import RELEASE
from churn_assets.release.loaded import load_member
from tests.kept_release import of_kept_release

BODIES, CONNECTIONS, PIPELINES = 10_000, 500, 80
BATCH, DEEP, CALLS = 400, 3, 60
"""Customers of a batch, batches that a connection sends at once, and calls about one customer beside them."""
JSON = {"content-type": "application/json"}
POST = b"POST /v1/decisions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
INSIDE = (
    b"Traceback",
    b'File "',
    b".py",
    b"churn_assets",
    b"msgspec",
    b"site-packages",
    b"/home",
    b"Exception",
)
"""What tells of the inside of a server."""
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3})")

_STRINGS = (
    "", " ", "\u0000", "\u202e", "ñ", "𝕏" * 50, "\ud800", "%s%n", "'; DROP TABLE customers; --", "../../etc/passwd",
    "{{7*7}}", "<script>", "a" * 10_000, "NaN", "null", "-0", "1e999", "\r\nX-Injected: 1", "{name}", "\u202e" * 20,
)  # fmt: skip
_NUMBERS = (
    "0", "-0", "-1", "1.5", "1e308", "1e309", "-1e400", "NaN", "Infinity", "-Infinity", "9" * 400, "-" + "9" * 400,
    "18446744073709551616", "0.1e-400", "00", "1_000", "0x10", "1e", "+1", ".5", str(2**63), "1" + "0" * 5000,
)  # fmt: skip


def value(rng: random.Random, depth: int = 0) -> str:
    """Some JSON, or nearly."""
    kind = rng.randrange(8 if depth < 4 else 5)
    if kind == 0:
        return rng.choice(("true", "false", "null", "undefined", ""))
    if kind in (1, 2):
        return rng.choice(_NUMBERS)
    if kind in (3, 4):
        return text(rng)
    if kind == 5:
        return "[" + ",".join(value(rng, depth + 1) for _ in range(rng.randrange(4))) + "]"
    if kind == 6:
        depth = rng.choice((10, 1_000, 50_000))
        return rng.choice(("[" * depth, "[" * depth + "]" * depth, '{"a":' * depth))
    return "{" + ",".join(f"{text(rng)}:{value(rng, depth + 1)}" for _ in range(rng.randrange(4))) + "}"


def text(rng: random.Random) -> str:
    """A string of JSON that somebody may trip over."""
    return json.dumps(rng.choice(_STRINGS), ensure_ascii=rng.random() < 0.5)


def hostile(rng: random.Random, customer: dict[str, Any]) -> bytes:
    """A question with one or more places made wrong, or something else altogether."""
    how = rng.randrange(10)
    if how == 0:
        return rng.randbytes(rng.randrange(200))
    if how == 1:
        return value(rng).encode("utf-8", "surrogatepass")
    whole = json.dumps({"customers": [customer]})
    if how == 2:
        cut = rng.randrange(len(whole))
        return whole[:cut].encode()
    if how == 3:
        data = bytearray(whole.encode())
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        return bytes(data)
    mark = "\x01"
    asked: dict[str, Any] = {"customers": [json.loads(json.dumps(customer))]}
    place: dict[str, Any] = asked["customers"][0]
    if how in (4, 5, 6):
        place = place["features"]
        name = rng.choice([*place, "shoe_size", "__class__"])
    elif how in (7, 8):
        name = rng.choice(
            ["customer_id", "features", "eligible", "opted_out", "last_contact", "offers_used", "prior_offers",
             "local_time", "last_message", "constructor"]
        )  # fmt: skip
    else:
        place = asked
        name = rng.choice(["customers", "budget_price", "remaining_budget", "release"])
    place[name] = mark
    return json.dumps(asked).replace(json.dumps(mark), value(rng)).encode("utf-8", "surrogatepass")


def memory(pid: int) -> int:
    """Resident bytes of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def ask(connection: http.client.HTTPConnection, path: str, body: bytes) -> tuple[int, bytes]:
    """Status and body of an answer."""
    connection.request("POST", path, body, JSON)
    answer = connection.getresponse()
    return answer.status, answer.read()


@contextmanager
def pipelined(port: int, body: bytes, lines: int = PIPELINES, deep: int = DEEP) -> Iterator[Counter[bytes]]:
    """Connections that send a question so many times without waiting, on and on; what they are answered, by status."""
    asked = (POST + b"Content-Length: %d\r\n\r\n" % len(body) + body) * deep
    stop, held, answers = threading.Event(), [], Counter[bytes]()

    def send(line: socket.socket) -> None:
        try:
            while not stop.is_set():
                line.sendall(asked)
        except OSError:
            return

    def drain(line: socket.socket) -> None:
        try:
            while not stop.is_set() and (said := line.recv(1 << 20)):
                answers.update(_STATUS.findall(said))
        except OSError:
            return

    for _ in range(lines):
        line = socket.create_connection(("127.0.0.1", port), timeout=120)
        held.append(line)
        for work in (send, drain):
            threading.Thread(target=work, args=(line,), daemon=True).start()
    try:
        yield answers
    finally:
        stop.set()
        for line in held:
            line.close()


@contextmanager
def begun(port: int, lines: int = CONNECTIONS) -> Iterator[list[socket.socket]]:
    """Connections that begin a request and never end it."""
    held = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(lines)]
    for line in held:
        line.sendall(b"GET /v2/health/live HTTP/1.1\r\nX: ")
    try:
        yield held
    finally:
        for line in held:
            line.close()


def timed(port: int, body: bytes, calls: int = CALLS) -> tuple[list[float], Counter[int]]:
    """Seconds of calls one after another, a tenth of a second apart, and how often each status came."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    took, statuses = [], Counter[int]()
    for _ in range(calls):
        began = time.perf_counter()
        status, _ = ask(connection, "/v1/decisions", body)
        took.append(time.perf_counter() - began)
        statuses[status] += 1
        time.sleep(0.1)
    connection.close()
    return took, statuses


def measure() -> list[Figure]:
    """All three, one after the other, on the same server."""
    with tempfile.TemporaryDirectory(prefix="hostile-") as folder:
        project = Project(of_kept_release(Path(folder) / "project"))
        head = project.channel.head()
        assert head is not None
        bundle = project.store.load(head.ref, RELEASE).bundle
        customers = questions(load_member(project.store, bundle, "customers"))
        with Server(project).start() as server:
            return [
                *_bodies(server, customers),
                *_raw(server, customers),
                *_beside_batches(server, customers),
            ]


def _bodies(server: Server, customers: list[dict[str, Any]]) -> list[Figure]:
    assert server.process is not None
    rng, statuses, told = random.Random(20261122), Counter[int](), 0
    before = memory(server.process.pid)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    for number in range(BODIES):
        body = hostile(rng, customers[number % 50])
        path = "/v1/outcomes" if number % 10 == 0 else "/v1/decisions"
        status, said = ask(connection, path, body)
        statuses[status] += 1
        told += status != 200 and any(inside in said for inside in INSIDE)
    grown = (memory(server.process.pid) - before) / 1e6
    by_status = ", ".join(f"{status}: {count}" for status, count in sorted(statuses.items()))
    return [
        Figure("hostile_bodies", BODIES, ">=", 10_000, by_status),
        Figure("hostile_5xx", sum(n for status, n in statuses.items() if status >= 500), "<=", 0),
        Figure("hostile_tells_of_the_inside", told, "<=", 0),
        Figure("hostile_growth_mb", grown, "<=", 200, "resident memory of the server"),
    ]


def _raw(server: Server, customers: list[dict[str, Any]]) -> list[Figure]:
    assert server.process is not None
    before = memory(server.process.pid)
    with begun(server.port):
        took, statuses = timed(server.port, json.dumps({"customers": customers[:1]}).encode())
        grown = (memory(server.process.pid) - before) / 1e6
    return [
        Figure("raw_connections", CONNECTIONS, ">=", 500, "a request begun on each, and never ended"),
        Figure("raw_5xx", sum(n for status, n in statuses.items() if status >= 500), "<=", 0),
        Figure("raw_growth_mb", grown, "<=", 100, "resident memory of the server"),
        Figure("raw_longest_call_seconds", max(took), "<=", 1, f"of {CALLS} about one customer beside them"),
    ]


def _beside_batches(server: Server, customers: list[dict[str, Any]]) -> list[Figure]:
    large = json.dumps({"customers": customers[:BATCH]}).encode()
    with pipelined(server.port, large) as answers:
        time.sleep(2.0)
        took, statuses = timed(server.port, json.dumps({"customers": customers[:1]}).encode())
    all_of_them = answers + Counter(str(status).encode() for status in statuses.elements())
    by_status = ", ".join(f"{status.decode()}: {count}" for status, count in sorted(answers.items()))
    return [
        Figure("pipelined_connections", PIPELINES, ">=", 80, f"{DEEP} batches of {BATCH} at once on each"),
        Figure("pipelined_batches", answers[b"200"], ">=", 50, f"answered meanwhile; {by_status}"),
        Figure("pipelined_5xx", sum(n for status, n in all_of_them.items() if status >= b"500"), "<=", 0),
        Figure("pipelined_median_call_seconds", statistics.median(took), "<=", 1, "about one customer"),
        Figure("pipelined_longest_call_seconds", max(took), "<=", 1, f"of {CALLS}"),
    ]


if __name__ == "__main__":
    main(__doc__, measure)

"""Requests made to break a server: no 5xx, nothing of the inside, bounded memory, and it goes on answering."""

from __future__ import annotations

import http.client
import json
import math
import os
import random
import socket
import time
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance
from shop import JSON, Server

BODIES = 10_000
REFUSED = frozenset({400, 408, 413, 415, 422, 429})
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
LARGEST_GROWTH = 200 << 20

_STRINGS = (
    "", " ", "\u0000", "\u202e", "ñ", "𝕏" * 50, "\ud800", "%s%n", "'; DROP TABLE customers; --", "../../etc/passwd",
    "{{7*7}}", "<script>", "a" * 10_000, "NaN", "null", "-0", "1e999", "\r\nX-Injected: 1", "{name}", "‮" * 20,
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
    return json.dumps(rng.choice(_STRINGS), ensure_ascii=rng.random() < 0.5)


def hostile(rng: random.Random, customer: dict) -> bytes:
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
    asked = {"customers": [json.loads(json.dumps(customer))]}
    place: dict = asked["customers"][0]
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


def finite(answer: object) -> bool:
    if isinstance(answer, dict):
        return all(map(finite, answer.values()))
    if isinstance(answer, list):
        return all(map(finite, answer))
    return not isinstance(answer, float) or math.isfinite(answer)


def test_ten_thousand_hostile_bodies_break_nothing_and_learn_nothing(standing, customers):
    rng = random.Random(20261122)
    connection = http.client.HTTPConnection("127.0.0.1", standing.port, timeout=30)
    before, statuses = memory(standing.process.pid), {}
    for number in range(BODIES):
        body = hostile(rng, customers[number % 50])
        path = "/v1/outcomes" if number % 10 == 0 else "/v1/decisions"
        connection.request("POST", path, body, JSON)
        answer = connection.getresponse()
        said = answer.read()
        statuses[answer.status] = statuses.get(answer.status, 0) + 1
        assert answer.status == 200 or answer.status in REFUSED, (body[:300], said)
        if answer.status == 200:
            assert finite(json.loads(said))
        else:
            assert not [inside for inside in INSIDE if inside in said], (body[:300], said)
            assert len(said) < 4096
    assert statuses[422] > BODIES / 3
    assert memory(standing.process.pid) - before < LARGEST_GROWTH
    assert "incident" not in standing.output()


def raw(port: int, *parts: bytes, pause: float = 0.0) -> bytes:
    """What a server says to bytes that no client library would send."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
        try:
            for part in parts:
                line.sendall(part)
                time.sleep(pause)
            said = b""
            while chunk := line.recv(65536):
                said += chunk
        except (ConnectionResetError, BrokenPipeError):
            return b""
        return said


def test_endless_headers_are_cut_off_in_bounded_memory(standing, client):
    before = memory(standing.process.pid)
    one = b"X-Long: " + b"a" * 65_000 + b"\r\n"
    said = raw(standing.port, b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n", *[one] * 200)
    assert said == b"" or said.startswith(b"HTTP/1.1 431")
    said = raw(standing.port, b"GET /v2/health/live HTTP/1.1\r\nX-One: ", *[b"a" * 65_000] * 200)
    assert said == b"" or said.startswith(b"HTTP/1.1 431")
    assert memory(standing.process.pid) - before < 50 << 20
    assert client.get("/v2/health/live").status_code == 200


_POST = b"POST /v1/decisions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        b"\x00" * 100,
        b"GET / HTTP/9.9\r\n",
        _POST + b"Content-Length: -1\r\n",
        _POST + b"Content-Length: 99999999999\r\n",
        _POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        b"GET /v1/../../etc/passwd HTTP/1.1\r\nHost: x\r\n",
        b"GET /v2/models/%00%ff HTTP/1.1\r\nHost: x\r\n",
    ],
)
def test_requests_that_are_none_get_a_refusal(standing, sent):
    said = raw(standing.port, sent + b"Connection: close\r\n\r\n")
    assert said == b"" or said.startswith(b"HTTP/1.1 4")
    assert not [inside for inside in INSIDE if inside in said]


def test_a_body_that_never_comes_is_given_up(shop, customers):
    shop.configure(limits={"body_seconds": 0.5})
    with Server(shop).start() as server:
        said = raw(server.port, _POST + b"Content-Length: 100\r\nConnection: close\r\n\r\n{")
        assert said.startswith(b"HTTP/1.1 408")


@pytest.mark.hypothesis
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_the_interface_keeps_what_its_description_says(standing, mode):
    described = schemathesis.openapi.from_url(f"{standing.url}/openapi.json")
    operations = [found.ok() for found in described.get_all_operations()]
    assert len(operations) == 7
    # Nothing can be wrong with a question that has no parts.
    asked = [each for each in operations if mode is GenerationMode.POSITIVE or each.method == "post"]
    for operation in asked:

        @settings(max_examples=40, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy(generation_mode=mode))
        def holds(case):
            # Which features a customer has is told by the release, so not every described question is one.
            case.call_and_validate(excluded_checks=[positive_data_acceptance])

        holds()

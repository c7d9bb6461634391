"""Requests made to break a server: no 5xx, nothing of the inside, bounded memory, and it goes on answering."""

from __future__ import annotations

import http.client
import json
import math
import random
import socket
import time

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance
from shop import JSON, Server

from benchmarks.hostile import BODIES, INSIDE, POST, hostile, memory

REFUSED = frozenset({400, 408, 413, 415, 422, 429})
LARGEST_GROWTH = 200 << 20


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


@pytest.mark.parametrize(
    "sent",
    [
        b"\x00" * 100,
        b"GET / HTTP/9.9\r\n",
        POST + b"Content-Length: -1\r\n",
        POST + b"Content-Length: 99999999999\r\n",
        POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
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
        said = raw(server.port, POST + b"Content-Length: 100\r\nConnection: close\r\n\r\n{")
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

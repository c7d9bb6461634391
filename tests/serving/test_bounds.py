"""What a server gives to one caller is bounded: memory, time, connections; and its end cuts nobody off."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import threading
import time
from pathlib import Path

import pytest
from shop import JSON, Server, wait_until
from test_hostile import raw

from benchmarks.hostile import POST, begun, memory, pipelined, timed


def test_headers_are_bounded_though_they_come_at_once(standing):
    long = b"X-Long: " + b"a" * 200_000 + b"\r\n"
    said = raw(standing.port, b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n" + long + b"\r\n")
    assert said == b"" or said.startswith(b"HTTP/1.1 431")
    fair = b"X-Long: " + b"a" * 20_000 + b"\r\n"
    asked = b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + fair + b"\r\n"
    assert raw(standing.port, asked).startswith(b"HTTP/1.1 200")


def test_a_slow_reader_who_reads_gets_all_of_it(standing, customers):
    body = json.dumps({"customers": customers[:300]}).encode()
    with socket.create_connection(("127.0.0.1", standing.port), timeout=60) as line:
        line.sendall(POST + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        said = b""
        while chunk := line.recv(1 << 17):
            said += chunk
            time.sleep(0.05)
    answer = json.loads(said.partition(b"\r\n\r\n")[2])
    assert len(answer["decisions"]) == 300


def test_one_connection_more_than_allowed_is_refused_and_the_others_go_on(shop, customers):
    shop.configure(limits={"connections": 10})
    with Server(shop).start() as server:
        held = [socket.create_connection(("127.0.0.1", server.port), timeout=20) for _ in range(10)]
        wait_until(lambda: raw(server.port, b"GET / HTTP/1.1\r\n").startswith(b"HTTP/1.1 503"))
        for line in held:
            line.close()
        with server.client() as client:
            wait_until(
                lambda: client.post("/v1/decisions", json={"customers": customers[:1]}).status_code == 200
            )


def test_a_small_call_beside_eighty_connections_with_batches_is_answered_within_a_second(standing, customers):
    large = json.dumps({"customers": customers[:500]}).encode()
    small = json.dumps({"customers": customers[:1]}).encode()
    with pipelined(standing.port, large):
        took, statuses = timed(standing.port, small, calls=15)
    assert statuses == {200: 15}
    assert sorted(took)[len(took) // 2] <= 1.0, took


def test_callers_without_a_key_are_slowed_down_and_those_with_one_are_not(shop, tmp_path):
    from datetime import UTC, datetime

    from churn_assets.serving.security import new_key, write_keys

    key, keys = new_key((), "crm", datetime.now(UTC))
    write_keys(tmp_path / "keys.json", keys)
    shop.configure(require_keys="always")
    secret = {"CHURN_API_KEYS": str(tmp_path / "keys.json")}
    with Server(shop, environment=secret).start() as server, server.client() as client:
        found = [
            client.get("/v1/release", headers={"authorization": "Bearer no"}).status_code for _ in range(60)
        ]
        assert found[:5] == [401] * 5
        assert set(found) == {401, 429}
        assert client.get("/v1/release", headers={"authorization": f"Bearer {key}"}).status_code == 200


@pytest.mark.parametrize("fresh", [False, True], ids=["kept open", "one each"])
def test_two_workers_that_are_stopped_under_load_reset_no_accepted_request(shop, customers, fresh):
    body = json.dumps({"customers": customers[:1]}).encode()
    cut: list[str] = []
    answered = [0]

    def ask(server, stop):
        connection = None
        while not stop.is_set():
            try:
                connection = connection or http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
                if connection.sock is None:
                    connection.connect()
            except OSError:
                return  # not accepted: nothing was lost
            try:
                connection.request("POST", "/v1/decisions", body, JSON)
                assert connection.getresponse().read()
                answered[0] += 1
            except (OSError, http.client.HTTPException) as error:
                cut.append(type(error).__name__)
                return
            if fresh:
                connection.close()
                connection = None

    for _ in range(2):
        stop = threading.Event()
        with Server(shop, ("--workers", "2")).start() as server:
            callers = [threading.Thread(target=ask, args=(server, stop), daemon=True) for _ in range(12)]
            for caller in callers:
                caller.start()
            before = answered[0]
            wait_until(lambda before=before: answered[0] > before + 200)
            server.stop(signal.SIGTERM)
            stop.set()
            for caller in callers:
                caller.join(35)
    assert answered[0] > 400
    assert cut == []


def test_the_image_says_how_it_is():
    text = (Path(__file__).parents[2] / "Dockerfile").read_text()
    assert "HEALTHCHECK" in text
    assert "/v2/health/live" in text.partition("HEALTHCHECK")[2]


def test_memory_is_bounded_beside_five_hundred_raw_connections(standing, client):
    before = memory(standing.process.pid)
    with begun(standing.port):
        assert client.get("/v2/health/live").status_code == 200
        assert memory(standing.process.pid) - before < 100 << 20

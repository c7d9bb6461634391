"""The protocol over an answer of eight megabytes: whoever takes nothing is reset, and the answer forgotten."""

import socket
import threading
import time

import uvicorn

from churn_assets.serving.protocol import BoundedProtocol

ANSWER = b"x" * 8_000_000


async def answers(scope, receive, send):
    if scope["type"] == "lifespan":
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": f"{message['type']}.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    headers = [(b"content-length", str(len(ANSWER)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": ANSWER})


def _is_over(line):
    """Whether the other side has cut the connection off: the kernel tells, whether or not anything is read."""
    state = line.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    return state != 1  # TCP_ESTABLISHED


def test_who_takes_nothing_is_reset():
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(answers, http=BoundedProtocol, ws="none", loop="uvloop", log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    with socket.socket() as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.settimeout(60)
        line.connect(listening.getsockname())
        line.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        deadline = time.monotonic() + 120
        while not _is_over(line):
            assert time.monotonic() < deadline
            time.sleep(0.2)
    server.should_exit = True
    thread.join(60)

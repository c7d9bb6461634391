"""uvicorn's HTTP protocol with bounds it lacks: headers, slow readers, connections; an end that cuts off nobody."""

from __future__ import annotations

import socket
import struct
from asyncio import TimerHandle
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 32 << 10
HEAD_SECONDS = 10.0
WRITE_SECONDS = 5.0
"""Between two looks at a reader who does not keep up."""
LEAST_READ_BYTES = 256 << 10
"""What such a reader must have taken in the meantime, or the rest."""
MAX_UNREAD_BYTES = 256 << 20
"""Answers of one process, all readers together, that wait to be read."""
LINGER_SECONDS = 1.0
"""How long a server that ends waits for the next request on a connection that was kept open."""

WHOLE_BODY = "churn.whole_body"
"""Extension of a request's scope: all of its body is here, and nobody has to wait for it."""

_STEP = 4 << 10
_AT_ONCE = struct.pack("ii", 1, 0)
_END = b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large" + _END
_TOO_MANY = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1" + _END


class BoundedProtocol(HttpToolsProtocol):
    """Closes a connection whose headers are too long or do not end in time, and that of a reader who takes no answer.

    uvicorn's `limit_concurrency` counts connections here: one more is refused at once, and no request on another is.
    """

    _behind: set[BoundedProtocol] = set()  # noqa: RUF012 - of the process, on purpose

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._head = 0
        self._in_head = True
        self._ending = False
        self._writing: TimerHandle | None = None
        self._late = self.loop.call_later(HEAD_SECONDS, self._close, b"")
        limit, self.limit_concurrency = self.limit_concurrency, None
        if limit is not None and len(self.connections) > limit:
            self._close(_TOO_MANY)

    def data_received(self, data: bytes) -> None:
        for start in range(0, len(data), _STEP):  # what is read at once may hold more than headers may have
            piece = data[start : start + _STEP]
            if self._in_head:
                self._head += len(piece)
            super().data_received(piece)
            if self.transport.is_closing():
                return
            if self._in_head and self._head > MAX_HEAD_BYTES:
                self._close(_TOO_LARGE)
                return

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head = True, 0
        self._late.cancel()
        self._late = self.loop.call_later(HEAD_SECONDS, self._close, b"")

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._late.cancel()
        super().on_headers_complete()
        if self._ending and self.cycle is not None and not self.pipeline:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self.scope.setdefault("extensions", {})[WHOLE_BODY] = {}

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._ending and not self.pipeline:
            self.loop.call_later(LINGER_SECONDS, self._end)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._behind.add(self)
        if sum(map(_unread, self._behind)) > MAX_UNREAD_BYTES:
            self._abort()
        else:
            self._writing = self.loop.call_later(WRITE_SECONDS, self._look, _unread(self))

    def resume_writing(self) -> None:
        super().resume_writing()
        self._caught_up()

    def connection_lost(self, exc: Exception | None) -> None:
        self._late.cancel()
        self._caught_up()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Ends the connection once nothing more comes on it: a request may be on its way already."""
        self._ending = True
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(LINGER_SECONDS, self._end)
        elif not self.pipeline:
            self.cycle.keep_alive = False

    def _end(self) -> None:
        begun = self._in_head and self._head
        if not begun and (self.cycle is None or self.cycle.response_complete):
            self._close(b"")

    def _look(self, before: int) -> None:
        """A slow reader may go on as long as they read."""
        now = _unread(self)
        if before - now < LEAST_READ_BYTES and now:
            self._abort()
        else:
            self._writing = self.loop.call_later(WRITE_SECONDS, self._look, now)

    def _caught_up(self) -> None:
        self._behind.discard(self)
        if self._writing is not None:
            self._writing.cancel()

    def _abort(self) -> None:
        """At once, with what the kernel holds: whoever takes nothing would keep that too."""
        self._caught_up()
        held = self.transport.get_extra_info("socket")
        if held is not None:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        self.transport.abort()

    def _close(self, last_words: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(last_words)
            self.transport.close()


def _unread(reader: BoundedProtocol) -> int:
    """Bytes of answers that wait for a reader."""
    return int(reader.transport.get_write_buffer_size())

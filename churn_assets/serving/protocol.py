"""uvicorn's HTTP protocol with bounds that it lacks: the size of headers, and the time they may take."""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 32 << 10
HEAD_SECONDS = 10.0

_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class BoundedProtocol(HttpToolsProtocol):
    """Closes a connection whose request line and headers are too long, or do not end in time."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._head = 0
        self._in_head = True
        self._late = self.loop.call_later(HEAD_SECONDS, self._close, b"")

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head += len(data)
        super().data_received(data)
        if self._in_head and self._head > MAX_HEAD_BYTES:
            self._close(_TOO_LARGE)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head = True, 0
        self._late.cancel()
        self._late = self.loop.call_later(HEAD_SECONDS, self._close, b"")

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._late.cancel()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._late.cancel()
        super().connection_lost(exc)

    def _close(self, last_words: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(last_words)
            self.transport.close()

"""A request of a browser and its answer: read within bounds, refused in words, sent with headers that bind it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlsplit

from starlette.types import Receive, Scope, Send

COOKIE = "churn_console"
PATH = "/console"
LARGEST_FORM = 64 << 10
"""Bytes: a reason of the greatest length, in any script."""
_FORM_SECONDS = 10.0
_MOST_FIELDS = 50

_POLICY = (
    "default-src 'none'",
    "style-src 'self'",
    "img-src 'self' data:",
    "frame-src 'self'",
    "base-uri 'none'",
    "form-action 'self'",
    "frame-ancestors 'none'",
)
HEADERS: Mapping[str, str] = {
    "content-security-policy": "; ".join(_POLICY),
    "x-content-type-options": "nosniff",
    # Without a referrer a browser sends `Origin: null` with a form, which would look like a forged one.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}
"""Of every answer."""


class ConsoleRefusal(Exception):  # noqa: N818 - it is an answer
    """A request that is refused.

    Attributes:
        status: HTTP status.
        title: What is refused, in a few words.
        said: What was found, what was expected and what to do.
        headers: Of the answer.
    """

    def __init__(self, status: int, title: str, said: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(title)
        self.status, self.title, self.said = status, title, said
        self.headers = dict(headers or {})


@dataclass(frozen=True)
class BrowserRequest:
    """What a browser asks.

    Attributes:
        method: `GET` or `POST`.
        path: Below the host.
        query: The last value of each name.
        form: The same of a posted form.
        headers: Names in small letters.
        address: Of the caller.
        encrypted: Whether the browser spoke TLS, to a proxy before this server.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    form: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    address: str = ""
    encrypted: bool = False

    @property
    def cookie(self) -> str:
        """Of the session; empty where there is none."""
        try:
            found = SimpleCookie(self.headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return ""
        return "" if found is None else found.value

    @property
    def same_origin(self) -> bool:
        """Whether a page of this very server sent it, as every browser of today says of a form."""
        site = self.headers.get("sec-fetch-site")
        if site is not None:
            return site == "same-origin"
        origin = urlsplit(self.headers.get("origin", ""))
        return bool(origin.netloc) and origin.netloc == self.headers.get("host")


@dataclass(frozen=True)
class ConsoleAnswer:
    """What is sent back; headers that bind the browser come on top.

    Attributes:
        body: Of it.
        status: HTTP status.
        kind: Content type.
        headers: More of them; they replace those of every answer.
    """

    body: bytes = b""
    status: int = 200
    kind: str = "text/html; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)


def see_other(path: str, headers: Mapping[str, str] | None = None) -> ConsoleAnswer:
    """Send the browser to a page, after something was done: reloading it does nothing twice."""
    return ConsoleAnswer(status=303, headers={"location": path} | dict(headers or {}))


async def read_request(scope: Scope, receive: Receive) -> BrowserRequest:
    """The request, in bounded memory and time.

    Raises:
        ConsoleRefusal: It is neither a page that is asked for nor a form of bounded size.
    """
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    method, client = scope["method"], scope.get("client")
    form: dict[str, str] = {}
    if method == "POST":
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/x-www-form-urlencoded":
            raise ConsoleRefusal(415, "Not a form", "Found another content type, expected a form of a page.")
        try:
            async with asyncio.timeout(_FORM_SECONDS):
                form = fields_of(await _body(receive))
        except TimeoutError:
            raise ConsoleRefusal(408, "Too slow", "The form did not arrive in time: send it again.") from None
    elif method not in ("GET", "HEAD"):
        raise ConsoleRefusal(
            405, "Not here", f"Found {method}, expected GET or POST.", {"allow": "GET, POST"}
        )
    return BrowserRequest(
        method="GET" if method == "HEAD" else method,
        path=scope["path"],
        query=fields_of(scope["query_string"]),
        form=form,
        headers=headers,
        address=client[0] if client else "",
        encrypted=scope.get("scheme") == "https" or headers.get("x-forwarded-proto") == "https",
    )


def fields_of(data: bytes) -> dict[str, str]:
    """The fields of a form or a query.

    Raises:
        ConsoleRefusal: It is none.
    """
    try:
        pairs = parse_qsl(data.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict")
    except (UnicodeDecodeError, ValueError):
        raise ConsoleRefusal(400, "Not a form", "Found bytes that are no fields of a form.") from None
    return dict(pairs)


async def _body(receive: Receive) -> bytes:
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConsoleRefusal(400, "Cut off", "The form did not arrive whole.")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        more = message.get("more_body", False)
        if size > LARGEST_FORM:
            raise ConsoleRefusal(413, "Too large", f"Found a form of more than {LARGEST_FORM >> 10} kB.")
    return b"".join(parts)


async def send_answer(answer: ConsoleAnswer, send: Send, *, with_body: bool = True) -> None:
    """Send an answer with the headers of every answer."""
    headers = {
        **HEADERS,
        "content-type": answer.kind,
        "content-length": str(len(answer.body)),
        **answer.headers,
    }
    pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": pairs})
    await send({"type": "http.response.body", "body": answer.body if with_body else b""})

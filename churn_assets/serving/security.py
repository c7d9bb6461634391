"""Who may ask, how much and how fast: API keys, limits, and errors that tell nothing of the inside."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import logging
import math
import os
import secrets
import stat
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Literal, get_args

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from churn_assets.serving.config import LimitsConfig
from churn_assets.serving.docs_page import DOCS_PATHS
from churn_assets.serving.metrics import Metrics
from churn_assets.serving.openapi import DOCUMENT_PATH, LIVE_PATH, READY_PATH
from churn_assets.serving.problems import Problem, problem_body
from churn_assets.serving.protocol import WHOLE_BODY

_LOG = logging.getLogger(__name__)

OPEN_PATHS = frozenset({LIVE_PATH, READY_PATH, DOCUMENT_PATH, *DOCS_PATHS})
"""What is told without a key. A load balancer learns no more than up or down and which release leads; the page that
describes the interface, which a browser opens without a key, is the same for every release."""

_BEARER = b"Bearer "
_LARGEST_FILE = 16 << 20
"""Bytes of a file of keys: some 100,000 of them."""
_KEY_BYTES = 32
_CALLERS_KEPT = 10_000
_STRANGERS_BURST = 20
_BODY_METHODS = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class KeyFileError(ValueError):
    """The file of API keys cannot be used; names file, found and expected."""


KeyRole = Literal["viewer", "promoter"]
"""What a person's key opens the console for: to look, or to promote, roll back and stop offers too."""
KEY_ROLES: tuple[KeyRole, ...] = get_args(KeyRole)


class ApiKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One key as it is kept: never the key itself.

    Attributes:
        name: Who holds it; stands in logs and metrics.
        sha256: Of the key. Keys are 256 random bits, so a plain hash cannot be turned round.
        created_at: When it was made.
        revoked_at: When it was taken back; None while it is good.
        role: Of a person's key, which opens the console and not the API; None: a caller's, which opens the API alone.
    """

    name: str
    sha256: str
    created_at: datetime
    revoked_at: datetime | None = None
    role: KeyRole | None = None


def new_key(
    keys: tuple[ApiKey, ...], name: str, now: datetime, role: KeyRole | None = None
) -> tuple[str, tuple[ApiKey, ...]]:
    """A new key, in the clear for the only time, and the keys with it.

    Raises:
        KeyFileError: A good key of this name exists.
    """
    if any(key.name == name and key.revoked_at is None for key in keys):
        raise KeyFileError(
            f"key {name!r}: found one in use, expected a new name, or to revoke that one first"
        )
    clear = f"churn_{secrets.token_urlsafe(_KEY_BYTES)}"
    return clear, (*keys, ApiKey(name, _sha256(clear.encode()), now, role=role))


def revoked(keys: tuple[ApiKey, ...], name: str, now: datetime) -> tuple[ApiKey, ...]:
    """The keys after taking one back.

    Raises:
        KeyFileError: No good key has this name.
    """
    if not any(key.name == name and key.revoked_at is None for key in keys):
        raise KeyFileError(f"key {name!r}: found none in use, expected one of {[key.name for key in keys]}")
    return tuple(
        msgspec.structs.replace(key, revoked_at=now) if key.name == name and key.revoked_at is None else key
        for key in keys
    )


def read_keys(path: Path) -> tuple[ApiKey, ...]:
    """The keys of a file.

    Raises:
        KeyFileError: It is missing, no plain file, or no list of keys.
        OSError: It cannot be read.
    """
    try:
        return msgspec.json.decode(_plain_bytes(path), type=tuple[ApiKey, ...])
    except FileNotFoundError as error:
        raise KeyFileError(
            f"{path}: found no such file, expected API keys; make one with `churn keys`"
        ) from error
    except msgspec.MsgspecError as error:
        raise KeyFileError(
            f"{path}: {error}; expected a list of API keys as `churn keys` writes it"
        ) from error


def _plain_bytes(path: Path) -> bytes:
    """Content of a file that may be a link, as mounted secrets are; a pipe is never waited for."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > _LARGEST_FILE:
            what = f"{found.st_size} bytes" if stat.S_ISREG(found.st_mode) else "another kind of file"
            raise KeyFileError(f"{path}: found {what}, expected a file of at most {_LARGEST_FILE} bytes")
        return os.read(descriptor, _LARGEST_FILE)
    finally:
        os.close(descriptor)


def write_keys(path: Path, keys: tuple[ApiKey, ...]) -> None:
    """Replace the file of keys at once, readable by its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(msgspec.json.format(msgspec.json.encode(keys), indent=2) + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
        Path(draft).replace(path)
    except OSError:
        Path(draft).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def held_keys(path: Path) -> Iterator[None]:
    """Nobody else changes a file of keys meanwhile: who reads, changes and writes it loses no change of others.

    The lock is a file beside it, as the file itself is replaced; it stays there, empty.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


class Keyring:
    """The good keys of a file, read again when it changes: a revoked key stops within a second.

    A file that cannot be read any more leaves the keys that were good, and says so in the log and, by the server's loop
    `keys`, where its state is asked for.
    """

    def __init__(self, path: Path, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._monotonic = monotonic
        self._trouble = ""
        self._seen = self._stamp()
        self._good = _by_digest(read_keys(path))
        self._look_at = monotonic() + 1

    def name_of(self, authorization: bytes) -> str | None:
        """Who sends this `Authorization` header; None if the key is unknown, revoked, missing, or a person's."""
        if not authorization.startswith(_BEARER):
            return None
        found = self.key_of(authorization[len(_BEARER) :].strip())
        return found.name if found is not None and found.role is None else None

    def key_of(self, clear: bytes) -> ApiKey | None:
        """The good key that these bytes are; None if there is none."""
        return self.by_sha256(_sha256(clear))

    def by_sha256(self, sha256: str) -> ApiKey | None:
        """The good key that is kept under this digest; None if there is none any more."""
        if self._monotonic() >= self._look_at:
            self._look_again()
        return self._good.get(sha256)

    def check(self) -> None:
        """Read the file if it changed; where it cannot be, the keys stay as they were.

        Raises:
            KeyFileError: It is no file of keys, so nobody's key can be taken back.
            OSError: It cannot be read.
        """
        stamp = self._stamp()
        if stamp != self._seen:
            self._good = _by_digest(read_keys(self._path))
            self._seen = stamp

    def _look_again(self) -> None:
        self._look_at = self._monotonic() + 1
        try:
            self.check()
        except (OSError, KeyFileError) as error:
            if str(error) != self._trouble:  # whoever asks a thousand times a second would fill the log
                _LOG.error("API keys stay as they were: %s", error)
            self._trouble = str(error)
        else:
            self._trouble = ""

    def _stamp(self) -> tuple[int, int, int]:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return (0, 0, 0)
        return (found.st_mtime_ns, found.st_size, found.st_ino)


class RateLimit:
    """A token bucket for each caller. One process's own: with several workers a caller has as many buckets."""

    def __init__(
        self, per_second: float, burst: int, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_second = per_second
        self._burst = float(burst)
        self._monotonic = monotonic
        self._buckets: dict[str, tuple[float, float]] = {}

    def wait(self, caller: str) -> float:
        """Take one request; 0, or the seconds after which the next one may come."""
        now = self._monotonic()
        tokens, at = self._buckets.get(caller, (self._burst, now))
        tokens = min(self._burst, tokens + (now - at) * self._per_second)
        if tokens < 1:
            return (1 - tokens) / self._per_second
        if len(self._buckets) >= _CALLERS_KEPT and caller not in self._buckets:
            self._buckets.pop(next(iter(self._buckets)))
        self._buckets[caller] = (tokens - 1, now)
        return 0.0


class Guard:
    """The outermost ASGI layer: keys, limits and time before anything is read, and the last word on errors.

    Args:
        app: What is guarded.
        keys: Good keys; None where none is asked for.
        limits: What one caller may ask.
        metrics: Told of every request.
    """

    def __init__(self, app: ASGIApp, keys: Keyring | None, limits: LimitsConfig, metrics: Metrics) -> None:
        self._app = app
        self._keys = keys
        self._limits = limits
        self._metrics = metrics
        self._rate = RateLimit(limits.requests_per_second, limits.burst)
        self._strangers = RateLimit(limits.unauthorized_per_second, _STRANGERS_BURST)
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        answer = _Answer(send)
        self._running += 1
        try:
            await self._app(scope, await self._admitted(scope, receive), answer)
        except Problem as problem:
            await answer.refuse(problem)
        except Exception as error:  # noqa: BLE001 - the border: nothing gets past it; the application told already
            if not answer.begun:
                await answer.refuse(incident(error))
        finally:
            self._running -= 1
            route = scope.get("route")
            path = getattr(route, "path", "other")
            self._metrics.request(path, answer.status, time.perf_counter() - started)

    async def _admitted(self, scope: Scope, receive: Receive) -> Receive:
        """What the application reads the body from, after everything about the request is found to be in bounds."""
        headers: Mapping[bytes, bytes] = dict(scope["headers"])
        caller = self._caller(scope, headers)
        scope["caller"] = "" if self._keys is None else caller
        if self._running > self._limits.concurrent_requests:
            raise Problem(503, "too many requests at once", "try again soon", {"retry-after": "1"})
        _refuse_early(self._rate.wait(caller))
        if scope["method"] not in _BODY_METHODS:
            return receive
        return await self._body(scope, headers, receive)

    def _caller(self, scope: Scope, headers: Mapping[bytes, bytes]) -> str:
        client = scope.get("client")
        address = client[0] if client else ""
        if self._keys is None or scope["path"] in OPEN_PATHS:
            return address
        name = self._keys.name_of(headers.get(b"authorization", b""))
        if name is None:
            _refuse_early(self._strangers.wait(address))
            raise Problem(
                401, "no valid API key", "send Authorization: Bearer <key>", {"www-authenticate": "Bearer"}
            )
        return name

    async def _body(self, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive) -> Receive:
        """The whole body, in bounded memory and time."""
        kind = headers.get(b"content-type", b"").split(b";", 1)[0].strip().lower()
        if kind != b"application/json":
            raise Problem(415, "unsupported content type", "expected application/json")
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or len(length) > 18 or int(length) > self._limits.body_bytes:
            raise self._too_large()
        if WHOLE_BODY in scope.get("extensions", ()):
            body = await self._whole(receive)
        else:
            body = await self._in_time(receive)
        return _Replay({"type": "http.request", "body": body, "more_body": False}, receive)

    async def _in_time(self, receive: Receive) -> bytes:
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                return await self._whole(receive)
        except TimeoutError:
            expected = f"expected it within {self._limits.body_seconds:g} s"
            raise Problem(408, "the body took too long", expected) from None

    async def _whole(self, receive: Receive) -> bytes:
        message = await receive()
        body: bytes = message.get("body", b"")
        if not message.get("more_body", False):
            return body
        parts, size = [body], len(body)
        while message.get("more_body", False):
            message = await receive()
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > self._limits.body_bytes:
                raise self._too_large()
        return b"".join(parts)

    def _too_large(self) -> Problem:
        return Problem(413, "body too large", f"expected at most {self._limits.body_bytes} bytes")


def _refuse_early(wait: float) -> None:
    if wait:
        raise Problem(429, "too many requests", "slow down", {"retry-after": str(math.ceil(wait))})


class _Replay:
    """Gives a body that was read already to the application, then what the client does."""

    def __init__(self, message: Message, receive: Receive) -> None:
        self._message: Message | None = message
        self._receive = receive

    async def __call__(self) -> Message:
        if self._message is None:
            return await self._receive()
        message, self._message = self._message, None
        return message


class _Answer:
    """Knows whether an answer has begun: after that, it cannot be turned into a refusal any more."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 500
        self.begun = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.begun = message["status"], True
        await self._send(message)

    async def refuse(self, problem: Problem) -> None:
        body = problem_body(problem)
        headers = {
            "content-type": "application/problem+json",
            "content-length": str(len(body)),
        } | problem.headers
        await self({
            "type": "http.response.start",
            "status": problem.status,
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        })  # fmt: skip
        await self({"type": "http.response.body", "body": body})


def incident(error: Exception) -> Problem:
    """A number for the client; for the log the places where it happened, and no value: it may be a person's."""
    number = secrets.token_hex(8)
    places = "".join(traceback.format_tb(error.__traceback__))
    _LOG.error("incident %s: %s\n%s", number, type(error).__name__, places)
    return Problem(500, "internal error", f"incident {number}")


def _by_digest(keys: tuple[ApiKey, ...]) -> dict[str, ApiKey]:
    return {key.sha256: key for key in keys if key.revoked_at is None}


def _sha256(clear: bytes) -> str:
    return hashlib.sha256(clear).hexdigest()

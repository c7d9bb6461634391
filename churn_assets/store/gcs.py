"""The store in a Google Cloud Storage bucket: conditional creates, attested checksums, streamed transfers."""

import base64
import hashlib
import os
import re
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from io import BufferedIOBase, BytesIO
from pathlib import Path
from typing import Any

from google.api_core import exceptions as api
from google.auth import exceptions as auth
from google.cloud import storage
from google.cloud.storage.exceptions import DataCorruption
from google.cloud.storage.retry import DEFAULT_RETRY
from requests import RequestException
from urllib3.exceptions import HTTPError

from churn_assets.store.backend import DOCUMENT_LIMIT, ObjectInfo, TransferProgress
from churn_assets.store.digests import check_size, new_file
from churn_assets.store.errors import (
    AccessDenied,
    BucketMissing,
    CorruptArtifact,
    InvalidName,
    ObjectExists,
    ObjectMissing,
    RequestRefused,
    StoreUnreachable,
)
from churn_assets.store.names import check_key, check_prefix

_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
_TYPE = "application/octet-stream"
# One request up to here, a resumable upload above: the client's own boundary.
_ONE_REQUEST = 8 << 20
# The client holds two pieces at a time, so this bounds the memory; each piece costs a round trip.
_UPLOAD_PIECE = 80 << 20
# Measured against a local server: 0.75 GB/s for one 8 MiB range at a time and 0.9 for two to four, where one plain
# download reaches 0.4.
_DOWNLOAD_PIECE = 8 << 20
_DOWNLOADS_AT_ONCE = 3
_FAILURES = (
    *(api.GoogleAPIError, auth.GoogleAuthError),
    *(RequestException, HTTPError, ConnectionError, TimeoutError),
)
_DENIALS = (api.Forbidden, api.Unauthorized, auth.DefaultCredentialsError, auth.RefreshError)
# Reasons of a refusal that say something else than its status: kept by a policy or a hold, or too much was asked.
_HELD = {"retentionPolicyNotMet", "objectUnderActiveHold"}
_EXHAUSTED = {"rateLimitExceeded", "userRateLimitExceeded", "quotaExceeded"}
# Seconds to wait for a connection and for the next bytes of an answer.
_TIMEOUT = (10.0, 60.0)


class GcsBackend:
    """Objects of one bucket under one prefix.

    Every write carries ``if_generation_match=0``, so it may be repeated: two writers cannot both win, and a write
    whose answer was lost meets its own object when it is tried again, which is reported as existing. Safe to use
    from several threads; processes each make their own client.

    Args:
        bucket: Name of the bucket.
        prefix: Folder inside it, without slashes at its ends; empty for the bucket itself.
        client: Client with the credentials to use. Left out, one client of the process serves every store; it takes
            the credentials of the environment when it is first needed.
        progress: Told of every transfer of a file.
        patience: Seconds for which a failing request is repeated.

    Raises:
        InvalidName: ``bucket`` or ``prefix`` cannot be one.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        client: storage.Client | None = None,
        *,
        progress: TransferProgress | None = None,
        patience: float = 120.0,
    ) -> None:
        if not _BUCKET.fullmatch(bucket):
            raise InvalidName(
                f"bucket name: found {bucket!r}, expected 3 to 222 lower-case letters, digits, '.', '_' or '-'"
            )
        self.bucket = bucket
        self.prefix = check_prefix(f"{prefix}/") if prefix else ""
        self._given_client = client
        self._progress = progress
        self._patience = patience
        self._retry = DEFAULT_RETRY.with_timeout(patience).with_delay(
            initial=0.25, maximum=15.0, multiplier=2.0
        )
        self._bucket_answered = False

    def create(self, key: str, source: bytes | Path) -> ObjectInfo:
        """See :class:`~churn_assets.store.backend.Backend`; the checksum goes along for the storage to compare."""
        check_key(key)
        with self._request("create", key):
            if isinstance(source, bytes):
                return self._upload(key, BytesIO(source), len(source))
            with source.open("rb") as stream:
                return self._upload(key, stream, os.fstat(stream.fileno()).st_size)

    def read(self, key: str) -> bytes:
        """See :class:`~churn_assets.store.backend.Backend`."""
        check_key(key)
        with self._request("read", key):
            data = self._range(key, 0, DOCUMENT_LIMIT + 1)
        if len(data) > DOCUMENT_LIMIT:
            raise CorruptArtifact(key, f"more than {DOCUMENT_LIMIT} bytes", "a document of the store")
        return data

    def fetch(self, key: str, size: int, destination: Path | None = None) -> str:
        """See :class:`~churn_assets.store.backend.Backend`; pieces arrive while earlier ones are digested."""
        check_key(key)
        sha256, done = hashlib.sha256(), 0
        with self._request("fetch", key):
            pieces = self._pieces(key, size)
            piece = next(pieces)
            with new_file(destination) as target:
                while piece and done + len(piece) <= size:
                    target.write(piece)
                    sha256.update(piece)
                    done += len(piece)
                    self._tell(key, done, size)
                    piece = next(pieces, b"")
        if piece or done < size:
            raise CorruptArtifact(key, f"{self.info(key).size} bytes", f"{size} bytes")
        return sha256.hexdigest()

    def info(self, key: str, most: int | None = None) -> ObjectInfo:
        """See :class:`~churn_assets.store.backend.Backend`; both are what the storage recorded on arrival."""
        found = _told_of(self._look_up(key))
        check_size(key, found.size, most)
        return found

    def list(self, prefix: str) -> list[str]:
        """See :class:`~churn_assets.store.backend.Backend`; the empty objects that consoles call folders are none."""
        where = self.prefix + check_prefix(prefix)
        with self._request("list", prefix):
            blobs = self._client.list_blobs(
                self.bucket,
                prefix=where,
                fields="items(name),nextPageToken",
                timeout=_TIMEOUT,
                retry=self._retry,
            )
            names = [blob.name for blob in blobs if not blob.name.endswith("/")]
        return sorted(name.removeprefix(self.prefix) for name in names)

    def delete(self, key: str) -> None:
        """See :class:`~churn_assets.store.backend.Backend`."""
        check_key(key)
        try:
            with self._request("delete", key):
                self._blob(key).delete(timeout=_TIMEOUT, retry=self._retry)
        except ObjectMissing:
            return

    def written_at(self, key: str) -> datetime:
        """See :class:`~churn_assets.store.backend.Backend`."""
        written: datetime = self._look_up(key).time_created
        return written

    @property
    def _client(self) -> storage.Client:
        if self._given_client is not None:
            return self._given_client
        return _process_client(os.getpid(), os.environ.get("STORAGE_EMULATOR_HOST", ""))

    def _look_up(self, key: str) -> storage.Blob:
        check_key(key)
        with self._request("look up", key):
            blob = self._blob(key)
            blob.reload(timeout=_TIMEOUT, retry=self._retry)
        return blob

    def _blob(self, key: str) -> storage.Blob:
        return self._client.bucket(self.bucket).blob(self.prefix + key)

    def _upload(self, key: str, stream: BufferedIOBase, size: int) -> ObjectInfo:
        """Upload an object; returns what the storage answered that it holds."""
        blob = self._blob(key)
        conditions = {
            "if_generation_match": 0,
            "checksum": "crc32c",
            "content_type": _TYPE,
            "timeout": _TIMEOUT,
            "retry": self._retry,
        }
        try:
            if size <= _ONE_REQUEST:
                blob.upload_from_string(stream.read(), **conditions)
                self._tell(key, size, size)
                return _told_of(blob)
            # Servers look at the condition of a resumable upload when it begins and when it ends, emulators never.
            if blob.exists(timeout=_TIMEOUT, retry=self._retry):
                raise ObjectExists(key)
            blob.chunk_size = _UPLOAD_PIECE
            blob.upload_from_file(
                _Outgoing(stream, lambda done: self._tell(key, done, size)), size=size, **conditions
            )
            self._tell(key, size, size)
        except api.PreconditionFailed:
            # An organisation's policy is answered alike: only what is there is there.
            if blob.exists(timeout=_TIMEOUT, retry=self._retry):
                raise ObjectExists(key) from None
            raise
        return _told_of(blob)

    def _pieces(self, key: str, size: int) -> Iterator[bytes]:
        """An object in order. One byte more than ``size`` is asked for, so that a longer object shows."""
        starts = range(0, max(size, 1), _DOWNLOAD_PIECE)
        stops = [*starts[1:], size + 1]
        if len(starts) == 1:
            yield self._range(key, 0, size + 1)
            return
        arriving: deque[Future[bytes]] = deque()
        with ThreadPoolExecutor(_DOWNLOADS_AT_ONCE) as pool:
            for start, stop in zip(starts, stops, strict=True):
                arriving.append(pool.submit(self._range, key, start, stop))
                if len(arriving) > _DOWNLOADS_AT_ONCE:
                    yield arriving.popleft().result()
            while arriving:
                yield arriving.popleft().result()

    def _range(self, key: str, start: int, stop: int) -> bytes:
        """What an object holds of the bytes ``start`` to ``stop - 1``, as stored: nothing is ever unpacked."""
        try:
            data: bytes = self._blob(key).download_as_bytes(
                start=start,
                end=stop - 1,
                raw_download=True,
                single_shot_download=True,
                checksum=None,  # storages have none of a range; whoever reads compares SHA-256 of the whole
                timeout=_TIMEOUT,
                retry=self._retry,
            )
        except api.RequestRangeNotSatisfiable:
            return b""
        return data

    def _tell(self, key: str, done: int, size: int) -> None:
        if self._progress is not None:
            self._progress(key, done, size)

    @contextmanager
    def _request(self, operation: str, key: str) -> Iterator[None]:
        """Names what goes wrong on the way to the storage."""
        place = f"gs://{self.bucket}/{self.prefix}{key}: {operation}"
        try:
            yield
        except api.NotFound as error:
            self._refuse_missing_bucket(place)
            if operation in ("create", "list"):
                raise StoreUnreachable(f"{place}: found it gone, expected it to go on") from error
            raise ObjectMissing(key) from error
        except DataCorruption as error:
            raise CorruptArtifact(key, "another checksum after the transfer", "the checksum sent") from error
        except _FAILURES as error:
            raise self._named(error, place) from error
        self._bucket_answered = True

    def _refuse_missing_bucket(self, place: str) -> None:
        """A storage says "not found" of an object and of its bucket alike; a listing tells them apart."""
        if self._bucket_answered:
            return
        try:
            next(iter(self._client.list_blobs(self.bucket, max_results=1, timeout=_TIMEOUT)), None)
        except api.NotFound as error:
            raise BucketMissing(
                f"{place}: found no bucket {self.bucket!r}, expected one that exists"
            ) from error
        except _FAILURES as error:
            raise self._named(error, place) from error

    def _named(self, error: Exception, place: str) -> Exception:
        found = f"{place}: found {_said(error)}"
        reasons = _reasons(error)
        if reasons & _HELD:
            return RequestRefused(f"{found}, expected an object that no retention policy or hold keeps")
        if isinstance(error, _DENIALS) and not reasons & _EXHAUSTED:
            return AccessDenied(f"{found}, expected credentials that may do it")
        if isinstance(error, api.PreconditionFailed):
            return RequestRefused(f"{found}, expected no policy of the organisation against it")
        if isinstance(error, api.ClientError) and not isinstance(error, api.TooManyRequests | api.Forbidden):
            return RequestRefused(f"{found}, expected it to be accepted")
        return StoreUnreachable(f"{found}, expected an answer within {self._patience:g} s")


class _Outgoing:
    """What the client reads a large upload from; it goes back with :meth:`seek` to what has not arrived."""

    def __init__(self, stream: BufferedIOBase, told: Callable[[int], None]) -> None:
        self._stream = stream
        self._told = told

    def tell(self) -> int:
        return self._stream.tell()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._stream.seek(offset, whence)

    def read(self, size: int) -> bytes:
        self._told(self._stream.tell())  # the client asks for more when what it had has arrived
        return self._stream.read(size)


def _told_of(blob: storage.Blob) -> ObjectInfo:
    return ObjectInfo(blob.size, int.from_bytes(base64.b64decode(blob.crc32c)))


@cache
def _process_client(process: int, emulator: str) -> storage.Client:  # noqa: ARG001 - connections are not inherited
    return storage.Client(project=None)  # a bucket's name is enough: logins of people have no project


def _said(error: Exception) -> str:
    """What the storage said, whole: a date may stand at its end; without the request's address before it."""
    text = str(_answer(error).get("message") or error)
    return f"{type(error).__name__} ({' '.join(text.split()):.2000})"


def _reasons(error: Exception) -> set[str]:
    """The storage's own words for why, such as `retentionPolicyNotMet`."""
    told = [*(getattr(error, "errors", None) or []), *(_answer(error).get("errors") or [])]
    return {str(each.get("reason")) for each in told if isinstance(each, dict)}


def _answer(error: Exception) -> dict[str, Any]:
    """The error document of an answer; empty where there was none."""
    response = getattr(error, "response", None)
    try:
        found = response.json()["error"] if response is not None else {}
    except (ValueError, LookupError, TypeError, AttributeError):
        return {}
    return found if isinstance(found, dict) else {}

"""Who is logged in: signed cookies that name a key, which must still be good at every request. Shows nothing."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from churn_assets.serving.security import ApiKey, Keyring, KeyRole
from churn_assets.store.local import private_folder

ENDED = ".churn/console/ended"
"""Where a project keeps the sessions that were ended before their time; all workers of a machine share it."""
_SID_BYTES = 16


@dataclass(frozen=True)
class ConsoleSession:
    """A person who is logged in.

    Attributes:
        name: Of their key.
        role: What it opens, by the file of keys as it is now.
        sid: Random; another one at every login.
        expires_at: When they log in again.
        csrf: What every form of this session holds, and no other page can know.
    """

    name: str
    role: KeyRole
    sid: str
    expires_at: datetime
    csrf: str

    @property
    def promotes(self) -> bool:
        """Whether this person may promote, roll back and stop offers."""
        return self.role == "promoter"


class Sessions:
    """Opens, reads and ends sessions.

    Args:
        secret: Signs cookies; the same in all workers.
        keys: Whose keys are good.
        length: Of a session.
        ended: Folder of those that were ended before their time.
    """

    def __init__(self, secret: bytes, keys: Keyring, length: timedelta, ended: Path) -> None:
        self._secret = secret
        self._keys = keys
        self._length = length
        self._ended = ended

    @property
    def seconds(self) -> int:
        """Length of a session."""
        return int(self._length.total_seconds())

    def key_of(self, clear: str) -> ApiKey | None:
        """The person's key that was typed in; None where it is none that opens the console."""
        found = self._keys.key_of(clear.strip().encode("utf-8", "replace"))
        return found if found is not None and found.role is not None else None

    def opened(self, key: ApiKey, now: datetime) -> str:
        """The cookie of a new session."""
        told = {
            "key": key.sha256,
            "sid": secrets.token_urlsafe(_SID_BYTES),
            "until": int((now + self._length).timestamp()),
        }
        body = base64.urlsafe_b64encode(json.dumps(told).encode()).decode()
        return f"{body}.{self._mac('cookie', body)}"

    def read(self, cookie: str, now: datetime) -> ConsoleSession | None:
        """Whose session a cookie is; None where it is forged, over, ended, or its key is no longer good."""
        body, _, mac = cookie.rpartition(".")
        if not body or not hmac.compare_digest(mac.encode(), self._mac("cookie", body).encode()):
            return None
        told = json.loads(base64.urlsafe_b64decode(body))
        until = datetime.fromtimestamp(told["until"], now.tzinfo)
        key = self._keys.by_sha256(told["key"])
        if key is None or key.role is None or until <= now or self._mark(told["sid"]).exists():
            return None
        return ConsoleSession(key.name, key.role, told["sid"], until, self._mac("form", told["sid"]))

    def end(self, session: ConsoleSession, now: datetime) -> None:
        """Nobody gets in with this session's cookie any more; marks of sessions that are over anyway are removed.

        Raises:
            OSError: It cannot be written down.
        """
        private_folder(self._ended)
        self._mark(session.sid).touch(mode=0o600)
        oldest = now.timestamp() - 2 * self._length.total_seconds()
        for mark in self._ended.iterdir():
            if mark.stat().st_mtime < oldest:
                mark.unlink(missing_ok=True)

    def _mark(self, sid: str) -> Path:
        return self._ended / hashlib.sha256(sid.encode()).hexdigest()[:32]

    def _mac(self, use: str, text: str) -> str:
        return hmac.new(self._secret, f"{use}:{text}".encode(), hashlib.sha256).hexdigest()

"""A real PostgreSQL server for tests: Debian's programs over a temporary folder, on a free port, that can be killed."""

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pytest
from adbc_driver_postgresql import dbapi

READY_WITHIN = 60.0
ADMIN = "keeper"


def binary(name: str) -> Path:
    """A program of the server; on Debian they are in no PATH."""
    newest = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    found = shutil.which(name, path=os.pathsep.join([*map(str, newest[::-1]), os.environ["PATH"]]))
    if found is None:
        pytest.fail(
            "PostgreSQL is not installed: `apt-get install postgresql`, as .ci/run does", pytrace=False
        )
    return Path(found)


class PostgresServer:
    """One server process; what it holds outlives it, until the tests end.

    Root may not run it, so root runs it as another user.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="churn-postgresql-")
        self.password = secrets.token_hex(8)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        self._as: dict[str, object] = {}
        if os.geteuid() == 0:
            known = {each.pw_name for each in pwd.getpwall()}
            user = "postgres" if "postgres" in known else "nobody"
            shutil.chown(self._folder.name, user)
            self._as = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}

    @property
    def _data(self) -> Path:
        return Path(self._folder.name, "data")

    def make(self) -> None:
        secret = Path(self._folder.name, "password")
        secret.write_text(self.password)
        secret.chmod(0o644)
        options = (
            "-U",
            ADMIN,
            "--auth",
            "scram-sha-256",
            "--pwfile",
            str(secret),
            "-N",
            "-E",
            "UTF8",
            "--locale",
            "C.UTF-8",
        )
        subprocess.run(
            [binary("initdb"), "-D", self._data, *options], check=True, capture_output=True, **self._as
        )

    def start(self) -> None:
        options = ("-p", str(self.port), "-k", self._folder.name, "-h", "127.0.0.1", "-F")
        self._process = subprocess.Popen(
            [binary("postgres"), "-D", self._data, *options],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **self._as,
        )  # fmt: skip
        deadline = time.monotonic() + READY_WITHIN
        while True:
            try:
                self.run("select 1")
                return
            except dbapi.Error:
                assert self._process.poll() is None, f"PostgreSQL ended with {self._process.returncode}"
                assert time.monotonic() < deadline, f"no PostgreSQL after {READY_WITHIN} s"
                time.sleep(0.05)

    def kill(self) -> None:
        """As a power cut would: every session has a process of its own."""
        if self._process is None:
            return
        leader = self._process.pid
        children = Path(f"/proc/{leader}/task/{leader}/children").read_text().split()
        for each in (leader, *map(int, children)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def close(self) -> None:
        self.kill()
        self._folder.cleanup()

    def location(self, database: str = "postgres") -> str:
        return f"postgresql://127.0.0.1:{self.port}/{database}"

    def run(self, *statements: str, database: str = "postgres") -> None:
        """Runs statements as the one who may do everything."""
        with self._connected(database) as connection, connection.cursor() as cursor:
            for each in statements:
                cursor.execute(each)
                cursor.fetchall() if each.startswith("select") else None
            connection.commit()

    def ask(self, query: str, database: str = "postgres") -> list[tuple]:
        with self._connected(database) as connection, connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall()

    def put(self, name: str, table: pa.Table, database: str = "postgres") -> None:
        """Makes a table of these rows."""
        with self._connected(database) as connection, connection.cursor() as cursor:
            cursor.adbc_ingest(name, table, mode="create")
            connection.commit()

    def _connected(self, database: str) -> dbapi.Connection:
        server = self.location(database).removeprefix("postgresql://")
        return dbapi.connect(f"postgresql://{ADMIN}:{self.password}@{server}")

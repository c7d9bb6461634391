"""A real Ray cluster of several nodes on this host, each of which can be killed without a word."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import requests

PATIENCE = 300.0  # seconds that a loaded machine may take; nothing waits that long unless it has failed
# A node that is gone is noticed within seconds; one that is only slow has a quarter of a minute.
NOTICED = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_health_check_timeout_ms": "5000",
    "RAY_raylet_start_wait_time_s": "120",
}


class RayDidNotStart(Exception):  # noqa: N818 - what happened
    """With what it printed."""


class RayCluster:
    """A head that runs no step, and nodes of one core each.

    Args:
        folder: For its logs; sockets lie in it, so its path must be short.
        environment: Variables of every node, and so of every step.
    """

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.environment = os.environ | NOTICED | {"RAY_USAGE_STATS_ENABLED": "0"} | environment
        self.port = self.dashboard = 0
        self.nodes: list[list[psutil.Process]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.dashboard}"

    def start(self) -> None:
        self._start_head()
        self.until(self._answers)
        self.add_node()

    def _start_head(self) -> None:
        """On other ports where somebody took one of them between finding and using it."""
        for left in (2, 1, 0):
            self.port, self.dashboard = _free_ports(2)
            head = ["--head", f"--port={self.port}", "--num-cpus=0", "--dashboard-host=127.0.0.1"]
            try:
                self._start(*head, f"--dashboard-port={self.dashboard}", f"--temp-dir={self.folder}")
            except RayDidNotStart:
                self.close()
                if not left:
                    raise
            else:
                return

    def add_node(self) -> None:
        self._start(f"--address=127.0.0.1:{self.port}", "--num-cpus=1")

    def kill_newest(self) -> None:
        """What makes it a node; steps on it live on for a while, as they do when a node is cut off."""
        for each in self.nodes.pop():
            _kill(each)

    def close(self) -> None:
        for each in [*self._processes(), *self.steps()]:
            _kill(each)

    def steps(self) -> list[psutil.Process]:
        """Processes that make an asset of this cluster's, by their variables."""
        found = []
        for each in psutil.process_iter(["cmdline"]):
            words = each.info["cmdline"] or []
            if "step" in words and "--config-digest" in words and str(self.folder.parent) in " ".join(words):
                found.append(each)
        return found

    def jobs(self) -> list[dict[str, Any]]:
        return requests.get(f"{self.address}/api/jobs/", timeout=30).json()

    def until(self, what: Callable[[], Any]) -> Any:
        began = time.monotonic()
        while not (found := what()):
            if time.monotonic() - began > PATIENCE:
                raise TimeoutError((self.folder.parent / "ray.log").read_text()[-4000:])
            time.sleep(0.1)
        return found

    def _start(self, *options: str) -> None:
        (agent,) = _free_ports(1)
        command = [str(Path(sys.executable).with_name("ray")), "start", "--node-ip-address=127.0.0.1"]
        # Agents of two nodes on one host would take each other's port, and messages would go to the wrong one.
        command += [*options, f"--dashboard-agent-listen-port={agent}", "--object-store-memory=80000000"]
        before = self._processes()
        with (self.folder.parent / "ray.log").open("ab") as log:
            done = subprocess.run(command, env=self.environment, stdout=log, stderr=log, timeout=PATIENCE)
        if done.returncode:
            raise RayDidNotStart((self.folder.parent / "ray.log").read_text()[-4000:])
        self.nodes.append([each for each in self._processes() if each not in before])

    def _processes(self) -> list[psutil.Process]:
        """Those with the cluster's folder among their arguments; all others of a node end when its raylet has."""
        found = []
        for each in psutil.process_iter(["cmdline"]):
            words = " ".join(each.info["cmdline"] or [])
            if f"{self.folder}/" in words:
                found.append(each)
        return found

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.address}/api/version", timeout=5).ok
        except requests.RequestException:
            return False


def _kill(process: psutil.Process) -> None:
    try:
        process.send_signal(signal.SIGKILL)
    except psutil.NoSuchProcess:
        return


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports

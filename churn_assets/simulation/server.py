"""A `churn serve` process and its caller: asks for decisions over HTTP, and reports what came of them."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from churn_assets.deciding.secret import ASSIGNMENT_KEY
from churn_assets.offers.world import WorldOutcomes
from churn_assets.serving.schemas import MAX_OUTCOMES, DecisionsAnswer, DecisionView, OutcomesAnswer

_READY_SECONDS = 120.0
_STOP_SECONDS = 60.0
_ANSWER = msgspec.json.Decoder(DecisionsAnswer)
_RECORDED = msgspec.json.Decoder(OutcomesAnswer)


class ServerError(RuntimeError):
    """The server does not answer, or not as it should; holds what it said."""


@dataclass(frozen=True)
class WaveDecisions:
    """Decisions, in the order of the questions.

    Attributes:
        releases: Names of the releases that answered.
        decisions: One a customer.
    """

    releases: tuple[str, ...]
    decisions: Sequence[DecisionView]

    def __add__(self, other: WaveDecisions) -> WaveDecisions:
        releases = dict.fromkeys((*self.releases, *other.releases))
        return WaveDecisions(tuple(releases), [*self.decisions, *other.decisions])

    @property
    def arms(self) -> list[str]:
        """Ids of the arms decided, in the same order."""
        return [decision.arm.id for decision in self.decisions]

    def column(self, name: str) -> NDArray[Any]:
        """(n,) a field of every decision."""
        return np.array([getattr(decision, name) for decision in self.decisions])


@dataclass
class Server:
    """The server of one project and experiment; use it as a context.

    Attributes:
        root: The project's folder.
        experiment: Whose releases.
        secret: That holdout and exploration are drawn with.
    """

    root: Path
    experiment: str
    secret: str
    _port: int = 0
    _process: subprocess.Popen[bytes] | None = None
    _connection: http.client.HTTPConnection | None = field(default=None, repr=False)

    def __enter__(self) -> Server:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        command = [str(Path(sys.executable).with_name("churn")), "--root", str(self.root), "serve"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "-e", self.experiment, "--port", str(self._port)],
                env=os.environ | {ASSIGNMENT_KEY: self.secret},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + _READY_SECONDS
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._kill()
                raise ServerError(f"no release is served; {self._log} ends:\n{self._log.read_text()[-2000:]}")
            time.sleep(0.05)
        self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop as a server is stopped: its last segments reach the store before it ends."""
        if self._connection is not None:
            self._connection.close()
        process = self._process
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._kill()
                raise

    def decide(self, questions: Iterable[list[dict[str, Any]]]) -> WaveDecisions:
        """Ask about everybody, call after call.

        Raises:
            ServerError: A call was refused.
        """
        releases: dict[str, None] = {}
        decisions: list[DecisionView] = []
        for customers in questions:
            body = self._post("/v1/decisions?message=false", {"customers": customers})
            answer = _ANSWER.decode(body)
            releases[answer.release] = None
            decisions += answer.decisions
        return WaveDecisions(tuple(releases), decisions)

    def report(self, served: WaveDecisions, answers: WorldOutcomes) -> None:
        """Tell what came of decisions.

        Raises:
            ServerError: A call was refused.
        """
        told = [
            {
                "decision_id": decision.decision_id,
                "accepted": bool(accepted) if decision.contact else None,
                "churned": bool(churned),
                "margin": float(margin),
            }
            for decision, accepted, churned, margin in zip(
                served.decisions, answers.accepted, answers.churned, answers.margin, strict=True
            )
        ]
        for start in range(0, len(told), MAX_OUTCOMES):
            outcomes = told[start : start + MAX_OUTCOMES]
            recorded = _RECORDED.decode(self._post("/v1/outcomes", {"outcomes": outcomes})).recorded
            if recorded != len(outcomes):
                raise ServerError(f"{recorded} of {len(outcomes)} outcomes were recorded")

    @property
    def _log(self) -> Path:
        return self.root / "server.log"

    def _ready(self) -> bool:
        probe = http.client.HTTPConnection("127.0.0.1", self._port, timeout=5)
        try:
            probe.request("GET", "/v2/health/ready")
            return probe.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            probe.close()

    def _post(self, path: str, content: dict[str, Any]) -> bytes:
        if self._connection is None:
            raise ServerError("the server was not started")
        body = msgspec.json.encode(content)
        self._connection.request("POST", path, body, {"content-type": "application/json"})
        answer = self._connection.getresponse()
        said = answer.read()
        if answer.status != 200:
            raise ServerError(f"POST {path}: {answer.status} {said.decode(errors='replace')[:500]}")
        return said

    def _kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

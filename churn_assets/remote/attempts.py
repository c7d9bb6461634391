"""What is kept in the store of a remote step while it is on its way, so that nobody loses it, or begins it twice.

Below `steps/<experiment>/<asset>/<key of the order>/<number>/` lie, each written once:

| Object | Says |
|---|---|
| `asked.json` | that a job is about to be submitted: the order, and the token by which the engine can find the job |
| `job.json` | the engine's own id of the job |
| `messages/<n>` | what the step reports, in lines of Dagster Pipes |
| `ended.json` | how it ended |

None of it is needed once the step is over: `clear` removes it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from churn_assets.remote.steps import StepOrder
from churn_assets.store.backend import Backend
from churn_assets.store.canonical import canonical_json
from churn_assets.store.errors import ObjectExists, ObjectMissing

STEPS = "steps/"


@dataclass
class AttemptRecord:
    """One try of a step.

    Attributes:
        backend: Where it is kept.
        prefix: Of its objects, with the closing `/`.
        token: Unique to it; the engine finds the job by this.
        order: What was asked.
        read: Messages read so far, in chunks.
    """

    backend: Backend
    prefix: str
    token: str
    order: StepOrder
    read: int = field(default=0)

    @property
    def job(self) -> str | None:
        """The engine's id of the job; None while nobody knows whether it was submitted."""
        return _told(self.backend, f"{self.prefix}job.json").get("job")

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return bool(_told(self.backend, f"{self.prefix}ended.json"))

    def submitted(self, job: str) -> None:
        """Keep the engine's id of the job."""
        _tell(self.backend, f"{self.prefix}job.json", {"job": job})

    def over(self, state: str, detail: str) -> None:
        """Keep how it ended; what was kept first stands."""
        _tell(self.backend, f"{self.prefix}ended.json", {"state": state, "detail": detail})

    def next_messages(self) -> list[dict[str, Any]] | None:
        """The next chunk of what the step reported; None where there is none yet."""
        try:
            chunk = self.backend.read(message_key(self.prefix, self.read + 1))
        except ObjectMissing:
            return None
        self.read += 1
        return [json.loads(line) for line in chunk.decode().splitlines() if line.strip()]


def message_key(prefix: str, number: int) -> str:
    """Where the messages of an attempt with this number are."""
    return f"{prefix}messages/{number:08d}"


def attempts(backend: Backend, order: StepOrder) -> list[AttemptRecord]:
    """Every try of an order, oldest first."""
    prefix = _prefix(order)
    found = (_attempt(backend, f"{prefix}{number}/") for number in _numbers(backend, order))
    return [each for each in found if each is not None]


def begin(backend: Backend, order: StepOrder, token: str) -> AttemptRecord:
    """Begin another try; where somebody else begins the same at this moment, theirs is joined."""
    # One that was cleared may still report, late: its number is not given to another.
    number = int(max(_numbers(backend, order), default="0")) + 1
    prefix = f"{_prefix(order)}{number:04d}/"
    _tell(backend, f"{prefix}asked.json", {"token": token, "order": order.model_dump(mode="json")})
    begun = _attempt(backend, prefix)
    if begun is None:
        raise ObjectMissing(f"{prefix}asked.json")
    return begun


def clear(backend: Backend, order: StepOrder) -> None:
    """Remove what was kept of an order."""
    for key in backend.list(_prefix(order)):
        backend.delete(key)


def _prefix(order: StepOrder) -> str:
    return f"{STEPS}{order.experiment}/{order.asset}/{order.key}/"


def _numbers(backend: Backend, order: StepOrder) -> list[str]:
    """Of all tries of which anything is kept."""
    prefix = _prefix(order)
    return sorted({key.removeprefix(prefix).split("/")[0] for key in backend.list(prefix)})


def _attempt(backend: Backend, prefix: str) -> AttemptRecord | None:
    asked = _told(backend, f"{prefix}asked.json")
    if not asked:
        return None
    return AttemptRecord(backend, prefix, asked["token"], StepOrder.model_validate(asked["order"]))


def _told(backend: Backend, key: str) -> Mapping[str, Any]:
    try:
        found: Mapping[str, Any] = json.loads(backend.read(key))
    except ObjectMissing:
        return {}
    return found


def _tell(backend: Backend, key: str, content: dict[str, Any]) -> None:
    try:
        backend.create(key, canonical_json(content))
    except ObjectExists:  # our own of a lost answer, or somebody's who does the same: what is there counts
        return

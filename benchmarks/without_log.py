"""The server as it is, but for the decision log: what the log costs is the difference. Never to be served with."""

from __future__ import annotations

from churn_assets.serving import run
from churn_assets.serving.app import create_app
from churn_assets.serving.decision_log import DecisionLog
from churn_assets.serving.security import Guard


class _Forgetful(DecisionLog):
    async def append(self, kind: bytes, *payload: bytes) -> None:
        """Acknowledge, and write nothing."""


def worker() -> Guard:
    """What `churn_assets.serving.run.worker` makes, with a log that forgets."""
    run.DecisionLog = _Forgetful  # type: ignore[misc]
    return create_app(run.worker_parts())

"""Which engine runs a profile's steps, and the command that a step is there."""

from __future__ import annotations

from pathlib import Path

from churn_assets.remote.config import RayProfile, VertexProfile
from churn_assets.remote.following import Engine
from churn_assets.remote.steps import StepOrder

IMAGE_FOLDER = "/app"
"""Where the training image keeps the project."""


def engine_of(profile: RayProfile | VertexProfile, root: Path) -> Engine:
    """The engine of a profile; asks nothing of it yet.

    Args:
        profile: From the section `compute`.
        root: The project's folder here.

    Raises:
        EngineRefused: Its library is not installed, or finds no credentials.
    """
    if isinstance(profile, RayProfile):
        from churn_assets.remote.ray_jobs import RayJobs

        return RayJobs(profile, profile.project_folder or str(root))
    from churn_assets.remote.vertex_jobs import VertexJobs

    return VertexJobs(profile, profile.project_folder or IMAGE_FOLDER)


def command_of(order: StepOrder, folder: str) -> list[str]:
    """The command that makes a step, with the project in this folder.

    Example:
        >>> from datetime import UTC, datetime
        >>> order = StepOrder(experiment="quickstart", asset="risk_model", upstream={}, config_digest="ab", seed=1,
        ...     code_version="cd", store="gs://models/churn", minted_at=datetime(2026, 11, 1, tzinfo=UTC), run_id="7")
        >>> " ".join(command_of(order, "/app"))
        'churn --root /app step risk_model --experiment quickstart --config-digest ab'
    """
    made = ["step", order.asset, "--experiment", order.experiment, "--config-digest", order.config_digest]
    return ["churn", "--root", folder, *made]

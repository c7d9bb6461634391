"""The secret that chance is drawn with, from the environment and from nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

ASSIGNMENT_KEY = "CHURN_ASSIGNMENT_KEY"
"""Environment variable: secret that holdout, exploration and campaigns are drawn with, or its file after `@`."""
SHORTEST_SECRET = 16


def assignment_key(environment: Mapping[str, str]) -> bytes:
    """The secret; empty where there is none.

    Raises:
        OSError: The file that is named cannot be read.
    """
    secret = environment.get(ASSIGNMENT_KEY, "")
    return Path(secret[1:]).read_bytes().strip() if secret.startswith("@") else secret.encode()

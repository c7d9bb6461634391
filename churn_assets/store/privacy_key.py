"""The secret that stands behind digests and pseudonyms of customers, from the environment and from nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from churn_assets.store.errors import InvalidSetting

PRIVACY_KEY = "CHURN_PRIVACY_KEY"
"""Environment variable: the secret, or its file after `@`."""
SHORTEST_KEY = 16


def privacy_key(environment: Mapping[str, str], *, needed: bool = False) -> bytes:
    """The secret; empty where there is none.

    Args:
        environment: Where it is looked for.
        needed: Whether it must be there.

    Raises:
        InvalidSetting: It is too short to be one, or missing and needed.
        OSError: The file that is named cannot be read.
    """
    text = environment.get(PRIVACY_KEY, "")
    found = Path(text[1:]).read_bytes().strip() if text.startswith("@") else text.encode()
    if len(found) < SHORTEST_KEY and (found or needed):
        raise InvalidSetting(
            f"{PRIVACY_KEY}: found {len(found)} bytes, expected a secret of at least {SHORTEST_KEY}; keep it, as "
            "customers are known by other names with another one"
        )
    return found

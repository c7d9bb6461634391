"""How a long training tells where it stands. Who listens is no concern of a trainer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

Figures = dict[str, float]


class Progress(Protocol):
    """Called throughout a training."""

    def __call__(self, *, step: int, total: int, samples: Sequence[str] = (), **figures: float) -> None:
        """Reports.

        Args:
            step: Steps done.
            total: Steps in all.
            samples: Texts that the model writes now; empty where none were drawn.
            figures: What was measured, such as `loss`, `reward`, `kl`, `beta`.
        """


def silent(*, step: int, total: int, samples: Sequence[str] = (), **figures: float) -> None:
    """Tells nobody."""

"""Customers whom a release does not know, asked about at the same moment, are computed together.

The models asked about thirty-two customers take a quarter of the time of thirty-two questions, and say the same of each
to the last bit. Nobody waits for it: a batch is what came while the event loop was busy.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from churn_assets.deciding.outlook import Outlooks
from churn_assets.deciding.release_models import Foreseen, ReleaseModels
from churn_assets.decision.process import Floats

LARGEST_BATCH = 32
"""Customers computed in one turn of the event loop: what others wait for at most, some 5 ms."""


@dataclass(eq=False)
class _Batch:
    """Customers of one release who wait for the next turn of the event loop.

    Attributes:
        models: Of the release.
        rows: A list of (m, F) canonical rows.
        prior_offers: Of all rows.
        computed: The outlooks of all rows, once the turn has come.
    """

    models: ReleaseModels
    rows: list[Floats] = field(default_factory=list)
    prior_offers: list[int] = field(default_factory=list)
    computed: asyncio.Task[Outlooks] = field(init=False)

    def has_room(self, models: ReleaseModels, more: int) -> bool:
        """Whether so many more customers of a release may join."""
        return models is self.models and len(self.prior_offers) + more <= LARGEST_BATCH


class DynamicBatcher:
    """Collects what is asked in one turn of the event loop. For one loop, and not for threads."""

    def __init__(self) -> None:
        self._open: _Batch | None = None

    async def foresee(self, models: ReleaseModels, rows: Floats, prior_offers: Sequence[int]) -> Foreseen:
        """As `ReleaseModels.outlooks`, together with whoever asks meanwhile.

        Args:
            models: Of the release that is asked; a batch is of one release.
            rows: (m, F) canonical rows.
            prior_offers: m numbers of other offers in the recent window.
        """
        places = models.places(rows, prior_offers)
        unseen = [row for row, place in enumerate(places) if place < 0]
        if not unseen:
            return models.foreseen(places, None)
        batch = self._open
        if batch is None or not batch.has_room(models, len(unseen)):
            self._open = batch = _Batch(models)
            batch.computed = asyncio.get_running_loop().create_task(self._compute(batch))
        first = len(batch.prior_offers)
        batch.rows.append(rows[unseen])
        batch.prior_offers += [prior_offers[row] for row in unseen]
        made = await asyncio.shield(batch.computed)  # who leaves does not take the others' answer along
        return models.foreseen(places, made[first : first + len(unseen)])

    async def _compute(self, batch: _Batch) -> Outlooks:
        """Closes a batch and computes it: a task begins in the turn after the one that made it."""
        if self._open is batch:
            self._open = None
        return batch.models.compute(np.concatenate(batch.rows), batch.prior_offers)

"""The demo world wave after wave: who is due, how they are asked about, what they answer. Decides nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from churn_assets.customers.table import CustomerTable
from churn_assets.experiment import Experiment
from churn_assets.offers.config import Drift, OfferLogConfig
from churn_assets.offers.economics import catalogue
from churn_assets.offers.world import Cohort, DemoWorld, DemoWorldError, WorldOutcomes
from churn_assets.release.build import as_raw
from churn_assets.serving.schemas import MAX_CUSTOMERS

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Wave:
    """One label window.

    Attributes:
        number: From 1.
        drifted: Whether the world has changed by now.
        cohort: Whom a decision is due for.
    """

    number: int
    drifted: bool
    cohort: Cohort


@dataclass(frozen=True, eq=False)
class Forward:
    """Waves of a demo world, each a function of the seed and its number.

    Attributes:
        table: The customers.
        world: Answers for them.
        seed: Another seed, other people's luck.
        size: Decisions a wave.
        drift_at: The first wave after the drift; None for a world that stays as it is.
    """

    table: CustomerTable
    world: DemoWorld
    seed: int
    size: int
    drift_at: int | None

    @classmethod
    def build(
        cls,
        table: CustomerTable,
        experiment: Experiment,
        *,
        seed: int,
        size: int,
        drift: Drift,
        drift_at: int | None,
    ) -> Forward:
        """A world on these customers, with the economics of an experiment and the arms of its past policy.

        Raises:
            DemoWorldError: They lack a feature that the world needs.
        """
        menu = experiment.section(OfferLogConfig).demo_menu(catalogue(experiment.arms, experiment.economics))
        world = DemoWorld(table, experiment.economics, menu, drift=drift)
        return cls(table, world, seed, size, drift_at)

    def wave(self, number: int) -> Wave:
        """The wave of that number."""
        drifted = self.drift_at is not None and number >= self.drift_at
        return Wave(number, drifted, self.world.cohort(self.size, self._seed(number), shifted=drifted))

    def rounds(self, wave: Wave) -> list[range]:
        """Places in the wave, in runs within which nobody comes twice."""
        everybody, n = len(self.world.ids), len(wave.cohort)
        return [range(start, min(start + everybody, n)) for start in range(0, n, everybody)]

    def questions(self, wave: Wave, places: range) -> Iterator[list[dict[str, Any]]]:
        """These customers of a wave as the server is asked about them, a call at a time."""
        for first in range(places.start, places.stop, MAX_CUSTOMERS):
            rows = range(first, min(first + MAX_CUSTOMERS, places.stop))
            yield [self._question(wave.cohort, row) for row in rows]

    def answer(self, wave: Wave, arms: Ints, places: range) -> WorldOutcomes:
        """What these customers of a wave do who are offered `arms` (n,) index into the world's menu."""
        luck = np.random.default_rng([self._seed(wave.number), places.start, 1])
        return self.world.answer(wave.cohort.truth.of(slice(places.start, places.stop)), arms, luck)

    def arms(self, arm_ids: Sequence[str]) -> Ints:
        """(n,) index into the world's menu of arms by id.

        Raises:
            DemoWorldError: The world does not answer to one of them.
        """
        menu = self.world.menu
        strange = next((each for each in arm_ids if each not in menu.position), None)
        if strange is not None:
            raise DemoWorldError(
                f"found the arm {strange}, expected one of the world's, {', '.join(menu.ids)}"
            )
        return np.array([menu.position[each] for each in arm_ids], np.int64)

    def _question(self, cohort: Cohort, row: int) -> dict[str, Any]:
        customer = int(cohort.customer[row])
        return self._people[customer] | {"prior_offers": int(cohort.prior_offers[row])}

    def _seed(self, number: int) -> int:
        return 1_000 * self.seed + number

    @cached_property
    def _people(self) -> list[dict[str, Any]]:
        raw = as_raw(self.table)
        plain = raw.astype(object).where(raw.notna(), None).to_dict("records")
        return [
            {
                "customer_id": row.pop(self.table.schema.id),
                "features": {str(name): value for name, value in row.items()},
            }
            for row in plain
        ]

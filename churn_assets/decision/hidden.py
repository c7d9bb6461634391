"""What no feature shows of customers: types that differ in their risk and in their taste for offers.

Customers of equal features differ, and those who would leave are of those who leave easily: whom an offer keeps is more
likely to leave next time than whom it need not keep, and who is left after some months is more loyal than who was there
before (heterogeneity and its "ruse": Vaupel & Yashin 1985; in retention Fader & Hardie 2007). Only the shares of the
types are known, never a customer's own type.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from churn_assets.predictors.mixture import ALIKE, EITHER, NORMAL, Nodes, spread, spread_each
from churn_assets.predictors.probability import between

if TYPE_CHECKING:
    from collections.abc import Sequence

    from churn_assets.decision.process import RetentionProcess
    from churn_assets.decision.tables import ResponseTables

Floats = npt.NDArray[np.float64]

_LEAST = 1e-9
"""Probabilities are this far from 0 and 1 before they divide."""


@dataclass(frozen=True)
class HiddenTypes:
    """J types: every frailty with every taste.

    Attributes:
        frailty: Standard deviation, on the logit of the risk, of what no feature shows; 0: none.
        taste: The same of the acceptance, by which all arms are accepted more or less.
    """

    frailty: float = 0.0
    taste: float = 0.0

    @cached_property
    def share(self) -> Floats:
        """(J,) of each type among customers of equal features at the first step."""
        return np.outer(self._frailties.share, self._tastes.share).reshape(-1)

    @property
    def _frailties(self) -> Nodes:
        return NORMAL if self.frailty else ALIKE

    @property
    def _tastes(self) -> Nodes:
        return EITHER if self.taste else ALIKE

    def __len__(self) -> int:
        return len(self._frailties.at) * len(self._tastes.at)

    def tables(self, tables: ResponseTables) -> ResponseTables:
        """Virtual customers (n · J), one of each type of every customer, a customer's in a row; their mean is theirs.

        Of every type the same share of those who would leave is kept, or of those who would stay is driven away.
        """
        if len(self) == 1:
            return tables
        frailties, tastes = len(self._frailties.at), len(self._tastes.at)
        risk = spread(tables.risk, self.frailty, self._frailties)
        accepted, refused = (
            1 - staying(churn, tables.risk[..., None], risk[..., None])
            for churn in (tables.churn_if_accepted, tables.churn_if_refused)
        )
        acceptance = np.zeros((len(tables), tastes, *tables.acceptance.shape[1:]))
        acceptance[..., 1:] = spread(tables.acceptance[..., 1:], self.taste, self._tastes)
        risk, accepted, refused = (_rows(each.repeat(tastes, axis=1)) for each in (risk, accepted, refused))
        return replace(
            tables.subset(np.arange(len(tables)).repeat(len(self))),
            risk=risk,
            acceptance=_rows(np.tile(acceptance, (1, frailties, 1, 1, 1))),
            churn_if_accepted=accepted,
            churn_if_refused=refused,
        )

    def mean(self, values: Floats) -> Floats:
        """(n,) over types of (n · J,)."""
        return np.asarray(values.reshape(-1, len(self)) @ self.share)


@dataclass(frozen=True, eq=False)
class Drawn:
    """How customers respond in an environment that draws a type of each customer for each episode.

    Attributes:
        tables: (n · J) customers of one type, a customer's in a row.
        share: (J,) chance of each type.
    """

    tables: ResponseTables
    share: Floats

    @classmethod
    def of(cls, tables: ResponseTables, process: RetentionProcess) -> Drawn:
        """Every type of the process."""
        return cls(process.types.tables(tables), process.types.share)

    @classmethod
    def one_each(cls, tables: ResponseTables, process: RetentionProcess, rng: np.random.Generator) -> Drawn:
        """One type for each of n customers, drawn once."""
        share = process.types.share
        place = np.arange(len(tables)) * len(share) + rng.choice(len(share), len(tables), p=share)
        return cls(process.types.tables(tables).subset(place), np.ones(1))


def risk_of_types(risk: Floats, frailties: Sequence[float]) -> Floats:
    """(n, J, T) risks of the types by each of several frailties, from (n, T) of everybody."""
    apart = spread_each(risk, tuple(filter(None, frailties)), NORMAL).swapaxes(0, 1) if any(frailties) else ()
    spreads = iter(apart)
    return np.concatenate([next(spreads) if each else risk[:, None] for each in frailties], axis=1)


def staying(churn: Floats, risk: Floats, of_type: Floats) -> Floats:
    """(n, J, …) P(no churn | contact) of types, from (n, …) churn and risk of everybody and (n, J, …) risk of types."""
    leaves = between(_LEAST, risk, 1 - _LEAST)
    kept = np.minimum(churn / leaves, 1.0)
    stay = np.minimum((1 - churn) / (1 - leaves), 1.0)
    # Of one of the two the share is 1: either somebody is kept, or somebody is driven away.
    stays = 1 - kept[:, None] * of_type
    stays *= stay[:, None]
    return np.asarray(stays)


def _rows(values: Floats) -> Floats:
    return values.reshape(-1, *values.shape[2:])

"""Which form of an effect to believe, and how much: a stack of candidates by the R-loss. Fits no candidate itself.

Weights are at least 0 and minimise the squared error of the residual-on-residual fit with known propensities (Nie &
Wager 2021), on effects that were predicted for customers left out of the candidates' fits. Beside the candidates stand
four corrections of either sign, penalised: of what contact does, and of what giving more does, to would-be churners and
to would-be stayers. A candidate that ranks customers rightly and is wrong in the mean needs them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from churn_assets.response.direct import LogRows

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

PRIOR_ROWS = 300.0
"""Ridge penalty of the corrections, in rows of columns of unit size."""


@dataclass(frozen=True)
class Stack:
    """How much of each candidate is believed.

    Attributes:
        weights: By candidate, at least 0.
        corrections: (2, 2) changes of churn by contact and by a unit of `given`, of would-be churners and stayers.
        given: (A,) what each arm gives, as a share of a usual price; 0 for no contact.
    """

    weights: Mapping[str, float]
    corrections: Floats
    given: Floats

    @classmethod
    def fit(cls, seen: LogRows, candidates: Mapping[str, Floats], given: Floats, rows: Bools) -> Stack:
        """Weighs candidates.

        Args:
            seen: n rows of the log.
            candidates: (n, A) effects by name, each row's by a fit without its customer.
            given: (A,) what each arm gives.
            rows: (n,) those to weigh by.
        """
        from scipy.optimize import nnls  # predicting needs no scipy

        believed = np.stack([seen.centred(each)[rows] for each in candidates.values()], axis=1)
        corrected = np.stack([seen.centred(each)[rows] for each in _corrections(seen.risk, given)], axis=1)
        size = np.sqrt((corrected**2).mean(axis=0))
        size[size == 0] = np.inf
        count = len(candidates)
        pulled = np.sqrt(PRIOR_ROWS) * np.eye(4, count + 4, count)
        design = np.concatenate([np.concatenate([believed, corrected / size], axis=1), pulled])
        found, _ = nnls(design, np.concatenate([seen.residual[rows], np.zeros(4)]))
        weights = dict(zip(candidates, found[:count].tolist(), strict=True))
        return cls(weights, (found[count:] / size).reshape(2, 2), given)

    def effects(self, risk: Floats, candidates: Mapping[str, Floats]) -> Floats:
        """(n, A) effects by those of the candidates and the risk (n,)."""
        found = np.stack([weight * candidates[name] for name, weight in self.weights.items()]).sum(axis=0)
        for size, each in zip(self.corrections.ravel(), _corrections(risk, self.given), strict=True):
            found += size * each
        return np.asarray(found)

    @property
    def shares(self) -> Floats:
        """(2, A - 1) what the corrections add to each arm's change of churn, of would-be churners and of stayers."""
        little, much = self.corrections
        share = _share(self.given)[1:]
        return np.asarray([[-1], [1]] * (little[:, None] * (1 - share) + much[:, None] * share))


def _corrections(risk: Floats, given: Floats) -> list[Floats]:
    """(n, A) keeping of would-be churners and driving away of stayers by an arm that gives little, and by one of much."""
    share, contact = _share(given), (np.arange(len(given)) > 0).astype(np.float64)
    return [np.outer(who, what) for what in (contact * (1 - share), share) for who in (-risk, 1 - risk)]


def _share(given: Floats) -> Floats:
    """(A,) of the most that any arm gives; 0 where none gives anything."""
    return np.asarray(given / (given.max() or 1.0))

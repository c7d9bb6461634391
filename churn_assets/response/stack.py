"""Which form of an effect to believe, and how much: a stack of candidates by the R-loss. Fits no candidate itself.

Weights are at least 0 and minimise the squared error of the residual-on-residual fit with known propensities (Nie &
Wager 2021), on effects that were predicted for customers left out of the candidates' fits. They are drawn to the form
that explains most alone: what others add must show, as chance adds something to each of several alike forms. Beside the
candidates stand four corrections, drawn to 0: by arms that give little and by those that give much, more or fewer of
the would-be churners are kept, and more of the would-be stayers driven away. No correction lets contact keep those who
would stay: among loyal customers, who are many and worth most, it would be an effect that nobody can have.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from churn_assets.response.direct import LogRows

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

WEIGHED = 0.25
"""Standard deviation of weights about those of the form that explains most alone, before the log is seen."""
CORRECTED = 0.08
"""Standard deviation of corrections, in shares of customers, before the log is seen."""
_KEEPING = slice(0, None, 2)


@dataclass(frozen=True)
class Stack:
    """How much of each candidate is believed.

    Attributes:
        weights: By candidate, at least 0.
        corrections: (2, 2) by an arm that gives nothing and by the one that gives most: shares of would-be churners who
            are kept, and of would-be stayers who are driven away.
        given: (A,) what each arm gives, as a share of a usual price; 0 for no contact.
    """

    weights: Mapping[str, float]
    corrections: Floats
    given: Floats

    @classmethod
    def fit(
        cls,
        seen: LogRows,
        candidates: Mapping[str, Floats],
        given: Floats,
        rows: Bools,
        forms: Iterable[Collection[str]],
    ) -> Stack:
        """Weighs candidates.

        Args:
            seen: n rows of the log.
            candidates: (n, A) effects by name, each row's by a fit without its customer.
            given: (A,) what each arm gives.
            rows: (n,) those to weigh by.
            forms: Names of the candidates that make up each form of an effect.
        """
        from scipy.optimize import nnls  # predicting needs no scipy

        residual, count = seen.residual[rows], len(candidates)
        believed = np.stack([seen.centred(each)[rows] for each in candidates.values()], axis=1)
        corrected = np.stack([seen.centred(each)[rows] for each in _corrections(seen.risk, given)], axis=1)
        parts = [[name in form for name in candidates] for form in forms]
        alone = min(parts, key=lambda part: nnls(believed[:, part], residual)[1])
        signed = np.concatenate([corrected, -corrected[:, _KEEPING]], axis=1)
        pull = np.sqrt((residual**2).mean()) / np.repeat([WEIGHED, CORRECTED], [count, signed.shape[1]])
        design = np.concatenate([np.concatenate([believed, signed], axis=1), np.diag(pull)])
        prior = np.append(alone, np.zeros(signed.shape[1]))
        found, _ = nnls(design, np.concatenate([residual, pull * prior]))
        corrections = found[count : count + 4]
        corrections[_KEEPING] -= found[count + 4 :]
        weights = dict(zip(candidates, found[:count].tolist(), strict=True))
        return cls(weights, corrections.reshape(2, 2), given)

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
    """(n, A) would-be churners kept, and stayers driven away, by an arm that gives nothing and by the one of most."""
    share, contact = _share(given), (np.arange(len(given)) > 0).astype(np.float64)
    return [np.outer(who, what) for what in (contact * (1 - share), share) for who in (-risk, 1 - risk)]


def _share(given: Floats) -> Floats:
    """(A,) of the most that any arm gives; 0 where none gives anything."""
    return np.asarray(given / (given.max() or 1.0))

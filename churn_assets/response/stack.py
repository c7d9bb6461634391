"""Which form of an effect to believe, and how much: a stack of candidates by the R-loss. Fits no candidate itself.

Weights are at least 0, and are learned from the residual-on-residual fit with known propensities (the R-loss of Nie &
Wager 2021), on effects that were predicted for customers left out of the candidates' fits. They are drawn to the form
that explains most alone, how large it is being the log's to say: what others add must show, as chance adds something to
each of several alike forms. Beside the candidates stand four corrections, drawn to 0: by arms that give little and by
those that give much, more or fewer of the would-be churners are kept, and more of the would-be stayers driven away. No
correction lets contact keep those who would stay: among loyal customers, who are many and worth most, it would be an
effect that nobody can have.

What is believed is the mean of the posterior, not its mode. Where a log hardly tells whether contact drives anybody
away, the mode says that it does not: as it cannot be less than nothing, that is the most hopeful end of what may be
true, and a plan that repeats contacts over a horizon would take it at its word.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from churn_assets.response.direct import LogRows

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

ALONE, FURTHER = 0.7, 0.25
"""Standard deviations of weights before the log is seen: of the form that explains most, about 1; of others, 0."""
CORRECTED = 0.08
"""Standard deviation of corrections, in shares of customers, before the log is seen."""
CHAINS, SWEEPS, FIRST = 64, 300, 60
"""Of the sampler of the posterior; so many first sweeps are left out."""
_SIGNED = slice(0, None, 2)
"""Of the corrections: shares of would-be churners who are kept."""


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
        columns = np.concatenate([believed, corrected], axis=1)
        drawn = np.append(np.where(alone, ALONE, FURTHER), np.full(corrected.shape[1], CORRECTED)) ** -2.0
        noise = (residual**2).mean()
        moment = columns.T @ residual / noise + drawn * np.append(alone, np.zeros(corrected.shape[1]))
        least = np.zeros(len(drawn))
        least[count:][_SIGNED] = -np.inf
        found = mean_above(columns.T @ columns / noise + np.diag(drawn), moment, least)
        weights = dict(zip(candidates, found[:count].tolist(), strict=True))
        return cls(weights, found[count:].reshape(2, 2), given)

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


def mean_above(precision: Floats, moment: Floats, least: Floats) -> Floats:
    """(d,) mean of a normal distribution that is cut off below, within about a hundredth of a standard deviation.

    By Gibbs sampling (Geweke 1991), of chains that begin alike and from one seed: the same input, the same mean.

    Args:
        precision: (d, d) inverse covariance of what is cut.
        moment: (d,) the precision times its mean.
        least: (d,) where it is cut; -inf: nowhere.
    """
    from scipy.special import log_ndtr, ndtri_exp  # predicting needs no scipy

    rng, deviation = np.random.default_rng(0), np.diag(precision) ** -0.5
    at = np.repeat(np.maximum(np.linalg.solve(precision, moment), least)[None], CHAINS, axis=0)
    total = np.zeros(len(moment))
    for sweep in range(SWEEPS):
        for place, sd in enumerate(deviation):
            mean = at[:, place] + (moment[place] - at @ precision[place]) * sd**2
            above = log_ndtr((mean - least[place]) / sd) + np.log1p(-rng.random(CHAINS))
            at[:, place] = np.maximum(mean - sd * ndtri_exp(above), least[place])
        total += at.mean(axis=0) * (sweep >= FIRST)
    return total / (SWEEPS - FIRST)


def _corrections(risk: Floats, given: Floats) -> list[Floats]:
    """(n, A) would-be churners kept, and stayers driven away, by an arm that gives nothing and by the one of most."""
    share, contact = _share(given), (np.arange(len(given)) > 0).astype(np.float64)
    return [np.outer(who, what) for what in (contact * (1 - share), share) for who in (-risk, 1 - risk)]


def _share(given: Floats) -> Floats:
    """(A,) of the most that any arm gives; 0 where none gives anything."""
    return np.asarray(given / (given.max() or 1.0))

"""Figures of probability forecasts that gates of several stages share. Numpy only; no thresholds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from churn_assets.gates.estimates import Estimate, clustered

Floats = NDArray[np.float64]

CALIBRATION_BINS = 15
"""Bins of equal mass; the noise floor is simulated with the same bins, so the choice cancels out."""


def auc(y: ArrayLike, score: ArrayLike) -> float:
    """Area under the ROC curve, ties counted half; NaN where only one class is present.

    Args:
        y: (n,) outcomes, 0 or 1.
        score: (n,) scores, higher for 1.
    """
    outcome = np.asarray(y) == 1
    positives, negatives = int(outcome.sum()), int((~outcome).sum())
    if not positives or not negatives:
        return float("nan")
    ranks = pd.Series(np.asarray(score, dtype=np.float64)).rank().to_numpy()
    return float((ranks[outcome].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def auc_estimate(y: ArrayLike, score: ArrayLike, cluster: NDArray[np.int64] | None = None) -> Estimate:
    """AUC with its standard error; NaN where only one class is present.

    Args:
        y: (n,) outcomes, 0 or 1.
        score: (n,) scores, higher for 1.
        cluster: (n,) each row's customer, where a customer has several rows (Obuchowski 1997); left out, each row is
            another one's (Hanley & McNeil 1982).
    """
    found, outcome = auc(y, score), np.asarray(y) == 1
    if not np.isfinite(found) or cluster is None:
        return Estimate(found, auc_error(found, int(outcome.sum()), int((~outcome).sum())))
    scores = np.asarray(score, dtype=np.float64)
    influence = np.empty(len(outcome))
    for one, sign in ((outcome, 1.0), (~outcome, -1.0)):
        others = np.sort(scores[~one])
        below, upto = (np.searchsorted(others, scores[one], side) for side in ("left", "right"))
        share = (below + upto) / (2 * len(others))
        influence[one] = sign * (share - share.mean()) * len(outcome) / one.sum()
    return clustered(found, influence, cluster)


def auc_error(found: float, positives: int, negatives: int) -> float:
    """Standard error of an AUC among so many of each class (Hanley & McNeil 1982); NaN where one class is absent."""
    if not np.isfinite(found) or not positives or not negatives:
        return float("nan")
    pair, triple = found / (2 - found) - found**2, 2 * found**2 / (1 + found) - found**2
    variance = (found * (1 - found) + (positives - 1) * pair + (negatives - 1) * triple) / (
        positives * negatives
    )
    return float(np.sqrt(max(variance, 0.0)))


def promised_auc(p: ArrayLike) -> float:
    """The AUC that (n,) probabilities have on average if they are true."""
    forecast = np.sort(np.asarray(p, dtype=np.float64))
    below = np.cumsum(1 - forecast) - (1 - forecast)
    own = forecast * (1 - forecast)
    pairs = forecast.sum() * (1 - forecast).sum() - own.sum()
    return float((forecast @ below) / pairs) if pairs > 0 else 0.5


def brier(y: ArrayLike, p: ArrayLike) -> float:
    """Mean squared error of the probabilities."""
    return float(np.mean((np.asarray(p, dtype=np.float64) - np.asarray(y)) ** 2))


def brier_skill(y: ArrayLike, p: ArrayLike, base_rate: float) -> Estimate:
    """Share of the Brier score of the mere base rate that (n,) forecasts save; its error as of a ratio of means.

    (Cochran 1977, section 2.11.)
    """
    outcome = np.asarray(y, dtype=np.float64)
    ours, theirs = (outcome - np.asarray(p)) ** 2, (outcome - base_rate) ** 2
    left = float(ours.mean() / theirs.mean())
    influence = (ours - left * theirs) / theirs.mean()
    return Estimate(1 - left, float(influence.std(ddof=1) / np.sqrt(len(outcome))))


def log_losses(y: ArrayLike, p: ArrayLike) -> Floats:
    """Negative log likelihood of each outcome in nats, (n,)."""
    forecast = np.clip(np.asarray(p, dtype=np.float64), 1e-15, 1 - 1e-15)
    return np.asarray(-np.where(np.asarray(y) == 1, np.log(forecast), np.log1p(-forecast)))


def calibration_error(y: ArrayLike, p: ArrayLike, bins: int = CALIBRATION_BINS) -> float:
    """Expected calibration error (ECE) over bins of equal mass (Naeini, Cooper & Hauskrecht 2015)."""
    outcome, forecast, edges = _binned(y, p, bins)
    gaps = np.add.reduceat(outcome - forecast, edges)
    return float(np.abs(gaps).sum() / len(outcome))


def calibration_slope(y: NDArray[Any], forecast: Floats) -> Estimate:
    """How outcomes (n,) rise with the logit of their forecasts (n,): 1 is neither too flat nor too steep (Cox 1958).

    Equal forecasts have no slope: 0, without error.
    """
    if not np.ptp(forecast):
        return Estimate(0.0, 0.0)
    logit = np.log(forecast / (1 - forecast))
    columns, found = np.column_stack([np.ones(len(logit)), logit]), np.array([0.0, 1.0])
    for _ in range(25):
        chance = 1 / (1 + np.exp(-np.clip(columns @ found, -30, 30)))
        information = (columns * (chance * (1 - chance))[:, None]).T @ columns
        found = found + np.linalg.solve(information, columns.T @ (y - chance))
    return Estimate(float(found[1]), float(np.sqrt(np.linalg.inv(information)[1, 1])))


def calibration_noise(
    p: ArrayLike, rng: np.random.Generator, *, draws: int = 20_000, bins: int = CALIBRATION_BINS
) -> Floats:
    """Calibration errors that a perfectly calibrated forecast shows by chance, (draws,).

    The outcomes of a bin are many, so that their sum is normal: the draws cost the same whatever the number of rows.

    Args:
        p: (n,) forecasts.
        rng: Source of the draws.
        draws: Number of simulated tables.
        bins: As in `calibration_error`.
    """
    forecast = np.sort(np.asarray(p, dtype=np.float64))
    spread = np.sqrt(np.add.reduceat(forecast * (1 - forecast), _edges(len(forecast), bins)))
    return np.asarray(np.abs(rng.standard_normal((draws, len(spread)))) @ spread / len(forecast))


def calibration_rows(y: ArrayLike, p: ArrayLike, bins: int = CALIBRATION_BINS) -> list[dict[str, Any]]:
    """A table for the calibration plot: mean forecast, observed share and number of rows of each bin."""
    outcome, forecast, edges = _binned(y, p, bins)
    sizes = np.diff([*edges, len(outcome)])
    means, shares = np.add.reduceat(forecast, edges) / sizes, np.add.reduceat(outcome, edges) / sizes
    return [
        {"forecast": float(mean), "observed": float(share), "rows": int(size)}
        for mean, share, size in zip(means, shares, sizes, strict=True)
    ]


def roc_rows(y: ArrayLike, score: ArrayLike, points: int = 100) -> list[dict[str, Any]]:
    """For the ROC plot: false and true positive rate at up to `points` thresholds and the corners."""
    order = np.argsort(-np.asarray(score, dtype=np.float64), kind="stable")
    outcome, ranked = np.asarray(y)[order] == 1, np.asarray(score, dtype=np.float64)[order]
    last_of_tie = np.flatnonzero(np.append(np.diff(ranked) != 0, True))
    hits, misses = np.cumsum(outcome)[last_of_tie], np.cumsum(~outcome)[last_of_tie]
    kept = np.unique(np.linspace(0, len(last_of_tie) - 1, points).round().astype(int))
    rates = zip(misses[kept] / max(1, misses[-1]), hits[kept] / max(1, hits[-1]), strict=True)
    corner = {"false_positive_rate": 0.0, "true_positive_rate": 0.0}
    return [corner, *({"false_positive_rate": float(f), "true_positive_rate": float(t)} for f, t in rates)]


def _binned(y: ArrayLike, p: ArrayLike, bins: int) -> tuple[Floats, Floats, NDArray[np.intp]]:
    forecast = np.asarray(p, dtype=np.float64)
    order = np.argsort(forecast, kind="stable")
    return np.asarray(y, dtype=np.float64)[order], forecast[order], _edges(len(forecast), bins)


def _edges(rows: int, bins: int) -> NDArray[np.intp]:
    """First row of each bin."""
    return np.unique(np.linspace(0, rows, min(bins, rows) + 1).astype(np.intp)[:-1])

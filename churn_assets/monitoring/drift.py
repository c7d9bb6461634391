"""Whether the customers who are decided for still look like those that the models learned from. Reads no storage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from churn_assets.gates.stability import population_stability
from churn_assets.monitoring.config import WINDOWS, DriftConfig

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ColumnDrift:
    """One column of the two tables.

    Attributes:
        name: The column.
        psi: Population stability index, over deciles of the reference or over categories, blanks apart.
        excess: `psi` less what two samples of these sizes have on average without any drift.
        p: Probability of as large a difference without drift.
        drifted: Beyond doubt, given how many columns were looked at, and of consequence.
    """

    name: str
    psi: float
    excess: float
    p: float
    drifted: bool


@dataclass(frozen=True)
class DriftReport:
    """All columns, the most certain drift first."""

    columns: tuple[ColumnDrift, ...]

    @property
    def drifted(self) -> tuple[str, ...]:
        """Names of the columns that drifted, sorted."""
        return tuple(sorted(column.name for column in self.columns if column.drifted))

    @property
    def reason(self) -> str:
        """What drifted, for people; empty where nothing did."""
        said = [f"{each.name} (PSI {each.psi:.2f}, p {each.p:.1g})" for each in self.columns if each.drifted]
        return f"drift of {', '.join(said)}" if said else ""


def drift_report(reference: pd.DataFrame, current: pd.DataFrame, config: DriftConfig) -> DriftReport:
    """Compare every column of two tables of independent rows.

    Numbers by the Kolmogorov-Smirnov test and by the stability index, of which without drift PSI / (1/n + 1/m) is
    chi-square with one degree of freedom less than there are cells (Yurdakul 2018); categories by the latter. Holm's
    step-down over the columns keeps the chance of any false alarm at `config.false_alarms` over `WINDOWS` windows.

    Args:
        reference: (n, F) the training table's columns: numbers, or texts with None for a blank.
        current: (m, F) the same columns now.
        config: Thresholds.
    """
    found = [_compared(str(name), reference[name], current[name]) for name in reference.columns]
    found.sort(key=lambda column: (column.p, column.name))
    certain = holm(np.array([column.p for column in found]), config.false_alarms / WINDOWS)
    columns = tuple(
        ColumnDrift(each.name, each.psi, each.excess, each.p, bool(sure) and each.excess >= config.min_psi)
        for each, sure in zip(found, certain, strict=True)
    )
    return DriftReport(columns)


def holm(p: Floats, level: float) -> NDArray[np.bool_]:
    """Which of (F,) hypotheses are rejected if any false rejection may have at most this probability (Holm 1979)."""
    order = np.argsort(p, kind="stable")
    passes = p[order] <= level / np.arange(len(p), 0, -1)
    rejected = np.zeros(len(p), bool)
    rejected[order[: len(p) if passes.all() else int(passes.argmin())]] = True
    return rejected


def _compared(name: str, reference: pd.Series, current: pd.Series) -> ColumnDrift:
    numeric = pd.api.types.is_numeric_dtype(reference)
    psi, degrees = population_stability(reference, current)
    noise = 1 / len(reference) + 1 / len(current)
    p = float(stats.chi2.sf(psi / noise, degrees)) if degrees else 1.0
    if numeric:
        known, now = reference.dropna(), current.dropna()
        ks = stats.ks_2samp(known, now, method="asymp").pvalue if len(known) and len(now) else 1.0
        p = min(1.0, 2 * min(p, float(ks)))
    return ColumnDrift(name, psi, psi - degrees * noise, p, drifted=False)

"""`RiskPredictor`: the fitted risk as plain arrays, and its evaluation. Needs numpy and nothing that fits models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from churn_assets.predictors.curves import Curves
from churn_assets.predictors.forest import Forest
from churn_assets.predictors.grid import Floats, Grid
from churn_assets.predictors.probability import between, logistic

RiskModelKind = Literal["logit_mean", "spline_logistic", "boosting"]

LARGEST_LOGIT = float(np.log(1 - 1e-9) - np.log1p(-(1 - 1e-9)))
"""Of either part, on both sides: beyond it a risk is no information."""


@dataclass(frozen=True, eq=False)
class RiskPredictor:
    """The logit of the risk as the mean of one or two parts. Every row gets the same bits in any company.

    Attributes:
        grid: The customers' F features, in the order of their schema.
        boosting: Trees, or None.
        spline: An additive part of one output, or None.
    """

    grid: Grid
    boosting: Forest | None
    spline: Curves | None

    @property
    def kind(self) -> RiskModelKind:
        """Which parts there are."""
        if self.boosting is None:
            return "spline_logistic"
        return "boosting" if self.spline is None else "logit_mean"

    def predict(self, X: Floats) -> Floats:
        """(n, F) features, NaN for a blank, to (n,) risks in (0, 1); a category that is not there is a blank."""
        risks = [np.empty(0)]
        for cells, within in self.grid.chunks(X):
            logits = []
            if self.spline is not None:
                logits.append(self.spline.total(cells, within)[:, 0])
            if self.boosting is not None:
                logits.append(self.boosting.total(self.boosting.left_by(cells)))
            risks.append(risk_of(logits))
        return np.concatenate(risks)

    def on(self, finer: Grid) -> RiskPredictor:
        """The same risk over the cells of a finer grid, which may have further features."""
        return RiskPredictor(
            finer,
            None if self.boosting is None else self.boosting.on(self.grid, finer),
            None if self.spline is None else self.spline.on(self.grid, finer),
        )


def risk_of(logits: Sequence[Floats]) -> Floats:
    """The risk of (…) logits of the parts, the spline's before the boosting's."""
    parts = [between(-LARGEST_LOGIT, part, LARGEST_LOGIT) for part in logits]
    return logistic(parts[0] if len(parts) == 1 else (parts[0] + parts[1]) / 2)

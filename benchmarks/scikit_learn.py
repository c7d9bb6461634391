"""The quickstart's models as scikit-learn and the regressions themselves answer: what predictors are compared with.

A model keeps only its arrays, so the estimators are fitted once more: on the same rows, with the same seeds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.quickstart import Quickstart
from churn_assets.arms import Menu
from churn_assets.customers.features import aged
from churn_assets.customers.table import CustomerTable
from churn_assets.decision.incremental import PredictedResponses
from churn_assets.offers.log import OfferLog
from churn_assets.response.classifier import classifier_inputs, new_classifier
from churn_assets.response.config import AcceptModelConfig
from churn_assets.response.effect import MEDIATED, EffectModel
from churn_assets.response.predictor import LEAST
from churn_assets.risk.estimators import RiskEstimator
from churn_assets.risk.search import fit_chosen

Floats = NDArray[np.float64]


ROWS_A_CALL = 200_000
"""Rows of acceptance asked for at once: what one call of scikit-learn costs hardly counts, and memory is bounded."""


def fit_classifier(table: CustomerTable, log: OfferLog, config: AcceptModelConfig) -> Any:
    """The acceptance by scikit-learn alone, fitted on all contacted rows of customers that are not held out."""
    customer = log.positions(table.ids)
    rows = (log.arm > 0) & ~table.held_out[customer]
    recent = log.prior_offers[rows].astype(np.float64)
    inputs = classifier_inputs(table.X[customer[rows]], recent, log.arm[rows], log.menu)
    return new_classifier(table.schema, log.menu, config).fit(inputs, log.accepted[rows])


@dataclass(frozen=True)
class ScikitLearn:
    """Estimators behind the three models, asked as they are.

    Attributes:
        estimator: Of the risk.
        classifier: Of the acceptance.
        effect: Regressions, evaluated as products of matrices.
        log_menu: The arms that the classifier knows.
    """

    estimator: RiskEstimator
    classifier: Any
    effect: EffectModel
    log_menu: Menu

    @classmethod
    def fit(cls, models: Quickstart) -> ScikitLearn:
        """Fits risk and acceptance on the customers that are not held out."""
        table, config, log = models.customers, models.experiment, models.log
        rows, seed = ~table.held_out, table.schema.folds.seed
        estimator = fit_chosen(table.X[rows], table.y[rows], table.schema, config.risk_model, seed=seed)
        classifier = fit_classifier(table, log, config.accept_model)
        return cls(estimator, classifier, models.effect, log.menu)

    def responses(self, X: Floats, models: Quickstart) -> PredictedResponses:
        """All that tables of responses hold, for customers (n, F) without prior offers."""
        process, schema = models.process, models.customers.schema
        horizon, offered = process.horizon, process.n_arms - 1
        arms = np.array([self.log_menu.position[each] for each in process.menu.ids[1:]])
        found = []
        chunk = max(1, ROWS_A_CALL // (horizon * 2 * offered))
        for start in range(0, len(X), chunk):
            rows = X[start : start + chunk]
            months = [aged(rows, schema, step * process.step_months) for step in range(horizon)]
            flat = np.stack(months, axis=1).reshape(len(rows) * horizon, -1)
            shape = (len(rows), horizon, 2, offered)
            recent = np.broadcast_to(np.arange(2.0)[:, None], shape).reshape(-1)
            arm = np.broadcast_to(arms, shape).reshape(-1)
            inputs = classifier_inputs(np.repeat(flat, 2 * offered, axis=0), recent, arm, self.log_menu)
            acceptance = self.classifier.predict_proba(inputs)[:, 1].reshape(shape)
            idle, *answers = self.consequences(flat, self.estimator.predict(flat))
            price = rows[:, schema.names.index(schema.monthly_revenue)]
            churns = (each[:, arms - 1].reshape(len(rows), horizon, -1) for each in answers)
            risk = idle.reshape(len(rows), horizon)
            found.append(PredictedResponses(price, risk, *churns, acceptance[:, :, 0], acceptance[:, :, 1]))
        return PredictedResponses(*(np.concatenate(parts) for parts in zip(*found, strict=True)))

    def consequences(self, X: Floats, risk: Floats) -> tuple[Floats, Floats, Floats]:
        """(n,) churn without contact; (n, A - 1) if each arm of the log is accepted, and if it is refused."""
        model = self.effect
        baseline, mediated, direct = model.baseline, model.mediated, model.direct
        logit = np.log(risk / (1 - risk))
        moved = logit[:, None] + baseline.basis.transform(X, logit) @ baseline.shifts.T
        idle = risk + baseline.size * ((1 / (1 + np.exp(-moved))).mean(axis=1) - risk)
        columns, leaving = mediated.basis.transform(X, logit), risk[:, None]
        shares = leaving * (columns @ direct.kept.T) + (1 - leaving) * (columns @ direct.driven.T)
        shares += model.boosted.forest.predict(model.boosted.grid, X)[:, None]
        accepting = leaving * direct.accepting[0] + (1 - leaving) * direct.accepting[1]
        contacted = mediated.churn(mediated.basis.transform(X, np.log(idle / (1 - idle))), idle)
        answers = (
            idle[:, None] + model.size * (shares + more + model.weights[part] * (churn - idle)[:, None])
            for part, churn, more in zip(MEDIATED, contacted, (accepting, 0.0), strict=True)
        )
        accepted, refused = (np.clip(each, LEAST, 1 - LEAST) for each in answers)
        return idle, accepted, refused

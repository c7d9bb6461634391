"""`AcceptModel`: P(accept | customer, arm, recent offers). Cross-fits and predicts; gates live beside."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from churn_assets.arms import Menu
from churn_assets.customers.schema import CustomerSchema
from churn_assets.customers.table import CustomerTable
from churn_assets.offers.as_of import rows_before
from churn_assets.offers.log import OfferLog
from churn_assets.response.config import AcceptModelConfig
from churn_assets.response.predictor import AcceptPredictor

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class AcceptModel:
    """P(accept | customer, arm, recent offers): rises with an arm's size within its family, falls with recent offers.

    Attributes:
        schema: The customer features, in the order of the columns that `predict` takes.
        predictor: Plain arrays; knows the arms of the log that it was trained on.
        out_of_fold: (rows, K) float32, the acceptance of every arm of `menu` on each row of the log it was trained
            on. A row of a customer seen in training is predicted by a refit without that customer.
        draws: What the log leaves possible beside `predictor`: refits with every customer weighed by lot.
        apart: The refits without each cross-fit group; none in a model that was stored before they were kept.
    """

    schema: CustomerSchema
    predictor: AcceptPredictor
    out_of_fold: NDArray[np.float32]
    draws: tuple[AcceptPredictor, ...] = ()
    apart: tuple[AcceptPredictor, ...] = ()

    @property
    def menu(self) -> Menu:
        """The arms of the log that it was trained on, no contact first."""
        return self.predictor.menu

    @classmethod
    def fit(cls, table: CustomerTable, log: OfferLog, config: AcceptModelConfig) -> AcceptModel:
        """Fits on the contacted rows of customers that are not held out.

        Args:
            table: The customers; every customer of the log is in it.
            log: Past offers.
            config: The hyperparameters.

        Raises:
            ConversionError: The arrays of a fit answer otherwise than scikit-learn.
        """
        from churn_assets.response import classifier  # predicting needs no scikit-learn

        customer = log.positions(table.ids)
        known, row = rows_before(log, table)
        features, recent = known.X[row], log.prior_offers.astype(np.float64)
        group = cross_fit_groups(table, customer, config.cross_fits)
        contacted, menu = log.arm > 0, log.menu

        def fitted(rows: NDArray[np.bool_], weight: Floats | None = None) -> AcceptModel:
            if not log.accepted[rows].any():
                return cls(
                    table.schema, classifier.nobody(table.schema, menu), np.zeros((0, len(menu)), np.float32)
                )
            inputs = classifier.classifier_inputs(features[rows], recent[rows], log.arm[rows], menu)
            boosting = classifier.new_classifier(table.schema, menu, config)
            boosting.fit(inputs, log.accepted[rows], None if weight is None else weight[rows])
            predictor = classifier.converted(boosting, inputs, table.schema, menu)
            return cls(table.schema, predictor, np.zeros((0, len(menu)), np.float32))

        seen = contacted & (group >= 0)
        final = fitted(seen)
        out_of_fold = np.zeros((len(customer), len(menu)), np.float32)
        apart = []
        for left_out in range(-1, config.cross_fits):
            rows = group == left_out
            model = final if left_out < 0 or not rows.any() else fitted(seen & ~rows)
            apart += [model.predictor] if left_out >= 0 else []
            if rows.any():
                out_of_fold[rows] = model.predict_arms(features[rows], recent[rows], menu)
        lots = np.random.default_rng(table.schema.folds.seed).exponential(size=(config.draws, len(table)))
        draws = tuple(fitted(seen, lot[customer]).predictor for lot in lots)
        return cls(table.schema, final.predictor, out_of_fold, draws, tuple(apart))

    def drawn(self, number: int) -> AcceptModel:
        """One of the models, 0 to `config.draws` - 1, that the log leaves possible."""
        return replace(self, predictor=self.draws[number])

    def without(self, group: int) -> AcceptModel:
        """The refit that never saw a cross-fit group; the model itself for -1, held out, or where none was kept."""
        return replace(self, predictor=self.apart[group]) if group >= 0 and self.apart else self

    def predict(self, X: Floats, arm: Ints, recent_offers: Floats, menu: Menu | None = None) -> Floats:
        """P(accept) of one arm a row; exactly 0 where nobody is contacted.

        Args:
            X: (n, F) customer features, columns in the order of `schema`; NaN for a blank.
            arm: (n,) index into the menu.
            recent_offers: (n,) offers received in the last 90 days, at least 0.
            menu: The arms meant; those of the log it was trained on where left out.

        Returns:
            (n,) probabilities.

        Raises:
            ValueError: X has another number of columns than the schema.
            ArmError: A row asks about an arm whose family the log never tried.
        """
        self._check(X)
        meant = menu or self.menu
        asked, place = np.unique(arm, return_inverse=True)
        arms = [meant[index] for index in asked]
        codes = self.predictor.codes(arms)
        accepted = self.predictor.predict_one(X, np.asarray(recent_offers, np.float64), *codes, place)
        return np.where(np.array([each.contacts for each in arms], bool)[place], accepted, 0.0)

    def predict_arms(self, X: Floats, recent_offers: Floats, menu: Menu) -> Floats:
        """P(accept) of every arm of a menu for every row, (n, K); arguments and errors as of `predict`."""
        self._check(X)
        accepted = self.predictor.predict(
            X, np.asarray(recent_offers, np.float64), *self.predictor.codes(menu)
        )
        accepted[:, [not arm.contacts for arm in menu]] = 0.0
        return accepted

    def _check(self, X: Floats) -> None:
        if X.shape[1] != len(self.schema.names):
            raise ValueError(f"accept_model: found {X.shape[1]} features, expected {len(self.schema.names)}")


def cross_fit_groups(table: CustomerTable, customer: Ints, count: int) -> Ints:
    """(n,) cross-fit group of each row by its customer's fold: 0 to count-1; -1 where held out."""
    return np.where(table.held_out[customer], -1, table.fold[customer].astype(np.int64) % count)

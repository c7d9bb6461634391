"""What a policy is shown: one fixed-width row of numbers, the same in training, evaluation and serving.

Fixed transforms only, no running statistics. `Observer` is the only code that writes observations.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from churn_assets.decision.incremental import Incremental, incremental, value_of_waiting
from churn_assets.decision.process import Ints, RetentionProcess
from churn_assets.decision.tables import ResponseTables

Observations = npt.NDArray[np.float32]

BOUND = 10.0
"""Every observation lies in [-BOUND, BOUND]."""
VALUE_UNIT = 0.1
"""Incremental values are shown in tenths of a month's margin of the customer, then rooted."""


PRICE_KNOTS = 16
"""The value of waiting is tabled at prices λ with λ / (1 + λ) = 0, 1/16, …, 1, and interpolated between them."""


def observation_names(feature_names: tuple[str, ...], process: RetentionProcess) -> tuple[str, ...]:
    """Names of the observation's columns, in order; a saved policy refuses any others."""
    arms = [f"{offer:.4g}" for offer in process.menu]
    return (
        *(f"feature:{name}" for name in feature_names),
        "time",
        "risk",
        *(f"risk_if_offered:{arm}" for arm in arms[1:]),
        *(f"acceptance:{arm}" for arm in arms[1:]),
        *(f"net_value:{arm}" for arm in arms[1:]),
        "wait_value",
        *(f"regret:{arm}" for arm in arms),
        "discount",
        "discount_months_left",
        "months_since_contact",
        "offers_used",
        "budget_price",
        *(f"allowed:{arm}" for arm in arms[1:]),
    )


class Observer:
    """Writes the observations of customers whose model outputs are tabled.

    Args:
        tables: what the policy is shown (for a proof of use: permuted), n customers.
        process: the rules.
        added: incremental values of the same tables, computed here if not given.
    """

    def __init__(
        self, tables: ResponseTables, process: RetentionProcess, added: Incremental | None = None
    ) -> None:
        self.process = process
        self.size = len(tables)
        first = 3 + len(tables.feature_names) + 3 * (process.n_arms - 1)
        self.regret_columns = slice(first, first + process.n_arms)
        self.names = observation_names(tables.feature_names, process)
        self.width = len(self.names)
        self.added = incremental(tables, process) if added is None else added
        self._n_features, self._offers = len(tables.feature_names), process.n_arms - 1
        self._tenure = tables.tenure_column
        self._features = np.ascontiguousarray(tables.features)
        self._views, self._horizon = len(process.open_statuses), process.horizon
        self.unit = (VALUE_UNIT * process.margin * tables.price).astype(np.float32)
        self._rows = self._model_rows(tables)
        shares = np.arange(PRICE_KNOTS) / PRICE_KNOTS
        waiting = (
            value_of_waiting(self.added, tables, process, shares / (1 - shares)) / self.unit[:, None, None]
        )
        # One more knot for the limit of an infinite price, at which nothing is worth an offer.
        self._waiting = np.concatenate([waiting, np.zeros_like(waiting[..., :1])], axis=-1).reshape(-1)
        steps = np.arange(process.horizon + 1, dtype=np.float32)
        self._tenure_gain, self._time = steps * np.float32(tables.tenure_step), steps / process.horizon
        largest = max(process.menu)
        self._status = np.stack(
            [
                process.discount_pct / largest,
                process.months_owed / process.discount_months,
                process.months_since_contact / (process.memory * process.step_months),
            ],
            axis=1,
        ).astype(np.float32)
        self._used = (np.arange(process.max_offers + 1) / process.max_offers).astype(np.float32)
        self._allowed = np.ascontiguousarray(tables.allowed[:, 1:])
        self._everything_allowed = bool(self._allowed.all())

    def _model_rows(self, tables: ResponseTables) -> npt.NDArray[np.float32]:
        """(n · T · O, 1 + 4 (K - 1)): logits of risk and acceptance, then value and spend in units."""
        acceptance = tables.acceptance[:, :, self.process.recently_contacted, 1:]
        accepted = tables.churn_if_accepted[:, :, None, None]
        refused = tables.churn_if_refused[:, :, None, None]
        risk = np.broadcast_to(tables.risk[:, :, None, None], (*acceptance.shape[:3], 1))
        unit = self.unit[:, None, None, None]
        rows = np.concatenate(
            [
                _shown_probability(risk),
                _shown_probability(acceptance * accepted + (1 - acceptance) * refused),
                _shown_probability(acceptance),
                self.added.value[..., 1:] / unit,
                self.added.spend[..., 1:] / unit,
            ],
            axis=-1,
        )
        return np.ascontiguousarray(rows.reshape(-1, rows.shape[-1]), np.float32)

    def observe(
        self,
        customer: Ints,
        step: Ints,
        status: Ints,
        used: Ints,
        budget_price: npt.NDArray[np.float32],
        affordable: npt.NDArray[np.bool_] | None = None,
    ) -> tuple[Observations, npt.NDArray[np.float32]]:
        """The observations of m decisions.

        Args:
            customer: (m,) row of the tables.
            step: (m,) 0 … T; at the horizon the models' last step is shown.
            status: (m,) at the decision.
            used: (m,) offers used.
            budget_price: (m,) ≥ 0, λ.
            affordable: (m, K - 1) arms that the remaining budget can pay for. None: all.

        Returns:
            (m, width) float32 in [-BOUND, BOUND], and (m, K - 1) float32 net incremental values in `unit`s.
        """
        m, offers, features = len(customer), self._offers, self._n_features
        row = customer * self._horizon + np.minimum(step, self._horizon - 1)
        price = budget_price / (1 + budget_price)
        wait = self._wait_value(row, price)
        if self._views > 1:
            row *= self._views
            row += self.process.view.take(status)
        shown = self._rows.take(row, axis=0)
        out = np.empty((m, self.width), np.float32)
        out[:, :features] = self._features.take(customer, axis=0)
        if self._tenure is not None:
            out[:, self._tenure] += self._tenure_gain.take(step)
        out[:, features] = self._time.take(step)
        at = features + 1
        models = 1 + 2 * offers
        out[:, at : at + models] = shown[:, :models]
        at += models
        values = np.empty((m, 2 * offers + 2), np.float32)
        net = values[:, :offers]
        np.multiply(shown[:, models + offers :], budget_price[:, None], out=net)
        np.subtract(shown[:, models : models + offers], net, out=net)
        values[:, offers] = wait
        best = wait.copy()
        for arm in range(offers):
            np.maximum(best, net[:, arm], out=best)
        np.subtract(wait, best, out=values[:, offers + 1])
        np.subtract(net, best[:, None], out=values[:, offers + 2 :])
        out[:, at : at + 2 * offers + 2] = _shown_value(values)
        at += 2 * offers + 2
        out[:, at : at + 3] = self._status.take(status, axis=0)
        out[:, at + 3] = self._used.take(used)
        out[:, at + 4] = price
        at += 5
        may = self.process.open.take(status)
        may &= used < self.process.max_offers
        if self._everything_allowed and affordable is None:
            out[:, at:] = may[:, None]
        else:
            allowed = self._allowed.take(customer, axis=0)
            allowed &= may[:, None]
            if affordable is not None:
                allowed &= affordable
            out[:, at:] = allowed
        return out, net

    def _wait_value(self, row: Ints, price: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        position = price * np.float32(PRICE_KNOTS)
        knot = np.minimum(position.astype(np.int64), PRICE_KNOTS - 1)
        index = row * (PRICE_KNOTS + 1) + knot
        below, above = self._waiting.take(index), self._waiting.take(index + 1)
        return np.asarray(below + (position - knot).astype(np.float32) * (above - below))


def _shown_probability(p: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    p = np.clip(p, 1e-4, 1 - 1e-4)
    return np.asarray(np.log(p / (1 - p)) / 4)


def _shown_value(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Linear near 0, a root far away: x / (1 + √(1 + |x|)), within the bound."""
    size = np.abs(x)
    size += 1
    np.sqrt(size, out=size)
    size += 1
    np.divide(x, size, out=size)
    return np.clip(size, -BOUND, BOUND, out=size)

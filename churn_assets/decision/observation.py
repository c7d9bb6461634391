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

BLOCK = 2048
"""Rows written at a time: they stay in the processor's cache."""


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
        "budget_price",
        "discount",
        "discount_months_left",
        "months_since_contact",
        "offers_used",
        *(f"allowed:{arm}" for arm in arms[1:]),
    )


class Observer:
    """Writes the observations of customers whose model outputs are tabled.

    Attributes:
        size: n, the customers.
        names: of the columns.
        width: number of columns.
        regret_columns: where the regrets stand.
        added: incremental values that are shown.
        situations: (S · (max_offers + 1), K + 3) the last columns by status and offers used, eligibility aside.

    Args:
        tables: what the policy is shown (for a proof of use: permuted).
        process: the rules.
    """

    def __init__(self, tables: ResponseTables, process: RetentionProcess) -> None:
        self.process, self.size = process, len(tables)
        self.names = observation_names(tables.feature_names, process)
        self.width = len(self.names)
        self.added: Incremental = incremental(tables, process)
        self._n_features, self._offers = len(tables.feature_names), process.n_arms - 1
        first = self._n_features + 3 + 3 * self._offers
        self.regret_columns = slice(first, first + process.n_arms)
        self._views = len(process.open_statuses)
        self._view = process.view
        self._tenure = tables.tenure_column
        self._features = np.ascontiguousarray(tables.features)
        self._unit = (VALUE_UNIT * process.margin * tables.price).astype(np.float32)
        self._models = self._model_rows(tables)
        self._waiting = self._waiting_rows(tables)
        steps = np.arange(process.horizon + 1, dtype=np.float32)
        self._tenure_gain, self._time = steps * np.float32(tables.tenure_step), steps / process.horizon
        self.situations = situation_rows(process)
        self._allowed = None if tables.allowed.all() else np.ascontiguousarray(tables.allowed[:, 1:])

    def observe(
        self,
        customer: Ints,
        step: Ints,
        status: Ints,
        used: Ints,
        budget_price: npt.NDArray[np.float32],
        affordable: npt.NDArray[np.bool_] | None = None,
    ) -> Observations:
        """The observations of m decisions.

        Args:
            customer: (m,) row of the tables.
            step: (m,) 0 … T; at the horizon the models' last step is shown.
            status: (m,) at the decision.
            used: (m,) offers used.
            budget_price: (m,) ≥ 0, λ.
            affordable: (m, K - 1) arms that the remaining budget can pay for. None: all.

        Returns:
            (m, width) float32 in [-BOUND, BOUND].
        """
        offers, at = self._offers, self._n_features
        out = np.empty((len(customer), self.width), np.float32)
        out[:, :at] = self._features.take(customer, axis=0)
        if self._tenure is not None:
            out[:, self._tenure] += self._tenure_gain.take(step)
        out[:, at] = self._time.take(step)
        at += 1
        row = customer * self.process.horizon + np.minimum(step, self.process.horizon - 1)
        shown = self._models.take(row * self._views + self._view.take(status), axis=0)
        probabilities = 1 + 2 * offers
        out[:, at : at + probabilities] = shown[:, :probabilities]
        at += probabilities
        values, spends = shown[:, probabilities : probabilities + offers], shown[:, probabilities + offers :]
        price = budget_price / (1 + budget_price)
        values = net_wait_regret(values - budget_price[:, None] * spends, self._wait(row, price))
        out[:, at : at + values.shape[1]] = shown_value(values)
        at += values.shape[1]
        out[:, at] = price
        at += 1
        out[:, at:] = self.situations.take(status * (self.process.max_offers + 1) + used, axis=0)
        allowed = out[:, -offers:]
        if self._allowed is not None:
            allowed *= self._allowed.take(customer, axis=0)
        if affordable is not None:
            allowed *= affordable
        return out

    def write_rows(self, budget_price: npt.NDArray[np.float32], out: npt.NDArray[np.float32]) -> None:
        """Every customer's observations at one price each, at every step and in every open status.

        Environments that keep their prices copy from them; only `situations` differ between statuses.

        Args:
            budget_price: (n,) λ.
            out: (n · (T + 1) · O, width), written to.
        """
        statuses = self.process.open_statuses
        shape = (self.size, self.process.horizon + 1, len(statuses))
        for start in range(0, len(out), BLOCK):
            stop = min(start + BLOCK, len(out))
            customer, step, view = np.unravel_index(np.arange(start, stop), shape)
            nothing = np.zeros_like(customer)
            out[start:stop] = self.observe(customer, step, statuses[view], nothing, budget_price[customer])

    def _model_rows(self, tables: ResponseTables) -> Observations:
        """(n · T · O, 1 + 4 (K - 1)): logits of risk and acceptance, then value and spend in units."""
        acceptance = tables.acceptance[:, :, self.process.recently_contacted, 1:]
        accepted = tables.churn_if_accepted[:, :, None, None]
        refused = tables.churn_if_refused[:, :, None, None]
        risk = np.broadcast_to(tables.risk[:, :, None, None], (*acceptance.shape[:3], 1))
        unit = self._unit[:, None, None, None]
        rows = np.concatenate(
            [
                shown_probability(risk),
                shown_probability(acceptance * accepted + (1 - acceptance) * refused),
                shown_probability(acceptance),
                self.added.value[..., 1:] / unit,
                self.added.spend[..., 1:] / unit,
            ],
            axis=-1,
        )
        return np.ascontiguousarray(rows.reshape(-1, rows.shape[-1]), np.float32)

    def _waiting_rows(self, tables: ResponseTables) -> npt.NDArray[np.float32]:
        """(n · T · (knots + 1),) the value of waiting in units; 0 at the last knot, an infinite price."""
        shares = np.arange(PRICE_KNOTS) / PRICE_KNOTS
        waiting = value_of_waiting(self.added, tables, self.process, shares / (1 - shares))
        waiting /= self._unit[:, None, None]
        return np.concatenate([waiting, np.zeros_like(waiting[..., :1])], axis=-1).reshape(-1)

    def _wait(self, row: Ints, price: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        knot, beyond = price_knot(price)
        index = row * (PRICE_KNOTS + 1) + knot
        below, above = self._waiting.take(index), self._waiting.take(index + 1)
        return np.asarray(below + beyond * (above - below))


def situation_rows(process: RetentionProcess) -> Observations:
    """(S · (max_offers + 1), K + 3) last columns of an observation by status and offers used, if all are eligible."""
    offers = process.n_arms - 1
    used = np.arange(process.max_offers + 1)
    status = np.stack(
        [
            process.discount_pct / max(process.menu),
            process.months_owed / process.discount_months,
            process.months_since_contact / (process.memory * process.step_months),
        ],
        axis=1,
    )
    rows = np.empty((process.n_statuses, len(used), 4 + offers), np.float32)
    rows[..., :3] = status[:, None]
    rows[..., 3] = used / process.max_offers
    rows[..., 4:] = (process.open[:, None] & (used < process.max_offers))[..., None]
    return rows.reshape(-1, rows.shape[-1])


def price_knot(price: npt.NDArray[np.float32]) -> tuple[Ints, npt.NDArray[np.float32]]:
    """(m,) knot below each λ / (1 + λ), and how far beyond it that lies, as a share of the way to the next."""
    position = price * np.float32(PRICE_KNOTS)
    knot = np.minimum(position.astype(np.int64), PRICE_KNOTS - 1)
    return knot, (position - knot).astype(np.float32)


def net_wait_regret(net: npt.NDArray[np.float32], wait: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(m, 2 K) net values (m, K - 1), the value of waiting (m,), then every arm less the best."""
    offers = net.shape[1]
    values = np.empty((len(wait), 2 * offers + 2), np.float32)
    values[:, :offers] = net
    values[:, offers] = wait
    best = np.maximum(wait, net.max(axis=1))
    values[:, offers + 1] = wait - best
    values[:, offers + 2 :] = net - best[:, None]
    return values


def shown_probability(p: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Probabilities as they are observed: a quarter of the logit, for p within [1e-4, 1 - 1e-4]."""
    p = np.minimum(np.maximum(p, 1e-4), 1 - 1e-4)  # for a few numbers far faster than `clip`
    return np.asarray(np.log(p / (1 - p)) / 4)


def shown_value(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Linear near 0, a root far away: x / (1 + √(1 + |x|)), within the bound."""
    shown = x / (1 + np.sqrt(1 + np.abs(x)))
    return np.asarray(np.minimum(np.maximum(shown, -BOUND), BOUND))

"""What a policy is shown: one fixed-width row of numbers, the same in training, evaluation and serving.

Fixed transforms only, no running statistics. `observation` is the only code that puts one together.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from churn_assets.decision.incremental import Incremental, incremental, value_of_waiting
from churn_assets.decision.process import Floats, Ints, RetentionProcess
from churn_assets.decision.tables import ResponseTables, check_fits

Observations = npt.NDArray[np.float32]

BOUND = 10.0
"""Every observation lies in [-BOUND, BOUND]."""

VALUE_UNIT = 0.1
"""Incremental values are shown in tenths of a month's margin of the customer, then rooted."""

PRICE_KNOTS = 16
"""The value of waiting is tabled at prices λ with λ / (1 + λ) = 0, 1/16, …, 1, and interpolated between them."""

KNOT_PRICES = np.arange(PRICE_KNOTS) / np.arange(PRICE_KNOTS, 0, -1)
"""λ at every knot but the last, which is infinite."""

BLOCK = 2048
"""Rows written at a time: they stay in the processor's cache."""


def observation_names(feature_names: tuple[str, ...], process: RetentionProcess) -> tuple[str, ...]:
    """Names of the observation's columns, in order; a saved policy refuses any others."""
    arms = process.menu.ids
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
        *(f"running:{arm}" for arm in arms[1:]),
        "months_since_contact",
        "offers_used",
        *(["offers_accepted"] if process.taste else []),
        *(f"allowed:{arm}" for arm in arms[1:]),
    )


def regret_columns(n_features: int, process: RetentionProcess) -> slice:
    """Where the regrets stand in an observation."""
    first = n_features + 3 + 3 * (process.n_arms - 1)
    return slice(first, first + process.n_arms)


class Observer:
    """Writes the observations of customers whose model outputs are tabled.

    Attributes:
        size: n, the customers.
        names: of the columns.
        width: number of columns.
        n_features: how many are the customer's features.
        added: incremental values that are shown.
        situations: (S · P, 2 K or 2 K + 1) the last columns by state and past, eligibility aside.

    Args:
        tables: what the policy is shown (for a proof of use: permuted).
        process: the rules.

    Raises:
        ValueError: the tables were built for another horizon or menu.
    """

    def __init__(self, tables: ResponseTables, process: RetentionProcess) -> None:
        check_fits(tables, process)
        self.process, self.size = process, len(tables)
        self.names = observation_names(tables.feature_names, process)
        self.width = len(self.names)
        self.added: Incremental = incremental(tables.responses, process)
        self.n_features, self._offers = len(tables.feature_names), process.n_arms - 1
        self._views = len(process.recent_at)
        self._view = process.view
        self._tenure = tables.tenure_column
        self._features = np.ascontiguousarray(tables.features)
        unit = value_unit(tables.price, process)
        shown = shown_by_models(
            tables.risk[:, :, None, None],
            tables.churn_if_contacted[:, :, process.recent_at],
            tables.acceptance[:, :, process.recent_at, 1:],
            self.added.value[..., 1:],
            self.added.spend[..., 1:],
            unit[:, None, None, None],
        )
        self._models = np.ascontiguousarray(shown.reshape(-1, shown.shape[-1]))
        waiting = value_of_waiting(self.added, KNOT_PRICES) / unit[:, None, None]
        self._waiting = np.concatenate([waiting, np.zeros_like(waiting[..., :1])], axis=-1).reshape(-1)
        steps = np.arange(process.horizon + 1, dtype=np.float32)
        self._tenure_gain, self._time = (
            steps * np.float32(tables.tenure_step),
            steps / np.float32(process.horizon),
        )
        self.situations = situation_rows(process)
        self._allowed = None if tables.allowed.all() else np.ascontiguousarray(tables.allowed[:, 1:])

    def observe(
        self,
        customer: Ints,
        step: Ints,
        state: Ints,
        past: Ints,
        budget_price: Observations,
        affordable: npt.NDArray[np.bool_] | None = None,
    ) -> Observations:
        """The observations of m decisions.

        Args:
            customer: (m,) row of the tables.
            step: (m,) 0 … T; at the horizon the models' last step is shown.
            state: (m,) at the decision.
            past: (m,) index into the process's `pasts`.
            budget_price: (m,) ≥ 0, λ.
            affordable: (m, K - 1) arms that the remaining budget can pay for. None: all.

        Returns:
            (m, width) float32 in [-BOUND, BOUND].
        """
        features = self._features.take(customer, axis=0)
        if self._tenure is not None:
            features[:, self._tenure] += self._tenure_gain.take(step)
        row = customer * self.process.horizon + np.minimum(step, self.process.horizon - 1)
        situation = self.situations.take(state * len(self.process.pasts) + past, axis=0)
        allowed = situation[:, -self._offers :]
        if self._allowed is not None:
            allowed *= self._allowed.take(customer, axis=0)
        if affordable is not None:
            allowed *= affordable
        share = budget_price / (1 + budget_price)
        knot, beyond = price_knot(share)
        index = row * (PRICE_KNOTS + 1) + knot
        below, above = self._waiting.take(index), self._waiting.take(index + 1)
        return observation(
            features,
            self._time.take(step),
            self._models.take(row * self._views + self._view.take(state), axis=0),
            np.asarray(below + beyond * (above - below), np.float32),
            budget_price,
            situation,
        )

    def write_rows(self, budget_price: Observations, out: Observations) -> None:
        """Every customer's observations at one price each, at every step, contacted recently or not.

        Environments that keep their prices copy from them; only `situations` differ between states.

        Args:
            budget_price: (n,) λ.
            out: (n · (T + 1) · V, width), written to.
        """
        states = self.process.shown_at
        shape = (self.size, self.process.horizon + 1, len(states))
        for start in range(0, len(out), BLOCK):
            stop = min(start + BLOCK, len(out))
            customer, step, view = np.unravel_index(np.arange(start, stop), shape)
            nothing = np.zeros_like(customer)
            out[start:stop] = self.observe(customer, step, states[view], nothing, budget_price[customer])


def observation(
    features: Observations,
    time: Observations,
    models: Observations,
    wait: Observations,
    budget_price: Observations,
    situation: Observations,
) -> Observations:
    """Observations of m decisions, put together: the only code that does so.

    Args:
        features: (m, F) as of `policy_features`, aged.
        time: (m,) steps done, as a share of the horizon.
        models: (m, 1 + 4 (K - 1)) of `shown_by_models`.
        wait: (m,) value of waiting, in units.
        budget_price: (m,) λ ≥ 0.
        situation: (m, 2 K or 2 K + 1) rows of `situation_rows`, arms that may not be offered now set to 0.

    Returns:
        (m, width) float32 in [-BOUND, BOUND].
    """
    offers, at = situation.shape[1] // 2 - 1, features.shape[1]
    probabilities = 1 + 2 * offers
    last = at + 1 + probabilities + 2 * offers + 2
    out = np.empty((len(features), last + 1 + situation.shape[1]), np.float32)
    out[:, :at] = features
    out[:, at] = time
    out[:, at + 1 : at + 1 + probabilities] = models[:, :probabilities]
    values, spends = models[:, probabilities : probabilities + offers], models[:, probabilities + offers :]
    worth = net_wait_regret(values - budget_price[:, None] * spends, wait)
    out[:, at + 1 + probabilities : last] = shown_value(worth)
    out[:, last] = budget_price / (1 + budget_price)
    out[:, last + 1 :] = situation
    return out


def shown_by_models(
    risk: Floats,
    churn: Floats,
    acceptance: Floats,
    value: npt.NDArray[np.floating],
    spend: npt.NDArray[np.floating],
    unit: npt.NDArray[np.floating],
) -> Observations:
    """(…, 1 + 4 (K - 1)) logits of risk, risk if offered and acceptance, then value and spend in units.

    Args:
        risk: (…, 1) P(churn) without contact.
        churn: (…, K - 1) once an arm is offered.
        acceptance: (…, K - 1).
        value: (…, K - 1) money.
        spend: (…, K - 1) money.
        unit: (…, 1) of `value_unit`.
    """
    offers = acceptance.shape[-1]
    out = np.empty((*acceptance.shape[:-1], 1 + 4 * offers), np.float32)
    probabilities = np.empty((*acceptance.shape[:-1], 1 + 2 * offers))
    probabilities[..., :1] = risk
    probabilities[..., 1 : 1 + offers] = churn
    probabilities[..., 1 + offers :] = acceptance
    out[..., : 1 + 2 * offers] = shown_probability(probabilities)
    out[..., 1 + 2 * offers : 1 + 3 * offers] = value / unit
    out[..., 1 + 3 * offers :] = spend / unit
    return out


def value_unit(price: Floats, process: RetentionProcess) -> Observations:
    """(n,) money in which a customer's incremental values are shown."""
    return np.asarray((VALUE_UNIT * process.margin * price).astype(np.float32))


def situation_rows(process: RetentionProcess) -> Observations:
    """(S · P, 2 K, or one more for answers) last columns of an observation by state and past, if all are eligible."""
    offers, told = process.n_arms - 1, 2 if process.taste else 1
    pasts = process.pasts
    rows = np.zeros((process.n_states, len(pasts), 1 + told + 2 * offers), np.float32)
    for state in np.flatnonzero(process.running):
        arm = process.arm[state]
        rows[state, :, arm - 1] = process.months_owed[state] / process.menu.months[arm]
    rows[..., offers] = (process.months_since_contact / (process.memory * process.step_months))[:, None]
    rows[..., offers + 1 : offers + 1 + told] = pasts[:, :told] / process.max_offers
    open_ = process.open[:, None] & (np.arange(len(pasts)) < process.open_pasts)
    rows[..., offers + 1 + told :] = open_[..., None]
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

"""What the risk, acceptance and effect models say about each customer, tabled once for every month.

Exact, because features change with time alone. The rules of the process and the policy's view live elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from churn_assets.customers.features import aged
from churn_assets.decision.process import RetentionProcess

if TYPE_CHECKING:
    from churn_assets.customers.schema import CustomerSchema
    from churn_assets.customers.table import CustomerTable

Floats = npt.NDArray[np.float64]
UPSTREAM = ("risk_model", "accept_model", "effect_model")
"""The models whose outputs are tabled."""

ROWS_A_CALL = 100_000
"""Rows in one `predict` call: large enough to hide the call, small enough to stay in memory."""


class RiskPredictor(Protocol):
    """P(churn within the label window) at the list price without contact, as the customer table has it."""

    def predict(self, X: Floats, /) -> Floats: ...


class AcceptPredictor(Protocol):
    """P(accept) given the offer and the number of recent offers."""

    def predict(self, X: Floats, offer_pct: Floats, recent_offers: Floats, /) -> Floats: ...


class EffectPredictor(Protocol):
    """P(churn within the label window) without contact by the offer log, after an accepted and a refused offer."""

    def consequences(self, X: Floats, risk: Floats, /) -> tuple[Floats, Floats, Floats]: ...


@dataclass(frozen=True)
class ResponseTables:
    """Model outputs for n customers, T steps, K arms. All probabilities of churn are for the label window.

    Attributes:
        price: (n,) list price a month.
        features: (n, F) float32, as the policy sees them at the first step; see `policy_features`.
        feature_names: (F,) names in that order.
        tenure_column: column of `features` that grows with time, if any.
        tenure_step: by how much it grows a step.
        risk: (n, T) P(churn) at the list price without contact.
        acceptance: (n, T, 2, K) P(accept arm), without and with a recent contact of the policy itself; 0 for
            arm 0.
        churn_if_accepted: (n, T) P(churn) once an offer is accepted.
        churn_if_refused: (n, T) P(churn) once an offer is refused.
        allowed: (n, K) arms that eligibility and opt-out permit; arm 0 always.
    """

    price: Floats
    features: npt.NDArray[np.float32]
    feature_names: tuple[str, ...]
    tenure_column: int | None
    tenure_step: float
    risk: Floats
    acceptance: Floats
    churn_if_accepted: Floats
    churn_if_refused: Floats
    allowed: npt.NDArray[np.bool_]

    def __post_init__(self) -> None:
        n, horizon = self.risk.shape
        expected = {
            "price": (n,),
            "features": (n, len(self.feature_names)),
            "acceptance": (n, horizon, 2, self.allowed.shape[-1]),
            "churn_if_accepted": (n, horizon),
            "churn_if_refused": (n, horizon),
            "allowed": (n, self.allowed.shape[-1]),
        }
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                msg = f"ResponseTables.{name} has shape {getattr(self, name).shape}: expected {shape}"
                raise ValueError(msg)
        for name in ("risk", "acceptance", "churn_if_accepted", "churn_if_refused"):
            values = getattr(self, name)
            if not ((values >= 0) & (values <= 1)).all():
                msg = f"ResponseTables.{name} holds values that are no probability"
                raise ValueError(msg)
        if not ((self.price > 0) & np.isfinite(self.price)).all():
            msg = "ResponseTables.price holds a price that is not positive and finite"
            raise ValueError(msg)
        if not np.isfinite(self.features).all():
            msg = "ResponseTables.features holds values that are not finite"
            raise ValueError(msg)
        if self.acceptance[..., 0].any() or not self.allowed[:, 0].all():
            msg = "arm 0 is no contact: its acceptance is 0 and it is always allowed"
            raise ValueError(msg)

    def __len__(self) -> int:
        return len(self.price)

    @cached_property
    def rowwise(self) -> tuple[str, ...]:
        """The attributes with one row a customer."""
        return tuple(f.name for f in fields(self) if isinstance(getattr(self, f.name), np.ndarray))

    def subset(self, rows: npt.NDArray[np.generic] | slice) -> ResponseTables:
        """The tables of some customers, by index or boolean mask."""
        return replace(self, **{name: getattr(self, name)[rows] for name in self.rowwise})

    def permuted(self, upstream: str, rng: np.random.Generator) -> ResponseTables:
        """As if one upstream model had given its answers to other questions.

        Every customer gets another's predictions for the same months; the acceptance model, which is asked about
        customers *and* offers, also those for other offers: the rise of acceptance with the offer is its answer too.

        Args:
            upstream: one of `UPSTREAM`.
            rng: draws who gets whose.

        For `risk_model` the effects stay as differences from the risk; for `effect_model` the risk stays.
        Differences are carried over on the logit scale, so that probabilities stay probabilities.
        """
        order = rng.permutation(len(self))
        if upstream == "accept_model":
            offers = 1 + rng.random((len(self), self.allowed.shape[1] - 1)).argsort(axis=1)
            acceptance = self.acceptance.copy()
            acceptance[..., 1:] = np.take_along_axis(self.acceptance[order], offers[:, None, None], axis=3)
            return replace(self, acceptance=acceptance)
        accepted, refused = (
            _logit(churn) - _logit(self.risk) for churn in (self.churn_if_accepted, self.churn_if_refused)
        )
        if upstream == "risk_model":
            risk = self.risk[order]
        elif upstream == "effect_model":
            risk, accepted, refused = self.risk, accepted[order], refused[order]
        else:
            msg = f"{upstream!r} is no upstream model: expected one of {', '.join(UPSTREAM)}"
            raise ValueError(msg)
        return replace(
            self,
            risk=risk,
            churn_if_accepted=_expit(_logit(risk) + accepted),
            churn_if_refused=_expit(_logit(risk) + refused),
        )


def hazards(tables: ResponseTables, process: RetentionProcess) -> Floats:
    """(n, T, 3) hazard of churn in one step: base, after an accepted and after a refused offer.

    Raises:
        ValueError: the tables were built for another horizon or menu.
    """
    found, expected = tables.acceptance.shape[1::2], (process.horizon, process.n_arms)
    if found != expected:
        msg = (
            f"the tables have {found[0]} steps and {found[1]} arms: expected {expected[0]} and {expected[1]}"
        )
        raise ValueError(msg)
    return process.hazard(np.stack([tables.risk, tables.churn_if_accepted, tables.churn_if_refused], axis=-1))


def policy_features(X: Floats, schema: CustomerSchema) -> npt.NDArray[np.float32]:
    """The policy's view of design-matrix rows: numbers standardised, categories spread over [0, 1].

    A missing number counts as the mean, a missing or unseen category as 0. Values are bounded to ±10.
    """
    columns = []
    for values, feature in zip(X.T, schema.features, strict=True):
        if feature.kind == "numeric":
            column = (values - feature.mean) / (feature.std or 1.0)
        else:
            column = values / max(len(feature.categories) - 1, 1)
        columns.append(np.clip(np.nan_to_num(column), -10, 10))
    return np.stack(columns, axis=1).astype(np.float32)


def build_tables(
    table: CustomerTable,
    risk: RiskPredictor,
    accept: AcceptPredictor,
    effect: EffectPredictor,
    process: RetentionProcess,
    *,
    prior_offers: npt.NDArray[np.int64] | None = None,
    allowed: npt.NDArray[np.bool_] | None = None,
) -> ResponseTables:
    """Ask the models once for everything that the process can reach.

    Args:
        table: n customers.
        risk: asked for (n x T) rows.
        accept: asked for (n x T x 2 x (K - 1)) rows.
        effect: asked for (n x T) rows.
        process: menu, horizon and step.
        prior_offers: (n,) offers within the recent window before the first step, not made by the policy whose
            status is tracked; they expire as the window moves on. None: no prior offers.
        allowed: (n, K) arms that eligibility and opt-out permit. None: all.
    """
    schema, X = table.schema, table.X
    n, horizon, arms = len(X), process.horizon, process.n_arms
    prior = np.zeros(n) if prior_offers is None else np.asarray(prior_offers, np.float64)
    p_risk = np.empty((n, horizon))
    accepted, refused = np.empty((n, horizon)), np.empty((n, horizon))
    acceptance = np.zeros((n, horizon, 2, arms))
    offers = np.asarray(process.menu[1:], np.float64)
    chunk = max(1, ROWS_A_CALL // (horizon * 2 * (arms - 1)))
    for start in range(0, n, chunk):
        rows = slice(start, min(start + chunk, n))
        size = rows.stop - rows.start
        X_t = np.stack([aged(X[rows], schema, t * process.step_months) for t in range(horizon)], axis=1)
        flat = X_t.reshape(size * horizon, -1)
        p_risk[rows], accepted[rows], refused[rows] = (
            p.reshape(size, horizon) for p in effect.consequences(flat, risk.predict(flat))
        )
        carried = np.arange(horizon) * process.step_months < process.recent_window_months
        recent = (prior[rows, None] * carried)[:, :, None, None] + np.arange(2)[None, None, :, None]
        shape = (size, horizon, 2, arms - 1)
        acceptance[rows, :, :, 1:] = accept.predict(
            np.repeat(flat, 2 * (arms - 1), axis=0),
            np.broadcast_to(offers, shape).reshape(-1),
            np.broadcast_to(recent, shape).reshape(-1),
        ).reshape(shape)
    tenure = schema.tenure_index
    return ResponseTables(
        price=np.asarray(table.price, np.float64),
        features=policy_features(X, schema),
        feature_names=tuple(schema.names),
        tenure_column=tenure,
        tenure_step=0.0 if tenure is None else process.step_months / (schema.features[tenure].std or 1.0),
        risk=p_risk,
        acceptance=acceptance,
        churn_if_accepted=accepted,
        churn_if_refused=refused,
        allowed=np.ones((n, arms), bool) if allowed is None else np.asarray(allowed, bool),
    )


def _logit(p: Floats) -> Floats:
    p = np.clip(p, 1e-9, 1 - 1e-9)
    return np.asarray(np.log(p / (1 - p)))


def _expit(x: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-x)))

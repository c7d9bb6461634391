"""What the risk, acceptance and effect models say about each customer, tabled once for every month.

Exact, because features change with time alone. The rules of the process and the policy's view live elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from churn_assets.decision.incremental import PredictedResponses, relapse
from churn_assets.decision.process import RetentionProcess
from churn_assets.offers.eligibility import Eligibility
from churn_assets.predictors.probability import logistic, logit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from churn_assets.customers.schema import CustomerSchema
    from churn_assets.customers.table import CustomerTable

Floats = npt.NDArray[np.float64]
UPSTREAM = ("risk_model", "accept_model", "effect_model")
"""The models whose outputs are tabled."""

LEAST = 1e-9
"""Probabilities are this far from 0 and 1 before their logit is taken."""

CHUNK = 32
"""Customers asked about at once: what their months need stays in the processor's cache."""


class ResponseSource(Protocol):
    """Whoever says how customers respond; see `responses.ResponseModels`."""

    @property
    def schema(self) -> CustomerSchema: ...

    @property
    def process(self) -> RetentionProcess: ...

    def responses(self, X: Floats, prior: Floats, /) -> PredictedResponses: ...


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
        churn_if_accepted: (n, T, K - 1) P(churn) once an arm that contacts is accepted.
        churn_if_refused: (n, T, K - 1) P(churn) once it is refused.
        allowed: (n, K) arms that eligibility and opt-out permit; arm 0 always.

    Raises:
        ValueError: A shape does not fit, a probability is none, a price is not above 0.
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
            "churn_if_accepted": (n, horizon, self.allowed.shape[-1] - 1),
            "churn_if_refused": (n, horizon, self.allowed.shape[-1] - 1),
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

    @cached_property
    def churn_if_contacted(self) -> Floats:
        """(n, T, 2, K - 1) P(churn) once an arm is offered, without and with a recent contact of the policy itself."""
        q = self.acceptance[..., 1:]
        return np.asarray(
            q * self.churn_if_accepted[:, :, None] + (1 - q) * self.churn_if_refused[:, :, None]
        )

    @property
    def responses(self) -> PredictedResponses:
        """The same without what a policy is shown beside it."""
        return PredictedResponses(
            self.price,
            self.risk,
            self.churn_if_accepted,
            self.churn_if_refused,
            self.acceptance[:, :, 0, 1:],
            self.acceptance[:, :, 1, 1:],
        )

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
            logit(churn, LEAST) - logit(self.risk, LEAST)[:, :, None]
            for churn in (self.churn_if_accepted, self.churn_if_refused)
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
            churn_if_accepted=logistic(logit(risk, LEAST)[:, :, None] + accepted),
            churn_if_refused=logistic(logit(risk, LEAST)[:, :, None] + refused),
        )


def check_fits(tables: ResponseTables, process: RetentionProcess) -> None:
    """Refuses tables that were built for another horizon or menu.

    Raises:
        ValueError: They have other steps or arms.
    """
    found, expected = tables.acceptance.shape[1::2], (process.horizon, process.n_arms)
    if found != expected:
        msg = (
            f"the tables have {found[0]} steps and {found[1]} arms: expected {expected[0]} and {expected[1]}"
        )
        raise ValueError(msg)


def hazards(tables: ResponseTables, process: RetentionProcess) -> Floats:
    """(n, T, 2 K - 1) hazards of churn in one step: without contact, once each arm is accepted, once it is refused.

    Raises:
        ValueError: the tables were built for another horizon or menu.
    """
    check_fits(tables, process)
    kinds = (tables.risk[:, :, None], tables.churn_if_accepted, tables.churn_if_refused)
    return process.hazard(np.concatenate(kinds, axis=-1))


def relapses(tables: ResponseTables, process: RetentionProcess) -> Floats:
    """(n, T, 2 K - 1) chances to leave right after the label window, by hazard kind in it; 0 without contact."""
    churn = np.concatenate([tables.churn_if_accepted, tables.churn_if_refused], axis=-1)
    found = np.zeros((*tables.risk.shape, process.n_hazards))
    found[:, :, 1:] = relapse(tables.risk[:, :, None], churn, process.effect_decay)
    return found


def feature_scaling(schema: CustomerSchema) -> tuple[Floats, Floats]:
    """(F,) what is taken from every feature, and what it is divided by, before a policy sees it."""
    numeric = [feature.kind == "numeric" for feature in schema.features]
    scale = [
        feature.std or 1.0 if feature.kind == "numeric" else max(len(feature.categories) - 1, 1)
        for feature in schema.features
    ]
    mean = [feature.mean for feature in schema.features]
    return np.where(numeric, mean, 0.0), np.array(scale, np.float64)


def policy_features(X: Floats, scaling: tuple[Floats, Floats]) -> npt.NDArray[np.float32]:
    """The policy's view of design-matrix rows: numbers standardised, categories spread over [0, 1].

    A missing number counts as the mean, a missing or unseen category as 0. Values are bounded to ±10.
    """
    centre, scale = scaling
    standardised = np.where(np.isnan(X), 0.0, (X - centre) / scale)
    return np.minimum(np.maximum(standardised, -10.0), 10.0).astype(np.float32)


def build_tables(
    table: CustomerTable,
    models: ResponseSource,
    *,
    prior_offers: npt.NDArray[np.int64] | None = None,
    allowed: npt.NDArray[np.bool_] | None = None,
) -> ResponseTables:
    """Ask the models once for everything that their process can reach.

    Args:
        table: n customers.
        models: asked about every customer and step.
        prior_offers: (n,) offers within the recent window before the first step, not made by the policy whose
            state is tracked; they expire as the window moves on. None: no prior offers.
        allowed: (n, K) arms that opt-out and whoever asks permit, beside what the arms' own conditions forbid.
            None: all.
    """
    schema, process, X = models.schema, models.process, table.X
    n, horizon, arms = len(X), process.horizon, process.n_arms
    prior = np.zeros(n) if prior_offers is None else np.asarray(prior_offers, np.float64)
    found = [
        models.responses(X[start : start + CHUNK], prior[start : start + CHUNK])
        for start in range(0, n, CHUNK)
    ]
    acceptance = np.zeros((n, horizon, 2, arms))
    for number, part in enumerate(found):
        rows = slice(number * CHUNK, number * CHUNK + CHUNK)
        acceptance[rows, :, 0, 1:], acceptance[rows, :, 1, 1:] = part.acceptance, part.acceptance_again
    parts_of = zip(*(part[:4] for part in found), strict=True)
    joined = [np.ascontiguousarray(np.concatenate(parts)) for parts in parts_of]
    price, risk, accepted, refused = joined if found else _nobody(horizon, arms)
    tenure = schema.tenure_index
    return ResponseTables(
        price=price,
        features=policy_features(X, feature_scaling(schema)),
        feature_names=tuple(schema.names),
        tenure_column=tenure,
        tenure_step=0.0 if tenure is None else process.step_months / (schema.features[tenure].std or 1.0),
        risk=risk,
        acceptance=acceptance,
        churn_if_accepted=accepted,
        churn_if_refused=refused,
        allowed=Eligibility.of(process.menu, schema).allowed(X) & (True if allowed is None else allowed),
    )


def drawn_tables(
    table: CustomerTable, models: Sequence[ResponseSource], *, seed: int
) -> ResponseTables | None:
    """As `build_tables`, each customer asked of one of several models that is drawn for it; None without any."""
    if not models:
        return None
    which = np.random.default_rng([seed, 1]).integers(len(models), size=len(table))
    parts = [build_tables(table.where(which == each), model) for each, model in enumerate(models)]
    back = np.argsort(np.argsort(which, kind="stable"), kind="stable")
    joined: dict[str, Any] = {
        name: np.concatenate([getattr(each, name) for each in parts])[back] for name in parts[0].rowwise
    }
    return replace(parts[0], **joined)


def _nobody(horizon: int, arms: int) -> list[Floats]:
    return [np.empty(0), np.empty((0, horizon)), *(np.empty((0, horizon, arms - 1)) for _ in range(2))]

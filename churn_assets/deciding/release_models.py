"""What a release decides with: the models on one grid, the policy, and tabled outlooks on the customers it knows.

Numbers in, numbers out: nothing here needs scikit-learn, torch or pandas.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from churn_assets.customers.schema import CustomerSchema
from churn_assets.deciding.outlook import Outlooks, observations, outlook_dtype, outlooks
from churn_assets.decision.incremental import OneOffer
from churn_assets.decision.observation import Observations, situation_rows
from churn_assets.decision.policy import DecisionPolicy
from churn_assets.decision.process import IDLE, Floats, RetentionProcess
from churn_assets.decision.responses import ResponseModels
from churn_assets.decision.tables import feature_scaling, policy_features
from churn_assets.offers.eligibility import Eligibility

DIGEST_BYTES = 16

CHUNK = 192
"""Customers whose outlooks are computed at once: what they need stays in the processor's cache."""


@dataclass(frozen=True, eq=False)
class Known:
    """Outlooks on the customers whom a release knows, for no other recent offers.

    Attributes:
        digests: (k, 16) uint8, `features_digest` of each.
        outlooks: (k,).
    """

    digests: npt.NDArray[np.uint8]
    outlooks: Outlooks

    @cached_property
    def position(self) -> dict[bytes, int]:
        """Where a customer's outlook stands."""
        data = self.digests.tobytes()
        return {data[i : i + DIGEST_BYTES]: i // DIGEST_BYTES for i in range(0, len(data), DIGEST_BYTES)}


class Foreseen(NamedTuple):
    """What the models say of m customers.

    Attributes:
        outlooks: (m,).
        known: m, whether each was tabled when the release was built.
    """

    outlooks: Outlooks
    known: list[bool]


@dataclass(frozen=True, eq=False)
class ReleaseModels:
    """All that deciding needs.

    Every result is the same to the last bit whoever else is asked about: sums run in one order, and the network is
    applied to one customer at a time.

    Attributes:
        responses: Risk, acceptance and effect.
        policy: Process, observation and network.
        known: Customers whose outlooks are tabled.
    """

    responses: ResponseModels
    policy: DecisionPolicy
    known: Known

    @classmethod
    def build(cls, responses: ResponseModels, policy: DecisionPolicy, X: Floats) -> ReleaseModels:
        """The models of a release that knows the customers of a design matrix (n, F)."""
        features = len(responses.schema.features)
        nobody = np.zeros(0, outlook_dtype(policy.process, features))
        models = cls(responses, policy, Known(np.zeros((0, DIGEST_BYTES), np.uint8), nobody))
        _, first = np.unique(canonical(X), axis=0, return_index=True)
        rows = canonical(X)[np.sort(first)]
        digests = b"".join(features_digest(row.tobytes()) for row in rows)
        names = np.frombuffer(digests, np.uint8).reshape(-1, DIGEST_BYTES)
        return replace(models, known=Known(names, models.compute(rows, [0] * len(rows))))

    @property
    def comparing_no_arms(self) -> ReleaseModels:
        """The same at less cost: outlooks that are computed say nothing of `best`, which `top_two` alone asks for."""
        return replace(self, responses=replace(self.responses, left_open=None))

    @property
    def schema(self) -> CustomerSchema:
        """The customers it is for."""
        return self.responses.schema

    @property
    def process(self) -> RetentionProcess:
        """The rules."""
        return self.policy.process

    def outlooks(self, X: Floats, prior_offers: Sequence[int]) -> Foreseen:
        """Outlooks of customers, and which of them were tabled.

        Args:
            X: (m, F) canonical rows, as `RowEncoder` gives them.
            prior_offers: m numbers of other offers in the recent window.
        """
        places = self.places(X, prior_offers)
        unseen = [row for row, place in enumerate(places) if place < 0]
        computed = self.compute(X[unseen], [prior_offers[row] for row in unseen]) if unseen else None
        return self.foreseen(places, computed)

    def places(self, X: Floats, prior_offers: Sequence[int]) -> list[int]:
        """Where each customer's outlook is tabled, -1 for nowhere; arguments as in `outlooks`."""
        data, width, position = X.tobytes(), X.shape[1] * X.itemsize, self.known.position
        return [
            -1 if prior else position.get(features_digest(data[row * width : (row + 1) * width]), -1)
            for row, prior in enumerate(prior_offers)
        ]

    def foreseen(self, places: Sequence[int], computed: Outlooks | None) -> Foreseen:
        """The outlooks of m customers.

        Args:
            places: m, as of `places`.
            computed: Of those that are tabled nowhere, in order; None where there is nobody.
        """
        known = [place >= 0 for place in places]
        if computed is None:
            one = len(places) == 1  # most calls: a view costs less than a copy
            tabled = self.known.outlooks
            return Foreseen(tabled[places[0] : places[0] + 1] if one else tabled.take(places), known)
        if len(computed) == len(known):
            return Foreseen(computed, known)
        taken = self.known.outlooks.take(places, mode="clip")
        taken[np.logical_not(known)] = computed
        return Foreseen(taken, known)

    def compute(self, X: Floats, prior_offers: Sequence[int]) -> Outlooks:
        """Outlooks from the models alone; arguments as in `outlooks`."""
        prior, again = np.array(prior_offers, np.float64), len(self.process.recent_at) - 1
        left_open, tenure = self.responses.left_open, self.schema.tenure_index
        order = np.arange(len(X))
        if len(X) > CHUNK and tenure is not None:
            # Customers of one age share what the models say of it: they are asked about together.
            order = X[:, tenure].argsort(kind="stable")
            X, prior = X[order], prior[order]
        found = []
        for start in range(0, len(X), CHUNK):
            rows = X[start : start + CHUNK]
            made = outlooks(
                self.responses.responses(rows, prior[start : start + CHUNK], again_steps=again),
                policy_features(rows, self._scaling),
                self._eligibility.allowed(rows),
                self._one_offer,
                None if left_open is None else partial(left_open.best, rows),
            )
            n = len(made)
            made["logits"] = self.logits(made, [IDLE] * n, [0] * n, own_arms(made), 0.0)
            found.append(made)
        if len(found) == 1:
            return found[0]
        out = np.empty(len(X), self.known.outlooks.dtype)
        out[order] = np.concatenate([self.known.outlooks[:0], *found])
        return out

    def preferred(
        self,
        found: Outlooks,
        state: Sequence[int],
        past: Sequence[int],
        allowed: Sequence[Sequence[int]],
        budget_price: float,
    ) -> list[int]:
        """The arm that the policy finds best among those allowed, a customer each.

        Args:
            found: (m,) outlooks of the customers.
            state: m, of the process at the decision.
            past: m, indices into the process's `pasts`.
            allowed: m lists of the arms that may be decided, arm 0 first; the arms' own conditions hold for all.
            budget_price: λ ≥ 0.
        """
        if budget_price or any(state) or any(past) or self._restricted(found, allowed):
            logits = self.logits(found, state, past, allowed, budget_price).tolist()
        else:
            logits = found["logits"].tolist()
        return [max(arms, key=row.__getitem__) for arms, row in zip(allowed, logits, strict=True)]

    def _restricted(self, found: Outlooks, allowed: Sequence[Sequence[int]]) -> bool:
        """Whether anybody is refused an arm by more than its conditions; with a single arm nothing is preferred."""
        if all(len(arms) in (1, self.process.n_arms) for arms in allowed):
            return False
        own = found["allowed"].sum(axis=1).tolist()
        return any(len(arms) not in (1, count) for arms, count in zip(allowed, own, strict=True))

    def logits(
        self,
        found: Outlooks,
        state: Sequence[int],
        past: Sequence[int],
        allowed: Sequence[Sequence[int]],
        budget_price: float,
    ) -> npt.NDArray[np.float32]:
        """(m, K) logits of all arms, also of those that are not allowed; arguments as in `preferred`."""
        arms, counts = self.process.n_arms, len(self.process.pasts)
        situation = self._situations.take([s * counts + p for s, p in zip(state, past, strict=True)], axis=0)
        for row, each in enumerate(allowed):
            if len(each) < arms:
                situation[row, 1 - arms :] = [float(arm in each) for arm in range(1, arms)]
        views = self._views
        return self._network(observations(found, [views[each] for each in state], situation, budget_price))

    def _network(self, observed: Observations) -> npt.NDArray[np.float32]:
        """One product of a row and a matrix a customer: a product of all rows would round with their number."""
        x = observed[:, None]
        weights, bias = self._layers[0]
        first = np.matmul(x, weights)
        arms = self.process.n_arms
        out = first[..., -arms:]
        x = first[..., :-arms] + bias
        for weights, bias in self._layers[1:]:
            np.tanh(x, out=x)
            x = np.matmul(x, weights)
            x += bias
        x += out
        return np.asarray(x[:, 0])

    @cached_property
    def _layers(self) -> list[tuple[Observations, Observations]]:
        """Weights (in, out) and bias of every layer; the first also gives what skips the others."""
        (first, bias), *others = self.policy.layers
        both = np.ascontiguousarray(np.concatenate([first, self.policy.skip]).T)
        return [(both, bias), *((np.ascontiguousarray(weight.T), bias) for weight, bias in others)]

    @cached_property
    def _one_offer(self) -> OneOffer:
        return OneOffer(self.process, self.process.projections)

    @cached_property
    def _scaling(self) -> tuple[Floats, Floats]:
        return feature_scaling(self.schema)

    @cached_property
    def _eligibility(self) -> Eligibility:
        return Eligibility.of(self.process.menu, self.schema)

    @cached_property
    def _views(self) -> list[int]:
        views: list[int] = self.process.view.tolist()
        return views

    @cached_property
    def _situations(self) -> Observations:
        return situation_rows(self.process)


def own_arms(found: Outlooks) -> list[list[int]]:
    """The arms whose conditions each customer keeps, arm 0 first."""
    allowed = found["allowed"]
    if allowed.all():
        return [list(range(allowed.shape[1]))] * len(found)
    return [np.flatnonzero(row).tolist() for row in allowed]


def canonical(X: Floats) -> Floats:
    """Rows of a design matrix with one zero and one blank, so that equal customers have equal bytes."""
    return np.where(np.isnan(X), np.nan, X + 0.0)


def features_digest(row: bytes) -> bytes:
    """Names a customer's features: a digest of their numbers as they lie in memory."""
    return blake2b(row, digest_size=DIGEST_BYTES).digest()

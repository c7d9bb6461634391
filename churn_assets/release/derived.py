"""The forms of a release's models that decisions are made with, and their outlooks on known customers, as files.

Numbers in, numbers out: nothing here needs scikit-learn, torch or pandas. `derive` builds the forms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from churn_assets.customers.schema import CustomerSchema
from churn_assets.decision.observation import Observations, situation_rows
from churn_assets.decision.policy import DecisionPolicy
from churn_assets.decision.process import IDLE, Floats, Ints, RetentionProcess
from churn_assets.predictors.curves import Curves
from churn_assets.predictors.forest import Forest, Words
from churn_assets.predictors.grid import Grid
from churn_assets.release.outlook import OutlookForm, Outlooks, Responses, observations

DIGEST_BYTES = 16

CHUNK = 16
"""Customers whose model outputs are computed at once: what they need stays in the processor's cache."""


@dataclass(frozen=True, eq=False)
class EffectForm:
    """What contact does to churn: shifts of the logit, by penalty, that add up over features and the risk's own logit.

    Attributes:
        curves: Outputs are those of no contact, of accepting, of refusing and of waking, one a penalty each.
        slopes: (r,) on the centred logit of the risk, of all but the first those on the logit of churn without contact.
        centre: Of that logit.
        counts: Penalties of the four.
        baseline_size: How much of the shift without contact is believed.
        size: How much of the fitted effect is believed, a tree of segments.
    """

    curves: Curves
    slopes: Floats
    centre: float
    counts: tuple[int, int, int, int]
    baseline_size: float
    size: Forest


@dataclass(frozen=True, eq=False)
class Known:
    """Outlooks on the customers whom a release knows, for no other recent offers.

    Attributes:
        digests: (k, 16) uint8, `digest_of` their features.
        outlooks: (k,).
    """

    digests: npt.NDArray[np.uint8]
    outlooks: Outlooks

    @cached_property
    def position(self) -> dict[bytes, int]:
        """Where a customer's outlook stands."""
        data = self.digests.tobytes()
        return {data[i : i + DIGEST_BYTES]: i // DIGEST_BYTES for i in range(0, len(data), DIGEST_BYTES)}


@dataclass(frozen=True, eq=False)
class Derived:
    """All that deciding needs.

    Every result is the same to the last bit whoever else is asked about: sums run in one order, and the network is
    applied to one customer at a time.

    Attributes:
        schema: The customers it is for.
        policy: Process, observation and network.
        grid: The customers' features in order, then recent offers and the offer.
        boosting: Risk's trees, or None.
        spline: Risk's additive part, or None; the logit of the risk is the mean of the two.
        accept: Trees of the acceptance.
        effect: What contact does to churn.
        known: Customers whose outlooks are tabled.
    """

    schema: CustomerSchema
    policy: DecisionPolicy
    grid: Grid
    boosting: Forest | None
    spline: Curves | None
    accept: Forest
    effect: EffectForm
    known: Known

    @property
    def process(self) -> RetentionProcess:
        """The rules."""
        return self.policy.process

    def outlooks(self, X: Floats, prior_offers: Sequence[int]) -> tuple[Outlooks, list[bool]]:
        """Outlooks of customers, and which of them were tabled.

        Args:
            X: (m, F) canonical rows, as `RowEncoder` gives them.
            prior_offers: m numbers of other offers in the recent window.
        """
        data, width = X.tobytes(), X.shape[1] * X.itemsize
        position = self.known.position
        found = [
            -1 if prior else position.get(digest_of(data[row * width : (row + 1) * width]), -1)
            for row, prior in enumerate(prior_offers)
        ]
        known = [place >= 0 for place in found]
        if all(known):
            return self.known.outlooks.take(found), known
        unseen = [row for row, place in enumerate(found) if place < 0]
        if len(unseen) == len(found):
            return self.compute(X, prior_offers), known
        outlooks = self.known.outlooks.take(found)
        outlooks[unseen] = self.compute(X[unseen], [prior_offers[row] for row in unseen])
        return outlooks, known

    def compute(self, X: Floats, prior_offers: Sequence[int]) -> Outlooks:
        """Outlooks from the models alone; arguments as in `outlooks`."""
        prior, arms = np.array(prior_offers, np.float64), list(range(self.process.n_arms))
        found = []
        for start in range(0, len(X), CHUNK):
            rows = slice(start, start + CHUNK)
            outlooks = self._form.of(self.responses(X[rows], prior[rows]))
            n = len(outlooks)
            outlooks["logits"] = self.logits(outlooks, [IDLE] * n, [0] * n, [arms] * n, 0.0)
            found.append(outlooks)
        return np.concatenate(found) if len(found) > 1 else found[0]

    def responses(self, X: Floats, prior: Floats) -> Responses:
        """Model outputs of customers by month; arguments as in `outlooks`."""
        grid, process, shape = self.grid, self.process, (len(X), self.process.horizon)
        cells = grid.cells(X)
        within = grid.within(cells, np.where(np.isnan(X), 0.0, X))
        months = np.arange(process.horizon) * process.step_months
        tenure, still = self._tenure, self._still
        fixed, fixed_within = cells[:, still], within[:, still]
        if tenure is None:  # nobody ages: one month is like another
            ageing = aged = None
        else:
            later = X[:, tenure, None] + months
            ageing = grid.cells_of(tenure, later)
            aged = grid.within(ageing, later)

        def leaves(forest: Forest) -> Words:
            left = forest.left_by(fixed)[:, None]
            return left if ageing is None else left & forest.reachable.take(ageing, axis=0)

        def lines(curves: Curves) -> Floats:
            total = curves.total(fixed, fixed_within)[:, None]
            return total if ageing is None or aged is None else total + curves.at(ageing, aged)

        scored = np.broadcast_to(self._risk(leaves, lines), shape)
        risk, accepted, refused = self._consequences(
            scored, lines(self.effect.curves), leaves(self.effect.size)
        )
        carried = months < process.recent_window_months
        recent = (prior[:, None] * carried)[:, :, None] + np.arange(2.0)
        reached = leaves(self.accept)[:, :, None] & self.accept.reachable.take(
            grid.cells_of(len(self.schema.features), recent), axis=0
        )
        acceptance = _expit(self.accept.total(reached[:, :, :, None] & self._offered))
        return Responses(
            price=X[:, self._price],
            features=self._features(X),
            risk=risk,
            churn_if_accepted=accepted,
            churn_if_refused=refused,
            acceptance=acceptance,
        )

    def preferred(
        self,
        outlooks: Outlooks,
        status: Sequence[int],
        used: Sequence[int],
        allowed: Sequence[Sequence[int]],
        budget_price: float,
    ) -> list[int]:
        """The arm that the policy finds best among those allowed, a customer each.

        Args:
            outlooks: (m,) of the customers.
            status: m, of the process at the decision.
            used: m, offers used.
            allowed: m lists of the arms that may be decided, arm 0 first.
            budget_price: λ ≥ 0.
        """
        unrestricted = (1, self.process.n_arms)  # with a single arm there is nothing to prefer
        if budget_price or any(status) or any(used) or any(len(arms) not in unrestricted for arms in allowed):
            logits = self.logits(outlooks, status, used, allowed, budget_price).tolist()
        else:
            logits = outlooks["logits"].tolist()
        return [max(arms, key=row.__getitem__) for arms, row in zip(allowed, logits, strict=True)]

    def logits(
        self,
        outlooks: Outlooks,
        status: Sequence[int],
        used: Sequence[int],
        allowed: Sequence[Sequence[int]],
        budget_price: float,
    ) -> npt.NDArray[np.float32]:
        """(m, K) logits of all arms, also of those that are not allowed; arguments as in `preferred`."""
        process, arms = self.process, self.process.n_arms
        counts = process.max_offers + 1
        situation = self._situations.take([s * counts + u for s, u in zip(status, used, strict=True)], axis=0)
        for row, each in enumerate(allowed):
            if len(each) < arms:
                situation[row, 4:] = [float(arm in each) for arm in range(1, arms)]
        views = self._views
        observed = observations(outlooks, [views[each] for each in status], situation, budget_price, process)
        return self._network(observed)

    def _risk(self, leaves: Callable[[Forest], Words], lines: Callable[[Curves], Floats]) -> Floats:
        parts = []
        if self.spline is not None:
            parts.append(lines(self.spline)[..., 0])
        if self.boosting is not None:
            parts.append(self.boosting.total(leaves(self.boosting)))
        logits = [_between(-_LARGEST_LOGIT, part, _LARGEST_LOGIT) for part in parts]
        return _expit(logits[0] if len(logits) == 1 else (logits[0] + logits[1]) / 2)

    def _consequences(self, scored: Floats, columns: Floats, segment: Words) -> tuple[Floats, Floats, Floats]:
        """(n, T) churn without contact, of those who accept and of those who refuse: `EffectModel.consequences`."""
        effect = self.effect
        idle, first, second, _ = effect.counts
        base = _logit(scored)
        shifts = columns[..., :idle] + (base - effect.centre)[..., None] * effect.slopes[:idle]
        unmoved = _mean(_expit(shifts + base[..., None]))
        risk = _between(1e-6, scored + effect.baseline_size * (unmoved - scored), 1 - 1e-6)
        base = _logit(risk)
        shifts = columns[..., idle:] + (base - effect.centre)[..., None] * effect.slopes[idle:]
        churn = _expit(shifts[..., : first + second] + base[..., None])
        woken = _mean(_expit(shifts[..., first + second :]))
        accepted, shifted = _mean(churn[..., :first]), _mean(churn[..., first:])
        refused = (shifted + risk + (1 - risk) * woken) / 2
        size = effect.size.total(segment)
        if_accepted, if_refused = (
            _between(1e-6, risk + size * (each - risk), 1 - 1e-6) for each in (accepted, refused)
        )
        return risk, if_accepted, if_refused

    def _features(self, X: Floats) -> Observations:
        """(n, F) as `policy_features`."""
        centre, scale = self._standard
        standardised = (X - centre) / scale
        return _between(-10.0, np.where(np.isnan(X), 0.0, standardised), 10.0).astype(np.float32)

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
    def _form(self) -> OutlookForm:
        return OutlookForm(self.process, len(self.schema.features))

    @cached_property
    def _standard(self) -> tuple[Floats, Floats]:
        """(F,) what is taken from every feature, and what it is divided by, before the policy sees it."""
        numeric = [feature.kind == "numeric" for feature in self.schema.features]
        scale = [
            feature.std or 1.0 if feature.kind == "numeric" else max(len(feature.categories) - 1, 1)
            for feature in self.schema.features
        ]
        mean = [feature.mean for feature in self.schema.features]
        return np.where(numeric, mean, 0.0), np.array(scale, np.float64)

    @cached_property
    def _views(self) -> list[int]:
        views: list[int] = self.process.view.tolist()
        return views

    @cached_property
    def _situations(self) -> Observations:
        return situation_rows(self.process)

    @cached_property
    def _offered(self) -> Words:
        """(K - 1, trees) leaves of the acceptance that each offer leaves."""
        offers = np.array(self.process.menu[1:], np.float64)
        return self.accept.reachable.take(self.grid.cells_of(len(self.schema.features) + 1, offers), axis=0)

    @cached_property
    def _tenure(self) -> int | None:
        return self.schema.tenure_index

    @cached_property
    def _still(self) -> Ints:
        """Features that do not change with time."""
        return np.array([i for i in range(len(self.schema.features)) if i != self._tenure])

    @cached_property
    def _price(self) -> int:
        return self.schema.names.index(self.schema.monthly_revenue)


_LARGEST_LOGIT = float(np.log(1 - 1e-9) - np.log1p(-(1 - 1e-9)))
"""Beyond it the risk model does not go."""


_NO_OVERFLOW = 700.0


def canonical(X: Floats) -> Floats:
    """Rows of a design matrix with one zero and one blank, so that equal customers have equal bytes."""
    return np.where(np.isnan(X), np.nan, X + 0.0)


def digest_of(row: bytes) -> bytes:
    """Names a customer's features: a digest of their numbers as they lie in memory."""
    return blake2b(row, digest_size=DIGEST_BYTES).digest()


def _logit(probability: Floats) -> Floats:
    clipped = _between(1e-6, probability, 1 - 1e-6)
    return np.asarray(np.log(clipped / (1 - clipped)))


def _expit(logit: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(np.minimum(-logit, _NO_OVERFLOW))))


def _between(least: float, values: Floats, most: float) -> Floats:
    """As `np.clip`, which for a few numbers is far slower."""
    return np.asarray(np.minimum(np.maximum(values, least), most))


def _mean(values: Floats) -> Floats:
    """Over the last axis, in one order."""
    total = values[..., 0]
    for each in range(1, values.shape[-1]):
        total = total + values[..., each]
    return np.asarray(total / values.shape[-1])

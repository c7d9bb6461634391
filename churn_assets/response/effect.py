"""`EffectModel`: what contact with each arm does to churn in the label window. Fitting and predicting only.

Baseline. Churn without contact is a ridge-penalised shift of the logit of the risk, fitted on the log's rows without
contact. The log is newer than the labels of a customer table: beside a risk that is no longer true, the effects would
have to explain what contact has no part in. As much of the shift is believed as shows on customers left out of the fit;
where it does not certainly show, the baseline is the risk. Where the log follows its customers, those who are left are
more loyal than their features show (Vaupel & Yashin 1985): later decisions would tell of effects that are none. As much
as rows without contact show of that is in the fit, and is no part of what is said of customers decided for anew.

Effects. No form is assumed: candidates are fitted (`mediated`, where an offer acts through who accepts it; `direct`,
linear and boosted, which ask nobody about acceptance) and stacked by what they explain on customers left out (`stack`).
The effect of contact is what the propensities identify. How it splits between those who accept and those who refuse is
an assumption, for acceptance is the customer's choice; only what an offer costs depends on it. What the mediated form
says of either is kept, everything else is the same for both.

Evidence. The whole stack is fitted again without each cross-fit group, and what it says of that group compared with
what the propensities identify (`realised_size`). Less than all of it is believed where less shows, and nothing where it
does not certainly show: then every effect is zero. Of another outcome than leaving, effects that are alike for
everybody stand among the candidates, and are believed alone where they show more certainly than all together and
nothing shows that customers differ: spend tells little of one customer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from churn_assets.arms import Menu
from churn_assets.customers.schema import CustomerSchema
from churn_assets.customers.table import CustomerTable
from churn_assets.gates.estimates import Estimate
from churn_assets.offers.as_of import months_followed, rows_before
from churn_assets.offers.log import OfferLog
from churn_assets.predictors.conversion import additive_curves
from churn_assets.predictors.grid import Grid, edges_of, union
from churn_assets.predictors.probability import between, logit
from churn_assets.response.accept import cross_fit_groups
from churn_assets.response.basis import EffectBasis
from churn_assets.response.config import EffectModelConfig
from churn_assets.response.direct import Boosted, LogRows, RidgeSums, linear_effects
from churn_assets.response.evidence import realised_size, score_test, slope, specification_terms
from churn_assets.response.left_open import MEANS, LeftOpen
from churn_assets.response.mediated import Baseline, Mediated, ridge_shift, risk_of_survivors, shifted_mean
from churn_assets.response.persistence import Persistence, persistence, windows_of
from churn_assets.response.predictor import LEAST, EffectPredictor, as_tried
from churn_assets.response.stack import Stack
from churn_assets.response.uncertainty import Uncertainty
from churn_assets.risk.model import RiskModel

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

ACCEPTING, REFUSING = "mediated, accepting", "mediated, refusing"
MEDIATED = (ACCEPTING, REFUSING)
BOOSTED, ALIKE = "boosted", "alike for everybody"
DIFFERS = 0.01
"""p below which one effect for everybody is not believed alone: on more customers than its gate has, and less sure."""


@dataclass(frozen=True)
class DirectEffect:
    """Shares of would-be churners and stayers whose churn contact changes, by arm; A - 1 arms that contact.

    Attributes:
        kept: (A - 1, p) of would-be churners, by the columns of the basis.
        driven: (A - 1, p) of would-be stayers.
        accepting: (2, A - 1) of either, beside those, among customers who accept.
    """

    kept: Floats
    driven: Floats
    accepting: Floats

    @classmethod
    def of(cls, coefficients: Floats) -> DirectEffect:
        """From coefficients (A - 1, 2 p + 2) of `LogRows.shared`, then of `accepting`."""
        columns = (coefficients.shape[1] - 2) // 2
        kept, driven, accepting = np.split(coefficients, [columns, 2 * columns], axis=1)
        return cls(kept, driven, accepting.T.copy())

    def plus(self, other: DirectEffect, weight: float) -> DirectEffect:
        """With so much of another added."""
        return DirectEffect(
            self.kept + weight * other.kept,
            self.driven + weight * other.driven,
            self.accepting + weight * other.accepting,
        )


@dataclass(frozen=True, eq=False)
class EffectModel:
    """How contact with each arm changes P(churn in the label window).

    Attributes:
        schema: The customer features, in the order of the columns of X.
        menu: The arms of the log it was trained on, no contact first.
        baseline: Churn without contact.
        mediated: The candidate that acts through acceptance, as fitted.
        direct: The linear candidates, weighed, and the corrections.
        boosted: The boosted candidate, weighed.
        weights: How much of each candidate is believed before `size`.
        size: How much of all that is believed, 0 to 1.
        overall: How much of it shows on customers left out.
        evidence_z: Standard errors of evidence that `overall` had to show.
        uncertainty: What the log leaves open about effects.
        persistence: How customers who were kept go on, where the log follows them; None where it does not.
        apart: The refits without each cross-fit group, believed as the whole; none in a model that was stored before
            they were kept.
    """

    schema: CustomerSchema
    menu: Menu
    baseline: Baseline
    mediated: Mediated
    direct: DirectEffect
    boosted: Boosted
    weights: Mapping[str, float]
    size: float
    overall: Estimate
    evidence_z: float
    uncertainty: Uncertainty
    persistence: Persistence | None = None
    apart: tuple[EffectModel, ...] = ()

    @classmethod
    def fit(
        cls,
        table: CustomerTable,
        log: OfferLog,
        risk: Floats,
        acceptance: NDArray[np.floating[Any]],
        config: EffectModelConfig,
    ) -> EffectModel:
        """Fits on the rows of customers that are not held out.

        Args:
            table: The customers; every customer of the log is in it.
            log: Past offers with the propensity of every arm.
            risk: (n,) out-of-fold churn risk of each log row's customer.
            acceptance: (n, A) out-of-fold acceptance of every arm on each log row, any float type.
            config: Penalties, basis, evidence asked for.

        Raises:
            RuntimeError: A regression did not converge.
            ConversionError: The arrays that predict answer otherwise than the fits.
        """
        fitting = _Fitting.of(table, log, risk, acceptance, config)
        candidates, trees = fitting.left_out()
        common: tuple[DirectEffect, ...] = ()
        if log.of_outcome:
            alike, common = fitting.alike()
            candidates[ALIKE] = alike
        given = given_shares(log.menu, table.price)
        forms = [MEDIATED, *((name,) for name in candidates if name not in MEDIATED)]
        seen, customer = fitting.seen, fitting.customer
        honest, stacks = np.zeros_like(seen.acceptance), []
        for each in range(seen.groups):
            held = seen.group == each
            parts = {name: effects[held] for name, effects in candidates.items()}
            stacks.append(Stack.fit(seen, candidates, given, ~held, forms))
            honest[held] = stacks[-1].effects(seen.risk[held], parts)
        overall = fitting.shown(honest)
        stacks.append(Stack.fit(seen, candidates, given, np.ones(len(customer), bool), forms))
        trees = [*trees, fitting.boosted(np.arange(len(customer)))]
        believed = [fitting.stacked(stack, common, group) for group, stack in enumerate(stacks)]
        if (
            log.of_outcome
            and (shown := fitting.shown(alike)).z > overall.z
            and not fitting.differs(alike, given)
        ):
            overall, honest = shown, alike
            believed = [(dict.fromkeys(candidates, 0.0) | {ALIKE: 1.0}, each) for each in common]
        size = believed_size(overall, config.evidence_z)
        uncertainty = Uncertainty.fit(table.schema, fitting.X, seen, size * honest, customer, config)
        *apart, model = [
            cls(
                table.schema,
                log.menu,
                fitting.baselines[group],
                fitting.mediated[group],
                direct,
                trees[group].times(weights[BOOSTED]),
                weights,
                size,
                overall,
                config.evidence_z,
                uncertainty,
            )
            for group, (weights, direct) in enumerate(believed)
        ]
        model.converted(fitting.X)
        return replace(model, apart=tuple(apart))

    @cached_property
    def predictor(self) -> EffectPredictor:
        """What predicts: plain arrays on a grid.

        Raises:
            ConversionError: They answer otherwise on made-up rows.
        """
        return self.converted(np.empty((0, len(self.schema.names))))

    def converted(self, X: Floats) -> EffectPredictor:
        """As `predictor`, compared with the regressions on the rows X (n, F) too."""
        basis, mediated, direct = self.mediated.basis, self.mediated, self.direct
        shares = (self.size * direct.kept, self.size * direct.driven)
        parts = (self.baseline.shifts, mediated.accepted, mediated.refused, mediated.woken)
        coefficients = np.concatenate([parts[0], *shares, *parts[1:]])
        # A value at a knot lies in the bin above it.
        bends = Grid(edges_of([np.nextafter(knots, -np.inf) for knots in basis.knots]), basis.levels)
        grid = union([bends, self.boosted.grid])
        curves = additive_curves(_shifts(basis, coefficients), 1, grid, X, "effect_model, shifts")
        boosted = self.boosted.times(self.size)
        return EffectPredictor(
            grid=grid,
            curves=curves,
            slopes=coefficients[:, 1],
            centre=basis.risk_centre,
            counts=(len(parts[0]), len(parts[1]), len(parts[2]), len(parts[3])),
            baseline_size=self.baseline.size,
            mediated=(self.size * self.weights[ACCEPTING], self.size * self.weights[REFUSING]),
            accepting=self.size * direct.accepting,
            boosted=boosted.forest.on(boosted.grid, grid),
            menu=self.menu,
        )

    def consequences(self, X: Floats, risk: Floats) -> tuple[Floats, Floats, Floats]:
        """P(churn in the label window) without contact, of a contacted customer who accepts, and of one who refuses.

        Args:
            X: (n, F) customer features, columns in the order of `schema`; NaN for a blank.
            risk: (n,) churn risk by the risk model.

        Returns:
            (n,) churn without contact, (n, A - 1) if each arm that contacts is accepted and if it is refused,
            strictly within (0, 1).

        Raises:
            ValueError: X has another number of columns than the schema.
        """
        if X.shape[1] != len(self.schema.names):
            raise ValueError(f"effect_model: found {X.shape[1]} features, expected {len(self.schema.names)}")
        return self.predictor.consequences(X, risk)

    def effects(self, X: Floats, risk: Floats, acceptance: Floats) -> Floats:
        """(n, A) change in churn by contact with each arm, given (n, A) acceptance; column 0 is 0."""
        return intention_to_treat(*self.consequences(X, risk), acceptance)

    def interval(
        self, X: Floats, risk: Floats, acceptance: Floats, level: float = 0.95
    ) -> tuple[Floats, Floats]:
        """Ends (n, A) of the interval of each effect; both 0 without contact. Arguments as of `effects`, and its level.

        Of the mean effect of an arm on customers with these features, not of what one customer will do. Normal, as wide
        as the draws spread, and nowhere beyond what brings churn to 0 or 1.

        Raises:
            ValueError: The model was stored before there were draws.
        """
        if not self.n_draws:
            raise ValueError(
                "effect_model: found no draws, expected some: it is older than they are; train it anew"
            )
        churn, accepted, refused = self.consequences(X, risk)
        effects = intention_to_treat(churn, accepted, refused, acceptance)
        columns = self.mediated.basis.transform(X, logit(risk, LEAST))
        spread = self.uncertainty.deviations(X, columns, risk, acceptance)
        half = NormalDist().inv_cdf((1 + level) / 2) * spread
        return np.maximum(effects - half, -churn[:, None]), np.minimum(effects + half, 1 - churn[:, None])

    def without(self, group: int) -> EffectModel:
        """The refit that never saw a cross-fit group; the model itself for -1, held out, or where none was kept."""
        return self.apart[group] if group >= 0 and self.apart else self

    def following(self, table: CustomerTable, log: OfferLog, risk: RiskModel) -> EffectModel:
        """The model with what later windows of its log show."""
        if log.of_outcome:  # who comes again is no question of who is left
            return self
        window = self.schema.label_window_months
        return replace(self, persistence=persistence(windows_of(table, log, risk, self), window))

    @property
    def n_draws(self) -> int:
        """How many models `drawn` gives."""
        return len(self.uncertainty.draws)

    def left_open(self, menu: Menu) -> LeftOpen | None:
        """What the log leaves open about the effects of a menu's arms; None for a model older than its draws.

        Raises:
            ArmError: An arm's family was never tried.
        """
        parted, draws, tried = self.uncertainty.parted, self.uncertainty.draws, len(self.menu) - 1
        if not len(draws):
            return None
        shares = np.stack([as_tried(arm, self.menu) for arm in menu.arms[1:]])
        common, own, others = np.split(draws, [MEANS, MEANS * (1 + tried)], axis=1)
        of_arms = np.einsum("ka,maf->mkf", shares, own.reshape(len(draws), tried, MEANS))
        return LeftOpen(self.mediated.basis, parted.grid, parted.forest, common[:, None] + of_arms, others)

    def drawn(self, number: int) -> EffectModel:
        """One of the models, 0 to `config.draws` - 1, that the log leaves possible; their mean is about this one."""
        kept, driven, accepting, trees = self.uncertainty.split(number, len(self.menu) - 1)
        direct = DirectEffect(
            self.size * self.direct.kept + kept,
            self.size * self.direct.driven + driven,
            self.size * self.direct.accepting + accepting,
        )
        weights = {name: self.size * weight for name, weight in self.weights.items()}
        return replace(
            self, direct=direct, boosted=self.boosted.times(self.size).plus(trees), weights=weights, size=1.0
        )


@dataclass(frozen=True, eq=False)
class _Fitting:
    """The log's rows, made ready, and every candidate: without each of the cross-fit groups, and last of all rows."""

    schema: CustomerSchema
    config: EffectModelConfig
    customer: Ints
    X: Floats
    baselines: tuple[Baseline, ...]
    mediated: tuple[Mediated, ...]
    seen: LogRows
    churned: Floats
    accepted: Bools
    by_acceptance: Mapping[str, Floats]

    @classmethod
    def of(
        cls,
        table: CustomerTable,
        log: OfferLog,
        risk: Floats,
        acceptance: NDArray[np.floating[Any]],
        config: EffectModelConfig,
    ) -> _Fitting:
        customer = log.positions(table.ids)
        group = cross_fit_groups(table, customer, config.cross_fits)
        rows = np.flatnonzero(group >= 0)
        followed = months_followed(log, table)
        known, row = rows_before(log, table, followed)
        survived = followed[rows] / table.schema.label_window_months
        customer, group, risk = log.clusters(customer)[rows], group[rows], risk[rows]
        X, q = known.X[row[rows]], acceptance[rows].astype(np.float64)
        churned, accepted = log.churned[rows].astype(np.float64), log.accepted[rows] > 0
        arm, propensities = log.arm[rows], log.propensities[rows]
        scored = logit(risk, LEAST)
        basis = EffectBasis.fit(table.schema, X, scored, config.knots)
        survival = _survival(basis.transform(X, scored), risk, survived, churned, arm == 0, config)
        risk = risk_of_survivors(risk, survived, survival, basis.risk_centre)
        scored = logit(risk, LEAST)
        baselines, churn = _baselines(basis, X, risk, churned, arm == 0, customer, group, config)
        baselines = tuple(replace(each, survival=survival) for each in baselines)
        columns = basis.transform(X, logit(churn, LEAST))
        by_acceptance, mediated = {part: np.zeros_like(q) for part in MEDIATED}, []
        for left_out in range(config.cross_fits + 1):
            held = group == left_out
            refused = (arm > 0) & ~accepted & ~held
            fit = Mediated.fit(basis, columns, churn, churned, accepted & ~held, refused, config)
            mediated.append(fit)
            if_accepted, if_refused = (each[:, None] for each in fit.churn(columns[held], churn[held]))
            chance, idle = q[held, 1:], churn[held, None]
            by_acceptance[ACCEPTING][held, 1:] = chance * (if_accepted - idle)
            by_acceptance[REFUSING][held, 1:] = (1 - chance) * (if_refused - idle)
        # As the mean given the customer anything will do, for arms are centred by their propensities: the closer it is,
        # the less noise is left.
        effects = np.sum(list(by_acceptance.values()), axis=0)
        residual = churned - churn - (propensities * effects).sum(axis=1)
        at_risk = basis.transform(X, scored)
        seen = LogRows(at_risk, risk, churn, q, arm, propensities, residual, group, config.cross_fits)
        parts = (tuple(mediated), seen, churned, accepted, by_acceptance)
        return cls(table.schema, config, customer, X, baselines, *parts)

    @cached_property
    def sums(self) -> RidgeSums:
        return RidgeSums(self.seen)

    @property
    def linear(self) -> dict[str, tuple[float, float]]:
        """Penalties of the linear candidates, by name."""
        return {
            f"linear, {common:g} and {own:g}": (common, own) for common, own in self.config.linear_penalties
        }

    def shown(self, effects: Floats) -> Estimate:
        """How large effects (n, A), each by a fit without its customer, really are."""
        seen = self.seen
        return realised_size(self.churned, seen.arm, seen.propensities, seen.churn, effects, self.customer)

    def stacked(
        self, stack: Stack, alike: tuple[DirectEffect, ...], group: int
    ) -> tuple[Mapping[str, float], DirectEffect]:
        """The candidates' weights, and the linear ones, the corrections and one for everybody, if any, as one.

        Without a group; its number past the last: of all.
        """
        without = group if group < self.seen.groups else None
        weighed = [
            stack.weights[name] * self.sums.coefficients(without, *penalties)
            for name, penalties in self.linear.items()
        ]
        direct = DirectEffect.of(np.sum(weighed, axis=0))
        kept, driven = stack.shares
        direct.kept[:, 0] += kept
        direct.driven[:, 0] += driven
        return stack.weights, direct.plus(alike[group], stack.weights[ALIKE]) if alike else direct

    def alike(self) -> tuple[Floats, tuple[DirectEffect, ...]]:
        """(n, A) one effect an arm for everybody, each by the fit without its cross-fit group; and every fit."""
        seen = self.seen
        gram = np.zeros((seen.groups, seen.arms, seen.arms))
        moment = np.zeros((seen.groups, seen.arms))
        for group in range(seen.groups):
            rows = np.flatnonzero(seen.group == group)
            chances = seen.chances(rows)
            gram[group], moment[group] = chances.T @ chances, chances.T @ seen.residual[rows]

        found, fits = np.zeros_like(seen.acceptance), []
        for group in range(seen.groups + 1):
            others = np.arange(seen.groups) != group
            arms = np.linalg.lstsq(gram[others].sum(axis=0), moment[others].sum(axis=0))[0]
            found[seen.group == group, 1:] = arms
            shares = np.zeros((seen.arms, seen.columns.shape[1]))
            shares[:, 0] = arms
            fits.append(DirectEffect(shares, shares.copy(), np.zeros((2, seen.arms))))
        return found, tuple(fits)

    def differs(self, effects: Floats, given: Floats) -> bool:
        """Whether the effects (n, A) of one for everybody leave something that contact, or what is given, does by risk.

        A large log shows one for everybody beyond doubt, and that customers differ as well.
        """
        seen = self.seen
        terms = specification_terms(seen.arm, seen.propensities, seen.churn, given)
        residual = self.churned - seen.churn - effects[np.arange(len(seen.arm)), seen.arm]
        return score_test(terms, residual, self.customer).p_value < DIFFERS

    def boosted(self, rows: Ints) -> Boosted:
        """That candidate, fitted on some of the rows."""
        return Boosted.fit(self.schema, self.X, self.seen, rows, self.config)

    def left_out(self) -> tuple[dict[str, Floats], list[Boosted]]:
        """(n, A) effects by candidate, each row's by a fit without its customer; and the trees of these fits."""
        seen, trees = self.seen, []
        found = {name: np.zeros_like(seen.acceptance) for name in (BOOSTED, *self.linear)}
        for group in range(seen.groups):
            held, others = np.flatnonzero(seen.group == group), np.flatnonzero(seen.group != group)
            trees.append(self.boosted(others))
            found[BOOSTED][held] = trees[-1].effects(self.X[held], seen.arms)
            fits = np.stack([self.sums.coefficients(group, *penalties) for penalties in self.linear.values()])
            for name, effects in zip(self.linear, linear_effects(seen, fits, held), strict=True):
                found[name][held] = effects
        return {**self.by_acceptance, **found}, trees


def _survival(
    columns: Floats, risk: Floats, survived: Floats, churned: Floats, idle: Bools, config: EffectModelConfig
) -> tuple[float, float]:
    """`Baseline.survival`, as far as rows without contact show it beside the customers' features."""
    if not survived.any():
        return 0.0, 0.0
    longer = np.log1p(survived)[:, None] * np.stack([np.ones_like(risk), columns[:, 1]], axis=1)
    design, scored = np.concatenate([columns, longer], axis=1)[idle], logit(risk, LEAST)[idle]
    shifts = [ridge_shift(design, scored, churned[idle], penalty) for penalty in config.baseline_penalties]
    alone, by_risk = np.mean(shifts, axis=0)[-2:]
    return float(alone), float(by_risk)


def _baselines(
    basis: EffectBasis,
    X: Floats,
    risk: Floats,
    churned: Floats,
    idle: Bools,
    customer: Ints,
    group: Ints,
    config: EffectModelConfig,
) -> tuple[tuple[Baseline, ...], Floats]:
    """Churn without contact without each group and of all, and (n,) as it is believed of each by one without them."""
    scored = logit(risk, LEAST)
    columns = basis.transform(X, scored)

    def shifts(who: Bools) -> Floats:
        parts = (columns[who], scored[who], churned[who])
        return np.stack([ridge_shift(*parts, penalty) for penalty in config.baseline_penalties])

    shifted, fits = np.empty(len(risk)), []
    for left_out in range(config.cross_fits + 1):
        held = group == left_out
        fits.append(shifts(idle & ~held))
        shifted[held] = shifted_mean(columns[held], fits[-1], scored[held])
    realised = slope((shifted - risk)[idle], (churned - risk)[idle], customer[idle])
    believed = min(realised.value, 1.0) if realised.z >= config.evidence_z else 0.0
    churn = between(LEAST, risk + believed * (shifted - risk), 1 - LEAST)
    return tuple(Baseline(basis, each, realised, believed) for each in fits), churn


def believed_size(overall: Estimate, evidence_z: float) -> float:
    """How much of the stack is believed: what shows of it, all of it at most; nothing without evidence."""
    return min(overall.value, 1.0) if overall.z >= evidence_z else 0.0


def intention_to_treat(baseline: Floats, accepted: Floats, refused: Floats, acceptance: Floats) -> Floats:
    """(n, A) effects of contact by churn without (n,), if accepted or refused (n, A - 1 or 1), acceptance (n, A)."""
    q = acceptance[:, 1:]
    effects = np.zeros_like(acceptance)
    effects[:, 1:] = q * accepted + (1 - q) * refused - baseline[:, None]
    return effects


def given_shares(menu: Menu, price: Floats) -> Floats:
    """(A,) the most that each arm gives, as a share of six months of the mean customer's price."""
    return np.asarray((menu.commitment(price) / (6 * price[:, None])).mean(axis=0))


def _shifts(basis: EffectBasis, coefficients: Floats) -> Callable[[Floats], Floats]:
    """Sums at the centre of the risk, where its own logit adds nothing."""
    return lambda X: basis.transform(X, np.full(len(X), basis.risk_centre)) @ coefficients.T

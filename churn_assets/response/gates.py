"""What the response models must prove, measured on the models as loaded from the store. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from churn_assets.customers.table import CustomerTable
from churn_assets.gates.estimates import Estimate, clustered, clustered_mean
from churn_assets.gates.metrics import (
    auc,
    auc_estimate,
    calibration_error,
    calibration_noise,
    calibration_rows,
    log_losses,
    roc_rows,
)
from churn_assets.gates.noise import (
    LEAST_CHANCE,
    POWER,
    NoiseBand,
    gate_beyond_noise,
    gate_no_worse,
    seen_deviation,
)
from churn_assets.gates.report import Gate, Outcome, no_champion
from churn_assets.offers.as_of import months_followed, rows_before
from churn_assets.offers.log import OfferLog
from churn_assets.predictors.probability import logit
from churn_assets.response.accept import AcceptModel
from churn_assets.response.config import AcceptGates, EffectGates
from churn_assets.response.direct import LogRows
from churn_assets.response.effect import EffectModel, believed_size, given_shares
from churn_assets.response.evidence import (
    Misspecification,
    doubly_robust_effects,
    effect_losses,
    over_eligible,
    realised_size,
    score_test,
    specification_terms,
)
from churn_assets.response.predictor import LEAST
from churn_assets.response.uncertainty import Cells
from churn_assets.risk.model import RiskModel

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

NOISE_SEED = 20_261_122
"""Of the simulated noise floor: the same verdict every time the same model is checked."""

MONOTONE_GRID = 31
"""Sizes tried of each family between none and the largest of the log."""

PROBED_ROWS = 300
"""Customers on whom monotonicity is tried."""


@dataclass(frozen=True)
class HeldOutOffers:
    """The log's rows about held-out customers, with what the gates read of them.

    Attributes:
        log: The rows.
        customer: (n,) whose rows hang together: a number for each customer, or for those of one draw.
        X: (n, F) customer features.
        survived: (n,) label windows since the customer's first decision, where the log follows its customers; else 0.
    """

    log: OfferLog
    customer: NDArray[np.int64]
    X: Floats
    survived: Floats

    @classmethod
    def of(cls, table: CustomerTable, log: OfferLog) -> HeldOutOffers:
        """Picks the rows whose customers no model was fitted on."""
        customer = log.positions(table.ids)
        held_out = table.held_out[customer]
        followed = months_followed(log, table)
        known, row = rows_before(log, table, followed)
        survived = followed[held_out] / table.schema.label_window_months
        return cls(log.where(held_out), log.clusters(customer)[held_out], known.X[row[held_out]], survived)

    def where(self, rows: NDArray[np.bool_]) -> HeldOutOffers:
        """The rows that a mask (n,) keeps."""
        return HeldOutOffers(self.log.where(rows), self.customer[rows], self.X[rows], self.survived[rows])


def held_out_offers(customers: CustomerTable, offer_log: OfferLog) -> HeldOutOffers:
    """What every gate is measured on."""
    return HeldOutOffers.of(customers, offer_log)


def acceptance(model: AcceptModel, offers: HeldOutOffers, gates: AcceptGates) -> Outcome:
    """Ranks and forecasts acceptance of held-out customers, overall and by arm; nobody's, where nobody was asked."""
    contacted = offers.log.arm > 0
    accepted = offers.log.accepted[contacted]
    forecast = _forecast(model, offers)[contacted]
    if _nobody_asked(offers):
        return Outcome((Gate("largest", float(forecast.max()), "<=", LEAST, "there was nothing to accept"),))
    arm, customer = offers.log.arm[contacted], offers.customer[contacted]
    floor = calibration_noise(forecast, np.random.default_rng(NOISE_SEED))
    seldom, error = float(np.quantile(floor, 0.95)), calibration_error(accepted, forecast)
    seen = gates.max_calibration_ratio * seldom + NormalDist().inv_cdf(POWER) * float(floor.std())
    rows: list[dict[str, Any]] = []
    for index, each in enumerate(offers.log.menu):
        chosen = arm == index
        if not chosen.any():
            continue
        gap = clustered_mean(accepted[chosen] - forecast[chosen], customer[chosen])
        rows.append(
            {
                "arm": each.id,
                "label": each.label,
                "offers": int(chosen.sum()),
                "observed": float(accepted[chosen].mean()),
                "predicted": float(forecast[chosen].mean()),
                "deviation": gap.z,
                "auc": auc(accepted[chosen], forecast[chosen]),
            }
        )
    worst = max(rows, key=lambda row: abs(row["deviation"]))
    ranking = auc_estimate(accepted, forecast, customer)
    band = NoiseBand.of(ranking.standard_error, LEAST_CHANCE)
    rate = np.zeros(len(offers.log.menu))
    for row in rows:
        rate[offers.log.menu.position[row["arm"]]] = row["observed"]
    excess = clustered_mean(log_losses(accepted, forecast) - log_losses(accepted, rate[arm]), customer)
    return Outcome(
        (
            gate_beyond_noise(
                "auc", ranking, ">=", gates.min_auc, band, "contacted rows of held-out customers"
            ),
            gate_no_worse(
                "log_loss_over_arm_rates",
                excess,
                gates.arm_rates_tolerance,
                f"nats over what each arm's own rate loses, standard error {excess.standard_error:.5f}",
            ),
            Gate(
                "calibration_ratio",
                error / seldom,
                "<=",
                gates.max_calibration_ratio,
                f"ECE {error:.4f}; by chance {float(floor.mean()):.4f}, once in twenty {seldom:.4f}; one of "
                f"{seen:.4f} is found 8 times in 10",
            ),
            Gate(
                "arm_deviation",
                abs(worst["deviation"]),
                "<=",
                gates.max_arm_deviation,
                f"standard errors, {worst['arm']} ({worst['label']}); {seen_deviation(gates.max_arm_deviation)}",
            ),
        ),
        {
            "acceptance_by_arm": rows,
            "roc": roc_rows(accepted, forecast),
            "calibration": calibration_rows(accepted, forecast),
        },
    )


def _nobody_asked(offers: HeldOutOffers) -> bool:
    """Whether there was nothing to accept: an e-mail is sent, and something else comes of it."""
    return offers.log.of_outcome and not offers.log.accepted.any()


def accept_integrity(model: AcceptModel, offers: HeldOutOffers) -> Outcome:
    """Real predictions: probabilities, 0 without an offer, rising with an arm's size, falling in recent offers."""
    X = offers.X[:PROBED_ROWS]
    none_recent, two_recent = np.zeros(len(X)), np.full(len(X), 2.0)
    rested = model.predict_arms(X, none_recent, model.menu)
    tired = model.predict_arms(X, two_recent, model.menu)
    left_alone = [not arm.contacts for arm in model.menu]
    return Outcome(
        (
            Gate("largest", float(rested.max()), "<=", 1.0),
            Gate("smallest", float(rested.min()), ">=", 0.0),
            Gate(
                "without_offer", float(np.abs(rested[:, left_alone]).max()), "==", 0.0, "acceptance of none"
            ),
            *_falls_within_families(model, X),
            Gate("rise_in_fatigue", float((tired - rested).max()), "<=", 1e-9, "by two recent offers"),
        )
    )


def _falls_within_families(model: AcceptModel, X: Floats) -> Iterator[Gate]:
    """One gate for all families in which arms are ordered; none where no family has two."""
    steps = {}
    for code, family in enumerate(model.menu.families):
        sizes = [arm.size for arm in model.menu if arm.family == family]
        if len(sizes) < 2:
            continue
        grid = np.linspace(0, max(sizes), MONOTONE_GRID)
        for recent in (0.0, 2.0):
            tried = model.predictor.predict(
                X, np.full(len(X), recent), np.full(len(grid), code, np.int64), grid
            )
            steps[family, recent] = float(-np.diff(tried, axis=1).min())
    if steps:
        worst = max(steps, key=lambda key: steps[key])
        yield Gate("fall_in_size", steps[worst], "<=", 1e-9, f"largest step down, family {worst[0]}")


def accept_no_worse_than(
    model: AcceptModel, champion: AcceptModel, offers: HeldOutOffers, gates: AcceptGates
) -> Outcome:
    """Against the champion on the same contacted rows of held-out customers: those whose arms it can predict too."""
    both = np.array([arm.contacts and champion.predictor.knows(arm) for arm in offers.log.menu])
    compared = offers.where(both[offers.log.arm])
    if not len(compared.log):
        return no_champion()
    accepted = compared.log.accepted
    ours = log_losses(accepted, _forecast(model, compared))
    theirs = log_losses(accepted, _forecast(champion, compared))
    excess = clustered_mean(ours - theirs, compared.customer)
    told = f"nats over the champion's, standard error {excess.standard_error:.5f}, {len(accepted)} offers"
    return Outcome((gate_no_worse("log_loss_excess", excess, gates.champion_log_loss_tolerance, told),))


def effect(
    model: EffectModel,
    offers: HeldOutOffers,
    risk_model: RiskModel,
    accept_model: AcceptModel,
    gates: EffectGates,
) -> Outcome:
    """Predicted effects are of the realised size on held-out customers: overall, by arm, harmed and helped.

    Churn without contact is as the log has it. A model that found nothing (every effect zero) passes where the log
    shows nothing either.
    """
    risk = model.baseline.risk_of_survivors(risk_model.predict(offers.X), offers.survived)
    base, effects = _predicted(model, offers, risk, accept_model)
    log, customer = offers.log, offers.customer
    churned = log.churned.astype(np.float64)
    scores = doubly_robust_effects(churned, log.arm, log.propensities, base, effects)
    shown = _rows(model, offers, risk, accept_model, base, effects)
    spread = spread_test(model, offers, shown, effects)
    misfit = misspecification(model, offers, shown, effects)
    found = [
        Gate(
            "misspecification",
            misfit.statistic,
            "<=",
            misfit.limit(gates.least_p_value),
            f"χ² of {misfit.degrees} terms that contact, what is given and the risk should not add, beyond chance "
            f"here and in the fit; "
            f"p = {misfit.p_value:.2g}, at least {gates.least_p_value:g} needed; terms that add "
            f"{misfit.added(gates.least_p_value, POWER):.1f} to χ² are found with power {POWER:g}",
        ),
        Gate(
            "interval_misfit",
            spread.statistic,
            "<=",
            spread.limit(gates.least_p_value),
            f"χ² of {spread.degrees} cells of arm and risk that are no further off than intervals and chance say; "
            f"p = {spread.p_value:.2g}; intervals too narrow by a factor of "
            f"{spread.seen(gates.least_p_value, POWER):g} fail with power {POWER:g}",
        ),
    ]
    if model.size:
        size = realised_size(churned, log.arm, log.propensities, base, effects, customer)
        low, high = size.interval
        seen = NoiseBand.of(size.standard_error, 0.025).seen
        detail = (
            f"realised size {size.value:.2f}, 95 % interval {low:.2f} to {high:.2f}; one of "
            f"{gates.least_size - seen:.2f} or {gates.largest_size + seen:.2f} is found 8 times in 10"
        )
        found += [
            Gate("size_upper_bound", high, ">=", gates.least_size, detail),
            Gate("size_lower_bound", low, "<=", gates.largest_size, detail),
            # Of a log in which little shows: what is true must pass, 98 times in 100.
            Gate(
                "size_above_zero",
                low,
                ">=",
                min(0.0, 1 - 4 * size.standard_error),
                "what was claimed shows on unseen customers",
            ),
        ]
    idle = (log.arm == 0) / log.propensities[:, 0]
    no_contact = _compared("no contact", base, base + idle * (churned - base), customer)
    open_at, alone = model.uncertainty.as_fitted(), np.eye(len(log.menu))

    def compared(who: str, predicted: Floats, found: Floats, rows: Bools, weights: Floats) -> dict[str, Any]:
        own = open_at.sum_deviation(shown, offers.X, rows[:, None] * weights) / rows.sum()
        return _compared(who, predicted[rows], found[rows], customer[rows], own)

    by_arm = [
        compared(f"{arm.id} ({arm.label})", effects[:, index], scores[:, index], may, alone[index])
        | {"arm": arm.id}
        for index, arm in enumerate(log.menu)
        if arm.contacts and (may := log.propensities[:, index] > 0).any()
    ]
    contact = over_eligible(effects, log.propensities)
    rank = contact.argsort(kind="stable").argsort(kind="stable")
    third = len(rank) // 3
    mean_scores = over_eligible(scores, log.propensities)
    groups = {
        "helped most": rank < third,
        "between": (rank >= third) & (rank < len(rank) - third),
        "harmed most": rank >= len(rank) - third,
    }
    eligible = (log.propensities > 0) & (np.arange(len(log.menu)) > 0)
    shares = eligible / np.maximum(eligible.sum(axis=1, keepdims=True), 1)
    by_group = [compared(name, contact, mean_scores, rows, shares) for name, rows in groups.items()]
    for name, rows, limit in (
        ("no_contact_deviation", [no_contact], gates.max_arm_deviation),
        ("arm_deviation", by_arm, gates.max_arm_deviation),
        ("group_deviation", [by_group[0], by_group[2]], gates.max_group_deviation),
    ):
        worst = max(rows, key=lambda row: abs(float(row["deviation"])))
        detail = (
            f"standard errors between predicted and doubly robust, {worst['who']}; {seen_deviation(limit)}"
        )
        found.append(Gate(name, abs(float(worst["deviation"])), "<=", limit, detail))
    return Outcome(
        tuple(found),
        {"effect_by_arm": by_arm, "effect_by_group": by_group, "forms": form_rows(model)},
    )


def spread_test(
    model: EffectModel, offers: HeldOutOffers, seen: LogRows, effects: Floats
) -> Misspecification:
    """Whether cells of arm and risk are further off than the model's intervals and chance explain.

    Args:
        model: Whose intervals.
        offers: n rows about held-out customers.
        seen: The same, with what the model says without contact.
        effects: (n, A) what the model says of contact.
    """
    cells = Cells(seen)
    left_open = model.uncertainty.covariance(seen, offers.X, cells)
    return score_test(cells, seen.residual - seen.centred(effects), offers.customer, left_open)


def misspecification(
    model: EffectModel, offers: HeldOutOffers, seen: LogRows, effects: Floats
) -> Misspecification:
    """Whether contact, what is given and both times the churn without contact add to what the effects say.

    More than by chance, of the rows looked at and of those that the model was fitted on: two draws of one log differ by
    both. Arguments as of `spread_test`.
    """
    log, schema = offers.log, model.schema
    given = given_shares(log.menu, offers.X[:, schema.names.index(schema.monthly_revenue)])
    terms = specification_terms(log.arm, log.propensities, seen.churn, given)
    left_open = model.uncertainty.as_fitted().covariance(seen, offers.X, terms)
    residual = log.churned - seen.churn - np.take_along_axis(effects, log.arm[:, None], axis=1)[:, 0]
    return score_test(terms, residual, offers.customer, left_open)


def _rows(
    model: EffectModel,
    offers: HeldOutOffers,
    risk: Floats,
    accept_model: AcceptModel,
    base: Floats,
    effects: Floats,
) -> LogRows:
    """Rows about held-out customers as the learners are shown rows, by (n,) risks and (n,) churn without contact."""
    log = offers.log
    columns = model.mediated.basis.transform(offers.X, logit(risk, LEAST))
    acceptance = accept_model.predict_arms(offers.X, log.prior_offers.astype(np.float64), log.menu)
    residual = log.churned - base - (log.propensities * effects).sum(axis=1)
    parts = (columns, risk, base, acceptance, log.arm, log.propensities, residual)
    return LogRows(*parts, group=np.zeros(len(log), np.int64), groups=1)


def effect_integrity(model: EffectModel, offers: HeldOutOffers, risk_model: RiskModel) -> Outcome:
    """Real predictions are probabilities, and effects have the sizes that the model's own evidence supports."""
    every = np.concatenate(
        [each.ravel() for each in model.consequences(offers.X, risk_model.predict(offers.X))]
    )
    supported = believed_size(model.overall, model.evidence_z)
    return Outcome(
        (
            Gate("smallest", float(every.min()), ">=", 0.0),
            Gate("largest", float(every.max()), "<=", 1.0),
            Gate(
                "size_beyond_evidence",
                abs(model.size - supported),
                "<=",
                1e-9,
                f"{model.overall.z:.1f} standard errors of evidence, {model.evidence_z:g} needed for any effect",
            ),
        )
    )


def effect_no_worse_than(
    model: EffectModel,
    champion: EffectModel,
    offers: HeldOutOffers,
    risk_model: RiskModel,
    accept_model: AcceptModel,
    gates: EffectGates,
) -> Outcome:
    """Against the champion on the same rows of held-out customers, given the same risk and acceptance."""
    risk = model.baseline.risk_of_survivors(risk_model.predict(offers.X), offers.survived)
    base, ours = _predicted(model, offers, risk, accept_model)
    _, theirs = _predicted(champion, offers, risk, accept_model)
    log = offers.log
    churned = log.churned.astype(np.float64)
    mean_outcome = base + (log.propensities * theirs).sum(axis=1)
    losses = [
        effect_losses(churned, log.arm, log.propensities, mean_outcome, each) for each in (ours, theirs)
    ]
    ratio = float(losses[0].mean() / losses[1].mean())
    excess = clustered(ratio - 1, (losses[0] - ratio * losses[1]) / losses[1].mean(), offers.customer)
    told = f"excess over the champion's loss on the same rows, standard error {excess.standard_error:.5f}"
    return Outcome((gate_no_worse("relative_loss", excess, gates.champion_loss_tolerance, told),))


def form_rows(model: EffectModel) -> list[dict[str, object]]:
    """A table of the forms of the effect that were tried, and how much of each is believed."""
    return [
        {"form": name, "weight": weight, "believed": weight * model.size}
        for name, weight in model.weights.items()
    ]


def _forecast(model: AcceptModel, offers: HeldOutOffers) -> Floats:
    recent = offers.log.prior_offers.astype(np.float64)
    return model.predict(offers.X, offers.log.arm, recent, offers.log.menu)


def _predicted(
    model: EffectModel, offers: HeldOutOffers, risk: Floats, accept: AcceptModel
) -> tuple[Floats, Floats]:
    """(n,) churn without contact and (n, A) effects of every arm, by risks (n,)."""
    base, *_ = model.consequences(offers.X, risk)
    recent = offers.log.prior_offers.astype(np.float64)
    return base, model.effects(offers.X, risk, accept.predict_arms(offers.X, recent, offers.log.menu))


def _compared(
    who: str, predicted: Floats, scores: Floats, customer: NDArray[np.int64], own: float = 0.0
) -> dict[str, str | float]:
    """Means of what is predicted, with a standard error of its own, and of what the rows say, doubly robust."""
    robust: Estimate = clustered_mean(scores, customer)
    low, high = robust.interval
    gap = clustered_mean(scores - predicted, customer)
    error = float(np.hypot(gap.standard_error, own))
    return {
        "who": who,
        "predicted": float(predicted.mean()),
        "doubly_robust": robust.value,
        "lower": low,
        "upper": high,
        "deviation": gap.value / error if error else 0.0,
    }

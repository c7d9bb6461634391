"""What a risk model must prove, measured on the model as loaded from the store. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from churn_assets.customers.schema import ID
from churn_assets.customers.table import CustomerTable
from churn_assets.gates.metrics import (
    auc,
    brier,
    calibration_error,
    calibration_noise,
    calibration_rows,
    calibration_slope,
    log_losses,
    roc_rows,
)
from churn_assets.gates.report import Gate, Outcome
from churn_assets.risk.config import SIGNS, RiskGates, RiskModelConfig
from churn_assets.risk.model import RiskModel

Floats = NDArray[np.float64]

GRID = 25
"""Values tried of each monotone feature, over and beyond its range."""

PROBED_ROWS = 200
"""Customers on whom monotonicity is tried."""

NOISE_SEED = 20_261_122
"""Of the simulated noise floor: the same verdict every time the same model is checked."""


def discrimination(model: RiskModel, customers: CustomerTable, gates: RiskGates) -> Outcome:
    """Ranks held-out customers well, and nobody too well: above `max_auc` a feature knows the outcome."""
    held_out = customers.where(customers.held_out)
    risk = model.predict_customers(held_out)
    skill = 1 - brier(held_out.y, risk) / brier(
        held_out.y, np.full(len(held_out), customers.y[~customers.held_out].mean())
    )
    cross_fitted = auc(customers.y[~customers.held_out], model.risk_of(customers.ids[~customers.held_out]))
    return Outcome(
        (
            Gate("auc", auc(held_out.y, risk), ">=", gates.min_auc, "held-out customers"),
            Gate("brier_skill", skill, ">=", gates.min_brier_skill, "held out, against the base rate"),
            Gate("out_of_fold_auc_low", cross_fitted, ">=", gates.min_auc, "cross-fitted customers"),
            Gate("out_of_fold_auc_high", cross_fitted, "<=", gates.max_auc, "above it, a feature leaks"),
        ),
        {"roc": roc_rows(held_out.y, risk)},
    )


def calibration(model: RiskModel, customers: CustomerTable, gates: RiskGates) -> Outcome:
    """Risks are probabilities: right in the mean of all customers, and on held-out ones in their slope and bin by bin.

    A sound model's mean and slope each lie beyond 3.5 standard errors once in two thousand tables; what is off by five
    and a half is found 98 times in 100. Of 7,000 customers that is a mean that is off by 2.5 points.
    """
    held_out = customers.where(customers.held_out)
    risk = model.predict_customers(held_out)
    error = calibration_error(held_out.y, risk)
    floor = calibration_noise(risk, np.random.default_rng(NOISE_SEED))
    usual, seldom = float(floor.mean()), float(np.quantile(floor, 0.95))
    everyone = model.predict_customers(customers)
    expected, observed = float(everyone.mean()), float(customers.y.mean())
    chance = float(np.sqrt((everyone * (1 - everyone)).sum()) / len(everyone))
    slope = calibration_slope(held_out.y, risk)
    return Outcome(
        (
            Gate(
                "mean_deviation",
                abs(observed - expected) / chance,
                "<=",
                gates.max_deviation,
                f"standard errors; {expected:.1%} of all customers expected to churn, {observed:.1%} did",
            ),
            Gate(
                "slope_deviation",
                abs(slope.value - 1) / slope.standard_error if slope.standard_error else None,
                "<=",
                gates.max_deviation,
                f"standard errors from 1, of the slope {slope.value:.2f} of churn on the logit of held-out risks",
            ),
            Gate(
                "calibration_ratio",
                error / seldom,
                "<=",
                gates.max_calibration_ratio,
                f"ECE {error:.4f}; by chance {usual:.4f} on average, {seldom:.4f} once in twenty",
            ),
        ),
        {"calibration": calibration_rows(held_out.y, risk)},
    )


def slices(model: RiskModel, customers: CustomerTable, gates: RiskGates) -> Outcome:
    """As many churners as expected, and ranked, in every slice of customers, by out-of-fold risks.

    Slices are the levels of categorical features and the thirds of price and tenure.
    """
    risk, y = model.risk_of(customers.ids), customers.y
    rows: list[dict[str, Any]] = []
    for feature, level, inside in _slices(customers):
        if inside.sum() < gates.min_slice_rows:
            continue
        expected, observed = float(risk[inside].sum()), int(y[inside].sum())
        deviation = (observed - expected) / float(np.sqrt((risk[inside] * (1 - risk[inside])).sum()))
        rows.append(
            {
                "feature": feature,
                "level": level,
                "customers": int(inside.sum()),
                "expected_churners": expected,
                "observed_churners": observed,
                "deviation": deviation,
                "auc": auc(y[inside], risk[inside]),
            }
        )
    worst = max(rows, key=lambda row: abs(row["deviation"]), default=None)
    ranked = min((row for row in rows if np.isfinite(row["auc"])), key=lambda row: row["auc"], default=None)
    return Outcome(
        (
            Gate(
                "slice_deviation",
                None if worst is None else abs(worst["deviation"]),
                "<=",
                gates.max_slice_deviation,
                f"standard errors, {_where(worst)}",
            ),
            Gate(
                "slice_auc",
                None if ranked is None else ranked["auc"],
                ">=",
                gates.min_slice_auc,
                _where(ranked),
            ),
        ),
        {"slices": rows},
    )


def _slices(table: CustomerTable) -> Iterator[tuple[str, str, NDArray[np.bool_]]]:
    schema = table.schema
    for feature in schema.features:
        for level in feature.categories:
            yield feature.name, level, (table.frame[feature.name] == level).to_numpy()
    for name in dict.fromkeys(name for name in (schema.monthly_revenue, schema.tenure) if name):
        values = table.frame[name].to_numpy()
        low, high = np.quantile(values, [1 / 3, 2 / 3])
        yield name, f"up to {low:g}", values <= low
        yield name, f"{low:g} to {high:g}", (values > low) & (values <= high)
        yield name, f"above {high:g}", values > high


def _where(row: dict[str, Any] | None) -> str:
    return "no slice is large enough" if row is None else f"{row['feature']}: {row['level']}"


def integrity(model: RiskModel, customers: CustomerTable, config: RiskModelConfig) -> Outcome:
    """Real predictions: finite, varied, those of the published table, monotone where they must be."""
    held_out = customers.where(customers.held_out)
    risk = model.predict_customers(held_out)
    unknown = len(set(customers.ids) ^ set(model.out_of_fold[ID]))
    agreement = float(np.abs(model.risk_of(held_out.ids) - risk).max()) if not unknown else None
    own = model.predict_customers(customers.where(~customers.held_out))
    cross_fitted = model.risk_of(customers.ids[~customers.held_out]) if not unknown else own
    found = [
        Gate("customers_without_risk", unknown, "==", 0, "in the table or the out-of-fold risks only"),
        Gate("held_out_agreement", agreement, "<=", 1e-9, "largest difference from the published risks"),
        Gate(
            "seen_by_their_own_model",
            float((own == cross_fitted).mean()),
            "<=",
            0.01,
            "share of cross-fitted risks",
        ),
        Gate("lowest_risk", float(risk.min()), ">=", 1e-6),
        Gate("highest_risk", float(risk.max()), "<=", 1 - 1e-6),
        Gate("spread", float(risk.std()), ">=", 0.01, "standard deviation of the held-out risks"),
    ]
    found += [
        Gate(
            f"against_{direction}_{name}",
            _violation(model, held_out, name, config),
            "<=",
            1e-9,
            "largest step",
        )
        for name, direction in config.monotone.items()
    ]
    return Outcome(tuple(found))


def no_worse_than(
    model: RiskModel, champion: RiskModel, customers: CustomerTable, gates: RiskGates
) -> Outcome:
    """Against the champion on the same held-out customers, each reading the features it was fitted on."""
    held_out = customers.where(customers.held_out)
    ours = log_losses(held_out.y, model.predict_customers(held_out))
    theirs = log_losses(held_out.y, champion.predict_customers(held_out))
    excess = ours - theirs
    error = float(excess.std(ddof=1) / np.sqrt(len(excess)))
    return Outcome(
        (
            Gate(
                "log_loss_excess",
                float(excess.mean()),
                "<=",
                gates.champion_log_loss_tolerance,
                f"nats over the champion's, standard error {error:.5f}",
            ),
        ),
        {
            "champion": [
                {"model": name, "log_loss": float(losses.mean()), "auc": auc(held_out.y, scored)}
                for name, losses, scored in (
                    ("this", ours, model.predict_customers(held_out)),
                    ("champion", theirs, champion.predict_customers(held_out)),
                )
            ]
        },
    )


def _violation(model: RiskModel, table: CustomerTable, name: str, config: RiskModelConfig) -> float:
    """Largest step against the direction along a grid over half as much again as the feature's range."""
    position = model.schema.names.index(name)
    feature = model.schema.features[position]
    sign = SIGNS[config.monotone[name]]
    margin = (feature.maximum - feature.minimum) / 4
    grid = np.linspace(feature.minimum - margin, feature.maximum + margin, GRID)
    X = np.repeat(table.X[:PROBED_ROWS], GRID, axis=0)
    X[:, position] = np.tile(grid, len(X) // GRID)
    steps = np.diff(model.predict(X).reshape(-1, GRID), axis=1) * sign
    return float(np.maximum(0, -steps).max())

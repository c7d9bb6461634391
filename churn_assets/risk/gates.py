"""What a risk model must prove, measured on the model as loaded from the store. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from churn_assets.customers.panel import one_each, row_keys
from churn_assets.customers.table import CustomerTable
from churn_assets.gates.estimates import Estimate
from churn_assets.gates.leaks import LONE_ROWS, LoneColumn, lone_band, lone_column
from churn_assets.gates.metrics import (
    auc,
    auc_estimate,
    brier_skill,
    calibration_error,
    calibration_noise,
    calibration_rows,
    calibration_slope,
    log_losses,
    promised_auc,
    roc_rows,
)
from churn_assets.gates.noise import POWER, NoiseBand, gate_beyond_noise, gate_no_worse
from churn_assets.gates.report import Gate, Outcome
from churn_assets.risk.config import SIGNS, RiskGates, RiskModelConfig
from churn_assets.risk.model import RiskModel

Floats = NDArray[np.float64]

GRID = 25
"""Values tried of each monotone feature, over and beyond its range."""

PROBED_ROWS = 200
"""Customers on whom monotonicity is tried."""

CHANCE = 0.5
"""AUC of a risk that ranks nobody; whoever asks for no more, as beside a visit or a click, takes a constant too."""

NOISE_SEED = 20_261_122
"""Of the simulated noise floor: the same verdict every time the same model is checked."""


def discrimination(model: RiskModel, customers: CustomerTable, gates: RiskGates) -> Outcome:
    """Ranks held-out customers well, and neither by a column that knows the outcome nor by customers it has seen.

    Each limit has a noise band: a figure fails beyond both. What is seen then is in the detail of the gate.
    """
    held_out, fitted = _sides(customers)
    risk = model.predict_customers(held_out)
    skill = brier_skill(held_out.y, risk, float(fitted.y.mean()))
    cross_fitted = auc_estimate(fitted.y, model.risk_of_rows(fitted))
    unseen = auc_estimate(held_out.y, risk)
    ahead = Estimate(
        cross_fitted.value - unseen.value,
        float(np.hypot(cross_fitted.standard_error, unseen.standard_error)),
    )
    columns = _lone_columns(customers.judged)
    found = [
        _at_least("auc", unseen, gates.min_auc, gates, "held-out customers"),
        _at_least("brier_skill", skill, gates.min_brier_skill, gates, "held out, against the base rate"),
        _at_least("out_of_fold_auc_low", cross_fitted, gates.min_auc, gates, "cross-fitted customers"),
        *([_above_chance(cross_fitted, gates)] if gates.min_auc > CHANCE else []),
        Gate(
            "out_of_fold_ahead_p_value",
            _chance(max(ahead.z, 0.0)),
            ">=",
            gates.least_p_value,
            f"AUC {cross_fitted.value:.3f} on cross-fitted customers, {unseen.value:.3f} on held-out ones; were it "
            f"much more, their own labels would be in it: {_seen(ahead, gates):.3f} more is found 8 times in 10",
        ),
        leaks(customers, gates, columns),
    ]
    if gates.max_auc is not None:
        best = max(columns, key=lambda name: np.nan_to_num(columns[name].auc))
        detail = f"no more is believed of such customers; strongest alone: {best}, {columns[best].auc:.3f}"
        band = NoiseBand.above_share(gates.max_auc, cross_fitted.standard_error, gates.least_p_value)
        found.append(
            gate_beyond_noise("out_of_fold_auc_high", cross_fitted, "<=", gates.max_auc, band, detail)
        )
    later = _later(model, customers)
    if later is not None:
        found.append(_later_auc(*later, gates))
    alone = [
        {"feature": name, "auc": column.auc, "only_leavers": column.pure} for name, column in columns.items()
    ]
    return Outcome(tuple(found), {"roc": roc_rows(held_out.y, risk), "columns_alone": alone})


def _at_least(name: str, found: Estimate, least: float, gates: RiskGates, detail: str) -> Gate:
    band = NoiseBand.of(found.standard_error, gates.least_p_value)
    return gate_beyond_noise(name, found, ">=", least, band, detail)


def _above_chance(found: Estimate, gates: RiskGates) -> Gate:
    band = NoiseBand.of(found.standard_error, gates.least_p_value)
    detail = (
        f"AUC {found.value:.3f}, standard error {found.standard_error:.3g}; {0.5 + band.seen:.3f} is enough 8 times "
        "in 10"
    )
    return Gate(
        "out_of_fold_auc_least",
        found.value - band.width,
        ">=",
        CHANCE,
        f"certainly better than chance; {detail}",
    )


def _seen(found: Estimate, gates: RiskGates) -> float:
    """How far from 0 a truth must be to be found by a two-sided p-value with power .8."""
    return NoiseBand.of(found.standard_error, gates.least_p_value / 2).seen


def _lone_columns(customers: CustomerTable) -> dict[str, LoneColumn]:
    rows = np.linspace(0, len(customers) - 1, min(len(customers), LONE_ROWS)).astype(np.intp)
    X, y, fold = customers.X[rows], customers.y[rows], customers.fold[rows]
    return {
        feature.name: lone_column(X[:, place], y, fold, feature.categories)
        for place, feature in enumerate(customers.schema.features)
    }


def leaks(
    customers: CustomerTable, gates: RiskGates, columns: Mapping[str, LoneColumn] | None = None
) -> Gate:
    """How many columns know the outcome, all of them named.

    Args:
        customers: The table.
        gates: What is believed.
        columns: What each says alone, where it was looked at before.
    """
    columns = _lone_columns(customers.judged) if columns is None else columns
    band = lone_band(customers.judged.y, gates.max_single_feature_auc, len(columns), gates.least_p_value)
    leaking = {
        name: why
        for name, each in columns.items()
        if (why := _leak(each, gates, band, pure=name not in gates.known_before))
    }
    if customers.history is not None:
        eventual = customers.eventual
        rare = eventual.y.mean() < MOSTLY_LEAVE
        known = {
            name: _leak(each, gates, band, pure=rare and name not in gates.known_before)
            for name, each in _lone_columns(eventual).items()
        }
        leaking |= {name: f"{why}, long before" for name, why in known.items() if why and name not in leaking}
    return Gate("leaking_columns", len(leaking), "==", 0, _named(leaking, gates.max_single_feature_auc, band))


MOSTLY_LEAVE = 0.6
"""Where more leave in the end, some value of an honest column may be left by all who have it."""


def _leak(column: LoneColumn, gates: RiskGates, band: NoiseBand, *, pure: bool) -> str:
    """Why a column knows the outcome, or a value of it (`pure`); nothing if it does not."""
    if column.auc > gates.max_single_feature_auc + band.width:
        return f"ranks with AUC {column.auc:.3f} alone"
    return f"{_ONLY} {column.pure!r}" if pure and column.pure is not None else ""


def _named(leaking: Mapping[str, str], limit: float, band: NoiseBand) -> str:
    if not leaking:
        return (
            f"columns that know the outcome: that alone rank with an AUC above {limit:g} and the noise, "
            f"{band.width:.3f}; one of {limit + band.seen:.3f} is found 8 times in 10"
        )
    named = "; ".join(f"{name!r} {why}" for name, why in leaking.items())
    told = f"{named}: written after the outcome? Then: customers.exclude: {list(leaking)}"
    pure = [name for name, why in leaking.items() if why.startswith(_ONLY)]
    return f"{told}; known before it? Then: risk_model.gates.known_before: {pure}" if pure else told


_ONLY = "only leavers have"


def calibration(model: RiskModel, customers: CustomerTable, gates: RiskGates) -> Outcome:
    """Risks are probabilities: right in the mean of all customers, and on held-out ones in their slope and bin by bin.

    Each p-value is that of an error beyond the tolerated one. Of 7,000 customers a mean that is off by 3.5 points, and
    logits that are half as large again, are found 9 times in 10 (`benchmarks.risk_tables`).
    """
    held_out, judged, later = _sides(customers)[0], customers.judged, _later(model, customers)
    risk = model.predict_customers(held_out)
    everyone = model.predict_customers(judged)
    expected, observed = float(everyone.mean()), float(judged.y.mean())
    mean = Estimate(observed - expected, float(np.sqrt((everyone * (1 - everyone)).sum()) / len(everyone)))
    slope = calibration_slope(held_out.y, risk)
    error = calibration_error(held_out.y, risk)
    noise = calibration_noise(risk, np.random.default_rng(NOISE_SEED))
    as_large = int((noise >= error - gates.tolerated_error).sum())
    usual, seldom = float(noise.mean()), float(np.quantile(noise, 1 - gates.least_p_value))
    seen = gates.tolerated_error + seldom + NORMAL.inv_cdf(POWER) * float(noise.std())
    return Outcome(
        (
            Gate(
                "mean_p_value",
                _chance(_beyond(mean, gates.tolerated_error)),
                ">=",
                gates.least_p_value,
                f"{expected:.1%} of all customers expected to churn, {observed:.1%} did; "
                f"{gates.tolerated_error:.1%} more or less is tolerated, beyond it a standard error is "
                f"{mean.standard_error:.2%}: {gates.tolerated_error + _seen(mean, gates):.1%} is found 8 times in 10",
            ),
            Gate(
                "slope_p_value",
                _chance(_beyond(Estimate(slope.value - 1, slope.standard_error), gates.tolerated_slope))
                if slope.standard_error
                else None,
                ">=",
                gates.least_p_value,
                f"slope {slope.value:.2f} of churn on the logit of held-out risks, standard error "
                f"{slope.standard_error:.2f}; 1 is right, {gates.tolerated_slope:g} more or less is tolerated, "
                f"{gates.tolerated_slope + _seen(slope, gates):.2f} is found 8 times in 10",
            ),
            Gate(
                "calibration_p_value",
                (1 + as_large) / (1 + len(noise)),
                ">=",
                gates.least_p_value,
                f"ECE {error:.4f}; by chance {usual:.4f} on average, {seldom:.4f} once in "
                f"{1 / gates.least_p_value:.0f}; {gates.tolerated_error:g} more is tolerated, "
                f"one of {seen:.4f} is found 8 times in 10",
            ),
            *(() if later is None else (_later_change(*later, gates),)),
        ),
        {"calibration": calibration_rows(held_out.y, risk)},
    )


def _sides(customers: CustomerTable) -> tuple[CustomerTable, CustomerTable]:
    """Rows to judge by, each of another customer: of those held out, and of those fitted on."""
    judged = customers.judged
    return judged.where(judged.held_out), judged.where(~judged.held_out)


def _later(model: RiskModel, customers: CustomerTable) -> tuple[Floats, NDArray[np.int8], str] | None:
    """Risks and labels of the last window, a row a customer, by a model from before; None where it was not held out."""
    if model.out_of_time is None:
        return None
    labelled = customers.labelled
    place = row_keys(model.out_of_time).get_indexer(row_keys(labelled.frame))
    rows, risk = labelled.where(place >= 0), model.out_of_time["risk"].to_numpy()[place[place >= 0]]
    one = one_each(rows.frame, rows.schema.folds)
    first, last = (str(day.date()) for day in (rows.days.min(), rows.days.max()))
    return risk[one], rows.y[one], f"{first} to {last}"


def _later_auc(risk: Floats, y: NDArray[np.int8], when: str, gates: RiskGates) -> Gate:
    detail = f"{len(y)} customers from {when}, by a model of what was known before"
    return _at_least("out_of_time_auc", auc_estimate(y, risk), gates.min_auc, gates, detail)


def _later_change(risk: Floats, y: NDArray[np.int8], when: str, gates: RiskGates) -> Gate:
    error, slope = float(np.sqrt((risk * (1 - risk)).sum()) / len(risk)), calibration_slope(y, risk)
    band = NoiseBand.of(error, gates.least_p_value)
    return Gate(
        "out_of_time_change", max(0.0, abs(float(y.mean() - risk.mean())) - band.width), "<=",
        gates.tolerated_change,
        f"beyond the noise: {risk.mean():.1%} of the customers from {when} expected to churn by what was known before, "
        f"{y.mean():.1%} did, standard error {error:.2%}; slope {slope.value:.2f}, standard error "
        f"{slope.standard_error:.2f}; a change of {gates.tolerated_change + band.seen:.1%} is found 8 times in 10",
    )  # fmt: skip


def slices(model: RiskModel, customers: CustomerTable, gates: RiskGates) -> Outcome:
    """As many churners as expected, and ranked, in every slice of customers, by out-of-fold risks.

    Slices are the levels of categorical features and the thirds of price and tenure. However many there are, a sound
    model fails once in 1 / `least_p_value`: the furthest of them is held against how far the furthest is by chance.
    """
    customers = customers.judged
    risk, y = model.risk_of_rows(customers), customers.y
    rows: list[dict[str, Any]] = []
    members: list[NDArray[np.bool_]] = []
    for feature, level, inside in _slices(customers):
        if inside.sum() >= gates.min_slice_rows:
            rows.append({"feature": feature, "level": level} | _slice_row(risk[inside], y[inside], gates))
            members.append(inside)
    worst = max(rows, key=lambda row: abs(row["deviation"]), default=None)
    ranked = max(
        (row for row in rows if np.isfinite(row["auc_shortfall"])),
        key=lambda row: row["auc_shortfall"],
        default=None,
    )
    shortfall = NoiseBand.of(1.0, min(0.5, gates.least_p_value / max(1, len(rows))))
    by_chance = _furthest_by_chance(members, risk) if members else np.zeros(1)
    seen = float(np.quantile(by_chance, 1 - gates.least_p_value)) + NORMAL.inv_cdf(POWER)
    return Outcome(
        (
            Gate(
                "slice_p_value",
                None if worst is None else _as_far(abs(worst["deviation"]), by_chance),
                ">=",
                gates.least_p_value,
                f"{_where(worst, 'expected_churners', 'observed_churners', 'deviation')}; a slice that is off by "
                f"{seen:.1f} standard errors more than {gates.tolerated_error:.1%} is found 8 times in 10",
            ),
            Gate(
                "slice_auc_p_value",
                None if ranked is None else min(1.0, len(rows) * _chance(ranked["auc_shortfall"]) / 2),
                ">=",
                gates.least_p_value,
                f"{_where(ranked, 'auc', 'least_auc', 'auc_shortfall')}; an auc_shortfall of "
                f"{shortfall.seen:.1f} is found 8 times in 10",
            ),
        ),
        {"slices": rows},
    )


def _slice_row(risk: Floats, y: NDArray[np.int8], gates: RiskGates) -> dict[str, Any]:
    """Figures of a slice; what is tolerated is taken off `deviation` and `auc_shortfall`, in standard errors."""
    ranking, least = auc_estimate(y, risk), min(gates.min_slice_auc, promised_auc(risk))
    # The AUC of a slice of few churners is all noise: its error is no less than that of a ranking by lot.
    churners = int(y.sum())
    by_lot = np.sqrt((len(y) + 1) / (12 * max(churners, 1) * max(len(y) - churners, 1)))
    return {
        "customers": len(y),
        "expected_churners": float(risk.sum()),
        "observed_churners": churners,
        "deviation": _count_deviation(churners, risk, gates.tolerated_error * len(y)),
        "auc": ranking.value,
        "least_auc": least,
        "auc_shortfall": max(0.0, least - ranking.value) / by_lot
        if np.isfinite(ranking.value)
        else float("nan"),
    }


def _count_deviation(count: int, chances: Floats, tolerated: float) -> float:
    """Standard errors by which a count is off its expectation and what is tolerated, skewness of few events corrected.

    The tail is that of the second-order approximation of a sum of unequal chances (Volkova 1996).
    """
    mean = float(chances.sum())
    sign = 1 if count >= mean else -1
    beyond = max(0.0, abs(count - mean) - tolerated - 0.5)
    spread = float(np.sqrt((chances * (1 - chances)).sum()))
    skewness = float((chances * (1 - chances) * (1 - 2 * chances)).sum()) / spread**3
    x = sign * beyond / spread
    density = np.exp(-x * x / 2) / np.sqrt(2 * np.pi)
    tail = NORMAL.cdf(-abs(x)) - sign * skewness * (1 - x * x) * density / 6
    return sign * max(0.0, -NORMAL.inv_cdf(float(np.clip(tail, 1e-12, 0.5))))


def _furthest_by_chance(members: Sequence[NDArray[np.bool_]], risk: Floats) -> Floats:
    """(draws,) how far off the furthest of these slices is by chance: they share customers, so they move together."""
    inside = np.array(members, dtype=np.float32)
    shared = (inside * (risk * (1 - risk)).astype(np.float32)) @ inside.T
    spread = np.sqrt(np.diag(shared))
    values, vectors = np.linalg.eigh(shared / np.outer(spread, spread))
    root = vectors * np.sqrt(np.maximum(values, 0))
    drawn = np.random.default_rng(NOISE_SEED).standard_normal((SLICE_DRAWS, len(members))) @ root.T
    return np.asarray(np.abs(drawn).max(axis=1))


def _as_far(furthest: float, by_chance: Floats) -> float:
    return float((1 + (by_chance >= furthest).sum()) / (1 + len(by_chance)))


SLICE_DRAWS = 20_000
"""Tables drawn to see how far the furthest slice is by chance."""

NORMAL = NormalDist()


def _beyond(error: Estimate, tolerated: float) -> float:
    """Standard errors by which an error is beyond what is tolerated."""
    return max(0.0, abs(error.value) - tolerated) / error.standard_error


def _chance(z: float) -> float:
    """Two-sided p-value of so many standard errors."""
    return 2 * NORMAL.cdf(-abs(z))


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


def _where(row: dict[str, Any] | None, *names: str) -> str:
    if row is None:
        return "no slice is large enough"
    figures = ", ".join(f"{name} {row[name]:.3g}" for name in names)
    return f"{row['feature']}: {row['level']} of {row['customers']} customers; {figures}"


def integrity(model: RiskModel, customers: CustomerTable, config: RiskModelConfig) -> Outcome:
    """Real predictions: finite, varied, those of the published table, monotone where they must be."""
    rows = customers.rows
    held_out, fitted = rows.where(rows.held_out), rows.where(~rows.held_out)
    risk = model.predict_customers(held_out)
    unknown = len(row_keys(rows.frame).symmetric_difference(row_keys(model.out_of_fold)))
    agreement = float(np.abs(model.risk_of_rows(held_out) - risk).max()) if not unknown else None
    own = model.predict_customers(fitted)
    cross_fitted = model.risk_of_rows(fitted) if not unknown else own
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
        Gate(
            "spread",
            float(risk.std()),
            ">=",
            config.gates.min_spread,
            "standard deviation of the held-out risks",
        ),
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
    held_out = _sides(customers)[0]
    ours = log_losses(held_out.y, model.predict_customers(held_out))
    theirs = log_losses(held_out.y, champion.predict_customers(held_out))
    excess = ours - theirs
    found = Estimate(float(excess.mean()), float(excess.std(ddof=1) / np.sqrt(len(excess))))
    told = f"nats over the champion's, standard error {found.standard_error:.5f}"
    return Outcome(
        (gate_no_worse("log_loss_excess", found, gates.champion_log_loss_tolerance, told),),
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

"""Do the derived forms answer as the models do? Measured on real, made-up and golden customers. Builds no form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from churn_assets.customers.golden import golden_customers
from churn_assets.customers.table import CustomerTable, prepare
from churn_assets.decision.observation import Observer
from churn_assets.decision.tables import ResponseTables, build_tables
from churn_assets.gates.report import Gate, Outcome
from churn_assets.release.derived import canonical

if TYPE_CHECKING:
    from churn_assets.customers.schema import CustomerSchema, FeatureSpec
    from churn_assets.decision.process import Floats
    from churn_assets.release.derived import Derived
    from churn_assets.release.loaded import Models
    from churn_assets.release.outlook import Outlooks

CUSTOMERS = 400
"""Real customers compared, and as many made up."""

LARGEST_DIFFERENCE = 1e-9
"""Of a probability; sums in another order differ by 1e-15."""

LARGEST_LOGIT_DIFFERENCE = 1e-3
"""Of the policy's logits, which are computed in single precision: 8e-6 was seen."""

LARGEST_TABLED = 1e-4
"""Of anything tabled from what is computed, where it is above 1 relative: none on the processor that tabled it, and
single precision rounds otherwise on another."""

PRICES = (0.0, 0.5, 4.0)
MOST_PRIOR_OFFERS = 3


def derived_forms_agree(derived: Derived, models: Models, customers: CustomerTable) -> Outcome:
    """Forms against models: probabilities at every step, logits in every situation, and the tables of the known.

    Args:
        derived: The forms, as loaded.
        models: The reference models, as loaded.
        customers: Whom the release knows.
    """
    rng = np.random.default_rng(0)
    chosen = np.zeros(len(customers), bool)
    chosen[rng.permutation(len(customers))[:CUSTOMERS]] = True
    real = customers.where(chosen)
    rows: list[dict[str, Any]] = []
    for who, table in (
        ("real", real),
        ("made up", prepare(made_up(real, rng), models.schema)),
        ("golden", prepare(golden(models.schema), models.schema)),
    ):
        rows += _compared(who, derived, models, table, rng)
    probabilities = [row["largest_difference"] for row in rows if row["of"] != "logits"]
    logits = [row["largest_difference"] for row in rows if row["of"] == "logits"]
    X = canonical(customers.X)
    tabled, known = derived.outlooks(X, [0] * len(X))
    computed = derived.compute(X[chosen], [0] * int(chosen.sum()))
    return Outcome(
        (
            Gate("probability_difference", max(probabilities), "<=", LARGEST_DIFFERENCE),
            Gate("logit_difference", max(logits), "<=", LARGEST_LOGIT_DIFFERENCE),
            Gate(
                "customers_not_known", len(known) - sum(known), "==", 0, "of those the release was built on"
            ),
            Gate("tabled_difference", _largest_difference(tabled[chosen], computed), "<=", LARGEST_TABLED),
        ),
        {"differences": rows},
    )


def made_up(customers: CustomerTable, rng: np.random.Generator) -> pd.DataFrame:
    """Customers nobody has seen: each feature of another customer, a tenth beyond the range, a tenth blank."""
    schema, n = customers.schema, len(customers)
    columns: dict[str, Any] = {schema.id: [f"made-up-{i}" for i in range(n)]}
    for feature in schema.features:
        values = customers.frame[feature.name].to_numpy()[rng.permutation(n)]
        if feature.kind == "numeric":
            strange = rng.random(n) < 0.1
            values = np.where(strange, _beyond(feature, rng.random(n)), values)
        if feature.name not in (schema.monthly_revenue, schema.tenure):
            values = np.where(rng.random(n) < 0.1, None, values)
        columns[feature.name] = values
    return pd.DataFrame(columns)


def golden(schema: CustomerSchema) -> pd.DataFrame:
    """The golden customers of the models: every category, the extremes of numbers, blanks wherever one may be."""
    X = golden_customers(schema)
    columns: dict[str, Any] = {schema.id: [f"golden-{i}" for i in range(len(X))]}
    for values, feature in zip(X.T, schema.features, strict=True):
        if feature.kind == "categorical":
            columns[feature.name] = [
                None if np.isnan(code) else feature.categories[int(code)] for code in values
            ]
        else:
            needed = feature.name in (schema.monthly_revenue, schema.tenure)
            columns[feature.name] = np.where(np.isnan(values), feature.mean if needed else np.nan, values)
    return pd.DataFrame(columns)


def _beyond(feature: FeatureSpec, share: Floats) -> Floats:
    """Numbers over half the range more than was seen, within what is allowed."""
    spread = feature.maximum - feature.minimum
    lowest = feature.minimum if feature.lowest is None else feature.lowest
    highest = np.inf if feature.highest is None else feature.highest
    values = np.clip(feature.minimum + 1.5 * spread * share, lowest, highest)
    return np.asarray(np.maximum(values, 0.01) if feature.minimum > 0 else values)


def _largest_difference(tabled: Outlooks, computed: Outlooks) -> float:
    differences = [
        np.abs(tabled[name] - computed[name]) / np.maximum(np.abs(computed[name]), 1)
        for name in computed.dtype.names or ()
    ]
    # Written so that NaN is no agreement.
    return max(float(np.nan_to_num(difference, nan=np.inf).max()) for difference in differences)


def _compared(
    who: str, derived: Derived, models: Models, table: CustomerTable, rng: np.random.Generator
) -> list[dict[str, Any]]:
    process, n = models.policy.process, len(table)
    prior = rng.integers(0, MOST_PRIOR_OFFERS + 1, n)
    X = canonical(table.X)
    tables = build_tables(table, models.risk, models.accept, models.effect, process, prior_offers=prior)
    responses = derived.responses(X, prior.astype(np.float64))
    found = {
        "risk": np.abs(responses.risk - tables.risk),
        "churn if accepted": np.abs(responses.churn_if_accepted - tables.churn_if_accepted),
        "churn if refused": np.abs(responses.churn_if_refused - tables.churn_if_refused),
        "acceptance": np.abs(responses.acceptance - tables.acceptance[..., 1:]),
        "logits": _logit_differences(derived, models, tables, X, prior, rng),
    }
    return [
        {"customers": who, "of": of, "largest_difference": float(np.nan_to_num(difference, nan=np.inf).max())}
        for of, difference in found.items()
    ]


def _logit_differences(
    derived: Derived,
    models: Models,
    tables: ResponseTables,
    X: Floats,
    prior: Any,
    rng: np.random.Generator,
) -> Floats:
    """In a situation drawn for every customer, at several budget prices."""
    policy, process, n = models.policy, models.policy.process, len(X)
    observer = Observer(tables, process)
    if observer.names != policy.observation_names:
        return np.array([np.inf])
    status, used = rng.integers(0, process.n_statuses, n), rng.integers(0, process.max_offers + 1, n)
    outlooks = derived.compute(X, prior.tolist())
    every = [list(range(process.n_arms))] * n
    nothing, everyone = np.zeros(n, np.int64), np.arange(n)
    differences = []
    for price in PRICES:
        observed = observer.observe(everyone, nothing, status, used, np.full(n, price, np.float32))
        expected = policy.logits(observed)
        allowed = expected > -1e6  # what is masked is no logit
        found = derived.logits(outlooks, status.tolist(), used.tolist(), every, price)
        differences.append(np.where(allowed, np.abs(found - expected), 0.0))
    return np.concatenate(differences)

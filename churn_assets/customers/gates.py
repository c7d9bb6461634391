"""What a customer table must prove before anything is fitted on it. Pure; thresholds are config."""

from __future__ import annotations

import numpy as np
import pandas as pd

from churn_assets.customers.config import CustomersGates
from churn_assets.customers.copies import FALSE_ALARMS, near_copies
from churn_assets.customers.schema import ID
from churn_assets.customers.table import CustomerTable
from churn_assets.gates.estimates import Estimate
from churn_assets.gates.leaks import lone_band, lone_column
from churn_assets.gates.noise import LEAST_CHANCE, gate_beyond_noise, seen_deviation
from churn_assets.gates.report import Gate, Outcome
from churn_assets.gates.stability import population_stability

MAX_SPLIT_Z = 4.0
"""Both sides of the split come from one hash: their churn rates differ by chance, rarely by this much."""


def leakage(table: CustomerTable, gates: CustomersGates) -> Outcome:
    """No feature alone predicts the label: such a feature was written after the outcome, or copies it.

    Its levels (categories; quantile bins and blanks of numbers) are scored by the churn rate of the other
    folds at that level, so that rare levels cannot memorise. A number is also tried as it is. Of a panel, the first row
    of each customer is also held against whether they leave at all: only what was written later knows that.
    """
    tried = (table.judged,) if table.history is None else (table.judged, table.eventual)
    scores = {
        feature.name: max(
            lone_column(rows.X[:, position], rows.y, rows.fold, feature.categories).auc for rows in tried
        )
        for position, feature in enumerate(table.schema.features)
    }
    ranked = sorted(scores.items(), key=lambda item: -item[1])
    strongest, score = ranked[0]
    limit, y = gates.max_single_feature_auc, table.judged.y
    band = lone_band(y, limit, len(scores), LEAST_CHANCE)
    leaks = [name for name, each in ranked if not each <= limit + band.width]
    detail = f"strongest alone: {strongest}; a stronger one knows the outcome"
    if leaks:
        detail = f"know the outcome: {', '.join(leaks)}; `customers.exclude: {leaks}`"
    return Outcome(
        (
            gate_beyond_noise(
                "single_feature_auc", Estimate(score, band.standard_error), "<=", limit, band, detail
            ),
        ),
        {"single_feature_auc": [{"feature": name, "auc": each} for name, each in ranked]},
    )


def split(table: CustomerTable, gates: CustomersGates) -> Outcome:
    """Customers are split by the hash of their id alone, with all their rows, and both sides are alike."""
    rows, judged = table.rows, table.judged
    shared = len(set(rows.ids[rows.held_out]) & set(rows.ids[~rows.held_out]))
    moved = int((rows.schema.fold_of(rows.ids) != rows.fold).sum())
    held_out, y = judged.held_out, judged.y
    rates = [float(y[side].mean()) if side.any() else float("nan") for side in (~held_out, held_out)]
    pooled = float(y.mean())
    spread = np.sqrt(pooled * (1 - pooled) * (1 / max(1, (~held_out).sum()) + 1 / max(1, held_out.sum())))
    z = abs(rates[0] - rates[1]) / spread if spread else float("nan")
    return Outcome(
        (
            Gate("customers_twice", int(table.frame[ID].duplicated().sum()), "==", 0),
            Gate("customers_on_both_sides", shared, "==", 0, "of the fitted and the held-out customers"),
            _copied(table, gates.max_copied_share),
            Gate("customers_in_another_fold", moved, "==", 0, "than the hash of seed and id gives"),
            Gate(
                "split_churn_rate_z",
                z,
                "<=",
                MAX_SPLIT_Z,
                f"difference of churn rates in standard errors; {seen_deviation(MAX_SPLIT_Z)}",
            ),
        ),
        {
            "split": [
                {"used_for": side, "customers": int(rows.sum()), "churn_rate": rate}
                for side, rows, rate in zip(
                    ("fitting", "held out"), (~held_out, held_out), rates, strict=True
                )
            ]
        },
    )


def _copied(table: CustomerTable, limit: float) -> Gate:
    """Share of customers whose row is a near copy of others: rows of one customer under ids of their own.

    Such a customer stands on both sides of the split.
    """
    found = near_copies(table.X, table.schema)
    detail = f"rows alike under other ids, beyond chance; {FALSE_ALARMS:.1%} of honest tables would seem to have any"
    if found.share:
        lines = () if table.source is None else table.source.copied
        told = "; ".join(f"lines {', '.join(map(str, each))}" for each in lines)
        shown = f", as in {told}" if told else ""
        but = f" but for {', '.join(found.moving)}" if found.moving else ""
        detail = (
            f"{found.rows_each} rows under ids of their own are alike{but}{shown}: if they are one customer's, "
            "`customers: {id: <the column that names the customer>, row_date: <the column of the row's day>}`; if they "
            "are not, `customers.gates.max_copied_share`"
        )
    return Gate("copied_share", found.share, "<=", limit, detail)


def completeness(table: CustomerTable, gates: CustomersGates) -> Outcome:
    """Enough customers, a believable share of churners, few blanks."""
    names = list(table.schema.names)
    shares = table.frame[names].isna().mean()
    rate = float(table.labelled.y.mean())
    told = f"most in {shares.idxmax()!s}"
    if many := shares[shares > gates.max_blank_share].sort_values(ascending=False).round(3).to_dict():
        ways = "leave them out (`exclude`), say what a blank stands for (`blank_means`)"
        told = f"{many}; {ways}, or allow it (`gates: {{max_blank_share: 1}}`)"
    return Outcome(
        (
            Gate("customers", len(table), ">=", gates.min_rows),
            Gate("churn_rate_low", rate, ">=", gates.min_label_rate),
            Gate("churn_rate_high", rate, "<=", gates.max_label_rate),
            Gate("blank_share", float(shares.max()), "<=", gates.max_blank_share, told),
        ),
        {"blanks": [{"feature": name, "blank_share": float(shares[name])} for name in names]},
    )


def like_the_champions(table: CustomerTable, champion: CustomerTable, gates: CustomersGates) -> Outcome:
    """No feature is another one by the same name: in cents instead of euros, with other codes, of another kind.

    Args:
        table: The table.
        champion: What the leading release learned from. Features that only one of the two has are not compared.
        gates: Thresholds.
    """
    kinds = {each.name: each.kind for each in champion.schema.features}
    shared = [each for each in table.schema.features if each.name in kinds]
    other = [each.name for each in shared if each.kind != kinds[each.name]]
    psi = {
        each.name: population_stability(champion.frame[each.name], table.frame[each.name])[0]
        for each in shared
        if each.name not in other
    }
    ranked = sorted(psi.items(), key=lambda item: -item[1])
    furthest = _moved(ranked[0][0], champion, table) if ranked else "no feature in common"
    return Outcome(
        (
            Gate("features_of_another_kind", len(other), "==", 0, ", ".join(other)),
            Gate("psi", max(psi.values(), default=0.0), "<=", gates.max_psi, furthest),
        ),
        {"stability": [{"feature": name, "psi": each} for name, each in ranked]},
    )


def _moved(name: str, champion: CustomerTable, table: CustomerTable) -> str:
    """The feature that moved furthest, and what was and is usual for it."""

    def usual(column: pd.Series) -> str:
        if pd.api.types.is_numeric_dtype(column):
            return f"median {column.median():g}"
        return f"mostly {next(iter(column.mode()), None)!r}"

    then, now = (usual(each.frame[name]) for each in (champion, table))
    return f"{name} moved most: {then} for the champion, {now} here"

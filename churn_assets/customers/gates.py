"""What a customer table must prove before anything is fitted on it. Pure; thresholds are config."""

from __future__ import annotations

import numpy as np
import pandas as pd

from churn_assets.customers.config import CustomersGates
from churn_assets.customers.schema import ID
from churn_assets.customers.table import CustomerTable
from churn_assets.gates.leaks import lone_column
from churn_assets.gates.report import Gate, Outcome
from churn_assets.gates.stability import population_stability

MAX_SPLIT_Z = 4.0
"""Both sides of the split come from one hash: their churn rates differ by chance, rarely by this much."""


MAX_COPIED = 0.2
"""Share of customers who have a twin: 0.07 of the embedded table, 1 where all stand several times under made-up ids."""
_TWINS_AGREE = 0.25
"""Twins of the embedded table disagree on the label 0.62 times as often as any two customers (0.95 with equal tenure);
copies hardly ever do."""


def leakage(table: CustomerTable, gates: CustomersGates) -> Outcome:
    """No feature alone predicts the label: such a feature was written after the outcome, or copies it.

    Its levels (categories; quantile bins and blanks of numbers) are scored by the churn rate of the other
    folds at that level, so that rare levels cannot memorise. A number is also tried as it is.
    """
    scores = {
        feature.name: lone_column(table.X[:, position], table.y, table.fold, feature.categories).auc
        for position, feature in enumerate(table.schema.features)
    }
    ranked = sorted(scores.items(), key=lambda item: -item[1])
    strongest, score = ranked[0]
    leaks = [name for name, each in ranked if not each <= gates.max_single_feature_auc]
    detail = f"strongest alone: {strongest}; a stronger one knows the outcome"
    if leaks:
        detail = f"know the outcome: {', '.join(leaks)}; `customers.exclude: {leaks}`"
    return Outcome(
        (Gate("single_feature_auc", score, "<=", gates.max_single_feature_auc, detail),),
        {"single_feature_auc": [{"feature": name, "auc": each} for name, each in ranked]},
    )


def split(table: CustomerTable) -> Outcome:
    """Customers are split by the hash of their id alone, each once, and both sides are alike."""
    ids, held_out, y = table.ids, table.held_out, table.y
    shared = len(set(ids[held_out]) & set(ids[~held_out]))
    moved = int((table.schema.fold_of(ids) != table.fold).sum())
    rates = [float(y[side].mean()) if side.any() else float("nan") for side in (~held_out, held_out)]
    pooled = float(y.mean())
    spread = np.sqrt(pooled * (1 - pooled) * (1 / max(1, (~held_out).sum()) + 1 / max(1, held_out.sum())))
    z = abs(rates[0] - rates[1]) / spread if spread else float("nan")
    return Outcome(
        (
            Gate("customers_twice", int(table.frame[ID].duplicated().sum()), "==", 0),
            Gate("customers_on_both_sides", shared, "==", 0, "of the fitted and the held-out customers"),
            Gate(
                "copied_share",
                _copied(table),
                "<=",
                MAX_COPIED,
                "customers alike but for id and tenure, of one label",
            ),
            Gate("customers_in_another_fold", moved, "==", 0, "than the hash of seed and id gives"),
            Gate("split_churn_rate_z", z, "<=", MAX_SPLIT_Z, "difference of churn rates in standard errors"),
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


def _copied(table: CustomerTable) -> float:
    """Share of customers with a twin, where twins have one label; 0 where their labels differ as they may.

    A twin has the same features, tenure and those that sum up the past apart: rows of one customer under ids of their
    own, so that the customer stands on both sides of the split.
    """
    schema = table.schema
    moving = {schema.tenure} | {each.name for each in schema.features if each.path_dependent}
    still = [place for place, name in enumerate(schema.names) if name not in moving]
    alike = pd.util.hash_pandas_object(pd.DataFrame(table.X[:, still]), index=False)
    groups = pd.DataFrame({"alike": alike, "y": table.y.astype(float)}).groupby("alike")["y"]
    size, left = groups.transform("size"), groups.transform("sum")
    twins = size > 1
    if not twins.any():
        return 0.0
    n, churners, rate = size[twins], left[twins], float(table.y[twins.to_numpy()].mean())
    differ = float((2 * churners * (n - churners) / (n * (n - 1))).mean())
    return float(twins.mean()) if differ < _TWINS_AGREE * 2 * rate * (1 - rate) else 0.0


def completeness(table: CustomerTable, gates: CustomersGates) -> Outcome:
    """Enough customers, a believable share of churners, few blanks."""
    names = list(table.schema.names)
    shares = table.frame[names].isna().mean()
    rate = float(table.y.mean())
    emptiest = str(shares.idxmax())
    return Outcome(
        (
            Gate("customers", len(table), ">=", gates.min_rows),
            Gate("churn_rate_low", rate, ">=", gates.min_label_rate),
            Gate("churn_rate_high", rate, "<=", gates.max_label_rate),
            Gate("blank_share", float(shares.max()), "<=", gates.max_blank_share, f"most in {emptiest}"),
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

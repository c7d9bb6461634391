"""The asset `customers`: reads, validates and splits the customer table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from churn_assets.customers.checks import CUSTOMERS
from churn_assets.customers.config import CustomersConfig
from churn_assets.customers.names import PSEUDONYMS, named, naming_key, pseudonym
from churn_assets.flow.asset import Made, Step, asset
from churn_assets.flow.setting import SEED

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from churn_assets.customers.table import CustomerTable


def _file_digest(step: Step[CustomersConfig]) -> str:
    from churn_assets.customers.table import located
    from churn_assets.store.erasures import Subjects
    from churn_assets.tables.source import source_content

    # Reading it will say so, with what was expected.
    content = source_content(located(step.config.source), step.root) or "missing"
    key, gone = naming_key(pseudonyms=step.read(PSEUDONYMS)), Subjects(step.store.backend).erased()
    content = f"{content} named {pseudonym('', key)}" if key else content
    return f"{content} without {_digest(gone)}" if gone else content


def _digest(gone: frozenset[str]) -> str:
    """Names a set of erased customers, so that a table is made anew once somebody is erased."""
    from churn_assets.store.canonical import canonical_json, sha256_bytes

    return sha256_bytes(canonical_json(sorted(gone)))


def _read(step: Step[CustomersConfig]) -> CustomerTable:
    """The table, named as it is kept, without whoever was erased from this store, though the source still has them."""
    import os
    from dataclasses import replace

    import numpy as np

    from churn_assets.customers.table import read_customers
    from churn_assets.store.erasures import Subjects
    from churn_assets.store.privacy_key import privacy_key

    subjects, key = (
        Subjects(step.store.backend, privacy_key(os.environ)),
        naming_key(pseudonyms=step.read(PSEUDONYMS)),
    )
    erased: set[str] = set()

    def naming(ids: NDArray[np.object_]) -> NDArray[np.object_]:
        names = named(ids, key)
        erased.update(names[np.array(subjects.among(ids), bool)])
        return names

    table = read_customers(step.config, seed=step.seed, root=step.root, naming=naming)
    if not erased:
        return table
    gone = np.isin(table.ids, list(erased))
    kept, source = table.where(~gone), table.source
    if source is None:
        return kept
    left_out = {**source.left_out, "of customers who were erased": int(gone.sum())}
    return replace(kept, source=replace(source, left_out=left_out))


@asset(
    config=CustomersConfig,
    reads=(SEED, PSEUDONYMS),
    format="churn_assets.customers.format:CUSTOMERS",
    checks=CUSTOMERS,
    branch="risk",
    kinds=("pandas", "parquet"),
    description="One row a customer: validated, typed, split by a hash of the id. Everything starts here.",
    data=_file_digest,
    outside=("customer_table",),
)
def customers(step: Step[CustomersConfig]) -> Made:
    table = _read(step)
    return Made(
        table,
        metrics={
            "customers": len(table),
            "churn_rate": float(table.labelled.y.mean()),
            "held_out": int(table.held_out.sum()),
            "features": len(table.schema.features),
            **table.reach,
        },
        tables={"features": _features(table), "folds": _folds(table), **_reading(table)},
        columns=_columns(table),
        rows=len(table),
    )


def _features(table: CustomerTable) -> list[dict[str, str | int]]:
    blanks = table.frame[list(table.schema.names)].isna().sum()
    return [
        {
            "feature": feature.name,
            "kind": feature.kind,
            "values": ", ".join(feature.categories)
            if feature.kind == "categorical"
            else f"{feature.minimum:g} to {feature.maximum:g}",
            "blanks": int(blanks[feature.name]),
        }
        for feature in table.schema.features
    ]


def _reading(table: CustomerTable) -> dict[str, Any]:
    """What was detected in reading, and how many rows were left out by which rule; nothing where there is nothing."""
    source = table.source
    if source is None:
        return {}
    said = [{"said": each} for each in source.said]
    left_out = [{"rule": rule, "rows": rows} for rule, rows in source.left_out.items()]
    return {name: rows for name, rows in (("reading", said), ("left_out", left_out)) if rows}


def _folds(table: CustomerTable) -> list[dict[str, str | int | float]]:
    grouped = table.labelled.frame.groupby("fold")["churned"].agg(["size", "mean"])
    held_out = table.schema.is_held_out(grouped.index.to_numpy())
    return [
        {
            "fold": int(fold),
            "rows": int(size),
            "churn_rate": float(mean),
            "used_for": "test" if out else "training",
        }
        for (fold, size, mean), out in zip(grouped.itertuples(), held_out, strict=True)
    ]


def _columns(table: CustomerTable) -> dict[str, tuple[str, str]]:
    schema = table.schema
    roles = {schema.monthly_revenue: "List price a month.", schema.tenure: "Months since joining."}
    return {
        "customer_id": ("string", f"Names the customer; {schema.id} in the source, or a keyed hash of it."),
        "churned": (
            "int8",
            f"1: left within {schema.label_window_months:g} months; {schema.label.column} in the source.",
        ),
        "fold": ("int8", f"Split by a hash of the id; the last {schema.folds.held_out} are held out."),
        **{
            feature.name: (
                "float64" if feature.kind == "numeric" else "string",
                roles.get(feature.name, "Feature."),
            )
            for feature in schema.features
        },
    }

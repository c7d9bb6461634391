"""Outcomes that were not posted to the server, as a CRM exports them: a table, read strictly. Joins nothing."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd

from churn_assets.offers.log import OfferLogError, read_rows
from churn_assets.offers.records import LoggedOutcome
from churn_assets.store.inputs import local_copy

COLUMNS = ("decision_id", "accepted", "churned", "margin")
_TRUTH = {"1": True, "0": False, "1.0": True, "0.0": False, "true": True, "false": False}


def read_outcome_file(path: Path, where: str | None = None) -> list[LoggedOutcome]:
    """Outcomes of a CSV or Parquet file with the columns decision_id, accepted, churned (0/1 or true/false), margin.

    Columns other than decision_id may be missing, and a blank is what is not known yet. A row a decision or several:
    parts of an outcome may come in rows of their own.

    Args:
        path: The file.
        where: What errors call it, if not by its path.

    Raises:
        OfferLogError: There is no such file, or it has other columns or values; names file, column and row.
    """
    where = where or str(path)
    raw = read_rows(path, where)
    unknown = [str(name) for name in raw.columns if name not in COLUMNS]
    if unknown or "decision_id" not in raw.columns:
        found = ", ".join(map(str, raw.columns))
        raise OfferLogError(f"{where}: found columns {found}, expected {', '.join(COLUMNS)}")
    told = raw.reindex(columns=list(COLUMNS)).astype(object)
    return [
        LoggedOutcome(
            decision_id=_text(where, row, name),
            accepted=_truth(where, row, "accepted", accepted),
            churned=_truth(where, row, "churned", churned),
            margin=_money(where, row, margin),
        )
        for row, (name, accepted, churned, margin) in enumerate(told.itertuples(index=False, name=None))
    ]


def outcome_reports(source: str | None, root: Path) -> list[LoggedOutcome]:
    """Outcomes of an experiment's `decisions.outcomes`: a path, relative to `root`, or `gs://bucket/name`; or none.

    Raises:
        OfferLogError: As of `read_outcome_file`.
        StoreError: It is an object of a bucket that cannot be read.
    """
    if source is None:
        return []
    with local_copy(source, root) as (path, where):
        return read_outcome_file(path, where)


def _text(where: str, row: int, value: object) -> str:
    if pd.isna(value) or not str(value).strip():
        raise OfferLogError(
            f"{where}, column decision_id, row {row}: found a blank, expected a decision's id"
        )
    return str(value)


def _truth(where: str, row: int, column: str, value: object) -> bool | None:
    if pd.isna(value):
        return None
    found = _TRUTH.get(str(value).strip().lower())
    if found is None:
        raise OfferLogError(f"{where}, column {column}, row {row}: found {value}, expected 0, 1 or a blank")
    return found


def _money(where: str, row: int, value: object) -> float | None:
    if pd.isna(value):
        return None
    try:
        amount = float(str(value))  # exact, as pandas' own parser is not
    except ValueError:
        amount = math.nan
    if not math.isfinite(amount):
        raise OfferLogError(
            f"{where}, column margin, row {row}: found {value}, expected a finite amount or a blank"
        )
    return amount

"""Tables of persons within artifacts, and how each is made anew without one of them. Knows files, no store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

from churn_assets.customers.schema import CHURNED, FOLD, ID, ROW_DATE, CustomerSchema
from churn_assets.store.formats import read_json, read_parquet, write_json, write_parquet

Remake = Callable[[Path, str, str], Mapping[str, int]]
"""(folder of a version's files, customer, id of nobody) -> rows that are nobody's or gone, by file that was written."""


def _customers(folder: Path, customer: str, nobody: str) -> Mapping[str, int]:
    """The row stays, as others are aligned with it: of nobody, with the table's typical values."""
    name = "customers.parquet"
    frame = read_parquet(folder / name)
    theirs = frame[ID] == customer
    if not theirs.any():
        return {}
    others = frame[~theirs]
    for column in frame.columns.difference([ID, CHURNED, FOLD, ROW_DATE], sort=False):
        frame.loc[theirs, column] = _typical(others[column])
    frame.loc[theirs, ID] = nobody
    schema = CustomerSchema.model_validate(read_json(folder / "schema.json")["schema_"])
    frame[FOLD] = pd.Series(schema.fold_of(frame[ID])).astype(frame[FOLD].dtype)
    write_parquet(frame, folder / name)
    return {name: int(theirs.sum())}


def _typical(others: pd.Series) -> object:
    """A value that stands there already, so that it keeps every rule of the column."""
    if pd.api.types.is_numeric_dtype(others.dtype):
        return others.quantile(0.5, interpolation="lower")
    commonest = others.mode()
    return commonest.iloc[0] if len(commonest) else None


def _renamed(name: str) -> Remake:
    """A table whose rows say what was done and foreseen: they stay, of nobody."""

    def remake(folder: Path, customer: str, nobody: str) -> Mapping[str, int]:
        frame = read_parquet(folder / name)
        theirs = frame["customer_id"] == customer
        if not theirs.any():
            return {}
        frame.loc[theirs, "customer_id"] = nobody
        write_parquet(frame, folder / name)
        return {name: int(theirs.sum())}

    return remake


def _texts(folder: Path, customer: str, nobody: str) -> Mapping[str, int]:  # noqa: ARG001 - a text has no other owner
    """Texts speak of bill and service: they go, sent ones too, with the profile that they were written from."""
    about = read_json(folder / "about.json")
    changed: dict[str, int] = {}
    for path in sorted(folder.glob("*.parquet")):
        frame = read_parquet(path)
        theirs = frame["customer_id"] == customer
        if theirs.any():
            write_parquet(frame[~theirs].reset_index(drop=True), path)
            changed[path.name] = int(theirs.sum())
    if about["profiles"].pop(customer, None) is not None:
        write_json(about, folder / "about.json")
        changed["about.json"] = 1
    return changed


def _release(folder: Path, customer: str, nobody: str) -> Mapping[str, int]:  # noqa: ARG001 - nobody is decided for
    """A golden customer goes, with what was decided for them and written to them; the others prove the release."""
    bundle = read_json(folder / "bundle.json")
    golden = bundle["golden"]
    place = next((at for at, row in enumerate(golden["customers"]) if customer in row.values()), None)
    if place is None:
        return {}
    del golden["customers"][place], golden["decisions"][place]
    golden["messages"] = [each for each in golden["messages"] if each["customer_id"] != customer]
    write_json(bundle, folder / "bundle.json")
    return {"bundle.json": 1}


PERSONS: Mapping[str, Remake] = {
    "customers": _customers,
    "offer_log": _renamed("offers.parquet"),
    "risk_model": _renamed("out_of_fold.parquet"),
    "messages": _texts,
    "preferences": _texts,
    "release": _release,
}
"""Assets whose files name customers, and how such files are made anew."""

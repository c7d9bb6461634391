"""The offer log and its contract: a decision a row, with every arm's propensity. No model, no truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
from numpy.typing import NDArray
from pandera.errors import SchemaErrors

from churn_assets.offers.config import COLUMNS

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PROPENSITY_TOLERANCE = 1e-6
"""Propensities are probabilities written by a program: more than rounding of a double is a mistake."""

SHOWN_ROWS = 5


class OfferLogError(ValueError):
    """The table breaks the offer log's contract; the message names file, column, rows, found and expected."""


@dataclass(frozen=True)
class Violation:
    """One broken rule: column, first rows that break it (from 0), how many, what is there, what should be."""

    column: str
    rows: tuple[int, ...]
    count: int
    found: str
    expected: str

    def __str__(self) -> str:
        rows = ", ".join(map(str, self.rows)) + (", …" if self.count > len(self.rows) else "")
        where = f", row{'s' if self.count > 1 else ''} {rows} ({self.count} in all)" if self.count else ""
        return f"column {self.column}{where}: found {self.found}, expected {self.expected}"


def propensity_column(arm: float) -> str:
    """Name of the column that holds an arm's propensity: `propensity_5` for 0.05."""
    return f"propensity_{round(100 * arm, 6):g}"


def _arm(column: str) -> float | None:
    try:
        return round(float(column.removeprefix("propensity_")) / 100, 8)
    except ValueError:
        return None


@dataclass(frozen=True, eq=False)
class OfferLog:
    """Offer decisions in the order they were made.

    `frame` has the columns customer_id (str), decided_at (datetime, UTC), wave (int, weeks since the first),
    offer_pct (share of the list price, 0 = no contact), propensity (of the logged arm),
    `propensity_<percent>` per arm, policy_version (str), prior_offers (int, offers to the customer in the 90
    days before), accepted (0/1), churned (0/1, in the label window), margin (value of the decision in money,
    see Economics). `arms` are the offers in ascending order, `arms[0] == 0`. `simulated` says that the demo
    world wrote the responses.
    """

    frame: pd.DataFrame
    arms: tuple[float, ...]
    simulated: bool

    def __len__(self) -> int:
        return len(self.frame)

    @cached_property
    def arm(self) -> Ints:
        """(n,) index into `arms` of the logged offer."""
        return _nearest(self.frame["offer_pct"].to_numpy(np.float64), self.arms)

    @cached_property
    def propensities(self) -> Floats:
        """(n, A) probability with which the logging policy chose each arm."""
        columns = [propensity_column(arm) for arm in self.arms]
        return np.ascontiguousarray(self.frame[columns], dtype=np.float64)

    @property
    def customer_id(self) -> NDArray[np.object_]:
        """(n,) customer of each decision."""
        return np.asarray(self.frame["customer_id"], dtype=object)

    @property
    def offer_pct(self) -> Floats:
        """(n,) discount offered, a share of the list price."""
        return np.asarray(self.frame["offer_pct"], dtype=np.float64)

    @property
    def prior_offers(self) -> Ints:
        """(n,) offers to the customer in the 90 days before the decision."""
        return np.asarray(self.frame["prior_offers"], dtype=np.int64)

    @property
    def accepted(self) -> Ints:
        """(n,) 1 where the offer was accepted."""
        return np.asarray(self.frame["accepted"], dtype=np.int64)

    @property
    def churned(self) -> Ints:
        """(n,) 1 where the customer left in the label window."""
        return np.asarray(self.frame["churned"], dtype=np.int64)

    @property
    def margin(self) -> Floats:
        """(n,) value of the decision in money."""
        return np.asarray(self.frame["margin"], dtype=np.float64)

    def positions(self, customer_ids: Sequence[str] | NDArray[Any]) -> Ints:
        """(n,) place of each decision's customer in `customer_ids`.

        Raises:
            OfferLogError: a decision is about a customer who is not in `customer_ids`.
        """
        index = pd.Index(np.asarray(customer_ids, dtype=object))
        place = index.get_indexer(self.customer_id)
        if (place < 0).any():
            unknown = _violation(self.frame["customer_id"], place < 0, f"one of the {len(index)} customers")
            raise OfferLogError(f"offer log, {unknown}")
        return np.asarray(place, dtype=np.int64)

    def where(self, mask: NDArray[np.bool_]) -> OfferLog:
        """The decisions that `mask` (n,) keeps, in the same order."""
        return OfferLog(self.frame[mask].reset_index(drop=True), self.arms, self.simulated)


def _nearest(values: Floats, arms: Sequence[float]) -> Ints:
    distance = np.abs(values[:, None] - np.asarray(arms)[None, :])
    return np.asarray(distance.argmin(1), dtype=np.int64)


def read_log(
    path: Path,
    columns: Mapping[str, str],
    customer_ids: Sequence[str] | NDArray[Any],
    where: str | None = None,
) -> OfferLog:
    """Read a CSV or Parquet offer log and hold it to the contract.

    Args:
        path: the file; its suffix (.csv, .parquet) names its kind.
        columns: the log's column name -> the file's; names not in it are taken as they stand.
        customer_ids: ids of the customer table; every decision must be about one of them.
        where: what errors call the file, if not by its path.

    Raises:
        OfferLogError: the file cannot be read as such a table, or a row breaks the contract.
    """
    where = where or str(path)
    readers = {".csv": _read_csv, ".parquet": pd.read_parquet}
    if path.suffix not in readers:
        raise OfferLogError(f"{where}: found suffix {path.suffix!r}, expected .csv or .parquet")
    if not path.is_file():
        raise OfferLogError(f"{where}: there is no such file")
    raw = readers[path.suffix](path)
    absent = [f"{theirs} (for {ours})" for ours, theirs in columns.items() if theirs not in raw.columns]
    if absent:
        raise OfferLogError(
            f"{where}: column {', '.join(absent)} is missing; the file has {', '.join(raw.columns)}"
        )
    # A column that is mapped away must not be met again under its own name.
    kept = raw.drop(
        columns=[ours for ours, theirs in columns.items() if ours != theirs and ours in raw.columns]
    )
    frame = kept.rename(columns={theirs: ours for ours, theirs in columns.items()})
    return as_log(frame, customer_ids, simulated=False, origin=where)


def _read_csv(path: Path) -> pd.DataFrame:
    # Ids stay text: "00123" is not 123.
    return pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""])


def as_log(
    frame: pd.DataFrame, customer_ids: Sequence[str] | NDArray[Any], *, simulated: bool, origin: str
) -> OfferLog:
    """Hold a table with the log's column names to the contract and type it.

    A missing `wave` is derived: whole weeks since the first decision.

    Raises:
        OfferLogError: every rule that is broken, one line each, each line starting with `origin`.
    """
    arms = _arms(frame, origin)
    typed = _typed(frame, arms, origin)
    violations = _schema_violations(typed, arms)
    if not violations:
        violations = _row_violations(typed, arms, customer_ids)
    if violations:
        raise OfferLogError("\n".join(f"{origin}, {violation}" for violation in violations))
    return OfferLog(typed, arms, simulated)


def _arms(frame: pd.DataFrame, origin: str) -> tuple[float, ...]:
    named = {str(c): _arm(str(c)) for c in frame.columns if str(c).startswith("propensity_")}
    strange = [column for column, arm in named.items() if arm is None or propensity_column(arm) != column]
    if strange:
        raise OfferLogError(
            f"{origin}: column {', '.join(strange)}: expected propensity_<percent>, as propensity_5"
        )
    arms = tuple(sorted(arm for arm in named.values() if arm is not None))
    if len(arms) < 2 or arms[0] != 0.0:
        raise OfferLogError(
            f"{origin}: found arms {[f'{100 * a:g} %' for a in arms]}, "
            "expected a propensity_0 (no contact) and at least one propensity_<percent> beside it"
        )
    needed = [name for name in COLUMNS if name != "wave"]
    missing = [name for name in needed if name not in frame.columns]
    if missing:
        raise OfferLogError(
            f"{origin}: column {', '.join(missing)} is missing; found {', '.join(map(str, frame.columns))}"
        )
    return arms


def _typed(frame: pd.DataFrame, arms: Sequence[float], origin: str) -> pd.DataFrame:
    """The log's columns only, each in its type; what cannot be read as its type is an error."""
    typed = pd.DataFrame(index=pd.RangeIndex(len(frame)))
    typed["customer_id"] = frame["customer_id"].map(str, na_action="ignore").to_numpy(object)
    typed["decided_at"] = _dates(frame["decided_at"], origin)
    numbers = [
        "offer_pct",
        "propensity",
        *map(propensity_column, arms),
        "prior_offers",
        "accepted",
        "churned",
        "margin",
    ]
    if "wave" in frame.columns:
        numbers.append("wave")
    for name in numbers:
        values = pd.to_numeric(frame[name], errors="coerce").to_numpy(np.float64)
        unread = np.isnan(values) & frame[name].notna().to_numpy()
        if unread.any():
            raise OfferLogError(f"{origin}, {_violation(frame[name], unread, 'a number')}")
        typed[name] = values
    if "wave" not in frame.columns and len(typed):
        elapsed = typed["decided_at"] - typed["decided_at"].min()
        typed["wave"] = (elapsed.dt.days // 7).to_numpy(np.float64)
    typed["policy_version"] = frame["policy_version"].map(str, na_action="ignore").to_numpy(object)
    for name in ("prior_offers", "accepted", "churned", "wave"):
        whole = typed[name].to_numpy()
        if np.isfinite(whole).all() and (whole == np.round(whole)).all():
            typed[name] = whole.astype(np.int64)
    return typed[[*COLUMNS[:5], *map(propensity_column, arms), *COLUMNS[5:]]]


def _dates(column: pd.Series, origin: str) -> pd.Series:
    dates = pd.to_datetime(
        column, errors="coerce", utc=True, format="ISO8601" if column.dtype == object else None
    )
    unread = dates.isna().to_numpy() & column.notna().to_numpy()
    if unread.any():
        raise OfferLogError(f"{origin}, {_violation(column, unread, 'a date (ISO 8601)')}")
    return dates.dt.as_unit("us").reset_index(drop=True)


def _contract(arms: Sequence[float]) -> pa.DataFrameSchema:
    offers = ", ".join(f"{arm:g}" for arm in arms)
    probability = pa.Check(lambda s: (s > 0) & (s <= 1), error="a propensity in (0, 1]")
    one_of = pa.Check(
        lambda s: (s - np.asarray(arms)[_nearest(s.to_numpy(), arms)]).abs() < PROPENSITY_TOLERANCE,
        error=f"one of the arms {offers} (a share: 0.1 is 10 %)",
    )
    binary = pa.Check(lambda s: s.isin([0, 1]), error="0 or 1")
    count = pa.Check(lambda s: (s >= 0) & (s == np.round(s)), error="a whole number, 0 or more")
    finite = pa.Check(lambda s: np.isfinite(s), error="a finite amount")
    filled = pa.Check(lambda s: s.str.strip() != "", error="not blank")
    return pa.DataFrameSchema(
        {
            "customer_id": pa.Column(object, filled),
            "decided_at": pa.Column(),
            "wave": pa.Column(None, count),
            "offer_pct": pa.Column(float, one_of),
            "propensity": pa.Column(float, probability),
            **{propensity_column(arm): pa.Column(float, probability) for arm in arms},
            "policy_version": pa.Column(object, filled),
            "prior_offers": pa.Column(None, count),
            "accepted": pa.Column(None, binary),
            "churned": pa.Column(None, binary),
            "margin": pa.Column(float, finite),
        },
        strict=True,
    )


def _schema_violations(frame: pd.DataFrame, arms: Sequence[float]) -> list[Violation]:
    if frame.empty:
        return [Violation("customer_id", (), 0, "no rows", "at least one decision")]
    blank = [
        _violation(frame[name], frame[name].isna().to_numpy(), "no blank")
        for name in frame.columns
        if frame[name].isna().any()
    ]
    if blank:
        return blank
    try:
        _contract(arms).validate(frame, lazy=True)
    except SchemaErrors as broken:
        cases = broken.failure_cases
        return [
            _violation(
                frame[column], np.isin(np.arange(len(frame)), group["index"].to_numpy(np.int64)), str(check)
            )
            for (column, check), group in cases.groupby(["column", "check"], sort=False)
        ]
    return []


def _row_violations(
    frame: pd.DataFrame, arms: Sequence[float], customer_ids: Sequence[str] | NDArray[Any]
) -> list[Violation]:
    """Rules that tie columns or rows together."""
    columns = [propensity_column(arm) for arm in arms]
    propensities = frame[columns].to_numpy(np.float64)
    arm = _nearest(frame["offer_pct"].to_numpy(np.float64), arms)
    total = propensities.sum(1)
    logged = propensities[np.arange(len(frame)), arm]
    stated = frame["propensity"].to_numpy()
    dates = frame["decided_at"]
    known = frame["customer_id"].isin(set(map(str, customer_ids))).to_numpy()
    rules = [
        (
            pd.Series(total, name="propensity_*"),
            np.abs(total - 1) > PROPENSITY_TOLERANCE,
            "a sum of 1 over the arms",
        ),
        (
            frame["propensity"],
            np.abs(stated - logged) > PROPENSITY_TOLERANCE,
            "the propensity of the logged arm",
        ),
        (frame["accepted"], (arm == 0) & (frame["accepted"].to_numpy() == 1), "0 where nothing was offered"),
        (frame["customer_id"], ~known, f"one of the {len(customer_ids)} customers"),
        (dates, (dates < dates.shift()).to_numpy(), "decisions in the order they were made"),
        (
            frame["customer_id"],
            frame.duplicated(["customer_id", "decided_at"]).to_numpy(),
            "one decision a customer and moment",
        ),
    ]
    return [_violation(column, broken, expected) for column, broken, expected in rules if broken.any()]


def _violation(column: pd.Series, broken: NDArray[np.bool_], expected: str) -> Violation:
    rows = np.flatnonzero(broken)
    shown = column.iloc[rows[:SHOWN_ROWS]]
    found = ", ".join("blank" if pd.isna(value) else str(value) for value in dict.fromkeys(shown))
    return Violation(str(column.name), tuple(int(r) for r in rows[:SHOWN_ROWS]), len(rows), found, expected)

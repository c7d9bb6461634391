"""The offer log and its contract: a decision a row, with every arm's propensity. No model, no truth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn_assets.arms import NO_CONTACT_ID, ArmError, Catalogue, Menu, percent_share, percents
from churn_assets.customers.columns import CustomerTableError
from churn_assets.customers.table import read_frame
from churn_assets.offers.config import ARM, COLUMNS, SHORTHAND
from churn_assets.offers.eligibility import may_get

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PROPENSITY_TOLERANCE = 1e-6
"""Propensities are probabilities written by a program: more than rounding of a double is a mistake."""

SHOWN_ROWS = 5
_PROPENSITY = "propensity_"


class OfferLogError(ValueError):
    """The table breaks the offer log's contract; the message names file, column, rows, found and expected."""


@dataclass(frozen=True)
class LogViolation:
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


def propensity_column(arm_id: str) -> str:
    """Name of the column that holds an arm's propensity: `propensity_percent_5`."""
    return f"{_PROPENSITY}{arm_id}"


@dataclass(frozen=True, eq=False)
class OfferLog:
    """Offer decisions in the order they were made.

    `frame` has the columns customer_id (str), decided_at (datetime, UTC), wave (int, weeks since the first),
    arm (str, id), propensity (of the logged arm), `propensity_<arm id>` per arm, policy_version (str), prior_offers
    (int, offers to the customer in the 90 days before), accepted (0/1), churned (0/1, in the label window), margin
    (value of the decision in money, see `decision_value`). A propensity is 0 only where a condition of the arm kept
    the customer from it. `menu` has the arms, no contact first. `simulated` says that the demo world wrote the
    responses. `left_out` counts decisions that were there and teach nothing, see `checked_log`.
    """

    frame: pd.DataFrame
    menu: Menu
    simulated: bool
    left_out: int = 0

    def __len__(self) -> int:
        return len(self.frame)

    @cached_property
    def arm(self) -> Ints:
        """(n,) index into `menu` of the logged arm."""
        return np.asarray(pd.Index(self.menu.ids).get_indexer(self.frame["arm"]), dtype=np.int64)

    @cached_property
    def propensities(self) -> Floats:
        """(n, K) probability with which the logging policy chose each arm."""
        columns = list(map(propensity_column, self.menu.ids))
        return np.ascontiguousarray(self.frame[columns], dtype=np.float64)

    @property
    def customer_id(self) -> NDArray[np.object_]:
        """(n,) customer of each decision."""
        return np.asarray(self.frame["customer_id"], dtype=object)

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

    def by_arm(self) -> list[dict[str, Any]]:
        """A row an arm: how often it was made, and the shares of those who accepted and who left, None of nobody."""
        rows: list[dict[str, Any]] = []
        for number, arm in enumerate(self.menu):
            inside = self.arm == number
            accepted, churned = (
                float(each[inside].mean()) if inside.any() else None for each in (self.accepted, self.churned)
            )
            about = {
                "arm": arm.id,
                "offer": arm.label,
                "rows": int(inside.sum()),
                "share": float(inside.mean()),
            }
            rows.append(about | {"accepted": accepted if arm.contacts else None, "churned": churned})
        return rows

    def where(self, mask: NDArray[np.bool_]) -> OfferLog:
        """The decisions that `mask` (n,) keeps, in the same order."""
        return OfferLog(self.frame[mask].reset_index(drop=True), self.menu, self.simulated)


def read_log(
    path: Path,
    columns: Mapping[str, str],
    customer_ids: Sequence[str] | NDArray[Any],
    catalogue: Catalogue,
    where: str | None = None,
    *,
    features: pd.DataFrame | None = None,
) -> OfferLog:
    """Read a CSV or Parquet offer log and hold it to the contract.

    The arms stand as ids (`arm`, `propensity_<arm id>`) or, where all are percents off, as a shorthand (`offer_pct`,
    a share of the list price, and `propensity_<percent>`, with propensity_0 for no contact).

    Args:
        path: the file; its suffix (.csv, .parquet) names its kind.
        columns: the log's column name -> the file's; names not in it are taken as they stand.
        customer_ids: ids of the customer table; every decision must be about one of them.
        catalogue: the arms that there are.
        where: what errors call the file, if not by its path.
        features: (N, F) of the customers of `customer_ids`, for the conditions of arms.

    Raises:
        OfferLogError: the file cannot be read as such a table, or a row breaks the contract.
    """
    where = where or str(path)
    raw = read_rows(path, where)
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
    return as_log(frame, customer_ids, catalogue, simulated=False, origin=where, features=features)


def read_rows(path: Path, where: str) -> pd.DataFrame:
    """The rows of a CSV (all as text: "00123" is not 123) or Parquet file.

    Raises:
        OfferLogError: There is no such file, or it cannot be read as a table.
    """
    try:
        return read_frame(path, where, blanks=[""])
    except CustomerTableError as error:
        raise OfferLogError(str(error)) from error


def as_log(
    frame: pd.DataFrame,
    customer_ids: Sequence[str] | NDArray[Any],
    catalogue: Catalogue,
    *,
    simulated: bool,
    origin: str,
    features: pd.DataFrame | None = None,
) -> OfferLog:
    """Hold a table with the log's column names, or those of the shorthand, to the contract and type it.

    A missing `wave` is derived: whole weeks since the first decision. The menu has no contact first, then arms as
    `catalogue` declares them, then other percents, rising.

    Args:
        frame: The table.
        customer_ids: Ids of the customer table.
        catalogue: The arms that there are.
        simulated: Whether the demo world wrote the responses.
        origin: What errors call the table.
        features: (N, F) of the customers of `customer_ids`, see `checked_log`.

    Raises:
        OfferLogError: every rule that is broken, one line each, each line starting with `origin`.
    """
    menu, names = _header(frame, catalogue, origin)
    renamed = frame.rename(columns=names)
    return checked_log(renamed, customer_ids, menu, simulated=simulated, origin=origin, features=features)


def checked_log(
    frame: pd.DataFrame,
    customer_ids: Sequence[str] | NDArray[Any],
    menu: Menu,
    *,
    simulated: bool,
    origin: str,
    features: pd.DataFrame | None = None,
) -> OfferLog:
    """As `as_log`, of a table that has a `propensity_<arm id>` for every arm of a menu.

    An arm with conditions may have a propensity of 0. Where the customer does not keep them, it means that. Who keeps
    them by now and did not then would teach that the arm is never made to such customers: these decisions, and without
    `features` all with a 0, are left out and counted.

    Raises:
        OfferLogError: As of `as_log`; or nothing is left.
    """
    arm, violations = _arms(frame, menu, origin)
    typed = _typed(frame.assign(arm=arm), menu, origin)
    violations += _value_violations(typed, menu)
    violations = violations or _row_violations(typed, menu, customer_ids)
    if violations:
        raise OfferLogError("\n".join(f"{origin}, {violation}" for violation in violations))
    log = OfferLog(typed, menu, simulated)
    if (log.propensities > 0).all():
        return log
    try:
        barred = (
            np.zeros((1, len(menu)), bool)
            if features is None
            else ~may_get(menu, features)[log.positions(customer_ids)]
        )
    except ArmError as error:
        raise OfferLogError(f"{origin}: {error}") from error
    kept = np.all((log.propensities > 0) | barred, axis=1)
    if not kept.any():
        raise OfferLogError(
            f"{origin}: found a propensity of 0 for a customer who keeps the arm's conditions in every row, expected "
            "some with more than 0 for all such arms"
        )
    return replace(log.where(kept), left_out=int((~kept).sum()))


def _header(frame: pd.DataFrame, catalogue: Catalogue, origin: str) -> tuple[Menu, dict[str, str]]:
    """The table's menu, and the log's name for each of its columns that bears another."""
    problems: list[str] = []
    columns: dict[str, str] = {}
    for column in (str(name) for name in frame.columns if str(name).startswith(_PROPENSITY)):
        try:
            arm_id = _arm_of(column, catalogue)
        except ArmError as error:
            problems.append(f"column {column}: {error}; other arms are declared under arms:")
            continue
        if arm_id in columns:
            problems.append(f"columns {columns[arm_id]} and {column} are both of the arm {arm_id}")
        columns[arm_id] = column
    found = [str(name) for name in frame.columns]
    if ARM in found and SHORTHAND in found:
        problems.append(f"found the columns {ARM} and {SHORTHAND}, expected one of them")
    has = {*found, ARM} if SHORTHAND in found else set(found)
    missing = [name for name in COLUMNS if name not in has and name != "wave"]
    if missing:
        problems.append(f"column {', '.join(missing)} is missing; found {', '.join(found)}")
    if not problems and (NO_CONTACT_ID not in columns or len(columns) < 2):
        problems.append(
            f"found the arms {_listed(columns)}, expected {propensity_column(NO_CONTACT_ID)} (or propensity_0) and at "
            "least one other propensity_<arm id> beside it"
        )
    if problems:
        raise OfferLogError("\n".join(f"{origin}: {problem}" for problem in problems))
    try:
        ordered: list[str] = sorted(columns, key=lambda arm_id: _place(arm_id, catalogue))
        menu = catalogue.menu(ordered)
    except ArmError as error:
        raise OfferLogError(f"{origin}: {error}") from error
    return menu, {column: propensity_column(arm_id) for arm_id, column in columns.items()}


def _arm_of(column: str, catalogue: Catalogue) -> str:
    """Id of the arm that a propensity column is of, by its id or as a percent.

    Raises:
        ArmError: There is no such arm.
    """
    name = column.removeprefix(_PROPENSITY)
    try:
        share = round(float(name) / 100, 8)
    except ValueError:
        return catalogue.arm(name).id
    if percents(share) != name:
        message = f"found the percent {name!r}, expected it as in propensity_12.5"
        raise ArmError(message)
    return catalogue.arm(share).id


def _place(arm_id: str, catalogue: Catalogue) -> tuple[int, float]:
    declared = [config.id for config in catalogue.declared]
    if arm_id in declared:
        return 1, float(declared.index(arm_id))
    return (0, 0.0) if arm_id == NO_CONTACT_ID else (2, catalogue.arm(arm_id).size)


def _arms(frame: pd.DataFrame, menu: Menu, origin: str) -> tuple[NDArray[np.object_], list[LogViolation]]:
    """(n,) id of each row's arm, None where it is none of the menu, and what is wrong with such rows."""
    if SHORTHAND not in frame.columns:
        column, names = ARM, frame[ARM].map(str, na_action="ignore").to_numpy(object)
        known = np.isin(names.astype(str), menu.ids)
        expected = f"one of the arms with a propensity: {_listed(menu.ids)}"
    else:
        shares = {NO_CONTACT_ID: 0.0} | {each: share for each in menu.ids if (share := percent_share(each))}
        offers = _numbers(frame, SHORTHAND, origin)
        distance = np.abs(offers[:, None] - np.array(list(shares.values())))
        column, names = SHORTHAND, np.array(list(shares), dtype=object)[distance.argmin(1)]
        known = distance.min(1) < PROPENSITY_TOLERANCE
        shown = _listed(f"{share:g}" for share in shares.values())
        expected = f"one of the arms {shown} (a share: 0.1 is 10 %)"
    found = np.array(names, dtype=object)
    found[~known] = None
    return found, [] if known.all() else [_violation(frame[column], ~known, expected)]


def _numbers(frame: pd.DataFrame, name: str, origin: str) -> Floats:
    values = pd.to_numeric(frame[name], errors="coerce").to_numpy(np.float64)
    unread = np.isnan(values) & frame[name].notna().to_numpy()
    if unread.any():
        raise OfferLogError(f"{origin}, {_violation(frame[name], unread, 'a number')}")
    return np.asarray(values)


def _listed(arm_ids: Iterable[str]) -> str:
    return ", ".join(arm_ids)


def _typed(frame: pd.DataFrame, menu: Menu, origin: str) -> pd.DataFrame:
    """The log's columns only, each in its type; what cannot be read as its type is an error."""
    propensities = list(map(propensity_column, menu.ids))
    typed = pd.DataFrame(index=pd.RangeIndex(len(frame)))
    typed["customer_id"] = frame["customer_id"].map(str, na_action="ignore").to_numpy(object)
    typed["decided_at"] = _dates(frame["decided_at"], origin)
    typed[ARM] = frame[ARM].to_numpy(object)
    numbers = ["propensity", *propensities, "prior_offers", "accepted", "churned", "margin"]
    if "wave" in frame.columns:
        numbers.append("wave")
    for name in numbers:
        typed[name] = _numbers(frame, name, origin)
    if "wave" not in frame.columns and len(typed):
        elapsed = typed["decided_at"] - typed["decided_at"].min()
        typed["wave"] = (elapsed.dt.days // 7).to_numpy(np.float64)
    typed["policy_version"] = frame["policy_version"].map(str, na_action="ignore").to_numpy(object)
    for name in ("prior_offers", "accepted", "churned", "wave"):
        whole = typed[name].to_numpy()
        if np.isfinite(whole).all() and (whole == np.round(whole)).all():
            typed[name] = whole.astype(np.int64)
    return typed[[*COLUMNS[:5], *propensities, *COLUMNS[5:]]]


def _dates(column: pd.Series, origin: str) -> pd.Series:
    dates = pd.to_datetime(
        column, errors="coerce", utc=True, format="ISO8601" if column.dtype == object else None
    )
    unread = dates.isna().to_numpy() & column.notna().to_numpy()
    if unread.any():
        raise OfferLogError(f"{origin}, {_violation(column, unread, 'a date (ISO 8601)')}")
    return dates.dt.as_unit("us").reset_index(drop=True)


def _value_violations(frame: pd.DataFrame, menu: Menu) -> list[LogViolation]:
    """Rules of single values."""
    if frame.empty:
        return [LogViolation("customer_id", (), 0, "no rows", "at least one decision")]
    # What stands there for no arm was said already.
    blank = _broken((frame[name], frame[name].isna(), "no blank") for name in frame.columns if name != ARM)
    if blank:
        return blank
    conditional = {propensity_column(arm.id) for arm in menu if arm.eligible}
    rules = []
    for name, column in frame.items():
        if name in ("customer_id", "policy_version"):
            rules.append((column, column.str.strip() == "", "not blank"))
        elif name in ("wave", "prior_offers"):
            whole = np.isfinite(column) & (column >= 0) & (column == np.round(column))
            rules.append((column, ~whole, "a whole number, 0 or more"))
        elif name in ("accepted", "churned"):
            rules.append((column, ~column.isin([0, 1]), "0 or 1"))
        elif name == "margin":
            rules.append((column, ~np.isfinite(column), "a finite amount"))
        elif name in conditional:
            rules.append((column, ~column.between(0, 1), "a propensity in [0, 1]"))
        elif str(name).startswith("propensity"):
            rules.append((column, ~column.between(0, 1, inclusive="right"), "a propensity in (0, 1]"))
    return _broken(rules)


def _broken(rules: Iterable[tuple[pd.Series, Any, str]]) -> list[LogViolation]:
    """The rules that are broken, of (column, (n,) where it is broken, what was expected)."""
    return [
        _violation(column, np.asarray(where), expected) for column, where, expected in rules if where.any()
    ]


def _row_violations(
    frame: pd.DataFrame,
    menu: Menu,
    customer_ids: Sequence[str] | NDArray[Any],
) -> list[LogViolation]:
    """Rules that tie columns or rows together."""
    propensities = frame[list(map(propensity_column, menu.ids))].to_numpy(np.float64)
    arm = pd.Index(menu.ids).get_indexer(frame[ARM])
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
            (np.abs(stated - logged) > PROPENSITY_TOLERANCE) | (logged == 0),
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
    return _broken(rules)


def _violation(column: pd.Series, broken: NDArray[np.bool_], expected: str) -> LogViolation:
    rows = np.flatnonzero(broken)
    shown = column.iloc[rows[:SHOWN_ROWS]]
    found = ", ".join("blank" if pd.isna(value) else str(value) for value in dict.fromkeys(shown))
    return LogViolation(
        str(column.name), tuple(int(r) for r in rows[:SHOWN_ROWS]), len(rows), found, expected
    )

"""The offer log and its contract: a decision a row, with every arm's propensity. No model, no truth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from churn_assets.arms import NO_CONTACT_ID, ArmError, Catalogue, Menu, did_you_mean, percent_share, percents
from churn_assets.offers.config import ARM, COLUMNS, SHORTHAND
from churn_assets.offers.eligibility import may_get
from churn_assets.tables.config import FileReading
from churn_assets.tables.files import DETECTED, read_raw
from churn_assets.tables.problems import ROLE, STRUCTURE, Problems, TableError
from churn_assets.tables.raw import FIRST_LINE, RawTable
from churn_assets.tables.rules import NumberRule
from churn_assets.tables.source import read_source, source_name
from churn_assets.tables.values import (
    ambiguous_decimals,
    distinct_texts,
    means_nothing,
    parse_dates,
    parse_ids,
    parse_numbers,
    parse_texts,
    parse_truths,
    say_decimals,
)

if TYPE_CHECKING:
    from churn_assets.customers.table import CustomerTable
    from churn_assets.offers.config import OfferLogConfig

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PROPENSITY_TOLERANCE = 1e-6
"""Propensities are probabilities written by a program: more than rounding of a double is a mistake."""

ROUNDED_DECIMALS = (3, 8)
"""Fewest and most decimals of propensities that were rounded when they were written; fewer tell no rounding from a
mistake, and with more the tolerance above is wider."""
_PROPENSITY = "propensity_"
_SHARE = NumberRule(lowest=0, highest=1, needed=True)
_ABOVE_ZERO = replace(_SHARE, above_zero=True)
_COUNT = NumberRule(lowest=0, whole=True, needed=True)
_MONEY = NumberRule(needed=True)


class OfferLogError(TableError):
    """The table breaks the offer log's contract; the message names file, column, lines, found and expected."""


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
    responses. `left_out` counts decisions that were there and teach nothing, see `checked_log`. `said` is what was
    detected or mended in reading.
    """

    frame: pd.DataFrame
    menu: Menu
    simulated: bool
    left_out: int = 0
    said: tuple[str, ...] = ()

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
            problems = Problems("offer log", OfferLogError)
            line = np.arange(len(self)) + FIRST_LINE
            expected = f"one of the {len(index)} customers"
            problems.rows("customer_id", place < 0, None, expected, line=line, found=UNKNOWN_ID)
            problems.stop()
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


UNKNOWN_ID = "an id that is not there"


def read_log(
    path: Path,
    columns: Mapping[str, str],
    customer_ids: Sequence[str] | NDArray[Any],
    catalogue: Catalogue,
    where: str | None = None,
    *,
    features: pd.DataFrame | None = None,
    reading: FileReading = DETECTED,
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
        reading: what should not be detected of the file.

    Raises:
        OfferLogError: the file cannot be read as such a table, or a row breaks the contract.
    """
    problems = Problems(where or str(path), OfferLogError)
    raw = read_raw(path, problems, reading)
    return log_of(raw, columns, customer_ids, catalogue, problems, features=features)


def configured_log(
    config: OfferLogConfig, customers: CustomerTable, catalogue: Catalogue, root: Path
) -> OfferLog:
    """The log that an experiment names; the decisions of a database are taken in the order of `decided_at`.

    Raises:
        OfferLogError: As of `read_log`.
        StoreError: It is in a bucket or a database that cannot be read.
    """
    problems = Problems(source_name(config.source, root), OfferLogError)
    order = [config.columns.get(name, name) for name in ("decided_at", "customer_id")]
    raw, _ = read_source(config.source, root, problems, config.reading, order)
    return log_of(raw, config.columns, customers.ids, catalogue, problems, features=customers.frame)


def log_of(
    raw: RawTable,
    columns: Mapping[str, str],
    customer_ids: Sequence[str] | NDArray[Any],
    catalogue: Catalogue,
    problems: Problems,
    *,
    features: pd.DataFrame | None = None,
) -> OfferLog:
    """As `read_log`, of a raw table from any source.

    Raises:
        TableError: As of `problems`: all that is wrong.
    """
    for ours, theirs in columns.items():
        if theirs not in raw.columns:
            found = f"no such column (for {ours})"
            problems.add(found, f"one of {_listed(raw.names)}", column=theirs, rank=STRUCTURE)
    problems.stop()
    for ours, theirs in columns.items():
        if ours != theirs:  # a column that is mapped away must not be met again under its own name
            raw.columns.pop(ours, None)
    problems.names = dict(columns)
    named = raw.renamed({theirs: ours for ours, theirs in columns.items()})
    return _log(named, customer_ids, catalogue, simulated=False, problems=problems, features=features)


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
    raw, problems = RawTable.of_frame(frame, origin), Problems(origin, OfferLogError)
    return _log(raw, customer_ids, catalogue, simulated=simulated, problems=problems, features=features)


def _log(
    raw: RawTable,
    customer_ids: Sequence[str] | NDArray[Any],
    catalogue: Catalogue,
    *,
    simulated: bool,
    problems: Problems,
    features: pd.DataFrame | None,
) -> OfferLog:
    menu, theirs = _header(raw, catalogue, problems)
    ours = {column: propensity_column(arm_id) for arm_id, column in theirs.items()}
    problems.names |= {new: problems.names.get(old, old) for old, new in ours.items()}
    return _checked(raw.renamed(ours), customer_ids, menu, simulated, problems, features)


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
    raw, problems = RawTable.of_frame(frame, origin), Problems(origin, OfferLogError)
    return _checked(raw, customer_ids, menu, simulated, problems, features)


def _checked(
    raw: RawTable,
    customer_ids: Sequence[str] | NDArray[Any],
    menu: Menu,
    simulated: bool,
    problems: Problems,
    features: pd.DataFrame | None,
) -> OfferLog:
    if not len(raw):
        problems.add("no rows", "at least one decision", rank=STRUCTURE)
        problems.stop()
    frame = _typed(raw, menu, problems)
    frame = _unrounded(raw, frame, menu, problems)
    _compare(frame, menu, customer_ids, raw.line, problems)
    ambiguous_decimals(raw, problems)
    problems.stop()
    say_decimals(raw)
    log = OfferLog(_whole(frame), menu, simulated, said=tuple(raw.said))
    if all((frame[propensity_column(arm_id)] > 0).all() for arm_id in menu.ids):
        return log
    try:
        barred = (
            np.zeros((1, len(menu)), bool)
            if features is None
            else ~may_get(menu, features)[log.positions(customer_ids)]
        )
    except ArmError as error:
        raise OfferLogError(f"{problems.where}: {error}") from error
    kept = np.all((log.propensities > 0) | barred, axis=1)
    if not kept.any():
        raise OfferLogError(
            f"{problems.where}: found a propensity of 0 for a customer who keeps the arm's conditions in every row, "
            "expected some with more than 0 for all such arms"
        )
    return replace(log.where(kept), left_out=int((~kept).sum()), said=log.said)


def _header(raw: RawTable, catalogue: Catalogue, problems: Problems) -> tuple[Menu, dict[str, str]]:
    """The table's menu, and the column of each arm's propensity."""
    columns: dict[str, str] = {}
    for column in (name for name in raw.names if name.startswith(_PROPENSITY)):
        try:
            arm_id = _arm_of(column, catalogue)
        except ArmError as error:
            said, _, expected = str(error).removeprefix("found ").partition(", expected ")
            problems.add(
                said, expected, column=column, remedy="other arms are declared under arms:", rank=ROLE
            )
            continue
        if arm_id in columns:
            problems.add(
                f"another column of the arm {arm_id}, {columns[arm_id]!r}", "one", column=column, rank=ROLE
            )
        columns[arm_id] = column
    found = raw.names
    if ARM in found and SHORTHAND in found:
        problems.add(f"the columns {ARM} and {SHORTHAND}", "one of them", rank=STRUCTURE)
    has = {*found, ARM} if SHORTHAND in found else set(found)
    for name in (each for each in COLUMNS if each not in has and each != "wave"):
        near = did_you_mean(name, found)
        expected = f"it beside {_listed(found)}{near}"
        remedy = f"another name for it: `columns: {{{name}: ...}}`"
        problems.add("no such column", expected, column=name, remedy=remedy, rank=STRUCTURE)
    if not problems.all and (NO_CONTACT_ID not in columns or len(columns) < 2):
        problems.add(
            f"the arms {_listed(columns)}",
            f"{propensity_column(NO_CONTACT_ID)} (or propensity_0) and at least one other propensity_<arm id>",
            rank=STRUCTURE,
        )
    problems.stop()
    try:
        ordered: list[str] = sorted(columns, key=lambda arm_id: _place(arm_id, catalogue))
        return catalogue.menu(ordered), columns
    except ArmError as error:
        raise OfferLogError(f"{problems.where}: {error}") from error


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


def _arms(raw: RawTable, menu: Menu, problems: Problems) -> NDArray[np.object_]:
    """(n,) id of each row's arm, None where it is none of the menu."""
    if means_nothing(raw, SHORTHAND if SHORTHAND in raw.columns else ARM, problems):
        return np.full(len(raw), None, dtype=object)
    if SHORTHAND not in raw.columns:
        codes, texts = distinct_texts(raw, ARM)
        known = np.array([text in menu.position for text in texts] + [False])[codes]
        found = np.array([*texts, None], dtype=object)[codes]
        expected = f"one of the arms with a propensity: {_listed(menu.ids)}"
        problems.rows(ARM, ~known, found, expected, line=raw.line)
    else:
        shares = {NO_CONTACT_ID: 0.0} | {each: share for each in menu.ids if (share := percent_share(each))}
        offers = parse_numbers(raw, SHORTHAND, problems, _MONEY)
        distance = np.abs(offers[:, None] - np.array(list(shares.values())))
        known = distance.min(1) < PROPENSITY_TOLERANCE
        found = np.array(list(shares), dtype=object)[distance.argmin(1)]
        expected = (
            f"one of the arms {_listed(f'{share:g}' for share in shares.values())} (a share: 0.1 is 10 %)"
        )
        problems.rows(SHORTHAND, ~known & ~np.isnan(offers), offers, expected, line=raw.line)
    found[~known] = None
    return found


def _listed(arm_ids: Iterable[str]) -> str:
    return ", ".join(arm_ids)


def _typed(raw: RawTable, menu: Menu, problems: Problems) -> pd.DataFrame:
    """The log's columns only, each in its type; counts and truths as numbers, NaN for what is wrong."""
    columns: dict[str, Any] = {"customer_id": parse_ids(raw, "customer_id", problems, unique=False)}
    columns["decided_at"] = parse_dates(raw, "decided_at", problems, needed=True)
    columns["wave"] = None
    columns[ARM] = _arms(raw, menu, problems)
    propensities = {propensity_column(arm.id): _SHARE if arm.eligible else _ABOVE_ZERO for arm in menu}
    _drop(raw, "customer_id", "decided_at", ARM, SHORTHAND)
    for name, rule in ({"propensity": _ABOVE_ZERO} | propensities).items():
        columns[name] = parse_numbers(raw, name, problems, rule)
        _drop(raw, name)
    columns["policy_version"] = parse_texts(raw, "policy_version", problems)
    blank = pd.isna(columns["policy_version"])
    problems.rows("policy_version", blank, columns["policy_version"], "a text", line=raw.line)
    columns["prior_offers"] = parse_numbers(raw, "prior_offers", problems, _COUNT)
    for name in ("accepted", "churned"):
        columns[name] = parse_truths(raw, name, problems, needed=True)
    columns["margin"] = parse_numbers(raw, "margin", problems, _MONEY)
    if "wave" in raw.columns:
        columns["wave"] = parse_numbers(raw, "wave", problems, _COUNT)
    else:
        dates = columns["decided_at"]
        columns["wave"] = np.asarray((dates - dates.min()).days // 7, np.float64)
    raw.columns.clear()
    return pd.DataFrame(columns, copy=False)


def _drop(raw: RawTable, *names: str) -> None:
    """Lets go of columns that are read: a large table stands in memory once."""
    for name in names:
        raw.columns.pop(name, None)


def _unrounded(raw: RawTable, frame: pd.DataFrame, menu: Menu, problems: Problems) -> pd.DataFrame:
    """Propensities that were written with few decimals, and add up to 1 but for that, are made to add up."""
    names = [propensity_column(arm_id) for arm_id in menu.ids]
    propensities = frame[names].to_numpy()
    total = propensities.sum(1)
    off = np.abs(total - 1)
    rounding = _rounding(propensities)
    slack = max(PROPENSITY_TOLERANCE, rounding * (len(names) + 1))
    problems.rows("propensity_*", off > slack, total, "a sum of 1 over the arms", line=raw.line)
    mended = (off > ROUNDING_OF_SUMS) & (off <= slack) if rounding else np.zeros(len(frame), dtype=bool)
    arm = pd.Index(menu.ids).get_indexer(frame[ARM])
    logged = propensities[np.arange(len(frame)), arm]
    stated = frame["propensity"].to_numpy()
    wrong = (arm >= 0) & ((np.abs(stated - logged) > max(PROPENSITY_TOLERANCE, 2 * rounding)) | (logged == 0))
    problems.rows("propensity", wrong, stated, "the propensity of the logged arm", line=raw.line)
    if not mended.any():
        return frame
    decimals = round(-np.log10(2 * rounding))
    raw.said.append(f"propensities of {decimals} decimals: {int(mended.sum())} rows were made to add up to 1")
    share = np.where(mended, total, 1.0)
    scaled = {name: propensities[:, place] / share for place, name in enumerate(names)}
    return frame.assign(propensity=np.where(mended, logged / share, stated), **scaled)


ROUNDING_OF_SUMS = 1e-12


def _rounding(propensities: Floats) -> float:
    """Largest error of a propensity that was written with few decimals; 0 where they were not."""
    sample = propensities[:10_000]
    for decimals in range(*ROUNDED_DECIMALS):
        scaled = sample * 10.0**decimals
        if (np.abs(scaled - np.round(scaled)) < 1e-6)[~np.isnan(scaled)].all():
            scaled = propensities * 10.0**decimals
            few = (np.abs(scaled - np.round(scaled)) < 1e-6)[~np.isnan(scaled)].all()
            return 0.5 * 10.0**-decimals if few else 0.0
    return 0.0


def _compare(
    frame: pd.DataFrame,
    menu: Menu,
    customer_ids: Sequence[str] | NDArray[Any],
    line: NDArray[np.int64],
    problems: Problems,
) -> None:
    """Rules that tie columns or rows together."""
    uncontacted = (frame[ARM] == menu.ids[0]).to_numpy()
    accepted, dates, ids = frame["accepted"].to_numpy(), frame["decided_at"], frame["customer_id"]
    found = uncontacted & (accepted == 1)
    problems.rows("accepted", found, accepted, "0 where nothing was offered", line=line)
    known = pc.is_in(pa.array(ids), pa.array(np.asarray(customer_ids, dtype=object), pa.string()))
    unknown = ~np.array(known, dtype=bool) & (ids != "").to_numpy()
    expected = f"one of the {len(customer_ids)} customers"
    problems.rows("customer_id", unknown, None, expected, line=line, found=UNKNOWN_ID)
    early = (dates < dates.shift()).to_numpy()
    shown = dates.astype(str).to_numpy() if early.any() else None
    problems.rows("decided_at", early, shown, "decisions in the order they were made", line=line)
    twice = _repeated(frame, in_order=not early.any())
    again = "an id that was there at that moment"
    problems.rows("customer_id", twice, None, "one decision a customer and moment", line=line, found=again)


def _repeated(frame: pd.DataFrame, *, in_order: bool) -> NDArray[np.bool_]:
    """(n,) decisions about a customer of whom there is another of the same moment."""
    dates = frame["decided_at"]
    near = (dates == dates.shift()) | (dates == dates.shift(-1)) if in_order else dates.notna()
    twice = near.to_numpy(copy=True)
    twice[twice] = frame.loc[near, ["customer_id", "decided_at"]].duplicated().to_numpy()
    return np.asarray(twice)


def _whole(frame: pd.DataFrame) -> pd.DataFrame:
    """Counts and truths as integers, now that nothing is wrong with them."""
    return frame.astype(dict.fromkeys(("prior_offers", "accepted", "churned", "wave"), np.int64), copy=False)

"""The offer log and its contract: a decision a row, with every arm's propensity. No model, no truth."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from churn_assets.arms import (
    NO_CONTACT_ID,
    ArmError,
    Catalogue,
    Menu,
    did_you_mean,
    percent_id,
    percent_share,
    percents,
)
from churn_assets.customers.labels import DAYS_A_MONTH
from churn_assets.customers.names import named
from churn_assets.offers.config import ARM, COLUMNS, SHORTHAND, KnownBy, OfferLogConfig
from churn_assets.offers.economics import OutcomeConfig
from churn_assets.offers.eligibility import may_get
from churn_assets.offers.history import history_features
from churn_assets.tables.config import FileReading
from churn_assets.tables.files import DETECTED, read_raw
from churn_assets.tables.problems import ROLE, STRUCTURE, Problems, TableError
from churn_assets.tables.raw import FIRST_LINE, RawTable
from churn_assets.tables.rules import NumberRule
from churn_assets.tables.source import read_source, source_name
from churn_assets.tables.values import (
    ambiguous_decimals,
    attempt_numbers,
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
    from churn_assets.customers.schema import CustomerSchema
    from churn_assets.customers.table import CustomerTable
    from churn_assets.offers.economics import Economics

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
_AT_LEAST_ZERO = NumberRule(lowest=0, needed=True)


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
    (value of the decision in money, see `decision_value`), `control_<name>` for each negative control, `drawn_together`
    where one draw was for several customers, and `feature_<name>` for each feature of the customer that the log has as
    it was at the decision. Where the value is of another outcome than leaving (`economics.outcome`), that stands as
    `outcome`, and `churned` is the share of the largest that was missed. A propensity is 0 where an arm was not
    possible.

    `menu` has the arms, no contact first. `simulated`: the demo world wrote the responses. `known_by` says how
    propensities are known; of a log of contacted customers only there are none, and churned and margin only where they
    were told. `left_out` counts decisions that were there and teach nothing, see `checked_log`; `strangers` those of
    customers who are not in the table; `unknown` those before which nothing is known of the customer. `said` is what
    was detected or mended in reading.
    """

    frame: pd.DataFrame
    menu: Menu
    simulated: bool
    known_by: KnownBy = "logged"
    left_out: int = 0
    strangers: int = 0
    unknown: int = 0
    said: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.frame)

    @cached_property
    def arm(self) -> Ints:
        """(n,) index into `menu` of the logged arm."""
        return np.asarray(pd.Index(self.menu.ids).get_indexer(self.frame["arm"]), dtype=np.int64)

    @cached_property
    def propensities(self) -> Floats:
        """(n, K) probability with which the logging policy chose each arm.

        Raises:
            OfferLogError: Only contacted customers are in the log.
        """
        self._needs_choices()
        columns = list(map(propensity_column, self.menu.ids))
        return np.ascontiguousarray(self.frame[columns], dtype=np.float64)

    def clusters(self, customer: Ints) -> Ints:
        """(n,) whose decisions hang together: those of a customer (n,), or of all who got the same by one draw."""
        return np.asarray(pd.factorize(self.frame[UNIT])[0], np.int64) if UNIT in self.frame else customer

    @property
    def months(self) -> Floats:
        """(n,) when each decision was made, since the first."""
        decided = self.frame["decided_at"]
        seconds = (decided - decided.min()).dt.total_seconds().to_numpy()
        return np.asarray(seconds / (86_400 * DAYS_A_MONTH), np.float64)

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
    def churned(self) -> NDArray[Any]:
        """(n,) 1 where the customer left in the label window; of an amount of money, the share that was missed.

        Raises:
            OfferLogError: It was not told, of contacted customers only.
        """
        if "churned" not in self.frame:
            self._needs_choices()
        return np.asarray(self.frame["churned"])

    @property
    def of_outcome(self) -> bool:
        """Whether the value is of another outcome than leaving: visits, or an amount of money."""
        return OUTCOME in self.frame

    @property
    def margin(self) -> Floats:
        """(n,) value of the decision in money."""
        return np.asarray(self.frame["margin"], dtype=np.float64)

    @cached_property
    def own_features(self) -> pd.DataFrame:
        """(n, f) features of the customers as they were, by name: those that the log has."""
        own = [name for name in self.frame if name.startswith(FEATURE)]
        return self.frame[own].rename(columns=lambda name: name.removeprefix(FEATURE))

    def _needs_choices(self) -> None:
        """Raises an error where everybody was contacted: nobody chose, so that nothing shows what contact changes."""
        if self.known_by == "contacted_only":
            raise OfferLogError(
                "offer log: found contacted customers only (offer_log.propensities: contacted_only), expected some who "
                "were left alone: what contact changes cannot be learned from it; leave effect_model and ppo_decision "
                "out (release.branches: [risk, accept])"
            )

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
            came = OUTCOME if self.of_outcome else "churned"
            accepted, came_of_it = (
                float(self.frame[name][inside].mean()) if name in self.frame and inside.any() else None
                for name in ("accepted", came)
            )
            about = {
                "arm": arm.id,
                "offer": arm.label,
                "rows": int(inside.sum()),
                "share": float(inside.mean()),
            }
            rows.append(about | {"accepted": accepted if arm.contacts else None, came: came_of_it})
        return rows

    def where(self, mask: NDArray[np.bool_]) -> OfferLog:
        """The decisions that `mask` (n,) keeps, in the same order."""
        frame = self.frame[mask].reset_index(drop=True)
        return OfferLog(frame, self.menu, self.simulated, self.known_by)


UNKNOWN_ID = "an id that is not there"
OUTCOME, UNIT = "outcome", "drawn_together"
CONTROL, FEATURE = "control_", "feature_"
"""Start the names of negative controls, and of features, in the log."""
AS_LOGGED = OfferLogConfig(source="a file")
CustomerRows: TypeAlias = "pd.DataFrame | Callable[[OfferLog], pd.DataFrame]"
"""Of customers, by which conditions of arms are judged: (N, F) of those named, or (n, F) of the decisions of a log."""


def read_log(
    path: Path,
    columns: Mapping[str, str],
    customer_ids: Sequence[str] | NDArray[Any],
    catalogue: Catalogue,
    where: str | None = None,
    *,
    features: CustomerRows | None = None,
    reading: FileReading = DETECTED,
    settings: OfferLogConfig = AS_LOGGED,
    without: Collection[str] = (),
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
        settings: how propensities are known, and what the file calls things; see `OfferLogConfig`.
        without: columns that may be missing beside those that the log can do without; blank then.

    Raises:
        OfferLogError: the file cannot be read as such a table, or a row breaks the contract.
    """
    problems = Problems(where or str(path), OfferLogError)
    raw = read_raw(path, problems, reading)
    return log_of(
        raw, columns, customer_ids, catalogue, problems, features=features, settings=settings, without=without
    )


def configured_log(
    config: OfferLogConfig,
    customers: CustomerTable,
    catalogue: Catalogue,
    root: Path,
    economics: Economics,
    key: bytes = b"",
) -> OfferLog:
    """The log that an experiment names; the decisions of a database are taken in the order of `decided_at`.

    What the file does not say and can be known is filled in, and said: margins by `economics`, propensities by what
    `config` says of them, and where an arm was never possible becomes a condition of it. With a `key`, `customers` are
    named by pseudonyms, and so is the log.

    Raises:
        OfferLogError: As of `read_log`.
        StoreError: It is in a bucket or a database that cannot be read.
    """
    from churn_assets.offers.as_of import customers_then, known_before
    from churn_assets.offers.completing import completed_log

    problems = Problems(source_name(config.source, root), OfferLogError)
    order = [config.columns.get(name, name) for name in ("decided_at", "customer_id")]
    raw, digest = read_source(config.source, root, problems, config.reading, order)
    if customers.schema.made_id and customers.source is not None and digest == customers.source.sha256:
        _name_by_line(raw, config)
    log = log_of(
        raw,
        config.columns,
        customers.ids,
        catalogue,
        problems,
        features=partial(customers_then, customers=customers),
        settings=config,
        without=("margin",),
        schema=customers.schema,
        key=key,
        outcome=economics.outcome,
    )
    log, unknown = known_before(log, customers, problems.where)
    return replace(completed_log(log, customers, config, economics), unknown=unknown)


def log_of(
    raw: RawTable,
    columns: Mapping[str, str],
    customer_ids: Sequence[str] | NDArray[Any],
    catalogue: Catalogue,
    problems: Problems,
    *,
    features: CustomerRows | None = None,
    settings: OfferLogConfig = AS_LOGGED,
    without: Collection[str] = (),
    schema: CustomerSchema | None = None,
    key: bytes = b"",
    outcome: OutcomeConfig | None = None,
) -> OfferLog:
    """As `read_log`, of a raw table from any source; `schema` says how features of its own are read.

    With an `outcome` it is read from its column; what says who accepted may then be missing: nobody is asked.

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
    if outcome is not None and outcome.column in columns.values():  # it may be said of who accepted, too
        named.columns[outcome.column] = raw.columns[outcome.column]
    asked = _Asked(settings, frozenset(without), schema, key, outcome)
    return _log(
        named, customer_ids, catalogue, simulated=False, problems=problems, features=features, asked=asked
    )


def as_log(
    frame: pd.DataFrame,
    customer_ids: Sequence[str] | NDArray[Any],
    catalogue: Catalogue,
    *,
    simulated: bool,
    origin: str,
    features: CustomerRows | None = None,
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
    features: CustomerRows | None,
    asked: _Asked | None = None,
) -> OfferLog:
    asked = asked or _Asked()
    _rename_arms(raw, asked.settings.arm_names)
    _only_arm(raw, catalogue, asked)
    menu, theirs = _header(raw, catalogue, problems, asked)
    ours = {column: propensity_column(arm_id) for arm_id, column in theirs.items()}
    problems.names |= {new: problems.names.get(old, old) for old, new in ours.items()}
    return _checked(raw.renamed(ours), customer_ids, menu, simulated, problems, features, asked)


def checked_log(
    frame: pd.DataFrame,
    customer_ids: Sequence[str] | NDArray[Any],
    menu: Menu,
    *,
    simulated: bool,
    origin: str,
    features: CustomerRows | None = None,
    outcome: OutcomeConfig | None = None,
) -> OfferLog:
    """As `as_log`, of a table that has a `propensity_<arm id>` for every arm of a menu.

    A propensity of 0 says that the arm was not possible. Of an arm with conditions it means that the customer did not
    keep them. Who keeps them by now and did not then would teach that the arm is never made to such customers: these
    decisions, and without `features` all with a 0 of such an arm, are left out and counted. So are those of customers
    who are not among `customer_ids`, and those of whom it was certain that they would be contacted.

    Raises:
        OfferLogError: As of `as_log`; or nothing is left.
    """
    raw, problems = RawTable.of_frame(frame, origin), Problems(origin, OfferLogError)
    asked = _Asked(outcome=outcome)
    return _checked(raw, customer_ids, menu, simulated, problems, features, asked)


@dataclass(frozen=True)
class _Asked:
    """What the caller says of a table: how it is to be understood, and which columns may be missing."""

    settings: OfferLogConfig = AS_LOGGED
    without: frozenset[str] = frozenset()
    schema: CustomerSchema | None = None
    key: bytes = b""
    outcome: OutcomeConfig | None = None

    @property
    def known_by(self) -> KnownBy:
        return self.settings.propensities

    @property
    def told(self) -> tuple[str, ...]:
        """Columns of truths and money that the table must have."""
        free = self.without | ({"churned", "margin"} if self.known_by == "contacted_only" else set())
        free |= {"accepted", "churned", "margin"} if self.outcome else set()
        return tuple(name for name in ("accepted", "churned", "margin") if name not in free)


def _checked(
    raw: RawTable,
    customer_ids: Sequence[str] | NDArray[Any],
    menu: Menu,
    simulated: bool,
    problems: Problems,
    features: CustomerRows | None,
    asked: _Asked | None = None,
) -> OfferLog:
    asked = asked or _Asked()
    if not len(raw):
        problems.add("no rows", "at least one decision", rank=STRUCTURE)
        problems.stop()
    frame = _typed(raw, menu, problems, asked)
    if asked.known_by == "logged":
        frame = _unrounded(raw, frame, menu, problems)
    strange = _compare(frame, menu, customer_ids, raw.line, problems, asked)
    ambiguous_decimals(raw, problems)
    problems.stop()
    say_decimals(raw)
    _refuse_everybody_contacted(frame, menu, problems, asked)
    frame = _with_history(_whole(frame, menu, raw), menu, problems, asked)
    log = OfferLog(frame, menu, simulated, asked.known_by)
    log = _without_strangers(log, strange, raw)
    return replace(_possible(log, customer_ids, features, problems, raw), said=tuple(raw.said))


def _refuse_everybody_contacted(frame: pd.DataFrame, menu: Menu, problems: Problems, asked: _Asked) -> None:
    """Of a log without propensities of all arms: where nobody was left alone, nothing says what contact changes."""
    if (
        asked.known_by not in ("logged_chosen", "randomised", "estimated")
        or (frame[ARM] == menu.ids[0]).any()
    ):
        return
    problems.add(
        f"no decision of {NO_CONTACT_ID}",
        "some customers who were left alone, to compare with",
        column=ARM,
        remedy="where something is always shown, say which of it stands for doing nothing special: `arm_names: {<its "
        f"name>: {NO_CONTACT_ID}}}`; where everybody was contacted: `propensities: contacted_only`",
        rank=ROLE,
    )
    problems.stop()


def _without_strangers(log: OfferLog, strange: NDArray[np.bool_], raw: RawTable) -> OfferLog:
    """Without decisions about customers who are not in the table; what is lost with them is said."""
    if not strange.any():
        return log
    kept = log.where(~strange)
    told = f"{int(strange.sum())} decisions are about customers who are not in the table (any more): left out"
    if "churned" in log.frame:
        left, others = log.frame["churned"][strange].mean(), log.frame["churned"][~strange].mean()
        told += f"; of them {left:.1%} left, of the others {others:.1%}"
    raw.said.append(told)
    return replace(kept, strangers=int(strange.sum()))


def _possible(
    log: OfferLog,
    customer_ids: Sequence[str] | NDArray[Any],
    features: CustomerRows | None,
    problems: Problems,
    raw: RawTable,
) -> OfferLog:
    """Without decisions that could not have been left alone, and those that conditions kept from an arm only then."""
    if log.known_by != "logged" or (log.propensities > 0).all():
        return log
    if (certain := log.propensities[:, 0] == 0).any():
        raw.said.append(
            f"{int(certain.sum())} decisions had no chance of {NO_CONTACT_ID}: what contact changed cannot be known of "
            "them, and they were left out"
        )
        log = replace(log.where(~certain), strangers=log.strangers, left_out=int(certain.sum()))
    declared = np.array([bool(arm.eligible) for arm in log.menu])
    try:
        barred = (
            np.zeros((1, len(log.menu)), bool)
            if features is None
            else ~may_get(log.menu, _as_it_was(log, _of_decisions(log, customer_ids, features)))
        )
    except ArmError as error:
        raise OfferLogError(f"{problems.where}: {error}") from error
    kept = np.all((log.propensities > 0) | barred | ~declared, axis=1)
    if not kept.any():
        raise OfferLogError(
            f"{problems.where}: found a propensity of 0 for a customer who keeps the arm's conditions, or of "
            f"{NO_CONTACT_ID}, in every row, expected some with more than 0 for all such arms"
        )
    left_out = log.left_out + int((~kept).sum())
    return replace(log.where(kept), strangers=log.strangers, left_out=left_out)


def _of_decisions(
    log: OfferLog, customer_ids: Sequence[str] | NDArray[Any], features: CustomerRows
) -> pd.DataFrame:
    """(n, F) features of each decision's customer."""
    return features.iloc[log.positions(customer_ids)] if isinstance(features, pd.DataFrame) else features(log)


def _as_it_was(log: OfferLog, features: pd.DataFrame) -> pd.DataFrame:
    """(n, F) features of each decision's customer, those of the log in place of the table's."""
    own = {str(name): values.to_numpy() for name, values in log.own_features.items()}
    return features.assign(**own) if own else features


def _name_by_line(raw: RawTable, config: OfferLogConfig) -> None:
    """Of one file that is customers and log in one, and has no ids: the customer of a decision is that of its line."""
    if config.columns.get("customer_id", "customer_id") not in raw.columns:
        raw.columns["customer_id"] = pa.array([f"line-{line}" for line in raw.line.tolist()])
        raw.said.append(
            "customers and log are one file without ids: a decision's customer is that of its line"
        )


def _rename_arms(raw: RawTable, names: Mapping[str, str]) -> None:
    """Arms as the log calls them, where the file has names of its own."""
    if names and ARM in raw.columns:
        codes, texts = distinct_texts(raw, ARM)
        ours = np.array([*(names.get(text, text) for text in texts), None], dtype=object)
        raw.columns[ARM] = pa.array(ours[codes], pa.string())
        raw.asked = None


def _only_arm(raw: RawTable, catalogue: Catalogue, asked: _Asked) -> None:
    """The arm of everybody who was contacted, where the experiment declares one alone."""
    if asked.known_by == "contacted_only" and not {ARM, SHORTHAND} & set(raw.columns):
        contacting = [each.id for each in catalogue.declared]
        if len(contacting) == 1:
            raw.columns[ARM] = pa.array(contacting * len(raw), pa.string())
            raw.said.append(
                f"no column {ARM}: everybody was contacted by the one arm declared, {contacting[0]}"
            )


def _header(
    raw: RawTable, catalogue: Catalogue, problems: Problems, asked: _Asked
) -> tuple[Menu, dict[str, str]]:
    """The table's menu, and the column of each arm's propensity where they are logged."""
    columns: dict[str, str] = {}
    for column in (name for name in raw.names if name.startswith(_PROPENSITY)):
        try:
            arm_id = _arm_of(column, catalogue)
        except ArmError as error:
            if asked.known_by != "logged":  # nobody asks for it, whatever it is
                raw.said.append(f"column {column!r} is not read (propensities: {asked.known_by})")
                continue
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
    for name in (each for each in _needed(asked) if each not in has):
        near = did_you_mean(name, found)
        expected = f"it beside {_listed(found)}{near}"
        remedy = f"another name for it: `columns: {{{name}: ...}}`"
        if name == "decided_at":
            remedy += "; one day for all decisions: `start: <the day>`"
        problems.add("no such column", expected, column=name, remedy=remedy, rank=STRUCTURE)
    arms: Iterable[str] = columns
    if asked.known_by != "logged" and not problems.all:
        if columns:
            problems.add(
                f"the columns {_listed(columns.values())}",
                f"none with propensities: {asked.known_by}",
                remedy="leave them out, or say `propensities: logged`",
                rank=STRUCTURE,
            )
        arms = _arms_made(raw, catalogue, problems, asked)
    elif not problems.all and (NO_CONTACT_ID not in columns or len(columns) < 2):
        problems.add(
            f"the arms {_listed(columns)}",
            f"{propensity_column(NO_CONTACT_ID)} (or propensity_0) and at least one other propensity_<arm id>",
            remedy="where the file has no propensities, `propensities: logged_chosen`, `randomised`, `estimated` or "
            "`contacted_only` says how they are known (docs/offer-logs.md)",
            rank=STRUCTURE,
        )
    problems.stop()
    try:
        ordered: list[str] = sorted(arms, key=lambda arm_id: _place(arm_id, catalogue))
        return catalogue.menu(ordered), columns
    except ArmError as error:
        raise OfferLogError(f"{problems.where}: {error}") from error


_REPLACEABLE = ("wave", "policy_version", "prior_offers")
"""Columns of which the log itself says as much."""


def _needed(asked: _Asked) -> Iterator[str]:
    """Columns that the table must have, in their order."""
    start = "start" in asked.settings.model_fields_set
    further = (None if asked.outcome is None else asked.outcome.column, asked.settings.drawn_together)
    own = [name for name in further if name is not None]
    for name in (*COLUMNS, *asked.settings.negative_controls, *asked.settings.feature_columns.values(), *own):
        free = name in _REPLACEABLE or (name == "decided_at" and start)
        free |= name in ("accepted", "churned", "margin") and name not in asked.told
        free |= name == "propensity" and asked.known_by not in ("logged", "logged_chosen")
        if not free:
            yield name


def _arms_made(raw: RawTable, catalogue: Catalogue, problems: Problems, asked: _Asked) -> Iterable[str]:
    """Ids of no contact, the arms that were chosen and those that shares are of, where no columns name the arms."""
    if means_nothing(raw, SHORTHAND if SHORTHAND in raw.columns else ARM, problems, rank=ROLE):
        return ()
    if SHORTHAND in raw.columns:
        shares = np.unique(attempt_numbers(raw, SHORTHAND)[0])
        found = [percent_id(each) if each else NO_CONTACT_ID for each in shares[~np.isnan(shares)].tolist()]
    else:
        found = distinct_texts(raw, ARM)[1]
    strata = asked.settings.shares_by_stratum
    planned = [arm_id for shares in strata.values() for arm_id in shares]
    arms = dict.fromkeys((NO_CONTACT_ID, *planned, *(found if not strata else ())))
    for arm_id in arms:
        try:
            catalogue.arm(arm_id)
        except ArmError as error:
            said, _, expected = str(error).removeprefix("found ").partition(", expected ")
            remedy = "declare it under arms:, or say what it is: `offer_log: {arm_names: {...: <arm id>}}`"
            problems.add(said, expected, column=ARM, remedy=remedy, rank=ROLE)
    if len(arms) < 2:
        problems.add(f"the arms {_listed(arms)}", "at least one that contacts", column=ARM, rank=ROLE)
    return arms


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


def _typed(raw: RawTable, menu: Menu, problems: Problems, asked: _Asked) -> pd.DataFrame:
    """The log's columns only, each in its type; counts and truths as numbers, NaN for what is wrong."""
    ids = parse_ids(raw, "customer_id", problems, unique=False)
    columns: dict[str, Any] = {"customer_id": named(ids, asked.key) if asked.key else ids}
    columns["decided_at"] = _decided_at(raw, problems, asked)
    columns["wave"] = None
    columns[ARM] = _arms(raw, menu, problems)
    _drop(raw, "customer_id", "decided_at", ARM, SHORTHAND)
    columns |= _propensities(raw, menu, problems, asked)
    if "policy_version" in raw.columns:
        columns["policy_version"] = parse_texts(raw, "policy_version", problems)
        blank = pd.isna(columns["policy_version"])
        problems.rows("policy_version", blank, columns["policy_version"], "a text", line=raw.line)
    else:
        columns["policy_version"] = np.full(len(raw), NOT_TOLD, dtype=object)
    if "prior_offers" in raw.columns:
        columns["prior_offers"] = parse_numbers(raw, "prior_offers", problems, _COUNT)
    for name in ("accepted", "churned") if asked.outcome is None else ("accepted",):
        if name in asked.told or name in raw.columns:
            columns[name] = parse_truths(raw, name, problems, needed=True)
    columns |= _outcome(raw, problems, asked)
    if "margin" in asked.told or "margin" in raw.columns:
        columns["margin"] = parse_numbers(raw, "margin", problems, _MONEY)
    for name in asked.settings.negative_controls:
        columns[CONTROL + name] = parse_numbers(raw, name, problems, _MONEY)
    if (unit := asked.settings.drawn_together) is not None:
        together = parse_ids(raw, unit, problems, unique=False)
        columns[UNIT] = named(together, asked.key) if asked.key else together
    columns |= _features(raw, columns["decided_at"], problems, asked)
    if "wave" in raw.columns:
        columns["wave"] = parse_numbers(raw, "wave", problems, _COUNT)
    else:
        dates = columns["decided_at"]
        columns["wave"] = np.asarray((dates - dates.min()).days // 7, np.float64)
    _strata(raw, columns, problems, asked)
    raw.columns.clear()
    return pd.DataFrame(columns, copy=False)


NOT_TOLD = "not told"
"""Who decided, where the file does not say."""
STRATUM = "stratum"


def _decided_at(raw: RawTable, problems: Problems, asked: _Asked) -> pd.DatetimeIndex:
    if "start" not in asked.settings.model_fields_set or asked.settings.simulated:
        return parse_dates(raw, "decided_at", problems, needed=True)
    if "decided_at" in raw.columns:
        found = "this column and `start` in the config"
        problems.add(found, "one of them", column="decided_at", remedy="leave `start` out", rank=ROLE)
    day = pd.Timestamp(asked.settings.start, tz="UTC").as_unit("us")
    return pd.DatetimeIndex([day] * len(raw))


def _propensities(raw: RawTable, menu: Menu, problems: Problems, asked: _Asked) -> dict[str, Any]:
    """As far as the table has them; what the others are is found out later, and no number until then."""
    found: dict[str, Any] = {}
    if asked.known_by in ("logged", "logged_chosen"):
        found["propensity"] = parse_numbers(raw, "propensity", problems, _ABOVE_ZERO)
    elif asked.known_by != "contacted_only":
        found["propensity"] = np.full(len(raw), np.nan)
    for arm in menu if asked.known_by != "contacted_only" else ():
        name = propensity_column(arm.id)
        known = asked.known_by == "logged"
        found[name] = parse_numbers(raw, name, problems, _SHARE) if known else np.full(len(raw), np.nan)
    _drop(raw, *found)
    return found


def _strata(raw: RawTable, columns: dict[str, Any], problems: Problems, asked: _Asked) -> None:
    """The column that shares are by, where it is one of the file; one of the customer table is found there."""
    stratum = asked.settings.stratum
    if stratum is None:
        return
    if stratum == "wave":
        columns[STRATUM] = np.array([f"{each:g}" for each in columns["wave"]], dtype=object)
    elif stratum in raw.columns:
        columns[STRATUM] = parse_texts(raw, stratum, problems)


def _features(
    raw: RawTable, decided_at: pd.DatetimeIndex, problems: Problems, asked: _Asked
) -> dict[str, Any]:
    """Features of the customers as they were at the decision, read by the rules of their table."""
    own, schema = asked.settings.feature_columns, asked.schema
    if not own or schema is None:
        return {}
    from churn_assets.customers.table import typed

    for name in (each for each in own if each not in schema.names):
        near = did_you_mean(name, schema.names)
        problems.add(
            f"offer_log.features with {name!r}",
            f"features of the customers: {_listed(schema.names)}{near}",
            rank=ROLE,
        )
    wanted = tuple(each for each in schema.features if each.name in own and each.constant is None)
    theirs = {own[each.name]: each.name for each in wanted}
    part = replace(raw, columns={name: raw.columns[name] for name in theirs}).renamed(theirs)
    problems.names |= {name: column for column, name in theirs.items()}
    rules = schema.model_copy(update={"features": wanted, "made_id": True, "row_date": None})
    found = typed(part, rules, problems, as_of=decided_at).frame
    return {FEATURE + each.name: found[each.name].to_numpy() for each in wanted}


def _outcome(raw: RawTable, problems: Problems, asked: _Asked) -> dict[str, Any]:
    """Another outcome than leaving, and the share of the largest that was missed."""
    wanted = asked.outcome
    if wanted is None:
        return {}
    if wanted.amount:
        came = parse_numbers(raw, wanted.column, problems, _AT_LEAST_ZERO)
        if over := int((came > wanted.unit).sum()):
            raw.said.append(f"{wanted.column}: {over} of more than {wanted.unit:g} count as much")
            came = np.minimum(came, wanted.unit)
    else:
        came = parse_truths(raw, wanted.column, problems, needed=True)
    missed = {OUTCOME: came, "churned": 1 - came / wanted.unit}
    if "accepted" in raw.columns:
        return missed
    if asked.known_by == "contacted_only" and not wanted.amount:
        raw.said.append(
            f"no column accepted: whoever was contacted, and {wanted.column} came of it, accepted"
        )
        return missed | {"accepted": came}
    return missed | {"accepted": np.zeros(len(raw))}


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
    asked: _Asked,
) -> NDArray[np.bool_]:
    """Rules that tie columns or rows together; (n,) decisions about customers who are not in the table."""
    uncontacted = (frame[ARM] == menu.ids[0]).to_numpy()
    if asked.known_by == "contacted_only":
        remedy = "where some were left alone effects can be learned: `propensities: estimated`, or as they are known"
        expected = "contacted customers only"
        problems.rows(ARM, uncontacted, frame[ARM].to_numpy(), expected, line=line, remedy=remedy, rank=ROLE)
    accepted, dates, ids = frame["accepted"].to_numpy(), frame["decided_at"], frame["customer_id"]
    found = uncontacted & (accepted == 1)
    problems.rows("accepted", found, accepted, "0 where nothing was offered", line=line)
    known = pc.is_in(pa.array(ids), pa.array([*np.asarray(customer_ids, dtype=object), ""], pa.string()))
    unknown = ~np.array(known, dtype=bool)
    if unknown.all():
        expected = f"one of the {len(customer_ids)} customers in some row"
        problems.rows("customer_id", unknown, None, expected, line=line, found=UNKNOWN_ID)
    early = (dates < dates.shift()).to_numpy()
    shown = dates.astype(str).to_numpy() if early.any() else None
    problems.rows("decided_at", early, shown, "decisions in the order they were made", line=line)
    twice = _repeated(frame, in_order=not early.any())
    again = "an id that was there at that moment"
    problems.rows("customer_id", twice, None, "one decision a customer and moment", line=line, found=again)
    return np.asarray(unknown)


def _repeated(frame: pd.DataFrame, *, in_order: bool) -> NDArray[np.bool_]:
    """(n,) decisions about a customer of whom there is another of the same moment."""
    dates = frame["decided_at"]
    near = (dates == dates.shift()) | (dates == dates.shift(-1)) if in_order else dates.notna()
    twice = near.to_numpy(copy=True)
    twice[twice] = frame.loc[near, ["customer_id", "decided_at"]].duplicated().to_numpy()
    return np.asarray(twice)


def _whole(frame: pd.DataFrame, menu: Menu, raw: RawTable) -> pd.DataFrame:
    """Counts and truths as integers, now that nothing is wrong with them; earlier offers are counted if need be."""
    if "prior_offers" not in frame:
        place = list(frame.columns).index("policy_version") + 1
        frame.insert(place, "prior_offers", _offers_before(frame, menu))
        raw.said.append("prior_offers were counted in the log itself: offers in the 90 days before")
    whole = [name for name in ("prior_offers", "accepted", "churned", "wave") if name in frame]
    if OUTCOME in frame and (frame["churned"] % 1).any():
        whole.remove("churned")  # of an amount, a share
    return frame.astype(dict.fromkeys(whole, np.int64), copy=False)


def _with_history(frame: pd.DataFrame, menu: Menu, problems: Problems, asked: _Asked) -> pd.DataFrame:
    """With what was offered before, and what came of it, as features of the customers."""
    wanted, schema = asked.settings.history, asked.schema
    if not wanted or schema is None:
        return frame
    numbers = [each.name for each in schema.features if each.kind == "numeric" and each.constant is None]
    for name in (each for each in wanted if each not in numbers):
        near = did_you_mean(name, numbers)
        problems.add(
            f"offer_log.history with {name!r}",
            f"features of the customers that are numbers: {_listed(numbers)}{near}",
            remedy=f"give the customers a column {name!r}: how it is now, as whoever asks for a decision tells it",
            rank=ROLE,
        )
    problems.stop()
    window = schema.label_window_months * DAYS_A_MONTH if asked.outcome is None else asked.outcome.window_days
    try:
        found = history_features(frame, menu, wanted, window)
    except ValueError as error:
        raise OfferLogError(f"{problems.where}: offer_log.history: {error}") from error
    return frame.assign(**{FEATURE + name: values for name, values in found.items()})


RECENT_SECONDS = 90 * 24 * 3600.0


def _offers_before(frame: pd.DataFrame, menu: Menu) -> Ints:
    """(n,) contacts of the same customer in the log in the 90 days before; rows are in the order of time."""
    customer = pd.factorize(frame["customer_id"])[0].astype(np.float64)
    seconds = (frame["decided_at"] - frame["decided_at"].min()).dt.total_seconds().to_numpy()
    apart = customer * (float(seconds.max()) + RECENT_SECONDS + 1)
    order = np.argsort(apart + seconds, kind="stable")
    moments = (apart + seconds)[order]
    contacted = (frame[ARM] != menu.ids[0]).to_numpy()[order]
    before = np.concatenate([[0], np.cumsum(contacted)])
    since = np.searchsorted(moments, moments - RECENT_SECONDS, side="left")
    found = np.empty(len(frame), np.int64)
    found[order] = before[:-1] - before[since]
    return found

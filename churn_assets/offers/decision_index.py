"""The decision log on disk as tables: each segment is read once, and what is asked is answered in bounded memory.

The index is made from the log and from nothing else: losing it loses nothing. It holds no name of a person: customers
and decisions stand in it by 64 bits of a hash, features not at all but the price and those whose levels guardrails
judge apart.
"""

from __future__ import annotations

import errno
import json
import secrets
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pandas as pd

from churn_assets.arms import NO_CONTACT_ID
from churn_assets.offers.economics import OF_STAYERS, ServedTerms
from churn_assets.offers.log import propensity_column
from churn_assets.offers.records import LoggedCustomer, LoggedOutcome, read_decision, read_outcomes
from churn_assets.offers.segments import DECISIONS, SUFFIX, SegmentError, sealed_segments
from churn_assets.offers.stored_log import LoggedSegment, logged_segments, stored_segments
from churn_assets.store.backend import Backend
from churn_assets.store.local import private_folder

NO_CONTACT = propensity_column(NO_CONTACT_ID)

_VERSION = 6
_CACHE_KB = 16 << 10
_SAME_MONEY = 0.01
"""An amount that was rounded on the way contradicts nothing; flags are apart by 1, shares of an outcome as money is."""
_BUSY_SECONDS = 60.0
_SECOND = 1_000_000
_CLOCKS_DIFFER = timedelta(minutes=5)
"""What lies further ahead was told by a clock that is wrong."""
_MARKS = ", ".join("?" * 12)

_CHUNK = 20_000
_ASKED = 500
"""Ids in one question; SQLite takes 999 everywhere."""

_TABLES = """
CREATE TABLE segments(place INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL);
CREATE TABLE facts(name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE names(id INTEGER PRIMARY KEY, text TEXT UNIQUE NOT NULL);
CREATE TABLE decisions(
    id INTEGER PRIMARY KEY, at INTEGER, release INTEGER, customer INTEGER, arm INTEGER, assigned INTEGER,
    idle REAL, risk REAL, acceptance REAL, price REAL, contact INTEGER, levels TEXT);
CREATE TABLE outcomes(
    id INTEGER PRIMARY KEY, accepted REAL, churned REAL, margin REAL, complained REAL, opted_out REAL,
    told_at INTEGER, contradicted INTEGER);
CREATE TABLE reports(
    id INTEGER PRIMARY KEY, accepted REAL, churned REAL, margin REAL, complained REAL, opted_out REAL,
    told_at INTEGER, contradicted INTEGER);
CREATE TABLE pending(id INTEGER PRIMARY KEY, release INTEGER, at INTEGER);
CREATE INDEX pending_of ON pending(release, at);
CREATE TABLE judged(side TEXT, place INTEGER, id INTEGER UNIQUE, telling INTEGER, PRIMARY KEY(side, place));
CREATE UNIQUE INDEX judged_telling ON judged(side, telling) WHERE telling IS NOT NULL;
"""
"""`outcomes` is what the log told, `reports` what a file told; `pending` are decisions whose outcome is whole and that
nobody has judged yet, `judged` those of the release that leads, and of one that is tried beside it, each in the order
in which they became known: one that was judged keeps its place. `levels` are those of the slices that are watched."""

_KNOWN = """
SELECT coalesce(o.accepted, r.accepted) AS accepted, coalesce(o.churned, r.churned) AS churned,
  coalesce(o.margin, r.margin) AS margin, o.told_at,
  max(coalesce(o.complained, 0), coalesce(r.complained, 0)) AS complained,
  max(coalesce(o.opted_out, 0), coalesce(r.opted_out, 0)) AS opted_out,
  coalesce(o.contradicted, 0) OR coalesce(r.contradicted, 0) OR abs(o.accepted - r.accepted) > 0.5
  OR abs(o.churned - r.churned) > 0.01 OR abs(o.margin - r.margin) > 0.01
  OR (coalesce(o.accepted, r.accepted, 0) > 0 AND NOT d.contact) AS contradicted, d.*
FROM decisions d LEFT JOIN outcomes o USING(id) LEFT JOIN reports r USING(id)
"""
_PUT_PENDING = f"""
INSERT OR IGNORE INTO pending SELECT id, release, at FROM ({_KNOWN} WHERE d.id = :id)
WHERE churned IS NOT NULL AND (accepted IS NOT NULL OR NOT contact) AND NOT coalesce(contradicted, 0)
  AND assigned IS NOT (SELECT id FROM names WHERE text = 'kill_switch')
  AND NOT EXISTS (SELECT 1 FROM judged WHERE judged.id = :id)
"""
_ROWS = f"""
SELECT k.customer AS customer_id, arms.text AS arm, who.text AS assigned, k.levels,
  iif(j.telling IS NULL, 0, k.idle) AS idle, k.risk, k.acceptance,
  k.price, k.accepted, k.churned, k.margin, k.complained, k.opted_out
FROM judged j JOIN ({_KNOWN}) k ON k.id = j.id JOIN names arms ON arms.id = k.arm JOIN names who ON who.id = k.assigned
"""
_FRAME = (
    "customer_id",
    "arm",
    "assigned",
    "levels",
    NO_CONTACT,
    "risk",
    "acceptance",
    "price",
    "accepted",
    "churned",
    "margin",
    "complained",
    "opted_out",
)


@dataclass(frozen=True)
class Reign:
    """A time in which a release leads, or is tried.

    Attributes:
        record: Number of what began it: in the channel, or in the log of trials.
        release: Which.
        since: When it began.
        without: Times within it, each from and until, whose decisions have a place and do not tell what no contact
            would bring: another release was tried beside it, and the trial looks at both.
        side: Those of a `leader` and of a `candidate` are judged apart.
    """

    record: int
    release: str
    since: datetime
    without: tuple[tuple[datetime, datetime], ...] = ()
    side: Literal["leader", "candidate"] = "leader"


class KnownOutcome(NamedTuple):
    """What became of a decision as far as it is known; `contradicted` where it was told in two ways."""

    accepted: float | None = None
    churned: float | None = None
    margin: float | None = None
    told_at: datetime | None = None
    contradicted: bool = False


class FoundDecision(NamedTuple):
    """A logged decision as the index knows it: which, of whom stands in the log alone.

    Attributes:
        at: When it was made; UTC.
        release: That made it.
        arm: Id of what was decided.
        assigned: Who chose.
        risk: P(churn) within the label window without contact.
        acceptance: P(accept) of the arm; 0 without contact.
        price: List price a month; None where the question told none.
        outcome: What became of it, as far as it is known.
    """

    at: datetime
    release: str
    arm: str
    assigned: str
    risk: float
    acceptance: float
    price: float | None
    outcome: KnownOutcome


@dataclass(frozen=True)
class DecisionFilter:
    """Which decisions are wanted: those that all of it holds for.

    Attributes:
        decision: Id of one decision; empty for any.
        customer: Id of a customer; empty for all.
        release: `experiment/release/version`; empty for all.
        arm: Id of an arm; empty for all.
        assigned: Who chose; empty for anybody.
        since: Not before.
        until: Before.
    """

    decision: str = ""
    customer: str = ""
    release: str = ""
    arm: str = ""
    assigned: str = ""
    since: datetime | None = None
    until: datetime | None = None


def identity(text: str) -> int:
    """64 bits that stand for an id: two of ten million are alike with a probability of 3 in a million."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big", signed=True)


_CALL_BITS = 16


def decision_identity(text: str) -> int:
    """As `identity`, of a decision: those of one call, `<call>-<place>`, are neighbours, so that they share pages.

    Rows lie by it in the index: 200 decisions of a call at 200 places of a large file would be 200 pages to write.
    """
    call, dash, place = text.rpartition("-")
    if not dash or not place.isdecimal() or str(int(place)) != place or int(place) >> _CALL_BITS:
        return identity(text)
    first, low = identity(call), (1 << _CALL_BITS) - 1
    return (first & ~low) | ((first + int(place)) & low)


class DecisionIndex:
    """What is known of every decision, in a file that every process of a machine may open.

    Args:
        path: Of the file; made where there is none, and made anew where it is no index or another version's. None: in
            memory.
        price: The feature that is the list price a month.
        slices: Features whose levels are kept, to judge each level apart.
        terms: What else the experiment says of its decisions. Another outcome than leaving is kept as the share of the
            largest that was missed.
    """

    def __init__(
        self,
        path: Path | None,
        price: str,
        slices: Sequence[str] = (),
        terms: ServedTerms = OF_STAYERS,
    ) -> None:
        self._price, self._slices = price, tuple(slices)
        self.terms = terms
        self._path = path
        self.problems: dict[str, str] = {}
        try:
            self._base = self._opened()
        except sqlite3.OperationalError as error:  # a full disk, or another process that takes too long
            raise self._unusable(error) from error
        except sqlite3.DatabaseError:
            self._forget()

    def close(self) -> None:
        """Give the file back."""
        self._base.close()

    def refresh(self, backend: Backend, experiment: str, folder: Path | None = None) -> None:
        """Read the segments that are new; `problems` are the keys that were ignored, and why.

        Where a segment that was read is gone, as by retention or erasure, all is read anew.

        Raises:
            StoreError: The store does not answer.
            OSError: The index cannot be written now.
        """
        self.problems = {}
        names = set(self.names())
        there = {
            each.rsplit("/", 1)[-1].removesuffix(SUFFIX) for each in stored_segments(backend, experiment)
        }
        there |= {path.stem for path in sealed_segments(folder)} if folder else set()
        if names - there:
            self._forget()
            names = set()
        found = logged_segments(backend, experiment, folder, ignored=self.problems.__setitem__, known=names)
        for segment in found:
            self.take(segment)

    def report(self, digest: str, outcomes: Callable[[], Iterable[LoggedOutcome]]) -> None:
        """Outcomes from elsewhere, as of a CRM; what the log says goes first.

        Args:
            digest: Of their content: what was taken already is not asked for again.
            outcomes: Reads them.
        """
        if self._fact("reports") == digest:
            return
        with self._transaction():
            self._base.execute("DELETE FROM reports")
            told = iter(outcomes())
            while part := list(islice(told, _CHUNK)):
                self._tell("reports", part, None)
            self._base.executemany(_PUT_PENDING, self._base.execute("SELECT id FROM reports"))
            self._know("reports", digest)

    def settle(self, reign: Reign, now: datetime, window: timedelta) -> None:
        """Give a place to every decision of a reign whose window is over and whose outcome became whole.

        A reign that began later than now was told by a wrong clock: then all decisions of its release count.
        """
        release = self._name(reign.release)
        since = 0 if reign.since > now else _microseconds(reign.since)
        until = _microseconds(now - window)
        without = [tuple(map(_microseconds, each)) for each in reign.without]
        which, asked = "pending WHERE release = ? AND at >= ? AND at <= ?", (release, since, until)
        with self._transaction():
            if self._fact(reign.side) != str(reign.record):
                self._base.execute("DELETE FROM judged WHERE side = ?", (reign.side,))
                self._know(reign.side, str(reign.record))
            place, telling = self.counts(reign.side)
            rows = self._base.execute(
                f"SELECT p.id, idle, p.at FROM (SELECT * FROM {which}) p JOIN decisions d ON d.id = p.id "
                "ORDER BY p.at, p.id",
                asked,
            )
            while found := rows.fetchmany(_CHUNK):
                placed = []
                for name, idle, at in found:
                    tried = any(start <= at <= end for start, end in without)
                    tells = idle is not None and idle > 0 and not tried
                    placed.append((reign.side, place, name, telling if tells else None))
                    place, telling = place + 1, telling + tells
                self._base.executemany("INSERT OR IGNORE INTO judged VALUES (?, ?, ?, ?)", placed)
            self._base.execute(f"DELETE FROM {which}", asked)

    def counts(self, side: str = "leader") -> tuple[int, int]:
        """Decisions that have a place, and those of them that could have been left without contact."""
        last = "SELECT coalesce(max({}), -1) + 1 FROM judged WHERE side = ?"
        return self._one(last.format("place"), side), self._one(last.format("telling"), side)

    def rows(self, start: int, stop: int, *, telling: bool = False, side: str = "leader") -> pd.DataFrame:
        """Settled decisions by their place, or by their place among those that could have been left without contact.

        Columns: customer_id (a hash), arm, assigned, levels (of the slices, a JSON list), propensity_no_contact (0
        where it tells nothing), risk, acceptance, price, accepted, churned, margin (nan where nothing told it),
        complained, opted_out (0 where nothing told it).
        """
        column = "telling" if telling else "place"
        asked = f"{_ROWS} WHERE j.side = ? AND j.{column} >= ? AND j.{column} < ? ORDER BY j.{column}"
        return _frame(self._base.execute(asked, (side, start, stop)).fetchall())

    def by_customer(self, stop: int) -> Iterator[pd.DataFrame]:
        """The first `stop` telling decisions in frames of which no two have a customer in common."""
        asked = f"{_ROWS} WHERE j.side = 'leader' AND j.telling < ? ORDER BY k.customer"
        found = self._base.execute(asked, (stop,))
        left: list[tuple[Any, ...]] = []
        while rows := found.fetchmany(_CHUNK):
            rows = left + rows
            last = rows[-1][0]
            cut = next((place for place in range(len(rows) - 1, -1, -1) if rows[place][0] != last), -1) + 1
            left = rows[cut:]
            if cut:
                yield _frame(rows[:cut])
        if left:
            yield _frame(left)

    def search(self, wanted: DecisionFilter, most: int = 100) -> list[FoundDecision]:
        """Decisions that a filter holds for, the newest first, at most so many."""
        self._base.execute("CREATE INDEX IF NOT EXISTS decisions_of ON decisions(customer, at)")
        self._base.execute("CREATE INDEX IF NOT EXISTS decisions_at ON decisions(at)")
        where, values = _conditions(wanted)
        rows = self._base.execute(
            "SELECT k.at, rel.text, arms.text, who.text, k.risk, k.acceptance, k.price, k.accepted, k.churned, "
            f"k.margin, k.told_at, k.contradicted FROM ({_KNOWN} WHERE {where} ORDER BY d.at DESC LIMIT ?) k "
            "JOIN names rel ON rel.id = k.release JOIN names arms ON arms.id = k.arm "
            "JOIN names who ON who.id = k.assigned ORDER BY k.at DESC",
            (*values, most),
        )
        return [_found(row) for row in rows]

    def places_at(self, count: int) -> list[datetime]:
        """When the telling decisions were made that close `count` equal parts of those with a place; oldest first."""
        _, telling = self.counts()
        places = sorted({telling * part // count - 1 for part in range(1, count + 1)} - {-1})
        marks = ", ".join("?" * len(places))
        rows = self._base.execute(
            "SELECT d.at FROM judged j JOIN decisions d ON d.id = j.id WHERE j.side = 'leader' "
            f"AND j.telling IN ({marks}) ORDER BY j.telling",
            places,
        )
        return [_time(at) for (at,) in rows]

    def spending(self) -> pd.DataFrame:
        """Contacts by month, release, arm and price, so that whatever an arm costs at a price can be worked out.

        Columns: month (`2026-11`), release, arm, price, n, told (of how many it is told whether they accepted),
        accepted.
        """
        rows = self._base.execute(
            "SELECT strftime('%Y-%m', k.at / 1000000, 'unixepoch') AS month, rel.text, arms.text, k.price, count(*), "
            f"count(k.accepted), total(k.accepted) FROM ({_KNOWN}) k JOIN names rel ON rel.id = k.release "
            "JOIN names arms ON arms.id = k.arm WHERE k.contact GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4"
        ).fetchall()
        columns = ["month", "release", "arm", "price", "n", "told", "accepted"]
        return pd.DataFrame(rows, columns=columns).astype({"price": "float64"})

    def decided(self) -> pd.DataFrame:
        """How many decisions each month had, by who chose: month, assigned, n, contacts."""
        rows = self._base.execute(
            "SELECT strftime('%Y-%m', d.at / 1000000, 'unixepoch'), who.text, count(*), total(d.contact) "
            "FROM decisions d JOIN names who ON who.id = d.assigned GROUP BY 1, 2 ORDER BY 1, 2"
        ).fetchall()
        return pd.DataFrame(rows, columns=["month", "assigned", "n", "contacts"])

    def decided_by(self, since: datetime) -> pd.DataFrame:
        """How many decisions each release made since a time, by who chose: release, assigned, n, contacts."""
        rows = self._base.execute(
            "SELECT r.text, who.text, count(*), total(d.contact) FROM decisions d JOIN names r ON r.id = d.release "
            "JOIN names who ON who.id = d.assigned WHERE d.at >= ? GROUP BY 1, 2 ORDER BY 1, 2",
            (_microseconds(since),),
        )
        return pd.DataFrame(rows.fetchall(), columns=["release", "assigned", "n", "contacts"])

    def names(self) -> list[str]:
        """Of the segments that were read, oldest first."""
        return [text for (text,) in self._base.execute("SELECT name FROM segments ORDER BY name")]

    def taken(self, start: int = 0) -> list[tuple[int, str]]:
        """Places and names of the segments that were read, in the order in which they came, from a place on."""
        asked = "SELECT place, name FROM segments WHERE place >= ? ORDER BY place"
        return list(self._base.execute(asked, (start,)))

    @property
    def made(self) -> str:
        """Tells this index from one that was made anew, where every place is another's."""
        return self._fact("made") or ""

    def outcome(self, decision_id: str) -> KnownOutcome:
        """What is known of a decision."""
        asked = f"SELECT accepted, churned, margin, told_at, contradicted FROM ({_KNOWN} WHERE d.id = ?)"
        found = self._base.execute(asked, (decision_identity(decision_id),)).fetchone()
        if found is None:
            return KnownOutcome()
        accepted, churned, margin, at, wrong = found
        return KnownOutcome(accepted, churned, margin, None if at is None else _time(at), bool(wrong))

    def totals(self) -> dict[str, int]:
        """By reason, what was read and is no row or no whole one."""
        orphans = (
            "SELECT count(*) FROM (SELECT id FROM outcomes UNION SELECT id FROM reports) WHERE id NOT IN "
        )
        ahead = "SELECT count(*) FROM decisions WHERE at > ?"
        return {
            "outcomes of no decision in the log": self._one(orphans + "(SELECT id FROM decisions)"),
            "outcomes that told nothing new": int(self._fact("repeated") or 0),
            "outcomes of another kind than economics says": int(self._fact("strange") or 0),
            "decisions dated later than now": self._one(
                ahead, _microseconds(datetime.now(UTC) + _CLOCKS_DIFFER)
            ),
        }

    def take(self, segment: LoggedSegment) -> None:
        """Read a segment, unless it was read before."""
        at = _microseconds(segment.opened_at)
        touched: list[tuple[int]] = []
        with self._transaction():
            if self._one("SELECT count(*) FROM segments WHERE name = ?", segment.name):
                return  # another process was faster
            for record in segment.records:
                try:
                    if record.kind == DECISIONS:
                        rows = list(self._decided(record.payload))
                        self._base.executemany(f"INSERT OR IGNORE INTO decisions VALUES ({_MARKS})", rows)
                        touched += [(row[0],) for row in rows]
                    else:
                        touched += self._tell("outcomes", read_outcomes(record.payload), at)
                except SegmentError as error:
                    self.problems[segment.name] = str(error)
            self._base.executemany(_PUT_PENDING, touched)
            self._base.execute("INSERT INTO segments(name) VALUES (?)", (segment.name,))

    def _decided(self, payload: bytes) -> Iterator[tuple[Any, ...]]:
        question, answer = read_decision(payload)
        asked = {customer.customer_id: customer for customer in question.customers}
        at, name_of = _microseconds(answer.decided_at), cache(self._name)
        for each in answer.decisions:
            price = asked[each.customer_id].features.get(self._price, self.terms.constants.get(self._price))
            idle = next((arm.propensity for arm in each.arms if arm.id == NO_CONTACT_ID), None)
            yield (
                decision_identity(each.decision_id), at, name_of(answer.by(each)), identity(each.customer_id),
                name_of(each.arm.id), name_of(each.assigned), idle, each.churn_risk, each.acceptance_probability,
                price if isinstance(price, float | int) else None, each.contact, self._levels(asked[each.customer_id]),
            )  # fmt: skip

    def _levels(self, customer: LoggedCustomer) -> str:
        return json.dumps([str(customer.features.get(name)) for name in self._slices])

    def _tell(self, table: str, told: Sequence[LoggedOutcome], at: int | None) -> list[tuple[int]]:
        """Take outcomes of decisions, some of them perhaps of the same; returns the decisions.

        What was told first stands; `contradicted` where it was told again and otherwise.
        """
        named = [(decision_identity(each.decision_id), each) for each in told]
        known: dict[int, tuple[Any, ...]] = {}
        for start in range(0, len(named), _ASKED):
            part = [name for name, _ in named[start : start + _ASKED]]
            asked = f"SELECT * FROM {table} WHERE id IN ({', '.join('?' * len(part))})"
            known |= {row[0]: row for row in self._base.execute(asked, part)}
        repeated = 0
        for name, each in named:
            known[name], new = _with(
                known.get(name),
                name,
                (*self._as_configured(each), each.margin, each.complained, each.opted_out),
                at,
            )
            repeated += not new
        if repeated:
            self._know("repeated", str(int(self._fact("repeated") or 0) + repeated))
        rows = [known[name] for name in dict.fromkeys(name for name, _ in named)]
        self._base.executemany(f"INSERT OR REPLACE INTO {table} VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        return [(row[0],) for row in rows]

    def _as_configured(self, told: LoggedOutcome) -> tuple[float | None, float | None]:
        """Whether it was accepted, and whether the customer left or what share of another outcome was missed."""
        wanted = self.terms.outcome
        if told.churned is not None if wanted else told.outcome is not None:
            self._know("strange", str(int(self._fact("strange") or 0) + 1))
        if wanted is None:
            return told.accepted, told.churned
        if told.outcome is None:
            return told.accepted, None
        accepted = told.accepted if told.accepted is not None or self.terms.asks else 0.0
        return accepted, self.terms.missed(told.outcome)

    def _name(self, text: str) -> int:
        found = self._base.execute("SELECT id FROM names WHERE text = ?", (text,)).fetchone()
        if found is None:
            found = (self._base.execute("INSERT INTO names(text) VALUES (?)", (text,)).lastrowid,)
        return int(found[0])

    def _one(self, asked: str, *values: object) -> int:
        return int(self._base.execute(asked, values).fetchone()[0])

    def _fact(self, name: str) -> str | None:
        found = self._base.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if found is None else str(found[0])

    def _know(self, name: str, value: str) -> None:
        self._base.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing. An index that rotted is made anew, and read again at the next look."""
        try:
            self._base.execute("BEGIN IMMEDIATE")
            yield
            self._base.execute("COMMIT")
        except BaseException as error:
            with suppress(sqlite3.Error):
                self._base.execute("ROLLBACK")
            if not isinstance(error, sqlite3.Error):
                raise
            if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
                self._forget()
            raise self._unusable(error) from error

    def _unusable(self, error: sqlite3.Error) -> OSError:
        full = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
        return OSError(
            errno.ENOSPC if full else errno.EIO, f"the index of the decision log: {error}", str(self._path)
        )

    def _opened(self) -> sqlite3.Connection:
        if self._path is not None:
            private_folder(self._path.parent)
            self._path.touch(mode=0o600)
        base = sqlite3.connect(self._path or ":memory:", timeout=_BUSY_SECONDS, isolation_level=None)
        base.execute(f"PRAGMA cache_size = -{_CACHE_KB}")
        base.execute("PRAGMA journal_mode = WAL")
        base.execute("PRAGMA synchronous = OFF")  # losing it loses nothing
        made_by = " ".join([str(_VERSION), self._price, *self._slices, repr(self.terms)])
        base.execute("BEGIN IMMEDIATE")
        if not base.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            for statement in _TABLES.split(";")[:-1]:
                base.execute(statement)
            base.execute(
                "INSERT INTO facts VALUES ('made_by', ?), ('made', ?)", (made_by, secrets.token_hex(8))
            )
        base.execute("COMMIT")
        if base.execute("SELECT value FROM facts WHERE name = 'made_by'").fetchone() != (made_by,):
            base.close()
            raise sqlite3.DatabaseError("another version's")
        return base

    def _forget(self) -> None:
        if self._path is None:
            self._base = self._opened()
            return
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        self._base = self._opened()


def _with(
    row: tuple[Any, ...] | None, name: int, now: tuple[float | None, ...], at: int | None
) -> tuple[tuple[Any, ...], bool]:
    """The row of a decision's outcome with what is told of it now, and whether that is anything new."""
    before, told_at, wrong = (row[1:6], row[6], row[7]) if row else ((None,) * 5, None, 0)
    both = [old if old is not None else value for old, value in zip(before[:3], now[:3], strict=True)]
    flags = [max(each) for each in zip(_told(before[3:]), _told(now[3:]), strict=True)]
    new = flags != _told(before[3:]) or any(
        old is None and value is not None for old, value in zip(before[:3], now[:3], strict=True)
    )
    wrong = wrong or any(
        old is not None and value is not None and abs(float(old) - float(value)) > _SAME_MONEY
        for old, value in zip(before[:3], now[:3], strict=True)
    )
    return (name, *both, *flags, at if new else told_at, wrong), new


def _told(flags: Iterable[float | None]) -> list[float]:
    """What was never told did not happen; a complaint that came later contradicts nothing."""
    return [0.0 if flag is None else float(flag) for flag in flags]


def _conditions(wanted: DecisionFilter) -> tuple[str, list[object]]:
    """A filter as SQL with its values."""
    named = "d.{} = (SELECT id FROM names WHERE text = ?)"
    parts: list[tuple[str, object]] = [
        ("d.id = ?", decision_identity(wanted.decision) if wanted.decision else None),
        ("d.customer = ?", identity(wanted.customer) if wanted.customer else None),
        (named.format("release"), wanted.release or None),
        (named.format("arm"), wanted.arm or None),
        (named.format("assigned"), wanted.assigned or None),
        ("d.at >= ?", None if wanted.since is None else _microseconds(wanted.since)),
        ("d.at < ?", None if wanted.until is None else _microseconds(wanted.until)),
    ]
    asked = [(condition, value) for condition, value in parts if value is not None]
    return " AND ".join(condition for condition, _ in asked) or "1", [value for _, value in asked]


def _found(row: Sequence[Any]) -> FoundDecision:
    at, release, arm, assigned, risk, acceptance, price, accepted, churned, margin, told_at, wrong = row
    told = None if told_at is None else _time(told_at)
    outcome = KnownOutcome(accepted, churned, margin, told, bool(wrong))
    return FoundDecision(_time(at), release, arm, assigned, risk, acceptance, price, outcome)


def _time(at: int) -> datetime:
    return datetime.fromtimestamp(at / _SECOND, UTC)


def _microseconds(at: datetime) -> int:
    return int(at.timestamp() * _SECOND)


def _frame(rows: Sequence[tuple[Any, ...]]) -> pd.DataFrame:
    frame = pd.DataFrame.from_records(list(rows), columns=list(_FRAME))
    return frame.astype(dict.fromkeys(_FRAME[_FRAME.index(NO_CONTACT) :], "float64"))

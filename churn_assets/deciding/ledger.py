"""What is used of each limit in each period: one file that all workers and commands of a machine share.

Whoever decides takes a turn: reads what is left, decides, and writes what that uses, while everybody else waits. So no
two can spend the same money. The disk has it before the turn ends, which is before any answer leaves: a process that is
killed has at most used what nobody got, and never got what is not used.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np

from churn_assets.decision.process import Floats

SERVED = ""
"""The wave of what a server decides, which only adds up."""
WAIT_SECONDS = 10.0
_TABLES = """
CREATE TABLE IF NOT EXISTS used (
    period TEXT, wave TEXT, name TEXT, amount REAL NOT NULL, PRIMARY KEY (period, wave, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS arrived (
    period TEXT, wave TEXT, week INTEGER, customers INTEGER NOT NULL, PRIMARY KEY (period, wave, week)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS price (
    period TEXT, name TEXT, price REAL NOT NULL, PRIMARY KEY (period, name)) WITHOUT ROWID"""


class LedgerError(OSError):
    """The record of what is used cannot be read or written: nothing may be offered that a limit covers."""


class LedgerTurn:
    """One exclusive look at a period: what is read stays true until the turn ends.

    Args:
        connection: Within a transaction.
        period: Names the period.
    """

    def __init__(self, connection: sqlite3.Connection, period: str) -> None:
        self._connection, self._period = connection, period

    def used(self, names: Sequence[str], besides: str | None = None) -> Floats:
        """(J,) what is used of each limit.

        Args:
            names: Of the limits.
            besides: A wave that is decided anew, whose earlier use does not count.
        """
        rows = self._connection.execute(
            "SELECT name, amount FROM used WHERE period = ? AND wave IS NOT ?", (self._period, besides)
        )
        found = dict.fromkeys(names, 0.0)
        for name, amount in rows:
            if name in found:
                found[name] += amount
        return np.array([found[name] for name in names], np.float64)

    def arrived(self, weeks: int, besides: str | None = None) -> list[int]:
        """Customers that were decided for in each week of the period; `besides` as of `used`."""
        rows = dict(
            self._connection.execute(
                "SELECT week, SUM(customers) FROM arrived WHERE period = ? AND wave IS NOT ? GROUP BY week",
                (self._period, besides),
            ).fetchall()
        )
        return [int(rows.get(week, 0)) for week in range(weeks)]

    def prices(self, names: Sequence[str]) -> Floats | None:
        """(J,) the shadow prices that were kept last; None where one has none yet."""
        rows = dict(
            self._connection.execute(
                "SELECT name, price FROM price WHERE period = ?", (self._period,)
            ).fetchall()
        )
        return np.array([rows[name] for name in names], np.float64) if rows.keys() >= set(names) else None

    def keep_prices(self, names: Sequence[str], prices: Floats) -> None:
        """Keep (J,) shadow prices for whoever decides next."""
        rows = [(self._period, name, price) for name, price in zip(names, prices.tolist(), strict=True)]
        self._connection.executemany("INSERT OR REPLACE INTO price VALUES (?, ?, ?)", rows)

    def add(self, names: Sequence[str], amounts: Floats, week: int, customers: int) -> None:
        """Write what a server's call uses, (J,), for so many customers."""
        before = self._of_wave(SERVED)
        for name, amount in zip(names, amounts.tolist(), strict=True):
            self._put(SERVED, name, before.get(name, 0.0) + amount)
        self._connection.execute(
            "INSERT INTO arrived VALUES (?, ?, ?, ?) "
            "ON CONFLICT DO UPDATE SET customers = customers + excluded.customers",
            (self._period, SERVED, week, customers),
        )

    def replace(self, wave: str, names: Sequence[str], amounts: Floats, week: int, customers: int) -> None:
        """Write what a wave uses, (J,), in place of what it used when it was decided before."""
        own = (self._period, wave)
        self._connection.execute("DELETE FROM used WHERE period = ? AND wave = ?", own)
        self._connection.execute("DELETE FROM arrived WHERE period = ? AND wave = ?", own)
        for name, amount in zip(names, amounts.tolist(), strict=True):
            self._put(wave, name, amount)
        self._connection.execute(
            "INSERT INTO arrived VALUES (?, ?, ?, ?)", (self._period, wave, week, customers)
        )

    def _of_wave(self, wave: str) -> dict[str, float]:
        rows = self._connection.execute(
            "SELECT name, amount FROM used WHERE period = ? AND wave = ?", (self._period, wave)
        )
        return dict(rows.fetchall())

    def _put(self, wave: str, name: str, amount: float) -> None:
        self._connection.execute(
            "INSERT OR REPLACE INTO used VALUES (?, ?, ?, ?)", (self._period, wave, name, amount)
        )


class BudgetLedger:
    """The record of one experiment.

    Args:
        file: Made where there is none.
    """

    def __init__(self, file: Path) -> None:
        self.file = file

    @contextmanager
    def turn(self, period: str) -> Iterator[LedgerTurn]:
        """Wait for the turn, take it, and keep what was written if nothing goes wrong within.

        Raises:
            LedgerError: The file cannot be used, or somebody else does not end their turn.
        """
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with closing(
                sqlite3.connect(self.file, timeout=WAIT_SECONDS, isolation_level=None)
            ) as connection:
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("BEGIN IMMEDIATE")
                for table in _TABLES.split(";"):
                    connection.execute(table)
                yield LedgerTurn(connection, period)
                connection.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            raise LedgerError(
                f"{self.file}: {error}; expected the budgets' ledger, which nothing else writes: free the disk, end "
                "the process that holds it, or move a file that is none aside and enter what is used again"
            ) from error

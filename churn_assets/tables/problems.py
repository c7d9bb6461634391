"""What is wrong with a table: every problem, worst first, by file, line and column. Reads none.

Lines count as a spreadsheet shows them: the header is line 1, and a record that spans several lines of text counts
once. A problem names the line and shows the value that was found, never a customer's id.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

STRUCTURE, ROLE, VALUE = 0, 1, 2
"""How bad a problem is: no table at all; a column that everything needs; values or columns that can be left out."""

_SHOWN_LINES = 5
_SHOWN_VALUES = 3
_SHOWN_PROBLEMS = 40
_SHOWN_TEXT = 60
_FEW_COLUMNS = 5
"""So many columns to leave out are copied from their own lines."""


@dataclass(frozen=True)
class TableProblem:
    """One thing that is wrong.

    Attributes:
        file: What the table is called.
        column: Its name as it stands there; empty where no one column is wrong.
        lines: The first lines that are wrong.
        count: How many lines are.
        found: What is there.
        expected: What should be.
        remedy: Lines of the config, or what else would mend it; may be empty.
        rank: See `STRUCTURE`, `ROLE` and `VALUE`.
    """

    file: str
    column: str
    lines: tuple[int, ...]
    count: int
    found: str
    expected: str
    remedy: str
    rank: int

    def __str__(self) -> str:
        return f"{self.file}: {self.said}"

    @property
    def said(self) -> str:
        """All but the file."""
        listed = ", ".join(map(str, self.lines))
        if self.count > len(self.lines) > 0:
            listed += f", … ({self.count} in all)"
        places = [f"column {self.column!r}"] if self.column else []
        places += [f"line{'s' if self.count > 1 else ''} {listed}"] if self.lines else []
        place = f"{', '.join(places)}: " if places else ""
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{place}found {self.found}, expected {self.expected}{remedy}"


class TableError(ValueError):
    """A table is not what it must be.

    Attributes:
        problems: All that is wrong, worst first; empty where the message says it all.
        lines: Lines whose id, label or price is wrong: all of them.
    """

    def __init__(
        self, message: str, problems: Sequence[TableProblem] = (), lines: frozenset[int] = frozenset()
    ) -> None:
        super().__init__(message)
        self.problems, self.lines = tuple(problems), lines

    def to_json(self) -> list[dict[str, Any]]:
        """The problems as plain data."""
        return [asdict(each) for each in self.problems]


class Problems:
    """Collects what is wrong with one table.

    Args:
        where: What the table is called.
        kind: The error that `stop` raises.

    Attributes:
        where: As above.
        names: What the table calls a column, where that is not what the caller calls it.
        configured: Whether a config can leave out columns and rows.
        needed: Columns that a config cannot leave out.
        kind: As above.
        parts: Of a table of several files, the line behind which each begins, and what it is called.
    """

    def __init__(self, where: str, kind: type[TableError] = TableError) -> None:
        self.where, self.kind = where, kind
        self.names: dict[str, str] = {}
        self.configured = False
        self.needed: frozenset[str] = frozenset()
        self.parts: tuple[tuple[int, str], ...] = ()
        self._lines: set[int] = set()
        self._found: list[tuple[TableProblem, NDArray[np.intp] | None]] = []

    def add(
        self,
        found: str,
        expected: str,
        *,
        column: str = "",
        lines: Iterable[int] = (),
        remedy: str = "",
        rank: int = VALUE,
    ) -> None:
        """Notes a problem of the table, or of a column, as a whole."""
        every = list(lines)
        first = tuple(every[:_SHOWN_LINES])
        remedy, column = self._remedy(remedy, column), self.names.get(column, column)
        problem = TableProblem(self.where, column, first, len(every), found, expected, remedy, rank)
        self._found.append((problem, None))

    def rows(
        self,
        column: str,
        wrong: NDArray[np.bool_],
        values: Sequence[Any] | NDArray[Any] | None,
        expected: str,
        *,
        line: NDArray[np.int64],
        remedy: str = "",
        rank: int = VALUE,
        found: str = "what is not shown here",
    ) -> None:
        """Notes the rows that are wrong, if any.

        Args:
            column: Whose values.
            wrong: (n,) which rows.
            values: (n,) what stands there; None where it may not be shown.
            expected: What should stand there.
            line: (n,) line of each row.
            remedy: What would mend it.
            rank: How bad it is.
            found: What to call values that may not be shown.
        """
        rows = np.flatnonzero(wrong)
        if not len(rows):
            return
        first = [int(each) for each in rows[:_SHOWN_LINES]]
        if values is not None:
            distinct = list(dict.fromkeys(shown(values[row]) for row in first))
            found = ", ".join(distinct[:_SHOWN_VALUES])
        remedy, lines = self._remedy(remedy, column), tuple(int(line[row]) for row in first)
        column = self.names.get(column, column)
        where, lines = self._within(lines)
        problem = TableProblem(where, column, lines, len(rows), found, expected, remedy, rank)
        self._found.append((problem, rows))
        if rank == ROLE:
            self._lines.update(line[rows].tolist())

    def _within(self, lines: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
        """The file of the first line, and those of the lines that stand in it, as it counts them."""
        starts = [start for start, _ in self.parts]
        places = [bisect_left(starts, line) - 1 for line in lines] if starts else []
        if not places:
            return self.where, lines
        inside = [line for line, place in zip(lines, places, strict=True) if place == places[0]]
        return self.parts[places[0]][1], tuple(line - starts[places[0]] for line in inside)

    def _remedy(self, remedy: str, column: str) -> str:
        """What can be done, without what cannot."""
        if column not in self.needed:
            return remedy
        return "; ".join(each for each in remedy.split("; ") if each != leave_out(column))

    @property
    def all(self) -> list[TableProblem]:
        """What was found, worst first."""
        problems = [problem for problem, _ in self._found]
        return sorted(problems, key=lambda each: (each.rank, -each.count))

    @property
    def whole(self) -> bool:
        """Whether something is wrong that no row can be blamed for."""
        return any(rows is None for _, rows in self._found)

    def by_row(self) -> dict[int, TableProblem]:
        """For each row that is wrong, the first of its problems."""
        found: dict[int, TableProblem] = {}
        for problem, rows in self._found:
            for row in () if rows is None else rows.tolist():
                found.setdefault(row, problem)
        return found

    def stop(self) -> None:
        """Raises what was found, if anything, as the error of this kind of table."""
        if self._found:
            raise_all(self.all, self.kind, frozenset(self._lines))


def raise_all(
    problems: Sequence[TableProblem], kind: type[TableError], lines: frozenset[int] = frozenset()
) -> None:
    """Raises problems as one error, the first of them in its message.

    Args:
        problems: What is wrong, worst first.
        kind: The error.
        lines: As of `TableError`.
    """
    more = len(problems) - _SHOWN_PROBLEMS
    told = [str(each) for each in problems[:_SHOWN_PROBLEMS]]
    told += [f"and {more} more problems"] if more > 0 else []
    idle = list(dict.fromkeys(each.column for each in problems if leave_out(each.column) in each.remedy))
    told += [f"to leave out all that can be: `exclude: {idle}`"] if len(idle) > _FEW_COLUMNS else []
    raise kind("\n".join(told), problems, lines)


def merged_problems(parts: Iterable[TableProblem]) -> list[TableProblem]:
    """What is wrong with a table, worst first, from what is wrong with its parts, in their order."""
    found: dict[tuple[Any, ...], list[TableProblem]] = {}
    for each in parts:
        found.setdefault((each.file, each.column, each.expected, each.remedy, each.rank), []).append(each)
    whole = [_one(same) for same in found.values()]
    return sorted(whole, key=lambda each: (each.rank, -each.count))


def _one(same: Sequence[TableProblem]) -> TableProblem:
    """One problem of several parts."""
    first, lines = same[0], [line for each in same for line in each.lines][:_SHOWN_LINES]
    texts: list[str] = []
    for each in same:
        if each.lines and len(texts) < _SHOWN_VALUES and each.found not in texts:
            texts.append(each.found)
    short = sum(len(each.lines) for each in same[:1]) < _SHOWN_LINES
    return replace(
        first,
        lines=tuple(lines),
        count=sum(each.count for each in same),
        found=", ".join(texts) if short and texts else first.found,
    )


_NAMES = 40


def listed(names: Sequence[str]) -> str:
    """Names of columns for a message: of a wide table the first, and how many there are beside them.

    >>> listed(["a b", "c"])
    "'a b', 'c'"
    """
    more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    return f"{', '.join(map(repr, names[:_NAMES]))}{more}"


def leave_out(name: str) -> str:
    """What to write so that a column is not used."""
    return f"to leave it out: `exclude: [{name!r}]`"


def shown(value: Any) -> str:
    """A value as a message may quote it; whoever sent it may have sent anything."""
    plain = value.item() if isinstance(value, np.generic) else value
    if plain is None or plain != plain or plain == "":
        return "a blank"
    if isinstance(plain, float) and plain.is_integer() and abs(plain) < 2**53:
        plain = int(plain)
    if isinstance(plain, int) and abs(plain) > 10**18:
        return "an integer too large for a number"
    text = repr(plain)
    return text if len(text) <= _SHOWN_TEXT else f"{text[:_SHOWN_TEXT]}…"

"""Tables as companies have them, dirty in every way that is known here: what is read right, what is refused and how.

The oracle is the generator: it writes the text of every file itself, cell by cell, and knows what stands in which cell
and what was spoilt. No reader, parser or rule of the library has a part in it.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.report import Figure, main
from churn_assets.arms import Catalogue
from churn_assets.customers.config import CustomersConfig
from churn_assets.customers.features import far_outside, too_far
from churn_assets.customers.table import EMBEDDED, CustomerTableError, read_customers, typed
from churn_assets.experiment import load_experiment
from churn_assets.offers.log import read_log
from churn_assets.offers.outcome_file import read_outcome_file
from churn_assets.tables.config import DatabaseTable
from churn_assets.tables.files import read_raw
from churn_assets.tables.problems import Problems, TableError
from churn_assets.tables.source import digest_of_rows

FILES = 2_400
ROWS = 40
SEED = 7
DIALECTS = (
    "comma",
    "semicolon",
    "tab",
    "bar",
    "quoted",
    "windows",
    "gzip",
    "utf-8-sig",
    "utf-16",
    "capitals",
)
LARGE = {"customers": 500_000, "log": 1_000_000}


@dataclass
class Sheet:
    """A file as its cells, and what the oracle knows of it.

    Attributes:
        names: The header.
        cells: Texts, a list a line.
        values: What each column means where it is read right, by name.
        wrong: Cells that must be refused: column (empty for a whole line or file) and line (0 for a whole column).
        numbers: Columns that are written with the decimal sign.
        strangers: Rows about nobody whom the customer table has: left out and counted.
        hides: Nothing but what is in `wrong` by now can be told: the file is no table.
        raw: How the text is changed in the end.
        decimal: What the numbers are written with.
    """

    names: list[str]
    cells: list[list[str]]
    values: dict[str, list[Any]]
    wrong: list[tuple[str, int]] = field(default_factory=list)
    strangers: set[int] = field(default_factory=set)
    hides: bool = False
    raw: Callable[[bytes], bytes] = bytes
    decimal: str = "."
    numbers: tuple[str, ...] = ("fee", "score", "margin")

    def put(self, column: str, row: int, text: str) -> None:
        self.cells[row][self.names.index(column)] = text

    def spoil(self, column: str, row: int, text: str) -> None:
        self.put(column, row, text)
        self.wrong.append((column, row + 2))

    def add(self, name: str, texts: Sequence[str]) -> None:
        self.names.append(name)
        for line, text in zip(self.cells, texts, strict=True):
            line.append(text)


def customers(rng: np.random.Generator, rows: int = ROWS) -> Sheet:
    """Clean customers: numbers with and without fractions, blanks, texts, a flag."""
    values: dict[str, list[Any]] = {
        "id": [f"{number:05}" for number in rng.permutation(90_000)[:rows]],
        "fee": rng.uniform(5, 90, rows).round(2).tolist(),
        "months": rng.integers(0, 70, rows).tolist(),
        "plan": rng.choice(["basic", "plus", "pro max"], rows).tolist(),
        "calls": [None if number > 8 else number for number in rng.integers(0, 10, rows).tolist()],
        "score": rng.normal(0, 3, rows).round(3).tolist(),
        "left": np.where(np.arange(rows) % 3 == 0, "Yes", "No").tolist(),
    }  # fmt: skip
    values["left"] = rng.permutation(values["left"]).tolist()
    return _sheet(values)


def log(rng: np.random.Generator, ids: Sequence[str]) -> Sheet:
    """A clean offer log of three arms."""
    rows = len(ids)
    arm = rng.integers(0, 3, rows)
    shares = np.array([0.5, 0.3, 0.2])
    days = pd.Timestamp("2026-01-05") + pd.to_timedelta(np.sort(rng.integers(0, 100, rows)), "D")
    return _sheet(
        {
            "customer_id": rng.permutation(list(ids)).tolist(),
            "decided_at": [f"{day:%Y-%m-%d}T09:00:00+00:00" for day in days],
            "offer_pct": [[0.0, 0.1, 0.2][each] for each in arm],
            "propensity": shares[arm].tolist(),
            "propensity_0": [0.5] * rows,
            "propensity_10": [0.3] * rows,
            "propensity_20": [0.2] * rows,
            "policy_version": ["rules/1"] * rows,
            "prior_offers": rng.integers(0, 3, rows).tolist(),
            "accepted": np.where(arm > 0, rng.integers(0, 2, rows), 0).tolist(),
            "churned": rng.integers(0, 2, rows).tolist(),
            "margin": rng.normal(100, 40, rows).round(2).tolist(),
        }
    )  # fmt: skip


def outcomes(rng: np.random.Generator) -> Sheet:
    """Clean outcomes, with what is not known yet."""
    return _sheet(
        {
            "decision_id": [f"d-{number}" for number in range(ROWS)],
            "accepted": [None if each == 2 else each for each in rng.integers(0, 3, ROWS).tolist()],
            "churned": [None if each == 2 else each for each in rng.integers(0, 3, ROWS).tolist()],
            "margin": rng.normal(100, 40, ROWS).round(2).tolist(),
        }
    )


def _sheet(values: dict[str, list[Any]]) -> Sheet:
    columns = [["" if each is None else str(each) for each in column] for column in values.values()]
    return Sheet(list(values), [list(line) for line in zip(*columns, strict=True)], values)


Change = Callable[[Sheet, np.random.Generator], None]


def cell(column: str, *texts: str) -> Change:
    """Spoils one cell of a column with one of these texts."""

    def change(sheet: Sheet, rng: np.random.Generator) -> None:
        sheet.spoil(column, int(rng.integers(len(sheet.cells))), str(rng.choice(texts)))

    return change


def column(name: str, texts: Callable[[int], str]) -> Change:
    """Adds a column that must be refused as a whole."""

    def change(sheet: Sheet, rng: np.random.Generator) -> None:  # noqa: ARG001 - as of all
        sheet.add(name, [texts(row) for row in range(len(sheet.cells))])
        sheet.wrong.append((name, 0))

    return change


def _repeat_header(sheet: Sheet, rng: np.random.Generator) -> None:
    name = str(rng.choice(sheet.names))
    sheet.add(name, [line[0] for line in sheet.cells])
    sheet.wrong, sheet.hides = [(name, 1)], True


def _line(change: Callable[[list[str]], None]) -> Change:
    def changed(sheet: Sheet, rng: np.random.Generator) -> None:
        row = int(rng.integers(len(sheet.cells)))
        change(sheet.cells[row])
        sheet.wrong, sheet.hides = [("", row + 2)], True

    return changed


def _open_quote(sheet: Sheet, rng: np.random.Generator) -> None:
    row = int(rng.integers(len(sheet.cells) - 1))
    sheet.add("note", ["" for _ in sheet.cells])
    sheet.cells[row][-1] = '\0he said "wait'  # the mark: written as it is, with a quote before it
    sheet.wrong, sheet.hides = [("", row + 2)], True


def _whole(change: Callable[[bytes], bytes]) -> Change:
    def changed(sheet: Sheet, rng: np.random.Generator) -> None:  # noqa: ARG001 - as of all
        sheet.raw, sheet.wrong, sheet.hides = change, [("", 0)], True

    return changed


def _twice(name: str) -> Change:
    def change(sheet: Sheet, rng: np.random.Generator) -> None:
        first, second = sorted(rng.choice(len(sheet.cells), 2, replace=False).tolist())
        place = sheet.names.index(name)
        sheet.put(name, second, sheet.cells[first][place])
        sheet.wrong += [(name, first + 2), (name, second + 2)]

    return change


def _point_zero(sheet: Sheet, rng: np.random.Generator) -> None:  # noqa: ARG001 - as of all
    for row, line in enumerate(sheet.cells):
        if not line[0].endswith('"'):
            sheet.put(sheet.names[0], row, f"{line[0]}.0")


def _kept_zeros(sheet: Sheet, rng: np.random.Generator) -> None:  # noqa: ARG001 - as of all
    for row, line in enumerate(sheet.cells):
        if line[0] and not line[0].endswith(".0"):
            sheet.put(sheet.names[0], row, f'="{line[0]}"')


def _grouped(sheet: Sheet, rng: np.random.Generator) -> None:
    values = rng.integers(100_000, 999_999, len(sheet.cells)).tolist()
    sign = str(rng.choice([" ", "\u202f", "\xa0", "'", "in India"]))
    texts = [f"{each:,}".replace(",", sign) for each in values]
    if sign == "in India":
        texts = [f"{each // 100_000},{each // 1_000 % 100:02},{each % 1_000:03}" for each in values]
    sheet.values["income"] = values
    sheet.add("income", texts)


def _zones(sheet: Sheet, rng: np.random.Generator) -> None:  # noqa: ARG001 - as of all
    place = sheet.names.index("decided_at")
    for row, line in enumerate(sheet.cells):
        sheet.put("decided_at", row, line[place].replace("T", " ").replace("+00:00", " UTC"))


def _stranger(sheet: Sheet, rng: np.random.Generator) -> None:
    row = int(rng.integers(len(sheet.cells)))
    sheet.put("customer_id", row, "nobody")
    sheet.strangers.add(row)


def _spaces(sheet: Sheet, rng: np.random.Generator) -> None:
    for name in ("fee", "margin"):
        if name in sheet.names:
            row = int(rng.integers(len(sheet.cells)))
            sheet.put(name, row, f" {sheet.cells[row][sheet.names.index(name)]} ")


def _comma(sheet: Sheet, rng: np.random.Generator) -> None:  # noqa: ARG001 - as of all
    sheet.decimal = ","


def words(*names: str) -> Change:
    """Writes truths of columns in other words."""

    def change(sheet: Sheet, rng: np.random.Generator) -> None:
        told = {
            "0": ("False", "no", "0.0", "FALSE", "N", "f", "nein", "non", "FALSCH"),
            "1": ("True", "Yes", "1.0", "true", "Y", "t", "ja", "oui", "WAHR"),
        }
        for name in names:
            place = sheet.names.index(name)
            for row, line in enumerate(sheet.cells):
                if line[place] in told:
                    sheet.put(name, row, str(rng.choice(told[line[place]])))

    return change


def _six_decimals(sheet: Sheet, rng: np.random.Generator) -> None:
    weights = rng.dirichlet([5, 5, 5])
    shares = {f"propensity_{name}": weight for name, weight in zip(("0", "10", "20"), weights, strict=True)}
    offers = sheet.values["offer_pct"]
    own = [shares[f"propensity_{round(100 * each)}"] for each in offers]
    for name, share in shares.items():
        sheet.values[name] = [share] * len(offers)
    sheet.values["propensity"] = own
    for name in (*shares, "propensity"):
        for row, value in enumerate(sheet.values[name]):
            sheet.put(name, row, f"{value:.6f}")


def _early(sheet: Sheet, rng: np.random.Generator) -> None:
    sheet.spoil("decided_at", int(rng.integers(1, len(sheet.cells))), "2025-12-01T09:00:00+00:00")


def _cents(sheet: Sheet, rng: np.random.Generator) -> None:  # noqa: ARG001 - as of all
    for row, value in enumerate(sheet.values["fee"]):
        sheet.put("fee", row, str(round(100 * value)))
    sheet.wrong.append(("fee", 0))


def _zipped(data: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("customers.csv", data)
    return packed.getvalue()


def _after_header(data: bytes, before: bytes, behind: bytes) -> bytes:
    """The file with these bytes around every line but the first."""
    header, *lines = data.splitlines()
    return b"\n".join([header, *(before + line + behind for line in lines)]) + b"\n"


def _footer(sheet: Sheet, rng: np.random.Generator) -> None:  # noqa: ARG001 - as of all
    count = len(sheet.cells)
    sheet.raw, sheet.wrong, sheet.hides = lambda data: data + b"(%d rows)\n" % count, [("", count + 2)], True


STRUCTURE: dict[str, Change] = {
    "header twice": _repeat_header,
    "short line": _line(lambda line: line.pop()),
    "long line": _line(lambda line: line.append("1")),
    "open quote": _open_quote,
    "empty": _whole(lambda _: b""),
    "binary": _whole(lambda data: b"PK\x03\x04\x00\x00" + data),
    "other encoding": _whole(lambda data: data + b"\xe8\n"),
    "JSON": _whole(lambda _: b'[{"id": "a", "fee": 3}]'),
    "a page": _whole(lambda _: b"<!DOCTYPE html><html>Sign in</html>"),
    "a title": _whole(lambda data: b"Customers of 2026\n\n" + data),
    "gzip that breaks off": _whole(lambda data: gzip.compress(data)[:-20]),
    "a ZIP file": _whole(_zipped),
    "bzip2": _whole(bz2.compress),
    "xz": _whole(lzma.compress),
    "gzip twice": _whole(lambda data: gzip.compress(gzip.compress(data))),
    "Zstandard": _whole(lambda data: b"\x28\xb5\x2f\xfd" + data),
    "bytes 0 at the end": _whole(lambda data: data + b"\0\0"),
    "a footer": _footer,
    "separators at the end of lines": _whole(lambda data: _after_header(data, b"", b",")),
    "row names without a header": _whole(lambda data: _after_header(data, b"1,", b"")),
    "a comment": _whole(lambda data: b"# exported from the CRM\n" + data),
    "lines of signs": _whole(lambda data: b"-" * 40 + b"\n" + data),
    "backslashes before quotes": _whole(lambda data: _after_header(data, b'"a \\"b\\" c"', b"")),
    "header alone": _whole(lambda data: data.splitlines()[0]),
}
BAD: dict[str, dict[str, Change]] = {
    "customers": {
        "price": cell("fee", "0", "-12.5", "", "free", "1.77e15", "1e308", "inf", "$12"),
        "tenure": cell("months", "-1", "", "long", "1e300"),
        "number": cell("calls", "many", "?", "1e16", "-inf", "1_0", "12%"),
        "wide number": cell("score", "1.77e15", "1e308", "x"),
        "id": cell(
            "id",
            "",
            "  ",
            "4.05E+11",
            "4.05E11",
            "a" * 130,
            "nan",
            "NULL",
            "Total",
            "Grand total",
            "\\N",
            "Summe",
        ),
        "unseen in an id": cell("id", "12\u200b", "\ufeff99", "7\u200e", "a\u2028b", "a\x85b", "1\xad2"),
        "id twice": _twice("id"),
        "label": cell("left", "Perhaps", "", "Yes."),
        "text": cell("plan", "x" * 201, "#REF!", "#N/A", "ba\x07sic", "10\x80", "ba\u200bsic", "\ufeffplus"),
        "trailing minus": column("saldo", lambda row: f"{row}.50-" if row % 3 else f"{row}.50"),
        "another minus": column("change", lambda row: f"\u2212{row % 5}.5"),
        "hexadecimal": column("flags", lambda row: f"0x{row % 7:02x}"),
        "exponents of Fortran": column("dose", lambda row: f"{row % 7}.5D+02"),
        "percents in some": column("share", lambda row: f"{row}%" if row % 3 else f"0.{row}"),
        "brackets in some": column("result", lambda row: f"({row}.5)" if row % 3 else f"{row}.5"),
        "less than": column("level", lambda row: f"<{1 + row % 2}" if row % 4 == 0 else str(row)),
        "and more": column("seats", lambda row: "5+" if row % 6 > 4 else str(row % 6)),
        "points for nothing": column("stata", lambda row: "." if row % 5 == 0 else str(7 * row % 31)),
        "dashes for nothing": column("ledger", lambda row: "-" if row % 5 == 0 else str(7 * row % 31)),
        "too narrow": column("wide", lambda row: "####" if row % 5 == 0 else str(7 * row % 31)),
        "telephones": column("phone", lambda row: f"+49 170 {1_000_000 + 7919 * row}"),
        "JSON in cells": column("extra", lambda row: f'{{"a": {row % 3}}}'),
        "lists in cells": column("tags", lambda row: f'["a", "b{row % 3}"]'),
        "weeks": column("week", lambda row: f"2025-W{1 + row % 9:02}"),
        "quarters": column("quarter", lambda row: f"2025Q{1 + row % 4}"),
        "American dates": column("joined", lambda row: f"{1 + row % 9}/{10 + row % 9}/2025"),
        "dates of two digits": column("since", lambda row: f"{10 + row % 9}.03.25"),
        "times with a zone": column("seen", lambda row: f"2025-01-{10 + row % 9} 23:30:00 UTC"),
        "dates and others": column(
            "ends", lambda row: "unknown" if row % 8 == 0 else f"2025-01-{10 + row % 9}"
        ),
        "days since 1970 in ms": column(
            "made", lambda row: str(1_735_689_600_000 + 86_400_000 * (row * 7 % 39))
        ),
        "dates": column("signed", lambda row: f"2025-0{1 + row % 9}-12"),
        "German dates": column("signed", lambda row: f"{10 + row % 9}.03.2025"),
        "months as dates": column("signed", lambda row: f"2025-0{1 + row % 9}"),
        "dates in words": column("signed", lambda row: f"{1 + row % 9}-Jan-25"),
        "days as numbers": column("signed", lambda row: f"2025010{1 + row % 9}"),
        "months as numbers": column("signed", lambda row: f"20250{1 + row % 9}"),
        "seconds since 1970": column("signed", lambda row: str(1_700_000_000 + 86_400 * ((7 * row) % 39))),
        "money by its code": column("paid", lambda row: f"{row % 9}.50 EUR"),
        "in brackets": column("paid", lambda row: f"({row % 9}.50)"),
        "minutes": column("longest", lambda row: f"{row % 9}:30"),
        "other digits": column("plans", lambda row: "٣٤٥"[row % 3]),
        "percents": column("discount", lambda row: f"{row % 9} %"),
        "money": column("paid", lambda row: f"${row % 9}.50"),
        "row numbers": column("RowNumber", lambda row: str(row + 1)),
        "no name": column("", lambda row: str(row)),
        "free text": column("notes", lambda row: f"called {'abcdefgh'[row % 8]} about {row}"),
        "only blanks": column("nothing", lambda _: ""),
        "opt-out": column("Opted_Out", lambda row: str(row % 2)),
        "opt-out in words": column("Do not contact", lambda row: ["Yes", "No"][row % 2]),
    },
    "log": {
        "seconds": cell("decided_at", "1767571200", "46027", "20260105"),
        "date": cell(
            "decided_at",
            "",
            "soon",
            "1970-01-01",
            "2026-13-01",
            "9999-12-31",
            "2568-01-01",
            "05.01.2026",
            "01/05/2026",
            "0000-00-00",
        ),
        "order": _early,
        "accepted": cell("accepted", "perhaps", "2", "", "0.5"),
        "churned": cell("churned", "-1", "x"),
        "propensity": cell("propensity_10", "0", "-0.1", "1.5", ""),
        "sum": cell("propensity_0", "0.51", "0.4"),
        "offers": cell("prior_offers", "1.5", "-1", ""),
        "margin": cell("margin", "inf", "1e308", "much", ""),
        "offer": cell("offer_pct", "10", "0.15", ""),
        "customer": cell("customer_id", "", "nan", "Total", "12\u200b"),
        "who": cell("policy_version", "", "  "),
    },
    "outcomes": {
        "accepted": cell("accepted", "perhaps", "2", "0.5"),
        "churned": cell("churned", "-1", "x"),
        "margin": cell("margin", "inf", "1e308", "much"),
        "id": cell("decision_id", "", " ", "null"),
        "column": column("left", lambda row: str(row)),
    },
    "decide": {
        "price": cell("fee", "0", "-12.5", "", "free", "1e308"),
        "category": cell("plan", "gold"),
        "number": cell("calls", "many", "?", "1e16"),
        "id": cell("id", "", "4.05E+11", "Total", "#N/A", "12\u200b", "\ufeff99"),
        "id twice": _twice("id"),
        "cents": _cents,
        "opt-out": column("OptedOut", lambda row: str(row % 2)),
    },
}
_TRUTHS = words("accepted", "churned")
_USUAL: dict[str, Change] = {
    "ids .0": _point_zero,
    "ids of a spreadsheet": _kept_zeros,
    "spaces": _spaces,
    "decimal comma": _comma,
}
GOOD: dict[str, dict[str, Change]] = {
    "customers": _USUAL | {"grouped digits": _grouped},
    "log": _USUAL | {"truths": _TRUTHS, "six decimals": _six_decimals, "stranger": _stranger, "UTC": _zones},
    "outcomes": {"spaces": _spaces, "truths": _TRUTHS, "decimal comma": _comma},
    "decide": _USUAL,
}


def written(sheet: Sheet, dialect: str, folder: Path, kind: str) -> Path:
    """The file of a sheet; every quote, separator and line end is written here."""
    separator = {"semicolon": ";", "tab": "\t", "bar": "|"}.get(dialect, ",")
    signs = [sheet.decimal if name in sheet.numbers else "." for name in sheet.names]
    lines = [sheet.names, *(list(map(_number, line, [*signs, "."])) for line in sheet.cells)]
    end = "\r\n" if dialect == "windows" else "\n"

    def quoted(text: str) -> str:
        if text.startswith("\0"):
            return f'"{text[1:].replace(chr(34), chr(34) * 2)}'
        if dialect == "quoted" or any(mark in text for mark in (separator, '"', "\n")):
            return f'"{text.replace(chr(34), chr(34) * 2)}"'
        return text

    text = "".join(separator.join(map(quoted, line)) + end for line in lines)
    data = sheet.raw(text.encode(dialect if dialect.startswith("utf") and sheet.raw is bytes else "utf-8"))
    name = f"{kind}.CSV" if dialect == "capitals" else f"{kind}.csv"
    path = folder / name
    path.write_bytes(gzip.compress(data) if dialect == "gzip" and data else data)
    return path


def _number(text: str, decimal: str) -> str:
    """A number with this decimal sign; other texts as they are."""
    whole, point, fraction = text.partition(".")
    plain = point and whole.strip().lstrip("-").isdigit() and fraction.strip().isdigit()
    return f"{whole}{decimal}{fraction}" if plain else text


CONFIG = CustomersConfig(
    source="customers.csv",
    id="id",
    label={"column": "left", "positive": "Yes", "window_months": 3},
    monthly_revenue="fee",
    tenure="months",
    max_categories=20,
)


@dataclass(frozen=True)
class Read:
    """What the library made of a file.

    Attributes:
        values: By column; empty where the file was refused.
        problems: Column and lines of each.
        message: What a person is told.
        blamed: Lines without a decision, where the others have one; None where there are no such lines.
        strangers: Lines that were left out as they are about nobody whom the customer table has.
    """

    values: dict[str, list[Any]] = field(default_factory=dict)
    problems: tuple[tuple[str, tuple[int, ...]], ...] = ()
    message: str = ""
    blamed: frozenset[int] | None = None
    strangers: int = 0


_ARMS = {"no_contact": 0, "percent_10": 10, "percent_20": 20}
_OURS = {f"propensity_{ours}": f"propensity_{theirs}" for ours, theirs in _ARMS.items()}


def read(path: Path, kind: str, sheet: Sheet, schema: Any) -> Read:
    """What the library makes of a file."""
    try:
        if kind == "customers":
            config = CONFIG.model_copy(update={"source": path.name})
            return Read(_customer_values(read_customers(config, seed=1, root=path.parent).frame))
        if kind == "decide":
            return _decided(path, schema)
        if kind == "outcomes":
            told = read_outcome_file(path)
            return Read(
                {name: [getattr(each, name) for each in told] for name in sheet.values if name != "left"}
            )
        known = [each.removesuffix(".0") for each in sheet.values["customer_id"]]
        log = read_log(path, {}, known, Catalogue())
        frame = log.frame.rename(columns=_OURS)
        dates = frame["decided_at"].dt.strftime("%Y-%m-%dT%H:%M:%S+00:00")
        return Read(frame.assign(decided_at=dates).to_dict("list"), strangers=log.strangers)
    except TableError as error:
        return Read(problems=tuple((each.column, each.lines) for each in error.problems), message=str(error))


def _customer_values(frame: pd.DataFrame) -> dict[str, list[Any]]:
    named = frame.rename(columns={"customer_id": "id"})
    found: dict[str, list[Any]] = named.drop(columns="fold").to_dict("list")
    if "churned" in found:
        found["left"] = ["Yes" if each else "No" for each in found.pop("churned")]
    return found


def _decided(path: Path, schema: Any) -> Read:
    """As `churn decide` reads a file: rows that are wrong are told, the others are typed."""
    problems = Problems(path.name, CustomerTableError)
    raw = read_raw(path, problems)
    if not len(raw):
        problems.add("no rows", "at least one customer")
    table = typed(raw, schema, problems)
    told = [(each.column, each.lines) for each in problems.all]
    if problems.whole:
        return Read(problems=tuple(told), message="; ".join(map(str, problems.all)))
    good = np.ones(len(raw), dtype=bool)
    good[list(problems.by_row())] = False
    far = too_far(far_outside(table.where(good).X, schema), int(good.sum()), schema)
    if far:
        return Read(problems=tuple((line.split("'")[1], ()) for line in far), message="; ".join(far))
    blamed = frozenset(raw.line[~good].tolist())
    return Read(_customer_values(table.frame), tuple(told), "; ".join(map(str, problems.all)), blamed)


def same(found: Any, meant: Any) -> bool:
    """Whether a value is what the oracle meant: numbers to 12 digits, to 6 where they were written so."""
    if meant is None or found is None or found != found:
        return meant is None and (found is None or found != found)
    if isinstance(meant, int | float):
        close = {"abs_tol": 2e-6} if abs(meant) < 1 else {"rel_tol": 1e-12}
        return isinstance(found, int | float | np.number) and math.isclose(float(found), meant, **close)
    return str(found) == str(meant)


def verdict(sheet: Sheet, found: Read) -> dict[str, bool]:
    """What was right about a file: whether it was misread in silence, refused without need, and named by cell."""
    meant = [
        (name or ("" if sheet.hides else f"Unnamed: {sheet.names.index('')}"), line)
        for name, line in sheet.wrong
    ]
    told = {(name, line) for name, lines in found.problems for line in (*lines, 0)}
    lines = {line for _, line in told}

    def named(name: str, line: int) -> bool:
        """What does not add up is nobody's column; what belongs to no column has a line."""
        together = name.startswith("propensity_") and ("propensity_*", line) in told
        return (name, line) in told or together or (not name and line in lines)

    unnamed = [(name, line) for name, line in meant if not named(name, line)]
    spoilt, skipped = {line for _, line in sheet.wrong}, found.blamed or frozenset()
    refused = bool(found.problems)
    kept = [row for row in range(len(sheet.cells)) if row not in sheet.strangers]
    misread = any(
        not same(value, column[row])
        for name, column in sheet.values.items()
        for value, row in zip(found.values.get(name, ()), kept, strict=False)
        if row + 2 not in skipped
    )
    lost = bool(found.values) and (
        len(found.values[sheet.names[0]]) != len(kept) or found.strangers != len(sheet.strangers)
    )
    return {
        "silent_wrong": (bool(sheet.wrong) and not refused) or misread or lost,
        "refused_in_vain": refused and (not sheet.wrong or bool(skipped - spoilt)),
        "unnamed": refused and bool(unnamed),
    }


def files(rng: np.random.Generator) -> Iterator[tuple[str, str, Sheet, str]]:
    """Dirty and clean files of every kind: kind, what was done, the sheet, the dialect."""
    kinds = list(BAD)
    for number in range(FILES):
        kind = kinds[number % len(kinds)]
        sheet = made(kind, rng)
        done = []
        dialect = str(rng.choice(DIALECTS))
        for name in rng.permutation(list(GOOD[kind]))[: int(rng.integers(0, 3))].tolist():
            if name == "decimal comma" and dialect not in ("semicolon", "tab", "bar"):
                continue
            GOOD[kind][name](sheet, rng)
            done.append(name)
        faults = list(BAD[kind])
        if rng.random() < 0.15:
            name = str(
                rng.choice([each for each in STRUCTURE if (kind, each) != ("outcomes", "header alone")])
            )
            STRUCTURE[name](sheet, rng)
            done.append(name)
            dialect = "comma" if sheet.raw is not bytes else dialect
        else:
            for name in faulty(faults, rng):
                BAD[kind][name](sheet, rng)
                done.append(name)
        yield kind, ", ".join(done) or "nothing", sheet, dialect


def faulty(faults: list[str], rng: np.random.Generator) -> list[str]:
    """None to three faults, no two of which are about one column."""
    chosen: list[str] = rng.permutation(faults)[: int(rng.integers(0, 4))].tolist()
    pairs = [
        {"id", "id twice", "unseen in an id"},
        {"price", "cents"},
        {"propensity", "sum"},
        {
            "dates",
            "German dates",
            "months as dates",
            "dates in words",
            "days as numbers",
            "months as numbers",
            "seconds since 1970",
        },
        {"money", "money by its code", "in brackets"},
    ]
    pairs.append({"seconds", "date", "order"})
    for pair in pairs:
        while len(pair & set(chosen)) > 1:
            chosen.remove(next(name for name in chosen if name in pair))
    return ["cents"] if "cents" in chosen else chosen


def made(kind: str, rng: np.random.Generator) -> Sheet:
    """A clean sheet of a kind."""
    if kind == "log":
        return log(rng, [f"{number:05}" for number in rng.permutation(90_000)[:ROWS]])
    if kind == "outcomes":
        return outcomes(rng)
    sheet = customers(rng)
    if kind == "decide":
        place = sheet.names.index("left")
        for line in sheet.cells:
            line[place] = ""  # the label may be there and blank
        del sheet.values["left"]
    return sheet


def trained_schema(folder: Path) -> Any:
    """The schema of clean customers, to decide by."""
    path = written(customers(np.random.default_rng(SEED), 400), "comma", folder, "learned")
    config = CONFIG.model_copy(update={"source": path.name})
    return read_customers(config, seed=1, root=folder).schema


def dirty(folder: Path) -> list[Figure]:
    """Every file against the oracle."""
    rng = np.random.default_rng(SEED)
    schema = trained_schema(folder)
    counts: Counter[str] = Counter()
    for kind, done, sheet, dialect in files(rng):
        counts["files"] += 1
        counts["spoilt"] += bool(sheet.wrong)
        path = written(sheet, dialect, folder, kind)
        try:
            found = read(path, kind, sheet, schema)
        except Exception as error:  # noqa: BLE001 - a crash is what is counted
            counts["crash"] += 1
            print(f"crash: {kind} ({dialect}): {done}: {type(error).__name__}: {error}", file=sys.stderr)
            continue
        for name, is_so in verdict(sheet, found).items():
            counts[name] += is_so
            if is_so:
                print(f"{name}: {kind} ({dialect}): {done} {sheet.wrong}: {found.message}", file=sys.stderr)
        path.unlink()
    named = 1 - counts["unnamed"] / max(counts["spoilt"], 1)
    return [
        Figure("files", counts["files"], ">=", 2_000, f"{counts['spoilt']} of them spoilt in 1 to 3 ways"),
        Figure(
            "silent_wrong", counts["silent_wrong"], "<=", 0, "read, with a value that does not stand there"
        ),
        Figure("crash", counts["crash"], "<=", 0, "neither read nor refused"),
        Figure(
            "exit_2_names_the_cell", named, ">=", 1, "of spoilt files: every spoilt cell by column and line"
        ),
        Figure(
            "refused_in_vain", counts["refused_in_vain"], "<=", 0, "clean, or in another dialect, and refused"
        ),
    ]


def twins(folder: Path, server: str | None = None) -> list[Figure]:
    """Clean customers in every dialect, as Parquet and in databases: equal digests of content.

    Args:
        folder: Where the files are written.
        server: Location of a PostgreSQL database that may be written to, by who is in the environment.
    """
    rng = np.random.default_rng(SEED)
    alike, compared = 0, 0
    databases = [f"duckdb://{folder / 'twins.duckdb'}"] + ([] if server is None else [server])
    for number in range(20):
        sheet, digests = customers(rng), set()
        for dialect in DIALECTS:
            digests.add(_digest(written(sheet, dialect, folder, "customers")))
        sheet.decimal = ","
        digests.add(_digest(written(sheet, "semicolon", folder, "customers")))
        path = folder / "customers.parquet"
        typed = pd.DataFrame(sheet.values).astype({"calls": float})
        typed.to_parquet(path)
        digests.add(_digest(path))
        for location in databases:
            name = f"twin_{os.getpid()}_{number}"
            _stored(typed, location, name)
            for place in ({"table": name}, {"query": f"select * from {name} order by fee"}):
                digests.add(_digest(DatabaseTable(database=location, **place), folder))
        compared += 1
        alike += len(digests) == 1
    ways = len(DIALECTS) + 2 + 2 * len(databases)
    with_server = "PostgreSQL, DuckDB" if server else "DuckDB; no PostgreSQL (CHURN_BENCHMARK_POSTGRESQL)"
    return [
        Figure("twins_alike", alike / compared, ">=", 1, f"{ways} ways to store each, with {with_server}")
    ]


def _stored(frame: pd.DataFrame, location: str, name: str) -> None:
    """Makes a table with the types of the database, without the library."""
    kinds = {"f": "double precision", "i": "bigint", "O": "text"}
    columns = ", ".join(f'"{column}" {kinds[kind.kind]}' for column, kind in frame.dtypes.items())
    rows = ", ".join(f"({', '.join(map(_literal, row))})" for row in frame.itertuples(index=False))
    statements = (f"create table {name} ({columns})", f"insert into {name} values {rows}")
    if location.startswith("duckdb"):
        import duckdb

        with duckdb.connect(location.removeprefix("duckdb://")) as connection:
            for each in statements:
                connection.execute(each)
        return
    from adbc_driver_postgresql import dbapi

    with dbapi.connect(location) as connection, connection.cursor() as cursor:
        for each in statements:
            cursor.execute(each)
        connection.commit()


def _literal(value: Any) -> str:
    if isinstance(value, str):
        return f"'{value}'"
    return "null" if value != value else repr(value)


def _digest(source: Path | DatabaseTable, folder: Path | None = None) -> str:
    place, root = (source, folder) if isinstance(source, DatabaseTable) else (source.name, source.parent)
    config = CONFIG.model_copy(update={"source": place})
    return digest_of_rows(read_customers(config, seed=1, root=root).frame)


def large(folder: Path) -> list[Figure]:
    """Speed against pandas' own reader, and memory against the file, each in a process of its own."""
    figures = []
    for kind, rows in LARGE.items():
        path = folder / f"{kind}.csv"
        _write_large(path, kind, rows)
        told = [_measured(path, kind) for _ in range(3)]
        ratio, memory = max(each[0] for each in told), min(each[1] for each in told)
        note = f"{rows:,} rows, {path.stat().st_size / 1e6:.0f} MB; typed, checked and split"
        figures += [
            Figure(f"read_rows_per_s_vs_pandas_{kind}", ratio, ">=", 0.8, note),
            Figure(f"peak_rss_vs_file_{kind}", memory, "<=", 4, "above what the process had before"),
        ]
    return figures


def _write_large(path: Path, kind: str, rows: int) -> None:
    """The embedded customers many times under new ids, or decisions about them with propensities as programs write."""
    rng = np.random.default_rng(SEED)
    people = pd.read_csv(EMBEDDED["telco"], dtype=str, keep_default_na=False).head(5_000)
    with path.open("w", encoding="utf-8") as file:
        for number in range(rows // len(people)):
            if kind == "customers":
                block = people.assign(customerID=[f"{number:04}-{row:05}" for row in range(len(people))])
                block["MonthlyCharges"] = rng.uniform(18, 119, len(block)).round(2).astype(str)
            else:
                block = _decisions(people["customerID"], number, rng)
            block.to_csv(file, index=False, header=number == 0)


def _decisions(ids: pd.Series, number: int, rng: np.random.Generator) -> pd.DataFrame:
    rows = len(ids)
    shares, arm = rng.dirichlet([5, 5, 5], rows), rng.integers(0, 3, rows)
    start = pd.Timestamp("2026-01-05", tz="UTC") + pd.Timedelta(hours=number)
    named = {f"propensity_{percent}": shares[:, place] for place, percent in enumerate((0, 10, 20))}
    return pd.DataFrame(
        {
            "customer_id": ids.to_numpy(),
            "decided_at": start + pd.to_timedelta(np.arange(rows) * 500, "ms"),
            "offer_pct": np.array([0.0, 0.1, 0.2])[arm],
            "propensity": shares[np.arange(rows), arm],
            **named,
            "policy_version": "rules/1",
            "prior_offers": rng.integers(0, 3, rows),
            "accepted": np.where(arm > 0, rng.integers(0, 2, rows), 0),
            "churned": rng.integers(0, 2, rows),
            "margin": rng.normal(100, 30, rows).round(2),
        }
    )


def _measured(path: Path, kind: str) -> tuple[float, float]:
    """Rows a second against pandas, and peak memory against the file."""
    command = [sys.executable, "-m", "benchmarks.own_data", "--measure", str(path), kind]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
    ratio, memory = done.stdout.split()[-2:]
    return float(ratio), float(memory)


def measure_one(path: Path, kind: str) -> None:
    """In a process of its own: prints the two figures of `_measured`."""
    small = path.with_name(f"small_{kind}.csv")
    with path.open(encoding="utf-8") as file:
        small.write_text("".join(next(file) for _ in range(2_000)), encoding="utf-8")
    ids = pd.read_csv(EMBEDDED["telco"], dtype=str)["customerID"].to_numpy(object)
    customers_of = load_experiment("quickstart", Path(__file__).parents[1] / "configs").customers

    def ours(file: Path) -> int:
        if kind == "customers":
            config = customers_of.model_copy(update={"source": file.name})
            return len(read_customers(config, seed=1, root=file.parent))
        return len(read_log(file, {}, ids, Catalogue()))

    ours(small)  # what is imported is no part of it
    before, started = _peak(), time.process_time()
    ours(path)
    seconds, peak = time.process_time() - started, _peak()
    started = time.process_time()
    pd.read_csv(path)
    print((time.process_time() - started) / seconds, (peak - before) / path.stat().st_size)


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure() -> list[Figure]:
    """All figures."""
    with tempfile.TemporaryDirectory(prefix="own-data-") as name:
        folder = Path(name)
        return [*dirty(folder), *twins(folder, os.environ.get("CHURN_BENCHMARK_POSTGRESQL")), *large(folder)]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure_one(Path(sys.argv[2]), sys.argv[3])
    else:
        main(__doc__, measure)

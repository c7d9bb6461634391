"""Outcomes that were not posted to the server, as a CRM exports them: a table, read strictly. Joins nothing."""

from __future__ import annotations

from pathlib import Path

from churn_assets.arms import did_you_mean
from churn_assets.offers.economics import OutcomeConfig
from churn_assets.offers.log import OfferLogError
from churn_assets.offers.records import LoggedOutcome
from churn_assets.tables.config import FileReading, TablePlace
from churn_assets.tables.files import DETECTED, read_raw
from churn_assets.tables.problems import STRUCTURE, Problems
from churn_assets.tables.raw import RawTable
from churn_assets.tables.rules import NumberRule
from churn_assets.tables.source import read_source, source_name
from churn_assets.tables.values import ambiguous_decimals, parse_ids, parse_numbers, parse_truths

COLUMNS = ("decision_id", "accepted", "churned", "complained", "opted_out", "margin")
_TRUTHS = COLUMNS[1:-1]
_AT_LEAST_ZERO = NumberRule(lowest=0)


def read_outcome_file(
    path: Path,
    where: str | None = None,
    reading: FileReading = DETECTED,
    outcome: OutcomeConfig | None = None,
) -> list[LoggedOutcome]:
    """Outcomes of a CSV or Parquet file.

    Its columns are decision_id, margin, and accepted, churned, complained, opted_out (0/1 or true/false). Where the
    value is of another outcome than leaving, its own column stands in place of churned.

    Columns other than decision_id may be missing, and a blank is what is not known yet. A row a decision or several:
    parts of an outcome may come in rows of their own.

    Args:
        path: The file.
        where: What errors call it, if not by its path.
        reading: What should not be detected of the file.
        outcome: What the value is of, where that is not leaving.

    Raises:
        OfferLogError: There is no such file, or it has other columns or values: all that is wrong with it.
    """
    problems = Problems(where or str(path), OfferLogError)
    raw = read_raw(path, problems, reading)
    return outcomes_of(raw, problems, outcome)


def outcomes_of(
    raw: RawTable, problems: Problems, outcome: OutcomeConfig | None = None
) -> list[LoggedOutcome]:
    """As `read_outcome_file`, of a raw table from any source.

    Raises:
        TableError: As of `problems`: all that is wrong.
    """
    truths = [name for name in _TRUTHS if outcome is None or name != "churned"]
    theirs = [] if outcome is None else [outcome.column]
    known = ["decision_id", *truths, "margin", *theirs]
    for name in raw.names:
        if name not in known:
            expected = f"one of {', '.join(known)}{did_you_mean(name, known)}"
            problems.add("a column that no outcome has", expected, column=name, rank=STRUCTURE)
    if "decision_id" not in raw.columns:
        problems.add(
            "no such column", f"it beside {', '.join(raw.names)}", column="decision_id", rank=STRUCTURE
        )
        problems.stop()
    unknown = [None] * len(raw)
    ids = parse_ids(raw, "decision_id", problems, unique=False)
    told = {name: parse_truths(raw, name, problems) for name in truths if name in raw.columns}
    if "margin" in raw.columns:
        told["margin"] = parse_numbers(raw, "margin", problems)
    if outcome is not None and outcome.column in raw.columns:
        told["outcome"] = (
            parse_numbers(raw, outcome.column, problems, _AT_LEAST_ZERO)
            if outcome.amount
            else parse_truths(raw, outcome.column, problems)
        )
    ambiguous_decimals(raw, problems)
    problems.stop()
    columns = [told.get(name, unknown) for name in (*COLUMNS[1:], "outcome")]
    return [
        LoggedOutcome(
            decision_id=name,
            margin=None if _blank(row[-2]) else float(row[-2]),
            outcome=None if _blank(row[-1]) else float(row[-1]),
            **{
                column: None if _blank(value) else bool(value)
                for column, value in zip(_TRUTHS, row[:-2], strict=True)
            },
        )
        for name, *row in zip(ids, *columns, strict=True)
    ]


def _blank(value: float | None) -> bool:
    return value is None or value != value


def outcome_reports(
    source: TablePlace | None,
    root: Path,
    reading: FileReading = DETECTED,
    outcome: OutcomeConfig | None = None,
) -> list[LoggedOutcome]:
    """Outcomes of an experiment's `decisions.outcomes`, which may be none.

    Raises:
        OfferLogError: As of `read_outcome_file`.
        StoreError: It is in a bucket or a database that cannot be read.
    """
    if source is None:
        return []
    problems = Problems(source_name(source, root), OfferLogError)
    raw, _ = read_source(source, root, problems, reading, ["decision_id"])
    return outcomes_of(raw, problems, outcome)

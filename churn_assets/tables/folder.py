"""A folder of files as one raw table, the files one below the other. Parses none itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from churn_assets.arms import did_you_mean
from churn_assets.tables.config import FileReading
from churn_assets.tables.files import SUFFIXES, read_raw
from churn_assets.tables.problems import STRUCTURE, Problems, TableError, TableProblem, raise_all
from churn_assets.tables.raw import RawTable, plain_values


def read_folder(folder: Path, problems: Problems, reading: FileReading) -> RawTable:
    """All tables of a folder, in the order of their names, with equal columns in whatever order.

    Lines are counted through all files; messages name the file and its own line (`Problems.parts`).

    Args:
        folder: Where they are; folders in it are not looked into.
        problems: What the table is called, and where problems go.
        reading: As of `read_raw`, of every file.

    Raises:
        TableError: There is no table, some file is none, or has other columns: all that is wrong.
    """
    inside = sorted(each for each in folder.iterdir() if each.is_file() and not each.name.startswith("."))
    files = [each for each in inside if each.name.lower().removesuffix(".gz").endswith(SUFFIXES)]
    if not files:
        problems.add(
            "a folder without a table", "files that end in .csv, .tsv, .txt or .parquet", rank=STRUCTURE
        )
        problems.stop()
    tables, wrong = _tables(files, problems, reading)
    if wrong:
        raise_all(wrong, problems.kind)
    whole = _below_one_another(tables, problems)
    whole.said.append(f"{len(files)} files of a folder, {files[0].name} to {files[-1].name}")
    if others := [each.name for each in inside if each not in files]:
        whole.said.append(f"no tables by their names, and not read: {', '.join(map(repr, others))}")
    return whole


def _tables(
    files: list[Path], problems: Problems, reading: FileReading
) -> tuple[list[RawTable], list[TableProblem]]:
    """Every file, and all that is wrong with any of them."""
    tables: list[RawTable] = []
    wrong: list[TableProblem] = []
    for file in files:
        own = Problems(str(file), problems.kind)
        try:
            tables.append(read_raw(file, own, reading))
        except TableError as error:
            wrong += error.problems
            continue
        first = tables[0]
        for name in (each for each in first.names if each not in tables[-1].columns):
            near = did_you_mean(name, tables[-1].names)
            own.add(
                "no such column", f"it, as in {Path(first.where).name}{near}", column=name, rank=STRUCTURE
            )
        for name in (each for each in tables[-1].names if each not in first.columns):
            expected = f"the columns of {Path(first.where).name}, in whatever order"
            own.add("another column", expected, column=name, lines=[1], rank=STRUCTURE)
        wrong += own.all
    return tables, wrong


def _below_one_another(tables: list[RawTable], problems: Problems) -> RawTable:
    columns, starts, lines, before = {}, [], [], 0
    for each in tables:
        starts.append((before, each.where))
        lines.append(each.line + before)
        before += int(each.line.max(initial=1))
    for name in tables[0].names:
        columns[name] = _column([each.columns[name] for each in tables])
    problems.parts = tuple(starts)
    strange = {name: kind for each in tables for name, kind in each.no_meaning.items()}
    separator = next((each.separator for each in tables if each.separator != ","), ",")
    return replace(
        tables[0],
        where=problems.where,
        columns=columns,
        line=np.concatenate(lines),
        said=list(dict.fromkeys(said for each in tables for said in each.said)),
        separator=separator,
        no_meaning=strange,
    )


def _column(parts: list[Any]) -> Any:
    """One column of several; as texts where the files hold values of several types."""
    if len({part.type for part in parts}) > 1:
        parts = [plain_values(part) for part in parts]
    if len(kinds := {part.type for part in parts}) > 1:
        kind = pa.float64() if all(map(_is_number, kinds)) else pa.string()
        parts = [part.cast(kind) for part in parts]
    return pa.chunked_array([chunk for part in parts for chunk in part.chunks], parts[0].type)


def _is_number(kind: Any) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))

"""The rows to decide for, set down in parts as their source gives them, with what only the whole table can say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from churn_assets.batch.files import create, create_json, create_table, read_plain
from churn_assets.customers.schema import CustomerSchema
from churn_assets.customers.table import CustomerTableError, keep_newest
from churn_assets.tables.config import FileReading
from churn_assets.tables.problems import Problems
from churn_assets.tables.raw import RawTable, no_meaning, plain_values
from churn_assets.tables.values import comma_counts, decimal_by, id_hash, id_texts, is_text

ROWS, STAGED, KEPT, REPEATED = "rows", "staged.json", "kept.npy", "repeated.npy"
LINE = "line"


def part_name(number: int) -> str:
    """Of a part's files.

    >>> part_name(7)
    '000007.parquet'
    """
    return f"{number:06d}.parquet"


def set_down_rows(
    folder: Path,
    chunks: Iterator[RawTable],
    schema: CustomerSchema,
    where: str,
    now: datetime,
    tell: Callable[[int], None],
) -> None:
    """Set down all rows of a source; done once `staged.json` is there, and begun anew until then.

    Args:
        folder: Of the batch.
        chunks: The table, some rows at a time.
        schema: Of the customers.
        where: What messages call the table.
        now: Time of the decision.
        tell: Called with the number of rows so far.

    Raises:
        CustomerTableError: Of a panel, a day or an id is wrong; a row is from after the decision.
    """
    if (folder / STAGED).exists():
        return
    for old in (folder / ROWS).glob("*"):
        old.unlink()
    counts: dict[str, tuple[bool, int, int]] = {}
    hashes: list[NDArray[np.uint64]] = []
    said: list[str] = []
    parts = rows = 0
    reading: dict[str, Any] = {}
    for raw in chunks:
        _count_commas(raw, schema, counts)
        if schema.id in raw.columns and schema.id not in raw.no_meaning:
            hashes.append(id_hash(id_texts(raw, schema.id)))
        said = [*dict.fromkeys([*said, *raw.said])]
        reading = {"decimal": raw.decimal, "blanks": list(raw.blanks), "dates": list(raw.dates)}
        create_table(folder / ROWS / part_name(parts), _with_lines(raw))
        parts, rows = parts + 1, rows + len(raw)
        tell(rows)
    staged: dict[str, Any] = {
        "where": where,
        "parts": parts,
        "rows": rows,
        "said": said,
        "reading": reading,
        "decimals": {name: decimal_by(*each) or "" for name, each in counts.items() if each[0]},
    }
    if parts > 1:
        _keep(folder / REPEATED, _repeated(folder, staged, schema, hashes))
    staged["said"] += _keep_newest(folder, staged, schema, now)
    create_json(folder / STAGED, staged)


def staged_part(folder: Path, number: int) -> RawTable:
    """The rows of a part that are decided for, with what the whole table says of them."""
    staged = read_plain(folder / STAGED)
    raw = _read_part(folder, staged, number)
    if (folder / KEPT).exists():
        raw.keep(np.isin(raw.line, np.load(folder / KEPT)))
    if staged["parts"] > 1:
        raw.decimals = staged["decimals"]
        raw.commas = [name for name, decimal in raw.decimals.items() if decimal == ","]
        raw.repeated = np.load(folder / REPEATED)
    return raw


def _read_part(
    folder: Path, staged: dict[str, Any], number: int, columns: list[str] | None = None
) -> RawTable:
    file = pq.ParquetFile(folder / ROWS / part_name(number))
    wanted = None if columns is None else [*columns, file.schema_arrow.names[-1]]
    table = file.read(wanted)
    raw = RawTable.of_arrow(table.remove_column(table.num_columns - 1), staged["where"])
    raw.line = table.column(table.num_columns - 1).to_numpy()
    return raw.read_as(FileReading.model_validate(staged["reading"]))


def _with_lines(raw: RawTable) -> pa.Table:
    """The columns as they stand, and the line of each row behind them."""
    fields, columns = [], []
    for name, values in raw.columns.items():
        plain = _storable(plain_values(values))
        field = pa.field(name, plain.type)
        fields.append(no_meaning(field, raw.no_meaning[name]) if name in raw.no_meaning else field)
        columns.append(plain)
    line = LINE
    while line in raw.columns:
        line += "_"
    return pa.table([*columns, pa.array(raw.line)], schema=pa.schema([*fields, pa.field(line, pa.int64())]))


def _storable(values: Any) -> Any:
    """A column as Parquet can hold it: spans of time as texts."""
    if pa.types.is_interval(values.type) or pa.types.is_duration(values.type):
        return pa.array([None if each is None else str(each) for each in values.to_pylist()], pa.string())
    return values


def _count_commas(raw: RawTable, schema: CustomerSchema, counts: dict[str, tuple[bool, int, int]]) -> None:
    """Adds what the texts of each number say of their decimal mark."""
    numbers = [each.name for each in schema.features if each.kind == "numeric" and each.name in raw.columns]
    for name in numbers:
        if not is_text(raw, name):
            continue
        texts = pc.utf8_trim_whitespace(plain_values(raw.columns[name]))
        if raw.blanks:
            texts = texts.filter(pc.invert(pc.is_in(texts, pa.array(raw.blanks))))
        some, commas, points = comma_counts(texts)
        if not some:  # points count where a comma stands in another part
            points = int(pc.sum(pc.match_substring(texts, ".")).as_py() or 0)
        old = counts.get(name, (False, 0, 0))
        counts[name] = (old[0] or some, old[1] + commas, old[2] + points)


def _keep(path: Path, values: NDArray[Any]) -> None:
    path.unlink(missing_ok=True)

    def write(draft: Path) -> None:
        with draft.open("wb") as file:
            np.save(file, values)

    create(path, write)


def _repeated(
    folder: Path, staged: dict[str, Any], schema: CustomerSchema, hashes: list[NDArray[np.uint64]]
) -> NDArray[np.uint64]:
    """`id_hash` of the ids that stand in several lines; two ids of one hash are told apart by their texts."""
    if not hashes:
        return np.zeros(0, np.uint64)
    distinct, count = np.unique(np.concatenate(hashes), return_counts=True)
    suspects = distinct[count > 1]
    if not len(suspects):
        return suspects
    seen: dict[str, int] = {}
    for number in range(staged["parts"]):
        ids = id_texts(_read_part(folder, staged, number, [schema.id]), schema.id)
        for each in ids[np.isin(hashes[number], suspects)]:
            seen[each] = seen.get(each, 0) + 1
    return np.unique(id_hash(np.array([each for each, times in seen.items() if times > 1], dtype=object)))


def _keep_newest(folder: Path, staged: dict[str, Any], schema: CustomerSchema, now: datetime) -> list[str]:
    """Sets down which lines of a panel are decided for; what is said of it."""
    whole = _read_part(folder, staged, 0)
    if schema.row_date is None or not {schema.row_date, schema.id} <= set(whole.columns):
        return []
    parts = [
        _read_part(folder, staged, each, [schema.id, schema.row_date]) for each in range(staged["parts"])
    ]
    columns = {
        name: pa.chunked_array([chunk for part in parts for chunk in _chunks(part.columns[name])])
        for name in (schema.id, schema.row_date)
    }
    panel = RawTable(staged["where"], columns, np.concatenate([each.line for each in parts]))
    panel = panel.read_as(FileReading.model_validate(staged["reading"]))
    problems = Problems(staged["where"], CustomerTableError)
    keep_newest(panel, schema, problems, now)
    _keep(folder / KEPT, panel.line)
    return panel.said


def _chunks(values: Any) -> list[Any]:
    return list(values.chunks) if isinstance(values, pa.ChunkedArray) else [values]

"""Parquet tables whose size in memory is known before anything of them is unpacked."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from churn_assets.store.errors import CorruptArtifact, UntrustedContent

# What a table may become in memory, by its file's size; the platform's own become at most 15 times theirs. The floor
# lets a small file hold ten million equal cells.
_EXPANSION = 64
_FLOOR = 512 << 20
_DEPTH_LIMIT = 8
_WRITER = "parquet-cpp-arrow"  # of files by others, Arrow reads more than their columns say
_WIDTH = 8
# Thrift's compact protocol, in which page headers are written.
_INTEGERS, _BINARY, _STRUCT = (4, 5, 6), 8, 12
_WIDTHS = {1: 0, 2: 0, 3: 1, 7: 8}  # true, false, a byte, a double
# Fields of a page header.
_UNPACKED, _PACKED, _DATA, _DICTIONARY, _DATA_2 = 2, 3, 5, 7, 8
_VALUES = 1


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write a table with its column types. Equal tables are equal bytes under one pyarrow version."""
    frame.to_parquet(path, engine="pyarrow", compression="zstd", index=False)


def read_table(path: Path) -> pd.DataFrame:
    """Read a table wholly into memory, after checking what it would become there.

    The sizes that count are those in front of every page: a reader makes room by them, whatever the footer says. Text
    is first read as its dictionary, because a few bytes may stand for a long text in every row.

    Raises:
        UntrustedContent: It would take more than 64 times its file's size and more than 512 MiB, or has nested columns.
        CorruptArtifact: It is not Parquet.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    budget = max(_EXPANSION * path.stat().st_size, _FLOOR)
    try:
        with pq.ParquetFile(path, memory_map=False) as parquet:
            schema, metadata = parquet.schema_arrow, parquet.metadata
        _check_pages(path, metadata, budget)
        columns = [metadata.schema.column(number) for number in range(metadata.num_columns)]
        texts = [column.name for column in columns if column.physical_type == "BYTE_ARRAY"]
        with pq.ParquetFile(path, memory_map=False, read_dictionary=texts) as parquet:
            table = parquet.read(use_threads=False)
        _check_texts(table, schema, path.name, budget)
        return table.cast(schema).to_pandas()
    except (pa.ArrowException, KeyError, OSError, TypeError, ValueError) as error:
        raise CorruptArtifact(path.name, f"no readable Parquet ({error})", "a Parquet file") from error


def _check_pages(path: Path, metadata: Any, budget: int) -> None:
    """Add up what the pages would become: their bytes unpacked, and every value in its width."""
    if not metadata.created_by.startswith(_WRITER):
        raise UntrustedContent(path.name, f"a table by {metadata.created_by!r}", f"one by {_WRITER}")
    size = 0
    with path.open("rb") as stream:
        for number in range(metadata.num_columns):
            schema = metadata.schema.column(number)
            if schema.max_repetition_level:
                raise UntrustedContent(path.name, f"nested column {schema.path!r}", "flat columns")
            width = max(schema.length, _WIDTH)
            size += width * metadata.num_rows
            for group in range(metadata.num_row_groups):
                column = metadata.row_group(group).column(number)
                stream.seek(min(filter(None, (column.dictionary_page_offset, column.data_page_offset))))
                chunk = stream.read(column.total_compressed_size)
                size += sum(unpacked + width * values for unpacked, values in _pages(chunk, path.name))
                if size > budget:
                    raise UntrustedContent(path.name, "a table too large for its file", _bound(budget))


def _pages(chunk: bytes, file: str) -> Iterator[tuple[int, int]]:
    """Bytes unpacked and number of values of each page of a column, as a reader takes them from its header."""
    position = 0
    while position < len(chunk):
        try:
            header, position = _structure(chunk, position, _DEPTH_LIMIT)
            packed, unpacked = header[_PACKED], header[_UNPACKED]
            values = next(
                (header[kind][_VALUES] for kind in (_DATA, _DATA_2, _DICTIONARY) if kind in header), 0
            )
        except (IndexError, KeyError, TypeError, ValueError) as error:
            raise CorruptArtifact(file, f"an unreadable page header ({error})", "Parquet pages") from error
        if min(packed, unpacked, values) < 0 or position + packed > len(chunk):
            raise UntrustedContent(file, f"a page of {packed} bytes", f"at most {len(chunk) - position}")
        yield unpacked, values
        position += packed


def _structure(data: bytes, position: int, depth: int) -> tuple[dict[int, Any], int]:
    """One structure of Thrift's compact protocol: its integers and inner structures by field number."""
    if not depth:
        raise ValueError("too deeply nested")
    fields: dict[int, Any] = {}
    field = 0
    while kind_byte := data[position]:
        position += 1
        kind = kind_byte & 15
        if kind_byte >> 4:
            field += kind_byte >> 4
        else:
            field, position = _integer(data, position)
        if kind in _INTEGERS:
            fields[field], position = _integer(data, position)
        elif kind == _STRUCT:
            fields[field], position = _structure(data, position, depth - 1)
        elif kind == _BINARY:
            length, position = _unsigned(data, position)
            position += length
        elif kind in _WIDTHS:
            position += _WIDTHS[kind]
        else:
            raise ValueError(f"a field of kind {kind}")
    return fields, position + 1


def _integer(data: bytes, position: int) -> tuple[int, int]:
    value, position = _unsigned(data, position)
    return (value >> 1) ^ -(value & 1), position


def _unsigned(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        value |= (data[position] & 127) << shift
        position += 1
        if data[position - 1] < 128:
            return value, position
    raise ValueError("an integer without an end")


def _check_texts(table: Any, schema: Any, file: str, budget: int) -> None:
    """Refuse text that repeats itself into more than the budget; so far every text of a dictionary stands once."""
    import pyarrow as pa
    import pyarrow.compute as pc

    size = 0
    for field, column in zip(schema, table.columns, strict=True):
        if not pa.types.is_dictionary(column.type) or pa.types.is_dictionary(field.type):
            continue
        for piece in column.chunks:
            size += pc.sum(pc.binary_length(piece.dictionary).take(piece.indices)).as_py() or 0
            if size > budget:
                raise UntrustedContent(file, "text too long for its file", _bound(budget))


def _bound(budget: int) -> str:
    return f"at most {budget} bytes in memory"

"""JSON, Parquet and safetensors files of an artifact; none of them can hold code. No scikit-learn here."""

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from churn_assets.store.canonical import canonical_json, parse_json
from churn_assets.store.errors import CorruptArtifact, UntrustedContent
from churn_assets.store.parquet_files import read_table, write_table

# About 100 bytes a tensor: enough for 100,000 of them, where the models of this platform have a few hundred.
_TENSOR_HEADER_LIMIT = 16 << 20


def write_json(value: Any, path: Path) -> None:
    """Write canonical JSON, so that equal values are equal bytes.

    Raises:
        ValueError: ``value`` holds NaN or an infinity.
    """
    path.write_bytes(canonical_json(value))


def read_json(path: Path) -> Any:
    """Read JSON strictly.

    Raises:
        CorruptArtifact: It is not strict JSON.
    """
    return parse_json(path.read_bytes(), path.name)


def write_parquet(frame: pd.DataFrame, path: Path) -> None:
    """Write a table with its column types. Equal tables are equal bytes under one pyarrow version.

    Raises:
        ValueError: ``frame`` has an index other than 0, 1, …: it would be lost or come back as a column.
    """
    index = frame.index
    if not (isinstance(index, pd.RangeIndex) and index.start == 0 and index.step == 1):
        raise ValueError(
            f"{path.name}: found an index of {type(index).__name__}, expected rows numbered from 0"
        )
    write_table(frame, path)


def read_parquet(path: Path) -> pd.DataFrame:
    """Read a table wholly into memory.

    Raises:
        UntrustedContent: In memory it would be far larger than its file.
        CorruptArtifact: It is not Parquet.
    """
    return read_table(path)


def write_tensors(tensors: Mapping[str, np.ndarray[Any, Any]], path: Path) -> None:
    """Write named arrays as safetensors, little-endian and contiguous whatever their layout in memory."""
    from safetensors.numpy import save_file

    # safetensors writes the buffer as it lies in memory: a transposed view would come back scrambled.
    plain = {
        name: np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
        for name, array in tensors.items()
    }
    save_file(plain, path)


def read_tensors(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Read all arrays of a safetensors file into memory.

    Raises:
        UntrustedContent: The header claims more than the file holds, or more than any model needs.
        CorruptArtifact: It is not safetensors.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    _refuse_oversized_header(path)
    try:
        return dict(load_file(path))
    except (SafetensorError, ValueError) as error:
        raise CorruptArtifact(path.name, f"no readable tensors ({error})", "a safetensors file") from error


def _refuse_oversized_header(path: Path) -> None:
    size = path.stat().st_size
    with path.open("rb") as stream:
        prefix = stream.read(8)
    if len(prefix) < 8:
        raise CorruptArtifact(path.name, f"{size} bytes", "a safetensors file of at least 8")
    (header,) = struct.unpack("<Q", prefix)
    limit = min(_TENSOR_HEADER_LIMIT, size - 8)
    if header > limit:
        raise UntrustedContent(path.name, f"a safetensors header of {header} bytes", f"at most {limit}")
